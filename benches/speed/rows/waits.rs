//! Many tasks that wait for a condition, and somebody who enqueues beside them while they are let on.

use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use perdura::Durability::Full;
use perdura::{Options, Queue};

use crate::Asked;
use crate::measure::Rounds;
use crate::report::{Report, Row, Target};
use crate::work::{Noop, Scratch, noop};

type Outcome<T> = Result<T, Box<dyn Error>>;

const TASKS: u64 = 10_000;

/// Seconds until all are ready, and milliseconds of the longest enqueue meanwhile.
fn let_on(asked: &Asked) -> Outcome<(f64, f64)> {
    let scratch = Scratch::new(&asked.dir);
    let queue = Queue::builder().durability(Full).workers(2).handle(noop).open(scratch.path())?;
    let tasks: Vec<Noop> = (0..TASKS).map(|n| Noop { n }).collect();
    let _ = queue.enqueue_all_with(tasks.iter().map(|task| (task, Options::new().needs("online"))))?;
    while queue.counts()?.queue("default").unmet < TASKS {
        std::thread::sleep(Duration::from_millis(1));
    }
    queue.pause("default")?; // they are let on, not run: this row is about the wait
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let beside = scope.spawn(|| {
            let mut longest = Duration::ZERO;
            while !is_over.load(Ordering::Relaxed) {
                let began = Instant::now();
                let _ = queue.enqueue_with(&Noop { n: 0 }, Options::new().queue("beside"))?;
                longest = longest.max(began.elapsed());
            }
            Ok::<Duration, perdura::Error>(longest)
        });
        std::thread::sleep(Duration::from_millis(50)); // it is at work
        let began = Instant::now();
        queue.set_condition("online", true)?;
        while queue.counts()?.queue("default").ready < TASKS {
            std::thread::sleep(Duration::from_millis(1));
        }
        let took = began.elapsed();
        is_over.store(true, Ordering::Relaxed);
        let longest = beside.join().map_err(|_| "the thread beside has panicked")??;
        Ok((took.as_secs_f64(), longest.as_secs_f64() * 1000.0))
    })
}

pub fn waiters(asked: &Asked, report: &mut Report) -> Outcome<()> {
    let (mut took, mut longest) = (Rounds::default(), Rounds::default());
    for _ in 0..asked.rounds.min(5) {
        let (seconds, ms) = let_on(asked)?;
        took.0.push(seconds);
        longest.0.push(ms);
    }
    for (name, unit, found, most) in [
        (format!("{TASKS} tasks that wait for a condition are ready"), "s", took, 0.5),
        ("longest wait of an enqueue meanwhile".to_owned(), "ms", longest, 50.0),
    ] {
        report.row(Row {
            name,
            synchronous: "FULL",
            unit,
            raw: None,
            judged: found.clone(),
            perdura: found,
            target: Target::AtMost(most),
        });
    }
    Ok(())
}
