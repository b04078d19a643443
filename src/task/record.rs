//! What can be read of a task, and what passes between the halves.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::id::TaskId;
use super::options::Resolved;
use super::output::OutputStream;
use super::state::{Hold, State};
use super::timestamp::Timestamp;

/// Everything about a task but its args, checkpoint and result.
///
/// Serialises under these names, states in capitals, times as RFC 3339, what is absent as null.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TaskRecord {
    /// Its number.
    pub task_id: TaskId,
    /// The stable name that picks its handler.
    pub task_name: String,
    /// The lane that it runs in.
    pub queue: String,
    /// Where it stands.
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
    /// When it is cancelled if it has not started.
    pub expires_at: Option<Timestamp>,
    /// When its newest attempt started.
    pub started_at: Option<Timestamp>,
    /// When it reached its end state.
    pub finished_at: Option<Timestamp>,
    /// The type of its newest error; cleared by success and manual retry.
    pub error_type: Option<String>,
    /// What its newest error said.
    pub error_message: Option<String>,
    /// The sources of its newest error, or a panic's location and backtrace.
    pub error_traceback: Option<String>,
    /// How far it said it was.
    pub progress: Option<Progress>,
    /// Whether its cancellation was requested while it ran.
    pub cancel_requested: bool,
    /// Whether it succeeded after its deadline.
    pub late: bool,
    /// How often its handler snoozed.
    pub snoozes: u32,
    /// The version of its args.
    pub version: u32,
    /// The user's own mark.
    pub tag: Option<String>,
    /// The limit of one attempt in milliseconds, if the task has its own.
    pub timeout_ms: Option<u64>,
    /// The base of its backoff in milliseconds, if the task has its own.
    pub backoff_ms: Option<u64>,
    /// The dead letter that it was made from.
    pub replay_of: Option<TaskId>,
}

/// How far a task said it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Progress {
    /// Units done.
    pub done: u64,
    /// Units in all.
    pub total: u64,
}

impl Progress {
    /// So much of so much.
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
    /// What its error said.
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
    /// Its process died, or it fell silent and did not succeed after all.
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
    /// All queues together.
    pub fn total(&self) -> QueueCounts {
        self.queues.values().fold(QueueCounts::default(), |sum, q| QueueCounts {
            paused: false,
            not_served: false,
            ready: sum.ready.saturating_add(q.ready),
            waiting: sum.waiting.saturating_add(q.waiting),
            unknown_name: sum.unknown_name.saturating_add(q.unknown_name),
            held: sum.held.saturating_add(q.held),
            running: sum.running.saturating_add(q.running),
            succeeded: sum.succeeded.saturating_add(q.succeeded),
            failed: sum.failed.saturating_add(q.failed),
            cancelled: sum.cancelled.saturating_add(q.cancelled),
            lost: sum.lost.saturating_add(q.lost),
        })
    }
}

/// How many tasks a queue has. `QUEUED` tasks are told apart by what they wait for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct QueueCounts {
    /// Whether nothing is claimed from it.
    pub paused: bool,
    /// Whether the process that executes leaves it to others ([`Builder::queues`](crate::Builder::queues)).
    #[serde(default)]
    pub not_served: bool,
    /// `QUEUED`, may be claimed.
    pub ready: u64,
    /// `QUEUED`, waiting for their time.
    pub waiting: u64,
    /// `QUEUED`, no handler knows their name (or version).
    pub unknown_name: u64,
    /// `QUEUED`, held for another reason: a previous attempt that still runs, or their turn among suspects.
    pub held: u64,
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
        [self.waiting, self.unknown_name, self.held].into_iter().fold(self.ready, u64::saturating_add)
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
                Hold::PreviousAttempt | Hold::Suspect => &mut self.held,
            },
            State::Running => &mut self.running,
            State::Succeeded => &mut self.succeeded,
            State::Failed => &mut self.failed,
            State::Cancelled => &mut self.cancelled,
            State::Lost => &mut self.lost,
        }
    }
}

/// What a bulk verb did. It works in chunks, each atomic.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[must_use]
#[non_exhaustive]
pub struct Bulk {
    /// Tasks that were changed.
    pub changed: u64,
    /// Tasks that the filter meant but the verb could not change (a wrong state, a taken unique key).
    pub skipped: u64,
}

/// A task that was moved out of the task table.
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
    /// What its last error said.
    pub error_message: Option<String>,
    /// The sources of its last error, or a panic's location and backtrace.
    pub error_traceback: Option<String>,
    /// The user's own mark.
    pub tag: Option<String>,
}

/// A task on its way into the file.
#[derive(Clone)]
pub(crate) struct NewTask {
    pub task_name: &'static str,
    pub version: u32,
    pub args: String,
    pub options: Resolved,
    pub token: i64,
}

/// How much a transaction may claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ClaimRoom {
    /// Claims that a worker takes at once.
    pub idle: usize,
    /// All claims; those beyond `idle` are made ahead.
    pub total: usize,
    /// Bytes of args that claims ahead may have.
    pub ahead_bytes: usize,
}

/// The names of the tasks that a process has handlers for, each with the newest version of its args.
pub(crate) type HandledNames = HashMap<Arc<str>, u32>;

/// What a transaction has claimed.
pub(crate) struct Claims {
    pub claims: Vec<Claimed>,
    /// A task was met that is not claimed ahead: when a worker idles, its turn has come.
    pub waits_for_worker: bool,
}

