//! Reads: tasks, counts, results, and what attempts did.

use std::collections::BTreeMap;
use std::time::Duration;

use super::handle::Queue;
use crate::config::MAX_ATTEMPTS_RANGE;
use crate::error::{Error, ErrorKind};
use crate::json::from_json;
use crate::retry::{RetryPolicy, draw};
use crate::store::{self, Among, Order, Search};
use crate::task::{
    Attempt, Counts, DEFAULT_PAGE, Failures, Filter, NOT_KEPT, Output, Progress, Rollup, State, StepRecord,
    Task, TaskId, TaskRecord, Timestamp,
};

/// How many failures are read, unless the filter has a limit.
const MAX_FAILURES_READ: usize = 10_000;

/// Reading: tasks, counts, results, and what attempts did.
impl Queue {
    /// Everything about a task but its args, checkpoint and result.
    ///
    /// ```
    /// # use perdura::{Queue, State};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Mail;
    /// # impl perdura::Task for Mail { const NAME: &'static str = "mail"; type Output = (); }
    /// # let queue = Queue::builder().open_temporary()?;
    /// let id = queue.enqueue(&Mail)?.id();
    /// let task = queue.get(id)?;
    /// assert_eq!((task.task_name.as_str(), task.state), ("mail", State::Queued));
    /// # Ok::<(), perdura::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound).
    pub fn get(&self, id: TaskId) -> Result<TaskRecord, Error> {
        self.store().read(|conn| store::record(conn, id))
    }

    /// The attempts of a task, or of a dead letter, that did not succeed: the first 10 and the last 10 of them, oldest first.
    ///
    /// ```
    /// # use perdura::{AttemptOutcome, Context, Failure, Queue, testing::{ManualClock, SteppedQueue}};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Mail;
    /// # impl perdura::Task for Mail { const NAME: &'static str = "mail"; type Output = (); }
    /// let send = |_: Mail, _: &Context| Err::<(), _>(Failure::permanent("no such address"));
    /// # let tests = SteppedQueue::open(Queue::builder().handle(send), &ManualClock::new())?;
    /// # let (queue, id) = (tests.queue(), tests.queue().enqueue(&Mail)?.id());
    /// # tests.run_until_idle()?;
    /// let attempts = queue.attempts(id)?;
    /// assert_eq!(attempts[0].outcome, AttemptOutcome::Failed);
    /// assert_eq!(attempts[0].error_message, "no such address");
    /// # Ok::<(), perdura::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound).
    pub fn attempts(&self, id: TaskId) -> Result<Vec<Attempt>, Error> {
        self.store().read(|conn| store::attempts(conn, id))
    }

