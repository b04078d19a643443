//! The queue's threads: how they start, and how they end.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use super::claimer::Claimer;
use super::core::Core;
use super::dispatcher;
use super::maintenance::Maintenance;
use crate::error::{Error, ErrorKind};
use crate::executor::Executor;
use crate::handler::{Port, Registry, in_handler};
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::thread::{self, JoinHandle};
use crate::sync::{Mutex, Sender, bounded, lock, unbounded};
use crate::task::TaskId;
use crate::timer;

/// How long handlers have to stop after they were asked to.
const STOP_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a write waits for a lock of another process when the grace is over.
const FINAL_LOCK_TIMEOUT: Duration = Duration::from_millis(100);

/// What [`Queue::shutdown`](crate::Queue::shutdown) did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// Claimed tasks that had not started: queued again, no attempt charged.
    pub handed_back: usize,
    /// Tasks that did not end within the grace and were asked to stop.
    pub interrupted: usize,
    /// Tasks whose handlers run on all the same. Their threads end with the process; until then the file stays owned, and what
    /// they return is still recorded.
    pub still_running: Vec<TaskId>,
    /// Tasks that ended, but the file could not be written: they count as lost, and run again if they have attempts left.
    pub not_recorded: Vec<TaskId>,
}

/// What the clones of a [`Queue`] share. Dropping the last one stops the threads.
pub(crate) struct Runtime {
    pub core: Arc<Core>,
    pub registry: Arc<Registry>,
    threads: Mutex<Option<Threads>>,
    /// When the grace of a shutdown ends, in monotonic milliseconds.
    grace_ends: AtomicU64,
}

struct Threads {
    executor: Arc<Executor>,
    dispatcher: JoinHandle<()>,
    timer: JoinHandle<()>,
    maintenance: JoinHandle<()>,
    /// The maintenance ends when this is dropped.
    stop_maintenance: Sender<()>,
}

impl Runtime {
    /// A runtime without threads: the caller calls the steps one by one.
    pub(crate) fn without_threads(core: Arc<Core>, registry: Arc<Registry>) -> Arc<Runtime> {
        let runtime = Arc::new(Runtime {
            core,
            registry,
            threads: Mutex::default(),
            grace_ends: AtomicU64::new(u64::MAX),
        });
        runtime.core.store.set_commit_hook(Some(Box::new(Claimer::new(runtime.core.shared.clone()))));
        let weak = Arc::downgrade(&runtime);
        let _ = runtime.core.home.set(weak);
        runtime
    }

    /// A runtime with its threads at work; the timer, the workers and the rest only if there are handlers.
    pub(crate) fn start(core: Arc<Core>, registry: Arc<Registry>) -> Result<Arc<Runtime>, Error> {
        let runtime = Runtime::without_threads(core, registry);
        if !runtime.registry.is_empty() {
            let threads = runtime.start_threads().inspect_err(|_| runtime.end_without_waiting())?;
            *lock(&runtime.threads) = Some(threads);
        }
        Ok(runtime)
    }

    fn start_threads(&self) -> Result<Threads, Error> {
        let core = &self.core;
        let (outcomes, finished) = unbounded(); // bounded by the claims that are out
        core.set_outcomes(Some(outcomes));
        let port: Arc<dyn Port> = core.clone();
        let workers = core.config.workers;
        let executor =
            Executor::start(workers, core.shared.running.order_queue(), self.registry.clone(), port)?;
        let executor = Arc::new(executor);
        core.set_executor(Arc::downgrade(&executor));
        core.shared.running.add_workers(workers);
        let timer = timer::start(core.shared.alarm.clone(), core.shared.clock.clone(), core.clone())?;
        let (stop_maintenance, stop) = bounded(0);
        let chores = Maintenance::new(core.clone());
        let maintenance = spawn("perdura-maintenance", move || chores.run(&stop))?;
        let for_dispatcher = core.clone();
        let (owned, may_begin) = bounded(1);
        let dispatcher = spawn("perdura-dispatcher", move || {
            if may_begin.recv().is_ok() {
                dispatcher::run(&for_dispatcher, &finished);
            }
        })?;
        let _ = core.take_over(); // what is in the way was logged; the dispatcher tries again
        let _ = owned.send(()); // its receiver waits for it
        Ok(Threads { executor, dispatcher, timer, maintenance, stop_maintenance })
    }

