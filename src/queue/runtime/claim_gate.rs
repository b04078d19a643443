//! Whether this process claims tasks now.

use crate::error::Error;
use crate::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use crate::sync::{Mutex, lock};

/// The epoch of a process that owns nothing.
const NOT_OWNER: i64 = 0;

/// Whether this process owns the file and may claim from it, and what is known of what there is to claim.
#[derive(Default)]
pub(crate) struct ClaimGate {
    epoch: AtomicI64,
    claiming: AtomicBool,
    /// A new owner has not looked yet which tasks with an unknown name are known now.
    lifting: AtomicBool,
    /// The queue is shutting down; nothing is claimed any more, whatever else happens.
    stopping: AtomicBool,
    /// Ready tasks may have been left unclaimed.
    behind: AtomicBool,
    /// Why claims could not ride along; the dispatcher has to handle it.
    trouble: Mutex<Option<Error>>,
    /// Why a thread of ours could not go on, if one could not: nothing runs any more.
    broken: Mutex<Option<Error>>,
}

impl ClaimGate {
    /// The epoch in which this process owns the file, if it does.
    pub(crate) fn epoch(&self) -> Option<i64> {
        Some(self.epoch.load(Ordering::Acquire)).filter(|epoch| *epoch != NOT_OWNER)
    }

    pub(crate) fn set_epoch(&self, epoch: Option<i64>) {
        self.epoch.store(epoch.unwrap_or(NOT_OWNER), Ordering::Release);
    }

    pub(crate) fn is_claiming(&self) -> bool {
        self.claiming.load(Ordering::Acquire) && !self.is_stopping()
    }

    /// Stops claiming for good.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Allows or forbids claims.
    pub(crate) fn set_claiming(&self, claiming: bool) {
        self.claiming.store(claiming, Ordering::Release);
    }

    /// Whether tasks whose name was unknown have still to be looked through: this owner may know some.
    pub(crate) fn is_lifting(&self) -> bool {
        self.lifting.load(Ordering::Acquire)
    }

    pub(crate) fn set_lifting(&self, lifting: bool) {
        self.lifting.store(lifting, Ordering::Release);
    }

    pub(crate) fn is_behind(&self) -> bool {
        self.behind.load(Ordering::Acquire)
    }

    pub(crate) fn set_behind(&self, behind: bool) {
        self.behind.store(behind, Ordering::Release);
    }

    /// Why claims have failed since the last look, if they have.
    pub(crate) fn take_trouble(&self) -> Option<Error> {
        lock(&self.trouble).take()
    }

    /// Why nothing runs any more, if a thread of ours could not go on.
    pub(crate) fn broken(&self) -> Option<Error> {
        lock(&self.broken).as_ref().map(Error::repeat)
    }

    /// Claims could not ride along with a commit. True if the dispatcher has to handle that.
    pub(crate) fn claims_failed(&self, why: &Error) -> bool {
        let is_claiming = self.is_claiming();
        if is_claiming {
            *lock(&self.trouble) = Some(why.repeat());
        }
        is_claiming
    }

    /// A thread of ours cannot go on: nothing is claimed any more.
    pub(crate) fn break_down(&self, why: Error) {
        self.stop();
        lock(&self.broken).get_or_insert(why);
    }
}
