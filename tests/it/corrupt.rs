//! Damaged files: bytes flipped, zeroed and set, files cut short, companions garbled, taken away and exchanged; and files that never
//! were ours.
//!
//! What must come of each: it is opened, and then every call answers with a value or a typed error; or it is refused with a typed
//! error, and its bytes are what they were. Never a panic, a hang, or a new file in the place of the old one.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use perdura::ErrorKind;

use crate::files::{Used, builder, errors, make, use_everything};
use crate::support::*;

/// A case takes milliseconds; SQLite waits 10 s for a lock, and a machine may be busy.
const HANG: Duration = Duration::from_secs(60);

/// The files of a queue that was closed or killed: a case damages a copy of them.
#[derive(Clone)]
struct Files {
    main: Option<Vec<u8>>,
    wal: Option<Vec<u8>>,
    shm: Option<Vec<u8>>,
}

impl Files {
    fn closed() -> Files {
        let folder = Folder::in_memory();
        make(&folder.file());
        Files { main: Some(std::fs::read(folder.file()).unwrap()), wal: None, shm: None }
    }

    /// As a process leaves them that is killed: with the newest commits in the WAL alone.
    fn killed(n: u64) -> Files {
        let folder = Folder::in_memory();
        make(&folder.file());
        let queue = perdura::Queue::builder().open(folder.file()).unwrap();
        for i in 0..20 {
            let _ = queue.enqueue(&crate::files::Step::Succeed(n + i)).unwrap();
        }
        let read = |suffix| std::fs::read(companion(&folder.file(), suffix)).ok();
        Files { main: read(""), wal: read("-wal"), shm: read("-shm") }
    }

    fn main(&self) -> &[u8] {
        self.main.as_deref().expect("these files have a database")
    }
}

fn companion(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Where cases run, and how they went.
struct Ground {
    folder: Folder,
    cases: u32,
    outcomes: BTreeMap<String, u32>,
    longest: Duration,
}

impl Ground {
    fn new() -> Ground {
        Ground { folder: Folder::in_memory(), cases: 0, outcomes: BTreeMap::new(), longest: Duration::ZERO }
    }

    /// Puts the files there, uses them, and judges what came of it. `what` says what was done to them.
    #[track_caller]
    fn case(&mut self, files: &Files, what: impl Fn() -> String) -> Used {
        self.cases += 1;
        // A name of its own: a reading connection of the case before may still be closing.
        let path = self.folder.path().join(format!("{}.db", self.cases));
        for (suffix, bytes) in [("", &files.main), ("-wal", &files.wal), ("-shm", &files.shm)] {
            if let Some(bytes) = bytes {
                std::fs::write(companion(&path, suffix), bytes).unwrap();
            }
        }
        let began = Instant::now();
        let used = catch_unwind(AssertUnwindSafe(|| use_everything(&path)));
        self.longest = self.longest.max(began.elapsed());
        let used = used.unwrap_or_else(|_| panic!("a panic with {}: {:#?}", what(), errors()));
        assert!(began.elapsed() < HANG, "{:?} with {}", began.elapsed(), what());
        if let Used::Refused(kind) = used {
            assert!(REFUSALS.contains(&kind), "{kind:?} with {}: {:?}", what(), errors());
            if files.wal.is_none() {
                let after = std::fs::read(&path).ok();
                assert!(
                    same_content(&after, &files.main),
                    "{kind:?}, but changed, with {}: {:?}",
                    what(),
                    errors()
                );
            }
        }
        let class = match used {
            Used::Refused(kind) => format!("refused as {kind:?}"),
            Used::Opened { sound, .. } => format!("opened, {}", if sound { "sound" } else { "reported" }),
        };
        *self.outcomes.entry(class).or_default() += 1;
        for suffix in ["", "-wal", "-shm", "-owner", "-journal"] {
            let _ = std::fs::remove_file(companion(&path, suffix));
        }
        used
    }

    fn report(&self, what: &str) {
        report(
            what,
            format_args!("{} cases, {:?}, the longest {:?}", self.cases, self.outcomes, self.longest),
        );
    }
}

/// How a file may be refused.
const REFUSALS: [ErrorKind; 6] = [
    ErrorKind::Corrupt,
    ErrorKind::NotPerdura,
    ErrorKind::NewerSchema,
    ErrorKind::Io,
    ErrorKind::ReadOnly,
    ErrorKind::TooLarge,
];

/// Whether two database files hold the same: all bytes, but for those that say how it is written (the journal mode, and who counted
/// the last change), which SQLite sets when it opens a file that was not in WAL mode.
fn same_content(after: &Option<Vec<u8>>, before: &Option<Vec<u8>>) -> bool {
    let bare = |bytes: &Option<Vec<u8>>| {
        bytes.clone().map(|mut bytes| {
            for range in [18..20, 24..28, 92..100] {
                if let Some(part) = bytes.get_mut(range) {
                    part.fill(0);
                }
            }
            bytes
        })
    };
    after == before || bare(after) == bare(before)
}

/// Numbers from a seed (SplitMix64): the same everywhere.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % n as u64).unwrap()
    }

    /// Flips, zeroes, sets or draws a byte, or zeroes, doubles or garbles a run of them.
    fn damage(&mut self, bytes: &mut [u8]) -> String {
        let at = self.below(bytes.len());
        let run = at..bytes.len().min(at + 1 + self.below(600));
        let kind = self.below(7);
        match kind {
            0 => bytes[at] ^= 1 << self.below(8),
            1 => bytes[at] = 0,
            2 => bytes[at] = 0xff,
            3 => bytes[at] = self.next().to_le_bytes()[0],
            4 => bytes[run.clone()].fill(0),
            5 => {
                let from = self.below(bytes.len() - run.len() + 1);
                bytes.copy_within(from..from + run.len(), at);
            }
            _ => bytes[run.clone()].iter_mut().for_each(|byte| *byte = self.next().to_le_bytes()[0]),
        }
        format!("damage {kind} at {run:?}")
    }
}

