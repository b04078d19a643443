//! Follows the jobs of one engine: starts them, asks what has become of them, ends their tasks.
//!
//! The file is the truth: each round reads the jobs from it, and what is remembered here beside it is only what no other process needs to know.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::attached::Attached;
use super::ends::{EndedJob, JobEnds};
use crate::engine::{
    Decision, EngineError, EngineErrorKind, Fate, JobId, JobRules, JobStatus, KnownJob, judge,
};
use crate::error::Error;
use crate::handler::Registry;
use crate::journal::{survive, tell};
use crate::planted::planted;
use crate::queue::runtime::core::{Core, RETRY_INTERVAL};
use crate::store::{self, Rank};
use crate::sync::{Receiver, hear};
use crate::task::{ErrorReport, JobRow, TaskId};

/// Jobs that one round starts at most: then it asks what has become of the others.
const STARTS_PER_ROUND: usize = 64;

/// How soon an engine is asked again to stop a job that has not ended.
const CANCEL_INTERVAL: Duration = Duration::from_secs(10);

/// How soon an engine that could not be reached is tried again: at first, and at last.
const OUTAGE_PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// The queues of an engine that cannot be reached are closed for so much longer than until the next try.
const CLOSURE_MARGIN: Duration = Duration::from_secs(60);

/// As good as for ever.
const FOREVER: Duration = Duration::from_secs(365 * 86_400);

/// Follows the jobs of one engine.
pub(crate) struct Poller {
    core: Arc<Core>,
    attached: Arc<Attached>,
    ends: JobEnds,
    /// The ownership that what is remembered belongs to.
    epoch: Option<i64>,
    watched: HashMap<(TaskId, u64), Watched>,
    /// Jobs whose end is not in the file yet.
    unsettled: Vec<EndedJob>,
    outage: Option<Outage>,
    /// Its queues may be closed because the engine could not be reached.
    may_be_closed: bool,
    poll_at: Duration,
    /// When the engine answered last.
    answered_at: Option<Duration>,
}

/// What is remembered of a job.
struct Watched {
    job: JobId,
    /// A start of it may have reached the engine.
    maybe_started: bool,
    pending_since: Option<Duration>,
    /// How long the engine has said nothing of it.
    silent_for: Duration,
    /// When it is to be asked to stop again.
    cancel_at: Option<Duration>,
    /// When its attempt has taken too long, on the monotonic clock.
    deadline: Option<Duration>,
    /// How often what it has given could not be fetched.
    failed_collects: u32,
}

/// The engine cannot be reached.
struct Outage {
    pause: Duration,
    until: Duration,
}

/// What a round has come to.
#[derive(Default)]
struct Work {
    /// The engine has answered.
    has_answered: bool,
    /// There is more to start.
    has_more: bool,
}

impl Poller {
    pub(crate) fn new(core: Arc<Core>, registry: Arc<Registry>, attached: Arc<Attached>) -> Poller {
        let ends = JobEnds { core: core.clone(), registry, attached: attached.clone() };
        Poller {
            core,
            attached,
            ends,
            epoch: None,
            watched: HashMap::new(),
            unsettled: Vec::new(),
            outage: None,
            may_be_closed: true,
            poll_at: Duration::ZERO,
            answered_at: None,
        }
    }

    /// Starts the thread that calls its rounds.
    pub(crate) fn spawn(mut self) -> Result<(), Error> {
        let core = self.core.clone();
        let name = self.attached.settings.name.clone();
        core.shared.followers.start(&name, move |bell| self.run(bell))
    }

    fn run(&mut self, bell: &Receiver<()>) {
        let core = self.core.clone();
        while !core.shared.gate.is_stopping() {
            let wait = match survive("a look at an engine", || self.round()) {
                Some(Ok(wait)) => wait.unwrap_or(FOREVER),
                Some(Err(e)) => {
                    tell!(
                        Warn,
                        "the jobs of the engine {:?} could not be followed, trying again: {e}",
                        self.attached.name()
                    );
                    RETRY_INTERVAL
                }
                None => RETRY_INTERVAL,
            };
            if !wait.is_zero() {
                hear(bell, wait);
            }
        }
    }

