//! A full disk, a real one: a small file system that a ballast file fills to the last byte.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use perdura::{Builder, Config, Context, ErrorKind, Failure, Filter, Outcome, Queue, State, TaskId};

use crate::child::Wide;
use crate::support::*;

/// How long claiming may take to go on after space has returned (G11).
const GOES_ON_WITHIN: Duration = Duration::from_secs(10);

/// A file system of its own.
struct Disk {
    folder: Folder,
    ballast: PathBuf,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Tmpfs,
    Ext4,
}

impl Disk {
    /// None where nothing can be mounted.
    fn new(kind: Kind, megabytes: u32) -> Option<Disk> {
        let folder = Folder::new();
        let mount = folder.path().join("disk");
        std::fs::create_dir(&mount).unwrap();
        let mounted = match kind {
            Kind::Tmpfs => {
                run("mount", &["-t", "tmpfs", "-o", &format!("size={megabytes}m"), "tmpfs", text(&mount)])
            }
            Kind::Ext4 => {
                let image = folder.path().join("image");
                run("truncate", &["-s", &format!("{megabytes}M"), text(&image)])
                    && run("mkfs.ext4", &["-q", "-m", "0", text(&image)])
                    && run("mount", &["-o", "loop", text(&image), text(&mount)])
            }
        };
        let ballast = mount.join("ballast");
        has("root to mount a small file system", mounted).then_some(Disk { folder, ballast })
    }

    fn file(&self) -> PathBuf {
        self.ballast.with_file_name("tasks.db")
    }

    /// Fills it to the last byte.
    fn fill(&self) {
        let mut ballast = std::fs::OpenOptions::new().create(true).append(true).open(&self.ballast).unwrap();
        for size in [1 << 20, 1 << 16, 1 << 12, 1 << 8, 1] {
            let block = vec![1; size];
            while ballast.write_all(&block).and_then(|()| ballast.sync_data()).is_ok() {}
        }
    }

    /// Gives so many bytes back.
    fn free(&self, bytes: u64) {
        let ballast = std::fs::OpenOptions::new().write(true).open(&self.ballast).unwrap();
        let length = ballast.metadata().unwrap().len();
        ballast.set_len(length.saturating_sub(bytes)).unwrap();
        ballast.sync_all().unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        run("umount", &["-l", text(&self.folder.path().join("disk"))]);
    }
}

