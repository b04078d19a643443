//! Why an attempt did not succeed.

use std::any::type_name;
use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use crate::config::MAX_DURATION;
use crate::error::{Error, ErrorKind};
use crate::task::{Elsewhere, ErrorReport, GoesOutside, StepKey, Verdict, check_name};

/// The shortest snooze: a shorter one would be a busy loop through the disk.
const MIN_SNOOZE: Duration = Duration::from_millis(10);

/// How many sources of an error its traceback names: a longer chain is a loop.
const MAX_SOURCES: usize = 32;

/// Why an attempt did not succeed, and what should become of its task.
///
/// `?` makes a failure from any [`std::error::Error`]: the name of the error's type becomes the task's `error_type`, and its sources become
/// the traceback. Such a failure is retried with backoff, unless its type is on the denylist.
///
/// ```
/// use perdura::Failure;
/// use std::time::Duration;
///
/// fn charge(amount: i64) -> Result<(), Failure> {
///     if amount <= 0 {
///         return Err(Failure::permanent("the amount is not positive")); // never retried
///     }
///     let _receipt = std::fs::read("receipt.txt")?;                     // retried with backoff
///     Err(Failure::named("payment.declined", "insufficient funds").retry_after(Duration::from_secs(3600)))
/// }
/// # assert!(charge(0).is_err());
/// ```
#[must_use = "a failure does something only if the handler returns it"]
pub struct Failure(Box<Cause>);

struct Cause {
    class: Class,
    report: ErrorReport,
    retry_after: Option<Duration>,
    /// The name of the sleep, if it is a snooze for one.
    sleep: Option<String>,
    /// The condition that it waits for.
    condition: Option<String>,
    /// Where its work goes on.
    outside: Option<GoesOutside>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    Error,
    Permanent,
    Timeout,
    Snooze(Duration),
    Until,
    Outside,
    Cancel,
    Interrupted,
    Decline,
    Throttle(Duration),
}

pub(super) const TIMEOUT: &str = "Timeout";
pub(super) const CANCELLED: &str = "Cancelled";
pub(super) const SUPERSEDED: &str = "Superseded";

impl Failure {
    pub(super) fn of(class: Class, error_type: &str, message: &str) -> Failure {
        Failure(Box::new(Cause {
            class,
            report: ErrorReport::new(error_type, message, ""),
            retry_after: None,
            sleep: None,
            condition: None,
            outside: None,
        }))
    }

    /// The args are not what the handler takes.
    pub(super) fn undecodable(wrong: &str) -> Failure {
        Failure::of(Class::Permanent, "ArgsUndecodable", &format!("the args do not decode: {wrong}"))
    }

    /// The checkpoint is not what the handler asks for.
    pub(super) fn undecodable_checkpoint(wrong: &str) -> Failure {
        let message = format!(
            "the checkpoint does not decode: {wrong}; a retry from the start runs the task without it"
        );
        Failure::of(Class::Permanent, "CheckpointUndecodable", &message)
    }

    /// What a step has given is not what the handler asks for.
    pub(super) fn undecodable_step(step: &StepKey, wrong: &str) -> Failure {
        let message = format!(
            "what the step {step} has given does not decode: {wrong}; a retry from the start does it again"
        );
        Failure::of(Class::Permanent, "StepUndecodable", &message)
    }

    /// The handler has given an invalid name.
    pub(super) fn unusable_name(error: Error) -> Failure {
        Failure::of(Class::Permanent, "InvalidInput", &error.to_string())
    }

    /// A step cannot be done.
    pub(super) fn step(error_type: &str, message: &str) -> Failure {
        Failure::of(Class::Permanent, error_type, message)
    }

    /// The attempt sleeps: it ends, and the next one goes on after the sleep.
    pub(super) fn sleep(name: &str, delay: Duration) -> Failure {
        let mut failure = Failure::snooze(delay.min(MAX_DURATION));
        failure.0.sleep = Some(name.to_owned());
        failure
    }

    /// The failure of an attempt whose write has failed with this error.
    pub(crate) fn from_write(error: Error) -> Failure {
        let message = error.to_string();
        match error.kind() {
            ErrorKind::Superseded => Failure::of(Class::Error, SUPERSEDED, &message),
            ErrorKind::TooLarge => Failure::of(Class::Permanent, "TooLarge", &message),
            ErrorKind::Serialization => Failure::of(Class::Permanent, "Unserializable", &message),
            _ => Failure::from(error),
        }
    }

