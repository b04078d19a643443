//! Other queues of this process on the same file. What one commits the others hear of at once, not at their next `poll_interval`.
//!
//! A queue that is alone pays one load for each commit. `open_files` finds out which queues are siblings.

use std::sync::{Arc, Weak};

use crate::planted::planted;
use crate::store::Effects;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{Mutex, lock};
use crate::task::TaskId;

/// A queue that other queues of its process tell of their commits.
pub(crate) trait Sibling: Send + Sync {
    fn siblings(&self) -> &Siblings;
    /// Another queue has committed something; the tasks that have ended or are gone, if that is known.
    fn hear_of_commit(&self, ended: Option<&[TaskId]>);
    /// Another queue does not execute from the file any more.
    fn hear_of_release(&self);
}

#[derive(Default)]
pub(crate) struct Siblings {
    /// False as long as the list is empty.
    some: AtomicBool,
    others: Mutex<Vec<Weak<dyn Sibling>>>,
    /// One of them has committed something that the owner has not looked at.
    rang: AtomicBool,
    /// One of them has owned the file, and does no more.
    has_released: AtomicBool,
}

impl Siblings {
    pub(crate) fn add(&self, other: &Arc<dyn Sibling>) {
        lock(&self.others).push(Arc::downgrade(other));
        self.some.store(true, Ordering::Release);
    }

    /// Tells them that the file has changed, and which tasks have ended or are gone (none: nobody knows). Siblings that are gone are
    /// forgotten.
    pub(crate) fn ring(&self, ended: Option<&[TaskId]>) {
        if planted("g04-a-sibling-is-not-told") {
            return;
        }
        self.others().iter().for_each(|other| other.hear_of_commit(ended));
    }

    /// Tells them that one of them may own the file now.
    pub(crate) fn tell_of_release(&self) {
        self.others().iter().for_each(|other| other.hear_of_release());
    }

    /// Cloned, to be used without the lock: a clone may be the last handle of a sibling when it is dropped.
    fn others(&self) -> Vec<Arc<dyn Sibling>> {
        let mut all = lock(&self.others);
        all.retain(|other| other.strong_count() > 0);
        self.some.store(!all.is_empty(), Ordering::Release);
        all.iter().filter_map(Weak::upgrade).collect()
    }

    pub(crate) fn are_there(&self) -> bool {
        self.some.load(Ordering::Acquire)
    }

    /// Whether one of them has rung since the last look.
    pub(crate) fn take_ring(&self) -> bool {
        self.rang.load(Ordering::Acquire) && self.rang.swap(false, Ordering::AcqRel)
    }

    /// Whether one of them has given the file up since the last look.
    pub(crate) fn take_release(&self) -> bool {
        self.has_released.load(Ordering::Acquire) && self.has_released.swap(false, Ordering::AcqRel)
    }

    pub(crate) fn note_release(&self) {
        self.has_released.store(true, Ordering::Release);
    }

    /// True if nobody had rung since the last look.
    pub(crate) fn note_ring(&self) -> bool {
        !self.rang.swap(true, Ordering::AcqRel)
    }
}

/// Whether a commit with these effects concerns other queues.
pub(crate) fn concerns_siblings(effects: &Effects) -> bool {
    effects.changed
        || effects.more
        || effects.ready > 0
        || effects.due.or(effects.tick).is_some()
        || !effects.settled.is_empty()
        || !effects.claims.is_empty()
        || !effects.cancelled.is_empty()
        || !effects.superseded.is_empty()
}
