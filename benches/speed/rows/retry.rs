//! How punctual a lone retry on an idle queue is.

use std::error::Error;
use std::time::{Duration, SystemTime};

use crossbeam_channel::bounded;
use perdura::Durability::Full;
use perdura::{Context, Failure, Queue};

use crate::Asked;
use crate::measure::{Rounds, micros, percentile};
use crate::report::{Report, Row, Target};
use crate::work::{Noop, Scratch};

pub fn lateness(asked: &Asked, report: &mut Report) -> Result<(), Box<dyn Error>> {
    let samples = if asked.quick { 50 } else { 200 };
    let mut rounds = [(); 2].map(|()| Rounds::default());
    for _ in 0..asked.rounds.min(3) {
        let scratch = Scratch::new(&asked.dir);
        let (started, starts) = bounded(1);
        let handler = move |_: Noop, cx: &Context| {
            if cx.attempt_number() == 1 {
                return Err(
                    Failure::named("not.yet", "again in 20 ms").retry_after(Duration::from_millis(20))
                );
            }
            let _ = started.send(SystemTime::now());
            Ok(0)
        };
        let queue = Queue::builder().durability(Full).workers(1).handle(handler).open(scratch.path())?;
        let mut late = Vec::new();
        for n in 0..samples {
            let id = queue.enqueue(&Noop { n })?.id();
            let due = loop {
                if let Some(due) = queue.get(id)?.run_at {
                    break due.to_system_time();
                }
                std::thread::sleep(Duration::from_millis(1));
            };
            late.push(starts.recv()?.duration_since(due)?);
        }
        let late = micros(late);
        rounds[0].0.push(percentile(&late, 0.5) / 1000.0);
        rounds[1].0.push(percentile(&late, 0.99) / 1000.0);
    }
    for (name, figures, target) in [("p50", 0, Target::None), ("p99", 1, Target::AtMost(5.0))] {
        report.row(Row {
            name: format!("a lone retry on an idle queue starts late by, {name}"),
            synchronous: "FULL",
            unit: "ms",
            raw: None,
            judged: rounds[figures].clone(),
            perdura: rounds[figures].clone(),
            target,
        });
    }
    Ok(())
}
