//! Load without end: what a process holds on to must not grow with what it has done.

use std::path::Path;
use std::time::{Duration, SystemTime};

use perdura::{Config, Context, Failure, Filter, Options, Queue, State, Task, TaskId};
use serde::{Deserialize, Serialize};

use crate::child::{Child, say};
use crate::support::*;

/// Seconds in each CI run. The first quarter is not counted: caches fill.
const SECONDS: u64 = 20;
/// Memory may grow by so much after the first quarter: allocators and caches breathe.
const GROWTH_KIB: u64 = 4 * 1024;
/// A long run must not grow by more an hour.
const GROWTH_KIB_AN_HOUR: f64 = 1024.0;
/// The WAL is checkpointed from 4 MiB on, and by the writer at 64 MiB at the latest.
const WAL_LIMIT: u64 = 72 << 20;
/// The oldest ready task is another one before so many reports, each of eight rounds that drained the queue. How long that takes is the
/// machine's affair.
const STUCK: usize = 3;

#[derive(Serialize, Deserialize)]
struct Grain {
    n: u64,
    filler: String,
}

impl Task for Grain {
    const NAME: &'static str = "grain";
    type Output = String;
}

fn grind(task: Grain, cx: &Context) -> Result<String, Failure> {
    match task.n % 10 {
        3 if cx.attempt_number() == 1 => Err(Failure::named("as.told", "as told")),
        7 => Err(Failure::permanent("as told")),
        9 if cx.attempt_number() == 1 => panic!("as told"),
        _ => Ok(task.filler),
    }
}

/// Enqueues, runs, fails, retries, moves to the dead letters and purges: each round leaves nothing behind.
pub fn role(file: &Path) {
    std::panic::set_hook(Box::new(|_| {}));
    let config = Config::default().workers(2).retry_backoff(Duration::from_millis(20));
    let queue = Queue::builder().config(config).handle(grind).open(file).unwrap();
    say!("open");
    for round in 0_u64.. {
        for n in 0..40 {
            let filler = "x".repeat(if n == 5 { 30_000 } else { 50 });
            let task = Grain { n, filler };
            let options =
                if n % 4 == 0 { Options::new().unique(format!("{round}-{n}")) } else { Options::new() };
            let _ = queue.enqueue_with(&task, options).unwrap();
        }
        queue.drain().unwrap();
        if round % 8 == 0 {
            let failed = Filter::new().state(State::Failed);
            let _ = queue.retry_all(failed.clone().limit(3)).unwrap();
            let _ = queue.move_to_dead_letters(failed).unwrap();
            queue.dead_letters().purge(SystemTime::now()).unwrap();
            queue.purge(SystemTime::now()).unwrap();
            assert!(queue.check().unwrap().is_ok());
            say!("round {round}");
        }
    }
}

/// What a process and its file hold.
#[derive(Debug, Clone, Copy)]
struct Sample {
    memory_kib: u64,
    descriptors: usize,
    threads: usize,
    wal: u64,
    file: u64,
    oldest: Option<TaskId>,
    /// Reports of the process until then.
    reports: usize,
}

fn sample(process: u32, queue: &Queue, reports: usize) -> Sample {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.split_whitespace().next().unwrap().parse::<u64>().unwrap()
    };
    let path = |suffix: &str| {
        let mut path = queue.path().as_os_str().to_owned();
        path.push(suffix);
        std::fs::metadata(path).map_or(0, |m| m.len())
    };
    let ready = queue.tasks(Filter::new().state(State::Queued).limit(1)).unwrap();
    Sample {
        memory_kib: field("VmRSS:"),
        descriptors: std::fs::read_dir(format!("/proc/{process}/fd")).unwrap().count(),
        threads: usize::try_from(field("Threads:")).unwrap(),
        wal: path("-wal"),
        file: path(""),
        oldest: ready.first().map(|task| task.task_id),
        reports,
    }
}

#[test]
fn what_is_held_does_not_grow_with_what_was_done() {
    let folder = Folder::new();
    let child = Child::start("soak", &folder.file()).listen();
    child.await_line(|line| line.starts_with("round"));
    let queue = Queue::builder().open(folder.file()).unwrap();
    let (mut samples, mut rounds_done) = (Vec::new(), 0);
    for _ in rounds(SECONDS) {
        std::thread::sleep(SECOND);
        samples.push(sample(child.process_id(), &queue, rounds_done));
        let said = child.take();
        assert!(!said.is_empty() || samples.len() < 10 || rounds_done > 0, "it stands still");
        rounds_done += said.len();
    }
    child.kill();
    let later = &samples[samples.len() / 4..];
    let (half, rest) = later.split_at(later.len() / 2);
    let most = |part: &[Sample], of: fn(&Sample) -> u64| part.iter().map(of).max().unwrap();
    let least_memory = |part: &[Sample]| part.iter().map(|s| s.memory_kib).min().unwrap();
    let (before, after) = (least_memory(half), least_memory(rest));
    let hours = later.len() as f64 / 2.0 / 3600.0;
    let newest = samples.last().unwrap();
    report(
        "soak",
        format_args!(
            "{} s, {} tasks; memory {before} KiB, then {after} KiB; WAL at most {} bytes, file {} bytes; at the end {newest:?}",
            samples.len(),
            rounds_done * 8 * 40,
            most(&samples, |s| s.wal),
            most(&samples, |s| s.file),
        ),
    );
    let grown = after.saturating_sub(before);
    let allowed = GROWTH_KIB.max((GROWTH_KIB_AN_HOUR * hours) as u64);
    assert!(grown <= allowed, "memory grows: {before} KiB, then {after} KiB in {hours:.2} h");
    let descriptors: Vec<_> = later.iter().map(|s| s.descriptors).collect();
    // SQLite keeps the descriptor of a connection that is closed while others have locks, and gives it to the next: from the first time on, which may
    // come late on a busy machine, there is one more.
    let (first, last) = (descriptors[0], descriptors[descriptors.len() - 1]);
    let stays = descriptors.is_sorted() && last - first <= 1;
    assert!(stays, "descriptors come and go: {descriptors:?}");
    assert!(later.iter().all(|s| s.threads == later[0].threads), "threads come and go");
    assert!(most(&samples, |s| s.wal) < WAL_LIMIT, "the WAL grows: {newest:?}");
    let (file_before, file_after) = (most(half, |s| s.file), most(rest, |s| s.file));
    assert!(file_after <= file_before + (2 << 20), "the file grows: {file_before}, then {file_after} bytes");
    for (i, first) in samples.iter().enumerate() {
        let same = samples[i..].iter().take_while(|s| s.oldest.is_some() && s.oldest == first.oldest);
        let waited = same.last().map_or(0, |last| last.reports - first.reports);
        assert!(waited < STUCK, "a ready task is stuck: {first:?}");
    }
    assert!(rounds_done > 2, "only {rounds_done} rounds");
    assert_sound(&queue);
}
