//! A queue and its model, compared after each operation.

use std::fmt;
use std::path::PathBuf;

use super::commits::RUN_ALL;
use super::{Answer, Model, Nth, Operation, Program, Workload};
use crate::clock::Clock;
use crate::config::Config;
use crate::error::{Error, ErrorKind};
use crate::handler::Failure;
use crate::queue::Queue;
use crate::task::{Counts, Filter, Hold, QueueCounts, State, TaskId, TaskRecord, Timestamp};
use crate::testing::{Crashed, ManualClock, SteppedQueue};

/// After every this many operations, dead letters, counters and bounds are compared too. Operations
/// that change them are few, and none changes them back.
const EVERY: usize = 4;

/// A queue and its model, to which the same operations are applied. They are compared after each.
pub struct Pair<W: Workload> {
    /// None only while the file is being reopened.
    queue: Option<SteppedQueue>,
    model: Model<W>,
    world: W::World,
    clock: ManualClock,
    operations: Vec<Operation<W>>,
    path: PathBuf,
    /// Keeps the folder. Declared last, so dropped after the queue.
    _folder: Crashed,
}

impl<W: Workload> fmt::Debug for Pair<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pair")
            .field("path", &self.path)
            .field("operations", &self.operations.len())
            .field("model", &self.model)
            .finish_non_exhaustive()
    }
}

/// A difference between queue and model. It prints with the operations that led to it.
pub struct Difference(String);

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Difference {}

impl From<Error> for Difference {
    fn from(e: Error) -> Difference {
        Difference(format!("there is no queue to compare: {e}"))
    }
}

/// The fields of a task that the model must predict.
#[derive(Debug, PartialEq)]
struct ShownTask {
    state: State,
    hold: Option<Hold>,
    reasons: Vec<Hold>,
    attempt_number: u32,
    max_attempts: u32,
    generation: u64,
    priority: i16,
    queue: String,
    created_at: Timestamp,
    /// Only while its hold is *time*.
    run_at: Option<Timestamp>,
    /// Only while it is `QUEUED`.
    expires_at: Option<Timestamp>,
    finished_at: Option<Timestamp>,
    cancel_requested: bool,
    snoozes: u32,
    replay_of: Option<TaskId>,
    /// The permits of its key, whether it is serial, and whether it holds a permit.
    limit: Option<(u32, bool, bool)>,
    /// The conditions that it needs, and the one that it waits for.
    needs: (Vec<String>, Option<String>),
    /// Its work is outside.
    outside: bool,
}

impl<W: Workload> Pair<W> {
    /// A fresh file, on a file system in memory if there is one, and a fresh model.
    ///
    /// # Errors
    /// If the configuration is out of range, or no file can be made.
    pub fn new(config: &Config) -> Result<Pair<W>, Error> {
        let clock = ManualClock::new();
        Pair::on(Model::new(config, clock.now()), clock)
    }

    /// A fresh file for a fresh model: one to which no operation was applied.
    ///
    /// # Errors
    /// If the configuration is out of range, or no file can be made.
    pub fn beside(model: &Model<W>) -> Result<Pair<W>, Error> {
        Pair::on(model.clone(), ManualClock::at(model.now()))
    }

    fn on(model: Model<W>, clock: ManualClock) -> Result<Pair<W>, Error> {
        let folder = SteppedQueue::open(Queue::builder(), &clock)?.crash()?;
        let (path, world) = (folder.path().to_owned(), W::World::default());
        let mut pair =
            Pair { queue: None, model, world, clock, operations: Vec::new(), path, _folder: folder };
        pair.open(Program::Whole)?;
        Ok(pair)
    }

    /// The model.
    pub fn model(&self) -> &Model<W> {
        &self.model
    }

    /// The world that the handlers use.
    pub fn world(&self) -> &W::World {
        &self.world
    }

    /// Applies an operation to both, and compares them.
    ///
    /// # Errors
    /// The difference.
    pub fn apply(&mut self, operation: &Operation<W>) -> Result<(), Difference> {
        self.operations.push(operation.clone());
        let answer = self.obey(operation).map_err(|e| self.difference(&format!("the queue fails: {e}")))?;
        self.model.apply(operation);
        if answer != *self.model.answer() {
            return Err(self.not_the_same("the answer", &answer, self.model.answer()));
        }
        self.compare_tasks()?;
        if self.operations.len().is_multiple_of(EVERY) {
            self.compare_rest()?;
        }
        W::check(operation, &self.model, self.stepped().queue(), &self.world);
        Ok(())
    }

