//! The steps of a queue. Its threads, and the testing kit without threads, call the same ones.

use std::any::Any;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use crossbeam_channel::Sender;

use super::handover::ask;
use super::hub::Hub;
use crate::config::Config;
use crate::error::{Error, ErrorKind};
use crate::executor::Executor;
use crate::handler::{Control, Finished, Port};
use crate::store::{self, Fault, Known, Notes, OwnerLock, Rank, Recovered, SettleRules, Settled, Store, Tx};
use crate::task::{Claimed, TaskId, Timestamp};
use crate::timer::{NextTick, Ticks};

/// Tasks that one transaction promotes, lifts or ends at most: bounds how long others wait for the writer.
const CHUNK: usize = 500;

/// How soon a step that failed is tried again.
pub(super) const TRY_AGAIN: Duration = Duration::from_secs(1);

/// A worker whose task runs on so long past its deadline is replaced.
const PATIENCE: Duration = Duration::from_secs(1);

/// The parts of a queue that outlive its handles while a handler runs.
pub(crate) struct Core {
    pub config: Config,
    pub store: Store,
    pub hub: Arc<Hub>,
    pub rules: SettleRules,
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
    pub(super) fn new(config: Config, store: Store, hub: Arc<Hub>, rules: SettleRules) -> Core {
        Core {
            config,
            store,
            hub,
            rules,
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

    pub(super) fn known(&self) -> &Known {
        &self.hub.known
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
        self.store.writer.write(Rank::Other, write)
    }

    pub(crate) fn is_owner(&self) -> bool {
        self.hub.epoch().is_some()
    }

    /// Asks for the right to execute, and on getting it settles what the owner before was running. None if another has it.
    pub(super) fn acquire(&self) -> Result<Option<Recovered>, Error> {
        let Some(owner_lock) = OwnerLock::try_acquire(&self.store.sidecar_path())? else { return Ok(None) };
        let started = owner_lock.read_notes();
        let (rules, now) = (self.rules.clone(), self.now());
        let recovered = self.write(move |tx| store::recover(tx, &started, &rules, now))?;
        let notes = Arc::new(owner_lock.begin_notes(recovered.epoch)?);
        *lock(&self.ownership) = Some(Ownership { notes, _lock: owner_lock });
        self.hub.set_epoch(Some(recovered.epoch));
        if recovered.lost + recovered.handed_back > 0 {
            log::info!(
                "recovered {} lost attempts and {} unstarted claims",
                recovered.lost,
                recovered.handed_back
            );
        }
        while self.lift_known()? == CHUNK {}
        Ok(Some(recovered))
    }

    /// Asks for the right to execute, and on getting it begins to claim. False if another has it.
    pub(super) fn take_over(&self) -> Result<bool, Error> {
        if self.acquire()?.is_none() {
            return Ok(false);
        }
        self.hub.set_claiming(true);
        self.hub.alarm.set(NextTick { at: Some(self.now()), monotonic: None });
        self.look_abroad()?;
        self.claim_more()?;
        Ok(true)
    }

    /// Lifts the hold of tasks whose name was unknown and is known now.
    fn lift_known(&self) -> Result<usize, Error> {
        let (known, now) = (self.known().clone(), self.now());
        self.write(move |tx| store::lift_known(tx, &known, CHUNK, now))
    }

    /// Gives up the right to execute, if nothing runs any more.
    pub(super) fn release_if_idle(&self) {
        if self.hub.nothing_runs() {
            self.hub.set_epoch(None);
            lock(&self.ownership).take();
        }
    }

    /// Lets claims ride along with an empty commit.
    pub(super) fn claim_more(&self) -> Result<(), Error> {
        self.write(ask(&self.hub))
    }

    /// Settles attempts in one commit; what could not be settled comes back, with the reason.
    pub(super) fn settle(&self, batch: Vec<Finished>) -> Result<(), (Vec<Finished>, Error)> {
        let Some(epoch) = self.hub.epoch() else {
            return Err((
                batch,
                Error::new(ErrorKind::OwnershipLost, "this process does not own the file any more"),
            ));
        };
        let batch = Arc::new(batch);
        let (shared, rules, now) = (batch.clone(), self.rules.clone(), self.now());
        let written = self.store.writer.write(Rank::Settle, move |tx| {
            store::check_epoch(tx, epoch)?;
            for finished in shared.iter() {
                if store::settle(tx, &finished.settlement, &rules, now)? == Settled::Superseded {
                    let Finished { settlement: s, .. } = finished;
                    log::info!(
                        "the outcome of task {} (generation {}) came too late",
                        s.task_id,
                        s.generation
                    );
                }
            }
            Ok(())
        });
        match written {
            Ok(()) => {
                self.settled(&batch);
                Ok(())
            }
            Err(e) => {
                let batch =
                    Arc::try_unwrap(batch).unwrap_or_else(|_| unreachable!("the write has been dropped"));
                Err((batch, e))
            }
        }
    }

    fn settled(&self, batch: &[Finished]) {
        let notes = lock(&self.ownership).as_ref().map(|o| o.notes.clone());
        for finished in batch {
            let s = &finished.settlement;
            if self.hub.forget(s.task_id, s.generation) {
                self.hub.remove_worker();
            }
            if let (Some(notes), Some(slot)) = (&notes, finished.note) {
                notes.release(slot);
            }
        }
        self.hub.changes.tell();
    }

    /// Gives up what this process was running: another one owns the file now.
    pub(super) fn disown(&self, batch: &[Finished]) {
        self.hub.set_claiming(false);
        for finished in batch {
            self.hub.forget(finished.settlement.task_id, finished.settlement.generation);
        }
        for control in self.hub.controls() {
            control.superseded.store(true, Ordering::Release);
        }
        self.hub.set_epoch(None);
        lock(&self.ownership).take();
    }

    /// Writes progress that is not in the file yet.
    pub(super) fn flush_progress(&self) -> Result<(), Error> {
        let batch = Arc::new(self.hub.take_progress());
        if batch.is_empty() {
            return Ok(());
        }
        let shared = batch.clone();
        let written = self.write(move |tx| {
            for (control, progress) in shared.iter() {
                store::save_progress(tx, control.task_id, control.generation, *progress)?;
            }
            Ok(())
        });
        if written.is_err() {
            batch.iter().for_each(|(control, _)| control.keep_progress());
            self.hub.note_progress();
        }
        written
    }

    /// Does what is due by the wall clock, in chunks; answers with the next time.
    pub(super) fn promote(&self) -> Result<Option<Timestamp>, Error> {
        loop {
            let now = self.now();
            let due = self.store.read(store::next_due)?;
            let jumped = self.store.read(|conn| store::clock_jumped(conn, now))?;
            if !jumped && due.is_none_or(|due| due > now) {
                return Ok(due);
            }
            self.write(move |tx| store::promote(tx, now, CHUNK))?;
        }
    }

    /// Looks after running attempts: silence and deadlines. Answers with the next look, on the monotonic clock.
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
            if let Some(deadline) = control.deadline().filter(|_| !control.replaced.load(Ordering::Acquire)) {
                let until = deadline + PATIENCE;
                if now >= until {
                    self.replace_worker(&control);
                } else {
                    look_at(until);
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
        control.silent.store(true, Ordering::Release);
        self.write(move |tx| store::fall_silent(tx, id, generation, silent, now))
    }

    /// Starts another worker in the place of one whose task ignores its deadline: at most as many as there are workers.
    fn replace_worker(&self, control: &Control) {
        let Some(executor) = self.executor.get().and_then(Weak::upgrade) else { return };
        log::warn!("task {} ignores its deadline; call cx.ensure_active() in its handler", control.task_id);
        if self.hub.workers() >= 2 * self.config.workers {
            control.replaced.store(false, Ordering::Release);
            return;
        }
        if executor.add_worker().is_ok() {
            control.replaced.store(true, Ordering::Release);
            self.hub.add_workers(1);
            self.hub.wake.ring();
        }
    }

    /// Notices what other processes have written. Says whether they have.
    pub(super) fn look_abroad(&self) -> Result<bool, Error> {
        let version = self.store.writer.alone(store::data_version)?;
        let before = lock(&self.data_version).replace(version);
        if before == Some(version) {
            return Ok(false);
        }
        self.notice()?;
        Ok(true)
    }

    /// Looks at everything that another connection may have changed.
    pub(super) fn notice(&self) -> Result<(), Error> {
        let flags = self.store.read(store::flags)?;
        self.hub.apply_flags(&flags);
        let due = self.store.read(store::next_due)?;
        self.hub.alarm.set(NextTick { at: due, monotonic: None });
        self.hub.changes.tell();
        if self.is_owner() { self.claim_more() } else { Ok(()) }
    }
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

impl Port for Core {
    fn starting(&self, claimed: &Claimed) -> Result<u64, Error> {
        let notes = lock(&self.ownership).as_ref().map(|o| o.notes.clone());
        let notes = notes.ok_or_else(|| {
            Error::new(ErrorKind::OwnershipLost, "this process does not own the file any more")
        })?;
        notes.write(claimed.task_id, claimed.generation)
    }

    fn checkpoint(&self, id: TaskId) -> Result<Option<String>, Error> {
        self.store.read(|conn| store::checkpoint(conn, id))
    }

    fn save_checkpoint(&self, control: &Control, json: String) -> Result<(), Error> {
        let (id, generation, epoch) = (control.task_id, control.generation, self.hub.epoch());
        let saved = self.write(move |tx| {
            let Some(epoch) = epoch else { return Err(Fault::Told(store::superseded(id))) };
            store::check_epoch(tx, epoch)?;
            store::save_checkpoint(tx, id, generation, &json)
        });
        if saved.as_ref().is_err_and(|e| e.kind() == ErrorKind::Superseded) {
            control.superseded.store(true, Ordering::Release);
        }
        saved
    }

    fn progressed(&self) {
        if self.hub.note_progress() {
            self.hub.wake.ring();
        }
    }

    fn watch_deadline(&self, deadline: Duration) {
        self.hub.alarm.set(NextTick { at: None, monotonic: Some(deadline + PATIENCE) });
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
        let Some(finished) = left else { return };
        let id = finished.settlement.task_id;
        match self.settle(vec![finished]) {
            Ok(()) => {}
            Err((batch, e)) => {
                log::error!("the outcome of task {id} could not be written: {e}");
                for f in &batch {
                    self.hub.forget(f.settlement.task_id, f.settlement.generation);
                }
            }
        }
        self.release_if_idle();
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
