//! Which ticks of a schedule fire now, however long ago that was last asked.

use std::time::Duration;

use super::definition::Definition;
use super::rules::Missed;
use super::ticks::TickSeries;
use crate::planted::planted;
use crate::task::Timestamp;

/// A tick that is fired later than this after its time was missed. The timer fires within seconds, and within a minute after a
/// sleep of the machine.
const LATE: Duration = Duration::from_secs(60);

/// A tick that lies further ahead than this was written by a clock that was wrong.
pub(crate) const DAY: Duration = Duration::from_secs(86_400);

/// Missed ticks of a pattern are counted up to so many at a time: to count them all, each would have to be computed.
const MAX_COUNTED: u64 = 1000;

/// How far a schedule has come.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Standing {
    /// No tick up to this one fires (again).
    pub last: Timestamp,
    /// The highest tick that ever fired.
    pub highest: Option<Timestamp>,
    pub next: Option<Timestamp>,
}

/// What is due.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct DueTicks {
    /// Ticks that fire, in their order.
    pub fire: Vec<Timestamp>,
    /// Ticks that were missed and do not fire.
    pub missed: u64,
    /// How far it has come then.
    pub standing: Standing,
}

/// Whether a tick that falls due at this time is fired in its time.
pub(crate) fn on_time(due: Timestamp, now: Timestamp) -> bool {
    now.since(due) <= LATE
}

impl Standing {
    /// A schedule that begins now. The highest tick that fired is kept: it may come again.
    pub(crate) fn begin(
        definition: &Definition,
        ticks: &TickSeries,
        highest: Option<Timestamp>,
        now: Timestamp,
    ) -> Standing {
        Standing { last: now, highest, next: definition.within(ticks.first(now)) }
    }

    /// A schedule that goes on after a pause. The ticks during the pause count neither as fired nor as missed.
    pub(crate) fn resume(&self, definition: &Definition, ticks: &TickSeries, now: Timestamp) -> Standing {
        let (last, next) = match ticks {
            TickSeries::AfterEnd(_) => (self.last, self.next.map(|next| next.max(now))),
            TickSeries::Every(_) => {
                let last = ticks.newest(self.last, now);
                (last, ticks.after(last))
            }
            #[cfg(feature = "cron")]
            TickSeries::Cron(_) => {
                let last = self.last.max(now);
                (last, ticks.after(last))
            }
        };
        Standing { last, next: definition.within(next), ..*self }
    }
}

impl Definition {
    /// What is due. `fires_at` says when a tick falls due that has a jitter.
    pub(crate) fn due(
        &self,
        ticks: &TickSeries,
        standing: Standing,
        fires_at: impl Fn(Timestamp) -> Timestamp,
        now: Timestamp,
    ) -> DueTicks {
        let nothing = |standing| DueTicks { fire: Vec::new(), missed: 0, standing };
        let Some(first) = self.within(standing.next) else {
            return nothing(Standing { next: None, ..standing });
        };
        if first <= standing.last {
            let next = match ticks {
                TickSeries::AfterEnd(_) => Some(standing.last.saturating_add(Duration::from_millis(1))),
                _ => ticks.after(standing.last),
            };
            let next = self.within(next);
            return nothing(Standing { next, ..standing });
        }
        if fires_at(first) > now {
            return nothing(standing);
        }
        let end = self.until().map_or(now, |until| until.min(now));
        let mut newest = ticks.newest(first, end.saturating_sub(self.jitter()));
        let mut next = self.within(ticks.after(newest));
        while let Some(tick) = next.filter(|tick| fires_at(*tick) <= now) {
            (newest, next) = (tick, self.within(ticks.after(tick)));
        }
        let mut fire = self.wanted(ticks, first, newest, &fires_at, now);
        let due = ticks.count(first, newest, MAX_COUNTED);
        let missed = due.saturating_sub(fire.len() as u64);
        let has_fired = |tick: &Timestamp| {
            let highest =
                standing.highest.filter(|_| !planted("g15-ticks-come-again-when-the-clock-is-set-back"));
            highest.is_some_and(|highest| *tick <= highest && highest <= now.saturating_add(DAY))
        };
        fire.retain(|tick| !has_fired(tick));
        let highest = standing.highest.into_iter().chain(fire.last().copied()).max();
        DueTicks { fire, missed, standing: Standing { last: newest, highest, next } }
    }

    /// Those of the due ticks that are to fire.
    fn wanted(
        &self,
        ticks: &TickSeries,
        first: Timestamp,
        newest: Timestamp,
        fires_at: &impl Fn(Timestamp) -> Timestamp,
        now: Timestamp,
    ) -> Vec<Timestamp> {
        let is_young = |tick: Timestamp, grace: Duration| {
            let due = fires_at(tick);
            on_time(due, now) || now.since(due) <= grace || planted("g15-missed-ticks-have-no-grace")
        };
        match self.missed {
            _ if matches!(ticks, TickSeries::AfterEnd(_)) => vec![newest],
            Missed::Skip => vec![newest].into_iter().filter(|tick| is_young(*tick, Duration::ZERO)).collect(),
            Missed::Latest => {
                let period = ticks.after(newest).map_or(DAY, |after| after.since(newest));
                let grace = self.grace().unwrap_or(period.min(DAY));
                vec![newest].into_iter().filter(|tick| is_young(*tick, grace)).collect()
            }
            Missed::All { cap } => {
                let mut wanted = vec![newest];
                let mut tick = newest;
                while wanted.len() < cap as usize && tick > first {
                    tick = before(ticks, tick, first);
                    wanted.push(tick);
                }
                let grace = self.grace().unwrap_or(Duration::MAX);
                wanted.retain(|tick| is_young(*tick, grace));
                wanted.reverse();
                wanted
            }
        }
    }
}

