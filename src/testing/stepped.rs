//! The queue without threads, whose steps a test calls.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use super::clock::ManualClock;
use crate::crash::CrashPoint;
use crate::error::{Error, ErrorKind};
pub use crate::queue::Ran;
use crate::queue::{Builder, Queue, Remains, Stepper};
use crate::task::TaskId;

/// The most attempts of [`SteppedQueue::run_until_idle`]: only tasks that enqueue or snooze
/// themselves for ever need more.
const MAX_ATTEMPTS: usize = 100_000;

/// A queue without threads: tasks run, time passes and old tasks are deleted only when the test
/// says so. The code path and the SQL are those of a real queue.
pub struct SteppedQueue {
    stepper: Stepper,
    clock: ManualClock,
}

impl fmt::Debug for SteppedQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SteppedQueue").field("queue", self.queue()).finish_non_exhaustive()
    }
}

/// How many attempts ended in which way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RunSummary {
    /// The handler returned Ok.
    pub succeeded: usize,
    /// The handler returned a failure, or panicked.
    pub failed: usize,
    /// The handler snoozed.
    pub snoozed: usize,
    /// The handler cancelled the task, or stopped because it was cancelled.
    pub cancelled: usize,
    /// The attempt could not start, was interrupted, was declined, waits for a condition, or closed
    /// its queue for a while.
    pub handed_back: usize,
    /// The handler handed the work over: it goes on outside.
    pub went_outside: usize,
}

/// Opening.
impl SteppedQueue {
    /// Opens a stepped queue on a fresh file of its own, on this clock.
    ///
    /// The file is copied from an image, on a file system in memory if there is one, so a test can
    /// have thousands. Its id is always the same, and so is every jitter. It is removed at the end.
    ///
    /// # Errors
    /// As [`Builder::open`].
    pub fn open(builder: Builder, clock: &ManualClock) -> Result<SteppedQueue, Error> {
        let stepper = Stepper::fresh(builder.clock(clock.clone()))?;
        Ok(SteppedQueue { stepper, clock: clock.clone() })
    }

    /// Opens a stepped queue on a file, on this clock. If another process or queue owns the file,
    /// this one runs nothing.
    ///
    /// # Errors
    /// As [`Builder::open`].
    pub fn open_file(
        builder: Builder,
        clock: &ManualClock,
        path: impl AsRef<Path>,
    ) -> Result<SteppedQueue, Error> {
        let stepper = Stepper::on_file(builder.clock(clock.clone()), path.as_ref())?;
        Ok(SteppedQueue { stepper, clock: clock.clone() })
    }

    /// The queue, to enqueue, read and manage tasks.
    pub fn queue(&self) -> &Queue {
        &self.stepper.queue
    }

    /// Sets how much disk is free from now on.
    /// [`Options::needs_free_disk`](crate::Options::needs_free_disk) has an example.
    pub fn set_free_disk(&self, bytes: u64) {
        self.stepper.set_free_disk(bytes);
    }

    /// The clock that this queue runs on.
    pub fn clock(&self) -> &ManualClock {
        &self.clock
    }
}

/// Steps.
impl SteppedQueue {
    /// Claims the next ready task, runs it on this thread, and settles it. None if nothing is ready.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn run_one(&self) -> Result<Option<Ran>, Error> {
        self.stepper.run_one()
    }

    /// Runs tasks until nothing is ready, and returns how the attempts ended. Time does not pass.
    ///
    /// # Errors
    /// [`TimedOut`](ErrorKind::TimedOut) after 100,000 attempts; if the file cannot be written.
    pub fn run_until_idle(&self) -> Result<RunSummary, Error> {
        let mut tally = RunSummary::default();
        for _ in 0..MAX_ATTEMPTS {
            match self.run_one()? {
                None => return Ok(tally),
                Some(Ran::Succeeded(_)) => tally.succeeded += 1,
                Some(Ran::Failed(_)) => tally.failed += 1,
                Some(Ran::Snoozed(_)) => tally.snoozed += 1,
                Some(Ran::Cancelled(_)) => tally.cancelled += 1,
                Some(Ran::HandedBack(_)) => tally.handed_back += 1,
                Some(Ran::WentOutside(_)) => tally.went_outside += 1,
            }
        }
        Err(Error::new(ErrorKind::TimedOut, format!("the queue is not idle after {MAX_ATTEMPTS} attempts")))
    }

    /// Moves the clock forward, and does what is due: waits end, tasks expire.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn advance(&mut self, by: Duration) -> Result<(), Error> {
        self.clock.advance(by);
        self.tick()
    }

    /// Does what is due at the present time of the clock.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn tick(&mut self) -> Result<(), Error> {
        self.stepper.tick()
    }

    /// Polls each [engine](crate::engine) once, as its thread does: starts jobs, asks for their
    /// status, ends their tasks. An engine that could not be reached is polled again only after its
    /// wait.
    ///
    /// # Errors
    /// If the file cannot be read or written.
    pub fn poll_engines(&mut self) -> Result<(), Error> {
        self.stepper.poll_engines()
    }

    /// Applies the retention as the maintenance does: deletes old tasks and dead letters, and moves
    /// tasks to the dead letters. Returns how many.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn apply_retention(&mut self) -> Result<usize, Error> {
        self.stepper.apply_retention()
    }
}

/// Crashes.
impl SteppedQueue {
    /// Simulates a crash of the process at a later commit, before it or after it. From then on
    /// every call fails with [`Crashed`](ErrorKind::Crashed), so a caller does not know what was
    /// done, as after a real crash.
    pub fn crash_at(&self, point: CrashPoint) {
        self.stepper.crash_at(point);
    }

