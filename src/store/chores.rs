//! What SQLite needs done now and then.

use rusqlite::Connection;

use super::fault::Sql;
use super::reserve::{free_pages, wal_bytes};
use crate::error::Error;

/// Free pages that are kept for the next writes (4 MiB of pages of 4 KiB).
const KEPT_FREE: i64 = 1024;
/// Free pages returned in one go (1 MiB): bounds how long others wait for the writer. The statement below has the same number.
const RETURNED: i64 = 256;

/// The WAL is cut to this size when it starts again, and by this much at a time: to cut a gigabyte away takes a file system a quarter of a
/// second, in which nobody can write.
const WAL_LIMIT_BYTES: u64 = 16 << 20;
const WAL_CUT_BYTES: u64 = 32 << 20;

/// A connection for WAL checkpoints beside the commits.
pub(crate) struct Background(pub(super) Connection);

impl Background {
    /// Copies what it can of the WAL into the database file, without waiting for anybody. Answers with the frames of the WAL that are
    /// copied now.
    pub(crate) fn checkpoint_wal(&self) -> Result<u32, Error> {
        Ok(checkpoint_wal(&self.0)?)
    }
}

/// A number that changes whenever another connection has committed.
pub(crate) fn data_version(conn: &Connection) -> Sql<i64> {
    Ok(conn.query_row("PRAGMA data_version", [], |row| row.get(0))?)
}

/// Copies what it can of the WAL into the database file, without waiting for anybody. Answers with the frames of the WAL that are copied
/// now.
pub(crate) fn checkpoint_wal(conn: &Connection) -> Sql<u32> {
    let copied: i64 = conn.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| row.get(2))?;
    Ok(u32::try_from(copied).unwrap_or(0))
}

/// Sets how much of the WAL stays when it starts again: of one that a long reader has let grow it is cut away little by little.
pub(crate) fn limit_wal(conn: &Connection) -> Sql<()> {
    let limit = wal_bytes(conn).saturating_sub(WAL_CUT_BYTES).max(WAL_LIMIT_BYTES);
    let set: i64 = conn.query_row("PRAGMA journal_size_limit", [], |row| row.get(0))?;
    if u64::try_from(set) != Ok(limit) {
        conn.pragma_update(None, "journal_size_limit", i64::try_from(limit).unwrap_or(i64::MAX))?;
    }
    Ok(())
}

/// Returns free pages of the file to the file system, a slice of them, but for a reserve. Says whether another slice would return more:
/// it would not where the file gives no pages back (`auto_vacuum = NONE`).
pub(crate) fn return_free_pages(conn: &Connection) -> Sql<bool> {
    let free = free_pages(conn)?;
    if free < KEPT_FREE + RETURNED {
        return Ok(false);
    }
    let mut statement = conn.prepare("PRAGMA incremental_vacuum(256)")?;
    let mut rows = statement.query([])?;
    while rows.next()?.is_some() {}
    drop(rows);
    let left = free_pages(conn)?;
    Ok(left < free && left >= KEPT_FREE + RETURNED)
}
