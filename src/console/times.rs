//! Points in time as people type and read them: in local time, unless they ask for UTC.
//!
//! The zone is that of `TZ` or of the system. In JSON, times are always in UTC, as [`Timestamp`] writes them.

use std::time::Duration;

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;

use super::words::span;
use crate::{Clock, SystemClock, Timestamp};

/// What a time may look like, for messages.
const TIME_FORMATS: &str = "write 08:00, tomorrow 08:00, 2026-11-30, 2026-11-30 08:00 (local time), 2026-11-30T08:00:00Z, \
                     2026-11-30T08:00:00+01:00 or @1796022000";

/// 9999-12-30T22:00:00Z, the last second that is in the year 9999 in all time zones.
const LAST_SECOND: i64 = 253_402_207_200;

/// Which day a time of day without a date means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Toward {
    /// Its next one.
    Future,
    /// Its last one.
    Past,
}

/// The time that a text means: a time of day is its next one.
///
/// # Errors
/// What is wrong with it, and what a time may look like.
#[cfg(unix)]
pub(crate) fn future(text: &str) -> Result<Timestamp, String> {
    parse(text, SystemClock::new().now(), zone, Toward::Future)
}

/// What is wrong with the time zone that is asked for; times are in UTC then.
pub(crate) fn zone_error() -> Option<String> {
    let name = std::env::var_os("TZ")?;
    zone()
        .err()
        .map(|_| format!("TZ={}: there is no such time zone; times are in UTC", name.to_string_lossy()))
}

/// A length of time as people type it.
pub(crate) fn age(text: &str) -> Result<Duration, String> {
    use humantime::DurationError;
    humantime::parse_duration(text).map_err(|e| {
        let why = match e {
            _ if text.starts_with('-') => "a length of time is not negative".to_owned(),
            DurationError::UnknownUnit { unit, .. } if unit.is_empty() => "it has no unit".to_owned(),
            DurationError::UnknownUnit { unit, .. } => format!("{unit:?} is no unit of time"),
            DurationError::NumberOverflow => "it is too long".to_owned(),
            _ => "it is no length of time".to_owned(),
        };
        format!("{why}; write it as 90s, 5m, 12h or 7d")
    })
}

/// A time in the past: how long ago it is, or when it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Past {
    Ago(Duration),
    At(Timestamp),
}

impl Past {
    pub(crate) fn at(self, now: Timestamp) -> Timestamp {
        match self {
            Past::Ago(age) => now.saturating_sub(age),
            Past::At(moment) => moment,
        }
    }

    /// In words, what lies before it: `more than 12 h ago`, `before 2026-11-30 08:00:00+01:00`.
    pub(crate) fn before(self, zone: Zone) -> String {
        match self {
            Past::Ago(age) => format!("more than {} ago", span(age)),
            Past::At(moment) => format!("before {}", zone.show(moment)),
        }
    }

    /// In words, what lies after it: `in the last 12 h`, `since 2026-11-30 08:00:00+01:00`.
    pub(crate) fn since(self, zone: Zone) -> String {
        match self {
            Past::Ago(age) => format!("in the last {}", span(age)),
            Past::At(moment) => format!("since {}", zone.show(moment)),
        }
    }

    /// How long ago it is.
    pub(crate) fn ago(self, now: Timestamp) -> Duration {
        match self {
            Past::Ago(age) => age,
            Past::At(moment) => now.since(moment),
        }
    }
}

/// How long the file keeps rollups.
const ROLLUP_RETENTION: Duration = Duration::from_secs(24 * 60 * 60);

/// [`past`], at most a day ago: the file keeps rollups no longer.
///
/// # Errors
/// Those of [`past`]; it is longer ago.
pub(crate) fn past_day(text: &str) -> Result<Past, String> {
    let since = past(text)?;
    match since.ago(SystemClock::new().now()) <= ROLLUP_RETENTION {
        true => Ok(since),
        false => Err("it is at most 24h ago: the file keeps a day of that".to_owned()),
    }
}

