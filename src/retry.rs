//! Retries: the waits between attempts, and which errors are not retried. Pure.

use std::time::Duration;

use siphasher::sip::SipHasher13;

use crate::config::Config;

/// How failures are retried: how often, and after what waits.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct RetryPolicy {
    /// How often a task may be tried, the first time included.
    pub max_attempts: u32,
    /// The wait after the first failure.
    pub backoff: Duration,
    /// The longest wait.
    pub backoff_max: Duration,
    /// The largest random addition to each wait, as a fraction of it: 0-1.
    pub jitter: f64,
}

impl From<&Config> for RetryPolicy {
    fn from(config: &Config) -> RetryPolicy {
        RetryPolicy {
            max_attempts: config.max_task_attempts,
            backoff: config.retry_backoff,
            backoff_max: config.retry_backoff_max,
            jitter: config.retry_jitter,
        }
    }
}

impl RetryPolicy {
    /// The wait after attempt `attempt_number` has failed: `backoff × 2^(n−1)`, plus `draw` (0 ≤ draw < 1) of the jitter, at most
    /// `backoff_max`. Plain exponential backoff; all arithmetic saturates.
    pub fn delay(&self, attempt_number: u32, draw: f64) -> Duration {
        let doublings = attempt_number.saturating_sub(1);
        let factor = 1_u128.checked_shl(doublings).unwrap_or(u128::MAX);
        let delay = from_nanos(self.backoff.as_nanos().saturating_mul(factor));
        let fraction = self.jitter.clamp(0.0, 1.0) * draw.clamp(0.0, 1.0);
        let extra = delay.min(self.backoff_max).as_secs_f64() * fraction;
        let extra = Duration::try_from_secs_f64(extra).unwrap_or(Duration::ZERO);
        delay.saturating_add(extra).min(self.backoff_max)
    }

    /// All waits, in order, without jitter: one between each two attempts.
    ///
    /// ```
    /// use std::time::Duration;
    /// let policy = perdura::RetryPolicy::from(&perdura::Config::default());
    /// assert_eq!(policy.schedule(), [Duration::from_secs(60), Duration::from_secs(120)]);
    /// ```
    pub fn schedule(&self) -> Vec<Duration> {
        (1..self.max_attempts).map(|n| self.delay(n, 0.0)).collect()
    }
}

fn from_nanos(nanos: u128) -> Duration {
    u64::try_from(nanos / 1_000_000_000)
        .map_or(Duration::MAX, |s| Duration::new(s, (nanos % 1_000_000_000) as u32))
}

/// The draw for the jitter of one wait: always the same for the same file, task and attempt, spread evenly over 0 ≤ draw < 1.
pub(crate) fn draw(file_id: &[u8; 16], task_id: i64, attempt_number: u32) -> f64 {
    let mut input = [0; 12];
    input[..8].copy_from_slice(&task_id.to_le_bytes());
    input[8..].copy_from_slice(&attempt_number.to_le_bytes());
    let bits = SipHasher13::new_with_key(file_id).hash(&input) >> 11; // the 53 bits that an f64 can hold
    bits as f64 / (1_u64 << 53) as f64
}

/// Types of errors that are not retried.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Denylist {
    entries: Vec<Vec<String>>,
}

/// What is wrong with a refused denylist entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BadEntry(pub &'static str);

impl Denylist {
    /// Adds an entry: the name of a type, or its last segment with some of those before.
    pub(crate) fn add(&mut self, entry: &str) -> Result<(), BadEntry> {
        let segments = segments(entry);
        if segments.is_empty() || segments.iter().any(String::is_empty) {
            return Err(BadEntry("has an empty segment; write a type such as \"my_app::PermanentError\""));
        }
        if segments == ["Error"] {
            return Err(BadEntry(
                "would match nearly every library's error; name its module too, such as \"std::io::Error\"",
            ));
        }
        self.entries.push(segments);
        Ok(())
    }

    /// Whether an error of this type is not retried.
    pub(crate) fn denies(&self, error_type: &str) -> bool {
        let found = segments(error_type);
        self.entries.iter().any(|entry| matches(entry, &found))
    }
}

/// An entry matches if its last segment equals the type's, and its others occur in the type's path in the same order.
fn matches(entry: &[String], error_type: &[String]) -> bool {
    let (Some((last, path)), Some((type_last, type_path))) = (entry.split_last(), error_type.split_last())
    else {
        return false;
    };
    let mut rest = type_path.iter();
    last == type_last && path.iter().all(|segment| rest.any(|s| s == segment))
}

