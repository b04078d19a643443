//! The reserve for a full disk: room in the database file that new tasks cannot take, and a WAL that is never short.
//!
//! On a full disk a commit can only use room that the disk has already allocated: free pages of the database file, and a WAL that
//! restarts within its old length. The reserve, and a WAL of [`FLOOR_BYTES`], are made at the start, and cost nothing afterwards.
//!
//! **A disk with plenty of room** is left to SQLite: commits make the file larger as they need. The
//! file system is asked for its free room by each commit that may be large and makes the file larger, and by a small commit when
//! [`MEASURE_PAGES`] have been written since it was last asked.
//!
//! **On a disk that is getting full**, or whose free room is unknown, no commit makes the file
//! larger. A commit that would is rolled back, the file grows in transactions of its own, and the commit is made again. If the
//! file cannot grow, writes that add data are refused; those that only change what is there, above all the outcomes of running
//! tasks, may delete padding that was put into the file for them: one slice, then two, four and so on.
//!
//! The file grows in slices, too. A slice of padding is committed, and copied into the database file by a WAL checkpoint: only
//! then has the disk allocated the room. Deleting the padding leaves free pages. If the disk refuses, the file is cut to what the
//! disk has allocated. A WAL of [`FLOOR_BYTES`] has room for a slice and for its removal, and none of its pages lies beyond the
//! end of the database file, so it can always be copied and restarted.
//!
//! A reader that holds an old snapshot prevents that copy. So the disk must keep room for the pages that are only in the WAL, or
//! writes are refused until the reader ends: otherwise the file would be full for good.
//!
//! Shared files have no reserve: the program's own writes make the file larger, and may keep SQLite from giving pages back.

use std::path::PathBuf;
use std::time::Duration;

use rusqlite::Connection;

use super::crash::CrashSwitch;
use super::lengths::{PAGE_BYTES, file_pages, free_pages, pages_in_wal_alone, physical_pages, wal_bytes};
use super::pragmas::keep_free_pages;
use crate::error::{Error, ErrorKind};
use crate::planted::planted;
use crate::store::error::Sql;
use crate::sync::thread;

/// Pages in a slice (256 KiB of pages of 4 KiB).
const SLICE: i64 = 64;

/// Free pages beside a slice: what the transaction that writes the slice needs.
const SPARE: i64 = 8;

/// The least length of the WAL: room for a slice and its removal, or for a few dozen outcomes.
const FLOOR_BYTES: u64 = 1024 * 1024;

/// A disk with this much free room is left to SQLite: twice a long WAL (64 MiB, from which `wal_alarm` warns), once for what is
/// only in the WAL, and once for what other programs write meanwhile.
const PLENTY_BYTES: u64 = 128 * 1024 * 1024;

/// Pages (1 MiB) that small commits may write before the next one measures the file. Measuring takes 3 % of the time of an
/// enqueue, because SQLite parses `PRAGMA page_count` each time that it runs.
const MEASURE_PAGES: u32 = 256;

/// Free room that the disk must keep beside the room for the pages that are only in the WAL: with less than the first, nothing is
/// added; with less than the second, nothing is written at all.
const WAY_BACK_BYTES: u64 = 2 * 1024 * 1024;
const NO_WAY_BACK_BYTES: u64 = 256 * 1024;

/// Slices that are written to give the WAL its least length. A reserve has at least as many.
const FLOOR_SLICES: i64 = 4;

/// With fewer free pages, [`Reserve::grow_ahead`] adds [`AHEAD`] pages, so that the next commits need not wait for growth.
const FEW: i64 = SLICE;
const AHEAD: i64 = 2 * SLICE;

/// The file grows by a sixteenth, but by at least 1 MiB and at most 8 MiB of pages.
const STEP: i64 = 16;
const LEAST: i64 = 4 * SLICE;
const MOST: i64 = 32 * SLICE;

/// How often the file may grow to make room for one slice.
const GROWTHS: u32 = 16;

/// While commits use few pages, only one of this many looks ahead.
const LOOK_EACH: u32 = 16;

/// The payload of an overflow page of a large value.
const PAYLOAD_BYTES: i64 = 4092;

/// Id of the first padding row that grows the file; further ones have lower ids. The rows from 1 on are the reserve.
const GROWTH: i64 = 0;

