//! Lists of tasks.

use serde::Serialize;

use crate::console::filter::Which;
use crate::console::inspect::explain::{is_job, is_to_run};
use crate::console::meter::Meter;
use crate::console::screen::{Tint, safe};
use crate::console::table::{Cell, Fit, Table};
use crate::console::words::{distance, number};
use crate::console::{Done, Exit, Session};
use crate::{DEFAULT_QUEUE, DeadLetter, Hold, Queue, State, TaskId, TaskRecord, Timestamp};

/// List tasks, the newest first.
#[derive(Debug, clap::Args)]
pub(crate) struct List {
    #[command(flatten)]
    which: Which,
    /// At most so many
    #[arg(long, short = 'l', default_value_t = 50, value_name = "N", value_parser = at_least_one)]
    limit: usize,
    /// Older than this task: the next page
    #[arg(long, value_name = "ID")]
    before: Option<TaskId>,
    /// The oldest first
    #[arg(long, conflicts_with = "before")]
    oldest_first: bool,
    /// With --oldest-first, newer than this task: the next page
    #[arg(long, value_name = "ID", requires = "oldest_first")]
    after: Option<TaskId>,
}

impl List {
    pub(crate) fn run(&self, session: &mut Session) -> Done {
        let queue = session.look()?;
        let now = session.now();
        let mut filter = self.which.filter(now).limit(self.limit.saturating_add(1));
        if !self.oldest_first {
            filter = filter.newest_first();
        }
        if let Some(id) = self.before {
            filter = filter.before(id);
        }
        if let Some(id) = self.after {
            filter = filter.after(id);
        }
        let mut meter = Meter::new("searched");
        let mut tasks = queue.tasks_with_progress(filter, |progress| meter.tell(progress))?;
        drop(meter);
        let more = tasks.len() > self.limit;
        tasks.truncate(self.limit);
        let last = tasks.last().map(|task| task.task_id);
        if session.json {
            for task in &tasks {
                let command = command(&queue, &task.task_name, task.task_id);
                session.screen.json(&Told::new(task, command))?;
            }
        } else if tasks.is_empty() {
            session.screen.remark("no tasks match");
        } else {
            print(session, &queue, &tasks, now)?;
            let mut to_run = tasks;
            to_run.retain(is_to_run);
            if !to_run.is_empty()
                && let Some(missing) = session.sight(&queue).missing_worker(to_run.len() as u64, &to_run)
            {
                session.screen.remark(missing);
            }
        }
        if let Some(last) = last.filter(|_| more) {
            let page = if self.oldest_first { "after" } else { "before" };
            session.screen.remark(format_args!("there are more: --{page} {}", last));
        }
        Ok(Exit::Done)
    }
}

/// A limit of a list.
pub(crate) fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|limit| *limit > 0).ok_or_else(|| "it is a whole number, at least 1".to_owned())
}

/// What JSON says of a task or of a dead letter: its record; for a job, its command and the exit code of its newest attempt that ended.
#[derive(Serialize)]
pub(crate) struct Told<'t, R> {
    #[serde(flatten)]
    record: &'t R,
    #[serde(skip_serializing_if = "Option::is_none")]
    command: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_code: Option<i32>,
}

impl<'t> Told<'t, TaskRecord> {
    pub(crate) fn new(task: &'t TaskRecord, command: Option<String>) -> Told<'t, TaskRecord> {
        told(task, task.state, task.error_type.as_deref(), command)
    }
}

impl<'t> Told<'t, DeadLetter> {
    pub(crate) fn of_letter(letter: &'t DeadLetter, command: Option<String>) -> Told<'t, DeadLetter> {
        told(letter, letter.state, letter.error_type.as_deref(), command)
    }
}

fn told<'t, R>(record: &'t R, state: State, error: Option<&str>, command: Option<String>) -> Told<'t, R> {
    let exit_code = match state {
        State::Succeeded => command.as_ref().map(|_| 0),
        _ => error.filter(|_| command.is_some()).and_then(exit_code),
    };
    Told { record, command, exit_code }
}

