//! Work outside: RUNNING tasks without a thread. An engine does the work, or somebody reports its end. (Its ends are in `outside_ends`.)
//!
//! The bit [`Extras::OUTSIDE`](crate::task::Extras::OUTSIDE) of a task says that it has a row in `perdura_outside`. Both are removed when
//! the attempt ends, however it ends (`HotRow::replace`).

use rusqlite::{Connection, OptionalExtension};

use crate::store::commit::tx::Tx;
use crate::store::error::Sql;
use crate::task::{Elsewhere, GoesOutside, OutsideRecord, TaskId, Timestamp, millis};

/// Notes that the work of a task goes on outside. The caller sets the bit of its row.
pub(super) fn go(tx: &Tx<'_>, id: TaskId, generation: u64, outside: &GoesOutside, now: Timestamp) -> Sql<()> {
    let deadline = outside.time_left.map(|left| now.saturating_add(left));
    let (engine, job, spec, waits_for, deadline) = match &outside.to {
        Elsewhere::Somebody { waits_for } => {
            tx.effect(|effects| effects.due = effects.due.into_iter().chain(deadline).min());
            (None, None, None, Some(waits_for), deadline)
        }
        Elsewhere::Engine { name, spec } => {
            tx.effect(|effects| effects.jobs_changed = true);
            (Some(name), Some(job_id(tx, id, generation)?), Some(spec), None, None)
        }
    };
    tx.change_one(
        "INSERT INTO perdura_outside (task_id, engine, job, spec, waits_for, since_ms, owner_epoch, time_left_ms, deadline_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, (SELECT owner_epoch FROM perdura_meta WHERE id = 1), ?7, ?8)",
        (
            id.as_i64(),
            engine,
            job,
            spec,
            waits_for,
            now.as_millis(),
            outside.time_left.map(millis),
            deadline.map(Timestamp::as_millis),
        ),
    )
}

/// The id under which an engine knows the work of an attempt. It contains the token of the enqueue, because under `relaxed` a power cut
/// can take back the newest tasks, and later tasks then get the same task ids.
fn job_id(tx: &Tx<'_>, id: TaskId, generation: u64) -> Sql<String> {
    let sql = "SELECT token FROM perdura_args WHERE task_id = ?1";
    let token: i64 = tx.one(sql, [id.as_i64()], |row| row.get(0))?;
    let file = u128::from_be_bytes(*tx.file_id);
    Ok(format!("{file:032x}-{id:x}-{generation:x}-{token:016x}", id = id.as_i64()))
}

/// Deletes the row of an attempt that has ended.
pub(super) fn come_back(tx: &Tx<'_>, id: TaskId) -> Sql<()> {
    tx.change_one("DELETE FROM perdura_outside WHERE task_id = ?1", [id.as_i64()])
}

/// The deadline of an attempt that is outside, if it has one.
pub(super) fn deadline(tx: &Tx<'_>, id: TaskId) -> Sql<Option<Timestamp>> {
    let sql = "SELECT deadline_ms FROM perdura_outside WHERE task_id = ?1";
    let found: Option<Option<i64>> = tx.find(sql, [id.as_i64()], |row| row.get(0))?;
    Ok(found.flatten().map(Timestamp::from_millis))
}

/// Whether a task whose bit says so has a row in `perdura_outside`.
pub(super) fn is_there(tx: &Tx<'_>, id: TaskId) -> Sql<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM perdura_outside WHERE task_id = ?1)";
    tx.one(sql, [id.as_i64()], |row| row.get(0))
}

/// Deletes the row of a task that does not exist.
pub(super) fn forget_orphan(tx: &Tx<'_>, id: TaskId) -> Sql<()> {
    let sql = "DELETE FROM perdura_outside WHERE task_id = ?1 AND NOT EXISTS (SELECT 1 FROM perdura_tasks t WHERE t.task_id = ?1)";
    tx.run(sql, [id.as_i64()]).map(drop)
}

/// Whether an engine does the work of a task.
pub(super) fn has_engine(tx: &Tx<'_>, id: TaskId) -> Sql<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM perdura_outside WHERE task_id = ?1 AND engine IS NOT NULL)";
    tx.one(sql, [id.as_i64()], |row| row.get(0))
}

/// Tasks without an engine whose end nobody has reported in time, at most `limit`.
pub(super) fn overdue(tx: &Tx<'_>, now: Timestamp, limit: i64) -> Sql<Vec<i64>> {
    let sql = "SELECT task_id FROM perdura_outside INDEXED BY perdura_outside_due
               WHERE engine IS NULL AND deadline_ms IS NOT NULL AND deadline_ms <= ?1 ORDER BY deadline_ms LIMIT ?2";
    tx.numbers(sql, (now.as_millis(), limit))
}

/// Restarts the time of tasks without an engine whose handlers returned in the future (the clock has jumped back), at most `limit`;
/// returns how many.
pub(super) fn begin_again(tx: &Tx<'_>, now: Timestamp, limit: i64) -> Sql<usize> {
    let sql = "SELECT task_id FROM perdura_outside INDEXED BY perdura_outside_anchors
               WHERE engine IS NULL AND deadline_ms IS NOT NULL AND since_ms > ?1 LIMIT ?2";
    let jumped = tx.numbers(sql, (now.as_millis(), limit))?;
    for id in &jumped {
        let sql = "UPDATE perdura_outside SET since_ms = ?1, deadline_ms = deadline_ms - since_ms + ?1
                   WHERE task_id = ?2 AND since_ms > ?1";
        tx.change_one(sql, (now.as_millis(), id))?;
    }
    Ok(jumped.len())
}

/// Whether [`begin_again`] has anything to do.
pub(super) fn is_any_from_the_future(conn: &Connection, now: Timestamp) -> Sql<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM perdura_outside INDEXED BY perdura_outside_anchors
               WHERE engine IS NULL AND deadline_ms IS NOT NULL AND since_ms > ?1)";
    Ok(conn.prepare_cached(sql)?.query_row([now.as_millis()], |row| row.get(0))?)
}

/// What the file knows of a task's work outside, if it has any.
pub(crate) fn outside_record(conn: &Connection, id: TaskId) -> Sql<Option<OutsideRecord>> {
    let sql = "SELECT engine, job, waits_for, since_ms, accepted_at_ms, deadline_ms FROM perdura_outside WHERE task_id = ?1";
    let record = conn.prepare_cached(sql)?.query_row([id.as_i64()], |row| {
        let time =
            |column| Ok::<_, rusqlite::Error>(row.get::<_, Option<i64>>(column)?.map(Timestamp::from_millis));
        Ok(OutsideRecord {
            engine: row.get(0)?,
            job: row.get(1)?,
            waits_for: row.get(2)?,
            since: Timestamp::from_millis(row.get(3)?),
            accepted_at: time(4)?,
            deadline: time(5)?,
        })
    });
    Ok(record.optional()?)
}
