//! The commits of each operation: which steps in which order, with crashes between them.

use std::collections::BTreeMap;

use super::life::Model;
use super::{Act, Answer, Ending, ModelTask, Nth, Operation, Program, Workload};
use crate::crash::{CrashMoment, CrashPoint};
use crate::error::ErrorKind;
use crate::task::{Bulk, Enqueued, Options, State, TaskId, Timestamp};
use crate::testing::Ran;

/// The most attempts of one [`Operation::RunAll`]: a task may snooze for no time.
pub(super) const RUN_ALL: usize = 100;

/// The process died at a commit of the operation.
struct Died;

impl<W: Workload> Model<W> {
    /// Applies an operation; [`answer`](Model::answer) then has its answer.
    pub fn apply(&mut self, operation: &Operation<W>) {
        self.answer = self.obey(operation).unwrap_or(Answer::Crashed);
    }

    /// The id of the task that `nth` selects.
    pub fn pick(&self, nth: Nth) -> TaskId {
        let place = usize::from(nth.0) % (self.tasks.len() + 1);
        self.tasks.keys().nth(place).copied().unwrap_or(self.next_id())
    }

    /// The id of the dead letter that `nth` selects.
    pub fn pick_letter(&self, nth: Nth) -> TaskId {
        let place = usize::from(nth.0) % (self.letters.len() + 1);
        self.letters.keys().nth(place).copied().unwrap_or(self.next_id())
    }

    fn obey(&mut self, operation: &Operation<W>) -> Result<Answer, Died> {
        match operation {
            Operation::Enqueue(task, options) => {
                self.enqueue_all(std::slice::from_ref(&(task.clone(), options.clone())))
            }
            Operation::EnqueueAll(tasks) if !W::can_batch(tasks) => Ok(Answer::Enqueued(Vec::new())),
            Operation::EnqueueAll(tasks) => self.enqueue_all(tasks),
            Operation::EnqueueInvalid(..) => Ok(Answer::Verb(Err(ErrorKind::InvalidInput))),
            Operation::RunOne => Ok(Answer::Ran(self.run_one()?.into_iter().collect())),
            Operation::RunAll => {
                let mut ran = Vec::new();
                while ran.len() < RUN_ALL
                    && let Some(one) = self.run_one()?
                {
                    ran.push(one);
                }
                Ok(Answer::Ran(ran))
            }
            Operation::Advance(by) => {
                self.monotonic = self.monotonic.saturating_add(*by);
                self.set_wall(self.wall.saturating_add(*by))
            }
            Operation::Suspend(by) => self.set_wall(self.wall.saturating_add(*by)),
            Operation::JumpBack(by) => self.set_wall(self.wall.saturating_sub(*by)),
            Operation::Age => self.apply_retention(),
            Operation::Purge(age) => {
                let before = self.wall.saturating_sub(*age);
                self.commit_if_changed(|m| m.purge(Some(before), None)).map(Answer::Ended)
            }
            Operation::Retry(nth) => self.verb(*nth, Model::retry),
            Operation::RetryFromStart(nth) => self.verb(*nth, Model::retry_from_start),
            Operation::RetryAll => {
                self.all(Model::retry, |state| matches!(state, State::Failed | State::Lost), None)
            }
            Operation::Cancel(nth) => self.verb(*nth, Model::cancel),
            Operation::CancelAll(queue) => self.all(Model::cancel, |state| !state.is_finished(), Some(queue)),
            Operation::Delete(nth) => self.verb(*nth, Model::delete),
            Operation::Complete(nth) => self.verb(*nth, Model::complete),
            Operation::Fail(nth) => self.verb(*nth, Model::fail),
            Operation::RunNow(nth) => self.verb(*nth, Model::run_now),
            Operation::Pause(queue) => {
                self.commit(|m| m.set_paused(queue, true)).map(|()| Answer::Verb(Ok(())))
            }
            Operation::Resume(queue) => {
                self.commit(|m| m.set_paused(queue, false)).map(|()| Answer::Verb(Ok(())))
            }
            Operation::SetLimit(queue, limit) => {
                self.commit(|m| m.set_limit(queue, *limit)).map(|()| Answer::Verb(Ok(())))
            }
            Operation::SetRate(queue, rate) => {
                self.commit_if_changed(|m| m.set_rate(queue, *rate)).map(|()| Answer::Verb(Ok(())))
            }
            Operation::SetCondition { condition, is_met, outside: true } => {
                let before = self.suspects();
                self.set_condition(condition, *is_met, false);
                self.pass_on(&before);
                Ok(Answer::Verb(Ok(())))
            }
            Operation::SetCondition { condition, is_met, outside: false } => {
                self.commit(|m| m.set_condition(condition, *is_met, true)).map(|()| Answer::Verb(Ok(())))
            }
            Operation::MoveToDeadLetters => self.all(
                Model::move_to_dead_letters,
                |state| matches!(state, State::Failed | State::Lost),
                None,
            ),
            Operation::Replay { letter, forced } => {
                let id = self.pick_letter(*letter);
                match self.clone().replay(id, *forced) {
                    Err(kind) => Ok(Answer::Replayed(Err(kind))),
                    Ok(_) => self.commit(|m| m.replay(id, *forced)).map(Answer::Replayed),
                }
            }
            Operation::Visit(task, options) => {
                let before = self.suspects();
                let made = self.enqueue(task, options);
                self.pass_on(&before);
                Ok(Answer::Enqueued(vec![made]))
            }
            Operation::Reopen(program) | Operation::Crash(program) => {
                self.reopen(*program);
                Ok(Answer::Nothing)
            }
            Operation::CrashDuring(operation, at, program) => {
                self.dies_at = Some(*at);
                let answer = self.obey(operation).unwrap_or(Answer::Crashed);
                self.reopen(*program);
                Ok(answer)
            }
        }
    }

