//! Who a task is, and how an enqueue is recognised again.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// The number of a task: rises with each enqueue into a file and is never used again there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TaskId(i64);

impl TaskId {
    /// The id with this number, as printed by a `TaskId`.
    pub const fn from_i64(id: i64) -> TaskId {
        TaskId(id)
    }

    /// Its number.
    pub const fn as_i64(self) -> i64 {
        self.0
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for TaskId {
    type Err = Error;

    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) if the text is not a whole number.
    fn from_str(text: &str) -> Result<TaskId, Error> {
        text.parse().map(TaskId).map_err(|_| Error::invalid("task id", "is not a whole number such as 17"))
    }
}

/// What an enqueue did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enqueued {
    /// A new task was made.
    Inserted(TaskId),
    /// A live task already holds the unique key (or an earlier enqueue had the same token): this one. Nothing was made.
    Existing(TaskId),
}

impl Enqueued {
    /// The task, new or old.
    pub fn id(self) -> TaskId {
        match self {
            Enqueued::Inserted(id) | Enqueued::Existing(id) => id,
        }
    }

    /// Whether a new task was made.
    pub fn is_new(self) -> bool {
        matches!(self, Enqueued::Inserted(_))
    }
}

/// Recognises one enqueue whose outcome stayed unknown (see [`Outcome::Unknown`](crate::Outcome::Unknown)).
///
/// Repeat the enqueue with [`Options::token`](crate::Options::token): if the first one did reach the disk, the repetition finds it and
/// makes no second task, as long as the first is retained. Its text form survives a restart of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EnqueueToken {
    /// The id that the failed commit gave to the task: where to look.
    pub(crate) task_id: TaskId,
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
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) if the text is not what a token prints.
    fn from_str(text: &str) -> Result<EnqueueToken, Error> {
        let parse = || {
            let (id, token) = text.split_once('-')?;
            let token = u64::from_str_radix(token, 16).ok()?;
            Some(EnqueueToken { task_id: TaskId(id.parse().ok()?), token: token.cast_signed() })
        };
        parse().ok_or_else(|| Error::invalid("token", "is not an enqueue token such as 17-00c0ffee00c0ffee"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_survives_its_text() {
        let token = EnqueueToken { task_id: TaskId(17), token: -2 };
        assert_eq!(token.to_string().parse::<EnqueueToken>().unwrap(), token);
        for bad in ["", "17", "17-", "x-1", "17-zz"] {
            assert!(bad.parse::<EnqueueToken>().is_err(), "{bad:?}");
        }
    }
}