    /// Looks once; answers with how long it may sleep if nobody rings: none if there is nothing to follow.
    pub(crate) fn round(&mut self) -> Result<Option<Duration>, Error> {
        let epoch = self.core.shared.gate.epoch().filter(|_| self.core.is_owner());
        let is_new = epoch != self.epoch;
        if is_new {
            self.epoch = epoch;
            self.watched.clear();
            self.unsettled.clear();
            (self.outage, self.may_be_closed, self.poll_at) = (None, true, Duration::ZERO);
        }
        if epoch.is_none() || self.core.shared.gate.is_stopping() {
            return Ok(None);
        }
        self.ends.settle(&mut self.unsettled)?;
        let now = self.core.shared.monotonic();
        if let Some(left) = self.outage.as_ref().map(|outage| outage.until.saturating_sub(now))
            && !left.is_zero()
        {
            return Ok(Some(left));
        }
        let rows = self.core.store.read(|conn| store::jobs(conn, self.attached.name()))?;
        self.meet(&rows, is_new);
        if rows.is_empty() {
            self.outage = None;
            return Ok(None);
        }
        let mut work = Work::default();
        let worked = self.work(&rows, &mut work)?;
        match worked {
            Ok(()) if work.has_answered => self.is_reached()?,
            Ok(()) => {}
            Err(e) => self.is_out(&e)?,
        }
        self.ends.settle(&mut self.unsettled)?;
        let now = self.core.shared.monotonic();
        let next = self.outage.as_ref().map_or(self.poll_at, |outage| outage.until);
        Ok(Some(if work.has_more { Duration::ZERO } else { next.saturating_sub(now) }))
    }

    /// Takes notice of new jobs, and of those that are under way no more. What was there when the file was taken over may have been started.
    fn meet(&mut self, rows: &[JobRow], is_new: bool) {
        let (now, wall) = (self.core.shared.monotonic(), self.core.now());
        let maybe_started = is_new && !planted("g19-who-takes-over-starts-without-a-look");
        for row in rows {
            self.watched.entry((row.task_id, row.generation)).or_insert_with(|| Watched {
                job: JobId::new(row.job.clone()),
                maybe_started,
                pending_since: None,
                silent_for: Duration::ZERO,
                cancel_at: None,
                deadline: row.deadline.map(|deadline| now.saturating_add(deadline.since(wall))),
                failed_collects: 0,
            });
        }
        if self.watched.len() == rows.len() {
            return;
        }
        let known: std::collections::HashSet<_> =
            rows.iter().map(|row| (row.task_id, row.generation)).collect();
        let gone = self.watched.extract_if(|key, _| !known.contains(key));
        for (_, watched) in gone.collect::<Vec<_>>() {
            // Somebody has ended the task meanwhile, and nobody wants the work any more.
            let _ = self.attached.call(|engine| engine.cancel(&watched.job));
        }
    }

    /// Starts what is to be started, asks for the rest if its time has come.
    fn work(&mut self, rows: &[JobRow], work: &mut Work) -> Result<Result<(), EngineError>, Error> {
        let mut accepted = Vec::new();
        let started = self.start_new(rows, work, &mut accepted);
        self.accept(&mut accepted)?;
        if let Err(e) = started {
            return Ok(Err(e));
        }
        let now = self.core.shared.monotonic();
        let is_to_look = |row: &JobRow| self.is_unsure(row) || self.is_newly_to_stop(row);
        if now < self.poll_at && !rows.iter().any(is_to_look) {
            return Ok(Ok(()));
        }
        let asked: Vec<&JobRow> = rows.iter().filter(|row| row.accepted || self.is_unsure(row)).collect();
        self.poll_at = now + self.attached.settings.poll_interval;
        if asked.is_empty() {
            return Ok(Ok(()));
        }
        let looked = self.look(&asked, work, &mut accepted);
        self.accept(&mut accepted)?;
        Ok(looked)
    }

    /// Whether a start of it may have reached the engine, which has not said so.
    fn is_unsure(&self, row: &JobRow) -> bool {
        !row.accepted && self.watched.get(&(row.task_id, row.generation)).is_some_and(|job| job.maybe_started)
    }

