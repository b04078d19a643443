//! Crashes as input: when a store is to end as a killed process leaves it.
//!
//! A test sets the commit at which that happens. From then on nothing is written and nothing is answered; the connections are closed
//! without a WAL checkpoint, so that whoever opens the file next finds what a killed process leaves.

use rusqlite::Connection;

use super::fault::Sql;
use crate::crash::{CrashPoint, Moment};
use crate::error::{Error, ErrorKind, Outcome};

/// How many commits there were, when the crash comes, and whether it has come.
#[derive(Default)]
pub(super) struct Fate {
    /// Commits that wrote something.
    commits: u64,
    /// The rows that the connection had changed when the transaction began.
    changes: u64,
    /// The crash, its commit counted like `commits`.
    point: Option<CrashPoint>,
    dead: bool,
}

impl Fate {
    /// Sets the crash; the number of its commit counts from now.
    pub(super) fn set(&mut self, point: CrashPoint) {
        self.point = Some(CrashPoint { commit: self.commits.saturating_add(point.commit), ..point });
    }

    pub(super) fn die(&mut self) {
        self.dead = true;
    }

    pub(super) fn is_dead(&self) -> bool {
        self.dead
    }

    pub(super) fn commits(&self) -> u64 {
        self.commits
    }

    /// Commits, unless the crash comes first; fails after it.
    pub(super) fn commit(&mut self, conn: &Connection, commit: impl FnOnce() -> Sql<()>) -> Sql<()> {
        self.alive()?;
        if conn.total_changes() == self.changes {
            return commit();
        }
        self.commits += 1;
        let moment = self.point.filter(|point| point.commit == self.commits).map(|point| point.moment);
        if moment != Some(Moment::Before) {
            commit()?;
        }
        if moment.is_some() {
            self.die();
        }
        self.alive()
    }

    /// A transaction begins: what was changed and rolled back before does not make it one that writes.
    pub(super) fn begin(&mut self, conn: &Connection) {
        self.changes = conn.total_changes();
    }

    /// # Errors
    /// `Crashed`.
    pub(super) fn alive(&self) -> Sql<()> {
        if self.dead { Err(crashed().into()) } else { Ok(()) }
    }
}

/// What everybody hears who calls a dead queue. Nothing can be known of what was being written.
pub(super) fn crashed() -> Error {
    let message = "this queue has crashed, as its test wanted; reopen its file";
    Error::new(ErrorKind::Crashed, message).with_outcome(Outcome::Unknown)
}
