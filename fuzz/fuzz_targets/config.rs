//! No text, and no value of a setting, makes the configuration panic; a valid one comes back from TOML and JSON as it was; no wait
//! passes its cap. The same bytes are read twice: as a text, and as the values of the settings.

#![no_main]

use std::fmt::{Debug, Display};
use std::str::FromStr;
use std::time::Duration;

use arbitrary::{Arbitrary, Unstructured};
use libfuzzer_sys::fuzz_target;
use perdura::{Config, Durability, EnqueueToken, LostRetry, RetryPolicy, State, TaskId, Timestamp};

fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data) {
        for config in [toml::from_str(text).ok(), serde_json::from_str(text).ok()].into_iter().flatten() {
            check_config(&config);
        }
        check_texts(text);
    }
    if let Ok(settings) = Settings::arbitrary(&mut Unstructured::new(data)) {
        check_config(&settings.into());
    }
});

/// Values for every setting, in range or not; the small ones are within reach of the range.
#[derive(Debug, Arbitrary)]
struct Settings {
    attempts: (bool, u8, u32),
    backoff: Span,
    backoff_max: Span,
    jitter: (bool, u16, f64),
    denylist: Vec<String>,
    stuck: Span,
    lost_retry: u8,
    workers: (bool, u8, usize),
    relaxed: bool,
    reserve: u32,
    secure_delete: bool,
    poll: Span,
    busy: Span,
    bytes: [(bool, u32, usize); 3],
    spans: [Option<Span>; 4],
}

/// A duration: milliseconds, or anything.
#[derive(Debug, Arbitrary)]
enum Span {
    Millis(u32),
    Any(u64, u32),
}

impl From<Span> for Duration {
    fn from(span: Span) -> Duration {
        match span {
            Span::Millis(ms) => Duration::from_millis(ms.into()),
            Span::Any(seconds, nanos) => Duration::new(seconds, nanos % 1_000_000_000),
        }
    }
}

impl From<Settings> for Config {
    fn from(s: Settings) -> Config {
        let [task_timeout, retention, dead_letter_after, dead_letter_retention] =
            s.spans.map(|span| span.map(Duration::from));
        let [max_args_bytes, max_result_bytes, max_checkpoint_bytes] =
            s.bytes.map(|(any, near, far)| if any { far } else { near as usize });
        Config::default()
            .max_task_attempts(if s.attempts.0 { s.attempts.2 } else { s.attempts.1.into() })
            .retry_backoff(s.backoff.into())
            .retry_backoff_max(s.backoff_max.into())
            .retry_jitter(if s.jitter.0 { s.jitter.2 } else { f64::from(s.jitter.1) / 65_535.0 })
            .retry_exception_denylist(s.denylist)
            .stuck_task_timeout(s.stuck.into())
            .lost_retry(
                [LostRetry::Immediate, LostRetry::Backoff, LostRetry::Manual][usize::from(s.lost_retry % 3)],
            )
            .workers(if s.workers.0 { s.workers.2 } else { s.workers.1.into() })
            .durability(if s.relaxed { Durability::Relaxed } else { Durability::Full })
            .poll_interval(s.poll.into())
            .busy_timeout(s.busy.into())
            .max_args_bytes(max_args_bytes)
            .max_result_bytes(max_result_bytes)
            .max_checkpoint_bytes(max_checkpoint_bytes)
            .task_timeout(task_timeout)
            .retention(retention)
            .dead_letter_after(dead_letter_after)
            .dead_letter_retention(dead_letter_retention)
            .disk_reserve_bytes(s.reserve.into())
            .secure_delete(s.secure_delete)
    }
}

fn check_config(config: &Config) {
    let policy = RetryPolicy::from(config);
    check_waits(&policy);
    if let Err(error) = config.validate() {
        assert!(error.to_string().contains(" is out of range; it takes "), "{error}");
        let _ = (toml::to_string(config), serde_json::to_string(config));
        return;
    }
    let schedule = policy.schedule();
    assert_eq!(schedule.len() + 1, config.max_task_attempts as usize);
    assert!(schedule.is_sorted(), "{schedule:?}");
    assert!(schedule.iter().all(|wait| *wait <= config.retry_backoff_max), "{schedule:?}");
    assert!(schedule.first().is_none_or(|wait| *wait == config.retry_backoff), "{schedule:?}");

    let as_toml = toml::to_string(config).expect("a valid configuration has a text");
    assert_eq!(toml::from_str::<Config>(&as_toml).as_ref(), Ok(config), "{as_toml}");
    let as_json = serde_json::to_string(config).expect("a valid configuration has a text");
    assert_eq!(serde_json::from_str::<Config>(&as_json).expect(&as_json), *config, "{as_json}");
}

/// Of any policy, also one that no configuration may have.
fn check_waits(policy: &RetryPolicy) {
    for n in [0, 1, 2, 3, 11, 12, 31, 32, 33, 34, 64, 65, 100, u32::MAX] {
        let bare = policy.delay(n, 0.0);
        for draw in [-1.0, 0.5, 1.0 - f64::EPSILON, f64::INFINITY, f64::NAN] {
            let wait = policy.delay(n, draw);
            assert!(bare <= wait && wait <= policy.backoff_max, "{bare:?} {wait:?} {n} {draw} {policy:?}");
        }
    }
}

/// What people hand in as text.
fn check_texts(text: &str) {
    comes_back::<TaskId>(text);
    comes_back::<EnqueueToken>(text);
    comes_back::<State>(text);
    for json in [text.to_owned(), serde_json::Value::from(text).to_string()] {
        if let Ok(time) = serde_json::from_str::<Timestamp>(&json) {
            let again = serde_json::to_string(&time).expect("a time has a text");
            assert_eq!(serde_json::from_str::<Timestamp>(&again).expect(&again), time, "{json} {again}");
        }
    }
}

/// What reads as a value is written as a text that reads as the same value.
fn comes_back<T: FromStr<Err: Display> + Display + PartialEq + Debug>(text: &str) {
    match text.parse::<T>() {
        Ok(value) => assert_eq!(value.to_string().parse::<T>().ok(), Some(value), "{text:?}"),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
