//! What bounds the load of the harnesses that kill processes and cut the power: limits of queues and keys, serial keys and a rate, each for
//! some of its tasks; and schedules beside it, whose runs stand in such lines too.

use std::time::Duration;

use perdura::{Builder, Context, ErrorKind, Failure, Missed, Options, Overlap, Queue, Rate, Schedule, Task};
use serde::{Deserialize, Serialize};

use crate::child::say;
use crate::workload::AS_TOLD;

/// The queue whose tasks have a limit.
const NARROW: &str = "narrow";
/// The queue whose tasks have a rate.
pub const PACED: &str = "paced";
/// That rate.
pub const RATE: Rate = Rate::per(Duration::from_secs(1), 500).burst(3);

/// Tasks of which only so many run at once.
pub struct Line {
    pub name: String,
    /// If that is one, the next starts only when the one before has ended for good, and in the order of their ids.
    pub most: usize,
}

impl Line {
    fn new(name: impl Into<String>, most: usize) -> Line {
        Line { name: name.into(), most }
    }
}

/// Bounds the queues of the load.
pub fn bound(queue: &Queue) -> Result<(), perdura::Error> {
    queue.set_limit(NARROW, Some(2))?;
    queue.set_rate(PACED, Some(RATE))
}

/// The options of the task of this number.
pub fn options(n: u64) -> Options {
    match n % 8 {
        2 => Options::new().queue(NARROW),
        3 => Options::new().serial(format!("serial {}", n / 8 % 4)),
        4 => Options::new().limit("pair", 2),
        5 => Options::new().limit("mixed", 1 + u32::from(n / 8 % 2 == 1)),
        6 => Options::new().queue(PACED),
        _ => Options::new(),
    }
}

/// The line in which the task of this number stands.
pub fn line(n: u64) -> Option<Line> {
    match n % 8 {
        2 => Some(Line::new(NARROW, 2)),
        3 => Some(Line::new(format!("serial {}", n / 8 % 4), 1)),
        4 => Some(Line::new("pair", 2)),
        5 => Some(Line::new("mixed", 2)),
        _ => None,
    }
}

// ---- Schedules ----

/// Schedules that tick, numbered from 0.
const TICKING: u64 = 10;
/// Schedules beyond these whose runs are made by hand.
const BY_HAND: u64 = 4;

/// What a schedule of the load follows.
pub enum Rhythm {
    Every(Duration),
    AfterEnd(Duration),
    ByHand,
}

impl Rhythm {
    pub fn of(schedule: u64) -> Rhythm {
        let time = Duration::from_millis(1000 + 90 * schedule);
        match schedule {
            TICKING.. => Rhythm::ByHand,
            _ if schedule % 5 == 4 => Rhythm::AfterEnd(time),
            _ => Rhythm::Every(time),
        }
    }
}

/// What a schedule does while a run is live.
pub fn overlap(schedule: u64) -> Overlap {
    let kinds = [Overlap::Skip, Overlap::Queue, Overlap::Replace, Overlap::Allow, Overlap::Skip];
    match schedule {
        TICKING.. => kinds[(schedule - TICKING) as usize],
        _ => kinds[(schedule % 5) as usize],
    }
}

/// The lines in which the runs of a schedule stand.
pub fn lines_of_run(schedule: u64) -> Vec<Line> {
    let own = (overlap(schedule) != Overlap::Allow).then(|| Line::new(name(schedule), 1));
    let shared = match (schedule, overlap(schedule)) {
        (5..TICKING, _) => Some(Line::new("runs", 1)),
        (TICKING.., Overlap::Replace) => Some(Line::new("pair", 2)),
        (TICKING.., Overlap::Allow) => Some(Line::new(NARROW, 2)),
        _ => None,
    };
    own.into_iter().chain(shared).collect()
}

fn run_options(schedule: u64) -> Options {
    match (schedule, overlap(schedule)) {
        (5..TICKING, _) => Options::new().serial("runs"),
        (TICKING.., Overlap::Replace) => Options::new().limit("pair", 2),
        (TICKING.., Overlap::Allow) => Options::new().queue(NARROW),
        _ => Options::new(),
    }
}

/// The name of a schedule.
pub fn name(schedule: u64) -> String {
    format!("schedule {schedule}")
}

/// All of them.
pub fn schedules() -> impl Iterator<Item = u64> {
    0..TICKING + BY_HAND
}

/// Declares all schedules.
pub fn declare(builder: Builder) -> Builder {
    schedules().fold(builder, |builder, n| {
        let (schedule, overlap) = (name(n), overlap(n));
        let schedule = match Rhythm::of(n) {
            Rhythm::AfterEnd(pause) => Schedule::after_end(schedule, pause),
            Rhythm::Every(period) => {
                let missed = match overlap {
                    Overlap::Queue | Overlap::Allow => Missed::All { cap: 3 },
                    Overlap::Replace => Missed::Skip,
                    _ => Missed::Latest,
                };
                Schedule::every(schedule, period).missed(missed).overlap(overlap)
            }
            Rhythm::ByHand => Schedule::every(schedule, Duration::from_secs(86_400)).overlap(overlap),
        };
        builder.schedule(schedule.options(run_options(n)), &Run { schedule: n })
    })
}

/// Makes a run of each schedule that needs somebody for that. False if the file cannot be written.
pub fn run_by_hand(queue: &Queue) -> bool {
    (TICKING..TICKING + BY_HAND).all(|schedule| match queue.run_schedule_now(&name(schedule)) {
        Ok(id) => {
            say!("hand {schedule} {id}");
            true
        }
        Err(e) => e.kind() == ErrorKind::Conflict,
    })
}

/// The task of the schedules. It says when it starts and ends; each fifth fails the first time.
#[derive(Serialize, Deserialize)]
pub struct Run {
    pub schedule: u64,
}

impl Task for Run {
    const NAME: &'static str = "run";
    type Output = ();
}

/// The handler of [`Run`].
pub fn run(task: Run, cx: &Context) -> Result<(), Failure> {
    let (id, generation) = (cx.id(), cx.generation());
    let tick = cx.tick()?.map_or(-1, |tick| tick.as_millis());
    say!("run {id} {generation} {} {} {tick}", cx.attempt_number(), task.schedule);
    std::thread::sleep(Duration::from_millis(id.as_i64().cast_unsigned() % 4));
    let fails = id.as_i64() % 5 == 3 && cx.attempt_number() == 1;
    say!("end {id} {generation} {}", u8::from(!fails));
    if fails { Err(Failure::named(AS_TOLD, "as told")) } else { Ok(()) }
}