    /// Whether it is to stop, and the engine has not been asked to.
    fn is_newly_to_stop(&self, row: &JobRow) -> bool {
        row.accepted
            && row.cancel_requested
            && self.watched.get(&(row.task_id, row.generation)).is_some_and(|job| job.cancel_at.is_none())
    }

    /// Starts jobs that nobody has started.
    fn start_new(
        &mut self,
        rows: &[JobRow],
        work: &mut Work,
        accepted: &mut Vec<(TaskId, String)>,
    ) -> Result<(), EngineError> {
        let mut starts = 0;
        for row in rows {
            let key = (row.task_id, row.generation);
            let is_new = !row.accepted && self.watched.get(&key).is_some_and(|job| !job.maybe_started);
            if !is_new {
                continue;
            }
            if starts == STARTS_PER_ROUND {
                work.has_more = true;
                break;
            }
            starts += 1;
            // It is as if the engine had said that it does not know it.
            self.decide(row, &JobStatus::Absent, work, accepted)?;
        }
        Ok(())
    }

    /// Asks what has become of jobs.
    fn look(
        &mut self,
        asked: &[&JobRow],
        work: &mut Work,
        accepted: &mut Vec<(TaskId, String)>,
    ) -> Result<(), EngineError> {
        let ids: Vec<JobId> = asked.iter().map(|row| JobId::new(row.job.clone())).collect();
        let statuses = self.attached.call(|engine| engine.poll(&ids))?;
        work.has_answered = true;
        let now = self.core.shared.monotonic();
        let since = now.saturating_sub(self.answered_at.replace(now).unwrap_or(now));
        for (row, status) in asked.iter().zip(&statuses) {
            if let Some(job) = self.watched.get_mut(&(row.task_id, row.generation)) {
                job.silent_for =
                    if *status == JobStatus::Unknown { job.silent_for + since } else { Duration::ZERO };
                let is_pending = *status == JobStatus::Pending;
                job.pending_since = if is_pending { job.pending_since.or(Some(now)) } else { None };
            }
        }
        for (row, status) in asked.iter().zip(&statuses) {
            self.decide(row, status, work, accepted)?;
        }
        Ok(())
    }

    /// Does what is to be done about a job.
    fn decide(
        &mut self,
        row: &JobRow,
        status: &JobStatus,
        work: &mut Work,
        accepted: &mut Vec<(TaskId, String)>,
    ) -> Result<(), EngineError> {
        let key = (row.task_id, row.generation);
        let (now, wall) = (self.core.shared.monotonic(), self.core.now());
        let Some(watched) = self.watched.get(&key) else { return Ok(()) };
        let known = KnownJob {
            accepted: row.accepted,
            maybe_started: watched.maybe_started,
            cancel_requested: row.cancel_requested,
            is_overdue: watched.deadline.is_some_and(|deadline| deadline <= now),
            age: (wall >= row.since).then(|| wall.since(row.since)),
            pending_for: watched.pending_since.map_or(Duration::ZERO, |since| now.saturating_sub(since)),
            silent_for: watched.silent_for,
        };
        let rules = JobRules {
            remembers: self.attached.engine.remembers(),
            start_timeout: self.attached.settings.start_timeout,
            stuck_timeout: self.core.config.stuck_task_timeout,
            lost_retry: self.attached.settings.lost_retry,
        };
        match judge(&known, status, &rules) {
            Decision::Wait => Ok(()),
            Decision::Accept => {
                accepted.push((row.task_id, row.job.clone()));
                Ok(())
            }
            Decision::Start => {
                let started = self.start(row);
                work.has_answered |= matches!(started, Ok(true));
                if started? {
                    accepted.push((row.task_id, row.job.clone()));
                }
                Ok(())
            }
            Decision::Cancel => self.cancel(key, now),
            Decision::End(fate) => {
                self.end(row, fate);
                Ok(())
            }
        }
    }

