//! Bounds of queues in the model: limits, rates, and queues that a handler has closed for a while.
//!
//! A rate is one number: the theoretical arrival time, at which the next task would start if all came evenly. A burst may be early.

use std::time::Duration;

use super::life::Model;
use super::{ModelTask, Workload};
use crate::task::{Hold, Rate, State, Timestamp};

/// Limit, rate, and until when a queue is closed.
type ShownQueue = (Option<u32>, Option<Rate>, Option<Timestamp>);

/// What bounds the starts of a queue.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct ModelBounds {
    /// Tasks at once.
    pub limit: Option<u32>,
    /// A rate, and its theoretical arrival time in microseconds.
    pub rate: Option<(Rate, i128)>,
    /// Since when and until when it is closed.
    pub closed: Option<(Timestamp, Timestamp)>,
}

impl ModelBounds {
    pub(super) fn is_any(&self) -> bool {
        *self != ModelBounds::default()
    }

    /// Whether these bounds let nothing start now, even if nothing runs.
    fn is_shut(&self, now: Timestamp) -> bool {
        let is_spent = |(rate, arrival): (Rate, i128)| arrival - burst(&rate) > micros(now);
        self.closed.is_some_and(|(since, until)| since > now || until > now)
            || self.rate.is_some_and(is_spent)
    }

    /// The same where the clock has jumped back: a closure begins again, and a rate opens after one interval.
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

    /// What is shown of the bounds of queues that have any: limit, rate, and until when they are closed.
    pub(super) fn shown_bounds(&self) -> Vec<(String, ShownQueue)> {
        let show = |(queue, bounds): (&String, &ModelBounds)| {
            let until =
                bounds.mended(self.wall).closed.map(|(_, until)| until).filter(|until| *until > self.wall);
            let shown = (bounds.limit, bounds.rate.map(|(rate, _)| rate), until);
            (shown != (None, None, None)).then(|| (queue.clone(), shown))
        };
        self.bounds.iter().filter_map(show).collect()
    }

    /// Whether nothing of a queue may start: as many tasks run as its limit allows, its rate is spent, or it is closed.
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

    /// A handler closes its queue, or leaves it closed for longer.
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

    /// A claim looks at a queue that is open: a closure of it is over.
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

    /// Whether the clock has jumped back, and keeps a queue shut for longer than it should.
    pub(super) fn must_mend(&self) -> bool {
        self.bounds.values().any(|bounds| bounds.mended(self.wall) != *bounds)
    }

    pub(super) fn mend(&mut self) {
        let now = self.wall;
        self.bounds.values_mut().for_each(|bounds| *bounds = bounds.mended(now));
    }

    /// Whether a queue that a rate or a closure kept shut is open, and a task of it waits for that.
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

/// How much earlier than its arrival a task may start.
fn burst(rate: &Rate) -> i128 {
    interval(rate) * i128::from(rate.burst - 1)
}

/// Nothing that was spent keeps a queue shut for longer than one interval.
fn latest(rate: &Rate, now: Timestamp) -> i128 {
    micros(now) + interval(rate) + burst(rate)
}
