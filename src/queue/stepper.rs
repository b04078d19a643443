//! The steps of a queue, one call each: what its threads do, for the testing kit, which has none.

use crate::sync::{Mutex, lock};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::builder::Builder;
use super::handle::Queue;
use super::outside::Poller;
use super::runtime::attempts::is_passing;
use super::runtime::maintenance::Maintenance;
use crate::crash::CrashPoint;
use crate::error::{Error, ErrorKind};
use crate::executor::{self, Assignment};
use crate::handler::{Finished, Port};
use crate::store::{Lifting, Location};
use crate::task::{TaskId, Verdict};

/// How often a claim goes on at most that was cut short, because it met too many tasks that may not run after all.
const MAX_CUT_SHORT: u32 = 10_000;

/// Calls the steps of a queue without threads.
pub(crate) struct Stepper {
    pub queue: Queue,
    maintenance: Maintenance,
    /// The pollers that follow the jobs of engines.
    pollers: Vec<Poller>,
    /// Outcomes that could not be written yet.
    unsettled: Mutex<Vec<Finished>>,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ran {
    /// The handler returned Ok.
    Succeeded(TaskId),
    /// The handler returned a failure, or panicked.
    Failed(TaskId),
    /// The handler snoozed.
    Snoozed(TaskId),
    /// The handler cancelled the task, or stopped because it was cancelled.
    Cancelled(TaskId),
    /// The handler has handed the work over ([`Failure::outside`](crate::Failure::outside)): it goes on outside, and the task is `RUNNING`.
    WentOutside(TaskId),
    /// The attempt could not start, was interrupted, declined the task, waits for a condition, or closed its queue for a while.
    HandedBack(TaskId),
}

/// What the end of a process has left: a file that nobody has open.
pub(crate) struct Remains {
    place: Location,
    path: PathBuf,
}

impl Remains {
    /// Opens the file again.
    pub(crate) fn reopen(self, builder: Builder) -> Result<Stepper, Error> {
        Stepper::start(builder, self.place)
    }

    /// Where it lies.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Stepper {
    /// On a new file, copied from an image.
    pub(crate) fn fresh(builder: Builder) -> Result<Stepper, Error> {
        Stepper::start(builder.without_reserve(), Location::fresh()?)
    }

    /// On a file that is there, or is made.
    pub(crate) fn on_file(builder: Builder, path: &Path) -> Result<Stepper, Error> {
        Stepper::start(builder, Location::File(path.to_owned()))
    }

    /// Opens the file and takes its ownership, if nobody has it.
    fn start(builder: Builder, place: Location) -> Result<Stepper, Error> {
        let (queue, pollers) = builder.stepped(place)?;
        let core = queue.runtime.core.clone();
        if core.acquire()?.is_some() {
            core.provide_reserve();
            let mut next = Some(Lifting::START);
            while let Some(from) = next {
                next = core.begin(from)?;
            }
        }
        let maintenance = Maintenance::new(core);
        Ok(Stepper { queue, maintenance, pollers, unsettled: Mutex::default() })
    }

    /// Says how much disk is free from now on.
    pub(crate) fn set_free_disk(&self, bytes: u64) {
        if let Some(disk) = self.queue.runtime.core.shared.free_disk.get() {
            disk.say(bytes);
        }
    }

    /// Sets the commit at which this queue ends as a killed process ends.
    pub(crate) fn crash_at(&self, point: CrashPoint) {
        self.queue.runtime.core.store.crash_at(point);
    }

    /// Whether that commit has come.
    pub(crate) fn has_crashed(&self) -> bool {
        self.queue.runtime.core.store.has_crashed()
    }

    /// Commits so far.
    pub(crate) fn commits(&self) -> u64 {
        self.queue.runtime.core.store.commits()
    }

    /// Ends this queue as a killed process ends. Answers with where its file lies.
    pub(crate) fn crash(self) -> Result<Remains, Error> {
        let core = &self.queue.runtime.core;
        Ok(Remains { path: core.store.path().to_owned(), place: core.crash()? })
    }

