//! Facts of a task or dead letter that several verbs show: its record as JSON, a job's command line, its error in one line.

use std::time::Duration;

use serde::Serialize;

#[cfg(any(feature = "tui", feature = "report"))]
use crate::Hold;
use crate::console::words::number;
use crate::{DeadLetter, Filter, Queue, State, TaskId, TaskRecord, Timestamp};

/// A task or dead letter in JSON: its record; for a job also its command line and the exit code of its newest finished attempt.
#[derive(Serialize)]
pub(crate) struct RecordJson<'t, R> {
    #[serde(flatten)]
    record: &'t R,
    #[serde(skip_serializing_if = "Option::is_none")]
    command: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_code: Option<i32>,
}

impl<'t> RecordJson<'t, TaskRecord> {
    pub(crate) fn of_task(task: &'t TaskRecord, command: Option<String>) -> RecordJson<'t, TaskRecord> {
        record_json(task, task.state, task.error_type.as_deref(), command)
    }
}

impl<'t> RecordJson<'t, DeadLetter> {
    pub(crate) fn of_letter(letter: &'t DeadLetter, command: Option<String>) -> RecordJson<'t, DeadLetter> {
        record_json(letter, letter.state, letter.error_type.as_deref(), command)
    }
}

fn record_json<'t, R>(
    record: &'t R,
    state: State,
    error: Option<&str>,
    command: Option<String>,
) -> RecordJson<'t, R> {
    let exit_code = match state {
        State::Succeeded => command.as_ref().map(|_| 0),
        _ => error.filter(|_| command.is_some()).and_then(exit_code),
    };
    RecordJson { record, command, exit_code }
}

/// The exit code in a job's error type.
pub(crate) fn exit_code(error_type: &str) -> Option<i32> {
    error_type.strip_prefix("ExitCode.")?.parse().ok()
}

/// Whether a task is a job of the command, which `perdura work` runs.
pub(crate) fn is_job(task: &TaskRecord) -> bool {
    #[cfg(unix)]
    return super::job::may_be_job(&task.task_name);
    #[cfg(not(unix))]
    {
        let _ = task;
        false
    }
}

/// The engine that runs a job of the command, by the task name; none if `perdura work` runs it itself.
pub(crate) fn engine_of_job(task_name: &str) -> Option<&str> {
    #[cfg(unix)]
    return super::job::engine_of(task_name);
    #[cfg(not(unix))]
    {
        let _ = task_name;
        None
    }
}

/// Why a queued task may not start, or that the work of a running one is outside, in the few words of a row; none if it is ready or waits for its
/// time, which rows show by a time. (`explain` says it in a sentence with what to do, `list` in a word in its column of times, `Hold` in the
/// library's own words.)
#[cfg(any(feature = "tui", feature = "report"))]
pub(crate) fn held(task: &TaskRecord) -> Option<&'static str> {
    if task.outside.is_some() {
        return Some("its work is outside");
    }
    match task.hold? {
        Hold::UnknownName => Some("no handler knows its name"),
        Hold::PreviousAttempt => Some("its previous attempt still runs"),
        Hold::Parents => Some("the run before it has not ended"),
        Hold::Condition => Some("it needs what is not met"),
        Hold::Limit => Some("its key has a limit: its turn comes"),
        Hold::Suspect => Some("ran when a process died: its turn comes"),
        Hold::Ready | Hold::Time => None,
    }
}

/// How many running tasks are read; a file hardly has more.
const MAX_RUNNING: usize = 2000;

/// How many of `running` running tasks have no work outside: a thread of the owner runs them, or ran them until it died.
pub(crate) fn running_here(queue: &Queue, running: u64) -> u64 {
    if running == 0 {
        return 0;
    }
    let tasks = queue.tasks(Filter::new().state(State::Running).limit(MAX_RUNNING)).unwrap_or_default();
    let outside = tasks.iter().filter(|task| task.outside.is_some()).count();
    running.saturating_sub(outside as u64)
}

/// How long the newest attempt ran, or has been running, if the record says so. None for `LOST`, whose end nobody saw, and for `CANCELLED`, which
/// may have happened while the task was queued.
pub(crate) fn ran(task: &TaskRecord, now: Timestamp) -> Option<Duration> {
    let started = task.started_at?;
    match task.state {
        State::Succeeded | State::Failed => Some(task.finished_at?.since(started)),
        State::Running => Some(now.since(started)),
        State::Queued | State::Cancelled | State::Lost => None,
    }
}

/// What it does: a job's command, its tag, how far it is.
pub(crate) fn what(command: Option<String>, task: &TaskRecord) -> String {
    let mut parts = Vec::from_iter(command);
    parts.extend(task.tag.clone());
    if let (State::Running, Some(progress)) = (task.state, task.progress) {
        parts.push(format!("{} of {}", number(progress.done), number(progress.total)));
    }
    parts.join(" · ")
}

/// What went wrong, in a line; for a job with an exit code the message alone, which has the code.
pub(crate) fn error_line(task: &TaskRecord) -> String {
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
    if super::job::may_be_job(task_name) {
        return command_of(task_name, &queue.args_json(id).ok()?);
    }
    let _ = (queue, task_name, id);
    None
}

/// A job for the shell: its program and its command line.
#[cfg(any(feature = "tui", feature = "report"))]
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JobWords {
    /// The name of the program, without its folder.
    pub program: String,
    /// The command line, as one would type it.
    pub command: String,
}

/// What a job runs; none for a task that is not a job, or is gone.
#[cfg(any(feature = "tui", feature = "report"))]
pub(crate) fn job_words(queue: &Queue, task_name: &str, id: TaskId) -> Option<JobWords> {
    #[cfg(unix)]
    if super::job::may_be_job(task_name) {
        let job = super::job::read(task_name, &queue.args_json(id).ok()?)?;
        return Some(JobWords { program: job.program(), command: job.line() });
    }
    let _ = (queue, task_name, id);
    None
}

/// Whether tasks of this name may be jobs of the command.
#[cfg(any(feature = "tui", feature = "report"))]
pub(crate) fn is_job_name(task_name: &str) -> bool {
    #[cfg(unix)]
    return super::job::may_be_job(task_name);
    #[cfg(not(unix))]
    {
        let _ = task_name;
        false
    }
}

/// The command line of a job whose args are known.
pub(crate) fn command_of(task_name: &str, args_json: &str) -> Option<String> {
    #[cfg(unix)]
    if super::job::may_be_job(task_name) {
        return super::job::describe(task_name, args_json);
    }
    let _ = (task_name, args_json);
    None
}
