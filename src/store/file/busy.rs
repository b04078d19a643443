//! How long a statement waits for a lock of another connection.
//!
//! SQLite's own busy handler sleeps longer each time, up to 100 ms. Beside a process that writes
//! without pause it misses the moments between two commits, and starves. Here every waiter tries
//! again each millisecond, and a thread that has led for long leaves a gap (`CommitHook::rest`).

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;

use crate::sync::atomic::{AtomicU32, Ordering};
use crate::sync::thread;

/// How long a statement waits for a lock before it fails with `Busy`, unless configured otherwise.
pub(crate) const DEFAULT_BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// The pause between two tries.
const LOCK_POLL: Duration = Duration::from_millis(1);

/// How long a store's writer waits for locks. It can be changed while a thread waits.
#[derive(Debug, Clone)]
pub(crate) struct Patience {
    usual: Duration,
    now: Arc<AtomicU32>,
}

thread_local! {
    /// The patience of the store whose writer this thread used last; `None`: the default.
    static MINE: RefCell<Option<Patience>> = const { RefCell::new(None) };
}

impl Patience {
    pub(crate) fn new(usual: Duration) -> Patience {
        Patience { usual, now: Arc::new(AtomicU32::new(pauses(usual))) }
    }

    /// Sets how long to wait from now on, threads that already wait included, but never longer than
    /// usual; `None`: as usual.
    pub(crate) fn set(&self, patience: Option<Duration>) {
        self.now.store(pauses(patience.unwrap_or(self.usual).min(self.usual)), Ordering::Release);
    }

    /// Runs `act` on this thread with this patience. It stays in force on the thread until the next
    /// call.
    pub(crate) fn during<R>(&self, act: impl FnOnce() -> R) -> R {
        MINE.with_borrow_mut(|mine| {
            if !mine.as_ref().is_some_and(|mine| Arc::ptr_eq(&mine.now, &self.now)) {
                *mine = Some(self.clone());
            }
        });
        act()
    }
}

/// Sets the busy handler of a connection.
pub(crate) fn wait_for_locks(conn: &Connection) -> rusqlite::Result<()> {
    conn.busy_handler(Some(goes_on))
}

/// The busy handler. SQLite calls it when it has met a lock for the n-th time (from 0): sleeps, and
/// returns whether to try again.
fn goes_on(met: i32) -> bool {
    let most = MINE.with_borrow(|mine| mine.as_ref().map(|patience| patience.now.load(Ordering::Acquire)));
    if u32::try_from(met).unwrap_or(u32::MAX) >= most.unwrap_or_else(|| pauses(DEFAULT_BUSY_TIMEOUT)) {
        return false;
    }
    thread::sleep(LOCK_POLL);
    true
}

fn pauses(time: Duration) -> u32 {
    u32::try_from(time.as_millis() / LOCK_POLL.as_millis()).unwrap_or(u32::MAX)
}
