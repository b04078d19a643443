//! Steps of a handler: what one attempt has done, the next ones do not do again.

use std::time::Duration;

use serde::{Serialize, de::DeserializeOwned};

use super::context::Context;
use super::failure::Failure;
use super::step_book::{MAX_STEPS, NotThis, Step, Steps};
use crate::json::{from_json, to_json};
use crate::planted::planted;
use crate::sync::atomic::Ordering;
use crate::sync::lock;
use crate::task::{Extras, StepKey, check_name};

impl Context {
    /// Does something once in the life of the task: it runs `work` and keeps its result, and later attempts get that result instead of doing it
    /// again. The result is durable when this returns, by one commit.
    ///
    /// A step is known by its name, wherever it stands: a handler can be changed between two attempts. Steps that fail keep nothing. All
    /// go when the task succeeds; a [retry by hand](crate::Queue::retry) keeps them, one [from the start](crate::Queue::retry_from_start) does
    /// not. Between the end of `work` and the commit the process can die, and then the step is done again: give the other side an
    /// [`idempotency_key`](Context::idempotency_key). For effects in the same file, `Context::commit` (feature `rusqlite`) has no such gap.
    ///
    /// An attempt that is to stop begins no step: before `work` runs, this checks the attempt as [`ensure_active`](Context::ensure_active) does.
    ///
    /// ```
    /// # use perdura::{Context, Failure, Queue, testing::{ManualClock, SteppedQueue}};
    /// # use std::sync::atomic::{AtomicU32, Ordering};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Order { cents: u32 }
    /// # impl perdura::Task for Order { const NAME: &'static str = "order"; type Output = String; }
    /// static CHARGES: AtomicU32 = AtomicU32::new(0);
    ///
    /// fn order(order: Order, cx: &Context) -> Result<String, Failure> {
    ///     let receipt = cx.step("charge", || {
    ///         CHARGES.fetch_add(1, Ordering::Relaxed); // a call of the bank
    ///         Ok(format!("{} cents", order.cents))
    ///     })?;
    ///     if cx.attempt_number() == 1 {
    ///         return Err(Failure::named("warehouse.closed", "try again"));
    ///     }
    ///     Ok(receipt)
    /// }
    /// # let mut tests = SteppedQueue::open(Queue::builder().handle(order), &ManualClock::new())?;
    /// # let id = tests.queue().enqueue(&Order { cents: 500 })?.id();
    /// # tests.run_until_idle()?;
    /// # tests.advance(std::time::Duration::from_secs(60))?;
    /// # tests.run_until_idle()?;
    /// # let queue = tests.queue();
    /// assert_eq!(queue.result::<Order>(id)?.as_deref(), Some("500 cents")); // of the second attempt
    /// assert_eq!(CHARGES.load(Ordering::Relaxed), 1);
    /// # Ok::<(), perdura::Error>(())
    /// ```
    ///
    /// # Errors
    /// That of `work`. A permanent failure if the name is invalid (it has 1-200 bytes, no control characters); if this attempt has come to a step of
    /// this name before (`StepRepeated`; loops use [`step_n`](Context::step_n)); if the task has 10,000 steps (`TooManySteps`); if the result is over
    /// [`max_result_bytes`](crate::Config::max_result_bytes) of JSON (`TooLarge`) or does not turn into JSON; if the result of an earlier attempt is
    /// not an `R` (`StepUndecodable`). As [`save_checkpoint`](Context::save_checkpoint) if it cannot be kept.
    pub fn step<R, F>(&self, name: &str, work: F) -> Result<R, Failure>
    where
        R: Serialize + DeserializeOwned,
        F: FnOnce() -> Result<R, Failure>,
    {
        self.one_step(key(name, None)?, work)
    }

