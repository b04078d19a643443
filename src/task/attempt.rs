//! The values that pass between storage and execution: new tasks, claims, and the ends of attempts.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::extras::Extras;
use super::id::TaskId;
use super::options::Resolved;
use super::outside::GoesOutside;
use super::record::Progress;
use super::streams::OutputStream;
use crate::config::LostRetry;

/// A task to be written to the file.
#[derive(Clone)]
pub(crate) struct NewTask {
    pub task_name: Cow<'static, str>,
    pub version: u32,
    pub args: String,
    pub options: Resolved,
    pub token: i64,
    /// Set if it is a run of a schedule.
    pub run: Option<NewRun>,
}

/// What a run of a schedule has in addition to its options.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NewRun {
    /// It waits until earlier runs have ended.
    pub waits: bool,
    /// The digest of its unique key.
    pub unique_digest: Option<[u8; 16]>,
    /// The digest of the key that has its limit.
    pub limit_digest: Option<[u8; 16]>,
}

/// How much a transaction may claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ClaimRoom {
    /// Claims for workers that are idle.
    pub idle: usize,
    /// All claims; those beyond `idle` are claimed ahead.
    pub total: usize,
    /// The most bytes of args of all claims ahead.
    pub ahead_bytes: usize,
}

/// The names of the tasks that a process has handlers for, each with the newest version of its args.
pub(crate) type HandledNames = HashMap<Arc<str>, u32>;

/// What a transaction has claimed.
pub(crate) struct Claims {
    pub claims: Vec<Claimed>,
    /// The claim stopped at a task that is not claimed ahead: it is the next one when a worker is
    /// idle.
    pub waits_for_worker: bool,
}

/// A claimed task, for a worker.
#[derive(Clone)]
pub(crate) struct Claimed {
    pub task_id: TaskId,
    pub generation: u64,
    pub attempt_number: u32,
    pub max_attempts: u32,
    pub task_name: Arc<str>,
    pub queue_id: i64,
    pub args: String,
    /// The version of its args.
    pub version: u32,
    pub backoff: Option<Duration>,
    pub timeout: Option<Duration>,
    /// How long it was ready before the claim, if known.
    pub waited: Option<Duration>,
    pub extras: Extras,
    pub suspect: bool,
    /// It was made from a dead letter, and has the letter's checkpoint.
    pub is_replay: bool,
    /// The bits of the conditions that it needs while it runs.
    pub needs_throughout: i64,
}

impl Claimed {
    /// Whether its settle has to change more than its state and its permit: other extras, the turn
    /// among suspects, or rows that earlier attempts may have left (an error, a checkpoint).
    pub(crate) fn needs_full_settle(&self) -> bool {
        let has_more = self.extras.without(Extras::NEEDS) != Extras::NONE && !self.is_limited();
        has_more || self.suspect || self.generation > 1 || self.is_replay
    }

    /// Whether it holds a permit of its key and, except `NEEDS`, has no other extras.
    pub(crate) fn is_limited(&self) -> bool {
        self.extras.without(Extras::NEEDS) == Extras::LIMITED.with(Extras::PERMIT)
    }
}

/// The end of an attempt, from a worker to the file.
#[derive(Clone)]
pub(crate) struct Settlement {
    pub task_id: TaskId,
    pub generation: u64,
    pub queue_id: i64,
    /// The settle has to change more than the task's state: by [`Claimed::needs_full_settle`], or
    /// by what the attempt itself did.
    pub needs_full_settle: bool,
    /// By [`Claimed::is_limited`].
    pub is_limited: bool,
    pub backoff: Option<Duration>,
    pub verdict: Verdict,
    pub task_name: Arc<str>,
    /// How long the task was ready before the claim, if known.
    pub waited: Option<Duration>,
    /// How long its handler ran.
    pub ran: Duration,
    /// Its progress and output that are not in the file yet.
    pub news: PendingOutput,
    /// Tasks to be made if the attempt succeeded.
    pub children: Vec<NewTask>,
}

