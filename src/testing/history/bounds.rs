//! The bounds of queues and keys in a history, and the starts under them.

use std::collections::HashMap;

use super::event::Bound;
use crate::task::{Rate, TaskId, Timestamp};

/// The bounds that were set, and the claims and starts under them.
#[derive(Default)]
pub(super) struct KnownBounds<'h> {
    pub limits: HashMap<&'h str, BoundLog<u32>>,
    pub rates: HashMap<&'h str, BoundLog<Rate>>,
    /// Claims of a queue under its newest rate, since the clock last went back.
    pub claims: HashMap<&'h str, RatedClaims>,
    /// Starts of tasks of a queue and key: the index of the event, the task, and the permits that
    /// it asked for.
    pub starts: HashMap<AskedKey<'h>, Vec<(usize, TaskId, u32)>>,
}

/// The index at which the rate was set; for each claim its time and the index of its start.
pub(super) type RatedClaims = (usize, Vec<(Timestamp, usize)>);

/// A queue and a digest of a key.
pub(super) type AskedKey<'h> = (&'h str, u64);

/// The bounds of one kind that were set for one queue.
pub(super) struct BoundLog<T>(Vec<Set<T>>);

/// A bound that was set, or was about to be set (`is_done` is false). `to` is none for no bound.
#[derive(Clone, Copy)]
pub(super) struct Set<T> {
    pub at: usize,
    pub to: Option<T>,
    is_done: bool,
}

impl<T> Default for BoundLog<T> {
    fn default() -> BoundLog<T> {
        BoundLog(Vec::new())
    }
}

impl<T> BoundLog<T> {
    /// All bounds that may have been in force at some time since this index. None if none was set
    /// before it: the queue may have had no bound.
    pub(super) fn since(&self, place: usize) -> Option<&[Set<T>]> {
        let first = self.0.iter().rposition(|set| set.is_done && set.at < place)?;
        Some(&self.0[first..])
    }
}

impl<'h> KnownBounds<'h> {
    /// Notes that a bound is about to be set, or was set.
    pub(super) fn set(&mut self, at: usize, queue: &'h str, bound: Bound, is_done: bool) {
        match bound {
            Bound::Limit(to) => self.limits.entry(queue).or_default().0.push(Set { at, to, is_done }),
            Bound::Rate(to) => self.rates.entry(queue).or_default().0.push(Set { at, to, is_done }),
        }
    }

    /// The clock went back: the times of earlier claims cannot be compared any more.
    pub(super) fn clock_went_back(&mut self) {
        self.claims.clear();
    }
}
