//! Skip scans over the ready index: which queues and priorities have ready tasks.
//!
//! The cost grows with the queues and priorities in the index, not with its tasks, nor with the names that the file knows.

use std::collections::BTreeSet;

use rusqlite::{CachedStatement, Connection, OptionalExtension};

use super::conditions::is_met;
use super::epoch::is_served;
use super::gates::{is_bounded, is_open};
use crate::store::commit::tx::Tx;
use crate::store::error::Sql;
use crate::task::Timestamp;

/// The beginning of a statement that reads from `ready`: the ids of the queues that have ready tasks, in ascending order, and a last
/// row with NULL.
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

/// Whether a task is ready, running, or held by something that ends by itself (a previous attempt, a turn among suspects, a condition
/// that is met). `served`: only tasks of these queues count (a JSON list; none: all). Ready tasks and suspects of queues that are
/// paused, or closed for a while, do not count.
pub(crate) fn is_at_work(conn: &Connection, served: Option<&str>, now: Timestamp) -> Sql<bool> {
    let sql = concat!(
        with_ready!(),
        "SELECT EXISTS (SELECT 1 FROM ready WHERE
             (SELECT q.paused = 0 AND (q.closed_until_ms IS NULL OR q.closed_until_ms <= ?2)
                  AND (?1 IS NULL OR q.queue IN (SELECT value FROM json_each(?1)))
              FROM perdura_queues q WHERE q.queue_id = ready.queue_id))
         OR EXISTS (SELECT 1 FROM perdura_tasks t INDEXED BY perdura_in_flight
             WHERE t.in_flight = 1 AND (t.state = 1 OR (t.state = 0 AND t.hold = 1)) AND
             (SELECT (t.state = 1 OR q.paused = 0) AND (?1 IS NULL OR q.queue IN (SELECT value FROM json_each(?1)))
              FROM perdura_queues q WHERE q.queue_id = t.queue_id))
         OR EXISTS (SELECT 1 FROM perdura_tasks t INDEXED BY perdura_suspects
             WHERE t.suspect = 1 AND t.state = 0 AND t.hold = 7 AND
             (SELECT q.paused = 0 AND (q.closed_until_ms IS NULL OR q.closed_until_ms <= ?2) AND (?1 IS NULL OR q.queue IN (SELECT value FROM json_each(?1)))
              FROM perdura_queues q WHERE q.queue_id = t.queue_id))
         OR EXISTS (SELECT 1 FROM perdura_conditions c WHERE ",
        is_met!("c"),
        " AND (SELECT n.task_id FROM perdura_needs n INDEXED BY perdura_condition_waiters WHERE n.waits_for = c.condition_id AND n.waits_for < 62 LIMIT 1) IS NOT NULL)"
    );
    Ok(conn.prepare_cached(sql)?.query_row((served, now.as_millis()), |row| row.get(0))?)
}

/// A queue with ready tasks that may be claimed from.
#[derive(Clone, Copy)]
pub(crate) struct OpenQueue {
    pub queue_id: i64,
    /// It has a limit, a rate, or a closure that is over.
    pub is_bounded: bool,
}

/// The first `wanted` queues after the queue `last` that the owner serves, that are neither paused nor shut, and that have ready tasks;
/// and whether these are all. More than `wanted` are not needed: each gives at least one task as a rule. It reads the index, not the
/// counters, which may be wrong. Shut queues are added to `shut`.
pub(crate) fn ready_queues(
    tx: &Tx<'_>,
    last: i64,
    wanted: usize,
    now: Timestamp,
    shut: &mut BTreeSet<i64>,
) -> Sql<(Vec<OpenQueue>, bool)> {
    // Lap 0: from the queue after `last` to the end. Lap 1: from the first queue to `last`.
    let sql = concat!(
        "WITH RECURSIVE ready (queue_id, lap) AS (
             SELECT (SELECT t.queue_id FROM perdura_tasks t INDEXED BY perdura_ready
                     WHERE t.state = 0 AND t.hold = 0 AND t.queue_id > ?1 ORDER BY t.queue_id LIMIT 1), 0
             UNION ALL
             SELECT CASE WHEN ready.queue_id IS NULL
                 THEN (SELECT t.queue_id FROM perdura_tasks t INDEXED BY perdura_ready
                       WHERE t.state = 0 AND t.hold = 0 ORDER BY t.queue_id LIMIT 1)
                 ELSE (SELECT t.queue_id FROM perdura_tasks t INDEXED BY perdura_ready
                       WHERE t.state = 0 AND t.hold = 0 AND t.queue_id > ready.queue_id ORDER BY t.queue_id LIMIT 1) END,
                 ready.lap + (ready.queue_id IS NULL)
             FROM ready WHERE ready.lap = 0 OR ready.queue_id < ?1)
         SELECT ready.queue_id, (
             SELECT CASE WHEN q.paused = 0 AND ",
        is_served!("q.queue"),
        " THEN CASE WHEN NOT ",
        is_bounded!("q"),
        " THEN 0 WHEN ",
        is_open!("q", "?2"),
        " THEN 1 ELSE 2 END END FROM perdura_queues q WHERE q.queue_id = ready.queue_id)
         FROM ready WHERE ready.lap = 0 OR ready.queue_id <= ?1"
    );
    let mut statement = tx.conn.prepare_cached(sql)?;
    let mut rows = statement.query((last, now.as_millis()))?;
    let mut lanes = Vec::new();
    while lanes.len() <= wanted
        && let Some(row) = rows.next()?
    {
        let Some(queue_id) = row.get(0)? else { continue }; // the NULL row at the end of lap 0
        match row.get(1)? {
            Some(2) => _ = shut.insert(queue_id),
            Some(bounded @ 0..=1) => lanes.push(OpenQueue { queue_id, is_bounded: bounded == 1 }),
            _ => {} // paused, or not served
        }
    }
    lanes.sort_unstable_by_key(|lane| lane.queue_id); // the statement has no ORDER BY
    let next = lanes.partition_point(|lane| lane.queue_id <= last);
    lanes.rotate_left(next);
    let are_all = lanes.len() <= wanted;
    lanes.truncate(wanted);
    Ok((lanes, are_all))
}

/// Iterates over the queues that have ready tasks, by id.
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

    /// The next queue.
    pub(crate) fn next(&mut self) -> Sql<Option<i64>> {
        let next = self.next.query_row([self.last], |row| row.get(0)).optional()?;
        self.last = next.unwrap_or(i64::MAX);
        Ok(next)
    }
}

/// Finds the priorities of a queue's ready tasks.
pub(crate) struct Priorities<'c>(CachedStatement<'c>);

impl<'c> Priorities<'c> {
    pub(crate) fn new(conn: &'c Connection) -> Sql<Priorities<'c>> {
        Ok(Priorities(conn.prepare_cached(
            "SELECT priority FROM perdura_tasks INDEXED BY perdura_ready
             WHERE state = 0 AND hold = 0 AND queue_id = ?1 AND priority < ?2 ORDER BY priority DESC LIMIT 1",
        )?))
    }

    /// The highest priority below `priority`.
    pub(crate) fn below(&mut self, queue_id: i64, priority: i64) -> Sql<Option<i64>> {
        Ok(self.0.query_row((queue_id, priority), |row| row.get(0)).optional()?)
    }
}
