//! What can be seen of a file. Every function takes a connection; the caller holds the snapshot.

use rusqlite::{Connection, OptionalExtension, Row};

use super::fault::Sql;
use super::names::{find_queue, find_task_name};
use super::owner::is_served;
use super::row::{hold_at, no_task, state_at, time_at};
use crate::task::{
    Attempt, AttemptOutcome, Counts, DEFAULT_PAGE, Filter, Progress, State, TaskId, TaskRecord, Timestamp,
};

/// One task.
///
/// # Errors
/// `NotFound`.
pub(crate) fn record(conn: &Connection, id: TaskId) -> Sql<TaskRecord> {
    find_record(conn, id)?.ok_or_else(|| no_task(id).into())
}

/// A page of tasks, oldest id first.
pub(crate) fn tasks(conn: &Connection, filter: &Filter) -> Sql<Vec<TaskRecord>> {
    let limit = filter.limit.unwrap_or(DEFAULT_PAGE);
    ids(conn, filter, filter.order(), None, limit)?.into_iter().map(|id| record(conn, id)).collect()
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

/// The order of ids that a search goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    OldestFirst,
    NewestFirst,
}

impl Filter {
    fn order(&self) -> Order {
        if self.newest_first { Order::NewestFirst } else { Order::OldestFirst }
    }
}

/// The conditions that every way of finding tasks shares; `?1` and `?11` are the ids to look between, `?2` is the mask of states. In both
/// orders.
macro_rules! find {
    ($from:literal) => {
        [find!($from, "ASC"), find!($from, "DESC")]
    };
    ($from:literal, $order:literal) => {
        concat!(
            "SELECT t.task_id FROM ",
            $from,
            " AND t.task_id > ?1 AND t.task_id < ?11 AND (1 << t.state) & ?2 <> 0
              AND (?3 IS NULL OR t.name_id = ?3) AND (?4 IS NULL OR t.queue_id = ?4)
              AND (?5 IS NULL OR t.created_at_ms < ?5) AND (?6 IS NULL OR t.finished_at_ms < ?6)
              AND (?7 IS NULL OR EXISTS (SELECT 1 FROM perdura_args a WHERE a.task_id = t.task_id AND a.tag = ?7))
              AND (?8 IS NULL OR EXISTS (SELECT 1 FROM perdura_errors e WHERE e.task_id = t.task_id
                       AND (e.error_type = ?8 OR substr(e.error_type, -length(?8) - 2) = '::' || ?8)))
              AND (?12 IS NULL OR EXISTS (SELECT 1 FROM perdura_task_names n WHERE n.name_id = t.name_id AND instr(lower(n.task_name), ?12))
                   OR EXISTS (SELECT 1 FROM perdura_args a WHERE a.task_id = t.task_id
                       AND (instr(lower(a.tag), ?12) OR instr(lower(a.args), ?12)))
                   OR EXISTS (SELECT 1 FROM perdura_errors e WHERE e.task_id = t.task_id
                       AND (instr(lower(e.error_type), ?12) OR instr(lower(e.error_message), ?12))))
            ORDER BY t.task_id ",
            $order,
            " LIMIT ?9"
        )
    };
}

/// By their ids, a JSON list in `?10`.
const BY_ID: [&str; 2] =
    find!("json_each(?10) j JOIN perdura_tasks t ON t.task_id = j.value WHERE ?10 IS NOT NULL");
/// Through the index of running tasks.
const IN_FLIGHT: [&str; 2] = find!("perdura_tasks t WHERE ?10 IS NULL AND t.in_flight = 1");
/// Through the index of tasks that ended badly, one state (in `?10`) at a time.
const ENDED: [&str; 2] = find!("perdura_tasks t WHERE t.state > 2 AND t.state = ?10");
/// Along the ids.
const ALL: [&str; 2] = find!("perdura_tasks t WHERE ?10 IS NULL");

