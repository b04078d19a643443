//! What a handler sees: its [`Context`], and the [`Failure`] that it may return.
//!
//! It declares the [`Port`] through which an attempt reaches the file, and knows nothing of SQL, queues or threads.

use std::any::{Any, type_name};
use std::cell::Cell;
use std::collections::HashMap;
use std::error::Error as StdError;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use serde::{Serialize, de::DeserializeOwned};

use crate::error::{Error, ErrorKind};
use crate::planted::planted;
use crate::task::{Claimed, ErrorReport, Progress, Settlement, Task, TaskId, Verdict};

/// The shortest snooze: a shorter one would be a busy loop through the disk.
const MIN_SNOOZE: Duration = Duration::from_millis(10);

/// How many sources of an error its traceback names: a longer chain is a loop.
const MAX_SOURCES: usize = 32;

/// How running attempts reach the file. The queue implements it.
pub(crate) trait Port: Send + Sync + 'static {
    /// Notes durably enough for a crash of the process that an attempt is about to start; answers with the note's slot.
    fn starting(&self, claimed: &Claimed) -> Result<u64, Error>;
    /// The newest checkpoint of a task, as JSON.
    fn checkpoint(&self, id: TaskId) -> Result<Option<String>, Error>;
    /// Saves a checkpoint of the running attempt; durable when it returns.
    fn save_checkpoint(&self, control: &Control, json: String) -> Result<(), Error>;
    /// There is progress to be written, some time.
    fn progressed(&self);
    /// An attempt has a deadline, on the monotonic clock.
    fn watch_deadline(&self, deadline: Duration);
    /// An attempt has begun to send heartbeats.
    fn watch_silence(&self);
    /// An attempt has ended.
    fn finished(&self, finished: Finished);
    /// Time since some fixed moment.
    fn monotonic(&self) -> Duration;
    /// The largest (result, checkpoint), in bytes.
    fn limits(&self) -> (usize, usize);
    /// The limit of one attempt of tasks that say nothing themselves.
    fn default_timeout(&self) -> Option<Duration>;
    /// The queue, for handlers that ask for it.
    fn home(&self) -> Weak<dyn Any + Send + Sync>;
}

/// An attempt that has ended.
#[derive(Debug)]
pub(crate) struct Finished {
    pub settlement: Settlement,
    /// The slot of its start note; none if it did not start.
    pub note: Option<u64>,
    /// How long it kept its worker.
    pub took: Duration,
}

/// What an attempt and those who watch it share.
#[derive(Debug)]
pub(crate) struct Control {
    pub task_id: TaskId,
    pub generation: u64,
    /// Somebody asked to cancel it.
    pub cancelled: AtomicBool,
    /// The queue is shutting down and asks it to stop.
    pub interrupted: AtomicBool,
    /// Its writes count no more.
    pub superseded: AtomicBool,
    /// It ignored its deadline, and another worker has taken its worker's place.
    pub replaced: AtomicBool,
    /// It fell silent and was given up.
    pub silent: AtomicBool,
    /// It has saved a checkpoint.
    pub has_saved: AtomicBool,
    /// Monotonic milliseconds + 1 at which it must end; 0: never, or not started.
    deadline: AtomicU64,
    /// Monotonic milliseconds + 1 of its last sign of life; 0 as long as it sends no heartbeats.
    sign_of_life: AtomicU64,
    done: AtomicU64,
    total: AtomicU64,
    /// There is progress that is not in the file yet.
    has_progress: AtomicBool,
}

impl Control {
    pub(crate) fn new(claimed: &Claimed) -> Control {
        Control {
            task_id: claimed.task_id,
            generation: claimed.generation,
            cancelled: AtomicBool::new(false),
            interrupted: AtomicBool::new(false),
            superseded: AtomicBool::new(false),
            replaced: AtomicBool::new(false),
            silent: AtomicBool::new(false),
            has_saved: AtomicBool::new(false),
            deadline: AtomicU64::new(0),
            sign_of_life: AtomicU64::new(0),
            done: AtomicU64::new(0),
            total: AtomicU64::new(0),
            has_progress: AtomicBool::new(false),
        }
    }