    /// Claims one task and notes its start, if it is to have started. Nobody runs it.
    pub(crate) fn leave_claimed(&self, started: bool) -> Result<Option<TaskId>, Error> {
        let Some(job) = self.claim_one()? else { return Ok(None) };
        if started {
            self.queue.runtime.core.starting(&job.claimed)?.keep();
        }
        Ok(Some(job.claimed.task_id))
    }

    fn claim_one(&self) -> Result<Option<Assignment>, Error> {
        let core = &self.queue.runtime.core;
        core.shared.running.add_workers(1);
        core.shared.gate.set_claiming(true);
        let mut claimed = core.claim_more();
        let mut trouble = core.shared.gate.take_trouble(); // also if the claim has failed: it must not be told again the next time
        for _ in 0..MAX_CUT_SHORT {
            let is_cut_short = core.shared.gate.is_behind() && core.shared.running.nothing_runs();
            if !is_cut_short || claimed.is_err() || trouble.is_some() {
                break;
            }
            claimed = core.claim_more();
            trouble = core.shared.gate.take_trouble();
        }
        core.shared.gate.set_claiming(false);
        core.shared.running.remove_workers(1);
        claimed?;
        match trouble {
            Some(e) => Err(e),
            None => Ok(core.shared.running.take_job()),
        }
    }

    /// Claims one task, runs it on this thread, settles it. None if nothing is ready. An outcome that cannot be written is kept, and
    /// comes first the next time.
    pub(crate) fn run_one(&self) -> Result<Option<Ran>, Error> {
        self.settle(Vec::new())?;
        let core = &self.queue.runtime.core;
        let job = match self.claim_one()? {
            // What a condition has lifted in part is lifted whole.
            None if core.lift_met()?.0 => self.claim_one()?,
            job => job,
        };
        let Some(job) = job else { return Ok(None) };
        let port: Arc<dyn Port> = core.clone();
        let finished = executor::run(job, &self.queue.runtime.registry, &port);
        let id = finished.settlement.task_id;
        let ran = match finished.settlement.verdict {
            Verdict::Succeeded { .. } | Verdict::Committed => Ran::Succeeded(id),
            Verdict::Failed { .. } | Verdict::Lost { .. } => Ran::Failed(id),
            Verdict::Outside(_) => Ran::WentOutside(id),
            Verdict::Snoozed { .. } => Ran::Snoozed(id),
            Verdict::Cancelled(_) => Ran::Cancelled(id),
            Verdict::HandedBack
            | Verdict::Unstarted
            | Verdict::Throttled(_)
            | Verdict::Waits { .. }
            | Verdict::Declined => Ran::HandedBack(id),
        };
        self.settle(vec![finished])?;
        Ok(Some(ran))
    }

    fn settle(&self, finished: Vec<Finished>) -> Result<(), Error> {
        let core = &self.queue.runtime.core;
        let mut unsettled = lock(&self.unsettled);
        unsettled.extend(finished);
        if unsettled.is_empty() {
            return Ok(());
        }
        core.settle(&mut unsettled).inspect_err(|e| {
            // SQLite reports a read error of the device as damage.
            if !is_passing(e) && e.kind() != ErrorKind::Corrupt {
                unsettled.drain(..).for_each(|finished| core.abandon(finished, e));
            }
        })
    }

    /// Does what is due by the clock: waits end, tasks expire, silent attempts are given up.
    pub(crate) fn tick(&self) -> Result<(), Error> {
        let core = &self.queue.runtime.core;
        if core.is_owner() {
            // First what mostly changes nothing: if that fails, nothing is done.
            core.open_queues()?;
            core.lift_met()?;
            core.lift_by_disk()?;
            core.promote()?;
            core.watch()?;
        }
        Ok(())
    }

    /// Runs one round of each poller.
    pub(crate) fn poll_engines(&mut self) -> Result<(), Error> {
        self.pollers.iter_mut().try_for_each(|poller| poller.round().map(drop))
    }

    /// Does what age does to tasks.
    pub(crate) fn apply_retention(&mut self) -> Result<usize, Error> {
        self.maintenance.apply_retention()
    }
}
