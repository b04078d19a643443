//! Charts as SVG. Pure.
//!
//! Across, everything is in percent of the width, so a chart fills what room it gets and its text keeps its size; down, it is in pixels.
//! Colours and patterns are the style sheet's, by class; each bar says in words what it shows (`<title>`).

use std::time::Duration;

use maud::{Markup, html};

use super::sums::{Activity, AttemptKind, Bar, Distribution, OutcomeCounts};
use super::words::{self, local};
use crate::console::words::{count, measured, number, span};

/// The space above the highest bar, in pixels.
const TOP_MARGIN: f64 = 10.0;
/// The part of its slot that a bar covers.
const BAR_FILL: f64 = 0.82;
/// The least height of a bar that stands for something, in pixels: a lower one would not be seen.
const MIN_BAR_HEIGHT: f64 = 1.5;

/// How high a plot is, in pixels.
#[derive(Debug, Clone, Copy)]
pub(super) struct Height(pub f64);

/// Bars over time, stacked by how attempts ended.
pub(super) fn stacked(activity: &Activity, outcomes: &[AttemptKind], height: Height, label: &str) -> Markup {
    let most = activity.bars.iter().map(|bar| bar.outcomes.sum(outcomes)).max().unwrap_or(0);
    let top = nice(most);
    let slot = 100.0 / activity.bars.len().max(1) as f64;
    let bottom = TOP_MARGIN + height.0;
    html! {
        svg.plot role="img" aria-label=(label) width="100%" height=(px(bottom + 20.0)) {
            @for (part, of) in [(0.0, "base"), (0.5, "grid"), (1.0, "grid")] {
                line class=(of) x1="0" x2="100%" y1=(px(bottom - part * height.0)) y2=(px(bottom - part * height.0)) {}
            }
            @for (n, bar) in activity.bars.iter().enumerate() {
                g.bar {
                    title { (words_of(bar, activity.bar_s, outcomes)) }
                    rect.hit x=(percent(n as f64 * slot)) width=(percent(slot)) y=(px(TOP_MARGIN)) height=(px(height.0)) {}
                    @for (outcome, from, to) in piled(bar.outcomes, outcomes, top, height) {
                        rect class=(outcome.word()) x=(percent((n as f64 + (1.0 - BAR_FILL) / 2.0) * slot)) width=(percent(slot * BAR_FILL))
                            y=(px(bottom - to)) height=(px(to - from)) {}
                    }
                }
            }
            @for part in [0.0, 0.5, 1.0] {
                text.tick x="-8" y=(px(bottom - part * height.0 + 4.0)) text-anchor="end" { (number((top as f64 * part) as u64)) }
            }
            (hours(activity, slot, bottom))
        }
    }
}

/// The parts of a bar from the ground up, in pixels above it.
fn piled(
    outcomes: OutcomeCounts,
    order: &[AttemptKind],
    top: u64,
    height: Height,
) -> impl Iterator<Item = (AttemptKind, f64, f64)> {
    let mut from = 0.0;
    order.iter().filter(move |outcome| outcomes.of(**outcome) > 0).map(move |outcome| {
        let to = from + (outcomes.of(*outcome) as f64 / top as f64 * height.0).max(MIN_BAR_HEIGHT);
        (*outcome, std::mem::replace(&mut from, to), to)
    })
}

fn words_of(bar: &Bar, bar_s: u64, order: &[AttemptKind]) -> String {
    let parts = order.iter().filter(|outcome| bar.outcomes.of(**outcome) > 0);
    let parts: Vec<_> =
        parts.map(|outcome| format!("{} {}", number(bar.outcomes.of(*outcome)), outcome.word())).collect();
    let length = span(Duration::from_secs(bar_s));
    let what = if parts.is_empty() { "nothing".to_owned() } else { parts.join(", ") };
    format!("{} UTC, {length}: {what}", words::minute(bar.from))
}

/// The most time labels below the bars; they are at round hours or minutes.
const MAX_TIME_LABELS: u64 = 7;

/// How far apart the time labels may be, in minutes.
const TIMES_APART: [u64; 12] = [5, 10, 15, 30, 60, 120, 180, 240, 360, 720, 1440, 10_080];