#[test]
fn g12_every_byte_of_the_header_damaged() {
    let seed = Files::closed();
    let mut ground = Ground::new();
    for at in 0..100 {
        let old = seed.main()[at];
        for new in (0..8).map(|bit| old ^ (1 << bit)).chain([0, 0xff]).filter(|new| *new != old) {
            let mut files = seed.clone();
            files.main.as_mut().unwrap()[at] = new;
            ground.case(&files, || format!("header byte {at} = {new:#x}"));
        }
    }
    ground.report("damaged headers");
}

/// The pages of `sqlite_schema`: the first, and those below it.
fn schema_pages(main: &[u8]) -> Vec<usize> {
    let number =
        |at: usize| usize::try_from(u32::from_be_bytes(main[at..at + 4].try_into().unwrap())).unwrap();
    let mut pages = vec![1];
    if main[100] == 5 {
        let cells = usize::from(u16::from_be_bytes([main[103], main[104]]));
        let cell = |i: usize| usize::from(u16::from_be_bytes([main[112 + 2 * i], main[113 + 2 * i]]));
        pages.extend((0..cells).map(|i| number(cell(i))).chain([number(108)]));
    }
    pages
}

#[test]
fn g12_bytes_of_the_schema_damaged() {
    let closed = Files::closed();
    let mut ground = Ground::new();
    let pages = schema_pages(closed.main());
    assert!(pages.len() > 1, "the schema has outgrown its first page: {pages:?}");
    let places = pages.iter().flat_map(|page| ((page - 1) * 4096)..(page * 4096)).filter(|at| *at >= 100);
    let (every_byte, turn) = (is_release(), usize::try_from(seed() % 32).unwrap());
    for at in places {
        let old = closed.main()[at];
        let is_text = old.is_ascii_graphic() || old == b' '; // of the schema: one change is like another
        let news = [old ^ (1 << (at % 8)), 0, 0xff];
        let share = if is_text {
            16
        } else if old == 0 {
            32
        } else {
            4
        }; // others in each run
        let n = if every_byte { 3 } else { usize::from((at + turn).is_multiple_of(share)) };
        for new in news.into_iter().take(n).filter(|new| *new != old) {
            let mut files = closed.clone();
            files.main.as_mut().unwrap()[at] = new;
            ground.case(&files, || format!("byte {at} = {new:#x}"));
        }
    }
    ground.report("damaged schemas");
}

