//! What the screen asks of the data thread, and what that answers. Plain values: neither half knows the other.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::time::Duration;

use super::query::Query;
use crate::console::inspect::action::{self, TaskAction};
use crate::console::inspect::detail::TaskDetail;
use crate::{Counts, DeadLetter, Failures, FileReport, Rollup, State, TaskId, TaskRecord, Timestamp};

/// Which question an answer belongs to. A later question of the same kind takes the place of an earlier one.
pub(super) type Serial = u64;

/// A question.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Ask {
    /// How is everything?
    Pulse { with_rates: bool },
    /// What does this look like?
    Look(Serial, Look),
    /// How many would this change?
    Count(Serial, Deed),
    /// Do it. The only question that changes the file.
    Do(Serial, Deed),
    /// Leave the count or the deed where it is.
    Stop,
}

/// What a key asks of the rest of the program.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Command {
    Ask(Box<Ask>),
    Quit,
}

pub(super) fn ask(ask: Ask) -> Option<Command> {
    Some(Command::Ask(Box::new(ask)))
}

/// Something to look at.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Look {
    Page(Page),
    /// A task, or the letter that it has become.
    One(TaskId),
}

/// A page of a list.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Page {
    pub of: Of,
    pub query: Query,
    pub edge: Edge,
    pub limit: usize,
}

/// What there are lists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
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

/// What to do to tasks, letters or a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Retry,
    RunNow,
    Cancel,
    Delete,
    Bury,
    Replay,
    /// Letters that were moved before this moment.
    Purge(Timestamp),
    Pause,
    Resume,
}

impl Verb {
    /// The queue's own verb over many tasks, where there is one; the others are done one by one.
    pub fn task_action(self) -> Option<&'static TaskAction> {
        match self {
            Verb::Retry => Some(&action::RETRY),
            Verb::Cancel => Some(&action::CANCEL),
            Verb::Delete => Some(&action::DELETE),
            Verb::Bury => Some(&action::MOVE_TO_DEAD_LETTERS),
            Verb::RunNow | Verb::Replay | Verb::Purge(_) | Verb::Pause | Verb::Resume => None,
        }
    }

    /// The states of tasks that it can change.
    pub fn allowed(self) -> &'static [State] {
        match (self.task_action(), self) {
            (Some(action), _) => action.allowed,
            (None, Verb::RunNow) => &[State::Queued],
            (None, Verb::Replay | Verb::Purge(_)) => action::MOVE_TO_DEAD_LETTERS.allowed,
            (None, _) => &[],
        }
    }

    /// The states that it means where a filter names none: those of the queue's own verbs.
    pub fn meant(self) -> &'static [State] {
        self.task_action().map_or_else(|| self.allowed(), |action| action.default)
    }

    /// Whether it is about tasks that were moved out of the way.
    pub fn is_of_letters(self) -> bool {
        matches!(self, Verb::Replay | Verb::Purge(_))
    }
}

/// What a deed is done to.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Target {
    /// These.
    Ids(Vec<TaskId>),
    /// All that a filter means.
    Query(Query),
    /// Of these, the tasks that wait for their time.
    Waiting(Query),
    /// A queue.
    Queue(String),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Deed {
    pub verb: Verb,
    pub target: Target,
    /// What a person calls the target, where ids say little.
    pub about: Option<String>,
}

/// An answer.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Answer {
    Pulse(Box<Pulse>),
    Look(Serial, Found),
    Count(Serial, Tally),
    Did(Serial, Tally),
    /// It could not be answered.
    Trouble(Subject, String),
}

/// What a trouble is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Subject {
    Pulse,
    Look(Serial),
    Deed(Serial),
}

/// How everything is.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Pulse {
    pub counts: Counts,
    /// Of the last hour; none where nobody asked for them.
    pub rollups: Option<Vec<Rollup>>,
    pub ready_since: BTreeMap<String, Timestamp>,
    pub next_due: Option<Timestamp>,
    /// As of a few seconds ago.
    pub file: Option<FileReport>,
    pub took: Duration,
}

/// What there is to see, so far.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Found {
    pub what: What,
    /// The search goes on; it has come to this id.
    pub searching: Option<TaskId>,
    /// What it has cost.
    pub took: Duration,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum What {
    /// A page, newest first.
    Tasks(Vec<Listed<TaskRecord>>),
    /// A page by id, newest first; or all there are, the soonest first.
    Waiting {
        tasks: Vec<Listed<TaskRecord>>,
        soonest_first: bool,
    },
    Letters(Vec<Listed<DeadLetter>>),
    Failures(Failures),
    One(Option<Box<TaskDetail>>),
}

/// A row, with the command line of a job for the shell.
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

/// How far a count or a deed is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Counted, or changed.
    pub changed: u64,
    pub skipped: u64,
    pub is_done: bool,
}
