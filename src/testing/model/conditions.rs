//! Conditions in the model: how they were set, and which tasks wait for them.

use super::life::Model;
use super::{ModelTask, Workload};
use crate::task::{Hold, Needs, State, TaskId};

/// How a condition was set last, and by which owner if the owner set it.
type SaidState = Option<(bool, Option<u64>)>;

/// The conditions that the file knows, in the order in which they were first named.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct ModelConditions {
    known: Vec<(String, SaidState)>,
    /// The number of the process that owns the file.
    pub owner: u64,
}

impl<W: Workload> Model<W> {
    pub(super) fn meet_condition(&mut self, name: &str) {
        if !self.conditions.known.iter().any(|(known, _)| known == name) {
            self.conditions.known.push((name.to_owned(), None));
        }
    }

    /// The conditions that a task is enqueued with, in the order of the file; new ones are added to
    /// it.
    pub(super) fn needs(&mut self, needs: &Needs) -> Vec<String> {
        needs.conditions.iter().for_each(|needed| self.meet_condition(&needed.name));
        let is_needed = |name: &String| needs.conditions.iter().any(|needed| needed.name == *name);
        self.conditions.known.iter().map(|(name, _)| name.clone()).filter(is_needed).collect()
    }

    /// Whether a condition is met. An unknown one is not.
    pub(super) fn is_met(&self, name: &str) -> bool {
        let said = self.conditions.known.iter().find(|(known, _)| known == name).and_then(|(_, said)| *said);
        said.is_some_and(|(is_met, owner)| is_met && owner.is_none_or(|owner| owner == self.conditions.owner))
    }

    /// The first condition that a task lacks, in the order of the file.
    pub(super) fn lacks(&self, task: &ModelTask<W>) -> Option<String> {
        task.needs.iter().find(|name| !self.is_met(name)).cloned()
    }

    /// The owner or another program sets a condition. If it is met, it is no longer a reason for
    /// the tasks that wait for it, by priority and id.
    pub(super) fn set_condition(&mut self, name: &str, is_met: bool, by_owner: bool) {
        self.meet_condition(name);
        let owner = by_owner.then_some(self.conditions.owner);
        for (_, said) in self.conditions.known.iter_mut().filter(|(known, _)| known == name) {
            *said = Some((is_met, owner));
        }
        let waits = |t: &ModelTask<W>| {
            t.state == State::Queued
                && t.reasons.contains(&Hold::Condition)
                && t.waits_for.as_deref() == Some(name)
        };
        let mut waiters = self.ids(|t| is_met && waits(t));
        waiters.sort_by_key(|id| self.place(*id));
        for id in waiters {
            self.let_on(id);
        }
    }

    fn let_on(&mut self, id: TaskId) {
        self.tasks.entry(id).and_modify(|task| task.reasons.retain(|hold| *hold != Hold::Condition));
        self.stand(id);
    }
}
