//! Simulated crashes: a test lets a store end as a killed process would leave it.
//!
//! The test sets the commit at which that happens. After it nothing is written and every call
//! fails. The connections are closed without a WAL checkpoint, so that the next process to open the
//! file finds what a killed one leaves.

use std::sync::Arc;

use rusqlite::Connection;
use rusqlite::config::DbConfig;

use crate::crash::{CrashMoment, CrashPoint};
use crate::error::{Error, ErrorKind, Outcome};
use crate::store::error::Sql;
use crate::sync::atomic::{AtomicBool, Ordering};

/// Counts commits, and ends the store at the one that was set.
#[derive(Default)]
pub(crate) struct CrashSwitch {
    /// Commits that changed something.
    commits: u64,
    /// Rows that the connection had changed in all when the transaction began.
    changes: u64,
    /// The crash; its commit is counted like `commits`.
    point: Option<CrashPoint>,
    dead: Arc<AtomicBool>,
}

impl CrashSwitch {
    /// Sets the crash; the number of its commit counts from now.
    pub(crate) fn set(&mut self, point: CrashPoint) {
        self.point = Some(CrashPoint { commit: self.commits.saturating_add(point.commit), ..point });
    }

    /// Ends the store: nothing is written any more, and closing the connection makes no WAL
    /// checkpoint, as the death of a process makes none.
    pub(crate) fn die(&self, conn: &Connection) {
        self.dead.store(true, Ordering::Release);
        let _ = conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Acquire)
    }

    /// The flag that is set by the crash, for others to read.
    pub(crate) fn is_dead_flag(&self) -> Arc<AtomicBool> {
        self.dead.clone()
    }

    pub(crate) fn commits(&self) -> u64 {
        self.commits
    }

    /// Commits, unless the crash comes first. Fails after a crash.
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

    /// Called when a transaction begins. Changes that were rolled back before do not count for it.
    pub(crate) fn begin(&mut self, conn: &Connection) {
        self.changes = conn.total_changes();
    }

    /// # Errors
    /// `Crashed`.
    pub(crate) fn alive(&self) -> Sql<()> {
        if self.is_dead() { Err(crashed().into()) } else { Ok(()) }
    }
}

/// The error of every call to a crashed queue. The outcome of what was being written is unknown.
pub(crate) fn crashed() -> Error {
    let message = "this queue has crashed, as its test wanted; reopen its file";
    Error::new(ErrorKind::Crashed, message).with_outcome(Outcome::Unknown)
}