/// The exit code in a job's error type.
pub(crate) fn exit_code(error_type: &str) -> Option<i32> {
    error_type.strip_prefix("ExitCode.")?.parse().ok()
}

fn print(session: &mut Session, queue: &Queue, tasks: &[TaskRecord], now: Timestamp) -> std::io::Result<()> {
    let mut table = Table::new(&[
        ("ID", Fit::Right),
        ("STATE", Fit::Left),
        ("NAME", Fit::Cut),
        ("QUEUE", Fit::Cut),
        ("TRIES", Fit::Right),
        ("WHEN", Fit::Left),
        ("WHAT", Fit::Cut),
        ("ERROR", Fit::Cut),
    ]);
    let has_queues = tasks.iter().any(|task| task.queue != DEFAULT_QUEUE);
    for task in tasks {
        table.row([
            task.task_id.to_string().into(),
            state(task.state),
            safe(name(task)).into_owned().into(),
            safe(if has_queues { &task.queue } else { "" }).into_owned().into(),
            format!("{}/{}", task.attempt_number, task.max_attempts).into(),
            when(task, now).into(),
            safe(&what(queue, task)).into_owned().into(),
            safe(&error(task)).into_owned().into(),
        ]);
    }
    table.print(&mut session.screen)
}

/// The name of a task, none for a job: its command says more.
fn name(task: &TaskRecord) -> &str {
    if is_job(task) { "" } else { &task.task_name }
}

/// A state in its colour.
pub(crate) fn state(state: State) -> Cell {
    Cell::tinted(state.as_str(), tint(state))
}

pub(crate) fn tint(state: State) -> Tint {
    match state {
        State::Queued => Tint::Bold,
        State::Running => Tint::Busy,
        State::Succeeded => Tint::Good,
        State::Failed | State::Lost => Tint::Bad,
        State::Cancelled => Tint::Dim,
    }
}

/// The time that matters in its state.
pub(crate) fn when(task: &TaskRecord, now: Timestamp) -> String {
    let ago = |moment: Option<Timestamp>| distance(moment.unwrap_or(task.created_at), now);
    match task.state {
        State::Queued => match task.hold {
            Some(Hold::Time) => match task.run_at {
                Some(due) if due > now => distance(due, now),
                _ => "due".to_owned(),
            },
            Some(Hold::UnknownName) => "no handler".to_owned(),
            Some(Hold::PreviousAttempt | Hold::Suspect) => "its turn".to_owned(),
            _ => ago(Some(task.created_at)),
        },
        State::Running => ago(task.started_at),
        _ => ago(task.finished_at),
    }
}

/// What it does: a job's command, its tag, how far it is.
pub(crate) fn what(queue: &Queue, task: &TaskRecord) -> String {
    let mut parts = Vec::new();
    parts.extend(command(queue, &task.task_name, task.task_id));
    parts.extend(task.tag.clone());
    if let (State::Running, Some(progress)) = (task.state, task.progress) {
        parts.push(format!("{} of {}", number(progress.done), number(progress.total)));
    }
    parts.join(" · ")
}

/// What went wrong, in a line; for a job that ended badly, its message says all.
pub(crate) fn error(task: &TaskRecord) -> String {
    let Some(error_type) = &task.error_type else { return String::new() };
    let message = task.error_message.as_deref().and_then(|text| text.lines().next()).unwrap_or_default();
    match exit_code(error_type) {
        Some(_) => message.to_owned(),
        None => format!("{error_type}: {message}"),
    }
}

/// The command line of a job for the shell.
pub(crate) fn command(queue: &Queue, task_name: &str, id: TaskId) -> Option<String> {
    #[cfg(unix)]
    if crate::jobs::may_be_job(task_name) {
        return crate::jobs::describe(&queue.args_json(id).ok()?);
    }
    let _ = (queue, task_name, id);
    None
}
