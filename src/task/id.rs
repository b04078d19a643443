//! The id of a task, and the result of an enqueue.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// The id of a task: a number that rises with each enqueue into a file and is never reused there.
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

/// What an enqueue did. Check [`is_new`](Enqueued::is_new) where a task may have a unique key or a
/// token.
///
/// ```
/// # #[derive(serde::Serialize, serde::Deserialize)] struct Sync;
/// # impl perdura::Task for Sync { const NAME: &'static str = "sync"; type Output = (); }
/// # let queue = perdura::Queue::builder().open_temporary()?;
/// let first = queue.enqueue_with(&Sync, perdura::Options::new().unique("photos"))?;
/// let second = queue.enqueue_with(&Sync, perdura::Options::new().unique("photos"))?;
/// assert!(first.is_new() && !second.is_new());
/// assert_eq!(first.id(), second.id());
/// # Ok::<(), perdura::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
#[must_use = "it says whether a task was made, or one that was there was found or replaced; take its id()"]
pub enum Enqueued {
    /// A new task was made.
    Inserted(TaskId),
    /// The unique key is taken by this task (or an earlier enqueue had the same token). Nothing was made or changed. The task may be gone if its
    /// key [outlives it](crate::Unique::for_).
    Existing(TaskId),
    /// The unique key was taken by this task, which was waiting and has the new args now
    /// ([`OnConflict`](crate::OnConflict)).
    Replaced(TaskId),
}

impl Enqueued {
    /// The task, new or old.
    pub fn id(self) -> TaskId {
        match self {
            Enqueued::Inserted(id) | Enqueued::Existing(id) | Enqueued::Replaced(id) => id,
        }
    }

    /// Whether a new task was made.
    pub fn is_new(self) -> bool {
        matches!(self, Enqueued::Inserted(_))
    }

    /// Whether a waiting task was replaced, or got new args. [`OnConflict`](crate::OnConflict) has
    /// an example.
    pub fn is_replaced(self) -> bool {
        matches!(self, Enqueued::Replaced(_))
    }
}
