//! The model's rules for the life of a task: the effect of each step.
//!
//! Every method is one atomic step, as the queue commits it. `commits` has the steps of each operation.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use super::bounds::ModelBounds;
use super::conditions::ModelConditions;
use super::{Answer, Ending, ModelLetter, ModelLimit, ModelTask, Program, Workload};
use crate::config::{Config, LostRetry};
use crate::crash::CrashPoint;
use crate::error::ErrorKind;
use crate::task::{DEFAULT_QUEUE, Due, Enqueued, Hold, Options, State, TaskId, Timestamp};

/// How long the wall clock must have been in step with the monotonic one before the retention deletes anything.
const STEADY_TIME: Duration = Duration::from_secs(5 * 60);
/// A difference up to this is drift, not a jump.
const DRIFT_MS: i128 = 60_000;
/// The error type of an attempt whose process died.
const TASK_LOST: &str = "TaskLost";

/// The reference: the answers that a queue should give and the tasks that it should hold. See the [module](super).
#[derive(Clone, PartialEq)]
pub struct Model<W> {
    pub(super) config: Config,
    pub(super) program: Program,
    pub(super) wall: Timestamp,
    pub(super) monotonic: Duration,
    pub(super) tasks: BTreeMap<TaskId, ModelTask<W>>,
    pub(super) letters: BTreeMap<TaskId, ModelLetter<W>>,
    last_id: i64,
    pub(super) paused: BTreeSet<String>,
    /// Keys that are taken for a time, by queue and key: the task (which may be gone), and from when to when.
    pub(super) timed_keys: BTreeMap<(String, String), (TaskId, Timestamp, Timestamp)>,
    pub(super) bounds: BTreeMap<String, ModelBounds>,
    pub(super) conditions: ModelConditions,
    /// The turn among suspects may have to move for another reason than a change of a suspect.
    pub(super) turn_moves: bool,
    /// Queues in the order in which they were first named.
    met: Vec<String>,
    /// The queue from which was claimed last.
    served: Option<String>,
    /// The last reading of both clocks, and since when they have been in step.
    looked: (Timestamp, Duration),
    steady_since: Duration,
    /// The commit, counted from now, at which the process dies.
    pub(super) dies_at: Option<CrashPoint>,
    pub(super) answer: Answer,
}

/// Short, since failing tests print it.
impl<W: Workload> fmt::Debug for Model<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [own, default] = [&self.config, &Config::default()].map(|config| format!("{config:#?}"));
        let default: Vec<&str> = default.lines().collect();
        let own = own.lines().filter(|line| !default.contains(line)).map(str::trim);
        let config = own.collect::<Vec<_>>().join(" ");
        write!(
            f,
            "Model {{ config: Config {{ {config} .. }}, now: {}, tasks: {} }}",
            self.wall,
            self.tasks.len()
        )
    }
}

impl<W: Workload> Model<W> {
    /// The model of an empty file that a [whole](Program::Whole) program has just opened with this configuration, at this time.
    ///
    /// # Panics
    /// If `retry_jitter` is not 0, since its draws depend on the file.
    pub fn new(config: &Config, now: Timestamp) -> Model<W> {
        assert!(config.retry_jitter == 0.0, "the model knows no jitter");
        let monotonic = Duration::from_secs(1);
        Model {
            config: config.clone(),
            program: Program::Whole,
            wall: now,
            monotonic,
            tasks: BTreeMap::new(),
            letters: BTreeMap::new(),
            last_id: 0,
            paused: BTreeSet::new(),
            timed_keys: BTreeMap::new(),
            bounds: BTreeMap::new(),
            conditions: ModelConditions::default(),
            turn_moves: false,
            met: Vec::new(),
            served: None,
            looked: (now, monotonic),
            steady_since: monotonic,
            dies_at: None,
            answer: Answer::Nothing,
        }
    }

    // ---- Looking ----

    /// The settings of the queue.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The handlers of the process that has the file open.
    pub fn program(&self) -> Program {
        self.program
    }

