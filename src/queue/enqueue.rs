//! Makes tasks: one, a batch, or one inside a transaction of the caller.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use super::handle::Queue;
use crate::error::{EnqueueToken, Error, Outcome};
use crate::planted::planted;
use crate::store::{self, Rank, Sql, Tx};
use crate::sync::{Mutex, lock};
use crate::task::{Enqueued, NewTask, Options, Task, TaskId};

/// Args of a task of few bytes.
const SMALL_ARGS_BYTES: usize = 16 * 1024;

impl Queue {
    /// Makes a task, or finds the live task that holds its [unique key](Options::unique). The task is durable when this returns.
    ///
    /// The handler gets the args exactly as they are given here. Args that JSON cannot hold are refused: NaN and infinities, and more than 127
    /// nested lists and maps.
    ///
    /// ```
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Mail { to: String }
    /// # impl perdura::Task for Mail { const NAME: &'static str = "mail"; type Output = (); }
    /// # let queue = perdura::Queue::builder().open_temporary()?;
    /// let id = queue.enqueue(&Mail { to: "ada@example.org".into() })?.id();
    /// assert_eq!(queue.get(id)?.state, perdura::State::Queued);
    /// # Ok::<(), perdura::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput), [`TooLarge`](crate::ErrorKind::TooLarge) or
    /// [`Serialization`](crate::ErrorKind::Serialization) for a task that cannot be stored, and errors of the disk. The task does not exist
    /// then, unless [`outcome()`](Error::outcome) is [`Unknown`](Outcome::Unknown).
    pub fn enqueue<T: Task>(&self, task: &T) -> Result<Enqueued, Error> {
        self.enqueue_with(task, Options::new())
    }

    /// Makes a task with options of its own, or finds the live task that holds its unique key.
    ///
    /// ```
    /// # use perdura::{Options, Queue};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Mail { to: String }
    /// # impl perdura::Task for Mail { const NAME: &'static str = "mail"; type Output = (); }
    /// # let queue = Queue::builder().open_temporary()?;
    /// let options = Options::new().queue("newsletter").max_attempts(5);
    /// let id = queue.enqueue_with(&Mail { to: "ada@example.org".into() }, options)?.id();
    /// assert_eq!(queue.get(id)?.max_attempts, 5);
    /// # Ok::<(), perdura::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`enqueue`](Queue::enqueue).
    pub fn enqueue_with<T: Task>(&self, task: &T, options: Options) -> Result<Enqueued, Error> {
        the_one(self.enqueue_prepared(vec![self.runtime.core.prepare(task, options)?])?)
    }

