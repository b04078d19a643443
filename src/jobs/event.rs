//! What the worker is told by its threads.

use std::time::Duration;

use crate::{ShutdownReport, TaskId};

/// Something that has happened.
pub(super) enum Event {
    Ended(EndedAttempt),
    Signal(i32),
    Stopped(Result<ShutdownReport, crate::Error>),
}

/// An attempt that has left its worker.
pub(super) struct EndedAttempt {
    pub id: TaskId,
    pub generation: u64,
    pub attempt: u32,
    pub succeeded: bool,
    pub took: Duration,
    pub line: String,
}
