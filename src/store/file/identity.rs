//! Checks that the file at a path is still the one that was opened.
//!
//! SQLite works on an open file whatever happens to its name. If somebody removes, renames or
//! replaces it meanwhile, commits go into a file that nobody will find again. So the names are
//! checked before a commit, and before a new connection is made: that of the database, and that of
//! its WAL, which holds the newest commits and must stay beside it. That takes some 2 µs, little
//! beside a sync. Without syncs it would be much, so there it is done for each eighth commit.
//!
//! Where commits are synced, most checks of the WAL ask only whether its name exists, and one in 64
//! asks for its inode. Since Linux 6.13, whoever asks for the times of a file (as `stat` does)
//! makes the next write change them, and the next sync write them, too: that made a commit a third
//! slower.

use crate::sync::atomic::{AtomicU32, Ordering};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::config::Durability;
use crate::error::{Error, ErrorKind};
use crate::planted::planted;

/// What identifies a file to the operating system, whatever its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileNumber {
    device: u64,
    inode: u64,
}

/// Distinguishes the open files of this process. Where there are no numbers, the real path does: a
/// file has only one (see `path`).
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum FileKey {
    Number(FileNumber),
    Path(PathBuf),
}

/// The files of an open queue, as they were when it was opened.
pub(crate) struct FileIdentity {
    database: Option<(PathBuf, FileNumber)>,
    wal: Option<(PathBuf, FileNumber)>,
    /// For a file that nobody should be able to write: its length, and when it was last written.
    still: Option<(PathBuf, Stamp)>,
    /// Commits are synced, so each one checks the names.
    is_synced: bool,
    commits: AtomicU32,
}

type Stamp = (u64, Option<SystemTime>);

/// One of so many commits does the full check. Where commits are synced, the others do a cheaper
/// one; where they are not, none.
const FULL_CHECK_INTERVAL: u32 = 64;
const CHECK_INTERVAL_UNSYNCED: u32 = 8;

impl FileIdentity {
    /// The identity of a database that has just been opened, and so has a WAL. A file that is not
    /// under its name (a VFS may keep it elsewhere) is not checked, nor is any where the platform
    /// has no numbers.
    pub(crate) fn of(path: &Path, durability: Durability) -> FileIdentity {
        let of = |path: PathBuf| number(&path).map(|number| (path, number));
        let is_synced = durability == Durability::Full;
        let (database, wal) = (of(path.to_owned()), of(beside(path, "-wal")));
        FileIdentity { database, wal, still: None, is_synced, commits: AtomicU32::new(0) }
    }

    /// The identity of a database that nobody can write. It has no WAL, and SQLite takes no locks
    /// on it.
    pub(crate) fn of_still(path: &Path) -> FileIdentity {
        let still = stamp(path).map(|stamp| (path.to_owned(), stamp));
        FileIdentity { wal: None, still, ..FileIdentity::of(path, Durability::Full) }
    }

    /// The identity of a file that nobody else knows of: nothing is checked.
    pub(crate) fn unknown() -> FileIdentity {
        FileIdentity { database: None, wal: None, still: None, is_synced: false, commits: AtomicU32::new(0) }
    }

    pub(crate) fn key(&self, path: &Path) -> FileKey {
        self.database
            .as_ref()
            .map_or_else(|| FileKey::Path(path.to_owned()), |(_, number)| FileKey::Number(*number))
    }

    /// The check before a commit: full, cheap or none, by how many there have been.
    ///
    /// # Errors
    /// `FileReplaced`.
    pub(crate) fn check_commit(&self) -> Result<(), Error> {
        let every = if self.is_synced { FULL_CHECK_INTERVAL } else { CHECK_INTERVAL_UNSYNCED };
        if self.commits.fetch_add(1, Ordering::Relaxed).is_multiple_of(every) {
            return self.check();
        }
        let Some((wal, _)) = self.wal.as_ref().filter(|_| self.is_synced) else { return Ok(()) };
        is_same(&self.database)?;
        if is_gone(wal) { Err(replaced(wal)) } else { Ok(()) }
    }

    /// Whether a path is known to name another file than the database that was opened.
    #[cfg(feature = "rusqlite")]
    pub(crate) fn is_other(&self, path: &Path) -> bool {
        let opened = self.database.as_ref().map(|(_, number)| *number);
        opened.zip(number(path)).is_some_and(|(opened, other)| opened != other)
    }

    /// Checks that a file that is read without locks has not been written after all. If it has,
    /// what was read must be discarded.
    ///
    /// # Errors
    /// `FileReplaced`.
    pub(crate) fn check_still(&self) -> Result<(), Error> {
        let Some((path, was)) = &self.still else { return Ok(()) };
        let has_wal = fs::symlink_metadata(beside(path, "-wal")).is_ok_and(|wal| wal.len() > 0);
        if !has_wal && stamp(path) == Some(*was) {
            return Ok(());
        }
        let message = format!(
            "{} was written, and it was opened as a file that nobody can write where it lies; open it again",
            path.display()
        );
        Err(Error::new(ErrorKind::FileReplaced, message))
    }

    /// Checks that the database and its WAL are still the files that were opened.
    ///
    /// # Errors
    /// `FileReplaced`.
    pub(crate) fn check(&self) -> Result<(), Error> {
        is_same(&self.database)?;
        is_same(&self.wal)
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    fs::symlink_metadata(path).ok().map(|found| (found.len(), found.modified().ok()))
}

fn is_same(opened: &Option<(PathBuf, FileNumber)>) -> Result<(), Error> {
    match opened {
        Some((path, was)) if number(path) != Some(*was) && !planted("g12-a-replaced-file-unnoticed") => {
            Err(replaced(path))
        }
        _ => Ok(()),
    }
}

/// Whether nothing has this name. (`readlink` fails on a regular file without reading its times.)
fn is_gone(path: &Path) -> bool {
    fs::read_link(path).is_err_and(|e| e.kind() == io::ErrorKind::NotFound)
}

fn replaced(path: &Path) -> Error {
    let message = format!(
        "{} is not the file that was opened: it was removed, renamed or replaced; put it back, or open the queue again",
        path.display()
    );
    Error::new(ErrorKind::FileReplaced, message)
}

/// The path of a companion of the database, or of another file beside it.
pub(crate) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

#[cfg(unix)]
fn number(path: &Path) -> Option<FileNumber> {
    use std::os::unix::fs::MetadataExt;
    let found = fs::symlink_metadata(path).ok()?;
    Some(FileNumber { device: found.dev(), inode: found.ino() })
}

/// Other platforms do not tell without unsafe code. Windows lets nobody remove or rename a file
/// that SQLite has open.
#[cfg(not(unix))]
fn number(_: &Path) -> Option<FileNumber> {
    None
}

/// The device that a file or folder lies on.
pub(crate) fn device(path: &Path) -> Option<u64> {
    number(path).map(|number| number.device)
}

/// How many hard links a file has.
#[cfg(unix)]
pub(crate) fn names(found: &fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::nlink(found)
}

#[cfg(not(unix))]
pub(crate) fn names(_: &fs::Metadata) -> u64 {
    1
}
