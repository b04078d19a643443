//! The tasks of a program, as the model needs to know them.

use std::fmt::Debug;
use std::time::Duration;

use super::life::Model;
use super::operation::{Operation, Program};
use crate::error::Error;
use crate::queue::{Builder, Queue};
use crate::task::{Enqueued, Options};

/// The tasks of a program, as the model needs to know them. One value is one task, of whatever type.
///
/// What an attempt does must follow from the task and its [`ModelAttempt`], so that the model can foretell it. Anything outside whose
/// answers do not follow from that belongs in the [`World`](Workload::World), as a fake.
pub trait Workload: Clone + PartialEq + Debug + 'static {
    /// What the handlers use beside their task: fakes of the outside, counters. Made anew for each run; it survives the crashes in it.
    type World: Default;

    /// Registers the handlers that this program has.
    fn handle(builder: Builder, world: &Self::World, program: Program) -> Builder;

    /// Enqueues the task: `queue.enqueue_with(&MyTask { … }, options)`.
    ///
    /// # Errors
    /// As [`Queue::enqueue_with`].
    fn enqueue(&self, queue: &Queue, options: Options, world: &Self::World) -> Result<Enqueued, Error>;

    /// Whether [`enqueue_all`](Workload::enqueue_all) takes these: they are of one type. Defaults to false; such operations do nothing.
    fn can_batch(tasks: &[(Self, Options)]) -> bool {
        let _ = tasks;
        false
    }

    /// Enqueues several tasks in one transaction. Called only if [`can_batch`](Workload::can_batch) says so.
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

    /// What [`enqueue`](Workload::enqueue) does not say but the type does: [`Task::options`](crate::Task::options). Defaults to none.
    fn options(&self) -> Options {
        Options::new()
    }

    /// Which of several task types it is, as [`Task::NAME`](crate::Task::NAME) tells them apart: unique keys hold within one. Defaults to one
    /// type.
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

    /// What else must hold after each operation (its answer is [`model.answer()`](Model::answer)): the program's own invariants. Panics
    /// if one does not. Defaults to nothing.
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
    /// A step of its task is done, or a sleep of it.
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
    /// It [closes its queue](crate::Failure::throttle) for so long.
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
    /// It does a [step](crate::Context::step), if none of its task is done yet.
    DoesStep,
    /// It cancels its own task through the queue.
    CancelsItself,
}
