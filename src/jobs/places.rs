//! Where jobs run: no more places than there are workers.
//!
//! The library gives a task that ignores its deadline a second worker, so that it may start more jobs than are to run at once.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub(super) struct Places {
    free: Mutex<usize>,
    freed: Condvar,
}

/// One place, as long as it lives.
pub(super) struct Place<'p>(&'p Places);

impl Places {
    pub(super) fn new(all: usize) -> Places {
        Places { free: Mutex::new(all), freed: Condvar::new() }
    }

    /// A place, if one is free before long.
    pub(super) fn take(&self, patience: Duration) -> Option<Place<'_>> {
        let waited = self.freed.wait_timeout_while(self.free(), patience, |free| *free == 0);
        let (mut free, _) = waited.unwrap_or_else(PoisonError::into_inner);
        *free = free.checked_sub(1)?;
        Some(Place(self))
    }

    fn free(&self) -> MutexGuard<'_, usize> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner) // a number is never half written
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        *self.0.free() += 1;
        self.0.freed.notify_one();
    }
}
