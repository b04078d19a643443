//! The steps of a queue. Its threads, and the testing kit without threads, call the same ones.

use std::any::Any;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use super::claimer::ask;
use super::hub::Hub;
use super::obstacle::Obstacle;
use super::ticks::{PATIENCE, SUSPECT_TURN};
use crate::clock;
use crate::config::Config;
use crate::error::{Error, ErrorKind};
use crate::executor::Executor;
use crate::handler::{Control, Finished, Note, Port};
use crate::journal::tell;
use crate::store::{
    self, Lifting, Notes, OwnerLock, OwnerSettings, Rank, Recovered, SettleRules, StartNote, Store, Tx,
};
use crate::sync::atomic::{AtomicU32, Ordering};
use crate::sync::{Mutex, Sender, lock};
use crate::task::{Claimed, TaskId, Timestamp};
use crate::timer::NextTick;

/// Tasks that one transaction promotes, lifts or ends at most: bounds how long others wait for the writer.
pub(crate) const CHUNK: usize = 500;

/// How soon a step that failed is tried again.
pub(crate) const TRY_AGAIN: Duration = Duration::from_secs(1);

/// A thread whose turns have panicked so often, one after the other, does not go on.
pub(crate) const MAX_PANICS: u32 = 10;

/// The parts of a queue that outlive its handles while a handler runs.
pub(crate) struct Core {
    /// Before the store: no system but Unix removes a temporary folder in which a file is open.
    pub(crate) ownership: Mutex<Option<Ownership>>,
    pub config: Config,
    pub store: Store,
    pub hub: Arc<Hub>,
    pub rules: SettleRules,
    /// The queues that it claims from as the owner; none: all.
    pub served: Option<Vec<String>>,
    /// Who says how long finished tasks are kept.
    pub(crate) retention: RetentionRule,
    /// What keeps this process from owning the file, if it is no other owner.
    pub obstacle: Obstacle,
    /// The handle, for handlers that ask for their queue.
    pub home: OnceLock<Weak<dyn Any + Send + Sync>>,
    /// Where workers deliver outcomes; without it they settle themselves.
    outcomes: Mutex<Option<Sender<Finished>>>,
    pub(crate) executor: OnceLock<Weak<Executor>>,
    data_version: Mutex<Option<i64>>,
    /// Ticks of the timer that have panicked, one after the other.
    pub(crate) timer_panics: AtomicU32,
}

/// Who says how long finished tasks are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RetentionRule {
    /// The configuration, which the file is told; where that says nothing, the file, and at last the default.
    Config,
    /// The file; where it says nothing, they are kept for good.
    File,
    /// The program, for itself: so long, or for good. The file is not told.
    Here(Option<Duration>),
}

/// What the owner of a file has.
pub(crate) struct Ownership {
    notes: Arc<Notes>,
    /// Held for its lock.
    _lock: OwnerLock,
}

