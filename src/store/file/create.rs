//! Creates files that only their owner can read, makes their names durable, and explains errors of
//! the operating system.

use std::fs;
use std::io;
use std::path::Path;

use crate::error::{Error, ErrorKind};

/// Creates a new file that only its owner can read.
pub(crate) fn create_private(path: &Path) -> io::Result<fs::File> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Makes the name of a new file durable.
pub(crate) fn sync_folder(path: &Path) -> Result<(), Error> {
    #[cfg(unix)]
    if let Some(folder) = path.parent() {
        match fs::File::open(folder).and_then(|folder| folder.sync_all()) {
            // Not every file system on Apple's systems supports F_FULLFSYNC, and std has no
            // fallback. SQLite has one, and syncs the folder too when it creates the -wal.
            Err(e) if cfg!(target_vendor = "apple") && !is_of_device(&e) => {}
            synced => synced.map_err(|e| file_error("the folder cannot be synced", e))?,
        }
    }
    let _ = path;
    Ok(())
}

/// Whether the sync failed, rather than being unsupported.
#[cfg(unix)]
fn is_of_device(e: &io::Error) -> bool {
    !matches!(e.raw_os_error(), Some(libc::ENOTSUP | libc::ENOTTY | libc::EINVAL))
}

/// Turns an error of the operating system into one for the caller, with a fix.
pub(crate) fn file_error(what: &str, e: io::Error) -> Error {
    let (kind, fix) = match e.kind() {
        io::ErrorKind::PermissionDenied => (ErrorKind::ReadOnly, "check the permissions of the folder"),
        io::ErrorKind::ReadOnlyFilesystem => {
            (ErrorKind::ReadOnly, "mount its file system for writing, or only look with read_only(true)")
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => (ErrorKind::DiskFull, "free some space"),
        io::ErrorKind::InvalidFilename => (ErrorKind::InvalidInput, "give a shorter name"),
        io::ErrorKind::OutOfMemory => (ErrorKind::Io, "free some memory"),
        _ if is_shortage(&e) => (ErrorKind::Io, "close some, or raise their limit (ulimit -n)"),
        _ => (ErrorKind::Io, "check the disk"),
    };
    Error::new(kind, format!("{what}: {e}; {fix}")).with_source(e)
}

/// Whether the process, or the system, has too many files open.
#[cfg(unix)]
pub(crate) fn is_shortage(e: &io::Error) -> bool {
    matches!(e.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}

#[cfg(not(unix))]
pub(crate) fn is_shortage(e: &io::Error) -> bool {
    const ERROR_TOO_MANY_OPEN_FILES: i32 = 4;
    cfg!(windows) && e.raw_os_error() == Some(ERROR_TOO_MANY_OPEN_FILES)
}