/// The tick before this one; `first` is one, and lies before it.
fn before(ticks: &TickSeries, tick: Timestamp, first: Timestamp) -> Timestamp {
    let a_little_before = tick.saturating_sub(Duration::from_millis(1));
    if let TickSeries::Every(_) = ticks {
        return ticks.newest(first, a_little_before);
    }
    // Twice as far back each time, until a tick lies between: so the search is short where ticks are close to each other.
    let mut back = Duration::from_secs(1);
    loop {
        let from = tick.saturating_sub(back);
        if from <= first {
            return ticks.newest(first, a_little_before);
        }
        match ticks.after(from).filter(|found| *found < tick) {
            Some(found) => return ticks.newest(found, a_little_before),
            None => back = back.saturating_mul(2),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::declare::Schedule;
    use super::super::rules::Overlap;
    use super::*;
    use crate::config::Config;
    use crate::task::Options;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    fn define(schedule: &Schedule) -> (Definition, TickSeries) {
        let options = (("task", 1), Options::new());
        let definition =
            schedule.define(options.0, options.1, &Config::default(), |_| [0; 16], at(0)).unwrap();
        Definition::parse(&definition.text().unwrap()).unwrap()
    }

    fn schedules() -> impl Strategy<Value = Schedule> {
        let missed = prop_oneof![
            Just(Missed::Latest),
            Just(Missed::Skip),
            (1_u32..6).prop_map(|cap| Missed::All { cap })
        ];
        #[cfg_attr(not(feature = "cron"), expect(unused_mut, reason = "there are no patterns"))]
        let mut all = vec![
            Schedule::every("s", Duration::from_secs(7)),
            Schedule::every("s", Duration::from_secs(540)),
        ];
        #[cfg(feature = "cron")]
        for pattern in ["*/7 * * * * *", "* * * * *", "0 */3 * * *", "15,45 30 2,14 * * *"] {
            all.push(Schedule::cron("s", pattern).time_zone("Europe/Berlin"));
        }
        let rhythm = prop::sample::select(all);
        let until = prop::option::of(0_i64..200_000_000);
        (rhythm, missed, prop::option::of(0_u64..4000), 0_u64..2, until).prop_map(
            |(schedule, missed, grace, jitter, until)| {
                let schedule =
                    schedule.missed(missed).overlap(Overlap::Allow).jitter(Duration::from_secs(jitter));
                let schedule = grace.map_or(schedule.clone(), |s| schedule.grace(Duration::from_secs(s)));
                until.map_or(schedule.clone(), |ms| schedule.until(at(ms)))
            },
        )
    }

    proptest! {
        /// Whenever it is asked, ticks fire in rising order, once and not before their time, and each tick either fires or counts as missed.
        #[test]
        fn g15_ticks_fire_in_their_order_once_and_never_before_their_time(
            schedule in schedules(), sleeps in prop::collection::vec(1_i64..20_000_000, 1..12),
        ) {
            let (definition, ticks) = define(&schedule);
            let fires_at = |tick: Timestamp| tick.saturating_add(definition.delay(&[7; 16], "s", tick));
            let mut standing = Standing::begin(&definition, &ticks, None, at(0));
            let (mut now, mut last_fired) = (0, None);
            for sleep in sleeps {
                now += sleep;
                let before = standing;
                let due = definition.due(&ticks, before, fires_at, at(now));
                for tick in &due.fire {
                    prop_assert!(fires_at(*tick) <= at(now) && last_fired < Some(*tick), "{tick}");
                    prop_assert!(definition.until().is_none_or(|until| *tick <= until));
                    last_fired = Some(*tick);
                }
                standing = due.standing;
                prop_assert!(standing.next.is_none_or(|next| fires_at(next) > at(now)), "it is still due");
                // One after the other, counted by hand.
                let (mut n, mut tick) = (0_u64, before.next);
                while let Some(t) = tick.filter(|t| fires_at(*t) <= at(now) && n < 1500) {
                    (n, tick) = (n + 1, definition.within(ticks.after(t)));
                }
                if n < MAX_COUNTED {
                    prop_assert_eq!(due.fire.len() as u64 + due.missed, n);
                    prop_assert_eq!(standing.next, tick);
                }
                let most = match definition.missed { Missed::All { cap } => cap as usize, _ => 1 };
                prop_assert!(due.fire.len() <= most);
            }
        }

        /// If it is asked often enough, each tick fires.
        #[test]
        fn g15_no_tick_is_lost_while_somebody_executes(period in 1_u64..100, looks in prop::collection::vec(1_i64..1000, 1..200)) {
            let (definition, ticks) = define(&Schedule::every("s", Duration::from_secs(period)).missed(Missed::Skip));
            let mut standing = Standing::begin(&definition, &ticks, None, at(0));
            let (mut now, mut fired) = (0, 0);
            for look in looks {
                now += look;
                let due = definition.due(&ticks, standing, |tick| tick, at(now));
                prop_assert_eq!(due.missed, 0);
                fired += due.fire.len() as i64;
                standing = due.standing;
            }
            prop_assert_eq!(fired, now / 1000 / i64::try_from(period).unwrap());
        }
    }
}
