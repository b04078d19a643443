//! The error that callers get: opaque, with a kind to branch on and a message to show.
//!
//! Messages are lower case, name the field and suggest the fix. They never hold args, checkpoints, results or unique keys (G14).

use std::error::Error as StdError;
use std::fmt;
use std::ops::Range;
use std::str::FromStr;

/// What went wrong in a call. See [`Error::kind`] and [`Error::outcome`].
pub struct Error(Box<Repr>);

struct Repr {
    kind: ErrorKind,
    message: String,
    /// The bytes of the message that name the wrong field.
    field: Option<Range<usize>>,
    outcome: Outcome,
    token: Option<EnqueueToken>,
    source: Option<Box<dyn StdError + Send + Sync>>,
    /// For a task that ended without a result: the type and the message of its error.
    task_error: Option<(String, String)>,
}

/// What kind of thing went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A name, option, filter or path is not valid.
    InvalidInput,
    /// The configuration is out of range, or a handler is registered twice.
    InvalidConfig,
    /// Args, a result or a checkpoint are over their limit.
    TooLarge,
    /// Args, a result or a checkpoint do not turn into JSON, or do not come back from it.
    Serialization,
    /// There is no such task, dead letter or result.
    NotFound,
    /// The task's state does not allow this; the message names the state.
    WrongState,
    /// The task has no result: it failed, was lost or was cancelled. See [`Error::error_type`] and [`Error::error_message`].
    TaskFailed,
    /// Another live task holds the unique key.
    Conflict,
    /// The attempt that writes is not the running one any more; nothing was changed.
    Superseded,
    /// Another connection kept the file locked for too long. Try again.
    Busy,
    /// The read was ended by [`Queue::interrupt_reads`](crate::Queue::interrupt_reads).
    Interrupted,
    /// The disk, or the quota, is full.
    DiskFull,
    /// The operating system reported an error of the disk or file.
    Io,
    /// The file or its folder cannot be written.
    ReadOnly,
    /// The file was removed, renamed or replaced while it was open. Nothing is written until it is
    /// back; a connection that is already open may still read the old content. Or a file was
    /// changed that a read-only queue had opened as one that nobody changes.
    FileReplaced,
    /// The file would lie on a network file system. See
    /// [`Builder::allow_network_file_system`](crate::Builder::allow_network_file_system).
    NetworkFileSystem,
    /// The file belongs to another program. It was left as it was.
    NotPerdura,
    /// The file is damaged. It was left as it was.
    Corrupt,
    /// A newer version of perdura made the file. It was left as it was.
    NewerSchema,
    /// Another process took over the execution of this file.
    OwnershipLost,
    /// The `-owner` file beside the database cannot be opened or locked, so this process executes
    /// nothing. It still enqueues and reads, and executes once the file is usable; the message says
    /// how to repair it.
    OwnerFile,
    /// This process was forked from one that had a queue open. Nothing was touched.
    ForkedProcess,
    /// A handler called `drain`, `wait` or `shutdown`, which would wait for that handler.
    InsideHandler,
    /// A queue was called inside the closure of a transaction (`Queue::transaction`, `Context::commit`), for which it may have to wait.
    WouldDeadlock,
    /// The call needs handlers, and this queue has none.
    NoHandlers,
    /// The queue was shut down and runs nothing more.
    ShutDown,
    /// The time limit of the call was reached.
    TimedOut,
    /// A test let the queue crash ([`testing::SteppedQueue`](crate::testing::SteppedQueue)); every
    /// later call fails with this.
    Crashed,
    /// A bug in perdura. Please report it.
    Internal,
}

/// Whether a call that failed may have had an effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// It changed nothing, and never will.
    NotDone,
    /// The disk failed while committing, and again when the commit was checked: the change may or
    /// may not be there. [`Error::token`] recognises it later.
    Unknown,
}

impl Error {
    /// What kind of thing went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether the call may have had an effect although it failed. `NotDone` for calls that write
    /// nothing.
    pub fn outcome(&self) -> Outcome {
        self.0.outcome
    }

    /// For [`ErrorKind::InvalidInput`] and [`ErrorKind::InvalidConfig`]: the name of the option,
    /// argument or setting that is wrong, if it is a single one. The message begins with it, after
    /// the context if there is one (`line 3: max_attempts …`).
    ///
    /// ```
    /// use perdura::{Config, Options};
    ///
    /// let options = Options::new().max_attempts(0);
    /// let error = options.validate(&Config::default(), std::time::SystemTime::now()).unwrap_err();
    /// assert_eq!(error.field(), Some("max_attempts"));
    /// assert_eq!(error.to_string(), r#"max_attempts "0" is not in 1 to 100"#);
    /// ```
    pub fn field(&self) -> Option<&str> {
        self.0.field.clone().map(|at| &self.0.message[at])
    }

    /// For an enqueue whose outcome is [`Outcome::Unknown`]: repeat it with [`Options::token`](crate::Options::token).
    pub fn token(&self) -> Option<EnqueueToken> {
        self.0.token
    }

    /// For [`ErrorKind::TaskFailed`]: the type of the error with which the task ended, if it has one.
    pub fn error_type(&self) -> Option<&str> {
        self.0.task_error.as_ref().map(|(error_type, _)| error_type.as_str())
    }

    /// For [`ErrorKind::TaskFailed`]: the message of the error with which the task ended, if it has
    /// one. It is the handler's own text, so the texts of this error leave it out.
    pub fn error_message(&self) -> Option<&str> {
        self.0.task_error.as_ref().map(|(_, message)| message.as_str())
    }

    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Error {
        Error(Box::new(Repr {
            kind,
            message: message.into(),
            field: None,
            outcome: Outcome::NotDone,
            token: None,
            source: None,
            task_error: None,
        }))
    }

