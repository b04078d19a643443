//! The verb `list`.

use std::borrow::Cow;

use crate::console::filter::FilterArgs;
use crate::console::inspect::explain::is_to_run;
use crate::console::inspect::task::{RecordJson, command, engine_of_job, error_line, is_job, what};
use crate::console::paging::Paging;
use crate::console::screen::Meter;
use crate::console::table::{Cell, Fit, Table};
use crate::console::text::safe;
use crate::console::words::distance;
use crate::console::{CliResult, Exit, Session};
use crate::{DEFAULT_QUEUE, Hold, Queue, State, TaskId, TaskRecord, Timestamp};

/// List tasks, the newest first.
#[derive(Debug, clap::Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    which: FilterArgs,
    #[command(flatten)]
    paging: Paging,
    /// The oldest first
    #[arg(long, conflicts_with = "before")]
    oldest_first: bool,
    /// With --oldest-first, newer than this task: the next page
    #[arg(long, value_name = "ID", requires = "oldest_first")]
    after: Option<TaskId>,
}

impl ListArgs {
    pub(super) fn run(&self, session: &mut Session) -> CliResult {
        let queue = session.read_only_queue()?;
        let now = session.now();
        let mut filter = self.paging.filter(self.which.filter(now));
        if !self.oldest_first {
            filter = filter.newest_first();
        }
        if let Some(id) = self.after {
            filter = filter.after_id(id);
        }
        let mut meter = Meter::new("searched");
        let mut tasks = queue.tasks_with_progress(filter, |progress| meter.tell(progress))?;
        drop(meter);
        let more = self.paging.cut(&mut tasks);
        let last = tasks.last().map(|task| task.task_id);
        if session.json {
            for task in &tasks {
                let command = command(&queue, &task.task_name, task.task_id);
                session.screen.json(&RecordJson::of_task(task, command))?;
            }
        } else if tasks.is_empty() {
            session.screen.remark("no tasks match");
        } else {
            print(session, &queue, &tasks, now)?;
            let mut to_run = tasks;
            to_run.retain(is_to_run);
            if !to_run.is_empty()
                && let Some(missing) = session.explainer(&queue).missing_worker(to_run.len() as u64, &to_run)
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
            Cell::state(task.state),
            safe(&name(task)).into_owned().into(),
            safe(if has_queues { &task.queue } else { "" }).into_owned().into(),
            format!("{}/{}", task.attempt_number, task.max_attempts).into(),
            when(task, now).into(),
            safe(&what(command(queue, &task.task_name, task.task_id), task)).into_owned().into(),
            safe(&error_line(task)).into_owned().into(),
        ]);
    }
    table.print(&mut session.screen)
}

/// The name of a task. None for a job, whose command says more; that of its engine if it has one.
fn name(task: &TaskRecord) -> Cow<'_, str> {
    match engine_of_job(&task.task_name) {
        Some(engine) => format!("on {engine}").into(),
        None if is_job(task) => "".into(),
        None => task.task_name.as_str().into(),
    }
}

/// The time to show for its state.
pub(super) fn when(task: &TaskRecord, now: Timestamp) -> String {
    let ago = |moment: Option<Timestamp>| distance(moment.unwrap_or(task.created_at), now);
    match task.state {
        State::Queued => match task.hold {
            Some(Hold::Time) => match task.run_at {
                Some(due) if due > now => distance(due, now),
                _ => "due".to_owned(),
            },
            Some(Hold::UnknownName) => "no handler".to_owned(),
            Some(Hold::Condition) => {
                let missing = task.needs.as_ref().and_then(|needs| needs.waits_for.as_deref());
                format!("needs {}", missing.map_or("disk".into(), safe))
            }
            Some(Hold::PreviousAttempt | Hold::Parents | Hold::Limit | Hold::Suspect) => {
                "its turn".to_owned()
            }
            _ => ago(Some(task.created_at)),
        },
        State::Running if task.outside.is_some() => format!("outside, {}", ago(task.started_at)),
        State::Running => ago(task.started_at),
        _ => ago(task.finished_at),
    }
}