    /// A page of the tasks that match the filter, oldest id first unless the filter says [`newest_first`](Filter::newest_first).
    ///
    /// The length of a page is the filter's [`limit`](Filter::limit), which defaults to 100. Ask for the next page with
    /// [`Filter::after_id`] (or [`Filter::before_id`]) and the last id seen.
    ///
    /// ```
    /// # use perdura::{Filter, Queue};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Mail;
    /// # impl perdura::Task for Mail { const NAME: &'static str = "mail"; type Output = (); }
    /// # let queue = Queue::builder().open_temporary()?;
    /// # let _ = queue.enqueue_all(&[Mail, Mail, Mail])?;
    /// # let mut shown = 0;
    /// let page = Filter::new().task_name("mail").limit(2);
    /// let mut tasks = queue.tasks(page.clone())?;
    /// while let Some(last) = tasks.last() {
    ///     // Show these tasks, then read the next page.
    /// #   shown += tasks.len();
    ///     tasks = queue.tasks(page.clone().after_id(last.task_id))?;
    /// }
    /// # assert_eq!(shown, 3);
    /// # Ok::<(), perdura::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn tasks(&self, filter: Filter) -> Result<Vec<TaskRecord>, Error> {
        self.page(&filter, None)
    }

    /// Like [`tasks`](Queue::tasks), and tells `progress` now and then how many ids it has looked through.
    ///
    /// A [`text`](Filter::text) is compared with every task that matches the rest of the filter, which takes seconds for millions of tasks.
    /// [`interrupt_reads`](Queue::interrupt_reads) ends the search.
    ///
    /// ```
    /// use perdura::{Filter, Queue};
    ///
    /// let queue = Queue::builder().open_temporary()?;
    /// let found = queue.tasks_with_progress(Filter::new().text("holiday"), |at| println!("{} of {}", at.done, at.total))?;
    /// assert!(found.is_empty());
    /// # Ok::<(), perdura::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the file cannot be read; [`Interrupted`](ErrorKind::Interrupted).
    pub fn tasks_with_progress(
        &self,
        filter: Filter,
        mut progress: impl FnMut(Progress),
    ) -> Result<Vec<TaskRecord>, Error> {
        self.page(&filter, Some(&mut progress))
    }

    fn page(
        &self,
        filter: &Filter,
        progress: Option<&mut dyn FnMut(Progress)>,
    ) -> Result<Vec<TaskRecord>, Error> {
        filter.check()?;
        let search = Search::new(filter, Among::Tasks, filter.order());
        self.store().search(search, filter.limit.unwrap_or(DEFAULT_PAGE), store::record, progress)
    }

    /// How many tasks each queue has in each state.
    ///
    /// It never scans: each write keeps the counters. Queues that have no tasks are left out, unless they are paused.
    ///
    /// ```
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Mail;
    /// # impl perdura::Task for Mail { const NAME: &'static str = "mail"; type Output = (); }
    /// # let queue = perdura::Queue::builder().open_temporary()?;
    /// let _ = queue.enqueue_all(&[Mail, Mail])?;
    /// let counts = queue.counts()?;
    /// assert_eq!(counts.queue("default").ready, 2);
    /// assert_eq!(counts.total().all(), 2);
    /// # Ok::<(), perdura::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn counts(&self) -> Result<Counts, Error> {
        let now = self.runtime.core.now();
        self.store().read(|conn| store::counts(conn, now))
    }

    /// The args of a task, or of a dead letter, as the JSON that is stored.
    ///
    /// ```
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Mail { to: String }
    /// # impl perdura::Task for Mail { const NAME: &'static str = "mail"; type Output = (); }
    /// # let queue = perdura::Queue::builder().open_temporary()?;
    /// let id = queue.enqueue(&Mail { to: "ada@example.org".into() })?.id();
    /// assert_eq!(queue.args_json(id)?, r#"{"to":"ada@example.org"}"#);
    /// # Ok::<(), perdura::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound).
    pub fn args_json(&self, id: TaskId) -> Result<String, Error> {
        self.store().read(|conn| store::args(conn, id))
    }

    /// The result of a task that succeeded; none as long as the task may still run.
    ///
    /// ```
    /// # use perdura::{Queue, Task};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Sum;
    /// # impl Task for Sum { const NAME: &'static str = "sum"; type Output = u32; }
    /// let queue = Queue::builder().open_temporary()?;
    /// let id = queue.enqueue(&Sum)?.id();
    /// assert_eq!(queue.result::<Sum>(id)?, None, "nobody has run it");
    /// # Ok::<(), perdura::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) if there is no such task, or its result was not kept because the disk was full;
    /// [`InvalidInput`](ErrorKind::InvalidInput) for a task of another name; [`TaskFailed`](ErrorKind::TaskFailed) if it ended without a
    /// result, with the task's error; [`Serialization`](ErrorKind::Serialization) if the result is not a `T::Output` (any more).
    pub fn result<T: Task>(&self, id: TaskId) -> Result<Option<T::Output>, Error> {
        let read = |conn: &_| Ok((store::record(conn, id)?, store::result(conn, id)?));
        let (record, json) = self.store().read(read)?;
        if record.task_name != T::NAME && !T::ALIASES.contains(&record.task_name.as_str()) {
            let message = format!(
                "task {id} is a {:?}, and the result of a {:?} was asked for",
                record.task_name,
                T::NAME
            );
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
        let Some(json) = result_of(record, json)? else { return Ok(None) };
        from_json(&json).map(Some).map_err(|wrong| {
            let message = format!("the result of task {id} is not what is asked for: {wrong}");
            Error::new(ErrorKind::Serialization, message)
        })
    }

    /// How many tasks match the filter.
    ///
    /// It reads the counters if the filter has no other condition than states and a queue; otherwise it searches.
    ///
    /// ```
    /// # use perdura::{Filter, Queue, State};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Mail;
    /// # impl perdura::Task for Mail { const NAME: &'static str = "mail"; type Output = (); }
    /// # let queue = Queue::builder().open_temporary()?;
    /// let _ = queue.enqueue_all(&[Mail, Mail])?;
    /// assert_eq!(queue.count(Filter::new().state(State::Queued))?, 2);
    /// # Ok::<(), perdura::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn count(&self, filter: Filter) -> Result<u64, Error> {
        filter.check()?;
        if let Some(count) = self
            .store()
            .read(|conn| Ok(store::count_from(&store::counts(conn, self.runtime.core.now())?, &filter)))?
        {
            return Ok(count);
        }
        let search = Search::new(&filter, Among::Tasks, Order::OldestFirst);
        let found = self.store().search(search, filter.limit.unwrap_or(usize::MAX), |_, _| Ok(()), None)?;
        Ok(found.len() as u64)
    }

    /// What an attempt has written with [`Context::write_output`](crate::Context::write_output): one part for each stream that it wrote to.
    ///
    /// Without a `generation`, it answers with the newest attempt that has written anything.
    ///
    /// ```
    /// # use perdura::{Context, Failure, OutputStream, Queue, testing::{ManualClock, SteppedQueue}};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Mail;
    /// # impl perdura::Task for Mail { const NAME: &'static str = "mail"; type Output = (); }
    /// let send = |_: Mail, cx: &Context| Ok::<(), Failure>(cx.write_output(OutputStream::Stdout, "250 OK"));
    /// # let tests = SteppedQueue::open(Queue::builder().handle(send), &ManualClock::new())?;
    /// # let (queue, id) = (tests.queue(), tests.queue().enqueue(&Mail)?.id());
    /// # tests.run_until_idle()?;
    /// let output = queue.output(id, None)?;
    /// assert_eq!((output[0].stream, output[0].first_text().as_ref()), (OutputStream::Stdout, "250 OK"));
    /// # Ok::<(), perdura::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn output(&self, id: TaskId, generation: Option<u64>) -> Result<Vec<Output>, Error> {
        self.store().read(|conn| store::output(conn, id, generation))
    }

    /// The result of a task, as the JSON that is stored; none if it is null, was not kept, or does not exist yet.
    ///
    /// ```
    /// # use perdura::{Context, Failure, Queue, testing::{ManualClock, SteppedQueue}};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Sum(Vec<u32>);
    /// # impl perdura::Task for Sum { const NAME: &'static str = "sum"; type Output = u32; }
    /// let sum = |Sum(numbers): Sum, _: &Context| Ok::<u32, Failure>(numbers.iter().sum());
    /// # let tests = SteppedQueue::open(Queue::builder().handle(sum), &ManualClock::new())?;
    /// # let queue = tests.queue();
    /// let id = queue.enqueue(&Sum(vec![1, 2]))?.id();
    /// # tests.run_until_idle()?;
    /// assert_eq!(queue.result_json(id)?.as_deref(), Some("3"));
    /// # Ok::<(), perdura::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn result_json(&self, id: TaskId) -> Result<Option<String>, Error> {
        let json = self.store().read(|conn| store::result(conn, id))?;
        Ok(json.filter(|json| json != crate::task::NOT_KEPT))
    }

    /// The newest checkpoint of a task, or of a dead letter, as the JSON that is stored; none if it has none.
    ///
    /// [`Context::save_checkpoint`](crate::Context::save_checkpoint) has an example.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn checkpoint_json(&self, id: TaskId) -> Result<Option<String>, Error> {
        self.store().read(|conn| store::checkpoint(conn, id))
    }

    /// The steps of a task, or of a dead letter, that are done: in the order in which they were. They go when the task succeeds.
    ///
    /// ```
    /// # use perdura::{Context, Failure, Queue, testing::{ManualClock, SteppedQueue}};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Order;
    /// # impl perdura::Task for Order { const NAME: &'static str = "order"; type Output = (); }
    /// fn order(_: Order, cx: &Context) -> Result<(), Failure> {
    ///     cx.step("charge", || Ok("receipt 17".to_owned()))?;
    ///     cx.step("ship", || Err(Failure::permanent("no such address")))
    /// }
    /// # let tests = SteppedQueue::open(Queue::builder().handle(order), &ManualClock::new())?;
    /// # let queue = tests.queue();
    /// let id = queue.enqueue(&Order)?.id();
    /// # tests.run_until_idle()?;
    /// let steps = queue.steps(id)?;
    /// assert_eq!((steps.len(), steps[0].name.as_str()), (1, "charge"));
    /// assert_eq!(steps[0].result_json.as_deref(), Some("\"receipt 17\""));
    /// # Ok::<(), perdura::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn steps(&self, id: TaskId) -> Result<Vec<StepRecord>, Error> {
        self.store().read(|conn| store::steps(conn, id))
    }

    /// Ends the long reads that other threads make through this queue at this moment: they fail as [`Interrupted`](crate::ErrorKind::Interrupted).
    ///
    /// These are [`tasks`](Queue::tasks), [`count`](Queue::count), [`failures`](Queue::failures), lists of dead letters,
    /// [`check`](Queue::check) and exports. Writes, waits, handlers, and reads that begin later go on.
    ///
    /// ```
    /// use perdura::{ErrorKind, Filter, Queue};
    ///
    /// let queue = Queue::builder().open_temporary()?;
    /// let same = queue.clone();
    /// let search = std::thread::spawn(move || same.tasks(Filter::new().text("holiday")));
    /// queue.interrupt_reads(); // the user has closed the window
    /// if let Err(ended) = search.join().unwrap() {
    ///     assert_eq!(ended.kind(), ErrorKind::Interrupted);
    /// }
    /// # Ok::<(), perdura::Error>(())
    /// ```
    pub fn interrupt_reads(&self) {
        self.store().interrupt_reads();
    }

    /// When the next waiting task falls due, or the next queued task expires; none if no task does.
    ///
    /// [`next_start`](Queue::next_start) has an example.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn next_due(&self) -> Result<Option<Timestamp>, Error> {
        self.store().read(store::next_due)
    }

    /// When the next waiting task falls due that this queue may start: it is in a queue that is not paused, and that this program serves
    /// ([`Builder::queues`](crate::Builder::queues)); or when the first of these queues opens that is shut by its [rate](Queue::set_rate) or a
    /// [throttle](crate::Failure::throttle). None if no task waits for either.
    ///
    /// ```
    /// # use perdura::{Options, Queue};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Mail;
    /// # impl perdura::Task for Mail { const NAME: &'static str = "mail"; type Output = (); }
    /// # let queue = Queue::builder().open_temporary()?;
    /// let in_an_hour = Options::new().delay(std::time::Duration::from_secs(3600));
    /// let id = queue.enqueue_with(&Mail, in_an_hour)?.id();
    /// assert_eq!(queue.next_start()?, queue.get(id)?.run_at);
    /// queue.pause("default")?;
    /// assert_eq!((queue.next_start()?, queue.next_due()?), (None, queue.get(id)?.run_at));
    /// # Ok::<(), perdura::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn next_start(&self) -> Result<Option<Timestamp>, Error> {
        let served = self.runtime.core.served.as_deref().map(store::queue_list);
        let now = self.runtime.core.now();
        self.store().read(|conn| store::next_start(conn, served.as_deref(), now))
    }

    /// Since when the oldest ready task of each queue could run, as far as that is known.
    ///
    /// Tasks that were retried by hand or handed back do not count. Queues with nothing ready are left out.
    ///
    /// ```
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Mail;
    /// # impl perdura::Task for Mail { const NAME: &'static str = "mail"; type Output = (); }
    /// # let queue = perdura::Queue::builder().open_temporary()?;
    /// let id = queue.enqueue(&Mail)?.id();
    /// assert_eq!(queue.ready_since()?["default"], queue.get(id)?.created_at);
    /// # Ok::<(), perdura::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn ready_since(&self) -> Result<BTreeMap<String, Timestamp>, Error> {
        Ok(self.store().read(store::ready_since)?.into_iter().collect())
    }

    /// What attempts did since a time, summed up by minute and task name, oldest first. The file keeps one day of it.
    ///
    /// ```
    /// # use perdura::{Context, Failure, Queue, testing::{ManualClock, SteppedQueue}};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Mail;
    /// # impl perdura::Task for Mail { const NAME: &'static str = "mail"; type Output = (); }
    /// # let send = |_: Mail, _: &Context| Ok::<(), Failure>(());
    /// # let tests = SteppedQueue::open(Queue::builder().handle(send), &ManualClock::new())?;
    /// # let queue = tests.queue();
    /// # let _ = queue.enqueue_all(&[Mail, Mail])?;
    /// # tests.run_until_idle()?;
    /// # let now = perdura::Clock::now(tests.clock());
    /// let last_hour = queue.rollups(now.saturating_sub(std::time::Duration::from_secs(3600)))?;
    /// assert_eq!((last_hour[0].task_name.as_str(), last_hour[0].succeeded), ("mail", 2));
    /// # Ok::<(), perdura::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn rollups(&self, since: impl Into<Timestamp>) -> Result<Vec<Rollup>, Error> {
        self.store().read(|conn| store::rollups(conn, since.into()))
    }

    /// Groups `FAILED` and `LOST` tasks (or tasks in the filter's states) by what went wrong, the largest group first.
    ///
    /// It looks at the newest tasks that match the filter, as many as the filter's [`limit`](Filter::limit), which defaults to 10,000.
    ///
    /// ```
    /// # use perdura::{Context, Failure, Filter, Queue, testing::{ManualClock, SteppedQueue}};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Order(u64);
    /// # impl perdura::Task for Order { const NAME: &'static str = "order"; type Output = (); }
    /// let order = |Order(n): Order, _: &Context| Err::<(), _>(Failure::permanent(format!("order {n} is not paid")));
    /// # let tests = SteppedQueue::open(Queue::builder().handle(order), &ManualClock::new())?;
    /// # let queue = tests.queue();
    /// # let _ = queue.enqueue_all(&[Order(17), Order(18)])?;
    /// # tests.run_until_idle()?;
    /// let failures = queue.failures(Filter::new())?;
    /// assert_eq!((failures.groups[0].message.as_str(), failures.groups[0].count), ("order # is not paid", 2));
    /// # Ok::<(), perdura::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn failures(&self, filter: Filter) -> Result<Failures, Error> {
        filter.check()?;
        let limit = filter.limit.unwrap_or(MAX_FAILURES_READ);
        let filter = filter.or_states(&[State::Failed, State::Lost]);
        let search = Search::new(&filter, Among::Tasks, Order::NewestFirst);
        let mut found = self.store().search(search, limit.saturating_add(1), |_, id| Ok(id), None)?;
        let more = found.len() > limit;
        found.truncate(limit);
        self.store().read(|conn| store::failures(conn, &found, more))
    }

    /// How long a task waits after each failure, jitter included: by its own backoff, or by this queue's configuration.
    ///
    /// ```
    /// # use perdura::{Options, Queue};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Mail;
    /// # impl perdura::Task for Mail { const NAME: &'static str = "mail"; type Output = (); }
    /// # use std::time::Duration;
    /// # let queue = Queue::builder().open_temporary()?;
    /// let options = Options::new().max_attempts(4).backoff(Duration::from_secs(10));
    /// let id = queue.enqueue_with(&Mail, options)?.id();
    /// assert_eq!(queue.retry_schedule(id)?, [10, 20, 40].map(Duration::from_secs));
    /// # Ok::<(), perdura::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound).
    pub fn retry_schedule(&self, id: TaskId) -> Result<Vec<Duration>, Error> {
        let task = self.get(id)?;
        let configured = &self.runtime.core.rules.policy;
        let backoff = task.backoff.unwrap_or(configured.backoff);
        let policy = RetryPolicy { backoff, ..*configured };
        let wait = |n| policy.delay(n, draw(self.store().file_id(), id.as_i64(), n));
        let failures = task.max_attempts.min(*MAX_ATTEMPTS_RANGE.end()); // a damaged file may say anything
        Ok((1..failures).map(wait).collect())
    }
}

/// The result that a task has; none as long as it may still run.
fn result_of(record: TaskRecord, json: Option<String>) -> Result<Option<String>, Error> {
    let (id, state) = (record.task_id, record.state);
    match state {
        State::Succeeded if json.as_deref() == Some(NOT_KEPT) => {
            let message =
                format!("the result of task {id} was not kept: the disk was full when it succeeded");
            Err(Error::new(ErrorKind::NotFound, message))
        }
        State::Succeeded => Ok(Some(json.unwrap_or_else(|| "null".to_owned()))),
        State::Queued | State::Running => Ok(None),
        State::Failed | State::Lost | State::Cancelled => {
            let why = record.error_type.as_ref().map_or_else(String::new, |error| format!(" ({error})"));
            let error =
                Error::new(ErrorKind::TaskFailed, format!("task {id} has no result: it is {state}{why}"));
            Err(match record.error_type {
                Some(error_type) => {
                    error.with_task_error(error_type, record.error_message.unwrap_or_default())
                }
                None => error,
            })
        }
    }
}
