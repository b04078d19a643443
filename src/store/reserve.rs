//! The reserve for a full disk: room in the database file that new tasks cannot take, and a WAL that is never short.
//!
//! On a full disk a commit can only go where the disk has given room already: to free pages of the database file, and to a WAL that
//! starts again in its old length. So no commit makes the file larger. One that would is rolled back, the file grows by itself, and
//! the commit is made again. If the file cannot grow, whatever adds data is refused; what records outcomes may take padding away
//! that was put into the file for that, slice by slice.
//!
//! The file grows in slices, too. A slice of padding is committed, and copied into the database file by a WAL checkpoint: only then
//! has the disk given the room. Deleting the padding leaves free pages. If the disk refuses, the slice is taken back. A WAL of
//! [`FLOOR`] pages has room for both, and none of its pages lies beyond the end of the database file, so it can always be copied and
//! started again. (A reader that holds an old snapshot keeps the WAL from that.)
//!
//! Not for shared files: the program's own writes make the file larger, and may keep SQLite from giving pages back.

use std::path::PathBuf;

use rusqlite::Connection;

use super::crash::Fate;
use super::fault::Sql;
use crate::planted::planted;

/// Pages in a slice (256 KiB of pages of 4 KiB).
const SLICE: i64 = 64;

/// The bytes that the WAL has at least: a slice and its way back, or a few dozen outcomes.
const FLOOR: u64 = 1024 * 1024;

/// The size of a page in files that we make.
const PAGE_BYTES: i64 = 4096;

/// What a page holds of a large value.
const PAYLOAD_BYTES: i64 = 4092;

/// The first row of what the file grows by, and the others lie below. The rows from 1 on are the reserve.
const GROWTH: i64 = 0;

pub(super) struct Reserve {
    /// Slices of padding; none switches the reserve off.
    slices: i64,
    /// The file could not grow when it had to, or the reserve is not whole.
    is_blocked: bool,
}

impl Reserve {
    pub(super) fn new(bytes: u64) -> Reserve {
        let slices = bytes.div_ceil((SLICE * PAGE_BYTES).unsigned_abs());
        Reserve { slices: i64::try_from(slices).unwrap_or(i64::MAX), is_blocked: false }
    }

    pub(super) fn is_on(&self) -> bool {
        self.slices > 0
    }

    pub(super) fn is_blocked(&self) -> bool {
        self.is_blocked
    }

    /// Takes slices from the reserve, within the transaction that is under way. Says whether there were as many.
    pub(super) fn release(&self, conn: &Connection, slices: i64) -> Sql<bool> {
        let sql =
            "DELETE FROM perdura_padding WHERE id IN (SELECT id FROM perdura_padding ORDER BY id LIMIT ?1)";
        Ok(conn.prepare_cached(sql)?.execute([slices])? as i64 == slices)
    }

    /// Makes the file so large, between two transactions.
    pub(super) fn grow_to(&mut self, size: i64, conn: &Connection, fate: &mut Fate) -> Sql<()> {
        while file_pages(conn)? < size {
            self.grow(conn, fate)?;
        }
        Ok(())
    }

    /// Grows by a slice if fewer pages are free. Says whether it did.
    pub(super) fn grow_ahead(&mut self, free: i64, conn: &Connection, fate: &mut Fate) -> Sql<bool> {
        if !self.is_on() || free_pages(conn)? >= free {
            return Ok(false);
        }
        self.grow(conn, fate).map(|()| true)
    }

    /// Makes sure that the reserve is whole and that the WAL has its floor. Whatever is missing blocks it: a WAL without its floor has
    /// no room for outcomes, even if the file need not grow.
    pub(super) fn provide(&mut self, conn: &Connection, fate: &mut Fate) -> Sql<()> {
        if !self.is_on() {
            return Ok(());
        }
        let provided = self.complete(conn, fate);
        self.is_blocked = provided.is_err();
        provided
    }

