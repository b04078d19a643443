//! The data of a page. It knows nothing of markup, and nothing of how it is gathered.

use std::time::Duration;

use serde::Serialize;

use super::sums::{Activity, EndedFigures, NameFigures};
use crate::console::inspect::health::Disk;
use crate::console::inspect::schedule::NextSchedules;
use crate::console::inspect::task::{JobWords, is_job_name};
use crate::inspect::{FailureGroup, FileReport};
use crate::{Condition, DeadLetter, QueueCounts, TaskRecord, Timestamp};

/// The most rows of a list of tasks: as many as a person reads.
pub(super) const MAX_ROWS: usize = 20;

/// The options of a report.
#[derive(Debug, Clone, Copy)]
pub(super) struct ReportOptions {
    pub now: Timestamp,
    /// How far back activity is shown.
    pub back: Duration,
    /// Whether args are shown, and what jobs have written: both may be private.
    pub args: bool,
    /// The verbs are those of a program, for its own file.
    pub is_mounted: bool,
}

impl ReportOptions {
    /// A verb as one types it.
    pub fn verb(&self, words: &str) -> String {
        if self.is_mounted { words.to_owned() } else { format!("perdura {words}") }
    }
}

/// All that is on a page.
#[derive(Debug, Serialize)]
pub(super) struct ReportData {
    pub perdura_version: &'static str,
    pub made_at: Timestamp,
    /// Activity is shown from here on.
    pub since: Timestamp,
    pub verdict: Attention,
    pub file: FileReport,
    pub worker: WorkerFacts,
    /// The file system that it lies on, where that can be known.
    pub disk: Option<Disk>,
    pub total: QueueCounts,
    pub queues: Vec<QueueRow>,
    pub schedules: NextSchedules,
    pub conditions: Vec<Condition>,
    /// When the next task falls due that waits for its time, or expires.
    pub next_due: Option<Timestamp>,
    pub activity: Activity,
    pub names: Part<NameFigures>,
    pub ended: EndedTasks,
    pub failures: FailureGroups,
    pub running: Part<TaskRow>,
    pub queued: Queued,
    pub slowest: Slowest,
    pub dead_letters: Part<LetterRow>,
}

/// What needs attention.
#[derive(Debug, Default, Serialize)]
pub(super) struct Attention {
    pub concerns: Vec<Concern>,
    /// All of it in one sentence.
    pub sentence: String,
}

/// A thing that needs attention: a part of a sentence, and where the page says more.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Concern {
    pub about: Section,
    pub text: String,
    /// What one types to mend it, or to see more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
}

/// Whether a process executes the tasks of the file.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct WorkerFacts {
    /// None where that cannot be known.
    pub runs: Option<bool>,
    pub process: Option<u32>,
    /// When that process began.
    pub since: Option<Timestamp>,
}

/// Figures of the newest tasks that have ended, by queue and by program: the file keeps no sums of these.
#[derive(Debug, Serialize)]
pub(super) struct EndedTasks {
    pub queues: Vec<EndedFigures>,
    /// Programs of jobs.
    pub programs: Vec<EndedFigures>,
    /// How many tasks have ended in the time that is shown, of those that were looked at.
    pub tasks: u64,
    /// How many tasks were looked at, the newest ones.
    pub looked_at: u64,
    /// Whether not all programs were read.
    pub more_programs: bool,
}

/// The sections of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Section {
    Activity,
    Queues,
    Schedules,
    Conditions,
    Failures,
    Times,
    Tasks,
    Letters,
    File,
}

impl Section {
    /// Where it is on the page.
    pub fn id(self) -> &'static str {
        match self {
            Section::Activity => "activity",
            Section::Queues => "queues",
            Section::Schedules => "schedules",
            Section::Conditions => "conditions",
            Section::Failures => "failures",
            Section::Times => "times",
            Section::Tasks => "tasks",
            Section::Letters => "letters",
            Section::File => "file",
        }
    }
}

/// A list that may be a part of a longer one.
#[derive(Debug, Serialize)]
pub(super) struct Part<T> {
    pub rows: Vec<T>,
    /// Whether there are more, known or not looked at.
    pub more: bool,
}

