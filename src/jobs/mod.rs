//! Durable jobs for the shell: programs that run as tasks.
//!
//! ```text
//! verbs      add (← batch)      work (→ ending, signals, standing, stop)      follow
//! worker     run → places, pool ══ protocol, note ══ shim → launch; family
//! output     outlet
//! values     job      text      warnings
//! ```
//!
//! A job is a task named `perdura.job`; its args are a command line. `work` runs it through a shim, a process of its own that outlives the worker
//! just long enough to end the job. It knows nothing of SQL, and of the file only what a [`Queue`](crate::Queue) tells.

mod add;
mod batch;
mod ending;
mod family;
mod follow;
mod job;
mod launch;
mod note;
mod outlet;
mod places;
mod pool;
mod protocol;
mod run;
mod shim;
mod signals;
mod standing;
mod stop;
mod text;
mod warnings;
mod work;

pub(crate) use job::{describe, may_be_job};

use crate::TaskId;
use crate::console::{Done, Exit, Session, Trouble};

/// What is done with jobs.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Verb {
    /// Add a job: a program that will be run until it has succeeded
    ///
    /// Program and arguments are kept as they are, and no shell sees them, unless --shell asks for one. What comes after the program
    /// belongs to it, options too; -- may stand before it.
    Add(Box<add::Add>),
    /// Run the jobs
    ///
    /// A job that exits with 0 has succeeded. Any other code, a signal or a timeout is a failure, which is tried again after a wait. All
    /// processes that a job has started are killed when it ends, and so is the job itself if the worker dies. One worker runs the
    /// jobs of a file; a second one waits and takes over.
    ///
    /// The first SIGINT (Ctrl-C) or SIGTERM lets running jobs go on for the grace, then ends them; the second ends them now, the third
    /// kills them. They are handed back and lose no attempt. If the file cannot be written then, the worker ends all the same, with exit
    /// code 4, and names the jobs that will run again.
    ///
    /// Finished jobs are kept, with what they wrote, until somebody deletes them (`purge --older-than 30d`), unless --keep or the file says
    /// otherwise. A program that uses the file may have written into it how long finished tasks are kept (its setting `retention`).
    Work(work::Work),
    /// Show what a job writes, while it runs, until it is finished
    ///
    /// What it writes to its standard output goes to the standard output, the rest to stderr.
    Follow(follow::Follow),
    /// Start jobs for a worker; not for people
    #[command(hide = true)]
    Shim {
        /// Which of the worker's shims it is
        slot: u64,
    },
}

/// The id of this job, if this is a job of the worker of this file: what waits for that worker would wait for itself.
fn own_job(session: &Session) -> Option<TaskId> {
    use std::os::unix::fs::MetadataExt;
    let of = |path: &std::path::Path| std::fs::metadata(path).ok().map(|found| (found.dev(), found.ino()));
    let its_file = of(std::env::var_os("PERDURA_JOB_DB")?.as_ref())?;
    let id = std::env::var("PERDURA_TASK_ID").ok()?.parse().ok()?;
    (of(session.db()) == Some(its_file)).then_some(id)
}

/// Refuses what would wait for the job that it is called from.
fn refuse_waiting_for_itself(session: &Session, followed: Option<TaskId>) -> Result<(), Trouble> {
    let Some(job) = own_job(session).filter(|job| followed.is_none_or(|id| id == *job)) else {
        return Ok(());
    };
    let file = session.db().display();
    let message = match followed {
        Some(_) => format!("job {job} would follow itself, and never end"),
        None => format!(
            "this is called from job {job} of the worker of {file}: a second worker would wait for that one, and that one for this job; \
             add jobs to the file, its worker runs them, or name another file with --db"
        ),
    };
    Err(Trouble::new(Exit::Refused, message))
}

impl Verb {
    pub(crate) fn run(self, session: &mut Session) -> Done {
        match self {
            Verb::Add(add) => add.run(session),
            Verb::Work(work) => work.run(session),
            Verb::Follow(follow) => follow.run(session),
            Verb::Shim { slot } => Ok(shim::serve(slot).map(|()| Exit::Done)?),
        }
    }
}
