//! Tasks that a handler makes with the end of its attempt.

use std::sync::Arc;

use super::runtime::core::Core;
use crate::handler::{Context, Control, Failure};
use crate::task::{Options, Task};

impl Context {
    /// Makes a task if this attempt succeeds, in the commit that records the success: at any other end (a failure, a snooze, a crash) there is none.
    /// So a retry does not make it twice. [`Context::queue`] makes tasks at once.
    ///
    /// At most 10,000 in an attempt. If the disk has no room for them, the task stays `RUNNING`, and ends when there is.
    ///
    /// ```
    /// # use perdura::{Context, Failure, Queue, State};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Import;
    /// # impl perdura::Task for Import { const NAME: &'static str = "import"; type Output = (); }
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Row { n: u32 }
    /// # impl perdura::Task for Row { const NAME: &'static str = "row"; type Output = (); }
    /// fn import(_: Import, cx: &Context) -> Result<(), Failure> {
    ///     for n in 0..3 {
    ///         cx.enqueue(&Row { n })?;
    ///     }
    ///     if cx.attempt_number() == 1 { Err(Failure::named("Flaky", "none of these rows is there")) } else { Ok(()) }
    /// }
    /// # use perdura::testing::{ManualClock, SteppedQueue};
    /// # let mut tests = SteppedQueue::open(Queue::builder().handle(import), &ManualClock::new())?;
    /// # let _ = tests.queue().enqueue(&Import)?;
    /// # tests.run_until_idle()?;
    /// # assert_eq!(tests.queue().counts()?.total().all(), 1);
    /// # tests.advance(std::time::Duration::from_secs(60))?;
    /// # tests.run_one()?;
    /// # assert_eq!(tests.queue().counts()?.total().all(), 4);
    /// # Ok::<(), perdura::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Queue::enqueue`](crate::Queue::enqueue) for a task that cannot be stored, and for one too many. Return it, and the attempt fails
    /// with it.
    pub fn enqueue<T: Task>(&self, task: &T) -> Result<(), Failure> {
        self.enqueue_with(task, Options::new())
    }

    /// Like [`enqueue`](Context::enqueue), with options of its own. A delay counts from this call.
    ///
    /// # Errors
    /// As [`enqueue`](Context::enqueue).
    pub fn enqueue_with<T: Task>(&self, task: &T, options: Options) -> Result<(), Failure> {
        let child = core_of(self)?.prepare(task, options).map_err(Failure::from_write)?;
        match self.control.add_child(child) {
            true => Ok(()),
            false => Err(Failure::permanent(format!(
                "an attempt can make {} tasks with its end; make them at once, with Context::queue",
                Control::MAX_CHILDREN
            ))),
        }
    }
}

/// The core of the queue, for calls of a handler that need more than its port.
pub(super) fn core_of(cx: &Context) -> Result<Arc<Core>, Failure> {
    let core = cx.port.clone().as_any().downcast();
    core.map_err(|_| Failure::permanent("this context is not of a queue"))
}