#[test]
fn g12_random_bytes_damaged_anywhere() {
    let (closed, killed) = (Files::closed(), Files::killed(0));
    let mut ground = Ground::new();
    let seed = seed();
    let mut chance = Chance(seed);
    for _ in rounds(2_000) {
        let from_wal = chance.below(3) == 0;
        let mut files = if from_wal { killed.clone() } else { closed.clone() };
        let mut done = Vec::new();
        for _ in 0..=chance.below(3) {
            let part = match from_wal {
                true => [&mut files.main, &mut files.wal, &mut files.shm]
                    .into_iter()
                    .nth(chance.below(3))
                    .unwrap(),
                false => &mut files.main,
            };
            done.push(chance.damage(part.as_mut().unwrap()));
        }
        ground.case(&files, || format!("seed {seed}, WAL {from_wal}, {done:?}"));
    }
    ground.report(&format!("damaged files (seed {seed})"));
}

#[test]
fn g12_files_cut_short_anywhere() {
    let (closed, killed) = (Files::closed(), Files::killed(0));
    let mut ground = Ground::new();
    let main = closed.main().len();
    for length in
        (0..main).step_by(4096).flat_map(|page| [page, page + 1, page + 100, page + 2048, page + 4095])
    {
        let mut files = closed.clone();
        files.main.as_mut().unwrap().truncate(length);
        let used = ground.case(&files, || format!("cut to {length} bytes"));
        assert!(
            length == 0 || !matches!(used, Used::Opened { sound: true, .. }),
            "{length} bytes of {main} are sound"
        );
    }
    for length in 1..512 {
        let mut files = closed.clone();
        files.main.as_mut().unwrap().truncate(length);
        assert_eq!(
            ground.case(&files, || format!("cut to {length} bytes")),
            Used::Refused(ErrorKind::NotPerdura)
        );
    }
    let wal = killed.wal.as_ref().unwrap().len();
    for length in (0..wal).step_by(1033) {
        let mut files = killed.clone();
        files.wal.as_mut().unwrap().truncate(length);
        ground.case(&files, || format!("the WAL cut to {length} bytes"));
    }
    ground.report("files cut short");
}

#[test]
fn g12_companions_lost_exchanged_or_full_of_garbage() {
    let (closed, killed, other) = (Files::closed(), Files::killed(0), Files::killed(1_000_000));
    let mut ground = Ground::new();
    let garbage = |n: u64| -> Vec<u8> {
        let mut chance = Chance(n);
        (0..40_000).map(|_| chance.next().to_le_bytes()[0]).collect()
    };
    for n in 0..20 {
        ground.case(&Files { shm: Some(garbage(n)), ..killed.clone() }, || format!("-shm garbage {n}"));
        ground.case(&Files { wal: Some(garbage(n)), ..killed.clone() }, || format!("-wal garbage {n}"));
        ground.case(&Files { wal: Some(garbage(n)), ..closed.clone() }, || {
            format!("-wal garbage {n} of a closed file")
        });
    }
    ground.case(&Files { shm: None, ..killed.clone() }, || "without -shm".into());
    ground.case(&Files { shm: Some(vec![0xff; 32_768]), ..killed.clone() }, || "-shm full of ones".into());
    ground.case(&Files { wal: None, ..killed.clone() }, || "without -wal".into());
    ground.case(&Files { wal: None, shm: None, ..killed.clone() }, || "without -wal and -shm".into());
    ground.case(&Files { wal: other.wal.clone(), shm: None, ..killed.clone() }, || {
        "another file's -wal".into()
    });
    ground.case(&Files { wal: other.wal.clone(), shm: other.shm, ..closed }, || {
        "another file's -wal and -shm".into()
    });
    ground.report("garbled companions");
}

