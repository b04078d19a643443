//! Bounds of queues in the model: limits, rates, and closures by handlers.
//!
//! The state of a rate is one number: the theoretical arrival time, at which the next task would
//! start if starts were evenly spread. A burst may start earlier.

use std::time::Duration;

use super::life::Model;
use super::{ModelTask, Workload};
use crate::task::{Hold, Rate, State, Timestamp};

/// Limit, rate, and until when the queue is closed.
type ShownQueue = (Option<u32>, Option<Rate>, Option<Timestamp>);

/// The bounds of the starts of a queue.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct ModelBounds {
    /// Tasks that may run at once.
    pub limit: Option<u32>,
    /// A rate, and its theoretical arrival time in microseconds.
    pub rate: Option<(Rate, i128)>,
    /// From when until when it is closed.
    pub closed: Option<(Timestamp, Timestamp)>,
}

impl ModelBounds {
    pub(super) fn is_any(&self) -> bool {
        *self != ModelBounds::default()
    }

    /// Whether rate or closure let nothing start now.
    fn is_shut(&self, now: Timestamp) -> bool {
        let is_spent = |(rate, arrival): (Rate, i128)| arrival - burst(&rate) > micros(now);
        self.closed.is_some_and(|(since, until)| since > now || until > now)
            || self.rate.is_some_and(is_spent)
    }

    /// Corrects the bounds if the clock has jumped back: a closure begins again, and a rate opens
    /// after at most one interval.
    fn mended(&self, now: Timestamp) -> ModelBounds {
        let again = |(since, until): (Timestamp, Timestamp)| match since > now {
            true => (now, now.saturating_add(until.since(since))),
            false => (since, until),
        };
        ModelBounds {
            rate: self.rate.map(|(rate, arrival)| (rate, arrival.min(latest(&rate, now)))),
            closed: self.closed.map(again),
            ..*self
        }
    }
}

impl<W: Workload> Model<W> {
    pub(super) fn bounds(&self, queue: &str) -> ModelBounds {
        self.bounds.get(queue).copied().unwrap_or_default()
    }

    fn bound(&mut self, queue: &str) -> &mut ModelBounds {
        self.bounds.entry(queue.to_owned()).or_default()
    }

    /// The bounds as the counters show them, for queues that have any.
    pub(super) fn shown_bounds(&self) -> Vec<(String, ShownQueue)> {
        let show = |(queue, bounds): (&String, &ModelBounds)| {
            let until =
                bounds.mended(self.wall).closed.map(|(_, until)| until).filter(|until| *until > self.wall);
            let shown = (bounds.limit, bounds.rate.map(|(rate, _)| rate), until);
            (shown != (None, None, None)).then(|| (queue.clone(), shown))
        };
        self.bounds.iter().filter_map(show).collect()
    }

    /// Whether no task of a queue may start: its limit is reached, its rate is spent, or it is
    /// closed.
    pub(super) fn is_shut(&self, queue: &str) -> bool {
        let bounds = self.bounds(queue);
        let runs = |t: &&ModelTask<W>| t.state == State::Running && t.queue == queue;
        let is_full = |limit: u32| self.tasks.values().filter(runs).count() >= limit as usize;
        bounds.is_shut(self.wall) || bounds.limit.is_some_and(is_full)
    }

    pub(super) fn set_limit(&mut self, queue: &str, limit: Option<u32>) {
        self.meet(queue);
        self.bound(queue).limit = limit;
        self.turn_moves = true;
    }

    /// What was spent stays spent. The same rate again changes nothing.
    pub(super) fn set_rate(&mut self, queue: &str, rate: Option<Rate>) {
        self.meet(queue);
        let now = self.wall;
        let bound = self.bound(queue);
        if bound.rate.map(|(rate, _)| rate) == rate {
            return;
        }
        let before = bound.rate.map_or(micros(now), |(_, arrival)| arrival);
        bound.rate = rate.map(|rate| (rate, before.min(latest(&rate, now))));
        self.turn_moves = true;
    }

    /// A handler closes its queue; a longer closure stays.
    pub(super) fn close(&mut self, queue: &str, by: Duration) {
        let now = self.wall;
        let asked = (now, now.saturating_add(by));
        let bound = self.bound(queue);
        let longer = bound.mended(now).closed.filter(|(_, until)| *until > asked.1);
        bound.closed = Some(longer.unwrap_or(asked));
        self.turn_moves = true;
    }

    pub(super) fn reopen_queue(&mut self, queue: &str) {
        self.bounds.entry(queue.to_owned()).and_modify(|bounds| bounds.closed = None);
    }

    /// A claim visits a queue that is open: its closure is over and is removed.
    pub(super) fn visit(&mut self, queue: &str) {
        if self.bounds(queue).is_any() {
            self.reopen_queue(queue);
            self.turn_moves = true;
        }
    }

    /// A task of a queue was claimed.
    pub(super) fn spend(&mut self, queue: &str) {
        let now = micros(self.wall);
        if let Some((rate, arrival)) = self.bounds.get_mut(queue).and_then(|bounds| bounds.rate.as_mut()) {
            *arrival = now.max(*arrival) + interval(rate);
        }
    }

    /// Whether the clock has jumped back, so a queue would stay shut for too long.
    pub(super) fn must_mend(&self) -> bool {
        self.bounds.values().any(|bounds| bounds.mended(self.wall) != *bounds)
    }

    pub(super) fn mend(&mut self) {
        let now = self.wall;
        self.bounds.values_mut().for_each(|bounds| *bounds = bounds.mended(now));
    }

    /// Whether a queue with a rate or a closure is open, and a task of it waits.
    pub(super) fn is_any_open(&self) -> bool {
        let waits = |queue: &str| {
            let waits = |t: &ModelTask<W>| t.is_held(Hold::Ready) || t.suspect && t.is_held(Hold::Suspect);
            self.tasks.values().any(|t| t.queue == queue && waits(t))
        };
        let opens = |bounds: &ModelBounds| bounds.rate.is_some() || bounds.closed.is_some();
        self.bounds.iter().any(|(queue, bounds)| {
            opens(bounds) && !bounds.is_shut(self.wall) && !self.paused.contains(queue) && waits(queue)
        })
    }
}

fn micros(time: Timestamp) -> i128 {
    i128::from(time.as_millis()) * 1000
}

fn interval(rate: &Rate) -> i128 {
    rate.interval().as_micros().cast_signed()
}

/// How much before its arrival time a task may start.
fn burst(rate: &Rate) -> i128 {
    interval(rate) * i128::from(rate.burst - 1)
}

/// The latest arrival time that is possible now: a spent rate keeps a queue shut for at most one
/// interval.
fn latest(rate: &Rate, now: Timestamp) -> i128 {
    micros(now) + interval(rate) + burst(rate)
}
