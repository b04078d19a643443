//! The ticks of a cron pattern in a time zone.
//!
//! croner finds the civil times of a pattern; this file finds the instants of these. A pattern without a wildcard in its second,
//! minute and hour names fixed times: one that falls into a gap of the clock comes at the gap's end, and one in an overlap comes once, at the first
//! of its two instants. (croner takes lists and ranges of hours for wildcards, drops a time whose gap leads into the next day,
//! and gives up at gaps of more than two hours.) A pattern with one follows real time: it comes whenever the clock shows what it asks for.

use std::fmt;

use croner::parser::{CronParser, Seconds, Year};
use jiff::Timestamp as Instant;
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};

use crate::error::Error;
use crate::planted::planted;
use crate::task::Timestamp;

/// The longest pattern, in bytes: a list of every minute fits.
const MAX_PATTERN_BYTES: usize = 200;

/// A pattern and its zone, ready to be asked.
pub(crate) struct Cron {
    cron: croner::Cron,
    zone: TimeZone,
    /// It has a wildcard in its second, minute or hour.
    follows_real_time: bool,
}

/// The fields of a pattern, and what each may be. One of 5 fields has no second.
const FIELDS: [(&str, &str); 6] = [
    ("second", "0 to 59"),
    ("minute", "0 to 59"),
    ("hour", "0 to 23"),
    ("day", "1 to 31, or L, the last one"),
    ("month", "1 to 12, or JAN to DEC"),
    ("weekday", "0 to 7, or SUN to SAT"),
];

fn parser() -> CronParser {
    CronParser::builder().seconds(Seconds::Optional).year(Year::Disallowed).build()
}

/// What is wrong with a pattern, and how to write it.
fn problem(pattern: &str) -> String {
    let fields: Vec<&str> = pattern.split_whitespace().collect();
    let Some(names) = FIELDS.len().checked_sub(fields.len()).filter(|left_out| *left_out <= 1) else {
        let n = fields.len();
        let fields = if n == 1 { "field" } else { "fields" };
        return format!(
            "it has {n} {fields}; write minute, hour, day, month and weekday, such as \"30 2 * * *\", or @daily"
        );
    };
    let is_wrong = |at: usize| {
        let alone = (0..fields.len()).map(|i| if i == at { fields[i] } else { "*" });
        parser().parse(&alone.collect::<Vec<_>>().join(" ")).is_err()
    };
    let wrong = fields.iter().zip(&FIELDS[names..]).enumerate().find(|(at, _)| is_wrong(*at));
    match wrong {
        Some((_, (field, (name, range)))) => {
            format!("its {name} is {field:?}; write {range}, * for each, */5 for each fifth, 1-5, or 1,3")
        }
        None => "its fields do not go together".to_owned(),
    }
}

impl Cron {
    /// Reads a pattern of 5 or 6 fields, or one such as `@daily`; no zone: that of the system.
    pub(super) fn parse(pattern: &str, zone: Option<&str>) -> Result<Cron, Error> {
        if pattern.len() > MAX_PATTERN_BYTES {
            return Err(Error::invalid("pattern", "is longer than 200 bytes; use several schedules"));
        }
        let cron = parser().parse(pattern).map_err(|_| {
            let problem = format!("is no cron pattern: {}", problem(pattern));
            Error::invalid_value("pattern", pattern, &problem)
        })?;
        let zone = match zone {
            None => TimeZone::system(),
            Some(name) => TimeZone::get(name).map_err(|_| {
                let problem = "is not in the time zone database; write a name such as Europe/Berlin, or leave it out for local time";
                Error::invalid_value("time_zone", name, problem)
            })?,
        };
        let follows_real_time = has_wildcard(cron.pattern.as_str());
        Ok(Cron { cron, zone, follows_real_time })
    }

    /// The first tick after an instant; none if there is none.
    pub(super) fn after(&self, time: Timestamp) -> Option<Timestamp> {
        let seconds = time.as_millis().div_euclid(1000);
        let tick = match self.follows_real_time {
            true => self.next_real(Instant::from_second(seconds.checked_add(1)?).ok()?),
            false => self.next_fixed(Instant::from_second(seconds).ok()?),
        };
        Some(Timestamp::from_millis(tick?.as_second().checked_mul(1000)?))
    }

