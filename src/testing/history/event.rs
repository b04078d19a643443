//! Histories as plain data: events, observations, invariants and violations.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::task::{Hold, QueueCounts, Rate, State, TaskId, Timestamp};

/// What happened to one file since it was empty, in order. Concurrent events, such as starts on two
/// threads, may be in either order.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct History {
    /// The events.
    pub events: Vec<Event>,
}

impl From<Vec<Event>> for History {
    fn from(events: Vec<Event>) -> History {
        History { events }
    }
}

/// An event. A process is a number that no other opening of the file has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event {
    /// A process opened the file.
    Opened {
        /// Which.
        process: u64,
        /// How many handlers it runs at once, at most.
        workers: usize,
    },
    /// A process died, or could not write any more. Its enqueues without an answer may have been
    /// done.
    Crashed {
        /// Which.
        process: u64,
    },
    /// An enqueue begins.
    Enqueueing {
        /// Who enqueues.
        process: u64,
        /// A number that no other enqueue of the process has.
        call: u64,
        /// The tasks, of which all or none are made.
        asked: Vec<Asked>,
    },
    /// An enqueue was acknowledged.
    Enqueued {
        /// Who enqueued.
        process: u64,
        /// Its number.
        call: u64,
        /// The answers, in the order of the tasks.
        made: Vec<Made>,
    },
    /// An enqueue failed, and nothing was made.
    NotDone {
        /// Who enqueued.
        process: u64,
        /// Its number.
        call: u64,
    },
    /// An enqueue failed, and nobody knows whether the tasks were made.
    Unknown {
        /// Who enqueued.
        process: u64,
        /// Its number.
        call: u64,
    },
    /// An attempt committed an effect with its end (`Context::commit`, feature `rusqlite`).
    Committed {
        /// Its task.
        id: TaskId,
    },
    /// All effects of tasks in the program's own tables were read.
    Effects {
        /// The task of each effect, in any order.
        of: Vec<TaskId>,
    },
    /// A handler begins.
    Started {
        /// Who runs it.
        process: u64,
        /// The task.
        id: TaskId,
        /// Its claim.
        generation: u64,
        /// Which attempt it is.
        attempt_number: u32,
        /// How many it has.
        max_attempts: u32,
        /// When, by the wall clock.
        at: Timestamp,
        /// When it was claimed, if a rate was set.
        #[serde(default)]
        claimed_at: Option<Timestamp>,
        /// The tick of the schedule that made the task.
        #[serde(default)]
        tick: Option<Timestamp>,
    },
    /// A handler returned.
    Ended {
        /// The task.
        id: TaskId,
        /// Its claim.
        generation: u64,
        /// How.
        how: HowEnded,
    },
    /// Somebody retried a task by hand.
    Retried {
        /// Which.
        id: TaskId,
    },
    /// Somebody called [`run_now`](crate::Queue::run_now) for a waiting task.
    RunNow {
        /// Which.
        id: TaskId,
    },
    /// Somebody deleted a task.
    Deleted {
        /// Which.
        id: TaskId,
    },
    /// A dead letter was replayed.
    Replayed {
        /// The letter.
        letter: TaskId,
        /// The task.
        id: TaskId,
    },
    /// A bound of a queue is about to be set: it may be in force from here on.
    Bounding {
        /// The queue.
        queue: String,
        /// The bound.
        bound: Bound,
    },
    /// A bound of a queue was set: the earlier one is no longer in force.
    Bounded {
        /// The queue.
        queue: String,
        /// The bound.
        bound: Bound,
    },
    /// A schedule is about to be set. Tasks like `asked` that nobody enqueued are its runs.
    Scheduled {
        /// Its name.
        schedule: String,
        /// What it makes.
        asked: Asked,
    },
    /// Somebody made a run of a schedule by hand.
    RunByHand {
        /// The run.
        id: TaskId,
    },
    /// Tasks or dead letters were deleted by age or in bulk; which ones is unknown.
    Purged {
        /// How many.
        count: u64,
    },
    /// The wall clock was set back. Relative waits begin anew then, so due times seen before do not
    /// count any more.
    ClockSet,
    /// The whole file was read.
    Observed(Observation),
}

/// A bound of the starts of a queue; `None`: no bound of this kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Bound {
    /// Tasks at once.
    Limit(Option<u32>),
    /// Starts in a period.
    Rate(Option<Rate>),
}

/// How a handler returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HowEnded {
    /// With Ok.
    Succeeded,
    /// With a failure, or a panic. The attempt counts.
    Failed,
    /// It snoozed or was interrupted. The attempt does not count.
    Refunded,
    /// It handed its work over, which goes on outside.
    WentOutside,
}

