//! An enqueue whose unique key is taken: it changes nothing, or replaces the args, the options or the time of the queued task.
//!
//! The task keeps its id, and the token of the enqueue that made it, so that a repetition of that enqueue still finds it. The token of the
//! newest enqueue that changed it is stored beside that one.

use super::keys::{self, FoundKey};
use super::needs::replace_needs;
use super::permits;
use super::remove::forget_progress;
use super::row::{HotRow, clear_error};
use crate::lifecycle::{Replacement, TaskEvent};
use crate::planted::planted;
use crate::store::commit::tx::Tx;
use crate::store::error::Sql;
use crate::task::{Due, Enqueued, Extras, NewTask, OnConflict, State, TaskId, Timestamp, Unique, millis};

/// The start time of a task that is enqueued now and, for a relative one, when the wait began.
pub(super) fn due(due: Option<Due>, now: Timestamp) -> (Option<Timestamp>, Option<Timestamp>) {
    match due {
        None => (None, None),
        Some(Due::After(delay)) => (Some(now.saturating_add(delay)), Some(now)),
        Some(Due::At(time)) => (Some(time), None),
    }
}

/// Handles an enqueue whose key is taken, by its `on_conflict`; none if the key is not taken.
pub(super) fn meet(
    tx: &Tx<'_>,
    task: &NewTask,
    unique: &Unique,
    key: FoundKey,
    now: Timestamp,
) -> Sql<Option<Enqueued>> {
    let FoundKey::Taken { by, time } = key else { return Ok(None) };
    keys::notice_jump(tx, by, time, now)?;
    if unique.on_conflict == OnConflict::Keep {
        return Ok(Some(Enqueued::Existing(by)));
    }
    // The task is gone, or not queued: nothing can be replaced.
    let row = HotRow::find(tx.conn, by)?.filter(|row| row.task_state.state == State::Queued);
    let Some(row) = row else { return Ok(Some(Enqueued::Existing(by))) };
    if has_begun(&row) || unique.on_conflict == OnConflict::Replace && is_bound(&row) {
        return Ok(Some(Enqueued::Existing(by)));
    }
    write_args(tx, by, task, unique.on_conflict)?;
    if !planted("g01-a-checkpoint-of-other-args-stays") {
        forget_progress(tx, by)?;
    }
    match unique.on_conflict {
        OnConflict::Keep => {}
        OnConflict::Replace => replace(tx, &row, task, unique, now)?,
        OnConflict::ReplaceArgs => row.must_apply(tx, TaskEvent::Replaced(Replacement::Args), now)?,
        OnConflict::Debounce { max_wait } => {
            let latest = created_at(tx, by)?.min(now).saturating_add(max_wait);
            put_off(tx, &row, task, latest, now)?;
        }
    }
    let name_id = tx.name_id(&task.task_name)?;
    if name_id != row.name_id {
        let sql = "UPDATE perdura_tasks SET name_id = ?2 WHERE task_id = ?1 AND generation = ?3 AND name_id = ?4 AND state = 0";
        tx.change_one(sql, (by.as_i64(), name_id, row.generation, row.name_id))?;
    }
    tx.effect(|effects| effects.changed = true);
    Ok(Some(Enqueued::Replaced(by)))
}

/// Writes the new args and, with `Replace`, the options in the same row.
fn write_args(tx: &Tx<'_>, id: TaskId, task: &NewTask, on_conflict: OnConflict) -> Sql<()> {
    let token = match planted("g02-a-replacement-forgets-who-asked") {
        false => Some(task.token),
        true => None,
    };
    let sql = "UPDATE perdura_args SET args = ?2, version = ?3, replace_token = ?4 WHERE task_id = ?1";
    tx.change_one(sql, (id.as_i64(), &task.args, task.version, token))?;
    if on_conflict != OnConflict::Replace || planted("g03-a-task-is-replaced-in-part") {
        return Ok(());
    }
    let options = &task.options;
    let unique = options.unique.as_ref();
    tx.change_one(
        "UPDATE perdura_args SET backoff_ms = ?2, timeout_ms = ?3, tag = ?4, until_started = ?5, unique_for_ms = ?6 WHERE task_id = ?1",
        (
            id.as_i64(),
            options.backoff.map(millis),
            options.timeout.map(millis),
            &options.tag,
            unique.filter(|unique| unique.until_started).map(|_| true),
            unique.and_then(|unique| unique.lasts).map(millis),
        ),
    )
}

