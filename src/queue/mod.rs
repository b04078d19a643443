//! The queue: where storage and execution meet. Nothing else sees both.
//!
//! `core` has the steps; `dispatcher`, `housekeeping` and the timer call them on threads, the testing kit without; `handover` is
//! where tasks are claimed; `hub` is what they share in memory.

mod builder;
mod dead_letters;
mod engine;
mod explain;
mod file;
mod query;
mod stepper;
mod wait;

use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::de::DeserializeOwned;

pub use builder::Builder;
pub use dead_letters::DeadLetters;
pub(crate) use engine::threads::Handle;
pub use engine::threads::ShutdownReport;
pub use explain::Explanation;
pub(crate) use stepper::{Ran, Remains, Stepper};

use crate::error::{EnqueueToken, Error, ErrorKind, Outcome};
use crate::handler::{Context, in_handler};
use crate::json::{from_json, to_json};
use crate::planted::planted;
use crate::store::{self, Ages, Among, CheckReport, Rank, Search, Sql, Store, Tx, Verb};
use crate::sync::atomic::{AtomicI64, Ordering};
use crate::sync::{Mutex, lock};
use crate::task::{
    Attempt, Bulk, Counts, DEFAULT_PAGE, Enqueued, Filter, NOT_KEPT, NewTask, Options, Progress, State, Task,
    TaskId, TaskRecord,
};

/// Tasks that one transaction of a bulk verb changes at most: each chunk is atomic, and others get their turn in between.
const BULK_CHUNK: usize = 500;

/// A durable task queue in one SQLite file.
///
/// Cheap to clone; all clones share one set of threads, which stops when the last clone is dropped. See the
/// [crate's documentation](crate) for a program.
#[derive(Clone)]
pub struct Queue {
    pub(crate) handle: Arc<Handle>,
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue")
            .field("path", &self.path())
            .field("executes", &self.executes())
            .finish_non_exhaustive()
    }
}

/// Opening.
impl Queue {
    /// Begins to set up a queue.
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        self.store().path()
    }

    /// Whether this process executes tasks from the file: it has handlers, and owns the file.
    pub fn executes(&self) -> bool {
        self.handle.core.is_owner() && self.handle.core.hub.broken().is_none()
    }

    /// What keeps this process from executing although it has handlers, such as an `-owner` file that it cannot open
    /// ([`OwnerFile`](ErrorKind::OwnerFile)). It tries again each second. None if it executes, if another process is known to, and if there
    /// are no handlers.
    pub fn obstacle(&self) -> Option<Error> {
        let why = self.handle.core.obstacle.why()?;
        (self.store().is_owned() != Some(true)).then_some(why)
    }

    fn store(&self) -> &Store {
        &self.handle.core.store
    }
}

/// Enqueueing.
impl Queue {
    /// Makes a task. When this returns, it is durable. Its args come back to the handler as they are given here: what JSON has no place
    /// for (NaN and infinities, more than 127 lists and maps within each other) is refused.
    ///
    /// ```
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Mail { to: String }
    /// # impl perdura::Task for Mail { const NAME: &'static str = "mail"; }
    /// # let queue = perdura::Queue::builder().open_in_memory()?;
    /// let id = queue.enqueue(&Mail { to: "ada@example.org".into() })?;
    /// assert_eq!(queue.get(id)?.state, perdura::State::Queued);
    /// # Ok::<(), perdura::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput), [`TooLarge`](ErrorKind::TooLarge) or
    /// [`Serialization`](ErrorKind::Serialization) for a task that cannot be stored, and those of the disk. The task does not exist
    /// then, unless [`outcome()`](Error::outcome) is [`Unknown`](Outcome::Unknown).
    pub fn enqueue<T: Task>(&self, task: &T) -> Result<TaskId, Error> {
        self.enqueue_with(task, Options::new()).map(Enqueued::id)
    }

    /// Makes a task with options of its own; says whether it made one, or found the one that holds its unique key.
    ///
    /// # Errors
    /// As [`enqueue`](Queue::enqueue).
    pub fn enqueue_with<T: Task>(&self, task: &T, options: Options) -> Result<Enqueued, Error> {
        the_one(self.enqueue_prepared(vec![self.prepare(task, options)?])?)
    }

