//! Finds out why a file cannot be opened. SQLite reports "cannot open" whatever the reason, so the
//! operating system is asked again.
//!
//! That never opens the database or its `-shm`: closing them would drop the locks that SQLite has
//! on them in this process.

use std::error::Error as StdError;
use std::fs::{self, File};
use std::io;
use std::path::Path;

use super::create::{create_private, file_error, is_shortage};
use super::identity::beside;
use crate::error::{Error, ErrorKind};
use crate::store::error::Fault;

/// Files that SQLite opens for one connection: the database, its WAL, its shared memory, the
/// folder.
const FILES_PER_CONNECTION: usize = 4;

/// Replaces "cannot open" by its cause; other errors stay as they are.
pub(crate) fn explained(fault: Fault, path: &Path) -> Fault {
    match fault {
        Fault::Sql(e) if e.sqlite_error_code() == Some(rusqlite::ErrorCode::CannotOpen) => {
            cause(path, e).into()
        }
        other => other,
    }
}

/// The cause, as far as the operating system tells; its source is the error of the system, or else SQLite's.
pub(crate) fn cause(path: &Path, told: impl Into<Box<dyn StdError + Send + Sync>>) -> Error {
    if let Err(e) = descriptors() {
        return file_error("the file cannot be opened", e);
    }
    let refused = match fs::symlink_metadata(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => None, // a VFS may keep it elsewhere
        Err(e) => return file_error("the file cannot be looked at", e),
        Ok(_) => make_beside(path).err(),
    };
    match refused {
        Some(e) => file_error("no -wal and -shm can be made beside the file", e),
        None => {
            let message =
                "the file, its -wal or its -shm cannot be opened; check who may read and write them";
            Error::new(ErrorKind::Io, message).with_source(told)
        }
    }
}

/// Fails if this process cannot open as many files as a connection needs.
pub(crate) fn descriptors() -> io::Result<()> {
    const ALWAYS_THERE: &str = "/dev/null";
    let opened: io::Result<Vec<File>> = (0..FILES_PER_CONNECTION).map(|_| File::open(ALWAYS_THERE)).collect();
    match opened {
        Err(e) if is_shortage(&e) => Err(e),
        _ => Ok(()), // a bare chroot has no /dev/null, and nothing is known
    }
}

/// Checks that a file can be created beside the database: creates one and removes it.
pub(crate) fn make_beside(path: &Path) -> io::Result<()> {
    let probe = beside(path, "-probe");
    match create_private(&probe) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {} // left by another process, or by one that was killed
        Err(e) => return Err(e),
        Ok(file) => drop(file),
    }
    match fs::remove_file(&probe) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}
