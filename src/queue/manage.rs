//! Verbs on tasks and queues: retry, run now, cancel, delete, pause, … Each is durable when it returns.

use std::sync::Arc;

use super::handle::Queue;
use super::runtime::core::TASKS_PER_COMMIT;
use crate::error::Error;
use crate::store::{self, Ages, Rank, Search, Tx, Verb};
use crate::task::{Bulk, Filter, Hold, TaskId, Timestamp};

impl Queue {
    /// Queues a `FAILED`, `LOST` or `CANCELLED` task again.
    ///
    /// Its attempts count from 0 again, its error and its expiry are cleared, and its checkpoint and its steps are kept (see also
    /// [`retry_from_start`](Queue::retry_from_start)).
    ///
    /// ```
    /// # use perdura::{Context, Failure, Filter, Queue, State, testing::{ManualClock, SteppedQueue}};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Mail;
    /// # impl perdura::Task for Mail { const NAME: &'static str = "mail"; type Output = (); }
    /// # let send = |_: Mail, _: &Context| Err::<(), _>(Failure::permanent("no route"));
    /// # let tests = SteppedQueue::open(Queue::builder().handle(send), &ManualClock::new())?;
    /// # let (queue, id) = (tests.queue(), tests.queue().enqueue(&Mail)?.id());
    /// # tests.run_until_idle()?;
    /// assert_eq!(queue.get(id)?.state, State::Failed);
    /// queue.retry(id)?;
    /// assert_eq!(queue.get(id)?.state, State::Queued);
    /// # Ok::<(), perdura::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound); [`WrongState`](crate::ErrorKind::WrongState), naming the state;
    /// [`Conflict`](crate::ErrorKind::Conflict) if a live task holds its unique key.
    pub fn retry(&self, id: TaskId) -> Result<(), Error> {
        self.apply(Verb::Retry, id)
    }

    /// Like [`retry`](Queue::retry), and drops the checkpoint, the [steps](crate::Context::step) and the progress: the task begins anew.
    ///
    /// It helps where the handler cannot decode the checkpoint any more.
    ///
    /// ```
    /// # use perdura::{Context, Failure, Queue, testing::{ManualClock, SteppedQueue}};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Mail;
    /// # impl perdura::Task for Mail { const NAME: &'static str = "mail"; type Output = (); }
    /// # fn send(_: Mail, cx: &Context) -> Result<(), Failure> { cx.save_checkpoint(&17)?; Err(Failure::permanent("no route")) }
    /// # let tests = SteppedQueue::open(Queue::builder().handle(send), &ManualClock::new())?;
    /// # let (queue, id) = (tests.queue(), tests.queue().enqueue(&Mail)?.id());
    /// # tests.run_until_idle()?;
    /// assert_eq!(queue.checkpoint_json(id)?.as_deref(), Some("17"));
    /// queue.retry_from_start(id)?;
    /// assert_eq!(queue.checkpoint_json(id)?, None);
    /// # Ok::<(), perdura::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`retry`](Queue::retry).
    pub fn retry_from_start(&self, id: TaskId) -> Result<(), Error> {
        self.apply(Verb::RetryFromStart, id)
    }

    /// Retries all tasks that match the filter; `FAILED` and `LOST` ones, if the filter names no state.
    ///
    /// ```
    /// # use perdura::{Context, Failure, Filter, Queue, State, testing::{ManualClock, SteppedQueue}};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Mail;
    /// # impl perdura::Task for Mail { const NAME: &'static str = "mail"; type Output = (); }
    /// # let send = |_: Mail, _: &Context| Err::<(), _>(Failure::permanent("no route"));
    /// # let tests = SteppedQueue::open(Queue::builder().handle(send), &ManualClock::new())?;
    /// # let (queue, id) = (tests.queue(), tests.queue().enqueue(&Mail)?.id());
    /// # tests.run_until_idle()?;
    /// let done = queue.retry_all(Filter::new().task_name("mail"))?;
    /// assert_eq!((done.changed, done.skipped), (1, 0));
    /// # Ok::<(), perdura::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the file cannot be written; tasks that were retried before that stay so.
    pub fn retry_all(&self, filter: Filter) -> Result<Bulk, Error> {
        self.apply_to_all(Verb::Retry, filter)
    }