/// The segments of a type's name, without generics: `a::B<c::D>` and `a.B` are both `[a, B]`.
fn segments(name: &str) -> Vec<String> {
    let mut depth = 0_usize;
    let bare: String = name
        .chars()
        .filter(|c| match c {
            '<' => {
                depth += 1;
                false
            }
            '>' => {
                depth = depth.saturating_sub(1);
                false
            }
            _ => depth == 0,
        })
        .collect();
    bare.trim().replace("::", ".").split('.').map(|s| s.trim().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const POLICY: RetryPolicy = RetryPolicy {
        max_attempts: 3,
        backoff: Duration::from_secs(60),
        backoff_max: Duration::from_secs(24 * 3600),
        jitter: 0.0,
    };

    #[test]
    fn the_default_waits_60_120_240_seconds() {
        let waits: Vec<u64> = (1..=3).map(|n| POLICY.delay(n, 0.0).as_secs()).collect();
        assert_eq!(waits, [60, 120, 240]);
        assert_eq!(POLICY.schedule(), [Duration::from_secs(60), Duration::from_secs(120)]);
    }

    #[test]
    fn the_cap_holds_from_the_twelfth_retry_on() {
        assert_eq!(POLICY.delay(11, 0.0), Duration::from_secs(60 * 1024));
        for n in 12..=200 {
            assert_eq!(POLICY.delay(n, 0.0), Duration::from_secs(24 * 3600), "attempt {n}");
        }
        assert_eq!(RetryPolicy { backoff: Duration::ZERO, ..POLICY }.delay(u32::MAX, 0.9), Duration::ZERO);
    }

    #[test]
    fn the_denylist_matches_whole_segments_in_order() {
        let cases = [
            ("std::io::Error", "std::io::error::Error", true),
            ("io.Error", "std::io::error::Error", true),
            ("std::fs::Error", "std::io::error::Error", false),
            ("io::std::Error", "std::io::error::Error", false),
            ("InvalidInput", "my_app::errors::InvalidInput", true),
            ("Invalid", "my_app::errors::InvalidInput", false),
            ("InvalidInput", "my_app::InvalidInputs", false),
            ("my_app::Wrapped", "my_app::Wrapped<alloc::string::String>", true),
            ("Wrapped<u8>", "my_app::Wrapped<alloc::vec::Vec<u8>>", true),
            ("String", "my_app::Wrapped<alloc::string::String>", false),
            ("payment::declined", "payment.declined", true),
            ("declined", "payment.declined", true),
            ("a::b::C", "C", false),
            ("Panic", "Panic", true),
        ];
        for (entry, error_type, wanted) in cases {
            let mut list = Denylist::default();
            list.add(entry).unwrap();
            assert_eq!(list.denies(error_type), wanted, "{entry} against {error_type}");
        }
    }

    #[test]
    fn entries_that_cannot_be_meant_are_refused() {
        for entry in ["", "Error", "Error<T>", "a::", "::a", ".", "a....b", "<T>"] {
            assert!(Denylist::default().add(entry).is_err(), "{entry:?}");
        }
    }

    proptest! {
        #[test]
        fn waits_never_shrink_and_never_pass_the_cap(
            base in 0_u64..=86_400_000, max in 0_u64..=864_000_000, jitter in 0.0..=1.0, draw in 0.0..1.0, n in 1_u32..300,
        ) {
            let policy = RetryPolicy {
                max_attempts: 100,
                backoff: Duration::from_millis(base),
                backoff_max: Duration::from_millis(max),
                jitter,
            };
            let exact = u128::from(base) << (n - 1).min(60);
            let bare = policy.delay(n, 0.0);
            prop_assert_eq!(bare.as_millis(), exact.min(u128::from(max)));
            let with_jitter = policy.delay(n, draw);
            prop_assert!(bare <= with_jitter && with_jitter <= policy.backoff_max.max(bare));
            prop_assert!(policy.delay(n + 1, 0.0) >= bare);
        }

        #[test]
        fn a_draw_is_a_fraction_and_always_the_same(file_id: [u8; 16], task_id: i64, n: u32) {
            let first = draw(&file_id, task_id, n);
            prop_assert!((0.0..1.0).contains(&first));
            prop_assert_eq!(first, draw(&file_id, task_id, n));
        }

        #[test]
        fn no_name_makes_the_denylist_panic(entry: String, error_type: String) {
            let mut list = Denylist::default();
            let _ = list.add(&entry);
            let _ = list.denies(&error_type);
        }
    }
}
