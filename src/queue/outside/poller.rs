//! Follows the jobs of one engine: asks what has become of them, ends their tasks, starts new ones.
//!
//! The file is the truth: each round reads the jobs from it, and what is remembered here beside it ([`Watched`]) is only what no other process needs to
//! know. No call is made once the queue is shutting down or another process owns the file.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::attached_engine::Attached;
use super::ends::{EndedJob, JobEnds};
use super::to_forget::ToForget;
use super::watched::Watched;
use crate::engine::{Decision, EngineError, EngineErrorKind, Fate, JobId, JobRules, JobStatus, judge};
use crate::error::{Error, ErrorKind};
use crate::handler::Registry;
use crate::logging::{survive, tell};
use crate::planted::planted;
use crate::queue::runtime::core::{Core, RETRY_INTERVAL};
use crate::store::{self, Rank};
use crate::sync::{Receiver, hear};
use crate::task::{ErrorReport, JobRow, TaskId};

/// How many jobs one round starts at most, so that the others are not left alone for long.
const STARTS_PER_ROUND: usize = 64;

/// How many ends are gathered before they are written to the file.
const ENDS_PER_SETTLE: usize = 100;

/// The first and the longest pause before a failed call is repeated: to an engine that could not be reached, or for one job.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// A `collect` that has failed after so long holds up a round.
const HOLD_UP: Duration = Duration::from_secs(5);

/// How much longer than until the next try the queues of an engine that cannot be reached are closed.
const CLOSURE_MARGIN: Duration = Duration::from_secs(60);

/// As good as for ever.
const FOREVER: Duration = Duration::from_secs(365 * 86_400);

/// Follows the jobs of one engine.
pub(crate) struct Poller {
    core: Arc<Core>,
    attached: Arc<Attached>,
    ends: JobEnds,
    /// The epoch of the ownership to which the fields below belong.
    epoch: Option<i64>,
    watched: HashMap<(TaskId, u64), Watched>,
    /// Jobs whose end is not in the file yet.
    unsettled: Vec<EndedJob>,
    to_forget: ToForget,
    outage: Option<Outage>,
    /// Its queues may be closed because the engine could not be reached.
    may_be_closed: bool,
    poll_at: Duration,
    /// When the engine last answered a poll, if time has counted since: none after an outage, or after a time without jobs.
    answered_at: Option<Duration>,
}

/// The engine cannot be reached.
struct Outage {
    pause: Duration,
    until: Duration,
}

