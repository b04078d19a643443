//! How often tasks of a queue may start.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::timestamp::millis;
use crate::config::MAX_DURATION;
use crate::error::Error;

/// How often tasks of a queue may start: `count` in each period, evenly spread, and up to `burst`
/// at once after a rest.
///
/// A start is allowed every `period / count`. So in any window of time at most `burst + window ×
/// count / period` tasks start.
///
/// Serialises as `{"count":50,"period_ms":60000,"burst":5}`; [`FromStr`] takes what a person types: `50/1m`.
///
/// ```
/// use perdura::Rate;
/// use std::time::Duration;
///
/// let rate = Rate::per(Duration::from_secs(60), 50).burst(5);
/// assert_eq!(rate.interval(), Duration::from_millis(1200));
/// assert_eq!("50/1m".parse::<Rate>()?.burst(5), rate);
/// # Ok::<(), perdura::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Rate {
    /// Starts in each period; at least 1.
    pub count: u32,
    /// The period: 1 ms to 10 years, kept in whole milliseconds. Serialised as `period_ms`.
    #[serde(rename = "period_ms", with = "period_ms")]
    pub period: Duration,
    /// Starts at once after a rest: 1 to 1,000,000.
    pub burst: u32,
}

/// The largest burst.
const MAX_BURST: u32 = 1_000_000;

impl Rate {
    /// `count` starts in each `period`, one at a time (a burst of 1).
    ///
    /// Values out of range are refused where the rate is set: a `count` of 0, a `period` below 1 ms
    /// or over 10 years, and more than a million starts a second.
    pub const fn per(period: Duration, count: u32) -> Rate {
        Rate { count, period, burst: 1 }
    }

    /// The same, with up to `burst` starts at once after a rest. Range 1 to 1,000,000, default 1.
    #[must_use]
    pub const fn burst(self, burst: u32) -> Rate {
        Rate { burst, ..self }
    }

    /// The time from one start to the next while tasks wait: `period / count`, rounded up to a
    /// microsecond.
    pub fn interval(&self) -> Duration {
        let micros = self.period.as_micros().div_ceil(u128::from(self.count.max(1)));
        Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX).max(1))
    }

    /// Checks the ranges.
    ///
    /// # Errors
    /// `InvalidInput`, naming the field.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.count == 0 {
            return Err(Error::invalid_value(
                "rate",
                self,
                "allows no start at all; the count is at least 1 (a queue that is to rest is paused)",
            ));
        }
        if !(Duration::from_millis(1)..=MAX_DURATION).contains(&self.period) {
            return Err(Error::invalid_value("rate", self, "has a period that is not from 1 ms to 10 years"));
        }
        if self.period.as_micros() < u128::from(self.count) {
            return Err(Error::invalid_value("rate", self, "is more than 1,000,000 starts a second"));
        }
        if !(1..=MAX_BURST).contains(&self.burst) {
            return Err(Error::invalid_value("rate", self, "has a burst that is not from 1 to 1,000,000"));
        }
        Ok(())
    }
}

/// As a person types it, with its burst if that is not 1: `50/1m, burst 5`.
impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.count, humantime::format_duration(self.period))?;
        if self.burst == 1 { Ok(()) } else { write!(f, ", burst {}", self.burst) }
    }
}

impl FromStr for Rate {
    type Err = Error;

    /// A count and a period, such as `50/1m` or `2/1s`, with a burst of 1.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) if it is not written so, or out of range.
    fn from_str(text: &str) -> Result<Rate, Error> {
        let wrong = || Error::invalid_value("rate", text, "is not a count and a period, such as 50/1m");
        let (count, period) = text.split_once('/').ok_or_else(wrong)?;
        let count = count.trim().parse().map_err(|_| wrong())?;
        let period = humantime::parse_duration(period.trim()).map_err(|_| wrong())?;
        let rate = Rate::per(period, count);
        rate.check()?;
        Ok(rate)
    }
}

/// A period as a whole number of milliseconds.
mod period_ms {
    use super::*;
    use serde::{Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(period: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        millis(*period).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        Ok(Duration::from_millis(u64::deserialize(deserializer)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn what_is_typed_comes_back() {
        for (text, count, period) in
            [("50/1m", 50, 60_000), (" 2 / 1500ms ", 2, 1500), ("1/1day", 1, 86_400_000)]
        {
            let rate: Rate = text.parse().unwrap();
            assert_eq!(rate, Rate::per(Duration::from_millis(period), count), "{text}");
            assert_eq!(rate.to_string().parse::<Rate>().unwrap(), rate);
            assert_eq!(serde_json::from_str::<Rate>(&serde_json::to_string(&rate).unwrap()).unwrap(), rate);
        }
        assert_eq!(Rate::per(Duration::from_secs(60), 50).burst(5).to_string(), "50/1m, burst 5");
    }

    #[test]
    fn a_rate_out_of_its_range_is_refused_by_name() {
        let second = Duration::from_secs(1);
        for (rate, why) in [
            (Rate::per(second, 0), "no start at all"),
            (Rate::per(second, 1_000_001), "1,000,000 starts a second"),
            (Rate::per(Duration::from_micros(999), 1), "1 ms to 10 years"),
            (Rate::per(Duration::MAX, 1), "1 ms to 10 years"),
            (Rate::per(second, 1).burst(0), "burst"),
            (Rate::per(second, 1).burst(1_000_001), "burst"),
        ] {
            let error = rate.check().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.to_string().contains(why), "{error}");
        }
        for text in ["", "50", "50/", "/1m", "-1/1s", "50/1", "5 0/1m", "0/1s", "2000000/1s"] {
            assert_eq!(text.parse::<Rate>().unwrap_err().kind(), ErrorKind::InvalidInput, "{text:?}");
        }
        Rate::per(second, 1_000_000).burst(1_000_000).check().unwrap();
    }

    #[test]
    fn the_interval_is_never_too_short() {
        assert_eq!(Rate::per(Duration::from_secs(1), 3).interval(), Duration::from_micros(333_334));
        assert_eq!(Rate::per(Duration::from_secs(1), 1_000_000).interval(), Duration::from_micros(1));
    }
}