    /// Like [`step`](Context::step), for one of many of the same name: each number (up to 2⁶³ − 1) is a step of its own.
    ///
    /// ```
    /// # use perdura::{Context, Failure, Queue, testing::{ManualClock, SteppedQueue}};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Book;
    /// # impl perdura::Task for Book { const NAME: &'static str = "book"; type Output = u64; }
    /// fn book(_: Book, cx: &Context) -> Result<u64, Failure> {
    ///     let mut words = 0;
    ///     for page in 0..3 {
    ///         words += cx.step_n("page", page, || Ok(100 + page))?;
    ///     }
    ///     Ok(words)
    /// }
    /// # let tests = SteppedQueue::open(Queue::builder().handle(book), &ManualClock::new())?;
    /// # let queue = tests.queue();
    /// let id = queue.enqueue(&Book)?.id();
    /// # tests.run_until_idle()?;
    /// assert_eq!(queue.result::<Book>(id)?, Some(303));
    /// # Ok::<(), perdura::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`step`](Context::step).
    pub fn step_n<R, F>(&self, name: &str, number: u64, work: F) -> Result<R, Failure>
    where
        R: Serialize + DeserializeOwned,
        F: FnOnce() -> Result<R, Failure>,
    {
        self.one_step(key(name, Some(number))?, work)
    }

    /// Waits without a thread: ends the attempt, with `?`, and the next one goes on after this call when `delay` (10 ms to 10 years) is over. The
    /// attempt does not count, as with [`Failure::snooze`].
    ///
    /// The sleep is over when its wait has ended, whatever ended it: its time, [`run_now`](crate::Queue::run_now), or a retry by hand of a task that
    /// was cancelled meanwhile. Each name is one sleep in the life of a task.
    ///
    /// ```
    /// # use perdura::{Context, Failure, Queue, testing::{ManualClock, SteppedQueue}};
    /// # use std::time::Duration;
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Trial;
    /// # impl perdura::Task for Trial { const NAME: &'static str = "trial"; type Output = (); }
    /// fn trial(_: Trial, cx: &Context) -> Result<(), Failure> {
    ///     cx.step("welcome", || Ok(println!("welcome")))?;
    ///     cx.sleep("the month", Duration::from_secs(30 * 86_400))?;
    ///     cx.step("remind", || Ok(println!("your trial ends")))
    /// }
    /// # let mut tests = SteppedQueue::open(Queue::builder().handle(trial), &ManualClock::new())?;
    /// # let id = tests.queue().enqueue(&Trial)?.id();
    /// # tests.run_until_idle()?;
    /// # let queue = tests.queue();
    /// let names: Vec<String> = queue.steps(id)?.into_iter().map(|step| step.name).collect();
    /// assert_eq!(names, ["welcome", "the month"]);
    /// assert_eq!((queue.get(id)?.attempt_number, queue.get(id)?.snoozes), (0, 1));
    /// # tests.advance(Duration::from_secs(30 * 86_400))?;
    /// # tests.run_until_idle()?;
    /// # assert_eq!(tests.queue().get(id)?.state, perdura::State::Succeeded);
    /// # Ok::<(), perdura::Error>(())
    /// ```
    ///
    /// # Errors
    /// The sleep itself, which is to be returned: an attempt that goes on instead has not slept. As [`step`](Context::step) for the name.
    pub fn sleep(&self, name: &str, delay: Duration) -> Result<(), Failure> {
        let step = key(name, None)?;
        match self.meet(&step)? {
            Step::Met => Err(Failure::sleep(name, delay)),
            Step::Done => match self.port.step_result(self.id(), &step)? {
                Some(None) => Ok(()),
                _ => Err(Failure::undecodable_step(&step, "it was no sleep")),
            },
        }
    }