    /// Like [`retry_all`](Queue::retry_all), and drops each task's checkpoint, [steps](crate::Context::step) and progress.
    ///
    /// It helps where the handlers cannot decode the checkpoints any more.
    ///
    /// ```
    /// # use perdura::{Context, Failure, Filter, Queue, State, testing::{ManualClock, SteppedQueue}};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Mail;
    /// # impl perdura::Task for Mail { const NAME: &'static str = "mail"; type Output = (); }
    /// # let send = |_: Mail, _: &Context| Err::<(), _>(Failure::permanent("no route"));
    /// # let tests = SteppedQueue::open(Queue::builder().handle(send), &ManualClock::new())?;
    /// # let (queue, id) = (tests.queue(), tests.queue().enqueue(&Mail)?.id());
    /// # tests.run_until_idle()?;
    /// assert_eq!(queue.retry_all_from_start(Filter::new().id(id))?.changed, 1);
    /// # Ok::<(), perdura::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`retry_all`](Queue::retry_all).
    pub fn retry_all_from_start(&self, filter: Filter) -> Result<Bulk, Error> {
        self.apply_to_all(Verb::RetryFromStart, filter)
    }

    /// Lets a task run now that waits for its time, or for its turn among the tasks that were running when a process died.
    ///
    /// A task that waited for its turn is no suspect any more, until a process dies again while the task runs. A task that waits for something
    /// else as well, such as a handler of its name, goes on waiting for that.
    ///
    /// ```
    /// # use perdura::{Filter, Hold, Options, Queue, State};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Mail;
    /// # impl perdura::Task for Mail { const NAME: &'static str = "mail"; type Output = (); }
    /// # let queue = Queue::builder().open_temporary()?;
    /// let tomorrow = Options::new().delay(std::time::Duration::from_secs(24 * 3600));
    /// let id = queue.enqueue_with(&Mail, tomorrow)?.id();
    /// queue.run_now(id)?;
    /// assert_eq!(queue.get(id)?.hold, Some(Hold::Ready));
    /// # Ok::<(), perdura::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound); [`WrongState`](crate::ErrorKind::WrongState), naming the state or what the task waits for.
    pub fn run_now(&self, id: TaskId) -> Result<(), Error> {
        self.apply(Verb::RunNow, id)
    }

    /// Lets all tasks run now that match the filter and wait for their time or their turn; see [`run_now`](Queue::run_now).
    ///
    /// ```
    /// # use perdura::{Filter, Hold, Options, Queue, State};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Mail;
    /// # impl perdura::Task for Mail { const NAME: &'static str = "mail"; type Output = (); }
    /// # let queue = Queue::builder().open_temporary()?;
    /// let tomorrow = Options::new().delay(std::time::Duration::from_secs(24 * 3600));
    /// let _ = queue.enqueue_all_with([(&Mail, tomorrow.clone()), (&Mail, tomorrow)])?;
    /// assert_eq!(queue.run_now_all(Filter::new().task_name("mail"))?.changed, 2);
    /// # Ok::<(), perdura::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the file cannot be written; tasks that were changed before that stay so.
    pub fn run_now_all(&self, filter: Filter) -> Result<Bulk, Error> {
        let mut all = Bulk::default();
        for hold in [Hold::Time, Hold::Suspect] {
            if filter.hold.is_some_and(|named| named != hold) {
                continue;
            }
            let limit = filter.limit.map(|limit| limit.saturating_sub(count(all.changed)));
            let held = Filter { hold: Some(hold), limit, ..filter.clone() };
            add(&mut all, self.apply_to_all(Verb::RunNow, held)?);
        }
        Ok(all)
    }

    /// Cancels a task: a queued one at once; a running one when its handler next calls
    /// [`ensure_active`](crate::Context::ensure_active), or when it ends in any way but Ok.
    ///
    /// ```
    /// # use perdura::{Filter, Hold, Options, Queue, State};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Mail;
    /// # impl perdura::Task for Mail { const NAME: &'static str = "mail"; type Output = (); }
    /// # let queue = Queue::builder().open_temporary()?;
    /// let id = queue.enqueue(&Mail)?.id();
    /// queue.cancel(id)?;
    /// assert_eq!(queue.get(id)?.state, State::Cancelled);
    /// # Ok::<(), perdura::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound); [`WrongState`](crate::ErrorKind::WrongState) if it is finished, naming the state.
    pub fn cancel(&self, id: TaskId) -> Result<(), Error> {
        self.apply(Verb::Cancel, id)
    }

