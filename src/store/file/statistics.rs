//! Deletes what `ANALYZE` and `PRAGMA optimize` have stored about our tables.
//!
//! The statements of the store name their indexes, and look single rows up by their ids, so that statistics cannot turn them. SQLite
//! has no way to say the same of a walk along the ids of a table: if it has learnt that a table has two rows, it goes through all of it.
//! So what is there about our tables is deleted when the file is opened. It would help nothing.

use rusqlite::Connection;

use crate::store::error::Sql;

/// Whether there are statistics about our tables.
pub(crate) fn are_there(conn: &Connection) -> Sql<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'sqlite_stat1')";
    if !conn.query_row(sql, [], |row| row.get(0))? {
        return Ok(false);
    }
    let sql = "SELECT EXISTS (SELECT 1 FROM sqlite_stat1 WHERE tbl GLOB 'perdura_*')";
    Ok(conn.query_row(sql, [], |row| row.get(0))?)
}

/// Deletes them, and makes this connection forget them.
pub(crate) fn forget_statistics(conn: &Connection) -> Sql<()> {
    if are_there(conn)? {
        conn.execute("DELETE FROM sqlite_stat1 WHERE tbl GLOB 'perdura_*'", [])?;
        conn.execute_batch("ANALYZE sqlite_schema")?;
    }
    Ok(())
}
