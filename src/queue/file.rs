//! The file of a queue: checks, reports, copies, exports.

use std::io::Write;
use std::path::Path;

use super::handle::Queue;
use crate::error::Error;
use crate::store::{self, CheckReport, FileReport, Owner};
use crate::task::Progress;

/// The file: checks, copies, exports.
impl Queue {
    /// Checks the file: SQLite's own structures, and every invariant that perdura keeps.
    ///
    /// It reads the whole file. Each invariant is checked as of a moment of its own, while others go on writing. Damage that keeps it from
    /// reading on is a problem in the report, and no error.
    ///
    /// ```
    /// # let queue = perdura::Queue::builder().open_temporary()?;
    /// let report = queue.check()?;
    /// assert!(report.is_ok(), "{:?}", report.problems);
    /// # Ok::<(), perdura::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the file is locked, or the disk fails.
    pub fn check(&self) -> Result<CheckReport, Error> {
        let wal = self.store().wal_keeper();
        store::check_steps(|step| wal.read(|conn| store::check_step(conn, step)))
    }

    /// What is known of the file beside its tasks: settings, sizes, its WAL, its owner. It reads the whole WAL.
    ///
    /// ```
    /// # let queue = perdura::Queue::builder().open_temporary()?;
    /// let file = queue.inspect()?;
    /// println!("{} bytes, of which {} are free", file.bytes, file.free_pages * file.page_bytes);
    /// assert_eq!(file.path, queue.path());
    /// # Ok::<(), perdura::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn inspect(&self) -> Result<FileReport, Error> {
        self.store().inspect()
    }

    /// Which process executes the tasks of the file. It is known on Linux, where all processes can be seen.
    ///
    /// It reads the system's list of locks. It takes no lock, and reads nothing of the file itself.
    ///
    /// ```
    /// let queue = perdura::Queue::builder().open_temporary()?;
    /// assert_ne!(queue.owner().is_owned, Some(true), "a queue without handlers executes nothing");
    /// # Ok::<(), perdura::Error>(())
    /// ```
    pub fn owner(&self) -> Owner {
        self.store().owner()
    }

    /// Copies the file, as it is at this moment, to a path where nothing is yet; others may go on writing.
    ///
    /// Only its owner may read the copy. When this returns, the copy is checked (as by [`check`](Queue::check)) and synced. Until it is whole, its
    /// name is `to` with `-half` at the end. `progress` is told the number of pages now and then.
    ///
    /// A task that is running is `RUNNING` in the copy, too: a program that opens the copy recovers that task as after a crash.
    ///
    /// ```
    /// # let queue = perdura::Queue::builder().open_temporary()?;
    /// # let to = std::env::temp_dir().join(format!("perdura-backup-{}.db", std::process::id()));
    /// queue.backup(&to, |at| println!("{} of {} pages", at.done, at.total))?;
    /// assert!(to.exists());
    /// # std::fs::remove_file(&to).unwrap();
    /// # Ok::<(), perdura::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) if the path exists; [`Corrupt`](crate::ErrorKind::Corrupt) if the copy is not
    /// sound; errors of the disk. Nothing is left at the path then.
    pub fn backup(&self, to: impl AsRef<Path>, mut progress: impl FnMut(Progress)) -> Result<(), Error> {
        self.store().wal_keeper().read(|conn| store::backup(conn, to.as_ref(), &mut progress))
    }

    /// Writes everything in the file as lines of JSON, as of one moment, and says how many rows there were.
    /// [`Builder::import`](crate::Builder::import) makes a file of them again.
    ///
    /// The first line says what the file is, then comes a line for each row, and the last line says how many there were. The text contains args,
    /// results, and the digests of unique keys.
    ///
    /// ```
    /// # use perdura::Queue;
    /// # let queue = Queue::builder().open_temporary()?;
    /// # let to = std::env::temp_dir().join(format!("perdura-import-{}.db", std::process::id()));
    /// let mut lines = Vec::new();
    /// let rows = queue.export(&mut lines)?;
    /// assert_eq!(Queue::builder().import(&to, lines.as_slice())?, rows);
    /// # std::fs::remove_file(&to).unwrap();
    /// # Ok::<(), perdura::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the file cannot be read; [`Io`](crate::ErrorKind::Io), with its source, if `out` cannot be written.
    pub fn export(&self, mut out: impl Write) -> Result<u64, Error> {
        self.store().wal_keeper().read(|conn| store::export(conn, &mut out))
    }
}
