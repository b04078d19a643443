//! Requests of the screen to the data thread, and its answers. Plain values: neither half knows the other.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::time::Duration;

use super::filter_box::Query;
use super::running_now::Overview;
use super::sort::Sort;
use crate::console::inspect::action::{self, TaskAction};
use crate::console::inspect::detail::TaskDetail;
use crate::console::inspect::schedule::NextSchedules;
use crate::inspect::{FailureGroup, FileReport};
use crate::{Condition, Counts, DeadLetter, State, TaskId, TaskRecord, Timestamp};

/// The number of a request, repeated in its answer. A later request of the same kind replaces an earlier one.
pub(super) type Serial = u64;

/// A request.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Request {
    /// Read the summary, with what only the overview shows or without.
    Summary { with_overview: bool },
    /// Read a view.
    View(Serial, View),
    /// Count what this would change.
    Count(Serial, Action),
    /// Do it. The only request that changes the file.
    Do(Serial, Action),
    /// Stop the count or the action.
    Stop,
}

/// What a key makes the rest of the program do.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum KeyOutcome {
    Request(Box<Request>),
    Quit,
}

pub(super) fn request(request: Request) -> Option<KeyOutcome> {
    Some(KeyOutcome::Request(Box::new(request)))
}

/// A view: what the screen shows beside the summary.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum View {
    Page(PageRequest),
    /// A task, or the letter that it has become.
    One(TaskId),
    Schedules,
}

/// A page of a list.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct PageRequest {
    pub of: ListKind,
    pub query: Query,
    pub edge: Edge,
    /// The order of tasks; other lists have their own.
    pub sort: Sort,
    pub limit: usize,
}

/// The kinds of lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ListKind {
    Tasks,
    /// Tasks that wait for their time.
    Waiting,
    /// Groups of failures: always all of them.
    Failures,
    Letters,
}

/// Where a page begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Edge {
    /// With the newest.
    #[default]
    Newest,
    /// With the one below this id.
    Below(TaskId),
    /// It ends with the one above this id.
    Above(TaskId),
    /// It ends with the oldest.
    Oldest,
}

/// The kinds of actions on tasks, letters, a queue or a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ActionKind {
    Retry,
    RunNow,
    Cancel,
    Delete,
    MoveToDead,
    Replay,
    /// Deletes letters that were moved before this moment.
    Purge(Timestamp),
    Pause,
    Resume,
}

impl ActionKind {
    /// The queue's own verb over many tasks, where there is one; the others are done one by one.
    pub fn task_action(self) -> Option<&'static TaskAction> {
        match self {
            ActionKind::Retry => Some(&action::RETRY),
            ActionKind::Cancel => Some(&action::CANCEL),
            ActionKind::Delete => Some(&action::DELETE),
            ActionKind::MoveToDead => Some(&action::MOVE_TO_DEAD_LETTERS),
            ActionKind::RunNow => Some(&action::RUN_NOW),
            ActionKind::Replay | ActionKind::Purge(_) | ActionKind::Pause | ActionKind::Resume => None,
        }
    }

    /// The states of tasks that it can change.
    pub fn allowed(self) -> &'static [State] {
        match (self.task_action(), self) {
            (Some(action), _) => action.allowed,
            (None, ActionKind::Replay | ActionKind::Purge(_)) => action::MOVE_TO_DEAD_LETTERS.allowed,
            (None, _) => &[],
        }
    }

    /// Its default states, where a filter names none: those of the queue's own verbs.
    pub fn meant(self) -> &'static [State] {
        self.task_action().map_or_else(|| self.allowed(), |action| action.default)
    }

    /// Whether it is about dead letters.
    pub fn is_of_letters(self) -> bool {
        matches!(self, ActionKind::Replay | ActionKind::Purge(_))
    }
}

/// The target of an action.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum ActionTarget {
    /// These.
    Ids(Vec<TaskId>),
    /// All that match a filter.
    Query(Query),
    /// Of these, the tasks that wait for their time.
    Waiting(Query),
    /// A queue.
    Queue(String),
    /// A schedule.
    Schedule(String),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Action {
    pub verb: ActionKind,
    pub target: ActionTarget,
    /// A description of the target for people.
    pub about: Option<String>,
}

/// A response.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Response {
    Summary(Box<Summary>),
    View(Serial, ViewResult),
    Count(Serial, ActionCount),
    Did(Serial, ActionCount),
    /// It could not be answered.
    Error(RequestKind, String),
}

/// The request that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RequestKind {
    Summary,
    View(Serial),
    Action(Serial),
}

/// The state of the whole file.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Summary {
    pub counts: Counts,
    /// None if the request was without it.
    pub overview: Option<Overview>,
    pub ready_since: BTreeMap<String, Timestamp>,
    pub next_due: Option<Timestamp>,
    /// Conditions that tasks wait for; none are read where no task waits for one.
    pub conditions: Vec<Condition>,
    /// As of a few seconds ago.
    pub file: Option<FileReport>,
    pub took: Duration,
}

/// The rows of a view, so far.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ViewResult {
    pub what: ViewContent,
    /// The id that the search has reached; none: it is over.
    pub searching: Option<TaskId>,
    /// The time that it took.
    pub took: Duration,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum ViewContent {
    /// A page, newest first; or those that are to be sorted.
    Tasks(Vec<Listed<TaskRecord>>),
    /// A page by id, newest first; or all there are, the soonest first.
    Waiting {
        tasks: Vec<Listed<TaskRecord>>,
        soonest_first: bool,
    },
    Letters(Vec<Listed<DeadLetter>>),
    Failures {
        groups: Vec<Listed<FailureGroup>>,
        looked_at: u64,
        more: bool,
    },
    One(Option<Box<TaskDetail>>),
    Schedules(NextSchedules),
}

/// A row, with the command line of a job for the shell, or the programs of some jobs.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Listed<R> {
    pub row: R,
    pub command: Option<String>,
}

impl<R> Deref for Listed<R> {
    type Target = R;

    fn deref(&self) -> &R {
        &self.row
    }
}

/// How far a count or an action is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct ActionCount {
    /// Counted, or changed.
    pub changed: u64,
    pub skipped: u64,
    pub is_done: bool,
}