    /// `field` breaks a rule; `problem` says which, and the fix. The message leaves out the value.
    pub(crate) fn invalid(field: &str, problem: &str) -> Error {
        Error::of_field(ErrorKind::InvalidInput, field, problem)
    }

    /// Like [`Error::invalid`], with the value.
    pub(crate) fn invalid_value(field: &str, value: impl fmt::Display, problem: &str) -> Error {
        let problem = format!("{} {problem}", quoted(&value.to_string()));
        Error::of_field(ErrorKind::InvalidInput, field, &problem)
    }

    /// An error whose message begins with the name of a field.
    pub(crate) fn of_field(kind: ErrorKind, field: &str, problem: &str) -> Error {
        let mut error = Error::new(kind, format!("{field} {problem}"));
        error.0.field = Some(0..field.len());
        error
    }

    /// A bug in perdura: a state that the code rules out.
    pub(crate) fn internal(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Internal, message)
    }

    pub(crate) fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Error {
        self.0.source = Some(source.into());
        self
    }

    pub(crate) fn with_task_error(mut self, error_type: String, message: String) -> Error {
        self.0.task_error = Some((error_type, message));
        self
    }

    pub(crate) fn with_outcome(mut self, outcome: Outcome) -> Error {
        self.0.outcome = outcome;
        self
    }

    pub(crate) fn with_token(mut self, token: EnqueueToken) -> Error {
        self.0.token = Some(token);
        self
    }

    /// Puts what was being done in front of the message: `opening "tasks.db": the disk is full`.
    pub(crate) fn context(mut self, what: &str) -> Error {
        let before = format!("{what}: ");
        self.0.field = self.0.field.map(|at| at.start + before.len()..at.end + before.len());
        self.0.message = before + &self.0.message;
        self
    }

    /// The same error, with another name for its field.
    #[cfg(any(test, all(unix, feature = "cli")))]
    pub(crate) fn with_field_named(mut self, name: &str) -> Error {
        if let Some(at) = self.0.field.take() {
            self.0.field = Some(at.start..at.start + name.len());
            self.0.message.replace_range(at, name);
        }
        self
    }

    /// The same error again, for each of several calls that failed together. The source stays with the first.
    pub(crate) fn repeat(&self) -> Error {
        let mut again = Error::new(self.0.kind, self.0.message.clone()).with_outcome(self.0.outcome);
        again.0.token = self.0.token;
        again.0.field = self.0.field.clone();
        again
    }
}

/// A value for a message: cut short, control characters escaped.
fn quoted(value: &str) -> String {
    const SHOWN: usize = 60;
    match value.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{:?}…", &value[..end]),
        None => format!("{value:?}"),
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        match self.0.outcome {
            Outcome::NotDone => Ok(()),
            Outcome::Unknown => f.write_str(" (whether it was done is unknown)"),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("message", &self.0.message)
            .field("outcome", &self.0.outcome)
            .finish_non_exhaustive()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|s| s as &(dyn StdError + 'static))
    }
}

/// Recognises one enqueue whose outcome stayed unknown (see [`Outcome::Unknown`]).
///
/// Repeat the enqueue with [`Options::token`](crate::Options::token): if the first one did reach the disk, the repetition finds it and
/// makes no second task, as long as the first is retained. Its text form survives a restart of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EnqueueToken {
    /// The id that the failed commit gave to the task: the row to look up.
    pub(crate) task_id: i64,
    /// The random number that proves that the row found there came from that enqueue.
    pub(crate) token: i64,
}

impl fmt::Display for EnqueueToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:016x}", self.task_id, self.token)
    }
}

impl FromStr for EnqueueToken {
    type Err = Error;

    /// # Errors
    /// [`ErrorKind::InvalidInput`](ErrorKind::InvalidInput) if the text is not what a token prints.
    fn from_str(text: &str) -> Result<EnqueueToken, Error> {
        let parse = || {
            let (id, token) = text.split_once('-')?;
            let token = u64::from_str_radix(token, 16).ok()?;
            Some(EnqueueToken { task_id: id.parse().ok()?, token: token.cast_signed() })
        };
        parse().ok_or_else(|| Error::invalid("token", "is not an enqueue token such as 17-00c0ffee00c0ffee"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_in_the_message_and_can_have_another_name() {
        let error = Error::invalid_value("max_attempts", 0, "is not in 1 to 100").context("line 3");
        assert_eq!((error.field(), error.repeat().field()), (Some("max_attempts"), Some("max_attempts")));
        let error = error.with_field_named("--max-attempts").context("jobs");
        assert_eq!(error.field(), Some("--max-attempts"));
        assert_eq!(error.to_string(), "jobs: line 3: --max-attempts \"0\" is not in 1 to 100");
        let other = Error::new(ErrorKind::Io, "the disk has failed").context("x").with_field_named("y");
        assert_eq!((other.field(), other.to_string().as_str()), (None, "x: the disk has failed"));
    }

    #[test]
    fn a_token_survives_its_text() {
        let token = EnqueueToken { task_id: 17, token: -2 };
        assert_eq!(token.to_string().parse::<EnqueueToken>().unwrap(), token);
        for bad in ["", "17", "17-", "x-1", "17-zz"] {
            assert!(bad.parse::<EnqueueToken>().is_err(), "{bad:?}");
        }
    }
}
