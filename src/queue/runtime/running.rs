//! Attempts that are claimed and not settled, the workers that run them, and how much more may be claimed for those.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::prefetch::{MAX_PREFETCHED_BYTES, Prefetch};
use crate::executor::{Assignment, Dismissal, WorkerOrder};
use crate::handler::Control;
use crate::planted::planted;
use crate::store::{Effects, Flags};
use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use crate::sync::{Mutex, Receiver, Sender, lock, unbounded};
use crate::task::{ClaimRoom, Claimed, PendingOutput, Settlement, TaskId};

/// What this process runs, or is about to run.
pub(crate) struct Running {
    pub prefetch: Prefetch,
    orders: Mutex<Option<Sender<WorkerOrder>>>,
    order_queue: Receiver<WorkerOrder>,
    /// Orders in the queue that let a worker leave.
    dismissals: Arc<AtomicUsize>,
    attempts: Mutex<HashMap<TaskId, Arc<Control>>>,
    /// Bytes of the args of all attempts.
    bytes_out: AtomicUsize,
    /// Workers that run tasks; 0 as long as none are started.
    workers: AtomicUsize,
    /// Workers that have gone and have no substitute yet.
    missing_workers: AtomicUsize,
    is_pending: AtomicBool,
    /// Tasks whose outcome could not be written. They are RUNNING in the file, until the next owner takes them for lost.
    unrecorded: Mutex<HashSet<TaskId>>,
}

impl Default for Running {
    fn default() -> Running {
        let (orders, order_queue) = unbounded(); // bounded by the claims that are made: at most the room
        Running {
            prefetch: Prefetch::default(),
            orders: Mutex::new(Some(orders)),
            order_queue,
            dismissals: Arc::default(),
            attempts: Mutex::default(),
            bytes_out: AtomicUsize::new(0),
            workers: AtomicUsize::new(0),
            missing_workers: AtomicUsize::new(0),
            is_pending: AtomicBool::new(false),
            unrecorded: Mutex::default(),
        }
    }
}

impl Running {
    pub(crate) fn add_workers(&self, n: usize) {
        self.workers.fetch_add(n, Ordering::AcqRel);
    }

    /// A worker has gone, and no other could be started in its place.
    pub(crate) fn miss_worker(&self) {
        self.missing_workers.fetch_add(1, Ordering::AcqRel);
    }

