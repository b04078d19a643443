//! The workload of perdura's own tests: tasks whose args say what they do.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Act, Ending, ModelAttempt, Program, Workload};
use crate::error::Error;
use crate::handler::{Context, Failure};
use crate::queue::{Builder, Queue};
use crate::task::{Enqueued, Options, Task};

/// A task whose args say what it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Script {
    /// Returns Ok.
    Succeed,
    /// Fails with the type `told.to`.
    Fail,
    /// Fails before attempt n, and then succeeds.
    FailUntil(u32),
    /// Fails before its last attempt, which succeeds.
    SucceedAtLast,
    /// Fails permanently.
    FailForGood,
    /// Fails with the type `denied.here`, for a denylist.
    FailDenied,
    /// Fails and asks for the next attempt after this many seconds.
    FailFor(u32),
    /// Snoozes for half a minute, each time.
    Snooze,
    /// Closes its queue for half a minute, each time.
    Throttle,
    /// Waits for the condition `a` in its first claim, and succeeds in later ones.
    Until,
    /// Does a step; fails in its first two claims, and then succeeds.
    StepAndFail,
    /// Sleeps for half a minute, and then succeeds.
    Sleep,
    /// Hands its work over to somebody outside, each time.
    GoOutside,
    /// Returns a failure that cancels it.
    Cancel,
    /// Cancels itself through the queue, and fails.
    CancelAndFail,
    /// Cancels itself through the queue, and succeeds.
    CancelAndSucceed,
    /// Saves a checkpoint, and fails.
    SaveAndFail,
    /// Succeeds, in a handler that only [`Program::Whole`] has.
    New,
}

const SNOOZE: Duration = Duration::from_secs(30);

/// Tasks whose handler every program has.
#[derive(Serialize, Deserialize)]
struct Old(Script);

impl Task for Old {
    const NAME: &'static str = "old";
    type Output = u32;
}

/// Tasks whose handler only whole programs have.
#[derive(Serialize, Deserialize)]
struct New(Script);

impl Task for New {
    const NAME: &'static str = "new";
    type Output = u32;
}

fn run(script: Script, cx: &Context) -> Result<u32, Failure> {
    let cancel = || cx.queue().map_or(Ok(()), |queue| queue.cancel(cx.id()));
    match script {
        Script::Succeed | Script::New => Ok(1),
        Script::Fail => Err(Failure::named("told.to", "fail")),
        Script::FailUntil(n) if cx.attempt_number() < n => Err(Failure::named("told.to", "fail")),
        Script::FailUntil(n) => Ok(n),
        Script::SucceedAtLast if cx.attempt_number() < cx.max_attempts() => {
            Err(Failure::named("told.to", "fail"))
        }
        Script::SucceedAtLast => Ok(2),
        Script::FailForGood => Err(Failure::permanent("for good")),
        Script::FailDenied => Err(Failure::named("denied.here", "denied")),
        Script::FailFor(seconds) => {
            Err(Failure::named("told.to", "fail").retry_after(Duration::from_secs(seconds.into())))
        }
        Script::Snooze => Err(Failure::snooze(SNOOZE)),
        Script::Throttle => Err(Failure::throttle(SNOOZE)),
        Script::Until if cx.generation() < 2 => Err(Failure::until("a")),
        Script::Until => Ok(4),
        Script::StepAndFail => {
            let done_in = cx.step("step", || Ok(cx.generation()))?;
            if cx.generation() < 3 {
                return Err(Failure::named("told.to", "fail"));
            }
            Ok(u32::try_from(done_in)?)
        }
        Script::Sleep => cx.sleep("sleep", SNOOZE).map(|()| 5),
        Script::GoOutside => Err(Failure::outside("somebody")),
        Script::Cancel => Err(Failure::cancel("no")),
        Script::CancelAndFail => {
            cancel()?;
            Err(Failure::named("told.to", "fail"))
        }
        Script::CancelAndSucceed => {
            cancel()?;
            Ok(3)
        }
        Script::SaveAndFail => {
            cx.save_checkpoint(&cx.generation())?;
            Err(Failure::named("told.to", "fail"))
        }
    }
}

impl Workload for Script {
    type World = ();

    fn handle(builder: Builder, _: &(), program: Program) -> Builder {
        let builder = builder.handle(|task: Old, cx: &Context| run(task.0, cx));
        match program {
            Program::Whole => builder.handle(|task: New, cx: &Context| run(task.0, cx)),
            Program::Older => builder,
        }
    }

    fn enqueue(&self, queue: &Queue, options: Options, _: &()) -> Result<Enqueued, Error> {
        match self {
            Script::New => queue.enqueue_with(&New(*self), options),
            _ => queue.enqueue_with(&Old(*self), options),
        }
    }

    fn can_batch(tasks: &[(Script, Options)]) -> bool {
        tasks.iter().all(|(task, _)| *task != Script::New)
    }

    fn enqueue_all(queue: &Queue, tasks: &[(Script, Options)], _: &()) -> Result<Vec<Enqueued>, Error> {
        let old: Vec<_> = tasks.iter().map(|(task, options)| (Old(*task), options.clone())).collect();
        queue.enqueue_all_with(old.iter().map(|(task, options)| (task, options.clone())))
    }

    fn kind(&self) -> &'static str {
        if *self == Script::New { New::NAME } else { Old::NAME }
    }

    fn is_known_to(&self, program: Program) -> bool {
        program == Program::Whole || *self != Script::New
    }

    fn ending(&self, attempt: ModelAttempt) -> Ending {
        match *self {
            Script::Succeed | Script::CancelAndSucceed | Script::New => Ending::Succeeds,
            Script::FailUntil(n) if attempt.attempt_number >= n => Ending::Succeeds,
            Script::SucceedAtLast if attempt.attempt_number == attempt.max_attempts => Ending::Succeeds,
            Script::FailForGood => Ending::FailsForGood,
            Script::FailDenied => Ending::Fails("denied.here"),
            Script::FailFor(seconds) => Ending::FailsUntil(Duration::from_secs(seconds.into())),
            Script::Snooze => Ending::Snoozes(SNOOZE),
            Script::Throttle => Ending::Throttles(SNOOZE),
            Script::Until if attempt.generation < 2 => Ending::WaitsFor("a"),
            Script::Until => Ending::Succeeds,
            Script::StepAndFail if attempt.generation >= 3 => Ending::Succeeds,
            Script::Sleep if attempt.has_steps => Ending::Succeeds,
            Script::Sleep => Ending::Sleeps(SNOOZE),
            Script::GoOutside => Ending::GoesOutside,
            Script::Cancel => Ending::Cancels,
            Script::Fail
            | Script::FailUntil(_)
            | Script::SucceedAtLast
            | Script::CancelAndFail
            | Script::SaveAndFail
            | Script::StepAndFail => Ending::Fails("told.to"),
        }
    }

    fn acts(&self, _: ModelAttempt) -> Vec<Act> {
        match self {
            Script::CancelAndFail | Script::CancelAndSucceed => vec![Act::CancelsItself],
            Script::SaveAndFail => vec![Act::SavesCheckpoint],
            Script::StepAndFail => vec![Act::DoesStep],
            _ => Vec::new(),
        }
    }
}
