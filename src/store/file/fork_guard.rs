//! Detects whether this process opened its files itself, or was forked from one that had.
//!
//! A forked process has copies of connections and locks that it must not use. SQLite keeps its
//! locks in memory, which the fork has copied, but the system does not pass them on. The owner's
//! lock is shared by both, so unlocking it here would take it from the parent. Our threads do not
//! exist here, so a mutex that one of them held stays locked. So nothing is touched, not even to
//! close it. A process id is compared only with its own earlier value; reading it costs a fraction
//! of a microsecond.

use crate::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::process;

use crate::error::{Error, ErrorKind};
use crate::planted::planted;

/// The process that opened a file last.
static PROCESS: AtomicU32 = AtomicU32::new(0);
/// How many files are open in it.
static OPEN: AtomicUsize = AtomicUsize::new(0);

/// The process that opened a file.
pub(crate) struct ForkGuard(u32);

impl ForkGuard {
    /// Registers a file of this process, if it may open files: SQLite's memory of open files must
    /// be its own.
    ///
    /// # Errors
    /// `ForkedProcess`.
    pub(crate) fn begin() -> Result<ForkGuard, Error> {
        let me = process::id();
        if OPEN.load(Ordering::Acquire) > 0 && PROCESS.load(Ordering::Acquire) != me {
            return Err(forked());
        }
        PROCESS.store(me, Ordering::Release);
        OPEN.fetch_add(1, Ordering::AcqRel);
        Ok(ForkGuard(me))
    }

    /// Whether this thread may use the file now.
    ///
    /// # Errors
    /// `ForkedProcess`, if this is another process; `WouldDeadlock` inside the closure of a
    /// transaction of any queue.
    pub(crate) fn check(&self) -> Result<(), Error> {
        #[cfg(feature = "rusqlite")]
        super::closure::check_outside()?;
        if self.is_this() || planted("g05-a-fork-goes-unnoticed") { Ok(()) } else { Err(forked()) }
    }

    pub(crate) fn is_this(&self) -> bool {
        self.0 == process::id()
    }
}

impl Drop for ForkGuard {
    fn drop(&mut self) {
        OPEN.fetch_sub(1, Ordering::AcqRel);
    }
}

fn forked() -> Error {
    let message = "this process was forked from one that had a queue open, which cannot be used or opened here; fork before the first \
                   queue is opened, or start another program, as std::process::Command does";
    Error::new(ErrorKind::ForkedProcess, message)
}
