//! Durable jobs for the shell: programs that run as tasks.
//!
//! ```text
//! verbs      add (← intake)      work (→ ending)      follow
//! worker     run → pool ══ frames ══ shim → launch
//! values     job      text
//! ```
//!
//! A job is a task named `job`; its args are a command line. `work` runs it through a shim, a process of its own that outlives the worker
//! just long enough to end the job. It knows nothing of SQL, and of the file only what a [`Queue`](crate::Queue) tells.

mod add;
mod ending;
mod follow;
mod frame;
mod intake;
mod job;
mod launch;
mod pool;
mod run;
mod shim;
mod text;
mod warnings;
mod work;

pub(super) use job::{TASK_NAME, describe};

use super::{Done, Exit, Session};

/// What is done with jobs.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// Add a job: a program that will run until it has succeeded
    Add(Box<add::Add>),
    /// Run the jobs
    Work(work::Work),
    /// Show what a job writes, while it runs, until it is finished
    Follow(follow::Follow),
    /// Start jobs for a worker; not for people
    #[command(hide = true)]
    Shim,
}

impl Verb {
    pub(super) fn run(self, session: &mut Session) -> Done {
        match self {
            Verb::Add(add) => add.run(session),
            Verb::Work(work) => work.run(session),
            Verb::Follow(follow) => follow.run(session),
            Verb::Shim => Ok(shim::serve().map(|()| Exit::Done)?),
        }
    }
}
