//! The steps of a queue, one call each: what its threads do, for those who have none.

use std::sync::{Arc, Mutex, PoisonError};

use super::Queue;
use super::core::is_passing;
use super::housekeeping::Housekeeping;
use crate::error::{Error, ErrorKind};
use crate::executor::{self, Job};
use crate::handler::{Finished, Port};
use crate::task::{TaskId, Verdict};

/// Calls the steps of a queue without threads.
pub(crate) struct Stepper {
    pub queue: Queue,
    housekeeping: Housekeeping,
    /// Outcomes that could not be written yet.
    unsettled: Mutex<Vec<Finished>>,
}

/// What one step of the executor did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ran {
    Succeeded(TaskId),
    Failed(TaskId),
    Snoozed(TaskId),
    Cancelled(TaskId),
    HandedBack(TaskId),
}

impl Stepper {
    /// Takes the ownership of the file.
    pub(crate) fn new(queue: Queue) -> Result<Stepper, Error> {
        let core = queue.handle.core.clone();
        if core.acquire()?.is_some() {
            core.begin()?;
        }
        let housekeeping = Housekeeping::new(core);
        Ok(Stepper { queue, housekeeping, unsettled: Mutex::default() })
    }

    /// Claims one task and leaves it so, as a process that dies then. Notes its start, if it is to have started.
    pub(crate) fn leave_claimed(&self, started: bool) -> Result<Option<TaskId>, Error> {
        let Some(job) = self.claim_one()? else { return Ok(None) };
        if started {
            self.queue.handle.core.starting(&job.claimed)?.keep();
        }
        Ok(Some(job.claimed.task_id))
    }

    fn claim_one(&self) -> Result<Option<Job>, Error> {
        let core = &self.queue.handle.core;
        core.hub.add_workers(1);
        core.hub.set_claiming(true);
        let claimed = core.claim_more();
        core.hub.set_claiming(false);
        core.hub.remove_workers(1);
        let trouble = core.hub.take_trouble(); // also if the claim has failed: it must not be told again the next time
        claimed?;
        match trouble {
            Some(e) => Err(e),
            None => Ok(core.hub.take_job()),
        }
    }

    /// Claims one task, runs it on this thread, settles it. None if nothing is ready. An outcome that cannot be written is kept, and
    /// comes first the next time.
    pub(crate) fn run_one(&self) -> Result<Option<Ran>, Error> {
        self.settle(Vec::new())?;
        let core = &self.queue.handle.core;
        let Some(job) = self.claim_one()? else { return Ok(None) };
        let port: Arc<dyn Port> = core.clone();
        let finished = executor::run(job, &self.queue.handle.registry, &port);
        let id = finished.settlement.task_id;
        let ran = match finished.settlement.verdict {
            Verdict::Succeeded { .. } => Ran::Succeeded(id),
            Verdict::Failed { .. } => Ran::Failed(id),
            Verdict::Snoozed(_) => Ran::Snoozed(id),
            Verdict::Cancelled(_) => Ran::Cancelled(id),
            Verdict::HandedBack => Ran::HandedBack(id),
        };
        self.settle(vec![finished])?;
        Ok(Some(ran))
    }

    fn settle(&self, finished: Vec<Finished>) -> Result<(), Error> {
        let core = &self.queue.handle.core;
        let mut unsettled = self.unsettled.lock().unwrap_or_else(PoisonError::into_inner);
        unsettled.extend(finished);
        if unsettled.is_empty() {
            return Ok(());
        }
        core.settle(std::mem::take(&mut *unsettled)).map_err(|(batch, e)| {
            // SQLite tells an error of the device while reading as damage.
            if is_passing(&e) || e.kind() == ErrorKind::Corrupt {
                *unsettled = batch;
            } else {
                batch.into_iter().for_each(|finished| core.abandon(finished, &e));
            }
            e
        })
    }

    /// Does what is due by the clock: waits end, tasks expire, silent attempts are given up.
    pub(crate) fn tick(&self) -> Result<(), Error> {
        let core = &self.queue.handle.core;
        if core.is_owner() {
            core.promote()?;
            core.watch()?;
        }
        Ok(())
    }

    /// Does what age does to tasks.
    pub(crate) fn age(&mut self) -> Result<usize, Error> {
        self.housekeeping.age()
    }
}