    /// A failure that is not retried, however many attempts are left. Its type is `Permanent`.
    ///
    /// ```
    /// let failure = perdura::Failure::permanent("no such address");
    /// assert_eq!((failure.error_type(), failure.message()), ("Permanent", "no such address"));
    /// ```
    pub fn permanent(message: impl Into<String>) -> Failure {
        Failure::of(Class::Permanent, "Permanent", &message.into())
    }

    /// A failure with a stable type of your choice, such as `payment.declined`, for the denylist and for lists.
    ///
    /// ```
    /// let failure = perdura::Failure::named("payment.declined", "insufficient funds");
    /// assert_eq!((failure.error_type(), failure.message()), ("payment.declined", "insufficient funds"));
    /// ```
    pub fn named(error_type: impl Into<String>, message: impl Into<String>) -> Failure {
        Failure::of(Class::Error, &error_type.into(), &message.into())
    }

    /// A failure made from a boxed error: `Box<dyn Error>`, `anyhow::Error` and the like. The type that the error had is not known any more.
    ///
    /// ```
    /// # use perdura::Failure;
    /// fn send() -> Result<(), Box<dyn std::error::Error>> {
    ///     Err("no route".into())
    /// }
    /// let failure = send().map_err(Failure::from_boxed).unwrap_err(); // in a handler, `?` instead
    /// assert_eq!(failure.message(), "no route");
    /// ```
    pub fn from_boxed<B, E>(error: B) -> Failure
    where
        B: std::ops::Deref<Target = E>,
        E: StdError + ?Sized,
    {
        let mut failure = Failure::of(Class::Error, type_name::<E>(), &error.to_string());
        failure.0.report = ErrorReport::new(type_name::<E>(), &error.to_string(), &sources(error.source()));
        failure
    }

    /// Not a failure: call the handler again after `delay` (at least 10 ms). The attempt does not count.
    ///
    /// ```
    /// # use perdura::{Context, Failure, Queue, testing::{ManualClock, SteppedQueue}};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Mail;
    /// # impl perdura::Task for Mail { const NAME: &'static str = "mail"; type Output = (); }
    /// # use std::time::Duration;
    /// let send = |_: Mail, _: &Context| Err::<(), _>(Failure::snooze(Duration::from_secs(600))); // the server is busy
    /// # let tests = SteppedQueue::open(Queue::builder().handle(send), &ManualClock::new())?;
    /// # let (queue, id) = (tests.queue(), tests.queue().enqueue(&Mail)?.id());
    /// # tests.run_until_idle()?;
    /// assert_eq!((queue.get(id)?.attempt_number, queue.get(id)?.snoozes), (0, 1));
    /// # Ok::<(), perdura::Error>(())
    /// ```
    pub fn snooze(delay: Duration) -> Failure {
        Failure::of(Class::Snooze(delay.max(MIN_SNOOZE)), "Snoozed", "to be called again later")
    }

    /// Not a failure: call the handler again when this [condition](crate::Options::needs) is met. There is no backoff, and the attempt does not count.
    ///
    /// It is for work that finds out by itself that something is missing, the network say. If the condition counts as met when the attempt ends, what
    /// is missing is something else: then it is an ordinary failure (its type is `Condition`), which counts and is retried with backoff.
    ///
    /// ```
    /// # use perdura::{Context, Failure, Hold, Queue, State, testing::{ManualClock, SteppedQueue}};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Sync;
    /// # impl perdura::Task for Sync { const NAME: &'static str = "sync"; type Output = (); }
    /// # fn connect(cx: &Context) -> Result<(), std::io::Error> { if cx.generation() > 1 { Ok(()) } else { Err(std::io::ErrorKind::NetworkUnreachable.into()) } }
    /// fn sync(_: Sync, cx: &Context) -> Result<(), Failure> {
    ///     connect(cx).map_err(|_| Failure::until("online"))
    /// }
    /// # let tests = SteppedQueue::open(Queue::builder().handle(sync), &ManualClock::new())?;
    /// # let queue = tests.queue();
    /// let id = queue.enqueue(&Sync)?.id();
    /// # tests.run_until_idle()?;
    /// assert_eq!((queue.get(id)?.hold, queue.get(id)?.attempt_number), (Some(Hold::Condition), 0));
    /// queue.set_condition("online", true)?;
    /// # tests.run_until_idle()?;
    /// assert_eq!(queue.get(id)?.state, State::Succeeded);
    /// # Ok::<(), perdura::Error>(())
    /// ```
    pub fn until(condition: impl Into<String>) -> Failure {
        let condition = condition.into();
        if let Err(wrong) = check_name("condition", &condition) {
            return Failure::unusable_name(wrong);
        }
        let mut failure =
            Failure::of(Class::Until, "Condition", "to be called again when a condition is met");
        failure.0.condition = Some(condition);
        failure
    }