    /// Checks the whole file, after the last operation.
    ///
    /// # Errors
    /// The difference, or the damage.
    pub fn finish(self) -> Result<(), Difference> {
        self.compare_rest()?;
        match self.stepped().queue().check() {
            Ok(report) if report.is_ok() => Ok(()),
            Ok(report) => Err(self.difference(&format!("the file is not sound: {report:?}"))),
            Err(e) => Err(self.difference(&format!("the file cannot be checked: {e}"))),
        }
    }

    // ---- Operations ----

    fn stepped(&self) -> &SteppedQueue {
        self.queue.as_ref().expect("it is put back before an operation ends")
    }

    fn another(&self, program: Program) -> Result<SteppedQueue, Error> {
        let config = Config { disk_reserve_bytes: 0, ..self.model.config().clone() }; // the model has no full disk
        let builder = W::handle(Queue::builder().config(config), &self.world, program);
        SteppedQueue::open_file(builder, &self.clock, &self.path)
    }

    fn open(&mut self, program: Program) -> Result<(), Error> {
        self.queue = None; // frees the lock
        self.queue = Some(self.another(program)?);
        Ok(())
    }

    fn crash(&mut self, program: Program) -> Result<(), Error> {
        self.queue.take().map_or(Ok(()), |queue| queue.crash().map(drop))?;
        self.open(program)
    }

    fn tick(&mut self, change: impl FnOnce(&ManualClock)) -> Result<Answer, Error> {
        change(&self.clock);
        self.queue.as_mut().map_or(Ok(()), SteppedQueue::tick)?;
        Ok(Answer::Nothing)
    }

    fn verb(&self, nth: Nth, verb: fn(&Queue, TaskId) -> Result<(), Error>) -> Result<Answer, Error> {
        allowed(verb(self.stepped().queue(), self.model.pick(nth))).map(Answer::Verb)
    }

