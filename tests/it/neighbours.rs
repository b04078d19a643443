//! Other connections to the same file, which do as they like: one that reads without end, one that keeps the writer's lock, one that
//! checkpoints the WAL.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use perdura::{Config, Context, Durability, ErrorKind, Outcome, Queue, State};
use rusqlite::{Connection, TransactionBehavior};

use crate::child::{Child, Noted, Wide};
use crate::support::*;

fn wal_of(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}

fn wal(file: &Path) -> u64 {
    std::fs::metadata(wal_of(file)).unwrap().len()
}

/// The WAL is cut to this when it starts again.
const WAL_LIMIT: u64 = 16 << 20;

#[test]
fn g01_g04_a_long_reader_stops_no_writer_and_the_wal_shrinks_when_it_ends() {
    const TASKS: usize = 10_000;
    let folder = Folder::new();
    let config = Config::default().workers(2).durability(Durability::Relaxed);
    let wide = |task: Wide, _: &Context| Ok(task.n.to_string());
    let queue = builder(config).handle(wide).open(folder.file()).unwrap();
    let _ = queue.enqueue(&Do::Ok(0)).unwrap();
    let reader = Connection::open(folder.file()).unwrap();
    reader.execute_batch("BEGIN").unwrap();
    let count = |connection: &Connection| -> i64 {
        connection.query_row("SELECT count(*) FROM perdura_tasks", [], |row| row.get(0)).unwrap()
    };
    let seen = count(&reader);
    let text = "x".repeat(2_000); // so that there is a WAL to speak of
    for _ in 0..TASKS / 100 {
        let batch: Vec<_> = (0..100).map(|n| Wide { n, text: text.clone() }).collect();
        queue.enqueue_all(&batch).expect("a reader is no reason to fail");
    }
    queue.drain().unwrap();
    let total = queue.counts().unwrap().total();
    assert_eq!((total.succeeded, total.all()), (TASKS as u64 + 1, TASKS as u64 + 1));
    assert_eq!(count(&reader), seen, "its snapshot stands still");
    let grown = wal(&folder.file());
    assert!(grown > WAL_LIMIT, "the WAL could not start again, and was to grow: {grown}");
    reader.execute_batch("COMMIT").unwrap();
    let began = Instant::now();
    while wal(&folder.file()) > WAL_LIMIT {
        assert!(began.elapsed() < MINUTE, "the WAL stays at {} bytes", wal(&folder.file()));
        let id = queue.enqueue(&Do::Ok(0)).unwrap().id();
        queue.wait(id, PATIENCE).unwrap();
        std::thread::sleep(Duration::from_millis(100)); // the checkpoint comes a second after a commit
    }
    report(
        "neighbours",
        format_args!(
            "a long reader: the WAL grew to {grown} bytes and was cut {:?} after its end",
            began.elapsed()
        ),
    );
    assert_sound(&queue);
}

/// The processor time that a process has used.
fn processor_time(process: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    let ticks: u64 = fields.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 10) // USER_HZ is 100 on every Linux
}

