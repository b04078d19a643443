//! Steps of a task: parts that are done once in its life, known by name.

use std::fmt;

use serde::Serialize;

use super::timestamp::Timestamp;

/// The key of a step: its name and, in a loop, its number.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct StepKey {
    pub name: String,
    pub number: Option<u64>,
}

impl StepKey {
    /// Its number as a row stores it.
    pub(crate) fn number_code(&self) -> i64 {
        self.number.map_or(-1, |number| i64::try_from(number).unwrap_or(i64::MAX))
    }

    /// The number that a row stores.
    pub(crate) fn number_of(code: i64) -> Option<u64> {
        u64::try_from(code).ok()
    }
}

impl fmt::Display for StepKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.number {
            Some(number) => write!(f, "{:?} {number}", self.name),
            None => write!(f, "{:?}", self.name),
        }
    }
}

/// A step of a task that is done, or a sleep that has begun. [`Queue::steps`](crate::Queue::steps)
/// lists them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct StepRecord {
    /// Its name.
    pub name: String,
    /// Its number, for a step of a loop ([`Context::step_n`](crate::Context::step_n)).
    pub number: Option<u64>,
    /// When it was done; of a sleep, when it began.
    pub done_at: Timestamp,
    /// Its result, as JSON; none for a sleep.
    pub result_json: Option<String>,
}

impl StepRecord {
    /// Whether it is a sleep ([`Context::sleep`](crate::Context::sleep)).
    pub fn is_sleep(&self) -> bool {
        self.result_json.is_none()
    }
}