pub(crate) struct Reserve {
    /// Slices of padding; 0 switches the reserve off.
    slices: i64,
    /// The path of the file, if its file system can be asked for free room.
    disk: Option<PathBuf>,
    /// The disk had plenty of room when it was last asked.
    has_plenty: bool,
    /// The disk was full although it reported room (a quota, a limit of the process): its answers are no longer used.
    is_doubted: bool,
    /// Pages of the file when the disk was last asked.
    pages: i64,
    /// Pages written to the WAL since then.
    unmeasured: u32,
    /// The file could not grow when it had to, or the reserve is incomplete.
    is_blocked: bool,
    /// Free pages at the last look ahead.
    free: i64,
    /// Commits until the next look ahead.
    unseen: u32,
}

impl Reserve {
    /// The reserve of a file of which `disk` is the path, if its file system can be asked for room.
    pub(crate) fn new(bytes: u64, disk: Option<PathBuf>) -> Reserve {
        let slices = i64::try_from(bytes.div_ceil((SLICE * PAGE_BYTES).unsigned_abs())).unwrap_or(i64::MAX);
        Reserve {
            slices: if slices == 0 { 0 } else { slices.max(FLOOR_SLICES) },
            disk,
            has_plenty: false,
            is_doubted: false,
            pages: 0,
            unmeasured: 0,
            is_blocked: false,
            free: 0,
            unseen: 0,
        }
    }

    /// Free bytes of the file system, if it can be asked and is believed.
    fn available(&self) -> Option<u64> {
        fs4::available_space(self.disk.as_ref().filter(|_| !self.is_doubted)?).ok()
    }

    /// Asks whether the disk has plenty of room for a file that grows from `now` to `size` pages, beside the pages that are only
    /// in the WAL.
    fn look_for_plenty(&mut self, now: i64, size: i64, conn: &Connection) -> bool {
        let in_file = if planted("g11-plenty-forgets-the-wal") { now } else { physical_pages(conn) };
        let [in_wal, in_file] = [now, in_file].map(|pages| size.saturating_sub(pages).max(0));
        let wanted = PLENTY_BYTES.saturating_add(((in_wal + in_file) * PAGE_BYTES).unsigned_abs());
        self.has_plenty = self.available().is_some_and(|free| free >= wanted);
        (self.pages, self.unmeasured) = (size, 0);
        self.has_plenty
    }

    /// Asks whether the disk has plenty of room.
    #[cfg(feature = "rusqlite")]
    pub(crate) fn look(&mut self, conn: &Connection) -> Sql<()> {
        if self.is_on() {
            let now = file_pages(conn)?;
            self.look_for_plenty(now, now, conn);
        }
        Ok(())
    }

    /// The disk was full although it had plenty of room when it was last asked. If it still says so, its answers are no longer used.
    pub(crate) fn doubt(&mut self) {
        self.is_doubted |= self.has_plenty && self.available().is_some_and(|free| free >= PLENTY_BYTES);
        self.has_plenty = false;
    }

    /// Takes `released` slices of the reserve within the open transaction, and returns how many pages the file has before the
    /// writes.
    pub(crate) fn room(&self, conn: &Connection, released: i64) -> Sql<Room> {
        if released > 0 {
            self.release(conn, released)?;
        }
        Ok(match self {
            _ if !self.is_on() => Room::Unknown,
            Reserve { has_plenty: true, pages, .. } => Room::Plenty { pages: *pages },
            _ => Room::Scarce { pages: file_pages(conn)?, free: free_pages(conn)? },
        })
    }

    /// Whether a small transaction, too, has to be measured.
    pub(crate) fn is_to_measure(&self) -> bool {
        !self.has_plenty
            || (self.unmeasured >= MEASURE_PAGES && !planted("g11-small-commits-are-never-measured"))
    }

    /// Counts the pages that a commit has written to the WAL.
    pub(crate) fn has_written(&mut self, pages: u32) {
        self.unmeasured = self.unmeasured.saturating_add(pages);
    }

