//! Why a task does not run now.

use std::fmt;

use super::handle::Queue;
use crate::error::Error;
use crate::limits::Shut;
use crate::planted::planted;
use crate::store::{self, FreeDisk};
use crate::task::{Condition, Hold, State, TaskId, TaskRecord, Timestamp};

/// Why a task does not run now, or that it runs. Made by [`Queue::explain`]; displays as one sentence.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Explanation {
    /// The task.
    pub task: TaskRecord,
    /// Whether its queue is paused.
    pub paused: bool,
    /// Whether the process that executes (or did last) claims from other queues only.
    pub not_served: bool,
    /// The limit of its queue, if so many tasks of it are in flight that no other may start.
    pub full: Option<u32>,
    /// When the rate of its queue lets the next task start, if it lets none start now.
    pub rate_opens_at: Option<Timestamp>,
    /// Until when its queue is closed, if it is: by a handler, or because the queue's engine cannot be reached.
    pub closed_until: Option<Timestamp>,
    /// The name of the [sleep](crate::Context::sleep) that it waits for, if it sleeps.
    pub sleep: Option<String>,
    /// The condition that it waits for, if it waits for one ([`Hold::Condition`]).
    pub condition: Option<Condition>,
    /// If it waits for free disk: how many bytes are free, if that can be known. Its record says how many it needs.
    pub free_disk: Option<u64>,
    /// The tasks that hold a permit of its key, by their ids, if it waits for one ([`Hold::Limit`]).
    pub permit_holders: Vec<TaskId>,
    /// When the task that it waits for falls due ([`run_before`](Self::run_before), or the only one of [`permit_holders`](Self::permit_holders)), if
    /// that waits for its own time: for a retry, say.
    pub blocker_due: Option<Timestamp>,
    /// Why its queue is closed, if that is because its [engine](crate::engine) cannot be reached.
    pub closed_why: Option<String>,
    /// Whether the program that executes (or did last) has the engine that does its work outside; true if none does.
    pub has_engine: bool,
    /// Whether this process executes tasks from the file.
    pub executes_here: bool,
    /// Whether this or another process executes tasks from the file; none if that cannot be known.
    pub is_executed: Option<bool>,
    /// Whether it is `RUNNING` in the file alone: its process has died, and no process has executed from the file since.
    pub has_died: bool,
    /// What keeps this process from executing although it has handlers; see [`Queue::obstacle`].
    pub obstacle: Option<String>,
    /// The name of the schedule that has made it.
    pub schedule: Option<String>,
    /// The tick of the schedule for which it was made; for a run by hand, when it was made.
    pub tick: Option<Timestamp>,
    /// The run of its schedule that it waits for.
    pub run_before: Option<TaskId>,
    /// Ready tasks of its queue that come before it, counted up to 10,001: that many means that there are more than 10,000.
    pub before_it: u64,
}

impl Explanation {
    /// How many tasks before it are counted at most: to count more would take too long.
    const MAX_COUNTED: u64 = 10_000;
    /// How many holders of permits are named at most.
    const MAX_NAMED: usize = 10;
    /// How many characters of the error before a retry are shown at most; the record has all.
    const MAX_ERROR_CHARS: usize = 200;

    /// Why its queue lets nothing start, other than a pause.
    fn shut(&self) -> Option<String> {
        let queue = &self.task.queue;
        if let Some(at) = self.closed_until.filter(|_| !planted("g20-a-closed-queue-is-not-named")) {
            return Some(match &self.closed_why {
                Some(why) => {
                    format!("its queue {queue:?} is closed: {why}; the next try is at {at} at the latest")
                }
                None => format!("a handler has closed its queue {queue:?} until {at}"),
            });
        }
        if let Some(at) = self.rate_opens_at {
            return Some(format!("the rate of its queue {queue:?} lets the next task start at {at}"));
        }
        let limit = self.full?;
        let tasks = if limit == 1 { "task is" } else { "tasks are" };
        Some(format!(
            "{limit} {tasks} in flight, which is the limit of its queue {queue:?}; the end of one lets the next start"
        ))
    }

    /// How it waits for its previous attempt, which was given up; `moment` says how a time is written.
    pub(crate) fn waits_for_thread(&self, moment: impl Fn(Timestamp) -> String) -> String {
        let began = self.task.started_at.map(|at| format!(", which began at {},", moment(at)));
        format!("waits until its previous attempt{} has left its thread", began.unwrap_or_default())
    }

    /// How a run waits for the runs before it.
    pub(crate) fn waits_for_run(&self) -> String {
        let run = self
            .run_before
            .map_or_else(|| "the run before it".to_owned(), |id| format!("task {id}, the run before it"));
        match &self.schedule {
            Some(schedule) => format!("waits until {run} of the schedule {schedule:?}, has ended"),
            None => format!("waits until {run} of its schedule, has ended"),
        }
    }