    /// Stops claiming, lets what runs end within `grace`, asks the rest to stop, settles everything, joins the threads. It takes two
    /// seconds longer than the grace at most, whatever becomes of the file: what cannot be written is given up then.
    pub(crate) fn shutdown(&self, grace: Duration) -> ShutdownReport {
        let threads = lock(&self.threads).take();
        self.shorten_grace(grace);
        let Some(threads) = threads else { return ShutdownReport::default() };
        let core = &self.core;
        core.shared.gate.stop();
        core.store.set_patience(Some(self.grace_left().max(FINAL_LOCK_TIMEOUT)));
        core.store.await_commit(); // whoever was committing has handed its claims over after this
        let mut report = ShutdownReport { handed_back: self.hand_back(), ..ShutdownReport::default() };
        if !self.await_idle(|| self.grace_left()) {
            for control in core.shared.running.controls() {
                control.interrupted.store(true, Ordering::Release);
                report.interrupted += 1;
            }
            let signalled = core.shared.monotonic();
            self.await_idle(|| (signalled + STOP_TIMEOUT).saturating_sub(core.shared.monotonic()));
        }
        core.store.set_patience(Some(FINAL_LOCK_TIMEOUT));
        core.shared.running.close_jobs();
        core.set_outcomes(None);
        let _ = threads.dispatcher.join();
        core.shared.alarm.stop();
        let _ = threads.timer.join();
        drop(threads.stop_maintenance);
        let _ = threads.maintenance.join();
        threads.executor.join(core.shared.running.nothing_runs());
        core.shared.followers.end(self.grace_left().max(STOP_TIMEOUT));
        report.still_running = core.shared.running.controls().iter().map(|control| control.task_id).collect();
        report.still_running.sort_unstable();
        report.not_recorded = core.shared.running.unrecorded();
        core.store.set_patience(None);
        core.release_if_idle();
        core.shared.changes.tell_all();
        report
    }

    /// Gives back the claims that no worker has taken. The dispatcher settles them.
    fn hand_back(&self) -> usize {
        let mut handed_back = 0;
        while let Some(job) = self.core.shared.running.take_job() {
            self.core.finished(job.hand_back());
            handed_back += 1;
        }
        handed_back
    }

    /// Lets the grace of a shutdown, under way or about to begin, end after `grace`, unless it ends sooner.
    fn shorten_grace(&self, grace: Duration) {
        let ends = self.core.shared.monotonic().saturating_add(grace).as_millis();
        self.grace_ends.fetch_min(u64::try_from(ends).unwrap_or(u64::MAX), Ordering::AcqRel);
        self.core.shared.changes.tell_all();
    }

    fn grace_left(&self) -> Duration {
        let ends = Duration::from_millis(self.grace_ends.load(Ordering::Acquire));
        ends.saturating_sub(self.core.shared.monotonic())
    }

    /// Waits until nothing runs; false if no time is left before.
    fn await_idle(&self, left: impl Fn() -> Duration) -> bool {
        let shared = &self.core.shared;
        let look = || {
            let is_idle = shared.running.nothing_runs();
            Ok::<_, Infallible>((is_idle || left().is_zero()).then_some(is_idle))
        };
        shared.wait_until(None, None, &left, look) == Ok(Some(true))
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        if !self.core.store.process.is_this() {
            return self.leak();
        }
        if in_handler() {
            self.let_go();
        } else {
            self.shutdown(Duration::ZERO);
        }
        self.core.store.set_commit_hook(None);
    }
}

impl Runtime {
    /// Leaves everything as it is, for good: in a forked process it is not ours (see `store::ForkGuard`).
    fn leak(&self) {
        std::mem::forget(self.core.clone());
        std::mem::forget(lock(&self.threads).take());
    }

    /// Ends the threads without waiting for any: the last handle was dropped inside a handler.
    fn let_go(&self) {
        if lock(&self.threads).take().is_some() {
            self.end_without_waiting();
        }
    }

    fn end_without_waiting(&self) {
        let core = &self.core;
        core.shared.gate.stop();
        core.shared.followers.ring();
        self.hand_back();
        core.shared.running.controls().iter().for_each(|c| c.interrupted.store(true, Ordering::Release));
        core.shared.running.close_jobs();
        core.set_outcomes(None);
        core.shared.alarm.stop();
        core.release_if_idle();
    }
}

fn spawn(name: &str, life: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, Error> {
    thread::Builder::new().name(name.to_owned()).spawn(life).map_err(|e| {
        Error::new(ErrorKind::Io, "a thread cannot be started; is the limit of threads reached?")
            .with_source(e)
    })
}
