//! Rates by task name: attempts of the last minutes and of the last hour.

use std::collections::HashMap;
use std::time::Duration;

use crate::Timestamp;
use crate::console::inspect::rollups::by_name;
use crate::inspect::Rollup;

/// The minutes that are summed up, the current one included.
pub(super) const SHORT_MINUTES: u64 = 5;
pub(super) const LONG_MINUTES: u64 = 60;

const MINUTE_MS: i64 = 60_000;

/// One name's attempts over some minutes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Throughput {
    /// The sum of all rollups; none if there are none.
    pub sum: Option<Rollup>,
    /// The time that the sum covers.
    pub over: Duration,
}

/// One name's attempts, over the last minutes and the last hour.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Rates {
    pub name: String,
    pub short: Throughput,
    pub long: Throughput,
}

impl Throughput {
    fn since(now: Timestamp, minutes: u64) -> (Timestamp, Throughput) {
        let current = now.as_millis().div_euclid(MINUTE_MS);
        let first = current.saturating_sub_unsigned(minutes.saturating_sub(1));
        let since = Timestamp::from_millis(first.saturating_mul(MINUTE_MS));
        (since, Throughput { sum: None, over: now.since(since) })
    }

    /// Attempts that ended, a minute.
    pub fn a_minute(&self) -> f64 {
        let ended = self.sum.as_ref().map_or(0, Rollup::ended);
        let minutes = self.over.as_secs_f64() / 60.0;
        if minutes > 0.0 { ended as f64 / minutes } else { 0.0 }
    }

    /// The run time that the fraction `q` (0-1) of the attempts did not exceed.
    pub fn ran(&self, q: f64) -> Option<Duration> {
        self.sum.as_ref()?.ran.quantile(q)
    }

    pub fn waited(&self, q: f64) -> Option<Duration> {
        self.sum.as_ref()?.waited.quantile(q)
    }

    /// The part that did not succeed, from 0 to 1.
    pub fn bad(&self) -> Option<f64> {
        let sum = self.sum.as_ref()?;
        let bad = sum.retried.saturating_add(sum.failed).saturating_add(sum.lost);
        Some(bad as f64 / sum.ended().max(1) as f64)
    }
}

/// Rates by name, the busiest first.
pub(super) fn rates(rollups: &[Rollup], now: Timestamp) -> Vec<Rates> {
    let (short_since, short) = Throughput::since(now, SHORT_MINUTES);
    let (long_since, long) = Throughput::since(now, LONG_MINUTES);
    let sums = |since| by_name(rollups.iter().filter(move |rollup| rollup.minute >= since));
    let mut recent: HashMap<String, Rollup> =
        sums(short_since).into_iter().map(|sum| (sum.task_name.clone(), sum)).collect();
    let rates = sums(long_since).into_iter().map(|sum| Rates {
        name: sum.task_name.clone(),
        short: Throughput { sum: recent.remove(&sum.task_name), ..short },
        long: Throughput { sum: Some(sum), ..long },
    });
    let mut all: Vec<Rates> = rates.collect();
    let ended = |rate: &Throughput| rate.sum.as_ref().map_or(0, Rollup::ended);
    all.sort_by_key(|rates| (std::cmp::Reverse(ended(&rates.short)), std::cmp::Reverse(ended(&rates.long))));
    all
}
