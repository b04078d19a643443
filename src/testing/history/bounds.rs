//! What a history says of the bounds of queues and keys, and of what has started under them.

use std::collections::HashMap;

use super::event::Bound;
use crate::task::{Rate, TaskId, Timestamp};

/// What has bounded the queues, and what has started under it.
#[derive(Default)]
pub(super) struct KnownBounds<'h> {
    pub limits: HashMap<&'h str, BoundLog<u32>>,
    pub rates: HashMap<&'h str, BoundLog<Rate>>,
    /// Claims of a queue under its newest rate, since the clock went back.
    pub claims: HashMap<&'h str, RatedClaims>,
    /// Starts of tasks of a queue and key: where, which task, and how many permits it says there are.
    pub starts: HashMap<AskedKey<'h>, Vec<(usize, TaskId, u32)>>,
}

/// Where the rate was set; and of each claim, its time and the place of its start.
pub(super) type RatedClaims = (usize, Vec<(Timestamp, usize)>);

/// A queue and a digest of a key.
pub(super) type AskedKey<'h> = (&'h str, u64);

/// Bounds of one kind that were set for one queue.
pub(super) struct BoundLog<T>(Vec<Set<T>>);

/// A bound that was set, or is being set; none: no bound.
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
    /// All bounds that may have been in force at some time since this place. None if none was set before it: the queue may have had no bound.
    pub(super) fn since(&self, place: usize) -> Option<&[Set<T>]> {
        let first = self.0.iter().rposition(|set| set.is_done && set.at < place)?;
        Some(&self.0[first..])
    }
}

impl<'h> KnownBounds<'h> {
    /// Somebody sets a bound, or has set it.
    pub(super) fn set(&mut self, at: usize, queue: &'h str, bound: Bound, is_done: bool) {
        match bound {
            Bound::Limit(to) => self.limits.entry(queue).or_default().0.push(Set { at, to, is_done }),
            Bound::Rate(to) => self.rates.entry(queue).or_default().0.push(Set { at, to, is_done }),
        }
    }

    /// The clock went back: the times of earlier claims say nothing any more.
    pub(super) fn clock_went_back(&mut self) {
        self.claims.clear();
    }
}