    /// Whether the commit of [`crash_at`](SteppedQueue::crash_at) was reached.
    pub fn has_crashed(&self) -> bool {
        self.stepper.has_crashed()
    }

    /// The number of commits that this queue has made so far.
    pub fn commits(&self) -> u64 {
        self.stepper.commits()
    }

    /// Simulates a crash of the process now. The file stays as a killed process leaves it: the WAL
    /// is not emptied, running tasks are `RUNNING`, the lock is free. Calls on clones of the queue
    /// fail with [`Crashed`](ErrorKind::Crashed).
    ///
    /// # Errors
    /// If SQLite is out of memory.
    pub fn crash(self) -> Result<Crashed, Error> {
        let SteppedQueue { stepper, clock } = self;
        Ok(Crashed { remains: stepper.crash()?, clock })
    }

    /// Claims the next ready task, and simulates a crash: before its handler starts or, with
    /// `started`, during it. Returns the task too; none if nothing was ready.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn crash_in_attempt(self, started: bool) -> Result<(Crashed, Option<TaskId>), Error> {
        let claimed = self.stepper.leave_claimed(started)?;
        Ok((self.crash()?, claimed))
    }
}

/// The remains of a crash: a file that nobody has open.
pub struct Crashed {
    remains: Remains,
    clock: ManualClock,
}

impl fmt::Debug for Crashed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Crashed").field("path", &self.path()).finish_non_exhaustive()
    }
}

impl Crashed {
    /// Opens the file again, as the next process does: tasks that the dead one was running are
    /// recovered.
    ///
    /// # Errors
    /// As [`Builder::open`].
    pub fn reopen(self, builder: Builder) -> Result<SteppedQueue, Error> {
        let stepper = self.remains.reopen(builder.clock(self.clock.clone()))?;
        Ok(SteppedQueue { stepper, clock: self.clock })
    }

    /// The path of the file, to inspect it before it is opened again.
    pub fn path(&self) -> &Path {
        self.remains.path()
    }
}

/// Runs a flow repeatedly, each time with a crash at another commit of it: before the first, after
/// the first, before the second, and so on, until the flow ends without a crash. So `check` sees
/// every state that a crash can leave.
///
/// `open` makes a fresh queue, `flow` uses it, and `check` gets the remains of the crash and its
/// point. `flow` may fail only with [`Crashed`](ErrorKind::Crashed). Returns the number of crashes.
///
/// ```
/// use perdura::testing::{ManualClock, SteppedQueue, at_every_commit};
/// use perdura::{Context, Failure, Queue, State};
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Greet;
/// impl perdura::Task for Greet {
///     const NAME: &'static str = "greet";
///     type Output = ();
/// }
/// let builder = || Queue::builder().handle(|_: Greet, _: &Context| Ok::<_, Failure>(()));
///
/// let crashes = at_every_commit(
///     || SteppedQueue::open(builder(), &ManualClock::new()),
///     |tests| {
///         let _ = tests.queue().enqueue(&Greet)?;
///         tests.run_until_idle().map(drop)
///     },
///     |crashed, point| {
///         let tests = crashed.reopen(builder())?;
///         tests.run_until_idle()?;
///         for task in tests.queue().tasks(perdura::Filter::new())? {
///             assert_eq!(task.state, State::Succeeded, "a crash {point} leaves a task behind");
///         }
///         Ok(())
///     },
/// )?;
/// assert_eq!(crashes, 6); // enqueue, claim, settle
/// # Ok::<(), perdura::Error>(())
/// ```
///
/// # Errors
/// The first of `open`, `check`, and of `flow` without a crash.
pub fn at_every_commit(
    mut open: impl FnMut() -> Result<SteppedQueue, Error>,
    mut flow: impl FnMut(&mut SteppedQueue) -> Result<(), Error>,
    mut check: impl FnMut(Crashed, CrashPoint) -> Result<(), Error>,
) -> Result<usize, Error> {
    let points = (1..).flat_map(|commit| [CrashPoint::before(commit), CrashPoint::after(commit)]);
    for (crashes, point) in points.enumerate() {
        let mut queue = open()?;
        queue.crash_at(point);
        let ended = flow(&mut queue);
        if !queue.has_crashed() {
            return ended.map(|()| crashes);
        }
        if let Some(e) = ended.err().filter(|e| e.kind() != ErrorKind::Crashed) {
            return Err(e);
        }
        check(queue.crash()?, point)?;
    }
    Ok(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Context, Options, Queue, Rate, Task};

    #[derive(serde::Serialize, serde::Deserialize)]
    struct Nothing;
    impl Task for Nothing {
        const NAME: &'static str = "nothing";
        type Output = ();
    }

    /// Otherwise the timer would loop without pause while the last handlers run.
    #[test]
    fn g10_a_queue_that_ends_leaves_what_is_due_and_asks_for_no_tick() {
        let (clock, second) = (ManualClock::new(), Duration::from_secs(1));
        let builder = Queue::builder().handle(|_: Nothing, _: &Context| Ok(()));
        let tests = SteppedQueue::open(builder, &clock).unwrap();
        let (queue, core) = (tests.queue(), &tests.queue().runtime.core);
        queue.set_rate("default", Some(Rate::per(second, 1))).unwrap();
        let _ = queue.enqueue_with(&Nothing, Options::new().delay(second)).unwrap();
        let due = queue.next_due().unwrap();
        assert!(due.is_some());
        assert_eq!((core.promote().unwrap().at, core.open_queues().unwrap()), (due, None));
        clock.advance(second);
        core.shared.gate.stop();
        assert_eq!((core.promote().unwrap().at, core.open_queues().unwrap()), (None, None));
    }
}
