//! Events that the worker's threads send to it.

use std::time::Duration;

use crate::{ShutdownReport, TaskId, Timestamp};

/// An event of a worker.
pub(super) enum WorkerEvent {
    Ended(EndedAttempt),
    WentOutside(OutsideAttempt),
    Signal(i32),
    Stopped(Result<ShutdownReport, crate::Error>),
}

/// An attempt that has ended.
pub(super) struct EndedAttempt {
    pub id: TaskId,
    pub generation: u64,
    pub attempt: u32,
    pub succeeded: bool,
    pub took: Duration,
    pub line: String,
}

/// An attempt whose work an engine does.
pub(super) struct OutsideAttempt {
    pub id: TaskId,
    pub generation: u64,
    pub attempt: u32,
    pub began: Timestamp,
    pub line: String,
}

impl OutsideAttempt {
    /// This attempt, which has ended by `now`. (Whether it has succeeded is in the file.)
    pub(super) fn ended(self, now: Timestamp) -> EndedAttempt {
        let OutsideAttempt { id, generation, attempt, began, line } = self;
        EndedAttempt { id, generation, attempt, succeeded: false, took: now.since(began), line }
    }
}
