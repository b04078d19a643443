//! A write transaction, and what it means for the rest of the program once it is committed.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::Duration;

use rusqlite::{CachedStatement, Connection, OptionalExtension, Params, Row};

use super::direct::Direct;
use super::fault::{Sql, contradiction};
use super::names::{Met, Names};
use super::rollups::{self, RollupKey, minute_of};
use super::suspects;
use crate::planted::planted;
use crate::task::{Claimed, Hold, Measure, State, TaskId, Timestamp, UNKNOWN, bucket_of};

/// A running write transaction. Whoever begins it calls [`Tx::finish`] before the COMMIT.
pub(crate) struct Tx<'c> {
    pub(super) conn: &'c Connection,
    pub(super) names: &'c Names,
    pub(super) file_id: &'c [u8; 16],
    pub(super) met: RefCell<Met>,
    /// Changes of the counters, by (queue, state, hold); written by `finish`.
    counts: RefCell<BTreeMap<(i64, i64, i64), i64>>,
    /// Attempts to be counted, by (minute, task name, measure, bucket); written by `finish`.
    rollups: RefCell<BTreeMap<RollupKey, i64>>,
    effects: RefCell<Effects>,
    /// The turn among suspects may have to be passed on.
    suspects_moved: Cell<bool>,
    /// The owner epoch has been compared already.
    pub(super) epoch_checked: Cell<bool>,
    /// The leave to start new tasks at once, if there is any.
    pub(super) direct: Option<Direct>,
}

/// What a committed transaction means for timers, workers and waiters.
#[derive(Default, Clone)]
pub(crate) struct Effects {
    /// Tasks that became ready.
    pub ready: u64,
    /// The earliest time that a task has begun to wait for.
    pub due: Option<Timestamp>,
    /// Some task's state has changed.
    pub changed: bool,
    /// Running tasks whose cancel flag was set.
    pub cancelled: Vec<TaskId>,
    /// Tasks whose thread works on an attempt that no longer counts.
    pub superseded: Vec<TaskId>,
    /// Claims, on their way to the workers.
    pub claims: Vec<Claimed>,
    /// There may be more to claim than this transaction looked at.
    pub more: bool,
    /// Tasks that have ended or are gone, beside those of `settled`.
    pub ended: Vec<TaskId>,
    /// Attempts (task, generation) whose outcome was brought, whatever became of it.
    pub settled: Vec<(TaskId, u64)>,
    /// Pages in the WAL after the commit.
    pub wal_pages: u32,
}

/// What a savepoint has to restore beside the file.
pub(super) struct Mark {
    met: Met,
    counts: BTreeMap<(i64, i64, i64), i64>,
    rollups: BTreeMap<RollupKey, i64>,
    effects: Effects,
    suspects_moved: bool,
}

