//! Sums of attempts by task name and minute.

use serde::Serialize;

use super::histogram::{Histogram, UNKNOWN};
use super::timestamp::Timestamp;

/// The attempts of one task name that ended in one minute, counted by outcome. Made by
/// [`Queue::rollups`](crate::Queue::rollups).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Rollup {
    /// When the minute began.
    pub minute: Timestamp,
    /// The task name.
    pub task_name: String,
    /// Attempts that succeeded.
    pub succeeded: u64,
    /// Attempts that failed or were lost, and whose task is tried again.
    pub retried: u64,
    /// Attempts that left their task `FAILED`.
    pub failed: u64,
    /// Attempts that left their task `LOST`.
    pub lost: u64,
    /// Attempts that left their task `CANCELLED`.
    pub cancelled: u64,
    /// How long the handlers ran, except in attempts whose process died.
    pub ran: Histogram,
    /// How long the tasks had been ready when their attempts started.
    pub waited: Histogram,
}

impl Rollup {
    /// A rollup with all counts zero.
    pub(crate) fn new(minute: Timestamp, task_name: String) -> Rollup {
        Rollup {
            minute,
            task_name,
            succeeded: 0,
            retried: 0,
            failed: 0,
            lost: 0,
            cancelled: 0,
            ran: Histogram::default(),
            waited: Histogram::default(),
        }
    }

    /// All attempts that ended.
    pub fn ended(&self) -> u64 {
        let counts = [self.retried, self.failed, self.lost, self.cancelled];
        counts.into_iter().fold(self.succeeded, u64::saturating_add)
    }

    /// Adds the counts of another rollup; the minute and the name stay.
    pub fn merge(&mut self, other: &Rollup) {
        for (sum, n) in [
            (&mut self.succeeded, other.succeeded),
            (&mut self.retried, other.retried),
            (&mut self.failed, other.failed),
            (&mut self.lost, other.lost),
            (&mut self.cancelled, other.cancelled),
        ] {
            *sum = sum.saturating_add(n);
        }
        self.ran.merge(&other.ran);
        self.waited.merge(&other.waited);
    }

    /// Counts `n` attempts in a bucket of a measure.
    pub(crate) fn count(&mut self, measure: Measure, bucket: u8, n: u64) {
        let counter = match measure {
            Measure::Succeeded => &mut self.succeeded,
            Measure::Retried => &mut self.retried,
            Measure::Failed => &mut self.failed,
            Measure::Lost => &mut self.lost,
            Measure::Cancelled => &mut self.cancelled,
            Measure::Waited => return self.waited.add(bucket, n),
        };
        *counter = counter.saturating_add(n);
        if bucket != UNKNOWN {
            self.ran.add(bucket, n);
        }
    }
}

/// What is counted, by its number in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Measure {
    Succeeded,
    Retried,
    Failed,
    Lost,
    Cancelled,
    Waited,
}

impl Measure {
    const ALL: [Measure; 6] = [
        Measure::Succeeded,
        Measure::Retried,
        Measure::Failed,
        Measure::Lost,
        Measure::Cancelled,
        Measure::Waited,
    ];

    pub(crate) fn code(self) -> i64 {
        self as i64
    }

    pub(crate) fn from_code(code: i64) -> Option<Measure> {
        Measure::ALL.get(usize::try_from(code).ok()?).copied()
    }
}
