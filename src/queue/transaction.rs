//! The program's own writes and new tasks in one commit.

#![cfg(feature = "rusqlite")]

use std::cell::Cell;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;
use serde::Serialize;

use super::builder::Builder;
use super::children::core_of;
use super::enqueue::{the_one, token_of, with_first_token};
use super::handle::Queue;
use super::runtime::core::Core;
use crate::error::{EnqueueToken, Error};
use crate::handler::{Context, Failure};
use crate::logging::tell;
use crate::planted::planted;
use crate::store::{self, CallerTx};
use crate::sync::atomic::Ordering;
use crate::task::{Enqueued, Options, Task, Verdict};

/// A closure that takes longer is logged: every other write waits for it.
const LONG: Duration = Duration::from_millis(100);

impl Queue {
    /// Runs a closure whose writes to your own tables and whose new tasks become one commit: all of it or nothing, once.
    ///
    /// The tables have to be in the queue's file: open it with [`share`](Builder::share), or make your tables in the closure. The closure runs
    /// on this thread, exactly once, and holds the file's only write lock meanwhile: prepare before it what can be prepared, and be short. Other
    /// writes wait, and a closure of more than 100 ms is logged. Your triggers, foreign keys and views work; functions and collations are those of
    /// [`Builder::on_connection`]. Durability is that of the queue.
    ///
    /// Out of its reach are BEGIN, COMMIT, ROLLBACK and SAVEPOINT (there is [`Transaction::savepoint`]), PRAGMA, ATTACH, DETACH, and tables
    /// whose names begin with `perdura_`. Workers start its tasks as soon as it is committed.
    ///
    /// ```
    /// # use perdura::{Queue, State};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Receipt { order: i64 }
    /// # impl perdura::Task for Receipt { const NAME: &'static str = "receipt"; type Output = (); }
    /// # let queue = Queue::builder().open_temporary()?;
    /// let id = queue.transaction(|tx| {
    ///     tx.execute("CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY, item TEXT NOT NULL)", [])?;
    ///     tx.execute("INSERT INTO orders (item) VALUES (?1)", ["a book"])?;
    ///     let receipt = tx.enqueue(&Receipt { order: tx.last_insert_rowid() })?;
    ///     Ok::<_, Box<dyn std::error::Error>>(receipt.id())
    /// })?;
    /// assert_eq!(queue.get(id)?.state, State::Queued);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The closure's own; then nothing was written. [`InvalidInput`](crate::ErrorKind::InvalidInput) if it used what is out of its reach, or
    /// leaves a foreign key without its row; [`WouldDeadlock`](crate::ErrorKind::WouldDeadlock) if the closure of another transaction calls it;
    /// [`DiskFull`](crate::ErrorKind::DiskFull); errors of the disk. If the outcome is [`Unknown`](crate::Outcome::Unknown), the error's token is that
    /// of the first task that it made: ask [`find_by_token`](Queue::find_by_token).
    ///
    /// # Panics
    /// If the closure does. Nothing is written then, and the queue goes on.
    pub fn transaction<R, E: From<Error>>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<R, E>,
    ) -> Result<R, E> {
        run(&self.runtime.core, |_, transaction| work(transaction))
    }
}

/// Runs a closure in a transaction of the program, and logs one that takes long.
fn run<R, E: From<Error>>(
    core: &Core,
    work: impl FnOnce(&CallerTx<'_>, &Transaction<'_>) -> Result<R, E>,
) -> Result<R, E> {
    let (first, took) = (Cell::new(None), Cell::new(Duration::ZERO));
    let write = |tx: &CallerTx<'_>| {
        let began = core.shared.monotonic();
        let done = work(tx, &Transaction { core, tx, first: &first });
        took.set(core.shared.monotonic().saturating_sub(began));
        done
    };
    let about = |error: Error| with_first_token(error, first.get());
    let done = core.store.transaction(write, about);
    if took.get() > LONG {
        tell!(
            Warn,
            "a transaction held the write lock of {} for {:?}; all other writes waited for it, so do in it only what must be in it",
            core.store.path().display(),
            took.get()
        );
    }
    done
}