    /// Takes the duty to start a worker that is missing, if one is.
    pub(crate) fn take_missing_worker(&self) -> bool {
        self.missing_workers.fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| n.checked_sub(1)).is_ok()
    }

    pub(crate) fn workers(&self) -> usize {
        self.workers.load(Ordering::Acquire)
    }

    pub(crate) fn remove_workers(&self, n: usize) {
        self.workers.fetch_sub(n, Ordering::AcqRel);
    }

    /// How much more may be claimed after a transaction with these effects. Exact only under the writer's lead.
    pub(crate) fn room_after(&self, effects: &Effects) -> ClaimRoom {
        let workers = self.workers();
        let capacity = workers + workers * self.prefetch.per_worker();
        let attempts = lock(&self.attempts);
        let mut out = attempts.len() + effects.claims.len();
        let mut bytes = self.bytes_out.load(Ordering::Acquire);
        bytes += effects.claims.iter().map(|claimed| claimed.args.len()).sum::<usize>();
        for (id, generation) in &effects.settled {
            if let Some(control) = attempts.get(id).filter(|control| control.generation == *generation) {
                out -= 1;
                bytes = bytes.saturating_sub(control.args_bytes);
            }
        }
        let total = capacity.saturating_sub(out);
        let idle = workers.saturating_sub(out);
        ClaimRoom {
            idle: if planted("g06-last-attempts-are-claimed-ahead") { total } else { idle },
            total,
            ahead_bytes: MAX_PREFETCHED_BYTES.saturating_sub(bytes),
        }
    }

    /// Whether a worker has nothing to do and nothing on its way. Exact only under the writer's lead.
    pub(crate) fn has_idle_worker(&self) -> bool {
        lock(&self.attempts).len() < self.workers()
    }

    /// The orders for the workers.
    pub(crate) fn order_queue(&self) -> Receiver<WorkerOrder> {
        self.order_queue.clone()
    }

    /// Lets the workers end when they have run what is queued.
    pub(crate) fn close_jobs(&self) {
        lock(&self.orders).take();
    }

    /// Takes back the next attempt that no worker has taken.
    pub(crate) fn take_job(&self) -> Option<Assignment> {
        let mut dismissals = Vec::new();
        let job = loop {
            match self.order_queue.try_recv() {
                Ok(WorkerOrder::Run(job)) => break Some(job),
                Ok(leave) => dismissals.push(leave),
                Err(_) => break None,
            }
        };
        dismissals.into_iter().for_each(|leave| self.order(leave));
        job
    }

    /// Lets so many workers end, each when it has finished what it runs.
    pub(crate) fn dismiss_workers(&self, n: usize) {
        (0..n).for_each(|_| self.order(WorkerOrder::Leave(Dismissal::new(&self.dismissals))));
    }

    fn order(&self, order: WorkerOrder) {
        if let Some(orders) = &*lock(&self.orders) {
            let _ = orders.send(order); // we hold a receiver, so it cannot be closed
        }
    }

    /// Sends claims to the workers. True if some of them lie ahead: no worker is free for them.
    pub(crate) fn hand_over(&self, claims: Vec<Claimed>) -> bool {
        if claims.is_empty() {
            return false;
        }
        let orders = lock(&self.orders);
        let mut attempts = lock(&self.attempts);
        for claimed in claims {
            let control = Arc::new(Control::new(&claimed));
            self.bytes_out.fetch_add(control.args_bytes, Ordering::AcqRel);
            if let Some(before) = attempts.insert(claimed.task_id, control.clone()) {
                self.leave(&before); // of an ownership that was lost in between
            }
            if let Some(orders) = &*orders {
                let _ = orders.send(WorkerOrder::Run(Assignment { claimed, control })); // we hold a receiver, so it cannot be closed
            }
        }
        attempts.len() > self.workers()
    }

    /// Tells attempts that they are cancelled or superseded.
    pub(crate) fn flag(&self, cancelled: &[TaskId], superseded: &[TaskId]) {
        for id in cancelled {
            self.with_control(*id, |control| control.cancelled.store(true, Ordering::Release));
        }
        for id in superseded {
            self.with_control(*id, |control| control.superseded.store(true, Ordering::Release));
        }
    }

    fn with_control(&self, id: TaskId, act: impl FnOnce(&Control)) {
        if let Some(control) = lock(&self.attempts).get(&id) {
            act(control);
        }
    }

    /// Forgets attempts that have ended. The worker of one that was replaced is gone too.
    pub(crate) fn forget(&self, ended: &[(TaskId, u64)]) {
        let mut attempts = lock(&self.attempts);
        for (id, generation) in ended {
            if attempts.get(id).is_some_and(|control| control.generation == *generation)
                && let Some(control) = attempts.remove(id)
            {
                self.leave(&control);
            }
        }
    }

    /// An attempt is not out any more.
    fn leave(&self, control: &Control) {
        self.bytes_out.fetch_sub(control.args_bytes, Ordering::AcqRel);
        self.remove_workers(usize::from(control.phase.is_replaced()));
    }

    /// How long the attempts that wait keep all workers busy, if they take as long as those before.
    pub(crate) fn work_on_hand(&self) -> Duration {
        let each = self.jobs_waiting() / self.workers().max(1);
        self.prefetch.time_for(each)
    }

    /// Attempts that no worker has taken yet.
    pub(crate) fn jobs_waiting(&self) -> usize {
        self.order_queue.len().saturating_sub(self.dismissals.load(Ordering::Acquire))
    }

    /// All attempts that are claimed and not settled.
    pub(crate) fn controls(&self) -> Vec<Arc<Control>> {
        lock(&self.attempts).values().cloned().collect()
    }

    pub(crate) fn nothing_runs(&self) -> bool {
        lock(&self.attempts).is_empty()
    }

    /// Brings what other processes did to running tasks to their handlers.
    pub(crate) fn apply_flags(&self, flags: &[Flags]) {
        for flag in flags {
            self.with_control(flag.task_id, |control| {
                if control.generation == flag.generation {
                    control.cancelled.fetch_or(flag.cancel_requested, Ordering::AcqRel);
                    control.superseded.fetch_or(!flag.counts, Ordering::AcqRel);
                }
            });
        }
    }

    /// An attempt has progress or output to write; true if that was not noted yet.
    pub(crate) fn note_pending(&self) -> bool {
        !self.is_pending.swap(true, Ordering::AcqRel)
    }

    pub(crate) fn is_pending(&self) -> bool {
        self.is_pending.load(Ordering::Acquire)
    }

    /// All progress and output that is not in the file yet.
    pub(crate) fn take_pending(&self) -> Vec<(Arc<Control>, PendingOutput)> {
        self.is_pending.store(false, Ordering::Release);
        let news = |control: Arc<Control>| (control.take_pending(), control);
        let all = self.controls().into_iter().map(news).filter(|(news, _)| !news.is_empty());
        all.map(|(news, control)| (control, news)).collect()
    }

    /// Adds to attempts that have ended what a flush could not write while they ended: it would be lost with them.
    pub(crate) fn renew_pending<'s>(&self, ended: impl Iterator<Item = &'s mut Settlement>) {
        if !self.is_pending() {
            return;
        }
        for settlement in ended {
            self.with_control(settlement.task_id, |control| {
                if control.generation == settlement.generation {
                    settlement.news.renew(control.take_pending());
                }
            });
        }
    }

    /// The outcome of a task will not be written by this process.
    pub(crate) fn leave_unrecorded(&self, id: TaskId) {
        lock(&self.unrecorded).insert(id);
    }

    /// The tasks whose outcome could not be written, since this process owns the file.
    pub(crate) fn unrecorded(&self) -> Vec<TaskId> {
        let mut all: Vec<_> = lock(&self.unrecorded).iter().copied().collect();
        all.sort_unstable();
        all
    }

    pub(crate) fn is_unrecorded(&self, id: TaskId) -> bool {
        lock(&self.unrecorded).contains(&id)
    }

    /// A new owner has settled them.
    pub(crate) fn forget_unrecorded(&self) {
        lock(&self.unrecorded).clear();
    }
}