    /// The size (in pages) that a transaction would give the file, if the file has to grow before it may commit.
    ///
    /// # Errors
    /// `DiskFull`: the file need not grow, but what the transaction adds to the WAL would take the room that is needed to copy it.
    pub(crate) fn exceeded(&mut self, room: &Room, conn: &Connection) -> Sql<Option<i64>> {
        let (before, free) = match *room {
            Room::Unknown => return Ok(None),
            Room::Plenty { pages } => (pages, None),
            Room::Scarce { pages, free } => (pages, Some(free)),
        };
        let wanted = file_pages(conn)?;
        if self.has_plenty && (wanted > before || self.unmeasured >= MEASURE_PAGES) {
            self.look_for_plenty(before, wanted, conn);
        }
        if self.has_plenty {
            return Ok(None);
        }
        if wanted > before {
            return Ok(Some(wanted));
        }
        if let Some(free) = free.filter(|_| !planted("g11-a-commit-takes-the-way-back")) {
            let taken = (free.saturating_sub(free_pages(conn)?).max(0) * PAGE_BYTES).unsigned_abs();
            self.check_way_back(conn, taken.saturating_add(NO_WAY_BACK_BYTES))?;
        }
        Ok(None)
    }

    pub(crate) fn is_on(&self) -> bool {
        self.slices > 0
    }

    pub(crate) fn is_blocked(&self) -> bool {
        self.is_blocked
    }

    /// How many slices to take next, after `released` were not enough; `None` if those were all.
    pub(crate) fn more_than(&self, released: i64) -> Option<i64> {
        (released < self.slices).then(|| (2 * released).max(1))
    }

    /// Deletes up to so many slices within the open transaction.
    fn release(&self, conn: &Connection, slices: i64) -> Sql<()> {
        let sql =
            "DELETE FROM perdura_padding WHERE id IN (SELECT id FROM perdura_padding ORDER BY id LIMIT ?1)";
        conn.prepare_cached(sql)?.execute([slices])?;
        Ok(())
    }

    /// Grows the file, on the disk too, to at least `size` pages, between two transactions; and further if the disk has room, so
    /// that this happens seldom. Where the disk has plenty, growing is left to the next commit.
    pub(crate) fn grow_to(
        &mut self,
        size: i64,
        conn: &Connection,
        crash_switch: &mut CrashSwitch,
    ) -> Sql<()> {
        let now = file_pages(conn)?;
        if now >= size || self.look_for_plenty(now, size, conn) {
            self.pages = now;
            return Ok(());
        }
        let grown = self.add_slices(size.max(now + (now / STEP).clamp(LEAST, MOST)), conn, crash_switch);
        let freed = transaction(conn, crash_switch, |conn| {
            remove_growth(conn)?;
            let unbacked = if grown.is_err() { pages_in_wal_alone(conn)? } else { 0 };
            vacuum(conn, unbacked)
        });
        let is_enough = freed.is_ok() && file_pages(conn)? >= size;
        if freed.is_ok() && grown.is_ok() && !is_enough {
            // Another program has set auto_vacuum = FULL, so the pages were given back. The next try keeps them.
            keep_free_pages(conn)?;
        }
        let copied = if grown.is_err() { freed.and_then(|()| copy_wal(conn)) } else { freed };
        let told = if is_enough { copied } else { grown.and(copied) };
        let told = told.and_then(|()| self.check_way_back(conn, WAY_BACK_BYTES));
        self.is_blocked = told.is_err();
        told
    }

    /// Adds padding until the file has `size` pages (free pages are filled first).
    fn add_slices(&self, size: i64, conn: &Connection, crash_switch: &mut CrashSwitch) -> Sql<()> {
        transaction(conn, crash_switch, remove_growth)?; // what a crash may have left
        for row in 0.. {
            let missing = size - file_pages(conn)?;
            if missing <= 0 {
                break;
            }
            copy_wal(conn)?; // so that each slice begins in a WAL that can restart
            self.check_way_back(conn, WAY_BACK_BYTES)?;
            let pages = self.slice_pages(missing, conn)?;
            transaction(conn, crash_switch, |conn| pad(conn, GROWTH - row, pages))?;
        }
        if planted("g11-growth-in-the-wal-alone") { Ok(()) } else { copy_wal(conn) }
    }

    /// The pages of a slice when so many are missing: at most a quarter of what the WAL has room for. Fewer if the disk has no room
    /// for twice as much: a reader may keep the slice in the WAL.
    fn slice_pages(&self, missing: i64, conn: &Connection) -> Sql<i64> {
        let quarter = wal_bytes(conn).cast_signed() / PAGE_BYTES / 4;
        let mut pages = quarter.min(missing).clamp(SLICE, MOST);
        while pages > SLICE
            && !self.has_way_back(conn, WAY_BACK_BYTES + (2 * pages * PAGE_BYTES).unsigned_abs())?
        {
            pages = (pages / 2).max(SLICE);
        }
        Ok(pages)
    }

