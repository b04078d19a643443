//! Unique keys in a history: which task may be named as the holder, what may have been replaced,
//! and that no key is taken twice.

use std::collections::HashMap;

use super::event::{Asked, Invariant, Made, Observation, Replaces, Seen, Violation};
use super::known::{Checker, KnownTask};
use crate::task::{State, TaskId};

impl<'h> KnownTask<'h> {
    /// What the task may contain: what it was made with, and what may have replaced that.
    fn contents(&self) -> impl Iterator<Item = &'h Asked> {
        self.asked.into_iter().chain(self.replaced_by.iter().copied())
    }

    /// Whether the task as seen is one that an enqueue asked for.
    pub(super) fn may_be(&self, seen: &Seen) -> bool {
        let is_it = |asked: &Asked| {
            (asked.args, &asked.task_name, &asked.queue) == (seen.args, &seen.task_name, &seen.queue)
        };
        self.asked.is_none() || self.contents().any(is_it)
    }

    /// An enqueue replaced the task, or may have. From then on its due time is unknown and, if all
    /// of it was replaced, also whether its attempts began anew.
    fn replace(&mut self, by: &'h Asked) {
        if !self.replaced_by.iter().any(|other| std::ptr::eq(*other, by)) {
            self.replaced_by.push(by);
        }
        (self.hurried, self.hurried_since_seen) = (true, true);
        if by.replaces == Replaces::Whole {
            (self.retried, self.anew_since_seen) = (true, true);
        }
    }
}

impl<'h> Checker<'h> {
    /// An enqueue was answered with an existing task: that must have the key and be live.
    pub(super) fn found_holder(
        &mut self,
        asked: &'h Asked,
        made: &Made,
        begun: usize,
    ) -> Result<(), Violation> {
        let at = self.at;
        self.note_open_replacements(made.id);
        let known = self.known(made.id);
        let is_of_key =
            |other: &Asked| asked.key.is_some() && (other.key, &other.queue) == (asked.key, &asked.queue);
        let holds = known.asked.is_none_or(is_of_key);
        let over = known.seen.is_some_and(|(seen, _)| seen.state.is_finished()) && !known.retried_since_seen;
        let over = over && !known.contents().any(|asked| asked.outlives);
        let over = (over || known.deleted.is_some()) && known.running.is_none();
        if !holds || over {
            let problem = "was named as the holder of a unique key, and does not hold it";
            return Err(self.broken(Invariant::UniqueKeys, made.id, &[begun, at], problem));
        }
        if !made.is_replaced {
            return Ok(());
        }
        if asked.replaces == Replaces::No {
            let problem = "was replaced by an enqueue that was to change nothing";
            return Err(self.broken(Invariant::UniqueKeys, made.id, &[begun, at], problem));
        }
        let known = self.known(made.id);
        if known.made.or(known.found).is_none() {
            (known.found, known.asked) = (Some(at), Some(asked)); // the enqueue that made it had no answer
        }
        known.replace(asked);
        Ok(())
    }

    /// Enqueues without an answer may have replaced a task.
    pub(super) fn note_open_replacements(&mut self, id: TaskId) {
        let Some(asked) = self.known(id).asked.filter(|asked| asked.key.is_some()) else { return };
        let all = self.open_calls.values().flat_map(|call| call.asked);
        let may = all.filter(|other| {
            other.replaces != Replaces::No && (other.key, &other.queue) == (asked.key, &asked.queue)
        });
        let may: Vec<&'h Asked> = may.collect();
        may.into_iter().for_each(|by| self.known(id).replace(by));
    }
}

/// I3. With `until_started` it is certain only of a task that was never claimed that it has its
/// key, and not of a replayed one or one that was retried by hand: these go on without a key that
/// another task has.
pub(super) fn check_unique_keys(checker: &Checker<'_>, observed: &Observation) -> Result<(), Violation> {
    let mut holders: HashMap<(&str, u64), TaskId> = HashMap::new();
    for seen in observed.tasks.iter().filter(|seen| !seen.state.is_finished()) {
        let Some(known) = checker.tasks.get(&seen.id) else { continue };
        let Some(key) = known.asked.and_then(|asked| asked.key) else { continue };
        let until_started = known.contents().any(|asked| asked.until_started);
        let is_new =
            seen.state == State::Queued && seen.generation == 0 && !known.is_replay && !known.retried;
        if until_started && !is_new {
            continue;
        }
        if let Some(other) = holders.insert((&seen.queue, key), seen.id) {
            let problem = format!("is live and has the unique key of task {other}, which is live too");
            return Err(checker.broken(Invariant::UniqueKeys, seen.id, &[checker.at], problem));
        }
    }
    Ok(())
}
