//! `perdura wait`: until tasks have ended.

use std::thread;
use std::time::Duration;

use crate::console::filter::FilterArgs;
use crate::console::inspect::explain::WorkerStatus;
use crate::console::inspect::task::{RecordJson, command};
use crate::console::text::safe;
use crate::console::times::age;
use crate::console::words::{count, span};
use crate::console::{CliError, CliResult, Exit, Session};
use crate::{Clock, ErrorKind, Queue, State, SystemClock, TaskId, TaskRecord};

/// Interval between reads of the file.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// Tasks of one read of a filter.
const PAGE: usize = 500;

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
        let (mut ends, mut has_told) = (Ends::default(), false);
        for (ended, id) in ids.iter().enumerate() {
            let record = loop {
                match queue.get(*id) {
                    Ok(record) if record.state.is_finished() => break Some(record),
                    Ok(_) => {}
                    Err(e) if e.kind() == ErrorKind::NotFound => break None, // it was there when the wait began
                    Err(e) => return Err(e.into()),
                }
                if until.is_some_and(|until| clock.monotonic() >= until) {
                    return self.late(session, &ids[ended..]);
                }
                if !has_told && WorkerStatus::of(&queue) == WorkerStatus::Missing {
                    session.screen.remark(format_args!(
                        "no worker runs; `perdura work` runs the jobs of {}",
                        session.db().display()
                    ));
                    has_told = true;
                }
                thread::sleep(POLL_INTERVAL);
            };
            ends.tell(session, &queue, *id, record)?;
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
        let mut page = self.which.among(&[State::Queued, State::Running]).filter(session.now()).limit(PAGE);
        let mut ids = Vec::new();
        loop {
            let tasks = queue.tasks(page.clone())?;
            ids.extend(tasks.iter().map(|task| task.task_id));
            match tasks.last() {
                Some(last) if tasks.len() == PAGE => page = page.before_id(last.task_id),
                _ => break,
            }
        }
        ids.reverse(); // the oldest ends first, as a rule
        Ok(ids)
    }

    fn late(&self, session: &Session, left: &[TaskId]) -> CliResult {
        let named: Vec<String> = left.iter().take(MAX_NAMED).map(TaskId::to_string).collect();
        let more = if left.len() > MAX_NAMED { ", …" } else { "" };
        let after = span(self.timeout.unwrap_or_default());
        session.screen.remark(format_args!("after {after} there is no end of {}{more}", named.join(", ")));
        Ok(Exit::No)
    }
}

impl Ends {
    fn tell(
        &mut self,
        session: &mut Session,
        queue: &Queue,
        id: TaskId,
        record: Option<TaskRecord>,
    ) -> Result<(), CliError> {
        let Some(record) = record else {
            self.other += 1;
            session.screen.remark(format_args!("task {id} is gone"));
            return Ok(());
        };
        let line = command(queue, &record.task_name, id);
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
            session.screen.json(&RecordJson::of_task(&record, line))?;
        }
        Ok(())
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
