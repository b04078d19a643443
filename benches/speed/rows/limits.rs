//! What limits of keys cost: a drain of serial tasks, and the end of a task for which many others wait.

use std::error::Error;
use std::time::{Duration, Instant};

use perdura::Durability::{Full, Relaxed};
use perdura::testing::{ManualClock, SteppedQueue};
use perdura::{Options, Queue};

use crate::Asked;
use crate::measure::{Rounds, rate};
use crate::report::{Report, Row, Target};
use crate::work::{Noop, Scratch, noop, producer, runner};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Tasks of a drain.
const TASKS: usize = 10_000;
/// Keys that serial tasks have.
const KEYS: u64 = 1_000;
/// Permits that a key may have at most.
const MOST_PERMITS: u32 = 256;

/// Enqueues so many tasks with options of their own, a thousand in a transaction.
fn fill_with(queue: &Queue, tasks: usize, options: impl Fn(u64) -> Options) -> Outcome<()> {
    for first in (0..tasks).step_by(1000) {
        let batch: Vec<Noop> = (first..tasks.min(first + 1000)).map(|n| Noop { n: n as u64 }).collect();
        queue.enqueue_all_with(batch.iter().map(|task| (task, options(task.n))))?;
    }
    Ok(())
}

/// Tasks a second of a drain by 2 workers.
fn drained(asked: &Asked, options: impl Fn(u64) -> Options) -> Outcome<f64> {
    let scratch = Scratch::new(&asked.dir);
    fill_with(&producer(scratch.path(), Full)?, TASKS, options)?;
    let mut drained = None;
    let rate = rate(TASKS, || {
        let queue = runner(scratch.path(), Full, 2)?;
        queue.drain()?;
        drained = Some(queue);
        Ok(())
    })?;
    let counts = drained.ok_or("the queue is gone")?.counts()?;
    assert_eq!(counts.total().succeeded, TASKS as u64, "every task ran");
    Ok(rate)
}

/// Tasks with a serial key, or with one that has many permits, against tasks with none.
pub fn drains(asked: &Asked, report: &mut Report) -> Outcome<()> {
    let [mut free, mut serial, mut many] = [(); 3].map(|()| Rounds::default());
    for _ in 0..asked.rounds {
        free.0.push(drained(asked, |_| Options::new())?);
        serial.0.push(drained(asked, |n| Options::new().serial(format!("key {}", n % KEYS)))?);
        many.0.push(drained(asked, |_| Options::new().limit("key", MOST_PERMITS))?);
    }
    for (what, ours, target) in [
        (format!("serial over {KEYS} keys"), serial, Target::AtLeast(0.5)),
        (format!("of one key with {MOST_PERMITS} permits"), many, Target::None),
    ] {
        report.row(Row {
            name: format!("drain of {TASKS} no-op tasks {what}; raw: perdura without"),
            synchronous: "FULL",
            unit: "tasks/s",
            judged: ours.over(&free),
            raw: Some(free.clone()),
            perdura: ours,
            target,
        });
    }
    Ok(())
}

/// A queue in which all tasks are serial with the same key.
struct Line {
    stepped: SteppedQueue,
    _scratch: Scratch,
}

/// The options of tasks of which one is ready while the others wait for it.
fn serial(_: u64) -> Options {
    Options::new().serial("the key")
}

impl Line {
    fn with_waiters(asked: &Asked, waiters: usize) -> Outcome<Line> {
        let scratch = Scratch::new(&asked.dir);
        fill_with(&producer(scratch.path(), Relaxed)?, waiters + 1, serial)?;
        std::fs::File::open(scratch.path())?.sync_all()?; // nothing that is measured waits for it
        let clock = ManualClock::new();
        let builder = Queue::builder().durability(Full).clock(clock.clone()).handle(noop);
        Ok(Line { stepped: SteppedQueue::open_file(builder, &clock, scratch.path())?, _scratch: scratch })
    }

    /// How long so many claims and settles take, each of which lets the next waiter on. Meanwhile a new one comes for each that goes.
    fn settles(&self, n: usize) -> Outcome<Duration> {
        let mut took = Duration::ZERO;
        for _ in 0..n {
            let began = Instant::now();
            self.stepped.run_one()?.ok_or("nothing is ready")?;
            took += began.elapsed();
            let _ = self.stepped.queue().enqueue_with(&Noop { n: 1 }, serial(1))?;
        }
        Ok(took)
    }

    /// Tasks a second of batches that are enqueued with these options.
    fn enqueues(&self, batches: usize, options: impl Fn(u64) -> Options) -> Outcome<f64> {
        rate(batches * 1000, || fill_with(self.stepped.queue(), batches * 1000, options))
    }
}

/// A long line for one key against a short one: what an end costs in it, and what it costs to join it.
pub fn waiters(asked: &Asked, report: &mut Report) -> Outcome<()> {
    const FEW: usize = 10;
    /// Settles of one line before it is the other's turn: the disk's speed changes within seconds.
    const TURN: usize = 50;
    const BATCHES: usize = 5;
    let many = if asked.quick { 20_000 } else { 100_000 };
    let turns = if asked.quick { 4 } else { 10 };
    let (short, long) = (Line::with_waiters(asked, FEW)?, Line::with_waiters(asked, many)?);
    let [mut few, mut beside, mut free, mut joining] = [(); 4].map(|()| Rounds::default());
    for _ in 0..asked.rounds {
        let mut times = [Duration::ZERO; 2];
        for _ in 0..turns {
            times[0] += short.settles(TURN)?;
            times[1] += long.settles(TURN)?;
        }
        let [of_few, of_many] = times.map(|time| time.as_secs_f64() * 1e6 / (turns * TURN) as f64);
        few.0.push(of_few);
        beside.0.push(of_many);
    }
    for _ in 0..asked.rounds {
        free.0.push(long.enqueues(BATCHES, |_| Options::new().queue("free"))?);
        joining.0.push(long.enqueues(BATCHES, serial)?);
    }
    report.row(Row {
        name: format!("claim + settle of a key for which {many} tasks wait; raw: {FEW} wait"),
        synchronous: "FULL",
        unit: "µs",
        judged: beside.over(&few),
        raw: Some(few),
        perdura: beside,
        target: Target::AtMost(1.2),
    });
    report.row(Row {
        name: format!("enqueue_all of 1,000 into that line of {many}; raw: without a limit"),
        synchronous: "FULL",
        unit: "tasks/s",
        judged: joining.over(&free),
        raw: Some(free),
        perdura: joining,
        target: Target::None,
    });
    Ok(())
}