/// Progress and output of an attempt that are not in the file yet.
#[derive(Debug, Clone, Default)]
pub(crate) struct PendingOutput {
    pub progress: Option<Progress>,
    pub output: Vec<Written>,
}

impl PendingOutput {
    pub(crate) fn is_empty(&self) -> bool {
        self.progress.is_none() && self.output.is_empty()
    }

    /// The size of the output in bytes.
    pub(crate) fn output_bytes(&self) -> usize {
        self.output.iter().map(|written| written.first.len() + written.last.len()).sum()
    }

    /// Replaces progress and streams by newer ones.
    pub(crate) fn renew(&mut self, newer: PendingOutput) {
        self.progress = newer.progress.or(self.progress);
        self.output.retain(|old| newer.output.iter().all(|new| new.stream != old.stream));
        self.output.extend(newer.output);
    }
}

/// The kept parts of a stream of an attempt.
#[derive(Debug, Clone)]
pub(crate) struct Written {
    pub stream: OutputStream,
    pub first: Vec<u8>,
    pub last: Vec<u8>,
    pub bytes: u64,
}

/// How an attempt ended, before the rules for retries are applied.
#[derive(Clone)]
pub(crate) enum Verdict {
    /// The result as JSON; none for null.
    Succeeded { result: Option<String>, late: bool },
    /// `retry_after` replaces the backoff.
    Failed { error: ErrorReport, permanent: bool, timed_out: bool, retry_after: Option<Duration> },
    /// Not counted; tried again after the wait. `sleep`: the name of the step that sleeps, if one
    /// does.
    Snoozed { delay: Duration, sleep: Option<String> },
    /// Not counted; tried again when this condition is met. A failure if it is met already.
    Waits { condition: String },
    /// Cancelled by the handler, for this reason.
    Cancelled(ErrorReport),
    /// Interrupted. Not counted; ready again at once.
    HandedBack,
    /// The same, but it had not started: its start is given back to the rate of the queue.
    Unstarted,
    /// Not counted; ready again at once, but its queue is closed for this long.
    Throttled(Duration),
    /// Not counted; held until a new owner's handlers know its name.
    Declined,
    /// Succeeded; the handler's own commit has written that.
    Committed,
    /// Not an end: the work goes on outside.
    Outside(Box<GoesOutside>),
    /// The outcome of its work outside is unknown; `retry` says what happens to the task.
    Lost { error: ErrorReport, retry: LostRetry },
}

/// The stored text for a result that was not kept. It is not JSON, so no result equals it.
pub(crate) const NOT_KEPT: &str = "";

impl Verdict {
    /// The size of the result, or of the spec of a job, in bytes.
    pub(crate) fn result_bytes(&self) -> usize {
        match self {
            Verdict::Outside(outside) => outside.to.spec_bytes(),
            Verdict::Succeeded { result: Some(result), .. } => result.len(),
            _ => 0,
        }
    }

    /// Replaces the result by [`NOT_KEPT`].
    pub(crate) fn drop_result(&mut self) {
        if let Verdict::Succeeded { result: Some(result), .. } = self {
            NOT_KEPT.clone_into(result);
        }
    }
}

/// The three texts of an error that are stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ErrorReport {
    pub error_type: String,
    pub error_message: String,
    pub error_traceback: String,
}

/// The longest type name kept of an error, in bytes: longer ones are generics.
const MAX_TYPE_BYTES: usize = 400;
/// The longest message kept of an error, in bytes: about a screen.
const MAX_MESSAGE_BYTES: usize = 4 * 1024;
/// The longest traceback kept of an error, in bytes: a backtrace's first forty frames or so.
const MAX_TRACEBACK_BYTES: usize = 16 * 1024;

impl ErrorReport {
    /// A report. Every text is cut to its bound, and control characters are replaced, since they
    /// could control a terminal.
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
