//! Explains why a task does not run now, in terms of the command's verbs.

use std::fmt;

use super::task::{engine_of_job, is_job};
use crate::console::error::{CliError, Exit};
use crate::console::times::Zone;
use crate::console::words::{bytes, count, distance};
use crate::inspect::Explanation;
use crate::{Hold, Queue, State, TaskId, TaskRecord, Timestamp};

/// Whether a process runs the tasks of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WorkerStatus {
    /// It does; its process id, where that can be known.
    Runs(Option<u32>),
    Missing,
    /// From here that cannot be known.
    Unknown,
}

impl WorkerStatus {
    pub(crate) fn of(queue: &Queue) -> WorkerStatus {
        let owner = queue.owner();
        match owner.is_owned {
            Some(true) => WorkerStatus::Runs(owner.process),
            Some(false) => WorkerStatus::Missing,
            None => WorkerStatus::Unknown,
        }
    }

    /// None where that cannot be known.
    pub(crate) fn runs(self) -> Option<bool> {
        match self {
            WorkerStatus::Runs(_) => Some(true),
            WorkerStatus::Missing => Some(false),
            WorkerStatus::Unknown => None,
        }
    }

    /// In words: `process 1234 runs the tasks of this file`.
    pub(crate) fn words(self) -> String {
        match self {
            WorkerStatus::Runs(Some(process)) => format!("process {process} runs the tasks of this file"),
            WorkerStatus::Runs(None) => {
                "a process runs the tasks of this file; it cannot be seen from here".to_owned()
            }
            WorkerStatus::Missing => "no worker runs".to_owned(),
            WorkerStatus::Unknown => "whether a worker runs cannot be known from here".to_owned(),
        }
    }
}

/// What an explanation needs beside the task.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Explainer {
    pub worker: WorkerStatus,
    pub now: Timestamp,
    pub zone: Zone,
    /// The verbs are those of a program, for its own file.
    pub is_mounted: bool,
}

/// A name as it is typed in a shell, with quotes where it needs them.
pub(crate) fn quoted(name: &str) -> String {
    let is_plain = name.chars().all(|c| c.is_ascii_alphanumeric() || "_-.:/@".contains(c));
    let dashes = if name.starts_with('-') { "-- " } else { "" };
    if is_plain { format!("{dashes}{name}") } else { format!("{dashes}'{}'", name.replace('\'', "'\\''")) }
}

impl Explainer {
    /// Why it does not run now, or that it does, in a sentence.
    pub(crate) fn explain(&self, explanation: &Explanation) -> String {
        let task = &explanation.task;
        let id = task.task_id;
        match task.state {
            State::Running => self.running(explanation),
            State::Queued => format!("task {id} is queued and {}", self.queued(explanation)),
            State::Failed | State::Lost => {
                let attempts = count(u64::from(task.attempt_number), "attempt");
                let why = task.error_message.as_deref().unwrap_or("no error is kept");
                let retry = self.verb(format_args!("retry {id}"));
                format!("task {id} is {} after {attempts}: {why}; {retry} queues it again", task.state)
            }
            State::Succeeded | State::Cancelled => {
                let why = task.error_message.as_deref().or(task.error_type.as_deref());
                format!(
                    "task {id} is {}{}",
                    task.state,
                    why.map_or_else(String::new, |why| format!(": {why}"))
                )
            }
        }
    }

    /// Whether something keeps it from running, or from going on, that somebody may want to know.
    #[cfg(unix)]
    pub(crate) fn is_kept(&self, explanation: &Explanation) -> bool {
        let is_ready = explanation.task.hold == Some(Hold::Ready);
        match explanation.task.state {
            State::Running => explanation.task.outside.is_some() || self.worker == WorkerStatus::Missing,
            State::Queued => {
                !is_ready || self.worker == WorkerStatus::Unknown || self.unless_ready(explanation).is_some()
            }
            _ => false,
        }
    }

    /// The error for a task that was not found: it is a dead letter, or else `otherwise`.
    pub(crate) fn unless_letter(
        &self,
        queue: &Queue,
        id: TaskId,
        otherwise: impl Into<CliError>,
    ) -> CliError {
        if queue.dead_letters().get(id).is_err() {
            return otherwise.into();
        }
        let replay = self.verb(format_args!("dead replay {id}"));
        CliError::new(Exit::Refused, format!("task {id} is a dead letter; {replay} makes a task of it again"))
    }

    /// Says that no worker runs, if `to_run` tasks are to run; none otherwise. `some`: some of these tasks, which say what starts a worker.
    pub(crate) fn missing_worker(&self, to_run: u64, some: &[TaskRecord]) -> Option<String> {
        if self.worker != WorkerStatus::Missing || to_run == 0 {
            return None;
        }
        let tasks = count(to_run, "task");
        let verb = if to_run == 1 { "is" } else { "are" };
        let starter = match some {
            [] if !self.is_mounted => "start the program that handles them, or `perdura work` for jobs",
            some if !self.is_mounted && some.iter().all(is_job) => "`perdura work` starts one",
            _ => "start the program that handles them",
        };
        Some(format!("no worker runs, and {tasks} {verb} to run; {starter}"))
    }

