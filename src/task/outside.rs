//! Work outside this process: its task is `RUNNING` without a thread.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::id::TaskId;
use super::timestamp::Timestamp;

/// Where the work of an attempt goes on once its handler has returned.
#[derive(Debug, Clone, Default)]
pub(crate) struct GoesOutside {
    pub to: Elsewhere,
    /// How much of the attempt's timeout is left.
    pub time_left: Option<Duration>,
}

/// Who does the work.
#[derive(Debug, Clone)]
pub(crate) enum Elsewhere {
    /// Somebody unknown to perdura, who reports the end.
    Somebody { waits_for: String },
    /// An engine, with the spec of the job (JSON).
    Engine { name: String, spec: String },
}

impl Elsewhere {
    /// The size of the spec of the job, in bytes.
    pub(crate) fn spec_bytes(&self) -> usize {
        match self {
            Elsewhere::Somebody { .. } => 0,
            Elsewhere::Engine { spec, .. } => spec.len(),
        }
    }
}

impl Default for Elsewhere {
    fn default() -> Elsewhere {
        Elsewhere::Somebody { waits_for: String::new() }
    }
}

/// A job of an engine, as the file stores it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JobRow {
    pub task_id: TaskId,
    pub generation: u64,
    pub job: String,
    /// When its handler returned; its start comes after that.
    pub since: Timestamp,
    /// When the engine was known to have it.
    pub accepted_at: Option<Timestamp>,
    /// When its attempt times out.
    pub deadline: Option<Timestamp>,
    pub cancel_requested: bool,
    /// The epoch of the owner that was to start it.
    pub epoch: i64,
}

/// The work of a `RUNNING` task that is outside: no thread runs it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct OutsideRecord {
    /// The engine that does it; none if somebody reports its end
    /// ([`Failure::outside`](crate::Failure::outside)).
    pub engine: Option<String>,
    /// The id under which the engine knows it.
    pub job: Option<String>,
    /// What it waits for, as its handler says; none if an engine does it.
    pub waits_for: Option<String>,
    /// When its handler returned.
    pub since: Timestamp,
    /// When the engine was known to have it. None before that: the engine was not asked yet, or has
    /// not answered.
    pub accepted_at: Option<Timestamp>,
    /// When the attempt times out, if it has a [timeout](crate::Options::timeout).
    pub deadline: Option<Timestamp>,
}