    /// Cancels all tasks that match the filter; `QUEUED` and `RUNNING` ones, if the filter names no state.
    ///
    /// ```
    /// # use perdura::{Filter, Hold, Options, Queue, State};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Mail;
    /// # impl perdura::Task for Mail { const NAME: &'static str = "mail"; type Output = (); }
    /// # let queue = Queue::builder().open_temporary()?;
    /// let _ = queue.enqueue_with(&Mail, Options::new().tag("holiday"))?;
    /// assert_eq!(queue.cancel_all(Filter::new().tag("holiday"))?.changed, 1);
    /// # Ok::<(), perdura::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the file cannot be written; tasks that were cancelled before that stay so.
    pub fn cancel_all(&self, filter: Filter) -> Result<Bulk, Error> {
        self.apply_to_all(Verb::Cancel, filter)
    }

    /// Deletes a task that is not running, with everything that is kept of it.
    ///
    /// ```
    /// # use perdura::{Filter, Hold, Options, Queue, State};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Mail;
    /// # impl perdura::Task for Mail { const NAME: &'static str = "mail"; type Output = (); }
    /// # let queue = Queue::builder().open_temporary()?;
    /// let id = queue.enqueue(&Mail)?.id();
    /// queue.delete(id)?;
    /// assert_eq!(queue.get(id).unwrap_err().kind(), perdura::ErrorKind::NotFound);
    /// # Ok::<(), perdura::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound); [`WrongState`](crate::ErrorKind::WrongState) if it is running, or an
    /// attempt of it that was given up is still at work in its thread.
    pub fn delete(&self, id: TaskId) -> Result<(), Error> {
        self.apply(Verb::Delete, id)
    }

    /// Deletes all tasks that match the filter; finished ones, if the filter names no state: `QUEUED` tasks that match stay then, and are
    /// counted neither as changed nor as skipped. `Filter::state(State::Queued)` deletes them. Running ones are never deleted.
    ///
    /// ```
    /// # use perdura::{Context, Failure, Filter, Queue, State, testing::{ManualClock, SteppedQueue}};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Mail;
    /// # impl perdura::Task for Mail { const NAME: &'static str = "mail"; type Output = (); }
    /// # let send = |_: Mail, _: &Context| Err::<(), _>(Failure::permanent("no route"));
    /// # let tests = SteppedQueue::open(Queue::builder().handle(send), &ManualClock::new())?;
    /// # let (queue, id) = (tests.queue(), tests.queue().enqueue(&Mail)?.id());
    /// # tests.run_until_idle()?;
    /// let _ = queue.enqueue(&Mail)?;
    /// assert_eq!(queue.delete_all(Filter::new())?.changed, 1, "the other task is not finished");
    /// # Ok::<(), perdura::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the file cannot be written; tasks that were deleted before that stay so.
    pub fn delete_all(&self, filter: Filter) -> Result<Bulk, Error> {
        self.apply_to_all(Verb::Delete, filter)
    }

    /// Deletes `SUCCEEDED` and `CANCELLED` tasks that finished before a time, and says how many. It does so at once, whatever `retention` says.
    ///
    /// ```
    /// # use perdura::{Filter, Hold, Options, Queue, State};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Mail;
    /// # impl perdura::Task for Mail { const NAME: &'static str = "mail"; type Output = (); }
    /// # let queue = Queue::builder().open_temporary()?;
    /// let id = queue.enqueue(&Mail)?.id();
    /// queue.cancel(id)?;
    /// let a_week_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(7 * 24 * 3600);
    /// assert_eq!(queue.purge(a_week_ago)?, 0, "the task was cancelled just now");
    /// # Ok::<(), perdura::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the file cannot be written; tasks that were deleted before that stay so.
    pub fn purge(&self, finished_before: impl Into<Timestamp>) -> Result<usize, Error> {
        let ages = Ages { delete_before: Some(finished_before.into()), dead_letter_before: None };
        self.runtime.core.purge(ages, || true)
    }