    /// Makes all the tasks or, on an error, none, in one transaction. Their ids rise in the order given.
    ///
    /// # Errors
    /// As [`enqueue`](Queue::enqueue). If the outcome is unknown, it is the same for all, and the error's token is the first one's:
    /// ask [`find`](Queue::find).
    pub fn enqueue_all<'t, T: Task>(
        &self,
        tasks: impl IntoIterator<Item = &'t T>,
    ) -> Result<Vec<Enqueued>, Error> {
        let tasks = tasks.into_iter().map(|task| (task, Options::new()));
        self.enqueue_all_with(tasks)
    }

    /// Like [`enqueue_all`](Queue::enqueue_all), each task with options of its own.
    ///
    /// # Errors
    /// As [`enqueue_all`](Queue::enqueue_all).
    pub fn enqueue_all_with<'t, T: Task>(
        &self,
        tasks: impl IntoIterator<Item = (&'t T, Options)>,
    ) -> Result<Vec<Enqueued>, Error> {
        let prepared: Result<Vec<_>, Error> =
            tasks.into_iter().map(|(t, options)| self.prepare(t, options)).collect();
        self.enqueue_prepared(prepared?)
    }

    /// Makes a task inside a transaction of your own on the same file: it appears when, and only if, you commit. Call
    /// [`notify`](Queue::notify) after the commit; otherwise the task starts within `poll_interval`.
    ///
    /// # Errors
    /// As [`enqueue`](Queue::enqueue); [`InvalidInput`](ErrorKind::InvalidInput) if the connection's main database is another file.
    #[cfg(feature = "rusqlite")]
    pub fn enqueue_in<T: Task>(
        &self,
        transaction: &rusqlite::Transaction<'_>,
        task: &T,
        options: Options,
    ) -> Result<Enqueued, Error> {
        self.store().process.check()?;
        let prepared = [self.prepare(task, options)?];
        let tx = self.store().join(transaction)?;
        let made = store::enqueue(&tx, &prepared, self.handle.core.now())?;
        tx.finish()?;
        the_one(made)
    }

    /// The task that an enqueue of unknown outcome has made, if it did reach the disk.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn find(&self, token: EnqueueToken) -> Result<Option<TaskId>, Error> {
        let found = self.store().read(|conn| store::find_token(conn, token))?;
        Ok(found.then_some(TaskId::from_i64(token.task_id)))
    }

    /// Checks and serialises a task, before the writer is taken.
    fn prepare<T: Task>(&self, task: &T, options: Options) -> Result<NewTask, Error> {
        let config = &self.handle.core.config;
        let options = options.resolve(task, config, self.handle.core.now())?;
        let name = T::NAME;
        let args =
            to_json("args", task, config.max_args_bytes).map_err(|e| e.context(&format!("task {name:?}")))?;
        let token = options.token.map_or_else(|| self.new_token(), |repeated| repeated.token);
        Ok(NewTask { task_name: name, version: T::VERSION, args, options, token })
    }

    fn enqueue_prepared(&self, tasks: Vec<NewTask>) -> Result<Vec<Enqueued>, Error> {
        if tasks.is_empty() {
            return Ok(Vec::new());
        }
        if planted("g03-a-batch-in-two-commits") && tasks.len() > 1 {
            let mut tasks = tasks;
            let rest = tasks.split_off(1);
            let mut made = self.enqueue_prepared(tasks)?;
            made.extend(self.enqueue_prepared(rest)?);
            return Ok(made);
        }
        let core = &self.handle.core;
        let now = core.now();
        let first = Arc::new(Mutex::new(None));
        let tried = first.clone();
        let write = move |tx: &Tx<'_>| -> Sql<Vec<Enqueued>> {
            let made = store::enqueue(tx, &tasks, now)?;
            let new = made.iter().zip(&tasks).find(|(made, _)| made.is_new());
            *lock(&tried) =
                new.map(|(made, task)| EnqueueToken { task_id: made.id().as_i64(), token: task.token });
            Ok(made)
        };
        core.commit(Rank::Add, write).map_err(|e| {
            let token = *lock(&first);
            match token.filter(|_| e.outcome() == Outcome::Unknown) {
                Some(token) => e.with_token(token),
                None => e,
            }
        })
    }

    /// A number that no other enqueue has.
    fn new_token(&self) -> i64 {
        static COUNTER: AtomicI64 = AtomicI64::new(0);
        let count = COUNTER.fetch_add(1, Ordering::Relaxed);
        RandomState::new().hash_one((count, self.store().file_id())).cast_signed()
    }
}

/// The answer to the enqueue of one task.
fn the_one(made: Vec<Enqueued>) -> Result<Enqueued, Error> {
    made.into_iter().next().ok_or_else(|| Error::internal("an enqueue gave no answer"))
}

