//! What attempts did lately, summed up for a page: by time and by task name. Pure.

use std::time::Duration;

use serde::Serialize;

use crate::Timestamp;
use crate::console::inspect::lately::Figures;
use crate::console::inspect::rollups;
use crate::inspect::{Histogram, Rollup};

/// How attempts ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AttemptKind {
    Succeeded,
    Retried,
    Failed,
    Lost,
    Cancelled,
}

impl AttemptKind {
    pub const ALL: [AttemptKind; 5] = [
        AttemptKind::Succeeded,
        AttemptKind::Retried,
        AttemptKind::Failed,
        AttemptKind::Lost,
        AttemptKind::Cancelled,
    ];

    pub fn word(self) -> &'static str {
        match self {
            AttemptKind::Succeeded => "succeeded",
            AttemptKind::Retried => "retried",
            AttemptKind::Failed => "failed",
            AttemptKind::Lost => "lost",
            AttemptKind::Cancelled => "cancelled",
        }
    }
}

/// How many attempts ended how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(super) struct OutcomeCounts {
    pub succeeded: u64,
    /// Failed or lost, and tried again.
    pub retried: u64,
    pub failed: u64,
    pub lost: u64,
    pub cancelled: u64,
}

impl OutcomeCounts {
    pub fn of(self, outcome: AttemptKind) -> u64 {
        match outcome {
            AttemptKind::Succeeded => self.succeeded,
            AttemptKind::Retried => self.retried,
            AttemptKind::Failed => self.failed,
            AttemptKind::Lost => self.lost,
            AttemptKind::Cancelled => self.cancelled,
        }
    }

    pub fn ended(self) -> u64 {
        self.sum(&AttemptKind::ALL)
    }

    pub fn sum(self, outcomes: &[AttemptKind]) -> u64 {
        outcomes.iter().fold(0, |sum, outcome| sum.saturating_add(self.of(*outcome)))
    }

    fn add(&mut self, more: OutcomeCounts) {
        for (sum, n) in [
            (&mut self.succeeded, more.succeeded),
            (&mut self.retried, more.retried),
            (&mut self.failed, more.failed),
            (&mut self.lost, more.lost),
            (&mut self.cancelled, more.cancelled),
        ] {
            *sum = sum.saturating_add(n);
        }
    }
}

impl From<&Rollup> for OutcomeCounts {
    fn from(rollup: &Rollup) -> OutcomeCounts {
        let Rollup { succeeded, retried, failed, lost, cancelled, .. } = *rollup;
        OutcomeCounts { succeeded, retried, failed, lost, cancelled }
    }
}

/// What attempts did over time.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Activity {
    /// How long a bar lasts.
    pub bar_s: u64,
    pub bars: Vec<Bar>,
    /// The time that the bars are about.
    pub from: Timestamp,
    pub to: Timestamp,
    pub sum: OutcomeCounts,
}

/// What attempts did in a part of the time.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Bar {
    pub from: Timestamp,
    #[serde(flatten)]
    pub outcomes: OutcomeCounts,
}

/// More bars than these are too thin to tell apart on a telephone.
const MAX_BARS: i64 = 98;

/// How many minutes a bar may last: lengths that divide an hour or a day.
const BAR_MINUTES: [i64; 9] = [1, 2, 5, 10, 15, 30, 60, 120, 240];

const MINUTE_MS: i64 = 60_000;

/// A picture of activity covers at least so long: a bar alone says nothing.
const MIN_SPAN: Duration = Duration::from_secs(15 * 60);

impl Activity {
    /// Activity over the part of a time in which attempts ended, so that five minutes of work are more than a thin bar at the edge of a day.
    pub fn over_data(rollups: &[Rollup], since: Timestamp, now: Timestamp) -> Activity {
        let minutes = || rollups.iter().filter(|rollup| rollup.ended() > 0).map(|rollup| rollup.minute);
        let Some((first, last)) = minutes().min().zip(minutes().max()) else {
            return Activity::new(rollups, since, now);
        };
        let to = last.saturating_add(Duration::from_secs(60)).max(first.saturating_add(MIN_SPAN)).min(now);
        let from = first.min(to.saturating_sub(MIN_SPAN)).max(since).min(to);
        Activity::new(rollups, from, to)
    }

