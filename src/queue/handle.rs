//! The queue as a program holds it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::runtime::threads::{Runtime, ShutdownReport};
use crate::error::{Error, ErrorKind};
use crate::handler::{Context, in_handler};
use crate::store::Store;

/// A durable task queue in one SQLite file.
///
/// It is cheap to clone: all clones share one set of threads, which stop when the last clone is dropped. See the [crate's documentation](crate)
/// for a whole program.
#[derive(Clone)]
pub struct Queue {
    pub(crate) runtime: Arc<Runtime>,
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue")
            .field("path", &self.path())
            .field("executes", &self.executes())
            .finish_non_exhaustive()
    }
}

impl Queue {
    /// The path of the file.
    ///
    /// ```
    /// let queue = perdura::Queue::builder().open_temporary()?;
    /// assert!(queue.path().exists());
    /// # Ok::<(), perdura::Error>(())
    /// ```
    pub fn path(&self) -> &Path {
        self.store().path()
    }

    /// Whether this process executes tasks from the file: the queue has handlers, and this process owns the file.
    ///
    /// ```
    /// let queue = perdura::Queue::builder().open_temporary()?;
    /// assert!(!queue.executes(), "a queue without handlers only enqueues and reads");
    /// # Ok::<(), perdura::Error>(())
    /// ```
    pub fn executes(&self) -> bool {
        self.runtime.core.is_owner() && self.runtime.core.shared.gate.broken().is_none()
    }

    /// What keeps this process from executing although the queue has handlers: an `-owner` file that it cannot open
    /// ([`OwnerFile`](ErrorKind::OwnerFile)), or a file that cannot be written, because the disk is full ([`DiskFull`](ErrorKind::DiskFull)), say, or
    /// somebody has removed it or put another one in its place ([`FileReplaced`](ErrorKind::FileReplaced)). The queue tries again each second. What
    /// runs goes on meanwhile.
    ///
    /// None if nothing keeps this process from executing, if another process is known to execute, or if the queue has no handlers.
    ///
    /// ```
    /// # let queue = perdura::Queue::builder().open_temporary()?;
    /// if let Some(why) = queue.obstacle() {
    ///     eprintln!("tasks do not run: {why}");
    /// }
    /// # assert!(queue.obstacle().is_none());
    /// # Ok::<(), perdura::Error>(())
    /// ```
    pub fn obstacle(&self) -> Option<Error> {
        let core = &self.runtime.core;
        if core.is_owner() {
            return core.trouble.why().or_else(|| core.store.check_file().err());
        }
        let why = core.obstacle.why()?;
        (self.store().is_owned() != Some(true)).then_some(why)
    }

    pub(crate) fn store(&self) -> &Store {
        &self.runtime.core.store
    }
}

impl Queue {
    /// Reads at once what other connections have written, instead of at the next `poll_interval`. Other queues of this process on the same file
    /// do so too.
    ///
    /// ```
    /// # let queue = perdura::Queue::builder().open_temporary()?;
    /// // Another program has enqueued a task, and has sent this one a message.
    /// queue.notify()?;
    /// # Ok::<(), perdura::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn notify(&self) -> Result<(), Error> {
        self.runtime.core.shared.siblings.ring(None);
        self.runtime.core.notice()
    }

    /// Stops executing, and says which tasks did not end. The queue can still enqueue and read afterwards.
    ///
    /// These are the steps: it claims nothing more; it lets running tasks end within `grace`; it asks the others to stop, and waits one second for
    /// them; it hands back claimed tasks that did not start; it records all outcomes; it joins its threads; it gives up the ownership of the file.
    /// If the file cannot be written, it tries to record the outcomes for one second more, then gives up: see [`ShutdownReport::not_recorded`].
    ///
    /// A second call from another thread, while the first one waits, shortens its grace; a later call does nothing. Dropping the last clone of the
    /// queue does the same without grace.
    ///
    /// ```
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Mail;
    /// # impl perdura::Task for Mail { const NAME: &'static str = "mail"; type Output = (); }
    /// # let send = |_: Mail, _: &perdura::Context| Ok::<(), perdura::Failure>(());
    /// # let queue = perdura::Queue::builder().handle(send).open_temporary()?;
    /// let report = queue.shutdown(std::time::Duration::from_secs(10))?;
    /// assert!(report.still_running.is_empty() && report.not_recorded.is_empty());
    /// # Ok::<(), perdura::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`InsideHandler`](ErrorKind::InsideHandler) if a handler calls it; [`ForkedProcess`](ErrorKind::ForkedProcess).
    pub fn shutdown(&self, grace: Duration) -> Result<ShutdownReport, Error> {
        outside_handlers("shutdown")?;
        self.store().process.check()?;
        Ok(self.runtime.shutdown(grace))
    }
}

/// Refuses a call that a handler makes, and that would wait for that handler.
pub(crate) fn outside_handlers(what: &str) -> Result<(), Error> {
    if !in_handler() {
        return Ok(());
    }
    let message = format!(
        "{what} inside a handler would wait for the handler itself; let the caller do it, or end this attempt with Failure::snooze"
    );
    Err(Error::new(ErrorKind::InsideHandler, message))
}

impl Context {
    /// The queue that runs this task, for handlers that enqueue or read; none if the last clone of it was dropped.
    ///
    /// ```
    /// # use perdura::{Context, Failure, Queue, Task};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Order { mail: String }
    /// # impl Task for Order { const NAME: &'static str = "order"; type Output = (); }
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Receipt { to: String }
    /// # impl Task for Receipt { const NAME: &'static str = "receipt"; type Output = (); }
    /// fn order(task: Order, cx: &Context) -> Result<(), Failure> {
    ///     if let Some(queue) = cx.queue() {
    ///         let _ = queue.enqueue(&Receipt { to: task.mail })?;
    ///     }
    ///     Ok(())
    /// }
    /// let queue = Queue::builder().handle(order).open_temporary()?;
    /// let id = queue.enqueue(&Order { mail: "ada@example.org".into() })?.id();
    /// # queue.wait(id, std::time::Duration::from_secs(60))?;
    /// # assert_eq!(queue.count(perdura::Filter::new().task_name("receipt"))?, 1);
    /// # Ok::<(), perdura::Error>(())
    /// ```
    pub fn queue(&self) -> Option<Queue> {
        let runtime = self.port.home().upgrade()?.downcast::<Runtime>().ok()?;
        Some(Queue { runtime })
    }
}
