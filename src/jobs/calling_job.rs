//! The job that the command is called from, if it is called from one.

use crate::TaskId;
use crate::console::{CliError, Exit, Session};

/// The id of the job that this process is a part of, if it is a job of this file. Waiting for its worker would be waiting for itself.
fn own_job(session: &Session) -> Option<TaskId> {
    use std::os::unix::fs::MetadataExt;
    let of = |path: &std::path::Path| std::fs::metadata(path).ok().map(|found| (found.dev(), found.ino()));
    let its_file = of(std::env::var_os("PERDURA_JOB_DB")?.as_ref())?;
    let id = std::env::var("PERDURA_TASK_ID").ok()?.parse().ok()?;
    (of(session.db()) == Some(its_file)).then_some(id)
}

/// Refuses a verb that would wait for the job that calls it. `followed`: the task that it waits for; none: the worker of the file.
pub(crate) fn refuse_waiting_for_itself(session: &Session, followed: Option<TaskId>) -> Result<(), CliError> {
    let Some(job) = own_job(session).filter(|job| followed.is_none_or(|id| id == *job)) else {
        return Ok(());
    };
    let file = session.db().display();
    let message = match followed {
        Some(_) => format!("job {job} would wait for itself, and never end"),
        None => format!(
            "this is called from job {job} of the worker of {file}: a second worker would wait for that one, and that one for this job; \
             add jobs to the file, its worker runs them, or name another file with --db"
        ),
    };
    Err(CliError::new(Exit::Refused, message))
}