    /// Sums rollups up to bars that begin at full steps; the first and the last may be cut short by the time looked at.
    pub fn new(rollups: &[Rollup], since: Timestamp, now: Timestamp) -> Activity {
        let minutes = now.since(since).as_secs() / 60 + 1;
        let fits = |step: &&i64| minutes.cast_signed() / **step < MAX_BARS - 1;
        let step_ms =
            BAR_MINUTES.iter().find(fits).unwrap_or(&BAR_MINUTES[BAR_MINUTES.len() - 1]) * MINUTE_MS;
        let first = since.as_millis().div_euclid(step_ms);
        let last = now.as_millis().div_euclid(step_ms).clamp(first, first + MAX_BARS - 1);
        let mut bars: Vec<Bar> = (first..=last)
            .map(|n| Bar { from: Timestamp::from_millis(n * step_ms), outcomes: OutcomeCounts::default() })
            .collect();
        let mut sum = OutcomeCounts::default();
        for rollup in rollups {
            let at = rollup.minute.as_millis().div_euclid(step_ms) - first;
            let bar = usize::try_from(at).ok().and_then(|at| bars.get_mut(at));
            if let Some(bar) = bar {
                bar.outcomes.add(rollup.into());
                sum.add(rollup.into());
            }
        }
        Activity { bar_s: step_ms.unsigned_abs() / 1000, bars, from: since, to: now, sum }
    }
}

/// What attempts of a task name did, and how long they took.
#[derive(Debug, Clone, Serialize)]
pub(super) struct NameFigures {
    pub task_name: String,
    #[serde(flatten)]
    pub outcomes: OutcomeCounts,
    /// How long handlers ran.
    pub ran: Distribution,
    /// How long tasks had been ready when they started.
    pub waited: Distribution,
}

/// How the newest tasks of a queue, or of a program, ended, and how long they ran.
#[derive(Debug, Clone, Serialize)]
pub(super) struct EndedFigures {
    pub name: String,
    pub ended: u64,
    pub succeeded: u64,
    pub failed: u64,
    pub lost: u64,
    pub cancelled: u64,
    #[serde(rename = "p50_s", serialize_with = "in_seconds")]
    pub p50: Option<Duration>,
    #[serde(rename = "p95_s", serialize_with = "in_seconds")]
    pub p95: Option<Duration>,
    #[serde(rename = "longest_s", serialize_with = "in_seconds")]
    pub longest: Option<Duration>,
}

impl From<&Figures> for EndedFigures {
    fn from(figures: &Figures) -> EndedFigures {
        let Figures { succeeded, failed, lost, cancelled, .. } = *figures;
        EndedFigures {
            name: figures.name.clone(),
            ended: figures.ended(),
            succeeded,
            failed,
            lost,
            cancelled,
            p50: figures.ran(0.5),
            p95: figures.ran(0.95),
            longest: figures.ran(1.0),
        }
    }
}

/// Lengths of time, counted in buckets of rising length.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Distribution {
    pub count: u64,
    #[serde(rename = "p50_s", serialize_with = "in_seconds")]
    pub p50: Option<Duration>,
    #[serde(rename = "p95_s", serialize_with = "in_seconds")]
    pub p95: Option<Duration>,
    #[serde(rename = "p99_s", serialize_with = "in_seconds")]
    pub p99: Option<Duration>,
    pub buckets: Vec<Bucket>,
}

/// `count` lengths that are shorter than `below`, and not shorter than the `below` of the bucket before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct Bucket {
    #[serde(rename = "below_s", serialize_with = "as_seconds")]
    pub below: Duration,
    pub count: u64,
}

impl From<&Histogram> for Distribution {
    fn from(histogram: &Histogram) -> Distribution {
        Distribution {
            count: histogram.count(),
            p50: histogram.quantile(0.5),
            p95: histogram.quantile(0.95),
            p99: histogram.quantile(0.99),
            buckets: histogram.buckets().map(|(below, count)| Bucket { below, count }).collect(),
        }
    }
}

/// Figures by task name, the busiest first.
pub(super) fn by_name(rollups: &[Rollup]) -> Vec<NameFigures> {
    let figures = rollups::by_name(rollups).into_iter().map(|sum| NameFigures {
        outcomes: OutcomeCounts::from(&sum),
        ran: Distribution::from(&sum.ran),
        waited: Distribution::from(&sum.waited),
        task_name: sum.task_name,
    });
    figures.collect()
}

fn in_seconds<S: serde::Serializer>(length: &Option<Duration>, s: S) -> Result<S::Ok, S::Error> {
    length.map(|length| length.as_secs_f64()).serialize(s)
}

