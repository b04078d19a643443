//! What others at the same file cost: threads that wait, a process that writes without pause, a reader that holds an old snapshot.

use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use perdura::Durability::Full;
use perdura::{Context, Queue};

use crate::measure::{Rounds, rate};
use crate::report::{Report, Row, Target};
use crate::work::{Bulky, Noop, Scratch, fill, producer};
use crate::{Asked, idle};

type Outcome<T> = Result<T, Box<dyn Error>>;

const TASKS: usize = 1000;
const WAITERS: usize = 500;
/// How often somebody enqueues beside another process, or a long reader.
const PACE: Duration = Duration::from_millis(2);

pub fn waiters(asked: &Asked, report: &mut Report) -> Outcome<()> {
    let mut rounds = [(); 2].map(|()| Rounds::default());
    for _ in 0..asked.rounds {
        for (waiters, rounds) in [0, WAITERS].into_iter().zip(&mut rounds) {
            rounds.0.push(1.0 / tasks_of_a_millisecond(asked, waiters)?);
        }
    }
    let [alone, beside] = rounds;
    report.row(Row {
        name: format!("{TASKS} tasks of 1 ms, 2 workers; with {WAITERS} waiters against none"),
        synchronous: "FULL",
        unit: "s/task",
        judged: beside.over(&alone),
        raw: Some(alone),
        perdura: beside,
        target: Target::AtMost(1.3),
    });
    Ok(())
}

/// Tasks a second, while so many threads wait each for one of them.
fn tasks_of_a_millisecond(asked: &Asked, waiters: usize) -> Outcome<f64> {
    let scratch = Scratch::new(&asked.dir);
    let producer = producer(scratch.path(), Full)?;
    let tasks: Vec<Noop> = (0..TASKS as u64).map(|n| Noop { n }).collect();
    let made = producer.enqueue_all(&tasks)?;
    let sleep = |_: Noop, _: &Context| {
        std::thread::sleep(Duration::from_millis(1));
        Ok(0)
    };
    std::thread::scope(|scope| {
        rate(TASKS, || {
            let queue = Queue::builder().durability(Full).workers(2).handle(sleep).open(scratch.path())?;
            let last = made.iter().rev().take(waiters);
            let waiting: Vec<_> = last
                .map(|made| {
                    let queue = queue.clone();
                    scope.spawn(move || queue.wait(made.id(), Duration::from_secs(60)).map(drop))
                })
                .collect();
            queue.drain()?;
            waiting.into_iter().try_for_each(|thread| thread.join().expect("no waiter panics"))?;
            Ok(())
        })
    })
}

/// The longest of many enqueues, in milliseconds, as long as `until` says.
fn longest(queue: &Queue, until: impl Fn() -> bool) -> Outcome<f64> {
    let mut longest = Duration::ZERO;
    while until() {
        let began = Instant::now();
        let _ = queue.enqueue(&Noop { n: 1 })?;
        longest = longest.max(began.elapsed());
        std::thread::sleep(PACE);
    }
    Ok(longest.as_secs_f64() * 1000.0)
}

fn row(report: &mut Report, name: &str, figures: Rounds, bound: f64) {
    report.row(Row {
        name: name.into(),
        synchronous: "FULL",
        unit: "ms",
        raw: None,
        judged: figures.clone(),
        perdura: figures,
        target: Target::AtMost(bound),
    });
}

/// Another process enqueues, or drains, without pause.
pub fn processes(asked: &Asked, report: &mut Report) -> Outcome<()> {
    let time = Duration::from_secs(if asked.quick { 3 } else { 10 });
    for (role, name) in [
        ("--child-enqueues", "another process enqueues without pause: the longest enqueue"),
        ("--child-drains", "another process runs no-op tasks without pause: the longest enqueue"),
    ] {
        let mut figures = Rounds::default();
        for _ in 0..asked.rounds.min(3) {
            let scratch = Scratch::new(&asked.dir);
            let queue = producer(scratch.path(), Full)?;
            if role == "--child-drains" {
                fill(&queue, 2_000_000)?;
            }
            let other = idle::Running::start(role, scratch.path())?;
            let began = Instant::now();
            figures.0.push(longest(&queue, || began.elapsed() < time)?);
            other.stop()?;
        }
        row(report, name, figures, 100.0);
    }
    Ok(())
}

/// A reader holds an old snapshot while the WAL grows, and goes.
pub fn reader(asked: &Asked, report: &mut Report) -> Outcome<()> {
    let megabytes = if asked.quick { 100 } else { 1000 };
    let mut figures = Rounds::default();
    for _ in 0..asked.rounds.min(3) {
        let scratch = Scratch::new(&asked.dir);
        let queue = Queue::builder()
            .durability(Full)
            .workers(1)
            .handle(|_: Noop, _: &Context| Ok(0))
            .open(scratch.path())?;
        queue.pause("bulk")?;
        let reader = rusqlite::Connection::open(scratch.path())?;
        reader.execute_batch("BEGIN; SELECT COUNT(*) FROM perdura_tasks")?;
        let options = || perdura::Options::new().queue("bulk");
        let tasks: Vec<Bulky> = (0..10).map(|_| Bulky::of(100_000)).collect();
        for _ in 0..megabytes {
            queue.enqueue_all_with(tasks.iter().map(|task| (task, options())))?;
        }
        let is_over = AtomicBool::new(false);
        let most = std::thread::scope(|scope| {
            let enqueuer = scope
                .spawn(|| longest(&queue, || !is_over.load(Ordering::Acquire)).map_err(|e| e.to_string()));
            std::thread::sleep(Duration::from_millis(500));
            drop(reader);
            std::thread::sleep(Duration::from_secs(5));
            is_over.store(true, Ordering::Release);
            enqueuer.join().expect("it does not panic")
        })?;
        figures.0.push(most);
    }
    let name = format!("a reader ends beside {megabytes} MB of WAL: the longest enqueue");
    row(report, &name, figures, 50.0);
    Ok(())
}
