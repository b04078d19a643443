//! Deletes all rows of a task.

use super::needs::forget_needs;
use super::row::HotRow;
use super::steps::forget_steps;
use super::{keys, permits};
use crate::store::commit::tx::Tx;
use crate::store::error::Sql;
use crate::task::{Extras, TaskId, Timestamp};

/// What happens to the unique key of a task that is removed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum KeyEnds {
    /// The key becomes free: somebody deletes the task.
    Now,
    /// The key stays taken if its time is not over at this moment: the task is deleted because of its age, or becomes a dead letter.
    InTime(Timestamp),
}

/// Removes a task and all its rows.
pub(crate) fn remove(tx: &Tx<'_>, row: &HotRow, key: KeyEnds, now: Timestamp) -> Sql<()> {
    remove_row(tx, row, key, now)?;
    if row.extras.contains(Extras::STEPS) {
        forget_steps(tx, row.task_id)?;
    }
    if row.extras.contains(Extras::NEEDS) {
        forget_needs(tx, row.task_id)?;
    }
    remove_cold(tx, row.task_id)
}

/// Removes the cold rows of a task, or of a dead letter, except its steps and its needs.
pub(crate) fn remove_cold(tx: &Tx<'_>, id: TaskId) -> Sql<()> {
    for sql in [
        "DELETE FROM perdura_args WHERE task_id = ?1",
        "DELETE FROM perdura_errors WHERE task_id = ?1",
        "DELETE FROM perdura_attempts WHERE task_id = ?1",
        "DELETE FROM perdura_results WHERE task_id = ?1",
        "DELETE FROM perdura_checkpoints WHERE task_id = ?1",
        "DELETE FROM perdura_progress WHERE task_id = ?1",
        "DELETE FROM perdura_output WHERE task_id = ?1",
        "DELETE FROM perdura_limits WHERE task_id = ?1",
    ] {
        tx.run(sql, [id.as_i64()])?;
    }
    Ok(())
}

/// Deletes the checkpoint and the progress of a task.
pub(crate) fn forget_progress(tx: &Tx<'_>, id: TaskId) -> Sql<()> {
    for sql in [
        "DELETE FROM perdura_checkpoints WHERE task_id = ?1",
        "DELETE FROM perdura_progress WHERE task_id = ?1",
    ] {
        tx.run(sql, [id.as_i64()])?;
    }
    Ok(())
}

/// Removes the hot row of a task, and takes back its key and its permit.
pub(crate) fn remove_row(tx: &Tx<'_>, row: &HotRow, key: KeyEnds, now: Timestamp) -> Sql<()> {
    let id = row.task_id.as_i64();
    tx.change_one(
        "DELETE FROM perdura_tasks WHERE task_id = ?1 AND generation = ?2 AND state = ?3",
        (id, row.generation, row.task_state.state.code()),
    )?;
    if row.extras.contains(Extras::KEY) {
        match key {
            KeyEnds::Now => keys::release_now(tx, row.task_id)?,
            KeyEnds::InTime(now) => drop(keys::release(tx, row.task_id, now)?),
        }
    }
    if row.extras.contains(Extras::RUN) {
        tx.run_moved(row.task_id, now);
    }
    if row.extras.contains(Extras::LIMITED) {
        permits::leave(tx, row.task_id)?;
    }
    tx.count(row.queue_id, row.task_state.state, row.task_state.hold(), -1);
    if row.task_state.suspect {
        tx.suspect_moved();
    }
    tx.effect(|effects| {
        effects.changed = true;
        effects.ended.push(row.task_id);
        if row.task_state.in_flight {
            effects.superseded.push(row.task_id);
        }
    });
    Ok(())
}
