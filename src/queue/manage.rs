//! What people do to tasks and queues. Every verb is durable when it returns.

use std::sync::Arc;

use super::engine::core::TASKS_PER_COMMIT;
use super::handle::Queue;
use crate::error::Error;
use crate::store::{self, Ages, Rank, Search, Tx, Verb};
use crate::task::{Bulk, Filter, TaskId, Timestamp};

impl Queue {
    /// Queues a `FAILED`, `LOST` or `CANCELLED` task again: attempts from 0, error and expiry cleared, checkpoint kept
    /// (but see [`retry_from_start`](Queue::retry_from_start)).
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound); [`WrongState`](ErrorKind::WrongState), naming the state;
    /// [`Conflict`](ErrorKind::Conflict) if a live task holds its unique key.
    pub fn retry(&self, id: TaskId) -> Result<(), Error> {
        self.apply(Verb::Retry, id)
    }

    /// Like [`retry`](Queue::retry), and drops the checkpoint and the progress: the task begins anew, also where its checkpoint does not decode any
    /// more.
    ///
    /// # Errors
    /// As [`retry`](Queue::retry).
    pub fn retry_from_start(&self, id: TaskId) -> Result<(), Error> {
        self.apply(Verb::RetryFromStart, id)
    }

    /// Retries all tasks that match the filter: `FAILED` and `LOST` ones, if it names no state.
    ///
    /// # Errors
    /// If the file cannot be written; what was retried before stays so.
    pub fn retry_all(&self, filter: Filter) -> Result<Bulk, Error> {
        self.apply_to_all(Verb::Retry, filter)
    }

    /// Like [`retry_all`](Queue::retry_all), each task without its checkpoint and progress: for a program that does not know their checkpoints any
    /// more.
    ///
    /// # Errors
    /// As [`retry_all`](Queue::retry_all).
    pub fn retry_all_from_start(&self, filter: Filter) -> Result<Bulk, Error> {
        self.apply_to_all(Verb::RetryFromStart, filter)
    }

    /// Runs a task now that waits for its time, or for its turn among the tasks that were running when a process died. It is no suspect then
    /// until a process dies again while it runs. If it waits for something else as well, such as a handler of its name, it goes on waiting
    /// for that.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound); [`WrongState`](ErrorKind::WrongState), naming the state or what it waits for.
    pub fn run_now(&self, id: TaskId) -> Result<(), Error> {
        self.apply(Verb::RunNow, id)
    }

    /// Runs all tasks now that match the filter and wait for their time, or for their turn; see [`run_now`](Queue::run_now).
    ///
    /// # Errors
    /// If the file cannot be written; what was changed before stays so.
    pub fn run_now_all(&self, filter: Filter) -> Result<Bulk, Error> {
        self.apply_to_all(Verb::RunNow, filter)
    }

    /// Cancels a task: a queued one at once; a running one when its handler next calls
    /// [`ensure_active`](Context::ensure_active), or when it ends in any way but Ok.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound); [`WrongState`](ErrorKind::WrongState) if it is finished, naming the state.
    pub fn cancel(&self, id: TaskId) -> Result<(), Error> {
        self.apply(Verb::Cancel, id)
    }

    /// Cancels all tasks that match the filter: `QUEUED` and `RUNNING` ones, if it names no state.
    ///
    /// # Errors
    /// If the file cannot be written; what was cancelled before stays so.
    pub fn cancel_all(&self, filter: Filter) -> Result<Bulk, Error> {
        self.apply_to_all(Verb::Cancel, filter)
    }

    /// Deletes a task that is not running, with all that is kept of it.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound); [`WrongState`](ErrorKind::WrongState) if it is running.
    pub fn delete(&self, id: TaskId) -> Result<(), Error> {
        self.apply(Verb::Delete, id)
    }

    /// Deletes all tasks that match the filter: finished ones, if it names no state.
    ///
    /// # Errors
    /// If the file cannot be written; what was deleted before stays so.
    pub fn delete_all(&self, filter: Filter) -> Result<Bulk, Error> {
        self.apply_to_all(Verb::Delete, filter)
    }

    /// Deletes `SUCCEEDED` and `CANCELLED` tasks that finished before this time; says how many. At once, whatever `retention` says.
    ///
    /// # Errors
    /// If the file cannot be written; what was deleted before stays so.
    pub fn purge(&self, finished_before: impl Into<Timestamp>) -> Result<usize, Error> {
        let ages = Ages { delete_before: Some(finished_before.into()), dead_letter_before: None };
        self.engine.core.purge(ages, || true)
    }

    /// Moves a `FAILED` or `LOST` task to the dead letters.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound); [`WrongState`](ErrorKind::WrongState), naming the state.
    pub fn move_to_dead_letter(&self, id: TaskId) -> Result<(), Error> {
        self.apply(Verb::MoveToDeadLetters, id)
    }

    /// Moves all `FAILED` and `LOST` tasks that match the filter to the dead letters.
    ///
    /// # Errors
    /// If the file cannot be written; what was moved before stays so.
    pub fn move_to_dead_letters(&self, filter: Filter) -> Result<Bulk, Error> {
        self.apply_to_all(Verb::MoveToDeadLetters, filter)
    }

    /// Claims nothing more from a queue, until it is resumed. Durable; what runs goes on.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) for a name that no queue can have.
    pub fn pause(&self, queue: &str) -> Result<(), Error> {
        self.set_paused(queue, true)
    }

    /// Claims from a queue again.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) for a name that no queue can have.
    pub fn resume(&self, queue: &str) -> Result<(), Error> {
        self.set_paused(queue, false)
    }

    fn set_paused(&self, queue: &str, paused: bool) -> Result<(), Error> {
        crate::task::check_name("queue", queue)?;
        let queue = queue.to_owned();
        self.engine.core.commit(Rank::Change, move |tx| store::set_paused(tx, &queue, paused))
    }

    fn apply(&self, verb: Verb, id: TaskId) -> Result<(), Error> {
        let now = self.engine.core.now();
        self.engine.core.commit(Rank::Change, move |tx| store::apply_one(tx, verb, id, now))
    }

    /// Searches on a reading connection, slice by slice, and writes only where it has found something.
    fn apply_to_all(&self, verb: Verb, filter: Filter) -> Result<Bulk, Error> {
        let (core, store) = (&self.engine.core, self.store());
        store.may_write()?;
        filter.check()?;
        let filter = Arc::new(filter.or_states(verb.default_states()));
        let mut left = filter.limit.map_or(u64::MAX, |limit| limit as u64);
        let mut search = store.read(|conn| Search::of_now(conn, &filter))?;
        let mut all = Bulk::default();
        let wal = store.wal_keeper();
        while left > 0 && !search.is_over() {
            let found = store.read(|conn| search.step(conn, usize::MAX))?;
            let mut rest = &found[..];
            while left > 0 && !rest.is_empty() {
                let length =
                    rest.len().min(TASKS_PER_COMMIT).min(usize::try_from(left).unwrap_or(usize::MAX));
                let (ids, filter, now) = (rest[..length].to_vec(), filter.clone(), core.now());
                let enough = core.enough();
                let write = move |tx: &Tx<'_>| store::apply_all(tx, verb, &filter, &ids, now, &enough);
                let (chunk, done) = core.commit(Rank::Change, write)?;
                all.changed += chunk.changed;
                all.skipped += chunk.skipped;
                left -= chunk.changed;
                rest = &rest[done..];
                wal.copy_if_long();
            }
        }
        Ok(all)
    }
}