/// Damage that a check meets is what it is to find, so it is a problem in its report, in one line each; and the other rules are checked.
#[test]
fn a_check_reports_the_damage_that_it_meets() {
    const PAGE: usize = 4096;
    let whole = Files::closed();
    let mut reported = 0;
    for page in 1..whole.main().len() / PAGE {
        let folder = Folder::in_memory();
        let mut damaged = whole.main().to_owned();
        damaged[page * PAGE..(page + 1) * PAGE].fill(0xA5);
        std::fs::write(folder.file(), damaged).unwrap();
        let looker = perdura::Queue::builder().read_only(true); // handlers would need to write
        let Ok(queue) = looker.open(folder.file()) else { continue };
        let report = queue.check().unwrap_or_else(|e| panic!("page {page}: {e}"));
        reported += usize::from(!report.is_ok());
        assert!(report.problems.iter().all(|problem| !problem.contains('\n')), "page {page}: {report:?}");
    }
    assert!(reported > 10, "{reported}");
}

/// A database that was emptied or lost is not silently begun anew beside its WAL: SQLite would delete that.
#[test]
fn g12_a_lost_database_is_not_made_anew_beside_its_wal() {
    let killed = Files::killed(0);
    for main in [None, Some(Vec::new())] {
        let folder = Folder::in_memory();
        if let Some(main) = &main {
            std::fs::write(folder.file(), main).unwrap();
        }
        std::fs::write(companion(&folder.file(), "-wal"), killed.wal.as_ref().unwrap()).unwrap();
        let e = builder().open(folder.file()).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Corrupt, "{e}");
        assert!(e.to_string().contains("its -wal is there"), "{e}");
        assert_eq!(std::fs::read(folder.file()).ok(), main);
        assert_eq!(std::fs::read(companion(&folder.file(), "-wal")).ok(), killed.wal);
        std::fs::write(folder.file(), killed.main()).unwrap();
        assert!(builder().open(folder.file()).unwrap().check().unwrap().is_ok(), "put back, it is whole");
    }
}

/// Databases and files of other programs, and what is no file at all, are refused and left alone.
#[test]
fn g12_what_never_was_ours_is_left_as_it_was() {
    let folder = Folder::new();
    let path = folder.path().join("other.db");
    for sql in [
        "CREATE TABLE perdura_tasks (x)",
        "CREATE TABLE perdura_meta (x); INSERT INTO perdura_meta VALUES (1)",
        "CREATE TABLE perdura_meta (id, schema_version); INSERT INTO perdura_meta VALUES (1, 1)",
        "CREATE VIEW perdura_meta AS SELECT 1 AS id, 1 AS schema_version",
        "PRAGMA application_id = 1; PRAGMA user_version = 7; CREATE TABLE t (x)",
        "PRAGMA encoding = 'UTF-16'; CREATE TABLE t (x)",
        "PRAGMA page_size = 512; CREATE TABLE t (x)",
    ] {
        let conn = rusqlite::Connection::open(&path).unwrap();
        conn.execute_batch(sql).unwrap();
        drop(conn);
        let before = std::fs::read(&path).unwrap();
        let e = builder().open(&path).unwrap_err();
        assert!(matches!(e.kind(), ErrorKind::NotPerdura | ErrorKind::Corrupt), "{e} after {sql}");
        assert!(std::fs::read(&path).unwrap() == before, "{sql}");
        std::fs::remove_file(&path).unwrap();
    }
    let names: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|f| f.unwrap().file_name()).collect();
    assert!(names.is_empty(), "{names:?} were left behind");
}
