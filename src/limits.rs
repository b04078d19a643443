//! Bounds of the starts of a queue: tasks at once, starts in a period, and closures for a while.
//! Pure.

use std::time::Duration;

use crate::task::{Rate, Timestamp};

/// The bounds of the starts of a queue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct QueueLimits {
    /// Tasks in flight at once.
    pub max_in_flight: Option<u32>,
    pub bucket: Option<RateBucket>,
    pub closure: Option<Closure>,
}

/// Why nothing starts in a queue now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shut {
    /// Its limit of tasks in flight is reached: the limit.
    Full(u32),
    /// Its rate is used up: when it allows the next start.
    Rate(Timestamp),
    /// It is closed: until when.
    Closed(Timestamp),
}

impl Shut {
    /// When the queue opens by itself; none if it opens when a task ends.
    pub(crate) fn until(self) -> Option<Timestamp> {
        match self {
            Shut::Full(_) => None,
            Shut::Rate(at) | Shut::Closed(at) => Some(at),
        }
    }
}

impl QueueLimits {
    /// How many more tasks may start now in addition to those in flight; at least one.
    ///
    /// # Errors
    /// Why none may.
    pub(crate) fn room(&self, in_flight: u64, now: Timestamp) -> Result<usize, Shut> {
        let now_sane = self.after_jump(now);
        if let Some(closure) = now_sane.closure.filter(|closure| closure.until > now) {
            return Err(Shut::Closed(closure.until));
        }
        let places = match self.max_in_flight {
            None => u64::MAX,
            Some(max) if u64::from(max) <= in_flight => return Err(Shut::Full(max)),
            Some(max) => u64::from(max) - in_flight,
        };
        let tokens = match now_sane.bucket {
            None => u64::MAX,
            Some(bucket) => match bucket.tokens(now) {
                0 => return Err(Shut::Rate(bucket.opens_at())),
                tokens => u64::from(tokens),
            },
        };
        Ok(usize::try_from(places.min(tokens)).unwrap_or(usize::MAX))
    }

    /// The limits after a possible jump back of the clock: nothing stays shut for longer than if it were shut now.
    pub(crate) fn after_jump(&self, now: Timestamp) -> QueueLimits {
        QueueLimits {
            bucket: self.bucket.map(|bucket| bucket.after_jump(now)),
            closure: self.closure.map(|closure| closure.after_jump(now)),
            ..*self
        }
    }
}

/// A rate and how much of it is spent: the generic cell rate algorithm (GCRA, ITU-T I.371) with one
/// stored number. That number is the theoretical arrival time less the burst tolerance: the instant
/// from which the next start is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RateBucket {
    pub rate: Rate,
    /// When the next start is allowed, in microseconds since 1970, since a rate can have a thousand
    /// starts a millisecond.
    pub opens_at_us: i64,
}

impl RateBucket {
    /// A bucket of which nothing is spent.
    pub(crate) fn full(rate: Rate, now: Timestamp) -> RateBucket {
        RateBucket { rate, opens_at_us: micros(now).saturating_sub(RateBucket::early(&rate)) }
    }

    /// The same with another rate: what was spent stays spent, but shuts the queue for at most one
    /// interval of the new rate.
    pub(crate) fn with_rate(self, rate: Rate, now: Timestamp) -> RateBucket {
        let arrival = self.opens_at_us.saturating_add(RateBucket::early(&self.rate));
        RateBucket { rate, opens_at_us: arrival.saturating_sub(RateBucket::early(&rate)) }.after_jump(now)
    }

    /// How many tasks may start now.
    pub(crate) fn tokens(&self, now: Timestamp) -> u32 {
        let rested = micros(now).saturating_sub(self.opens_at_us);
        if rested < 0 {
            return 0;
        }
        u32::try_from(rested / RateBucket::every(&self.rate))
            .unwrap_or(u32::MAX)
            .saturating_add(1)
            .min(self.rate.burst)
    }