    /// Makes all the tasks in one transaction: on an error, it makes none. Their ids rise in the order given.
    ///
    /// ```
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Mail { to: String }
    /// # impl perdura::Task for Mail { const NAME: &'static str = "mail"; type Output = (); }
    /// # let queue = perdura::Queue::builder().open_temporary()?;
    /// let mails = ["ada@example.org", "alan@example.org"].map(|to| Mail { to: to.into() });
    /// let made = queue.enqueue_all(&mails)?;
    /// assert!(made[0].id() < made[1].id());
    /// # Ok::<(), perdura::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`enqueue`](Queue::enqueue). If the outcome is unknown, it is the same for all the tasks. The error's token is that of the first new task:
    /// ask [`find_by_token`](Queue::find_by_token).
    pub fn enqueue_all<'t, T: Task>(
        &self,
        tasks: impl IntoIterator<Item = &'t T>,
    ) -> Result<Vec<Enqueued>, Error> {
        let tasks = tasks.into_iter().map(|task| (task, Options::new()));
        self.enqueue_all_with(tasks)
    }

    /// Like [`enqueue_all`](Queue::enqueue_all), with options for each task.
    ///
    /// ```
    /// # use perdura::{Options, Queue};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Mail { to: String }
    /// # impl perdura::Task for Mail { const NAME: &'static str = "mail"; type Output = (); }
    /// # let queue = Queue::builder().open_temporary()?;
    /// let [ada, alan] = ["ada@example.org", "alan@example.org"].map(|to| Mail { to: to.into() });
    /// let made = queue.enqueue_all_with([(&ada, Options::new()), (&alan, Options::new().priority(10))])?;
    /// assert_eq!(queue.get(made[1].id())?.priority, 10);
    /// # Ok::<(), perdura::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`enqueue_all`](Queue::enqueue_all).
    pub fn enqueue_all_with<'t, T: Task>(
        &self,
        tasks: impl IntoIterator<Item = (&'t T, Options)>,
    ) -> Result<Vec<Enqueued>, Error> {
        self.enqueue_all_as(tasks.into_iter().map(|(task, options)| (T::NAME.into(), task, options)))
    }

    /// The same for tasks whose names are known only when the program runs.
    pub(crate) fn enqueue_all_as<'t, T: Task>(
        &self,
        tasks: impl IntoIterator<Item = (Cow<'static, str>, &'t T, Options)>,
    ) -> Result<Vec<Enqueued>, Error> {
        let prepare = |(name, task, options)| self.runtime.core.prepare_as(name, task, options);
        self.enqueue_prepared(tasks.into_iter().map(prepare).collect::<Result<_, Error>>()?)
    }

    /// Collects tasks of several types, to make them together: all of them or, on an error, none.
    ///
    /// ```
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Thumbnail { photo: u64 }
    /// # impl perdura::Task for Thumbnail { const NAME: &'static str = "thumbnail"; type Output = (); }
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Upload { photo: u64 }
    /// # impl perdura::Task for Upload { const NAME: &'static str = "upload"; type Output = (); }
    /// # let queue = perdura::Queue::builder().open_temporary()?;
    /// let mut batch = queue.batch();
    /// batch.add(&Thumbnail { photo: 7 })?;
    /// batch.add_with(&Upload { photo: 7 }, perdura::Options::new().priority(-1))?;
    /// let made = batch.enqueue()?;
    /// assert_eq!(queue.get(made[1].id())?.priority, -1);
    /// # Ok::<(), perdura::Error>(())
    /// ```
    pub fn batch(&self) -> Batch<'_> {
        Batch { queue: self, tasks: Vec::new() }
    }

    /// Makes a task inside a transaction of your own on the same file: the task appears when you commit, and only then.
    ///
    /// Call [`notify`](Queue::notify) after the commit; otherwise the task starts within `poll_interval`.
    ///
    /// ```
    /// # use perdura::{Options, Queue, State};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Receipt { order: u64 }
    /// # impl perdura::Task for Receipt { const NAME: &'static str = "receipt"; type Output = (); }
    /// # let queue = Queue::builder().open_temporary()?;
    /// let mut connection = rusqlite::Connection::open(queue.path())?;
    /// let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    /// // Write the order's own row here.
    /// let id = queue.enqueue_in(&transaction, &Receipt { order: 17 }, Options::new())?.id();
    /// transaction.commit()?;
    /// queue.notify()?;
    /// assert_eq!(queue.get(id)?.state, State::Queued);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`enqueue`](Queue::enqueue); [`InvalidInput`](crate::ErrorKind::InvalidInput) if the connection's main database is another file, or its
    /// `PRAGMA synchronous` is below what the queue's [durability](crate::Config::durability) needs (`FULL`, or `NORMAL` for a relaxed one).
    #[cfg(feature = "rusqlite")]
    pub fn enqueue_in<T: Task>(
        &self,
        transaction: &rusqlite::Transaction<'_>,
        task: &T,
        options: Options,
    ) -> Result<Enqueued, Error> {
        self.store().process.check()?;
        let prepared = [self.runtime.core.prepare(task, options)?];
        let tx = self.store().join(transaction)?;
        let made = store::enqueue(&tx, &prepared, self.runtime.core.now())?;
        tx.finish()?;
        the_one(made)
    }

    /// The task that an enqueue of unknown outcome has made; none if that enqueue did not reach the disk.
    ///
    /// The token comes from [`Error::token`]. To enqueue again instead of asking, use [`Options::token`].
    ///
    /// ```
    /// use perdura::{EnqueueToken, Queue};
    ///
    /// let queue = Queue::builder().open_temporary()?;
    /// let token: EnqueueToken = "17-00c0ffee00c0ffee".parse()?; // noted before the program was restarted
    /// assert_eq!(queue.find_by_token(token)?, None);
    /// # Ok::<(), perdura::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn find_by_token(&self, token: EnqueueToken) -> Result<Option<TaskId>, Error> {
        let found = self.store().read(|conn| store::find_token(conn, token))?;
        Ok(found.then_some(TaskId::from_i64(token.task_id)))
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
        let core = &self.runtime.core;
        let now = core.now();
        let is_small = tasks.len() == 1 && tasks.iter().all(|task| task.args.len() <= SMALL_ARGS_BYTES);
        let rank = if is_small { Rank::AddSmall } else { Rank::Add };
        let first = Arc::new(Mutex::new(None));
        let tried = first.clone();
        let write = move |tx: &Tx<'_>| -> Sql<Vec<Enqueued>> {
            let made = store::enqueue(tx, &tasks, now)?;
            *lock(&tried) = made.iter().zip(&tasks).find_map(|(made, task)| token_of(made, task));
            Ok(made)
        };
        core.commit(rank, write).map_err(|e| with_first_token(e, *lock(&first)))
    }
}

