//! Looking at many tasks at once, and at what attempts have written.

use std::collections::BTreeMap;
use std::time::Duration;

use super::handle::Queue;
use crate::config::MAX_ATTEMPTS_RANGE;
use crate::error::{Error, ErrorKind};
use crate::json::from_json;
use crate::retry::{RetryPolicy, draw};
use crate::store::{self, Among, Order, Search};
use crate::task::{
    Attempt, Counts, DEFAULT_PAGE, Failures, Filter, NOT_KEPT, Output, Progress, Rollup, State, Task, TaskId,
    TaskRecord, Timestamp,
};

/// How many failures are looked at, unless the filter says.
const MAX_FAILURES_READ: usize = 10_000;

/// Looking at what attempts and many tasks did.
impl Queue {
    /// Everything about a task but its args, checkpoint and result.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound).
    pub fn get(&self, id: TaskId) -> Result<TaskRecord, Error> {
        self.store().read(|conn| store::record(conn, id))
    }

    /// The attempts of a task, or of a dead letter, that did not succeed, oldest first: the first 10 and the last 10.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound).
    pub fn attempts(&self, id: TaskId) -> Result<Vec<Attempt>, Error> {
        self.store().read(|conn| store::attempts(conn, id))
    }

    /// A page of tasks that match the filter, oldest id first unless it says [`newest_first`](Filter::newest_first): 100 if it names no
    /// limit. Ask for the next page with [`Filter::after_id`] (or [`Filter::before_id`]) the last id.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn tasks(&self, filter: Filter) -> Result<Vec<TaskRecord>, Error> {
        self.page(&filter, None)
    }

    /// The same for somebody who waits: `progress` is told the ids that are looked through, now and then. A text is compared with that of
    /// every task that the rest of the filter means, which takes seconds for millions of them; [`interrupt_reads`](Queue::interrupt_reads)
    /// ends it.
    ///
    /// # Errors
    /// If the file cannot be read; [`Interrupted`](ErrorKind::Interrupted).
    ///
    /// ```
    /// use perdura::{Filter, Queue};
    ///
    /// let queue = Queue::builder().open_temporary()?;
    /// let found = queue.tasks_with_progress(Filter::new().text("holiday"), |at| println!("{} of {}", at.done, at.total))?;
    /// assert!(found.is_empty());
    /// # Ok::<(), perdura::Error>(())
    /// ```
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

    /// How many tasks each queue has in each state. Never scans: the writes keep the counters. Queues that have no tasks are left out,
    /// unless they are paused.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn counts(&self) -> Result<Counts, Error> {
        self.store().read(store::counts)
    }

    /// The args of a task, or of a dead letter, as the JSON that is stored.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound).
    pub fn args_json(&self, id: TaskId) -> Result<String, Error> {
        self.store().read(|conn| store::args(conn, id))
    }

    /// The result of a task that succeeded; none as long as it may still run.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) if there is no such task, or its result was not kept because the disk was full;
    /// [`InvalidInput`](ErrorKind::InvalidInput) for a task of another name; [`TaskFailed`](ErrorKind::TaskFailed) if it ended without a
    /// result, with the task's error; [`Serialization`](ErrorKind::Serialization) if the result is not a `T::Output` (any more).
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
    pub fn result<T: Task>(&self, id: TaskId) -> Result<Option<T::Output>, Error> {
        let read = |conn: &_| Ok((store::record(conn, id)?, store::result(conn, id)?));
        let (record, json) = self.store().read(read)?;
        if record.task_name != T::NAME {
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

    /// How many tasks the filter means. From the counters if it names states and a queue at most; otherwise it searches.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn count(&self, filter: Filter) -> Result<u64, Error> {
        filter.check()?;
        if let Some(count) =
            self.store().read(|conn| Ok(store::count_from(&store::counts(conn)?, &filter)))?
        {
            return Ok(count);
        }
        let search = Search::new(&filter, Among::Tasks, Order::OldestFirst);
        let found = self.store().search(search, filter.limit.unwrap_or(usize::MAX), |_, _| Ok(()), None)?;
        Ok(found.len() as u64)
    }

    /// What an attempt has written with [`Context::write_output`](crate::Context::write_output), a part for each stream that it has
    /// used; without a generation, the newest attempt that has written anything.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn output(&self, id: TaskId, generation: Option<u64>) -> Result<Vec<Output>, Error> {
        self.store().read(|conn| store::output(conn, id, generation))
    }

    /// The result of a task, as the JSON that is stored; none if it is null, was not kept, or is not there yet.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn result_json(&self, id: TaskId) -> Result<Option<String>, Error> {
        let json = self.store().read(|conn| store::result(conn, id))?;
        Ok(json.filter(|json| json != crate::task::NOT_KEPT))
    }

    /// The newest checkpoint of a task, or of a dead letter, as the JSON that is stored.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn checkpoint_json(&self, id: TaskId) -> Result<Option<String>, Error> {
        self.store().read(|conn| store::checkpoint(conn, id))
    }

    /// Ends what other threads look at through this queue at this moment and what can take long: [`tasks`](Queue::tasks),
    /// [`count`](Queue::count), [`failures`](Queue::failures), lists of dead letters, [`check`](Queue::check) and exports. They fail as
    /// [`Interrupted`](crate::ErrorKind::Interrupted). Verbs, waits, handlers, and what begins later are not ended.
    pub fn interrupt_reads(&self) {
        self.store().interrupt_reads();
    }

    /// When the next task falls due that waits for its time, or expires.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn next_due(&self) -> Result<Option<Timestamp>, Error> {
        self.store().read(store::next_due)
    }

    /// When the next task falls due that waits for its time in a queue that is not paused, and that this queue serves
    /// ([`Builder::queues`](crate::Builder::queues)).
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn next_start(&self) -> Result<Option<Timestamp>, Error> {
        let served = self.engine.core.served.as_deref().map(store::queue_list);
        self.store().read(|conn| store::next_start(conn, served.as_deref()))
    }

    /// Since when the oldest ready task of each queue could run, as far as that is known: tasks that were retried by hand or handed back
    /// say nothing. Queues with nothing ready are left out.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn ready_since(&self) -> Result<BTreeMap<String, Timestamp>, Error> {
        Ok(self.store().read(store::ready_since)?.into_iter().collect())
    }

    /// What attempts did since a time, by minute and task name, oldest first. The file keeps a day of it.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn rollups(&self, since: impl Into<Timestamp>) -> Result<Vec<Rollup>, Error> {
        self.store().read(|conn| store::rollups(conn, since.into()))
    }

    /// `FAILED` and `LOST` tasks (or those in the filter's states) by what went wrong: the newest 10,000, or as many as the filter's
    /// limit.
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

    /// The waits of a task after each failure, by its own backoff or this queue's configuration, jitter included.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound).
    pub fn retry_schedule(&self, id: TaskId) -> Result<Vec<Duration>, Error> {
        let task = self.get(id)?;
        let configured = &self.engine.core.rules.policy;
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