impl<'c> Tx<'c> {
    /// What is written within a transaction of this connection.
    pub(super) fn new(
        conn: &'c Connection,
        names: &'c Names,
        file_id: &'c [u8; 16],
        direct: Option<Direct>,
    ) -> Tx<'c> {
        Tx {
            conn,
            names,
            file_id,
            met: RefCell::default(),
            counts: RefCell::default(),
            rollups: RefCell::default(),
            effects: RefCell::default(),
            suspects_moved: Cell::new(false),
            epoch_checked: Cell::new(false),
            direct,
        }
    }

    /// A statement that a batch runs for each of its members.
    pub(super) fn prepare(&self, sql: &str) -> Sql<Prepared<'c>> {
        Ok(Prepared(self.conn.prepare_cached(sql)?))
    }

    /// Runs a statement and says how many rows it changed.
    pub(super) fn run(&self, sql: &str, params: impl Params) -> Sql<usize> {
        self.prepare(sql)?.run(params)
    }

    /// Runs a statement that must change exactly one row.
    pub(super) fn change_one(&self, sql: &str, params: impl Params) -> Sql<()> {
        self.prepare(sql)?.change_one(params)
    }

    /// The one row that a query finds.
    pub(super) fn one<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Sql<T> {
        Ok(self.conn.prepare_cached(sql)?.query_row(params, read)?)
    }

    /// The row that a query finds, if any.
    pub(super) fn find<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Sql<Option<T>> {
        Ok(self.conn.prepare_cached(sql)?.query_row(params, read).optional()?)
    }

    /// The numbers that a query finds.
    pub(super) fn numbers(&self, sql: &str, params: impl Params) -> Sql<Vec<i64>> {
        let mut statement = self.conn.prepare_cached(sql)?;
        let rows = statement.query_map(params, |row| row.get(0))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Counts `by` more tasks of a queue in a state and hold.
    pub(super) fn count(&self, queue_id: i64, state: State, hold: Hold, by: i64) {
        *self.counts.borrow_mut().entry((queue_id, state.code(), hold.code())).or_default() += by;
    }

    /// Counts an attempt: what became of it, or how long it had waited; the length of time, if it is known.
    pub(super) fn roll_up(&self, now: Timestamp, name_id: i64, measure: Measure, length: Option<Duration>) {
        let key = (minute_of(now), name_id, measure, length.map_or(UNKNOWN, bucket_of));
        *self.rollups.borrow_mut().entry(key).or_default() += 1;
    }

    /// Changes what the transaction will mean once it is committed.
    pub(crate) fn effect(&self, change: impl FnOnce(&mut Effects)) {
        change(&mut self.effects.borrow_mut());
    }

    pub(crate) fn effects(&self) -> std::cell::Ref<'_, Effects> {
        self.effects.borrow()
    }

    pub(super) fn suspect_moved(&self) {
        self.suspects_moved.set(true);
    }

    /// Whether a write of this transaction has touched a suspect, and the turn is still to be passed on.
    pub(crate) fn has_moved_suspects(&self) -> bool {
        self.suspects_moved.get()
    }

    pub(super) fn mark(&self) -> Mark {
        Mark {
            met: self.met.borrow().clone(),
            counts: self.counts.borrow().clone(),
            rollups: self.rollups.borrow().clone(),
            effects: self.effects.borrow().clone(),
            suspects_moved: self.suspects_moved.get(),
        }
    }

    pub(super) fn restore(&self, mark: Mark) {
        *self.met.borrow_mut() = mark.met;
        *self.counts.borrow_mut() = mark.counts;
        *self.rollups.borrow_mut() = mark.rollups;
        *self.effects.borrow_mut() = mark.effects;
        self.suspects_moved.set(mark.suspects_moved);
    }

    /// Does something to one after the other, to the first in any case, until it is `enough`. Answers with how many it has come to.
    pub(super) fn each<T>(
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

    /// Does something as a whole: where it fails, it is as if it had not begun.
    pub(super) fn whole<R>(&self, act: impl FnOnce() -> Sql<R>) -> Sql<R> {
        let mark = self.mark();
        self.run("SAVEPOINT whole", [])?;
        let done = act();
        if done.is_err() && !planted("g12-half-a-change-stays") {
            if self.conn.is_autocommit() {
                return done; // SQLite has rolled back the whole transaction
            }
            self.restore(mark);
            self.run("ROLLBACK TO whole", [])?;
        }
        self.run("RELEASE whole", [])?;
        done
    }

    /// Passes on the turn among suspects, if a write of this transaction has touched one.
    pub(crate) fn pass_turn(&self) -> Sql<()> {
        if self.suspects_moved.replace(false) {
            suspects::pass_turn(self)?;
        }
        Ok(())
    }

    /// Writes what was gathered: the last step before COMMIT.
    pub(crate) fn finish(&self) -> Sql<()> {
        self.pass_turn()?;
        for ((queue_id, state, hold), by) in std::mem::take(&mut *self.counts.borrow_mut()) {
            if by == 0 {
                continue;
            }
            // Bounded, so that a counter that is wrong, for whatever reason, never stops the queue: `check` reports it.
            let sql = "UPDATE perdura_counts SET n = MAX(0, MIN(n, 1 << 62) + ?4)
                       WHERE queue_id = ?1 AND state = ?2 AND hold = ?3";
            if self.run(sql, (queue_id, state, hold, by))? == 0 {
                let sql =
                    "INSERT INTO perdura_counts (queue_id, state, hold, n) VALUES (?1, ?2, ?3, MAX(0, ?4))";
                self.change_one(sql, (queue_id, state, hold, by))?;
            }
        }
        rollups::write(self, &self.rollups.take())
    }

    /// What the transaction meant, once it is committed.
    pub(super) fn committed(self) -> Effects {
        self.names.remember(self.met.into_inner());
        self.effects.into_inner()
    }
}

/// A prepared write. Finding one in the cache costs as much as a small write, so batches find theirs once.
pub(super) struct Prepared<'c>(CachedStatement<'c>);

impl Prepared<'_> {
    /// Runs it and says how many rows it changed.
    pub(super) fn run(&mut self, params: impl Params) -> Sql<usize> {
        Ok(self.0.execute(params)?)
    }

    /// Runs it; it must change exactly one row.
    pub(super) fn change_one(&mut self, params: impl Params) -> Sql<()> {
        match self.run(params)? {
            1 => Ok(()),
            n => Err(contradiction(&format!("a write that expects one row met {n}"))),
        }
    }
}