fn as_seconds<S: serde::Serializer>(length: &Duration, s: S) -> Result<S::Ok, S::Error> {
    length.as_secs_f64().serialize(s)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::testing::{ManualClock, SteppedQueue};
    use crate::{Context, Failure, Queue, Task};

    #[derive(serde::Serialize, serde::Deserialize)]
    struct Walk {
        succeeds: bool,
    }

    impl Task for Walk {
        const NAME: &'static str = "walk";
        type Output = ();
    }

    /// What a real queue counts: 30 walks that take from 1 ms on, 10 minutes apart, each third of which fails.
    pub fn rollups() -> (Vec<Rollup>, Timestamp) {
        let clock = ManualClock::new();
        let time = clock.clone();
        let walk = move |walk: Walk, cx: &Context| {
            time.advance(Duration::from_millis(cx.id().as_i64().cast_unsigned()));
            if walk.succeeds { Ok(()) } else { Err(Failure::permanent("lost the way")) }
        };
        let mut queue = SteppedQueue::open(Queue::builder().handle(walk), &clock).unwrap();
        let begin = clock.now_is();
        for n in 1..=30 {
            let _ = queue.queue().enqueue(&Walk { succeeds: n % 3 > 0 }).unwrap();
            queue.run_until_idle().unwrap();
            queue.advance(Duration::from_secs(600)).unwrap();
        }
        (queue.queue().rollups(begin.to_system_time()).unwrap(), begin)
    }

    trait NowIs {
        fn now_is(&self) -> Timestamp;
    }

    impl NowIs for ManualClock {
        fn now_is(&self) -> Timestamp {
            crate::Clock::now(self)
        }
    }

    #[test]
    fn minutes_become_bars_and_none_is_lost() {
        let (rollups, begin) = rollups();
        for (hours, bar_s) in [(1, 60), (2, 120), (6, 300), (24, 900), (1000, 14_400)] {
            let activity =
                Activity::new(&rollups, begin, begin.saturating_add(Duration::from_secs(hours * 3600)));
            assert_eq!(activity.bar_s, bar_s, "{hours} h");
            assert!(activity.bars.len() <= MAX_BARS as usize, "{}", activity.bars.len());
            let shown: u64 = activity.bars.iter().map(|bar| bar.outcomes.ended()).sum();
            assert_eq!(shown, activity.sum.ended());
            assert_eq!(shown, 30.min(hours * 6 + u64::from(hours < 5)), "{hours} h");
        }
        let all = Activity::new(&rollups, begin, begin.saturating_add(Duration::from_secs(24 * 3600)));
        assert_eq!((all.sum.succeeded, all.sum.failed), (20, 10));
        assert_eq!(all.bars[0].from, begin);
        assert_eq!(all.bars[1].from, begin.saturating_add(Duration::from_secs(900)));
    }

    #[test]
    fn activity_is_shown_over_the_time_that_has_some() {
        let (rollups, begin) = rollups();
        let (s, day) = (Duration::from_secs, begin.saturating_add(Duration::from_secs(24 * 3600)));
        let minute = |rollup: &Rollup| rollup.minute.as_millis();
        let all = Activity::over_data(&rollups, begin.saturating_sub(s(3600)), day);
        assert_eq!((all.from, all.sum.ended()), (begin, 30));
        assert_eq!(all.to.as_millis(), rollups.iter().map(minute).max().unwrap() + 60_000);
        // One minute of work in a day: a quarter of an hour around it.
        let one = Activity::over_data(&rollups[..1], begin.saturating_sub(s(3600)), day);
        assert_eq!((one.from, one.to, one.bars.len()), (begin, begin.saturating_add(MIN_SPAN), 16));
        let now = begin.saturating_add(s(60));
        let one = Activity::over_data(&rollups[..1], begin.saturating_sub(s(3600)), now);
        assert_eq!((one.from, one.to), (now.saturating_sub(MIN_SPAN), now));
        let none = Activity::over_data(&[], begin, day);
        assert_eq!((none.from, none.to), (begin, day));
    }

    #[test]
    fn names_have_the_distributions_of_all_their_minutes() {
        let names = by_name(&rollups().0);
        assert_eq!(names.len(), 1);
        let walk = &names[0];
        assert_eq!((walk.task_name.as_str(), walk.outcomes.ended(), walk.ran.count), ("walk", 30, 30));
        assert_eq!(walk.ran.buckets.iter().map(|b| b.count).sum::<u64>(), 30);
        let p50 = walk.ran.p50.unwrap();
        assert!(p50 > Duration::from_millis(14) && p50 < Duration::from_millis(20), "{p50:?}");
        let json = serde_json::to_value(walk).unwrap();
        assert_eq!((&json["failed"], &json["ran"]["count"]), (&10.into(), &30.into()));
        assert!(json["ran"]["buckets"][0]["below_s"].as_f64().unwrap() > 0.001);
    }
}