/// A task that an enqueue asks for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Asked {
    /// Its task name.
    pub task_name: String,
    /// Its queue.
    pub queue: String,
    /// Its priority.
    pub priority: i16,
    /// A digest of its args, by which it is recognised. Different tasks need different args.
    pub args: u64,
    /// A digest of its unique key.
    pub key: Option<u64>,
    /// The key is taken only until the task starts.
    #[serde(default)]
    pub until_started: bool,
    /// The key may be taken for longer than the task needs it.
    #[serde(default)]
    pub outlives: bool,
    /// What it replaces of a waiting task with its key.
    #[serde(default)]
    pub replaces: Replaces,
    /// The limit of its key.
    #[serde(default)]
    pub limit: Option<AskedLimit>,
    /// When it may start.
    pub not_before: Option<Timestamp>,
    /// It needs a condition, or free disk.
    #[serde(default)]
    pub needs: bool,
}

/// The limit of a key, as a task asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AskedLimit {
    /// A digest of the key.
    pub key: u64,
    /// Tasks of the queue and key that may run at once.
    pub permits: u32,
    /// It keeps its permit from its first start to its end.
    pub serial: bool,
}

/// What an enqueue replaces of a waiting task with its unique key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Replaces {
    /// Nothing.
    #[default]
    No,
    /// Its args, and perhaps its time.
    Args,
    /// All of it: its attempts begin anew.
    Whole,
}

/// The answer to the enqueue of one task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Made {
    /// The task.
    pub id: TaskId,
    /// Whether it is new; else it existed and has the unique key.
    pub is_new: bool,
    /// Whether it was replaced.
    #[serde(default)]
    pub is_replaced: bool,
}

/// The tasks, letters and counters of a file at some moment.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Observation {
    /// The tasks.
    pub tasks: Vec<Seen>,
    /// The dead letters.
    pub letters: Vec<TaskId>,
    /// The counters of all queues together; none if they changed during the reading.
    pub counts: Option<QueueCounts>,
}

/// A task as it was read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Seen {
    /// The task.
    pub id: TaskId,
    /// Its task name.
    pub task_name: String,
    /// Its queue.
    pub queue: String,
    /// Its state.
    pub state: State,
    /// Why it was not ready, if it was queued.
    pub hold: Option<Hold>,
    /// Attempts that count.
    pub attempt_number: u32,
    /// Attempts that it has.
    pub max_attempts: u32,
    /// Its claims.
    pub generation: u64,
    /// When it is due.
    pub run_at: Option<Timestamp>,
    /// When its newest attempt began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// The digest of its args.
    pub args: u64,
}

/// What must hold of every history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Invariant {
    /// I1: an acknowledged task exists, with its args, until it is deleted.
    Durable,
    /// I2: no task exists that nobody enqueued; batches are whole.
    NoGhosts,
    /// I3: at most one live task holds a unique key in a queue.
    UniqueKeys,
    /// I4: a task has one state, and hold and times that fit it.
    OneState,
    /// I5: attempts are counted, within their bounds; the generation never falls.
    Counted,
    /// I6: an ended task stays ended, unless somebody retries it.
    EndsStay,
    /// I7: at most as many handlers run as there are workers, all in one process.
    OneOwner,
    /// I8: a claim starts and ends at most once, and attempts of one task never overlap.
    NeverTwiceAtOnce,
    /// I9: the claim is durable before its handler starts.
    ClaimedFirst,
    /// I10: in one queue and priority, the older task starts first.
    Order,
    /// I11: nothing starts before its time.
    NotBefore,
    /// I12: the counters equal a count of the tasks.
    Counters,
    /// I13: a task that was made exists or was deleted, and a deleted one does not exist.
    Conservation,
    /// I14: at most as many tasks of a queue or key run at once as its limit allows; no other task
    /// of the key starts between the attempts of a serial task.
    Limits,
    /// I15: no more tasks of a queue start in any window of time than its rate allows.
    Rates,
    /// I16: a tick of a schedule makes one task, which does not start before it.
    Ticks,
    /// I17: an effect that a task commits with its end exists once, and the task has succeeded.
    CommittedOnce,
}

impl Invariant {
    /// Its number: 1 for I1.
    pub fn number(self) -> u8 {
        self as u8 + 1
    }
}

/// A violation: the broken invariant, the task and the events that show it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Violation {
    /// The broken invariant.
    pub invariant: Invariant,
    /// The task that breaks it; none if it concerns the whole file.
    pub task: Option<TaskId>,
    /// The events that show it, by their index in the history.
    pub events: Vec<usize>,
    /// What should have been, and what was.
    pub problem: String,
    /// The texts of those events.
    pub(super) shown: Vec<String>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "I{} ({:?}) is broken: ", self.invariant.number(), self.invariant)?;
        self.task.iter().try_for_each(|id| write!(f, "task {id} "))?;
        f.write_str(&self.problem)?;
        self.events.iter().zip(&self.shown).try_for_each(|(at, text)| write!(f, "\n  event {at}: {text}"))
    }
}

impl std::error::Error for Violation {}

impl FromIterator<Event> for History {
    fn from_iter<I: IntoIterator<Item = Event>>(events: I) -> History {
        History { events: events.into_iter().collect() }
    }
}
