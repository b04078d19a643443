//! What SQLite needs done now and then.

use std::cell::{Cell, OnceCell};
use std::sync::Arc;

use rusqlite::hooks::Wal;
use rusqlite::{Connection, Transaction, TransactionBehavior};

use crate::error::{Error, ErrorKind};
use crate::journal::tell;
use crate::store::Store;
use crate::store::error::Sql;
use crate::store::file::interrupts::Look;
use crate::store::file::open::Manner;
use crate::store::file::reserve::{free_pages, wal_bytes};
use crate::store::file::{cause, open};
use crate::sync::atomic::{AtomicU32, Ordering};
use crate::sync::{Mutex, lock};

/// Free pages that are kept for the next writes (4 MiB of pages of 4 KiB).
const KEPT_FREE: i64 = 1024;
/// Free pages returned in one go (1 MiB): bounds how long others wait for the writer.
const RETURNED: i64 = 256;

/// The WAL is cut to this size when it starts again, and by this much at a time: to cut a gigabyte away takes a file system a quarter of a
/// second, in which nobody can write.
const WAL_LIMIT_BYTES: u64 = 16 << 20;
const WAL_CUT_BYTES: u64 = 32 << 20;
/// A WAL that has grown beyond this could not start again when it should have.
const LONG_BYTES: u64 = 8 << 20;

/// Pages in the WAL from which it is checkpointed (4 MiB of pages of 4 KiB): beside the commits where somebody keeps it, else by the writer.
/// A WAL that starts again is written over, and that takes half the time of a sync that makes the file longer.
pub(crate) const CHECKPOINT_PAGES: u32 = 1024;

/// A WAL checkpoint beside the commits goes on in rounds, so many at most, until so few pages (1 MiB) have come meanwhile: those are left
/// for the writer to copy, while others wait.
const ROUNDS: u32 = 10;
const FEW_PAGES: u32 = 256;

/// What is known of the WAL of a file that is written.
pub(crate) struct WalState {
    /// Pages in it after the newest commit of this process.
    pages: AtomicU32,
    /// How many threads checkpoint it beside the commits; with none, the writer does.
    keepers: AtomicU32,
    /// Held while it is copied beside the commits: whoever comes second waits for that.
    copying: Mutex<()>,
}

thread_local! {
    /// Pages in the WAL after this thread's newest commit. SQLite tells them on the committing thread, within the COMMIT.
    static PAGES: Cell<u32> = const { Cell::new(0) };
}

fn note_pages(_: &Wal, pages: i32) -> rusqlite::Result<()> {
    PAGES.set(u32::try_from(pages).unwrap_or(0));
    Ok(())
}

impl WalState {
    /// For the file of the connection that writes it.
    pub(crate) fn of(connection: &Connection) -> Arc<WalState> {
        connection.wal_hook(Some(note_pages));
        let [pages, keepers] = [AtomicU32::new(0), AtomicU32::new(0)];
        Arc::new(WalState { pages, keepers, copying: Mutex::new(()) })
    }

    /// Notes how long it is after what `act` commits.
    pub(crate) fn during<R>(&self, act: impl FnOnce() -> R) -> R {
        PAGES.set(0); // of another commit, perhaps of another file
        let done = act();
        if let pages @ 1.. = PAGES.get() {
            self.pages.store(pages, Ordering::Release);
        }
        done
    }

    pub(crate) fn pages(&self) -> u32 {
        self.pages.load(Ordering::Acquire)
    }

    /// Whether it is to be checkpointed.
    pub(crate) fn is_long(&self) -> bool {
        self.pages() >= CHECKPOINT_PAGES
    }

    /// Whether somebody does that beside the commits.
    pub(crate) fn is_kept(&self) -> bool {
        self.keepers.load(Ordering::Acquire) > 0
    }
}

/// Copies the WAL into the database file beside the commits, on the thread that holds it: as long as there is one, no commit of this
/// process has to. A verb that reads or writes much of the file holds one, and so goes no faster than the disk takes it.
pub(crate) struct WalKeeper<'s> {
    store: &'s Store,
    look: Look<'s>,
    /// Two connections may write and checkpoint at once. (SQLite's WAL-reset bug forbids it.)
    is_beside: bool,
    /// Opened when it is needed first; none if that failed.
    connection: OnceCell<Option<Connection>>,
}