    /// Whether the disk has room for the pages that are only in the WAL, and for `beside` bytes more, so that they can be copied
    /// when the reader ends.
    fn has_way_back(&self, conn: &Connection, beside: u64) -> Sql<bool> {
        let alone = (pages_in_wal_alone(conn)? * PAGE_BYTES).unsigned_abs();
        Ok(self.available().is_none_or(|free| free >= alone.saturating_add(beside)))
    }

    /// The same, or that no page is only in the WAL.
    ///
    /// # Errors
    /// `DiskFull`.
    fn check_way_back(&self, conn: &Connection, beside: u64) -> Sql<()> {
        let is_there = pages_in_wal_alone(conn)? == 0 || self.has_way_back(conn, beside)?;
        if is_there || planted("g11-growth-that-was-not-copied-counts") {
            return Ok(());
        }
        let message = "the disk is nearly full, and a reader keeps the WAL from being copied into the file; end it, or free some space";
        Err(Error::new(ErrorKind::DiskFull, message).into())
    }

    /// Checks the disk before a transaction, if the WAL is long and the disk is getting full.
    ///
    /// # Errors
    /// `DiskFull`: what the transaction writes could never be copied into the file.
    pub(crate) fn check_wal(&self, conn: &Connection, wal_pages: u32) -> Sql<()> {
        let is_long = i64::from(wal_pages) * PAGE_BYTES > FLOOR_BYTES.cast_signed();
        if !self.is_on() || self.has_plenty || !is_long {
            return Ok(());
        }
        self.check_way_back(conn, NO_WAY_BACK_BYTES)
    }

    /// Called after a commit: grows the file if another commit of that size would have to. Errors are ignored: that commit meets
    /// them itself.
    pub(crate) fn look_ahead(&mut self, conn: &Connection, crash_switch: &mut CrashSwitch) {
        self.unseen = self.unseen.saturating_sub(1);
        if !self.is_on() || self.has_plenty || self.is_blocked || self.unseen > 0 {
            return;
        }
        let Ok(free) = free_pages(conn) else { return };
        let used = self.free.saturating_sub(free);
        self.free = free;
        self.unseen = if used < SPARE { LOOK_EACH } else { 0 };
        if free < 2 * used.max(SPARE) {
            let _ = file_pages(conn).and_then(|pages| self.grow_to(pages + 1, conn, crash_switch));
            self.free = free_pages(conn).unwrap_or(free);
        }
    }

    /// Grows if few pages are free.
    pub(crate) fn grow_ahead(&mut self, conn: &Connection, crash_switch: &mut CrashSwitch) -> Sql<()> {
        if !self.is_on() || self.has_plenty || free_pages(conn)? >= FEW {
            return Ok(());
        }
        self.grow_to(file_pages(conn)? + AHEAD, conn, crash_switch)
    }

    /// Makes sure that the reserve is complete and that the WAL has its least length. If either is missing, the reserve counts as
    /// blocked: a WAL that is too short has no room for outcomes, even if the file need not grow.
    pub(crate) fn provide(&mut self, conn: &Connection, crash_switch: &mut CrashSwitch) -> Sql<()> {
        let made = self.make_whole(conn, crash_switch);
        self.is_blocked = made.is_err();
        made
    }

    fn make_whole(&mut self, conn: &Connection, crash_switch: &mut CrashSwitch) -> Sql<()> {
        if !self.is_on() {
            return Ok(());
        }
        let mut missing = 0;
        for slice in 1..=self.slices {
            missing += i64::from(!has_slice(conn, slice)?);
        }
        let now = file_pages(conn)?;
        if !self.look_for_plenty(now, now + missing * SLICE, conn) {
            // The reserve may have been made while the disk had plenty of room.
            copy_wal(conn)?;
            self.check_way_back(conn, WAY_BACK_BYTES)?;
        }
        if missing > 0 && self.has_plenty {
            transaction(conn, crash_switch, |conn| {
                (1..=self.slices).try_for_each(|slice| pad(conn, slice, SLICE))
            })?;
            // Only then has the disk allocated the room.
            copy_wal(conn)?;
            self.pages = file_pages(conn)?;
        } else if missing > 0 {
            self.add_missing(conn, crash_switch)?;
        }
        if wal_bytes(conn) < FLOOR_BYTES { stretch_wal(conn) } else { Ok(()) }
    }

