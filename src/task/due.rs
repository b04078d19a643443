//! When a task may start, and how long the times of options may be.

use std::time::Duration;

use super::timestamp::Timestamp;
use crate::error::Error;

/// When a task may start.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Due {
    /// So long after the enqueue.
    After(Duration),
    /// When the wall clock says so.
    At(Timestamp),
}

/// Checks that a time of an option is no longer than it may be.
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
