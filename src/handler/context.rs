//! What a handler can ask and tell while it runs.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Serialize, de::DeserializeOwned};

use super::control::Control;
use super::failure::{CANCELLED, Class, Failure, SUPERSEDED, TIMEOUT};
use super::port::Port;
use super::step_book::Steps;
use crate::json::{from_json, to_json};
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::task::{Claimed, Extras, OutputStream, Settlement, TaskId, TaskRecord, Timestamp, Verdict};

/// Why an attempt is to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StopReason {
    /// Another attempt is the running one, or another process owns the file: its writes do not count any more.
    Superseded,
    /// Somebody has cancelled the task.
    Cancelled,
    /// It has run longer than it may.
    Timeout,
    /// A condition that it [needs throughout](crate::Options::needs_throughout) has not been met for ten seconds. The attempt does not count.
    Condition,
    /// The queue is shutting down. The attempt does not count.
    ShutDown,
}

/// What a handler can ask and tell while it runs.
///
/// All its writes are fenced: an attempt that is not the running one any more changes nothing, and its writes fail.
///
/// Its errors are [`Failure`]s: return them with `?`, and they keep their meaning.
pub struct Context {
    pub(crate) claimed: Claimed,
    pub(crate) control: Arc<Control>,
    pub(crate) port: Arc<dyn Port>,
    /// When the attempt began, on the monotonic clock.
    pub(crate) began: Duration,
    /// The steps that it knows of; none before it comes to the first.
    pub(crate) steps: Mutex<Option<Steps>>,
}

impl Context {
    /// The task's id. It makes a good idempotency key: it is the same in each attempt.
    ///
    /// ```
    /// # use perdura::{Context, Failure, Queue, testing::{ManualClock, SteppedQueue}};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Mail;
    /// # impl perdura::Task for Mail { const NAME: &'static str = "mail"; type Output = String; }
    /// fn send(_: Mail, cx: &Context) -> Result<String, Failure> {
    ///     Ok(format!("mail {}, claim {}", cx.id(), cx.generation()))
    /// }
    /// # let tests = SteppedQueue::open(Queue::builder().handle(send), &ManualClock::new())?;
    /// # let (queue, id) = (tests.queue(), tests.queue().enqueue(&Mail)?.id());
    /// # tests.run_until_idle()?;
    /// assert_eq!(queue.result::<Mail>(id)?.as_deref(), Some("mail 1, claim 1"));
    /// # Ok::<(), perdura::Error>(())
    /// ```
    pub fn id(&self) -> TaskId {
        self.claimed.task_id
    }

    /// Which attempt this is: 1 for the first.
    ///
    /// ```
    /// # use perdura::{Context, Failure, Queue, testing::{ManualClock, SteppedQueue}};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Mail;
    /// # impl perdura::Task for Mail { const NAME: &'static str = "mail"; type Output = String; }
    /// fn send(_: Mail, cx: &Context) -> Result<String, Failure> {
    ///     if cx.attempt_number() == cx.max_attempts() {
    ///         return Ok("sent as a letter".into());
    ///     }
    ///     Err(Failure::named("smtp.down", "no route"))
    /// }
    /// # let tests = SteppedQueue::open(Queue::builder().handle(send), &ManualClock::new())?;
    /// # let (queue, id) = (tests.queue(), tests.queue().enqueue(&Mail)?.id());
    /// # tests.run_until_idle()?;
    /// # queue.run_now(id)?; tests.run_until_idle()?;
    /// # queue.run_now(id)?; tests.run_until_idle()?;
    /// assert_eq!(queue.result::<Mail>(id)?.as_deref(), Some("sent as a letter"));
    /// # Ok::<(), perdura::Error>(())
    /// ```
    pub fn attempt_number(&self) -> u32 {
        self.claimed.attempt_number
    }

    /// How many attempts the task has, the first included. [`attempt_number`](Context::attempt_number) has an example.
    pub fn max_attempts(&self) -> u32 {
        self.claimed.max_attempts
    }

    /// How often the task was claimed in its whole life. Together with [`id`](Context::id) it names this attempt and no other.
    /// [`id`](Context::id) has an example.
    pub fn generation(&self) -> u64 {
        self.claimed.generation
    }