    /// That it sleeps until this time, or that it waits for it.
    pub(crate) fn sleeps(&self, until: &str) -> String {
        match &self.sleep {
            Some(sleep) => format!("sleeps ({sleep:?}) until {until}"),
            None => format!("waits until {until}"),
        }
    }

    /// That it waits for a condition or for free disk, and what is known of that; `moment` and `bytes` say how a time and a size are written.
    pub(crate) fn waits_for_condition(
        &self,
        moment: impl Fn(Timestamp) -> String,
        bytes: impl Fn(u64) -> String,
    ) -> String {
        let condition = self.condition.as_ref().filter(|_| !planted("g20-the-condition-is-not-named"));
        let named = self.task.needs.as_ref().and_then(|needs| needs.waits_for.as_ref());
        if let (None, Some(name)) = (condition, named) {
            return format!("waits for the condition {name:?}, which the file does not know");
        }
        let Some(condition) = condition else {
            let needed = bytes(self.task.needs.as_ref().map_or(0, |needs| needs.free_disk));
            return match self.free_disk {
                Some(free) => format!("waits until {needed} of disk are free; {} are", bytes(free)),
                None => format!("waits until {needed} of disk are free; how many are cannot be known"),
            };
        };
        let when = condition.set_at.map(moment).unwrap_or_default();
        let why = match condition.said {
            None => "of which nobody has said anything yet".to_owned(),
            Some(_) if condition.is_unknown => format!(
                "of which nobody knows: the program that said so last, at {when}, does not execute any more"
            ),
            Some(false) => format!("which is not met, as was said at {when}"),
            Some(true) => format!("which is met since {when}, so it is let on at once"),
        };
        format!("waits for the condition {:?}, {why}", condition.name)
    }

    /// Where its work is, if that is outside, and what ends it; `moment` says how a time is written.
    pub(crate) fn outside(&self, moment: impl Fn(Timestamp) -> String) -> Option<String> {
        let outside =
            self.task.outside.as_deref().filter(|_| !planted("g20-what-is-outside-is-not-named"))?;
        let TaskRecord { attempt_number, max_attempts, generation, .. } = &self.task;
        let attempt = format!("attempt {attempt_number} of {max_attempts}, generation {generation}");
        let since = moment(outside.since);
        let what = outside.waits_for.as_deref().unwrap_or_default();
        if let Some(engine) = &outside.engine {
            let job = outside.job.as_deref().unwrap_or_default();
            let stop = if self.task.cancel_requested { "; it is to stop" } else { "" };
            let what = match outside.accepted_at {
                _ if !self.has_engine => {
                    format!(
                        "is outside since {since} ({attempt}), and the program that executes has no engine {engine:?}; start one that has"
                    )
                }
                Some(at) => {
                    format!("runs on the engine {engine:?} since {} ({attempt}), as {job}", moment(at))
                }
                None => {
                    format!("is to be started on the engine {engine:?} since {since} ({attempt}), as {job}")
                }
            };
            let closed = self.closed_why.as_ref().map_or_else(String::new, |why| format!("; {why}"));
            return Some(format!("{what}{stop}{closed}"));
        }
        let deadline =
            outside.deadline.map(|at| format!("; the attempt fails if nobody does by {}", moment(at)));
        let deadline = deadline.unwrap_or_default();
        Some(format!(
            "waits outside since {since}, for {what:?} ({attempt}): somebody is to complete it, or to let it fail{deadline}"
        ))
    }