    /// When it must end, on the monotonic clock.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        from_mark(self.deadline.load(Ordering::Acquire))
    }

    /// When it last gave a sign of life; none if it sends no heartbeats.
    pub(crate) fn sign_of_life(&self) -> Option<Duration> {
        from_mark(self.sign_of_life.load(Ordering::Acquire))
    }

    /// The progress that is not in the file yet; it counts as written from now on.
    pub(crate) fn take_progress(&self) -> Option<Progress> {
        self.has_progress.swap(false, Ordering::AcqRel).then(|| Progress {
            done: self.done.load(Ordering::Acquire),
            total: self.total.load(Ordering::Acquire),
        })
    }

    /// That progress could not be written after all.
    pub(crate) fn keep_progress(&self) {
        self.has_progress.store(true, Ordering::Release);
    }
}

fn to_mark(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX - 1).saturating_add(1)
}

fn from_mark(mark: u64) -> Option<Duration> {
    mark.checked_sub(1).map(Duration::from_millis)
}

/// What a handler can ask and tell while it runs. All its writes are fenced: those of an attempt that is not the running one any
/// more change nothing and fail.
///
/// Its errors are [`Failure`]s: return them with `?`, and they keep their meaning.
pub struct Context {
    pub(crate) claimed: Claimed,
    pub(crate) control: Arc<Control>,
    pub(crate) port: Arc<dyn Port>,
}

impl Context {
    /// The task's number.
    pub fn id(&self) -> TaskId {
        self.claimed.task_id
    }

    /// Which attempt this is: 1 for the first.
    pub fn attempt_number(&self) -> u32 {
        self.claimed.attempt_number
    }

    /// How many attempts the task has, the first included.
    pub fn max_attempts(&self) -> u32 {
        self.claimed.max_attempts
    }

    /// How often the task was claimed in its whole life. With [`id`](Context::id) it names this attempt and no other.
    pub fn generation(&self) -> u64 {
        self.claimed.generation
    }

    /// How long this attempt may still take; none if it has no limit.
    pub fn deadline(&self) -> Option<Duration> {
        Some(self.control.deadline()?.saturating_sub(self.port.monotonic()))
    }

    /// The newest checkpoint: of this attempt, of an earlier one, or of an earlier process.
    ///
    /// # Errors
    /// If the file cannot be read, or the checkpoint is not a `C`.
    pub fn checkpoint<C: DeserializeOwned>(&self) -> Result<Option<C>, Failure> {
        let Some(json) = self.port.checkpoint(self.id())? else { return Ok(None) };
        match serde_json::from_str(&json) {
            Ok(checkpoint) => Ok(Some(checkpoint)),
            Err(e) => Err(Failure::named(
                "CheckpointUndecodable",
                format!("the checkpoint does not decode: {}", place(&e)),
            )),
        }
    }

    /// Saves how far the task has got. It is durable when this returns, and replaces the checkpoint before.
    ///
    /// # Errors
    /// If this attempt is not the running one any more; if it does not turn into JSON or is over `max_checkpoint_bytes`; if the
    /// file cannot be written.
    pub fn save_checkpoint<C: Serialize + ?Sized>(&self, checkpoint: &C) -> Result<(), Failure> {
        let json = to_json("checkpoint", checkpoint, self.port.limits().1)?;
        self.alive();
        self.port.save_checkpoint(&self.control, json)?;
        self.control.has_saved.store(true, Ordering::Release);
        Ok(())
    }

    /// Says how far the task is: `done` of `total` units of its own. Cheap: it reaches the file at most about once a second, and
    /// when the attempt ends.
    pub fn progress(&self, done: u64, total: u64) {
        self.alive();
        self.control.done.store(done, Ordering::Release);
        self.control.total.store(total, Ordering::Release);
        if !self.control.has_progress.swap(true, Ordering::AcqRel) {
            self.port.progressed();
        }
    }

    /// Gives a sign of life. From the first one on, silence for longer than
    /// [`stuck_task_timeout`](crate::Config::stuck_task_timeout) makes the task `LOST`; progress and checkpoints count as signs too.
    ///
    /// # Errors
    /// If this attempt is not the running one any more.
    pub fn heartbeat(&self) -> Result<(), Failure> {
        let first = self.control.sign_of_life.swap(to_mark(self.port.monotonic()), Ordering::AcqRel) == 0;
        if first {
            self.port.watch_silence();
        }
        self.check_superseded()
    }