    /// The time by the queue's clock: the system's, or that of a test.
    ///
    /// ```
    /// # use perdura::{Context, Failure, Queue, testing::{ManualClock, SteppedQueue}};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Mail;
    /// # impl perdura::Task for Mail { const NAME: &'static str = "mail"; type Output = String; }
    /// fn send(_: Mail, cx: &Context) -> Result<String, Failure> {
    ///     Ok(format!("sent at {}", cx.now()))
    /// }
    /// # let tests = SteppedQueue::open(Queue::builder().handle(send), &ManualClock::new())?;
    /// # let (queue, id) = (tests.queue(), tests.queue().enqueue(&Mail)?.id());
    /// # tests.run_until_idle()?;
    /// assert_eq!(queue.result::<Mail>(id)?.as_deref(), Some("sent at 2026-01-01T00:00:00.000Z"));
    /// # Ok::<(), perdura::Error>(())
    /// ```
    pub fn now(&self) -> Timestamp {
        self.port.now()
    }

    /// The name of the task's queue. It is read from the file at each call.
    ///
    /// ```
    /// # use perdura::{Context, Failure, Queue, testing::{ManualClock, SteppedQueue}};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Mail;
    /// # impl perdura::Task for Mail { const NAME: &'static str = "mail"; type Output = String; }
    /// fn send(_: Mail, cx: &Context) -> Result<String, Failure> {
    ///     let tag = cx.tag()?.unwrap_or_default();
    ///     Ok(format!("{}: {tag:?}, version {}", cx.queue_name()?, cx.version()?))
    /// }
    /// # let tests = SteppedQueue::open(Queue::builder().handle(send), &ManualClock::new())?;
    /// # let (queue, id) = (tests.queue(), tests.queue().enqueue(&Mail)?.id());
    /// # tests.run_until_idle()?;
    /// assert_eq!(queue.result::<Mail>(id)?.as_deref(), Some("default: \"\", version 1"));
    /// # Ok::<(), perdura::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the file cannot be read, or the task was deleted meanwhile: return them with `?`.
    pub fn queue_name(&self) -> Result<String, Failure> {
        Ok(self.record()?.queue)
    }

    /// The task's [tag](crate::Options::tag), if it has one. It is read from the file at each call. [`queue_name`](Context::queue_name) has an
    /// example.
    ///
    /// # Errors
    /// As [`queue_name`](Context::queue_name).
    pub fn tag(&self) -> Result<Option<String>, Failure> {
        Ok(self.record()?.tag)
    }

    /// The [version](crate::Task::VERSION) of the args with which the task was enqueued, before any [upgrade](crate::Builder::upgrade).
    /// [`queue_name`](Context::queue_name) has an example.
    ///
    /// # Errors
    /// None at present.
    pub fn version(&self) -> Result<u32, Failure> {
        Ok(self.claimed.version)
    }

    /// The tick of the [schedule](crate::Schedule) that has made this task, the same in each of its attempts: the time of the tick itself, without
    /// jitter and lateness. For a run that was made by hand, that is when it was made. None for tasks that no schedule has made.
    ///
    /// ```
    /// # use perdura::{Context, Failure, Queue, Schedule, testing::{ManualClock, SteppedQueue}};
    /// # use std::time::Duration;
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Report;
    /// # impl perdura::Task for Report { const NAME: &'static str = "report"; type Output = String; }
    /// fn report(_: Report, cx: &Context) -> Result<String, Failure> {
    ///     let Some(tick) = cx.tick()? else { return Err(Failure::permanent("no schedule made it")) };
    ///     Ok(format!("all that came before {tick}"))
    /// }
    /// # let hour = Duration::from_secs(3600);
    /// # let builder = Queue::builder().handle(report).schedule(Schedule::every("hourly", hour), &Report);
    /// # let mut tests = SteppedQueue::open(builder, &ManualClock::new())?;
    /// # tests.advance(hour + Duration::from_secs(2))?;
    /// # tests.run_until_idle()?;
    /// # let (queue, id) = (tests.queue(), tests.queue().tasks(perdura::Filter::new())?[0].task_id);
    /// assert_eq!(queue.result::<Report>(id)?.as_deref(), Some("all that came before 2026-01-01T01:00:00.000Z"));
    /// # Ok::<(), perdura::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the file cannot be read: return it with `?`.
    pub fn tick(&self) -> Result<Option<Timestamp>, Failure> {
        match self.claimed.extras.contains(Extras::RUN) {
            true => Ok(self.port.tick(self.id())?),
            false => Ok(None),
        }
    }

    fn record(&self) -> Result<TaskRecord, Failure> {
        Ok(self.port.record(self.id())?)
    }