    /// When the next task may start, if none may now.
    pub(crate) fn opens_at(&self) -> Timestamp {
        Timestamp::from_millis(
            self.opens_at_us.div_euclid(1000) + i64::from(self.opens_at_us.rem_euclid(1000) > 0),
        )
    }

    /// Spends this many starts.
    pub(crate) fn spend(self, starts: usize, now: Timestamp) -> RateBucket {
        let rested = self.opens_at_us.max(micros(now).saturating_sub(RateBucket::early(&self.rate)));
        let starts = i64::try_from(starts).unwrap_or(i64::MAX);
        RateBucket {
            opens_at_us: rested.saturating_add(starts.saturating_mul(RateBucket::every(&self.rate))),
            ..self
        }
    }

    /// Gives back one start that was spent and did not happen.
    pub(crate) fn refund(self) -> RateBucket {
        RateBucket { opens_at_us: self.opens_at_us.saturating_sub(RateBucket::every(&self.rate)), ..self }
    }

    /// A spent bucket opens at most one interval from now; if it would open later, the clock has
    /// jumped back.
    fn after_jump(self, now: Timestamp) -> RateBucket {
        let latest = micros(now).saturating_add(RateBucket::every(&self.rate));
        RateBucket { opens_at_us: self.opens_at_us.min(latest), ..self }
    }

    fn every(rate: &Rate) -> i64 {
        i64::try_from(rate.interval().as_micros()).unwrap_or(i64::MAX)
    }

    /// The burst tolerance: how much before its arrival time a start may be.
    fn early(rate: &Rate) -> i64 {
        RateBucket::every(rate).saturating_mul(i64::from(rate.burst.max(1) - 1))
    }
}

/// A queue is closed for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Closure {
    /// When it began. If the clock has jumped back since, it begins again.
    pub since: Timestamp,
    pub until: Timestamp,
}

impl Closure {
    /// Closes for `by`, or until the closure `before` ends, if that is later.
    pub(crate) fn extend(before: Option<Closure>, now: Timestamp, by: Duration) -> Closure {
        let asked = Closure { since: now, until: now.saturating_add(by) };
        match before.map(|closure| closure.after_jump(now)) {
            Some(closure) if closure.until > asked.until => closure,
            _ => asked,
        }
    }

    fn after_jump(self, now: Timestamp) -> Closure {
        if self.since <= now {
            return self;
        }
        Closure { since: now, until: now.saturating_add(self.until.since(self.since)) }
    }
}