    fn obey(&mut self, operation: &Operation<W>) -> Result<Answer, Error> {
        let queue = self.stepped().queue();
        match operation {
            Operation::Enqueue(task, options) => {
                Ok(Answer::Enqueued(vec![task.enqueue(queue, options.clone(), &self.world)?]))
            }
            Operation::EnqueueAll(tasks) if W::can_batch(tasks) => {
                W::enqueue_all(queue, tasks, &self.world).map(Answer::Enqueued)
            }
            Operation::EnqueueAll(_) => Ok(Answer::Enqueued(Vec::new())),
            Operation::EnqueueInvalid(task, invalid) => {
                allowed(task.enqueue(queue, invalid.options(), &self.world).map(drop)).map(Answer::Verb)
            }
            Operation::RunOne => Ok(Answer::Ran(self.stepped().run_one()?.into_iter().collect())),
            Operation::RunAll => {
                let ran = std::iter::from_fn(|| self.stepped().run_one().transpose()).take(RUN_ALL);
                ran.collect::<Result<_, _>>().map(Answer::Ran)
            }
            Operation::Advance(by) => self.tick(|clock| clock.advance(*by)),
            Operation::Suspend(by) => self.tick(|clock| clock.suspend(*by)),
            Operation::JumpBack(by) => self.tick(|clock| clock.set_wall(clock.now().saturating_sub(*by))),
            Operation::Age => {
                self.queue.as_mut().map_or(Ok(0), SteppedQueue::apply_retention).map(Answer::Ended)
            }
            Operation::Purge(age) => {
                queue.purge(self.clock.now().saturating_sub(*age).to_system_time()).map(Answer::Ended)
            }
            Operation::Retry(nth) => self.verb(*nth, Queue::retry),
            Operation::RetryFromStart(nth) => self.verb(*nth, Queue::retry_from_start),
            Operation::RetryAll => queue.retry_all(Filter::new()).map(Answer::Bulk),
            Operation::Cancel(nth) => self.verb(*nth, Queue::cancel),
            Operation::CancelAll(name) => queue.cancel_all(Filter::new().queue(*name)).map(Answer::Bulk),
            Operation::Delete(nth) => self.verb(*nth, Queue::delete),
            Operation::Complete(nth) => {
                self.verb(*nth, |queue, id| queue.complete_json(id, queue.get(id)?.generation, "6"))
            }
            Operation::Fail(nth) => self.verb(*nth, |queue, id| {
                queue.fail(id, queue.get(id)?.generation, Failure::named("told.to", "fail"))
            }),
            Operation::RunNow(nth) => self.verb(*nth, Queue::run_now),
            Operation::Pause(name) => allowed(queue.pause(name)).map(Answer::Verb),
            Operation::Resume(name) => allowed(queue.resume(name)).map(Answer::Verb),
            Operation::SetLimit(name, limit) => allowed(queue.set_limit(name, *limit)).map(Answer::Verb),
            Operation::SetRate(name, rate) => allowed(queue.set_rate(name, *rate)).map(Answer::Verb),
            Operation::SetCondition { condition, is_met, outside: false } => {
                allowed(queue.set_condition(condition, *is_met)).map(Answer::Verb)
            }
            Operation::SetCondition { condition, is_met, outside: true } => {
                let visitor = self.another(Program::Whole)?;
                allowed(visitor.queue().set_condition(condition, *is_met)).map(Answer::Verb)
            }
            Operation::MoveToDeadLetters => queue.move_to_dead_letters(Filter::new()).map(Answer::Bulk),
            Operation::Replay { letter, forced } => {
                let (letters, id) = (queue.dead_letters(), self.model.pick_letter(*letter));
                allowed(if *forced { letters.replay_again(id) } else { letters.replay(id) })
                    .map(Answer::Replayed)
            }
            Operation::Visit(task, options) => {
                let visitor = self.another(Program::Whole)?;
                if visitor.queue().executes() || visitor.run_one()?.is_some() {
                    return Err(Error::internal("two processes run tasks of one file"));
                }
                Ok(Answer::Enqueued(vec![task.enqueue(visitor.queue(), options.clone(), &self.world)?]))
            }
            Operation::Reopen(program) => self.open(*program).map(|()| Answer::Nothing),
            Operation::Crash(program) => self.crash(*program).map(|()| Answer::Nothing),
            Operation::CrashDuring(operation, at, program) => {
                self.stepped().crash_at(*at);
                let answer = self.obey(operation);
                let has_crashed = self.stepped().has_crashed();
                self.crash(*program)?;
                if has_crashed { Ok(Answer::Crashed) } else { answer }
            }
        }
    }

    // ---- Comparison ----

    fn compare_tasks(&self) -> Result<(), Difference> {
        let tasks = self.stepped().queue().tasks(Filter::new().limit(usize::MAX));
        let tasks = tasks.map_err(|e| self.difference(&format!("the tasks cannot be read: {e}")))?;
        let wanted: Vec<TaskId> = self.model.tasks().keys().copied().collect();
        let found: Vec<TaskId> = tasks.iter().map(|record| record.task_id).collect();
        self.equal("the tasks that there are", &found, &wanted)?;
        for (record, task) in tasks.iter().zip(self.model.tasks().values()) {
            let wanted = ShownTask {
                state: task.state,
                hold: (task.state == State::Queued).then_some(task.hold()),
                reasons: task.reasons.iter().copied().collect(),
                attempt_number: task.attempt_number,
                max_attempts: task.max_attempts,
                generation: task.generation,
                priority: task.priority,
                queue: task.queue.clone(),
                created_at: task.created_at,
                run_at: task.run_at.filter(|_| task.hold() == Hold::Time),
                expires_at: task.expires_at.filter(|_| task.state == State::Queued),
                finished_at: task.finished_at,
                cancel_requested: task.cancel_requested,
                snoozes: task.snoozes,
                replay_of: task.replay_of,
                limit: task.limit.as_ref().map(|limit| (limit.permits, limit.serial, task.has_permit)),
                needs: (
                    task.needs.clone(),
                    task.waits_for.clone().filter(|_| task.reasons.contains(&Hold::Condition)),
                ),
                outside: task.outside,
            };
            self.equal(&format!("task {} ({:?})", record.task_id, task.task), &shown(record), &wanted)?;
        }
        Ok(())
    }

