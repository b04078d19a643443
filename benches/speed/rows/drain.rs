//! Draining: no-op tasks with results, from opening the queue to the last durable settle.

use std::error::Error;

use perdura::Durability::{self, Full, Relaxed};

use crate::Asked;
use crate::measure::{Rounds, rate};
use crate::raw::{Raw, Texts};
use crate::report::{Report, Row, Target};
use crate::work::{Scratch, fill, name_of, producer, runner};

/// Claims that two workers may have out: one each at work and 256 each ahead.
const MOST_OUT: usize = 514;

/// Tasks a second of a queue with so many workers.
pub fn perdura(
    asked: &Asked,
    durability: Durability,
    workers: usize,
    tasks: usize,
) -> Result<f64, Box<dyn Error>> {
    let scratch = Scratch::new(&asked.dir);
    fill(&producer(scratch.path(), durability)?, tasks)?;
    let mut drained = None;
    let rate = rate(tasks, || {
        let queue = runner(scratch.path(), durability, workers)?;
        queue.drain()?;
        drained = Some(queue);
        Ok(())
    })?;
    let counts = drained.ok_or("the queue is gone")?.counts()?;
    let succeeded = counts.queues.values().map(|q| q.succeeded).sum::<u64>();
    assert_eq!(succeeded, tasks as u64, "every task ran");
    Ok(rate)
}

/// Tasks a second of the raw loop.
pub fn raw(
    asked: &Asked,
    texts: &Texts,
    durability: Durability,
    tasks: usize,
    group: usize,
) -> Result<f64, Box<dyn Error>> {
    let scratch = Scratch::new(&asked.dir);
    fill(&producer(scratch.path(), durability)?, 1)?;
    runner(scratch.path(), durability, 1)?.drain()?; // the counters of every state are there from now on
    fill(&producer(scratch.path(), durability)?, tasks)?;
    let raw = Raw::open(scratch.path(), durability, texts.drain.clone())?;
    rate(tasks, || raw.claim_and_settle(tasks, group))
}

pub fn drain(asked: &Asked, report: &mut Report) -> Result<(), Box<dyn Error>> {
    let texts = Texts::learn(&asked.dir)?;
    let tasks = if asked.quick { 50_000 } else { 100_000 };
    for durability in [Full, Relaxed] {
        let (mut bare, mut large, mut ours) = (Rounds::default(), Rounds::default(), Rounds::default());
        for _ in 0..asked.rounds {
            bare.0.push(raw(asked, &texts, durability, tasks, 100)?);
            ours.0.push(perdura(asked, durability, 2, tasks)?);
            large.0.push(raw(asked, &texts, durability, tasks, MOST_OUT)?);
        }
        report.row(Row {
            name: "drain of no-op tasks, 2 workers; raw: batches of 100".into(),
            synchronous: name_of(durability),
            unit: "tasks/s",
            judged: ours.over(&bare),
            raw: Some(bare),
            perdura: ours.clone(),
            target: if durability == Full { Target::AtLeast(0.8) } else { Target::None },
        });
        report.row(Row {
            name: format!("the same; raw: batches of {MOST_OUT}, as perdura's may be"),
            synchronous: name_of(durability),
            unit: "tasks/s",
            judged: ours.over(&large),
            raw: Some(large),
            perdura: ours,
            target: Target::None,
        });
    }
    Ok(())
}
