//! Durable jobs for the shell: programs that run as tasks.
//!
//! ```text
//! verbs      add, edit, schedule → job_options      add → batch → template, unique      rerun      follow
//! worker     work → shutdown → worker → engine_attempts, notices, progress_line, reporter → hooks      work → signals
//! jobs       runner → pool ══ protocol ══ shim → launch; descendants; job_log      engine_jobs → engines
//! output     worker_output
//! values     worker_event      text      calling_job      option_names      given
//! ```
//!
//! A job is a task named `perdura.job`; its args are a command line. `work` runs it through a shim, a process of its own that outlives the worker
//! just long enough to end the job. A job named `perdura.job@NAME` runs on the engine outside that a TOML file describes under this name.
//!
//! This module knows nothing of SQL, and of the file only what a [`Queue`](crate::Queue) tells.

mod add;
mod batch;
mod calling_job;
mod descendants;
mod edit;
mod engine_attempts;
mod engine_jobs;
mod engines;
mod follow;
mod given;
mod hooks;
mod job_log;
mod job_options;
mod launch;
mod notices;
mod option_names;
mod pool;
mod progress_line;
mod protocol;
mod reporter;
mod rerun;
mod runner;
mod schedule;
mod shim;
mod shutdown;
mod signals;
mod template;
mod text;
mod unique;
mod work;
mod worker;
mod worker_event;
mod worker_output;

pub(crate) use calling_job::refuse_waiting_for_itself;
pub(crate) use schedule::ScheduleArgs;

use crate::console::{CliResult, Exit, Session};

/// What can be done with jobs.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum JobVerb {
    /// Add a job: a program that will be run until it has succeeded
    ///
    /// Program and arguments are kept as they are, and no shell sees them, unless --shell asks for one. What comes after the program
    /// belongs to it, options too; -- may stand before it.
    Add(Box<add::AddArgs>),
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
    Work(work::WorkArgs),
    /// Show what a job writes, while it runs, until it is finished
    ///
    /// What it writes to its standard output goes to the standard output, the rest to stderr.
    Follow(follow::FollowArgs),
    /// Change a job that is queued: its priority, its time, its command
    ///
    /// What is not named stays. A task of a program can be changed, too, but for its command.
    Edit(edit::EditArgs),
    /// Run jobs again that have ended: a new job with the same command, for each
    ///
    /// The new job has the queue, priority, attempts, backoff, timeout, tag and needs of the old one, and starts as soon as it can.
    Rerun(rerun::RerunArgs),
    /// Start jobs for a worker; not for people
    #[command(hide = true)]
    Shim {
        /// Which of the worker's shims it is
        slot: u64,
    },
}

impl JobVerb {
    pub(crate) fn run(self, session: &mut Session) -> CliResult {
        match self {
            JobVerb::Add(add) => add.run(session),
            JobVerb::Work(work) => work.run(session),
            JobVerb::Follow(follow) => follow.run(session),
            JobVerb::Edit(edit) => edit.run(session),
            JobVerb::Rerun(rerun) => rerun.run(session),
            JobVerb::Shim { slot } => Ok(shim::serve(slot).map(|()| Exit::Done)?),
        }
    }
}