/// Tasks that are made together. Made by [`Queue::batch`], where there is an example.
#[must_use = "nothing is made before enqueue() is called"]
pub struct Batch<'q> {
    queue: &'q Queue,
    tasks: Vec<NewTask>,
}

impl fmt::Debug for Batch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch").field("queue", self.queue).field("tasks", &self.tasks.len()).finish()
    }
}

impl Batch<'_> {
    /// Adds a task. Nothing is written yet. [`Queue::batch`] has an example.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput), [`TooLarge`](crate::ErrorKind::TooLarge) or
    /// [`Serialization`](crate::ErrorKind::Serialization) for a task that cannot be stored. The batch stays as it was.
    pub fn add<T: Task>(&mut self, task: &T) -> Result<(), Error> {
        self.add_with(task, Options::new())
    }

    /// Adds a task with options of its own. Nothing is written yet. [`Queue::batch`] has an example.
    ///
    /// # Errors
    /// As [`add`](Batch::add).
    pub fn add_with<T: Task>(&mut self, task: &T, options: Options) -> Result<(), Error> {
        self.tasks.push(self.queue.runtime.core.prepare(task, options)?);
        Ok(())
    }

    /// Makes all the tasks in one transaction: on an error, it makes none. Their ids rise in the order in which they were added.
    ///
    /// ```
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Mail;
    /// # impl perdura::Task for Mail { const NAME: &'static str = "mail"; type Output = (); }
    /// # let queue = perdura::Queue::builder().open_temporary()?;
    /// let mut batch = queue.batch();
    /// batch.add(&Mail)?;
    /// assert_eq!(queue.counts()?.total().all(), 0, "a batch that is dropped makes nothing");
    /// let made = batch.enqueue()?;
    /// assert_eq!((made.len(), queue.counts()?.total().all()), (1, 1));
    /// # Ok::<(), perdura::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Queue::enqueue_all`].
    pub fn enqueue(self) -> Result<Vec<Enqueued>, Error> {
        self.queue.enqueue_prepared(self.tasks)
    }
}

/// The token by which an enqueue is recognised later; none if it has not written its task.
pub(super) fn token_of(made: &Enqueued, task: &NewTask) -> Option<EnqueueToken> {
    let is_written = made.is_new() || made.is_replaced();
    is_written.then(|| EnqueueToken { task_id: made.id().as_i64(), token: task.token })
}

/// Adds the token of the first task to an error whose outcome is unknown.
pub(super) fn with_first_token(error: Error, first: Option<EnqueueToken>) -> Error {
    match first.filter(|_| error.outcome() == Outcome::Unknown) {
        Some(token) => error.with_token(token),
        None => error,
    }
}

/// The answer to the enqueue of one task.
pub(super) fn the_one(made: Vec<Enqueued>) -> Result<Enqueued, Error> {
    made.into_iter().next().ok_or_else(|| Error::internal("an enqueue gave no answer"))
}
