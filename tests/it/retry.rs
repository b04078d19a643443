//! Retries: levels of options, what is not retried, what failures leave behind.

use std::time::Duration;

use perdura::{AttemptOutcome, Config, Context, Failure, Options, Queue, State, Task};
use serde::{Deserialize, Serialize};

use crate::support::*;

#[test]
fn g04_a_task_runs_until_it_succeeds_or_its_attempts_are_used_up() {
    let (mut tests, _) = stepped();
    let at_last = tests.queue().enqueue(&Do::FailUntil(3)).unwrap().id();
    let never = tests.queue().enqueue(&fail()).unwrap().id();
    for _ in 0..3 {
        tests.run_until_idle().unwrap();
        tests.advance(2 * MINUTE).unwrap();
    }
    let record = tests.queue().get(at_last).unwrap();
    assert_eq!((record.state, record.attempt_number, record.error_type), (State::Succeeded, 3, None));
    assert_eq!(tests.queue().attempts(at_last).unwrap().len(), 2);
    let record = tests.queue().get(never).unwrap();
    assert_eq!((record.state, record.attempt_number), (State::Failed, 3));
    assert_sound(tests.queue());
}

#[derive(Serialize, Deserialize)]
struct Own;

impl Task for Own {
    const NAME: &'static str = "own";
    type Output = u8;
    fn options(&self) -> Options {
        Options::new().max_attempts(2).backoff(Duration::from_secs(7)).queue("own")
    }
}

#[test]
fn the_nearest_of_three_levels_wins() {
    let clock = perdura::testing::ManualClock::new();
    let config = Config::default().max_task_attempts(9).retry_backoff(Duration::from_secs(5));
    let builder = builder(config)
        .clock(clock.clone())
        .handle(|_: Own, _: &Context| -> Result<u8, _> { Err(Failure::named("own", "as told")) });
    let tests = perdura::testing::SteppedQueue::open(builder, &clock).unwrap();
    let by_config = tests.queue().enqueue(&fail()).unwrap().id();
    let by_type = tests.queue().enqueue(&Own).unwrap().id();
    let options = Options::new().max_attempts(4).backoff(Duration::from_secs(3));
    let by_call = tests.queue().enqueue_with(&Own, options).unwrap().id();
    tests.run_until_idle().unwrap();
    let now = perdura::Clock::now(&clock);
    for (id, max, wait, queue) in
        [(by_config, 9, 5, "default"), (by_type, 2, 7, "own"), (by_call, 4, 3, "own")]
    {
        let record = tests.queue().get(id).unwrap();
        assert_eq!((record.max_attempts, record.queue.as_str()), (max, queue));
        assert_eq!(record.run_at, Some(now.saturating_add(wait * SECOND)));
    }
}

