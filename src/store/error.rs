//! Errors of the store, and what they mean to a caller.

use rusqlite::{ErrorCode, ffi};

use crate::error::{Error, ErrorKind};

/// An error on its way up through the store: SQLite's, or one that a caller gets as it is.
#[derive(Debug)]
pub(crate) enum Fault {
    Sql(rusqlite::Error),
    Typed(Error),
}

/// The result of a function that runs SQL.
pub(crate) type Sql<T> = Result<T, Fault>;

impl From<rusqlite::Error> for Fault {
    fn from(e: rusqlite::Error) -> Fault {
        Fault::Sql(e)
    }
}

impl From<Error> for Fault {
    fn from(e: Error) -> Fault {
        Fault::Typed(e)
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Error {
        match fault {
            Fault::Typed(error) => error,
            Fault::Sql(error) => told(error),
        }
    }
}

impl Fault {
    /// Whether the disk failed. After such an error of a COMMIT its outcome is unknown.
    pub(crate) fn is_io(&self) -> bool {
        matches!(self, Fault::Sql(e) if e.sqlite_error_code() == Some(ErrorCode::SystemIoFailure))
    }

    /// Whether rows hold what perdura never writes: a value of another type or range, a reference
    /// to a missing row, a broken constraint.
    pub(super) fn is_damage(&self) -> bool {
        match self {
            Fault::Typed(e) => e.kind() == ErrorKind::Corrupt,
            Fault::Sql(e) => {
                is_value(e)
                    || matches!(
                        e.sqlite_error_code(),
                        Some(ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch | ErrorCode::TooBig)
                    )
            }
        }
    }
}

/// Whether a statement of ours does not fit the file's schema: it was verified when the file was
/// opened, so it was changed since, or it cannot be parsed.
fn is_schema(e: &rusqlite::Error) -> bool {
    match e {
        rusqlite::Error::SqliteFailure(_, Some(text)) => {
            ["unsupported file format", "no such ", "malformed "].iter().any(|begin| text.starts_with(begin))
        }
        #[cfg(feature = "bundled")] // needs sqlite3_error_offset (SQLite 3.38)
        rusqlite::Error::SqlInputError { .. } => true,
        _ => false,
    }
}

/// The fault of rows that contradict each other or break a rule.
pub(super) fn contradiction(what: &str) -> Fault {
    Error::new(ErrorKind::Corrupt, format!("{OTHER_ROWS} ({what})")).into()
}

const OTHER_ROWS: &str =
    "rows of the file are not what perdura writes; it was altered or damaged, see Queue::check";

/// Whether a column holds a value of the wrong type or range, or a row that must exist is missing.
fn is_value(e: &rusqlite::Error) -> bool {
    use rusqlite::Error as E;
    matches!(
        e,
        E::FromSqlConversionFailure(..)
            | E::IntegralValueOutOfRange(..)
            | E::InvalidColumnType(..)
            | E::Utf8Error(..)
            | E::QueryReturnedNoRows
    )
}

fn told(error: rusqlite::Error) -> Error {
    let (kind, message) = meaning(&error);
    Error::new(kind, message).with_source(error)
}

/// What an error of SQLite means to a caller.
pub(super) fn meaning(error: &rusqlite::Error) -> (ErrorKind, &'static str) {
    const FULL: (ErrorKind, &str) = (ErrorKind::DiskFull, "the disk or quota is full; free some space");
    let extended = error.sqlite_error().map(|e| e.extended_code);
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::FileLockingProtocolFailed) => {
            (ErrorKind::Busy, "another connection kept the file locked for too long; try again")
        }
        Some(ErrorCode::DiskFull) => FULL,
        // The -shm file could not grow. Practically only a full disk causes that, and SQLite does
        // not report it as such.
        Some(ErrorCode::SystemIoFailure) if extended == Some(ffi::SQLITE_IOERR_SHMSIZE) => FULL,
        Some(ErrorCode::SystemIoFailure) => (ErrorKind::Io, "the disk reported an error"),
        Some(ErrorCode::CannotOpen) => {
            (ErrorKind::Io, "the file cannot be opened; check its path and permissions")
        }
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
            (ErrorKind::ReadOnly, "the file or its folder cannot be written; check their permissions")
        }
        Some(ErrorCode::DatabaseCorrupt) => (ErrorKind::Corrupt, "the file is damaged; restore a backup"),
        Some(ErrorCode::NotADatabase) => {
            (ErrorKind::NotPerdura, "the file is not a database; give another path")
        }
        Some(ErrorCode::OperationInterrupted) => {
            (ErrorKind::Interrupted, "the read was interrupted, as was asked for")
        }
        Some(ErrorCode::OutOfMemory) => (ErrorKind::Io, "SQLite ran out of memory"),
        Some(ErrorCode::TooBig) => {
            (ErrorKind::TooLarge, "a value in the file is larger than this program takes")
        }
        Some(ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch) => (ErrorKind::Corrupt, OTHER_ROWS),
        _ if is_value(error) || is_schema(error) => (ErrorKind::Corrupt, OTHER_ROWS),
        _ => (ErrorKind::Internal, "SQLite refused a statement"),
    }
}
