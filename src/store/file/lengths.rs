//! How large the database file and its WAL are.

use std::path::Path;

use rusqlite::Connection;

use super::identity::beside;
use crate::store::error::Sql;

/// The page size of files that we create.
pub(crate) const PAGE_BYTES: i64 = 4096;

/// Pages of the database.
pub(crate) fn file_pages(conn: &Connection) -> Sql<i64> {
    Ok(conn.prepare_cached("PRAGMA page_count")?.query_row([], |row| row.get(0))?)
}

/// Free pages of the database.
pub(crate) fn free_pages(conn: &Connection) -> Sql<i64> {
    Ok(conn.prepare_cached("PRAGMA freelist_count")?.query_row([], |row| row.get(0))?)
}

/// Pages of the database that are in the WAL and not yet in the database file.
pub(crate) fn pages_in_wal_alone(conn: &Connection) -> Sql<i64> {
    Ok(file_pages(conn)?.saturating_sub(physical_pages(conn)).max(0))
}

/// Pages that the disk has allocated. It uses `stat`: opening and closing the file would drop SQLite's locks.
pub(crate) fn physical_pages(conn: &Connection) -> i64 {
    let found = conn.path().and_then(|path| Path::new(path).metadata().ok());
    found.map_or(i64::MAX, |found| found.len().cast_signed() / PAGE_BYTES)
}

/// The length of the WAL file.
pub(crate) fn wal_bytes(conn: &Connection) -> u64 {
    let wal = conn.path().map(|path| beside(Path::new(path), "-wal"));
    wal.and_then(|path| path.metadata().ok()).map_or(0, |found| found.len())
}
