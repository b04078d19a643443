//! Tests of what a program on the VFS sees: nothing unusual without plans, and the planned failures
//! with them.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use perdura_faultvfs::{Class, Error, Faults, Kind, Plan, Role, VFS};
use rusqlite::{Connection, ErrorCode, OpenFlags, ffi};

/// A folder that is removed at the end of its test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name =
            format!("perdura-faultvfs-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Folder(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("test.db")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn open(path: &Path) -> Connection {
    let db = Connection::open_with_flags_and_vfs(path, OpenFlags::default(), VFS).unwrap();
    let mode: String = db.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0)).unwrap();
    assert_eq!(mode, "wal");
    db.execute_batch("PRAGMA synchronous = FULL; CREATE TABLE IF NOT EXISTS t (n INTEGER, text TEXT)")
        .unwrap();
    db
}

fn insert(db: &Connection, n: i64) -> rusqlite::Result<usize> {
    db.execute("INSERT INTO t VALUES (?1, ?2)", (n, "x".repeat(3000)))
}

fn rows(db: &Connection) -> Vec<i64> {
    let mut statement = db.prepare("SELECT n FROM t ORDER BY n").unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

/// SQLite's extended code.
fn code<T: std::fmt::Debug>(result: rusqlite::Result<T>) -> i32 {
    result.unwrap_err().sqlite_error().unwrap().extended_code
}

#[test]
fn a_wal_database_lives_as_ever() {
    let folder = Folder::new();
    let faults = Faults::attach(folder.file()).unwrap();
    let (writer, reader) = (open(&folder.file()), open(&folder.file()));
    let snapshot = reader.unchecked_transaction().unwrap();
    assert!(rows(&snapshot).is_empty());
    for n in 0..300 {
        insert(&writer, n).unwrap();
    }
    assert!(rows(&snapshot).is_empty(), "the snapshot is from before");
    drop(snapshot);
    let busy = writer.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(busy, 0);
    assert_eq!(rows(&reader).len(), 300);
    assert!(faults.operations() > 600);
    assert_eq!(faults.hit_count(), 0);
    drop((writer, reader));
    assert!(!folder.0.join("test.db-wal").exists(), "the last one to close removes the WAL");
    // The plain VFS reads the file too.
    assert_eq!(rows(&Connection::open(folder.file()).unwrap()).len(), 300);
}

#[test]
fn a_lock_that_nobody_holds_is_waited_for_in_no_time() {
    let folder = Folder::new();
    let faults = Faults::attach(folder.file()).unwrap();
    let db = open(&folder.file());
    db.busy_timeout(Duration::from_secs(1000)).unwrap();
    let operations = faults.operations();
    faults.fail(Plan::at(2, Kind::Busy));
    insert(&db, 1).unwrap();
    assert_eq!(faults.hit_count(), 0, "the second one is meant");
    insert(&db, 2).unwrap();
    let hits = faults.hits();
    assert_eq!(
        hits.iter().map(|hit| (hit.class, hit.kind)).collect::<Vec<_>>(),
        [(Class::WriteLock, Kind::Busy)]
    );
    faults.clear();

    faults.fail(Plan::at(1, Kind::Busy).from_then_on());
    assert_eq!(code(insert(&db, 3)), ffi::SQLITE_BUSY);
    assert!(faults.hit_count() > 100, "it has tried again until its time was over");
    assert_eq!(rows(&db), [1, 2], "reading goes on");
    faults.clear();
    insert(&db, 4).unwrap();
    assert_eq!(rows(&db), [1, 2, 4]);
    assert!(faults.operations() - operations < 100, "a lock is no operation of the disk");
}

#[test]
fn locks_go_to_the_real_vfs() {
    let folder = Folder::new();
    let faults = Faults::attach(folder.file()).unwrap();
    let ours = open(&folder.file());
    ours.execute_batch("BEGIN IMMEDIATE").unwrap();
    let other = Connection::open(folder.file()).unwrap();
    other.busy_timeout(std::time::Duration::ZERO).unwrap();
    let copies = Folder::new();
    faults.copy_to(&copies.0).unwrap(); // must not drop them
    let refused = insert(&other, 1).unwrap_err();
    assert_eq!(refused.sqlite_error_code(), Some(ErrorCode::DatabaseBusy));
    ours.execute_batch("COMMIT").unwrap();
    insert(&other, 1).unwrap();
    assert_eq!(rows(&ours), [1]);
}

#[test]
fn the_nth_write_fails_once_and_only_that() {
    let folder = Folder::new();
    let faults = Faults::attach(folder.file()).unwrap();
    let db = open(&folder.file());
    insert(&db, 1).unwrap();
    faults.reset();
    faults.fail(Plan::at(2, Kind::Io).only(&[Class::Write]).on(Role::Wal));
    assert_eq!(code(insert(&db, 2)), ffi::SQLITE_IOERR_WRITE);
    assert_eq!(faults.hit_count(), 1);
    let hit = faults.hits()[0];
    assert_eq!((hit.class, hit.role, hit.kind), (Class::Write, Role::Wal, Kind::Io));
    assert!(hit.operation <= faults.operations());
    insert(&db, 3).unwrap();
    assert_eq!(rows(&db), [1, 3]);
    assert_eq!(faults.hit_count(), 1);
}

#[test]
fn from_then_on_lasts_until_it_is_cleared() {
    let folder = Folder::new();
    let faults = Faults::attach(folder.file()).unwrap();
    let db = open(&folder.file());
    faults.fail(Plan::at(1, Kind::Full).from_then_on());
    for n in 0..3 {
        assert_eq!(code(insert(&db, n)), ffi::SQLITE_FULL);
    }
    assert_eq!(faults.hit_count(), 3);
    faults.clear();
    insert(&db, 4).unwrap();
    assert_eq!(rows(&db), [4]);
}

#[test]
fn a_failed_sync_is_not_passed_on() {
    let folder = Folder::new();
    let faults = Faults::attach(folder.file()).unwrap();
    let db = open(&folder.file());
    let recording = faults.record().unwrap();
    faults.fail(Plan::at(1, Kind::FailedSync));
    assert_eq!(code(insert(&db, 1)), ffi::SQLITE_IOERR_FSYNC);
    assert_eq!(recording.syncs(), 0);
    assert!(!recording.is_empty(), "the writes were");
    assert_eq!(faults.hits()[0].class, Class::Sync);
    insert(&db, 2).unwrap();
    assert_eq!(recording.syncs(), 1);
    assert_eq!(rows(&db), [2]);
}

#[test]
fn a_short_write_leaves_half_of_the_bytes() {
    for (kind, expected) in [(Kind::ShortWrite, ffi::SQLITE_FULL), (Kind::TornWrite, ffi::SQLITE_IOERR_WRITE)]
    {
        let folder = Folder::new();
        let faults = Faults::attach(folder.file()).unwrap();
        let db = open(&folder.file());
        let wal = folder.0.join("test.db-wal");
        let before = std::fs::metadata(&wal).unwrap().len();
        faults.fail(Plan::at(2, kind)); // a frame is written as its header of 24 bytes and its page
        assert_eq!(code(insert(&db, 1)), expected);
        let page: u32 = db.query_row("PRAGMA page_size", [], |row| row.get(0)).unwrap();
        assert_eq!(std::fs::metadata(&wal).unwrap().len(), before + 24 + u64::from(page) / 2);
        insert(&db, 2).unwrap();
        assert_eq!(rows(&db), [2]);
    }
}

#[test]
fn every_class_answers_with_its_own_code() {
    let folder = Folder::new();
    let faults = Faults::attach(folder.file()).unwrap();
    let open_again = || -> rusqlite::Result<i64> {
        let db = Connection::open_with_flags_and_vfs(folder.file(), OpenFlags::default(), VFS)?;
        db.query_row("SELECT count(*) FROM t", [], |row| row.get(0))
    };
    drop(open(&folder.file()));
    let cases = [
        (Class::Open, Kind::Io, ffi::SQLITE_CANTOPEN),
        (Class::Read, Kind::Io, if cfg!(unix) { ffi::SQLITE_CORRUPT } else { ffi::SQLITE_IOERR_READ }),
        (Class::Size, Kind::Io, ffi::SQLITE_IOERR_FSTAT),
        (Class::ShmMap, Kind::Io, ffi::SQLITE_IOERR_SHMMAP),
        (Class::ShmMap, Kind::Full, ffi::SQLITE_IOERR_SHMSIZE),
    ];
    for (class, kind, expected) in cases {
        faults.fail(Plan::at(1, kind).only(&[class]).from_then_on());
        let found = code(open_again());
        // When reading the header fails, SQLite keeps only the primary code.
        assert!(
            found == expected || (class, found & 0xff) == (Class::Read, ffi::SQLITE_IOERR),
            "{class:?}: {found}"
        );
        faults.clear();
        assert_eq!(open_again().unwrap(), 0);
    }
    let db = open(&folder.file());
    insert(&db, 1).unwrap();
    let shorten = |db: &Connection| db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
    faults.fail(Plan::at(1, Kind::Io).only(&[Class::Truncate]));
    assert_eq!(code(shorten(&db)), ffi::SQLITE_IOERR_TRUNCATE);
    insert(&db, 2).unwrap();
    faults.fail(Plan::at(1, Kind::Io).only(&[Class::Sync]).on(Role::Database));
    assert_eq!(code(shorten(&db)), ffi::SQLITE_IOERR_FSYNC);
    assert_eq!(rows(&db), [1, 2]);
    db.query_row("PRAGMA journal_mode = DELETE", [], |row| row.get::<_, String>(0)).unwrap();
    faults.fail(Plan::at(1, Kind::Io).only(&[Class::Delete]).on(Role::Journal));
    assert_eq!(code(insert(&db, 3)), ffi::SQLITE_IOERR_DELETE);
}

#[test]
fn space_runs_out_and_comes_back() {
    let folder = Folder::new();
    let faults = Faults::attach(folder.file()).unwrap();
    let db = open(&folder.file());
    let used = |folder: &Folder| -> u64 {
        std::fs::read_dir(&folder.0).unwrap().map(|e| e.unwrap().metadata().unwrap().len()).sum()
    };
    let limit = used(&folder) + 200_000;
    faults.limit_space(limit);
    let mut n = 0;
    let full = loop {
        match insert(&db, n) {
            Ok(_) => n += 1,
            full => break full,
        }
    };
    assert_eq!(code(full), ffi::SQLITE_FULL);
    assert!(n > 10, "only {n} rows fit");
    assert_eq!(used(&folder), limit, "the last byte is used, and no more");
    assert_eq!(faults.hits().last().unwrap().kind, Kind::Full);
    assert_eq!(rows(&db).len() as i64, n);
    faults.free_space();
    insert(&db, n).unwrap();
    assert_eq!(rows(&db).len() as i64, n + 1);
}

#[test]
fn only_attached_files_obey() {
    let (folder, other) = (Folder::new(), Folder::new());
    let faults = Faults::attach(folder.file()).unwrap();
    let (db, free) = (open(&folder.file()), open(&other.file()));
    faults.fail(Plan::at(1, Kind::Io).from_then_on());
    insert(&free, 1).unwrap();
    assert!(insert(&db, 1).is_err());
    // Detached with the last handle, also if the file is still open.
    let clone = faults.clone();
    drop(faults);
    assert!(insert(&db, 1).is_err());
    drop(clone);
    insert(&db, 1).unwrap();
}

#[test]
fn paths_are_resolved_and_taken_once() {
    let folder = Folder::new();
    let faults = Faults::attach(folder.file()).unwrap();
    let again = folder.0.join(".").join("..").join(folder.0.file_name().unwrap()).join("test.db");
    assert!(matches!(Faults::attach(&again), Err(Error::Attached(_))));
    drop(faults);
    let faults = Faults::attach(&again).unwrap();
    let db = open(&folder.file());
    insert(&db, 1).unwrap();
    assert!(faults.operations() > 0, "both are the same file");
    for bad in [folder.0.join("no").join("test.db"), folder.0.clone(), PathBuf::new(), "a\0b".into()] {
        let refused = Faults::attach(&bad);
        assert!(matches!(refused, Err(Error::Path(_))), "{bad:?}: {refused:?}");
    }
}

#[test]
fn plans_count_each_for_itself() {
    let folder = Folder::new();
    let faults = Faults::attach(folder.file()).unwrap();
    let db = open(&folder.file());
    faults.fail(Plan::at(1, Kind::FailedSync));
    faults.fail(Plan::at(3, Kind::FailedSync));
    let worked: Vec<bool> = (0..4).map(|n| insert(&db, n).is_ok()).collect();
    assert_eq!(worked, [false, true, false, true]);
    assert_eq!(rows(&db), [1, 3]);
}
