//! A write transaction: its statements, its savepoints, and what it gathers until its end.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use rusqlite::{CachedStatement, Connection, OptionalExtension, Params, Row};

use super::effects::{Effects, Mark, TxEffects};
use super::name_cache::NameCache;
use crate::planted::planted;
use crate::store::error::{Sql, contradiction};
use crate::task::{HandledNames, TaskId, Timestamp};

/// Writes what was gathered, as the last step before COMMIT.
pub(crate) type Finish = fn(&Tx<'_>) -> Sql<()>;

/// Permission for a transaction to start one new task at once, given by the commit hook, which
/// knows the workers.
pub(crate) struct StartLeave {
    /// The epoch of the owner that gives it.
    pub epoch: i64,
    pub handled: Arc<HandledNames>,
    /// When the transaction began, after it had waited for its locks.
    pub now: Timestamp,
    pub is_taken: Cell<bool>,
}

impl StartLeave {
    pub(crate) fn new(epoch: i64, handled: Arc<HandledNames>, now: Timestamp) -> StartLeave {
        StartLeave { epoch, handled, now, is_taken: Cell::new(false) }
    }
}

/// A running write transaction. Whoever begins it calls [`Tx::finish`] before the COMMIT.
pub(crate) struct Tx<'c> {
    pub(crate) conn: &'c Connection,
    pub(crate) names: &'c NameCache,
    pub(crate) file_id: &'c [u8; 16],
    gathered: RefCell<TxEffects>,
    finish: Finish,
    /// The epoch of the owner has already been compared.
    pub(crate) epoch_checked: Cell<bool>,
    /// The permission to start a new task at once, if there is one.
    pub(crate) start_leave: Option<StartLeave>,
    /// When it began, if known.
    pub(crate) now: Option<Timestamp>,
}

impl<'c> Tx<'c> {
    /// For a transaction that is open on this connection; `finish` is run at its end.
    pub(crate) fn new(
        conn: &'c Connection,
        names: &'c NameCache,
        file_id: &'c [u8; 16],
        start_leave: Option<StartLeave>,
        now: Option<Timestamp>,
        finish: Finish,
    ) -> Tx<'c> {
        Tx {
            conn,
            names,
            file_id,
            gathered: RefCell::default(),
            finish,
            epoch_checked: Cell::new(false),
            start_leave,
            now,
        }
    }

    /// A statement that a batch runs for each of its members.
    pub(crate) fn prepare(&self, sql: &str) -> Sql<Prepared<'c>> {
        Ok(Prepared(self.conn.prepare_cached(sql)?))
    }

    /// Runs a statement and returns how many rows it changed.
    pub(crate) fn run(&self, sql: &str, params: impl Params) -> Sql<usize> {
        self.prepare(sql)?.run(params)
    }

    /// Runs a statement that must change exactly one row.
    pub(crate) fn change_one(&self, sql: &str, params: impl Params) -> Sql<()> {
        self.prepare(sql)?.change_one(params)
    }

    /// The one row that a query finds.
    pub(crate) fn one<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Sql<T> {
        Ok(self.conn.prepare_cached(sql)?.query_row(params, read)?)
    }

    /// The row that a query finds, if any.
    pub(crate) fn find<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Sql<Option<T>> {
        Ok(self.conn.prepare_cached(sql)?.query_row(params, read).optional()?)
    }

    /// The integers in the first column of a query.
    pub(crate) fn numbers(&self, sql: &str, params: impl Params) -> Sql<Vec<i64>> {
        let mut statement = self.conn.prepare_cached(sql)?;
        let rows = statement.query_map(params, |row| row.get(0))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Changes the effects that are reported once the transaction is committed.
    pub(crate) fn effect(&self, change: impl FnOnce(&mut Effects)) {
        self.gathered(|all| change(&mut all.told));
    }

    pub(crate) fn effects(&self) -> std::cell::Ref<'_, Effects> {
        std::cell::Ref::map(self.gathered.borrow(), |all| &all.told)
    }

    pub(crate) fn gathered<R>(&self, act: impl FnOnce(&mut TxEffects) -> R) -> R {
        act(&mut self.gathered.borrow_mut())
    }

    /// The turn among suspects may have to be passed on.
    pub(crate) fn suspect_moved(&self) {
        self.gathered(|all| all.suspects_moved = true);
    }

    /// A run of a schedule has ended, was revived, or is gone: its schedule has to react.
    pub(crate) fn run_moved(&self, id: TaskId, at: Timestamp) {
        self.gathered(|all| all.moved_runs.push((id, at)));
    }

    pub(crate) fn mark(&self) -> Mark {
        self.gathered(TxEffects::mark)
    }

    pub(crate) fn undo_to(&self, mark: Mark) {
        self.gathered(|all| all.undo_to(mark));
    }

    /// Calls `act` on one after the other, on the first in any case, until it is `enough`. Returns
    /// how many were reached.
    pub(crate) fn each<T>(
        &self,
        all: &[T],
        enough: &dyn Fn() -> bool,
        mut act: impl FnMut(&T) -> Sql<()>,
    ) -> Sql<usize> {
        for (n, one) in all.iter().enumerate() {
            if n > 0 && enough() {
                return Ok(n);
            }
            act(one)?;
        }
        Ok(all.len())
    }

    /// Runs `act` in a savepoint: if it fails, all of it is undone.
    pub(crate) fn whole<R>(&self, act: impl FnOnce() -> Sql<R>) -> Sql<R> {
        let mark = self.mark();
        self.run("SAVEPOINT whole", [])?;
        let done = act();
        if done.is_err() && !planted("g12-half-a-change-stays") {
            if self.conn.is_autocommit() {
                return done; // SQLite has rolled back the whole transaction
            }
            self.undo_to(mark);
            self.run("ROLLBACK TO whole", [])?;
        }
        self.run("RELEASE whole", [])?;
        done
    }

    /// Writes what was gathered: the last step before COMMIT.
    pub(crate) fn finish(&self) -> Sql<()> {
        (self.finish)(self)
    }

    /// The effects of the transaction, once it is committed.
    pub(crate) fn committed(self) -> Effects {
        let gathered = self.gathered.into_inner();
        self.names.remember(gathered.met);
        gathered.told
    }
}

/// A prepared statement. To find one in the cache costs as much as a small write, so a batch does
/// it once.
pub(crate) struct Prepared<'c>(CachedStatement<'c>);

impl Prepared<'_> {
    /// Runs it and returns how many rows it changed.
    pub(crate) fn run(&mut self, params: impl Params) -> Sql<usize> {
        Ok(self.0.execute(params)?)
    }

    /// The row that it finds, if any.
    pub(crate) fn find<T>(
        &mut self,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Sql<Option<T>> {
        Ok(self.0.query_row(params, read).optional()?)
    }

    /// The rows that it finds.
    pub(crate) fn all<T, C: FromIterator<T>>(
        &mut self,
        params: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Sql<C> {
        Ok(self.0.query_map(params, read)?.collect::<rusqlite::Result<_>>()?)
    }

    /// Runs it; it must change exactly one row.
    pub(crate) fn change_one(&mut self, params: impl Params) -> Sql<()> {
        match self.run(params)? {
            1 => Ok(()),
            n => Err(contradiction(&format!("a write that expects one row met {n}"))),
        }
    }
}
