//! The error type: why a file cannot be attached, copied or recorded.

use std::ffi::c_int;
use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why a file cannot be attached, copied or recorded.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// SQLite could not open this path.
    Path(PathBuf),
    /// This database is attached already: clone its [`Faults`](crate::Faults).
    Attached(PathBuf),
    /// A file cannot be read or written.
    Io(io::Error),
    /// The result code of a failed call of SQLite's own VFS.
    Sqlite(c_int),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Path(path) => {
                write!(
                    f,
                    "{} is not a path that SQLite can open; give the path of a file in a folder that exists",
                    path.display()
                )
            }
            Error::Attached(path) => write!(f, "{} has faults already; clone those", path.display()),
            Error::Io(e) => write!(f, "a file cannot be copied: {e}"),
            Error::Sqlite(code) => write!(f, "SQLite's own VFS answers with code {code}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Io(e) => Some(e),
            _ => None,
        }
    }
}

impl From<io::Error> for Error {
    fn from(e: io::Error) -> Error {
        Error::Io(e)
    }
}
