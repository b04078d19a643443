//! Jobs of an engine: their ids, their statuses, what they leave behind; and the errors of an engine.

use std::fmt;

use crate::handler::JobFailure;

/// The id under which an engine knows a job: hexadecimal digits and `-`, at most 100 bytes. It is made from the file, the task and the attempt, so
/// no other job has it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JobId(String);

impl JobId {
    /// An id, for tests of an engine.
    pub fn new(id: impl Into<String>) -> JobId {
        JobId(id.into())
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The status of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum JobStatus {
    /// The engine has it, and it has not begun to run.
    Pending,
    /// It runs.
    Running,
    /// It has ended.
    Ended(JobEnd),
    /// The engine does not know this id: it never did, or has forgotten it.
    Absent,
    /// The engine cannot say just now.
    Unknown,
}

/// How a job has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum JobEnd {
    /// The user's work has succeeded.
    Succeeded,
    /// The user's work has failed. The task is retried as if its handler had returned such a failure.
    Failed(JobFailure),
    /// It was stopped, by [`Engine::cancel`](super::Engine::cancel) or by somebody else.
    Cancelled,
    /// The engine has ended it by an error of its own; whether the work was done is not known. The task is `LOST`, with this message.
    Lost(String),
}

/// The result and the log of a job that has ended.
#[derive(Clone, Default)]
#[must_use]
pub struct Collected {
    pub(crate) result: Option<String>,
    pub(crate) log: Vec<u8>,
}

impl Collected {
    /// Neither a result nor a log.
    pub fn new() -> Collected {
        Collected::default()
    }

    /// Sets the result, a text: [`Ended::text`](super::Ended::text) and [`Ended::json`](super::Ended::json) read it.
    pub fn result(mut self, text: impl Into<String>) -> Collected {
        self.result = Some(text.into());
        self
    }

    /// Sets the log, which is what the job has written. perdura keeps the first 16 KiB and the last 48 KiB with the task.
    pub fn log(mut self, bytes: impl Into<Vec<u8>>) -> Collected {
        self.log = bytes.into();
        self
    }
}

/// Shows the sizes of result and log, whose texts may be private.
impl fmt::Debug for Collected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Collected")
            .field("result_bytes", &self.result.as_ref().map(String::len))
            .field("log_bytes", &self.log.len())
            .finish()
    }
}

/// Why an engine did not do what it was asked.
///
/// Its message is logged and shown: it must not hold secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct EngineError {
    pub(crate) kind: EngineErrorKind,
    pub(crate) message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EngineErrorKind {
    Refused,
    NotNow,
    Unreachable,
}

impl EngineError {
    /// The engine refuses this job for good, because of its spec. The task fails, and keeps the message.
    pub fn refused(message: impl Into<String>) -> EngineError {
        EngineError { kind: EngineErrorKind::Refused, message: message.into() }
    }

    /// The engine has certainly not done what it was asked, and may do it later: it is busy, refuses the connection, or does not know who asks.
    pub fn not_now(message: impl Into<String>) -> EngineError {
        EngineError { kind: EngineErrorKind::NotNow, message: message.into() }
    }

    /// The engine has not answered: it may have done what it was asked, or not.
    pub fn unreachable(message: impl Into<String>) -> EngineError {
        EngineError { kind: EngineErrorKind::Unreachable, message: message.into() }
    }

    /// Whether the engine refuses the job for good.
    pub fn is_refusal(&self) -> bool {
        self.kind == EngineErrorKind::Refused
    }

    /// Its message.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for EngineError {}
