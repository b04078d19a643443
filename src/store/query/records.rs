//! Reads of single tasks (record, attempts, args, result), and the counts.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Row};

use crate::lifecycle::Reasons;
use crate::limits::Shut;
use crate::store::error::Sql;
use crate::store::tasks::epoch::is_served;
use crate::store::tasks::gates::{Gate, limits_at};
use crate::store::tasks::needs::needs_record;
use crate::store::tasks::outside::outside_record;
use crate::store::tasks::row::{HotRow, hold_at, no_task, state_at, time_at};
use crate::task::{
    Attempt, AttemptOutcome, Counts, Hold, KeyRecord, LimitRecord, Progress, State, TaskId, TaskRecord,
    Timestamp,
};

/// One task.
///
/// # Errors
/// `NotFound`.
pub(crate) fn record(conn: &Connection, id: TaskId) -> Sql<TaskRecord> {
    find_record(conn, id)?.ok_or_else(|| no_task(id).into())
}

/// When a task is due, if it waits for its time.
pub(crate) fn waits_until(conn: &Connection, id: TaskId) -> Sql<Option<Timestamp>> {
    let task = find_record(conn, id)?;
    Ok(task.filter(|task| task.hold == Some(Hold::Time)).and_then(|task| task.run_at))
}

fn find_record(conn: &Connection, id: TaskId) -> Sql<Option<TaskRecord>> {
    let mut statement = conn.prepare_cached(
        "SELECT (SELECT n.task_name FROM perdura_task_names n WHERE n.name_id = t.name_id),
                (SELECT q.queue FROM perdura_queues q WHERE q.queue_id = t.queue_id), t.state, t.hold, t.priority, t.attempt_number, t.max_attempts, t.generation,
                t.created_at_ms, t.run_at_ms, t.expires_at_ms, t.started_at_ms, t.finished_at_ms,
                t.cancel_requested, t.late, t.snoozes, t.reasons
         FROM perdura_tasks t WHERE t.task_id = ?1",
    )?;
    let record = statement.query_row([id.as_i64()], |row| as_record(row, id)).optional()?.flatten();
    let Some(mut record) = record else { return Ok(None) };
    let sql = "SELECT error_type, error_message, error_traceback FROM perdura_errors WHERE task_id = ?1";
    beside(conn, sql, id, |row| {
        (record.error_type, record.error_message, record.error_traceback) =
            (row.get(0)?, row.get(1)?, row.get(2)?);
        Ok(())
    })?;
    beside(conn, "SELECT done, total FROM perdura_progress WHERE task_id = ?1", id, |row| {
        let [done, total] = [row.get::<_, i64>(0)?, row.get(1)?].map(i64::cast_unsigned);
        record.progress = Some(Progress { done, total });
        Ok(())
    })?;
    let sql =
        "SELECT version, tag, timeout_ms, backoff_ms, replay_of, unique_digest IS NOT NULL, until_started
               FROM perdura_args WHERE task_id = ?1";
    beside(conn, sql, id, |row| {
        record.version = number(row, 0)?.and_then(|version| u32::try_from(version).ok()).unwrap_or(1);
        record.tag = row.get(1)?;
        record.timeout = number(row, 2)?.map(Duration::from_millis);
        record.backoff = number(row, 3)?.map(Duration::from_millis);
        record.replay_of = row.get::<_, Option<i64>>(4)?.map(TaskId::from_i64);
        let until_started = number(row, 6)?.is_some_and(|n| n > 0);
        record.unique =
            row.get::<_, bool>(5)?.then_some(KeyRecord { held: false, until_started, until: None });
        Ok(())
    })?;
    if let Some(key) = &mut record.unique {
        let sql = "SELECT until_ms FROM perdura_keys INDEXED BY perdura_key_holders WHERE task_id = ?1";
        beside(conn, sql, id, |row| {
            (key.held, key.until) = (true, time_at(row, 0)?);
            Ok(())
        })?;
    }
    let sql = "SELECT permits, serial, standing FROM perdura_limits WHERE task_id = ?1";
    beside(conn, sql, id, |row| {
        let permits = number(row, 0)?.and_then(|n| u32::try_from(n).ok()).unwrap_or(u32::MAX);
        let [serial, held] = [row.get::<_, i64>(1)?, row.get(2)?].map(|n| n == 1);
        record.limit = Some(LimitRecord { permits, serial, held });
        Ok(())
    })?;
    record.needs = needs_record(conn, id)?.map(Box::new);
    record.outside = outside_record(conn, id)?.map(Box::new);
    Ok(Some(record))
}

