//! `perdura rerun`: runs jobs again that have ended, as new jobs.

use serde::Serialize;

use super::given::with;
use crate::console::inspect::job::{Job, TASK_NAME, may_be_job};
use crate::console::{CliError, CliResult, Exit, Session};
use crate::{Options, Queue, State, TaskId, TaskRecord};

/// Which jobs to run again.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "It prints the ids of the new jobs. `retry` runs a job again that has failed, under its own id."
)]
pub(crate) struct RerunArgs {
    /// The jobs
    #[arg(value_name = "ID", required = true)]
    ids: Vec<TaskId>,
}

/// The JSON answer for each job.
#[derive(Serialize)]
struct Rerun {
    task_id: TaskId,
    rerun_of: TaskId,
}

impl RerunArgs {
    pub(super) fn run(self, session: &mut Session) -> CliResult {
        let queue = session.writable_queue()?;
        let jobs = self.ids.iter().map(|id| again(session, &queue, *id)).collect::<Result<Vec<_>, _>>()?;
        let new = jobs.iter().map(|(name, job, options)| (name.clone().into(), job, options.clone()));
        let made = queue.enqueue_all_as(new)?;
        for (made, of) in made.iter().zip(&self.ids) {
            if session.json {
                session.screen.json(&Rerun { task_id: made.id(), rerun_of: *of })?;
            } else {
                session.screen.line(made.id())?;
            }
        }
        Ok(Exit::Done)
    }
}

/// The task name, the job and the options for another run of a job that has ended.
fn again(session: &Session, queue: &Queue, id: TaskId) -> Result<(String, Job, Options), CliError> {
    let record = queue.get(id).map_err(|e| session.explainer(queue).unless_letter(queue, id, e))?;
    let refused =
        |why: &str| Err(CliError::new(Exit::Refused, format!("task {id} {why}; nothing was added")));
    if !record.state.is_finished() {
        return refused("has not ended; it runs by itself");
    }
    if record.state == State::Lost {
        return refused("is LOST, and may still be at work; `retry` runs it again when that is over");
    }
    let job = may_be_job(&record.task_name).then(|| queue.args_json(id)).transpose()?;
    let Some(job) = job.and_then(|args| serde_json::from_str::<Job>(&args).ok()) else {
        return refused("is no job of the command: its program makes it again");
    };
    if record.limit.is_some() || record.unique.is_some() {
        return refused(
            "had a key (--limit, --serial or --unique), of which the file keeps no text; `add` it again",
        );
    }
    let options = options(&record);
    let name = if job.is_local() { TASK_NAME.to_owned() } else { record.task_name };
    Ok((name, job, options))
}

fn options(record: &TaskRecord) -> Options {
    let options =
        Options::new().queue(&record.queue).priority(record.priority).max_attempts(record.max_attempts);
    let options = with(options, record.backoff, Options::backoff);
    let options = with(options, record.timeout, Options::timeout);
    let options = with(options, record.tag.as_deref(), Options::tag);
    let Some(needs) = &record.needs else { return options };
    let options = needs.conditions.iter().fold(options, Options::needs);
    let options = needs.throughout.iter().fold(options, Options::needs_throughout);
    with(options, Some(needs.free_disk).filter(|bytes| *bytes > 0), Options::needs_free_disk)
}
