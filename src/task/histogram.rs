//! A histogram of durations.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

/// A histogram of durations.
///
/// It has four buckets for each doubling from 4 µs on, so a quantile is at most a quarter too long,
/// and below that one bucket for each microsecond. Serialises as the count and the quantiles 0.5,
/// 0.95 and 0.99 in seconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(into = "HistogramSummary")]
pub struct Histogram {
    counts: BTreeMap<u8, u64>,
}

/// The serialised form of a histogram.
#[derive(Serialize)]
struct HistogramSummary {
    count: u64,
    p50_s: Option<f64>,
    p95_s: Option<f64>,
    p99_s: Option<f64>,
}

impl From<Histogram> for HistogramSummary {
    fn from(histogram: Histogram) -> HistogramSummary {
        let quantile = |q| histogram.quantile(q).map(|length| length.as_secs_f64());
        HistogramSummary {
            count: histogram.count(),
            p50_s: quantile(0.5),
            p95_s: quantile(0.95),
            p99_s: quantile(0.99),
        }
    }
}

impl Histogram {
    /// How many durations were counted.
    pub fn count(&self) -> u64 {
        self.counts.values().fold(0, |sum, n| sum.saturating_add(*n))
    }

    /// A duration that the fraction `q` (0-1) of all does not exceed: the upper end of its bucket.
    /// None if nothing was counted.
    pub fn quantile(&self, q: f64) -> Option<Duration> {
        let wanted = (q.clamp(0.0, 1.0) * self.count() as f64).ceil().max(1.0) as u64;
        let mut seen = 0_u64;
        let reached = self.counts.iter().find(|(_, n)| {
            seen = seen.saturating_add(**n);
            seen >= wanted
        });
        reached.map(|(bucket, _)| upper_end(*bucket))
    }

    /// The buckets that are not empty: the upper end of each, and its count, shortest first.
    pub fn buckets(&self) -> impl Iterator<Item = (Duration, u64)> {
        self.counts.iter().map(|(bucket, n)| (upper_end(*bucket), *n))
    }

    /// Adds the counts of another histogram.
    pub fn merge(&mut self, other: &Histogram) {
        other.counts.iter().for_each(|(bucket, n)| self.add(*bucket, *n));
    }

    /// Counts `n` durations in a bucket.
    pub(crate) fn add(&mut self, bucket: u8, n: u64) {
        let count = self.counts.entry(bucket).or_default();
        *count = count.saturating_add(n);
    }
}

/// The bucket of an unknown duration. No duration falls into it: the highest bucket is 251.
pub(crate) const UNKNOWN: u8 = u8::MAX;

/// The bucket of a duration.
pub(crate) fn bucket_of(length: Duration) -> u8 {
    let micros = u64::try_from(length.as_micros()).unwrap_or(u64::MAX);
    if micros < 4 {
        return micros as u8;
    }
    let doublings = micros.ilog2(); // 2..=63
    let quarter = (micros >> (doublings - 2)) & 3;
    ((doublings - 1) * 4 + quarter as u32) as u8 // at most 251
}

/// The upper end of a bucket: the shortest duration beyond it.
fn upper_end(bucket: u8) -> Duration {
    let next = u32::from(bucket) + 1;
    let micros = match next {
        0..4 => u64::from(next),
        _ => (4 + u64::from(next % 4))
            .checked_shl(next / 4 - 1)
            .filter(|n| n.leading_zeros() < 63)
            .unwrap_or(u64::MAX),
    };
    Duration::from_micros(micros)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_bucket_ends_at_most_a_quarter_after_what_is_in_it(micros in 1_u64..1 << 60) {
            let length = Duration::from_micros(micros);
            let end = upper_end(bucket_of(length));
            prop_assert!(end > length && end.as_micros() <= u128::from(micros) * 5 / 4 + 1, "{length:?} {end:?}");
        }

        #[test]
        fn longer_lengths_are_never_in_earlier_buckets(a: u64, b: u64) {
            let [a, b] = [a.min(b), a.max(b)].map(Duration::from_micros);
            prop_assert!(bucket_of(a) <= bucket_of(b));
        }
    }

    #[test]
    fn quantiles_are_lengths_that_so_many_do_not_exceed() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.5), None);
        for ms in 1..=100 {
            histogram.add(bucket_of(Duration::from_millis(ms)), 1);
        }
        let within = |q: f64, ms: u64| {
            let found = histogram.quantile(q).unwrap().as_millis() as u64;
            assert!((ms..=ms * 5 / 4 + 1).contains(&found), "{q}: {found} ms, not {ms}");
        };
        within(0.0, 1);
        within(0.5, 50);
        within(0.95, 95);
        within(1.0, 100);
        assert_eq!(bucket_of(Duration::MAX), 251);
        assert!(upper_end(251) > Duration::from_secs(1 << 40));
    }
}
