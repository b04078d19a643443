//! apalis with apalis-sqlite in the peers' benchmark.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use apalis::prelude::*;
use apalis_sqlite::{Config, SqliteConnectOptions, SqlitePool, SqliteStorage};
use peers_common::{
    Args, Durability, Failed, Measured, REST, Report, Synchronous, WARM_UP, WIDE, WORKERS, Work,
    bytes_written, large_text,
};
use serde::{Deserialize, Serialize};
use sqlx::sqlite::SqliteSynchronous;
use tokio::sync::mpsc::{self, UnboundedSender};
use tokio::time::timeout;

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Small {
    n: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Large {
    text: String,
}

fn main() {
    peers_common::main("apalis-sqlite", include_str!("../Cargo.lock"), |args| {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        runtime.block_on(measure(args))
    });
}

async fn measure(args: &Args) -> Result<Report, Failed> {
    if args.work == Work::Latency {
        return latency(args).await;
    }
    let mut pool = open(args).await?;
    let mut small = SqliteStorage::<Small>::new(&pool);
    let measured = match args.work {
        Work::EnqueueOne => {
            let started = Instant::now();
            for n in 0..args.tasks {
                small.push(Small { n }).await?;
            }
            Measured::Rate(started.elapsed())
        }
        Work::EnqueueBatch => {
            let started = Instant::now();
            enqueue_small(args, &mut small).await?;
            Measured::Rate(started.elapsed())
        }
        Work::Drain => {
            enqueue_small(args, &mut small).await?;
            pool = reopened(args, pool).await?;
            Measured::Rate(drain_small(args, SqliteStorage::new(&pool), WORKERS, None).await?)
        }
        Work::DrainWide => {
            enqueue_small(args, &mut small).await?;
            pool = reopened(args, pool).await?;
            Measured::Rate(drain_small(args, SqliteStorage::new(&pool), WIDE, Some(WIDE)).await?)
        }
        Work::OneAtATime => {
            enqueue_small(args, &mut small).await?;
            pool = reopened(args, pool).await?;
            Measured::Rate(drain_small(args, SqliteStorage::new(&pool), 1, Some(1)).await?)
        }
        Work::Args100k => {
            let mut large = SqliteStorage::<Large>::new(&pool);
            let payload = Large { text: large_text() };
            for batch in args.batches() {
                large.push_bulk(batch.map(|_| payload.clone()).collect()).await?;
            }
            pool = reopened(args, pool).await?;
            let before = bytes_written()?;
            let took = drain_large(args, SqliteStorage::new(&pool)).await?;
            Measured::Bytes(took, bytes_written()? - before)
        }
        Work::Latency => unreachable!("it has a pool of its own, see above"),
    };
    report(&pool, measured, None).await
}

fn url(args: &Args) -> String {
    format!("sqlite://{}?mode=rwc", args.file().display())
}

/// The pool that the worker uses. `setup` sets `synchronous=OFF` on whichever connection it gets: for FULL it runs on a pool of
/// its own, and the worker is handed connections on which nobody has changed the setting.
async fn open(args: &Args) -> Result<SqlitePool, Failed> {
    let pool = SqlitePool::connect(&url(args)).await?;
    SqliteStorage::setup(&pool).await?;
    if !args.full {
        return Ok(pool);
    }
    pool.close().await;
    let options = SqliteConnectOptions::new().filename(args.file()).synchronous(SqliteSynchronous::Full);
    Ok(SqlitePool::connect_with(options).await?)
}

/// So that what the enqueueing left in the WAL is no part of a drain.
async fn reopened(args: &Args, pool: SqlitePool) -> Result<SqlitePool, Failed> {
    pool.close().await;
    open(args).await
}

/// Asks each connection of the pool, and takes the weakest answer.
async fn report(pool: &SqlitePool, measured: Measured, note: Option<&str>) -> Result<Report, Failed> {
    // A connection comes back to the pool a moment after its last use.
    let patience = Instant::now() + Duration::from_secs(5);
    while pool.num_idle() < pool.size() as usize && Instant::now() < patience {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let mut connections = Vec::new();
    while let Some(connection) = pool.try_acquire() {
        connections.push(connection);
    }
    let (mut journal, mut settings) = (String::new(), Vec::new());
    for connection in &mut connections {
        journal = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&mut **connection).await?;
        let number: i64 = sqlx::query_scalar("PRAGMA synchronous").fetch_one(&mut **connection).await?;
        settings.push(Synchronous::from_number(number)?);
    }
    if settings.len() < pool.size() as usize {
        return Err(format!("{} of {} connections answered", settings.len(), pool.size()).into());
    }
    let weakest = *settings.iter().min().ok_or("the pool has no idle connection to ask")?;
    let mixed = weakest != Synchronous::Full && settings.contains(&Synchronous::Full);
    let mixed = mixed.then(|| {
        format!("{} where setup has run, FULL on the other connections of the pool", weakest.name())
    });
    let notes: Vec<String> = note.map(String::from).into_iter().chain(mixed).collect();
    let note = (!notes.is_empty()).then(|| notes.join("; "));
    Ok(Report { measured, durability: Durability::read_back(&journal, weakest), note })
}

async fn enqueue_small(args: &Args, storage: &mut SqliteStorage<Small>) -> Result<(), Failed> {
    for batch in args.batches() {
        storage.push_bulk(batch.map(|n| Small { n }).collect()).await?;
    }
    Ok(())
}

/// Stops the worker once the last task has run.
#[derive(Debug, Clone)]
struct Countdown(Arc<AtomicU64>);

impl Countdown {
    fn count(&self, worker: &WorkerContext) -> Result<(), BoxDynError> {
        if self.0.fetch_sub(1, Ordering::Relaxed) == 1 {
            worker.stop()?;
        }
        Ok(())
    }
}

async fn run_small(
    task: Small,
    countdown: Data<Countdown>,
    worker: WorkerContext,
) -> Result<u64, BoxDynError> {
    countdown.count(&worker)?;
    Ok(task.n)
}

async fn run_large(
    task: Large,
    countdown: Data<Countdown>,
    worker: WorkerContext,
) -> Result<usize, BoxDynError> {
    countdown.count(&worker)?;
    Ok(task.text.len())
}

/// From starting the worker until it has stopped, which it does after the last result is stored.
async fn drain_small(
    args: &Args,
    storage: SqliteStorage<Small>,
    concurrency: usize,
    batch: Option<usize>,
) -> Result<Duration, Failed> {
    let pool = storage.pool().clone();
    let storage = match batch {
        // The default configuration but for the batch: the queue is named after the type.
        Some(batch) => {
            storage.with_config(Config::default().queue(std::any::type_name::<Small>()).batch_size(batch))
        }
        None => storage,
    };
    let started = Instant::now();
    WorkerBuilder::new("small-worker")
        .backend(storage)
        .data(Countdown(Arc::new(AtomicU64::new(args.tasks))))
        .concurrency(concurrency)
        .build(run_small)
        .run()
        .await?;
    finished(args, &pool, started).await
}

async fn drain_large(args: &Args, storage: SqliteStorage<Large>) -> Result<Duration, Failed> {
    let pool = storage.pool().clone();
    let started = Instant::now();
    WorkerBuilder::new("large-worker")
        .backend(storage)
        .data(Countdown(Arc::new(AtomicU64::new(args.tasks))))
        .concurrency(WORKERS)
        .build(run_large)
        .run()
        .await?;
    finished(args, &pool, started).await
}

/// The time taken, if the file agrees that all is done.
async fn finished(args: &Args, pool: &SqlitePool, started: Instant) -> Result<Duration, Failed> {
    let took = started.elapsed();
    let done: i64 =
        sqlx::query_scalar("SELECT count(*) FROM Jobs WHERE status = 'Done'").fetch_one(pool).await?;
    if done as u64 == args.tasks {
        Ok(took)
    } else {
        Err(format!("the worker stopped with {done} of {} tasks done in the file", args.tasks).into())
    }
}

async fn run_sample(task: Small, started: Data<UnboundedSender<Instant>>) -> Result<u64, BoxDynError> {
    started.send(Instant::now())?;
    Ok(task.n)
}

/// With the storage that SQLite's update hook wakes: the peer's choice for low latency.
async fn latency(args: &Args) -> Result<Report, Failed> {
    let (pool, listener) = SqliteStorage::connect_with_callback(&url(args))?;
    if args.full {
        // The connections of this pool keep SQLite's own default, FULL, if `setup` does not touch them.
        let other = SqlitePool::connect(&url(args)).await?;
        SqliteStorage::setup(&other).await?;
        other.close().await;
    } else {
        SqliteStorage::setup(&pool).await?;
    }
    let mut storage = SqliteStorage::<Small>::new(&pool);
    let backend = storage.clone().with_callback(listener);
    let (started, mut starts) = mpsc::unbounded_channel::<Instant>();
    let worker = WorkerBuilder::new("sample-worker")
        .backend(backend)
        .data(started)
        .concurrency(WORKERS)
        .build(run_sample);
    tokio::spawn(async move { worker.run().await });
    let mut samples = Vec::new();
    for n in 0..WARM_UP + args.tasks {
        tokio::time::sleep(REST).await;
        let before = Instant::now();
        storage.push(Small { n }).await?;
        let start = timeout(Duration::from_secs(10), starts.recv()).await?.ok_or("the worker ended")?;
        if n >= WARM_UP {
            samples.push(start - before);
        }
    }
    report(&pool, Measured::Latency(samples), Some("woken by SQLite's update hook")).await
}
