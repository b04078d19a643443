//! The reading connections: a small pool, made when somebody looks.

use crate::sync::{Mutex, lock};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use r2d2::{Pool, PooledConnection};
use r2d2_sqlite::SqliteConnectionManager;
use scheduled_thread_pool::ScheduledThreadPool;

use super::crash::crashed;
use super::identity::Identity;
use crate::error::{Error, ErrorKind};

/// Connections at most: enough for a few threads that look, few enough to forget.
const CONNECTIONS: u32 = 4;

/// How long somebody waits for one.
const PATIENCE: Duration = Duration::from_secs(10);

/// The pool; none after a crash.
pub(super) struct Readers(Mutex<Option<Pool<SqliteConnectionManager>>>);

impl Readers {
    /// No connection is open yet.
    pub(super) fn new(manager: SqliteConnectionManager) -> Result<Readers, Error> {
        let build = || {
            Pool::builder()
                .max_size(CONNECTIONS)
                .min_idle(Some(0))
                .test_on_check_out(false)
                .idle_timeout(None)
                .max_lifetime(None)
                .connection_timeout(PATIENCE)
                .error_handler(Box::new(r2d2::NopErrorHandler))
                .thread_pool(connector())
                .build_unchecked(manager)
        };
        // The pool panics where it may not start its thread.
        let built = catch_unwind(AssertUnwindSafe(build)).map_err(|_| {
            let message = "a thread of the pool cannot be started; is the limit of threads reached?";
            Error::new(ErrorKind::Io, message)
        })?;
        Ok(Readers(Mutex::new(Some(built))))
    }

    /// A connection to this file.
    pub(super) fn get(
        &self,
        identity: &Identity,
    ) -> Result<PooledConnection<SqliteConnectionManager>, Error> {
        let readers = lock(&self.0).clone().ok_or_else(crashed)?;
        if readers.state().idle_connections == 0 {
            identity.check()?; // a new connection would read what has taken the file's place
        }
        let got = readers.get();
        got.map_err(|e| Error::new(ErrorKind::Busy, "no reading connection became free").with_source(e))
    }

    /// Closes them for good.
    pub(super) fn close(&self) {
        drop(lock(&self.0).take());
    }
}

/// The thread that makes connections, for all files of this process: r2d2 would start three for each. A forked process has no
/// threads of its parent and needs one of its own.
fn connector() -> Arc<ScheduledThreadPool> {
    static THREAD: Mutex<Option<(u32, Arc<ScheduledThreadPool>)>> = Mutex::new(None);
    let me = std::process::id();
    let mut thread = lock(&THREAD);
    if let Some((_, started)) = thread.as_ref().filter(|(process, _)| *process == me) {
        return started.clone();
    }
    let builder = ScheduledThreadPool::builder().num_threads(1).thread_name_pattern("perdura-readers-{}");
    let started = Arc::new(builder.build());
    std::mem::forget(thread.replace((me, started.clone()))); // the parent's has no thread here that could be joined
    started
}
