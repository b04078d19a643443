//! Why a task does not run now, for people who have the command and not the library.

use super::screen::safe;
use super::times::Zone;
use super::words::{count, distance};
use super::{Done, Exit, Session};
use crate::{Error, Explanation, Hold, Queue, State, TaskId, TaskRecord, Timestamp};

/// Whether a process runs the tasks of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Worker {
    /// It does; its process id, where that can be known.
    Runs(Option<u32>),
    Missing,
    /// From here that cannot be known.
    Unknown,
}

impl Worker {
    pub(super) fn of(queue: &Queue) -> Result<Worker, Error> {
        let file = queue.inspect()?;
        Ok(match file.owned {
            Some(true) => Worker::Runs(file.owner_process),
            Some(false) => Worker::Missing,
            None => Worker::Unknown,
        })
    }

    /// None where that cannot be known.
    pub(super) fn runs(self) -> Option<bool> {
        match self {
            Worker::Runs(_) => Some(true),
            Worker::Missing => Some(false),
            Worker::Unknown => None,
        }
    }

    /// A line on it, if tasks are to run and nobody runs them.
    pub(super) fn is_missed(self, to_run: u64) -> Option<String> {
        let verb = if to_run == 1 { "is" } else { "are" };
        (self == Worker::Missing && to_run > 0).then(|| {
            format!("no worker runs, and {} {verb} to run; `perdura work` starts one", count(to_run, "task"))
        })
    }

    /// In words: `process 1234 runs tasks of this file`.
    pub(super) fn words(self) -> String {
        match self {
            Worker::Runs(Some(process)) => format!("process {process} runs the tasks of this file"),
            Worker::Runs(None) => {
                "a process runs the tasks of this file; it cannot be seen from here".to_owned()
            }
            Worker::Missing => "no worker runs".to_owned(),
            Worker::Unknown => "whether a worker runs cannot be known from here".to_owned(),
        }
    }
}

/// What a sentence on a task needs beside the task.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sight {
    pub worker: Worker,
    pub now: Timestamp,
    pub zone: Zone,
}

/// The verb `explain`.
pub(super) fn explain(session: &mut Session, id: TaskId) -> Done {
    let queue = session.look()?;
    let explanation = queue.explain(id)?;
    let sight = session.sight(&queue)?;
    let text = sight.explain(&explanation);
    if session.json {
        let worker = sight.worker.runs();
        session
            .screen
            .json(&serde_json::json!({ "task_id": id, "explanation": text, "worker_runs": worker }))?;
    } else {
        session.screen.line(safe(&text))?;
    }
    Ok(Exit::Done)
}

impl Sight {
    /// Why it does not run now, or that it does, in a sentence.
    pub(super) fn explain(&self, explanation: &Explanation) -> String {
        let task = &explanation.task;
        let id = task.task_id;
        match task.state {
            State::Running => self.running(task),
            State::Queued => format!("task {id} is queued and {}", self.queued(explanation)),
            State::Failed | State::Lost => {
                let attempts = count(u64::from(task.attempt_number), "attempt");
                let why = task.error_message.as_deref().unwrap_or("no error is kept");
                format!(
                    "task {id} is {} after {attempts}: {why}; `perdura retry {id}` queues it again",
                    task.state
                )
            }
            State::Succeeded | State::Cancelled => format!("task {id} is {}", task.state),
        }
    }

    /// Whether something keeps it from running, or from going on, that somebody may want to know.
    pub(super) fn is_kept(&self, explanation: &Explanation) -> bool {
        let is_ready = explanation.task.hold == Some(Hold::Ready);
        match explanation.task.state {
            State::Running => self.worker == Worker::Missing,
            State::Queued => {
                !is_ready || self.worker == Worker::Unknown || self.unless_ready(explanation).is_some()
            }
            _ => false,
        }
    }

    fn running(&self, task: &TaskRecord) -> String {
        let TaskRecord { task_id, attempt_number, max_attempts, .. } = task;
        let attempt = format!("attempt {attempt_number} of {max_attempts}");
        match self.worker {
            Worker::Missing => format!(
                "task {task_id} was running ({attempt}) when its worker died; {} settles what becomes of it",
                starter(task)
            ),
            Worker::Runs(_) => format!("task {task_id} is running: {attempt}"),
            Worker::Unknown => format!("task {task_id} is running: {attempt}; {}", self.worker.words()),
        }
    }

    fn queued(&self, explanation: &Explanation) -> String {
        let task = &explanation.task;
        match task.hold.unwrap_or(Hold::Ready) {
            Hold::Time => self.waits_for_its_time(explanation),
            Hold::UnknownName => format!(
                "no handler knows the task name {:?} (version {}); start a program that handles it",
                task.task_name, task.version
            ),
            Hold::PreviousAttempt => "waits until its previous attempt has left its thread".to_owned(),
            Hold::Suspect => format!(
                "waits for its turn: it was running when a process died, and such tasks run one at a time, each for a minute at most before \
                 the next; `perdura run-now {}` starts it now{}",
                task.task_id,
                self.unless_ready(explanation).map_or_else(String::new, |why| format!("; {why}"))
            ),
            Hold::Ready => match self.unless_ready(explanation) {
                Some(why) => format!("ready, but {why}"),
                None => format!("ready: {}; {}", before(explanation.before_it), self.worker.words()),
            },
        }
    }

    fn waits_for_its_time(&self, explanation: &Explanation) -> String {
        let task = &explanation.task;
        let after = task
            .error_type
            .as_ref()
            .map_or_else(String::new, |error| format!(" for its next attempt after {error}"));
        let obstacle = self.unless_ready(explanation);
        let Some(due) = task.run_at.filter(|due| *due > self.now) else {
            let why = obstacle.unwrap_or_else(|| self.worker.words());
            return format!("due{after}, but {why}").replacen("but process", "and process", 1);
        };
        let begin = format!("waits until {} ({}){after}", self.zone.show(due), distance(due, self.now));
        obstacle.map_or(begin.clone(), |why| format!("{begin}; {why}"))
    }

    /// What would keep it from running if it were ready.
    fn unless_ready(&self, explanation: &Explanation) -> Option<String> {
        let task = &explanation.task;
        if explanation.paused {
            return Some(format!("its queue {0:?} is paused; `perdura resume {0}` lets it run", task.queue));
        }
        match self.worker {
            Worker::Missing => Some(format!("no worker runs; {} runs it", starter(task))),
            Worker::Runs(_) if explanation.unserved => Some(format!(
                "the process that runs the tasks of this file leaves the queue {:?} to others",
                task.queue
            )),
            _ => None,
        }
    }
}

/// What starts a process that runs this task.
fn starter(task: &TaskRecord) -> &'static str {
    #[cfg(unix)]
    if super::jobs::may_be_job(&task.task_name) {
        return "`perdura work`";
    }
    let _ = task;
    "the program that handles it"
}

fn before(tasks: u64) -> String {
    match tasks {
        1 => "1 task of its queue comes before it".to_owned(),
        n if n > 10_000 => "more than 10,000 tasks of its queue come before it".to_owned(),
        n => format!("{n} tasks of its queue come before it"),
    }
}
