//! What stands in the ready index, found by jumps over it: the cost grows with its queues and priorities, not with its tasks, nor with
//! the names that the file knows.

use rusqlite::{CachedStatement, Connection, OptionalExtension};

use super::fault::Sql;

/// The queues that have ready tasks, by their number.
pub(super) struct ReadyQueues<'c> {
    next: CachedStatement<'c>,
    last: i64,
}

impl<'c> ReadyQueues<'c> {
    pub(super) fn new(conn: &'c Connection) -> Sql<ReadyQueues<'c>> {
        let next = conn.prepare_cached(
            "SELECT queue_id FROM perdura_tasks INDEXED BY perdura_ready
             WHERE state = 0 AND hold = 0 AND queue_id > ?1 ORDER BY queue_id LIMIT 1",
        )?;
        Ok(ReadyQueues { next, last: i64::MIN })
    }

    /// The next one.
    pub(super) fn next(&mut self) -> Sql<Option<i64>> {
        let next = self.next.query_row([self.last], |row| row.get(0)).optional()?;
        self.last = next.unwrap_or(i64::MAX);
        Ok(next)
    }
}

/// The priorities of the ready tasks of a queue.
pub(super) struct Priorities<'c>(CachedStatement<'c>);

impl<'c> Priorities<'c> {
    pub(super) fn new(conn: &'c Connection) -> Sql<Priorities<'c>> {
        Ok(Priorities(conn.prepare_cached(
            "SELECT priority FROM perdura_tasks INDEXED BY perdura_ready
             WHERE state = 0 AND hold = 0 AND queue_id = ?1 AND priority < ?2 ORDER BY priority DESC LIMIT 1",
        )?))
    }

    /// The highest one below a priority.
    pub(super) fn below(&mut self, queue_id: i64, priority: i64) -> Sql<Option<i64>> {
        Ok(self.0.query_row((queue_id, priority), |row| row.get(0)).optional()?)
    }
}