    /// Not a failure: somebody else does the work from now on, and says how it ends: a person, a webhook, another program. The task stays
    /// `RUNNING`, for days if need be, and holds no thread.
    ///
    /// Who says so needs the task's [id](crate::Context::id) and the attempt's [generation](crate::Context::generation), which the handler has told
    /// them: [`Queue::complete`](crate::Queue::complete), [`Queue::fail`](crate::Queue::fail), or the command `perdura complete`. That is possible from
    /// any process that can open the file. The attempt outlives this process: another one that takes the file over leaves it alone.
    ///
    /// `what` says to people what is waited for (1-200 bytes, no control characters). The task's [timeout](crate::Options::timeout) goes on: if nobody
    /// has said anything by then, the attempt fails with the type `Timeout`. [Cancelling](crate::Queue::cancel) the task ends it at once. Tasks that the
    /// attempt has asked for with `Context::enqueue` are not made.
    ///
    /// ```
    /// # use perdura::{Context, Failure, Queue, State, Task, TaskId, testing::{ManualClock, SteppedQueue}};
    /// # fn ask(_: &str, _: TaskId, _: u64) -> Result<(), std::io::Error> { Ok(()) }
    /// #[derive(serde::Serialize, serde::Deserialize)]
    /// struct Refund { order: u64 }
    /// impl Task for Refund {
    ///     const NAME: &'static str = "refund";
    ///     type Output = String;
    /// }
    ///
    /// fn refund(_: Refund, cx: &Context) -> Result<String, Failure> {
    ///     ask("finance@example.org", cx.id(), cx.generation())?; // with a link to complete it
    ///     Err(Failure::outside("approval by finance"))
    /// }
    /// # let tests = SteppedQueue::open(Queue::builder().handle(refund), &ManualClock::new())?;
    /// # let queue = tests.queue();
    /// let id = queue.enqueue(&Refund { order: 7 })?.id();
    /// # tests.run_until_idle()?;
    /// assert_eq!(queue.get(id)?.state, State::Running);
    /// queue.complete::<Refund>(id, 1, &"approved by Ada".to_owned())?; // days later, in another process
    /// assert_eq!(queue.result::<Refund>(id)?.as_deref(), Some("approved by Ada"));
    /// # Ok::<(), perdura::Error>(())
    /// ```
    pub fn outside(what: impl Into<String>) -> Failure {
        let what = what.into();
        if let Err(wrong) = check_name("what it waits for", &what) {
            return Failure::unusable_name(wrong);
        }
        Failure::goes_outside(Elsewhere::Somebody { waits_for: what })
    }

    /// A task of an engine stands in a queue that is not one of the engine's.
    pub(super) fn wrong_queue(queue: &str, engine: &str, queues: &[String]) -> Failure {
        let message = format!(
            "the task stands in the queue {queue:?}, and those of the engine {engine:?} stand in {queues:?}; enqueue it there"
        );
        Failure::of(Class::Permanent, "WrongQueue", &message)
    }

    /// The function for a job that has ended has returned [`Failure::outside`].
    pub(super) fn job_is_over() -> Failure {
        let message =
            "the job of the task has ended, so its work cannot go on outside; let another task follow";
        Failure::of(Class::Permanent, "InvalidInput", message)
    }

    /// The work of the task goes on at `to`.
    pub(super) fn goes_outside(to: Elsewhere) -> Failure {
        let mut failure = Failure::of(Class::Outside, "Outside", "its work goes on outside");
        failure.0.outside = Some(GoesOutside { to, time_left: None });
        failure
    }

