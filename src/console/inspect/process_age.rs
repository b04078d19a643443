//! When a process began, where the system tells (Linux).

#[cfg(target_os = "linux")]
use std::time::Duration;

use crate::Timestamp;

/// Clock ticks a second in `/proc/PID/stat`, on every machine.
#[cfg(target_os = "linux")]
const TICKS_A_SECOND: u64 = 100;

/// When a process began, to about a hundredth of a second; none where that cannot be known, or there is no such process.
#[cfg(target_os = "linux")]
pub(crate) fn began_at(process: u32, now: Timestamp) -> Option<Timestamp> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let uptime = std::fs::read_to_string("/proc/uptime").ok()?;
    Some(now.saturating_sub(age(&stat, &uptime)?))
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn began_at(_: u32, _: Timestamp) -> Option<Timestamp> {
    None
}

/// How long a process has been running, by the texts of `/proc/PID/stat` and `/proc/uptime`.
#[cfg(target_os = "linux")]
fn age(stat: &str, uptime: &str) -> Option<Duration> {
    // The name of the program is in brackets, and may have anything in it.
    let began: u64 = stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()?;
    let up: f64 = uptime.split_whitespace().next()?.parse().ok()?;
    let began = Duration::from_millis(began.checked_mul(1000)? / TICKS_A_SECOND);
    Some(Duration::try_from_secs_f64(up).ok()?.saturating_sub(began))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::{Clock, SystemClock};

    #[test]
    fn a_process_has_a_beginning() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 12345 1 1 1";
        assert_eq!(age(stat, "200.45 9.9\n"), Some(Duration::from_millis(77_000)));
        assert_eq!((age("7 (a) S 1", "200.45"), age(stat, "")), (None, None));
        let now = SystemClock::new().now();
        let began = began_at(std::process::id(), now).unwrap();
        assert!(began <= now && now.since(began) < Duration::from_secs(24 * 3600), "{began} {now}");
        assert_eq!(began_at(u32::MAX, now), None);
    }
}
