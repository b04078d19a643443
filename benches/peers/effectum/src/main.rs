//! effectum in the peers' benchmark.

use std::time::{Duration, Instant};

use effectum::{Error, Job, JobRunner, Queue, RunningJob, Worker};
use peers_common::{
    Args, Durability, Failed, Measured, REST, Report, Synchronous, WARM_UP, WORKERS, Work, bytes_written,
    large_text, skip,
};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::time::timeout;

#[derive(Serialize, Deserialize)]
struct Small {
    n: u64,
}

#[derive(Serialize, Deserialize)]
struct Large {
    text: String,
}

/// How often to ask the worker's counter: a millisecond does not show in a drain.
const LOOK: Duration = Duration::from_millis(1);
/// How long closing may take, and a handler's start.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where the answer about durability comes from.
const SOURCE: &str = "journal from the file, synchronous from the source";

fn main() {
    peers_common::main("effectum", include_str!("../Cargo.lock"), |args| {
        if args.full {
            return skip("effectum sets synchronous=NORMAL itself, on a connection that it keeps private");
        }
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        runtime.block_on(measure(args))
    });
}

async fn measure(args: &Args) -> Result<Report, Failed> {
    let mut queue = Queue::new(&args.file()).await?;
    let measured = match args.work {
        Work::EnqueueOne => {
            let started = Instant::now();
            for n in 0..args.tasks {
                Job::builder("small").json_payload(&Small { n })?.add_to(&queue).await?;
            }
            Measured::Rate(started.elapsed())
        }
        Work::EnqueueBatch => {
            let started = Instant::now();
            enqueue_small(args, &queue).await?;
            Measured::Rate(started.elapsed())
        }
        Work::Drain => {
            enqueue_small(args, &queue).await?;
            queue = reopened(args, queue).await?;
            Measured::Rate(drain(args, &queue, WORKERS as u16).await?)
        }
        Work::DrainWide => {
            enqueue_small(args, &queue).await?;
            queue = reopened(args, queue).await?;
            Measured::Rate(drain(args, &queue, peers_common::WIDE as u16).await?)
        }
        Work::OneAtATime => {
            enqueue_small(args, &queue).await?;
            queue = reopened(args, queue).await?;
            Measured::Rate(drain(args, &queue, 1).await?)
        }
        Work::Latency => latency(args, &queue).await?,
        Work::Args100k => {
            enqueue_large(args, &queue).await?;
            queue = reopened(args, queue).await?;
            let before = bytes_written()?;
            let took = drain(args, &queue, WORKERS as u16).await?;
            Measured::Bytes(took, bytes_written()? - before)
        }
    };
    queue.close(PATIENCE).await?;
    // `pragma_update(None, "synchronous", "normal")` in its local_queue.rs; its "journal" pragma is not one that SQLite knows.
    Ok(Report { measured, durability: Durability::from_file(args, Synchronous::Normal, SOURCE)?, note: None })
}

/// So that what the enqueueing left in memory is no part of a drain.
async fn reopened(args: &Args, queue: Queue) -> Result<Queue, Failed> {
    queue.close(PATIENCE).await?;
    Ok(Queue::new(&args.file()).await?)
}

async fn enqueue_small(args: &Args, queue: &Queue) -> Result<(), Failed> {
    for batch in args.batches() {
        let jobs = batch.map(|n| Ok(Job::builder("small").json_payload(&Small { n })?.build()));
        queue.add_jobs(jobs.collect::<Result<_, Error>>()?).await?;
    }
    Ok(())
}

async fn enqueue_large(args: &Args, queue: &Queue) -> Result<(), Failed> {
    let large = Large { text: large_text() };
    for batch in args.batches() {
        let jobs = batch.map(|_| Ok(Job::builder("large").json_payload(&large)?.build()));
        queue.add_jobs(jobs.collect::<Result<_, Error>>()?).await?;
    }
    Ok(())
}

/// From starting the worker until it has counted the last job, which it does after the result is committed.
async fn drain(args: &Args, queue: &Queue, concurrency: u16) -> Result<Duration, Failed> {
    let small = JobRunner::builder("small", |job: RunningJob, ()| async move {
        Ok::<_, Error>(job.json_payload::<Small>()?.n)
    })
    .build();
    let large = JobRunner::builder("large", |job: RunningJob, ()| async move {
        Ok::<_, Error>(job.json_payload::<Large>()?.text.len())
    })
    .build();
    let started = Instant::now();
    let worker = Worker::builder(queue, ()).max_concurrency(concurrency).jobs([small, large]).build().await?;
    while worker.counts().finished < args.tasks {
        tokio::time::sleep(LOOK).await;
    }
    let took = started.elapsed();
    worker.unregister(Some(PATIENCE)).await?;
    Ok(took)
}

async fn latency(args: &Args, queue: &Queue) -> Result<Measured, Failed> {
    let (started, mut starts) = mpsc::unbounded_channel();
    let small = JobRunner::builder("small", move |job: RunningJob, ()| {
        let started = started.clone();
        async move {
            started.send(Instant::now()).expect("the receiver outlives the worker");
            Ok::<_, Error>(job.json_payload::<Small>()?.n)
        }
    })
    .build();
    let worker = Worker::builder(queue, ()).max_concurrency(WORKERS as u16).jobs([small]).build().await?;
    let mut samples = Vec::new();
    for n in 0..WARM_UP + args.tasks {
        tokio::time::sleep(REST).await;
        let before = Instant::now();
        Job::builder("small").json_payload(&Small { n })?.add_to(queue).await?;
        let start = timeout(PATIENCE, starts.recv()).await?.ok_or("the worker ended")?;
        if n >= WARM_UP {
            samples.push(start - before);
        }
    }
    worker.unregister(Some(PATIENCE)).await?;
    Ok(Measured::Latency(samples))
}
