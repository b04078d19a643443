//! The reading connections: a small pool that opens them on demand.

use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{Mutex, lock, thread};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use r2d2::{Pool, PooledConnection};
use r2d2_sqlite::SqliteConnectionManager;
use scheduled_thread_pool::ScheduledThreadPool;

use super::cause::cause;
use super::crash::crashed;
use super::identity::FileIdentity;
use crate::error::{Error, ErrorKind};
use crate::store::error::meaning;

/// Connections at most: enough for a few threads that read.
const MAX_CONNECTIONS: u32 = 4;

/// How long a thread waits for one.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Closing waits until the thread that makes connections has released the pool: the first pause
/// between two looks, the longest (each is twice the one before), and how long in all, because that
/// thread may be busy with another file.
const FIRST_CLOSE_POLL: Duration = Duration::from_micros(50);
const LAST_CLOSE_POLL: Duration = Duration::from_millis(10);
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// How soon a waiting thread checks whether a connection failed to open.
const FAILURE_POLL: Duration = Duration::from_millis(50);

/// The pause before the pool tries again. The pool limits it to half of its own time-out, which is
/// used for nothing else.
const CONNECT_RETRY: Duration = Duration::from_millis(200);

pub(crate) struct Readers {
    /// `None` once it is closed.
    pool: Mutex<Option<Pool<SqliteConnectionManager>>>,
    connector: Arc<ScheduledThreadPool>,
    /// A connection has been asked for.
    is_used: AtomicBool,
    failures: ConnectFailures,
    path: PathBuf,
}

impl Readers {
    /// Opens no connection yet.
    pub(crate) fn new(manager: SqliteConnectionManager, path: &Path) -> Result<Readers, Error> {
        let failures = ConnectFailures::default();
        // r2d2 panics if it cannot start a thread. (It starts none if it is given a pool of threads.)
        let no_thread = |_| {
            let message = "a thread of the pool cannot be started; is the limit of threads reached?";
            Error::new(ErrorKind::Io, message)
        };
        let connector = catch_unwind(connector).map_err(no_thread)?;
        let build = || {
            Pool::builder()
                .max_size(MAX_CONNECTIONS)
                .min_idle(Some(0))
                .test_on_check_out(false)
                .idle_timeout(None)
                .max_lifetime(None)
                .connection_timeout(2 * CONNECT_RETRY)
                .error_handler(Box::new(failures.clone()))
                .thread_pool(connector.clone())
                .build_unchecked(manager)
        };
        let pool = catch_unwind(AssertUnwindSafe(build)).map_err(no_thread)?;
        Ok(Readers {
            pool: Mutex::new(Some(pool)),
            connector,
            is_used: AtomicBool::new(false),
            failures,
            path: path.to_owned(),
        })
    }

    /// A connection to this file.
    pub(crate) fn get(
        &self,
        identity: &FileIdentity,
    ) -> Result<PooledConnection<SqliteConnectionManager>, Error> {
        let readers = lock(&self.pool).clone().ok_or_else(crashed)?;
        self.is_used.store(true, Ordering::Release);
        if readers.state().idle_connections == 0 {
            identity.check()?; // a new connection would read the file that has replaced this one
        }
        let before = self.failures.count();
        let mut waited = Duration::ZERO;
        loop {
            // The pool alone would retry without an error until its time-out.
            match (readers.get_timeout(FAILURE_POLL), self.failures.since(before)) {
                (Ok(got), _) => return Ok(got),
                (Err(_), Some(error)) => return Err(self.explained(&error)),
                (Err(e), None) if waited >= CONNECT_TIMEOUT => {
                    return Err(
                        Error::new(ErrorKind::Busy, "no reading connection became free").with_source(e)
                    );
                }
                (Err(_), None) => waited += FAILURE_POLL,
            }
        }
    }

    fn explained(&self, error: &Arc<rusqlite::Error>) -> Error {
        if error.sqlite_error_code() == Some(rusqlite::ErrorCode::CannotOpen) {
            return cause(&self.path, error.clone());
        }
        let (kind, message) = meaning(error);
        Error::new(kind, message).with_source(error.clone())
    }

    /// Closes the connections for good.
    pub(crate) fn close(&self) {
        let Some(pool) = lock(&self.pool).take() else { return };
        drop(pool);
        if !self.is_used.load(Ordering::Acquire) {
            return;
        }
        // The thread that opened the last connection may hold the pool a moment longer. It runs
        // this job after that.
        let behind = Arc::new(());
        let is_behind = Arc::downgrade(&behind);
        self.connector.execute(move || drop(behind));
        let (mut waited, mut pause) = (Duration::ZERO, FIRST_CLOSE_POLL);
        while is_behind.strong_count() > 0 && waited < CLOSE_TIMEOUT {
            thread::sleep(pause);
            waited += pause;
            pause = (2 * pause).min(LAST_CLOSE_POLL);
        }
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.close();
    }
}

/// Connections that failed to open: how many, and the last error.
#[derive(Debug, Clone, Default)]
struct ConnectFailures(Arc<Mutex<(u64, Option<Arc<rusqlite::Error>>)>>);

impl ConnectFailures {
    fn count(&self) -> u64 {
        lock(&self.0).0
    }

    /// The last error, if there was one since `before` were counted.
    fn since(&self, before: u64) -> Option<Arc<rusqlite::Error>> {
        let failures = lock(&self.0);
        failures.1.clone().filter(|_| failures.0 > before)
    }
}

impl r2d2::HandleError<rusqlite::Error> for ConnectFailures {
    fn handle_error(&self, error: rusqlite::Error) {
        let mut failures = lock(&self.0);
        *failures = (failures.0 + 1, Some(Arc::new(error)));
    }
}

/// The thread that opens connections, one for all files of this process: r2d2 would start three for
/// each. A forked process has no threads of its parent and needs one of its own.
fn connector() -> Arc<ScheduledThreadPool> {
    static THREAD: Mutex<Option<(u32, Arc<ScheduledThreadPool>)>> = Mutex::new(None);
    let me = std::process::id();
    let mut thread = lock(&THREAD);
    if let Some((_, started)) = thread.as_ref().filter(|(process, _)| *process == me) {
        return started.clone();
    }
    let builder = ScheduledThreadPool::builder().num_threads(1).thread_name_pattern("perdura-readers-{}");
    let started = Arc::new(builder.build());
    // Of a parent process; its thread does not exist here and cannot be joined.
    std::mem::forget(thread.replace((me, started.clone())));
    started
}
