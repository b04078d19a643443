//! Damaged rows: rows with values that perdura never writes, in a file that was altered or damaged.
//!
//! Passes over many tasks (claims, promotions, recovery) must not fail because of one damaged row, which would keep all other tasks from
//! running. So its task is failed: it ends as FAILED with an error that says why, and keeps its args. A call for a single task returns
//! `Corrupt` instead, and changes nothing.

use super::row::{HotRow, write_error};
use super::{keys, permits};
use crate::error::{Error, ErrorKind};
use crate::planted::planted;
use crate::store::commit::tx::Tx;
use crate::store::error::{Fault, Sql, contradiction};
use crate::task::{ErrorReport, Hold, State, TaskId, Timestamp};

/// The error type of a task that was failed because its rows are damaged.
const ROW_DAMAGED: &str = "RowDamaged";

/// Changes one task of many. If its rows are damaged, fails the task and returns none.
///
/// # Errors
/// Faults that do not concern the task's rows.
pub(crate) fn unless_damaged<R>(
    tx: &Tx<'_>,
    id: TaskId,
    now: Timestamp,
    act: impl FnOnce(&HotRow) -> Sql<R>,
) -> Sql<Option<R>> {
    match indexed(tx, id).and_then(|row| act(&row)) {
        Err(fault) if fault.is_damage() && !planted("g12-a-bad-row-stops-its-queue") => {
            fail_damaged(tx, id, fault, now)?;
            Ok(None)
        }
        done => done.map(Some),
    }
}

/// The row of a task that an index has named.
pub(crate) fn indexed(tx: &Tx<'_>, id: TaskId) -> Sql<HotRow> {
    HotRow::find(tx.conn, id)?.ok_or_else(|| contradiction("an index names a task that is not there"))
}

/// Fails a task with damaged rows, and resets its columns to valid values. A task that has ended already keeps its state.
pub(crate) fn fail_damaged(tx: &Tx<'_>, id: TaskId, why: Fault, now: Timestamp) -> Sql<()> {
    let why = Error::from(why);
    let sql = "SELECT queue_id, state, hold FROM perdura_tasks
               WHERE task_id = ?1 AND (state NOT BETWEEN 2 AND 4 OR in_flight <> 0)";
    let found: Option<(i64, i64, i64)> =
        tx.find(sql, [id.as_i64()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let Some((queue_id, state, hold)) = found else {
        // The index that led here names a row that does not exist or does not match: the file itself is damaged.
        let message = format!("an index of the file lies about task {id}; restore a backup");
        return Err(Error::new(ErrorKind::Corrupt, message).into());
    };
    keys::release_if_held(tx, id, now)?;
    permits::leave(tx, id)?;
    tx.run("DELETE FROM perdura_outside WHERE task_id = ?1", [id.as_i64()])?;
    tx.run(
        "UPDATE perdura_needs SET waits_for = NULL, priority = COALESCE(
             (SELECT MAX(-32768, MIN(t.priority, 32767)) FROM perdura_tasks t WHERE t.task_id = ?1), priority)
         WHERE task_id = ?1",
        [id.as_i64()],
    )?;
    tx.change_one(
        "UPDATE perdura_tasks SET
             state = CASE WHEN state BETWEEN 2 AND 4 THEN state ELSE 3 END,
             hold = 0, reasons = 0, in_flight = 0, cancel_requested = 0, suspect = 0, late = 0,
             extras = EXISTS (SELECT 1 FROM perdura_keys k INDEXED BY perdura_key_holders WHERE k.task_id = perdura_tasks.task_id)
                 + 4 * EXISTS (SELECT 1 FROM perdura_limits l WHERE l.task_id = perdura_tasks.task_id)
                 + 32 * EXISTS (SELECT 1 FROM perdura_steps s WHERE s.task_id = perdura_tasks.task_id)
                 + 64 * EXISTS (SELECT 1 FROM perdura_needs n WHERE n.task_id = perdura_tasks.task_id),
             priority = MAX(-32768, MIN(priority, 32767)), snoozes = MAX(0, snoozes),
             attempt_number = MAX(0, MIN(attempt_number, max_attempts, 100)), max_attempts = MAX(1, MIN(max_attempts, 100)),
             generation = MAX(generation, 0, MIN(attempt_number, 100)),
             run_at_ms = NULL, anchor_ms = NULL, expires_at_ms = NULL, finished_at_ms = MAX(?2, COALESCE(started_at_ms, ?2))
         WHERE task_id = ?1",
        (id.as_i64(), now.as_millis()),
    )?;
    tx.suspect_moved();
    tx.run_moved(id, now);
    tx.effect(|effects| {
        effects.changed = true;
        effects.superseded.push(id);
        effects.ended.push(id);
    });
    let from = State::from_code(state);
    if from.is_some_and(State::is_finished) && from != Some(State::Lost) {
        return Ok(());
    }
    if let (Some(from), Some(held)) = (from, Hold::from_code(hold)) {
        tx.count(queue_id, from, held, -1);
    }
    tx.count(queue_id, State::Failed, Hold::Ready, 1);
    let message = format!("it cannot run, because {why}");
    write_error(tx, id, &ErrorReport::new(ROW_DAMAGED, &message, ""))
}
