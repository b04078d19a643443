//! Roles that put a file under load until something ends them: what the harnesses that kill processes and cut the power start.
//!
//! A role is its name and options, divided by spaces. What it tells is understood by [`Told`](crate::told::Told).

use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use perdura::{Builder, Config, Context, Durability, Enqueued, Error, Failure, Options, Queue, Task};
use serde::{Deserialize, Serialize};

use crate::bounded;
use crate::child::{Wide, say};
#[cfg(feature = "rusqlite")]
use crate::deeds;

/// A task that says when it starts and ends. Each eleventh is large, each fifth fails the first time; `(run, n)` is unique.
#[derive(Serialize, Deserialize)]
pub struct Load {
    pub run: u64,
    pub n: u64,
    filler: String,
    /// It acts on tables of the program.
    #[serde(default)]
    is_deed: bool,
}

impl Load {
    pub fn new(run: u64, n: u64) -> Load {
        #[cfg(feature = "rusqlite")]
        let is_deed = deeds::is_one(n);
        #[cfg(not(feature = "rusqlite"))]
        let is_deed = false;
        Load { run, n, filler: "x".repeat(Load::size(n)), is_deed }
    }

    fn size(n: u64) -> usize {
        if n % 11 == 7 { 20_000 } else { 10 }
    }

    /// Whether the args are those that the task was made with.
    pub fn is_whole(&self) -> bool {
        self.filler.len() == Load::size(self.n) && self.filler.bytes().all(|b| b == b'x')
    }
}

impl Task for Load {
    const NAME: &'static str = "load";
    type Output = u64;
}

/// The error of an attempt that fails as told.
pub const AS_TOLD: &str = "as.told";

/// The handler of [`Load`].
pub fn load(task: Load, cx: &Context) -> Result<u64, Failure> {
    let (id, generation, Load { run, n, is_deed, .. }) = (cx.id(), cx.generation(), task);
    say!("start {id} {generation} {} {run} {n}", cx.attempt_number());
    std::thread::sleep(Duration::from_micros(n % 7 * 300));
    let fails = n % 5 == 3 && cx.attempt_number() == 1;
    #[cfg(feature = "rusqlite")]
    if is_deed {
        return deeds::run(run, n, fails, cx);
    }
    let _ = is_deed;
    say!("end {id} {generation} {}", u8::from(!fails));
    if fails { Err(Failure::named(AS_TOLD, "as told")) } else { Ok(n) }
}

/// How the load is run: nothing is deleted by age, retries come soon.
pub fn config() -> Config {
    Config::default()
        .workers(3)
        .retention(None)
        .poll_interval(Duration::from_millis(20))
        .retry_backoff(Duration::from_millis(3))
}

/// A queue that runs the load, and the runs of its schedules.
pub fn builder() -> Builder {
    Queue::builder().config(config()).handle(load).handle(bounded::run)
}

/// Runs the role of this name.
pub fn role(role: &str, file: &Path) {
    let words: Vec<&str> = role.split(' ').collect();
    let has = |option: &str| words.contains(&option);
    let durability = if has("relaxed") { Durability::Relaxed } else { Durability::Full };
    match words[0] {
        "work" => work(file, &Work { closes: has("closes"), chores: has("chores"), deeds: has("deeds") }),
        "ordered" => ordered(file, durability),
        "raw-without-syncs" => raw_without_syncs(file),
        "bare-fsync" => bare_fsync(file),
        "steady" => steady(file),
        "threads" => threads(file),
        "once" => once(file),
        #[cfg(target_os = "linux")]
        "clock" => crate::clock::role(file),
        #[cfg(target_os = "linux")]
        "soak" => crate::soak::role(file),
        #[cfg(unix)]
        "fork" => crate::forked::role(file),
        _ => panic!("no role {role}"),
    }
}

struct Work {
    /// The process shuts its queue down after a few milliseconds, and ends.
    closes: bool,
    /// WAL checkpoints and purges go on all the time.
    chores: bool,
    /// Tasks act on tables of the program in the same file.
    deeds: bool,
}

/// Enqueues from two threads, single tasks and batches of five, and lets a third make runs of schedules, while three workers run them.
fn work(file: &Path, work: &Work) {
    say!("opening");
    let queue = bounded::declare(builder()).share_as_found(work.deeds).open(file).unwrap();
    say!("open");
    let is_bounded = bounded::bound(&queue).is_ok() && (!work.deeds || begin_deeds(&queue)); // if not, nothing is enqueued
    let run = RandomState::new().hash_one(std::process::id());
    let (next, stop) = (AtomicU64::new(0), AtomicBool::new(!is_bounded));
    std::thread::scope(|scope| {
        for size in [1, 5] {
            let (queue, next, stop) = (&queue, &next, &stop);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed)
                    && enqueue(queue, run, next.fetch_add(size, Ordering::Relaxed), size, bounded::options)
                {
                }
            });
        }
        let (by_hand, is_over) = (&queue, &stop);
        scope.spawn(move || {
            while !is_over.load(Ordering::Relaxed) && bounded::run_by_hand(by_hand) {
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        if work.chores {
            let (queue, stop) = (&queue, &stop);
            scope.spawn(move || chores(queue, file, stop));
        }
        if work.closes {
            std::thread::sleep(Duration::from_millis(2 + run % 8));
            stop.store(true, Ordering::Relaxed);
        }
    });
    say!("closing");
    queue.shutdown(Duration::from_millis(run % 3)).unwrap();
    drop(queue);
    say!("closed");
}

#[cfg(feature = "rusqlite")]
use crate::deeds::begin as begin_deeds;

