//! The queue as a program holds it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::engine::threads::{Engine, ShutdownReport};
use crate::error::{Error, ErrorKind};
use crate::handler::{Context, in_handler};
use crate::store::Store;

/// A durable task queue in one SQLite file.
///
/// Cheap to clone; all clones share one set of threads, which stops when the last clone is dropped. See the
/// [crate's documentation](crate) for a program.
#[derive(Clone)]
pub struct Queue {
    pub(crate) engine: Arc<Engine>,
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
    /// Where the file is.
    pub fn path(&self) -> &Path {
        self.store().path()
    }

    /// Whether this process executes tasks from the file: it has handlers, and owns the file.
    pub fn executes(&self) -> bool {
        self.engine.core.is_owner() && self.engine.core.shared.gate.broken().is_none()
    }

    /// What keeps this process from executing although it has handlers, such as an `-owner` file that it cannot open
    /// ([`OwnerFile`](ErrorKind::OwnerFile)). It tries again each second. None if it executes, if another process is known to, and if there
    /// are no handlers.
    pub fn obstacle(&self) -> Option<Error> {
        let why = self.engine.core.obstacle.why()?;
        (self.store().is_owned() != Some(true)).then_some(why)
    }

    pub(crate) fn store(&self) -> &Store {
        &self.engine.core.store
    }
}

impl Queue {
    /// Looks at once for what other connections have written, instead of at the next `poll_interval`. So do other queues of this process
    /// on the same file.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn notify(&self) -> Result<(), Error> {
        self.engine.core.shared.siblings.ring(None);
        self.engine.core.notice()
    }

    /// Stops executing: claims nothing more, lets what runs end within `grace`, then asks it to stop and waits a second for it,
    /// hands back what did not start, settles everything, joins its threads, gives up the ownership of the file. If the file cannot be
    /// written, outcomes are tried for a second more, and given up then: see [`ShutdownReport::not_recorded`].
    ///
    /// The queue still enqueues and looks afterwards. A second call from another thread, while the first one waits, shortens its grace;
    /// one that comes later does nothing. Dropping the last handle does the same without grace.
    ///
    /// # Errors
    /// [`InsideHandler`](ErrorKind::InsideHandler) when a handler calls it; [`ForkedProcess`](ErrorKind::ForkedProcess).
    pub fn shutdown(&self, grace: Duration) -> Result<ShutdownReport, Error> {
        outside_handlers("shutdown")?;
        self.store().process.check()?;
        Ok(self.engine.shutdown(grace))
    }
}

/// Refuses what would wait for the handler that calls it.
pub(crate) fn outside_handlers(what: &str) -> Result<(), Error> {
    if !in_handler() {
        return Ok(());
    }
    let message =
        format!("{what} inside a handler would wait for the handler itself; call it from another thread");
    Err(Error::new(ErrorKind::InsideHandler, message))
}

impl Context {
    /// The queue that runs this task, for handlers that enqueue or look; none if its last handle is gone.
    pub fn queue(&self) -> Option<Queue> {
        let engine = self.port.home().upgrade()?.downcast::<Engine>().ok()?;
        Some(Queue { engine })
    }
}
