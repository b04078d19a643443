//! `perdura wait`: until tasks have ended.

use std::collections::VecDeque;
use std::thread;
use std::time::Duration;

use crate::console::filter::FilterArgs;
use crate::console::inspect::explain::WorkerStatus;
use crate::console::inspect::task::{RecordJson, command};
use crate::console::paging::pages;
use crate::console::text::safe;
use crate::console::times::age;
use crate::console::tolerance::Tolerance;
use crate::console::words::{count, span};
use crate::console::{CliError, CliResult, Exit, Session};
use crate::{Clock, ErrorKind, Queue, State, SystemClock, TaskId, TaskRecord};

/// Interval between reads of the file.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// How many tasks are looked at between two pauses.
const TASKS_PER_LOOK: usize = 500;

/// How many tasks are named in a message.
const MAX_NAMED: usize = 20;

/// Wait until tasks have ended
///
/// The exit code says whether all have succeeded. A task that waits for a retry has not ended.
#[derive(Debug, clap::Args)]
pub(super) struct WaitArgs {
    /// These tasks
    #[arg(value_name = "ID")]
    ids: Vec<TaskId>,
    /// Without ids: all that match, and are queued or running now
    #[command(flatten)]
    which: FilterArgs,
    /// All that are queued or running now
    #[arg(long)]
    all: bool,
    /// Wait no longer than this; exit code 1 then [default: for ever]
    #[arg(long, value_name = "TIME", value_parser = age)]
    timeout: Option<Duration>,
}

/// The tasks that have ended, and how.
#[derive(Default)]
struct Ends {
    succeeded: u64,
    /// Failed, lost, cancelled, or gone.
    other: u64,
}

impl WaitArgs {
    pub(super) fn run(&self, session: &mut Session) -> CliResult {
        let queue = session.read_only_queue()?;
        let clock = SystemClock::new();
        let ids = self.tasks(session, &queue)?;
        #[cfg(unix)]
        ids.iter().try_for_each(|id| crate::jobs::refuse_waiting_for_itself(session, Some(*id)))?;
        let until = self.timeout.map(|timeout| clock.monotonic().saturating_add(timeout));
        let (mut ends, mut has_told, mut tolerance) = (Ends::default(), false, Tolerance::default());
        let mut open: VecDeque<TaskId> = ids.into();
        loop {
            // All of them in turn: one that has ended may be deleted while another is waited for.
            for _ in 0..open.len().min(TASKS_PER_LOOK) {
                let Some(id) = open.pop_front() else { break };
                match queue.get(id) {
                    Err(e) if e.kind() != ErrorKind::NotFound => {
                        let tell = |text: &str| session.screen.remark(text);
                        tolerance.bear(session.naming(e.into()), clock.monotonic(), tell)?;
                        open.push_back(id);
                        continue;
                    }
                    Ok(record) if record.state.is_finished() => ends.tell(session, &queue, &record)?,
                    Ok(_) => open.push_back(id),
                    Err(_) => ends.tell_gone(session, &queue, id), // it was there when the wait began
                }
                tolerance.renew();
            }
            if open.is_empty() {
                break;
            }
            if until.is_some_and(|until| clock.monotonic() >= until) {
                return self.late(session, open.make_contiguous());
            }
            if !has_told && WorkerStatus::of(&queue) == WorkerStatus::Missing {
                let file = session.db().display();
                session.screen.remark(format_args!("no worker runs; `perdura work` runs the jobs of {file}"));
                has_told = true;
            }
            thread::sleep(POLL_INTERVAL);
        }
        session.screen.remark(ends.words());
        Ok(if ends.other == 0 { Exit::Done } else { Exit::No })
    }

    /// The tasks to wait for.
    fn tasks(&self, session: &Session, queue: &Queue) -> Result<Vec<TaskId>, CliError> {
        match (self.ids.is_empty(), self.which.is_all(), self.all) {
            (false, true, false) => {
                for id in &self.ids {
                    queue.get(*id).map_err(|e| session.explainer(queue).unless_letter(queue, *id, e))?;
                }
                return Ok(self.ids.clone());
            }
            (true, false, false) | (true, true, true) => {}
            (true, true, false) => {
                return Err(CliError::usage(
                    "wait for what? name ids, or a filter such as --queue Q, or --all",
                ));
            }
            _ => {
                return Err(CliError::usage(
                    "ids, a filter and --all exclude each other; leave the others out",
                ));
            }
        }
        let Some(live) = self.which.among(&[State::Queued, State::Running]) else {
            return Ok(Vec::new()); // what has ended already
        };
        let mut ids = Vec::new();
        for page in pages(queue, live.filter(session.now())) {
            ids.extend(page?.iter().map(|task| task.task_id));
        }
        ids.reverse(); // the oldest ends first, as a rule
        Ok(ids)
    }

    fn late(&self, session: &Session, left: &[TaskId]) -> CliResult {
        let named: Vec<String> = left.iter().take(MAX_NAMED).map(TaskId::to_string).collect();
        let more = if left.len() > MAX_NAMED { ", …" } else { "" };
        let after = span(self.timeout.unwrap_or_default());
        let (tasks, have) = if left.len() == 1 { ("task", "has") } else { ("tasks", "have") };
        let named = named.join(", ");
        session.screen.remark(format_args!("after {after}, {tasks} {named}{more} {have} not ended"));
        Ok(Exit::No)
    }
}

impl Ends {
    fn tell(&mut self, session: &mut Session, queue: &Queue, record: &TaskRecord) -> Result<(), CliError> {
        let (id, line) = (record.task_id, command(queue, &record.task_name, record.task_id));
        match record.state {
            State::Succeeded => self.succeeded += 1,
            state => {
                self.other += 1;
                let why = record.error_message.as_deref().unwrap_or_default();
                let what = line.as_deref().unwrap_or(&record.task_name);
                session.screen.remark(format_args!("task {id} {state}: {}: {}", safe(what), safe(why)));
            }
        }
        if session.json {
            session.screen.json(&RecordJson::of_task(record, line))?;
        }
        Ok(())
    }

    /// It was deleted, or has become a dead letter.
    fn tell_gone(&mut self, session: &Session, queue: &Queue, id: TaskId) {
        self.other += 1;
        match queue.dead_letters().get(id) {
            Ok(letter) => {
                session.screen.remark(format_args!("task {id} {}: it is a dead letter", letter.state))
            }
            Err(_) => session.screen.remark(format_args!("task {id} is gone: nobody knows how it ended")),
        }
    }

    fn words(&self) -> String {
        match self {
            Ends { succeeded: 0, other: 0 } => "there was nothing to wait for".to_owned(),
            Ends { succeeded, other: 0 } => format!("{} succeeded", count(*succeeded, "task")),
            Ends { succeeded, other } => {
                format!("{succeeded} of {} succeeded", count(succeeded + other, "task"))
            }
        }
    }
}
