//! The six states, and the reasons for which a queued task waits.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// The state of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum State {
    /// Waits to run: now, or for the reason that its [`Hold`] names.
    Queued,
    /// A worker executes it, or its work is [outside](crate::Failure::outside).
    Running,
    /// An attempt returned Ok.
    Succeeded,
    /// It failed and will not be retried by itself.
    Failed,
    /// It was cancelled, or expired.
    Cancelled,
    /// Its process died, its handler fell silent, or its job at an engine was lost, and it is not retried by itself.
    Lost,
}

impl State {
    /// All states, in the order of their numbers in the file.
    pub const ALL: [State; 6] =
        [State::Queued, State::Running, State::Succeeded, State::Failed, State::Cancelled, State::Lost];

    /// Whether nothing more happens to a task in this state by itself. (A `LOST` task whose thread still runs may yet succeed.)
    pub fn is_finished(self) -> bool {
        !matches!(self, State::Queued | State::Running)
    }

    /// Its name, in capitals.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Queued => "QUEUED",
            State::Running => "RUNNING",
            State::Succeeded => "SUCCEEDED",
            State::Failed => "FAILED",
            State::Cancelled => "CANCELLED",
            State::Lost => "LOST",
        }
    }

    pub(crate) fn code(self) -> i64 {
        self as i64
    }

    pub(crate) fn from_code(code: i64) -> Option<State> {
        State::ALL.get(usize::try_from(code).ok()?).copied()
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for State {
    type Err = Error;

    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) if it is none of the six names (in any case).
    fn from_str(text: &str) -> Result<State, Error> {
        State::ALL.into_iter().find(|s| s.as_str().eq_ignore_ascii_case(text)).ok_or_else(|| {
            Error::invalid_value(
                "state",
                text,
                "is none of QUEUED, RUNNING, SUCCEEDED, FAILED, CANCELLED, LOST",
            )
        })
    }
}

/// Why a `QUEUED` task may not be claimed yet. A task can have several reasons to wait at once; the first of them, in the order of this
/// list, is its hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Hold {
    /// It may be claimed.
    Ready,
    /// A thread still runs an earlier attempt of it.
    PreviousAttempt,
    /// It waits until tasks before it have ended: the runs of its schedule.
    Parents,
    /// It waits for its time (`run_at`): a delay, or the backoff of a retry.
    Time,
    /// No handler of the owner knows its name (or its version is newer than the handler's).
    UnknownName,
    /// It needs a condition ([`Options::needs`](crate::Options::needs)) or free disk, and that is not met.
    Condition,
    /// Its key has a limit ([`Options::limit`](crate::Options::limit), [`Options::serial`](crate::Options::serial)), and it is not its turn.
    Limit,
    /// It was running when a process died; such suspects run one at a time (each for a minute at most before the next), and it is not its turn.
    Suspect,
}

impl Hold {
    /// All but `Ready`, in their order.
    pub(crate) const REASONS: [Hold; 7] = [
        Hold::PreviousAttempt,
        Hold::Parents,
        Hold::Time,
        Hold::UnknownName,
        Hold::Condition,
        Hold::Limit,
        Hold::Suspect,
    ];

    /// Its number in the file.
    pub(crate) fn code(self) -> i64 {
        match self {
            Hold::Ready => 0,
            Hold::PreviousAttempt => 1,
            Hold::Parents => 2,
            Hold::Time => 3,
            Hold::UnknownName => 4,
            Hold::Condition => 5,
            Hold::Limit => 6,
            Hold::Suspect => 7,
        }
    }

    pub(crate) fn from_code(code: i64) -> Option<Hold> {
        [Hold::Ready].into_iter().chain(Hold::REASONS).find(|hold| hold.code() == code)
    }
}

/// What the task does because of it: `waits for its time`.
impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Hold::Ready => "is ready to run",
            Hold::PreviousAttempt => "waits until its previous attempt has left its thread",
            Hold::Parents => "waits until the tasks before it have ended",
            Hold::Time => "waits for its time",
            Hold::UnknownName => "waits for a program with a handler of its name",
            Hold::Condition => "waits for a condition that it needs",
            Hold::Limit => "waits for its turn under a limit of its key",
            Hold::Suspect => "waits for its turn among the tasks that were running when a process died",
        })
    }
}
