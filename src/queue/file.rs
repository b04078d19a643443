//! Taking care of the file: what is known of it, copies of it.

use std::io::Write;
use std::path::Path;

use super::handle::Queue;
use crate::error::Error;
use crate::store::{self, CheckReport, FileReport, Owner};
use crate::task::Progress;

/// Taking care of the file.
impl Queue {
    /// Checks the file: SQLite's own structures, and every invariant that perdura keeps. Reads the whole file,
    /// each invariant of it as it is at a moment of its own.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn check(&self) -> Result<CheckReport, Error> {
        let mut report = CheckReport::default();
        let wal = self.store().wal_keeper();
        for step in 0.. {
            let found = wal.read(|conn| store::check_step(conn, step))?;
            let Some(problems) = found else { break };
            report.problems.extend(problems);
        }
        Ok(report)
    }

    /// What is known of the file beside its tasks: settings, sizes, its WAL, who owns it. Reads the whole WAL.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn inspect(&self) -> Result<FileReport, Error> {
        self.store().inspect()
    }

    /// Which process executes the tasks of the file, as the system's list of locks says it: on Linux, where all processes can be seen.
    /// Nothing is locked, and nothing is read of the file itself.
    ///
    /// ```
    /// let queue = perdura::Queue::builder().open_temporary()?;
    /// assert_ne!(queue.owner().is_owned, Some(true), "a queue without handlers executes nothing");
    /// # Ok::<(), perdura::Error>(())
    /// ```
    pub fn owner(&self) -> Owner {
        self.store().owner()
    }

    /// Copies the file, as it is at this moment, to a path where nothing is yet; others may go on writing. The copy is readable only by
    /// its owner, and it was checked ([`check`](Queue::check)) and synced when this returns. It gets its name when it is whole; until then it
    /// is `to` with `-half` behind. `progress` is told the pages, now and then.
    ///
    /// A task that is running is so in the copy, too: who opens that recovers it as after a crash.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) if there is a file; [`Corrupt`](crate::ErrorKind::Corrupt) if the copy is not
    /// sound; those of the disk. Nothing is left then.
    pub fn backup(&self, to: impl AsRef<Path>, mut progress: impl FnMut(Progress)) -> Result<(), Error> {
        self.store().wal_keeper().read(|conn| store::backup(conn, to.as_ref(), &mut progress))
    }

    /// Writes everything in the file as lines of JSON, of one moment: first what the file is, then a line for each row, last how many
    /// there were. Says how many. [`Builder::import`](crate::Builder::import) makes a file of it again.
    ///
    /// Args, results and unique keys' digests are in it.
    ///
    /// # Errors
    /// If the file cannot be read; [`Io`](crate::ErrorKind::Io), with its source, if `out` cannot be written.
    pub fn export(&self, mut out: impl Write) -> Result<u64, Error> {
        self.store().wal_keeper().read(|conn| store::export(conn, &mut out))
    }
}
