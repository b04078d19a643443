//! A walk over the ids, in windows of ids, sized so that a search takes about 15 to 60 ms for each.
//!
//! A query that finds nothing reads everything. So a search asks for a window of ids at a time: in between it tells how far it is. A window
//! that takes longer is interrupted when nobody waits for the search any more (see `data_thread`).

use std::time::Duration;

use crate::{Filter, TaskId};

/// A window that took less grows.
const GROW_BELOW: Duration = Duration::from_millis(15);
/// A window that took more shrinks.
const SHRINK_ABOVE: Duration = Duration::from_millis(60);
/// How many ids the first window has, and each at least.
const MIN_WINDOW_IDS: i64 = 1 << 10;
/// How many ids a window has at most: what a machine with everything in memory reads in the blink of an eye.
const MAX_WINDOW_IDS: i64 = 1 << 40;

/// What is left of a walk: the ids above `above` and below `below`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Windows {
    above: i64,
    below: i64,
    down: bool,
    width: i64,
}

impl Windows {
    /// Over all ids from `oldest` to `newest`, the newest first.
    pub fn down(oldest: TaskId, newest: TaskId) -> Windows {
        let (above, below) = (oldest.as_i64().saturating_sub(1), newest.as_i64().saturating_add(1));
        Windows { above, below, down: true, width: MIN_WINDOW_IDS }
    }

    /// The same, the oldest first.
    pub fn up(oldest: TaskId, newest: TaskId) -> Windows {
        Windows { down: false, ..Windows::down(oldest, newest) }
    }

    /// Only ids below this one.
    pub fn only_below(mut self, id: TaskId) -> Windows {
        self.below = self.below.min(id.as_i64());
        self
    }

    /// Only ids above this one.
    pub fn only_above(mut self, id: TaskId) -> Windows {
        self.above = self.above.max(id.as_i64());
        self
    }

    /// All that is left in one window.
    pub fn whole(self) -> Windows {
        Windows { width: i64::MAX - 1, ..self }
    }

    /// The next window, as a filter for these ids only; none at the end.
    pub fn next(&mut self, filter: Filter) -> Option<Filter> {
        if self.below.saturating_sub(self.above) < 2 {
            return None;
        }
        let (above, below);
        if self.down {
            (above, below) =
                (self.below.saturating_sub(self.width).saturating_sub(1).max(self.above), self.below);
            self.below = above.saturating_add(1);
        } else {
            (above, below) =
                (self.above, self.above.saturating_add(self.width).saturating_add(1).min(self.below));
            self.above = below.saturating_sub(1);
        }
        Some(filter.after_id(TaskId::from_i64(above)).before_id(TaskId::from_i64(below)))
    }

    /// Goes on behind this id, the last one found: the window may have more than were asked for.
    pub fn resume(&mut self, last: TaskId) {
        if self.down {
            self.below = last.as_i64();
        } else {
            self.above = last.as_i64();
        }
    }

    /// Fits the next window to how long the last one took.
    pub fn took(&mut self, time: Duration) {
        if time < GROW_BELOW {
            self.width = self.width.saturating_mul(4).min(MAX_WINDOW_IDS);
        } else if time > SHRINK_ABOVE {
            self.width = (self.width / 2).max(MIN_WINDOW_IDS);
        }
    }

    /// Where it has come to; none at the end.
    pub fn at(&self) -> Option<TaskId> {
        let at = if self.down { self.below } else { self.above };
        (self.below.saturating_sub(self.above) >= 2).then_some(TaskId::from_i64(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The ids that the windows mean, in the order in which they come.
    fn walk(mut windows: Windows, times: &[u64]) -> Vec<(i64, i64)> {
        let mut met = Vec::new();
        let mut times = times.iter().cycle();
        while let Some(filter) = windows.next(Filter::new()) {
            let (above, below) = (filter.after.unwrap().as_i64(), filter.before.unwrap().as_i64());
            assert!(above + 1 < below, "an empty window");
            met.push((above, below));
            windows.took(Duration::from_millis(*times.next().unwrap()));
        }
        assert_eq!(windows.at(), None);
        met
    }

    proptest! {
        #[test]
        fn every_id_is_in_one_window(
            oldest in -5_i64..5, length in 0_i64..20_000, down: bool,
            times in prop::collection::vec(0_u64..100, 1..5),
        ) {
            let (oldest, newest) = (TaskId::from_i64(oldest), TaskId::from_i64(oldest + length));
            let windows = if down { Windows::down(oldest, newest) } else { Windows::up(oldest, newest) };
            let mut met = walk(windows, &times);
            if down {
                met.reverse();
            }
            prop_assert_eq!(met[0].0, oldest.as_i64() - 1);
            prop_assert_eq!(met.last().unwrap().1, newest.as_i64() + 1);
            prop_assert!(met.windows(2).all(|pair| pair[0].1 == pair[1].0 + 1));
        }
    }

    #[test]
    fn windows_follow_the_time_they_take() {
        let mut windows = Windows::down(TaskId::from_i64(1), TaskId::from_i64(i64::MAX));
        windows.took(Duration::ZERO);
        assert_eq!(windows.width, 4 * MIN_WINDOW_IDS);
        windows.took(Duration::from_millis(30));
        assert_eq!(windows.width, 4 * MIN_WINDOW_IDS);
        windows.took(Duration::from_secs(1));
        assert_eq!(windows.width, 2 * MIN_WINDOW_IDS);
        (0..99).for_each(|_| windows.took(Duration::ZERO));
        assert_eq!(windows.width, MAX_WINDOW_IDS);
    }

    #[test]
    fn a_walk_goes_on_behind_the_last_one_found() {
        let mut windows = Windows::down(TaskId::from_i64(1), TaskId::from_i64(100));
        windows.next(Filter::new());
        windows.resume(TaskId::from_i64(40));
        assert_eq!(walk(windows, &[0]), [(0, 40)]);
    }
}
