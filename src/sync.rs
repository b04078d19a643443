//! What threads share and wait with, all from one place.
//!
//! Here it is std's and crossbeam's. `tests/schedules` compiles the files of this crate once more on a `sync` of its own, whose threads
//! run one at a time in an order that the test decides and whose time stands still; so it can try thousands of orders. What
//! names std's locks or channels directly would not be seen there.

use std::sync::PoisonError;
use std::time::Duration;

pub(crate) use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
pub(crate) use std::sync::{Condvar, Mutex, MutexGuard, atomic};
pub(crate) use std::thread;

/// Poison means that a thread panicked while it held the lock. What is locked in this crate is whole at every step: no code of the
/// user runs under a lock, and no change is left half done where something may panic. So the poison says nothing and is ignored.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sleeps until told, or for no reason.
pub(crate) fn wait<'m, T>(told: &Condvar, guard: MutexGuard<'m, T>) -> MutexGuard<'m, T> {
    told.wait(guard).unwrap_or_else(PoisonError::into_inner)
}

/// Sleeps until told, or for no reason, at most `timeout`.
pub(crate) fn wait_for<'m, T>(
    told: &Condvar,
    guard: MutexGuard<'m, T>,
    timeout: Duration,
) -> MutexGuard<'m, T> {
    told.wait_timeout(guard, timeout).unwrap_or_else(PoisonError::into_inner).0
}

/// Sleeps as long as something holds, at most `timeout`.
pub(crate) fn wait_while_for<'m, T>(
    told: &Condvar,
    guard: MutexGuard<'m, T>,
    timeout: Duration,
    holds: impl FnMut(&mut T) -> bool,
) -> MutexGuard<'m, T> {
    told.wait_timeout_while(guard, timeout, holds).unwrap_or_else(PoisonError::into_inner).0
}

/// What [`next_of`] came back with.
pub(crate) enum Heard<T> {
    Item(T),
    /// Somebody rang, or the time is over.
    None,
    /// Nobody can send any more.
    End,
}

/// Sleeps until something comes through the channel or the bell rings, at most `timeout`.
pub(crate) fn next_of<T>(items: &Receiver<T>, bell: &Receiver<()>, timeout: Duration) -> Heard<T> {
    crossbeam_channel::select! {
        recv(items) -> item => item.map_or(Heard::End, Heard::Item),
        recv(bell) -> _ => Heard::None,
        default(timeout) => Heard::None,
    }
}

/// Sleeps until the bell rings, at most `timeout`.
pub(crate) fn hear(bell: &Receiver<()>, timeout: Duration) {
    let _ = bell.recv_timeout(timeout); // whether it has rung does not matter to who looks for everything next
}