    fn complete(&mut self, conn: &Connection, fate: &mut Fate) -> Sql<()> {
        for slice in 1..=self.slices {
            let there = "SELECT EXISTS (SELECT 1 FROM perdura_padding WHERE id = ?1)";
            if conn.prepare_cached(there)?.query_row([slice], |row| row.get(0))? {
                continue;
            }
            while free_pages(conn)? < SLICE + SPARE {
                self.grow(conn, fate)?;
            }
            transaction(conn, fate, |conn| pad(conn, slice, SLICE))?;
        }
        if wal_bytes(conn) < FLOOR {
            transaction(conn, fate, |conn| {
                conn.prepare_cached("DELETE FROM perdura_padding")?.execute([])?;
                (1..=self.slices).try_for_each(|slice| pad(conn, slice, SLICE))
            })?;
            copy_wal(conn)?;
        }
        Ok(())
    }

    /// Grows the file by a slice, in the file system too.
    fn grow(&mut self, conn: &Connection, fate: &mut Fate) -> Sql<()> {
        let size = file_pages(conn)?;
        let grown = (|| {
            copy_wal(conn)?;
            let pages = free_pages(conn)? + SLICE;
            transaction(conn, fate, |conn| {
                remove_growth(conn)?;
                (0..pages)
                    .step_by(SLICE as usize)
                    .zip(0..)
                    .try_for_each(|(done, row)| pad(conn, GROWTH - row, SLICE.min(pages - done)))
            })?;
            if planted("g11-growth-in-the-wal-alone") { Ok(()) } else { copy_wal(conn) }
        })();
        self.is_blocked = grown.is_err();
        if grown.is_ok() {
            return transaction(conn, fate, remove_growth);
        }
        let taken_back = transaction(conn, fate, |conn| {
            remove_growth(conn)?;
            vacuum(conn, file_pages(conn)? - size)
        });
        let _ = taken_back.and_then(|()| copy_wal(conn)); // what was wrong with the growth is told
        grown
    }
}

/// Free pages beside a slice for what a transaction needs to put it into the file.
const SPARE: i64 = 8;

fn pad(conn: &Connection, id: i64, pages: i64) -> Sql<()> {
    let sql = "INSERT INTO perdura_padding (id, padding) VALUES (?1, zeroblob(?2))";
    conn.prepare_cached(sql)?.execute((id, pages * PAYLOAD_BYTES))?;
    Ok(())
}

fn remove_growth(conn: &Connection) -> Sql<()> {
    conn.prepare_cached("DELETE FROM perdura_padding WHERE id <= ?1")?.execute([GROWTH])?;
    Ok(())
}

fn transaction(conn: &Connection, fate: &mut Fate, write: impl FnOnce(&Connection) -> Sql<()>) -> Sql<()> {
    let run = |text: &str| -> Sql<()> { Ok(conn.prepare_cached(text)?.execute([]).map(drop)?) };
    if !conn.is_autocommit() {
        run("ROLLBACK")?;
    }
    run("BEGIN IMMEDIATE")?;
    let written = write(conn).and_then(|()| fate.commit(conn, || run("COMMIT")));
    if written.is_err() && !conn.is_autocommit() {
        let _ = run("ROLLBACK"); // tried again before the next transaction
    }
    written
}

/// Copies the WAL into the database file, so that it can start again.
fn copy_wal(conn: &Connection) -> Sql<()> {
    super::chores::checkpoint_wal(conn)
}

/// Gives free pages at the end of the file back.
fn vacuum(conn: &Connection, pages: i64) -> Sql<()> {
    for _ in 0..pages {
        let mut statement = conn.prepare_cached("PRAGMA incremental_vacuum(1)")?;
        let mut rows = statement.query([])?;
        while rows.next()?.is_some() {}
    }
    Ok(())
}

/// The pages that the database has.
pub(super) fn file_pages(conn: &Connection) -> Sql<i64> {
    Ok(conn.prepare_cached("PRAGMA page_count")?.query_row([], |row| row.get(0))?)
}

fn free_pages(conn: &Connection) -> Sql<i64> {
    Ok(conn.prepare_cached("PRAGMA freelist_count")?.query_row([], |row| row.get(0))?)
}

/// The length of the WAL file. It is only looked at: opening and closing it would drop SQLite's locks.
fn wal_bytes(conn: &Connection) -> u64 {
    let wal = conn.path().map(|path| PathBuf::from(format!("{path}-wal")));
    wal.and_then(|path| path.metadata().ok()).map_or(0, |found| found.len())
}
