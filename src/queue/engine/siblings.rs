//! Other queues of this process on the same file. What one commits the others hear of at once, not at their next `poll_interval`.
//!
//! A queue that is alone pays one load for each commit. Who has siblings, `files` finds out.

use std::sync::{Arc, Weak};

use super::hub::Hub;
use crate::planted::planted;
use crate::store::Effects;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{Mutex, lock};
use crate::task::TaskId;

#[derive(Default)]
pub(crate) struct Siblings {
    /// False as long as the list is empty.
    some: AtomicBool,
    hubs: Mutex<Vec<Weak<Hub>>>,
    /// One of them has committed something that the owner has not looked at.
    rang: AtomicBool,
}

impl Siblings {
    pub(crate) fn add(&self, other: &Arc<Hub>) {
        lock(&self.hubs).push(Arc::downgrade(other));
        self.some.store(true, Ordering::Release);
    }

    /// Tells them that the file has changed, and which tasks have ended or are gone (none: nobody knows). Siblings that are gone are
    /// forgotten.
    pub(crate) fn ring(&self, ended: Option<&[TaskId]>) {
        if planted("g04-a-sibling-is-not-told") {
            return;
        }
        let others: Vec<Arc<Hub>> = {
            let mut hubs = lock(&self.hubs);
            hubs.retain(|hub| hub.strong_count() > 0);
            self.some.store(!hubs.is_empty(), Ordering::Release);
            hubs.iter().filter_map(Weak::upgrade).collect()
        };
        others.iter().for_each(|other| other.hear_of_sibling(ended)); // not under the lock: the last handle of one may go here
    }

    pub(crate) fn are_there(&self) -> bool {
        self.some.load(Ordering::Acquire)
    }

    /// Whether one of them has rung since the last look.
    pub(crate) fn take_ring(&self) -> bool {
        self.rang.load(Ordering::Acquire) && self.rang.swap(false, Ordering::AcqRel)
    }

    /// True if nobody had rung since the last look.
    pub(crate) fn note_ring(&self) -> bool {
        !self.rang.swap(true, Ordering::AcqRel)
    }
}

/// Whether a commit that means this is news for other queues.
pub(crate) fn is_news(effects: &Effects) -> bool {
    effects.changed
        || effects.more
        || effects.ready > 0
        || effects.due.is_some()
        || !effects.settled.is_empty()
        || !effects.claims.is_empty()
        || !effects.cancelled.is_empty()
        || !effects.superseded.is_empty()
}