impl Core {
    pub(crate) fn new(
        config: Config,
        store: Store,
        hub: Arc<Hub>,
        rules: SettleRules,
        served: Option<Vec<String>>,
        retention: RetentionRule,
    ) -> Core {
        Core {
            ownership: Mutex::default(),
            config,
            store,
            hub,
            rules,
            served,
            retention,
            obstacle: Obstacle::default(),
            home: OnceLock::new(),
            outcomes: Mutex::default(),
            executor: OnceLock::new(),
            data_version: Mutex::default(),
            timer_panics: AtomicU32::new(0),
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.hub.clock.now()
    }

    pub(crate) fn set_executor(&self, executor: Weak<Executor>) {
        let _ = self.executor.set(executor);
    }

    pub(crate) fn set_outcomes(&self, outcomes: Option<Sender<Finished>>) {
        *lock(&self.outcomes) = outcomes;
    }

    /// Commits a write of a rank, and tells of a WAL that has become long.
    pub(crate) fn commit<R: Send + 'static>(
        &self,
        rank: Rank,
        write: impl FnMut(&Tx<'_>) -> store::Sql<R> + Send + 'static,
    ) -> Result<R, Error> {
        let answer = self.store.write(rank, write);
        if self.hub.wal_alarm.take() {
            tell!(
                Warn,
                "the WAL of {} is long, and grows as long as a reader holds an old snapshot: end exports, backups and open transactions",
                self.store.path().display()
            );
        }
        answer
    }

    pub(crate) fn is_owner(&self) -> bool {
        self.hub.epoch().is_some() && self.store.process.is_this()
    }

    /// Asks for the right to execute, and on getting it settles what the owner before was running. None if another has it.
    pub(crate) fn acquire(&self) -> Result<Option<Recovered>, Error> {
        let Some(owner_lock) = self.store.try_own()? else { return Ok(None) };
        let booted_at = clock::booted_at();
        let started = owner_lock.read_notes(booted_at);
        let (rules, now) = (self.rules.clone(), self.now());
        let retention = self.config.own_retention().filter(|_| self.retention == RetentionRule::Config);
        let settings = OwnerSettings { served: self.served.clone(), retention };
        let recovered =
            self.commit(Rank::Change, move |tx| store::recover(tx, &started, &rules, &settings, now))?;
        let notes = Arc::new(owner_lock.begin_notes(recovered.epoch, booted_at)?);
        *lock(&self.ownership) = Some(Ownership { notes, _lock: owner_lock });
        self.hub.set_lifting(true);
        self.hub.set_epoch(Some(recovered.epoch));
        self.hub.forget_unrecorded();
        if recovered.lost + recovered.handed_back > 0 {
            tell!(
                Info,
                "recovered {} lost attempts and {} unstarted claims",
                recovered.lost,
                recovered.handed_back
            );
        }
        Ok(Some(recovered))
    }

    /// Asks for the right to execute; false if another has it. On getting it, [`Core::begin`] is to follow.
    ///
    /// # Errors
    /// What is in the way, which has been said then.
    pub(crate) fn take_over(&self) -> Result<bool, Error> {
        let acquired = self.acquire();
        if let Err(why) = &acquired {
            if self.obstacle.meet(why, self.hub.monotonic()) {
                let path = self.store.path().display();
                tell!(
                    Warn,
                    "this process cannot execute tasks from {path}, and tries again each second: {why}"
                );
                self.hub.changes.tell_all();
            }
        } else if self.obstacle.pass() {
            self.hub.changes.tell_all();
        }
        if acquired?.is_none() {
            return Ok(false);
        }
        self.provide_reserve();
        self.hub.set_claiming(true);
        self.hub.set_behind(true);
        self.hub.alarm.set(NextTick { at: Some(self.now()), monotonic: None });
        Ok(true)
    }

    /// What a new owner does after its recovery: lifts the hold of tasks that are known now, one chunk at a time, and claims. Answers
    /// with where to go on, unless all is done.
    pub(crate) fn begin(&self, from: Lifting) -> Result<Option<Lifting>, Error> {
        let (known, now) = (self.hub.known.clone(), self.now());
        let next = self.owner_write(move |tx| store::lift_known(tx, &known, from, CHUNK, now))?;
        if next.is_none() {
            self.hub.set_lifting(false);
            self.hub.changes.tell_all(); // whoever waits for a drain
            self.claim_more()?;
        }
        Ok(next)
    }

    /// Commits a write of the owner; refused if this process is not the owner any more.
    pub(crate) fn owner_write<R: Send + 'static>(
        &self,
        mut write: impl FnMut(&Tx<'_>) -> store::Sql<R> + Send + 'static,
    ) -> Result<R, Error> {
        let epoch = self.hub.epoch();
        self.commit(Rank::Change, move |tx| {
            store::check_epoch(tx, epoch)?;
            write(tx)
        })
    }

    /// Gives up the right to execute, if nothing runs any more.
    pub(crate) fn release_if_idle(&self) {
        if self.hub.nothing_runs() {
            self.hub.set_epoch(None);
            lock(&self.ownership).take();
        }
    }

    /// Ends as its process ends: nothing more is written, the lock is released. Answers with where the file lies.
    pub(crate) fn crash(&self) -> Result<store::Place, Error> {
        let place = self.store.crash()?;
        lock(&self.ownership).take();
        Ok(place)
    }

    /// Makes room for what running tasks have to record on a full disk. Without it nothing is claimed; it is tried again then.
    pub(crate) fn provide_reserve(&self) {
        if let Err(e) = self.store.provide_reserve() {
            tell!(Warn, "there is no room for a reserve in the file: {e}");
        }
    }

    /// Lets claims ride along with an empty commit.
    pub(crate) fn claim_more(&self) -> Result<(), Error> {
        self.store.refill_reserve()?;
        self.commit(Rank::Change, ask(&self.hub))
    }

    /// Notices what other processes have written, if they have.
    pub(crate) fn look_abroad(&self) -> Result<(), Error> {
        let version = self.store.alone(store::data_version)?;
        if *lock(&self.data_version) != Some(version) {
            self.notice()?;
            *lock(&self.data_version) = Some(version);
        }
        Ok(())
    }

    /// Looks at everything that another connection may have changed.
    pub(crate) fn notice(&self) -> Result<(), Error> {
        let (flags, due) = self.store.alone(|conn| Ok((store::flags(conn)?, store::next_due(conn)?)))?;
        self.hub.apply_flags(&flags);
        self.hub.alarm.set(NextTick { at: due, monotonic: None });
        self.hub.changes.tell_all();
        if self.is_owner() { self.claim_more() } else { Ok(()) }
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
        let saved = self.commit(Rank::Add, move |tx| {
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

    fn missed(&self, id: TaskId, generation: u64) {
        self.leave_unrecorded(id, generation);
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
