//! Full load for a long time: how large the WAL gets, with a long reader present too, and the tails of what callers wait for.

use std::error::Error;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use perdura::Durability::{Full, Relaxed};
use perdura::{Durability, Queue};
use rusqlite::Connection;

use crate::Asked;
use crate::measure::Rounds;
use crate::probe::{Probe, Waits};
use crate::report::{Report, Row, Target};
use crate::work::{Noop, Scratch, name_of, noop};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Tasks that may wait before the producers rest: the drain is what limits the load, not the memory of the machine.
const MOST_WAITING: u64 = 20_000;

/// How long a reader keeps its snapshot, and then rests.
const READS: Duration = Duration::from_secs(10);

/// What came of a soak.
struct Soaked {
    tasks: u64,
    /// Of single tasks beside the load.
    waits: Waits,
    largest_wal: u64,
    final_wal: u64,
}

fn soak(asked: &Asked, durability: Durability, time: Duration, long_reader: bool) -> Outcome<Soaked> {
    let scratch = Scratch::new(&asked.dir);
    let builder = Queue::builder().durability(durability).workers(2).handle(noop);
    let probe = Probe::open(builder, |builder| builder.open(scratch.path()))?;
    let (over, largest) = (AtomicBool::new(false), AtomicU64::new(0));
    let (tasks, waits) = thread::scope(|scope| -> Outcome<(u64, Waits)> {
        let ends = SetOnDrop(&over);
        let watcher = scope.spawn(|| {
            while !over.load(Ordering::Acquire) {
                largest.fetch_max(scratch.bytes_of("-wal"), Ordering::AcqRel);
                thread::sleep(Duration::from_millis(20));
            }
        });
        let reader = scope.spawn(|| -> rusqlite::Result<()> {
            let conn = Connection::open(scratch.path())?;
            while long_reader && !over.load(Ordering::Acquire) {
                conn.execute_batch("BEGIN; SELECT count(*) FROM perdura_meta")?;
                rest(READS, &over);
                conn.execute_batch("COMMIT")?;
                rest(READS, &over);
            }
            Ok(())
        });
        let bulk = scope.spawn(|| load(&probe.queue, &over));
        let began = Instant::now();
        let waits = probe.lives(Duration::from_millis(2), || began.elapsed() < time)?;
        drop(ends);
        watcher.join().map_err(|_| "the watcher panicked")?;
        reader.join().map_err(|_| "the reader panicked")??;
        let tasks = bulk.join().map_err(|_| "the producer panicked")??;
        Ok((tasks + waits.len() as u64, waits))
    })?;
    probe.queue.drain()?;
    thread::sleep(Duration::from_secs(3));
    Ok(Soaked { tasks, waits, largest_wal: largest.into_inner(), final_wal: scratch.bytes_of("-wal") })
}

/// Ends the other threads, also when this one fails.
struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

fn rest(time: Duration, over: &AtomicBool) {
    let until = Instant::now() + time;
    while Instant::now() < until && !over.load(Ordering::Acquire) {
        thread::sleep(Duration::from_millis(50));
    }
}

/// Keeps the workers busy.
fn load(queue: &Queue, over: &AtomicBool) -> Result<u64, perdura::Error> {
    let (batch, mut made): (Vec<Noop>, u64) = ((0..500).map(|n| Noop { n }).collect(), 0);
    while !over.load(Ordering::Acquire) {
        let waiting: u64 = queue.counts()?.queues.values().map(|q| q.ready).sum();
        if waiting > MOST_WAITING {
            thread::sleep(Duration::from_millis(5));
            continue;
        }
        queue.enqueue_all(&batch)?;
        made += batch.len() as u64;
    }
    Ok(made)
}

pub fn run(asked: &Asked, minutes: u64, report: &mut Report) -> Outcome<()> {
    let time = Duration::from_secs(minutes * 60) / 4;
    for durability in [Full, Relaxed] {
        for long_reader in [false, true] {
            let soaked = soak(asked, durability, time, long_reader)?;
            let beside = if long_reader { "with a 10 s reader" } else { "no reader" };
            println!("{} tasks in {} s, {} {beside}", soaked.tasks, time.as_secs(), name_of(durability));
            let mut row = |name: &str, unit, figure: f64, target| {
                report.row(Row {
                    name: format!("full load, {beside}: {name}"),
                    synchronous: name_of(durability),
                    unit,
                    raw: None,
                    perdura: Rounds(vec![figure]),
                    judged: Rounds(vec![figure]),
                    target,
                });
            };
            row(
                "tasks a second through the whole queue",
                "tasks/s",
                soaked.tasks as f64 / time.as_secs_f64(),
                Target::None,
            );
            for (name, figure) in soaked.waits.percentiles() {
                row(&name, "µs", figure, Target::None);
            }
            // Without a reader that keeps it from starting again, the WAL is bounded: 4 MiB, and what comes while it is copied.
            let bound = if long_reader { Target::None } else { Target::AtMost(16.0) };
            row("largest WAL", "MB", soaked.largest_wal as f64 / 1e6, bound);
            row("WAL 3 s after the load", "MB", soaked.final_wal as f64 / 1e6, Target::None);
        }
    }
    Ok(())
}
