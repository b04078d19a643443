//! Crashes as input: when a store is to end as a killed process leaves it.
//!
//! A test sets the commit at which that happens. From then on nothing is written and nothing is answered; the connections are closed
//! without a WAL checkpoint, so that whoever opens the file next finds what a killed process leaves.

use std::sync::Arc;

use rusqlite::Connection;
use rusqlite::config::DbConfig;

use crate::crash::{CrashMoment, CrashPoint};
use crate::error::{Error, ErrorKind, Outcome};
use crate::store::error::Sql;
use crate::sync::atomic::{AtomicBool, Ordering};

/// How many commits there were, when the crash comes, and whether it has come.
#[derive(Default)]
pub(crate) struct CrashSwitch {
    /// Commits that wrote something.
    commits: u64,
    /// The rows that the connection had changed when the transaction began.
    changes: u64,
    /// The crash, its commit counted like `commits`.
    point: Option<CrashPoint>,
    dead: Arc<AtomicBool>,
}

impl CrashSwitch {
    /// Sets the crash; the number of its commit counts from now.
    pub(crate) fn set(&mut self, point: CrashPoint) {
        self.point = Some(CrashPoint { commit: self.commits.saturating_add(point.commit), ..point });
    }

    /// From now on nothing is written, and the end of the connection does not do what the end of a process does not: a WAL checkpoint.
    pub(crate) fn die(&self, conn: &Connection) {
        self.dead.store(true, Ordering::Release);
        let _ = conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Acquire)
    }

    /// Where others see that it has come.
    pub(crate) fn is_dead_flag(&self) -> Arc<AtomicBool> {
        self.dead.clone()
    }

    pub(crate) fn commits(&self) -> u64 {
        self.commits
    }

    /// Commits, unless the crash comes first; fails after it.
    pub(crate) fn commit(&mut self, conn: &Connection, commit: impl FnOnce() -> Sql<()>) -> Sql<()> {
        self.alive()?;
        if conn.total_changes() == self.changes {
            return commit();
        }
        self.commits += 1;
        let moment = self.point.filter(|point| point.commit == self.commits).map(|point| point.moment);
        if moment != Some(CrashMoment::Before) {
            commit()?;
        }
        if moment.is_some() {
            self.die(conn);
        }
        self.alive()
    }

    /// A transaction begins: what was changed and rolled back before does not make it one that writes.
    pub(crate) fn begin(&mut self, conn: &Connection) {
        self.changes = conn.total_changes();
    }

    /// # Errors
    /// `Crashed`.
    pub(crate) fn alive(&self) -> Sql<()> {
        if self.is_dead() { Err(crashed().into()) } else { Ok(()) }
    }
}

/// What everybody hears who calls a dead queue. Nothing can be known of what was being written.
pub(crate) fn crashed() -> Error {
    let message = "this queue has crashed, as its test wanted; reopen its file";
    Error::new(ErrorKind::Crashed, message).with_outcome(Outcome::Unknown)
}
