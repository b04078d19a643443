//! Wakes threads that wait for the state of some task to change.

use std::time::Duration;

use crate::planted::planted;
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::{Condvar, Mutex, lock, wait_while_for};

/// A counter of changes that threads can wait on. Telling costs one atomic load while nobody waits.
#[derive(Default)]
pub(crate) struct Signal {
    waiters: AtomicUsize,
    changes: Mutex<u64>,
    changed: Condvar,
}

impl Signal {
    /// Something has changed.
    pub(super) fn tell(&self) {
        if self.waiters.load(Ordering::SeqCst) > 0 {
            *lock(&self.changes) += 1;
            self.changed.notify_all();
        }
    }

    /// Begins to wait: every change from now on is noticed.
    pub(super) fn listen(&self) -> Listener<'_> {
        self.waiters.fetch_add(1, Ordering::SeqCst);
        let seen = *lock(&self.changes);
        Listener { signal: self, seen }
    }
}

/// A thread's wait for changes.
pub(crate) struct Listener<'s> {
    signal: &'s Signal,
    seen: u64,
}

impl Listener<'_> {
    /// Sleeps until something has changed since the last look, at most `timeout`.
    pub(super) fn wait(&mut self, timeout: Duration) {
        let changes = lock(&self.signal.changes);
        if planted("g04-a-change-before-the-sleep-is-forgotten") {
            self.seen = *changes;
        }
        let unchanged = |now: &mut u64| *now == self.seen;
        self.seen = *wait_while_for(&self.signal.changed, changes, timeout, unchanged);
    }
}

impl Drop for Listener<'_> {
    fn drop(&mut self) {
        self.signal.waiters.fetch_sub(1, Ordering::SeqCst);
    }
}
