//! The steps of a queue. Its threads, and the testing kit without threads, call the same ones.

use std::any::Any;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use super::claimer::ask;
use super::engine_queues::Lanes;
use super::obstacle::Obstacle;
use super::shared::Shared;
use crate::config::Config;
use crate::error::Error;
use crate::executor::Executor;
use crate::handler::Finished;
use crate::logging::tell;
use crate::store::{self, Declared, DiskPass, Notes, OwnerLock, Rank, Said, SettleRules, Store, Tx};
use crate::sync::atomic::AtomicU32;
use crate::sync::{Mutex, Sender, lock};
use crate::task::Timestamp;
use crate::timer::NextTick;

/// Tasks that one transaction changes at most: each chunk is atomic, and bounds how long others wait for the writer.
pub(crate) const TASKS_PER_COMMIT: usize = 500;

/// How soon a step that failed is tried again.
pub(crate) const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// A thread whose turns have panicked so often, one after the other, does not go on.
pub(crate) const MAX_PANICS: u32 = 10;

/// The parts of a queue that outlive its handles while a handler runs.
pub(crate) struct Core {
    /// Before the store: no system but Unix removes a temporary folder in which a file is open.
    pub(crate) ownership: Mutex<Option<Ownership>>,
    pub config: Config,
    pub store: Store,
    pub shared: Arc<Shared>,
    pub rules: SettleRules,
    /// The queues that it claims from as the owner; none: all.
    pub served: Option<Vec<String>>,
    /// The schedules that the program declares.
    pub declared: Vec<Declared>,
    /// The queues of its engines outside.
    pub lanes: OnceLock<Lanes>,
    /// Who says how long finished tasks are kept.
    pub(crate) retention: RetentionRule,
    /// What keeps this process from owning the file, if that is not another owner.
    pub obstacle: Obstacle,
    /// What keeps the owner from writing.
    pub trouble: Obstacle,
    /// The handle, for handlers that ask for their queue.
    pub home: OnceLock<Weak<dyn Any + Send + Sync>>,
    /// Where workers deliver outcomes; without it they settle themselves.
    pub(crate) outcomes: Mutex<Option<Sender<Finished>>>,
    pub(crate) executor: OnceLock<Weak<Executor>>,
    /// How many workers are wanted.
    pub(crate) workers: Mutex<usize>,
    data_version: Mutex<Option<i64>>,
    /// How far the pass over the tasks that wait for free disk has come.
    pub(crate) disk_pass: Mutex<DiskPass>,
    /// What this queue has said of conditions, and when.
    pub(crate) said: Mutex<Said>,
    /// Ticks of the timer that have panicked, one after the other.
    pub(crate) timer_panics: AtomicU32,
}

/// What the owner of a file has.
pub(crate) struct Ownership {
    pub notes: Arc<Notes>,
    /// Held for its lock.
    pub _lock: OwnerLock,
}

/// Who says how long finished tasks are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RetentionRule {
    /// The configuration, which is written to the file; if it has the default, the file; and if that has none, the default.
    Config,
    /// The file; if it has no retention, they are kept for good.
    File,
    /// The program, for itself: so long, or for good. Nothing is written to the file.
    Here(Option<Duration>),
}

impl Core {
    pub(crate) fn new(
        config: Config,
        store: Store,
        shared: Arc<Shared>,
        rules: SettleRules,
        served: Option<Vec<String>>,
        declared: Vec<Declared>,
        retention: RetentionRule,
    ) -> Core {
        Core {
            ownership: Mutex::default(),
            workers: Mutex::new(config.workers),
            config,
            store,
            shared,
            rules,
            served,
            declared,
            lanes: OnceLock::new(),
            retention,
            obstacle: Obstacle::default(),
            trouble: Obstacle::default(),
            home: OnceLock::new(),
            outcomes: Mutex::default(),
            executor: OnceLock::new(),
            data_version: Mutex::default(),
            disk_pass: Mutex::new(store::DISK_PASS_START),
            said: Mutex::default(),
            timer_panics: AtomicU32::new(0),
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.shared.clock.now()
    }

    pub(crate) fn set_executor(&self, executor: Weak<Executor>) {
        let _ = self.executor.set(executor);
    }

    pub(crate) fn set_outcomes(&self, outcomes: Option<Sender<Finished>>) {
        *lock(&self.outcomes) = outcomes;
    }

    /// Commits a write of a rank, and logs it if the WAL has become long.
    pub(crate) fn commit<R: Send + 'static>(
        &self,
        rank: Rank,
        write: impl FnMut(&Tx<'_>) -> store::Sql<R> + Send + 'static,
    ) -> Result<R, Error> {
        let answer = self.store.write(rank, write);
        if self.shared.wal_alarm.take() {
            tell!(
                Warn,
                "the WAL of {} is long, and grows as long as a reader holds an old snapshot: end exports, backups and open transactions",
                self.store.path().display()
            );
        }
        answer
    }

    pub(crate) fn is_owner(&self) -> bool {
        self.shared.gate.epoch().is_some() && self.store.process.is_this()
    }

    /// Commits a write of the owner; refused if this process is not the owner any more.
    pub(crate) fn owner_write<R: Send + 'static>(
        &self,
        mut write: impl FnMut(&Tx<'_>) -> store::Sql<R> + Send + 'static,
    ) -> Result<R, Error> {
        let epoch = self.shared.gate.epoch();
        self.commit(Rank::Change, move |tx| {
            store::check_epoch(tx, epoch)?;
            write(tx)
        })
    }

    /// Lets claims ride along with an empty commit.
    pub(crate) fn claim_more(&self) -> Result<(), Error> {
        self.store.refill_reserve()?;
        self.commit(Rank::Claim, ask(&self.shared))
    }

    /// Looks whether other processes have written to the file, and if so reads what they may have changed.
    pub(crate) fn check_other_processes(&self) -> Result<(), Error> {
        let version = self.store.alone(store::data_version)?;
        if *lock(&self.data_version) != Some(version) {
            self.notice()?;
            *lock(&self.data_version) = Some(version);
        }
        Ok(())
    }

    /// Looks at everything that another connection may have changed.
    pub(crate) fn notice(&self) -> Result<(), Error> {
        let (flags, due, tick) = self
            .store
            .alone(|conn| Ok((store::flags(conn)?, store::next_due(conn)?, store::next_tick(conn)?)))?;
        self.shared.running.apply_flags(&flags);
        self.shared.alarm.set(NextTick { schedules: tick, ..NextTick::at(due) });
        if self.store.alone(store::has_conditions)? {
            self.shared.alarm.set(NextTick::at(self.now())); // what was said of them may concern who waits, or who runs
        }
        self.shared.changes.tell_all();
        self.shared.followers.ring();
        if self.is_owner() { self.claim_more() } else { Ok(()) }
    }
}
