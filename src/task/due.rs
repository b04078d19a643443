//! When a task may start, and the bound of durations in options.

use std::time::Duration;

use super::timestamp::Timestamp;
use crate::error::Error;

/// When a task may start.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Due {
    /// This long after the enqueue.
    After(Duration),
    /// At this time of the wall clock.
    At(Timestamp),
}

/// Checks that the duration of an option is at most `max`.
///
/// # Errors
/// `InvalidInput`, naming the option, its value and its range.
pub(super) fn check_duration(field: &str, value: Option<Duration>, max: Duration) -> Result<(), Error> {
    match value {
        Some(d) if d > max => Err(Error::invalid_value(
            field,
            humantime::format_duration(d),
            &format!("is longer than {}", humantime::format_duration(max)),
        )),
        _ => Ok(()),
    }
}
