//! Attempts whose work engines do, until they have ended: the worker looks in the file what has become of them.

use std::time::Duration;

use super::worker_event::{EndedAttempt, OutsideAttempt};
use crate::console::inspect::task::command;
use crate::{Clock, Error, ErrorKind, Filter, Queue, State, SystemClock};

/// How often it looks.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Attempts whose work engines do.
pub(super) struct FollowedAttempts {
    attempts: Vec<OutsideAttempt>,
    /// The engines of this worker.
    engines: Vec<String>,
    /// When it last looked, on the monotonic clock.
    looked: Option<Duration>,
    clock: SystemClock,
}

impl FollowedAttempts {
    pub(super) fn new(engines: Vec<String>) -> FollowedAttempts {
        FollowedAttempts { attempts: Vec::new(), engines, looked: None, clock: SystemClock::new() }
    }

    pub(super) fn add(&mut self, attempt: OutsideAttempt) {
        if !self.attempts.iter().any(|known| (known.id, known.generation) == (attempt.id, attempt.generation))
        {
            self.attempts.push(attempt);
        }
    }

    /// How many have not ended.
    pub(super) fn count(&self) -> u64 {
        self.attempts.len() as u64
    }

    /// Adds those that a worker before has left.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub(super) fn find(&mut self, queue: &Queue) -> Result<(), Error> {
        if self.engines.is_empty() {
            return Ok(());
        }
        for task in queue.tasks(Filter::new().state(State::Running).limit(usize::MAX))? {
            let engine = task.outside.as_ref().and_then(|outside| outside.engine.as_ref());
            let is_ours = engine.is_some_and(|engine| self.engines.contains(engine));
            if is_ours {
                self.add(OutsideAttempt {
                    id: task.task_id,
                    generation: task.generation,
                    attempt: task.attempt_number,
                    began: task.started_at.unwrap_or_else(|| self.clock.now()),
                    line: command(queue, &task.task_name, task.task_id).unwrap_or_default(),
                });
            }
        }
        Ok(())
    }

    /// Forgets them: another process executes.
    pub(super) fn clear(&mut self) {
        self.attempts.clear();
    }

    /// Whether it is time to look what has become of them.
    pub(super) fn is_due(&self) -> bool {
        let now = self.clock.monotonic();
        !self.attempts.is_empty()
            && self.looked.is_none_or(|looked| now.saturating_sub(looked) >= LOOK_INTERVAL)
    }

    /// Those that have ended.
    ///
    /// # Errors
    /// If the file cannot be read: none of them counts as ended then.
    pub(super) fn ended(&mut self, queue: &Queue) -> Result<Vec<EndedAttempt>, Error> {
        self.looked = Some(self.clock.monotonic());
        let mut goes_on = Vec::new();
        for attempt in &self.attempts {
            goes_on.push(match queue.get(attempt.id) {
                Ok(task) => task.state == State::Running && task.generation == attempt.generation,
                Err(e) if e.kind() == ErrorKind::NotFound => false,
                Err(e) => return Err(e),
            });
        }
        let now = self.clock.now();
        let (mut goes_on, mut ended) = (goes_on.into_iter(), Vec::new());
        for attempt in std::mem::take(&mut self.attempts) {
            match goes_on.next() {
                Some(true) => self.attempts.push(attempt),
                _ => ended.push(attempt.ended(now)),
            }
        }
        Ok(ended)
    }
}
