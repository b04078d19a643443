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
    while value >= 1024.0 && unit + 1 < UNITS.len() {
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
    fn numbers_are_easy_to_read() {
        assert_eq!(
            (number(0), number(999), number(1_234_567)),
            ("0".into(), "999".into(), "1,234,567".into())
        );
        assert_eq!(
            (bytes(1023), bytes(4096), bytes(u64::MAX)),
            ("1023 B".into(), "4.0 KiB".into(), "16384.0 PiB".into())
        );
        assert_eq!((count(1, "task"), count(2_000, "task")), ("1 task".into(), "2,000 tasks".into()));
    }
}
