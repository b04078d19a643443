//! Dead letters: tasks that ended badly, moved out of the way but not forgotten.
//!
//! A move takes the hot row; args, error, attempts and checkpoint stay where they are, keyed by the same id.

use rusqlite::{Connection, OptionalExtension};

use super::admin::{remove_cold, remove_row, take_key};
use super::enqueue::out_of_ids;
use super::fault::Sql;
use super::names::{find_queue, find_task_name};
use super::read::id_list;
use super::row::{HotRow, state_at};
use super::tx::Tx;
use crate::error::{Error, ErrorKind};
use crate::task::{DEFAULT_PAGE, DeadLetter, Filter, Hold, State, TaskId, Timestamp};

/// Moves a task to the dead letters. The rules have allowed it.
pub(super) fn bury(tx: &Tx<'_>, row: &HotRow, now: Timestamp) -> Sql<()> {
    let id = row.task_id.as_i64();
    tx.change_one(
        "INSERT INTO perdura_dead_letters (task_id, queue_id, name_id, state, priority, attempt_number, max_attempts,
             generation, created_at_ms, started_at_ms, finished_at_ms, moved_at_ms)
         SELECT task_id, queue_id, name_id, state, priority, attempt_number, max_attempts,
             generation, created_at_ms, started_at_ms, finished_at_ms, ?2
         FROM perdura_tasks WHERE task_id = ?1",
        (id, now.as_millis()),
    )?;
    tx.run("DELETE FROM perdura_progress WHERE task_id = ?1", [id])?;
    remove_row(tx, row)
}

/// Makes a new task of a letter: fresh attempts, the same args, options and checkpoint. The letter stays, marked.
///
/// # Errors
/// `NotFound`; `WrongState` if it was replayed before and this is not `forced`; `Conflict` if a live task holds its unique key.
pub(crate) fn replay(tx: &Tx<'_>, id: TaskId, forced: bool, token: i64, now: Timestamp) -> Sql<TaskId> {
    let sql = "SELECT queue_id, replayed_as FROM perdura_dead_letters WHERE task_id = ?1";
    let letter =
        tx.find(sql, [id.as_i64()], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Option<i64>>(1)?)))?;
    let Some((queue_id, replayed_as)) = letter else {
        return Err(no_letter(id).into());
    };
    if let Some(earlier) = replayed_as.filter(|_| !forced) {
        let message =
            format!("dead letter {id} was replayed as task {earlier} already; force it to make another");
        return Err(Error::new(ErrorKind::WrongState, message).into());
    }
    let inserted = tx.change_one(
        "INSERT INTO perdura_tasks (queue_id, name_id, state, hold, priority, attempt_number, max_attempts, generation,
             in_flight, cancel_requested, suspect, has_key, late, snoozes, created_at_ms)
         SELECT queue_id, name_id, 0, 0, priority, 0, max_attempts, 0, 0, 0, 0, 0, 0, 0, ?2
         FROM perdura_dead_letters WHERE task_id = ?1",
        (id.as_i64(), now.as_millis()),
    );
    inserted.map_err(|fault| out_of_ids(tx.conn, fault))?;
    let new = TaskId::from_i64(tx.conn.last_insert_rowid());
    let ids = (new.as_i64(), id.as_i64());
    tx.change_one(
        "INSERT INTO perdura_args (task_id, args, version, token, backoff_ms, timeout_ms, unique_digest, tag, replay_of)
         SELECT ?1, args, version, ?3, backoff_ms, timeout_ms, unique_digest, tag, ?2
         FROM perdura_args WHERE task_id = ?2",
        (ids.0, ids.1, token),
    )?;
    tx.run(
        "INSERT INTO perdura_checkpoints (task_id, checkpoint)
         SELECT ?1, checkpoint FROM perdura_checkpoints WHERE task_id = ?2",
        ids,
    )?;
    if take_key(tx, new, queue_id)? {
        tx.change_one(
            "UPDATE perdura_tasks SET has_key = 1 WHERE task_id = ?1 AND state = 0",
            [new.as_i64()],
        )?;
    }
    tx.change_one(
        "UPDATE perdura_dead_letters SET replayed_as = ?1, replayed_at_ms = ?3 WHERE task_id = ?2",
        (ids.0, ids.1, now.as_millis()),
    )?;
    tx.count(queue_id, State::Queued, Hold::Ready, 1);
    tx.effect(|effects| {
        effects.changed = true;
        effects.ready += 1;
    });
    Ok(new)
}

/// Deletes up to `limit` letters that were moved before a time; says how many.
pub(crate) fn purge_letters(tx: &Tx<'_>, moved_before: Timestamp, limit: usize) -> Sql<usize> {
    let sql = "SELECT task_id FROM perdura_dead_letters WHERE moved_at_ms < ?1 ORDER BY moved_at_ms LIMIT ?2";
    let found = tx.numbers(sql, (moved_before.as_millis(), i64::try_from(limit).unwrap_or(i64::MAX)))?;
    for id in &found {
        tx.change_one("DELETE FROM perdura_dead_letters WHERE task_id = ?1", [id])?;
        remove_cold(tx, TaskId::from_i64(*id))?;
    }
    Ok(found.len())
}