    /// Call it between steps: ends the attempt, with `?`, when it was cancelled, has run out of time, counts no more, or when the
    /// queue is shutting down.
    ///
    /// # Errors
    /// The reason to stop, as a [`Failure`] of its class.
    pub fn ensure_active(&self) -> Result<(), Failure> {
        self.alive();
        self.check_superseded()?;
        if self.control.cancelled.load(Ordering::Acquire) {
            return Err(Failure::of(Class::Cancel, CANCELLED, "cancelled while it was running"));
        }
        if self.is_late() {
            return Err(Failure::of(Class::Timeout, TIMEOUT, "it ran longer than it may"));
        }
        if self.control.interrupted.load(Ordering::Acquire) {
            return Err(Failure::of(Class::Interrupted, "Interrupted", "the queue is shutting down"));
        }
        Ok(())
    }

    fn check_superseded(&self) -> Result<(), Failure> {
        match self.control.superseded.load(Ordering::Acquire) {
            true => {
                Err(Failure::of(Class::Error, SUPERSEDED, "this attempt is not the running one any more"))
            }
            false => Ok(()),
        }
    }

    /// Progress, checkpoints and checks are signs of life too, once heartbeats have begun.
    fn alive(&self) {
        if self.control.sign_of_life.load(Ordering::Acquire) != 0 {
            self.control.sign_of_life.store(to_mark(self.port.monotonic()), Ordering::Release);
        }
    }

    pub(crate) fn is_late(&self) -> bool {
        self.control.deadline().is_some_and(|deadline| self.port.monotonic() >= deadline)
    }

    /// Begins the attempt: its deadline counts from now.
    pub(crate) fn begin(&self) {
        if let Some(timeout) = self.claimed.timeout.or(self.port.default_timeout()) {
            let deadline = self.port.monotonic().saturating_add(timeout);
            self.control.deadline.store(to_mark(deadline), Ordering::Release);
            self.port.watch_deadline(deadline);
        }
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("id", &self.id())
            .field("task_name", &self.claimed.task_name)
            .field("attempt_number", &self.attempt_number())
            .finish_non_exhaustive()
    }
}

/// Why an attempt did not succeed, and what should become of its task.
///
/// `?` makes one of any [`std::error::Error`]; its type's name becomes the task's `error_type`, its sources the traceback. Such a
/// failure is retried with backoff, unless its type is on the denylist.
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
pub struct Failure(Box<Cause>);

struct Cause {
    class: Class,
    report: ErrorReport,
    retry_after: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Error,
    Permanent,
    Timeout,
    Snooze(Duration),
    Cancel,
    Interrupted,
}

const TIMEOUT: &str = "Timeout";
const CANCELLED: &str = "Cancelled";
const SUPERSEDED: &str = "Superseded";

impl Failure {
    fn of(class: Class, error_type: &str, message: &str) -> Failure {
        Failure(Box::new(Cause {
            class,
            report: ErrorReport::new(error_type, message, ""),
            retry_after: None,
        }))
    }

    /// A failure that is not retried, however many attempts are left. Its type is `Permanent`.
    pub fn permanent(message: impl Into<String>) -> Failure {
        Failure::of(Class::Permanent, "Permanent", &message.into())
    }

    /// A failure with a stable type of your choice, such as `payment.declined`, for the denylist and for lists.
    pub fn named(error_type: impl Into<String>, message: impl Into<String>) -> Failure {
        Failure::of(Class::Error, &error_type.into(), &message.into())
    }

    /// A failure made of a boxed error: `Box<dyn Error>`, `anyhow::Error` and the like. What type it had is not known any more.
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
    pub fn snooze(delay: Duration) -> Failure {
        Failure::of(Class::Snooze(delay.max(MIN_SNOOZE)), "Snoozed", "to be called again later")
    }

    /// End the task as `CANCELLED`, for this reason.
    pub fn cancel(message: impl Into<String>) -> Failure {
        Failure::of(Class::Cancel, CANCELLED, &message.into())
    }

    /// Wait exactly so long before the next attempt, instead of the backoff. The attempt counts.
    #[must_use]
    pub fn retry_after(mut self, delay: Duration) -> Failure {
        self.0.retry_after = Some(delay.min(crate::config::MAX_DURATION));
        self
    }

    /// The type that the task's `error_type` will show.
    pub fn error_type(&self) -> &str {
        &self.0.report.error_type
    }

    /// The message that the task's `error_message` will show.
    pub fn message(&self) -> &str {
        &self.0.report.error_message
    }

    fn verdict(self) -> Verdict {
        let Cause { class, report: error, retry_after } = *self.0;
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
            Class::Snooze(delay) => Verdict::Snoozed(delay),
            Class::Cancel => Verdict::Cancelled(error),
            Class::Interrupted => Verdict::HandedBack,
        }
    }
}

