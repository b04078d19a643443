//! Durable jobs for the shell: programs that run as tasks.

use super::{Done, Session};

/// What is done with jobs.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {}

impl Verb {
    pub(super) fn run(self, _session: &mut Session) -> Done {
        match self {}
    }
}

/// The task name of jobs.
pub(super) const TASK_NAME: &str = "job";

/// The command line of a job, from its args.
pub(super) fn describe(_args: &str) -> Option<String> {
    None
}
