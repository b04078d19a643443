//! The steps of a queue. Its threads, and the testing kit without threads, call the same ones.

use std::any::Any;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use super::handover::ask;
use super::hub::Hub;
use crate::clock;
use crate::config::Config;
use crate::error::{Error, ErrorKind, Outcome};
use crate::executor::Executor;
use crate::handler::{Control, Finished, Note, Port, Start};
use crate::planted::planted;
use crate::store::{self, Notes, OwnerLock, Rank, Recovered, SettleRules, StartNote, Store, Tx};
use crate::sync::atomic::Ordering;
use crate::sync::{Mutex, Sender, lock, thread};
use crate::task::{Claimed, TaskId, Timestamp};
use crate::timer::{NextTick, Ticks};

/// Tasks that one transaction promotes, lifts or ends at most: bounds how long others wait for the writer.
const CHUNK: usize = 500;

/// How soon a step that failed is tried again.
pub(super) const TRY_AGAIN: Duration = Duration::from_secs(1);

/// How often the outcome of an attempt that has outlived its queue is tried to be written.
const LATE_TRIES: u32 = 60;

/// Results (of JSON) and output of more bytes are not kept on a full disk: they would need pages of their own.
const LARGE_OUTCOME: usize = 1024;

/// A suspect that has been running for so long passes the turn on: a task that kills its process does so sooner.
const SUSPECT_TURN: Duration = Duration::from_secs(60);

/// A worker whose task runs on so long past its deadline is replaced.
const PATIENCE: Duration = Duration::from_secs(1);

/// The parts of a queue that outlive its handles while a handler runs.
pub(crate) struct Core {
    pub config: Config,
    pub store: Store,
    pub hub: Arc<Hub>,
    pub rules: SettleRules,
    /// The queues that it claims from as the owner; none: all.
    pub served: Option<Vec<String>>,
    /// The handle, for handlers that ask for their queue.
    pub home: OnceLock<Weak<dyn Any + Send + Sync>>,
    ownership: Mutex<Option<Ownership>>,
    /// Where workers deliver outcomes; without it they settle themselves.
    outcomes: Mutex<Option<Sender<Finished>>>,
    executor: OnceLock<Weak<Executor>>,
    data_version: Mutex<Option<i64>>,
}

/// What the owner of a file has.
struct Ownership {
    notes: Arc<Notes>,
    /// Held for its lock.
    _lock: OwnerLock,
}

