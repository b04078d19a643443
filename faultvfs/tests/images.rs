//! Tests of power cut images: what was synced is in all of them, what was not is lost in some.

use std::path::{Path, PathBuf};

use perdura_faultvfs::{Faults, Kind, Plan, Recording, Tear, VFS};
use rusqlite::{Connection, OpenFlags};

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let memory = Path::new("/dev/shm"); // thousands of images, whose syncs do not matter
        let base = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let path = base.join(format!("perdura-images-{}-{name}", std::process::id()));
        std::fs::create_dir_all(path.join("image")).unwrap();
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

fn open(path: &Path, set_up: &str) -> Connection {
    let db = Connection::open_with_flags_and_vfs(path, OpenFlags::default(), VFS).unwrap();
    db.execute_batch(set_up).unwrap();
    db.execute_batch("CREATE TABLE IF NOT EXISTS t (n INTEGER, text TEXT)").unwrap();
    db
}

fn insert(db: &Connection, n: u64) -> rusqlite::Result<usize> {
    db.execute("INSERT INTO t VALUES (?1, ?2)", (n as i64, "x".repeat(n as usize * 37 % 5000)))
}

/// Makes 40 rows, each marked when its COMMIT has returned, with checkpoints in between.
fn work(db: &Connection, recording: &Recording) {
    for n in 0..40 {
        insert(db, n).unwrap();
        recording.mark(n);
        if n % 11 == 10 {
            let _ = db.query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(()));
        }
    }
}

/// The tears to try at a cut.
fn tears(at: usize) -> Vec<Tear> {
    let seed = at as u64;
    let mut tears =
        vec![Tear::All, Tear::Nothing, Tear::ZeroTail, Tear::StaleTail(seed), Tear::LastWrite(seed)];
    tears.extend((0..4).map(|n| Tear::Sectors(seed * 4 + n)));
    tears
}

/// The rows of an image; none if it is damaged.
fn rows(image: &Path) -> Option<Vec<u64>> {
    let db = Connection::open(image).unwrap();
    db.execute_batch("PRAGMA synchronous = OFF").ok()?;
    let sound: String = db.query_row("PRAGMA integrity_check", [], |row| row.get(0)).ok()?;
    if sound != "ok" {
        return None;
    }
    let mut statement = match db.prepare("SELECT n FROM t ORDER BY n") {
        Ok(statement) => statement,
        Err(_) => return Some(Vec::new()), // from before the table was created
    };
    let rows = statement.query_map([], |row| row.get::<_, i64>(0)).unwrap();
    Some(rows.map(|n| n.unwrap() as u64).collect())
}

/// Opens every image; counts those that have all marked rows, and the others.
fn judge(recording: &Recording, folder: &Folder) -> (usize, usize) {
    let (mut whole, mut lossy) = (0, 0);
    for at in 0..=recording.len() {
        let marks = recording.marks_before(at);
        for tear in tears(at) {
            let image = recording.image(at, tear, folder.0.join("image")).unwrap();
            match rows(&image) {
                Some(rows) if marks.iter().all(|n| rows.contains(n)) => whole += 1,
                _ => lossy += 1,
            }
        }
    }
    (whole, lossy)
}

#[test]
fn what_was_committed_is_in_every_image() {
    for (name, set_up) in [
        ("wal", "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 30"),
        ("journal", "PRAGMA journal_mode = DELETE; PRAGMA synchronous = EXTRA"),
    ] {
        let folder = Folder::new(name);
        let faults = Faults::attach(folder.file()).unwrap();
        let recording = faults.record().unwrap();
        let db = open(&folder.file(), set_up);
        work(&db, &recording);
        drop(db);
        let (whole, lossy) = judge(&recording, &folder);
        assert_eq!(lossy, 0, "{name}");
        assert!(whole > 1000, "{name}: only {whole} images");
        assert!(recording.syncs() > 40);
    }
}

#[test]
fn what_was_not_synced_is_lost_in_some() {
    for (name, set_up) in [
        ("off", "PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF"),
        ("normal", "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL"),
    ] {
        let folder = Folder::new(name);
        let faults = Faults::attach(folder.file()).unwrap();
        let recording = faults.record().unwrap();
        let db = open(&folder.file(), set_up);
        work(&db, &recording);
        let (_, lossy) = judge(&recording, &folder);
        assert!(lossy > 0, "{name}: the control does not lose, so the images prove nothing");
    }
}

#[test]
fn the_same_seed_makes_the_same_image_and_another_one_does_not() {
    let folder = Folder::new("seeds");
    let faults = Faults::attach(folder.file()).unwrap();
    let recording = faults.record().unwrap();
    let db = open(&folder.file(), "PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF");
    work(&db, &recording);
    let image = |seed| {
        let path = recording.image(recording.len(), Tear::Sectors(seed), folder.0.join("image")).unwrap();
        let wal = std::fs::read(path.with_file_name("test.db-wal")).unwrap_or_default();
        (std::fs::read(path).unwrap_or_default(), wal)
    };
    assert_eq!(image(7), image(7));
    assert!((0..8).any(|seed| image(seed) != image(7)));
}

#[test]
fn the_image_of_everything_is_what_the_files_are() {
    let folder = Folder::new("everything");
    let faults = Faults::attach(folder.file()).unwrap();
    let db = open(&folder.file(), "PRAGMA journal_mode = WAL");
    let recording = faults.record().unwrap(); // the file has content already
    work(&db, &recording);
    let image = recording.image(recording.len(), Tear::All, folder.0.join("image")).unwrap();
    let (image_wal, copies) = (image.with_file_name("test.db-wal"), folder.0.join("copies"));
    std::fs::create_dir(&copies).unwrap();
    let copy = faults.copy_to(&copies).unwrap();
    assert!(std::fs::read(&image).unwrap() == std::fs::read(&copy).unwrap());
    assert!(std::fs::read(image_wal).unwrap() == std::fs::read(copy.with_file_name("test.db-wal")).unwrap());
}

#[test]
fn a_failed_sync_is_not_made_up_for_by_the_next_one() {
    let folder = Folder::new("lost");
    let faults = Faults::attach(folder.file()).unwrap();
    let db = open(&folder.file(), "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL");
    for n in 0..20 {
        insert(&db, n).unwrap();
    }
    let recording = faults.record().unwrap();
    // The checkpoint's sync of the database fails. A second sync would confirm pages that the first
    // has lost, if SQLite did not write them again.
    faults.fail(Plan::at(1, Kind::FailedSync).on(perdura_faultvfs::Role::Database));
    let checkpoint = || db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
    assert!(checkpoint().is_err());
    let half = recording.len();
    let undecided = |at, seed| {
        let path = recording.image(at, Tear::Sectors(seed), folder.0.join("image")).unwrap();
        std::fs::read(path).unwrap()
    };
    assert!(
        (0..8).any(|seed| undecided(half, seed) != undecided(half, 0)),
        "the pages may have arrived or not"
    );
    checkpoint().unwrap();
    let end = recording.len();
    assert!(
        (0..8).all(|seed| undecided(end, seed) == undecided(end, 0)),
        "they were written and synced again"
    );
    for n in 0..8 {
        let image = recording.image(end, Tear::Sectors(n), folder.0.join("image")).unwrap();
        assert_eq!(rows(&image).unwrap().len(), 20);
    }
}