    /// Who executes, if this process does not.
    fn executor(&self) -> &'static str {
        match self.is_executed {
            Some(true) => "another process executes",
            Some(false) => "no process executes tasks from the file",
            None => "this process does not execute tasks from the file",
        }
    }

    /// That it runs here, or was running when its process died, which somebody has to settle then.
    pub(crate) fn running(&self, settler: &str) -> String {
        let TaskRecord { task_id, attempt_number, max_attempts, cancel_requested, .. } = &self.task;
        let attempt = format!("attempt {attempt_number} of {max_attempts}");
        match (self.has_died, *cancel_requested) {
            (false, false) => format!("task {task_id} is running: {attempt}"),
            (false, true) => format!("task {task_id} is running, and was told to stop: {attempt}"),
            (true, false) => {
                format!(
                    "task {task_id} was running ({attempt}) when its process died; {settler} settles what becomes of it"
                )
            }
            (true, true) => {
                format!(
                    "task {task_id} was running ({attempt}) when its process died; it was to be cancelled, which {settler} does"
                )
            }
        }
    }

    /// Why its last attempt has failed, if that is known: the type, and the first line of the message.
    pub(crate) fn last_error(&self) -> Option<String> {
        let error_type = self.task.error_type.as_ref()?;
        let line = self.task.error_message.as_deref().and_then(|message| message.lines().next());
        let Some(line) = line.filter(|line| !line.is_empty()) else { return Some(error_type.clone()) };
        let shown: String = line.chars().take(Explanation::MAX_ERROR_CHARS).collect();
        let more = if shown.len() < line.len() { "…" } else { "" };
        Some(format!("{error_type}: {shown}{more}"))
    }

    /// The one task that it waits for, if there is one.
    pub(crate) fn blocker(&self) -> Option<TaskId> {
        match (self.task.hold, self.permit_holders.as_slice()) {
            (Some(Hold::Parents), _) => self.run_before,
            (Some(Hold::Limit), [holder]) => Some(*holder),
            _ => None,
        }
    }

    /// The times of the task for which it waits, as more clauses of the sentence; `moment` says how a time is written.
    pub(crate) fn times(&self, moment: impl Fn(Timestamp) -> String) -> String {
        let due = self.blocker().zip(self.blocker_due);
        let due = due.map(|(id, due)| format!("; task {id} waits until {} itself", moment(due)));
        let tick = self.tick.filter(|_| self.task.hold == Some(Hold::Parents));
        let tick = tick.map(|tick| format!("; it is the run of {}", moment(tick)));
        due.into_iter().chain(tick).collect()
    }

    /// That it waits for a permit of its key, and who holds one.
    pub(crate) fn waits_for_permit(&self) -> String {
        let (permits, serial) = self.task.limit.map_or((1, false), |limit| (limit.permits, limit.serial));
        let limit = match permits {
            _ if serial => "tasks of its key run one after another".to_owned(),
            1 => "its key has a limit of 1 task at once".to_owned(),
            n => format!("its key has a limit of {n} tasks at once"),
        };
        let (named, more) =
            self.permit_holders.split_at(self.permit_holders.len().min(Explanation::MAX_NAMED));
        let ids: Vec<String> = named.iter().map(ToString::to_string).collect();
        let ids = ids.join(", ");
        let holders = match (named.len(), more.len()) {
            (0, _) => String::new(),
            (1, _) => format!("; task {ids} is before it"),
            (_, 0) => format!("; tasks {ids} are before it"),
            (_, more) => format!("; tasks {ids} and {more} more are before it"),
        };
        format!("waits for its turn: {limit}{holders}")
    }

    fn before(&self) -> String {
        match self.before_it {
            1 => "1 task of its queue comes before it".to_owned(),
            n if n > Explanation::MAX_COUNTED => {
                "more than 10,000 tasks of its queue come before it".to_owned()
            }
            n => format!("{n} tasks of its queue come before it"),
        }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Explanation { task, paused, not_served, executes_here, obstacle, .. } = self;
        let (before, shut) = (self.before(), self.shut());
        let id = task.task_id;
        match task.state {
            State::Running => match self.outside(|at| at.to_string()) {
                Some(outside) => write!(f, "task {id} {outside}"),
                None => f.write_str(&self.running("the next process that executes")),
            },
            State::Queued => {
                write!(f, "task {id} is queued and ")?;
                match task.hold.unwrap_or(Hold::Ready) {
                    Hold::Time => {
                        let due = task.run_at.map_or_else(|| "its time".to_owned(), |t| t.to_string());
                        match self.last_error() {
                            _ if self.sleep.is_some() => write!(f, "{}", self.sleeps(&due))?,
                            Some(error) => write!(f, "waits until {due} for its next attempt after {error}")?,
                            None => write!(f, "{}", self.sleeps(&due))?,
                        }
                        if *paused { write!(f, "; its queue {:?} is paused", task.queue) } else { Ok(()) }
                    }
                    Hold::UnknownName => write!(
                        f,
                        "waits for a program that handles the task name {:?} (version {}); start one",
                        task.task_name, task.version
                    ),
                    Hold::Parents => write!(f, "{}{}", self.waits_for_run(), self.times(|at| at.to_string())),
                    Hold::PreviousAttempt => f.write_str(&self.waits_for_thread(|at| at.to_string())),
                    Hold::Condition => f.write_str(&self.waits_for_condition(|at| at.to_string(), |n| format!("{n} bytes"))),
                    Hold::Limit => write!(f, "{}{}", self.waits_for_permit(), self.times(|at| at.to_string())),
                    Hold::Suspect => {
                        f.write_str("waits for its turn: it was running when a process died, and such tasks run one at a time, each for a minute at most \
                             before the next; run_now starts it now")
                    }
                    Hold::Ready if *paused => write!(f, "ready, but its queue {:?} is paused; resume it", task.queue),
                    Hold::Ready if *not_served => {
                        write!(f, "ready, but the program that executes leaves its queue {:?} to others", task.queue)
                    }
                    Hold::Ready if shut.is_some() => write!(f, "ready, but {}", shut.unwrap_or_default()),
                    Hold::Ready if *executes_here => write!(f, "ready: {before}"),
                    Hold::Ready => match obstacle {
                        Some(why) => write!(f, "ready, but this process cannot execute: {why}"),
                        None => write!(f, "ready: {before}; {}", self.executor()),
                    },
                }?;
                task.reasons.iter().skip(1).try_for_each(|next| write!(f, "; after that it {next}"))
            }
            State::Failed | State::Lost => {
                let why = task.error_message.as_deref().unwrap_or("no error is kept");
                write!(
                    f,
                    "task {id} is {} after {} attempt{}: {why}; retry it by hand",
                    task.state,
                    task.attempt_number,
                    if task.attempt_number == 1 { "" } else { "s" }
                )
            }
            State::Succeeded | State::Cancelled => write!(f, "task {id} is {}", task.state),
        }
    }
}