    /// The first instant, from this one on, at which the clock shows what the pattern asks for.
    fn next_real(&self, from: Instant) -> Option<Instant> {
        let mut from = from;
        loop {
            let offset = self.zone.to_offset(from);
            let shown = self.next_civil(offset.to_datetime(from), true)?;
            let found = offset.to_timestamp(shown).ok();
            let change = self.zone.following(from).find(|change| change.offset() != offset);
            match (found, change) {
                (Some(found), Some(change)) if found < change.timestamp() => return Some(found),
                (_, Some(change)) => from = change.timestamp(),
                (found, None) => return found,
            }
        }
    }

    /// The first of the fixed times that comes after this instant. Later civil times never come sooner, so none before the one that the
    /// clock shows now is left.
    fn next_fixed(&self, after: Instant) -> Option<Instant> {
        let mut civil = self.next_civil(self.zone.to_datetime(after), true)?;
        loop {
            match self.instant(civil)? {
                tick if tick > after => return Some(tick),
                _ => civil = self.next_civil(civil, false)?,
            }
        }
    }

    fn next_civil(&self, from: DateTime, inclusive: bool) -> Option<DateTime> {
        self.cron.find_next_occurrence(&from, inclusive).ok()
    }

    /// When a fixed time comes: in an overlap the first time, in a gap at its end.
    fn instant(&self, civil: DateTime) -> Option<Instant> {
        match self.zone.to_ambiguous_timestamp(civil).offset() {
            AmbiguousOffset::Fold { after, .. }
                if planted("g15-fixed-times-come-at-the-end-of-an-overlap") =>
            {
                after.to_timestamp(civil).ok()
            }
            AmbiguousOffset::Unambiguous { offset } | AmbiguousOffset::Fold { before: offset, .. } => {
                offset.to_timestamp(civil).ok()
            }
            AmbiguousOffset::Gap { after, .. } => {
                let before_gap = after.to_timestamp(civil).ok()?;
                let end = self.zone.following(before_gap).find(|change| change.offset() == after)?;
                Some(end.timestamp())
            }
        }
    }

    /// The pattern in words.
    pub(super) fn words(&self) -> String {
        self.cron.describe()
    }
}

impl fmt::Debug for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Cron").field(&self.cron.pattern.as_str()).finish()
    }
}

