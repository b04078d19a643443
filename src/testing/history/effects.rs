//! I17: an effect that a task commits with its end exists once, and the task has succeeded.

use std::collections::BTreeMap;

use super::event::{Invariant, Seen, Violation};
use super::known::Checker;
use crate::task::{State, TaskId};

impl Checker<'_> {
    /// An attempt committed its effect.
    pub(super) fn commit(&mut self, id: TaskId) -> Result<(), Violation> {
        let at = self.at;
        if let Some(before) = self.known(id).committed.replace(at) {
            let problem = "has committed its effect twice";
            return Err(self.broken(Invariant::CommittedOnce, id, &[before, at], problem));
        }
        Ok(())
    }

    /// All effects that exist were read: the task of each.
    pub(super) fn see_effects(&mut self, of: &[TaskId]) -> Result<(), Violation> {
        let at = self.at;
        let mut times: BTreeMap<TaskId, u64> = BTreeMap::new();
        of.iter().for_each(|id| *times.entry(*id).or_default() += 1);
        for (id, n) in &times {
            if *n > 1 {
                let problem = format!("has its effect {n} times");
                return Err(self.broken(Invariant::CommittedOnce, *id, &[at], problem));
            }
            let known = self.known(*id);
            known.effect.get_or_insert(at);
            // A `LOST` task whose thread still runs may commit later.
            let is_over = |seen: &Seen| matches!(seen.state, State::Failed | State::Cancelled);
            if let Some((seen, look)) =
                known.seen.filter(|(seen, _)| is_over(seen) && !known.retried_since_seen)
            {
                let problem = format!("has its effect, and was {}", seen.state);
                return Err(self.broken(Invariant::CommittedOnce, *id, &[look, at], problem));
            }
        }
        let lost = self.tasks.iter().find_map(|(id, known)| {
            let owed = known.committed.or(known.effect).filter(|_| !times.contains_key(id));
            owed.map(|before| (*id, before))
        });
        match lost {
            Some((id, before)) => {
                let problem = "had its effect, and has it no more";
                Err(self.broken(Invariant::CommittedOnce, id, &[before, at], problem))
            }
            None => Ok(()),
        }
    }

    /// A task that committed its effect is `SUCCEEDED` when it is seen, and does not start again
    /// (`seen` is none).
    pub(super) fn check_committed(&self, id: TaskId, seen: Option<&Seen>) -> Result<(), Violation> {
        let Some(known) = self.tasks.get(&id) else { return Ok(()) };
        let Some(before) = known.committed.or(known.effect) else { return Ok(()) };
        let problem = match seen {
            Some(seen) if seen.state == State::Succeeded => return Ok(()),
            Some(seen) => format!("has committed its effect, and is {}", seen.state),
            None => "starts again although it has committed its effect".to_owned(),
        };
        Err(self.broken(Invariant::CommittedOnce, id, &[before, self.at], problem))
    }
}
