//! What the queue's threads share in memory: who runs, who waits for what, how much to claim.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::prefetch::{MAX_AHEAD_BYTES, Pace};
use super::siblings::{Siblings, is_news};
use super::signal::Signal;
use super::wal_alarm::WalAlarm;
use crate::clock::Clock;
use crate::error::Error;
use crate::executor::Job;
use crate::handler::Control;
use crate::planted::planted;
use crate::store::{CHECKPOINT_PAGES, Effects, Flags};
use crate::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicUsize, Ordering};
use crate::sync::{Mutex, Receiver, Sender, bounded, lock, unbounded};
use crate::task::{HandledNames, News, Room, Settlement, TaskId};
use crate::timer::{Alarm, NextTick};

/// The epoch of a process that owns nothing.
const NOT_OWNER: i64 = 0;

pub(crate) struct Hub {
    pub clock: Arc<dyn Clock>,
    pub known: Arc<HandledNames>,
    pub pace: Pace,
    pub alarm: Arc<Alarm>,
    /// Told whenever a task's state changes.
    pub changes: Signal,
    /// Wakes the dispatcher.
    pub wake: Doorbell,
    /// Wakes the housekeeping.
    pub chores: Doorbell,
    pub wal_alarm: WalAlarm,
    /// Other queues of this process on the same file.
    pub siblings: Siblings,
    jobs: Mutex<Option<Sender<Job>>>,
    job_queue: Receiver<Job>,
    running: Mutex<HashMap<TaskId, Arc<Control>>>,
    /// Bytes of the args of all that is in `running`.
    bytes_out: AtomicUsize,
    epoch: AtomicI64,
    claiming: AtomicBool,
    /// A new owner has not looked yet which tasks with an unknown name are known now.
    lifting: AtomicBool,
    /// The queue is shutting down; nothing is claimed any more, whatever else happens.
    stopping: AtomicBool,
    /// Why claims could not ride along; the dispatcher has to look after it.
    trouble: Mutex<Option<Error>>,
    /// Ready tasks may have been left unclaimed.
    behind: AtomicBool,
    /// Workers that run tasks; 0 as long as none are started.
    workers: AtomicUsize,
    /// Workers that have gone and have no substitute yet.
    missing_workers: AtomicUsize,
    news_waits: AtomicBool,
    /// Why a thread of ours could not go on, if one could not: nothing runs any more.
    broken: Mutex<Option<Error>>,
    /// Tasks whose outcome could not be written. They are RUNNING in the file, until the next owner takes them for lost.
    unrecorded: Mutex<HashSet<TaskId>>,
    /// Pages in the WAL after the newest commit; 0 when it has been looked at since.
    wal_pages: AtomicU32,
}

impl Hub {
    pub(crate) fn new(clock: Arc<dyn Clock>, known: Arc<HandledNames>) -> Hub {
        let (jobs, job_queue) = unbounded(); // bounded by the claims that the epilogue makes: at most `capacity`
        Hub {
            clock,
            known,
            pace: Pace::default(),
            alarm: Arc::default(),
            changes: Signal::default(),
            wake: Doorbell::new(),
            chores: Doorbell::new(),
            wal_alarm: WalAlarm::default(),
            siblings: Siblings::default(),
            jobs: Mutex::new(Some(jobs)),
            job_queue,
            running: Mutex::default(),
            bytes_out: AtomicUsize::new(0),
            epoch: AtomicI64::new(NOT_OWNER),
            claiming: AtomicBool::new(false),
            lifting: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            trouble: Mutex::default(),
            behind: AtomicBool::new(false),
            workers: AtomicUsize::new(0),
            missing_workers: AtomicUsize::new(0),
            news_waits: AtomicBool::new(false),
            broken: Mutex::default(),
            unrecorded: Mutex::default(),
            wal_pages: AtomicU32::new(0),
        }
    }

    /// The epoch in which this process owns the file, if it does.
    pub(crate) fn epoch(&self) -> Option<i64> {
        Some(self.epoch.load(Ordering::Acquire)).filter(|epoch| *epoch != NOT_OWNER)
    }

    pub(crate) fn set_epoch(&self, epoch: Option<i64>) {
        self.epoch.store(epoch.unwrap_or(NOT_OWNER), Ordering::Release);
    }

    pub(crate) fn is_claiming(&self) -> bool {
        self.claiming.load(Ordering::Acquire) && !self.is_stopping()
    }

    /// Stops claiming for good.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// A thread of ours cannot go on: nothing is claimed any more, and who waits hears why.
    pub(crate) fn break_down(&self, why: Error) {
        self.stop();
        lock(&self.broken).get_or_insert(why);
        self.changes.tell_all();
    }

