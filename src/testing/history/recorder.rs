//! The recorder of histories.

use std::fmt;
use std::hash::Hasher;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use siphasher::sip::SipHasher13;

use super::event::{Asked, AskedLimit, Bound, Event, History, HowEnded, Made, Observation, Replaces, Seen};
use crate::clock::Clock;
use crate::error::{Error, Outcome};
use crate::handler::{Context, Failure};
use crate::queue::Queue;
use crate::schedule::Schedule;
use crate::task::{DEFAULT_QUEUE, Due, Enqueued, Filter, OnConflict, Options, Rate, Task, TaskId, Timestamp};

/// Records what happens to a queue. Clones write to the same history.
#[derive(Clone)]
pub struct HistoryRecorder(Arc<Inner>);

impl fmt::Debug for HistoryRecorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HistoryRecorder").finish_non_exhaustive()
    }
}

struct Inner {
    clock: Box<dyn Clock>,
    /// The number of the newest opening.
    process: AtomicU64,
    calls: AtomicU64,
    /// A rate was set: from then on the times of claims are recorded.
    has_rates: AtomicBool,
    events: Mutex<Vec<Event>>,
    tell: Option<Tell>,
}

type Tell = Box<dyn Fn(&Event) + Send + Sync>;

/// How many times one process may open the file: the openings of process `p` are numbered from `p *
/// OPENINGS + 1`.
const OPENINGS: u64 = 1 << 20;

impl HistoryRecorder {
    /// A recorder that keeps its events.
    pub fn new(clock: impl Clock) -> HistoryRecorder {
        HistoryRecorder::make(0, clock, None)
    }

    /// A recorder that passes each event to `tell` at once, for instance to send it to a parent
    /// that will kill this process, and keeps none. `process` is a number that no other process of
    /// the test has. `tell` gets the events in order, under a lock.
    pub fn telling(
        process: u32,
        clock: impl Clock,
        tell: impl Fn(&Event) + Send + Sync + 'static,
    ) -> HistoryRecorder {
        HistoryRecorder::make(u64::from(process) * OPENINGS, clock, Some(Box::new(tell)))
    }

    fn make(process: u64, clock: impl Clock, tell: Option<Tell>) -> HistoryRecorder {
        HistoryRecorder(Arc::new(Inner {
            clock: Box::new(clock),
            process: AtomicU64::new(process),
            calls: AtomicU64::default(),
            has_rates: AtomicBool::default(),
            events: Mutex::default(),
            tell,
        }))
    }

    fn events(&self) -> MutexGuard<'_, Vec<Event>> {
        self.0.events.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn process(&self) -> u64 {
        self.0.process.load(Ordering::Acquire)
    }

    /// Records an event.
    pub fn push(&self, event: Event) {
        if let Event::Bounding { bound: Bound::Rate(_), .. } | Event::Bounded { bound: Bound::Rate(_), .. } =
            event
        {
            self.0.has_rates.store(true, Ordering::Release);
        }
        let mut events = self.events();
        match &self.0.tell {
            Some(tell) => tell(&event),
            None => events.push(event),
        }
    }

    /// The events so far; none with [`telling`](HistoryRecorder::telling).
    pub fn history(&self) -> History {
        History { events: self.events().clone() }
    }

    /// Records that the file is about to be opened, with this many workers. Earlier events of this
    /// recorder belong to another process, which is dead.
    pub fn opened(&self, workers: usize) {
        let before = self.0.process.fetch_add(1, Ordering::AcqRel);
        if !before.is_multiple_of(OPENINGS) {
            self.push(Event::Crashed { process: before });
        }
        self.push(Event::Opened { process: before + 1, workers });
    }

    /// Records that the process died, as in
    /// [`SteppedQueue::crash`](crate::testing::SteppedQueue::crash).
    pub fn crashed(&self) {
        self.push(Event::Crashed { process: self.process() });
    }

    /// Wraps a handler so that its starts and ends are recorded.
    pub fn handler<T, O, F>(
        &self,
        handler: F,
    ) -> impl Fn(T, &Context) -> Result<O, Failure> + Send + Sync + 'static
    where
        F: Fn(T, &Context) -> Result<O, Failure> + Send + Sync + 'static,
    {
        let recorder = self.clone();
        move |task, cx| {
            let mut attempt = RunningAttempt { recorder: &recorder, cx, how: HowEnded::Failed };
            recorder.push(Event::Started {
                process: recorder.process(),
                id: cx.id(),
                generation: cx.generation(),
                attempt_number: cx.attempt_number(),
                max_attempts: cx.max_attempts(),
                at: recorder.0.clock.now(),
                claimed_at: recorder.claimed_at(cx),
                tick: cx.tick().ok().flatten(),
            });
            let ended = handler(task, cx);
            attempt.how = match &ended {
                Ok(_) => HowEnded::Succeeded,
                Err(failure) if failure.is_refunded() => HowEnded::Refunded,
                Err(failure) if failure.is_outside() => HowEnded::WentOutside,
                Err(_) => HowEnded::Failed,
            };
            ended
        }
    }

