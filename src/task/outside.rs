//! Work that is outside: a task that is `RUNNING` and has no thread.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::id::TaskId;
use super::timestamp::Timestamp;

/// Where the work of an attempt goes on once its handler has returned.
#[derive(Debug, Clone, Default)]
pub(crate) struct GoesOutside {
    pub to: Elsewhere,
    /// How much of the time for its attempt is left.
    pub time_left: Option<Duration>,
}

/// Who does work that is outside.
#[derive(Debug, Clone)]
pub(crate) enum Elsewhere {
    /// Somebody whom perdura does not know, and who says how it ends.
    Somebody { waits_for: String },
    /// An engine, with the spec of the job (JSON).
    Engine { name: String, spec: String },
}

impl Elsewhere {
    /// How large the spec of the job is, in bytes.
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

/// A job of an engine, as the file has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JobRow {
    pub task_id: TaskId,
    pub generation: u64,
    pub job: String,
    /// When it was to be started.
    pub since: Timestamp,
    /// When the engine had it for certain.
    pub accepted_at: Option<Timestamp>,
    /// When its attempt has taken too long.
    pub deadline: Option<Timestamp>,
    pub cancel_requested: bool,
    /// The epoch of the owner that was to start it.
    pub epoch: i64,
}

/// The work of a `RUNNING` task that is outside: no thread runs it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct OutsideRecord {
    /// The engine that does it; none if somebody says how it ends ([`Failure::outside`](crate::Failure::outside)).
    pub engine: Option<String>,
    /// The id under which the engine knows it.
    pub job: Option<String>,
    /// What it waits for, as its handler says; none if an engine does it.
    pub waits_for: Option<String>,
    /// When its handler returned.
    pub since: Timestamp,
    /// When the engine had it for certain. None before that: the engine is to be asked, or has been and has not answered.
    pub accepted_at: Option<Timestamp>,
    /// When the attempt has taken too long, if it has a [timeout](crate::Options::timeout).
    pub deadline: Option<Timestamp>,
}
