//! What is known of a queue: what bounds it, and what keeps its tasks back on purpose.

use crate::console::words::distance;
#[cfg(any(feature = "report", feature = "tui"))]
use crate::console::words::number;
use crate::{QueueCounts, Timestamp};

/// What keeps all that is ready in a queue from starting, in a word or two.
pub(crate) fn note(counts: &QueueCounts, now: Timestamp) -> Option<String> {
    if counts.paused {
        Some("paused".to_owned())
    } else if let Some(until) = counts.closed_until {
        Some(format!("opens {}", distance(until, now)))
    } else if counts.not_served {
        Some("not served".to_owned())
    } else {
        (is_full(counts) && counts.ready > 0).then(|| "full".to_owned())
    }
}

/// How many of its tasks wait for something else than their time.
pub(crate) fn held(counts: &QueueCounts) -> u64 {
    [counts.unknown_name, counts.limited, counts.unmet].into_iter().fold(counts.held, u64::saturating_add)
}

/// Its limit and its rate, if it has any: `limit 2, rate 50/1m`.
#[cfg(any(feature = "report", feature = "tui"))]
pub(crate) fn bounds(counts: &QueueCounts) -> Option<String> {
    let limit = counts.limit.map(|limit| format!("limit {limit}"));
    let rate = counts.rate.map(|rate| format!("rate {rate}"));
    let bounds: Vec<String> = limit.into_iter().chain(rate).collect();
    (!bounds.is_empty()).then(|| bounds.join(", "))
}

/// How many of its tasks wait for a permit of their key, if any do.
#[cfg(any(feature = "report", feature = "tui"))]
pub(crate) fn by_key(counts: &QueueCounts) -> Option<String> {
    (counts.limited > 0).then(|| format!("{} held by key", number(counts.limited)))
}

/// Whether what is ready in it waits because somebody wants it so.
pub(crate) fn waits_on_purpose(counts: &QueueCounts) -> bool {
    counts.paused || counts.closed_until.is_some() || counts.rate.is_some() || is_full(counts)
}

fn is_full(counts: &QueueCounts) -> bool {
    counts.limit.is_some_and(|limit| counts.running >= u64::from(limit))
}