    /// How long this attempt may still take; none if it has no limit.
    ///
    /// ```
    /// # use perdura::{Context, Failure, Queue, testing::{ManualClock, SteppedQueue}};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Mail;
    /// # impl perdura::Task for Mail { const NAME: &'static str = "mail"; type Output = String; }
    /// # use std::time::Duration;
    /// fn send(_: Mail, cx: &Context) -> Result<String, Failure> {
    ///     let patience = cx.time_left().unwrap_or(Duration::from_secs(30)); // for the connection
    ///     Ok(format!("{patience:?}"))
    /// }
    /// # let tests = SteppedQueue::open(Queue::builder().handle(send), &ManualClock::new())?;
    /// # let (queue, id) = (tests.queue(), tests.queue().enqueue(&Mail)?.id());
    /// # tests.run_until_idle()?;
    /// assert_eq!(queue.result::<Mail>(id)?.as_deref(), Some("30s"));
    /// # Ok::<(), perdura::Error>(())
    /// ```
    pub fn time_left(&self) -> Option<Duration> {
        Some(self.control.deadline()?.saturating_sub(self.port.monotonic()))
    }

    /// Restarts the time that this attempt may take: for a handler that waits for its turn before it begins.
    ///
    /// Call it while you wait, too: an attempt that is one second past its deadline counts as one that ignores it, and its worker gets a
    /// substitute.
    ///
    /// ```
    /// # use perdura::{Context, Failure};
    /// # use std::{sync::Mutex, thread, time::Duration};
    /// # fn call(serial: &Mutex<()>, cx: &Context) -> Result<(), Failure> {
    /// let _turn = loop {
    ///     cx.restart_deadline();
    ///     cx.ensure_active()?; // cancelled, or shutting down?
    ///     match serial.try_lock() {
    ///         Ok(turn) => break turn,
    ///         Err(_) => thread::sleep(Duration::from_millis(10)),
    ///     }
    /// };
    /// # Ok(())
    /// # }
    /// ```
    pub fn restart_deadline(&self) {
        if let Some(timeout) = self.claimed.timeout.or(self.port.default_timeout()) {
            let deadline = self.port.monotonic().saturating_add(timeout);
            self.control.set_deadline(deadline);
            self.port.watch_deadline(deadline);
        }
    }

    /// The newest checkpoint: of this attempt, of an earlier one, or of an earlier process. None if the task has none.
    ///
    /// [`save_checkpoint`](Context::save_checkpoint) has an example.
    ///
    /// # Errors
    /// If the file cannot be read. If the checkpoint is not a `C`: no attempt will change that, so the failure is permanent; the task runs again
    /// without the checkpoint after [`Queue::retry_from_start`](crate::Queue::retry_from_start).
    pub fn checkpoint<C: DeserializeOwned>(&self) -> Result<Option<C>, Failure> {
        let Some(json) = self.port.checkpoint(self.id())? else { return Ok(None) };
        from_json(&json).map(Some).map_err(|wrong| Failure::undecodable_checkpoint(&wrong))
    }

    /// Saves how far the task has got. The checkpoint is durable when this returns, and replaces the one before.
    ///
    /// ```
    /// # use perdura::{Context, Failure, Queue, testing::{ManualClock, SteppedQueue}};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Mail;
    /// # impl perdura::Task for Mail { const NAME: &'static str = "mail"; type Output = String; }
    /// fn send(_: Mail, cx: &Context) -> Result<String, Failure> {
    ///     for page in cx.checkpoint::<u32>()?.unwrap_or(0)..3 {
    ///         // Upload the page.
    ///         cx.save_checkpoint(&(page + 1))?;
    ///     }
    ///     Err(Failure::permanent("the server refuses the mail"))
    /// }
    /// # let tests = SteppedQueue::open(Queue::builder().handle(send), &ManualClock::new())?;
    /// # let (queue, id) = (tests.queue(), tests.queue().enqueue(&Mail)?.id());
    /// # tests.run_until_idle()?;
    /// assert_eq!(queue.checkpoint_json(id)?.as_deref(), Some("3")); // a retry goes on there
    /// # Ok::<(), perdura::Error>(())
    /// ```
    ///
    /// # Errors
    /// If this attempt is not the running one any more; if the checkpoint does not turn into JSON that reads back as it is, or is over
    /// `max_checkpoint_bytes`; if the file cannot be written.
    pub fn save_checkpoint<C: Serialize + ?Sized>(&self, checkpoint: &C) -> Result<(), Failure> {
        let json = to_json("checkpoint", checkpoint, self.port.limits().1).map_err(Failure::from_write)?;
        self.alive();
        self.control.has_saved.store(true, Ordering::Release); // before the write, whose outcome may stay unknown
        self.port.save_checkpoint(&self.control, json).map_err(Failure::from_write)
    }