impl Core {
    pub(super) fn new(
        config: Config,
        store: Store,
        hub: Arc<Hub>,
        rules: SettleRules,
        served: Option<Vec<String>>,
    ) -> Core {
        Core {
            config,
            store,
            hub,
            rules,
            served,
            home: OnceLock::new(),
            ownership: Mutex::default(),
            outcomes: Mutex::default(),
            executor: OnceLock::new(),
            data_version: Mutex::default(),
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.hub.clock.now()
    }

    pub(super) fn set_executor(&self, executor: Weak<Executor>) {
        let _ = self.executor.set(executor);
    }

    pub(super) fn set_outcomes(&self, outcomes: Option<Sender<Finished>>) {
        *lock(&self.outcomes) = outcomes;
    }

    /// Commits a write.
    pub(super) fn write<R: Send + 'static>(
        &self,
        write: impl FnMut(&Tx<'_>) -> store::Sql<R> + Send + 'static,
    ) -> Result<R, Error> {
        self.store.write(Rank::Change, write)
    }

    /// Commits a write that adds data: refused on a full disk.
    pub(super) fn add<R: Send + 'static>(
        &self,
        write: impl FnMut(&Tx<'_>) -> store::Sql<R> + Send + 'static,
    ) -> Result<R, Error> {
        self.store.write(Rank::Add, write)
    }

    pub(crate) fn is_owner(&self) -> bool {
        self.hub.epoch().is_some() && self.store.process.is_this()
    }

    /// Asks for the right to execute, and on getting it settles what the owner before was running. None if another has it.
    pub(super) fn acquire(&self) -> Result<Option<Recovered>, Error> {
        let Some(owner_lock) = OwnerLock::try_acquire(&self.store.sidecar_path())? else { return Ok(None) };
        let booted_at = clock::booted_at();
        let started = owner_lock.read_notes(booted_at);
        let (rules, served, now) = (self.rules.clone(), self.served.clone(), self.now());
        let recovered = self.write(move |tx| store::recover(tx, &started, &rules, served.as_deref(), now))?;
        let notes = Arc::new(owner_lock.begin_notes(recovered.epoch, booted_at)?);
        *lock(&self.ownership) = Some(Ownership { notes, _lock: owner_lock });
        self.hub.set_epoch(Some(recovered.epoch));
        if recovered.lost + recovered.handed_back > 0 {
            log::info!(
                "recovered {} lost attempts and {} unstarted claims",
                recovered.lost,
                recovered.handed_back
            );
        }
        Ok(Some(recovered))
    }

    /// Asks for the right to execute; false if another has it. On getting it, [`Core::begin`] is to follow.
    pub(super) fn take_over(&self) -> Result<bool, Error> {
        if self.acquire()?.is_none() {
            return Ok(false);
        }
        self.provide_reserve();
        self.hub.set_claiming(true);
        self.hub.set_behind(true);
        self.hub.alarm.set(NextTick { at: Some(self.now()), monotonic: None });
        Ok(true)
    }

    /// What a new owner does after its recovery: lifts the hold of tasks whose name is known now, and claims.
    pub(super) fn begin(&self) -> Result<(), Error> {
        let known = self.hub.known.clone();
        loop {
            let (known, now) = (known.clone(), self.now());
            if self.owner_write(move |tx| store::lift_known(tx, &known, CHUNK, now))? < CHUNK {
                break;
            }
        }
        self.claim_more()
    }

    /// Commits a write of the owner; refused if this process is not the owner any more.
    fn owner_write<R: Send + 'static>(
        &self,
        mut write: impl FnMut(&Tx<'_>) -> store::Sql<R> + Send + 'static,
    ) -> Result<R, Error> {
        let epoch = self.hub.epoch();
        self.write(move |tx| {
            store::check_epoch(tx, epoch)?;
            write(tx)
        })
    }

    /// Gives up the right to execute, if nothing runs any more.
    pub(super) fn release_if_idle(&self) {
        if self.hub.nothing_runs() {
            self.hub.set_epoch(None);
            lock(&self.ownership).take();
        }
    }

    /// Ends as its process ends: nothing more is written, the lock is released. Answers with where the file lies.
    pub(super) fn crash(&self) -> Result<store::Place, Error> {
        let place = self.store.crash()?;
        lock(&self.ownership).take();
        Ok(place)
    }

    /// Makes room for what running tasks have to record on a full disk. Without it nothing is claimed; it is tried again then.
    pub(super) fn provide_reserve(&self) {
        if let Err(e) = self.store.provide_reserve() {
            log::warn!("there is no room for a reserve in the file: {e}");
        }
    }

    /// Lets claims ride along with an empty commit.
    pub(super) fn claim_more(&self) -> Result<(), Error> {
        self.store.refill_reserve()?;
        self.write(ask(&self.hub))
    }

    /// Settles attempts in one commit; what could not be settled comes back, with the reason. On a full disk the outcome of a single
    /// attempt is recorded without its result and its output, if these are large.
    pub(super) fn settle(&self, mut batch: Vec<Finished>) -> Result<(), (Vec<Finished>, Error)> {
        self.hub.renew_news(batch.iter_mut().map(|finished| &mut finished.settlement));
        let settled = self.try_to_settle(batch);
        match settled {
            Err((back, e)) if has_no_room(&e) && back.len() == 1 && is_large(&back) => batch = back,
            settled => return settled,
        }
        for Finished { settlement, .. } in &mut batch {
            log::warn!("the disk is full: what task {} gave or wrote is not kept", settlement.task_id);
            if settlement.verdict.result_bytes() > LARGE_OUTCOME {
                settlement.verdict.drop_result();
            }
            settlement.news.output.clear();
        }
        self.try_to_settle(batch)
    }

    fn try_to_settle(&self, batch: Vec<Finished>) -> Result<(), (Vec<Finished>, Error)> {
        let rank = if is_large(&batch) { Rank::Add } else { Rank::Settle };
        let epoch = self.hub.epoch();
        let batch = Arc::new(batch);
        let (shared, rules, now) = (batch.clone(), self.rules.clone(), self.now());
        let written = self.store.write(rank, move |tx| {
            store::check_epoch(tx, epoch)?;
            store::settle(tx, shared.iter().map(|finished| &finished.settlement), &rules, now)
        });
        match written {
            Ok(late) => {
                late.iter().for_each(|id| log::info!("the outcome of an attempt of task {id} came too late"));
                Ok(())
            }
            Err(e) => {
                let batch =
                    Arc::into_inner(batch).expect("the write that shared it was dropped before its answer");
                Err((batch, e))
            }
        }
    }

    /// Forgets an outcome that can never be written. Its task counts as lost at the next recovery.
    pub(super) fn abandon(&self, finished: Finished, why: &Error) {
        let Finished { settlement: s, start, .. } = finished;
        log::error!("the outcome of task {} cannot be written: {why}", s.task_id);
        if let Start::Noted(note) = start {
            note.keep();
        }
        self.hub.forget(&[(s.task_id, s.generation)]);
        self.hub.changes.tell();
    }

    /// Gives up what this process was running: another one owns the file now.
    pub(super) fn disown(&self, batch: Vec<Finished>) {
        log::error!("another process has taken over the execution of {}", self.store.path().display());
        self.hub.set_claiming(false);
        let mut ended: Vec<_> =
            batch.iter().map(|f| (f.settlement.task_id, f.settlement.generation)).collect();
        ended.extend(
            std::iter::from_fn(|| self.hub.take_job()).map(|j| (j.claimed.task_id, j.claimed.generation)),
        );
        self.hub.forget(&ended);
        for control in self.hub.controls() {
            control.superseded.store(true, Ordering::Release);
        }
        self.hub.set_epoch(None);
        lock(&self.ownership).take();
    }

    /// Writes progress and output that are not in the file yet.
    pub(super) fn flush_news(&self) -> Result<(), Error> {
        let batch = Arc::new(self.hub.take_news());
        if batch.is_empty() {
            return Ok(());
        }
        // Output can be large, so on a full disk it is not for the room that is kept for outcomes.
        let has_output = batch.iter().any(|(_, news)| !news.output.is_empty());
        let rank = if has_output { Rank::Add } else { Rank::Change };
        let (shared, epoch) = (batch.clone(), self.hub.epoch());
        let written = self.store.write(rank, move |tx| {
            store::check_epoch(tx, epoch)?;
            for (control, news) in shared.iter() {
                store::save_news(tx, control.task_id, control.generation, news)?;
            }
            Ok(())
        });
        if written.is_err() {
            batch.iter().for_each(|(control, news)| control.keep_news(news));
            self.hub.note_news();
        }
        written
    }

    /// Does what is due by the wall clock, in chunks; answers with the next time.
    pub(super) fn promote(&self) -> Result<Option<Timestamp>, Error> {
        loop {
            // The time is read under the writer's lead: a wait that began while we queued would look like one from the future.
            let (now, due, jumped) = self.store.alone(|conn| {
                let now = self.now();
                Ok((now, store::next_due(conn)?, store::clock_jumped(conn, now)?))
            })?;
            if self.hub.is_stopping() || (!jumped && due.is_none_or(|due| due > now)) {
                return Ok(due);
            }
            let clock = self.hub.clock.clone();
            if self.owner_write(move |tx| store::promote(tx, clock.now(), CHUNK))? == 0 {
                return Ok(due);
            }
        }
    }

    /// Looks after running attempts: silence, deadlines, turns among suspects. Answers with the next look, on the monotonic clock.
    pub(super) fn watch(&self) -> Result<Option<Duration>, Error> {
        let now = self.hub.monotonic();
        let mut next = None;
        let mut look_at = |at: Duration| next = Some(next.map_or(at, |n: Duration| n.min(at)));
        for control in self.hub.controls() {
            if let Some(sign) = control.sign_of_life().filter(|_| !control.silent.load(Ordering::Acquire)) {
                let until = sign + self.config.stuck_task_timeout;
                if now >= until {
                    self.give_up(&control)?;
                } else {
                    look_at(until);
                }
            }
            match control.suspect_until() {
                Some(until) if now >= until => self.spare(&control)?,
                Some(until) => look_at(until),
                None => {}
            }
            if let Some(deadline) = control.deadline().filter(|_| control.phase.is_running()) {
                let until = deadline + PATIENCE;
                if now < until {
                    look_at(until);
                } else if !self.replace_worker(&control) {
                    look_at(now + PATIENCE);
                }
            }
        }
        Ok(next)
    }

    fn give_up(&self, control: &Control) -> Result<(), Error> {
        let (id, generation, silent, now) =
            (control.task_id, control.generation, self.config.stuck_task_timeout, self.now());
        log::warn!(
            "task {id} has given no sign of life for {}; it is LOST",
            humantime::format_duration(silent)
        );
        control.silent.store(true, Ordering::Release); // before the write: its worker may settle it right after
        let given_up = self.owner_write(move |tx| store::fall_silent(tx, id, generation, silent, now));
        if given_up.is_err() {
            control.silent.store(false, Ordering::Release);
        }
        given_up
    }

    /// Passes the turn among suspects on from one that has been running for long.
    fn spare(&self, control: &Control) -> Result<(), Error> {
        if planted("g06-a-hung-suspect-keeps-the-turn") {
            return Ok(());
        }
        let (id, generation, now) = (control.task_id, control.generation, self.now());
        log::info!(
            "task {id} was running when a process died and has run for {SUSPECT_TURN:?} now; the next such task may run"
        );
        self.owner_write(move |tx| store::spare(tx, id, generation, now))?;
        control.set_suspect_until(None);
        Ok(())
    }

    /// Starts another worker in the place of one whose task ignores its deadline: at most as many as there are workers. False if
    /// there is no place now.
    fn replace_worker(&self, control: &Control) -> bool {
        if !control.reported.swap(true, Ordering::AcqRel) {
            log::warn!(
                "task {} ignores its deadline; call cx.ensure_active() in its handler",
                control.task_id
            );
        }
        let Some(executor) = self.executor.get().and_then(Weak::upgrade) else { return true };
        if self.hub.workers() >= 2 * self.config.workers || executor.add_worker().is_err() {
            return false;
        }
        self.hub.add_workers(1);
        if control.phase.replace() {
            self.hub.wake.ring();
        }
        true
    }

    /// Notices what other processes have written, if they have.
    pub(super) fn look_abroad(&self) -> Result<(), Error> {
        let version = self.store.alone(store::data_version)?;
        if *lock(&self.data_version) != Some(version) {
            self.notice()?;
            *lock(&self.data_version) = Some(version);
        }
        Ok(())
    }

    /// Looks at everything that another connection may have changed.
    pub(super) fn notice(&self) -> Result<(), Error> {
        let (flags, due) = self.store.alone(|conn| Ok((store::flags(conn)?, store::next_due(conn)?)))?;
        self.hub.apply_flags(&flags);
        self.hub.alarm.set(NextTick { at: due, monotonic: None });
        self.hub.changes.tell();
        if self.is_owner() { self.claim_more() } else { Ok(()) }
    }
}

impl Core {
    /// Settles an attempt that has outlived its queue, on its own thread.
    fn settle_late(&self, finished: Finished) {
        let mut batch = vec![finished];
        for _ in 0..LATE_TRIES {
            match self.settle(std::mem::take(&mut batch)) {
                Ok(()) => break,
                Err((back, e)) if is_passing(&e) => {
                    log::warn!("an outcome cannot be written, trying again in {TRY_AGAIN:?}: {e}");
                    batch = back;
                    thread::sleep(TRY_AGAIN);
                }
                Err((back, e)) => back.into_iter().for_each(|finished| self.abandon(finished, &e)),
            }
        }
        for finished in batch {
            self.abandon(finished, &Error::new(ErrorKind::TimedOut, "it was tried for a minute"));
        }
        self.release_if_idle();
    }
}

/// Whether an outcome was not recorded for want of room.
fn has_no_room(error: &Error) -> bool {
    error.kind() == ErrorKind::DiskFull && error.outcome() == Outcome::NotDone
}

/// Whether an outcome of these needs so much room that it must not come from the reserve for a full disk.
fn is_large(batch: &[Finished]) -> bool {
    batch.iter().any(|Finished { settlement, .. }| {
        settlement.verdict.result_bytes() + settlement.news.output_bytes() > LARGE_OUTCOME
    })
}

/// Whether an error may go away by itself.
pub(super) fn is_passing(e: &Error) -> bool {
    matches!(
        e.kind(),
        ErrorKind::Busy | ErrorKind::DiskFull | ErrorKind::Io | ErrorKind::ReadOnly | ErrorKind::FileReplaced
    )
}

impl Ticks for Core {
    fn tick(&self) -> NextTick {
        if !self.is_owner() {
            return NextTick::default();
        }
        let soon = || NextTick { at: None, monotonic: Some(self.hub.monotonic() + TRY_AGAIN) };
        let promoted = self.promote().map(|at| NextTick { at, monotonic: None });
        let watched = self.watch().map(|monotonic| NextTick { at: None, monotonic });
        [promoted, watched].into_iter().fold(NextTick::default(), |next, step| {
            next.or_sooner(step.unwrap_or_else(|e| {
                log::warn!("the timer could not do what is due and tries again: {e}");
                soon()
            }))
        })
    }
}

impl Note for StartNote {
    fn keep(self: Box<Self>) {
        StartNote::keep(*self);
    }
}

impl Port for Core {
    fn starting(&self, claimed: &Claimed) -> Result<Box<dyn Note>, Error> {
        let notes = lock(&self.ownership).as_ref().map(|o| o.notes.clone());
        let notes = notes.ok_or_else(|| {
            Error::new(ErrorKind::OwnershipLost, "this process does not own the file any more")
        })?;
        Ok(Box::new(notes.write(claimed.task_id, claimed.generation)?))
    }

