//! The progress of a worker that ends when all is done, as a line for a terminal.

use std::time::Duration;

use crate::QueueCounts;
use crate::console::words::{number, span};

/// With fewer ended tasks no estimate is made.
const MIN_ENDS: u64 = 3;

/// The line: `120 of 1,000 done, 2 running, 3 failed, about 4 min left`.
pub(super) fn progress(before: &QueueCounts, now: &QueueCounts, took: Duration) -> String {
    let ended = |counts: &QueueCounts| [counts.succeeded, counts.failed, counts.cancelled, counts.lost];
    let done =
        ended(now).iter().zip(ended(before)).fold(0, |sum, (now, before)| sum + now.saturating_sub(before));
    let failed = (now.failed + now.lost).saturating_sub(before.failed + before.lost);
    let left = now.queued() + now.running;
    let mut text =
        format!("{} of {} done, {} running", number(done), number(done + left), number(now.running));
    if failed > 0 {
        text += &format!(", {} failed", number(failed));
    }
    if now.waiting > 0 {
        text += &format!(", {} waiting for their time", number(now.waiting));
    }
    if let Some(left) = estimate(done, left - now.waiting.min(left), took) {
        text += &format!(", about {} left", span(left));
    }
    text
}

/// How long the rest takes, at the speed so far; none with too few ends, or less than a second.
fn estimate(done: u64, left: u64, took: Duration) -> Option<Duration> {
    let each = took.as_secs_f64() / done as f64;
    let left = each * left as f64;
    (done >= MIN_ENDS && left >= 1.0).then(|| Duration::try_from_secs_f64(left.round()).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_is_estimated_by_what_is_done() {
        assert_eq!(estimate(100, 900, Duration::from_secs(10)), Some(Duration::from_secs(90)));
        assert_eq!(estimate(2, 900, Duration::from_secs(10)), None, "too few to say");
        assert_eq!(estimate(100, 1, Duration::from_secs(10)), None, "less than a second");
    }
}