/// Replaces a queued task. Its key is taken for the new time, counted from the task's creation.
fn replace(tx: &Tx<'_>, row: &HotRow, task: &NewTask, unique: &Unique, now: Timestamp) -> Sql<()> {
    let (id, options) = (row.task_id, &task.options);
    let (run_at, anchor) = due(options.due, now);
    let waits = run_at.is_some_and(|time| time > now);
    let event = TaskEvent::Replaced(Replacement::Whole { waits });
    let extras =
        permits::replace(tx, id, row.queue_id, row.extras, options.limit.as_ref(), options.priority)?;
    let extras = replace_needs(tx, id, extras, &options.needs, options.priority)?;
    let extras = extras.without(Extras::UNTIL_STARTED);
    let extras = extras.with(Extras::UNTIL_STARTED.only_if(unique.until_started));
    let expires_at = options.expires.map(|after| now.saturating_add(after));
    let to = row.after(event, now)?;
    HotRow { run_at, anchor, expires_at, extras, late: false, ..to }.replace(tx, row, now)?;
    clear_error(tx, id)?;
    let created = created_at(tx, id)?.min(now);
    keys::set_time(tx, id, keys::time_from(created, unique.lasts))?;
    let sql = "UPDATE perdura_tasks SET priority = ?2, max_attempts = ?3 WHERE task_id = ?1 AND generation = ?4 AND state = 0";
    tx.change_one(sql, (id.as_i64(), options.priority, options.max_attempts, row.generation))
}

/// Restarts the wait of a debounced task with the delay of the enqueue, until `latest` at most. A task that was claimed before keeps its
/// time.
fn put_off(tx: &Tx<'_>, row: &HotRow, task: &NewTask, latest: Timestamp, now: Timestamp) -> Sql<()> {
    if row.generation > 0 {
        return row.must_apply(tx, TaskEvent::Replaced(Replacement::Args), now);
    }
    let (run_at, anchor) = due(task.options.due, now);
    let latest =
        if planted("g04-a-task-is-put-off-for-ever") { Timestamp::from_millis(i64::MAX) } else { latest };
    let run_at = run_at.map(|time| time.min(latest).max(now));
    let waits = run_at.is_some_and(|time| time > now);
    let expires_at = task.options.expires.map(|after| now.saturating_add(after)).or(row.expires_at);
    let to = row.after(TaskEvent::Replaced(Replacement::ArgsAndTime { waits }), now)?;
    HotRow { run_at, anchor, expires_at, ..to }.replace(tx, row, now)
}

/// Whether the thread of an earlier attempt still holds a permit: the limit cannot be replaced before it ends.
fn is_bound(row: &HotRow) -> bool {
    row.task_state.in_flight && row.extras.contains(Extras::PERMIT)
}

/// Whether it has stored steps, which belong to its present args.
pub(super) fn has_begun(row: &HotRow) -> bool {
    row.extras.contains(Extras::STEPS) && !planted("g18-steps-of-other-args-stay")
}

fn created_at(tx: &Tx<'_>, id: TaskId) -> Sql<Timestamp> {
    let sql = "SELECT created_at_ms FROM perdura_tasks WHERE task_id = ?1";
    Ok(Timestamp::from_millis(tx.one(sql, [id.as_i64()], |row| row.get(0))?))
}
