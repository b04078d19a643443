//! What stands in the ready index, found by jumps over it: the cost grows with its queues and priorities, not with its tasks, nor with
//! the names that the file knows.

use rusqlite::{CachedStatement, Connection, OptionalExtension};

use crate::store::error::Sql;

/// The beginning of a statement that reads from `ready`: the numbers of the queues that have ready tasks, in their order (and a last row
/// without one).
macro_rules! with_ready {
    () => {
        "WITH RECURSIVE ready (queue_id) AS (
             SELECT (SELECT t.queue_id FROM perdura_tasks t INDEXED BY perdura_ready
                     WHERE t.state = 0 AND t.hold = 0 ORDER BY t.queue_id LIMIT 1)
             UNION ALL
             SELECT (SELECT t.queue_id FROM perdura_tasks t INDEXED BY perdura_ready
                     WHERE t.state = 0 AND t.hold = 0 AND t.queue_id > ready.queue_id ORDER BY t.queue_id LIMIT 1)
             FROM ready WHERE ready.queue_id IS NOT NULL) "
    };
}

/// Whether something is ready, running, or held for what ends by itself, in a queue of this JSON list (none: in any).
pub(crate) fn is_at_work(conn: &Connection, served: Option<&str>) -> Sql<bool> {
    let sql = concat!(
        with_ready!(),
        "SELECT EXISTS (SELECT 1 FROM ready WHERE
             (SELECT q.paused = 0 AND (?1 IS NULL OR q.queue IN (SELECT value FROM json_each(?1)))
              FROM perdura_queues q WHERE q.queue_id = ready.queue_id))
         OR EXISTS (SELECT 1 FROM perdura_tasks t INDEXED BY perdura_in_flight
             WHERE t.in_flight = 1 AND (t.state = 1 OR (t.state = 0 AND t.hold = 1)) AND
             (SELECT (t.state = 1 OR q.paused = 0) AND (?1 IS NULL OR q.queue IN (SELECT value FROM json_each(?1)))
              FROM perdura_queues q WHERE q.queue_id = t.queue_id))
         OR EXISTS (SELECT 1 FROM perdura_tasks t INDEXED BY perdura_suspects
             WHERE t.suspect = 1 AND t.state = 0 AND t.hold = 7 AND
             (SELECT q.paused = 0 AND (?1 IS NULL OR q.queue IN (SELECT value FROM json_each(?1)))
              FROM perdura_queues q WHERE q.queue_id = t.queue_id))"
    );
    Ok(conn.prepare_cached(sql)?.query_row([served], |row| row.get(0))?)
}

/// The queues that have ready tasks, by their number.
pub(crate) struct ReadyQueues<'c> {
    next: CachedStatement<'c>,
    last: i64,
}

impl<'c> ReadyQueues<'c> {
    pub(crate) fn new(conn: &'c Connection) -> Sql<ReadyQueues<'c>> {
        let next = conn.prepare_cached(
            "SELECT queue_id FROM perdura_tasks INDEXED BY perdura_ready
             WHERE state = 0 AND hold = 0 AND queue_id > ?1 ORDER BY queue_id LIMIT 1",
        )?;
        Ok(ReadyQueues { next, last: i64::MIN })
    }

    /// The next one.
    pub(crate) fn next(&mut self) -> Sql<Option<i64>> {
        let next = self.next.query_row([self.last], |row| row.get(0)).optional()?;
        self.last = next.unwrap_or(i64::MAX);
        Ok(next)
    }
}

/// The priorities of the ready tasks of a queue.
pub(crate) struct Priorities<'c>(CachedStatement<'c>);

impl<'c> Priorities<'c> {
    pub(crate) fn new(conn: &'c Connection) -> Sql<Priorities<'c>> {
        Ok(Priorities(conn.prepare_cached(
            "SELECT priority FROM perdura_tasks INDEXED BY perdura_ready
             WHERE state = 0 AND hold = 0 AND queue_id = ?1 AND priority < ?2 ORDER BY priority DESC LIMIT 1",
        )?))
    }

    /// The highest one below a priority.
    pub(crate) fn below(&mut self, queue_id: i64, priority: i64) -> Sql<Option<i64>> {
        Ok(self.0.query_row((queue_id, priority), |row| row.get(0)).optional()?)
    }
}
