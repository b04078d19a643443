//! Enqueueing: by one caller, by many at once, a thousand in a transaction.

use std::error::Error;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use perdura::Durability::{self, Full, Relaxed};

use crate::Asked;
use crate::measure::{Rounds, rate};
use crate::raw::{Raw, Texts};
use crate::report::{Report, Row, Target};
use crate::work::{Noop, Scratch, fill, name_of, producer};

type Outcome = Result<(), Box<dyn Error>>;

/// The statements that both sides run.
pub fn statements(asked: &Asked, _: &mut Report) -> Outcome {
    Texts::learn(&asked.dir)?.print(&asked.dir)
}

fn raw_rate(
    asked: &Asked,
    texts: &Texts,
    durability: Durability,
    tasks: usize,
    group: usize,
) -> Result<f64, Box<dyn Error>> {
    let scratch = Scratch::new(&asked.dir);
    fill(&producer(scratch.path(), durability)?, 1)?;
    let raw = Raw::open(scratch.path(), durability, texts.enqueue.clone())?;
    let mut enqueuer = raw.enqueuer(false)?;
    rate(tasks, || enqueuer.enqueue(tasks, group))
}

/// Tasks that one side enqueues before it is the other's turn: the disk's speed changes within seconds.
const TURN: usize = 250;

/// Rates of raw and perdura, who take turns on files of their own.
fn in_turn(
    asked: &Asked,
    texts: &Texts,
    durability: Durability,
    tasks: usize,
) -> Result<(f64, f64), Box<dyn Error>> {
    let (bare, ours) = (Scratch::new(&asked.dir), Scratch::new(&asked.dir));
    fill(&producer(bare.path(), durability)?, 1)?;
    let raw = Raw::open(bare.path(), durability, texts.enqueue.clone())?;
    let mut enqueuer = raw.enqueuer(false)?;
    let queue = producer(ours.path(), durability)?;
    fill(&queue, 1)?;
    let mut times = [Duration::ZERO; 2];
    for first in (0..tasks).step_by(TURN) {
        let began = Instant::now();
        enqueuer.enqueue(TURN, 1)?;
        times[0] += began.elapsed();
        let began = Instant::now();
        for n in first..first + TURN {
            let _ = queue.enqueue(&Noop { n: n as u64 })?;
        }
        times[1] += began.elapsed();
    }
    let [raw, ours] = times.map(|time| tasks as f64 / time.as_secs_f64());
    Ok((raw, ours))
}

pub fn one_by_one(asked: &Asked, report: &mut Report) -> Outcome {
    let texts = Texts::learn(&asked.dir)?;
    for durability in [Full, Relaxed] {
        let tasks = if durability == Full { 4_000 } else { 20_000 };
        let (mut raw, mut perdura) = (Rounds::default(), Rounds::default());
        for _ in 0..asked.rounds {
            let (bare, ours) = in_turn(asked, &texts, durability, tasks)?;
            raw.0.push(bare);
            perdura.0.push(ours);
        }
        report.row(Row {
            name: "one caller enqueues one by one".into(),
            synchronous: name_of(durability),
            unit: "tasks/s",
            judged: perdura.over(&raw),
            raw: Some(raw),
            perdura,
            target: Target::AtLeast(0.92),
        });
    }
    Ok(())
}

pub fn batches(asked: &Asked, report: &mut Report) -> Outcome {
    let texts = Texts::learn(&asked.dir)?;
    let batches = if asked.quick { 50 } else { 100 };
    for durability in [Full, Relaxed] {
        let (mut raw, mut perdura) = (Rounds::default(), Rounds::default());
        for _ in 0..asked.rounds {
            raw.0.push(raw_rate(asked, &texts, durability, batches * 1000, 1000)?);
            let scratch = Scratch::new(&asked.dir);
            let queue = producer(scratch.path(), durability)?;
            fill(&queue, 1)?;
            perdura.0.push(rate(batches * 1000, || {
                for first in 0..batches {
                    let batch: Vec<Noop> = (0..1000).map(|n| Noop { n: first as u64 * 1000 + n }).collect();
                    queue.enqueue_all(&batch)?;
                }
                Ok(())
            })?);
        }
        report.row(Row {
            name: "enqueue_all of 1,000".into(),
            synchronous: name_of(durability),
            unit: "tasks/s",
            judged: perdura.over(&raw),
            raw: Some(raw),
            perdura,
            target: Target::AtLeast(0.8),
        });
    }
    Ok(())
}

/// Enqueues from several threads for a while. Answers with tasks a second, and the least busy thread's share of the busiest one's.
pub fn together(
    asked: &Asked,
    durability: Durability,
    callers: usize,
    time: Duration,
) -> Result<(f64, f64), Box<dyn Error>> {
    let scratch = Scratch::new(&asked.dir);
    let queue = producer(scratch.path(), durability)?;
    fill(&queue, 1)?;
    let ready = Barrier::new(callers);
    let counts: Result<Vec<(u64, Duration)>, perdura::Error> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..callers)
            .map(|_| {
                scope.spawn(|| {
                    ready.wait();
                    let (began, mut n) = (Instant::now(), 0);
                    while began.elapsed() < time {
                        let _ = queue.enqueue(&Noop { n })?;
                        n += 1;
                    }
                    Ok((n, began.elapsed()))
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("an enqueue does not panic")).collect()
    });
    let counts = counts?;
    let rate = counts.iter().map(|(n, took)| *n as f64 / took.as_secs_f64()).sum();
    let (least, most) = (counts.iter().map(|c| c.0).min(), counts.iter().map(|c| c.0).max());
    Ok((rate, least.unwrap_or(0) as f64 / most.unwrap_or(1) as f64))
}

pub fn callers(asked: &Asked, report: &mut Report) -> Outcome {
    let time = Duration::from_millis(if asked.quick { 500 } else { 1000 });
    let (mut one, mut many, mut fair) = (Rounds::default(), Rounds::default(), Rounds::default());
    for _ in 0..asked.rounds {
        one.0.push(together(asked, Full, 1, time)?.0);
        many.0.push(together(asked, Full, 32, time)?.0);
        fair.0.push(together(asked, Full, 8, time)?.1);
    }
    report.row(Row {
        name: "32 callers, against one".into(),
        synchronous: "FULL",
        unit: "tasks/s",
        judged: many.over(&one),
        raw: None,
        perdura: many,
        target: Target::AtLeast(6.0),
    });
    report.row(Row {
        name: "8 callers: the least served against the most".into(),
        synchronous: "FULL",
        unit: "share",
        judged: fair.clone(),
        raw: None,
        perdura: fair,
        target: Target::AtLeast(0.8),
    });
    Ok(())
}
