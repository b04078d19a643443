//! Wakes threads that wait for the state of some task to change: of one task, or of any.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::planted::planted;
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::{Condvar, Mutex, Receiver, Sender, bounded, lock, wait_while_for};
use crate::task::TaskId;

/// Counts changes for the threads that wait on them. Telling costs one atomic load while nobody waits.
#[derive(Default)]
pub(crate) struct Signal {
    listeners: AtomicUsize,
    /// Of any task.
    any: Arc<Counter>,
    /// Of tasks that somebody waits for.
    of_task: Mutex<HashMap<TaskId, Arc<Counter>>>,
}

/// How often something has changed.
#[derive(Default)]
struct Counter {
    changes: Mutex<u64>,
    changed: Condvar,
}

impl Counter {
    fn tell(&self) {
        *lock(&self.changes) += 1;
        self.changed.notify_all();
    }
}

impl Signal {
    /// These tasks have ended, or are gone; others may have changed as well.
    pub(crate) fn tell(&self, ended: impl Iterator<Item = TaskId>) {
        if self.listeners.load(Ordering::SeqCst) == 0 {
            return;
        }
        self.any.tell();
        let of_task = lock(&self.of_task);
        if !of_task.is_empty() {
            ended.filter_map(|id| of_task.get(&id)).for_each(|counter| counter.tell());
        }
    }

    /// Anything may have changed.
    pub(crate) fn tell_all(&self) {
        if self.listeners.load(Ordering::SeqCst) > 0 {
            self.any.tell();
            lock(&self.of_task).values().for_each(|counter| counter.tell());
        }
    }

    /// Begins to wait for a task (none: for any): every change from now on is noticed.
    pub(crate) fn listen(&self, task: Option<TaskId>) -> Listener<'_> {
        let counter = match task {
            None => self.any.clone(),
            Some(id) => lock(&self.of_task).entry(id).or_default().clone(),
        };
        self.listeners.fetch_add(1, Ordering::SeqCst);
        let seen = *lock(&counter.changes);
        Listener { signal: self, task, counter, seen }
    }
}

/// A thread's wait for changes.
pub(crate) struct Listener<'s> {
    signal: &'s Signal,
    task: Option<TaskId>,
    counter: Arc<Counter>,
    seen: u64,
}

impl Listener<'_> {
    /// Sleeps until something has changed since the last look, at most `timeout`.
    pub(crate) fn wait(&mut self, timeout: Duration) {
        let changes = lock(&self.counter.changes);
        if planted("g04-a-change-before-the-sleep-is-forgotten") {
            self.seen = *changes;
        }
        let unchanged = |now: &mut u64| *now == self.seen;
        self.seen = *wait_while_for(&self.counter.changed, changes, timeout, unchanged);
    }
}

impl Drop for Listener<'_> {
    fn drop(&mut self) {
        self.signal.listeners.fetch_sub(1, Ordering::SeqCst);
        let Some(id) = self.task else { return };
        let mut of_task = lock(&self.signal.of_task);
        let is_last = of_task.get(&id).is_some_and(|counter| Arc::strong_count(counter) <= 2); // the map's and ours
        if is_last {
            of_task.remove(&id);
        }
    }
}

/// Wakes one thread. Ringing it twice before it is heard is ringing it once.
pub(crate) struct Doorbell {
    button: Sender<()>,
    pub bell: Receiver<()>,
}

impl Doorbell {
    pub(crate) fn new() -> Doorbell {
        let (button, bell) = bounded(1);
        Doorbell { button, bell }
    }

    pub(crate) fn ring(&self) {
        let _ = self.button.try_send(());
    }
}