fn hours(activity: &Activity, slot: f64, bottom: f64) -> Markup {
    let minutes = activity.bars.len() as u64 * activity.bar_s / 60;
    let apart = TIMES_APART.into_iter().find(|apart| minutes / apart < MAX_TIME_LABELS).unwrap_or(minutes);
    let round = |bar: &Bar| bar.from.as_millis().rem_euclid((apart * 60_000).max(1).cast_signed()) == 0;
    let last = activity.bars.len().saturating_sub(1) as f64 * slot;
    html! {
        @for (n, bar) in activity.bars.iter().enumerate().filter(|(_, bar)| round(bar)) {
            @let x = n as f64 * slot;
            line.grid x1=(percent(x)) x2=(percent(x)) y1=(px(bottom)) y2=(px(bottom + 5.0)) {}
            @if x < 96.0_f64.min(last) {
                text.tick x=(percent(x)) y=(px(bottom + 17.0)) data-clock=(bar.from) { (words::clock(bar.from)) }
            }
        }
    }
}

/// The first number of an axis that is no smaller: 2, 4, 6 or 10 times a power of ten, so that its half is whole, too.
fn nice(most: u64) -> u64 {
    let powers = (0..20).map(|n| 10_u64.saturating_pow(n));
    powers.flat_map(|p| [2, 4, 6, 10].map(|n: u64| n.saturating_mul(p))).find(|n| *n >= most).unwrap_or(most)
}

/// The lengths of time that an axis reaches over: powers of ten, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Scale {
    from: i32,
    to: i32,
}

impl Scale {
    /// One scale for all distributions, so that they can be compared. The shortest 1 % of a distribution does not stretch it.
    pub fn of<'d>(all: impl Iterator<Item = &'d Distribution>) -> Scale {
        let (mut from, mut to) = (f64::MAX, f64::MIN);
        for d in all {
            let mut shorter = 0;
            let counts = d.buckets.iter().find(|bucket| {
                shorter += bucket.count;
                shorter.saturating_mul(100) > d.count
            });
            from = counts.map_or(from, |bucket| from.min(micros(bucket_begin(bucket.below)).log10()));
            to = d.buckets.last().map_or(to, |bucket| to.max(micros(bucket.below).log10()));
        }
        if from > to {
            return Scale { from: 0, to: 1 };
        }
        let from = from.floor() as i32;
        Scale { from, to: (to.ceil() as i32).max(from + 1) }
    }

    /// Where a length is, in percent.
    fn at(self, length: Duration) -> f64 {
        let decades = micros(length).log10() - f64::from(self.from);
        (decades / f64::from(self.to - self.from) * 100.0).clamp(0.0, 100.0)
    }

    fn decades(self) -> impl Iterator<Item = Duration> {
        (self.from..=self.to).map(|n| Duration::from_micros(10_u64.saturating_pow(n.unsigned_abs())))
    }

    /// The axis of all charts of this scale: its ends, and what is between them as far as there is room.
    pub fn axis(self) -> Markup {
        let all: Vec<_> = self.decades().collect();
        let last = all.len() - 1;
        let every = last.div_ceil(2).max(1);
        let named = |n: &usize| *n == last || (n.is_multiple_of(every) && n + every <= last);
        let anchor = |n| {
            if n == 0 {
                "start"
            } else if n == last {
                "end"
            } else {
                "middle"
            }
        };
        html! {
            svg.axis aria-hidden="true" width="100%" height="16" {
                @for n in (0..=last).filter(named) {
                    text.tick x=(percent(self.at(all[n]))) y="12" text-anchor=(anchor(n)) { (power(all[n])) }
                }
            }
        }
    }
}

/// A power of ten of time: `100 µs`, `10 ms`, `1,000 s`.
fn power(length: Duration) -> String {
    match length.as_micros() {
        n @ 0..1_000 => format!("{n} µs"),
        n @ 1_000..1_000_000 => format!("{} ms", n / 1_000),
        _ => format!("{} s", number(length.as_secs())),
    }
}

fn micros(length: Duration) -> f64 {
    (length.as_secs_f64() * 1e6).max(1.0)
}

