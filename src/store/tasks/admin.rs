//! Verbs on tasks, by id and by filter: retry, run now, cancel, delete, move to the dead letters.

use super::dead_letters::move_to_dead_letters;
use super::remove::{KeyEnds, forget_progress, remove};
use super::row::{HotRow, clear_error, write_error};
use super::search::{Among, Check};
use super::suspects::take_turn_back;
use super::{gates, keys, outside_ends, steps};
use crate::error::{Error, ErrorKind};
use crate::lifecycle::{Refusal, TaskEvent, next};
use crate::store::commit::tx::Tx;
use crate::store::error::{Fault, Sql};
use crate::task::{Bulk, ErrorReport, Extras, Filter, Hold, State, TaskId, Timestamp};

/// An operation on a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Retry,
    /// A retry that deletes its checkpoint and its steps first.
    RetryFromStart,
    RunNow,
    Cancel,
    Delete,
    MoveToDeadLetters,
}

impl Verb {
    fn event(self) -> TaskEvent {
        match self {
            Verb::Retry | Verb::RetryFromStart => TaskEvent::Retried,
            Verb::RunNow => TaskEvent::RunNow,
            Verb::Cancel => TaskEvent::CancelRequested,
            Verb::Delete => TaskEvent::Deleted,
            Verb::MoveToDeadLetters => TaskEvent::MovedToDeadLetters,
        }
    }

    /// Which tasks the verb accepts, or what to do first: the end of a refusal's message.
    fn rule(self) -> &'static str {
        match self {
            Verb::Retry | Verb::RetryFromStart => {
                "only FAILED, LOST and CANCELLED tasks can be retried; run_now starts one that waits for its time"
            }
            Verb::RunNow => {
                "only QUEUED tasks that wait for their time, or for their turn after a process died, can be run now"
            }
            Verb::Cancel => "only tasks that are not finished can be cancelled",
            Verb::Delete => "cancel it first, and delete it when it has stopped",
            Verb::MoveToDeadLetters => "only FAILED and LOST tasks become dead letters",
        }
    }

    /// The states to which a bulk verb applies if its filter names none.
    pub(crate) fn default_states(self) -> &'static [State] {
        match self {
            Verb::Retry | Verb::RetryFromStart | Verb::MoveToDeadLetters => &[State::Failed, State::Lost],
            Verb::RunNow => &[State::Queued],
            Verb::Cancel => &[State::Queued, State::Running],
            Verb::Delete => &[State::Succeeded, State::Failed, State::Cancelled, State::Lost],
        }
    }
}

/// Applies a verb to one task.
///
/// # Errors
/// `NotFound`; `WrongState`, naming the state; `Conflict` if another task holds its unique key. Nothing is changed then.
pub(crate) fn apply_one(tx: &Tx<'_>, verb: Verb, id: TaskId, now: Timestamp) -> Sql<()> {
    let before = HotRow::get(tx.conn, id)?;
    let next = next(&before.task_state, verb.event()).map_err(|refusal| refused(id, verb, refusal))?;
    let mut after = before.moved(&next, now);
    match verb {
        Verb::Delete => return remove(tx, &before, KeyEnds::Now, now),
        Verb::MoveToDeadLetters => return move_to_dead_letters(tx, &before, now),
        Verb::Retry | Verb::RetryFromStart => {
            if !before.extras.contains(Extras::KEY) {
                after.extras = before.extras.with(keys::take(tx, id, before.queue_id, None, now)?);
            }
            after.extras = after.extras.without(Extras::STARTED);
            after.expires_at = None;
            after.late = false;
            clear_error(tx, id)?;
            if verb == Verb::RetryFromStart {
                forget_progress(tx, id)?;
                steps::forget_steps(tx, id)?;
                after.extras = after.extras.without(Extras::STEPS);
            }
        }
        Verb::Cancel if next.task_state.state == State::Cancelled => {
            write_error(tx, id, &ErrorReport::new("Cancelled", "cancelled before it started", ""))?;
        }
        Verb::Cancel
            if before.extras.contains(Extras::OUTSIDE) && outside_ends::cancel(tx, &before, now)? =>
        {
            return Ok(());
        }
        Verb::Cancel => tx.effect(|effects| {
            effects.cancelled.push(id);
            effects.jobs_changed |= before.extras.contains(Extras::OUTSIDE);
        }),
        Verb::RunNow => {}
    }
    after.replace(tx, &before, now)?;
    if before.task_state.in_flight && matches!(verb, Verb::Retry | Verb::RetryFromStart) {
        tx.effect(|effects| effects.superseded.push(id));
    }
    Ok(())
}

fn refused(id: TaskId, verb: Verb, refusal: Refusal) -> Error {
    let (why, rule) = match refusal {
        Refusal::State(state) => (format!("is {state}"), verb.rule()),
        Refusal::Held(hold @ Hold::UnknownName) => (format!("is QUEUED and {hold}"), "start one"),
        Refusal::Held(hold @ Hold::Condition) => (
            format!("is QUEUED and {hold}"),
            "it goes on when somebody says that it is met, or when there is enough free disk",
        ),
        Refusal::Held(hold) => (format!("is QUEUED and {hold}"), "that ends by itself"),
        Refusal::InFlight => ("is still at work in its thread".to_owned(), "wait until it returns"),
        Refusal::Superseded => ("has gone on".to_owned(), verb.rule()),
    };
    Error::new(ErrorKind::WrongState, format!("task {id} {why}; {rule}"))
}

/// Applies a verb to those of these tasks that (still) match the filter, except for its text, until `enough` returns true. Returns what was
/// changed and skipped, and how many ids it has handled.
pub(crate) fn apply_all(
    tx: &Tx<'_>,
    verb: Verb,
    filter: &Filter,
    ids: &[TaskId],
    now: Timestamp,
    enough: &dyn Fn() -> bool,
) -> Sql<(Bulk, usize)> {
    let mut bulk = Bulk::default();
    let filter = Filter { text: None, ..filter.clone() };
    let Some(check) = Check::new(tx.conn, &filter, Among::Tasks)? else { return Ok((bulk, ids.len())) };
    let done = tx.each(ids, enough, |id| {
        if !check.is_meant(tx.conn, id.as_i64())? {
            return Ok(());
        }
        match tx.whole(|| apply_one(tx, verb, *id, now)) {
            Ok(()) => bulk.changed += 1,
            Err(Fault::Typed(e)) if matches!(e.kind(), ErrorKind::WrongState | ErrorKind::Conflict) => {
                bulk.skipped += 1
            }
            Err(fault) if fault.is_damage() => bulk.skipped += 1,
            Err(fault) => return Err(fault),
        }
        Ok(())
    })?;
    Ok((bulk, done))
}

/// Pauses or resumes a queue. Creates the queue if the file does not know it. Resuming also opens a queue that is closed for a while.
pub(crate) fn set_paused(tx: &Tx<'_>, queue: &str, paused: bool) -> Sql<()> {
    let queue_id = tx.queue_id(queue)?;
    tx.change_one("UPDATE perdura_queues SET paused = ?2 WHERE queue_id = ?1", (queue_id, paused))?;
    match paused {
        true => take_turn_back(tx, queue_id)?,
        false => gates::reopen(tx, queue_id)?,
    }
    tx.suspect_moved();
    tx.effect(|effects| {
        effects.changed = true;
        effects.ready += u64::from(!paused);
    });
    Ok(())
}
