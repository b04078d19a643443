//! Bytes written to the disk: they wear out flash memory.

use std::error::Error;
use std::time::Duration;

use perdura::Durability::Full;
use perdura::{Context, Queue};

use crate::Asked;
use crate::measure::{Rounds, bytes_written};
use crate::report::{Curve, Report, Row, Target};
use crate::work::{Bulky, Scratch, producer, runner};

type Outcome<T> = Result<T, Box<dyn Error>>;

fn filled(asked: &Asked, tasks: usize, bytes: usize) -> Outcome<Scratch> {
    let scratch = Scratch::new(&asked.dir);
    let queue = producer(scratch.path(), Full)?;
    for first in (0..tasks).step_by(100) {
        let batch: Vec<Bulky> = (first..tasks.min(first + 100)).map(|_| Bulky::of(bytes)).collect();
        queue.enqueue_all(&batch)?;
    }
    Ok(scratch)
}

/// Bytes a task that claiming and settling writes in batches: from before the file is opened until it is closed, so with the WAL, the
/// start notes and every WAL checkpoint.
fn in_batches(asked: &Asked, bytes: usize, tasks: usize) -> Outcome<f64> {
    let scratch = filled(asked, tasks, bytes)?;
    drained(tasks, || runner(scratch.path(), Full, 2))
}

/// The same when each task takes 3 ms, so that none is claimed ahead.
fn one_by_one(asked: &Asked, bytes: usize, tasks: usize) -> Outcome<f64> {
    let scratch = filled(asked, tasks, bytes)?;
    let handler = |_: Bulky, _: &Context| {
        std::thread::sleep(Duration::from_millis(3));
        Ok(())
    };
    let builder = Queue::builder().durability(Full).workers(1).handle(handler);
    drained(tasks, || Ok(builder.open(scratch.path())?))
}

fn drained(tasks: usize, open: impl FnOnce() -> Outcome<Queue>) -> Outcome<f64> {
    let before = bytes_written()?;
    let queue = open()?;
    queue.drain()?;
    drop(queue);
    Ok((bytes_written()? - before) as f64 / tasks as f64)
}

pub fn args(asked: &Asked, report: &mut Report) -> Outcome<()> {
    let (mut batches, mut ones) = (Rounds::default(), Rounds::default());
    for _ in 0..asked.rounds.min(3) {
        batches.0.push(in_batches(asked, 100_000, 2000)? / 1000.0);
        ones.0.push(one_by_one(asked, 100_000, 300)? / 1000.0);
    }
    for (name, figures, bound) in [("in batches", batches, 1.0), ("one by one", ones, 32.0)] {
        report.row(Row {
            name: format!("written for claim + settle of 100 KB args {name}"),
            synchronous: "FULL",
            unit: "KB/task",
            raw: None,
            judged: figures.clone(),
            perdura: figures,
            target: Target::AtMost(bound),
        });
    }
    Ok(())
}

/// Bytes written for the whole life of a task, by the size of its args.
pub fn curve(asked: &Asked, report: &mut Report) -> Outcome<()> {
    let (mut enqueue, mut settle) = (Vec::new(), Vec::new());
    for bytes in [20, 200, 2_000, 20_000, 200_000, 1_000_000] {
        let tasks = (100_000_000 / bytes).clamp(100, 5_000);
        let before = bytes_written()?;
        let scratch = filled(asked, tasks, bytes)?;
        enqueue.push((bytes as f64, (bytes_written()? - before) as f64 / tasks as f64));
        settle.push((bytes as f64, drained(tasks, || runner(scratch.path(), Full, 2))?));
    }
    for (name, points) in [("enqueue by 100", enqueue), ("claim + settle in batches", settle)] {
        report.curve(Curve {
            chart: "wear",
            name: name.into(),
            x: "bytes of args",
            y: "bytes written per task",
            points,
        });
    }
    Ok(())
}
