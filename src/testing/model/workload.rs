//! The trait that tells the model what a program's tasks do.

use std::fmt::Debug;
use std::time::Duration;

use super::life::Model;
use super::operation::{Operation, Program};
use crate::error::Error;
use crate::queue::{Builder, Queue};
use crate::task::{Enqueued, Options};

/// What the model needs to know of a program's tasks. A value is one task, of any type.
///
/// The behaviour of an attempt must follow from the task and its [`ModelAttempt`], so that the
/// model can predict it. Anything else that an attempt uses belongs in the
/// [`World`](Workload::World), as a fake.
pub trait Workload: Clone + PartialEq + Debug + 'static {
    /// What the handlers use besides their task: fakes of external systems, counters. Made for each
    /// run; it survives the crashes in it.
    type World: Default;

    /// Registers the handlers that this program has.
    fn handle(builder: Builder, world: &Self::World, program: Program) -> Builder;

    /// Enqueues the task: `queue.enqueue_with(&MyTask { … }, options)`.
    ///
    /// # Errors
    /// As [`Queue::enqueue_with`].
    fn enqueue(&self, queue: &Queue, options: Options, world: &Self::World) -> Result<Enqueued, Error>;

    /// Whether [`enqueue_all`](Workload::enqueue_all) accepts these tasks: they are of one type.
    /// Defaults to false; the operation then does nothing.
    fn can_batch(tasks: &[(Self, Options)]) -> bool {
        let _ = tasks;
        false
    }

    /// Enqueues several tasks in one transaction. Called only if [`can_batch`](Workload::can_batch)
    /// is true.
    ///
    /// # Errors
    /// As [`Queue::enqueue_all_with`].
    fn enqueue_all(
        queue: &Queue,
        tasks: &[(Self, Options)],
        world: &Self::World,
    ) -> Result<Vec<Enqueued>, Error> {
        tasks.iter().map(|(task, options)| task.enqueue(queue, options.clone(), world)).collect()
    }

    /// The options of the task's type, as [`Task::options`](crate::Task::options) returns them.
    /// Defaults to none.
    fn options(&self) -> Options {
        Options::new()
    }

    /// The task type, such as its [`Task::NAME`](crate::Task::NAME): unique keys are unique within
    /// a type. Defaults to one type for all.
    fn kind(&self) -> &'static str {
        ""
    }

    /// Whether this program has a handler for the task. Defaults to true.
    fn is_known_to(&self, program: Program) -> bool {
        let _ = program;
        true
    }

    /// How an attempt of this task ends.
    fn ending(&self, attempt: ModelAttempt) -> Ending;

    /// What an attempt of this task commits while it runs, in order. Defaults to nothing.
    fn acts(&self, attempt: ModelAttempt) -> Vec<Act> {
        let _ = attempt;
        Vec::new()
    }

    /// Checks the program's own invariants after each operation (its answer is
    /// [`model.answer()`](Model::answer)). Panics if one does not hold. Defaults to nothing.
    fn check(operation: &Operation<Self>, model: &Model<Self>, queue: &Queue, world: &Self::World) {
        let _ = (operation, model, queue, world);
    }
}

/// Which attempt of a task it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ModelAttempt {
    /// As [`Context::attempt_number`](crate::Context::attempt_number).
    pub attempt_number: u32,
    /// As [`Context::max_attempts`](crate::Context::max_attempts).
    pub max_attempts: u32,
    /// As [`Context::generation`](crate::Context::generation).
    pub generation: u64,
    /// The task has stored steps or sleeps.
    pub has_steps: bool,
}

/// How an attempt ends.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Ending {
    /// The handler returns Ok.
    Succeeds,
    /// It returns a failure of this type.
    Fails(&'static str),
    /// It returns a failure with [`retry_after`](crate::Failure::retry_after).
    FailsUntil(Duration),
    /// It returns a [permanent](crate::Failure::permanent) failure.
    FailsForGood,
    /// It [snoozes](crate::Failure::snooze).
    Snoozes(Duration),
    /// It [sleeps](crate::Context::sleep).
    Sleeps(Duration),
    /// It [closes its queue](crate::Failure::throttle) for this long.
    Throttles(Duration),
    /// It [waits](crate::Failure::until) until this condition is met.
    WaitsFor(&'static str),
    /// It [cancels](crate::Failure::cancel) its task.
    Cancels,
    /// It [hands the work over](crate::Failure::outside).
    GoesOutside,
}

/// What a handler commits while it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Act {
    /// It saves a checkpoint.
    SavesCheckpoint,
    /// It does a [step](crate::Context::step), unless its task has one already.
    DoesStep,
    /// It cancels its own task through the queue.
    CancelsItself,
}
