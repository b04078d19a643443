//! Dead letters: FAILED and LOST tasks that were moved out of the task table.
//!
//! A move takes the hot row only. The rows of the cold tables (args, error, attempts, steps and others) stay where they are, under the same
//! id; only the progress is deleted.

use rusqlite::{Connection, OptionalExtension};

use super::enqueue::out_of_ids;
use super::needs::{copy_needs, forget_needs};
use super::remove::{KeyEnds, remove_cold, remove_row};
use super::row::{HotRow, state_at};
use super::steps::{copy_steps, forget_steps};
use super::{keys, permits, schedule_runs};
use crate::error::{Error, ErrorKind};
use crate::lifecycle::Reasons;
use crate::store::commit::tx::Tx;
use crate::store::error::Sql;
use crate::task::{DeadLetter, Extras, State, TaskId, Timestamp};

/// Moves a task to the dead letters. The caller has asked the rules.
pub(crate) fn move_to_dead_letters(tx: &Tx<'_>, row: &HotRow, now: Timestamp) -> Sql<()> {
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
    remove_row(tx, row, KeyEnds::InTime(now), now)
}

/// Makes a new task of a letter: fresh attempts, the same args, options, checkpoint and steps. The letter stays, and names the new task.
///
/// # Errors
/// `NotFound`; `WrongState` if it was replayed before and this is not `forced`; `Conflict` if its unique key is taken by another.
pub(crate) fn replay(tx: &Tx<'_>, id: TaskId, forced: bool, token: i64, now: Timestamp) -> Sql<TaskId> {
    let sql = "SELECT queue_id, replayed_as FROM perdura_dead_letters WHERE task_id = ?1";
    let letter =
        tx.find(sql, [id.as_i64()], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Option<i64>>(1)?)))?;
    let Some((queue_id, replayed_as)) = letter else {
        return Err(no_dead_letter(id).into());
    };
    if let Some(earlier) = replayed_as.filter(|_| !forced) {
        let message =
            format!("dead letter {id} was replayed as task {earlier} already; replay_again makes another");
        return Err(Error::new(ErrorKind::WrongState, message).into());
    }
    let inserted = tx.change_one(
        "INSERT INTO perdura_tasks (queue_id, name_id, state, hold, reasons, priority, attempt_number, max_attempts, generation,
             in_flight, cancel_requested, suspect, extras, late, snoozes, created_at_ms)
         SELECT queue_id, name_id, 0, 0, 0, priority, 0, max_attempts, 0, 0, 0, 0, 0, 0, 0, ?2
         FROM perdura_dead_letters WHERE task_id = ?1",
        (id.as_i64(), now.as_millis()),
    );
    inserted.map_err(|fault| out_of_ids(tx.conn, fault))?;
    let new = TaskId::from_i64(tx.conn.last_insert_rowid());
    let ids = (new.as_i64(), id.as_i64());
    tx.change_one(
        "INSERT INTO perdura_args (task_id, args, version, token, backoff_ms, timeout_ms, unique_digest, tag, replay_of,
             until_started, unique_for_ms, first_task, first_token)
         SELECT ?1, args, version, ?3, backoff_ms, timeout_ms, unique_digest, tag, ?2, until_started, unique_for_ms,
             COALESCE(first_task, ?2), COALESCE(first_token, token)
         FROM perdura_args WHERE task_id = ?2",
        (ids.0, ids.1, token),
    )?;
    tx.run(
        "INSERT INTO perdura_checkpoints (task_id, checkpoint)
         SELECT ?1, checkpoint FROM perdura_checkpoints WHERE task_id = ?2",
        ids,
    )?;
    let (permit, reasons) = permits::copy(tx, id, new)?;
    let extras = keys::take(tx, new, queue_id, Some(id), now)?.with(permit).with(copy_steps(tx, id, new)?);
    let extras = extras.with(copy_needs(tx, id, new)?);
    let extras = extras.with(Extras::RUN.only_if(schedule_runs::repeat(tx, id, new)?));
    if extras != Extras::NONE {
        tx.change_one(
            "UPDATE perdura_tasks SET extras = ?2, hold = ?3, reasons = ?4 WHERE task_id = ?1 AND state = 0 AND extras = 0",
            (new.as_i64(), extras.code(), reasons.hold().code(), reasons.code()),
        )?;
    }
    tx.change_one(
        "UPDATE perdura_dead_letters SET replayed_as = ?1, replayed_at_ms = ?3 WHERE task_id = ?2",
        (ids.0, ids.1, now.as_millis()),
    )?;
    tx.count(queue_id, State::Queued, reasons.hold(), 1);
    tx.effect(|effects| {
        effects.changed = true;
        effects.ready += u64::from(reasons == Reasons::NONE);
    });
    Ok(new)
}

