//! Completed steps of tasks: kept from one attempt to the next, and deleted when the task succeeds.
//!
//! The bit [`Extras::STEPS`] of a task says that it has stored steps.

use std::hash::Hasher;

use rusqlite::{Connection, OptionalExtension};
use siphasher::sip128::{Hasher128, SipHasher24};

use super::fence::{check_fence, superseded};
use crate::planted::planted;
use crate::store::commit::tx::Tx;
use crate::store::error::Sql;
use crate::task::{Extras, StepKey, StepRecord, TaskId, Timestamp};

/// Stores the result of a step of a running attempt.
///
/// # Errors
/// `Superseded`.
pub(crate) fn save_step(
    tx: &Tx<'_>,
    id: TaskId,
    generation: u64,
    step: &StepKey,
    result: &str,
    now: Timestamp,
) -> Sql<()> {
    check_fence(tx, id, generation)?;
    let sql = "SELECT extras FROM perdura_tasks WHERE task_id = ?1 AND generation = ?2";
    let attempt = (id.as_i64(), generation.cast_signed());
    let Some(extras) = tx.find(sql, attempt, |row| super::row::extras_at(row, 0))? else {
        return Err(superseded(id).into());
    };
    if !extras.contains(Extras::STEPS) {
        let sql = "UPDATE perdura_tasks SET extras = extras | 32 WHERE task_id = ?1 AND generation = ?2 AND in_flight = 1 AND extras & 32 = 0";
        tx.change_one(sql, attempt)?;
    }
    insert(tx, id, step, Some(result), now)
}

/// Stores that a task sleeps. Its attempt ends in the same transaction.
pub(super) fn fall_asleep(tx: &Tx<'_>, id: TaskId, sleep: &str, now: Timestamp) -> Sql<()> {
    insert(tx, id, &StepKey { name: sleep.to_owned(), number: None }, None, now)
}

fn insert(tx: &Tx<'_>, id: TaskId, step: &StepKey, result: Option<&str>, now: Timestamp) -> Sql<()> {
    tx.change_one(
        "INSERT INTO perdura_steps (task_id, step, number, done_at_ms, result) VALUES (?1, ?2, ?3, ?4, ?5)",
        (id.as_i64(), &step.name, step.number_code(), now.as_millis(), result),
    )
}

/// Deletes the steps of a task, or of a dead letter.
pub(super) fn forget_steps(tx: &Tx<'_>, id: TaskId) -> Sql<()> {
    tx.run("DELETE FROM perdura_steps INDEXED BY perdura_steps_by_task WHERE task_id = ?1", [id.as_i64()])
        .map(drop)
}

/// Copies the steps of a dead letter to the new task that replays it; returns the bit for them.
pub(super) fn copy_steps(tx: &Tx<'_>, letter: TaskId, new: TaskId) -> Sql<Extras> {
    if planted("g18-a-replay-does-its-steps-again") {
        return Ok(Extras::NONE);
    }
    let copied = tx.run(
        "INSERT INTO perdura_steps (task_id, step, number, done_at_ms, result)
         SELECT ?2, step, number, done_at_ms, result FROM perdura_steps INDEXED BY perdura_steps_by_task WHERE task_id = ?1 ORDER BY step_id",
        (letter.as_i64(), new.as_i64()),
    )?;
    Ok(Extras::STEPS.only_if(copied > 0))
}

/// The keys of the steps of a task, or of a dead letter, in no order: at most `limit`.
pub(crate) fn step_keys(conn: &Connection, id: TaskId, limit: usize) -> Sql<Vec<StepKey>> {
    let mut statement = conn.prepare_cached(
        "SELECT step, number FROM perdura_steps INDEXED BY perdura_steps_by_task WHERE task_id = ?1 LIMIT ?2",
    )?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let keys = statement.query_map((id.as_i64(), limit), |row| {
        Ok(StepKey { name: row.get(0)?, number: StepKey::number_of(row.get(1)?) })
    })?;
    Ok(keys.collect::<rusqlite::Result<_>>()?)
}

/// The result of a step, as JSON; none if the step is not stored, `Some(None)` if it is a sleep.
pub(crate) fn step_result(conn: &Connection, id: TaskId, step: &StepKey) -> Sql<Option<Option<String>>> {
    let sql = "SELECT result FROM perdura_steps INDEXED BY perdura_steps_by_task WHERE task_id = ?1 AND step = ?2 AND number = ?3";
    let mut statement = conn.prepare_cached(sql)?;
    Ok(statement.query_row((id.as_i64(), &step.name, step.number_code()), |row| row.get(0)).optional()?)
}

/// The steps of a task, or of a dead letter, in the order in which they were done.
pub(crate) fn steps(conn: &Connection, id: TaskId) -> Sql<Vec<StepRecord>> {
    let mut statement = conn.prepare_cached(
        "SELECT step, number, done_at_ms, result FROM perdura_steps INDEXED BY perdura_steps_by_task WHERE task_id = ?1 ORDER BY step_id",
    )?;
    let steps = statement.query_map([id.as_i64()], |row| {
        Ok(StepRecord {
            name: row.get(0)?,
            number: StepKey::number_of(row.get(1)?),
            done_at: Timestamp::from_millis(row.get(2)?),
            result_json: row.get(3)?,
        })
    })?;
    Ok(steps.collect::<rusqlite::Result<_>>()?)
}

/// The name of the sleep that a task waits for; none if it waits for something else.
pub(crate) fn sleeps(conn: &Connection, id: TaskId) -> Sql<Option<String>> {
    // Subqueries, not a join: in a join, statistics of a young file could turn the lookup into a scan.
    let sql = "SELECT step FROM perdura_steps INDEXED BY perdura_steps_by_task WHERE task_id = ?1 AND result IS NULL
                   AND done_at_ms >= (SELECT t.started_at_ms FROM perdura_tasks t WHERE t.task_id = ?1 AND t.state = 0 AND t.hold = 3)
                   AND NOT EXISTS (SELECT 1 FROM perdura_attempts a WHERE a.task_id = ?1
                       AND a.generation = (SELECT t.generation FROM perdura_tasks t WHERE t.task_id = ?1))
               ORDER BY step_id DESC LIMIT 1";
    Ok(conn.prepare_cached(sql)?.query_row([id.as_i64()], |row| row.get(0)).optional()?)
}

/// An idempotency key for an effect of a task: SipHash-2-4-128 of the task and the name, keyed with the file's random id.
///
/// A task that replays others has the keys of the first task in that line. The hash takes the id and the random token of its enqueue: after a
/// backup was restored, or under `relaxed` after a power cut, another task may get the same id, and must have other keys.
pub(crate) fn idempotency_key(conn: &Connection, file_id: &[u8; 16], id: TaskId, name: &str) -> Sql<String> {
    let sql = if planted("g18-a-replay-has-idempotency-keys-of-its-own") {
        "SELECT task_id, token FROM perdura_args WHERE task_id = ?1"
    } else {
        "SELECT COALESCE(first_task, task_id), COALESCE(first_token, token) FROM perdura_args WHERE task_id = ?1"
    };
    let (first, token): (i64, i64) =
        conn.prepare_cached(sql)?.query_row([id.as_i64()], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let mut hasher = SipHasher24::new_with_key(file_id);
    hasher.write(b"idempotency");
    hasher.write(&first.to_le_bytes());
    if !planted("g18-a-number-given-again-has-the-same-idempotency-keys") {
        hasher.write(&token.to_le_bytes());
    }
    hasher.write(name.as_bytes());
    let key = hasher.finish128().as_bytes();
    Ok(key.iter().map(|byte| format!("{byte:02x}")).collect())
}
