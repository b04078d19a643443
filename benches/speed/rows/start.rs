//! From an enqueue into an idle queue until its handler starts.

use std::error::Error;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::bounded;
use perdura::Durability::{self, Full, Relaxed};
use perdura::{Context, Queue};

use crate::Asked;
use crate::measure::{Rounds, micros, percentile};
use crate::raw::{Raw, Texts};
use crate::report::{Report, Row, Target};
use crate::work::{Noop, Scratch, fill, name_of, producer};

/// Latencies of raw commits and of starts, one after the other in turn, in sorted microseconds.
fn sample(
    asked: &Asked,
    texts: &Texts,
    durability: Durability,
    samples: usize,
) -> Result<(Vec<f64>, Vec<f64>), Box<dyn Error>> {
    let (bare, ours) = (Scratch::new(&asked.dir), Scratch::new(&asked.dir));
    fill(&producer(bare.path(), durability)?, 1)?;
    let raw = Raw::open(bare.path(), durability, texts.enqueue.clone())?;
    let (started, starts) = bounded(1);
    let handler = move |_: Noop, _: &Context| {
        let _ = started.send(Instant::now());
        Ok(())
    };
    let queue = Queue::builder().durability(durability).workers(2).handle(handler).open(ours.path())?;
    let (mut commits, mut latencies) = (Vec::new(), Vec::new());
    for n in 0..samples as u64 {
        thread::sleep(Duration::from_millis(2));
        let began = Instant::now();
        raw.enqueue(1, 1, r#"{"n":1}"#)?;
        commits.push(began.elapsed());
        thread::sleep(Duration::from_millis(2));
        let began = Instant::now();
        queue.enqueue(&Noop { n })?;
        latencies.push(starts.recv()?.duration_since(began));
    }
    Ok((micros(commits), micros(latencies)))
}

pub fn start(asked: &Asked, report: &mut Report) -> Result<(), Box<dyn Error>> {
    let texts = Texts::learn(&asked.dir)?;
    let samples = if asked.quick { 400 } else { 2000 };
    for durability in [Full, Relaxed] {
        let mut raw = [(); 2].map(|()| Rounds::default());
        let mut ours = [(); 3].map(|()| Rounds::default());
        for _ in 0..asked.rounds {
            let (commits, latencies) = sample(asked, &texts, durability, samples)?;
            raw[0].0.push(percentile(&commits, 0.5));
            raw[1].0.push(percentile(&commits, 0.99));
            for (rounds, share) in ours.iter_mut().zip([0.5, 0.99, 0.999]) {
                rounds.0.push(percentile(&latencies, share));
            }
        }
        let [raw, raw_p99] = raw;
        let [p50, p99, p999] = ours;
        let full = durability == Full;
        let mut row = |name: &str, raw: &Rounds, ours: Rounds, judged: Rounds, target| {
            report.row(Row {
                name: name.into(),
                synchronous: name_of(durability),
                unit: "µs",
                raw: Some(raw.clone()),
                perdura: ours,
                judged,
                target,
            });
        };
        let judged = if full { p50.over(&raw) } else { p50.clone() };
        row(
            "idle: enqueue → handler starts, p50; raw: a commit",
            &raw,
            p50,
            judged,
            Target::AtMost(if full { 1.5 } else { 100.0 }),
        );
        let judged = if full { p99.over(&raw) } else { p99.clone() };
        row(
            "idle: enqueue → start, p99; raw: p50 of a commit",
            &raw,
            p99,
            judged,
            if full { Target::AtMost(5.0) } else { Target::None },
        );
        row("idle: enqueue → start, p99.9; raw: p99 of a commit", &raw_p99, p999.clone(), p999, Target::None);
    }
    Ok(())
}