#[derive(Debug)]
struct Refused(std::num::ParseIntError);
impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("refused")
    }
}
impl std::error::Error for Refused {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

#[test]
fn an_error_that_reaches_the_question_mark_carries_its_types_name_and_sources() {
    let clock = perdura::testing::ManualClock::new();
    let refuse = |_: Own, _: &Context| -> Result<u8, Failure> { Ok("x".parse::<u8>().map_err(Refused)?) };
    let builder = Queue::builder().clock(clock.clone()).handle(refuse).deny::<Refused>();
    let tests = perdura::testing::SteppedQueue::open(builder, &clock).unwrap();
    let id = tests.queue().enqueue(&Own).unwrap().id();
    tests.run_until_idle().unwrap();
    let record = tests.queue().get(id).unwrap();
    assert_eq!(record.error_type.as_deref(), Some(std::any::type_name::<Refused>()));
    assert_eq!(record.error_message.as_deref(), Some("refused"));
    assert_eq!(record.error_traceback.as_deref(), Some("caused by: invalid digit found in string"));
    assert_eq!((record.state, record.attempt_number), (State::Failed, 1), "denied by its type");
}

#[test]
fn boxed_errors_keep_message_and_sources() {
    let io = || std::io::Error::other("the disk is on fire");
    let boxed: Box<dyn std::error::Error> = Box::new(Refused("x".parse::<u8>().unwrap_err()));
    let sync: Box<dyn std::error::Error + Send + Sync> = Box::new(io());
    assert_eq!(Failure::from_boxed(boxed).message(), "refused");
    assert_eq!(Failure::from_boxed(sync).message(), "the disk is on fire");
    assert_eq!(Failure::from(io()).error_type(), "std::io::error::Error");
}

#[test]
fn what_is_denied_or_permanent_fails_at_once() {
    let config = Config::default()
        .retry_exception_denylist(vec!["payment.declined".to_owned(), "std::io::Error".to_owned()]);
    let (tests, _) = stepped_with(config);
    for task in [Do::Permanent, Do::Fail("payment.declined".into()), Do::Fail("std::io::error::Error".into())]
    {
        let id = tests.queue().enqueue(&task).unwrap().id();
        tests.run_until_idle().unwrap();
        assert_eq!(tests.queue().get(id).unwrap().state, State::Failed, "{task:?}");
    }
    let id = tests.queue().enqueue(&Do::Fail("declined".into())).unwrap().id();
    tests.run_until_idle().unwrap();
    assert_eq!(tests.queue().get(id).unwrap().state, State::Queued, "another type");
}

#[test]
fn retry_after_replaces_the_backoff_and_counts() {
    let (tests, clock) = stepped();
    let id = tests.queue().enqueue(&Do::RetryAfter(1234)).unwrap().id();
    tests.run_until_idle().unwrap();
    let record = tests.queue().get(id).unwrap();
    assert_eq!(record.run_at, Some(perdura::Clock::now(&clock).saturating_add(Duration::from_millis(1234))));
    assert_eq!(record.attempt_number, 1);
}

#[test]
fn a_snooze_refunds_its_attempt_and_is_counted() {
    let (mut tests, _) = stepped();
    let id = tests.queue().enqueue(&Do::Snooze(1)).unwrap().id();
    for _ in 0..5 {
        assert_eq!(tests.run_until_idle().unwrap().snoozed, 1);
        tests.advance(Duration::from_millis(9)).unwrap();
        assert_eq!(tests.run_one().unwrap(), None, "a snooze lasts 10 ms at least");
        tests.advance(Duration::from_millis(1)).unwrap();
    }
    let record = tests.queue().get(id).unwrap();
    assert_eq!(
        (record.state, record.attempt_number, record.generation, record.snoozes),
        (State::Queued, 0, 5, 5)
    );
    assert!(tests.queue().attempts(id).unwrap().is_empty());
}

#[test]
fn a_handler_may_cancel_its_task() {
    let (tests, _) = stepped();
    let id = tests.queue().enqueue(&Do::Cancel).unwrap().id();
    assert_eq!(tests.run_until_idle().unwrap().cancelled, 1);
    assert_eq!(tests.queue().get(id).unwrap().state, State::Cancelled);
    assert_eq!(tests.queue().attempts(id).unwrap()[0].outcome, AttemptOutcome::Cancelled);
}

#[test]
fn the_first_and_the_last_ten_attempts_are_kept() {
    let (mut tests, _) = stepped();
    let id = add(tests.queue(), &fail(), Options::new().max_attempts(100).backoff(Duration::ZERO));
    for _ in 0..35 {
        tests.run_one().unwrap();
        tests.tick().unwrap();
    }
    let kept: Vec<_> = tests.queue().attempts(id).unwrap().iter().map(|a| a.attempt_number).collect();
    assert_eq!(kept, (1..=10).chain(26..=35).collect::<Vec<_>>());
    assert_sound(tests.queue());
}

#[test]
fn jitter_is_the_same_for_the_same_file_and_stays_within_its_fraction() {
    let (tests, clock) = stepped_with(Config::default().retry_jitter(0.5));
    let ids: Vec<_> = (0..20).map(|_| tests.queue().enqueue(&fail()).unwrap().id()).collect();
    tests.run_until_idle().unwrap();
    let now = perdura::Clock::now(&clock);
    let waits: std::collections::BTreeSet<_> =
        ids.iter().map(|id| tests.queue().get(*id).unwrap().run_at.unwrap().since(now)).collect();
    assert!(waits.iter().all(|w| (60 * SECOND..=90 * SECOND).contains(w)), "{waits:?}");
    assert!(waits.len() > 10, "spread: {waits:?}");
}

#[test]
fn g13_panics_fail_their_attempt_with_location_and_backtrace() {
    let folder = Folder::new();
    let config = Config::default().workers(2).max_task_attempts(1);
    let queue = builder(config).panic_hook(true).open(folder.file()).unwrap();
    let ids: Vec<_> = (0..8).map(|_| queue.enqueue(&Do::Panic("ouch".into())).unwrap().id()).collect();
    for id in ids {
        let record = queue.wait(id, PATIENCE).unwrap();
        assert_eq!((record.state, record.error_type.as_deref()), (State::Failed, Some("Panic")));
        assert_eq!(record.error_message.as_deref(), Some("ouch"));
        assert!(record.error_traceback.unwrap().contains("tests/it/helpers/support.rs:"), "its location");
    }
    let id = queue.enqueue(&Do::Ok(1)).unwrap().id();
    assert_eq!(queue.wait(id, PATIENCE).unwrap().state, State::Succeeded, "the workers live on");
    assert!(queue.shutdown(MINUTE).unwrap().still_running.is_empty());
    assert_sound(&queue);
}

struct PanicsInDrop;
impl Drop for PanicsInDrop {
    fn drop(&mut self) {
        panic!("again");
    }
}

#[test]
fn g13_a_panic_payload_that_panics_harms_nobody() {
    let (tests, clock) = stepped();
    drop(tests);
    let builder = Queue::builder()
        .clock(clock.clone())
        .handle(|_: Own, _: &Context| -> Result<u8, Failure> { std::panic::panic_any(PanicsInDrop) });
    let tests = perdura::testing::SteppedQueue::open(builder, &clock).unwrap();
    let id = tests.queue().enqueue(&Own).unwrap().id();
    assert_eq!(tests.run_until_idle().unwrap().failed, 1);
    assert_eq!(tests.queue().get(id).unwrap().error_message.as_deref(), Some("a panic without a text"));
}