    /// Moves a `FAILED` or `LOST` task to the [dead letters](Queue::dead_letters).
    ///
    /// ```
    /// # use perdura::{Context, Failure, Filter, Queue, State, testing::{ManualClock, SteppedQueue}};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Mail;
    /// # impl perdura::Task for Mail { const NAME: &'static str = "mail"; type Output = (); }
    /// # let send = |_: Mail, _: &Context| Err::<(), _>(Failure::permanent("no route"));
    /// # let tests = SteppedQueue::open(Queue::builder().handle(send), &ManualClock::new())?;
    /// # let (queue, id) = (tests.queue(), tests.queue().enqueue(&Mail)?.id());
    /// # tests.run_until_idle()?;
    /// queue.move_to_dead_letter(id)?;
    /// assert_eq!(queue.dead_letters().get(id)?.error_message.as_deref(), Some("no route"));
    /// # Ok::<(), perdura::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound); [`WrongState`](crate::ErrorKind::WrongState), naming the state.
    pub fn move_to_dead_letter(&self, id: TaskId) -> Result<(), Error> {
        self.apply(Verb::MoveToDeadLetters, id)
    }

    /// Moves all `FAILED` and `LOST` tasks that match the filter to the [dead letters](Queue::dead_letters).
    ///
    /// ```
    /// # use perdura::{Context, Failure, Filter, Queue, State, testing::{ManualClock, SteppedQueue}};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Mail;
    /// # impl perdura::Task for Mail { const NAME: &'static str = "mail"; type Output = (); }
    /// # let send = |_: Mail, _: &Context| Err::<(), _>(Failure::permanent("no route"));
    /// # let tests = SteppedQueue::open(Queue::builder().handle(send), &ManualClock::new())?;
    /// # let (queue, id) = (tests.queue(), tests.queue().enqueue(&Mail)?.id());
    /// # tests.run_until_idle()?;
    /// assert_eq!(queue.move_to_dead_letters(Filter::new().task_name("mail"))?.changed, 1);
    /// assert_eq!(queue.counts()?.total().failed, 0);
    /// # Ok::<(), perdura::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the file cannot be written; tasks that were moved before that stay so.
    pub fn move_to_dead_letters(&self, filter: Filter) -> Result<Bulk, Error> {
        self.apply_to_all(Verb::MoveToDeadLetters, filter)
    }

    /// Claims nothing more from a queue until it is [resumed](Queue::resume). Tasks that run go on. The pause is durable.
    ///
    /// ```
    /// # let queue = perdura::Queue::builder().open_temporary()?;
    /// queue.pause("uploads")?; // no network
    /// assert!(queue.counts()?.queue("uploads").paused);
    /// queue.resume("uploads")?;
    /// assert!(!queue.counts()?.queue("uploads").paused);
    /// # Ok::<(), perdura::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) for a name that no queue can have.
    pub fn pause(&self, queue: &str) -> Result<(), Error> {
        self.set_paused(queue, true)
    }

    /// Claims from a queue again. [`pause`](Queue::pause) has an example.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) for a name that no queue can have.
    pub fn resume(&self, queue: &str) -> Result<(), Error> {
        self.set_paused(queue, false)
    }

    fn set_paused(&self, queue: &str, paused: bool) -> Result<(), Error> {
        crate::task::check_name("queue", queue)?;
        let queue = queue.to_owned();
        self.runtime.core.commit(Rank::Change, move |tx| store::set_paused(tx, &queue, paused))
    }

    fn apply(&self, verb: Verb, id: TaskId) -> Result<(), Error> {
        let now = self.runtime.core.now();
        self.runtime.core.commit(Rank::Change, move |tx| store::apply_one(tx, verb, id, now))
    }

    /// Searches on a reading connection, slice by slice, and writes only where it has found something.
    fn apply_to_all(&self, verb: Verb, filter: Filter) -> Result<Bulk, Error> {
        let (core, store) = (&self.runtime.core, self.store());
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
                let length = rest.len().min(TASKS_PER_COMMIT).min(count(left));
                let (ids, filter, now) = (rest[..length].to_vec(), filter.clone(), core.now());
                let enough = core.enough();
                let write = move |tx: &Tx<'_>| store::apply_all(tx, verb, &filter, &ids, now, &enough);
                let (chunk, done) = core.commit(Rank::Change, write)?;
                add(&mut all, chunk);
                left -= chunk.changed;
                rest = &rest[done..];
                wal.copy_if_long();
            }
        }
        Ok(all)
    }
}

/// Adds what a part of a bulk verb has done.
fn add(all: &mut Bulk, part: Bulk) {
    all.changed += part.changed;
    all.skipped += part.skipped;
}

fn count(tasks: u64) -> usize {
    usize::try_from(tasks).unwrap_or(usize::MAX)
}
