//! How far to claim ahead.
//!
//! A claim costs a share of a commit, so short tasks are claimed ahead: about [`AHEAD`] of work for each worker, or more where the disk
//! is slow, so that no worker waits for commits. Slow tasks are not, so that priorities and shutdown stay honest: where commits
//! are fast, with tasks of 4 ms or more, nothing is claimed before a worker is free for it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The work that is claimed ahead for each worker.
const AHEAD: Duration = Duration::from_millis(8);
/// So many commits of work are claimed ahead, if they take longer than that: an outcome waits for the commit that goes on, is settled in
/// the next, and the claims that come with it are there when that is done; and single commits take much longer than the average.
const COMMITS_AHEAD: u64 = 4;
/// However slow the disk is, no more work is claimed ahead than this.
const MOST_AHEAD: Duration = Duration::from_millis(32);
/// Claims ahead for each worker at most, however short the tasks: what one commit hands over.
const MAX_AHEAD: u64 = 256;
/// Each observation weighs 1/8 of the average: a dozen tasks of another length turn it.
const WEIGHT: u64 = 8;

/// How long tasks and commits take.
#[derive(Default)]
pub(crate) struct Pace {
    tasks: Average,
    commits: Average,
}

impl Pace {
    /// A task took so long.
    pub(super) fn observe(&self, took: Duration) {
        self.tasks.observe(took);
    }

    /// A commit that settled tasks took so long.
    pub(super) fn observe_commit(&self, took: Duration) {
        self.commits.observe(took);
    }

    /// Tasks have become slow: claim nothing ahead, until they are seen to be short again.
    pub(super) fn slow_down(&self) {
        self.tasks.set(MOST_AHEAD * 2);
    }

    /// How many claims ahead each worker should have.
    pub(super) fn prefetch(&self) -> usize {
        let Some(task) = self.tasks.get() else { return 0 };
        let commits = self.commits.get().unwrap_or(0).saturating_mul(COMMITS_AHEAD);
        let time = commits.clamp(nanos(AHEAD), nanos(MOST_AHEAD));
        let ahead = (time / task.max(1)).min(MAX_AHEAD);
        let slow = ahead <= 1;
        if slow { 0 } else { usize::try_from(ahead).unwrap_or(0) }
    }
}

/// A moving average in nanoseconds + 1; 0 before the first observation.
#[derive(Default)]
struct Average(AtomicU64);

impl Average {
    fn observe(&self, took: Duration) {
        let took = nanos(took).min(u64::MAX / 2);
        let average = match self.get() {
            None => took,
            Some(before) => before - before / WEIGHT + took / WEIGHT,
        };
        self.0.store(average.saturating_add(1), Ordering::Relaxed);
    }

    fn set(&self, value: Duration) {
        self.0.store(nanos(value).saturating_add(1), Ordering::Relaxed);
    }

    fn get(&self) -> Option<u64> {
        self.0.load(Ordering::Relaxed).checked_sub(1)
    }
}

fn nanos(d: Duration) -> u64 {
    u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_tasks_are_claimed_ahead_and_slow_ones_are_not() {
        let pace = Pace::default();
        assert_eq!(pace.prefetch(), 0);
        (0..100).for_each(|_| pace.observe(Duration::from_micros(1)));
        assert_eq!(pace.prefetch(), 256);
        (0..100).for_each(|_| pace.observe(Duration::from_micros(200)));
        assert!((20..=80).contains(&pace.prefetch()), "{}", pace.prefetch());
        (0..100).for_each(|_| pace.observe(Duration::from_millis(5)));
        assert_eq!(pace.prefetch(), 0);
        pace.observe(Duration::MAX);
        assert_eq!(pace.prefetch(), 0);
    }

    #[test]
    fn where_commits_are_slow_more_is_claimed_ahead_up_to_a_bound() {
        let pace = Pace::default();
        (0..100).for_each(|_| pace.observe(Duration::from_millis(5)));
        (0..100).for_each(|_| pace.observe_commit(Duration::from_micros(100)));
        assert_eq!(pace.prefetch(), 0);
        (0..100).for_each(|_| pace.observe_commit(Duration::from_millis(6)));
        assert!((3..=5).contains(&pace.prefetch()), "{}", pace.prefetch());
        (0..100).for_each(|_| pace.observe_commit(Duration::from_secs(1)));
        assert!((5..=7).contains(&pace.prefetch()), "{}", pace.prefetch());
        pace.slow_down();
        assert_eq!(pace.prefetch(), 0);
    }
}
