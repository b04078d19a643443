//! What looking at a large file costs: the longest wait of an enqueue beside each verb that goes through all of it, and first pages.

use std::error::Error;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use perdura::Durability::Full;
use perdura::testing::{ManualClock, SteppedQueue};
use perdura::{Filter, Options, Queue, State};

use crate::Asked;
use crate::measure::Rounds;
use crate::report::{Report, Row, Target};
use crate::rows::growth::Crowd;
use crate::work::{Noop, Scratch, producer};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Bytes of the args of each task.
const ARGS: usize = 400;
/// How often somebody enqueues meanwhile.
const PACE: Duration = Duration::from_millis(1);

/// The longest enqueue, in milliseconds, and how long the verb took, in seconds.
fn longest(queue: &Queue, verb: impl FnOnce() -> Outcome<()>) -> Outcome<(f64, f64)> {
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let enqueuer = scope.spawn(|| {
            let mut longest = Duration::ZERO;
            while !is_over.load(Ordering::Acquire) {
                let began = Instant::now();
                let made = queue.enqueue_with(&Noop { n: 1 }, Options::new().queue("beside"));
                longest = longest.max(began.elapsed());
                if let Err(e) = made {
                    return Err(e.to_string());
                }
                std::thread::sleep(PACE);
            }
            Ok(longest)
        });
        std::thread::sleep(20 * PACE);
        let began = Instant::now();
        let done = verb();
        let took = began.elapsed().as_secs_f64();
        is_over.store(true, Ordering::Release);
        let longest = enqueuer.join().map_err(|_| "the enqueuer panicked")??;
        done.map(|()| (longest.as_secs_f64() * 1e3, took))
    })
}

fn row(report: &mut Report, name: String, unit: &'static str, ours: f64, target: Target) {
    let ours = Rounds(vec![ours]);
    report.row(Row {
        name,
        synchronous: "FULL",
        unit,
        raw: None,
        judged: ours.clone(),
        perdura: ours,
        target,
    });
}

fn done<R>(verb: Result<R, perdura::Error>) -> Outcome<()> {
    verb?;
    Ok(())
}

/// Enqueues beside each verb.
fn verbs(report: &mut Report, path: &Path, copy: &Path, crowd: &str) -> Outcome<()> {
    let queue = &producer(path, Full)?;
    let none =
        |changed: u64| if changed == 0 { Ok(()) } else { Err("the filter was to mean nothing".into()) };
    type Verb<'v> = (&'static str, Box<dyn FnOnce() -> Outcome<()> + 'v>);
    let verbs: Vec<Verb<'_>> = vec![
        (
            "nothing",
            Box::new(|| {
                std::thread::sleep(1000 * PACE);
                Ok(())
            }),
        ),
        (
            "delete_all of a tag that none has",
            Box::new(|| none(queue.delete_all(Filter::new().tag("none"))?.changed)),
        ),
        (
            "delete_all of a time before all",
            Box::new(|| {
                none(queue.delete_all(Filter::new().created_before(SystemTime::UNIX_EPOCH))?.changed)
            }),
        ),
        (
            "delete_all of a text that none has",
            Box::new(|| none(queue.delete_all(Filter::new().text("none has this"))?.changed)),
        ),
        (
            "retry_all of an error that none has",
            Box::new(|| none(queue.retry_all(Filter::new().error_type("None"))?.changed)),
        ),
        ("purge of a time before all", Box::new(|| none(queue.purge(SystemTime::UNIX_EPOCH)? as u64))),
        ("check", Box::new(|| done(queue.check()))),
        ("backup", Box::new(|| Ok(queue.backup(copy, |_| ())?))),
        ("export", Box::new(|| done(queue.export(&mut std::io::sink())))),
        ("purge of all", Box::new(|| done(queue.purge(SystemTime::now())))),
    ];
    for (name, verb) in verbs {
        let (longest, took) = longest(queue, verb)?;
        let name = format!("longest enqueue beside {name} ({took:.1} s), {crowd}");
        row(report, name, "ms", longest, Target::AtMost(50.0));
    }
    Ok(())
}

/// The first page of each list.
fn pages(report: &mut Report, path: &Path, crowd: &str) -> Outcome<()> {
    let queue = &producer(path, Full)?;
    for n in 0..200 {
        let _ = queue.enqueue_with(&Noop { n }, Options::new().queue("beside"))?;
    }
    for (name, filter) in [
        ("QUEUED", Filter::new().state(State::Queued)),
        ("QUEUED and RUNNING", Filter::new().state(State::Queued).state(State::Running)),
        ("SUCCEEDED, newest first", Filter::new().state(State::Succeeded).newest_first()),
        ("a tag that none has", Filter::new().tag("none")),
        ("a name that none has", Filter::new().task_name("none")),
        ("a queue that none is in", Filter::new().queue("none")),
        ("FAILED with an error that none has", Filter::new().state(State::Failed).error_type("None")),
    ] {
        let began = Instant::now();
        queue.tasks(filter)?;
        let took = began.elapsed().as_secs_f64() * 1e3;
        row(report, format!("first page of {name}, {crowd}"), "ms", took, Target::AtMost(100.0));
    }
    Ok(())
}

/// Free pages go back to the file system.
fn free_pages(report: &mut Report, path: &Path, crowd: &str) -> Outcome<()> {
    let clock = ManualClock::new();
    let mut stepped = SteppedQueue::open_file(Queue::builder().clock(clock.clone()), &clock, path)?;
    let queue = stepped.queue().clone();
    stepped.advance(Duration::from_secs(3600))?;
    let (longest, took) = in_real_time(&clock, || longest(&queue, || done(stepped.apply_retention())))?;
    let name = format!("longest enqueue beside returning free pages ({took:.1} s), {crowd}");
    row(report, name, "ms", longest, Target::AtMost(50.0));
    Ok(())
}

/// Lets a clock go on as the system's does, as long as something acts.
fn in_real_time<R>(clock: &ManualClock, act: impl FnOnce() -> R) -> R {
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut at = Instant::now();
            while !is_over.load(Ordering::Acquire) {
                std::thread::sleep(PACE);
                clock.advance(at.elapsed());
                at = Instant::now();
            }
        });
        let done = act();
        is_over.store(true, Ordering::Release);
        done
    })
}

/// All of it, beside a million finished tasks, or ten.
pub fn beside(asked: &Asked, report: &mut Report) -> Outcome<()> {
    let sizes: &[u64] = if asked.quick { &[1_000_000] } else { &[1_000_000, 10_000_000] };
    for finished in sizes.iter().copied() {
        let (scratch, copy) = (Scratch::new(&asked.dir), Scratch::new(&asked.dir));
        Crowd { finished, args: ARGS, ..Crowd::default() }.put(scratch.path())?;
        let crowd = format!("10^{} finished", finished.ilog10());
        pages(report, scratch.path(), &crowd)?;
        verbs(report, scratch.path(), copy.path(), &crowd)?;
        free_pages(report, scratch.path(), &crowd)?;
    }
    Ok(())
}
