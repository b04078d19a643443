//! Steps of a task: what is done once in its life, by name.

use std::fmt;

use serde::Serialize;

use super::timestamp::Timestamp;

/// What a step is called: its name and, for one of a loop, its number.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct StepKey {
    pub name: String,
    pub number: Option<u64>,
}

impl StepKey {
    /// Its number as it stands in a row.
    pub(crate) fn number_code(&self) -> i64 {
        self.number.map_or(-1, |number| i64::try_from(number).unwrap_or(i64::MAX))
    }

    /// The number that stands in a row.
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

/// A step of a task that is done, or a sleep that has begun. [`Queue::steps`](crate::Queue::steps) gives them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct StepRecord {
    /// Its name.
    pub name: String,
    /// Which one of its name it is, for one of a loop ([`Context::step_n`](crate::Context::step_n)).
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