/// Whether the second, the minute or the hour of a pattern (of 5 or 6 fields) is a wildcard.
fn has_wildcard(pattern: &str) -> bool {
    let fields: Vec<&str> = pattern.split_whitespace().collect();
    let of_day = fields.len().saturating_sub(3); // without day, month and weekday
    fields[..of_day].iter().any(|field| field.contains('*'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::from_millis(text.parse::<Instant>().unwrap().as_millisecond())
    }

    /// The ticks after one time up to another.
    fn ticks(pattern: &str, zone: &str, from: &str, to: &str) -> Vec<String> {
        let cron = Cron::parse(pattern, Some(zone)).unwrap();
        let (mut last, mut all) = (at(from), Vec::new());
        while let Some(tick) = cron.after(last).filter(|tick| *tick <= at(to)) {
            all.push(Instant::from_millisecond(tick.as_millis()).unwrap().to_string());
            last = tick;
        }
        all
    }

    #[test]
    fn g15_fixed_times_come_once_where_the_clock_is_changed() {
        // A pattern, a zone, a span of time, and its ticks, all in UTC.
        for (pattern, zone, from, to, expected) in [
            // Berlin: 02:00-03:00 is left out on 2026-03-29, and comes twice on 2026-10-25.
            (
                "30 2 * * *",
                "Europe/Berlin",
                "2026-03-28T12:00Z",
                "2026-03-30T12:00Z",
                &["2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"][..],
            ),
            (
                "30 2 * * *",
                "Europe/Berlin",
                "2026-10-24T12:00Z",
                "2026-10-26T12:00Z",
                &["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"],
            ),
            (
                "0 2,3 * * *",
                "Europe/Berlin",
                "2026-03-28T12:00Z",
                "2026-03-29T12:00Z",
                &["2026-03-29T01:00:00Z"],
            ),
            (
                "0 2,3 * * *",
                "Europe/Berlin",
                "2026-10-24T12:00Z",
                "2026-10-25T12:00Z",
                &["2026-10-25T00:00:00Z", "2026-10-25T02:00:00Z"],
            ),
            (
                "10,50 2-3 * * *",
                "Europe/Berlin",
                "2026-10-24T12:00Z",
                "2026-10-25T12:00Z",
                &[
                    "2026-10-25T00:10:00Z",
                    "2026-10-25T00:50:00Z",
                    "2026-10-25T02:10:00Z",
                    "2026-10-25T02:50:00Z",
                ],
            ),
            // New York: 2026-03-08 and 2026-11-01, at 02:00.
            (
                "30 2 * * *",
                "America/New_York",
                "2026-03-07T12:00Z",
                "2026-03-09T12:00Z",
                &["2026-03-08T07:00:00Z", "2026-03-09T06:30:00Z"],
            ),
            (
                "30 1 * * *",
                "America/New_York",
                "2026-10-31T12:00Z",
                "2026-11-02T12:00Z",
                &["2026-11-01T05:30:00Z", "2026-11-02T06:30:00Z"],
            ),
            // Lord Howe moves by half an hour: 2026-10-04 from 02:00 to 02:30, 2026-04-05 from 02:00 back to 01:30.
            (
                "15 2 * * *",
                "Australia/Lord_Howe",
                "2026-10-03T03:00Z",
                "2026-10-05T03:00Z",
                &["2026-10-03T15:30:00Z", "2026-10-04T15:15:00Z"],
            ),
            (
                "45 1 * * *",
                "Australia/Lord_Howe",
                "2026-04-04T03:00Z",
                "2026-04-06T03:00Z",
                &["2026-04-04T14:45:00Z", "2026-04-05T15:15:00Z"],
            ),
            // Cairo: the first hour of 2026-04-24 is left out, and the last of 2026-10-29 comes twice.
            (
                "0 0 * * *",
                "Africa/Cairo",
                "2026-04-23T12:00Z",
                "2026-04-25T12:00Z",
                &["2026-04-23T22:00:00Z", "2026-04-24T21:00:00Z"],
            ),
            (
                "30 0 24 4 *",
                "Africa/Cairo",
                "2026-01-01T00:00Z",
                "2026-12-01T00:00Z",
                &["2026-04-23T22:00:00Z"],
            ),
            (
                "30 23 * * *",
                "Africa/Cairo",
                "2026-10-29T12:00Z",
                "2026-10-30T22:00Z",
                &["2026-10-29T20:30:00Z", "2026-10-30T21:30:00Z"],
            ),
            // Apia left out the whole of 2011-12-30.
            (
                "0 12 * * *",
                "Pacific/Apia",
                "2011-12-29T12:00Z",
                "2011-12-31T12:00Z",
                &["2011-12-29T22:00:00Z", "2011-12-30T10:00:00Z", "2011-12-30T22:00:00Z"],
            ),
        ] {
            assert_eq!(ticks(pattern, zone, from, to), expected, "{pattern} in {zone} from {from}");
        }
    }

    #[test]
    fn g15_wildcards_follow_real_time_where_the_clock_is_changed() {
        for (pattern, zone, from, to, expected) in [
            (
                "0 * * * *",
                "Europe/Berlin",
                "2026-03-28T23:30Z",
                "2026-03-29T03:30Z",
                &[
                    "2026-03-29T00:00:00Z",
                    "2026-03-29T01:00:00Z",
                    "2026-03-29T02:00:00Z",
                    "2026-03-29T03:00:00Z",
                ][..],
            ),
            (
                "0 * * * *",
                "Europe/Berlin",
                "2026-10-24T23:30Z",
                "2026-10-25T02:30Z",
                &["2026-10-25T00:00:00Z", "2026-10-25T01:00:00Z", "2026-10-25T02:00:00Z"],
            ),
            ("*/30 2 * * *", "Europe/Berlin", "2026-03-28T12:00Z", "2026-03-29T12:00Z", &[]),
            (
                "*/30 2 * * *",
                "Europe/Berlin",
                "2026-10-24T12:00Z",
                "2026-10-25T12:00Z",
                &[
                    "2026-10-25T00:00:00Z",
                    "2026-10-25T00:30:00Z",
                    "2026-10-25T01:00:00Z",
                    "2026-10-25T01:30:00Z",
                ],
            ),
            (
                "*/20 * * * *",
                "Australia/Lord_Howe",
                "2026-10-03T15:00Z",
                "2026-10-03T16:00Z",
                &["2026-10-03T15:10:00Z", "2026-10-03T15:40:00Z", "2026-10-03T16:00:00Z"],
            ),
            (
                "0 */1 * * *",
                "Africa/Cairo",
                "2026-04-23T20:30Z",
                "2026-04-23T23:30Z",
                &["2026-04-23T21:00:00Z", "2026-04-23T22:00:00Z", "2026-04-23T23:00:00Z"],
            ),
            (
                "@hourly",
                "America/New_York",
                "2026-11-01T04:30Z",
                "2026-11-01T07:30Z",
                &["2026-11-01T05:00:00Z", "2026-11-01T06:00:00Z", "2026-11-01T07:00:00Z"],
            ),
        ] {
            assert_eq!(ticks(pattern, zone, from, to), expected, "{pattern} in {zone} from {from}");
        }
    }

    #[test]
    fn days_are_named_by_letters_too() {
        for (pattern, expected) in [
            ("0 0 L * *", "2026-01-31T00:00:00Z"),
            ("0 0 15W 2 *", "2026-02-16T00:00:00Z"),
            ("0 0 * * FRI#2", "2026-01-09T00:00:00Z"),
            ("0 0 * * 5L", "2026-01-30T00:00:00Z"),
            ("@weekly", "2026-01-04T00:00:00Z"),
            ("15 30 2 * * *", "2026-01-02T02:30:15Z"),
            ("0 0 29 2 *", "2028-02-29T00:00:00Z"),
        ] {
            assert_eq!(ticks(pattern, "UTC", "2026-01-01T12:00Z", expected), [expected], "{pattern}");
        }
    }

    #[test]
    fn what_never_comes_is_known_at_once_and_bad_patterns_are_named() {
        for never in ["0 0 30 2 *", "0 0 31 4,6,9,11 *", "* * 31 2 *"] {
            assert_eq!(
                Cron::parse(never, Some("Europe/Berlin")).unwrap().after(at("2026-01-01T00:00Z")),
                None,
                "{never}"
            );
        }
        for bad in [
            "",
            "60 * * * *",
            "* * * *",
            "a b c d e",
            "0 0 * * * * 2027",
            "@reboot",
            "*/0 * * * *",
            &"1,".repeat(300),
        ] {
            let e = Cron::parse(bad, None).unwrap_err();
            assert!(e.to_string().starts_with("pattern "), "{bad}: {e}");
        }
        let e = Cron::parse("0 0 * * *", Some("Mars/Olympus")).unwrap_err();
        assert!(
            e.to_string().starts_with("time_zone \"Mars/Olympus\" is not in the time zone database"),
            "{e}"
        );
    }

    proptest! {
        /// Ticks rise, and at each the clock shows what the pattern asks for, unless it is the end of a gap.
        #[test]
        fn ticks_rise_and_match(
            pattern in prop::sample::select(vec!["*/7 * * * *", "30 2 * * *", "0 0 * * *", "*/10 1-3 * * *", "5,35 0,2 * * *", "0 12 L * *"]),
            zone in prop::sample::select(vec!["Europe/Berlin", "Africa/Cairo", "Australia/Lord_Howe", "America/New_York", "UTC"]),
            from in 1_700_000_000_000_i64..1_900_000_000_000,
        ) {
            let cron = Cron::parse(pattern, Some(zone)).unwrap();
            let from = Timestamp::from_millis(from);
            let tick = cron.after(from).unwrap();
            prop_assert!(tick > from);
            prop_assert_eq!(cron.after(Timestamp::from_millis(tick.as_millis() - 1)), Some(tick), "nothing lies between");
            let instant = Instant::from_millisecond(tick.as_millis()).unwrap();
            let shown = cron.zone.to_datetime(instant);
            let is_end_of_gap = cron.zone.preceding(Instant::from_second(instant.as_second() + 1).unwrap()).next()
                .is_some_and(|change| change.timestamp() == instant);
            prop_assert!(is_end_of_gap || cron.cron.is_time_matching(&shown).unwrap(), "{shown}");
        }

        #[test]
        fn no_text_is_too_odd(pattern in "\\PC{0,40}", strange in "[0-9*/,LW#?@+ -]{0,30}", zone in "\\PC{0,20}") {
            for text in [pattern, strange] {
                if let Ok(cron) = Cron::parse(&text, Some("Europe/Berlin")) {
                    let _ = (cron.after(at("2026-01-01T00:00Z")), cron.words());
                }
            }
            let _ = Cron::parse("0 0 * * *", Some(&zone));
        }
    }
}
