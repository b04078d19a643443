//! The clock that a test moves.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Clock;
use crate::task::Timestamp;

/// A clock that moves only when a test moves it. Clones share the time.
#[derive(Debug, Clone)]
pub struct ManualClock(Arc<Mutex<Times>>);

#[derive(Debug)]
struct Times {
    wall: Timestamp,
    monotonic: Duration,
}

impl ManualClock {
    /// A clock that stands at 2026-01-01T00:00:00Z.
    pub fn new() -> ManualClock {
        ManualClock::at(Timestamp::from_millis(1_767_225_600_000))
    }

    /// A clock that stands at this time.
    pub fn at(wall: Timestamp) -> ManualClock {
        ManualClock(Arc::new(Mutex::new(Times { wall, monotonic: Duration::from_secs(1) })))
    }

    fn times(&self) -> MutexGuard<'_, Times> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves the wall clock and the monotonic clock forward.
    pub fn advance(&self, by: Duration) {
        let mut times = self.times();
        times.wall = times.wall.saturating_add(by);
        times.monotonic = times.monotonic.saturating_add(by);
    }

    /// Simulates a sleep of the machine: moves only the wall clock forward.
    pub fn suspend(&self, for_: Duration) {
        let mut times = self.times();
        times.wall = times.wall.saturating_add(for_);
    }

    /// Sets the wall clock, forward or back.
    pub fn set_wall(&self, to: Timestamp) {
        self.times().wall = to;
    }
}

impl Default for ManualClock {
    fn default() -> ManualClock {
        ManualClock::new()
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        self.times().wall
    }

    fn monotonic(&self) -> Duration {
        self.times().monotonic
    }
}
