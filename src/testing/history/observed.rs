//! What must hold of a whole file whenever it is read.

use std::collections::{HashMap, HashSet};

use super::event::{Invariant, Observation, Violation};
use super::known::{Call, Checker};
use crate::task::{Hold, QueueCounts, State, TaskId};

/// I4, I5, I12: each task on its own, and the counters.
pub(super) fn check_shape(checker: &Checker<'_>, observed: &Observation) -> Result<(), Violation> {
    let (mut ids, mut counted) = (HashSet::new(), QueueCounts::default());
    for seen in &observed.tasks {
        let broken =
            |invariant, problem: &str| Err(checker.broken(invariant, seen.id, &[checker.at], problem));
        if !ids.insert(seen.id) || observed.letters.contains(&seen.id) {
            return broken(Invariant::OneState, "is there twice");
        }
        let queued = seen.state == State::Queued;
        if queued != seen.hold.is_some() || seen.hold == Some(Hold::Time) && seen.run_at.is_none() {
            return broken(Invariant::OneState, "has a hold that does not go with its state or time");
        }
        if seen.state == State::Running && seen.started_at.is_none() {
            return broken(Invariant::OneState, "is RUNNING and has not started");
        }
        // A LOST task whose thread is still at work has not finished.
        if seen.state != State::Lost && seen.state.is_finished() != seen.finished_at.is_some() {
            return broken(Invariant::OneState, "has an end that does not go with its state");
        }
        let runs = seen.state == State::Running;
        if seen.attempt_number > seen.max_attempts
            || runs && (seen.attempt_number == 0 || seen.generation == 0)
        {
            return broken(Invariant::Counted, "has a number of attempts out of its bounds");
        }
        *counted.counter(seen.state, seen.hold.unwrap_or(Hold::Ready)) += 1;
    }
    match observed.counts {
        Some(counts) if (QueueCounts { paused: false, ..counts }) != counted => {
            let problem = format!("the counters say {counts:?}, and a count finds {counted:?}");
            Err(checker.broken(Invariant::Counters, None, &[checker.at], problem))
        }
        _ => Ok(()),
    }
}

/// I1, I2, I13: no task is missing, none appeared, and the numbers add up.
pub(super) fn check_whole(checker: &mut Checker<'_>, observed: &Observation) -> Result<(), Violation> {
    let at = checker.at;
    adopt(checker, observed)?;
    let present: HashSet<TaskId> =
        observed.tasks.iter().map(|seen| seen.id).chain(observed.letters.iter().copied()).collect();
    let there = checker.there();
    let mut missing: Vec<TaskId> = there.difference(&present).copied().collect();
    missing.sort_unstable();
    let lost = missing.len() as u64;
    if let Some(id) = missing.first().filter(|_| lost > checker.purged) {
        let made = checker.tasks[id].made.or(checker.tasks[id].found).unwrap_or(at);
        let problem = format!("was acknowledged and is gone; {lost} are, and {} were purged", checker.purged);
        return Err(checker.broken(Invariant::Durable, *id, &[made, at], problem));
    }
    if lost < checker.purged {
        let problem = format!("{} tasks and letters were purged, and only {lost} are gone", checker.purged);
        return Err(checker.broken(Invariant::Conservation, None, &[at], problem));
    }
    let deleted = present.iter().find_map(|id| Some((*id, checker.tasks.get(id)?.deleted?)));
    match deleted {
        Some((id, deleted)) => {
            Err(checker.broken(Invariant::Conservation, id, &[deleted, at], "was deleted and is there"))
        }
        None => Ok(()),
    }
}

/// Finds the origin of each task that was not acknowledged: an enqueue without an answer, or a
/// schedule. A batch must be there whole or not at all.
fn adopt(checker: &mut Checker<'_>, observed: &Observation) -> Result<(), Violation> {
    let at = checker.at;
    type Content<'a> = (&'a str, &'a str, u64);
    let mut strangers: HashMap<Content<'_>, Vec<TaskId>> = HashMap::new();
    for seen in observed.tasks.iter().rev() {
        if checker.tasks.get(&seen.id).is_none_or(|known| known.made.or(known.found).is_none()) {
            let content = (seen.task_name.as_str(), seen.queue.as_str(), seen.args);
            strangers.entry(content).or_default().push(seen.id);
        }
    }
    for Call { asked, begun } in checker.open_calls.values() {
        let found: Vec<Option<TaskId>> = asked
            .iter()
            .map(|asked| {
                strangers.get_mut(&(asked.task_name.as_str(), asked.queue.as_str(), asked.args))?.pop()
            })
            .collect();
        // With a unique key, the enqueue may have found an existing task.
        let may_lack = |i: usize| asked[i].key.is_some();
        if let Some(id) = found.iter().flatten().next()
            && let Some(i) = (0..asked.len()).find(|i| found[*i].is_none() && !may_lack(*i))
        {
            let problem = format!("is there, and task {i} of its batch is not");
            return Err(checker.broken(Invariant::NoGhosts, *id, &[*begun, at], problem));
        }
        for (id, asked) in found.iter().zip(*asked).filter_map(|(id, asked)| Some((id.as_ref()?, asked))) {
            let known = checker.tasks.entry(*id).or_default();
            known.asked = Some(asked);
            known.asked_at = Some(*begun);
            known.found = Some(at);
        }
    }
    for (schedule, asked) in checker.schedules.iter().copied() {
        let content = (asked.task_name.as_str(), asked.queue.as_str(), asked.args);
        for id in strangers.remove(&content).unwrap_or_default() {
            let known = checker.tasks.entry(id).or_default();
            (known.asked, known.found, known.schedule) = (Some(asked), Some(at), Some(schedule));
        }
    }
    match strangers.values().flatten().min() {
        Some(id) => Err(checker.broken(Invariant::NoGhosts, *id, &[at], "is there, and nobody enqueued it")),
        None => Ok(()),
    }
}