/// Looking.
impl Queue {
    /// Everything about a task but its args, checkpoint and result.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound).
    pub fn get(&self, id: TaskId) -> Result<TaskRecord, Error> {
        self.store().read(|conn| store::record(conn, id))
    }

    /// The attempts of a task, or of a dead letter, that did not succeed, oldest first: the first 10 and the last 10.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound).
    pub fn attempts(&self, id: TaskId) -> Result<Vec<Attempt>, Error> {
        self.store().read(|conn| store::attempts(conn, id))
    }

    /// A page of tasks that the filter means, oldest id first unless it says [`newest_first`](Filter::newest_first): 100 if it names no
    /// limit. Ask for the next page with [`Filter::after`] (or [`Filter::before`]) the last id.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn tasks(&self, filter: Filter) -> Result<Vec<TaskRecord>, Error> {
        self.page(&filter, None)
    }

    /// The same for somebody who waits: `progress` is told the ids that are looked through, now and then. A text is compared with that of
    /// every task that the rest of the filter means, which takes seconds for millions of them; [`interrupt_reads`](Queue::interrupt_reads)
    /// ends it.
    ///
    /// # Errors
    /// If the file cannot be read; [`Interrupted`](ErrorKind::Interrupted).
    ///
    /// ```
    /// use perdura::{Filter, Queue};
    ///
    /// let queue = Queue::builder().open_in_memory()?;
    /// let found = queue.tasks_with_progress(Filter::new().text("holiday"), |at| println!("{} of {}", at.done, at.total))?;
    /// assert!(found.is_empty());
    /// # Ok::<(), perdura::Error>(())
    /// ```
    pub fn tasks_with_progress(
        &self,
        filter: Filter,
        mut progress: impl FnMut(Progress),
    ) -> Result<Vec<TaskRecord>, Error> {
        self.page(&filter, Some(&mut progress))
    }

    fn page(
        &self,
        filter: &Filter,
        progress: Option<&mut dyn FnMut(Progress)>,
    ) -> Result<Vec<TaskRecord>, Error> {
        filter.check()?;
        let search = Search::new(filter, Among::Tasks, filter.order());
        self.store().search(search, filter.limit.unwrap_or(DEFAULT_PAGE), store::record, progress)
    }

    /// How many tasks each queue has in each state. Never scans: the writes keep the counters. Queues that have no tasks are left out,
    /// unless they are paused.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn counts(&self) -> Result<Counts, Error> {
        self.store().read(store::counts)
    }

    /// The args of a task, or of a dead letter, as the JSON that is stored.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound).
    pub fn args_json(&self, id: TaskId) -> Result<String, Error> {
        self.store().read(|conn| store::args(conn, id))
    }

    /// The result of a task that succeeded; none as long as it may still run.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) if there is no such task, or its result was not kept because the disk was full;
    /// [`WrongState`](ErrorKind::WrongState) if it ended in another way, naming the state;
    /// [`Serialization`](ErrorKind::Serialization) if the result is not an `O`.
    pub fn result<O: DeserializeOwned>(&self, id: TaskId) -> Result<Option<O>, Error> {
        let (record, json) =
            self.store().read(|conn| Ok((store::record(conn, id)?, store::result(conn, id)?)))?;
        match record.state {
            State::Succeeded if json.as_deref() == Some(NOT_KEPT) => {
                let message =
                    format!("the result of task {id} was not kept: the disk was full when it succeeded");
                Err(Error::new(ErrorKind::NotFound, message))
            }
            State::Succeeded => from_json(json.as_deref().unwrap_or("null")).map(Some).map_err(|wrong| {
                let message = format!("the result of task {id} is not what is asked for: {wrong}");
                Error::new(ErrorKind::Serialization, message)
            }),
            State::Queued | State::Running => Ok(None),
            state => {
                let why = record.error_type.map_or_else(String::new, |error| format!(" ({error})"));
                Err(Error::new(ErrorKind::WrongState, format!("task {id} has no result: it is {state}{why}")))
            }
        }
    }

    /// Checks the file: SQLite's own structures, and every invariant that perdura keeps. Reads the whole file,
    /// each invariant of it as it is at a moment of its own.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn check(&self) -> Result<CheckReport, Error> {
        let mut report = CheckReport::default();
        let wal = self.store().wal_keeper();
        for step in 0.. {
            let found = wal.read(|conn| store::check_step(conn, step))?;
            let Some(problems) = found else { break };
            report.problems.extend(problems);
        }
        Ok(report)
    }
}