impl Queue {
    /// Says why a task does not run now, or that it runs.
    ///
    /// ```
    /// # use perdura::{Filter, Hold, Options, Queue, State};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Mail;
    /// # impl perdura::Task for Mail { const NAME: &'static str = "mail"; type Output = (); }
    /// # let queue = Queue::builder().open_temporary()?;
    /// let id = queue.enqueue(&Mail)?.id();
    /// queue.pause("default")?;
    /// let why = queue.explain(id)?;
    /// assert_eq!(why.to_string(), "task 1 is queued and ready, but its queue \"default\" is paused; resume it");
    /// # Ok::<(), perdura::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound).
    pub fn explain(&self, id: TaskId) -> Result<Explanation, Error> {
        let executes_here = self.runtime.core.is_owner();
        let obstacle = self.obstacle().map(|why| why.to_string());
        let is_executed = if executes_here { Some(true) } else { self.store().is_owned() };
        self.store().read(|conn| {
            let task = store::record(conn, id)?;
            let now = self.runtime.core.now();
            let (paused, not_served, shut) = store::queue_flags(conn, &task.queue, now)?;
            let (schedule, run_before) = store::run_before(conn, id)?;
            let before_it = store::ready_before(conn, id, Explanation::MAX_COUNTED + 1)?;
            let mut permit_holders = store::permit_holders(conn, id)?;
            if planted("g20-who-holds-the-permit-is-not-named") {
                permit_holders.clear();
            }
            let (mut full, mut rate_opens_at, mut closed_until) = (None, None, None);
            match shut {
                Some(Shut::Full(limit)) => full = Some(limit),
                Some(Shut::Rate(at)) => rate_opens_at = Some(at),
                Some(Shut::Closed(at)) => closed_until = Some(at),
                None => {}
            }
            let closed_why = store::closed_why(conn, &task.queue)?;
            let engine = task.outside.as_ref().and_then(|outside| outside.engine.clone());
            let has_engine = match engine {
                Some(engine) => store::engines(conn)?.contains(&engine),
                None => true,
            };
            let mut explanation = Explanation {
                task,
                paused,
                not_served,
                full,
                rate_opens_at,
                closed_until,
                closed_why,
                has_engine,
                sleep: None,
                condition: None,
                free_disk: None,
                permit_holders,
                blocker_due: None,
                executes_here,
                is_executed,
                has_died: false,
                obstacle,
                schedule,
                tick: store::tick(conn, id)?,
                run_before,
                before_it,
            };
            if explanation.task.state == State::Running && explanation.task.outside.is_none() {
                explanation.has_died = is_executed == Some(false);
            }
            if let Some(blocker) = explanation.blocker() {
                explanation.blocker_due = store::waits_until(conn, blocker)?;
            }
            if let Some(needs) =
                explanation.task.needs.as_ref().filter(|_| explanation.task.hold == Some(Hold::Condition))
            {
                let name = needs.waits_for.as_ref();
                let mut known: Vec<Condition> = store::conditions(conn)?;
                known.retain(|c| Some(&c.name) == name);
                self.without_word_of_the_gone(&mut known);
                explanation.condition = known.pop();
                if needs.waits_for_disk {
                    explanation.free_disk =
                        self.runtime.core.shared.free_disk.get().and_then(FreeDisk::bytes);
                }
            }
            if explanation.task.hold == Some(Hold::Time) && explanation.task.snoozes > 0 {
                explanation.sleep = store::sleeps(conn, id)?;
            }
            Ok(explanation)
        })
    }
}
