//! The table of actions on many tasks: the states that each can change, its default states, the queue's method.

use crate::{Bulk, Error, Filter, Queue, State};

/// A verb of the queue over many tasks.
pub(crate) struct TaskAction {
    /// The states of tasks that it can change.
    pub allowed: &'static [State],
    /// Those that are meant where a filter names none.
    pub default: &'static [State],
    pub all: fn(&Queue, Filter) -> Result<Bulk, Error>,
}

pub(crate) const RETRY: TaskAction = TaskAction {
    allowed: &[State::Failed, State::Lost, State::Cancelled],
    default: &[State::Failed, State::Lost],
    all: Queue::retry_all,
};

pub(crate) const RETRY_FROM_START: TaskAction = TaskAction { all: Queue::retry_all_from_start, ..RETRY };

pub(crate) const CANCEL: TaskAction = TaskAction {
    allowed: &[State::Queued, State::Running],
    default: &[State::Queued, State::Running],
    all: Queue::cancel_all,
};

pub(crate) const DELETE: TaskAction = TaskAction {
    allowed: &[State::Queued, State::Succeeded, State::Failed, State::Cancelled, State::Lost],
    default: &[State::Succeeded, State::Failed, State::Cancelled, State::Lost],
    all: Queue::delete_all,
};

pub(crate) const MOVE_TO_DEAD_LETTERS: TaskAction = TaskAction {
    allowed: &[State::Failed, State::Lost],
    default: &[State::Failed, State::Lost],
    all: Queue::move_to_dead_letters,
};
