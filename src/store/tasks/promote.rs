//! What time does to tasks: promotes those that are due, cancels expired ones, restarts relative waits after a backward clock jump, ends
//! overdue attempts outside.

use rusqlite::{Connection, OptionalExtension};

use super::damaged::unless_damaged;
use super::gates::openings;
use super::row::{HotRow, write_error};
use super::settle::SettleRules;
use super::{outside, outside_ends, schedules};
use crate::lifecycle::TaskEvent;
use crate::planted::planted;
use crate::store::commit::tx::Tx;
use crate::store::error::Sql;
use crate::task::{ErrorReport, TaskId, Timestamp};

/// Does what is due, for up to `limit` tasks of each kind; returns how many it touched.
///
/// A relative wait that began in the future shows that the clock has jumped back: it begins again now, so the jump delays it by at most
/// its own length.
pub(crate) fn promote(tx: &Tx<'_>, rules: &SettleRules, now: Timestamp, limit: usize) -> Sql<usize> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let ms = now.as_millis();
    let jumped = tx.numbers(
        "SELECT task_id FROM perdura_tasks INDEXED BY perdura_anchors
         WHERE state = 0 AND hold = 3 AND anchor_ms > ?1 LIMIT ?2",
        (ms, limit),
    )?;
    let jumped = if planted("g10-jumps-back-unnoticed") { Vec::new() } else { jumped };
    for id in &jumped {
        unless_damaged(tx, TaskId::from_i64(*id), now, |row| begin_again(row, now).replace(tx, row, now))?;
    }
    let expired = tx.numbers(
        "SELECT task_id FROM perdura_tasks INDEXED BY perdura_expiring
         WHERE state = 0 AND expires_at_ms IS NOT NULL AND expires_at_ms <= ?1 LIMIT ?2",
        (ms, limit),
    )?;
    for id in &expired {
        unless_damaged(tx, TaskId::from_i64(*id), now, |row| expire(tx, row, now))?;
    }
    let due = tx.numbers(
        "SELECT task_id FROM perdura_tasks INDEXED BY perdura_waiting
         WHERE state = 0 AND hold = 3 AND run_at_ms <= ?1 ORDER BY run_at_ms LIMIT ?2",
        (ms, limit),
    )?;
    for id in &due {
        unless_damaged(tx, TaskId::from_i64(*id), now, |row| row.must_apply(tx, TaskEvent::Promote, now))?;
    }
    let begun_again = outside::begin_again(tx, now, limit)?;
    let overdue = outside::overdue(tx, now, limit)?;
    for id in &overdue {
        let id = TaskId::from_i64(*id);
        outside::forget_orphan(tx, id)?;
        if HotRow::find(tx.conn, id)?.is_some() {
            unless_damaged(tx, id, now, |row| outside_ends::time_out(tx, row, rules, now))?;
        }
    }
    Ok(jumped.len() + expired.len() + due.len() + begun_again + overdue.len())
}

fn begin_again(row: &HotRow, now: Timestamp) -> HotRow {
    let delay = match (row.run_at, row.anchor) {
        (Some(run_at), Some(anchor)) => run_at.since(anchor),
        _ => std::time::Duration::ZERO,
    };
    HotRow { run_at: Some(now.saturating_add(delay)), anchor: Some(now), ..*row }
}

/// Cancels a task that has expired.
pub(crate) fn expire(tx: &Tx<'_>, row: &HotRow, now: Timestamp) -> Sql<()> {
    row.must_apply(tx, TaskEvent::Expired, now)?;
    write_error(tx, row.task_id, &ErrorReport::new("Expired", "it expired before it could start", ""))
}

/// Whether the clock has jumped back: a relative wait or an attempt outside began in the future, or a schedule was written by a clock more
/// than a day ahead.
pub(crate) fn clock_jumped(conn: &Connection, now: Timestamp) -> Sql<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM perdura_tasks INDEXED BY perdura_anchors
               WHERE state = 0 AND hold = 3 AND anchor_ms > ?1)";
    let has_waited: bool = conn.prepare_cached(sql)?.query_row([now.as_millis()], |row| row.get(0))?;
    Ok(has_waited
        || schedules::is_any_from_the_future(conn, now)?
        || outside::is_any_from_the_future(conn, now)?)
}

