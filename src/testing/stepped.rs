//! A queue whose steps a test calls.

use std::path::Path;
use std::time::Duration;

use super::clock::ManualClock;
use crate::error::{Error, ErrorKind};
use crate::queue::{Builder, Queue, Ran as Step, Stepper};
use crate::task::TaskId;

/// Attempts that [`SteppedQueue::run_until_idle`] makes at most: more is a task that enqueues or snoozes itself for ever.
const MAX_ATTEMPTS: usize = 100_000;

/// A queue without threads: tasks run, time passes and age bites only when the test says so, on the real code path and real SQL.
pub struct SteppedQueue {
    stepper: Stepper,
    clock: ManualClock,
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
    /// The attempt could not start, or was interrupted.
    HandedBack(TaskId),
}

/// How many attempts ended how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tally {
    /// The handler returned Ok.
    pub succeeded: usize,
    /// The handler returned a failure, or panicked.
    pub failed: usize,
    /// The handler snoozed.
    pub snoozed: usize,
    /// The handler cancelled the task, or stopped because it was cancelled.
    pub cancelled: usize,
    /// The attempt could not start, or was interrupted.
    pub handed_back: usize,
}

impl SteppedQueue {
    /// Opens a stepped queue in a private temporary file. `clock` must be the builder's.
    ///
    /// # Errors
    /// As [`Builder::open`].
    pub fn open(builder: Builder, clock: &ManualClock) -> Result<SteppedQueue, Error> {
        SteppedQueue::start(builder.stepped(None)?, clock)
    }

    /// Opens a stepped queue on a file. If another queue owns it, this one runs nothing.
    ///
    /// # Errors
    /// As [`Builder::open`].
    pub fn open_file(
        builder: Builder,
        clock: &ManualClock,
        path: impl AsRef<Path>,
    ) -> Result<SteppedQueue, Error> {
        SteppedQueue::start(builder.stepped(Some(path.as_ref()))?, clock)
    }

    fn start(queue: Queue, clock: &ManualClock) -> Result<SteppedQueue, Error> {
        Ok(SteppedQueue { stepper: Stepper::new(queue)?, clock: clock.clone() })
    }

    /// The queue, to enqueue, look and mend.
    pub fn queue(&self) -> &Queue {
        &self.stepper.queue
    }

    /// Claims the next ready task, runs it on this thread, and settles it. None if nothing is ready.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn run_one(&self) -> Result<Option<Ran>, Error> {
        let ran = self.stepper.run_one()?;
        Ok(ran.map(|ran| match ran {
            Step::Succeeded(id) => Ran::Succeeded(id),
            Step::Failed(id) => Ran::Failed(id),
            Step::Snoozed(id) => Ran::Snoozed(id),
            Step::Cancelled(id) => Ran::Cancelled(id),
            Step::HandedBack(id) => Ran::HandedBack(id),
        }))
    }

    /// Runs tasks until nothing is ready; says how the attempts ended. Time does not pass.
    ///
    /// # Errors
    /// [`TimedOut`](ErrorKind::TimedOut) after 100,000 attempts; if the file cannot be written.
    pub fn run_until_idle(&self) -> Result<Tally, Error> {
        let mut tally = Tally::default();
        for _ in 0..MAX_ATTEMPTS {
            match self.run_one()? {
                None => return Ok(tally),
                Some(Ran::Succeeded(_)) => tally.succeeded += 1,
                Some(Ran::Failed(_)) => tally.failed += 1,
                Some(Ran::Snoozed(_)) => tally.snoozed += 1,
                Some(Ran::Cancelled(_)) => tally.cancelled += 1,
                Some(Ran::HandedBack(_)) => tally.handed_back += 1,
            }
        }
        Err(Error::new(ErrorKind::TimedOut, format!("the queue is not idle after {MAX_ATTEMPTS} attempts")))
    }

    /// Claims the next ready task and ends this queue as a process ends that dies then: nothing is settled, the lock is released.
    /// Open the file again to see what becomes of it. `started` says whether the handler had started. Answers with the task; none
    /// if nothing was ready.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn die_in_attempt(self, started: bool) -> Result<Option<TaskId>, Error> {
        self.stepper.leave_claimed(started)
    }

    /// Lets time pass, and does what falls due: waits end, tasks expire.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn advance(&mut self, by: Duration) -> Result<(), Error> {
        self.clock.advance(by);
        self.tick()
    }

    /// Does what is due by the clock as it stands.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn tick(&mut self) -> Result<(), Error> {
        self.stepper.tick()
    }

    /// Does what age does to tasks (retention, dead letters), as the housekeeping would now. Answers with how many it ended.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn age(&mut self) -> Result<usize, Error> {
        self.stepper.age()
    }
}