/// How long something took: bars by length on a logarithmic scale, and lines at p50, p95 and p99.
pub(super) fn distribution(d: &Distribution, scale: Scale, what: &str) -> Markup {
    const HEIGHT: f64 = 34.0;
    let most = d.buckets.iter().map(|bucket| bucket.count).max().unwrap_or(1).max(1);
    let quantiles = [(d.p50, "p50"), (d.p95, "p95"), (d.p99, "p99")];
    let label = quantiles.iter().filter_map(|(at, name)| Some(format!("{name} {}", measured((*at)?))));
    let label = format!("{what}: {}, {}", count(d.count, "attempt"), label.collect::<Vec<_>>().join(", "));
    html! {
        svg.dist role="img" aria-label=(label) width="100%" height=(px(HEIGHT + 4.0)) {
            @for decade in scale.decades() {
                line.grid x1=(percent(scale.at(decade))) x2=(percent(scale.at(decade))) y1="2" y2=(px(HEIGHT + 2.0)) {}
            }
            @for bucket in d.buckets.iter().filter(|bucket| scale.at(bucket.below) > 0.0) {
                @let (from, to) = (scale.at(bucket_begin(bucket.below)), scale.at(bucket.below));
                @let high = (bucket.count as f64 / most as f64 * (HEIGHT - 4.0)).max(MIN_BAR_HEIGHT);
                g.bar {
                    title {
                        (measured(bucket_begin(bucket.below))) " to " (measured(bucket.below)) ": " (count(bucket.count, "attempt"))
                    }
                    rect.hit x=(percent(from)) width=(percent(to - from)) y="2" height=(px(HEIGHT)) {}
                    rect.length x=(percent(from)) width=(percent((to - from) * 0.92)) y=(px(HEIGHT + 2.0 - high)) height=(px(high)) {}
                }
            }
            line.base x1="0" x2="100%" y1=(px(HEIGHT + 2.0)) y2=(px(HEIGHT + 2.0)) {}
            @for (at, name) in quantiles.iter().filter_map(|(at, name)| Some(((*at)?, *name))) {
                line class=(name) x1=(percent(scale.at(at))) x2=(percent(scale.at(at))) y1="0" y2=(px(HEIGHT + 2.0)) {}
            }
        }
    }
}

/// The lower bound of a bucket: the end of the one before it. Four buckets double a length.
fn bucket_begin(below: Duration) -> Duration {
    let micros = u64::try_from(below.as_micros()).unwrap_or(u64::MAX);
    match micros {
        0..=4 => Duration::from_micros(micros.saturating_sub(1)),
        _ => {
            let doubling = 1 << (micros - 1).ilog2(); // the bucket's own
            Duration::from_micros(micros - (doubling / 4).max(1))
        }
    }
}

/// What the bars of a chart mean, with how many there were in all.
pub(super) fn legend(sum: OutcomeCounts) -> Markup {
    html! {
        ul.legend {
            @for outcome in AttemptKind::ALL {
                li {
                    svg.swatch aria-hidden="true" width="22" height="14" { rect class=(outcome.word()) width="22" height="14" {} }
                    (outcome.word()) " " b.n { (number(sum.of(outcome))) }
                }
            }
        }
    }
}

/// The patterns that tell outcomes apart without colour.
pub(super) fn patterns() -> Markup {
    html! {
        svg.patterns aria-hidden="true" width="0" height="0" {
            defs {
                pattern id="hatch-retried" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)" {
                    rect.ground width="6" height="6" {} rect.ink width="2.6" height="6" {}
                }
                pattern id="dots-lost" width="5" height="5" patternUnits="userSpaceOnUse" {
                    rect.ground width="5" height="5" {} circle.ink cx="2.5" cy="2.5" r="1.6" {}
                }
                pattern id="lines-cancelled" width="4" height="4" patternUnits="userSpaceOnUse" {
                    rect.ground width="4" height="4" {} rect.ink width="4" height="1.6" {}
                }
            }
        }
    }
}