/// Mending. Every verb is durable when it returns.
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

    /// Retries all tasks that the filter means: `FAILED` and `LOST` ones, if it names no state.
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

    /// Cancels a task: a queued one at once; a running one when its handler next calls
    /// [`ensure_active`](Context::ensure_active), or when it ends in any way but Ok.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound); [`WrongState`](ErrorKind::WrongState) if it is finished, naming the state.
    pub fn cancel(&self, id: TaskId) -> Result<(), Error> {
        self.apply(Verb::Cancel, id)
    }

    /// Cancels all tasks that the filter means: `QUEUED` and `RUNNING` ones, if it names no state.
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

    /// Deletes all tasks that the filter means: finished ones, if it names no state.
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
    pub fn purge(&self, finished_before: SystemTime) -> Result<usize, Error> {
        let ages = Ages { delete_before: Some(finished_before.into()), bury_before: None };
        self.handle.core.purge(ages, || true)
    }

    /// Moves all `FAILED` and `LOST` tasks that the filter means to the dead letters.
    ///
    /// # Errors
    /// If the file cannot be written; what was moved before stays so.
    pub fn move_to_dead_letters(&self, filter: Filter) -> Result<Bulk, Error> {
        self.apply_to_all(Verb::MoveToDeadLetters, filter)
    }

    /// The tasks that were moved out of the way.
    pub fn dead_letters(&self) -> DeadLetters<'_> {
        DeadLetters { queue: self }
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
        self.handle.core.commit(Rank::Change, move |tx| store::set_paused(tx, &queue, paused))
    }

    fn apply(&self, verb: Verb, id: TaskId) -> Result<(), Error> {
        let now = self.handle.core.now();
        self.handle.core.commit(Rank::Change, move |tx| store::apply_one(tx, verb, id, now))
    }

    /// Searches on a reading connection, slice by slice, and writes only where it has found something.
    fn apply_to_all(&self, verb: Verb, filter: Filter) -> Result<Bulk, Error> {
        let (core, store) = (&self.handle.core, self.store());
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
                let length = rest.len().min(BULK_CHUNK).min(usize::try_from(left).unwrap_or(usize::MAX));
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

/// Running.
impl Queue {
    /// Looks at once for what other connections have written, instead of at the next `poll_interval`. So do other queues of this process
    /// on the same file.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn notify(&self) -> Result<(), Error> {
        self.handle.core.hub.siblings.ring(None);
        self.handle.core.notice()
    }

    /// Stops executing: claims nothing more, lets what runs end within `grace`, then asks it to stop and waits a second for it,
    /// hands back what did not start, settles everything, joins its threads, gives up the ownership of the file. If the file cannot be
    /// written, outcomes are tried for a second more, and given up then: see [`ShutdownReport::not_recorded`].
    ///
    /// The queue still enqueues and looks afterwards. A second call from another thread, while the first one waits, shortens its grace;
    /// one that comes later does nothing. Dropping the last handle does the same without grace.
    ///
    /// # Errors
    /// [`InsideHandler`](ErrorKind::InsideHandler) when a handler calls it; [`ForkedProcess`](ErrorKind::ForkedProcess).
    pub fn shutdown(&self, grace: Duration) -> Result<ShutdownReport, Error> {
        outside_handlers("shutdown")?;
        self.store().process.check()?;
        Ok(self.handle.shutdown(grace))
    }
}

fn outside_handlers(what: &str) -> Result<(), Error> {
    if !in_handler() {
        return Ok(());
    }
    let message =
        format!("{what} inside a handler would wait for the handler itself; call it from another thread");
    Err(Error::new(ErrorKind::InsideHandler, message))
}

impl Context {
    /// The queue that runs this task, for handlers that enqueue or look; none if its last handle is gone.
    pub fn queue(&self) -> Option<Queue> {
        let handle = self.port.home().upgrade()?.downcast::<Handle>().ok()?;
        Some(Queue { handle })
    }
}

/// Of the hub and the obstacle, but not in their files: `tests/schedules` puts a scheduler beneath their locks, which these tests have not.
#[cfg(test)]
mod tests {
    use super::engine::hub::Hub;
    use super::engine::obstacle::Obstacle;
    use super::*;
    use crate::clock::SystemClock;
    use crate::store::Effects;
    use crate::task::{Claimed, OutputStream, Progress, Settlement, Verdict};

