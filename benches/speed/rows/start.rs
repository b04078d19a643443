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
use crate::work::{Noop, Scratch, fill, name_of, producer, runner};

/// Samples of one kind before it is the next one's turn: each has the caches as it would have them alone.
const TURN: usize = 50;

/// How long everything rests before each sample.
const PAUSE: Duration = Duration::from_millis(2);

/// Sorted microseconds of what was measured in turn.
struct Samples {
    /// Raw commits of one task.
    commits: Vec<f64>,
    /// From a send into a channel until the other thread has it: the least that handing a task over costs.
    wakes: Vec<f64>,
    /// From the enqueue until the handler starts.
    starts: Vec<f64>,
}

fn sample(
    asked: &Asked,
    texts: &Texts,
    durability: Durability,
    samples: usize,
) -> Result<Samples, Box<dyn Error>> {
    let (bare, ours) = (Scratch::new(&asked.dir), Scratch::new(&asked.dir));
    fill(&producer(bare.path(), durability)?, 1)?;
    runner(bare.path(), durability, 1)?.drain()?; // the counters of every state are there from now on
    let raw = Raw::open(bare.path(), durability, texts.enqueue.clone())?;
    let mut enqueuer = raw.enqueuer(true)?;
    let (started, starts) = bounded(1);
    let handler = move |_: Noop, _: &Context| {
        let _ = started.send(Instant::now());
        Ok(0)
    };
    let queue = Queue::builder().durability(durability).workers(2).handle(handler).open(ours.path())?;
    let (sleeper, wakes_up) = bounded::<Instant>(1);
    let (awake, woken) = bounded(1);
    thread::spawn(move || wakes_up.iter().try_for_each(|sent| awake.send(sent.elapsed())));
    let (mut commits, mut wakes, mut latencies) = (Vec::new(), Vec::new(), Vec::new());
    for _ in (0..samples).step_by(TURN) {
        for _ in 0..TURN {
            thread::sleep(PAUSE);
            let began = Instant::now();
            enqueuer.enqueue(1, 1)?;
            commits.push(began.elapsed());
        }
        for _ in 0..TURN {
            thread::sleep(PAUSE);
            sleeper.send(Instant::now())?;
            wakes.push(woken.recv()?);
        }
        for n in 0..TURN as u64 {
            thread::sleep(PAUSE);
            let began = Instant::now();
            let _ = queue.enqueue(&Noop { n })?;
            latencies.push(starts.recv()?.duration_since(began));
        }
    }
    Ok(Samples { commits: micros(commits), wakes: micros(wakes), starts: micros(latencies) })
}

pub fn start(asked: &Asked, report: &mut Report) -> Result<(), Box<dyn Error>> {
    let texts = Texts::learn(&asked.dir)?;
    let samples = if asked.quick { 400 } else { 2000 };
    for durability in [Full, Relaxed] {
        let [mut commit, mut commit_p99, mut commit_and_wake] = [(); 3].map(|()| Rounds::default());
        let mut ours = [(); 3].map(|()| Rounds::default());
        for _ in 0..asked.rounds {
            let samples = sample(asked, &texts, durability, samples)?;
            commit.0.push(percentile(&samples.commits, 0.5));
            commit_p99.0.push(percentile(&samples.commits, 0.99));
            commit_and_wake.0.push(percentile(&samples.commits, 0.5) + percentile(&samples.wakes, 0.5));
            for (rounds, share) in ours.iter_mut().zip([0.5, 0.99, 0.999]) {
                rounds.0.push(percentile(&samples.starts, share));
            }
        }
        let [p50, p99, p999] = ours;
        let full = durability == Full;
        let mut row = |name: &str, raw: &Rounds, perdura: &Rounds, judged: Rounds, target| {
            report.row(Row {
                name: format!("idle: enqueue → handler starts, {name}"),
                synchronous: name_of(durability),
                unit: "µs",
                raw: Some(raw.clone()),
                perdura: perdura.clone(),
                judged,
                target,
            });
        };
        if full {
            row("p50; raw: a commit", &commit, &p50, p50.over(&commit), Target::AtMost(1.5));
            row("p99; raw: p50 of a commit", &commit, &p99, p99.over(&commit), Target::AtMost(5.0));
        } else {
            row("p50; raw: a commit", &commit, &p50, p50.clone(), Target::AtMost(100.0));
            row("p99; raw: p50 of a commit", &commit, &p99, p99.over(&commit), Target::None);
        }
        let judged = p50.over(&commit_and_wake);
        row("p50; raw: a commit + a thread's wake-up", &commit_and_wake, &p50, judged, Target::None);
        row("p99.9; raw: p99 of a commit", &commit_p99, &p999, p999.over(&commit_p99), Target::None);
    }
    Ok(())
}
