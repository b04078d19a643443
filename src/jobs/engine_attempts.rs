//! Attempts whose work engines do, until they have ended: the worker reads their state from the file.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::worker_event::{EndedAttempt, OutsideAttempt};
use crate::console::inspect::task::command;
use crate::{Clock, Error, ErrorKind, Filter, Queue, State, SystemClock, TaskId};

/// Interval between reads of their state.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Attempts whose work engines do.
pub(super) struct FollowedAttempts {
    attempts: BTreeMap<(TaskId, u64), OutsideAttempt>,
    /// The engines of this worker.
    engines: Vec<String>,
    /// When it last looked, on the monotonic clock.
    looked: Option<Duration>,
    clock: SystemClock,
}

impl FollowedAttempts {
    pub(super) fn new(engines: Vec<String>) -> FollowedAttempts {
        FollowedAttempts { attempts: BTreeMap::new(), engines, looked: None, clock: SystemClock::new() }
    }

    pub(super) fn has_engines(&self) -> bool {
        !self.engines.is_empty()
    }

    pub(super) fn add(&mut self, attempt: OutsideAttempt) {
        self.attempts.entry((attempt.id, attempt.generation)).or_insert(attempt);
    }

    /// How many have not ended.
    pub(super) fn count(&self) -> u64 {
        self.attempts.len() as u64
    }

    /// Adds all attempts whose work its engines do, whoever has started them. While another process executes, drops those that have ended: that
    /// process reports them.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub(super) fn find(&mut self, queue: &Queue, executes: bool) -> Result<(), Error> {
        let mut tasks = queue.tasks(Filter::new().state(State::Running).limit(usize::MAX))?;
        tasks.retain(|task| {
            let engine = task.outside.as_ref().and_then(|outside| outside.engine.as_ref());
            engine.is_some_and(|engine| self.engines.contains(engine))
        });
        if !executes {
            let running: BTreeSet<_> = tasks.iter().map(|task| (task.task_id, task.generation)).collect();
            self.attempts.retain(|key, _| running.contains(key));
        }
        for task in tasks {
            self.attempts.entry((task.task_id, task.generation)).or_insert_with(|| OutsideAttempt {
                id: task.task_id,
                generation: task.generation,
                attempt: task.attempt_number,
                began: task.started_at.unwrap_or_else(|| self.clock.now()),
                line: command(queue, &task.task_name, task.task_id).unwrap_or_default(),
            });
        }
        Ok(())
    }

    /// Whether it is time to call [`ended`](FollowedAttempts::ended).
    pub(super) fn is_due(&self) -> bool {
        let now = self.clock.monotonic();
        !self.attempts.is_empty()
            && self.looked.is_none_or(|looked| now.saturating_sub(looked) >= LOOK_INTERVAL)
    }

    /// Takes out the attempts that have ended.
    ///
    /// # Errors
    /// If the file cannot be read: none of them counts as ended then.
    pub(super) fn ended(&mut self, queue: &Queue) -> Result<Vec<EndedAttempt>, Error> {
        self.looked = Some(self.clock.monotonic());
        let mut over = Vec::new();
        for (id, generation) in self.attempts.keys().copied() {
            match queue.get(id) {
                Ok(task) if task.state == State::Running && task.generation == generation => {}
                Err(e) if e.kind() != ErrorKind::NotFound => return Err(e),
                _ => over.push((id, generation)),
            }
        }
        let now = self.clock.now();
        let ended = over.iter().filter_map(|key| self.attempts.remove(key));
        Ok(ended.map(|attempt| attempt.ended(now)).collect())
    }
}