/// The time in the past that a text means: an age such as `12h`, or a time; a time of day is its last one.
///
/// # Errors
/// What is wrong with it, and what it may look like.
pub(crate) fn past(text: &str) -> Result<Past, String> {
    if let Ok(age) = age(text) {
        return Ok(Past::Ago(age));
    }
    let now = SystemClock::new().now();
    let moment = parse(text, now, zone, Toward::Past).map_err(|e| format!("{e}; or an age: 90s, 12h, 7d"))?;
    if moment > now {
        Err(format!("{} lies in the future", Zone::Local.show(moment)))
    } else {
        Ok(Past::At(moment))
    }
}

/// The local zone. A system that has none set is in UTC, as for the C library.
fn zone() -> Result<TimeZone, String> {
    let is_set = std::env::var_os("TZ").is_some_and(|zone| !zone.is_empty());
    TimeZone::try_system().or_else(|_| match is_set {
        false => Ok(TimeZone::UTC),
        true => Err(
            "the time zone of TZ is not known; set it as in TZ=Europe/Berlin, or write a time in UTC: 2026-11-30T08:00:00Z"
                .to_owned(),
        ),
    })
}

/// Reads a time as in [`TIME_FORMATS`]. `zone` is called only for a text without a zone of its own.
fn parse(
    text: &str,
    now: Timestamp,
    zone: impl FnOnce() -> Result<TimeZone, String>,
    toward: Toward,
) -> Result<Timestamp, String> {
    let text = text.trim();
    let wrong = || format!("{text:?} is not a time; {TIME_FORMATS}");
    if let Some(seconds) = text.strip_prefix('@') {
        return epoch(seconds).ok_or_else(wrong);
    }
    if let Some(moment) = zoned(text) {
        return writable(moment).ok_or_else(wrong);
    }
    let zone = &zone()?;
    let here =
        jiff::Timestamp::from_millisecond(now.as_millis()).map_err(|_| wrong())?.to_zoned(zone.clone());
    let on = |day: Date, time: Time| instant(day.to_datetime(time), zone).ok_or_else(wrong);
    if let Some(time) = time_of_day(text) {
        let moment = on(here.date(), time)?;
        let other_day = match toward {
            Toward::Future if moment <= now => here.date().tomorrow(),
            Toward::Past if moment > now => here.date().yesterday(),
            _ => return Ok(moment),
        };
        return on(other_day.map_err(|_| wrong())?, time);
    }
    let (word, time) = match text.split_once(' ') {
        Some((word, time)) => (word, time.trim()),
        None if toward == Toward::Future => (text, ""), // the midnight of "tomorrow" is hardly meant
        None => (text, "00:00"),
    };
    let day = match word.to_ascii_lowercase().as_str() {
        "today" => Ok(here.date()),
        "tomorrow" => here.date().tomorrow(),
        "yesterday" if toward == Toward::Past => here.date().yesterday(),
        _ => return date(text, zone).ok_or_else(wrong),
    };
    on(day.map_err(|_| wrong())?, time_of_day(time).ok_or_else(wrong)?)
}

/// Whether it begins with a date such as 2026-11-30: other forms of ISO 8601 are too easily mistaken.
fn is_dated(text: &str) -> bool {
    let form = text.as_bytes();
    form.len() >= 10 && form[4] == b'-' && form[7] == b'-'
}

/// A date and a time of day with a zone.
fn zoned(text: &str) -> Option<jiff::Timestamp> {
    text.parse().ok().filter(|_| is_dated(text))
}

/// A local date, with or without a time of day.
fn date(text: &str, zone: &TimeZone) -> Option<Timestamp> {
    if !is_dated(text) {
        return None;
    }
    let is_civil =
        text.as_bytes()[10..].iter().all(|c| matches!(c, b'0'..=b'9' | b':' | b'.' | b' ' | b'T' | b't'));
    instant(text.parse::<DateTime>().ok().filter(|_| is_civil)?, zone)
}