impl<'s> WalKeeper<'s> {
    pub(crate) fn new(store: &'s Store) -> WalKeeper<'s> {
        let is_beside = store.manner == Manner::Writes && !has_wal_reset_bug(rusqlite::version_number());
        if is_beside {
            store.writer.wal().keepers.fetch_add(1, Ordering::AcqRel);
        }
        WalKeeper { store, look: store.look(), is_beside, connection: OnceCell::new() }
    }

    /// Copies the WAL if it is long. If that fails, a commit says what is wrong with the disk.
    pub(crate) fn copy_if_long(&self) {
        if self.store.writer.wal().is_long() {
            let _ = self.copy();
        }
    }

    /// Looks at much of the file on one snapshot, and then copies the WAL, if that could not start again meanwhile.
    pub(crate) fn read<R>(&self, look: impl FnOnce(&Connection) -> Sql<R>) -> Result<R, Error> {
        let mut can_copy = false;
        let found = self.look.read(|conn| {
            let before = wal_bytes(conn).max(LONG_BYTES);
            let found = look(conn);
            let has_grown = self.is_beside && wal_bytes(conn) > before;
            can_copy = has_grown && self.connection().is_some(); // opened before a commit of another process may copy it
            found
        });
        if can_copy {
            let _ = self.copy_beside(); // as above; not on the writer, which may wait for a transaction of the thread that reads
        }
        found
    }

    /// Copies the WAL: most of it beside the commits, then the few pages that came meanwhile on the writer, so that the WAL can start
    /// again.
    ///
    /// # Errors
    /// Those of the disk; `FileReplaced`.
    pub(crate) fn copy(&self) -> Result<(), Error> {
        let copied = self.copy_beside().and_then(|()| {
            self.store.alone(|conn| {
                limit_wal(conn)?;
                checkpoint_wal(conn).map(drop)
            })
        });
        if copied.as_ref().is_err_and(|e| e.kind() == ErrorKind::DiskFull) {
            self.store.doubt_disk();
        }
        copied
    }

    fn copy_beside(&self) -> Result<(), Error> {
        let _copying = lock(&self.store.writer.wal().copying);
        self.store.identity.check()?;
        let Some(connection) = self.connection() else { return Ok(()) };
        let mut copied = checkpoint_wal(connection)?;
        for _ in 0..ROUNDS {
            let before = copied; // what has come while that was copied is left
            copied = checkpoint_wal(connection)?;
            if copied.saturating_sub(before) < FEW_PAGES {
                break;
            }
        }
        Ok(())
    }

    /// Another file that has taken the place of this one is not opened.
    fn connection(&self) -> Option<&Connection> {
        let Store { path, vfs, settings, identity, .. } = self.store;
        let open = || {
            identity.check()?;
            let opened = open::again(path, vfs.as_deref(), settings);
            opened.map_err(|fault| Error::from(cause::explained(fault, path)))
        };
        let tell = |e: Error| tell!(Warn, "WAL checkpoints will run on the writer: {e}");
        let opened = || if self.is_beside { open().map_err(tell).ok() } else { None };
        self.connection.get_or_init(opened).as_ref()
    }
}

impl Drop for WalKeeper<'_> {
    fn drop(&mut self) {
        if self.is_beside {
            self.store.writer.wal().keepers.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

/// Tells the log if this SQLite should not be used so.
pub(crate) fn warn_of_wal_reset_bug() {
    if has_wal_reset_bug(rusqlite::version_number()) {
        tell!(
            Warn,
            "this SQLite ({}) can damage a file that two processes use at once; see SECURITY.md",
            rusqlite::version()
        );
    }
}

/// Whether this version of SQLite can damage a database whose WAL starts again while one connection writes and another checkpoints
/// (fixed in 3.51.3, 3.50.7 and 3.44.6).
pub(crate) fn has_wal_reset_bug(version: i32) -> bool {
    match version {
        v if v >= 3_051_003 => false,
        v if (3_050_007..3_051_000).contains(&v) => false,
        v if (3_044_006..3_045_000).contains(&v) => false,
        _ => true,
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

/// Returns free pages of the file to the file system, a slice of them, until it is `enough`, but for a reserve. Says whether another slice
/// would return more: it would not where the file gives no pages back (`auto_vacuum = NONE`).
///
/// A page is searched for in the whole list of free pages, so that each can take milliseconds where millions are free.
pub(crate) fn return_free_pages(conn: &Connection, enough: &dyn Fn() -> bool) -> Sql<bool> {
    let free = free_pages(conn)?;
    if free < KEPT_FREE + RETURNED {
        return Ok(false);
    }
    let tx = Transaction::new_unchecked(conn, TransactionBehavior::Immediate)?;
    return_slice(&tx, enough)?;
    tx.commit()?;
    let left = free_pages(conn)?;
    Ok(left < free && left >= KEPT_FREE + RETURNED)
}

fn return_slice(conn: &Connection, enough: &dyn Fn() -> bool) -> Sql<()> {
    let mut statement = conn.prepare_cached("PRAGMA incremental_vacuum")?;
    let mut rows = statement.query([])?;
    for _ in 0..RETURNED {
        if rows.next()?.is_none() || enough() {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Durability;
    use crate::store::{Opening, Place, Rank};

    /// Rewrites pages until the WAL has a few thousand; answers with how many.
    fn write_much(store: &Store) -> u32 {
        for n in 0..40 {
            store
                .write(Rank::Change, move |tx| {
                    tx.run(
                        "INSERT OR REPLACE INTO perdura_padding (id, padding) VALUES (?1, zeroblob(409600))",
                        [1000 + n % 4],
                    )
                    .map(drop)
                })
                .unwrap();
        }
        store.writer.wal().pages()
    }

    #[test]
    fn whoever_keeps_the_wal_copies_it_and_no_commit_has_to() {
        let store = Store::open(&Opening::plain(Place::private().unwrap(), Durability::Full)).unwrap();
        assert!(write_much(&store) < 2 * CHECKPOINT_PAGES, "a commit copied it");
        let keeper = store.wal_keeper();
        assert!(write_much(&store) > 2 * CHECKPOINT_PAGES, "no commit copied it");
        keeper.copy_if_long();
        store
            .write(Rank::Change, |tx| tx.run("DELETE FROM perdura_padding WHERE id = 1000", []).map(drop))
            .unwrap();
        assert!(store.writer.wal().pages() < CHECKPOINT_PAGES, "it has started again");
        drop(keeper);
        assert!(write_much(&store) < 2 * CHECKPOINT_PAGES, "commits copy it again");
    }
}