/// The tasks that hold the permits for which a task waits, by id; empty if it does not wait for a permit.
pub(crate) fn permit_holders(conn: &Connection, id: TaskId) -> Sql<Vec<TaskId>> {
    let sql = "SELECT queue_id, digest FROM perdura_limits WHERE task_id = ?1 AND standing = 2";
    let key: Option<(i64, Vec<u8>)> = conn
        .prepare_cached(sql)?
        .query_row([id.as_i64()], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some(key) = key else { return Ok(Vec::new()) };
    let mut statement = conn.prepare_cached(
        "SELECT task_id FROM perdura_limits INDEXED BY perdura_permits
         WHERE standing = 1 AND queue_id = ?1 AND digest = ?2 ORDER BY task_id",
    )?;
    let rows = statement.query_map(key, |row| row.get(0).map(TaskId::from_i64))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Reads a task's row of a cold table, if there is one. A lookup by id, not a join, so that statistics of the file cannot make it a scan.
fn beside(
    conn: &Connection,
    sql: &str,
    id: TaskId,
    read: impl FnOnce(&Row<'_>) -> rusqlite::Result<()>,
) -> Sql<()> {
    conn.prepare_cached(sql)?.query_row([id.as_i64()], read).optional()?;
    Ok(())
}

/// Reads a number; none if it is out of range, so that the rest of the record can still be shown.
fn number(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<u64>> {
    Ok(row.get::<_, Option<i64>>(column)?.and_then(|n| u64::try_from(n).ok()))
}

/// Reads a record; none if the file does not know the task's name or queue.
fn as_record(row: &Row<'_>, task_id: TaskId) -> rusqlite::Result<Option<TaskRecord>> {
    let (Some(task_name), Some(queue)) = (row.get(0)?, row.get(1)?) else { return Ok(None) };
    let state = state_at(row, 2)?;
    let queued = state == State::Queued;
    let reasons = Reasons::from_code(row.get(16)?).unwrap_or(Reasons::NONE); // `check` reports it
    Ok(Some(TaskRecord {
        task_id,
        task_name,
        queue,
        state,
        hold: if queued { Some(hold_at(row, 3)?) } else { None },
        reasons: reasons.holds().filter(|_| queued).collect(),
        priority: row.get(4)?,
        attempt_number: row.get(5)?,
        max_attempts: row.get(6)?,
        generation: row.get(7)?,
        created_at: Timestamp::from_millis(row.get(8)?),
        run_at: time_at(row, 9)?.filter(|_| queued),
        expires_at: time_at(row, 10)?.filter(|_| queued),
        started_at: time_at(row, 11)?,
        finished_at: time_at(row, 12)?,
        error_type: None,
        error_message: None,
        error_traceback: None,
        progress: None,
        cancel_requested: row.get(13)?,
        late: row.get(14)?,
        snoozes: row.get(15)?,
        version: 1,
        tag: None,
        timeout: None,
        backoff: None,
        replay_of: None,
        unique: None,
        limit: None,
        needs: None,
        outside: None,
    }))
}

/// The attempts of a task (or dead letter) that did not succeed, oldest first.
///
/// # Errors
/// `NotFound`.
pub(crate) fn attempts(conn: &Connection, id: TaskId) -> Sql<Vec<Attempt>> {
    text(conn, "SELECT '' FROM perdura_args WHERE task_id = ?1", id)?.ok_or_else(|| no_task(id))?;
    let mut statement = conn.prepare_cached(
        "SELECT generation, attempt_number, started_at_ms, finished_at_ms, outcome, error_type, error_message, error_traceback
         FROM perdura_attempts WHERE task_id = ?1 ORDER BY generation",
    )?;
    let rows = statement.query_map([id.as_i64()], |row| {
        Ok(Attempt {
            generation: row.get(0)?,
            attempt_number: row.get(1)?,
            started_at: Timestamp::from_millis(row.get(2)?),
            finished_at: Timestamp::from_millis(row.get(3)?),
            outcome: AttemptOutcome::from_text(row.get_ref(4)?.as_str()?).unwrap_or(AttemptOutcome::Failed),
            error_type: row.get(5)?,
            error_message: row.get(6)?,
            error_traceback: row.get(7)?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// The counters of each queue that has tasks, is paused, or has bounds.
pub(crate) fn counts(conn: &Connection, now: Timestamp) -> Sql<Counts> {
    let mut counts = Counts::default();
    let mut statement = conn.prepare_cached(concat!(
        "SELECT (SELECT q.queue FROM perdura_queues q WHERE q.queue_id = c.queue_id),
                (SELECT NOT ",
        is_served!("q.queue"),
        " FROM perdura_queues q WHERE q.queue_id = c.queue_id), c.n, c.state, c.hold FROM perdura_counts c WHERE c.n <> 0"
    ))?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let Some(name) = row.get(0)? else { continue }; // `check` reports it
        let queue = counts.queues.entry(name).or_default();
        queue.not_served = row.get(1)?;
        let counter = queue.counter(state_at(row, 3)?, hold_at(row, 4)?);
        *counter = counter.saturating_add(row.get(2)?);
    }
    let mut statement = conn.prepare_cached(concat!(
        "SELECT q.queue, NOT ",
        is_served!("q.queue"),
        ", q.paused, q.max_in_flight, q.rate_count, q.rate_period_ms, q.rate_burst, q.opens_at_us, q.closed_at_ms, q.closed_until_ms
         FROM perdura_queues q INDEXED BY perdura_gated
         WHERE q.paused = 1 OR q.max_in_flight IS NOT NULL OR q.opens_at_us IS NOT NULL OR q.closed_at_ms IS NOT NULL"
    ))?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let queue = counts.queues.entry(row.get(0)?).or_default();
        (queue.not_served, queue.paused) = (row.get(1)?, row.get(2)?);
        let limits = limits_at(row, 3)?.after_jump(now);
        queue.limit = limits.max_in_flight;
        queue.rate = limits.bucket.map(|bucket| bucket.rate);
        queue.closed_until = limits.closure.map(|closure| closure.until).filter(|until| *until > now);
    }
    Ok(counts)
}

/// The args of a task (or dead letter), as JSON.
///
/// # Errors
/// `NotFound`.
pub(crate) fn args(conn: &Connection, id: TaskId) -> Sql<String> {
    text(conn, "SELECT args FROM perdura_args WHERE task_id = ?1", id)?.ok_or_else(|| no_task(id).into())
}

/// The result of a task that succeeded, as JSON; none if it is null, or if there is no such task.
pub(crate) fn result(conn: &Connection, id: TaskId) -> Sql<Option<String>> {
    text(conn, "SELECT result FROM perdura_results WHERE task_id = ?1", id)
}

/// The newest checkpoint of a task, as JSON.
pub(crate) fn checkpoint(conn: &Connection, id: TaskId) -> Sql<Option<String>> {
    text(conn, "SELECT checkpoint FROM perdura_checkpoints WHERE task_id = ?1", id)
}

fn text(conn: &Connection, sql: &str, id: TaskId) -> Sql<Option<String>> {
    Ok(conn.prepare_cached(sql)?.query_row([id.as_i64()], |row| row.get(0)).optional()?)
}

/// What other processes may have changed about a running task.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flags {
    pub task_id: TaskId,
    pub generation: u64,
    pub cancel_requested: bool,
    /// Whether the attempt still counts: its task is RUNNING or LOST.
    pub counts: bool,
}

/// The flags of all tasks in flight.
pub(crate) fn flags(conn: &Connection) -> Sql<Vec<Flags>> {
    let mut statement = conn.prepare_cached(
        "SELECT task_id, generation, cancel_requested, state IN (1, 5) FROM perdura_tasks INDEXED BY perdura_in_flight
         WHERE in_flight = 1",
    )?;
    let rows = statement.query_map([], |row| {
        Ok(Flags {
            task_id: TaskId::from_i64(row.get(0)?),
            generation: row.get::<_, i64>(1)?.cast_unsigned(),
            cancel_requested: row.get(2)?,
            counts: row.get(3)?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// How many ready tasks of its queue will be claimed before this one, counted up to `limit`.
pub(crate) fn ready_before(conn: &Connection, id: TaskId, limit: u64) -> Sql<u64> {
    let row = HotRow::get(conn, id)?;
    let mut me = conn.prepare_cached("SELECT priority FROM perdura_tasks WHERE task_id = ?1")?;
    let priority: i64 = me.query_row([id.as_i64()], |row| row.get(0))?;
    let mut higher = conn.prepare_cached(
        "SELECT COUNT(*) FROM (SELECT 1 FROM perdura_tasks INDEXED BY perdura_ready
         WHERE state = 0 AND hold = 0 AND queue_id = ?1 AND priority > ?2 LIMIT ?3)",
    )?;
    let first: u64 = higher.query_row((row.queue_id, priority, limit.cast_signed()), |row| row.get(0))?;
    let mut same = conn.prepare_cached(
        "SELECT COUNT(*) FROM (SELECT 1 FROM perdura_tasks INDEXED BY perdura_ready
         WHERE state = 0 AND hold = 0 AND queue_id = ?1 AND priority = ?2 AND task_id < ?3 LIMIT ?4)",
    )?;
    let rest = limit.saturating_sub(first).cast_signed();
    let second: u64 = same.query_row((row.queue_id, priority, id.as_i64(), rest), |row| row.get(0))?;
    Ok(first + second)
}

/// Whether a queue is paused, whether the owner of the file does not serve it, and why it is shut, if it is.
pub(crate) fn queue_flags(conn: &Connection, queue: &str, now: Timestamp) -> Sql<(bool, bool, Option<Shut>)> {
    let sql = concat!(
        "SELECT q.paused, NOT ",
        is_served!("q.queue"),
        ", q.queue_id FROM perdura_queues q WHERE q.queue = ?1"
    );
    let (paused, not_served, queue_id) = conn
        .prepare_cached(sql)?
        .query_row([queue], |row| Ok((row.get(0)?, row.get(1)?, row.get::<_, i64>(2)?)))?;
    Ok((paused, not_served, Gate::read(conn, queue_id, now)?.room.err()))
}

/// The queues that the owner of the file claims from, as a JSON list; none: all.
pub(crate) fn served(conn: &Connection) -> Sql<Option<String>> {
    let mut statement = conn.prepare_cached("SELECT served FROM perdura_meta WHERE id = 1")?;
    Ok(statement.query_row([], |row| row.get(0))?)
}
