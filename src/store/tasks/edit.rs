//! Edits a queued task: new options, new args. It keeps its id, its unique key, its limit and its needs.

use std::borrow::Cow;
use std::time::Duration;

use super::remove::forget_progress;
use super::replace::{due, has_begun};
use super::row::HotRow;
use crate::error::{Error, ErrorKind};
use crate::lifecycle::{Replacement, TaskEvent, next};
use crate::store::commit::tx::Tx;
use crate::store::error::Sql;
use crate::task::{Due, Extras, State, TaskId, Timestamp, millis};

/// The changes to a task. `None` leaves a field unchanged.
#[derive(Clone, Default)]
pub(crate) struct Edit {
    pub args: Option<EditedArgs>,
    pub priority: Option<i16>,
    pub due: Option<Due>,
    pub max_attempts: Option<u32>,
    pub backoff: Option<Duration>,
    pub timeout: Option<Duration>,
    pub tag: Option<String>,
}

/// New args.
#[derive(Clone)]
pub(crate) struct EditedArgs {
    /// The task must have one of these names.
    pub names: Vec<Cow<'static, str>>,
    pub json: String,
    pub version: u32,
    /// The args that the new ones were made from: the task must still have them. None: this is not compared.
    pub made_of: Option<String>,
}

/// Changes a queued task.
///
/// # Errors
/// `NotFound`; `WrongState` if it is not queued, has another name, has stored steps (for new args) or a limit of its key (for a new
/// priority); `Conflict` if its args are not those that the new ones were made from; `InvalidInput` for too few attempts, or a start
/// after it expires. The caller's savepoint undoes what was written before.
pub(crate) fn edit(tx: &Tx<'_>, id: TaskId, edit: &Edit, now: Timestamp) -> Sql<()> {
    let row = HotRow::get(tx.conn, id)?;
    check(tx, &row, edit)?;
    if let Some(args) = &edit.args {
        let sql = "UPDATE perdura_args SET args = ?2, version = ?3 WHERE task_id = ?1";
        tx.change_one(sql, (id.as_i64(), &args.json, args.version))?;
        forget_progress(tx, id)?;
    }
    if edit.backoff.is_some() || edit.timeout.is_some() || edit.tag.is_some() {
        tx.change_one(
            "UPDATE perdura_args SET backoff_ms = COALESCE(?2, backoff_ms), timeout_ms = COALESCE(?3, timeout_ms), tag = COALESCE(?4, tag)
             WHERE task_id = ?1",
            (id.as_i64(), edit.backoff.map(millis), edit.timeout.map(millis), &edit.tag),
        )?;
    }
    if edit.priority.is_some() || edit.max_attempts.is_some() {
        tx.change_one(
            "UPDATE perdura_tasks SET priority = COALESCE(?2, priority), max_attempts = COALESCE(?3, max_attempts)
             WHERE task_id = ?1 AND generation = ?4 AND state = 0",
            (id.as_i64(), edit.priority, edit.max_attempts, row.generation),
        )?;
    }
    if let Some(priority) = edit.priority.filter(|_| row.extras.contains(Extras::NEEDS)) {
        tx.change_one("UPDATE perdura_needs SET priority = ?2 WHERE task_id = ?1", (id.as_i64(), priority))?;
    }
    if edit.due.is_some() {
        let (run_at, anchor) = due(edit.due, now);
        if row.expires_at.is_some_and(|end| run_at.is_some_and(|start| start >= end)) {
            let problem = "is not before the task expires; cancel it and make a new one";
            return Err(Error::invalid("run_at", problem).into());
        }
        let waits = run_at.is_some_and(|time| time > now);
        let to = row.after(TaskEvent::Replaced(Replacement::ArgsAndTime { waits }), now)?;
        HotRow { run_at, anchor, ..to }.replace(tx, &row, now)?;
    } else if edit.args.is_some() {
        row.must_apply(tx, TaskEvent::Replaced(Replacement::Args), now)?;
    }
    tx.effect(|effects| effects.changed = true);
    Ok(())
}

fn check(tx: &Tx<'_>, row: &HotRow, edit: &Edit) -> Sql<()> {
    let id = row.task_id;
    let refused = |why: String| Err(Error::new(ErrorKind::WrongState, format!("task {id} {why}")).into());
    if row.task_state.state != State::Queued {
        let state = row.task_state.state;
        let how = match next(&row.task_state, TaskEvent::Retried) {
            Ok(_) => "; pause its queue, retry it, change it, and resume the queue",
            Err(_) => "",
        };
        return refused(format!("is {state}; only QUEUED tasks can be changed{how}"));
    }
    if let Some(args) = &edit.args {
        let name = tx.task_name(row.name_id)?;
        if !args.names.iter().any(|known| **known == *name) {
            return refused(format!("is a {name:?} and not a {:?}; its args are others", args.names[0]));
        }
        if let Some(made_of) = &args.made_of {
            let sql = "SELECT args = ?2 FROM perdura_args WHERE task_id = ?1";
            if !tx.one(sql, (id.as_i64(), made_of), |row| row.get::<_, bool>(0))? {
                let message =
                    format!("task {id} has other args than a moment ago; look at it, and try again");
                return Err(Error::new(ErrorKind::Conflict, message).into());
            }
        }
        if has_begun(row) {
            return refused(
                "has stored steps, which are steps of its args; cancel it and make a new one".to_owned(),
            );
        }
    }
    if edit.priority.is_some() && row.extras.contains(Extras::LIMITED) {
        return refused(
            "stands in the line of its key, by its priority; cancel it and make a new one".to_owned(),
        );
    }
    let had = row.task_state.attempt_number;
    match edit.max_attempts {
        Some(most) if most <= had => {
            let problem = format!("leaves task {id} none: it has had {had}; give more, or cancel it");
            Err(Error::invalid_value("max_attempts", most, &problem).into())
        }
        _ => Ok(()),
    }
}
