//! Unique keys in the model: by which task they are taken, for how long, and what an enqueue does
//! if its key is taken.

use super::life::{Model, due};
use super::{ModelLimit, ModelTask, Workload};
use crate::task::{Enqueued, Hold, OnConflict, Options, State, TaskId, Timestamp};

impl<W: Workload> Model<W> {
    /// The task by which a unique key of a queue is taken: it needs the key, or took it for a time.
    pub(super) fn holder(&self, queue: &str, key: &str) -> Option<TaskId> {
        let holds = |t: &ModelTask<W>| {
            t.has_key && t.needs_key() && t.queue == queue && t.key.as_deref() == Some(key)
        };
        let needs = self.tasks.iter().find(|(_, t)| holds(t)).map(|(id, _)| *id);
        let timed = self.timed_keys.get(&(queue.to_owned(), key.to_owned()));
        needs.or_else(|| timed.filter(|(_, _, until)| *until > self.wall).map(|(id, ..)| *id))
    }

    /// Gives a task its key, which is free or its own. With `from`, the key is taken for its time,
    /// which begins at `from`.
    pub(super) fn give_key(&mut self, id: TaskId, from: Option<Timestamp>) {
        let Some(task) = self.tasks.get_mut(&id) else { return };
        let Some(key) = task.key.clone() else { return };
        task.has_key = true;
        let (at, lasts) = ((task.queue.clone(), key), task.key_lasts);
        match (from, lasts) {
            (Some(from), Some(lasts)) => {
                self.timed_keys.insert(at, (id, from, from.saturating_add(lasts)));
            }
            (None, _) if self.timed_keys.get(&at).is_some_and(|(owner, ..)| *owner == id) => {}
            _ => drop(self.timed_keys.remove(&at)),
        }
    }

    /// A task with `until_started` that is queued again takes its key again if it is free.
    pub(super) fn take_key_again(&mut self, id: TaskId) {
        let waits = |t: &&ModelTask<W>| t.until_started && t.state == State::Queued;
        let Some(task) = self.tasks.get(&id).filter(waits) else { return };
        let Some(key) = &task.key else { return };
        if self.holder(&task.queue, key).is_none_or(|holder| holder == id) {
            self.give_key(id, None);
        }
    }

    /// Takes the keys from tasks that no longer need them, and forgets times that are over.
    pub(super) fn release_keys(&mut self) {
        for id in self.ids(|t| t.has_key && !t.needs_key()) {
            self.tasks.entry(id).and_modify(|task| task.has_key = false);
            self.forget_time(id);
        }
    }

    /// Forgets the time of a task's key if it is over, so that a clock that jumps back does not
    /// restart it.
    pub(super) fn forget_time(&mut self, id: TaskId) {
        let now = self.wall;
        self.timed_keys.retain(|_, (owner, _, until)| *owner != id || *until > now);
    }

    /// Restarts times that began in the future, since the clock has jumped back.
    pub(super) fn begin_times_again(&mut self, of: impl Fn(TaskId) -> bool) {
        let now = self.wall;
        for (id, from, until) in self.timed_keys.values_mut() {
            if of(*id) && *from > now {
                (*from, *until) = (now, now.saturating_add(until.since(*from)));
            }
        }
    }

    /// Forgets times that are over, unless their task still needs the key.
    pub(super) fn forget_old_times(&mut self) {
        let now = self.wall;
        let needed = self.ids(|t| t.has_key && t.needs_key());
        self.timed_keys.retain(|_, (id, _, until)| *until > now || needed.contains(id));
    }

    /// An enqueue whose key is taken.
    pub(super) fn meet_taken(&mut self, id: TaskId, new: &W, all: Options) -> Enqueued {
        self.begin_times_again(|other| other == id);
        let on_conflict = all.unique.as_ref().map_or(OnConflict::Keep, |unique| unique.on_conflict);
        let (now, attempts) = (self.wall, self.config.max_task_attempts);
        let is_replaced = on_conflict == OnConflict::Replace
            && self.tasks.get(&id).is_some_and(|t| t.state == State::Queued && !t.has_steps);
        let needs = if is_replaced { self.needs(&all.needs) } else { Vec::new() };
        let waits = |t: &&mut ModelTask<W>| {
            t.state == State::Queued && !t.has_steps && on_conflict != OnConflict::Keep
        };
        let Some(task) = self.tasks.get_mut(&id).filter(waits) else { return Enqueued::Existing(id) };
        task.task = new.clone();
        task.reasons.remove(&Hold::UnknownName);
        let (run_at, anchor) = due(all.due, now);
        let expires_at = all.expires.map(|after| now.saturating_add(after));
        match on_conflict {
            OnConflict::Keep | OnConflict::ReplaceArgs => {}
            OnConflict::Replace => {
                task.priority = all.priority.unwrap_or(0);
                (task.attempt_number, task.max_attempts) = (0, all.max_attempts.unwrap_or(attempts));
                (task.run_at, task.anchor, task.expires_at) = (run_at, anchor, expires_at);
                task.reasons =
                    task.turn().into_iter().chain((run_at > Some(now)).then_some(Hold::Time)).collect();
                task.backoff = all.backoff;
                task.needs = needs;
                task.limit = ModelLimit::asked(all.limit.or(all.serial));
                (task.has_permit, task.has_begun) = (false, false);
                let unique = all.unique.as_ref();
                task.until_started = unique.is_some_and(|unique| unique.until_started);
                task.key_lasts = unique.and_then(|unique| unique.lasts);
                let from = task.created_at.min(now);
                self.give_key(id, Some(from));
            }
            OnConflict::Debounce { max_wait } if task.generation == 0 => {
                let latest = task.created_at.min(now).saturating_add(max_wait);
                let run_at = run_at.map(|time| time.min(latest).max(now));
                (task.run_at, task.anchor) = (run_at, anchor);
                task.expires_at = expires_at.or(task.expires_at);
                match run_at > Some(now) {
                    true => drop(task.reasons.insert(Hold::Time)),
                    false => drop(task.reasons.remove(&Hold::Time)),
                }
            }
            OnConflict::Debounce { .. } => {}
        }
        self.stand(id);
        Enqueued::Replaced(id)
    }
}