    /// Compares dead letters, counters, and bounds of queues.
    fn compare_rest(&self) -> Result<(), Difference> {
        let queue = self.stepped().queue();
        let letters = queue.dead_letters().list(Filter::new().limit(usize::MAX));
        let letters =
            letters.map_err(|e| self.difference(&format!("the dead letters cannot be read: {e}")))?;
        let letters: Vec<_> = letters.iter().map(|letter| (letter.task_id, letter.replayed_as)).collect();
        let wanted = self.model.letters().iter().map(|(id, letter)| (*id, letter.replayed_as)).collect();
        self.equal("the dead letters, and what was made of them", &letters, &wanted)?;
        let counts = queue.counts();
        let mut counts = counts.map_err(|e| self.difference(&format!("the counters cannot be read: {e}")))?;
        counts.queues.values_mut().for_each(|n| n.paused = false);
        counts.queues.retain(|_, n| *n != QueueCounts::default());
        self.equal("the counters", &counts, &self.counted())
    }

    /// The counters as they should be.
    fn counted(&self) -> Counts {
        let mut counts = Counts::default();
        for task in self.model.tasks().values() {
            let queue: &mut QueueCounts = counts.queues.entry(task.queue.clone()).or_default();
            *queue.counter(task.state, task.hold()) += 1;
        }
        for (name, bounds) in self.model.shown_bounds() {
            let queue: &mut QueueCounts = counts.queues.entry(name).or_default();
            (queue.limit, queue.rate, queue.closed_until) = bounds;
        }
        counts
    }

    fn equal<T: PartialEq + fmt::Debug>(&self, what: &str, found: &T, wanted: &T) -> Result<(), Difference> {
        if found == wanted { Ok(()) } else { Err(self.not_the_same(what, found, wanted)) }
    }

    fn not_the_same<T: fmt::Debug>(&self, what: &str, found: &T, wanted: &T) -> Difference {
        let [found, wanted] = [format!("{found:#?}"), format!("{wanted:#?}")];
        let mut text = what.to_owned();
        for (side, lines, others) in [("queue", &found, &wanted), ("model", &wanted, &found)] {
            let others: Vec<&str> = others.lines().collect();
            let own = lines.lines().filter(|line| !others.contains(line)).map(str::trim);
            text.push_str(&format!("\n  the {side} has {}", own.collect::<Vec<_>>().join(" ")));
        }
        self.difference(&text)
    }

    fn difference(&self, what: &str) -> Difference {
        let mut text = format!("{what}\nafter these operations:\n");
        for operation in &self.operations {
            text.push_str(&format!("    {operation},\n"));
        }
        Difference(text)
    }
}

/// A refusal is an answer; any other error is a failure.
fn allowed<R>(answer: Result<R, Error>) -> Result<Result<R, ErrorKind>, Error> {
    match answer {
        Ok(done) => Ok(Ok(done)),
        Err(e) => match e.kind() {
            kind @ (ErrorKind::NotFound
            | ErrorKind::WrongState
            | ErrorKind::Conflict
            | ErrorKind::Superseded
            | ErrorKind::InvalidInput) => Ok(Err(kind)),
            _ => Err(e),
        },
    }
}

fn shown(record: &TaskRecord) -> ShownTask {
    ShownTask {
        state: record.state,
        hold: record.hold,
        reasons: record.reasons.clone(),
        attempt_number: record.attempt_number,
        max_attempts: record.max_attempts,
        generation: record.generation,
        priority: record.priority,
        queue: record.queue.clone(),
        created_at: record.created_at,
        run_at: record.run_at.filter(|_| record.hold == Some(Hold::Time)),
        expires_at: record.expires_at,
        finished_at: record.finished_at,
        cancel_requested: record.cancel_requested,
        snoozes: record.snoozes,
        replay_of: record.replay_of,
        limit: record.limit.map(|limit| (limit.permits, limit.serial, limit.held)),
        outside: record.outside.is_some(),
        needs: record
            .needs
            .as_ref()
            .map(|needs| (needs.conditions.clone(), needs.waits_for.clone()))
            .unwrap_or_default(),
    }
}
