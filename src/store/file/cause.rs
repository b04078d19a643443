//! Why a file cannot be opened. SQLite knows, and says "cannot open" whatever it is; so the operating system is asked again.
//!
//! The database is never opened for that, nor its `-shm`: closing them would drop the locks that SQLite has on them in this process.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use super::create::{create_private, file_error, is_shortage};
use super::identity::beside;
use crate::error::{Error, ErrorKind};
use crate::store::error::Fault;

/// Files that SQLite opens for one connection: the database, its WAL, its shared memory, the folder.
const FILES_PER_CONNECTION: usize = 4;

/// Says what was behind "cannot open"; other errors stay as they are.
pub(crate) fn explained(fault: Fault, path: &Path) -> Fault {
    match fault {
        Fault::Sql(e) if e.sqlite_error_code() == Some(rusqlite::ErrorCode::CannotOpen) => {
            cause(path).with_source(e).into()
        }
        other => other,
    }
}

/// What is behind it, as far as the operating system says.
pub(crate) fn cause(path: &Path) -> Error {
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
            Error::new(ErrorKind::Io, message)
        }
    }
}

/// Whether this process may open as many files as a connection takes.
pub(crate) fn descriptors() -> io::Result<()> {
    const ALWAYS_THERE: &str = "/dev/null";
    let opened: io::Result<Vec<File>> = (0..FILES_PER_CONNECTION).map(|_| File::open(ALWAYS_THERE)).collect();
    match opened {
        Err(e) if is_shortage(&e) => Err(e),
        _ => Ok(()), // in a bare chroot it is not there, and nothing is known
    }
}

/// Whether a file can be made beside the database: one is, and is removed at once.
pub(crate) fn make_beside(path: &Path) -> io::Result<()> {
    let probe = beside(path, "-probe");
    match create_private(&probe) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {} // of another process, or of one that was killed
        Err(e) => return Err(e),
        Ok(file) => drop(file),
    }
    match fs::remove_file(&probe) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}