impl<T> Part<T> {
    pub fn first(mut rows: Vec<T>, limit: usize) -> Part<T> {
        let more = rows.len() > limit;
        rows.truncate(limit);
        Part { rows, more }
    }
}

/// `FAILED` and `LOST` tasks by what went wrong.
#[derive(Debug, Serialize)]
pub(super) struct FailureGroups {
    pub groups: Part<Group>,
    /// How many tasks the groups are made of, the newest ones.
    pub looked_at: u64,
    /// Whether there are more tasks.
    pub more: bool,
    /// Tasks that have failed and wait for their next attempt.
    pub retrying: Part<Group>,
    /// How many tasks these groups are made of.
    pub retrying_tasks: u64,
    /// Whether more tasks are queued than were looked at for that.
    pub more_queued: bool,
}

/// `QUEUED` tasks by what they wait for.
#[derive(Debug, Serialize)]
pub(super) struct Queued {
    pub ready: Part<TaskRow>,
    /// Those that wait for their time.
    pub waiting: Part<TaskRow>,
    pub held: Part<TaskRow>,
    /// How many were looked at.
    pub looked_at: u64,
}

/// The tasks whose newest attempt took longest.
#[derive(Debug, Serialize)]
pub(super) struct Slowest {
    pub tasks: Part<TaskRow>,
    /// How many tasks were looked at, the newest ones.
    pub looked_at: u64,
}

/// A queue.
#[derive(Debug, Clone, Serialize)]
pub(super) struct QueueRow {
    pub queue: String,
    #[serde(flatten)]
    pub counts: QueueCounts,
    /// Since when its oldest ready task could run.
    pub ready_since: Option<Timestamp>,
}

/// Failures of one kind.
#[derive(Debug, Serialize)]
pub(super) struct Group {
    #[serde(flatten)]
    pub group: FailureGroup,
    /// The newest of them; none if it is gone by now.
    pub example: Option<TaskRow>,
    /// The programs of the newest of them, if they are jobs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub programs: Vec<String>,
    /// The last lines that the example has written to its standard error, if they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stderr: Option<String>,
    /// What one types to try them again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
}

/// The program of a job, and its command line if args were asked for.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct JobFacts {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub program: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
}

impl JobFacts {
    pub fn of(job: Option<JobWords>, args: bool) -> JobFacts {
        let (program, command) = job.map(|job| (job.program, job.command)).unzip();
        JobFacts { program, command: command.filter(|_| args) }
    }
}

/// A dead letter on the page.
#[derive(Debug, Serialize)]
pub(super) struct LetterRow {
    #[serde(flatten)]
    pub letter: DeadLetter,
    #[serde(flatten)]
    pub job: JobFacts,
}

/// A task on the page.
#[derive(Debug, Serialize)]
pub(super) struct TaskRow {
    #[serde(flatten)]
    pub task: TaskRecord,
    /// How long its newest attempt ran, if that has ended the task; how long it has been running, if it runs.
    pub ran_ms: Option<u64>,
    #[serde(flatten)]
    pub job: JobFacts,
    /// The beginning of its args, if they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub args: Option<String>,
}

impl ReportData {
    /// Whether all attempts that ended are those of jobs of the command, whose one name says nothing.
    pub fn has_only_jobs(&self) -> bool {
        !self.names.rows.is_empty() && self.names.rows.iter().all(|name| is_job_name(&name.task_name))
    }

    /// How far back activity is shown, in words.
    pub fn window(&self) -> String {
        super::words::window(self.made_at.since(self.since))
    }

    /// Whether the page has a section.
    pub fn has(&self, section: Section) -> bool {
        match section {
            Section::Schedules => !self.schedules.rows.is_empty(),
            Section::Conditions => !self.conditions.is_empty(),
            _ => true,
        }
    }
}

/// Since when a ready task could run.
pub(super) fn ready_at(task: &TaskRecord) -> Timestamp {
    task.run_at.unwrap_or(task.created_at)
}
