//! Waiting for tasks to end.

use std::time::Duration;

use super::handle::{Queue, outside_handlers};
use crate::error::{Error, ErrorKind};
use crate::store;
use crate::task::{Task, TaskId, TaskRecord};

/// How soon a waiting caller looks again when another process executes.
const OTHER_PROCESS_POLL: Duration = Duration::from_millis(100);

/// Waiting for tasks.
impl Queue {
    /// Waits until a task is finished, and answers with its record.
    ///
    /// ```
    /// # use perdura::{Context, Failure, Queue, State};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Mail;
    /// # impl perdura::Task for Mail { const NAME: &'static str = "mail"; type Output = (); }
    /// # use std::time::Duration;
    /// let send = |_: Mail, _: &Context| Ok::<(), Failure>(());
    /// let queue = Queue::builder().handle(send).open_temporary()?;
    /// let id = queue.enqueue(&Mail)?.id();
    /// assert_eq!(queue.wait(id, Duration::from_secs(60))?.state, State::Succeeded);
    /// # Ok::<(), perdura::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`TimedOut`](ErrorKind::TimedOut) after `timeout`, which says what [`explain`](Queue::explain) does: the task goes on; [`NotFound`](ErrorKind::NotFound);
    /// [`OwnerFile`](ErrorKind::OwnerFile), if this queue has handlers but its `-owner` file keeps it from executing, and no other process is known
    /// to execute; [`InsideHandler`](ErrorKind::InsideHandler) if a handler calls it; [`FileReplaced`](ErrorKind::FileReplaced) if the file
    /// was removed or replaced meanwhile; [`Io`](ErrorKind::Io) if the task has ended and that could not be written; [`Internal`](ErrorKind::Internal) if a thread of the queue has panicked too often to go on.
    pub fn wait(&self, id: TaskId, timeout: Duration) -> Result<TaskRecord, Error> {
        let finished = self.wait_until("wait", Some(id), Some(timeout), || {
            let record = self.get(id)?;
            if record.state.is_finished() {
                return Ok(Some(record));
            }
            self.check_broken()?;
            self.store().check_file()?; // what is open reads on, of a file that nobody writes any more
            self.check_recorded(id)?;
            self.await_no_mending()?;
            Ok(None)
        })?;
        finished.ok_or_else(|| {
            let timeout = humantime::format_duration(timeout);
            let why = self.explain(id).map_or_else(|_| "it goes on".to_owned(), |why| why.to_string());
            Error::new(ErrorKind::TimedOut, format!("task {id} is not finished after {timeout}: {why}"))
        })
    }

    /// Waits until a task is finished, and answers with its result.
    ///
    /// ```
    /// use perdura::{Context, ErrorKind, Failure, Queue, Task};
    ///
    /// #[derive(serde::Serialize, serde::Deserialize)]
    /// struct Divide(u32, u32);
    /// impl Task for Divide {
    ///     const NAME: &'static str = "divide";
    ///     type Output = u32;
    /// }
    ///
    /// let divide = |Divide(a, b): Divide, _: &Context| {
    ///     a.checked_div(b).ok_or_else(|| Failure::named("DivisionByZero", "the divisor is 0").never_retry())
    /// };
    /// let (queue, minute) = (Queue::builder().handle(divide).open_temporary()?, std::time::Duration::from_secs(60));
    /// assert_eq!(queue.wait_result::<Divide>(queue.enqueue(&Divide(6, 3))?.id(), minute)?, 2);
    ///
    /// let failed = queue.wait_result::<Divide>(queue.enqueue(&Divide(1, 0))?.id(), minute).unwrap_err();
    /// assert_eq!((failed.kind(), failed.error_type()), (ErrorKind::TaskFailed, Some("DivisionByZero")));
    /// # Ok::<(), perdura::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`wait`](Queue::wait) and [`result`](Queue::result): a task that failed, was lost or was cancelled is
    /// [`TaskFailed`](ErrorKind::TaskFailed), with the task's [error type](Error::error_type) and [message](Error::error_message).
    pub fn wait_result<T: Task>(&self, id: TaskId, timeout: Duration) -> Result<T::Output, Error> {
        self.wait(id, timeout)?;
        let result = self.result::<T>(id)?;
        result.ok_or_else(|| {
            Error::new(
                ErrorKind::WrongState,
                format!("task {id} was retried right after its end; wait for it again"),
            )
        })
    }