impl<E: StdError> From<E> for Failure {
    fn from(error: E) -> Failure {
        let report = ErrorReport::new(type_name::<E>(), &error.to_string(), &sources(error.source()));
        Failure(Box::new(Cause { class: Class::Error, report, retry_after: None }))
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
            .finish_non_exhaustive()
    }
}

/// A handler without its types: JSON in, JSON out.
type Erased = Box<dyn Fn(&str, &Context) -> Result<Option<String>, Failure> + Send + Sync>;

/// The handlers of a queue, by task name.
#[derive(Default)]
pub(crate) struct Registry {
    handlers: HashMap<&'static str, (u32, Erased)>,
    twice: Vec<&'static str>,
}

impl Registry {
    /// Adds a handler.
    pub(crate) fn add<T, O, F>(&mut self, handler: F)
    where
        T: Task,
        O: Serialize,
        F: Fn(T, &Context) -> Result<O, Failure> + Send + Sync + 'static,
    {
        let run = move |args: &str, cx: &Context| {
            let task: T = serde_json::from_str(args).map_err(|e| {
                Failure::of(
                    Class::Permanent,
                    "ArgsUndecodable",
                    &format!("the args do not decode: {}", place(&e)),
                )
            })?;
            let result = to_json("result", &handler(task, cx)?, cx.port.limits().0)?;
            Ok((result != "null").then_some(result))
        };
        if self.handlers.insert(T::NAME, (T::VERSION, Box::new(run))).is_some() {
            self.twice.push(T::NAME);
        }
    }

    /// The task names that it knows, each with the newest version of its args.
    pub(crate) fn names(&self) -> impl Iterator<Item = (&'static str, u32)> {
        self.handlers.iter().map(|(name, (version, _))| (*name, *version))
    }

    /// Names that were registered more than once.
    pub(crate) fn registered_twice(&self) -> &[&'static str] {
        &self.twice
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.handlers.is_empty()
    }

    /// Runs the handler of a claimed task. May panic, as the handler may.
    pub(crate) fn run(&self, args: &str, cx: &Context) -> Verdict {
        let Some((_, handler)) = self.handlers.get(&*cx.claimed.task_name) else {
            return Verdict::HandedBack;
        };
        let _inside = InHandler::enter();
        match handler(args, cx) {
            Ok(result) => Verdict::Succeeded { result, late: cx.is_late() },
            Err(failure) => failure.verdict(),
        }
    }
}

/// JSON of a value, measured before it goes anywhere.
///
/// # Errors
/// `Serialization` or `TooLarge`, naming what it is; never its text.
pub(crate) fn to_json<V: Serialize + ?Sized>(what: &str, value: &V, limit: usize) -> Result<String, Error> {
    let json = serde_json::to_string(value).map_err(|e| {
        Error::new(ErrorKind::Serialization, format!("the {what} do not turn into JSON: {}", place(&e)))
    })?;
    if json.len() > limit {
        let message = format!(
            "the {what} has {} bytes of JSON, over the limit of {limit}; store it elsewhere and keep its name",
            json.len()
        );
        return Err(Error::new(ErrorKind::TooLarge, message));
    }
    Ok(json)
}

/// Where JSON is wrong. serde's own texts echo the values, so only the place is kept.
pub(crate) fn place(e: &serde_json::Error) -> String {
    if planted("g14-args-in-errors") {
        return e.to_string();
    }
    let kind = match e.classify() {
        serde_json::error::Category::Data => "a value of another shape",
        serde_json::error::Category::Syntax => "not JSON",
        serde_json::error::Category::Eof => "cut short",
        serde_json::error::Category::Io => "a value that cannot be written",
    };
    match e.line() {
        0 => kind.to_owned(),
        line => format!("{kind} at line {line} column {}", e.column()),
    }
}

thread_local! {
    static IN_HANDLER: Cell<bool> = const { Cell::new(false) };
}

/// Marks the thread as one that runs a handler, while it lives.
struct InHandler(bool);

impl InHandler {
    fn enter() -> InHandler {
        InHandler(IN_HANDLER.replace(true))
    }
}

impl Drop for InHandler {
    fn drop(&mut self) {
        IN_HANDLER.set(self.0);
    }
}

/// Whether this thread is inside a handler.
pub(crate) fn in_handler() -> bool {
    IN_HANDLER.get()
}