    /// Says how far the task is: `done` of `total` units of its own.
    ///
    /// It is cheap: it reaches the file at most about once a second, and when the attempt ends.
    ///
    /// ```
    /// # use perdura::{Context, Failure, Queue, testing::{ManualClock, SteppedQueue}};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Mail;
    /// # impl perdura::Task for Mail { const NAME: &'static str = "mail"; type Output = String; }
    /// fn send(_: Mail, cx: &Context) -> Result<String, Failure> {
    ///     cx.progress(3, 4);
    ///     Err(Failure::permanent("the last page is missing"))
    /// }
    /// # let tests = SteppedQueue::open(Queue::builder().handle(send), &ManualClock::new())?;
    /// # let (queue, id) = (tests.queue(), tests.queue().enqueue(&Mail)?.id());
    /// # tests.run_until_idle()?;
    /// assert_eq!(queue.get(id)?.progress, Some(perdura::Progress::new(3, 4)));
    /// # Ok::<(), perdura::Error>(())
    /// ```
    pub fn progress(&self, done: u64, total: u64) {
        self.alive();
        if self.control.set_progress(done, total) {
            self.port.has_pending();
        }
    }

    /// Keeps what the attempt writes, text or bytes. [`Queue::output`](crate::Queue::output) reads it, also while the task runs, and has an
    /// example.
    ///
    /// It is cheap: it reaches the file about once a second, and when the attempt ends.
    ///
    /// The first 16 KiB and the last 48 KiB of each stream are kept, of the newest attempt and of those that
    /// [`Queue::attempts`](crate::Queue::attempts) shows.
    pub fn write_output(&self, stream: OutputStream, piece: impl AsRef<[u8]>) {
        self.alive();
        if self.control.push_output(stream, piece.as_ref()) {
            self.port.has_pending();
        }
    }

    /// Tells the queue that the handler is alive.
    ///
    /// After the first call, silence for longer than [`stuck_task_timeout`](crate::Config::stuck_task_timeout) makes the task `LOST`. Progress,
    /// output, checkpoints and [`ensure_active`](Context::ensure_active) count as signs of life, too.
    ///
    /// ```
    /// # use perdura::{Context, Failure, Queue, testing::{ManualClock, SteppedQueue}};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Mail;
    /// # impl perdura::Task for Mail { const NAME: &'static str = "mail"; type Output = String; }
    /// fn send(_: Mail, cx: &Context) -> Result<String, Failure> {
    ///     for _page in 0..3 {
    ///         cx.heartbeat()?;
    ///         // Print the page.
    ///     }
    ///     Ok("printed".into())
    /// }
    /// # let tests = SteppedQueue::open(Queue::builder().handle(send), &ManualClock::new())?;
    /// # let (queue, id) = (tests.queue(), tests.queue().enqueue(&Mail)?.id());
    /// # tests.run_until_idle()?;
    /// assert_eq!(queue.result::<Mail>(id)?.as_deref(), Some("printed"));
    /// # Ok::<(), perdura::Error>(())
    /// ```
    ///
    /// # Errors
    /// If this attempt is not the running one any more.
    pub fn heartbeat(&self) -> Result<(), Failure> {
        if self.control.beat(self.port.monotonic()) {
            self.port.watch_silence();
        }
        self.check_superseded()
    }