    /// A verb of the command, as it is typed.
    pub(crate) fn verb(&self, words: fmt::Arguments<'_>) -> String {
        if self.is_mounted { format!("the verb `{words}`") } else { format!("`perdura {words}`") }
    }

    /// What starts a process that runs this task.
    fn starter(&self, task: &TaskRecord) -> &'static str {
        if !self.is_mounted && is_job(task) { "`perdura work`" } else { "the program that handles it" }
    }

    fn running(&self, explanation: &Explanation) -> String {
        let task = &explanation.task;
        if let Some(outside) = explanation.outside(|at| self.moment(at)) {
            let id = task.task_id;
            if task.outside.as_ref().is_some_and(|outside| outside.engine.is_some()) {
                let worker = match self.worker {
                    WorkerStatus::Runs(_) => String::new(),
                    worker => format!("; {}", worker.words()),
                };
                return format!("task {id} {outside}{worker}");
            }
            let verb = self.verb(format_args!("complete {id} --generation {}", task.generation));
            return format!("task {id} {outside}; {verb} says that it has succeeded");
        }
        let running = explanation.running(self.starter(task));
        match self.worker {
            WorkerStatus::Unknown => format!("{running}; {}", self.worker.words()),
            WorkerStatus::Missing | WorkerStatus::Runs(_) => running,
        }
    }

    fn queued(&self, explanation: &Explanation) -> String {
        let task = &explanation.task;
        if let Some(expired) = task.expires_at.filter(|at| *at <= self.now) {
            let ago = distance(expired, self.now);
            return format!("has expired ({ago}): it will not run, and the next worker cancels it");
        }
        let now = match task.hold.unwrap_or(Hold::Ready) {
            Hold::Time => self.waits_for_its_time(explanation),
            Hold::UnknownName => match engine_of_job(&task.task_name) {
                Some(engine) => format!(
                    "the worker has no engine {engine:?}: {} with a file of engines that names it runs it",
                    self.starter(task)
                ),
                None => format!(
                    "no handler knows the task name {:?} (version {}); start a program that handles it",
                    task.task_name, task.version
                ),
            },
            Hold::Parents => {
                let what = explanation.waits_for_run();
                format!(
                    "{what}{}{}",
                    explanation.times(|at| self.moment(at)),
                    self.about_blocker(explanation)
                )
            }
            Hold::PreviousAttempt => explanation.waits_for_thread(|at| self.moment(at)),
            Hold::Condition => {
                let what = explanation.waits_for_condition(|at| self.moment(at), bytes);
                let missing = explanation.condition.as_ref().filter(|condition| !condition.is_met);
                let set = missing.map_or_else(String::new, |condition| {
                    let verb = self.verb(format_args!("condition {} on", quoted(&condition.name)));
                    format!("; {verb} says that it is met")
                });
                let why = self.unless_ready(explanation);
                format!("{what}{set}{}", why.map_or_else(String::new, |why| format!("; {why}")))
            }
            Hold::Limit => format!(
                "{}{}{}{}",
                explanation.waits_for_permit(),
                explanation.times(|at| self.moment(at)),
                self.about_blocker(explanation),
                self.unless_ready(explanation).map_or_else(String::new, |why| format!("; {why}"))
            ),
            Hold::Suspect => format!(
                "waits for its turn: it was running when a process died, and such tasks run one at a time, each for a minute at most before \
                 the next; {} starts it now{}",
                self.verb(format_args!("run-now {}", task.task_id)),
                self.unless_ready(explanation).map_or_else(String::new, |why| format!("; {why}"))
            ),
            Hold::Ready => match self.unless_ready(explanation) {
                Some(why) => format!("ready, but {why}"),
                None => format!("ready: {}; {}", before(explanation.before_it), self.worker.words()),
            },
        };
        let later = task.reasons.iter().skip(1).map(|next| format!("; after that it {next}"));
        std::iter::once(now).chain(later).collect()
    }

    fn waits_for_its_time(&self, explanation: &Explanation) -> String {
        let task = &explanation.task;
        let after = explanation
            .last_error()
            .map_or_else(String::new, |error| format!(" for its next attempt after {error}"));
        let obstacle = self.unless_ready(explanation);
        let Some(due) = task.run_at.filter(|due| *due > self.now) else {
            let why =
                obstacle.map_or_else(|| format!("and {}", self.worker.words()), |why| format!("but {why}"));
            return format!("due{after}, {why}");
        };
        let begin = match &explanation.sleep {
            Some(_) => explanation.sleeps(&self.moment(due)),
            None => format!("waits until {}{after}", self.moment(due)),
        };
        obstacle.map_or(begin.clone(), |why| format!("{begin}; {why}"))
    }

    /// What can be done about the one task that it waits for.
    fn about_blocker(&self, explanation: &Explanation) -> String {
        let Some(blocker) = explanation.blocker() else { return String::new() };
        match explanation.blocker_due {
            Some(_) => format!("; {} starts that now", self.verb(format_args!("run-now {blocker}"))),
            None => format!("; {} shows that one", self.verb(format_args!("show {blocker}"))),
        }
    }

    fn moment(&self, at: Timestamp) -> String {
        format!("{} ({})", self.zone.show(at), distance(at, self.now))
    }

    /// What would keep it from running if it were ready.
    fn unless_ready(&self, explanation: &Explanation) -> Option<String> {
        let task = &explanation.task;
        if explanation.paused {
            let resume = self.verb(format_args!("resume {}", task.queue));
            return Some(format!("its queue {:?} is paused; {resume} lets it run", task.queue));
        }
        let queue = &task.queue;
        if let Some(until) = explanation.closed_until {
            let (resume, until) = (self.verb(format_args!("resume {queue}")), self.moment(until));
            return Some(match &explanation.closed_why {
                Some(why) => {
                    format!("its queue {queue:?} is closed: {why}; the next try is at {until} at the latest")
                }
                None => format!("a task has closed its queue {queue:?} until {until}; {resume} opens it now"),
            });
        }
        if let Some(at) = explanation.rate_opens_at {
            let change = self.verb(format_args!("queue rate {queue}"));
            return Some(format!(
                "the rate of its queue {queue:?} lets the next task start at {}; {change} changes the rate",
                self.moment(at)
            ));
        }
        if let Some(limit) = explanation.full {
            let running = count(u64::from(limit), "task");
            let change = self.verb(format_args!("queue limit {queue}"));
            return Some(format!(
                "its queue {queue:?} has a limit of {running} at once; the end of one lets the next start, and {change} changes the limit"
            ));
        }
        match self.worker {
            WorkerStatus::Missing => Some(format!("no worker runs; {} runs it", self.starter(task))),
            WorkerStatus::Runs(_) if explanation.not_served => Some(format!(
                "the process that runs the tasks of this file leaves the queue {:?} to others",
                task.queue
            )),
            _ => None,
        }
    }
}

