//! How long a statement waits for a lock of another connection.
//!
//! SQLite's own way to wait asks ever more seldom, up to ten times a second. Beside a process that writes without pause it never asks in
//! the moments between two commits, and so it starves. Here everybody asks each millisecond, and whoever leads for long leaves a moment
//! (`CommitHook::rest`).

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;

use crate::sync::atomic::{AtomicU32, Ordering};
use crate::sync::thread;

/// How long a statement waits before it answers `Busy`, if nobody says otherwise.
pub(crate) const DEFAULT_BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// How often it asks.
const LOCK_POLL: Duration = Duration::from_millis(1);

/// The patience of a store's writer: it can be changed while somebody waits.
#[derive(Debug, Clone)]
pub(crate) struct Patience {
    usual: Duration,
    now: Arc<AtomicU32>,
}

thread_local! {
    /// The patience of what this thread does now; none: the usual one.
    static MINE: RefCell<Option<Patience>> = const { RefCell::new(None) };
}

impl Patience {
    pub(crate) fn new(usual: Duration) -> Patience {
        Patience { usual, now: Arc::new(AtomicU32::new(pauses(usual))) }
    }

    /// Waits so long from now on, whoever waits already included, and no longer than usual; none: as usual.
    pub(crate) fn set(&self, patience: Option<Duration>) {
        self.now.store(pauses(patience.unwrap_or(self.usual).min(self.usual)), Ordering::Release);
    }

    /// Does something on this thread with this patience.
    pub(crate) fn during<R>(&self, act: impl FnOnce() -> R) -> R {
        MINE.with_borrow_mut(|mine| {
            if !mine.as_ref().is_some_and(|mine| Arc::ptr_eq(&mine.now, &self.now)) {
                *mine = Some(self.clone());
            }
        });
        act()
    }
}

/// Makes a connection wait like this.
pub(crate) fn wait_for_locks(conn: &Connection) -> rusqlite::Result<()> {
    conn.busy_handler(Some(goes_on))
}

/// Called by SQLite when it has met a lock for the n-th time (from 0): sleeps, and says whether to ask again.
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
