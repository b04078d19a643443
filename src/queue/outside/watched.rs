//! What is remembered of a job beside what the file says.

use std::time::Duration;

use crate::engine::{JobId, JobStatus, KnownJob};
use crate::task::{JobRow, Timestamp};

/// How soon an engine is asked again to stop a job that has not ended.
const CANCEL_INTERVAL: Duration = Duration::from_secs(10);

/// What is remembered of a job beside what the file says.
pub(super) struct Watched {
    pub job: JobId,
    /// When it was met first.
    pub met_at: Duration,
    /// The engine has it for certain.
    pub accepted: bool,
    /// A start of it may have reached the engine.
    pub maybe_started: bool,
    /// How long it has been pending, and how long the engine could say nothing of it: time between two answers.
    pending_for: Duration,
    silent_for: Duration,
    /// When it is to be asked to stop again; none if it was not asked to.
    stop_again_at: Option<Duration>,
    /// When its attempt has taken too long, on the monotonic clock.
    deadline: Option<Duration>,
    /// Something with it has failed: it is left alone until then, and for so long.
    rests_until: Option<(Duration, Duration)>,
    /// Since when what it has given cannot be fetched.
    pub unfetched_since: Option<Duration>,
}

impl Watched {
    pub(super) fn new(row: &JobRow, maybe_started: bool, now: Duration, wall: Timestamp) -> Watched {
        let mut watched = Watched {
            job: JobId::new(row.job.clone()),
            met_at: now,
            accepted: row.accepted_at.is_some(),
            maybe_started,
            pending_for: Duration::ZERO,
            silent_for: Duration::ZERO,
            stop_again_at: None,
            deadline: None,
            rests_until: None,
            unfetched_since: None,
        };
        watched.begin_time(row, now, wall);
        watched
    }

    /// Begins its time once the file has its deadline. A clock that has jumped back gives it no more than its whole time.
    pub(super) fn begin_time(&mut self, row: &JobRow, now: Duration, wall: Timestamp) {
        if let (None, Some(deadline), Some(accepted)) = (self.deadline, row.deadline, row.accepted_at) {
            let left = deadline.since(wall).min(deadline.since(accepted));
            self.deadline = Some(now.saturating_add(left));
        }
    }

    /// Whether the engine has it, or may.
    pub(super) fn may_be_there(&self) -> bool {
        self.accepted || self.maybe_started
    }

    /// The engine has said this, so long after its last answer.
    pub(super) fn hear(&mut self, status: &JobStatus, since: Duration) {
        let add = |time: Duration, counts: bool| if counts { time + since } else { Duration::ZERO };
        self.pending_for = add(self.pending_for, *status == JobStatus::Pending);
        self.silent_for = add(self.silent_for, *status == JobStatus::Unknown);
    }

    /// What is known of it, for `judge`.
    pub(super) fn known(&self, row: &JobRow, now: Duration, wall: Timestamp) -> KnownJob {
        let watched_for = now.saturating_sub(self.met_at);
        KnownJob {
            accepted: self.accepted,
            maybe_started: self.maybe_started,
            cancel_requested: row.cancel_requested,
            is_overdue: self.deadline.is_some_and(|deadline| deadline <= now),
            stop_asked: self.stop_asked(),
            // Whatever the clock has done meanwhile, it is no younger than it has been watched.
            age: (wall >= row.since).then(|| wall.since(row.since).max(watched_for)),
            pending_for: self.pending_for,
            silent_for: self.silent_for,
        }
    }

    pub(super) fn stop_asked(&self) -> bool {
        self.stop_again_at.is_some()
    }

    /// It was asked to stop.
    pub(super) fn stop_at(&mut self, now: Duration) {
        self.stop_again_at = Some(now + CANCEL_INTERVAL);
    }

    /// Whether it is too soon to ask it to stop: it was asked not long ago, or rests.
    pub(super) fn stops_later(&self, now: Duration) -> bool {
        self.stop_again_at.is_some_and(|at| now < at) || self.rests(now)
    }

    /// Whether it is left alone for a while.
    pub(super) fn rests(&self, now: Duration) -> bool {
        self.rests_until.is_some_and(|(until, _)| now < until)
    }

    /// Whether something with it has failed.
    pub(super) fn has_rested(&self) -> bool {
        self.rests_until.is_some()
    }

    /// Something with it has failed: it is left alone, each time for longer.
    pub(super) fn rest(&mut self, now: Duration, (first, last): (Duration, Duration)) {
        let pause = self.rests_until.map_or(first, |(_, pause)| (pause * 2).min(last));
        self.rests_until = Some((now + pause, pause));
    }
}