    /// The time of the wall clock.
    pub fn now(&self) -> Timestamp {
        self.wall
    }

    /// Every task.
    pub fn tasks(&self) -> &BTreeMap<TaskId, ModelTask<W>> {
        &self.tasks
    }

    /// Every dead letter.
    pub fn letters(&self) -> &BTreeMap<TaskId, ModelLetter<W>> {
        &self.letters
    }

    /// The answer of the last operation.
    pub fn answer(&self) -> &Answer {
        &self.answer
    }

    /// The id of the next task.
    pub(super) fn next_id(&self) -> TaskId {
        TaskId::from_i64(self.last_id + 1)
    }

    /// The part of the model that is in the file: without the queue that was served last and bounds that are all unset.
    pub(super) fn in_file(&self) -> Model<W> {
        let mut file = Model { served: None, ..self.clone() };
        file.bounds.retain(|_, bounds| bounds.is_any());
        file
    }

    /// The ids, in order, of the tasks for which `wanted` is true.
    pub(super) fn ids(&self, wanted: impl Fn(&ModelTask<W>) -> bool) -> Vec<TaskId> {
        self.tasks.iter().filter(|(_, t)| wanted(t)).map(|(id, _)| *id).collect()
    }

    pub(super) fn task(&mut self, id: TaskId) -> Result<&mut ModelTask<W>, ErrorKind> {
        self.tasks.get_mut(&id).ok_or(ErrorKind::NotFound)
    }

    // ---- Enqueue ----

    pub(super) fn meet(&mut self, queue: &str) {
        if !self.met.iter().any(|met| met == queue) {
            self.met.push(queue.to_owned());
        }
    }

    pub(super) fn insert(&mut self, task: ModelTask<W>) -> TaskId {
        let id = self.next_id();
        self.last_id += 1;
        self.tasks.insert(id, task);
        id
    }

    /// Makes a task, or finds the one by which its key is taken.
    pub(super) fn enqueue(&mut self, task: &W, options: &Options) -> Enqueued {
        let all = options.clone().or(task.options());
        let queue = all.queue.clone().unwrap_or_else(|| DEFAULT_QUEUE.to_owned());
        self.meet(&queue);
        let key = all.unique.as_ref().map(|unique| unique.scoped(task.kind()));
        if let Some(id) = key.as_deref().and_then(|key| self.holder(&queue, key)) {
            return self.meet_taken(id, task, all);
        }
        let (run_at, anchor) = due(all.due, self.wall);
        let needs = self.needs(&all.needs);
        let id = self.insert(ModelTask {
            task: task.clone(),
            queue,
            priority: all.priority.unwrap_or(0),
            state: State::Queued,
            reasons: (run_at > Some(self.wall)).then_some(Hold::Time).into_iter().collect(),
            attempt_number: 0,
            max_attempts: all.max_attempts.unwrap_or(self.config.max_task_attempts),
            generation: 0,
            created_at: self.wall,
            run_at,
            anchor,
            expires_at: all.expires.map(|after| self.wall.saturating_add(after)),
            finished_at: None,
            key,
            until_started: all.unique.as_ref().is_some_and(|unique| unique.until_started),
            key_lasts: all.unique.and_then(|unique| unique.lasts),
            has_key: false,
            limit: ModelLimit::asked(all.limit.or(all.serial)),
            has_permit: false,
            has_begun: false,
            has_steps: false,
            needs,
            waits_for: None,
            backoff: all.backoff,
            suspect: false,
            started: false,
            cancel_requested: false,
            outside: false,
            snoozes: 0,
            replay_of: None,
        });
        self.give_key(id, Some(self.wall));
        self.stand(id);
        Enqueued::Inserted(id)
    }

    // ---- Run ----

    /// The first ready task of a queue, by priority and then by id.
    pub(super) fn head(&self, queue: &str) -> Option<TaskId> {
        let ready = self.tasks.iter().filter(|(_, t)| t.queue == queue && t.is_held(Hold::Ready));
        ready.max_by_key(|(id, t)| (t.priority, std::cmp::Reverse(**id))).map(|(id, _)| *id)
    }