    /// Not a failure: the task has the handler's name, but is not for this handler. The attempt does not count.
    ///
    /// The task is held, as is a task whose name no handler knows, until a program with handlers opens the file anew.
    ///
    /// ```
    /// # use perdura::{Context, Failure, Hold, Queue, testing::{ManualClock, SteppedQueue}};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Print { printer: String }
    /// # impl perdura::Task for Print { const NAME: &'static str = "print"; type Output = (); }
    /// let print = |task: Print, _: &Context| match task.printer.as_str() {
    ///     "upstairs" => Ok(()),
    ///     _ => Err(Failure::decline()),
    /// };
    /// # let tests = SteppedQueue::open(Queue::builder().handle(print), &ManualClock::new())?;
    /// # let queue = tests.queue();
    /// let id = queue.enqueue(&Print { printer: "downstairs".into() })?.id();
    /// # tests.run_until_idle()?;
    /// assert_eq!(queue.get(id)?.hold, Some(Hold::UnknownName));
    /// # Ok::<(), perdura::Error>(())
    /// ```
    pub fn decline() -> Failure {
        Failure::of(Class::Decline, "Declined", "another program is to run it")
    }

    /// Not a failure: nothing of the task's queue is to start for `delay` (10 ms to 10 years). The attempt does not count, and the task stays
    /// ready.
    ///
    /// It is for a server that answers 429 to one of many tasks: what one learns holds for all. A queue that is closed already stays so for the
    /// longer of both times; [`resume`](crate::Queue::resume) opens it at once. Tasks that have been claimed run on.
    ///
    /// ```
    /// # use perdura::{Context, Failure, Queue, testing::{ManualClock, SteppedQueue}};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Mail;
    /// # impl perdura::Task for Mail { const NAME: &'static str = "mail"; type Output = (); }
    /// # use std::time::Duration;
    /// let send = |_: Mail, _: &Context| Err::<(), _>(Failure::throttle(Duration::from_secs(30))); // 429, Retry-After: 30
    /// # let tests = SteppedQueue::open(Queue::builder().handle(send), &ManualClock::new())?;
    /// # let queue = tests.queue();
    /// # let ids = queue.enqueue_all(&[Mail, Mail])?;
    /// # let now = perdura::Clock::now(tests.clock());
    /// assert_eq!(tests.run_until_idle()?.handed_back, 1); // the other mail did not start
    /// assert_eq!(queue.counts()?.queue("default").closed_until, Some(now.saturating_add(Duration::from_secs(30))));
    /// # Ok::<(), perdura::Error>(())
    /// ```
    pub fn throttle(delay: Duration) -> Failure {
        Failure::of(
            Class::Throttle(delay.clamp(MIN_SNOOZE, MAX_DURATION)),
            "Throttled",
            "the queue is to rest",
        )
    }

    /// Ends the task as `CANCELLED`, with this message.
    ///
    /// ```
    /// # use perdura::{Context, Failure, Queue, State, testing::{ManualClock, SteppedQueue}};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Mail;
    /// # impl perdura::Task for Mail { const NAME: &'static str = "mail"; type Output = (); }
    /// let send = |_: Mail, _: &Context| Err::<(), _>(Failure::cancel("the user has unsubscribed"));
    /// # let tests = SteppedQueue::open(Queue::builder().handle(send), &ManualClock::new())?;
    /// # let (queue, id) = (tests.queue(), tests.queue().enqueue(&Mail)?.id());
    /// # tests.run_until_idle()?;
    /// assert_eq!(queue.get(id)?.state, State::Cancelled);
    /// # Ok::<(), perdura::Error>(())
    /// ```
    pub fn cancel(message: impl Into<String>) -> Failure {
        Failure::of(Class::Cancel, CANCELLED, &message.into())
    }

    /// Waits exactly this time before the next attempt, instead of the backoff: at most 10 years. The attempt counts.
    ///
    /// ```
    /// # use perdura::{Context, Failure, Queue, testing::{ManualClock, SteppedQueue}};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Mail;
    /// # impl perdura::Task for Mail { const NAME: &'static str = "mail"; type Output = (); }
    /// # use std::time::Duration;
    /// # const HOUR: Duration = Duration::from_secs(3600);
    /// let send = |_: Mail, _: &Context| Err::<(), _>(Failure::named("quota", "too many mails").retry_after(HOUR));
    /// # let tests = SteppedQueue::open(Queue::builder().handle(send), &ManualClock::new())?;
    /// # let (queue, id) = (tests.queue(), tests.queue().enqueue(&Mail)?.id());
    /// # tests.run_until_idle()?;
    /// # let now = perdura::Clock::now(tests.clock());
    /// assert_eq!(queue.get(id)?.run_at, Some(now.saturating_add(HOUR)));
    /// # Ok::<(), perdura::Error>(())
    /// ```
    pub fn retry_after(mut self, delay: Duration) -> Failure {
        self.0.retry_after = Some(delay.min(MAX_DURATION));
        self
    }