/// Why an attempt could not commit its end.
enum NotCommitted {
    Ours(Error),
    Theirs(Failure),
}

impl From<Error> for NotCommitted {
    fn from(error: Error) -> NotCommitted {
        NotCommitted::Ours(error)
    }
}

impl Context {
    /// Ends the task with success: what the closure writes to your own tables, the output, `SUCCEEDED`, and the tasks of
    /// [`enqueue`](Context::enqueue) are one commit. So what the closure writes happens exactly once, whatever dies when. Return what this call
    /// returns.
    ///
    /// The closure is that of [`Queue::transaction`], which says what it may do. If it fails, nothing is written, and the attempt goes on:
    /// return the failure, and the task is retried by its policy. After the commit the task has ended; however the handler ends then changes
    /// nothing, and is logged if it is not Ok.
    ///
    /// ```
    /// # use perdura::{Context, Failure, Queue};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Charge { order: i64, cents: i64 }
    /// # impl perdura::Task for Charge { const NAME: &'static str = "charge"; type Output = i64; }
    /// fn charge(task: Charge, cx: &Context) -> Result<i64, Failure> {
    ///     let receipt = task.order * 10; // what the work has found
    ///     cx.commit(receipt, |tx| {
    ///         tx.execute("UPDATE accounts SET cents = cents - ?1", [task.cents])?;
    ///         Ok(())
    ///     })
    /// }
    /// # let queue = Queue::builder().handle(charge).open_temporary()?;
    /// queue.transaction(|tx| {
    ///     tx.execute_batch("CREATE TABLE accounts (cents INTEGER NOT NULL); INSERT INTO accounts VALUES (1000)")?;
    ///     tx.enqueue(&Charge { order: 7, cents: 250 })?;
    ///     Ok::<(), Box<dyn std::error::Error>>(())
    /// })?;
    /// queue.drain()?;
    /// queue.transaction(|tx| {
    ///     let left: i64 = tx.query_row("SELECT cents FROM accounts", [], |row| row.get(0))?;
    ///     assert_eq!(left, 750);
    ///     Ok::<(), Box<dyn std::error::Error>>(())
    /// })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Those of the closure; `Superseded` if this attempt is not the running one any more; those of [`Queue::transaction`] and of an output
    /// that cannot be stored.
    pub fn commit<O: Serialize>(
        &self,
        output: O,
        work: impl FnOnce(&Transaction<'_>) -> Result<(), Failure>,
    ) -> Result<O, Failure> {
        let core = core_of(self)?;
        if self.control.committed.load(Ordering::Acquire) {
            return Err(Failure::permanent("the task has ended with a commit of its own already"));
        }
        self.check_superseded()?;
        let result = self.result_json(&output)?;
        let (id, generation, epoch) = (self.id(), self.generation(), core.shared.gate.epoch());
        let mut ended = None;
        let done = run(&core, |tx, transaction| {
            tx.ours(|tx| {
                store::check_epoch(tx, epoch)?;
                store::check_fence(tx, id, generation)
            })?;
            work(transaction).map_err(NotCommitted::Theirs)?;
            if planted("g17-the-end-is-not-in-the-commit-of-the-effect") {
                return Ok(());
            }
            let settlement =
                ended.insert(self.settlement(Verdict::Succeeded { result, late: self.is_late() }));
            Ok(tx.ours(|tx| store::succeed(tx, settlement, &core.rules, core.now()))?)
        });
        match done {
            Ok(()) => {
                self.control.committed.store(ended.is_some(), Ordering::Release);
                Ok(output)
            }
            Err(why) => {
                ended.into_iter().for_each(|settlement| self.control.take_back(settlement));
                Err(match why {
                    NotCommitted::Ours(error) => Failure::from_write(error),
                    NotCommitted::Theirs(failure) => failure,
                })
            }
        }
    }
}

/// A transaction of a queue while its closure runs. Made by [`Queue::transaction`], where there is an example.
///
/// It is also the connection: `execute`, `query_row` and `prepare` are those of [`rusqlite::Connection`].
pub struct Transaction<'t> {
    core: &'t Core,
    tx: &'t CallerTx<'t>,
    first: &'t Cell<Option<EnqueueToken>>,
}