/// A task on its way to a worker.
#[derive(Clone)]
pub(crate) struct Claimed {
    pub task_id: TaskId,
    pub generation: u64,
    pub attempt_number: u32,
    pub max_attempts: u32,
    pub task_name: Arc<str>,
    pub queue_id: i64,
    pub args: String,
    pub backoff: Option<Duration>,
    pub timeout: Option<Duration>,
    /// How long it had been ready, if that is known.
    pub waited: Option<Duration>,
    pub has_key: bool,
    pub suspect: bool,
    /// It was made of a dead letter, whose checkpoint it has.
    pub is_replay: bool,
}

impl Claimed {
    /// Whether its end has more to mend than its state: a key to release, a turn to pass on, and rows beside it that tell of a past: an
    /// error, a checkpoint.
    pub(crate) fn needs_full_settle(&self) -> bool {
        self.has_key || self.suspect || self.generation > 1 || self.is_replay
    }
}

/// How an attempt ended, on its way from a worker to the file.
#[derive(Clone)]
pub(crate) struct Settlement {
    pub task_id: TaskId,
    pub generation: u64,
    pub queue_id: i64,
    /// Beside the task's state there is something to mend: what [`Claimed::needs_full_settle`] says, or what the attempt itself has left.
    pub needs_full_settle: bool,
    pub backoff: Option<Duration>,
    pub verdict: Verdict,
    pub task_name: Arc<str>,
    /// How long it had been ready before it started, if that is known.
    pub waited: Option<Duration>,
    /// How long its handler ran.
    pub ran: Duration,
    /// What is not yet in the file.
    pub news: PendingOutput,
}

/// What an attempt has told of itself.
#[derive(Debug, Clone, Default)]
pub(crate) struct PendingOutput {
    pub progress: Option<Progress>,
    pub output: Vec<Written>,
}

impl PendingOutput {
    pub(crate) fn is_empty(&self) -> bool {
        self.progress.is_none() && self.output.is_empty()
    }

    /// How large the output is.
    pub(crate) fn output_bytes(&self) -> usize {
        self.output.iter().map(|written| written.first.len() + written.last.len()).sum()
    }

    /// Takes newer ones over these.
    pub(crate) fn renew(&mut self, newer: PendingOutput) {
        self.progress = newer.progress.or(self.progress);
        self.output.retain(|old| newer.output.iter().all(|new| new.stream != old.stream));
        self.output.extend(newer.output);
    }
}

/// All that is kept of what an attempt has written to a stream.
#[derive(Debug, Clone)]
pub(crate) struct Written {
    pub stream: OutputStream,
    pub first: Vec<u8>,
    pub last: Vec<u8>,
    pub bytes: u64,
}

/// What a handler made of its attempt.
#[derive(Clone)]
pub(crate) enum Verdict {
    /// The result as JSON; none if that is null.
    Succeeded { result: Option<String>, late: bool },
    /// `retry_after` replaces the backoff.
    Failed { error: ErrorReport, permanent: bool, timed_out: bool, retry_after: Option<Duration> },
    /// Not counted; again after the wait.
    Snoozed(Duration),
    /// Ended by the handler, for this reason.
    Cancelled(ErrorReport),
    /// Not counted; again at once.
    HandedBack,
    /// Not counted; held until another program with handlers comes.
    Declined,
}

/// What stands for a result that was not kept: no JSON.
pub(crate) const NOT_KEPT: &str = "";

impl Verdict {
    /// How large the result is.
    pub(crate) fn result_bytes(&self) -> usize {
        match self {
            Verdict::Succeeded { result: Some(result), .. } => result.len(),
            _ => 0,
        }
    }

    /// Gives up the result, and says so where it would be.
    pub(crate) fn drop_result(&mut self) {
        if let Verdict::Succeeded { result: Some(result), .. } = self {
            NOT_KEPT.clone_into(result);
        }
    }
}

/// The three texts that are kept of an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ErrorReport {
    pub error_type: String,
    pub error_message: String,
    pub error_traceback: String,
}

/// The longest type name kept of an error, in bytes: longer ones are generics.
const MAX_TYPE_BYTES: usize = 400;
/// The longest message kept of an error, in bytes: what a person reads on one screen.
const MAX_MESSAGE_BYTES: usize = 4 * 1024;
/// The longest traceback kept of an error, in bytes: a backtrace's first forty frames or so.
const MAX_TRACEBACK_BYTES: usize = 16 * 1024;

impl ErrorReport {
    /// A report with every text cut to its bound and cleared of control characters (they could steer a terminal).
    pub(crate) fn new(error_type: &str, message: &str, traceback: &str) -> ErrorReport {
        ErrorReport {
            error_type: tame(error_type, MAX_TYPE_BYTES, false),
            error_message: tame(message, MAX_MESSAGE_BYTES, true),
            error_traceback: tame(traceback, MAX_TRACEBACK_BYTES, true),
        }
    }
}

fn tame(text: &str, max: usize, lines: bool) -> String {
    let mut tamed = String::with_capacity(text.len().min(max));
    for c in text.chars() {
        let c = if c.is_control() && !(lines && matches!(c, '\n' | '\t')) { '\u{fffd}' } else { c };
        if tamed.len() + c.len_utf8() > max - '…'.len_utf8() {
            tamed.push('…');
            break;
        }
        tamed.push(c);
    }
    tamed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_texts_are_bounded_and_cannot_steer_a_terminal() {
        let report = ErrorReport::new(&"T".repeat(9999), &"ü".repeat(9999), "a\n\tb\u{1b}[2J");
        assert!(report.error_type.len() <= MAX_TYPE_BYTES && report.error_type.ends_with('…'));
        assert!(report.error_message.len() <= MAX_MESSAGE_BYTES && report.error_message.ends_with('…'));
        assert_eq!(report.error_traceback, "a\n\tb\u{fffd}[2J");
    }
}
