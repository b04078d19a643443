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
