//! An action on many tasks, counted or done step by step: it reports its progress, and can be stopped between two steps.

use std::time::Duration;

use super::filter_box::Query;
use super::id_walk::Windows;
use super::requests::{Action, ActionCount, ActionKind, ActionTarget};
use super::search::windows_over;
use crate::{Bulk, DeadLetter, Error, ErrorKind, Filter, Hold, Queue, State, TaskId};

/// Named tasks that one step takes.
const CHUNK_IDS: usize = 250;

/// An action in steps: what is left of it, and what it has done.
pub(super) struct BulkAction {
    action: Action,
    /// It only counts.
    dry: bool,
    rest: Rest,
    tally: ActionCount,
}

/// What is left to do.
enum Rest {
    /// It has not begun.
    All,
    Ids(std::vec::IntoIter<TaskId>),
    Windows(Windows, Query),
}

impl BulkAction {
    /// Counts what the action would change.
    pub fn count(action: Action) -> BulkAction {
        BulkAction { action, dry: true, rest: Rest::All, tally: ActionCount::default() }
    }

    /// Performs the action.
    pub fn perform(action: Action) -> BulkAction {
        BulkAction { dry: false, ..BulkAction::count(action) }
    }

    /// Whether it changes the file, and does not only count.
    pub fn writes(&self) -> bool {
        !self.dry
    }

    /// The tally up to now.
    pub fn tally(&self) -> ActionCount {
        self.tally
    }

    /// Does the next step.
    ///
    /// # Errors
    /// If the file cannot be read or written; what was done before stays so.
    pub fn step(&mut self, queue: &Queue, now: impl Fn() -> Duration) -> Result<ActionCount, Error> {
        let began = now();
        if let Rest::All = self.rest
            && self.begin(queue)?
        {
            self.tally.is_done = true;
            return Ok(self.tally);
        }
        let verb = self.action.verb;
        let next = match &mut self.rest {
            Rest::All => None,
            Rest::Ids(ids) => {
                let chunk: Vec<TaskId> = ids.take(CHUNK_IDS).collect();
                let pending = chunk.len() as u64;
                (pending > 0).then(|| (states(Filter::new().ids(chunk), verb.allowed()), Some(pending)))
            }
            Rest::Windows(windows, query) => windows.next(query.filter()).map(|filter| (filter, None)),
        };
        let Some((filter, pending)) = next else {
            self.tally.is_done = true;
            return Ok(self.tally);
        };
        let filter = match &self.action.target {
            ActionTarget::Waiting(_) => Filter::new().ids(waiting(queue, filter)?).state(State::Queued),
            _ => filter,
        };
        let done = if self.dry { count(queue, verb, filter)? } else { perform(queue, verb, filter)? };
        self.tally.changed += done.changed;
        // Tasks that were named and not found have another state by now, or are gone.
        self.tally.skipped += pending.map_or(done.skipped, |pending| pending.saturating_sub(done.changed));
        if let Rest::Windows(windows, _) = &mut self.rest {
            windows.took(now().saturating_sub(began));
        }
        Ok(self.tally)
    }

    /// Prepares the walk; true if nothing is left to do.
    fn begin(&mut self, queue: &Queue) -> Result<bool, Error> {
        let verb = self.action.verb;
        self.rest = match &self.action.target {
            ActionTarget::Queue(name) => {
                match verb {
                    _ if self.dry => {}
                    ActionKind::Pause => queue.pause(name)?,
                    _ => queue.resume(name)?,
                }
                self.tally.changed = 1;
                return Ok(true);
            }
            ActionTarget::Schedule(name) => {
                match verb {
                    _ if self.dry => {}
                    ActionKind::Pause => queue.pause_schedule(name)?,
                    ActionKind::RunNow => drop(queue.run_schedule_now(name)?),
                    _ => queue.resume_schedule(name)?,
                }
                self.tally.changed = 1;
                return Ok(true);
            }
            ActionTarget::Ids(ids) => Rest::Ids(ids.clone().into_iter()),
            ActionTarget::Waiting(query) => {
                let query = query.in_states(&[State::Queued]);
                Rest::Windows(windows_over(queue, false, &query, false)?, query)
            }
            ActionTarget::Query(query) => {
                let query = query.in_states(&meant(verb, query));
                if query.states.is_empty() {
                    return Ok(true);
                }
                if self.dry && query == query.counted() && !verb.is_of_letters() && verb != ActionKind::RunNow
                {
                    self.tally.changed = queue.count(query.filter())?; // the counters know
                    return Ok(true);
                }
                if let (ActionKind::Purge(before), false) = (verb, self.dry) {
                    self.tally.changed = queue.dead_letters().purge(before.to_system_time())? as u64;
                    return Ok(true);
                }
                Rest::Windows(windows_over(queue, verb.is_of_letters(), &query, false)?, query)
            }
        };
        Ok(false)
    }
}

/// The states that an action applies to: those of the query that it can change, or its default states.
pub(super) fn meant(verb: ActionKind, query: &Query) -> Vec<State> {
    if query.states.is_empty() {
        return verb.meant().to_vec();
    }
    query.states.iter().copied().filter(|state| verb.allowed().contains(state)).collect()
}

fn states(filter: Filter, states: &[State]) -> Filter {
    states.iter().fold(filter, |filter, state| filter.state(*state))
}

fn count(queue: &Queue, verb: ActionKind, filter: Filter) -> Result<Bulk, Error> {
    let changed = match verb.task_action() {
        Some(action) => action.count(queue, filter)?,
        None => letters(queue, verb, filter)?.len() as u64,
    };
    Ok(Bulk { changed, skipped: 0 })
}

fn perform(queue: &Queue, verb: ActionKind, filter: Filter) -> Result<Bulk, Error> {
    match (verb.task_action(), verb) {
        (Some(action), _) => (action.all)(queue, filter),
        (None, ActionKind::Replay) => replay_each(queue, letters(queue, verb, filter)?),
        (None, _) => Ok(Bulk::default()), // done at the beginning
    }
}

fn replay_each(queue: &Queue, ids: Vec<TaskId>) -> Result<Bulk, Error> {
    let mut bulk = Bulk::default();
    for id in ids {
        match queue.dead_letters().replay(id) {
            Ok(_) => bulk.changed += 1,
            // Somebody else was faster, or the task's unique key is taken.
            Err(e)
                if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::WrongState | ErrorKind::Conflict) =>
            {
                bulk.skipped += 1;
            }
            Err(e) => return Err(e),
        }
    }
    Ok(bulk)
}

/// Tasks that wait for their time.
fn waiting(queue: &Queue, filter: Filter) -> Result<Vec<TaskId>, Error> {
    let queued = queue.tasks(filter.limit(usize::MAX))?;
    let waits = queued.into_iter().filter(|task| task.hold == Some(Hold::Time));
    Ok(waits.map(|task| task.task_id).collect())
}

/// Letters that the verb can change.
fn letters(queue: &Queue, verb: ActionKind, filter: Filter) -> Result<Vec<TaskId>, Error> {
    let all = queue.dead_letters().list(filter.limit(usize::MAX))?;
    let is_meant = |letter: &DeadLetter| match verb {
        ActionKind::Purge(before) => letter.moved_at < before,
        _ => letter.replayed_as.is_none(),
    };
    Ok(all.into_iter().filter(is_meant).map(|letter| letter.task_id).collect())
}
