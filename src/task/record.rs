//! Records: tasks, attempts, counters and dead letters as calls return them.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::id::TaskId;
use super::needs::NeedsRecord;
use super::outside::OutsideRecord;
use super::rate::Rate;
use super::state::{Hold, State};
use super::timestamp::Timestamp;

/// Everything about a task except its args, checkpoint and result.
///
/// Serialises under these names, states in capitals, times as RFC 3339, what is absent as null.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TaskRecord {
    /// Its number.
    pub task_id: TaskId,
    /// The stable name that picks its handler.
    pub task_name: String,
    /// Its queue.
    pub queue: String,
    /// Its state.
    pub state: State,
    /// Why it may not be claimed yet; only for `QUEUED` tasks.
    pub hold: Option<Hold>,
    /// All that it waits for, in the order in which it holds the task; the first is `hold`. Empty unless it is `QUEUED` and waits.
    pub reasons: Vec<Hold>,
    /// Higher runs first.
    pub priority: i16,
    /// Attempts started since it was enqueued or last retried by hand, less refunds.
    pub attempt_number: u32,
    /// How many attempts it has, the first included.
    pub max_attempts: u32,
    /// How often it was claimed in its whole life.
    pub generation: u64,
    /// When it was enqueued.
    pub created_at: Timestamp,
    /// When it falls due, if it waits for its time.
    pub run_at: Option<Timestamp>,
    /// When it is cancelled if it is still `QUEUED`.
    pub expires_at: Option<Timestamp>,
    /// When its newest attempt started.
    pub started_at: Option<Timestamp>,
    /// When it reached its end state.
    pub finished_at: Option<Timestamp>,
    /// The type of its newest error; cleared by success and manual retry.
    pub error_type: Option<String>,
    /// The message of its newest error.
    pub error_message: Option<String>,
    /// The sources of its newest error, or a panic's location and backtrace.
    pub error_traceback: Option<String>,
    /// The progress that its handler reported last.
    pub progress: Option<Progress>,
    /// Whether its cancellation was requested while it ran.
    pub cancel_requested: bool,
    /// Whether it succeeded after its deadline.
    pub late: bool,
    /// How often its handler snoozed.
    pub snoozes: u32,
    /// The version of its args.
    pub version: u32,
    /// Its tag ([`Options::tag`](crate::Options::tag)).
    pub tag: Option<String>,
    /// The limit of one attempt, if the task has its own. Serialised as `timeout_ms`.
    #[serde(rename = "timeout_ms", with = "millis_or_none", default)]
    pub timeout: Option<Duration>,
    /// The base of its backoff, if the task has its own. Serialised as `backoff_ms`.
    #[serde(rename = "backoff_ms", with = "millis_or_none", default)]
    pub backoff: Option<Duration>,
    /// The dead letter that it was replayed from.
    pub replay_of: Option<TaskId>,
    /// How it has its unique key, if it was enqueued with one.
    #[serde(default)]
    pub unique: Option<KeyRecord>,
    /// The limit of its key, if it was enqueued with one.
    #[serde(default)]
    pub limit: Option<LimitRecord>,
    /// The conditions and the free disk that it needs, if it was enqueued with needs or waits for a
    /// condition.
    #[serde(default)]
    pub needs: Option<Box<NeedsRecord>>,
    /// Its work outside, if it is `RUNNING` and has no thread.
    #[serde(default)]
    pub outside: Option<Box<OutsideRecord>>,
}

/// The [limit of its key](crate::Options::limit) that a task was enqueued with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LimitRecord {
    /// How many tasks of its queue and key may run at once, as this task asked for it: 1-256.
    pub permits: u32,
    /// Whether it is [serial](crate::Options::serial).
    pub serial: bool,
    /// Whether it holds a permit of its key.
    pub held: bool,
}

/// How a task has its [unique key](crate::Options::unique).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct KeyRecord {
    /// Whether this task took the key, and no other task has taken it since.
    pub held: bool,
    /// Whether the task needs it only [until it starts](crate::Unique::until_started).
    pub until_started: bool,
    /// Until when it is taken at least ([`Unique::for_`](crate::Unique::for_)).
    pub until: Option<Timestamp>,
}