fn micros(time: Timestamp) -> i64 {
    time.as_millis().saturating_mul(1000)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    fn rates() -> impl Strategy<Value = Rate> {
        (1_u32..200, 1_u64..10_000, 1_u32..20)
            .prop_map(|(count, period, burst)| Rate::per(Duration::from_millis(period), count).burst(burst))
            .prop_filter("a rate that can be set", |rate| rate.check().is_ok())
    }

    proptest! {
        /// A claimer that asks at any time and takes up to all that is allowed.
        #[test]
        fn g16_no_window_has_more_starts_than_its_rate(rate in rates(), steps in prop::collection::vec((0_i64..500, 0_usize..30), 1..80)) {
            let (mut now, mut bucket, mut starts) = (at(1_000_000), RateBucket::full(rate, at(1_000_000)), Vec::new());
            for (wait, greed) in steps {
                now = at(now.as_millis() + wait);
                let n = greed.min(bucket.tokens(now) as usize);
                bucket = bucket.spend(n, now);
                starts.extend(std::iter::repeat_n(now.as_millis(), n));
            }
            let every = rate.interval().as_micros();
            for (i, from) in starts.iter().enumerate() {
                for (j, to) in starts.iter().enumerate().skip(i) {
                    let window = u128::from((to - from).unsigned_abs()) * 1000;
                    let most = u128::from(rate.burst) + window / every;
                    prop_assert!((j - i + 1) as u128 <= most, "{} starts within {window} µs", j - i + 1);
                }
            }
        }

        /// A bucket is open at the time that it names.
        #[test]
        fn it_opens_when_it_says(rate in rates(), spent in 1_usize..40, later in 0_i64..10_000) {
            let now = at(5_000);
            let mut bucket = RateBucket::full(rate, now);
            prop_assert_eq!(bucket.tokens(now), rate.burst);
            bucket = bucket.spend(spent.min(rate.burst as usize), now);
            let opens = bucket.opens_at();
            prop_assert!(bucket.tokens(opens) >= 1);
            prop_assert!(bucket.tokens(at(opens.as_millis() - 1)) == 0 || bucket.tokens(now) > 0);
            prop_assert_eq!(bucket.spend(1, opens).refund().opens_at_us, bucket.opens_at_us.max(micros(opens) - RateBucket::early(&rate)));
            // However far the clock jumps back, it opens at most one interval later.
            let before = at(now.as_millis() - later);
            let limits = QueueLimits { bucket: Some(bucket.spend(50, now)), ..QueueLimits::default() };
            let opens = match limits.room(0, before) {
                Err(shut) => shut.until().unwrap(),
                Ok(_) => before,
            };
            prop_assert!(opens.since(before) <= rate.interval() + Duration::from_millis(1));
        }
    }

    #[test]
    fn a_changed_rate_keeps_what_was_spent_and_acts_at_once() {
        let hourly = Rate::per(Duration::from_secs(3600), 1);
        let spent = RateBucket::full(hourly, at(0)).spend(1, at(0));
        assert_eq!(spent.tokens(at(3_599_999)), 0);
        let quick = spent.with_rate(Rate::per(Duration::from_secs(1), 1), at(0));
        assert_eq!((quick.tokens(at(0)), quick.tokens(at(1000))), (0, 1));
        let slow = quick.with_rate(hourly, at(1000));
        assert_eq!(slow.tokens(at(1000)), 1);
    }

    #[test]
    fn a_closed_queue_opens_by_itself() {
        let closure = Closure::extend(None, at(100), Duration::from_millis(50));
        let longer = Closure::extend(Some(closure), at(110), Duration::from_millis(10));
        assert_eq!(longer, closure, "the longer one holds");
        let limits = QueueLimits { closure: Some(closure), ..QueueLimits::default() };
        assert_eq!(limits.room(0, at(149)), Err(Shut::Closed(at(150))));
        assert_eq!(limits.room(0, at(150)), Ok(usize::MAX));
        assert_eq!(
            limits.room(0, at(40)),
            Err(Shut::Closed(at(90))),
            "the clock jumped back: its own length again"
        );
    }

    #[test]
    fn the_narrowest_bound_counts() {
        let bucket = RateBucket::full(Rate::per(Duration::from_secs(1), 10).burst(3), at(0));
        let limits = QueueLimits { max_in_flight: Some(2), bucket: Some(bucket), closure: None };
        assert_eq!(limits.room(0, at(0)), Ok(2));
        assert_eq!(limits.room(1, at(0)), Ok(1));
        assert_eq!(limits.room(2, at(0)), Err(Shut::Full(2)));
        assert_eq!(limits.room(3, at(0)), Err(Shut::Full(2)), "the limit was lowered");
        let spent = QueueLimits { bucket: Some(bucket.spend(3, at(0))), ..limits };
        assert_eq!(spent.room(0, at(0)), Err(Shut::Rate(at(100))));
    }

    #[test]
    fn extreme_clocks_neither_panic_nor_wrap() {
        let rate = Rate::per(Duration::from_secs(3600), 1).burst(1_000_000);
        for now in [i64::MIN, -1, 0, i64::MAX] {
            let limits = QueueLimits {
                bucket: Some(RateBucket::full(rate, at(now)).spend(7, at(now))),
                ..QueueLimits::default()
            };
            for later in [i64::MIN, 0, i64::MAX] {
                let _ = limits.room(0, at(later));
            }
        }
    }
}