    // ---- Commits ----

    /// One transaction. At its end keys, permits and the turn among suspects are passed on. The
    /// process may die before it or after it.
    fn commit<R>(&mut self, step: impl FnOnce(&mut Model<W>) -> R) -> Result<R, Died> {
        let dies = self.dies_at.filter(|at| at.commit == 1).map(|at| at.moment);
        if dies == Some(CrashMoment::Before) {
            return Err(Died);
        }
        let before = self.suspects();
        let done = step(self);
        self.pass_on(&before);
        if dies == Some(CrashMoment::After) {
            return Err(Died);
        }
        self.dies_at = self.dies_at.map(|at| CrashPoint { commit: at.commit - 1, ..at });
        Ok(done)
    }

    /// The same for a step that may change nothing: then there is no commit at which the process
    /// can die.
    fn commit_if_changed<R>(&mut self, step: impl FnOnce(&mut Model<W>) -> R) -> Result<R, Died> {
        if self.dies_at.is_none() {
            return self.commit(step);
        }
        let mut after = self.clone();
        let done = step(&mut after);
        after.pass_on(&self.suspects());
        if after.in_file() == self.in_file() {
            *self = after;
            return Ok(done);
        }
        self.commit(|m| *m = after).map(|()| done)
    }

    /// The end of a transaction: keys and permits that it freed are passed on, and so is the turn
    /// among suspects if a suspect changed.
    fn pass_on(&mut self, suspects_before: &BTreeMap<TaskId, ModelTask<W>>) {
        self.release_keys();
        self.pass_permits();
        if std::mem::take(&mut self.turn_moves) | (self.suspects() != *suspects_before) {
            self.pass_turn();
        }
    }

    // ---- Operations ----

    /// One transaction. A replaced task is written even if nothing of it changes.
    fn enqueue_all(&mut self, tasks: &[(W, Options)]) -> Result<Answer, Died> {
        let enqueue = |m: &mut Model<W>| -> Vec<Enqueued> {
            tasks.iter().map(|(task, options)| m.enqueue(task, options)).collect()
        };
        let replaces = enqueue(&mut self.clone()).iter().any(|made| matches!(made, Enqueued::Replaced(_)));
        let made = if replaces { self.commit(enqueue) } else { self.commit_if_changed(enqueue) };
        made.map(Answer::Enqueued)
    }

    /// Claims the next task. Claims again if the claim only held tasks that may not run, and
    /// another task is ready.
    fn claim_one(&mut self) -> Result<Option<TaskId>, Died> {
        loop {
            let claimed = self.commit_if_changed(Model::claim)?;
            if claimed.is_some() || !self.has_something_to_claim() {
                return Ok(claimed);
            }
        }
    }