/// A duration as a whole number of milliseconds.
mod millis_or_none {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(
        duration: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        duration.map(|d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX)).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<u64>::deserialize(deserializer)?.map(Duration::from_millis))
    }
}

/// The progress that a handler reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Progress {
    /// Units done.
    pub done: u64,
    /// Units in all.
    pub total: u64,
}

impl Progress {
    /// `done` of `total` units.
    pub const fn new(done: u64, total: u64) -> Progress {
        Progress { done, total }
    }
}

/// An attempt that did not succeed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Attempt {
    /// The claim that it belongs to.
    pub generation: u64,
    /// Which attempt it was.
    pub attempt_number: u32,
    /// When it started.
    pub started_at: Timestamp,
    /// When it was settled.
    pub finished_at: Timestamp,
    /// How it ended.
    pub outcome: AttemptOutcome,
    /// The type of its error.
    pub error_type: String,
    /// The message of its error.
    pub error_message: String,
    /// The sources of its error, or a panic's location and backtrace.
    pub error_traceback: String,
}

/// How an attempt that did not succeed ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AttemptOutcome {
    /// The handler returned an error or panicked.
    Failed,
    /// The handler stopped at its deadline.
    TimedOut,
    /// Its process died, it fell silent and did not succeed after all, or its job at an engine was lost.
    Lost,
    /// It was cancelled while it ran.
    Cancelled,
}

impl AttemptOutcome {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            AttemptOutcome::Failed => "failed",
            AttemptOutcome::TimedOut => "timed_out",
            AttemptOutcome::Lost => "lost",
            AttemptOutcome::Cancelled => "cancelled",
        }
    }

    pub(crate) fn from_text(text: &str) -> Option<AttemptOutcome> {
        [Self::Failed, Self::TimedOut, Self::Lost, Self::Cancelled].into_iter().find(|o| o.as_str() == text)
    }
}

/// How many tasks there are, by queue.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Counts {
    /// By the queue's name.
    pub queues: BTreeMap<String, QueueCounts>,
}

impl Counts {
    /// The counts of one queue; all zero if it has no tasks.
    ///
    /// ```
    /// let queue = perdura::Queue::builder().open_temporary()?;
    /// assert_eq!(queue.counts()?.queue("mail").ready, 0);
    /// # Ok::<(), perdura::Error>(())
    /// ```
    #[must_use]
    pub fn queue(&self, name: &str) -> QueueCounts {
        self.queues.get(name).copied().unwrap_or_default()
    }

    /// The sums over all queues.
    pub fn total(&self) -> QueueCounts {
        self.queues.values().fold(QueueCounts::default(), |sum, q| QueueCounts {
            paused: false,
            not_served: false,
            limit: None,
            rate: None,
            closed_until: None,
            ready: sum.ready.saturating_add(q.ready),
            waiting: sum.waiting.saturating_add(q.waiting),
            unknown_name: sum.unknown_name.saturating_add(q.unknown_name),
            held: sum.held.saturating_add(q.held),
            limited: sum.limited.saturating_add(q.limited),
            unmet: sum.unmet.saturating_add(q.unmet),
            running: sum.running.saturating_add(q.running),
            succeeded: sum.succeeded.saturating_add(q.succeeded),
            failed: sum.failed.saturating_add(q.failed),
            cancelled: sum.cancelled.saturating_add(q.cancelled),
            lost: sum.lost.saturating_add(q.lost),
        })
    }
}

