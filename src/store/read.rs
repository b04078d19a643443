//! What can be seen of a file. Every function takes a connection; the caller holds the snapshot.

use rusqlite::{Connection, OptionalExtension, Row};

use super::fault::Sql;
use super::owner::is_served;
use super::row::{HotRow, hold_at, no_task, state_at, time_at};
use crate::task::{Attempt, AttemptOutcome, Counts, Progress, State, TaskId, TaskRecord, Timestamp};

/// One task.
///
/// # Errors
/// `NotFound`.
pub(crate) fn record(conn: &Connection, id: TaskId) -> Sql<TaskRecord> {
    find_record(conn, id)?.ok_or_else(|| no_task(id).into())
}

fn find_record(conn: &Connection, id: TaskId) -> Sql<Option<TaskRecord>> {
    let mut statement = conn.prepare_cached(
        "SELECT n.task_name, q.queue, t.state, t.hold, t.priority, t.attempt_number, t.max_attempts, t.generation,
                t.created_at_ms, t.run_at_ms, t.expires_at_ms, t.started_at_ms, t.finished_at_ms,
                e.error_type, e.error_message, e.error_traceback, p.done, p.total,
                t.cancel_requested, t.late, t.snoozes, a.version, a.tag, a.timeout_ms, a.backoff_ms, a.replay_of
         FROM perdura_tasks t JOIN perdura_task_names n USING (name_id) JOIN perdura_queues q USING (queue_id)
         LEFT JOIN perdura_args a ON a.task_id = t.task_id LEFT JOIN perdura_errors e ON e.task_id = t.task_id
         LEFT JOIN perdura_progress p ON p.task_id = t.task_id
         WHERE t.task_id = ?1",
    )?;
    Ok(statement.query_row([id.as_i64()], |row| as_record(row, id)).optional()?)
}

fn as_record(row: &Row<'_>, task_id: TaskId) -> rusqlite::Result<TaskRecord> {
    let state = state_at(row, 2)?;
    let queued = state == State::Queued;
    // Where a number is out of its range, it is left out: what else is known of the task is worth more than an error.
    let number = |column: usize| -> rusqlite::Result<Option<u64>> {
        Ok(row.get::<_, Option<i64>>(column)?.and_then(|n| u64::try_from(n).ok()))
    };
    let progress = number(16)?.zip(number(17)?);
    Ok(TaskRecord {
        task_id,
        task_name: row.get(0)?,
        queue: row.get(1)?,
        state,
        hold: if queued { Some(hold_at(row, 3)?) } else { None },
        priority: row.get(4)?,
        attempt_number: row.get(5)?,
        max_attempts: row.get(6)?,
        generation: row.get(7)?,
        created_at: Timestamp::from_millis(row.get(8)?),
        run_at: time_at(row, 9)?.filter(|_| queued),
        expires_at: time_at(row, 10)?.filter(|_| queued),
        started_at: time_at(row, 11)?,
        finished_at: time_at(row, 12)?,
        error_type: row.get(13)?,
        error_message: row.get(14)?,
        error_traceback: row.get(15)?,
        progress: progress.map(|(done, total)| Progress { done, total }),
        cancel_requested: row.get(18)?,
        late: row.get(19)?,
        snoozes: row.get(20)?,
        version: number(21)?.and_then(|version| u32::try_from(version).ok()).unwrap_or(1),
        tag: row.get(22)?,
        timeout_ms: number(23)?,
        backoff_ms: number(24)?,
        replay_of: row.get::<_, Option<i64>>(25)?.map(TaskId::from_i64),
    })
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

/// How many tasks each queue has, from the counters.
pub(crate) fn counts(conn: &Connection) -> Sql<Counts> {
    let mut statement = conn.prepare_cached(concat!(
        "SELECT q.queue, q.paused, c.state, c.hold, c.n, NOT ",
        is_served!("q.queue"),
        " FROM perdura_queues q LEFT JOIN perdura_counts c USING (queue_id)"
    ))?;
    let mut rows = statement.query([])?;
    let mut counts = Counts::default();
    while let Some(row) = rows.next()? {
        let queue = counts.queues.entry(row.get(0)?).or_default();
        queue.paused = row.get(1)?;
        queue.unserved = row.get(5)?;
        if let Some(n) = row.get::<_, Option<u64>>(4)? {
            let counter = queue.counter(state_at(row, 2)?, hold_at(row, 3)?);
            *counter = counter.saturating_add(n);
        }
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

/// The result of a task that succeeded, as JSON; none if it is null.
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

/// What other processes may have done to running tasks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flags {
    pub task_id: TaskId,
    pub generation: u64,
    pub cancel_requested: bool,
    /// The attempt still counts.
    pub counts: bool,
}

/// The flags of all tasks that a thread executes.
pub(crate) fn flags(conn: &Connection) -> Sql<Vec<Flags>> {
    let mut statement = conn.prepare_cached(
        "SELECT task_id, generation, cancel_requested, state IN (1, 5) FROM perdura_tasks WHERE in_flight = 1",
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

/// How many ready tasks of its queue are claimed before this one, counted up to `limit`.
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

/// Whether a queue is paused, and whether the owner of the file leaves it to others.
pub(crate) fn queue_flags(conn: &Connection, queue: &str) -> Sql<(bool, bool)> {
    let sql =
        concat!("SELECT q.paused, NOT ", is_served!("q.queue"), " FROM perdura_queues q WHERE q.queue = ?1");
    Ok(conn.prepare_cached(sql)?.query_row([queue], |row| Ok((row.get(0)?, row.get(1)?)))?)
}
