//! Many schedules whose ticks come at the same instant.

use std::error::Error;
use std::time::{Duration, SystemTime};

use perdura::Durability::Full;
use perdura::{Queue, Schedule};

use crate::Asked;
use crate::measure::Rounds;
use crate::report::{Report, Row, Target};
use crate::work::{Noop, Scratch, noop, producer};

type Outcome<T> = Result<T, Box<dyn Error>>;

const SCHEDULES: usize = 10_000;
/// From the declaration to the tick.
const AHEAD: Duration = Duration::from_secs(8);

/// Seconds from the tick until each schedule has made its task.
fn fired(asked: &Asked, declare: impl Fn(String, SystemTime) -> Schedule) -> Outcome<f64> {
    let scratch = Scratch::new(&asked.dir);
    producer(scratch.path(), Full)?.pause("default")?; // the tasks are made, not run: this row is about the timer
    let mut builder = Queue::builder().durability(Full).workers(2).handle(noop);
    let soon = SystemTime::now() + AHEAD;
    for n in 0..SCHEDULES {
        builder = builder.schedule(declare(format!("schedule {n}"), soon), &Noop { n: n as u64 });
    }
    let queue = builder.open(scratch.path())?;
    let ticks: Vec<_> = queue.schedules()?.into_iter().filter_map(|schedule| schedule.next_tick).collect();
    let due = ticks.first().ok_or("the schedules have no ticks")?.to_system_time();
    assert!(ticks.len() == SCHEDULES && ticks.iter().all(|tick| tick.to_system_time() == due));
    assert!(due > SystemTime::now(), "all wait when the time has come");
    std::thread::sleep(due.duration_since(SystemTime::now())?);
    while queue.counts()?.queue("default").ready < SCHEDULES as u64 {
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(SystemTime::now().duration_since(due)?.as_secs_f64())
}

fn row(
    asked: &Asked,
    report: &mut Report,
    what: &str,
    declare: impl Fn(String, SystemTime) -> Schedule,
) -> Outcome<()> {
    let mut took = Rounds::default();
    for _ in 0..asked.rounds.min(5) {
        took.0.push(fired(asked, &declare)?);
    }
    report.row(Row {
        name: format!("{SCHEDULES} schedules due at the same instant make their tasks ({what})"),
        synchronous: "FULL",
        unit: "s",
        raw: None,
        judged: took.clone(),
        perdura: took,
        target: Target::AtMost(1.0),
    });
    Ok(())
}

pub fn due(asked: &Asked, report: &mut Report) -> Outcome<()> {
    row(asked, report, "every", |name, _| Schedule::every(name, AHEAD))?;
    #[cfg(feature = "cron")]
    row(asked, report, "cron, daily", daily)?;
    #[cfg(not(feature = "cron"))]
    println!("without the feature `cron` its schedules are not measured");
    Ok(())
}

/// Daily, in Berlin, at this time: the city is one hour ahead of UTC in winter, and two in summer.
#[cfg(feature = "cron")]
fn daily(name: String, at: SystemTime) -> Schedule {
    let seconds = at.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_secs());
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let hours = format!("{},{}", (hour + 1) % 24, (hour + 2) % 24);
    Schedule::cron(name, format!("{second} {minute} {hours} * * *")).time_zone("Europe/Berlin")
}
