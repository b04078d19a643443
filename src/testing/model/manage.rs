//! Verbs and retention in the model.

use super::life::Model;
use super::task::{ModelLetter, ModelTask};
use super::workload::{Ending, Workload};
use crate::error::ErrorKind;
use crate::task::{Hold, State, TaskId, Timestamp};

impl<W: Workload> Model<W> {
    /// Deletes SUCCEEDED and CANCELLED tasks that finished before `gone`; moves FAILED and LOST
    /// tasks that finished before `buried` to the dead letters.
    pub(super) fn purge(&mut self, gone: Option<Timestamp>, buried: Option<Timestamp>) -> usize {
        let before = |t: &ModelTask<W>, limit: Option<Timestamp>| {
            limit.is_some_and(|limit| t.finished_at < Some(limit))
        };
        let over = self.ids(|t| match t.state {
            State::Succeeded | State::Cancelled => before(t, gone),
            State::Failed | State::Lost => before(t, buried),
            State::Queued | State::Running => false,
        });
        for id in &over {
            if self.move_to_dead_letters(*id).is_err() {
                self.tasks.remove(id);
                self.forget_time(*id);
            }
        }
        over.len()
    }

    /// Deletes letters that were moved before this time.
    pub(super) fn purge_dead_letters(&mut self, before: Timestamp) -> usize {
        let all = self.letters.len();
        self.letters.retain(|_, letter| letter.moved_at >= before);
        all - self.letters.len()
    }

    // ---- Verbs ----

    pub(super) fn retry(&mut self, id: TaskId) -> Result<(), ErrorKind> {
        let task = self.task(id)?.clone();
        if !matches!(task.state, State::Failed | State::Lost | State::Cancelled) {
            return Err(ErrorKind::WrongState);
        }
        let holder = task.key.as_deref().and_then(|key| self.holder(&task.queue, key));
        let is_free = holder.is_none_or(|holder| holder == id);
        if !is_free && !task.until_started {
            return Err(ErrorKind::Conflict);
        }
        if is_free {
            self.give_key(id, None);
        }
        let task = self.task(id)?;
        task.queue_up(None);
        (task.attempt_number, task.expires_at, task.finished_at) = (0, None, None);
        (task.cancel_requested, task.has_begun) = (false, false);
        self.stand(id);
        Ok(())
    }

    pub(super) fn retry_from_start(&mut self, id: TaskId) -> Result<(), ErrorKind> {
        self.retry(id)?;
        self.task(id)?.has_steps = false;
        Ok(())
    }

    pub(super) fn cancel(&mut self, id: TaskId) -> Result<(), ErrorKind> {
        let now = self.wall;
        let task = self.task(id)?;
        match task.state {
            State::Queued => {
                task.end(State::Cancelled, now);
                self.stand(id);
            }
            State::Running if task.outside => {
                task.end(State::Cancelled, now);
                self.stand(id);
            }
            State::Running => task.cancel_requested = true,
            _ => return Err(ErrorKind::WrongState),
        }
        Ok(())
    }

    /// Somebody reports the end of work outside.
    pub(super) fn end_outside(&mut self, id: TaskId, ending: Ending) -> Result<(), ErrorKind> {
        if !self.task(id)?.outside {
            return Err(ErrorKind::Superseded);
        }
        self.settle(id, ending);
        Ok(())
    }

    pub(super) fn complete(&mut self, id: TaskId) -> Result<(), ErrorKind> {
        self.end_outside(id, Ending::Succeeds)
    }

    pub(super) fn fail(&mut self, id: TaskId) -> Result<(), ErrorKind> {
        self.end_outside(id, Ending::Fails("told.to"))
    }

    pub(super) fn run_now(&mut self, id: TaskId) -> Result<(), ErrorKind> {
        let task = self.task(id)?;
        if task.is_held(Hold::Ready) {
            self.turn_moves |= task.suspect;
            return Ok(());
        }
        if !task.reasons.remove(&Hold::Time) & !task.reasons.remove(&Hold::Suspect) {
            return Err(ErrorKind::WrongState);
        }
        task.suspect = false;
        self.stand(id);
        Ok(())
    }

    pub(super) fn delete(&mut self, id: TaskId) -> Result<(), ErrorKind> {
        if self.task(id)?.state == State::Running {
            return Err(ErrorKind::WrongState);
        }
        self.tasks.remove(&id);
        self.timed_keys.retain(|_, (owner, ..)| *owner != id);
        Ok(())
    }

    pub(super) fn move_to_dead_letters(&mut self, id: TaskId) -> Result<(), ErrorKind> {
        if !matches!(self.task(id)?.state, State::Failed | State::Lost) {
            return Err(ErrorKind::WrongState);
        }
        let (moved_at, replayed_as) = (self.wall, None);
        let buried = self.tasks.remove(&id).map(|task| ModelLetter { task, moved_at, replayed_as });
        self.letters.extend(buried.map(|letter| (id, letter)));
        self.forget_time(id);
        Ok(())
    }

    pub(super) fn replay(&mut self, id: TaskId, forced: bool) -> Result<TaskId, ErrorKind> {
        let letter = self.letters.get(&id).ok_or(ErrorKind::NotFound)?;
        if letter.replayed_as.is_some() && !forced {
            return Err(ErrorKind::WrongState);
        }
        let mut task = letter.task.clone();
        let holder = task.key.as_deref().and_then(|key| self.holder(&task.queue, key));
        let is_free = holder.is_none_or(|holder| holder == id);
        if !is_free && !task.until_started {
            return Err(ErrorKind::Conflict);
        }
        task.queue_up(None);
        (task.attempt_number, task.generation, task.snoozes) = (0, 0, 0);
        (task.created_at, task.expires_at, task.finished_at) = (self.wall, None, None);
        (task.replay_of, task.has_key) = (Some(id), false);
        let new = self.insert(task);
        self.stand(new);
        if is_free {
            self.give_key(new, Some(self.wall));
        }
        self.letters.entry(id).and_modify(|letter| letter.replayed_as = Some(new));
        Ok(new)
    }

    /// A paused queue is not claimed from, and its suspects give their turn back. Resuming a queue
    /// also ends its closure.
    pub(super) fn set_paused(&mut self, queue: &str, paused: bool) {
        self.meet(queue);
        self.turn_moves = true;
        if !paused {
            self.paused.remove(queue);
            self.reopen_queue(queue);
            return;
        }
        self.paused.insert(queue.to_owned());
        for task in self.tasks.values_mut() {
            if task.queue == queue && task.suspect && task.is_held(Hold::Ready) {
                task.reasons.insert(Hold::Suspect);
            }
        }
    }
}