#[cfg(not(feature = "rusqlite"))]
fn begin_deeds(_: &Queue) -> bool {
    true
}

/// Makes tasks in one transaction; a single one together with a row of the program, if that has tables.
fn make(queue: &Queue, tasks: &[Load], options: fn(u64) -> Options) -> Result<Vec<Enqueued>, Error> {
    #[cfg(feature = "rusqlite")]
    if let ([task], true) = (tasks, deeds::are_on()) {
        return deeds::order(queue, task).map(|made| vec![made]);
    }
    queue.enqueue_all_with(tasks.iter().map(|task| (task, options(task.n))))
}

/// False if it failed.
fn enqueue(queue: &Queue, run: u64, first: u64, size: u64, options: fn(u64) -> Options) -> bool {
    let tasks: Vec<_> = (first..first + size).map(|n| Load::new(run, n)).collect();
    say!("try {run} {first} {size}");
    match make(queue, &tasks, options) {
        Ok(made) => {
            let ids: Vec<_> = made.iter().map(|m| m.id().to_string()).collect();
            say!("acked {run} {first} {}", ids.join(" "));
            true
        }
        Err(e) => {
            say!("failed {run} {first} {:?} {e}", e.outcome());
            false
        }
    }
}

/// Tasks that nothing bounds.
fn free(_: u64) -> Options {
    Options::new()
}

/// Enqueues and runs, and does not give up when that fails.
fn steady(file: &Path) {
    let queue = Queue::builder().config(config()).handle(load).open(file).unwrap();
    say!("open");
    let run = RandomState::new().hash_one(std::process::id());
    for n in 0.. {
        enqueue(&queue, run, n, 1, free);
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Opens the file where threads may be scarce, and runs what it can.
fn threads(file: &Path) {
    match Queue::builder().config(config()).handle(load).open(file) {
        Ok(queue) => {
            queue.drain().unwrap();
            say!("opened");
        }
        Err(e) => say!("refused {:?} {e}", e.kind()),
    }
}

/// A short life, begun when it is told to, in which any call may fail: opens, enqueues, runs, looks, closes, opens again.
fn once(file: &Path) {
    say!("ready");
    while !file.with_extension("go").exists() {
        std::thread::sleep(Duration::from_millis(2));
    }
    let run = RandomState::new().hash_one(std::process::id());
    let mut next = 0;
    for _ in 0..2 {
        match Queue::builder().config(config()).handle(load).open(file) {
            Ok(queue) => {
                for size in [1, 5, 1, 1, 5] {
                    next += size;
                    if !enqueue(&queue, run, next - size, size, free) {
                        break; // an unlock that failed keeps the file locked, and each further try waits for it
                    }
                }
                let until = std::time::Instant::now() + Duration::from_secs(2);
                while queue.counts().is_ok_and(|c| c.total().succeeded < next)
                    && std::time::Instant::now() < until
                {
                    std::thread::sleep(Duration::from_millis(2));
                }
                if let Err(e) = queue.check() {
                    say!("trouble blind {:?} {e}", e.kind());
                }
                if let Err(e) = queue.shutdown(Duration::from_secs(1)) {
                    say!("trouble {:?} {e}", e.kind());
                }
            }
            Err(e) => say!("trouble {:?} {e}", e.kind()),
        }
    }
    say!("over");
}

/// What other programs and people do to a file at the same time: WAL checkpoints of the harshest kind, and purges.
fn chores(queue: &Queue, file: &Path, stop: &AtomicBool) {
    let conn = rusqlite::Connection::open(file).unwrap();
    conn.busy_timeout(Duration::from_secs(1)).unwrap();
    while !stop.load(Ordering::Relaxed) {
        say!("checkpointing");
        conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
        say!("checkpointed");
        say!("purging");
        queue.purge(SystemTime::now()).unwrap();
        say!("purged");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Enqueues and cancels in turns on one thread, so that the order of the commits is known: with an even number a task is made, with
/// the next number it is cancelled. Sizes differ, so that WAL checkpoints come at different places.
fn ordered(file: &Path, durability: Durability) {
    let queue = Queue::builder().durability(durability).open(file).unwrap();
    say!("open");
    for n in (0..).step_by(2) {
        let text = "x".repeat(usize::try_from(n % 5 * 10_000).unwrap());
        let Ok(made) = queue.enqueue(&Wide { n, text }) else { break };
        say!("done {n}");
        if queue.cancel(made.id()).is_err() {
            break;
        }
        say!("done {}", n + 1);
    }
}

/// A bare loop of commits that nobody syncs.
fn raw_without_syncs(file: &Path) {
    let conn = rusqlite::Connection::open(file).unwrap();
    conn.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(())).unwrap();
    conn.execute_batch("PRAGMA synchronous = OFF; CREATE TABLE t (n INTEGER PRIMARY KEY, filler BLOB)")
        .unwrap();
    say!("open");
    for n in 0.. {
        if conn.execute("INSERT INTO t VALUES (?1, zeroblob(3000))", [n]).is_err() {
            break;
        }
        say!("done {n}");
    }
}

/// Blocks of one file, each written and synced: durability without any database. Each block is full of its number.
fn bare_fsync(file: &Path) {
    use std::io::Write;
    let mut file = std::fs::File::create(file).unwrap();
    say!("open");
    for n in 0.. {
        if file.write_all(&block(n)).is_err() || file.sync_all().is_err() {
            break;
        }
        say!("done {n}");
    }
}

/// What `bare-fsync` writes as its step `n`.
pub fn block(n: u64) -> Vec<u8> {
    n.to_le_bytes().repeat(512)
}
