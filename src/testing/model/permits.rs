//! Limits of keys in the model: which tasks hold permits, which wait in line, and which is next.
//!
//! A task that waits for no other reason joins the line of its queue and key. It gets a permit at
//! once if no waiter goes before it and fewer permits are held than it allows; else it waits in its
//! place. A task that waits for another reason, or has ended, holds no permit, except that a serial
//! task keeps its permit from its first start to its end. At the end of each transaction free
//! permits are passed on.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use super::life::Model;
use super::{ModelLimit, ModelTask, Workload};
use crate::task::{Hold, State, TaskId};

/// A queue and a key.
type Line = (String, String);

impl<W: Workload> Model<W> {
    /// Applies the rule above to a task that has changed: it gives its permit back, keeps it, or
    /// joins the line.
    pub(super) fn stand(&mut self, id: TaskId) {
        let Some(task) = self.tasks.get_mut(&id) else { return };
        if task.limit.is_none() {
            return;
        }
        let waits_otherwise = task.reasons.iter().any(|hold| !matches!(hold, Hold::Limit | Hold::Suspect));
        match task.state {
            State::Running => {}
            State::Queued if !waits_otherwise => {
                if !task.has_permit && !task.reasons.contains(&Hold::Limit) {
                    self.come(id);
                }
            }
            State::Queued if task.keeps_permit() => {}
            _ => {
                task.has_permit = false;
                task.reasons.remove(&Hold::Limit);
            }
        }
    }

    /// A task joins its line. It overtakes no waiter.
    fn come(&mut self, id: TaskId) {
        let Some((line, limit)) = self.tasks.get(&id).and_then(|task| line_of(task).zip(task.limit.as_ref()))
        else {
            return;
        };
        let (place, permits) = (self.place(id), limit.permits);
        let is_behind = self.waiters(&line).first().is_some_and(|first| self.place(*first) < place);
        let fits = !is_behind && self.holders(&line).len() < permits as usize;
        self.tasks.entry(id).and_modify(|task| match fits {
            true => task.has_permit = true,
            false => drop(task.reasons.insert(Hold::Limit)),
        });
    }

    /// Passes free permits on, in every line: to the first waiter, then the next, until one does
    /// not fit. Returns whether any waiter got one.
    pub(super) fn pass_permits(&mut self) -> bool {
        let lines: BTreeSet<Line> =
            self.tasks.values().filter(|t| t.is_in_line()).filter_map(line_of).collect();
        let mut any = false;
        for line in lines {
            while let Some(first) = self.waiters(&line).first().copied()
                && self.make_room(first, &line)
            {
                self.tasks.entry(first).and_modify(|task| {
                    task.has_permit = true;
                    task.reasons.remove(&Hold::Limit);
                });
                any = true;
            }
        }
        any
    }

    /// Whether the first waiter fits. If permits are missing, ready tasks that go after it give
    /// theirs up, the last first, if that is enough.
    fn make_room(&mut self, first: TaskId, line: &Line) -> bool {
        let permits = self.tasks[&first].limit.as_ref().map_or(1, |limit| limit.permits as usize);
        let holders = self.holders(line);
        let lacks = (holders.len() + 1).saturating_sub(permits);
        let can_wait = |id: &TaskId| {
            let task = &self.tasks[id];
            self.place(*id) > self.place(first)
                && task.is_held(Hold::Ready)
                && !task.suspect
                && !task.keeps_permit()
        };
        let mut worst: Vec<TaskId> = holders.into_iter().filter(can_wait).collect();
        worst.sort_by_key(|id| Reverse(self.place(*id)));
        if worst.len() < lacks {
            return false;
        }
        for id in worst.into_iter().take(lacks) {
            self.tasks.entry(id).and_modify(|task| {
                task.has_permit = false;
                task.reasons.insert(Hold::Limit);
            });
        }
        true
    }

    /// The order in a line: by priority, and then by id.
    pub(super) fn place(&self, id: TaskId) -> (Reverse<i16>, TaskId) {
        (Reverse(self.tasks[&id].priority), id)
    }

    fn waiters(&self, line: &Line) -> Vec<TaskId> {
        let mut waiters = self.ids(|t| t.is_in_line() && line_of(t).as_ref() == Some(line));
        waiters.sort_by_key(|id| self.place(*id));
        waiters
    }

    fn holders(&self, line: &Line) -> Vec<TaskId> {
        self.ids(|t| t.has_permit && line_of(t).as_ref() == Some(line))
    }
}

fn line_of<W>(task: &ModelTask<W>) -> Option<Line> {
    let ModelLimit { key, .. } = task.limit.as_ref()?;
    Some((task.queue.clone(), key.clone()))
}