    /// Adds the missing slices, one by one.
    fn add_missing(&mut self, conn: &Connection, crash_switch: &mut CrashSwitch) -> Sql<()> {
        for slice in 1..=self.slices {
            if has_slice(conn, slice)? {
                continue;
            }
            for _ in 0..GROWTHS {
                if free_pages(conn)? >= SLICE + SPARE {
                    break;
                }
                self.grow_to(file_pages(conn)? + SLICE, conn, crash_switch)?;
            }
            transaction(conn, crash_switch, |conn| pad(conn, slice, SLICE))?;
        }
        Ok(())
    }
}

fn has_slice(conn: &Connection, slice: i64) -> Sql<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM perdura_padding WHERE id = ?1)";
    Ok(conn.prepare_cached(sql)?.query_row([slice], |row| row.get(0))?)
}

/// What is known of a file before a transaction.
pub(crate) enum Room {
    /// Nothing: there is no reserve.
    Unknown,
    /// On a disk with plenty of room: the pages of the file when the disk was last asked.
    Plenty { pages: i64 },
    /// On another disk: its pages, and those of them that are free.
    Scarce { pages: i64, free: i64 },
}

/// Makes the WAL file long enough for outcomes: pages are written into it and rolled back. Nothing is synced, and nothing has to
/// be copied.
fn stretch_wal(conn: &Connection) -> Sql<()> {
    run(conn, "BEGIN IMMEDIATE")?;
    let padded = (|| {
        let sql = "DELETE FROM perdura_padding WHERE id BETWEEN 1 AND ?1";
        conn.prepare_cached(sql)?.execute([FLOOR_SLICES])?;
        (1..=FLOOR_SLICES).try_for_each(|slice| pad(conn, slice, SLICE))?;
        Ok(conn.cache_flush()?)
    })();
    if !conn.is_autocommit() {
        run(conn, "ROLLBACK")?;
    }
    padded
}

fn pad(conn: &Connection, id: i64, pages: i64) -> Sql<()> {
    let sql = "INSERT OR IGNORE INTO perdura_padding (id, padding) VALUES (?1, zeroblob(?2))";
    conn.prepare_cached(sql)?.execute((id, pages * PAYLOAD_BYTES))?;
    Ok(())
}

fn remove_growth(conn: &Connection) -> Sql<()> {
    conn.prepare_cached("DELETE FROM perdura_padding WHERE id <= ?1")?.execute([GROWTH])?;
    Ok(())
}

/// Runs a statement without parameters that returns no rows.
pub(crate) fn run(conn: &Connection, text: &str) -> Sql<()> {
    conn.prepare_cached(text)?.execute([])?;
    Ok(())
}

fn transaction(
    conn: &Connection,
    crash_switch: &mut CrashSwitch,
    write: impl FnOnce(&Connection) -> Sql<()>,
) -> Sql<()> {
    if !conn.is_autocommit() {
        run(conn, "ROLLBACK")?;
    }
    run(conn, "BEGIN IMMEDIATE")?;
    crash_switch.begin(conn);
    let written = write(conn).and_then(|()| crash_switch.commit(conn, || run(conn, "COMMIT")));
    if written.is_err() && !conn.is_autocommit() {
        let _ = run(conn, "ROLLBACK"); // tried again before the next transaction
    }
    written
}

/// Copies the WAL into the database file, so that it can restart. Waits for short readers and for a concurrent checkpoint, but
/// not for a long reader.
fn copy_wal(conn: &Connection) -> Sql<()> {
    const TRIES: u32 = 50;
    const PAUSE: Duration = Duration::from_millis(1);
    for _ in 0..TRIES {
        let (busy, pages, copied): (i64, i64, i64) =
            conn.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })?;
        if busy == 0 && pages == copied {
            break;
        }
        thread::sleep(PAUSE);
    }
    Ok(())
}

/// Returns so many free pages to the file system.
fn vacuum(conn: &Connection, pages: i64) -> Sql<()> {
    for _ in 0..pages {
        let mut statement = conn.prepare_cached("PRAGMA incremental_vacuum(1)")?;
        let mut rows = statement.query([])?;
        while rows.next()?.is_some() {}
    }
    Ok(())
}