    fn claimed_at(&self, cx: &Context) -> Option<Timestamp> {
        let record = self.0.has_rates.load(Ordering::Acquire).then(|| cx.port.record(cx.id()))?;
        record.ok()?.started_at
    }

    /// Enqueues a task, and records the call and the answer.
    ///
    /// # Errors
    /// As [`Queue::enqueue_with`].
    pub fn enqueue<T: Task>(&self, queue: &Queue, task: &T, options: Options) -> Result<Enqueued, Error> {
        let asked = vec![self.asked(task, &options)];
        let made = self.note(asked, || queue.enqueue_with(task, options).map(|made| vec![made]))?;
        made.into_iter().next().ok_or_else(|| Error::internal("an enqueue gave no answer"))
    }

    /// Enqueues several tasks in one transaction, and records the call and the answers.
    ///
    /// # Errors
    /// As [`Queue::enqueue_all_with`].
    pub fn enqueue_all<'t, T: Task>(
        &self,
        queue: &Queue,
        tasks: impl IntoIterator<Item = (&'t T, Options)>,
    ) -> Result<Vec<Enqueued>, Error> {
        let tasks: Vec<_> = tasks.into_iter().collect();
        let asked = tasks.iter().map(|(task, options)| self.asked(*task, options)).collect();
        self.note(asked, || queue.enqueue_all_with(tasks))
    }

    fn asked<T: Task>(&self, task: &T, options: &Options) -> Asked {
        let all = options.clone().or(task.options());
        let unique = all.unique.as_ref();
        Asked {
            task_name: T::NAME.to_owned(),
            queue: all.queue.unwrap_or_else(|| DEFAULT_QUEUE.to_owned()),
            priority: all.priority.unwrap_or(0),
            args: digest(&json(task)),
            key: unique.map(|unique| digest(&unique.scoped(T::NAME))),
            until_started: unique.is_some_and(|unique| unique.until_started),
            outlives: unique.is_some_and(|unique| unique.lasts.is_some()),
            replaces: match unique.map_or(OnConflict::Keep, |unique| unique.on_conflict) {
                OnConflict::Keep => Replaces::No,
                OnConflict::ReplaceArgs | OnConflict::Debounce { .. } => Replaces::Args,
                OnConflict::Replace => Replaces::Whole,
            },
            limit: all.limit.or(all.serial).map(|limit| AskedLimit {
                key: digest(&limit.key),
                permits: limit.permits,
                serial: limit.is_serial,
            }),
            needs: !all.needs.is_empty(),
            not_before: all.due.map(|due| match due {
                Due::After(delay) => self.0.clock.now().saturating_add(delay),
                Due::At(time) => time,
            }),
        }
    }

    fn note(
        &self,
        asked: Vec<Asked>,
        enqueue: impl FnOnce() -> Result<Vec<Enqueued>, Error>,
    ) -> Result<Vec<Enqueued>, Error> {
        let (process, call) = (self.process(), self.0.calls.fetch_add(1, Ordering::Relaxed));
        self.push(Event::Enqueueing { process, call, asked });
        let answer = enqueue();
        self.push(match &answer {
            Ok(made) => {
                let made = made.iter().map(|made| answer_of(*made)).collect();
                Event::Enqueued { process, call, made }
            }
            Err(e) if e.outcome() == Outcome::NotDone => Event::NotDone { process, call },
            Err(_) => Event::Unknown { process, call },
        });
        answer
    }

    /// Sets how many tasks of a queue may run at once, and records that.
    ///
    /// # Errors
    /// As [`Queue::set_limit`].
    pub fn set_limit(&self, queue: &Queue, name: &str, limit: Option<u32>) -> Result<(), Error> {
        self.bound(name, Bound::Limit(limit), || queue.set_limit(name, limit))
    }

    /// Sets how often tasks of a queue may start, and records that.
    ///
    /// # Errors
    /// As [`Queue::set_rate`].
    pub fn set_rate(&self, queue: &Queue, name: &str, rate: Option<Rate>) -> Result<(), Error> {
        self.bound(name, Bound::Rate(rate), || queue.set_rate(name, rate))
    }

