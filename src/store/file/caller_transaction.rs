//! Checks that a caller's own transaction is on this queue's file before writes join it.
//!
//! The file stores names of tasks and queues as numbers that are valid in that file only. In
//! another file they would name other queues and other handlers.

use std::path::Path;

use rusqlite::Connection;

use super::identity::FileIdentity;
use crate::error::{Error, ErrorKind};
use crate::planted::planted;
use crate::store::error::Sql;

/// Refuses a connection of the caller's own whose main database is another file.
///
/// # Errors
/// `InvalidInput`, naming both files.
pub(crate) fn check_file(
    connection: &Connection,
    id: &[u8; 16],
    path: &Path,
    identity: &FileIdentity,
) -> Sql<()> {
    // A copy of the file has the same id.
    let is_copy = || connection.path().is_some_and(|path| identity.is_other(path.as_ref()));
    let problem = match file_id(connection) {
        Ok(found) if found == *id && !is_copy() => return Ok(()),
        Ok(_) => "another queue's",
        Err(e) if e.sqlite_error_code() == Some(rusqlite::ErrorCode::Unknown) => "no queue's", // no such table
        Err(rusqlite::Error::QueryReturnedNoRows) => "no queue's",
        Err(e) => return Err(e.into()),
    };
    if planted("g03-a-transaction-on-another-file-is-joined") {
        return Ok(());
    }
    let theirs = connection.path().filter(|path| !path.is_empty()).unwrap_or("a temporary database");
    let message = format!(
        "the transaction is on {problem} file ({theirs}), and this queue's is {}; begin it on a connection whose main database that is",
        path.display()
    );
    Err(Error::new(ErrorKind::InvalidInput, message).into())
}

/// The file id in the main database. Unqualified table names do not mean an attached one.
fn file_id(connection: &Connection) -> rusqlite::Result<[u8; 16]> {
    let sql = "SELECT file_id FROM main.perdura_meta WHERE id = 1";
    connection.prepare_cached(sql)?.query_row([], |row| row.get(0))
}