/// What a round has found.
#[derive(Default)]
struct Work {
    /// There is more to start.
    has_more: bool,
    /// Jobs that the engine has, and of which the file does not say so yet.
    accepted: Vec<(TaskId, String)>,
    /// The result of one job could not be fetched, and that took long: the others wait for the next round.
    is_held_up: bool,
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
            to_forget: ToForget::default(),
            outage: None,
            may_be_closed: true,
            poll_at: Duration::ZERO,
            answered_at: None,
        }
    }

    /// Starts the thread that calls its rounds.
    pub(crate) fn spawn(mut self) -> Result<(), Error> {
        let core = self.core.clone();
        let name = self.attached.name().to_owned();
        core.shared.followers.start(&name, move |bell| self.run(bell))
    }

    fn run(&mut self, bell: &Receiver<()>) {
        let core = self.core.clone();
        while !core.shared.gate.is_stopping() {
            let wait = match survive("a look at an engine", || self.round()) {
                Some(Ok(wait)) => wait.unwrap_or(FOREVER),
                Some(Err(e)) => {
                    let name = self.attached.name();
                    tell!(Warn, "the jobs of the engine {name:?} could not be followed, trying again: {e}");
                    if e.kind() == ErrorKind::OwnershipLost {
                        core.shared.claims_failed(&e); // the dispatcher gives up what this process runs
                    }
                    RETRY_INTERVAL
                }
                None => RETRY_INTERVAL,
            };
            if !wait.is_zero() {
                hear(bell, wait);
            }
        }
    }

    /// Whether this process may still call the engine for this file.
    fn may_go_on(&self) -> bool {
        let gate = &self.core.shared.gate;
        !gate.is_stopping() && self.epoch.is_some() && gate.epoch() == self.epoch
    }

    /// One round; answers with how long it may sleep if the bell does not ring: none if there is nothing to follow.
    pub(crate) fn round(&mut self) -> Result<Option<Duration>, Error> {
        let epoch = self.core.shared.gate.epoch().filter(|_| self.core.is_owner());
        if epoch != self.epoch {
            self.epoch = epoch;
            self.watched.clear();
            self.unsettled.clear();
            self.to_forget.clear();
            (self.outage, self.may_be_closed) = (None, true);
            (self.poll_at, self.answered_at) = (Duration::ZERO, None);
        }
        if !self.may_go_on() {
            return Ok(None);
        }
        // What cannot be written now does not keep the other jobs from being followed.
        let settled = self.settle();
        let now = self.core.shared.monotonic();
        if let Some(left) = self.outage.as_ref().map(|outage| outage.until.saturating_sub(now))
            && !left.is_zero()
        {
            return settled.map(|()| Some(left));
        }
        let (rows, owner) = self.core.store.read(|conn| store::jobs(conn, self.attached.name()))?;
        if Some(owner) != self.epoch {
            return Err(Error::new(
                ErrorKind::OwnershipLost,
                "another process executes tasks from the file now",
            ));
        }
        self.meet(&rows);
        if rows.is_empty() {
            (self.outage, self.answered_at) = (None, None);
            return settled.map(|()| self.forget());
        }
        let mut work = Work::default();
        let worked = self.work(&rows, &mut work);
        self.accept(work.accepted)?;
        match worked {
            Ok(true) => self.is_reached()?,
            Ok(false) => {}
            Err(e) => self.is_out(&e)?,
        }
        self.settle()?;
        let forget_in = self.forget().unwrap_or(FOREVER);
        let now = self.core.shared.monotonic();
        let wait = if work.has_more { Duration::ZERO } else { self.poll_at.saturating_sub(now) };
        Ok(Some(wait.min(forget_in)))
    }

    /// Writes ends to the file; then their jobs may be forgotten.
    fn settle(&mut self) -> Result<(), Error> {
        let mut ended = Vec::new();
        let settled = self.ends.settle(&mut self.unsettled, &mut ended);
        if self.attached.settings.forget {
            self.to_forget.add(ended, self.core.shared.monotonic());
        }
        settled
    }

    /// Forgets jobs whose time has come; answers with in how long there are more.
    fn forget(&mut self) -> Option<Duration> {
        let (attached, gate) = (self.attached.clone(), &self.core.shared.gate);
        self.to_forget.forget(self.core.shared.monotonic(), |job| match gate.is_stopping() {
            true => Ok(()),
            false => attached.call(|engine| engine.forget(job)),
        });
        let now = self.core.shared.monotonic();
        self.to_forget.next_at().map(|at| at.saturating_sub(now))
    }

    /// Begins to watch new jobs, and stops watching those that have no row any more.
    fn meet(&mut self, rows: &[JobRow]) {
        let (now, wall) = (self.core.shared.monotonic(), self.core.now());
        let is_mine = |row: &JobRow| {
            Some(row.epoch) == self.epoch || planted("g19-who-takes-over-starts-without-a-look")
        };
        for row in rows {
            let watched = self.watched.entry((row.task_id, row.generation));
            let watched = watched.or_insert_with(|| Watched::new(row, !is_mine(row), now, wall));
            watched.begin_time(row, now, wall);
        }
        // Those whose end is not written yet have a row, and are not watched any more.
        let ended: HashSet<_> = self.unsettled.iter().map(EndedJob::key).collect();
        self.watched.retain(|key, _| !ended.contains(key));
        let known: HashSet<_> = rows.iter().map(|row| (row.task_id, row.generation)).collect();
        let gone: Vec<_> = self.watched.extract_if(|key, _| !known.contains(key)).collect();
        for (_, watched) in gone {
            // Somebody has ended the task meanwhile, and nobody wants the work any more.
            if self.may_go_on() && watched.may_be_there() {
                let _ = self.attached.call(|engine| engine.cancel(&watched.job));
            }
        }
    }

    /// Polls the jobs if it is time for that, and starts new ones. Answers with whether the engine has answered.
    ///
    /// # Errors
    /// If the engine cannot be reached. If it has answered, and only a call for one job fails, that is no error: the job is tried again later.
    fn work(&mut self, rows: &[JobRow], work: &mut Work) -> Result<bool, EngineError> {
        let now = self.core.shared.monotonic();
        let mut has_answered = false;
        for row in rows.iter().filter(|row| row.accepted_at.is_none()) {
            // The file could not be told when the engine said so.
            if self.watched.get(&(row.task_id, row.generation)).is_some_and(|watched| watched.accepted) {
                work.accepted.push((row.task_id, row.job.clone()));
            }
        }
        if now >= self.poll_at || rows.iter().any(|row| self.is_newly_to_stop(row)) {
            self.poll_at = now + self.attached.settings.poll_interval;
            has_answered = self.look(rows, work)?;
        }
        self.start_new(rows, work, has_answered)
    }

    /// Whether it is to stop, and the engine has not been asked to.
    fn is_newly_to_stop(&self, row: &JobRow) -> bool {
        let watched = self.watched.get(&(row.task_id, row.generation));
        row.cancel_requested && watched.is_some_and(|watched| watched.may_be_there() && !watched.stop_asked())
    }

    /// Asks what has become of the jobs that the engine may have; false if there are none.
    fn look(&mut self, rows: &[JobRow], work: &mut Work) -> Result<bool, EngineError> {
        let may_be_there = |row: &&JobRow| {
            self.watched.get(&(row.task_id, row.generation)).is_some_and(Watched::may_be_there)
        };
        let asked: Vec<&JobRow> = rows.iter().filter(may_be_there).collect();
        if asked.is_empty() {
            return Ok(false);
        }
        let ids: Vec<JobId> = asked.iter().map(|row| JobId::new(row.job.clone())).collect();
        let statuses = self.attached.call(|engine| engine.poll(&ids))?;
        let now = self.core.shared.monotonic();
        // Time counts between two answers, up to twice the poll interval: the machine may have slept, or there was nothing to ask.
        let since = now.saturating_sub(self.answered_at.replace(now).unwrap_or(now));
        let since = since.min(self.attached.settings.poll_interval.saturating_mul(2));
        for (row, status) in asked.iter().zip(&statuses) {
            if let Some(watched) = self.watched.get_mut(&(row.task_id, row.generation)) {
                watched.hear(status, since.min(now.saturating_sub(watched.met_at)));
            }
        }
        // First those with which nothing has failed: the others may hold up a round.
        let mut told: Vec<_> = asked.iter().zip(&statuses).collect();
        told.sort_by_key(|(row, _)| self.has_rested(row));
        for (row, status) in told {
            if !self.may_go_on() {
                break;
            }
            self.decide(row, status, work);
        }
        Ok(true)
    }

    /// Starts jobs that nobody has started, until it is time for a poll. Answers with whether the engine has answered, if it had not before.
    fn start_new(
        &mut self,
        rows: &[JobRow],
        work: &mut Work,
        mut has_answered: bool,
    ) -> Result<bool, EngineError> {
        let mut starts = 0;
        // First those with which nothing has failed: one that cannot be started does not keep the others from it.
        let mut rows: Vec<_> = rows.iter().collect();
        rows.sort_by_key(|row| self.has_rested(row));
        for row in rows {
            let key = (row.task_id, row.generation);
            let now = self.core.shared.monotonic();
            if self.watched.get(&key).is_none_or(|watched| watched.may_be_there() || watched.rests(now)) {
                continue;
            }
            if !self.may_go_on() {
                break;
            }
            if starts == STARTS_PER_ROUND || (starts > 0 && now >= self.poll_at) {
                work.has_more = true;
                break;
            }
            starts += 1;
            // Nobody has started it, so the engine does not know it.
            match self.decide(row, &JobStatus::Absent, work) {
                Some(Err(e)) if !has_answered && !self.has_answered_lately() => return Err(e),
                Some(Err(e)) if e.kind == EngineErrorKind::NotNow => break, // nor would it take the others
                Some(Err(_)) | None => {}
                Some(Ok(())) => has_answered = true,
            }
        }
        Ok(has_answered)
    }

    fn has_rested(&self, row: &JobRow) -> bool {
        self.watched.get(&(row.task_id, row.generation)).is_some_and(Watched::has_rested)
    }

    fn has_answered_lately(&self) -> bool {
        let lately = self.attached.settings.poll_interval.saturating_mul(2);
        let now = self.core.shared.monotonic();
        self.answered_at.is_some_and(|at| now.saturating_sub(at) <= lately)
    }

    /// Does what [`judge`] decides about a job. Answers with what the engine has answered, if it was called to start or stop the job.
    fn decide(
        &mut self,
        row: &JobRow,
        status: &JobStatus,
        work: &mut Work,
    ) -> Option<Result<(), EngineError>> {
        let key = (row.task_id, row.generation);
        let (now, wall) = (self.core.shared.monotonic(), self.core.now());
        let watched = self.watched.get(&key)?;
        let known = watched.known(row, now, wall);
        let rules = JobRules {
            remembers: self.attached.remembers(),
            start_timeout: self.attached.settings.start_timeout,
            stuck_timeout: self.core.config.stuck_task_timeout,
            lost_retry: self.attached.settings.lost_retry,
        };
        let done = match judge(&known, status, &rules) {
            Decision::Wait => return None,
            Decision::Accept => {
                self.has(row, work);
                return None;
            }
            Decision::End(fate) => {
                self.end(row, fate, work);
                return None;
            }
            Decision::Start => self.start(row, work),
            Decision::Cancel if watched.stops_later(now) => return None,
            Decision::Cancel => {
                let job = watched.job.clone();
                self.attached.call(|engine| engine.cancel(&job))
            }
        };
        let after = self.core.shared.monotonic();
        if let Some(watched) = self.watched.get_mut(&key) {
            match &done {
                Ok(()) if !matches!(status, JobStatus::Absent) => watched.stop_at(after),
                Ok(()) => {}
                Err(_) => watched.rest(after, PAUSES),
            }
        }
        Some(done)
    }

    /// Starts a job, if it is still to be started.
    fn start(&mut self, row: &JobRow, work: &mut Work) -> Result<(), EngineError> {
        let key = (row.task_id, row.generation);
        let spec = self.core.store.read(|conn| store::spec(conn, row.task_id, &row.job));
        let spec = match spec {
            Ok(Some(spec)) => spec,
            Ok(None) => return Err(EngineError::not_now("it is to be started no more")),
            Err(e) => return Err(EngineError::not_now(format!("the file cannot be read: {e}"))),
        };
        let Some(watched) = self.watched.get_mut(&key) else { return Ok(()) };
        let (job, before) = (watched.job.clone(), watched.maybe_started);
        watched.maybe_started = !planted("g19-a-start-without-an-answer-is-repeated-without-a-look");
        let started = self.attached.call(|engine| engine.start(&job, &spec));
        match &started {
            Ok(()) => self.has(row, work),
            Err(e) if e.kind == EngineErrorKind::Refused => {
                let error = ErrorReport::new("EngineRefused", &e.message, "");
                self.unsettled.push(EndedJob::refused(row, error));
                self.watched.remove(&key);
                return Ok(()); // which is an answer
            }
            Err(e) if e.kind == EngineErrorKind::NotNow => {
                if let Some(watched) = self.watched.get_mut(&key) {
                    watched.maybe_started = before; // an earlier start of it may have reached the engine
                }
            }
            Err(_) => {}
        }
        started
    }

    /// Notes that the engine has a job.
    fn has(&mut self, row: &JobRow, work: &mut Work) {
        if let Some(watched) = self.watched.get_mut(&(row.task_id, row.generation)) {
            watched.accepted = true;
        }
        work.accepted.push((row.task_id, row.job.clone()));
    }

    /// Ends the attempt of a job, as soon as its result is fetched.
    fn end(&mut self, row: &JobRow, fate: Fate, work: &mut Work) {
        let (key, now) = ((row.task_id, row.generation), self.core.shared.monotonic());
        if work.is_held_up {
            return;
        }
        let Some(watched) = self.watched.get_mut(&key).filter(|watched| !watched.rests(now)) else { return };
        match self.ends.ended(row, watched, fate, now) {
            Some(ended) => {
                self.unsettled.push(ended);
                self.watched.remove(&key);
            }
            None => {
                let after = self.core.shared.monotonic();
                work.is_held_up = after.saturating_sub(now) >= HOLD_UP;
                watched.rest(after, PAUSES);
            }
        }
        if self.unsettled.len() >= ENDS_PER_SETTLE {
            let _ = self.settle(); // what cannot be written is tried again at the end of the round
        }
    }

    /// Notes in the file that the engine has these jobs for certain.
    fn accept(&self, jobs: Vec<(TaskId, String)>) -> Result<(), Error> {
        if jobs.is_empty() {
            return Ok(());
        }
        let (epoch, now) = (self.epoch, self.core.now());
        self.core.commit(Rank::Change, move |tx| {
            store::check_epoch(tx, epoch)?;
            store::accept(tx, &jobs, now)
        })
    }

    /// The engine cannot be reached: its queues are closed, so that no attempt is charged for that.
    fn is_out(&mut self, why: &EngineError) -> Result<(), Error> {
        let (first, last) = PAUSES;
        let pause = self.outage.as_ref().map_or(first, |outage| (outage.pause * 2).min(last));
        let why = ErrorReport::new("", why.message(), "").error_message;
        let name = self.attached.name();
        if self.outage.is_none() {
            tell!(
                Warn,
                "the engine {name:?} cannot be reached, and its queues are closed until it can: {why}"
            );
        }
        let why = format!("the engine {name:?} cannot be reached: {why}");
        let until = self.core.shared.monotonic() + pause;
        (self.outage, self.poll_at) = (Some(Outage { pause, until }), until);
        (self.answered_at, self.may_be_closed) = (None, true); // time in which it does not answer does not count
        let (queues, now) = (self.attached.settings.queues.clone(), self.core.now());
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