/// How many tasks a queue has. `QUEUED` tasks are counted by their hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct QueueCounts {
    /// Whether nothing is claimed from it.
    pub paused: bool,
    /// Whether the owner does not serve it ([`Builder::queues`](crate::Builder::queues)).
    #[serde(default)]
    pub not_served: bool,
    /// How many of its tasks may be in flight at once ([`Queue::set_limit`](crate::Queue::set_limit)); none: as many as there are workers.
    #[serde(default)]
    pub limit: Option<u32>,
    /// How often its tasks may start ([`Queue::set_rate`](crate::Queue::set_rate)).
    #[serde(default)]
    pub rate: Option<Rate>,
    /// Until when it is closed, if it is: by a handler ([`Failure::throttle`](crate::Failure::throttle)), or because its engine cannot be reached.
    #[serde(default)]
    pub closed_until: Option<Timestamp>,
    /// `QUEUED`, may be claimed.
    pub ready: u64,
    /// `QUEUED`, waiting for their time.
    pub waiting: u64,
    /// `QUEUED`, no handler knows their name (or version).
    pub unknown_name: u64,
    /// `QUEUED`, held for another reason: a previous attempt or run that has not ended, or their turn among suspects.
    pub held: u64,
    /// `QUEUED`, waiting for a permit of their key, which has a [limit](crate::Options::limit).
    #[serde(default)]
    pub limited: u64,
    /// `QUEUED`, waiting for a [condition](crate::Options::needs) or free disk.
    #[serde(default)]
    pub unmet: u64,
    /// `RUNNING`.
    pub running: u64,
    /// `SUCCEEDED`.
    pub succeeded: u64,
    /// `FAILED`.
    pub failed: u64,
    /// `CANCELLED`.
    pub cancelled: u64,
    /// `LOST`.
    pub lost: u64,
}

impl QueueCounts {
    /// All that are `QUEUED`, whatever they wait for.
    pub fn queued(&self) -> u64 {
        [self.waiting, self.unknown_name, self.held, self.limited, self.unmet]
            .into_iter()
            .fold(self.ready, u64::saturating_add)
    }

    /// All tasks.
    pub fn all(&self) -> u64 {
        let ended = [self.succeeded, self.failed, self.cancelled, self.lost];
        ended.into_iter().fold(self.queued().saturating_add(self.running), u64::saturating_add)
    }

    /// All in a state.
    pub fn in_state(&self, state: State) -> u64 {
        match state {
            State::Queued => self.queued(),
            State::Running => self.running,
            State::Succeeded => self.succeeded,
            State::Failed => self.failed,
            State::Cancelled => self.cancelled,
            State::Lost => self.lost,
        }
    }

    /// The counter of a state and hold.
    pub(crate) fn counter(&mut self, state: State, hold: Hold) -> &mut u64 {
        match state {
            State::Queued => match hold {
                Hold::Ready => &mut self.ready,
                Hold::Time => &mut self.waiting,
                Hold::UnknownName => &mut self.unknown_name,
                Hold::Limit => &mut self.limited,
                Hold::Condition => &mut self.unmet,
                Hold::PreviousAttempt | Hold::Parents | Hold::Suspect => &mut self.held,
            },
            State::Running => &mut self.running,
            State::Succeeded => &mut self.succeeded,
            State::Failed => &mut self.failed,
            State::Cancelled => &mut self.cancelled,
            State::Lost => &mut self.lost,
        }
    }
}

/// What a bulk change did. It works in chunks, each atomic.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[must_use]
#[non_exhaustive]
pub struct Bulk {
    /// Tasks that were changed.
    pub changed: u64,
    /// Tasks that matched the filter and could not be changed (a wrong state, a taken unique key).
    pub skipped: u64,
}

/// A dead letter: a task that was moved out of the task table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DeadLetter {
    /// The id that it had as a task.
    pub task_id: TaskId,
    /// Its task name.
    pub task_name: String,
    /// Its queue.
    pub queue: String,
    /// `FAILED` or `LOST`.
    pub state: State,
    /// Its priority.
    pub priority: i16,
    /// Attempts that it had made.
    pub attempt_number: u32,
    /// Attempts that it was allowed.
    pub max_attempts: u32,
    /// When it was enqueued.
    pub created_at: Timestamp,
    /// When it ended.
    pub finished_at: Timestamp,
    /// When it was moved.
    pub moved_at: Timestamp,
    /// When it was last replayed.
    pub replayed_at: Option<Timestamp>,
    /// The newest task that a replay made of it.
    pub replayed_as: Option<TaskId>,
    /// The type of its last error.
    pub error_type: Option<String>,
    /// The message of its last error.
    pub error_message: Option<String>,
    /// The sources of its last error, or a panic's location and backtrace.
    pub error_traceback: Option<String>,
    /// Its tag ([`Options::tag`](crate::Options::tag)).
    pub tag: Option<String>,
}