#[test]
fn g02_g04_a_neighbour_that_keeps_the_lock_too_long_costs_time_and_nothing_else() {
    if !has("/proc", cfg!(target_os = "linux")) {
        return;
    }
    let folder = Folder::new();
    let mut owner = Child::start("hold", &folder.file());
    owner.await_line("executes true");
    let queue = Queue::builder().open(folder.file()).unwrap();
    let short = queue.enqueue(&Noted { process: 0, n: 1, micros: 300_000 }).unwrap().id();
    queue.notify().unwrap();
    owner.await_line(&format!("start {short} 1 1"));
    let mut neighbour = Connection::open(folder.file()).unwrap();
    let lock = neighbour.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
    owner.await_line(&format!("end {short} 1")); // from now on the owner has an outcome that it cannot write
    let (began, used) = (Instant::now(), processor_time(owner.id()));
    let refused = queue.enqueue(&Noted { process: 0, n: 2, micros: 0 }).unwrap_err();
    assert_eq!((refused.kind(), refused.outcome()), (ErrorKind::Busy, Outcome::NotDone));
    let waited = began.elapsed();
    assert!((8 * SECOND..MINUTE).contains(&waited), "it waits for the lock before it gives up: {waited:?}");
    std::thread::sleep(3 * SECOND); // past the owner's own patience, too
    let (used, took) = (processor_time(owner.id()) - used, began.elapsed());
    assert_eq!(queue.get(short).unwrap().state, State::Running);
    lock.rollback().unwrap();
    let record = queue.wait(short, PATIENCE).unwrap();
    assert_eq!((record.state, record.generation), (State::Succeeded, 1), "its outcome was kept");
    let next = queue.enqueue(&Noted { process: 0, n: 3, micros: 0 }).unwrap().id();
    assert_eq!(queue.wait(next, PATIENCE).unwrap().state, State::Succeeded, "the owner goes on by itself");
    report("neighbours", format_args!("locked out for {took:?}: {used:?} of processor time"));
    assert!(used < took / 20, "it used {used:?} of {took:?} to wait");
    assert_eq!(queue.counts().unwrap().total().all(), 2, "what was refused is not there");
    owner.kill();
    assert_sound(&queue);
}

#[test]
fn g01_g04_a_neighbour_that_checkpoints_all_the_time_harms_nothing() {
    let folder = Folder::new();
    let config = Config::default().workers(2).durability(Durability::Relaxed);
    let queue = builder(config).open(folder.file()).unwrap();
    let (done, file) = (AtomicBool::new(false), folder.file());
    let passes = std::thread::scope(|scope| {
        let checkpoints = scope.spawn(|| {
            let neighbour = Connection::open(&file).unwrap();
            let mut passes = 0_u64;
            while !done.load(Ordering::Relaxed) {
                let busy: i64 =
                    neighbour.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0)).unwrap();
                passes += u64::from(busy == 0);
            }
            passes
        });
        for n in 0..200 {
            let ids = queue.enqueue_all(&[Do::Ok(n), Do::Ok(n)]).unwrap();
            let alone = queue.enqueue(&Do::Ok(n)).unwrap().id();
            for id in ids.iter().map(|made| made.id()).chain([alone]) {
                assert_eq!(queue.wait(id, PATIENCE).unwrap().state, State::Succeeded);
                assert_eq!(queue.result::<Do>(id).unwrap(), Some(n));
            }
        }
        done.store(true, Ordering::Relaxed);
        checkpoints.join().unwrap()
    });
    assert!(passes > 0, "no checkpoint got through");
    report("neighbours", format_args!("{passes} foreign checkpoints between 600 tasks"));
    assert_eq!(queue.counts().unwrap().total().succeeded, 600);
    assert_sound(&queue);
}

/// Ends what is busy, however its test ends.
struct Calm(Arc<AtomicBool>);

impl Drop for Calm {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// The last handle closes the file: nobody else has it open then, and what lies in the WAL is in the file itself.
#[test]
fn a_queue_that_was_dropped_has_its_file_open_no_more() {
    let folder = Folder::new();
    let busy = Arc::new(AtomicBool::new(true));
    let _calm = Calm(busy.clone());
    let spinners: Vec<_> = (0..2)
        .map(|_| {
            let busy = busy.clone();
            std::thread::spawn(move || while busy.load(Ordering::Relaxed) {})
        })
        .collect();
    let left = (0..100).filter(|_| {
        let queue = Queue::builder().workers(2).handle(run).open(folder.file()).unwrap();
        queue.counts().unwrap();
        drop(queue);
        wal_of(&folder.file()).exists()
    });
    let left = left.count();
    busy.store(false, Ordering::Relaxed);
    spinners.into_iter().for_each(|spinner| spinner.join().unwrap());
    assert_eq!(left, 0, "times that a -wal was left");
}