/// The ids of the tasks that a filter means, beyond `after`, in an order, at most `limit`.
pub(crate) fn ids(
    conn: &Connection,
    filter: &Filter,
    order: Order,
    after: Option<TaskId>,
    limit: usize,
) -> Sql<Vec<TaskId>> {
    let after = after.max(filter.after);
    if filter.ids.is_some() {
        return search(conn, BY_ID[order as usize], filter, after, limit, id_list(filter));
    }
    let ended = |s: &State| matches!(s, State::Failed | State::Cancelled | State::Lost);
    if !filter.states.is_empty() && filter.states.iter().all(ended) {
        let mut found = Vec::new();
        for state in filter.states.iter().collect::<std::collections::BTreeSet<_>>() {
            found.extend(search(conn, ENDED[order as usize], filter, after, limit, Some(state.code()))?);
        }
        found.sort_unstable();
        if order == Order::NewestFirst {
            found.reverse();
        }
        found.truncate(limit);
        return Ok(found);
    }
    let sql = if filter.states == [State::Running] { IN_FLIGHT } else { ALL };
    search(conn, sql[order as usize], filter, after, limit, None::<i64>)
}

/// The ids that a filter names, each once, as a JSON list for `json_each`; none if it names none.
pub(super) fn id_list(filter: &Filter) -> Option<String> {
    let ids: std::collections::BTreeSet<_> = filter.ids.as_ref()?.iter().collect();
    let numbers: Vec<String> = ids.into_iter().map(ToString::to_string).collect();
    Some(format!("[{}]", numbers.join(",")))
}

fn search(
    conn: &Connection,
    sql: &str,
    filter: &Filter,
    after: Option<TaskId>,
    limit: usize,
    source: Option<impl rusqlite::ToSql>,
) -> Sql<Vec<TaskId>> {
    const NONE: i64 = -1;
    let name_id = match &filter.task_name {
        Some(name) => Some(find_task_name(conn, name)?.unwrap_or(NONE)),
        None => None,
    };
    let queue_id = match &filter.queue {
        Some(queue) => Some(find_queue(conn, queue)?.unwrap_or(NONE)),
        None => None,
    };
    let mut statement = conn.prepare_cached(sql)?;
    let rows = statement.query_map(
        rusqlite::params![
            after.map_or(i64::MIN, TaskId::as_i64),
            filter.state_mask(),
            name_id,
            queue_id,
            filter.created_before.map(Timestamp::as_millis),
            filter.finished_before.map(Timestamp::as_millis),
            filter.tag,
            filter.error_type,
            i64::try_from(limit).unwrap_or(i64::MAX),
            source,
            filter.before.map_or(i64::MAX, TaskId::as_i64),
            filter.text,
        ],
        |row| row.get(0).map(TaskId::from_i64),
    )?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// How many tasks a filter means, found one by one; at most its limit.
pub(crate) fn count(conn: &Connection, filter: &Filter) -> Sql<u64> {
    const CHUNK: usize = 10_000;
    let limit = filter.limit.unwrap_or(usize::MAX);
    let (mut count, mut after) = (0, None);
    loop {
        let found = ids(conn, filter, Order::OldestFirst, after, CHUNK.min(limit - count))?;
        count += found.len();
        after = found.last().copied();
        if found.len() < CHUNK || count >= limit {
            return Ok(count as u64);
        }
    }
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

/// How many ready tasks of its queue are claimed before this one.
pub(crate) fn ready_before(conn: &Connection, id: TaskId) -> Sql<u64> {
    let mut statement = conn.prepare_cached(
        "SELECT COUNT(*) FROM perdura_tasks t JOIN perdura_tasks me ON me.task_id = ?1
         WHERE t.queue_id = me.queue_id AND t.state = 0 AND t.hold = 0
           AND (t.priority > me.priority OR (t.priority = me.priority AND t.task_id < me.task_id))",
    )?;
    Ok(statement.query_row([id.as_i64()], |row| row.get(0))?)
}
