//! WAL checkpoints: how long the WAL is, which thread copies it, and how.

use std::cell::Cell;
use std::sync::Arc;

use rusqlite::Connection;
use rusqlite::hooks::Wal;

use super::lengths::wal_bytes;
use crate::logging::tell;
use crate::store::error::Sql;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU32, Ordering};

/// The WAL is cut to the first size when it restarts, but by no more than the second at a time: to
/// cut off a gigabyte takes a file system a quarter of a second, in which nobody can write.
const WAL_LIMIT_BYTES: u64 = 16 << 20;
const WAL_CUT_BYTES: u64 = 32 << 20;
/// Pages in the WAL from which it is checkpointed (4 MiB of pages of 4 KiB): by a WAL keeper
/// alongside commits, or else by the writer. A WAL that restarts is overwritten; a sync of that
/// takes half the time of one that makes the file longer.
pub(crate) const CHECKPOINT_PAGES: u32 = 1024;

/// The state of the WAL of a file that is written.
pub(crate) struct WalState {
    /// Pages in it after the newest commit of this process.
    pages: AtomicU32,
    /// How many WAL keepers checkpoint it alongside commits; without one, the writer does.
    keepers: AtomicU32,
    /// Held while it is copied alongside commits: a second thread waits.
    pub copying: Mutex<()>,
}

thread_local! {
    /// Pages in the WAL after this thread's newest commit. SQLite reports them on the committing
    /// thread, within the COMMIT.
    static WAL_PAGES: Cell<u32> = const { Cell::new(0) };
}

fn note_pages(_: &Wal, pages: i32) -> rusqlite::Result<()> {
    WAL_PAGES.set(u32::try_from(pages).unwrap_or(0));
    Ok(())
}

/// Makes a connection note the length of the WAL after each of its commits. This replaces SQLite's
/// automatic checkpoint.
pub(crate) fn follow_wal(connection: &Connection) {
    connection.wal_hook(Some(note_pages));
}

impl WalState {
    /// For the file of the writing connection.
    pub(crate) fn of(connection: &Connection) -> Arc<WalState> {
        follow_wal(connection);
        let [pages, keepers] = [AtomicU32::new(0), AtomicU32::new(0)];
        Arc::new(WalState { pages, keepers, copying: Mutex::new(()) })
    }

    /// Runs `act`, and notes the length of the WAL after its last commit.
    pub(crate) fn during<R>(&self, act: impl FnOnce() -> R) -> R {
        WAL_PAGES.set(0); // left by an earlier commit, perhaps to another file
        let done = act();
        if let pages @ 1.. = WAL_PAGES.get() {
            self.pages.store(pages, Ordering::Release);
        }
        done
    }

    pub(crate) fn pages(&self) -> u32 {
        self.pages.load(Ordering::Acquire)
    }

    /// Whether it is long enough for a checkpoint.
    pub(crate) fn is_long(&self) -> bool {
        self.pages() >= CHECKPOINT_PAGES
    }

    pub(crate) fn add_keeper(&self) {
        self.keepers.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn remove_keeper(&self) {
        self.keepers.fetch_sub(1, Ordering::AcqRel);
    }

    /// Whether a WAL keeper checkpoints it alongside commits.
    pub(crate) fn is_kept(&self) -> bool {
        self.keepers.load(Ordering::Acquire) > 0
    }
}

/// Copies what it can of the WAL into the database file, without waiting. Returns how many frames
/// of the WAL have been copied in all.
pub(crate) fn checkpoint_wal(conn: &Connection) -> Sql<u32> {
    let copied: i64 = conn.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| row.get(2))?;
    Ok(u32::try_from(copied).unwrap_or(0))
}

/// Decides when the writer sets anew how much of the WAL is cut.
#[derive(Default)]
pub(crate) struct WalLimit {
    /// Pages in the WAL after the previous commit.
    seen_pages: u32,
}

/// How much is cut is set anew each time that the WAL has grown by so many pages (8 MiB of pages of
/// 4 KiB), and when it has restarted.
const PAGES_PER_LIMIT: u32 = 2048;

impl WalLimit {
    /// Called after a commit: lets the WAL be cut in steps, also one that grew during a long read,
    /// or that another process copied.
    pub(crate) fn follow(&mut self, wal: &WalState, conn: &Connection) {
        let (pages, before) = (wal.pages(), self.seen_pages);
        if pages < before || pages / PAGES_PER_LIMIT > before / PAGES_PER_LIMIT {
            let _ = limit_wal(conn);
        }
        self.seen_pages = pages;
    }
}

/// Sets how much of the WAL stays when it restarts: one that grew during a long read is cut in
/// steps.
pub(crate) fn limit_wal(conn: &Connection) -> Sql<()> {
    let limit = wal_bytes(conn).saturating_sub(WAL_CUT_BYTES).max(WAL_LIMIT_BYTES);
    let set: i64 = conn.query_row("PRAGMA journal_size_limit", [], |row| row.get(0))?;
    if u64::try_from(set) != Ok(limit) {
        conn.pragma_update(None, "journal_size_limit", i64::try_from(limit).unwrap_or(i64::MAX))?;
    }
    Ok(())
}

/// Warns in the log if this SQLite has the WAL-reset bug.
pub(crate) fn warn_of_wal_reset_bug() {
    if has_wal_reset_bug(rusqlite::version_number()) {
        tell!(
            Warn,
            "this SQLite ({}) can damage a file that two processes use at once; see SECURITY.md",
            rusqlite::version()
        );
    }
}

/// Whether this version of SQLite can damage a database whose WAL restarts while one connection
/// writes and another checkpoints (fixed in 3.51.3, 3.50.7 and 3.44.6).
pub(crate) fn has_wal_reset_bug(version: i32) -> bool {
    match version {
        v if v >= 3_051_003 => false,
        v if (3_050_007..3_051_000).contains(&v) => false,
        v if (3_044_006..3_045_000).contains(&v) => false,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s20_the_version_that_runs_decides_about_the_wal_reset_bug() {
        for (version, wanted) in [
            (3_037_000, true),
            (3_040_001, true),
            (3_044_005, true),
            (3_044_006, false),
            (3_045_000, true),
            (3_050_006, true),
            (3_050_007, false),
            (3_051_000, true),
            (3_051_002, true),
            (3_051_003, false),
            (3_053_002, false),
        ] {
            assert_eq!(has_wal_reset_bug(version), wanted, "{version}");
        }
        assert!(!cfg!(feature = "bundled") || !has_wal_reset_bug(rusqlite::version_number()));
    }
}
