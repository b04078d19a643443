//! Whether the file at a path is still the one that was opened.
//!
//! SQLite works on an open file whatever happens to its name. If somebody removes, renames or replaces it meanwhile, commits go on into
//! a file that nobody will find again. So the names are looked at before each commit and each look: one `stat` of the database, and one
//! of its WAL, which holds the newest commits and must stay beside it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind};
use crate::planted::planted;

/// What the operating system calls a file, whatever its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileNumber {
    device: u64,
    inode: u64,
}

/// The files of an open queue, and what they were when it was opened.
#[derive(Debug, Clone)]
pub(crate) struct Identity(Vec<(PathBuf, FileNumber)>);

impl Identity {
    /// Of a database that has just been opened; it has a WAL then. What has no file under its name (a VFS may keep it elsewhere) is
    /// not looked at, nor is anything where the platform has no numbers.
    pub(super) fn of(path: &Path) -> Identity {
        let all = [path.to_owned(), beside(path, "-wal")];
        Identity(all.into_iter().filter_map(|path| number(&path).map(|number| (path, number))).collect())
    }

    /// Of a file that nobody else knows of: nothing is looked at.
    pub(super) fn unknown() -> Identity {
        Identity(Vec::new())
    }

    /// Looks whether the files are still there.
    ///
    /// # Errors
    /// `FileReplaced`.
    pub(super) fn check(&self) -> Result<(), Error> {
        for (path, opened) in &self.0 {
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