    /// Why nothing runs any more, if a thread of ours could not go on.
    pub(crate) fn broken(&self) -> Option<Error> {
        lock(&self.broken).as_ref().map(Error::repeat)
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

    /// Claims could not ride along with a commit.
    pub(crate) fn claims_failed(&self, why: &Error) {
        if self.is_claiming() {
            *lock(&self.trouble) = Some(why.repeat());
            self.wake.ring();
        }
    }

    /// Why claims have failed since the last look, if they have.
    pub(crate) fn take_trouble(&self) -> Option<Error> {
        lock(&self.trouble).take()
    }

    /// Allows or forbids claims.
    pub(crate) fn set_claiming(&self, claiming: bool) {
        self.claiming.store(claiming, Ordering::Release);
    }

    /// Whether tasks that are held may be known.
    pub(crate) fn is_lifting(&self) -> bool {
        self.lifting.load(Ordering::Acquire)
    }

    pub(crate) fn set_lifting(&self, lifting: bool) {
        self.lifting.store(lifting, Ordering::Release);
    }

    pub(crate) fn is_behind(&self) -> bool {
        self.behind.load(Ordering::Acquire)
    }

    pub(crate) fn set_behind(&self, behind: bool) {
        self.behind.store(behind, Ordering::Release);
    }

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

    /// How much more may be claimed after a transaction that means this. Exact only under the writer's lead.
    pub(crate) fn room_after(&self, effects: &Effects) -> Room {
        let workers = self.workers();
        let capacity = workers + workers * self.pace.prefetch();
        let running = lock(&self.running);
        let mut out = running.len() + effects.claims.len();
        let mut bytes = self.bytes_out.load(Ordering::Acquire);
        bytes += effects.claims.iter().map(|claimed| claimed.args.len()).sum::<usize>();
        for (id, generation) in &effects.settled {
            if let Some(control) = running.get(id).filter(|control| control.generation == *generation) {
                out -= 1;
                bytes = bytes.saturating_sub(control.args_bytes);
            }
        }
        let total = capacity.saturating_sub(out);
        let idle = workers.saturating_sub(out);
        Room {
            idle: if planted("g06-last-attempts-are-claimed-ahead") { total } else { idle },
            total,
            ahead_bytes: MAX_AHEAD_BYTES.saturating_sub(bytes),
        }
    }

    /// Whether a worker has nothing to do and nothing on its way. Exact only under the writer's lead.
    pub(crate) fn has_idle_worker(&self) -> bool {
        lock(&self.running).len() < self.workers()
    }

    /// Where workers take their jobs from.
    pub(crate) fn job_queue(&self) -> Receiver<Job> {
        self.job_queue.clone()
    }

    /// Lets the workers end when they have run what is queued.
    pub(crate) fn close_jobs(&self) {
        lock(&self.jobs).take();
    }

    /// The next job that no worker has taken.
    pub(crate) fn take_job(&self) -> Option<Job> {
        self.job_queue.try_recv().ok()
    }

    /// Tells the rest of the program what a commit meant. Called by whoever committed, before the next one can.
    pub(crate) fn after_commit(&self, effects: Effects) {
        let changed = effects.changed || !effects.settled.is_empty();
        let is_news = is_news(&effects);
        self.forget(&effects.settled);
        if !effects.claims.is_empty() {
            let jobs = lock(&self.jobs);
            let mut running = lock(&self.running);
            for claimed in effects.claims {
                let control = Arc::new(Control::new(&claimed));
                self.bytes_out.fetch_add(control.args_bytes, Ordering::AcqRel);
                if let Some(before) = running.insert(claimed.task_id, control.clone()) {
                    self.leave(&before); // of an ownership that was lost in between
                }
                if let Some(jobs) = &*jobs {
                    let _ = jobs.send(Job { claimed, control }); // we hold a receiver, so it cannot be closed
                }
            }
            if running.len() > self.workers() && effects.settled.is_empty() {
                self.wake.ring(); // some lie ahead: the dispatcher sees that they do not lie for long (after its settles by itself)
            }
        }
        for id in effects.cancelled {
            self.with_control(id, |control| control.cancelled.store(true, Ordering::Release));
        }
        for id in effects.superseded {
            self.with_control(id, |control| control.superseded.store(true, Ordering::Release));
        }
        if let Some(due) = effects.due {
            self.alarm.set(NextTick { at: Some(due), monotonic: None });
        }
        if effects.more {
            self.wake.ring();
        }
        if effects.wal_pages > 0 {
            self.wal_alarm.note(effects.wal_pages);
            let before = self.wal_pages.swap(effects.wal_pages, Ordering::AcqRel);
            if before == 0 || effects.wal_pages >= CHECKPOINT_PAGES {
                self.chores.ring();
            }
        }
        let ended = effects.settled.iter().map(|(id, _)| *id).chain(effects.ended);
        if is_news && self.siblings.are_there() {
            self.siblings.ring(Some(&ended.clone().collect::<Vec<_>>()));
        }
        if changed {
            self.changes.tell(ended);
        }
    }

    /// Another queue of this process has committed something. Only the owner has to look what.
    pub(crate) fn hear_of_sibling(&self, ended: Option<&[TaskId]>) {
        match ended {
            Some(ended) => self.changes.tell(ended.iter().copied()),
            None => self.changes.tell_all(),
        }
        if self.epoch().is_some() && self.siblings.note_ring() {
            self.wake.ring();
        }
    }

    /// The pages in the WAL after the newest commit. They count as looked at from now on; the next commit tells again.
    pub(crate) fn take_wal_pages(&self) -> u32 {
        self.wal_pages.swap(0, Ordering::AcqRel)
    }

    pub(crate) fn wal_is_large(&self) -> bool {
        self.wal_pages.load(Ordering::Acquire) >= CHECKPOINT_PAGES
    }

    fn with_control(&self, id: TaskId, act: impl FnOnce(&Control)) {
        if let Some(control) = lock(&self.running).get(&id) {
            act(control);
        }
    }

    /// Forgets attempts that have ended. The worker of one that was replaced is gone too.
    pub(crate) fn forget(&self, ended: &[(TaskId, u64)]) {
        let mut running = lock(&self.running);
        for (id, generation) in ended {
            if running.get(id).is_some_and(|control| control.generation == *generation)
                && let Some(control) = running.remove(id)
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

    /// How long the jobs that wait keep all workers busy, if they take as long as those before.
    pub(crate) fn work_on_hand(&self) -> Duration {
        let each = self.jobs_waiting() / self.workers().max(1);
        self.pace.time_for(each)
    }

    /// Jobs that no worker has taken yet.
    pub(crate) fn jobs_waiting(&self) -> usize {
        self.job_queue.len()
    }

    /// All attempts that are claimed and not settled.
    pub(crate) fn controls(&self) -> Vec<Arc<Control>> {
        lock(&self.running).values().cloned().collect()
    }

    pub(crate) fn nothing_runs(&self) -> bool {
        lock(&self.running).is_empty()
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

    /// An attempt has news to write; true if nobody had said so yet.
    pub(crate) fn note_news(&self) -> bool {
        !self.news_waits.swap(true, Ordering::AcqRel)
    }

    pub(crate) fn news_waits(&self) -> bool {
        self.news_waits.load(Ordering::Acquire)
    }

    /// All news that is not in the file yet.
    pub(crate) fn take_news(&self) -> Vec<(Arc<Control>, News)> {
        self.news_waits.store(false, Ordering::Release);
        let news = |control: Arc<Control>| (control.take_news(), control);
        let all = self.controls().into_iter().map(news).filter(|(news, _)| !news.is_empty());
        all.map(|(news, control)| (control, news)).collect()
    }

    /// Gives attempts that have ended their newest news: what could not be written while they ended would be lost with them.
    pub(crate) fn renew_news<'s>(&self, ended: impl Iterator<Item = &'s mut Settlement>) {
        if !self.news_waits() {
            return;
        }
        for settlement in ended {
            self.with_control(settlement.task_id, |control| {
                if control.generation == settlement.generation {
                    settlement.news.renew(control.take_news());
                }
            });
        }
    }

    pub(crate) fn monotonic(&self) -> Duration {
        self.clock.monotonic()
    }

    /// Looks again at each change (of one task, or of any) until `look` sees something; none if the time runs out first. What no change
    /// tells of is noticed within `patience`.
    pub(crate) fn await_that<R, E>(
        &self,
        task: Option<TaskId>,
        timeout: Option<Duration>,
        patience: impl Fn() -> Duration,
        look: impl Fn() -> Result<Option<R>, E>,
    ) -> Result<Option<R>, E> {
        let until = timeout.map(|timeout| self.monotonic().saturating_add(timeout));
        let mut listener = self.changes.listen(task);
        loop {
            if let Some(seen) = look()? {
                return Ok(Some(seen));
            }
            let left = until.map_or(Duration::MAX, |until| until.saturating_sub(self.monotonic()));
            if left.is_zero() {
                return Ok(None);
            }
            listener.wait(left.min(patience()));
        }
    }
}

/// Wakes one thread. Ringing it twice before it is heard is ringing it once.
pub(crate) struct Doorbell {
    button: Sender<()>,
    pub bell: Receiver<()>,
}

impl Doorbell {
    pub(crate) fn new() -> Doorbell {
        let (button, bell) = bounded(1);
        Doorbell { button, bell }
    }

    pub(crate) fn ring(&self) {
        let _ = self.button.try_send(());
    }
}