fn run(program: &str, args: &[&str]) -> bool {
    Command::new(program).args(args).output().is_ok_and(|done| done.status.success())
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Holds handlers until it is opened.
#[derive(Default)]
struct Gate(Mutex<bool>, Condvar);

impl Gate {
    fn pass(&self) {
        let open = self.0.lock().unwrap();
        drop(self.1.wait_while(open, |open| !*open).unwrap());
    }

    fn open(&self) {
        *self.0.lock().unwrap() = true;
        self.1.notify_all();
    }
}

fn builder(workers: usize, gate: &Arc<Gate>) -> Builder {
    let gate = gate.clone();
    let config = Config::default().workers(workers).retention(None);
    Queue::builder().config(config).handle(move |task: Wide, _: &Context| {
        gate.pass();
        match task.n {
            0 => Err(Failure::named("told", "as told")),
            n => Ok("r".repeat(n as usize)),
        }
    })
}

fn wide(n: u64, bytes: usize) -> Wide {
    Wide { n, text: "x".repeat(bytes) }
}

/// Waits until all these have left RUNNING, and says how they ended.
#[track_caller]
fn ends(queue: &Queue, ids: &[TaskId]) -> Vec<State> {
    let until = Instant::now() + GOES_ON_WITHIN;
    loop {
        let states: Vec<State> = ids.iter().map(|id| queue.get(*id).unwrap().state).collect();
        if states.iter().all(|state| *state != State::Running) {
            return states;
        }
        assert!(Instant::now() < until, "outcomes are not recorded on a full disk: {states:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Enqueues tasks for which there are workers, and waits until all run.
fn start_all(queue: &Queue, tasks: &[Wide]) -> Vec<TaskId> {
    let ids: Vec<TaskId> = queue.enqueue_all(tasks).unwrap().iter().map(|made| made.id()).collect();
    while ids.iter().any(|id| queue.get(*id).unwrap().state != State::Running) {
        std::thread::sleep(Duration::from_millis(5));
    }
    ids
}

/// Enqueues until there is no room left for one more of these; says how many there was.
#[track_caller]
fn fill_up(queue: &Queue, task: &Wide, most: usize) -> usize {
    for accepted in 0..most {
        if let Err(e) = queue.enqueue(task) {
            assert_eq!((e.kind(), e.outcome()), (ErrorKind::DiskFull, Outcome::NotDone), "{e}");
            return accepted;
        }
    }
    panic!("the disk never gets full");
}

/// A reader has gone that kept the WAL from being copied: soon a task can be enqueued again.
fn enqueue_goes_on(queue: &Queue, task: &Wide, when: &str) {
    let until = Instant::now() + GOES_ON_WITHIN;
    while let Err(e) = queue.enqueue(task) {
        assert_eq!(e.kind(), ErrorKind::DiskFull, "{e}");
        assert!(Instant::now() < until, "{when}: still full, and the reader has gone: {e}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Fifty run while the disk fills up; then enqueues are refused, and every outcome is recorded.
fn outcomes_are_recorded(kind: Kind) {
    const RUNNING: usize = 50;
    let Some(disk) = Disk::new(kind, 24) else { return };
    let gate = Arc::new(Gate::default());
    let queue = builder(RUNNING, &gate).open(disk.file()).unwrap();
    // Every third fails; the others have small results, and two have large ones.
    let tasks: Vec<Wide> = (0..RUNNING as u64)
        .map(|i| wide([0, 5, if i < 6 { 200_000 } else { 7 }][i as usize % 3], 10))
        .collect();
    let ids = start_all(&queue, &tasks);
    let kept = queue.enqueue(&wide(9, 20_000)).unwrap().id();
    disk.fill();
    let mut accepted = 1 + fill_up(&queue, &wide(9, 20_000), 1_999);
    for _ in 0..20 {
        match queue.enqueue(&wide(9, 10)) {
            Ok(_) => accepted += 1, // there is a little room in a page
            Err(e) => assert_eq!((e.kind(), e.outcome()), (ErrorKind::DiskFull, Outcome::NotDone), "{e}"),
        }
    }
    gate.open();
    for (task, state) in tasks.iter().zip(ends(&queue, &ids)) {
        let wanted = if task.n == 0 { State::Queued } else { State::Succeeded }; // a failure waits for its retry
        assert_eq!(state, wanted);
    }
    for (task, id) in tasks.iter().zip(&ids) {
        match task.n {
            0 => assert_eq!(queue.get(*id).unwrap().error_type.as_deref(), Some("told")),
            200_000 => assert_eq!(queue.result::<Wide>(*id).unwrap_err().kind(), ErrorKind::NotFound),
            n => assert_eq!(queue.result::<Wide>(*id).unwrap().map(|r| r.len()), Some(n as usize)),
        }
    }
    let total = queue.counts().unwrap().total();
    assert_eq!(
        total.all(),
        (RUNNING + accepted) as u64,
        "what was accepted is kept, what was refused is not there"
    );
    let went_on = Instant::now();
    disk.free(8 << 20);
    while queue.get(kept).unwrap().state != State::Succeeded {
        assert!(
            went_on.elapsed() < GOES_ON_WITHIN,
            "claiming does not go on: {}",
            queue.explain(kept).unwrap()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    queue.drain().unwrap();
    let _ = queue.enqueue(&wide(9, 20_000)).unwrap();
    queue.drain().unwrap();
    assert_sound(&queue);
    report(
        "full",
        format_args!("{kind:?}: {accepted} accepted, claiming went on after {:?}", went_on.elapsed()),
    );
}

#[test]
fn g11_outcomes_are_recorded_on_a_full_tmpfs() {
    outcomes_are_recorded(Kind::Tmpfs);
}

#[test]
fn g11_outcomes_are_recorded_on_a_full_ext4() {
    outcomes_are_recorded(Kind::Ext4);
}

/// What attempts have written must not take the room that is kept for their outcomes.
#[test]
fn g11_output_gives_way_to_outcomes_on_a_full_disk() {
    const RUNNING: usize = 50;
    let Some(disk) = Disk::new(Kind::Tmpfs, 24) else { return };
    let gate = Arc::new(Gate::default());
    let passed = gate.clone();
    let config = Config::default().workers(RUNNING).retention(None);
    let queue = Queue::builder()
        .config(config)
        .handle(move |_: Wide, cx: &Context| {
            passed.pass();
            let long = "o".repeat(64 * 1024);
            perdura::OutputStream::ALL.into_iter().for_each(|stream| cx.write_output(stream, &long));
            Ok::<_, Failure>("7".to_owned())
        })
        .open(disk.file())
        .unwrap();
    let tasks: Vec<Wide> = (0..RUNNING as u64).map(|_| wide(1, 10)).collect();
    let ids = start_all(&queue, &tasks);
    disk.fill();
    while queue.enqueue(&wide(9, 20_000)).is_ok() {}
    gate.open();
    assert!(ends(&queue, &ids).into_iter().all(|state| state == State::Succeeded));
    assert!(
        ids.iter().all(|id| queue.result::<Wide>(*id).unwrap().as_deref() == Some("7")),
        "small results are kept"
    );
    disk.free(u64::MAX);
    assert_sound(&queue);
}

/// Children are part of a success: without room for them their attempt stays as it is, and ends when there is.
#[test]
fn g11_g17_an_attempt_whose_children_find_no_room_ends_when_there_is() {
    const CHILDREN: u64 = 40;
    let Some(disk) = Disk::new(Kind::Tmpfs, 24) else { return };
    let gate = Arc::new(Gate::default());
    let passed = gate.clone();
    let queue = Queue::builder()
        .workers(1)
        .handle(move |task: Wide, cx: &Context| {
            if task.n == 1 {
                passed.pass();
                (0..CHILDREN).try_for_each(|_| cx.enqueue(&wide(2, 20_000)))?;
            }
            Ok::<_, Failure>("done".to_owned())
        })
        .open(disk.file())
        .unwrap();
    let parent = start_all(&queue, &[wide(1, 10)])[0];
    disk.fill();
    while queue.enqueue(&wide(9, 20_000)).is_ok() {}
    let before = queue.counts().unwrap().total().all();
    gate.open();
    // It is tried each second. However often it has been: it has not ended, and nothing of it is there.
    std::thread::sleep(Duration::from_millis(2_500));
    assert_eq!(queue.get(parent).unwrap().state, State::Running);
    assert_eq!(queue.counts().unwrap().total().all(), before);
    disk.free(12 << 20);
    assert_eq!(queue.wait(parent, GOES_ON_WITHIN).unwrap().state, State::Succeeded);
    queue.drain().unwrap();
    assert_eq!(queue.counts().unwrap().total().succeeded, before + CHILDREN);
    assert_sound(&queue);
}

/// A transaction runs once: it fails as a whole where there is no room, and says so.
#[cfg(feature = "rusqlite")]
#[test]
fn g11_g17_a_transaction_that_finds_no_room_writes_nothing() {
    let Some(disk) = Disk::new(Kind::Tmpfs, 24) else { return };
    let queue = Queue::builder().open(disk.file()).unwrap();
    let runs = std::cell::Cell::new(0);
    let large = |text: usize| {
        queue.transaction(|tx| {
            runs.set(runs.get() + 1);
            tx.execute("INSERT INTO notes VALUES (?1)", ["x".repeat(text)])?;
            let _ = tx.enqueue(&wide(1, text))?;
            Ok::<(), Box<dyn std::error::Error>>(())
        })
    };
    queue
        .transaction(|tx| tx.execute_batch("CREATE TABLE notes (text TEXT)").map_err(Failure::from))
        .unwrap_or_else(|e| panic!("{e}"));
    large(10).unwrap();
    disk.fill();
    while queue.enqueue(&wide(9, 20_000)).is_ok() {}
    let before = queue.counts().unwrap().total().all();
    runs.set(0);
    let refused = large(400_000).unwrap_err();
    let refused = refused.downcast_ref::<perdura::Error>().unwrap_or_else(|| panic!("{refused}"));
    assert_eq!((refused.kind(), refused.outcome()), (ErrorKind::DiskFull, Outcome::NotDone), "{refused}");
    assert!(runs.get() <= 1, "its closure is not run again");
    disk.free(12 << 20);
    assert_eq!(queue.counts().unwrap().total().all(), before);
    // It may be told once that the file has grown for it, and that it is to run again.
    large(400_000).or_else(|_| large(400_000)).unwrap();
    let notes = queue.transaction(|tx| {
        Ok::<i64, Box<dyn std::error::Error>>(
            tx.query_row("SELECT COUNT(*) FROM notes", [], |row| row.get(0))?,
        )
    });
    assert_eq!(notes.unwrap(), 2);
    assert_eq!(queue.counts().unwrap().total().all(), before + 1);
    assert_sound(&queue);
}

/// The disk fills up at any moment of a busy queue: nothing accepted is lost, no outcome stays out, and it goes on by itself.
#[test]
fn g11_a_disk_that_fills_up_under_load_loses_nothing() {
    let mut random = seed();
    let (mut accepted, mut refused) = (0, 0);
    for _ in rounds(6) {
        let Some(disk) = Disk::new(Kind::Tmpfs, 48) else { return };
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let told = fills_up_under_load(&disk, Duration::from_micros((random >> 33) % 150_000));
        accepted += told.0;
        refused += told.1;
    }
    assert!(refused > 0, "the disk never got full");
    report("full", format_args!("{accepted} accepted, {refused} refused"));
}

/// How many tasks were accepted, and how many refused.
fn fills_up_under_load(disk: &Disk, after: Duration) -> (usize, usize) {
    const TASKS: usize = 1_500;
    let gate = Arc::new(Gate::default());
    gate.open();
    let queue = builder(4, &gate).open(disk.file()).unwrap();
    let (accepted, refused) = std::thread::scope(|scope| {
        let producer = scope.spawn(|| {
            let (mut accepted, mut refused) = (Vec::new(), 0);
            while accepted.len() < TASKS {
                match queue.enqueue(&wide(1, 15_000)) {
                    Ok(made) => accepted.push(made.id()),
                    Err(e) => {
                        assert_eq!((e.kind(), e.outcome()), (ErrorKind::DiskFull, Outcome::NotDone), "{e}");
                        refused += 1;
                        std::thread::sleep(Duration::from_millis(1));
                    }
                }
            }
            (accepted, refused)
        });
        std::thread::sleep(after);
        disk.fill();
        std::thread::sleep(Duration::from_millis(200));
        disk.free(u64::MAX);
        producer.join().unwrap()
    });
    queue.drain().unwrap();
    let total = queue.counts().unwrap().total();
    assert_eq!(
        (total.succeeded, total.all()),
        (TASKS as u64, TASKS as u64),
        "every accepted task has its outcome"
    );
    for id in &accepted {
        assert_eq!(queue.get(*id).unwrap().attempt_number, 1, "task {id} was tried again");
    }
    assert_sound(&queue);
    (accepted.len(), refused)
}

/// The length of the database file, or of a companion.
fn length(file: &Path, suffix: &str) -> u64 {
    let mut path = file.as_os_str().to_owned();
    path.push(suffix);
    std::fs::metadata(path).unwrap().len()
}

/// The length that the database has, its WAL included.
fn pages(file: &Path) -> u64 {
    let raw = rusqlite::Connection::open(file).unwrap();
    raw.query_row("PRAGMA page_count", [], |row| row.get::<_, u64>(0)).unwrap() * 4096
}

#[test]
fn g11_the_reserve_is_in_the_file_and_the_wal_has_its_floor() {
    let folder = Folder::new();
    let gate = Arc::new(Gate::default());
    let _queue = builder(1, &gate).open(folder.file()).unwrap();
    let [database, wal] = ["", "-wal"].map(|suffix| length(&folder.file(), suffix));
    assert!(database >= 1 << 20, "the database file has {database} bytes");
    assert!(wal >= 1 << 20, "the WAL has {wal} bytes");
    gate.open();
}

#[test]
fn g11_on_a_small_disk_what_a_commit_takes_was_in_the_file_before_it() {
    let Some(disk) = Disk::new(Kind::Tmpfs, 48) else { return };
    let gate = Arc::new(Gate::default());
    let queue = builder(1, &gate).open(disk.file()).unwrap();
    for n in 1..200 {
        let _ = queue.enqueue(&wide(n, 5_000)).unwrap();
    }
    let (wanted, found) = (pages(&disk.file()), length(&disk.file(), ""));
    assert!(found >= wanted, "{wanted} bytes, of which {found} are in the database file");
    gate.open();
    queue.drain().unwrap();
}

/// There was plenty of room when the file was last asked to grow. Then there is none, before what has been written is copied into the file.
/// (Commits of small tasks are measured only when they have written a megabyte together.)
#[test]
fn g11_a_disk_that_fills_up_between_two_looks_loses_nothing_and_goes_on() {
    const RUNNING: usize = 20;
    const LARGE: usize = 20_000;
    const SMALL: usize = 1_000;
    for (tasks, bytes) in [(1, LARGE), (30, LARGE), (300, LARGE), (1, SMALL), (50, SMALL), (1_000, SMALL)] {
        let Some(disk) = Disk::new(Kind::Tmpfs, 200) else { return };
        let gate = Arc::new(Gate::default());
        let queue = builder(RUNNING, &gate).open(disk.file()).unwrap();
        let batch: Vec<Wide> = (0..RUNNING).map(|_| wide(7, 10)).collect();
        let ids = start_all(&queue, &batch);
        for _ in 0..tasks {
            let _ = queue.enqueue(&wide(9, bytes)).unwrap();
        }
        disk.fill();
        let accepted = tasks + fill_up(&queue, &wide(9, bytes), 200_000_000 / bytes);
        gate.open();
        std::thread::sleep(Duration::from_millis(500)); // outcomes are tried to be written meanwhile
        disk.free(8 << 20);
        assert!(ends(&queue, &ids).into_iter().all(|state| state == State::Succeeded));
        queue.drain().unwrap();
        assert_eq!(queue.counts().unwrap().total().succeeded, (RUNNING + accepted) as u64);
        for id in ids {
            assert_eq!(queue.get(id).unwrap().attempt_number, 1, "task {id} was tried again");
        }
        assert_sound(&queue);
    }
}

/// A reader keeps the WAL from being copied until a disk is full of it, and goes: then everything goes on. (One of them has plenty of room at
/// first.)
#[test]
fn g11_a_disk_that_a_long_reader_filled_is_not_full_for_good() {
    let disks = [
        (Kind::Tmpfs, 24, 3_000),
        (Kind::Tmpfs, 48, 1_000_000),
        (Kind::Ext4, 24, 3_000),
        (Kind::Tmpfs, 200, 3_000),
        (Kind::Tmpfs, 320, 300_000),
    ];
    for (kind, megabytes, bytes) in disks {
        let Some(disk) = Disk::new(kind, megabytes) else { return };
        let gate = Arc::new(Gate::default());
        gate.open();
        let queue = builder(2, &gate).open(disk.file()).unwrap();
        let _ = queue.enqueue(&wide(1, 10)).unwrap();
        queue.drain().unwrap();
        let reader = rusqlite::Connection::open(disk.file()).unwrap();
        reader.execute_batch("BEGIN; SELECT COUNT(*) FROM perdura_tasks").unwrap();
        let accepted = fill_up(&queue, &wide(5, bytes), 20_000);
        reader.execute_batch("ROLLBACK").unwrap();
        enqueue_goes_on(&queue, &wide(5, 3_000), &format!("{kind:?}, after {accepted} tasks"));
        for _ in 0..100 {
            let _ = queue.enqueue(&wide(5, 3_000)).unwrap();
        }
        queue.drain().unwrap();
        assert_sound(&queue);
        report(
            "full",
            format_args!("{kind:?}: refused after {accepted} beside a reader, and went on without it"),
        );
    }
}

/// And where the new tasks need no growth, because old ones have left free pages: what they write lies in the WAL all the same.
#[test]
fn g11_beside_a_reader_what_takes_free_pages_does_not_fill_the_disk_for_good() {
    for megabytes in [40, 42] {
        let Some(disk) = Disk::new(Kind::Tmpfs, megabytes) else { return };
        let queue = builder(2, &Arc::new(Gate::default())).open(disk.file()).unwrap();
        let _ = queue.enqueue(&wide(9, 10)).unwrap();
        let reader = rusqlite::Connection::open(disk.file()).unwrap();
        reader.execute_batch("BEGIN; SELECT COUNT(*) FROM perdura_tasks").unwrap();
        let large = wide(9, 1_000_000);
        let accepted = fill_up(&queue, &large, 200);
        let deleted = queue.delete_all(Filter::new().state(State::Queued)).unwrap().changed;
        let again = fill_up(&queue, &large, 200);
        reader.execute_batch("ROLLBACK").unwrap();
        let told = format!("{megabytes} MB: {accepted} tasks, {deleted} deleted, {again} more");
        enqueue_goes_on(&queue, &wide(9, 1_000), &told);
        report("full", format_args!("{told}"));
        assert_sound(&queue);
    }
}