    /// Claims the next task, starts its handler, and settles the outcome.
    fn run_one(&mut self) -> Result<Option<Ran>, Died> {
        let Some(id) = self.claim_one()? else { return Ok(None) };
        self.start(id);
        let Some(task) = self.tasks.get(&id) else { return Ok(None) };
        let (attempt, task) = (task.attempt(), task.task.clone());
        for act in task.acts(attempt) {
            match act {
                Act::SavesCheckpoint => self.commit(|_| ())?,
                Act::DoesStep if attempt.has_steps => {}
                Act::DoesStep => {
                    self.commit(|m| {
                        let _ = m.task(id).map(|task| task.has_steps = true);
                    })?;
                }
                Act::CancelsItself => drop(self.commit(|m| m.cancel(id))?),
            }
        }
        let ending = task.ending(attempt);
        self.commit(|m| m.settle(id, ending))?;
        Ok(Some(match ending {
            Ending::Succeeds => Ran::Succeeded(id),
            Ending::Snoozes(_) | Ending::Sleeps(_) => Ran::Snoozed(id),
            Ending::Throttles(_) | Ending::WaitsFor(_) => Ran::HandedBack(id),
            Ending::Cancels => Ran::Cancelled(id),
            Ending::GoesOutside => Ran::WentOutside(id),
            Ending::Fails(_) | Ending::FailsUntil(_) | Ending::FailsForGood => Ran::Failed(id),
        }))
    }

    /// Sets the wall clock, and does what is due, as the timer does.
    fn set_wall(&mut self, to: Timestamp) -> Result<Answer, Died> {
        self.wall = to;
        if self.must_mend() {
            self.commit(Model::mend)?;
        }
        if self.is_any_open() {
            self.commit_if_changed(|m| m.turn_moves = true)?;
        }
        if self.is_due() {
            self.commit(Model::promote)?;
        }
        Ok(Answer::Nothing)
    }

    fn apply_retention(&mut self) -> Result<Answer, Died> {
        if !self.is_steady() {
            return Ok(Answer::Ended(0));
        }
        let [gone, buried, letters] =
            [self.config.retention, self.config.dead_letter_after, self.config.dead_letter_retention]
                .map(|age| age.map(|age| self.wall.saturating_sub(age)));
        let mut ended = self.commit_if_changed(|m| m.purge(gone, buried))?;
        if let Some(before) = letters {
            ended += self.commit_if_changed(|m| m.purge_dead_letters(before))?;
        }
        self.commit_if_changed(|m| m.begin_times_again(|_| true))?;
        self.commit_if_changed(Model::forget_old_times)?;
        Ok(Answer::Ended(ended))
    }

    /// A verb for one task. A refused verb makes no commit.
    fn verb(
        &mut self,
        nth: Nth,
        verb: fn(&mut Model<W>, TaskId) -> Result<(), ErrorKind>,
    ) -> Result<Answer, Died> {
        let id = self.pick(nth);
        match verb(&mut self.clone(), id) {
            Err(kind) => Ok(Answer::Verb(Err(kind))),
            Ok(()) => self.commit(|m| verb(m, id)).map(Answer::Verb),
        }
    }

    /// A verb for every task in some states, in one transaction.
    fn all(
        &mut self,
        verb: fn(&mut Model<W>, TaskId) -> Result<(), ErrorKind>,
        states: fn(State) -> bool,
        queue: Option<&str>,
    ) -> Result<Answer, Died> {
        let meant = self.ids(|t| states(t.state) && queue.is_none_or(|queue| t.queue == queue));
        let changed = self.commit_if_changed(|m| meant.iter().filter(|id| verb(m, **id).is_ok()).count())?;
        let (changed, meant) = (changed as u64, meant.len() as u64);
        Ok(Answer::Bulk(Bulk { changed, skipped: meant - changed }))
    }

    /// The next process opens the file.
    fn reopen(&mut self, program: Program) {
        self.dies_at = None;
        let before = self.suspects();
        self.recover();
        self.pass_on(&before);
        let before = self.suspects();
        self.open(program);
        self.pass_on(&before);
    }
}
