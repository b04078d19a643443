//! Events that the worker's threads send to it.

use std::time::Duration;

use crate::{ShutdownReport, TaskId};

/// An event.
pub(super) enum WorkerEvent {
    Ended(EndedAttempt),
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
