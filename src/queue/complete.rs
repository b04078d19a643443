//! Ends of attempts whose work is outside, and of which somebody says how they end.

use std::time::Duration;

use serde_json::value::RawValue;

use super::handle::Queue;
use crate::error::{Error, ErrorKind};
use crate::handler::{Failure, in_handler};
use crate::json::{measured, to_json};
use crate::store::{self, Rank};
use crate::task::{PendingOutput, Task, TaskId, Verdict};

/// How long an end waits for a handler that has handed its work over and has not returned yet.
const HANDLER_PATIENCE: Duration = Duration::from_secs(10);

/// How often an end is tried again while the handler runs in another process.
const HANDLER_POLL: Duration = Duration::from_millis(100);

/// Ends of work that is outside.
impl Queue {
    /// Ends an attempt whose work is [outside](Failure::outside): it has succeeded, with this output. It is durable when this returns, whichever
    /// process calls it.
    ///
    /// `generation` is that of the attempt ([`Context::generation`](crate::Context::generation)): an answer to an earlier attempt changes nothing. If the
    /// handler has not returned yet (it has told somebody, who was quick), this waits for it, up to 10 s. [`Failure::outside`] has an example.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound); [`Superseded`](ErrorKind::Superseded) if that attempt has ended, or another one has begun;
    /// [`WrongState`](ErrorKind::WrongState) if its handler still runs; [`InvalidInput`](ErrorKind::InvalidInput) if the task is not a `T`;
    /// [`TooLarge`](ErrorKind::TooLarge), [`Serialization`](ErrorKind::Serialization) for the output; those of the file.
    pub fn complete<T: Task>(&self, id: TaskId, generation: u64, output: &T::Output) -> Result<(), Error> {
        let name = self.get(id)?.task_name;
        if name != T::NAME && !T::ALIASES.contains(&name.as_str()) {
            let message = format!("task {id} is a {name:?}, and it was to be completed as a {:?}", T::NAME);
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
        let json = to_json("result", output, self.runtime.core.config.max_result_bytes)?;
        self.succeed_outside(id, generation, json)
    }

    /// Like [`complete`](Queue::complete), with the output as JSON: for programs that do not know the type of the task.
    ///
    /// ```
    /// # use perdura::{Context, Failure, Queue, State, testing::{ManualClock, SteppedQueue}};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Refund;
    /// # impl perdura::Task for Refund { const NAME: &'static str = "refund"; type Output = String; }
    /// # let refund = |_: Refund, _: &Context| Err(Failure::outside("approval by finance"));
    /// # let tests = SteppedQueue::open(Queue::builder().handle(refund), &ManualClock::new())?;
    /// # let (queue, id) = (tests.queue(), tests.queue().enqueue(&Refund)?.id());
    /// # tests.run_until_idle()?;
    /// queue.complete_json(id, 1, r#""approved by Ada""#)?;
    /// assert_eq!(queue.get(id)?.state, State::Succeeded);
    /// # Ok::<(), perdura::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`complete`](Queue::complete); [`Serialization`](ErrorKind::Serialization) if it is not JSON.
    pub fn complete_json(&self, id: TaskId, generation: u64, output: &str) -> Result<(), Error> {
        let json: &RawValue = serde_json::from_str(output).map_err(|e| {
            let message =
                format!("the result is not JSON: error at line {}, column {}", e.line(), e.column());
            Error::new(ErrorKind::Serialization, message)
        })?;
        let json = measured("result", json.get().to_owned(), self.runtime.core.config.max_result_bytes)?;
        self.succeed_outside(id, generation, json)
    }

    /// Ends an attempt whose work is [outside](Failure::outside) as its handler would end it with this failure: it is retried with backoff, unless
    /// it is permanent or no attempts are left. It is durable when this returns, whichever process calls it.
    ///
    /// The settings of this queue decide: its backoff (if the task has none of its own), its denylist.
    ///
    /// ```
    /// # use perdura::{Context, Failure, Queue, State, testing::{ManualClock, SteppedQueue}};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Refund;
    /// # impl perdura::Task for Refund { const NAME: &'static str = "refund"; type Output = String; }
    /// # let refund = |_: Refund, _: &Context| Err(Failure::outside("approval by finance"));
    /// # let tests = SteppedQueue::open(Queue::builder().handle(refund), &ManualClock::new())?;
    /// # let (queue, id) = (tests.queue(), tests.queue().enqueue(&Refund)?.id());
    /// # tests.run_until_idle()?;
    /// queue.fail(id, 1, Failure::permanent("finance has declined"))?;
    /// assert_eq!(queue.get(id)?.state, State::Failed);
    /// # Ok::<(), perdura::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`complete`](Queue::complete); [`InvalidInput`](ErrorKind::InvalidInput) for [`Failure::outside`], which is no end.
    pub fn fail(&self, id: TaskId, generation: u64, failure: Failure) -> Result<(), Error> {
        let verdict = failure.verdict();
        if matches!(verdict, Verdict::Outside(_)) {
            let message = format!("task {id} is outside already; say how it ends");
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
        self.end_outside(id, generation, Rank::Settle, &verdict)
    }

    fn succeed_outside(&self, id: TaskId, generation: u64, json: String) -> Result<(), Error> {
        let verdict = Verdict::Succeeded { result: (json != "null").then_some(json), late: false };
        self.end_outside(id, generation, Rank::Add, &verdict)
    }

    fn end_outside(&self, id: TaskId, generation: u64, rank: Rank, verdict: &Verdict) -> Result<(), Error> {
        let core = &self.runtime.core;
        let end = || {
            let (rules, verdict, now) = (core.rules.clone(), verdict.clone(), core.now());
            core.commit(rank, move |tx| {
                let verdict = verdict.clone();
                store::end_outside(tx, id, generation, verdict, PendingOutput::default(), &rules, now)
            })
        };
        let is_early = |e: &Error| e.kind() == ErrorKind::WrongState;
        let ended = end();
        if !ended.as_ref().is_err_and(is_early) || in_handler() {
            return ended;
        }
        let patience = || if self.executes() { HANDLER_PATIENCE } else { HANDLER_POLL };
        let waited = core.shared.wait_until(Some(id), Some(HANDLER_PATIENCE), patience, || match end() {
            Err(e) if is_early(&e) => Ok(None),
            ended => ended.map(Some),
        })?;
        waited.map_or(ended, Ok)
    }
}