/// The letters that a filter means; the parameters are those of `read::find`, in another order.
macro_rules! find {
    ($order:literal) => {
        concat!(
            "SELECT d.task_id FROM perdura_dead_letters d
             LEFT JOIN perdura_errors e ON e.task_id = d.task_id LEFT JOIN perdura_args a ON a.task_id = d.task_id
             JOIN perdura_task_names n USING (name_id)
             WHERE d.task_id > ?1 AND d.task_id < ?11 AND (?2 IS NULL OR d.name_id = ?2) AND (?3 IS NULL OR d.queue_id = ?3)
               AND (1 << d.state) & ?4 <> 0 AND (?5 IS NULL OR d.created_at_ms < ?5) AND (?6 IS NULL OR d.finished_at_ms < ?6)
               AND (?7 IS NULL OR a.tag = ?7) AND (?10 IS NULL OR d.task_id IN (SELECT value FROM json_each(?10)))
               AND (?8 IS NULL OR e.error_type = ?8 OR substr(e.error_type, -length(?8) - 2) = '::' || ?8)
               AND (?12 IS NULL OR instr(lower(n.task_name), ?12) OR instr(lower(a.tag), ?12) OR instr(lower(a.args), ?12)
                    OR instr(lower(e.error_type), ?12) OR instr(lower(e.error_message), ?12))
             ORDER BY d.task_id ",
            $order,
            " LIMIT ?9"
        )
    };
}

/// A page of letters.
pub(crate) fn letters(conn: &Connection, filter: &Filter) -> Sql<Vec<DeadLetter>> {
    let name_id = match &filter.task_name {
        Some(name) => find_task_name(conn, name)?.or(Some(-1)),
        None => None,
    };
    let queue_id = match &filter.queue {
        Some(queue) => find_queue(conn, queue)?.or(Some(-1)),
        None => None,
    };
    let sql = if filter.newest_first { find!("DESC") } else { find!("ASC") };
    let mut statement = conn.prepare_cached(sql)?;
    let rows = statement.query_map(
        rusqlite::params![
            filter.after.map_or(i64::MIN, TaskId::as_i64),
            name_id,
            queue_id,
            filter.state_mask(),
            filter.created_before.map(Timestamp::as_millis),
            filter.finished_before.map(Timestamp::as_millis),
            filter.tag,
            filter.error_type,
            i64::try_from(filter.limit.unwrap_or(DEFAULT_PAGE)).unwrap_or(i64::MAX),
            id_list(filter),
            filter.before.map_or(i64::MAX, TaskId::as_i64),
            filter.text,
        ],
        |row| row.get(0),
    )?;
    let found: Vec<i64> = rows.collect::<rusqlite::Result<_>>()?;
    found.into_iter().map(|id| get_letter(conn, TaskId::from_i64(id))).collect()
}

/// One letter.
///
/// # Errors
/// `NotFound`.
pub(crate) fn get_letter(conn: &Connection, id: TaskId) -> Sql<DeadLetter> {
    let mut statement = conn.prepare_cached(
        "SELECT n.task_name, q.queue, d.state, d.priority, d.attempt_number, d.max_attempts, d.created_at_ms,
                d.finished_at_ms, d.moved_at_ms, d.replayed_at_ms, d.replayed_as,
                e.error_type, e.error_message, e.error_traceback, a.tag
         FROM perdura_dead_letters d JOIN perdura_task_names n USING (name_id) JOIN perdura_queues q USING (queue_id)
         LEFT JOIN perdura_errors e ON e.task_id = d.task_id LEFT JOIN perdura_args a ON a.task_id = d.task_id
         WHERE d.task_id = ?1",
    )?;
    let letter = statement.query_row([id.as_i64()], |row| {
        let time = |column| row.get(column).map(Timestamp::from_millis);
        Ok(DeadLetter {
            task_id: id,
            task_name: row.get(0)?,
            queue: row.get(1)?,
            state: state_at(row, 2)?,
            priority: row.get(3)?,
            attempt_number: row.get(4)?,
            max_attempts: row.get(5)?,
            created_at: time(6)?,
            finished_at: time(7)?,
            moved_at: time(8)?,
            replayed_at: row.get::<_, Option<i64>>(9)?.map(Timestamp::from_millis),
            replayed_as: row.get::<_, Option<i64>>(10)?.map(TaskId::from_i64),
            error_type: row.get(11)?,
            error_message: row.get(12)?,
            error_traceback: row.get(13)?,
            tag: row.get(14)?,
        })
    });
    letter.optional()?.ok_or_else(|| no_letter(id).into())
}

fn no_letter(id: TaskId) -> Error {
    Error::new(ErrorKind::NotFound, format!("there is no dead letter {id}; it was purged, or never moved"))
}
