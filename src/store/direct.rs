//! Tasks that start at once: enqueued and claimed by the same INSERT.
//!
//! When a worker idles and nothing else is ready, a new task would be written as ready, found again, and written again as running, all in
//! one transaction. Here it is written as running to begin with; the rules (`lifecycle`) see an enqueue and a claim right after it.
//!
//! It takes nobody's turn: it happens only if no task in the file is ready and no queue is paused, which is asked in the transaction
//! itself, and only for tasks that are enqueued alone, so that the priorities within a batch decide who is first.

use std::cell::Cell;
use std::sync::Arc;

use super::claim::Known;
use super::fault::Sql;
use super::tx::Tx;
use crate::planted::planted;
use crate::task::NewTask;

/// The leave to start tasks directly, given to a transaction by whoever knows the workers.
pub(crate) struct Direct {
    epoch: i64,
    /// Tasks that may still start.
    room: Cell<usize>,
    known: Arc<Known>,
    /// What the file has answered, once it was asked.
    is_free: Cell<Option<bool>>,
}

impl Direct {
    /// Leave for the owner of this epoch to start `room` tasks whose names it knows.
    pub(crate) fn new(epoch: i64, room: usize, known: Arc<Known>) -> Direct {
        Direct { epoch, room: Cell::new(room), known, is_free: Cell::new(None) }
    }

    fn knows(&self, task: &NewTask) -> bool {
        self.known.get(task.task_name).is_some_and(|version| *version >= task.version)
    }
}

impl Tx<'_> {
    /// Whether this new task, which is ready, may start at once. If so, a place is taken for it.
    pub(super) fn may_start(&self, task: &NewTask) -> Sql<bool> {
        let Some(direct) = &self.direct else { return Ok(false) };
        if direct.room.get() == 0 || self.effects().ready > 0 || !direct.knows(task) {
            return Ok(false);
        }
        let is_free = match direct.is_free.get() {
            Some(is_free) => is_free,
            None => planted("g09-starts-out-of-turn") || self.nothing_is_ready(direct.epoch)?,
        };
        direct.is_free.set(Some(is_free));
        direct.room.set(direct.room.get() - usize::from(is_free));
        Ok(is_free)
    }

    /// Whether this process still owns the file, nothing in it is ready, and no queue is paused.
    fn nothing_is_ready(&self, epoch: i64) -> Sql<bool> {
        let sql = "SELECT owner_epoch = ?1 AND NOT EXISTS (SELECT 1 FROM perdura_tasks WHERE state = 0 AND hold = 0)
                       AND NOT EXISTS (SELECT 1 FROM perdura_queues WHERE paused = 1)
                   FROM perdura_meta WHERE id = 1";
        self.one(sql, [epoch], |row| row.get(0))
    }
}
