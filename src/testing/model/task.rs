//! A task in the model, and its smallest changes.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{ModelAttempt, Workload};
use crate::task::{Hold, KeyLimit, State, TaskId, Timestamp};

/// A task in the model.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ModelTask<W> {
    /// What was enqueued.
    pub task: W,
    /// Its queue.
    pub queue: String,
    /// Higher runs first.
    pub priority: i16,
    /// Its state.
    pub state: State,
    /// The reasons for which it waits; none unless it is `QUEUED`.
    pub reasons: BTreeSet<Hold>,
    /// Attempts that count.
    pub attempt_number: u32,
    /// How many attempts it has.
    pub max_attempts: u32,
    /// Claims in its whole life.
    pub generation: u64,
    /// When it was enqueued.
    pub created_at: Timestamp,
    /// When it is due, while it waits for its time.
    pub run_at: Option<Timestamp>,
    /// When that wait began, if it is a delay or a backoff.
    pub anchor: Option<Timestamp>,
    /// When it is cancelled if it is still `QUEUED`.
    pub expires_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// Its unique key, within its queue.
    pub key: Option<String>,
    /// The key is taken only until the task starts.
    pub until_started: bool,
    /// How long the key is taken at least.
    pub key_lasts: Option<Duration>,
    /// It has its key, because it needs it.
    pub has_key: bool,
    /// The limit of its key, if there is one.
    pub limit: Option<ModelLimit>,
    /// It holds a permit of its key.
    pub has_permit: bool,
    /// An attempt of it has started since it was made, retried by hand, or replaced.
    pub has_begun: bool,
    /// It has stored steps or sleeps.
    pub has_steps: bool,
    /// The conditions that it needs, in the order of the file.
    pub needs: Vec<String>,
    /// The condition that it waits for, or waited for last.
    pub waits_for: Option<String>,
    /// The base of its backoff, if it has its own.
    pub backoff: Option<Duration>,
    /// Its process died in an attempt, and no later attempt has ended.
    pub suspect: bool,
    /// Its handler has begun (while it is `RUNNING`).
    pub started: bool,
    /// Somebody cancelled it while it ran.
    pub cancel_requested: bool,
    /// Its work is outside (while it is `RUNNING`).
    pub outside: bool,
    /// How often it snoozed.
    pub snoozes: u32,
    /// The letter that it was replayed from.
    pub replay_of: Option<TaskId>,
}

/// A limit of a key, as one task asks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ModelLimit {
    /// The key, within a queue.
    pub key: String,
    /// The task gets a permit while fewer than this are held.
    pub permits: u32,
    /// It keeps its permit from its first start to its end.
    pub serial: bool,
}

impl ModelLimit {
    pub(super) fn asked(limit: Option<KeyLimit>) -> Option<ModelLimit> {
        limit.map(|KeyLimit { key, permits, is_serial }| ModelLimit { key, permits, serial: is_serial })
    }
}

/// A dead letter.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ModelLetter<W> {
    /// The task as it ended.
    pub task: ModelTask<W>,
    /// When it was moved.
    pub moved_at: Timestamp,
    /// The newest task that a replay made of it.
    pub replayed_as: Option<TaskId>,
}

impl<W: Workload> ModelTask<W> {
    /// Whether it needs its unique key: while it is live or, with `until_started`, while it is
    /// `QUEUED`.
    pub(super) fn needs_key(&self) -> bool {
        self.state == State::Queued || self.state == State::Running && !self.until_started
    }

    /// Why it may not be claimed: the first of its reasons.
    pub(super) fn hold(&self) -> Hold {
        self.reasons.first().copied().unwrap_or(Hold::Ready)
    }

    pub(super) fn is_held(&self, hold: Hold) -> bool {
        self.state == State::Queued && self.hold() == hold
    }

    /// Whether it keeps its permit until its end: it is serial and has started.
    pub(super) fn keeps_permit(&self) -> bool {
        self.has_begun && self.limit.as_ref().is_some_and(|limit| limit.serial)
    }

    /// Whether it waits for a permit of its key.
    pub(super) fn is_in_line(&self) -> bool {
        self.state == State::Queued && self.reasons.contains(&Hold::Limit)
    }

    /// The reason that a queued suspect has: its turn.
    pub(super) fn turn(&self) -> Option<Hold> {
        self.suspect.then_some(Hold::Suspect)
    }

    pub(super) fn queue_up(&mut self, reason: Option<Hold>) {
        (self.state, self.run_at, self.anchor, self.outside) = (State::Queued, None, None, false);
        self.reasons = reason.into_iter().collect();
    }

    pub(super) fn wait(&mut self, now: Timestamp, delay: Duration) {
        self.queue_up(Some(Hold::Time));
        self.wait_from(now, delay);
    }

    /// Starts its wait now; its reasons stay.
    pub(super) fn wait_from(&mut self, now: Timestamp, delay: Duration) {
        (self.run_at, self.anchor) = (Some(now.saturating_add(delay)), Some(now));
    }

    pub(super) fn end(&mut self, state: State, now: Timestamp) {
        self.queue_up(None);
        (self.state, self.suspect, self.finished_at) = (state, false, Some(now));
        self.has_begun = false;
        self.cancel_requested &= state == State::Cancelled;
    }

    pub(super) fn attempt(&self) -> ModelAttempt {
        let (attempt_number, max_attempts) = (self.attempt_number, self.max_attempts);
        ModelAttempt { attempt_number, max_attempts, generation: self.generation, has_steps: self.has_steps }
    }
}
