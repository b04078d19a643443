//! Whether the file at a path is still the one that was opened.
//!
//! SQLite works on an open file whatever happens to its name. If somebody removes, renames or replaces it meanwhile, commits go on into
//! a file that nobody will find again. So the names are looked at before a commit, and before a new connection is made: one `stat` of
//! the database, and one of its WAL, which holds the newest commits and must stay beside it. That takes some 3 µs: little beside a sync.
//! Without syncs it would be much, so there it is done for each eighth commit.

use crate::sync::atomic::{AtomicU32, Ordering};
use std::fs;
use std::path::{Path, PathBuf};

use crate::config::Durability;
use crate::error::{Error, ErrorKind};
use crate::planted::planted;

/// What the operating system calls a file, whatever its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileNumber {
    device: u64,
    inode: u64,
}

/// The files of an open queue, and what they were when it was opened.
pub(crate) struct Identity {
    opened: Vec<(PathBuf, FileNumber)>,
    /// One of so many commits is looked at.
    every: u32,
    commits: AtomicU32,
}

/// One of so many commits is looked at where none is synced.
const UNSYNCED: u32 = 8;

impl Identity {
    /// Of a database that has just been opened; it has a WAL then. What has no file under its name (a VFS may keep it elsewhere) is
    /// not looked at, nor is anything where the platform has no numbers.
    pub(super) fn of(path: &Path, durability: Durability) -> Identity {
        let all = [path.to_owned(), beside(path, "-wal")];
        let opened = all.into_iter().filter_map(|path| number(&path).map(|number| (path, number))).collect();
        let every = match durability {
            Durability::Full => 1,
            Durability::Relaxed => UNSYNCED,
        };
        Identity { opened, every, commits: AtomicU32::new(0) }
    }

    /// Of a file that nobody else knows of: nothing is looked at.
    pub(super) fn unknown() -> Identity {
        Identity { opened: Vec::new(), every: 1, commits: AtomicU32::new(0) }
    }

    /// Looks before a commit, if it is its turn.
    ///
    /// # Errors
    /// `FileReplaced`.
    pub(super) fn check_commit(&self) -> Result<(), Error> {
        match self.commits.fetch_add(1, Ordering::Relaxed) % self.every {
            0 => self.check(),
            _ => Ok(()),
        }
    }

    /// Looks whether the files are still there.
    ///
    /// # Errors
    /// `FileReplaced`.
    pub(super) fn check(&self) -> Result<(), Error> {
        for (path, opened) in &self.opened {
            if number(path) != Some(*opened) && !planted("g12-a-replaced-file-unnoticed") {
                return Err(replaced(path));
            }
        }
        Ok(())
    }
}

fn replaced(path: &Path) -> Error {
    let message = format!(
        "{} is not the file that was opened: it was removed, renamed or replaced; put it back, or open the queue again",
        path.display()
    );
    Error::new(ErrorKind::FileReplaced, message)
}

/// The path of a companion of the database.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
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

/// Other platforms do not say without unsafe code; Windows lets nobody remove or rename a file that is open.
#[cfg(not(unix))]
fn number(_: &Path) -> Option<FileNumber> {
    None
}

/// How many names a file has.
#[cfg(unix)]
pub(super) fn names(found: &fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::nlink(found)
}

#[cfg(not(unix))]
pub(super) fn names(_: &fs::Metadata) -> u64 {
    1
}
