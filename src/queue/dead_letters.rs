//! The dead letters of a queue.

use super::handle::Queue;
use crate::error::Error;
use crate::store::{self, Among, Rank, Search};
use crate::task::{DEFAULT_PAGE, DeadLetter, Filter, TaskId, Timestamp};

/// Tasks that ended `FAILED` or `LOST` and were moved out of the way, with their args, errors and attempts. Made by
/// [`Queue::dead_letters`].
///
/// ```
/// # use perdura::{Filter, Queue};
/// # let queue = Queue::builder().open_temporary()?;
/// let moved = queue.move_to_dead_letters(Filter::new().queue("uploads"))?;
/// for letter in queue.dead_letters().list(Filter::new())? {
///     println!("{} {}: {:?}", letter.task_id, letter.task_name, letter.error_message);
///     queue.dead_letters().replay(letter.task_id)?;
/// }
/// # assert_eq!(moved.changed, 0);
/// # Ok::<(), perdura::Error>(())
/// ```
#[derive(Debug)]
pub struct DeadLetters<'q> {
    pub(super) queue: &'q Queue,
}

impl DeadLetters<'_> {
    /// A page of letters that match the filter, oldest id first: 100 if the filter names no limit.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn list(&self, filter: Filter) -> Result<Vec<DeadLetter>, Error> {
        filter.check()?;
        let search = Search::new(&filter, Among::Letters, filter.order());
        self.queue.store().search(search, filter.limit.unwrap_or(DEFAULT_PAGE), store::get_dead_letter, None)
    }

    /// One letter, by the id that it had as a task.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound).
    pub fn get(&self, id: TaskId) -> Result<DeadLetter, Error> {
        self.queue.store().read(|conn| store::get_dead_letter(conn, id))
    }

    /// Makes a new task of a letter: fresh attempts, the same args, options and checkpoint, and
    /// [`replay_of`](crate::TaskRecord::replay_of) pointing here. The letter stays, marked.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound); [`WrongState`](crate::ErrorKind::WrongState) if it was replayed before;
    /// [`Conflict`](crate::ErrorKind::Conflict) if a live task holds its unique key.
    pub fn replay(&self, id: TaskId) -> Result<TaskId, Error> {
        self.replay_as(id, false)
    }

    /// Like [`replay`](DeadLetters::replay), also of a letter that was replayed before.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound); [`Conflict`](crate::ErrorKind::Conflict).
    pub fn replay_again(&self, id: TaskId) -> Result<TaskId, Error> {
        self.replay_as(id, true)
    }

    fn replay_as(&self, id: TaskId, forced: bool) -> Result<TaskId, Error> {
        let core = &self.queue.engine.core;
        let (now, token) = (core.now(), self.queue.new_token());
        core.commit(Rank::Add, move |tx| store::replay(tx, id, forced, token, now))
    }

    /// Deletes letters that were moved before this time; says how many. At once, whatever `dead_letter_retention` says.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn purge(&self, moved_before: impl Into<Timestamp>) -> Result<usize, Error> {
        self.queue.engine.core.purge_dead_letters(moved_before.into(), || true)
    }
}

impl Queue {
    /// The tasks that were moved out of the way.
    pub fn dead_letters(&self) -> DeadLetters<'_> {
        DeadLetters { queue: self }
    }
}