    fn checkpoint(&self, id: TaskId) -> Result<Option<String>, Error> {
        self.store.read(|conn| store::checkpoint(conn, id))
    }

    fn save_checkpoint(&self, control: &Control, json: String) -> Result<(), Error> {
        let (id, generation, epoch) = (control.task_id, control.generation, self.hub.epoch());
        let saved = self.add(move |tx| {
            store::check_epoch(tx, epoch)?;
            store::save_checkpoint(tx, id, generation, &json)
        });
        if saved.as_ref().is_err_and(|e| e.kind() == ErrorKind::Superseded) {
            control.superseded.store(true, Ordering::Release);
        }
        saved
    }

    fn has_news(&self) {
        if self.hub.note_news() {
            self.hub.wake.ring();
        }
    }

    fn watch_deadline(&self, deadline: Duration) {
        self.hub.alarm.set(NextTick { at: None, monotonic: Some(deadline + PATIENCE) });
    }

    fn watch_suspect(&self, control: &Control) {
        let until = self.hub.monotonic().saturating_add(SUSPECT_TURN);
        control.set_suspect_until(Some(until));
        self.hub.alarm.set(NextTick { at: None, monotonic: Some(until) });
    }

    fn watch_silence(&self) {
        let until = self.hub.monotonic() + self.config.stuck_task_timeout;
        self.hub.alarm.set(NextTick { at: None, monotonic: Some(until) });
    }

    fn finished(&self, finished: Finished) {
        let outcomes = lock(&self.outcomes).clone();
        let left = match outcomes {
            Some(outcomes) => outcomes.send(finished).err().map(|e| e.0),
            None => Some(finished),
        };
        if let Some(finished) = left {
            self.settle_late(finished);
        }
    }

    fn monotonic(&self) -> Duration {
        self.hub.monotonic()
    }

    fn limits(&self) -> (usize, usize) {
        (self.config.max_result_bytes, self.config.max_checkpoint_bytes)
    }

    fn default_timeout(&self) -> Option<Duration> {
        self.config.task_timeout
    }

    fn home(&self) -> Weak<dyn Any + Send + Sync> {
        self.home.get().cloned().unwrap_or_else(|| Weak::<()>::new())
    }
}
