//! A point in wall-clock time.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A point in wall-clock time, in whole milliseconds since 1970 UTC.
///
/// Displayed and serialised as RFC 3339 (`2026-11-23T08:30:00.250Z`). Arithmetic saturates, so a
/// clock before 1970 or far ahead causes no panic. The text of a time outside 1970-9999 is that of
/// the nearest time inside.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// 9999-12-31T23:59:59.999Z, the last moment that RFC 3339 can write.
const LAST_WRITABLE_MS: i64 = 253_402_300_799_999;

impl Timestamp {
    /// The moment `ms` milliseconds after 1970-01-01T00:00:00Z (before it, if negative).
    pub const fn from_millis(ms: i64) -> Timestamp {
        Timestamp(ms)
    }

    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// This moment as a `SystemTime`; 1970 if the platform cannot hold it.
    pub fn to_system_time(self) -> SystemTime {
        let distance = Duration::from_millis(self.0.unsigned_abs());
        let moved =
            if self.0 >= 0 { UNIX_EPOCH.checked_add(distance) } else { UNIX_EPOCH.checked_sub(distance) };
        moved.unwrap_or(UNIX_EPOCH)
    }

    /// This moment moved forward by `delay`, at most to `i64::MAX` milliseconds.
    pub fn saturating_add(self, delay: Duration) -> Timestamp {
        Timestamp(self.0.saturating_add(millis(delay)))
    }

    /// This moment moved back by `delay`, at most to `i64::MIN` milliseconds.
    pub fn saturating_sub(self, delay: Duration) -> Timestamp {
        Timestamp(self.0.saturating_sub(millis(delay)))
    }

    /// The time from `earlier` to this moment; zero if this is not later.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

/// Whole milliseconds of a duration, rounded up so that nothing is early, at most `i64::MAX`.
pub(crate) fn millis(d: Duration) -> i64 {
    i64::try_from(d.as_nanos().div_ceil(1_000_000)).unwrap_or(i64::MAX)
}

impl From<Timestamp> for SystemTime {
    fn from(t: Timestamp) -> SystemTime {
        t.to_system_time()
    }
}

impl From<SystemTime> for Timestamp {
    fn from(t: SystemTime) -> Timestamp {
        match t.duration_since(UNIX_EPOCH) {
            Ok(d) => Timestamp(i64::try_from(d.as_millis()).unwrap_or(i64::MAX)),
            Err(e) => Timestamp(i64::try_from(e.duration().as_millis()).map_or(i64::MIN, |ms| -ms)),
        }
    }
}

/// As text; in milliseconds where texts of different times are equal (outside 1970-9999).
impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0..=LAST_WRITABLE_MS => write!(f, "Timestamp({self})"),
            ms => write!(f, "Timestamp({ms} ms)"),
        }
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = Timestamp(self.0.clamp(0, LAST_WRITABLE_MS));
        humantime::format_rfc3339_millis(shown.to_system_time()).fmt(f)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Timestamp, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(d)?;
        let time = humantime::parse_rfc3339_weak(&text)
            .map_err(|_| de::Error::custom("not a time such as 2026-11-23T08:30:00Z"))?;
        Ok(time.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extreme_times_neither_panic_nor_wrap() {
        for ms in [i64::MIN, -1, 0, LAST_WRITABLE_MS, LAST_WRITABLE_MS + 1, i64::MAX] {
            let t = Timestamp(ms);
            assert!(t.to_string().ends_with('Z'));
            let _ = (t.to_system_time(), t.saturating_add(Duration::MAX), t.saturating_sub(Duration::MAX));
        }
        assert_eq!(Timestamp(-1).to_string(), "1970-01-01T00:00:00.000Z");
        assert_eq!(Timestamp(i64::MAX).saturating_add(Duration::from_secs(1)), Timestamp(i64::MAX));
        assert_eq!(Timestamp::from(UNIX_EPOCH - Duration::from_millis(5)), Timestamp(-5));
    }

    #[test]
    fn a_part_of_a_millisecond_counts_as_a_whole_one() {
        assert_eq!(Timestamp(0).saturating_add(Duration::from_nanos(1)), Timestamp(1));
        assert_eq!(Timestamp(0).saturating_add(Duration::from_millis(7)), Timestamp(7));
    }

    #[test]
    fn text_is_rfc_3339_and_comes_back() {
        let t = Timestamp(1_795_422_600_250);
        let text = serde_json::to_string(&t).unwrap();
        assert_eq!(text, "\"2026-11-23T08:30:00.250Z\"");
        assert_eq!(format!("{t:?}"), "Timestamp(2026-11-23T08:30:00.250Z)");
        assert_eq!(format!("{:?}", Timestamp(-5)), "Timestamp(-5 ms)");
        assert_eq!(serde_json::from_str::<Timestamp>(&text).unwrap(), t);
    }
}