/// `8:00`, `08:00`, `08:00:30`.
fn time_of_day(text: &str) -> Option<Time> {
    let is_time = text.contains(':') && text.bytes().all(|c| matches!(c, b'0'..=b'9' | b':' | b'.'));
    let padded = if text.find(':') == Some(1) { format!("0{text}") } else { text.to_owned() };
    padded.parse().ok().filter(|_| is_time)
}

/// Seconds since 1970, with or without a fraction.
fn epoch(text: &str) -> Option<Timestamp> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
    if !is_number(whole) || !is_number(fraction) {
        return None;
    }
    let seconds = whole.parse::<i64>().ok().filter(|seconds| *seconds <= LAST_SECOND)?;
    let ms: i64 = format!("{fraction:0<3}")[..3].parse().ok()?;
    Some(Timestamp::from_millis(seconds * 1000 + ms))
}

/// The instant of a local time. A time that is skipped when clocks go forward counts as after the gap; of a time that comes twice when they go back,
/// the first is meant.
fn instant(time: DateTime, zone: &TimeZone) -> Option<Timestamp> {
    writable(time.to_zoned(zone.clone()).ok()?.timestamp())
}

fn writable(moment: jiff::Timestamp) -> Option<Timestamp> {
    (0..=LAST_SECOND).contains(&moment.as_second()).then(|| Timestamp::from_millis(moment.as_millisecond()))
}

/// How times are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Zone {
    Local,
    Utc,
}

impl Zone {
    /// A time to the second, with its offset: `2026-11-30 08:00:00+01:00`. It may be typed like that, too.
    pub(crate) fn show(self, moment: Timestamp) -> String {
        let zone = match self {
            Zone::Local => zone().unwrap_or(TimeZone::UTC),
            Zone::Utc => TimeZone::UTC,
        };
        show_in(moment, zone)
    }
}

