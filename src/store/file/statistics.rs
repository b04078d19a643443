//! Deletes the statistics that `ANALYZE` and `PRAGMA optimize` have stored about our tables.
//!
//! The statements of the store name their indexes or look up single rows by id, so statistics
//! cannot change their plans. SQLite has no clause that does the same for a range of row ids: if
//! the statistics say that a table has two rows, it scans the whole table. Statistics help none of
//! our statements, so they are deleted when the file is opened.

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

/// Deletes them, and makes this connection reload what is left.
pub(crate) fn forget_statistics(conn: &Connection) -> Sql<()> {
    if are_there(conn)? {
        conn.execute("DELETE FROM sqlite_stat1 WHERE tbl GLOB 'perdura_*'", [])?;
        conn.execute_batch("ANALYZE sqlite_schema")?;
    }
    Ok(())
}
