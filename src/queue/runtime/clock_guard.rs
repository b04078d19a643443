//! Whether the wall clock can be trusted with deletions.
//!
//! A clock that jumps forward makes everything look old. So age-based deletion waits until the wall clock has run in step with the
//! monotonic one for [`STEADY_TIME`]. A machine that slept looks like a jump too, and is treated as one.

use std::time::Duration;

use crate::planted::planted;
use crate::task::Timestamp;

/// The wall clock must have been steady for so long before anything is deleted by age.
pub(crate) const STEADY_TIME: Duration = Duration::from_secs(5 * 60);
/// Differences up to this are drift, and larger ones are a jump.
const DRIFT_MS: i64 = 60_000;

#[derive(Debug, Default)]
pub(crate) struct ClockGuard {
    last: Option<(Timestamp, Duration)>,
    since: Duration,
    /// How often the clocks were out of step.
    jumps: u32,
}

impl ClockGuard {
    /// Looks at both clocks; says whether they have been in step for long enough.
    pub(crate) fn observe(&mut self, wall: Timestamp, monotonic: Duration) -> bool {
        if !self.are_in_step(wall, monotonic) {
            self.jumps += u32::from(self.last.is_some());
            self.since = monotonic;
        }
        self.last = Some((wall, monotonic));
        monotonic.saturating_sub(self.since) >= STEADY_TIME || planted("g10-ages-trust-the-clock")
    }

    /// Looks at both clocks; says whether they have been in step since the first look.
    pub(crate) fn is_in_step(&mut self, wall: Timestamp, monotonic: Duration) -> bool {
        self.observe(wall, monotonic);
        self.jumps == 0
    }

    fn are_in_step(&self, wall: Timestamp, monotonic: Duration) -> bool {
        self.last.is_some_and(|(wall_before, monotonic_before)| {
            let by_wall = wall.as_millis().saturating_sub(wall_before.as_millis());
            let by_monotonic = crate::task::millis(monotonic.saturating_sub(monotonic_before));
            by_wall.saturating_sub(by_monotonic).saturating_abs() <= DRIFT_MS
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jump_starts_the_wait_anew() {
        let mut steady = ClockGuard::default();
        let minute = Duration::from_secs(60);
        let start = Timestamp::from_millis(1_000_000);
        assert!(!steady.observe(start, Duration::ZERO));
        assert!(!steady.observe(start.saturating_add(4 * minute), 4 * minute));
        assert!(steady.observe(start.saturating_add(5 * minute), 5 * minute));
        let year = Duration::from_secs(365 * 86_400);
        assert!(!steady.observe(start.saturating_add(year), 6 * minute));
        assert!(!steady.observe(start.saturating_add(year + 4 * minute), 10 * minute));
        assert!(steady.observe(start.saturating_add(year + 5 * minute), 11 * minute));
        assert!(!steady.observe(Timestamp::from_millis(i64::MIN), 12 * minute));
    }
}
