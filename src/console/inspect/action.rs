//! The table of actions on many tasks: the states that each can change, its default states, the queue's method.

use crate::{Bulk, Error, Filter, Hold, Queue, State, TaskRecord};

/// A verb of the queue over many tasks.
pub(crate) struct TaskAction {
    /// The states of tasks that it can change.
    pub allowed: &'static [State],
    /// Those that are meant where a filter names none.
    pub default: &'static [State],
    /// The holds of queued tasks that it can change; none: any.
    pub holds: &'static [Hold],
    pub all: fn(&Queue, Filter) -> Result<Bulk, Error>,
}

impl TaskAction {
    /// Whether it can change this task.
    pub(crate) fn allows(&self, task: &TaskRecord) -> bool {
        let is_held = || task.hold.is_some_and(|hold| self.holds.contains(&hold));
        self.allowed.contains(&task.state) && (self.holds.is_empty() || is_held())
    }

    /// Counts the tasks of these that it can change; the filter names states that it allows.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub(crate) fn count(&self, queue: &Queue, filter: Filter) -> Result<u64, Error> {
        match self.holds {
            [] => queue.count(filter),
            holds => holds.iter().map(|hold| queue.count(filter.clone().hold(*hold))).sum(),
        }
    }
}

pub(crate) const RETRY: TaskAction = TaskAction {
    allowed: &[State::Failed, State::Lost, State::Cancelled],
    default: &[State::Failed, State::Lost],
    holds: &[],
    all: Queue::retry_all,
};

pub(crate) const RETRY_FROM_START: TaskAction = TaskAction { all: Queue::retry_all_from_start, ..RETRY };

pub(crate) const CANCEL: TaskAction = TaskAction {
    allowed: &[State::Queued, State::Running],
    default: &[State::Queued, State::Running],
    holds: &[],
    all: Queue::cancel_all,
};

pub(crate) const DELETE: TaskAction = TaskAction {
    allowed: &[State::Queued, State::Succeeded, State::Failed, State::Cancelled, State::Lost],
    default: &[State::Succeeded, State::Failed, State::Cancelled, State::Lost],
    holds: &[],
    all: Queue::delete_all,
};

/// For tasks that wait for their time, or for their turn after a process died.
pub(crate) const RUN_NOW: TaskAction = TaskAction {
    allowed: &[State::Queued],
    default: &[State::Queued],
    holds: &[Hold::Time, Hold::Suspect],
    all: Queue::run_now_all,
};

pub(crate) const MOVE_TO_DEAD_LETTERS: TaskAction = TaskAction {
    allowed: &[State::Failed, State::Lost],
    default: &[State::Failed, State::Lost],
    holds: &[],
    all: Queue::move_to_dead_letters,
};