    /// QUEUED → RUNNING, for the next task. Queues take turns. On the way expired tasks are cancelled, and tasks that no handler
    /// knows or that lack a condition are held; their permits are passed on once the queue's turn is over.
    pub(super) fn claim(&mut self) -> Option<TaskId> {
        loop {
            let (queue, is_alone) = match self.queues_in_turn().as_slice() {
                [] if self.pass_permits() => continue,
                [] => return None,
                [next, others @ ..] => (next.clone(), others.is_empty()),
            };
            self.served = Some(queue.clone());
            self.visit(&queue);
            if let Some(id) = self.claim_from(&queue) {
                self.spend(&queue);
                return Some(id);
            }
            if !is_alone {
                self.pass_permits();
            }
        }
    }

    pub(super) fn has_something_to_claim(&self) -> bool {
        !self.queues_in_turn().is_empty()
    }

    /// The queues that have something to claim, the next one first.
    fn queues_in_turn(&self) -> Vec<String> {
        let may = |q: &&String| !self.paused.contains(*q) && !self.is_shut(q) && self.head(q).is_some();
        let mut queues: Vec<String> = self.met.iter().filter(may).cloned().collect();
        if let Some(served) = &self.served {
            let place = |q: &String| self.met.iter().position(|met| met == q);
            let next = queues.iter().position(|q| place(q) > place(served)).unwrap_or(0);
            queues.rotate_left(next);
        }
        queues
    }

    /// Takes the first ready task of a queue, and claims it if it may run.
    fn claim_from(&mut self, queue: &str) -> Option<TaskId> {
        let id = self.head(queue)?;
        let (now, program) = (self.wall, self.program);
        let lacks = self.lacks(self.tasks.get(&id)?);
        let task = self.tasks.get_mut(&id)?;
        let may_run = if task.expires_at.is_some_and(|at| at <= now) {
            task.end(State::Cancelled, now);
            false
        } else if !task.task.is_known_to(program) {
            task.reasons = task.turn().into_iter().chain([Hold::UnknownName]).collect();
            false
        } else if lacks.is_some() {
            task.reasons = task.turn().into_iter().chain([Hold::Condition]).collect();
            task.waits_for = lacks;
            false
        } else {
            (task.state, task.started, task.cancel_requested) = (State::Running, false, false);
            task.attempt_number += 1;
            task.generation += 1;
            true
        };
        self.stand(id);
        may_run.then_some(id)
    }

    /// The handler begins: there is a start note.
    pub(super) fn start(&mut self, id: TaskId) {
        if let Ok(task) = self.task(id) {
            task.started = true;
        }
    }

    /// The wait after attempt n: the base, doubled n − 1 times, at most `retry_backoff_max`.
    fn backoff(&self, task: &ModelTask<W>) -> Duration {
        let base = task.backoff.unwrap_or(self.config.retry_backoff);
        let doubled = 2_u32.checked_pow(task.attempt_number - 1).and_then(|factor| base.checked_mul(factor));
        doubled
            .unwrap_or(if base.is_zero() { base } else { Duration::MAX })
            .min(self.config.retry_backoff_max)
    }

    /// Whether failures of this type are not retried. An entry matches if its last segment equals the type's, and its others
    /// occur in the type's path in the same order.
    fn denies(&self, error_type: &str) -> bool {
        let found = error_type.replace("::", ".");
        let found: Vec<&str> = found.split('.').collect();
        self.config.retry_exception_denylist.iter().any(|entry| {
            let entry = entry.replace("::", ".");
            let entry: Vec<&str> = entry.split('.').collect();
            let (wanted, mut path) = (&entry[..entry.len() - 1], found[..found.len() - 1].iter());
            entry.last() == found.last() && wanted.iter().all(|segment| path.any(|s| s == segment))
        })
    }

