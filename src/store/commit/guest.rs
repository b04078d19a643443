//! Writes that join a transaction of the program's own: only if that is on the queue's file.
//!
//! Names of tasks and queues are numbers that mean something in one file alone. In another they would name other queues, and other handlers.

use rusqlite::Connection;

use super::tx::Tx;
use crate::error::{Error, ErrorKind};
use crate::planted::planted;
use crate::store::Store;
use crate::store::error::Sql;
use crate::store::tasks::finish::finish;

impl Store {
    /// A transaction's view of a connection of the caller's own.
    ///
    /// # Errors
    /// `InvalidInput`, naming both files, if the connection's main database is another than this one.
    pub(crate) fn join<'c>(&'c self, connection: &'c Connection) -> Sql<Tx<'c>> {
        let problem = match file_id(connection) {
            Ok(found) if found == self.file_id && !self.is_copy(connection) => None,
            Ok(_) => Some("another queue's"),
            Err(e) if e.sqlite_error_code() == Some(rusqlite::ErrorCode::Unknown) => Some("no queue's"), // no such table
            Err(rusqlite::Error::QueryReturnedNoRows) => Some("no queue's"),
            Err(e) => return Err(e.into()),
        };
        match problem {
            Some(problem) if !planted("g03-a-transaction-on-another-file-is-joined") => {
                let theirs =
                    connection.path().filter(|path| !path.is_empty()).unwrap_or("a temporary database");
                let message = format!(
                    "the transaction is on {problem} file ({theirs}), and this queue's is {}; begin it on a connection whose main database that is",
                    self.path.display()
                );
                Err(Error::new(ErrorKind::InvalidInput, message).into())
            }
            _ => Ok(Tx::new(connection, &self.names, &self.file_id, None, finish)),
        }
    }

    /// Whether a connection with this file's id is on a copy of it, as far as the operating system tells files apart.
    fn is_copy(&self, connection: &Connection) -> bool {
        connection.path().is_some_and(|path| self.identity.is_other(path.as_ref()))
    }
}

/// The id of the main database. One that is attached under another name is not what unqualified names mean.
fn file_id(connection: &Connection) -> rusqlite::Result<[u8; 16]> {
    let sql = "SELECT file_id FROM main.perdura_meta WHERE id = 1";
    connection.prepare_cached(sql)?.query_row([], |row| row.get(0))
}
