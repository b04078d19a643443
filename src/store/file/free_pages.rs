//! Returns free pages of the file to the file system, little by little.

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::reserve::free_pages;
use crate::store::error::Sql;

/// Free pages that are kept for the next writes (4 MiB of pages of 4 KiB).
const KEPT_PAGES: i64 = 1024;
/// Free pages returned in one go (1 MiB): bounds how long others wait for the writer.
const PAGES_PER_SLICE: i64 = 256;

/// Returns one slice of free pages to the file system, or less if `enough` says so, and keeps some
/// for the next writes. Answers whether another slice would return more: not if the file gives no
/// pages back (`auto_vacuum = NONE`).
///
/// For each page SQLite searches the whole list of free pages, which takes milliseconds where
/// millions are free.
pub(crate) fn return_free_pages(conn: &Connection, enough: &dyn Fn() -> bool) -> Sql<bool> {
    let free = free_pages(conn)?;
    if free < KEPT_PAGES + PAGES_PER_SLICE {
        return Ok(false);
    }
    let tx = Transaction::new_unchecked(conn, TransactionBehavior::Immediate)?;
    return_slice(&tx, enough)?;
    tx.commit()?;
    let left = free_pages(conn)?;
    Ok(left < free && left >= KEPT_PAGES + PAGES_PER_SLICE)
}

fn return_slice(conn: &Connection, enough: &dyn Fn() -> bool) -> Sql<()> {
    let mut statement = conn.prepare_cached("PRAGMA incremental_vacuum")?;
    let mut rows = statement.query([])?;
    for _ in 0..PAGES_PER_SLICE {
        if rows.next()?.is_none() || enough() {
            break;
        }
    }
    Ok(())
}
