//! How far to claim ahead.
//!
//! A claim costs a share of a commit, so short tasks are claimed ahead: about [`PREFETCHED_WORK`] of work for each worker, which is what a commit and
//! its sync may take on a slow disk. Slow tasks are not, so that priorities and shutdown stay honest: with tasks of more than 4 ms,
//! nothing is claimed before a worker is free for it.
//!
//! A power cut charges what was claimed ahead, because nobody can prove that it had not started. So the last attempt of a task is never
//! claimed ahead (`store/tasks/claim.rs`): it would end the task.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The work that is claimed ahead for each worker.
const PREFETCHED_WORK: Duration = Duration::from_millis(8);
/// Claims ahead for each worker at most, however short the tasks: what one commit hands over.
const MAX_PREFETCH: u64 = 256;
/// Bytes of args of the claims that are out, beyond which nothing is claimed ahead: bounds the memory that waiting tasks take.
pub(crate) const MAX_PREFETCHED_BYTES: usize = 8 << 20;
/// Each observation weighs 1/8 of the average: a dozen tasks of another length turn it.
const WEIGHT: u64 = 8;

/// The moving average of how long tasks take, in nanoseconds + 1; 0 before the first.
#[derive(Default)]
pub(crate) struct Prefetch(AtomicU64);

impl Prefetch {
    /// How long tasks take, in nanoseconds; none before the first.
    fn average(&self) -> Option<u64> {
        self.0.load(Ordering::Relaxed).checked_sub(1)
    }

    /// A task took so long.
    pub(crate) fn observe(&self, took: Duration) {
        let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX / 2).min(u64::MAX / 2);
        let average = self.average().map_or(took, |before| before - before / WEIGHT + took / WEIGHT);
        self.0.store(average.saturating_add(1), Ordering::Relaxed);
    }

    /// Tasks have become slow: claim nothing ahead, until they are seen to be short again.
    pub(crate) fn slow_down(&self) {
        let slow = u64::try_from(PREFETCHED_WORK.as_nanos()).unwrap_or(u64::MAX / 2) * 2;
        self.0.store(slow, Ordering::Relaxed);
    }

    /// How long one worker takes for so many tasks, if they are like those before; zero as long as that is not known.
    pub(crate) fn time_for(&self, tasks: usize) -> Duration {
        let average = self.average().unwrap_or(0);
        Duration::from_nanos(average.saturating_mul(u64::try_from(tasks).unwrap_or(u64::MAX)))
    }

    /// How many claims ahead each worker should have.
    pub(crate) fn per_worker(&self) -> usize {
        let ahead_ns = u64::try_from(PREFETCHED_WORK.as_nanos()).unwrap_or(u64::MAX);
        let ahead = self.average().map_or(0, |average| (ahead_ns / average.max(1)).min(MAX_PREFETCH));
        let slow = ahead <= 1;
        if slow { 0 } else { usize::try_from(ahead).unwrap_or(0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_tasks_are_claimed_ahead_and_slow_ones_are_not() {
        let prefetch = Prefetch::default();
        assert_eq!((prefetch.per_worker(), prefetch.time_for(9)), (0, Duration::ZERO));
        (0..100).for_each(|_| prefetch.observe(Duration::from_micros(1)));
        assert_eq!(prefetch.per_worker(), 256);
        (0..100).for_each(|_| prefetch.observe(Duration::from_micros(200)));
        assert!((20..=80).contains(&prefetch.per_worker()), "{}", prefetch.per_worker());
        (0..100).for_each(|_| prefetch.observe(Duration::from_millis(5)));
        assert_eq!(prefetch.per_worker(), 0);
        assert_eq!(prefetch.time_for(0), Duration::ZERO);
        assert!(
            prefetch.time_for(3) > Duration::from_millis(14)
                && prefetch.time_for(3) < Duration::from_millis(16)
        );
        prefetch.observe(Duration::MAX);
        assert_eq!(prefetch.per_worker(), 0);
    }
}
