//! Locks, atomics, channels and threads, all from one place.
//!
//! Here they are std's and crossbeam's. `tests/schedules` compiles files of this crate again with a
//! `sync` of its own: its threads run one at a time, in an order that a scheduler chooses, and its
//! time moves only when a test says so. So it can try thousands of orders. Code that names std's
//! locks or channels directly would escape it.

use std::sync::PoisonError;
use std::time::Duration;

pub(crate) use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
pub(crate) use std::sync::{Condvar, Mutex, MutexGuard, atomic};
pub(crate) use std::thread;

/// Locks a mutex and ignores poison, which means that a thread panicked while it held the lock.
/// Locked data is consistent at every step: no user code runs under a lock, and no change is half
/// done where something may panic.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sleeps until notified. May wake up spuriously.
pub(crate) fn wait<'m, T>(told: &Condvar, guard: MutexGuard<'m, T>) -> MutexGuard<'m, T> {
    told.wait(guard).unwrap_or_else(PoisonError::into_inner)
}

/// Sleeps until notified, at most `timeout`. May wake up spuriously.
pub(crate) fn wait_for<'m, T>(
    told: &Condvar,
    guard: MutexGuard<'m, T>,
    timeout: Duration,
) -> MutexGuard<'m, T> {
    told.wait_timeout(guard, timeout).unwrap_or_else(PoisonError::into_inner).0
}

/// Sleeps while `holds` is true, at most `timeout`.
pub(crate) fn wait_while_for<'m, T>(
    told: &Condvar,
    guard: MutexGuard<'m, T>,
    timeout: Duration,
    holds: impl FnMut(&mut T) -> bool,
) -> MutexGuard<'m, T> {
    told.wait_timeout_while(guard, timeout, holds).unwrap_or_else(PoisonError::into_inner).0
}

/// What [`next_of`] returns.
pub(crate) enum Heard<T> {
    Item(T),
    /// The bell rang, or the timeout is over.
    None,
    /// All senders of items are gone.
    End,
}

/// Sleeps until an item comes or the bell rings, at most `timeout`.
pub(crate) fn next_of<T>(items: &Receiver<T>, bell: &Receiver<()>, timeout: Duration) -> Heard<T> {
    crossbeam_channel::select! {
        recv(items) -> item => item.map_or(Heard::End, Heard::Item),
        recv(bell) -> _ => Heard::None,
        default(timeout) => Heard::None,
    }
}

/// Sleeps until the bell rings, at most `timeout`.
pub(crate) fn hear(bell: &Receiver<()>, timeout: Duration) {
    let _ = bell.recv_timeout(timeout); // the caller checks everything next, so it does not matter whether the bell rang
}