fn show_in(moment: Timestamp, zone: TimeZone) -> String {
    let second = moment.as_millis().div_euclid(1000).clamp(0, LAST_SECOND);
    let offset = if zone == TimeZone::UTC { "Z" } else { "%:z" };
    let zoned = jiff::Timestamp::from_second(second).unwrap_or_default().to_zoned(zone);
    zoned.strftime(&format!("%F %T{offset}")).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(name: &str) -> TimeZone {
        TimeZone::get(name).unwrap()
    }

    /// What a text means at noon (UTC) of 28 November 2026, in UTC.
    fn meant(text: &str, place: &str, toward: Toward) -> Result<String, String> {
        let now = Timestamp::from_millis(1_795_867_200_000);
        assert_eq!(show_in(now, TimeZone::UTC), "2026-11-28 12:00:00Z");
        parse(text, now, || Ok(zone(place)), toward).map(|moment| show_in(moment, TimeZone::UTC))
    }

    #[test]
    fn a_time_with_a_zone_asks_for_no_other() {
        let now = Timestamp::from_millis(1_795_867_200_000);
        let meant = |text| parse(text, now, || Err("there is none".to_owned()), Toward::Future);
        for text in ["@1796022000", "2026-11-30T07:00:00Z", "2026-11-30 08:00:00+01:00"] {
            assert_eq!(meant(text), Ok(Timestamp::from_millis(1_796_022_000_000)), "{text}");
        }
        for text in ["08:00", "tomorrow", "2026-11-30", "2026-11-30 08:00"] {
            assert_eq!(meant(text), Err("there is none".to_owned()), "{text}");
        }
    }

    #[test]
    fn a_time_without_a_zone_is_local() {
        for (text, berlin, new_york) in [
            ("2026-11-30 08:00", "2026-11-30 07:00:00Z", "2026-11-30 13:00:00Z"),
            ("2026-11-30T08:00:05", "2026-11-30 07:00:05Z", "2026-11-30 13:00:05Z"),
            ("2026-11-30", "2026-11-29 23:00:00Z", "2026-11-30 05:00:00Z"),
            ("2026-07-01 08:00", "2026-07-01 06:00:00Z", "2026-07-01 12:00:00Z"),
            ("08:00", "2026-11-29 07:00:00Z", "2026-11-28 13:00:00Z"),
            ("8:00", "2026-11-29 07:00:00Z", "2026-11-28 13:00:00Z"),
            ("tomorrow 08:00", "2026-11-29 07:00:00Z", "2026-11-29 13:00:00Z"),
            ("Tomorrow 00:00", "2026-11-28 23:00:00Z", "2026-11-29 05:00:00Z"),
            ("today 23:00", "2026-11-28 22:00:00Z", "2026-11-29 04:00:00Z"),
            ("2026-11-30T08:00:00Z", "2026-11-30 08:00:00Z", "2026-11-30 08:00:00Z"),
            ("2026-11-30t08:00:00z", "2026-11-30 08:00:00Z", "2026-11-30 08:00:00Z"),
            ("2026-11-30 08:00:00+02:00", "2026-11-30 06:00:00Z", "2026-11-30 06:00:00Z"),
            ("2026-11-30T08:00-05:30", "2026-11-30 13:30:00Z", "2026-11-30 13:30:00Z"),
            ("2026-11-30T08:00:00-00:00", "2026-11-30 08:00:00Z", "2026-11-30 08:00:00Z"),
            ("@1767225600", "2026-01-01 00:00:00Z", "2026-01-01 00:00:00Z"),
            ("@1767225600.5", "2026-01-01 00:00:00Z", "2026-01-01 00:00:00Z"),
        ] {
            assert_eq!(meant(text, "Europe/Berlin", Toward::Future).unwrap(), berlin, "{text}");
            assert_eq!(meant(text, "America/New_York", Toward::Future).unwrap(), new_york, "{text}");
        }
    }

    #[test]
    fn a_time_of_day_is_the_nearest_in_its_direction() {
        assert_eq!(meant("11:00", "UTC", Toward::Future).unwrap(), "2026-11-29 11:00:00Z");
        assert_eq!(meant("11:00", "UTC", Toward::Past).unwrap(), "2026-11-28 11:00:00Z");
        assert_eq!(meant("yesterday", "UTC", Toward::Past).unwrap(), "2026-11-27 00:00:00Z");
        assert_eq!(meant("13:00", "UTC", Toward::Future).unwrap(), "2026-11-28 13:00:00Z");
        assert_eq!(meant("13:00", "UTC", Toward::Past).unwrap(), "2026-11-27 13:00:00Z");
    }

    #[test]
    fn a_wrong_form_names_right_ones() {
        for text in [
            "",
            "8",
            "@",
            "@1e9",
            "@-1",
            "25:00",
            "noon",
            "tomorrow noon",
            "tomorrow",
            "today",
            "2026-02-30",
            "20261130T0800",
            "2026-11-30T08:00:00+99:00",
            "2026-11-30 08:00 CET",
            "1969-12-31T23:59:59Z",
            "10000-01-01",
            "@999999999999999999",
            "T08:00",
            "08:00Z",
        ] {
            let said = meant(text, "Europe/Berlin", Toward::Future).unwrap_err();
            assert!(said.contains(&format!("{text:?} is not a time; write 08:00, tomorrow 08:00")), "{said}");
        }
    }

    #[test]
    fn a_time_is_shown_with_its_offset_and_read_again() {
        for ms in [0, 1_795_867_200_000, 1_785_000_000_000, 253_402_207_200_000] {
            let moment = Timestamp::from_millis(ms);
            for place in ["Europe/Berlin", "America/New_York", "Asia/Kolkata", "UTC"] {
                let shown = show_in(moment, zone(place));
                let read = zoned(&shown).and_then(writable);
                assert_eq!(read, Some(moment), "{shown}");
            }
        }
        assert_eq!(
            show_in(Timestamp::from_millis(1_795_867_200_999), zone("Asia/Kolkata")),
            "2026-11-28 17:30:00+05:30"
        );
        let _ = (
            Zone::Utc.show(Timestamp::from_millis(i64::MAX)),
            Zone::Local.show(Timestamp::from_millis(i64::MIN)),
        );
    }
}