/// Letters that were moved before a time, the oldest first, after the cursor `after` (`moved_at_ms`, id): at most `limit`.
pub(crate) fn old_dead_letters(
    conn: &Connection,
    moved_before: Timestamp,
    after: (i64, i64),
    limit: usize,
) -> Sql<Vec<(i64, i64)>> {
    let mut statement = conn.prepare_cached(
        "SELECT moved_at_ms, task_id FROM perdura_dead_letters INDEXED BY perdura_letters_by_age
         WHERE (moved_at_ms, task_id) > (?1, ?2) AND moved_at_ms < ?3 ORDER BY moved_at_ms, task_id LIMIT ?4",
    )?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = statement.query_map((after.0, after.1, moved_before.as_millis(), limit), |row| {
        Ok((row.get(0)?, row.get(1)?))
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Deletes those of these letters that were moved before a time, until `enough` returns true. Returns how many that were, and how many ids
/// it has handled. A damaged letter is left unchanged.
pub(crate) fn purge_dead_letters(
    tx: &Tx<'_>,
    moved_before: Timestamp,
    letters: &[i64],
    enough: &dyn Fn() -> bool,
) -> Sql<(usize, usize)> {
    let mut deleted = 0;
    let done = tx.each(letters, enough, |id| {
        let sql = "DELETE FROM perdura_dead_letters WHERE task_id = ?1 AND moved_at_ms < ?2";
        let delete = || match tx.run(sql, (id, moved_before.as_millis()))? {
            0 => Ok(0), // somebody else has deleted it
            n => {
                schedule_runs::forget(tx, TaskId::from_i64(*id))?;
                forget_steps(tx, TaskId::from_i64(*id))?;
                forget_needs(tx, TaskId::from_i64(*id))?;
                remove_cold(tx, TaskId::from_i64(*id)).map(|()| n)
            }
        };
        match tx.whole(delete) {
            Err(fault) if fault.is_damage() => {}
            n => deleted += n?,
        }
        Ok(())
    })?;
    Ok((deleted, done))
}

/// One letter.
///
/// # Errors
/// `NotFound`.
pub(crate) fn get_dead_letter(conn: &Connection, id: TaskId) -> Sql<DeadLetter> {
    let mut statement = conn.prepare_cached(
        "SELECT (SELECT n.task_name FROM perdura_task_names n WHERE n.name_id = d.name_id),
                (SELECT q.queue FROM perdura_queues q WHERE q.queue_id = d.queue_id),
                d.state, d.priority, d.attempt_number, d.max_attempts, d.created_at_ms,
                d.finished_at_ms, d.moved_at_ms, d.replayed_at_ms, d.replayed_as,
                (SELECT e.error_type FROM perdura_errors e WHERE e.task_id = d.task_id),
                (SELECT e.error_message FROM perdura_errors e WHERE e.task_id = d.task_id),
                (SELECT e.error_traceback FROM perdura_errors e WHERE e.task_id = d.task_id),
                (SELECT a.tag FROM perdura_args a WHERE a.task_id = d.task_id)
         FROM perdura_dead_letters d WHERE d.task_id = ?1",
    )?;
    let letter = statement.query_row([id.as_i64()], |row| {
        let time = |column| row.get(column).map(Timestamp::from_millis);
        let (Some(task_name), Some(queue)) = (row.get(0)?, row.get(1)?) else { return Ok(None) };
        Ok(Some(DeadLetter {
            task_id: id,
            task_name,
            queue,
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
        }))
    });
    letter.optional()?.flatten().ok_or_else(|| no_dead_letter(id).into())
}

fn no_dead_letter(id: TaskId) -> Error {
    Error::new(ErrorKind::NotFound, format!("there is no dead letter {id}; it was purged, or never moved"))
}