/// The numbers behind the bars, for those who read them; times in which nothing ended are left out.
pub(super) fn numbers(activity: &Activity) -> Markup {
    html! {
        details.numbers {
            summary { "The numbers behind the bars" }
            div.scroll tabindex="0" role="region" aria-label="The numbers behind the bars" {
                table data-fixed {
                    thead { tr {
                        th scope="col" { "From" }
                        @for outcome in AttemptKind::ALL { th.num scope="col" { (outcome.word()) } }
                    } }
                    tbody {
                        @for bar in activity.bars.iter().filter(|bar| bar.outcomes.ended() > 0) {
                            tr {
                                td { (local(bar.from)) }
                                @for outcome in AttemptKind::ALL { td.num { (number(bar.outcomes.of(outcome))) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn px(y: f64) -> String {
    short(y)
}

fn percent(x: f64) -> String {
    format!("{}%", short(x))
}

/// Two decimals at most: a page has thousands of numbers.
fn short(n: f64) -> String {
    let text = format!("{n:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::sums::{Bucket, by_name, tests::rollups};
    use super::*;

    #[test]
    fn half_of_the_highest_number_of_an_axis_is_whole_too() {
        for (most, top) in [
            (0, 2),
            (1, 2),
            (3, 4),
            (5, 6),
            (7, 10),
            (10, 10),
            (11, 20),
            (41, 60),
            (601, 1000),
            (u64::MAX, u64::MAX),
        ] {
            assert_eq!(nice(most), top, "{most}");
        }
    }

    #[test]
    fn a_pile_is_as_high_as_its_sum_and_its_parts_touch() {
        let outcomes = OutcomeCounts { succeeded: 60, retried: 0, failed: 30, lost: 0, cancelled: 10 };
        let parts: Vec<_> = piled(outcomes, &AttemptKind::ALL, 200, Height(100.0)).collect();
        assert_eq!(
            parts,
            [
                (AttemptKind::Succeeded, 0.0, 30.0),
                (AttemptKind::Failed, 30.0, 45.0),
                (AttemptKind::Cancelled, 45.0, 50.0)
            ]
        );
        let one = OutcomeCounts { failed: 1, ..OutcomeCounts::default() };
        let parts: Vec<_> = piled(one, &AttemptKind::ALL, 1_000_000, Height(100.0)).collect();
        assert_eq!(parts, [(AttemptKind::Failed, 0.0, MIN_BAR_HEIGHT)], "one in a million can be seen");
    }

    #[test]
    fn a_scale_reaches_over_all_buckets_and_they_do_not_overlap() {
        let (rollups, _) = rollups();
        let names = by_name(&rollups);
        let scale = Scale::of(names.iter().map(|name| &name.ran));
        assert_eq!(scale, Scale { from: 2, to: 5 }, "0.1 to 100 ms for 1 to 30 ms");
        let mut last = 0.0;
        for bucket in &names[0].ran.buckets {
            let [from, to] = [bucket_begin(bucket.below), bucket.below].map(|end| scale.at(end));
            assert!(last <= from + 1e-9 && from < to && to <= 100.0, "{last} {from} {to}");
            last = to;
        }
        assert_eq!(Scale::of(std::iter::empty()), Scale { from: 0, to: 1 });
        let one = Bucket { below: Duration::from_micros(1), count: 1 };
        let many = Bucket { below: Duration::from_millis(8), count: 999 };
        let outlier = Distribution { count: 1000, buckets: vec![one, many], ..Distribution::default() };
        assert_eq!(Scale::of([&outlier].into_iter()), Scale { from: 3, to: 4 });
    }

    #[test]
    fn a_bucket_begins_where_the_one_before_ends() {
        let ends = [1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32].map(Duration::from_micros);
        let late = [64, 80, 96, 112, 128].map(|n| Duration::from_micros(n << 20));
        for pair in ends.windows(2).chain(late.windows(2)) {
            assert_eq!(bucket_begin(pair[1]), pair[0]);
        }
    }

    #[test]
    fn every_bar_says_what_it_shows() {
        let (rollups, begin) = rollups();
        let activity = Activity::new(&rollups, begin, begin.saturating_add(Duration::from_secs(6 * 3600)));
        let svg = stacked(&activity, &AttemptKind::ALL, Height(100.0), "attempts").into_string();
        assert_eq!(svg.matches("<title>").count(), activity.bars.len());
        assert!(svg.contains("<title>2026-01-01 00:00 UTC, 5 min: 1 succeeded</title>"), "{svg}");
        assert!(svg.contains("5 min: nothing</title>"));
        assert_eq!(svg.matches("class=\"failed\"").count(), 10);
        let drawn =
            distribution(&by_name(&rollups)[0].ran, Scale { from: 2, to: 5 }, "run time").into_string();
        assert!(drawn.contains("run time: 30 attempts, p50 "), "{drawn}");
        assert!(
            ["p50", "p95", "p99"].iter().all(|q| drawn.contains(&format!("<line class=\"{q}\""))),
            "{drawn}"
        );
    }
}