    /// Ends the attempt, with `?`, if there is a [reason to stop](StopReason): it was cancelled, has run out of time, is not the running one any
    /// more, lacks a condition, or the queue is shutting down. Call it between steps.
    ///
    /// ```
    /// # use perdura::{Context, Failure, Queue, testing::{ManualClock, SteppedQueue}};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Mail;
    /// # impl perdura::Task for Mail { const NAME: &'static str = "mail"; type Output = String; }
    /// fn send(_: Mail, cx: &Context) -> Result<String, Failure> {
    ///     if let Some(queue) = cx.queue() {
    ///         queue.cancel(cx.id())?; // as a user does who has changed their mind
    ///     }
    ///     cx.ensure_active()?;
    ///     Ok("sent".into())
    /// }
    /// # let tests = SteppedQueue::open(Queue::builder().handle(send), &ManualClock::new())?;
    /// # let (queue, id) = (tests.queue(), tests.queue().enqueue(&Mail)?.id());
    /// # tests.run_until_idle()?;
    /// assert_eq!(queue.get(id)?.state, perdura::State::Cancelled);
    /// # Ok::<(), perdura::Error>(())
    /// ```
    ///
    /// # Errors
    /// The reason to stop, as a [`Failure`] of its class.
    pub fn ensure_active(&self) -> Result<(), Failure> {
        let Some(reason) = self.stop_reason() else { return Ok(()) };
        let (class, error_type, message) = match reason {
            StopReason::Superseded => return self.check_superseded(),
            StopReason::Cancelled => (Class::Cancel, CANCELLED, "cancelled while it was running"),
            StopReason::Timeout => (Class::Timeout, TIMEOUT, "it ran longer than it may"),
            StopReason::Condition => {
                (Class::Interrupted, "Interrupted", "a condition that it needs is not met any more")
            }
            StopReason::ShutDown => (Class::Interrupted, "Interrupted", "the queue is shutting down"),
        };
        Err(Failure::of(class, error_type, message))
    }

    /// Why the attempt is to stop; none if it may go on. It is for a handler that does not end with `?`:
    /// [`ensure_active`](Context::ensure_active) gives the failure to return.
    ///
    /// ```
    /// # use perdura::{Context, Failure, Queue, StopReason, testing::{ManualClock, SteppedQueue}};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Mail;
    /// # impl perdura::Task for Mail { const NAME: &'static str = "mail"; type Output = String; }
    /// fn send(_: Mail, cx: &Context) -> Result<String, Failure> {
    ///     match cx.stop_reason() {
    ///         None => Ok("sent".into()),
    ///         Some(StopReason::Cancelled) => Ok("thrown away".into()),
    ///         Some(_) => cx.ensure_active().map(|()| String::new()),
    ///     }
    /// }
    /// # let tests = SteppedQueue::open(Queue::builder().handle(send), &ManualClock::new())?;
    /// # let (queue, id) = (tests.queue(), tests.queue().enqueue(&Mail)?.id());
    /// # tests.run_until_idle()?;
    /// # assert_eq!(queue.result::<Mail>(id)?.as_deref(), Some("sent"));
    /// # Ok::<(), perdura::Error>(())
    /// ```
    pub fn stop_reason(&self) -> Option<StopReason> {
        self.alive();
        let is_set = |flag: &AtomicBool| flag.load(Ordering::Acquire);
        match &*self.control {
            control if is_set(&control.superseded) => Some(StopReason::Superseded),
            control if is_set(&control.cancelled) => Some(StopReason::Cancelled),
            _ if self.is_late() => Some(StopReason::Timeout),
            control if is_set(&control.lacks_condition) => Some(StopReason::Condition),
            control if is_set(&control.interrupted) => Some(StopReason::ShutDown),
            _ => None,
        }
    }

    pub(crate) fn check_superseded(&self) -> Result<(), Failure> {
        match self.control.superseded.load(Ordering::Acquire) {
            true => {
                Err(Failure::of(Class::Error, SUPERSEDED, "this attempt is not the running one any more"))
            }
            false => Ok(()),
        }
    }

    /// Progress, output, checkpoints and checks are signs of life too, once heartbeats have begun.
    pub(super) fn alive(&self) {
        if self.control.sign_of_life().is_some() {
            self.control.beat(self.port.monotonic());
        }
    }

    pub(crate) fn is_late(&self) -> bool {
        self.control.deadline().is_some_and(|deadline| self.port.monotonic() >= deadline)
    }

    /// An output as the JSON that the file keeps; none for null.
    pub(crate) fn result_json<O: Serialize>(&self, output: &O) -> Result<Option<String>, Failure> {
        let json = to_json("result", output, self.port.limits().0).map_err(Failure::from_write)?;
        Ok((json != "null").then_some(json))
    }

    /// The settlement of the attempt, which ends now.
    pub(crate) fn settlement(&self, mut verdict: Verdict) -> Settlement {
        if let Verdict::Outside(outside) = &mut verdict {
            outside.time_left = self.time_left();
        }
        let ran = self.port.monotonic().saturating_sub(self.began);
        self.control.settlement(&self.claimed, verdict, ran)
    }

    /// Begins the attempt: its deadline counts from now.
    pub(crate) fn begin(&self) {
        if self.claimed.suspect {
            self.port.watch_suspect(&self.control);
        }
        self.restart_deadline();
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