/// Whether the newest 1000 tasks show that the wall clock has not jumped: one was made between `from` and `to`, and none after `now`.
pub(crate) fn clock_has_run_on(
    conn: &Connection,
    from: Timestamp,
    to: Timestamp,
    now: Timestamp,
) -> Sql<bool> {
    let sql = "WITH newest AS (SELECT created_at_ms AS ms FROM perdura_tasks NOT INDEXED ORDER BY task_id DESC LIMIT 1000)
               SELECT EXISTS (SELECT 1 FROM newest WHERE ms BETWEEN ?1 AND ?2) AND NOT EXISTS (SELECT 1 FROM newest WHERE ms > ?3)";
    let span = (from.as_millis(), to.as_millis(), now.as_millis());
    Ok(conn.prepare_cached(sql)?.query_row(span, |row| row.get(0))?)
}

/// The tasks that wait for their time in queues that are not paused. `?1`: only these queues (a JSON list; NULL: all).
macro_rules! waiting {
    () => {
        "FROM perdura_tasks t INDEXED BY perdura_waiting WHERE t.state = 0 AND t.hold = 3
         AND (SELECT q.paused = 0 AND (?1 IS NULL OR q.queue IN (SELECT value FROM json_each(?1)))
              FROM perdura_queues q WHERE q.queue_id = t.queue_id)"
    };
}

/// Whether a task of these queues (see `waiting!`) is due but not promoted yet.
pub(crate) fn is_due(conn: &Connection, queues: Option<&str>, now: Timestamp) -> Sql<bool> {
    let sql = concat!("SELECT EXISTS (SELECT 1 ", waiting!(), " AND t.run_at_ms <= ?2)");
    Ok(conn.prepare_cached(sql)?.query_row((queues, now.as_millis()), |row| row.get(0))?)
}

/// Whether a task is held because nobody knew its name.
pub(crate) fn has_unknown_names(conn: &Connection) -> Sql<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM perdura_counts WHERE state = 0 AND hold = 4 AND n > 0)";
    Ok(conn.prepare_cached(sql)?.query_row([], |row| row.get(0))?)
}

/// When the next task of these queues (see `waiting!`) is due, or the next of these queues opens by itself.
pub(crate) fn next_start(conn: &Connection, queues: Option<&str>, now: Timestamp) -> Sql<Option<Timestamp>> {
    let sql = concat!("SELECT t.run_at_ms ", waiting!(), " ORDER BY t.run_at_ms LIMIT 1");
    let due = conn.prepare_cached(sql)?.query_row([queues], |row| row.get(0)).optional()?;
    let opens = openings(conn, queues, now)?.next;
    Ok(due.map(Timestamp::from_millis).into_iter().chain(opens).min())
}

/// The next time at which [`promote`] has something to do.
pub(crate) fn next_due(conn: &Connection) -> Sql<Option<Timestamp>> {
    let waiting =
        "SELECT MIN(run_at_ms) FROM perdura_tasks INDEXED BY perdura_waiting WHERE state = 0 AND hold = 3";
    let expiring = "SELECT MIN(expires_at_ms) FROM perdura_tasks INDEXED BY perdura_expiring
         WHERE state = 0 AND expires_at_ms IS NOT NULL";
    let overdue = "SELECT MIN(deadline_ms) FROM perdura_outside INDEXED BY perdura_outside_due
         WHERE engine IS NULL AND deadline_ms IS NOT NULL";
    let mut earliest = None;
    for sql in [waiting, expiring, overdue] {
        let due: Option<i64> = conn.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
        earliest = earliest.into_iter().chain(due).min();
    }
    Ok(earliest.map(Timestamp::from_millis))
}