    /// RUNNING → the state after the end of the attempt.
    pub(super) fn settle(&mut self, id: TaskId, ending: Ending) {
        let Some(mut task) = self.tasks.remove(&id) else { return };
        let (now, left) = (self.wall, task.attempt_number < task.max_attempts);
        let ending = match ending {
            Ending::WaitsFor(name) => {
                self.meet_condition(name);
                if self.is_met(name) { Ending::Fails("Condition") } else { ending }
            }
            _ => ending,
        };
        task.suspect &= matches!(ending, Ending::Throttles(_));
        task.has_begun = true;
        match ending {
            Ending::Succeeds => {
                task.end(State::Succeeded, now);
                task.has_steps = false;
            }
            Ending::Snoozes(delay) | Ending::Sleeps(delay) => {
                task.snoozes += 1;
                if task.cancel_requested {
                    task.end(State::Cancelled, now);
                } else {
                    task.attempt_number -= 1;
                    task.wait(now, delay);
                    task.has_steps |= matches!(ending, Ending::Sleeps(_));
                }
            }
            Ending::Throttles(delay) => {
                self.close(&task.queue, delay);
                if task.cancel_requested {
                    task.end(State::Cancelled, now);
                } else {
                    task.attempt_number -= 1;
                    task.queue_up(task.turn());
                }
            }
            _ if task.cancel_requested => task.end(State::Cancelled, now),
            Ending::WaitsFor(name) => {
                task.attempt_number -= 1;
                task.queue_up(Some(Hold::Condition));
                task.waits_for = Some(name.to_owned());
            }
            Ending::Fails(error_type) if left && !self.denies(error_type) => {
                task.wait(now, self.backoff(&task))
            }
            Ending::FailsUntil(delay) if left => task.wait(now, delay),
            Ending::Fails(_) | Ending::FailsUntil(_) | Ending::FailsForGood => task.end(State::Failed, now),
            Ending::Cancels => task.end(State::Cancelled, now),
            Ending::GoesOutside => task.outside = true,
        }
        self.tasks.insert(id, task);
        self.take_key_again(id);
        self.stand(id);
    }

    // ---- Time ----

    /// What the timer does, in this order: waits that began in the future begin again (the clock jumped back), tasks expire,
    /// waits end.
    pub(super) fn promote(&mut self) {
        let now = self.wall;
        for task in self.tasks.values_mut().filter(|t| t.is_held(Hold::Time)) {
            if let (Some(run_at), Some(anchor)) = (task.run_at, task.anchor)
                && anchor > now
            {
                task.wait_from(now, run_at.since(anchor));
            }
        }
        let is_over = |t: &ModelTask<W>| t.state == State::Queued && t.expires_at.is_some_and(|at| at <= now);
        for id in self.ids(is_over) {
            self.tasks.entry(id).and_modify(|task| task.end(State::Cancelled, now));
            self.stand(id);
        }
        let mut due = self.ids(|t| t.is_held(Hold::Time) && t.run_at.is_some_and(|at| at <= now));
        due.sort_by_key(|id| (self.tasks[id].run_at, *id));
        for id in due {
            self.tasks.entry(id).and_modify(|task| task.reasons.retain(|hold| *hold != Hold::Time));
            self.stand(id);
        }
    }

    /// Whether [`promote`](Model::promote) has anything to do.
    pub(super) fn is_due(&self) -> bool {
        let now = self.wall;
        let waits =
            |t: &ModelTask<W>| t.run_at.is_some_and(|at| at <= now) || t.anchor.is_some_and(|at| at > now);
        let due =
            |t: &ModelTask<W>| t.expires_at.is_some_and(|at| at <= now) || t.hold() == Hold::Time && waits(t);
        self.tasks.values().any(|t| t.state == State::Queued && due(t))
    }

