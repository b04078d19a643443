//! rustqueue with its SQLite backend in the peers' benchmark.
//!
//! The library's worker, `run_worker`, belongs to the other backends: a `RustQueue` cannot be built on SQLite. What runs here is
//! the engine that it wraps, with the loop that the library's documentation shows: pull, run, ack.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use peers_common::{
    Args, Durability, Failed, Measured, Report, Synchronous, WORKERS, Work, bytes_written, large_text, skip,
};
use rustqueue::engine::queue::{BatchAckItem, BatchPushItem, QueueManager};
use rustqueue::storage::SqliteStorage;
use serde_json::{Value, json};

const QUEUE: &str = "bench";
/// Jobs of one pull in a drain.
const PULL: u32 = 100;

/// Where the answer about durability comes from.
const SOURCE: &str = "journal from the file, synchronous from the source";

fn main() {
    peers_common::main("rustqueue", include_str!("../Cargo.lock"), |args| {
        if args.full {
            return skip("rustqueue sets synchronous=NORMAL itself, on a connection that it keeps private");
        }
        match args.work {
            Work::Latency => {
                return skip(
                    "rustqueue has no worker and no wake-up for SQLite; its worker for redb polls each 500 ms",
                );
            }
            Work::DrainWide => return skip("rustqueue has no executor for SQLite: see drain"),
            _ => {}
        }
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        runtime.block_on(measure(args))
    });
}

async fn measure(args: &Args) -> Result<Report, Failed> {
    let mut manager = open(args)?;
    let mut note = None;
    let measured = match args.work {
        Work::EnqueueOne => {
            let started = Instant::now();
            for n in 0..args.tasks {
                manager.push(QUEUE, "small", json!({ "n": n }), None).await?;
            }
            Measured::Rate(started.elapsed())
        }
        Work::EnqueueBatch => {
            note = Some("push_batch: on SQLite it commits each job by itself".into());
            let started = Instant::now();
            enqueue_small(args, &manager).await?;
            Measured::Rate(started.elapsed())
        }
        Work::Drain => {
            note = Some(format!(
                "pull {PULL}, run, ack_batch in 2 loops; on SQLite ack_batch commits each job by itself"
            ));
            enqueue_small(args, &manager).await?;
            manager = reopened(args, manager)?;
            Measured::Rate(drain(args, &manager, WORKERS, PULL).await?)
        }
        Work::OneAtATime => {
            enqueue_small(args, &manager).await?;
            manager = reopened(args, manager)?;
            Measured::Rate(drain(args, &manager, 1, 1).await?)
        }
        Work::Args100k => {
            let payload = json!({ "text": large_text() });
            for batch in args.batches() {
                manager.push_batch(QUEUE, batch.map(|_| item("large", payload.clone())).collect()).await?;
            }
            manager = reopened(args, manager)?;
            let before = bytes_written()?;
            let took = drain(args, &manager, WORKERS, PULL).await?;
            Measured::Bytes(took, bytes_written()? - before)
        }
        Work::Latency | Work::DrainWide => unreachable!("skipped above"),
    };
    Ok(Report { measured, durability: Durability::from_file(args, Synchronous::Normal, SOURCE)?, note })
}

fn open(args: &Args) -> Result<Arc<QueueManager>, Failed> {
    Ok(Arc::new(QueueManager::new(Arc::new(SqliteStorage::new(args.file())?))))
}

/// So that what the enqueueing left in the WAL is no part of a drain.
fn reopened(args: &Args, manager: Arc<QueueManager>) -> Result<Arc<QueueManager>, Failed> {
    drop(manager);
    open(args)
}

fn item(name: &str, data: Value) -> BatchPushItem {
    BatchPushItem { name: name.into(), data, options: None }
}

async fn enqueue_small(args: &Args, manager: &QueueManager) -> Result<(), Failed> {
    for batch in args.batches() {
        manager.push_batch(QUEUE, batch.map(|n| item("small", json!({ "n": n }))).collect()).await?;
    }
    Ok(())
}

/// Until the queue is empty, by so many loops that pull so many jobs at a time.
async fn drain(
    args: &Args,
    manager: &Arc<QueueManager>,
    loops: usize,
    pull: u32,
) -> Result<Duration, Failed> {
    let done = Arc::new(AtomicU64::new(0));
    let started = Instant::now();
    let workers: Vec<_> =
        (0..loops).map(|_| tokio::spawn(work(manager.clone(), done.clone(), pull))).collect();
    for worker in workers {
        worker.await??;
    }
    let took = started.elapsed();
    match done.load(Ordering::Relaxed) {
        done if done == args.tasks => Ok(took),
        done => Err(format!("{done} of {} jobs were acknowledged", args.tasks).into()),
    }
}

async fn work(manager: Arc<QueueManager>, done: Arc<AtomicU64>, pull: u32) -> Result<(), Failed> {
    loop {
        let jobs = manager.pull(QUEUE, pull).await?;
        if jobs.is_empty() {
            return Ok(());
        }
        let results = jobs.into_iter().map(|job| BatchAckItem { id: job.id, result: Some(run(&job.data)) });
        let acked = manager.ack_batch(results.collect()).await?;
        done.fetch_add(acked.iter().filter(|ack| ack.ok).count() as u64, Ordering::Relaxed);
    }
}

/// The handler: as little as in the other programs.
fn run(data: &Value) -> Value {
    data["n"].as_u64().or(data["text"].as_str().map(|text| text.len() as u64)).into()
}
