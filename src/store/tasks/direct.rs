//! Tasks that start at once: enqueued and claimed by the same INSERT.
//!
//! When a worker idles and nothing else is ready, a new task would be written as ready, found again, and written again as running, all in
//! one transaction. Here it is written as running to begin with; the rules (`lifecycle`) see an enqueue and a claim right after it.
//!
//! It takes nobody's turn: it happens only if no task in the file is ready and no queue is paused or left to others, which is asked in the transaction
//! itself, and only for tasks that are alone in their transaction, so that priorities decide who of several is first.

use std::cell::Cell;
use std::sync::Arc;

use super::claim::Known;
use crate::planted::planted;
use crate::store::commit::tx::Tx;
use crate::store::error::Sql;
use crate::task::{NewTask, Timestamp};

/// The leave to start a task directly, given to a transaction by whoever knows the workers.
pub(crate) struct Direct {
    epoch: i64,
    known: Arc<Known>,
    /// When the transaction began, after all that it had to wait for.
    now: Timestamp,
    is_taken: Cell<bool>,
}

impl Direct {
    /// Leave for the owner of this epoch to start one task whose name it knows.
    pub(crate) fn new(epoch: i64, known: Arc<Known>, now: Timestamp) -> Direct {
        Direct { epoch, known, now, is_taken: Cell::new(false) }
    }

    fn knows(&self, task: &NewTask) -> bool {
        self.known.get(task.task_name).is_some_and(|version| *version >= task.version)
    }
}

impl Tx<'_> {
    /// When this new task, which is ready, starts if it may do so at once. The leave is taken then.
    pub(crate) fn start_now(&self, task: &NewTask, expires_at: Option<Timestamp>) -> Sql<Option<Timestamp>> {
        let Some(direct) = &self.direct else { return Ok(None) };
        let is_over = expires_at.is_some_and(|time| time <= direct.now);
        if direct.is_taken.get() || is_over || !direct.knows(task) {
            return Ok(None);
        }
        let may_start = planted("g09-starts-out-of-turn") || self.nothing_is_ready(direct.epoch)?;
        direct.is_taken.set(may_start);
        Ok(may_start.then_some(direct.now))
    }

    /// Whether this process still owns the file and serves all queues, nothing in it is ready, and no queue is paused.
    fn nothing_is_ready(&self, epoch: i64) -> Sql<bool> {
        let sql = "SELECT owner_epoch = ?1 AND served IS NULL AND NOT EXISTS (SELECT 1 FROM perdura_tasks INDEXED BY perdura_ready WHERE state = 0 AND hold = 0)
                       AND NOT EXISTS (SELECT 1 FROM perdura_queues INDEXED BY perdura_paused WHERE paused = 1)
                   FROM perdura_meta WHERE id = 1";
        self.one(sql, [epoch], |row| row.get(0))
    }
}
