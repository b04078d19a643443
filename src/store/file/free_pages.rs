//! Returns free pages of the file to the file system, little by little.

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::lengths::free_pages;
use crate::store::error::Sql;

/// Free pages that are kept for the next writes (4 MiB of pages of 4 KiB).
const KEPT_PAGES: i64 = 1024;
/// A search in so many free pages reads 64 pages of their list, which takes a disk some 10 ms.
const LONG_LIST_PAGES: i64 = 64 * 1024;
/// Free pages returned in one go (1 MiB): bounds how long others wait for the writer.
const PAGES_PER_SLICE: i64 = 256;

/// Reads the list of free pages, if it is long. [`return_free_pages`] searches it with the write lock held. For two million free pages
/// that takes 0.3 s if the operating system has to read the list from the disk, and 10 ms if it has the list in memory.
pub(crate) fn read_free_list(conn: &Connection) -> Sql<()> {
    if free_pages(conn)? >= LONG_LIST_PAGES && gives_pages_back(conn)? {
        check_free_list(conn)?;
    }
    Ok(())
}

/// Whether the file returns free pages when it is asked to (`auto_vacuum = INCREMENTAL`).
fn gives_pages_back(conn: &Connection) -> Sql<bool> {
    Ok(conn.query_row("PRAGMA auto_vacuum", [], |row| row.get::<_, i64>(0))? == 2)
}

/// SQLite's check of the list of free pages. It is a part of the check of the schema table (in its source:
/// `sqlite3BtreeIntegrityCheck`).
fn check_free_list(conn: &Connection) -> Sql<String> {
    Ok(conn.query_row("PRAGMA quick_check(sqlite_schema)", [], |row| row.get(0))?)
}

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::file::temporary::TemporaryFolder;

    #[test]
    fn the_list_of_free_pages_is_read_to_its_end() {
        let folder = TemporaryFolder::new().unwrap();
        let path = folder.file();
        let conn = Connection::open(&path).unwrap();
        // 2,000 pages are on two pages of the list.
        let fill = "CREATE TABLE t (x); INSERT INTO t VALUES (zeroblob(2000 * 4092)); DELETE FROM t;";
        conn.execute_batch(fill).unwrap();
        assert_eq!(check_free_list(&conn).unwrap(), "ok");
        conn.close().unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        let word = |bytes: &[u8], at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
        let first = (word(&bytes, 32) as usize - 1) * 4096; // the file's header names the first page of the list, and that the next
        let second = (word(&bytes, first) as usize - 1) * 4096;
        assert_eq!(word(&bytes, second), 0, "it has two pages");
        bytes[second + 8] ^= 0xff; // the number of a free page
        std::fs::write(&path, bytes).unwrap();
        let found = check_free_list(&Connection::open(&path).unwrap()).unwrap();
        assert!(found.to_lowercase().contains("freelist"), "{found}");
    }
}