impl Transaction<'_> {
    /// Makes a task, or finds the live task that holds its unique key. It is there when the transaction is committed.
    ///
    /// # Errors
    /// As [`Queue::enqueue`]; the transaction can go on.
    pub fn enqueue<T: Task>(&self, task: &T) -> Result<Enqueued, Error> {
        self.enqueue_with(task, Options::new())
    }

    /// Like [`enqueue`](Transaction::enqueue), with options of its own.
    ///
    /// # Errors
    /// As [`Queue::enqueue_with`]; the transaction can go on.
    pub fn enqueue_with<T: Task>(&self, task: &T, options: Options) -> Result<Enqueued, Error> {
        let prepared = [self.core.prepare(task, options)?];
        let now = self.core.now();
        let made = the_one(self.tx.ours(|tx| store::enqueue(tx, &prepared, now))?)?;
        self.first.set(self.first.get().or_else(|| token_of(&made, &prepared[0])));
        Ok(made)
    }

    /// Runs a part of the transaction that is undone by itself if it fails: what it wrote and what it enqueued. Parts can be nested.
    ///
    /// ```
    /// # let queue = perdura::Queue::builder().open_temporary()?;
    /// queue.transaction(|tx| {
    ///     tx.execute("CREATE TABLE log (line TEXT NOT NULL)", [])?;
    ///     let part = tx.savepoint(|| {
    ///         tx.execute("INSERT INTO log VALUES ('undone')", [])?;
    ///         Err::<(), Box<dyn std::error::Error>>("on second thought, no".into())
    ///     });
    ///     assert!(part.is_err());
    ///     assert_eq!(tx.query_row("SELECT COUNT(*) FROM log", [], |row| row.get::<_, i64>(0))?, 0);
    ///     Ok::<(), Box<dyn std::error::Error>>(())
    /// })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Those of the part; [`InvalidInput`](crate::ErrorKind::InvalidInput) if the whole transaction was rolled back inside it.
    pub fn savepoint<R, E: From<Error>>(&self, part: impl FnOnce() -> Result<R, E>) -> Result<R, E> {
        let first = self.first.get();
        self.tx.whole(part).inspect_err(|_| self.first.set(first)) // what it made is gone
    }
}

impl Deref for Transaction<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.tx.connection()
    }
}

impl fmt::Debug for Transaction<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction").field("path", &self.core.store.path()).finish_non_exhaustive()
    }
}

impl Builder {
    /// Sets up the connection on which transactions of the queue run: its functions, its collations. It is called when that connection is
    /// opened, by the first [`transaction`](Queue::transaction). Defaults to nothing.
    ///
    /// If it changes settings that durability needs, they are set back.
    ///
    /// ```
    /// # use perdura::Queue;
    /// let queue = Queue::builder()
    ///     .on_connection(|connection| connection.create_collation("backwards", |a, b| b.cmp(a)))
    ///     .open_temporary()?;
    /// queue.transaction(|tx| {
    ///     let sql = "SELECT 'a' < 'b' COLLATE backwards";
    ///     assert!(!tx.query_row(sql, [], |row| row.get::<_, bool>(0))?);
    ///     Ok::<(), Box<dyn std::error::Error>>(())
    /// })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn on_connection(
        mut self,
        set_up: impl Fn(&Connection) -> rusqlite::Result<()> + Send + Sync + 'static,
    ) -> Builder {
        self.on_connection = Some(Arc::new(set_up));
        self
    }
}
