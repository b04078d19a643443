//! Numbers and times in words that a person reads.

use std::time::Duration;

use crate::Timestamp;

/// A length of time in its largest unit or two: `3.2 s`, `4 min 10 s`, `2 h 5 min`, `3 d 4 h`.
pub(crate) fn span(length: Duration) -> String {
    let ms = length.as_millis();
    let seconds = length.as_secs();
    let two = |large: u64, unit: &str, small: u64, part: &str| match small {
        0 => format!("{large} {unit}"),
        small => format!("{large} {unit} {small} {part}"),
    };
    match seconds {
        0 => format!("{ms} ms"),
        1..10 => format!("{}.{} s", seconds, length.subsec_millis() / 100),
        10..60 => format!("{seconds} s"),
        60..3_600 => two(seconds / 60, "min", seconds % 60, "s"),
        3_600..86_400 => two(seconds / 3_600, "h", seconds % 3_600 / 60, "min"),
        _ => two(seconds / 86_400, "d", seconds % 86_400 / 3_600, "h"),
    }
}

/// A measured length of time, with more digits if it is short: `310 µs`, `3.2 ms`, then as [`span`].
pub(crate) fn measured(length: Duration) -> String {
    match length.as_micros() {
        n @ 0..1_000 => format!("{n} µs"),
        n @ 1_000..10_000 => format!("{:.1} ms", n as f64 / 1_000.0),
        _ => span(length),
    }
}

/// A length of time in a few characters, for a column of a screen: `350ms`, `3.2s`, `12s`, `4m10s`, `2h05m`, `3d04h`.
#[cfg(feature = "tui")]
pub(crate) fn compact_span(length: Duration) -> String {
    let (ms, seconds) = (length.as_millis(), length.as_secs());
    match seconds {
        0 if ms == 0 && !length.is_zero() => format!("{}µs", length.as_micros()),
        0 => format!("{ms}ms"),
        1..10 => format!("{seconds}.{}s", length.subsec_millis() / 100),
        10..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{}h{:02}m", seconds / 3_600, seconds % 3_600 / 60),
        86_400..8_640_000 => format!("{}d{:02}h", seconds / 86_400, seconds % 86_400 / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// How long ago a moment is, or how soon: `5 s ago`, `in 2 min 3 s`, `now`.
pub(crate) fn distance(moment: Timestamp, now: Timestamp) -> String {
    match moment.cmp(&now) {
        std::cmp::Ordering::Less => format!("{} ago", span(now.since(moment))),
        std::cmp::Ordering::Equal => "now".to_owned(),
        std::cmp::Ordering::Greater => format!("in {}", span(moment.since(now))),
    }
}

/// A number of bytes: `312 B`, `4.0 KiB`, `1.2 GiB`.
pub(crate) fn bytes(n: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if n < 1024 {
        return format!("{n} B");
    }
    let (mut value, mut unit) = (n as f64 / 1024.0, 0);
    // What would be written as 1024.0 is 1.0 of the next unit.
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        (value, unit) = (value / 1024.0, unit + 1);
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// A number with its thousands apart: `1,234,567`.
pub(crate) fn number(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number in at most five characters (below 10^16): `9999`, `12.3k`, `4.5M`.
#[cfg(feature = "tui")]
pub(crate) fn compact_number(n: u64) -> String {
    let scaled = |by: u64, unit: char| {
        let tenths = n / (by / 10);
        if tenths < 1_000 {
            format!("{}.{}{unit}", tenths / 10, tenths % 10)
        } else {
            format!("{}{unit}", tenths / 10)
        }
    };
    match n {
        0..10_000 => n.to_string(),
        10_000..1_000_000 => scaled(1_000, 'k'),
        1_000_000..1_000_000_000 => scaled(1_000_000, 'M'),
        1_000_000_000..1_000_000_000_000 => scaled(1_000_000_000, 'G'),
        _ => scaled(1_000_000_000_000, 'T'),
    }
}

/// A number of things: `1 task`, `3 tasks`.
pub(crate) fn count(n: u64, thing: &str) -> String {
    format!("{} {thing}{}", number(n), if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_name_their_largest_units() {
        for (ms, text) in [
            (0, "0 ms"),
            (999, "999 ms"),
            (3_250, "3.2 s"),
            (59_999, "59 s"),
            (60_000, "1 min"),
            (250_000, "4 min 10 s"),
            (3_600_000, "1 h"),
            (7_500_000, "2 h 5 min"),
            (273_600_000, "3 d 4 h"),
        ] {
            assert_eq!(span(Duration::from_millis(ms)), text);
        }
    }

    #[test]
    fn short_measurements_keep_their_detail() {
        for (us, text) in
            [(0, "0 µs"), (999, "999 µs"), (3_240, "3.2 ms"), (10_000, "10 ms"), (3_250_000, "3.2 s")]
        {
            assert_eq!(measured(Duration::from_micros(us)), text);
        }
    }

    #[test]
    fn numbers_are_easy_to_read() {
        assert_eq!(
            (number(0), number(999), number(1_234_567)),
            ("0".into(), "999".into(), "1,234,567".into())
        );
        assert_eq!(
            (bytes(1023), bytes(4096), bytes(u64::MAX)),
            ("1023 B".into(), "4.0 KiB".into(), "16384.0 PiB".into())
        );
        assert_eq!(
            (bytes((1 << 30) - 1), bytes(1023 << 20)),
            ("1.0 GiB".to_owned(), "1023.0 MiB".to_owned())
        );
        assert_eq!((count(1, "task"), count(2_000, "task")), ("1 task".into(), "2,000 tasks".into()));
    }

    #[cfg(feature = "tui")]
    #[test]
    fn lengths_and_numbers_are_compact_span() {
        for (ms, text) in [
            (0, "0ms"),
            (3_250, "3.2s"),
            (59_000, "59s"),
            (250_000, "4m10s"),
            (7_500_000, "2h05m"),
            (273_600_000, "3d04h"),
            (u64::MAX / 1_000, "213503982d"),
        ] {
            assert_eq!(compact_span(Duration::from_millis(ms)), text);
        }
        for (n, text) in [
            (0, "0"),
            (9_999, "9999"),
            (12_345, "12.3k"),
            (999_999, "999k"),
            (4_500_000, "4.5M"),
            (123_400_000, "123M"),
            (u64::MAX, "18446744T"),
        ] {
            assert_eq!(compact_number(n), text);
        }
    }
}