    fn bound(&self, name: &str, bound: Bound, set: impl FnOnce() -> Result<(), Error>) -> Result<(), Error> {
        let queue = || name.to_owned();
        self.push(Event::Bounding { queue: queue(), bound });
        set()?;
        self.push(Event::Bounded { queue: queue(), bound });
        Ok(())
    }

    /// Records a schedule. Call it before the schedule is set or declared. No other task may have
    /// the args, name and queue of its tasks.
    pub fn scheduled<T: Task>(&self, schedule: &Schedule, task: &T) {
        let asked = self.asked(task, &schedule.options);
        self.push(Event::Scheduled { schedule: schedule.name.clone(), asked });
    }

    /// Records that somebody made a run of a schedule by hand.
    pub fn run_by_hand(&self, id: TaskId) {
        self.push(Event::RunByHand { id });
    }

    /// Records that an attempt committed an effect with its end: `Context::commit` (feature
    /// `rusqlite`) returned Ok.
    pub fn committed(&self, id: TaskId) {
        self.push(Event::Committed { id });
    }

    /// Records all effects in the program's own tables: the task of each. Read them while no
    /// handler runs.
    pub fn effects(&self, of: impl IntoIterator<Item = TaskId>) {
        self.push(Event::Effects { of: of.into_iter().collect() });
    }

    /// Records that somebody retries a task by hand. Call it before the retry, since the task may
    /// start at once.
    pub fn retried(&self, id: TaskId) {
        self.push(Event::Retried { id });
    }

    /// Records that somebody calls [`Queue::run_now`]. Call it before that.
    pub fn run_now(&self, id: TaskId) {
        self.push(Event::RunNow { id });
    }

    /// Records that somebody deleted a task. Call it after the deletion.
    pub fn deleted(&self, id: TaskId) {
        self.push(Event::Deleted { id });
    }

    /// Records that a dead letter was replayed.
    pub fn replayed(&self, letter: TaskId, id: TaskId) {
        self.push(Event::Replayed { letter, id });
    }

    /// Records that this many tasks or letters were deleted by age or in bulk.
    pub fn purged(&self, count: u64) {
        self.push(Event::Purged { count });
    }

    /// Records that the wall clock was set back.
    pub fn clock_set_back(&self) {
        self.push(Event::ClockSet);
    }

    /// Reads the whole file and records it. Best while nothing runs: the counters are recorded only
    /// if they did not change meanwhile.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn observe(&self, queue: &Queue) -> Result<(), Error> {
        let everything = || Filter::new().limit(usize::MAX);
        let before = queue.counts()?.total();
        let mut tasks = Vec::new();
        for record in queue.tasks(everything())? {
            let Some(args) = found(queue.args_json(record.task_id))? else { continue };
            tasks.push(Seen {
                id: record.task_id,
                task_name: record.task_name,
                queue: record.queue,
                state: record.state,
                hold: record.hold,
                attempt_number: record.attempt_number,
                max_attempts: record.max_attempts,
                generation: record.generation,
                run_at: record.run_at,
                started_at: record.started_at,
                finished_at: record.finished_at,
                args: digest(&args),
            });
        }
        let letters = queue.dead_letters().list(everything())?.iter().map(|letter| letter.task_id).collect();
        let after = queue.counts()?.total();
        self.push(Event::Observed(Observation {
            tasks,
            letters,
            counts: (before == after).then_some(after),
        }));
        Ok(())
    }
}

fn answer_of(made: Enqueued) -> Made {
    Made { id: made.id(), is_new: made.is_new(), is_replaced: made.is_replaced() }
}

/// None for a task that was deleted meanwhile.
fn found<R>(looked: Result<R, Error>) -> Result<Option<R>, Error> {
    match looked {
        Err(e) if e.kind() == crate::error::ErrorKind::NotFound => Ok(None),
        looked => looked.map(Some),
    }
}

fn json(task: &impl Serialize) -> String {
    serde_json::to_string(task).unwrap_or_default() // the enqueue reports the error
}

fn digest(text: &str) -> u64 {
    let mut hasher = SipHasher13::new();
    hasher.write(text.as_bytes());
    hasher.finish()
}

/// Records the end of an attempt when it is dropped, also after a panic.
struct RunningAttempt<'a> {
    recorder: &'a HistoryRecorder,
    cx: &'a Context,
    how: HowEnded,
}

impl Drop for RunningAttempt<'_> {
    fn drop(&mut self) {
        let (id, generation) = (self.cx.id(), self.cx.generation());
        self.recorder.push(Event::Ended { id, generation, how: self.how });
    }
}