/// Whether a task waits for a worker and for nothing else, or for one to settle what its dead worker left.
pub(crate) fn is_to_run(task: &TaskRecord) -> bool {
    task.hold == Some(Hold::Ready) || (task.state == State::Running && task.outside.is_none())
}

fn before(tasks: u64) -> String {
    match tasks {
        1 => "1 task of its queue comes before it".to_owned(),
        n if n > 10_000 => "more than 10,000 tasks of its queue come before it".to_owned(),
        n => format!("{n} tasks of its queue come before it"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::testing::{ManualClock, SteppedQueue};
    use crate::{Clock, Context, Failure, Filter, Options, Overlap, Rate, Schedule, Task, Timestamp};

    #[derive(Serialize, Deserialize)]
    struct Mail;

    impl Task for Mail {
        const NAME: &'static str = "mail";
        type Output = ();
    }

    #[derive(Serialize, Deserialize)]
    struct Job;

    impl Task for Job {
        const NAME: &'static str = "perdura.job";
        type Output = ();
    }

    fn explainer(worker: WorkerStatus, is_mounted: bool) -> Explainer {
        Explainer { worker, now: Timestamp::from_millis(1_800_000_000_000), zone: Zone::Utc, is_mounted }
    }

    #[test]
    fn a_sentence_names_what_the_reader_can_type() {
        let queue = Queue::builder().open_temporary().unwrap();
        let mail = queue.enqueue_with(&Mail, Options::new().queue("mails")).unwrap().id();
        let job = queue.enqueue(&Job).unwrap().id();
        queue.pause("mails").unwrap();
        let explain =
            |worker, is_mounted, id| explainer(worker, is_mounted).explain(&queue.explain(id).unwrap());
        let paused = |verb| {
            format!("task {mail} is queued and ready, but its queue \"mails\" is paused; {verb} lets it run")
        };
        assert_eq!(explain(WorkerStatus::Missing, false, mail), paused("`perdura resume mails`"));
        assert_eq!(explain(WorkerStatus::Missing, true, mail), paused("the verb `resume mails`"));
        queue.resume("mails").unwrap();
        let missing = |who| format!("no worker runs; {who} runs it");
        let program = missing("the program that handles it");
        assert!(explain(WorkerStatus::Missing, false, job).ends_with(&missing("`perdura work`")));
        assert!(explain(WorkerStatus::Missing, true, job).ends_with(&program));
        assert!(explain(WorkerStatus::Missing, false, mail).ends_with(&program));
        assert!(
            explain(WorkerStatus::Runs(None), false, mail).contains("before it; a process runs the tasks")
        );
    }

    #[test]
    fn each_reason_has_an_instant_and_a_verb() {
        let clock = ManualClock::new();
        let handlers = Queue::builder()
            .handle(|_: Mail, _: &Context| Err::<(), _>(Failure::throttle(Duration::from_secs(60))))
            .handle(|_: Job, _: &Context| {
                Err::<(), _>(Failure::named("later", "").retry_after(Duration::from_secs(3600)))
            });
        let mut tests = SteppedQueue::open(handlers, &clock).unwrap();
        let queue = tests.queue().clone();
        let says = |id: TaskId, wanted: &str| {
            let explainer = Explainer { now: clock.now(), ..explainer(WorkerStatus::Runs(None), false) };
            assert_eq!(
                explainer.explain(&queue.explain(id).unwrap()),
                format!("task {id} is queued and {wanted}")
            );
        };
        let at = |seconds: i64| {
            Zone::Utc.show(Timestamp::from_millis(ManualClock::new().now().as_millis() + seconds * 1000))
        };
        let add = |options: Options| queue.enqueue_with(&Job, options).unwrap().id();

        let serial = || Options::new().queue("keyed").serial("k");
        let [first, second] = [serial(), serial()].map(add);
        let turn =
            format!("waits for its turn: tasks of its key run one after another; task {first} is before it");
        says(second, &format!("{turn}; `perdura show {first}` shows that one"));
        tests.run_one().unwrap();
        let retry = format!(
            "task {first} waits until {} (in 1 h) itself; `perdura run-now {first}` starts that now",
            at(3600)
        );
        says(second, &format!("{turn}; {retry}"));
        queue.pause("keyed").unwrap();
        says(
            second,
            &format!("{turn}; {retry}; its queue \"keyed\" is paused; `perdura resume keyed` lets it run"),
        );
        says(
            first,
            &format!(
                "waits until {} (in 1 h) for its next attempt after later; its queue \"keyed\" is paused; `perdura resume keyed` lets it run",
                at(3600)
            ),
        );

        queue.set_rate("rated", Some(Rate::per(Duration::from_secs(10), 1))).unwrap();
        let [_, rated] = [(), ()].map(|()| add(Options::new().queue("rated")));
        tests.run_one().unwrap();
        says(
            rated,
            &format!(
                "ready, but the rate of its queue \"rated\" lets the next task start at {} (in 10 s); `perdura queue rate rated` changes the rate",
                at(10)
            ),
        );

        let closed = queue.enqueue_with(&Mail, Options::new().queue("api")).unwrap().id();
        tests.run_one().unwrap();
        says(
            closed,
            &format!(
                "ready, but a task has closed its queue \"api\" until {} (in 1 min); `perdura resume api` opens it now",
                at(60)
            ),
        );

        let schedule = Schedule::every("sync", Duration::from_secs(60))
            .overlap(Overlap::Queue)
            .options(Options::new().queue("runs"));
        queue.set_schedule(schedule, &Job).unwrap();
        tests.advance(Duration::from_secs(60)).unwrap();
        let run = queue.tasks(Filter::new().queue("runs")).unwrap()[0].task_id;
        tests.advance(Duration::from_secs(60)).unwrap();
        let next = queue.tasks(Filter::new().hold(Hold::Parents)).unwrap()[0].task_id;
        says(
            next,
            &format!(
                "waits until task {run}, the run before it of the schedule \"sync\", has ended; it is the run of {} (now); `perdura show {run}` shows that one",
                at(120)
            ),
        );
    }

    #[test]
    fn a_missing_worker_is_told_where_something_is_to_run() {
        let queue = Queue::builder().open_temporary().unwrap();
        let job = queue.get(queue.enqueue(&Job).unwrap().id()).unwrap();
        let mail = queue.get(queue.enqueue(&Mail).unwrap().id()).unwrap();
        let told = |is_mounted, some: &[TaskRecord]| {
            explainer(WorkerStatus::Missing, is_mounted)
                .missing_worker(2, some)
                .unwrap()
                .split_once("; ")
                .unwrap()
                .1
                .to_owned()
        };
        assert_eq!(told(false, std::slice::from_ref(&job)), "`perdura work` starts one");
        assert_eq!(told(true, std::slice::from_ref(&job)), "start the program that handles them");
        assert_eq!(told(false, &[job, mail]), "start the program that handles them");
        assert_eq!(explainer(WorkerStatus::Missing, false).missing_worker(0, &[]), None);
        assert_eq!(explainer(WorkerStatus::Runs(Some(1)), false).missing_worker(2, &[]), None);
    }
}
