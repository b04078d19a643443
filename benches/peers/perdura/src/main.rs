//! perdura in the peers' benchmark. Its default is `synchronous=FULL`; `--relaxed` measures the other setting.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use peers_common::{
    Args, Durability, Failed, Measured, REST, Report, Synchronous, WARM_UP, WIDE, WORKERS, Work,
    bytes_written, large_text, timed,
};
use perdura::testing::{ManualClock, SteppedQueue};
use perdura::{Builder, Durability as Setting, Queue, Task};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Small {
    n: u64,
}

impl Task for Small {
    const NAME: &'static str = "small";
    type Output = u64;
}

#[derive(Serialize, Deserialize)]
struct Large {
    text: String,
}

impl Task for Large {
    const NAME: &'static str = "large";
    type Output = usize;
}

/// Where the answer about durability comes from.
const SOURCE: &str = "journal from the file; perdura reads synchronous back when it opens";

fn main() {
    peers_common::main("perdura", include_str!("../Cargo.lock"), measure);
}

fn measure(args: &Args) -> Result<Report, Failed> {
    let mut note = None;
    let measured = match args.work {
        Work::EnqueueOne => {
            let queue = builder(args).open(args.file())?;
            let mut tasks = 0..args.tasks;
            Measured::Rate(timed(|| tasks.try_for_each(|n| queue.enqueue(&Small { n }).map(drop)))?)
        }
        Work::EnqueueBatch => {
            let queue = builder(args).open(args.file())?;
            Measured::Rate(timed(|| enqueue_small(args, &queue))?)
        }
        Work::Drain => {
            enqueue_small(args, &builder(args).open(args.file())?)?;
            Measured::Rate(drain(args, WORKERS)?.1)
        }
        Work::DrainWide => {
            enqueue_small(args, &builder(args).open(args.file())?)?;
            Measured::Rate(drain(args, WIDE)?.1)
        }
        Work::OneAtATime => {
            note = Some("through the stepped queue: the threads would claim short tasks ahead".into());
            one_at_a_time(args)?
        }
        Work::Latency => latency(args)?,
        Work::Args100k => {
            enqueue_large(args, &builder(args).open(args.file())?)?;
            let before = bytes_written()?;
            let (_queue, took) = drain(args, WORKERS)?;
            Measured::Bytes(took, bytes_written()? - before)
        }
    };
    // perdura reads the setting back on each of its connections, and does not open if it is another.
    let synchronous = if args.relaxed { Synchronous::Normal } else { Synchronous::Full };
    Ok(Report { measured, durability: Durability::from_file(args, synchronous, SOURCE)?, note })
}

fn builder(args: &Args) -> Builder {
    Queue::builder().durability(if args.relaxed { Setting::Relaxed } else { Setting::Full })
}

fn enqueue_small(args: &Args, queue: &Queue) -> Result<(), Failed> {
    for batch in args.batches() {
        let tasks: Vec<Small> = batch.map(|n| Small { n }).collect();
        queue.enqueue_all(&tasks)?;
    }
    Ok(())
}

fn enqueue_large(args: &Args, queue: &Queue) -> Result<(), Failed> {
    let large = Large { text: large_text() };
    for batch in args.batches() {
        queue.enqueue_all(batch.map(|_| &large))?;
    }
    Ok(())
}

/// From opening the file with handlers, which starts the threads, until the last task is settled. The queue is still open, as the
/// other programs' are: closing writes the WAL into the file.
fn drain(args: &Args, workers: usize) -> Result<(Queue, Duration), Failed> {
    let builder = builder(args)
        .workers(workers)
        .handle(|task: Small, _| Ok(task.n))
        .handle(|task: Large, _| Ok(task.text.len()));
    let started = Instant::now();
    let queue = builder.open(args.file())?;
    queue.drain()?;
    let took = started.elapsed();
    let succeeded = queue.counts()?.total().succeeded;
    if succeeded != args.tasks {
        return Err(format!("{succeeded} of {} tasks have succeeded", args.tasks).into());
    }
    Ok((queue, took))
}

fn one_at_a_time(args: &Args) -> Result<Measured, Failed> {
    enqueue_small(args, &builder(args).open(args.file())?)?;
    let clock = ManualClock::new();
    let builder = builder(args).clock(clock.clone()).workers(1).handle(|task: Small, _| Ok(task.n));
    let stepped = SteppedQueue::open_file(builder, &clock, args.file())?;
    let took = timed(|| {
        let mut ran = 0;
        while stepped.run_one()?.is_some() {
            ran += 1;
        }
        if ran == args.tasks { Ok(()) } else { Err(Failed::from(format!("{ran} tasks ran"))) }
    })?;
    Ok(Measured::Rate(took))
}

fn latency(args: &Args) -> Result<Measured, Failed> {
    let (started, starts) = mpsc::channel();
    let handler = move |task: Small, _: &perdura::Context| {
        started.send(Instant::now()).expect("the receiver outlives the queue");
        Ok(task.n)
    };
    let queue = builder(args).workers(WORKERS).handle(handler).open(args.file())?;
    let mut samples = Vec::new();
    for n in 0..WARM_UP + args.tasks {
        std::thread::sleep(REST);
        let before = Instant::now();
        let _ = queue.enqueue(&Small { n })?;
        let start = starts.recv_timeout(Duration::from_secs(10))?;
        if n >= WARM_UP {
            samples.push(start - before);
        }
    }
    Ok(Measured::Latency(samples))
}