    #[test]
    fn news_that_a_failed_flush_kept_go_with_the_settle() {
        let hub = Hub::new(Arc::new(SystemClock::new()), Arc::default());
        let claimed = Claimed {
            task_id: TaskId::from_i64(1),
            generation: 1,
            attempt_number: 1,
            max_attempts: 1,
            task_name: "t".into(),
            queue_id: 1,
            args: String::new(),
            backoff: None,
            timeout: None,
            waited: None,
            has_key: false,
            suspect: false,
            is_replay: false,
        };
        hub.after_commit(Effects { claims: vec![claimed.clone()], ..Effects::default() });
        let control = hub.controls().remove(0);
        control.push_output(OutputStream::Stdout, b"all that it said");
        control.set_progress(3, 4);
        hub.note_news();
        let flushed = hub.take_news();
        let news = control.take_news(); // it ends while the flush is under way
        assert!(news.is_empty());
        let mut settlement = Settlement {
            task_id: claimed.task_id,
            generation: 1,
            queue_id: 1,
            has_more: false,
            backoff: None,
            verdict: Verdict::HandedBack,
            task_name: claimed.task_name,
            waited: None,
            ran: Duration::ZERO,
            news,
        };
        flushed.iter().for_each(|(control, news)| control.keep_news(news)); // which fails
        hub.note_news();
        hub.renew_news([&mut settlement].into_iter());
        assert_eq!(settlement.news.progress, Some(Progress { done: 3, total: 4 }));
        assert_eq!(settlement.news.output[0].first, b"all that it said");
    }

    #[test]
    fn a_wal_is_told_at_64_mib_and_at_each_doubling_until_it_starts_again() {
        use super::engine::wal_alarm::{LONG, WalAlarm};
        let alarm = WalAlarm::default();
        let told = |pages| {
            alarm.note(pages);
            alarm.take()
        };
        assert!(!told(LONG - 1) && told(LONG) && !told(LONG + 1) && !told(2 * LONG - 1) && told(2 * LONG));
        assert!(!told(3 * LONG) && told(10 * LONG) && !told(10 * LONG));
        assert!(!told(100) && told(LONG), "it has started again");
    }

    #[derive(serde::Serialize, serde::Deserialize)]
    struct Nothing;
    impl Task for Nothing {
        const NAME: &'static str = "nothing";
    }

    #[test]
    fn g13_a_queue_that_broke_down_says_so_and_lets_the_file_go() {
        let folder = crate::store::TemporaryFolder::new().unwrap();
        let open =
            || Queue::builder().workers(1).handle(|_: Nothing, _: &Context| Ok(())).open(folder.file());
        let queue = open().unwrap();
        queue.pause("default").unwrap();
        let id = queue.enqueue(&Nothing).unwrap();
        let waiting = std::thread::spawn({
            let queue = queue.clone();
            move || queue.wait(id, Duration::MAX).unwrap_err()
        });
        queue.handle.core.break_down("the timer");
        assert_eq!(waiting.join().unwrap().kind(), ErrorKind::Internal);
        assert_eq!(queue.drain().unwrap_err().kind(), ErrorKind::Internal);
        assert!(!queue.executes());
        let next = open().unwrap();
        next.resume("default").unwrap();
        assert_eq!(next.wait(id, Duration::MAX).unwrap().state, State::Succeeded);
        assert_eq!(queue.wait(id, Duration::MAX).unwrap().state, State::Succeeded);
        queue.shutdown(Duration::ZERO).unwrap();
    }

    #[test]
    fn an_obstacle_is_said_when_it_is_new_and_then_seldom() {
        let obstacle = Obstacle::default();
        let (link, full) =
            (Error::new(ErrorKind::OwnerFile, "a link"), Error::new(ErrorKind::DiskFull, "full"));
        let second = Duration::from_secs;
        assert!(obstacle.meet(&link, second(1)));
        assert!((2..600).all(|at| !obstacle.meet(&link, second(at))));
        assert!(obstacle.meet(&link, second(601)) && !obstacle.meet(&link, second(602)));
        assert!(obstacle.meet(&full, second(603)) && obstacle.meet(&link, second(604)));
        assert_eq!(obstacle.why().map(|why| why.kind()), Some(ErrorKind::OwnerFile));
        assert!(obstacle.pass() && !obstacle.pass() && obstacle.why().is_none());
        assert!(obstacle.meet(&link, second(605)));
    }
}
