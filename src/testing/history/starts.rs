//! Checks that tasks were allowed to start, by the limits of their queue and key and by the rate of
//! their queue.
//!
//! A history has starts, not claims. A claim came after the task's previous start, or after its
//! enqueue began. Whether a bound that was set after that was in force at the claim is unknown, so
//! the widest of the possible bounds counts.

use std::time::Duration;

use super::bounds::{AskedKey, Set};
use super::event::{AskedLimit, Invariant, Violation};
use super::known::{Checker, KnownTask};
use crate::task::{Rate, TaskId, Timestamp};

impl<'h> KnownTask<'h> {
    fn queue(&self) -> Option<&'h str> {
        self.asked.map(|asked| asked.queue.as_str())
    }

    /// The limit of its key, if it is certain.
    fn limit(&self) -> Option<(AskedKey<'h>, AskedLimit)> {
        let asked = self.asked?;
        let is_certain = self.replaced_by.iter().all(|by| by.limit == asked.limit);
        let limit = asked.limit.filter(|_| is_certain)?;
        Some(((&asked.queue, limit.key), limit))
    }
}

/// I14, when a task has started; `before` is the index of its previous start.
pub(super) fn check_limits(
    checker: &mut Checker<'_>,
    id: TaskId,
    before: Option<usize>,
    is_retried: bool,
) -> Result<(), Violation> {
    check_queue(checker, id)?;
    let Some((key, limit)) = checker.tasks.get(&id).and_then(KnownTask::limit) else { return Ok(()) };
    let at = checker.at;
    let of_key = |known: &KnownTask<'_>| {
        let (_, began) = known.running?;
        known.limit().filter(|(other, _)| *other == key).map(|(_, limit)| (began, limit.permits))
    };
    let running: Vec<(usize, u32)> = checker.tasks.values().filter_map(of_key).collect();
    let most = running.iter().map(|(_, permits)| *permits).max().unwrap_or(1);
    if running.len() > most as usize {
        let events: Vec<usize> = running.iter().map(|(began, _)| *began).collect();
        let problem = format!("is one of {} that run at once of a key with a limit of {most}", running.len());
        return Err(checker.broken(Invariant::Limits, id, &events, problem));
    }
    let starts = checker.bounds.starts.entry(key).or_default();
    starts.push((at, id, limit.permits));
    // It has kept its permit since its previous start.
    let Some(before) = before.filter(|_| limit.serial && !is_retried) else { return Ok(()) };
    let between =
        |(began, other, permits): &&(usize, TaskId, u32)| *began > before && *other != id && *permits == 1;
    let Some((began, other, _)) = starts.iter().find(between).copied() else { return Ok(()) };
    let problem = format!("is serial and goes on, and task {other} of its key has started meanwhile");
    Err(checker.broken(Invariant::Limits, id, &[before, began, at], problem))
}

/// I14 of the queue. The other running tasks were in flight when the newest one was claimed, so the
/// bounds since then count.
fn check_queue(checker: &Checker<'_>, id: TaskId) -> Result<(), Violation> {
    let Some(queue) = checker.tasks.get(&id).and_then(KnownTask::queue) else { return Ok(()) };
    let Some(log) = checker.bounds.limits.get(queue) else { return Ok(()) };
    let running: Vec<&KnownTask<'_>> = checker
        .tasks
        .values()
        .filter(|known| known.running.is_some() && known.queue() == Some(queue))
        .collect();
    let newest = running.iter().filter_map(|known| known.last?.claimed_after).max();
    let Some(bounds) = newest.and_then(|place| log.since(place)) else { return Ok(()) };
    let Some(most) = bounds.iter().map(|set| set.to).collect::<Option<Vec<u32>>>() else { return Ok(()) };
    let most = most.into_iter().max().unwrap_or(u32::MAX);
    if running.len() <= most as usize {
        return Ok(());
    }
    let mut events: Vec<usize> = bounds.iter().map(|set| set.at).collect();
    events.extend(running.iter().filter_map(|known| known.running).map(|(_, began)| began));
    let problem = format!("is one of {} that run at once of a queue with a limit of {most}", running.len());
    Err(checker.broken(Invariant::Limits, id, &events, problem))
}

/// I15, when a task has started: checks the number of claims of its queue in each window that ends
/// with this one.
pub(super) fn check_rate(
    checker: &mut Checker<'_>,
    id: TaskId,
    claimed: Option<Timestamp>,
) -> Result<(), Violation> {
    let at = checker.at;
    let known = checker.known(id);
    let (Some(claimed), Some(queue)) = (claimed, known.queue()) else { return Ok(()) };
    let Some(after) = known.last.and_then(|last| last.claimed_after) else { return Ok(()) };
    let bounds = &mut checker.bounds;
    let set = bounds.rates.get(queue).and_then(|log| log.since(after));
    let Some([Set { at: set_at, to: Some(rate), .. }]) = set else { return Ok(()) };
    let (of, claims) = bounds.claims.entry(queue).or_default();
    if of != set_at || claims.last().is_some_and(|(newest, _)| *newest > claimed) {
        claims.clear();
    }
    *of = *set_at;
    claims.push((claimed, at));
    for (n, (from, began)) in claims.iter().enumerate() {
        let (starts, window) = (claims.len() - n, claimed.since(*from));
        if starts as u128 > allowed(rate, window) {
            let problem = format!("is the last of {starts} starts within {window:?}, at a rate of {rate}");
            let events = [*set_at, *began, at];
            return Err(checker.broken(Invariant::Rates, id, &events, problem));
        }
    }
    Ok(())
}

/// A burst, and one start for each interval.
fn allowed(rate: &Rate, window: Duration) -> u128 {
    u128::from(rate.burst) + window.as_micros() / rate.interval().as_micros().max(1)
}