    /// A key by which another system recognises a repeated request of the task: the same in all attempts, and in tasks that are made of its dead
    /// letter; another one for each file, task and name. 32 hexadecimal digits.
    ///
    /// It is the SipHash-2-4-128 of the task's id, a random number that it was enqueued with, and the name, keyed with the random id of the file. In a
    /// copy of the file a task has the same keys: a request from before a backup is recognised after the backup is restored. A new task that gets the
    /// id of a task that the backup does not have has other keys.
    ///
    /// ```
    /// # use perdura::{Context, Failure, Queue, testing::{ManualClock, SteppedQueue}};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Order { cents: u32 }
    /// # impl perdura::Task for Order { const NAME: &'static str = "order"; type Output = String; }
    /// # fn charge(_cents: u32, key: &str) -> Result<String, Failure> { Ok(key.into()) }
    /// fn order(order: Order, cx: &Context) -> Result<String, Failure> {
    ///     let key = cx.idempotency_key("charge")?; // goes into the header Idempotency-Key
    ///     cx.step("charge", || charge(order.cents, &key))
    /// }
    /// # let tests = SteppedQueue::open(Queue::builder().handle(order), &ManualClock::new())?;
    /// # let (queue, id) = (tests.queue(), tests.queue().enqueue(&Order { cents: 500 })?.id());
    /// # tests.run_until_idle()?;
    /// assert_eq!(queue.result::<Order>(id)?.map(|key| key.len()), Some(32));
    /// # Ok::<(), perdura::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`step`](Context::step) for the name; if the file cannot be read.
    pub fn idempotency_key(&self, name: &str) -> Result<String, Failure> {
        let StepKey { mut name, .. } = key(name, None)?;
        if planted("g18-each-attempt-has-idempotency-keys-of-its-own") {
            name.push_str(&self.generation().to_string());
        }
        Ok(self.port.idempotency_key(self.id(), &name)?)
    }

    fn one_step<R, F>(&self, step: StepKey, work: F) -> Result<R, Failure>
    where
        R: Serialize + DeserializeOwned,
        F: FnOnce() -> Result<R, Failure>,
    {
        if self.meet(&step)? == Step::Done {
            return match self.port.step_result(self.id(), &step)? {
                Some(Some(json)) => {
                    from_json(&json).map_err(|wrong| Failure::undecodable_step(&step, &wrong))
                }
                _ => Err(Failure::undecodable_step(&step, "it was a sleep")),
            };
        }
        self.ensure_active()?;
        let given = work()?;
        let what = format!("result of the step {step}");
        let json = to_json(&what, &given, self.port.limits().0).map_err(Failure::from_write)?;
        self.alive();
        self.control.has_saved.store(true, Ordering::Release); // before the write, whose outcome may stay unknown
        if !planted("g18-a-step-is-not-kept") {
            self.port.save_step(&self.control, step, json).map_err(Failure::from_write)?;
        }
        Ok(given)
    }

    /// Notes that the attempt has come to a step, and says whether an earlier one has done it.
    fn meet(&self, step: &StepKey) -> Result<Step, Failure> {
        let mut steps = lock(&self.steps);
        let steps = match &mut *steps {
            Some(steps) => steps,
            none => none.insert(self.known_steps()?),
        };
        steps.meet(step).map_err(|wrong| match wrong {
            NotThis::Repeated => Failure::step(
                "StepRepeated",
                &format!(
                    "this attempt has come to the step {step} before; each needs a name, or a number, of its own"
                ),
            ),
            NotThis::OneTooMany => Failure::step(
                "TooManySteps",
                &format!(
                    "a task can have {MAX_STEPS} steps, and {step} is one more; save a checkpoint instead, or make more tasks"
                ),
            ),
        })
    }

    /// The steps that earlier attempts have done.
    fn known_steps(&self) -> Result<Steps, Failure> {
        if !self.claimed.extras.contains(Extras::STEPS) {
            return Ok(Steps::default());
        }
        let keys = self.port.step_keys(self.id(), MAX_STEPS)?;
        Ok(Steps::done(keys))
    }
}

/// A step's name, checked.
fn key(name: &str, number: Option<u64>) -> Result<StepKey, Failure> {
    check_name("the name of a step", name).map_err(Failure::unusable_name)?;
    if number.is_some_and(|number| i64::try_from(number).is_err()) {
        return Err(Failure::permanent("the number of a step is over 2^63 - 1"));
    }
    Ok(StepKey { name: name.to_owned(), number })
}