    /// Waits until every runnable task has run. Retries that wait for their time do not count.
    ///
    /// It does not wait for tasks that wait for a time to come (a delay, the backoff of a retry), that are held because no handler knows their
    /// name, or that are in a queue that is paused, or closed for a while ([`Failure::throttle`](crate::Failure::throttle)). It waits for
    /// tasks that only the [rate](Queue::set_rate) of their queue keeps back. If this queue was opened for [some queues](crate::Builder::queues), it waits for the tasks of those
    /// alone. While another process owns the file, it waits until that process has run its tasks; it also waits for the tasks that only this
    /// process claims, which run once this process owns the file.
    ///
    /// ```
    /// # use perdura::{Context, Failure, Queue};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Mail;
    /// # impl perdura::Task for Mail { const NAME: &'static str = "mail"; type Output = (); }
    /// # let send = |_: Mail, _: &Context| Ok::<(), Failure>(());
    /// let queue = Queue::builder().handle(send).open_temporary()?;
    /// let _ = queue.enqueue_all(&[Mail, Mail, Mail])?;
    /// queue.drain()?;
    /// assert_eq!(queue.counts()?.total().succeeded, 3);
    /// # Ok::<(), perdura::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`NoHandlers`](ErrorKind::NoHandlers); [`ShutDown`](ErrorKind::ShutDown); [`OwnerFile`](ErrorKind::OwnerFile), if its `-owner` file
    /// keeps this process from executing, and no other process is known to execute; [`InsideHandler`](ErrorKind::InsideHandler) if a handler
    /// calls it; [`FileReplaced`](ErrorKind::FileReplaced) if the file was removed or replaced meanwhile; [`Io`](ErrorKind::Io) if a task has ended and that could not be written; [`Internal`](ErrorKind::Internal) if a thread of the
    /// queue has panicked too often to go on. On a full disk it waits until there is room; [`obstacle`](Queue::obstacle) says so meanwhile.
    pub fn drain(&self) -> Result<(), Error> {
        if self.runtime.registry.is_empty() {
            let message = "this queue has no handlers and runs nothing; register one with Builder::handle";
            return Err(Error::new(ErrorKind::NoHandlers, message));
        }
        self.wait_until("drain", None, None, || {
            self.check_broken()?;
            if self.runtime.core.shared.gate.is_stopping() {
                return Err(Error::new(
                    ErrorKind::ShutDown,
                    "the queue was shut down and runs nothing more; open it again",
                ));
            }
            if self.is_drained()? {
                return Ok(Some(()));
            }
            self.store().check_file()?;
            self.await_no_mending()?;
            self.check_all_recorded()?;
            Ok(None)
        })?;
        Ok(())
    }

    /// Whether there is nothing now that [`drain`](Self::drain) would wait for.
    ///
    /// In a queue without handlers, only the queues count that the owner of the file claims from.
    ///
    /// ```
    /// # let queue = perdura::Queue::builder().open_temporary()?;
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Mail;
    /// # impl perdura::Task for Mail { const NAME: &'static str = "mail"; type Output = (); }
    /// assert!(queue.is_drained()?);
    /// let _ = queue.enqueue(&Mail)?;
    /// assert!(!queue.is_drained()?);
    /// # Ok::<(), perdura::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn is_drained(&self) -> Result<bool, Error> {
        let (core, executes) = (&self.runtime.core, !self.runtime.registry.is_empty());
        // What is held for its unknown name may be known here.
        let is_lifting = core.is_owner() && core.shared.gate.is_lifting() && !core.shared.gate.is_stopping();
        let served = core.served.as_deref().map(store::queue_list);
        // Of one moment: a task that is settled, or promoted, between two looks would be in neither. The time is read after that moment:
        // a retry that failed just before it would else seem to lie in the future.
        self.store().read(|conn| {
            if is_lifting && store::has_unknown_names(conn)? {
                return Ok(false);
            }
            let of_owner = if served.is_none() && !executes { store::served(conn)? } else { None };
            let is_at_work = store::is_at_work(conn, served.as_deref().or(of_owner.as_deref()), core.now())?;
            Ok(!store::is_due(conn, served.as_deref(), core.now())? && !is_at_work)
        })
    }

    /// Waits for a task, or for any, until `look` sees something; none if the time runs out first.
    fn wait_until<R>(
        &self,
        what: &str,
        task: Option<TaskId>,
        timeout: Option<Duration>,
        look: impl Fn() -> Result<Option<R>, Error>,
    ) -> Result<Option<R>, Error> {
        outside_handlers(what)?;
        self.store().process.check()?;
        let patience = || if self.executes() { Duration::from_secs(1) } else { OTHER_PROCESS_POLL };
        self.runtime.core.shared.wait_until(task, timeout, patience, look)
    }

    /// Whether a thread of this queue has ended too early, so that nothing runs any more.
    fn check_broken(&self) -> Result<(), Error> {
        self.runtime.core.shared.gate.broken().map_or(Ok(()), Err)
    }

    /// Whether this process may yet write the end of a task that is at work.
    fn check_recorded(&self, id: TaskId) -> Result<(), Error> {
        if !self.runtime.core.shared.running.is_unrecorded(id) {
            return Ok(());
        }
        Err(unrecorded(id))
    }

    /// The same for whoever waits for all tasks, once nothing runs any more.
    fn check_all_recorded(&self) -> Result<(), Error> {
        let shared = &self.runtime.core.shared;
        match shared.running.unrecorded().first() {
            Some(id) if shared.running.nothing_runs() => Err(unrecorded(*id)),
            _ => Ok(()),
        }
    }

    /// Refuses to wait for this process to execute, if somebody has to mend something first.
    fn await_no_mending(&self) -> Result<(), Error> {
        self.obstacle().filter(|why| why.kind() == ErrorKind::OwnerFile).map_or(Ok(()), Err)
    }
}

fn unrecorded(id: TaskId) -> Error {
    let message = format!(
        "task {id} has ended, but the file could not be written; it counts as lost when the file is executed again"
    );
    Error::new(ErrorKind::Io, message)
}