    /// Starts a job; false if it is not to be started any more.
    fn start(&mut self, row: &JobRow) -> Result<bool, EngineError> {
        let key = (row.task_id, row.generation);
        let Some(job) = self.watched.get(&key).map(|watched| watched.job.clone()) else { return Ok(false) };
        let spec = self.core.store.read(|conn| store::spec(conn, row.task_id, &row.job));
        let Ok(Some(spec)) = spec else { return Ok(false) }; // it has ended meanwhile, or the next round reads it
        self.set_maybe_started(key, !planted("g19-a-start-without-an-answer-is-repeated-without-a-look"));
        let Err(e) = self.attached.call(|engine| engine.start(&job, &spec)) else { return Ok(true) };
        match e.kind {
            EngineErrorKind::Refused => {
                let error = ErrorReport::new("EngineRefused", &e.message, "");
                self.unsettled.push(EndedJob::refused(row, error));
                self.watched.remove(&key);
                Ok(false)
            }
            EngineErrorKind::NotNow => {
                self.set_maybe_started(key, false);
                Err(e)
            }
            EngineErrorKind::Unreachable => Err(e),
        }
    }

    fn set_maybe_started(&mut self, key: (TaskId, u64), maybe: bool) {
        if let Some(watched) = self.watched.get_mut(&key) {
            watched.maybe_started = maybe;
        }
    }

    fn cancel(&mut self, key: (TaskId, u64), now: Duration) -> Result<(), EngineError> {
        let Some(watched) = self.watched.get(&key) else { return Ok(()) };
        if watched.cancel_at.is_some_and(|at| now < at) {
            return Ok(());
        }
        let job = watched.job.clone();
        self.attached.call(|engine| engine.cancel(&job))?;
        if let Some(watched) = self.watched.get_mut(&key) {
            watched.cancel_at = Some(now + CANCEL_INTERVAL);
        }
        Ok(())
    }

    /// Ends the attempt of a job, as soon as what there is to fetch is fetched.
    fn end(&mut self, row: &JobRow, fate: Fate) {
        let key = (row.task_id, row.generation);
        let Some(watched) = self.watched.get_mut(&key) else { return };
        if let Some(ended) = self.ends.ended(row, &watched.job, fate, &mut watched.failed_collects) {
            self.unsettled.push(ended);
            self.watched.remove(&key);
        }
    }

    /// Notes that the engine has these jobs for certain.
    fn accept(&self, accepted: &mut Vec<(TaskId, String)>) -> Result<(), Error> {
        if accepted.is_empty() {
            return Ok(());
        }
        let (jobs, epoch, now) = (std::mem::take(accepted), self.epoch, self.core.now());
        self.core.commit(Rank::Change, move |tx| {
            store::check_epoch(tx, epoch)?;
            store::accept(tx, &jobs, now)
        })
    }

    /// The engine cannot be reached: its queues are closed, so that no attempt is charged for that.
    fn is_out(&mut self, why: &EngineError) -> Result<(), Error> {
        let (first, last) = OUTAGE_PAUSES;
        let pause = self.outage.as_ref().map_or(first, |outage| (outage.pause * 2).min(last));
        let why = ErrorReport::new("", why.message(), "").error_message;
        if self.outage.is_none() {
            tell!(
                Warn,
                "the engine {:?} cannot be reached, and its queues are closed until it can: {why}",
                self.attached.name()
            );
        }
        self.answered_at = None; // what it has not said until the next answer tells nothing
        self.outage = Some(Outage { pause, until: self.core.shared.monotonic() + pause });
        self.may_be_closed = true;
        let queues = self.attached.settings.queues.clone();
        let (why, now) =
            (format!("the engine {:?} cannot be reached: {why}", self.attached.name()), self.core.now());
        if planted("g19-who-cannot-be-reached-is-asked-for-more") {
            return Ok(());
        }
        self.core
            .owner_write(move |tx| store::close_for_engine(tx, &queues, &why, pause + CLOSURE_MARGIN, now))
    }

    /// The engine has answered: its queues are open again, if they were closed for that.
    fn is_reached(&mut self) -> Result<(), Error> {
        if !self.may_be_closed {
            return Ok(());
        }
        let queues = self.attached.settings.queues.clone();
        self.core.owner_write(move |tx| store::open_again(tx, &queues))?;
        if self.outage.take().is_some() {
            tell!(Info, "the engine {:?} can be reached again", self.attached.name());
        }
        self.may_be_closed = false;
        Ok(())
    }
}