    /// Makes the failure final, however many attempts are left. Type and message stay. It has no effect on a snooze, a cancel or a timeout.
    ///
    /// ```
    /// # use perdura::{Context, Failure, Queue, State, testing::{ManualClock, SteppedQueue}};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Mail;
    /// # impl perdura::Task for Mail { const NAME: &'static str = "mail"; type Output = (); }
    /// let send = |_: Mail, _: &Context| Err::<(), _>(Failure::named("smtp.550", "no such address").never_retry());
    /// # let tests = SteppedQueue::open(Queue::builder().handle(send), &ManualClock::new())?;
    /// # let (queue, id) = (tests.queue(), tests.queue().enqueue(&Mail)?.id());
    /// # tests.run_until_idle()?;
    /// assert_eq!(queue.get(id)?.state, State::Failed);
    /// assert_eq!(queue.get(id)?.error_type.as_deref(), Some("smtp.550"));
    /// # Ok::<(), perdura::Error>(())
    /// ```
    pub fn never_retry(mut self) -> Failure {
        if self.0.class == Class::Error {
            self.0.class = Class::Permanent;
        }
        self
    }

    /// The type that the task's `error_type` will show.
    ///
    /// ```
    /// # use perdura::Failure;
    /// let failure = Failure::from("x".parse::<u32>().unwrap_err());
    /// assert!(failure.error_type().ends_with("ParseIntError"));
    /// assert_eq!(failure.message(), "invalid digit found in string");
    /// ```
    pub fn error_type(&self) -> &str {
        &self.0.report.error_type
    }

    /// The message that the task's `error_message` will show. [`error_type`](Failure::error_type) has an example.
    pub fn message(&self) -> &str {
        &self.0.report.error_message
    }

    /// Whether the attempt does not count.
    pub(crate) fn is_refunded(&self) -> bool {
        matches!(
            self.0.class,
            Class::Snooze(_) | Class::Until | Class::Interrupted | Class::Decline | Class::Throttle(_)
        )
    }

    /// Whether the work goes on outside.
    pub(crate) fn is_outside(&self) -> bool {
        self.0.class == Class::Outside
    }

    pub(crate) fn verdict(self) -> Verdict {
        let Cause { class, report: error, retry_after, sleep, condition, outside } = *self.0;
        let failed = |permanent, timed_out| Verdict::Failed {
            error: error.clone(),
            permanent,
            timed_out,
            retry_after,
        };
        match class {
            Class::Error => failed(false, false),
            Class::Permanent => failed(true, false),
            Class::Timeout => failed(false, true),
            Class::Snooze(delay) => Verdict::Snoozed { delay, sleep },
            Class::Until => Verdict::Waits { condition: condition.unwrap_or_default() },
            Class::Outside => Verdict::Outside(Box::new(outside.unwrap_or_default())),
            Class::Cancel => Verdict::Cancelled(error),
            Class::Interrupted => Verdict::HandedBack,
            Class::Decline => Verdict::Declined,
            Class::Throttle(delay) => Verdict::Throttled(delay),
        }
    }
}

impl<E: StdError> From<E> for Failure {
    fn from(error: E) -> Failure {
        let report = ErrorReport::new(type_name::<E>(), &error.to_string(), &sources(error.source()));
        Failure(Box::new(Cause {
            class: Class::Error,
            report,
            retry_after: None,
            sleep: None,
            condition: None,
            outside: None,
        }))
    }
}

fn sources(first: Option<&(dyn StdError + 'static)>) -> String {
    let chain = std::iter::successors(first, |&e| e.source()).take(MAX_SOURCES);
    chain.map(|e| format!("caused by: {e}")).collect::<Vec<_>>().join("\n")
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.error_type(), self.message())
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Failure")
            .field("class", &self.0.class)
            .field("error_type", &self.error_type())
            .field("message", &self.message())
            .finish_non_exhaustive()
    }
}
