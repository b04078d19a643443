//! honker in the peers' benchmark. It is a queue without an executor: what runs here is the loop that its documentation shows.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use honker::{Database, EnqueueOpts, Queue, QueueOpts};
use peers_common::{
    Args, Durability, Failed, Measured, REST, Report, Synchronous, WARM_UP, WORKERS, Work, bytes_written,
    large_text, skip, timed,
};
use serde_json::{Value, json};

/// Jobs of one claim in a drain: the batch of the peer's own benchmarks.
const CLAIM: i64 = 128;
const NO_RESULTS: &str =
    "ack deletes the job; a result would be another commit (save_result) and is not stored";

fn main() {
    peers_common::main("honker", include_str!("../Cargo.lock"), measure);
}

fn measure(args: &Args) -> Result<Report, Failed> {
    if args.work == Work::DrainWide {
        return skip("honker has no executor: see drain");
    }
    let (mut db, mut queue) = open(args)?;
    let mut note = None;
    let measured = match args.work {
        Work::EnqueueOne => Measured::Rate(timed(|| {
            (0..args.tasks)
                .try_for_each(|n| queue.enqueue(&json!({ "n": n }), EnqueueOpts::default()).map(drop))
        })?),
        Work::EnqueueBatch => {
            note = Some("1,000 times enqueue_tx in a transaction".into());
            Measured::Rate(timed(|| enqueue(args, &db, &queue, |n| json!({ "n": n })))?)
        }
        Work::Drain => {
            note = Some(format!("claim_batch {CLAIM}, run, ack_batch on 2 threads; {NO_RESULTS}"));
            enqueue(args, &db, &queue, |n| json!({ "n": n }))?;
            (db, queue) = reopened(args, db, queue)?;
            Measured::Rate(drain(args, &queue)?)
        }
        Work::OneAtATime => {
            note = Some(format!("claim_one, run, ack; {NO_RESULTS}"));
            enqueue(args, &db, &queue, |n| json!({ "n": n }))?;
            (db, queue) = reopened(args, db, queue)?;
            Measured::Rate(one_at_a_time(args, &queue)?)
        }
        Work::Latency => {
            note = Some("a thread in ClaimWaker::next".into());
            latency(args, &queue)?
        }
        Work::Args100k => {
            note = Some(NO_RESULTS.into());
            let text = large_text();
            enqueue(args, &db, &queue, |_| json!({ "text": text }))?;
            (db, queue) = reopened(args, db, queue)?;
            let before = bytes_written()?;
            let took = drain(args, &queue)?;
            Measured::Bytes(took, bytes_written()? - before)
        }
        Work::DrainWide => unreachable!("skipped above"),
    };
    Ok(Report { measured, durability: durability(&db)?, note })
}

fn open(args: &Args) -> Result<(Database, Queue), Failed> {
    let db = Database::open(args.file())?;
    if args.full {
        db.with_conn(|connection| connection.execute_batch("PRAGMA synchronous = FULL"))?;
    }
    let queue = db.queue("bench", QueueOpts::default());
    Ok((db, queue))
}

/// So that what the enqueueing left in the WAL is no part of a drain.
fn reopened(args: &Args, db: Database, queue: Queue) -> Result<(Database, Queue), Failed> {
    drop((db, queue));
    open(args)
}

fn durability(db: &Database) -> Result<Durability, Failed> {
    let journal: String =
        db.with_conn(|connection| connection.query_row("PRAGMA journal_mode", [], |row| row.get(0)))?;
    let synchronous: i64 =
        db.with_conn(|connection| connection.query_row("PRAGMA synchronous", [], |row| row.get(0)))?;
    Ok(Durability::read_back(&journal, Synchronous::from_number(synchronous)?))
}

fn enqueue(args: &Args, db: &Database, queue: &Queue, payload: impl Fn(u64) -> Value) -> Result<(), Failed> {
    for batch in args.batches() {
        let transaction = db.transaction()?;
        for n in batch {
            queue.enqueue_tx(&transaction, &payload(n), EnqueueOpts::default())?;
        }
        transaction.commit()?;
    }
    Ok(())
}

/// Until the queue is empty. The threads share one connection: two would only wait for each other's locks.
fn drain(args: &Args, queue: &Queue) -> Result<Duration, Failed> {
    let started = Instant::now();
    let acked: i64 = std::thread::scope(|scope| {
        let names = ["worker-1", "worker-2"];
        let threads: Vec<_> = names[..WORKERS].iter().map(|name| scope.spawn(|| work(queue, name))).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().map_err(|_| Failed::from("a worker panicked"))?)
            .sum::<Result<_, _>>()
    })?;
    let took = started.elapsed();
    checked(args, acked, took)
}

fn work(queue: &Queue, name: &str) -> Result<i64, Failed> {
    let mut acked = 0;
    loop {
        let jobs = queue.claim_batch(name, CLAIM)?;
        if jobs.is_empty() {
            return Ok(acked);
        }
        let mut ids = Vec::with_capacity(jobs.len());
        for job in jobs {
            run(&job.payload_as()?);
            ids.push(job.id);
        }
        acked += queue.ack_batch(&ids, name)?;
    }
}

fn one_at_a_time(args: &Args, queue: &Queue) -> Result<Duration, Failed> {
    let started = Instant::now();
    let mut acked = 0;
    while let Some(job) = queue.claim_one("worker-1")? {
        run(&job.payload_as()?);
        acked += i64::from(job.ack()?);
    }
    checked(args, acked, started.elapsed())
}

fn checked(args: &Args, acked: i64, took: Duration) -> Result<Duration, Failed> {
    if acked == args.tasks as i64 {
        Ok(took)
    } else {
        Err(format!("{acked} of {} jobs were acknowledged", args.tasks).into())
    }
}

fn latency(args: &Args, queue: &Queue) -> Result<Measured, Failed> {
    let (started, starts) = mpsc::channel();
    let (waker, tasks) = (queue.claim_waker(), WARM_UP + args.tasks);
    let worker = std::thread::spawn(move || -> Result<(), Failed> {
        for _ in 0..tasks {
            let job = waker.next("worker-1")?.ok_or("the watcher ended")?;
            started.send(Instant::now())?;
            run(&job.payload_as()?);
            job.ack()?;
        }
        Ok(())
    });
    let mut samples = Vec::new();
    for n in 0..tasks {
        std::thread::sleep(REST);
        let before = Instant::now();
        queue.enqueue(&json!({ "n": n }), EnqueueOpts::default())?;
        let start = starts.recv_timeout(Duration::from_secs(10))?;
        if n >= WARM_UP {
            samples.push(start - before);
        }
    }
    worker.join().map_err(|_| "the worker panicked")??;
    Ok(Measured::Latency(samples))
}

/// The handler: as little as in the other programs.
fn run(payload: &Value) -> u64 {
    payload["n"].as_u64().or(payload["text"].as_str().map(|text| text.len() as u64)).unwrap_or_default()
}