    /// Reads both clocks; whether the wall clock can be trusted for deletions.
    pub(super) fn is_steady(&mut self) -> bool {
        let (wall, monotonic) = std::mem::replace(&mut self.looked, (self.wall, self.monotonic));
        let by_wall = i128::from(self.wall.as_millis()) - i128::from(wall.as_millis());
        let by_monotonic = self.monotonic.saturating_sub(monotonic).as_millis().cast_signed();
        if (by_wall - by_monotonic).abs() > DRIFT_MS {
            self.steady_since = self.monotonic;
        }
        self.monotonic - self.steady_since >= STEADY_TIME
    }

    /// The suspects.
    pub(super) fn suspects(&self) -> BTreeMap<TaskId, ModelTask<W>> {
        self.tasks.iter().filter(|(_, t)| t.suspect).map(|(id, t)| (*id, t.clone())).collect()
    }

    /// Gives the turn to the first suspect, by priority and id, of the queues that let something start, unless a suspect runs.
    pub(super) fn pass_turn(&mut self) {
        if self.tasks.values().any(|t| t.suspect && t.state == State::Running) {
            return;
        }
        let may_be_on = |t: &ModelTask<W>| {
            t.suspect
                && (t.is_held(Hold::Ready) || t.is_held(Hold::Suspect))
                && !self.paused.contains(&t.queue)
                && !self.is_shut(&t.queue)
        };
        let turn = |id: &TaskId| (self.tasks[id].priority, std::cmp::Reverse(*id));
        let first = self.ids(may_be_on).into_iter().max_by_key(turn);
        for (id, task) in self.tasks.iter_mut().filter(|_| first.is_some()) {
            if Some(*id) == first {
                task.reasons.remove(&Hold::Suspect);
            } else if task.suspect && task.is_held(Hold::Ready) {
                task.reasons.insert(Hold::Suspect);
            }
        }
    }

    /// A new owner settles the attempts of the previous one. Attempts that had not started do not count.
    pub(super) fn recover(&mut self) {
        self.turn_moves = true;
        self.conditions.owner += 1;
        let lost_is_denied = self.denies(TASK_LOST);
        for id in self.ids(|t| t.state == State::Running && !t.outside) {
            let Some(mut task) = self.tasks.remove(&id) else { continue };
            let now = self.wall;
            if task.cancel_requested {
                task.end(State::Cancelled, now);
            } else if !task.started {
                task.attempt_number -= 1;
                task.queue_up(task.turn());
            } else if task.attempt_number >= task.max_attempts || lost_is_denied {
                task.end(State::Lost, now);
            } else {
                (task.suspect, task.has_begun) = (true, true);
                match self.config.lost_retry {
                    LostRetry::Immediate => task.queue_up(task.turn()),
                    LostRetry::Backoff => {
                        task.wait(now, self.backoff(&task));
                        task.reasons.insert(Hold::Suspect);
                    }
                    LostRetry::Manual => task.end(State::Lost, now),
                }
            }
            self.tasks.insert(id, task);
            self.take_key_again(id);
            self.stand(id);
        }
    }

    /// A process opens the file: the queue served last and the steadiness of the clock are forgotten, and tasks that it knows
    /// lose the hold *unknown name*.
    pub(super) fn open(&mut self, program: Program) {
        self.program = program;
        self.served = None;
        (self.looked, self.steady_since) = ((self.wall, self.monotonic), self.monotonic);
        for id in self.ids(|t| t.is_held(Hold::UnknownName) && t.task.is_known_to(program)) {
            self.tasks.entry(id).and_modify(|task| task.reasons.retain(|hold| *hold != Hold::UnknownName));
            self.stand(id);
        }
    }
}

/// When a task that is enqueued now may start: its time and, for a delay, when that began.
pub(super) fn due(due: Option<Due>, now: Timestamp) -> (Option<Timestamp>, Option<Timestamp>) {
    match due.filter(|due| *due != Due::After(Duration::ZERO)) {
        None => (None, None),
        Some(Due::After(delay)) => (Some(now.saturating_add(delay)), Some(now)),
        Some(Due::At(time)) => (Some(time), None),
    }
}
