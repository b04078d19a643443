//! The verbs for schedules: `add`, `list`, `show`, `pause`, `resume`, `run`, `next`, `remove`.

use serde::Serialize;

use crate::console::inspect::schedule::{command, next, rhythm, rules, status, what};
use crate::console::screen::Tint;
use crate::console::table::{Cell, Fit, Table};
use crate::console::text::safe;
use crate::console::words::{distance, number};
use crate::console::{CliResult, Exit, Session, filter};
use crate::{Queue, ScheduleRecord, ScheduleStatus, Timestamp};

/// What can be done with schedules.
#[derive(Debug, clap::Subcommand)]
pub(super) enum ScheduleVerb {
    /// Run a program at the times of a cron pattern, at a fixed interval, or some time after the end of its last run
    ///
    /// Each time adds a job, as `perdura add` does, which `perdura work` runs. A schedule of the same name is replaced; one that is the same
    /// keeps its times.
    #[cfg(unix)]
    Add(Box<crate::jobs::ScheduleArgs>),
    /// List the schedules of the file, with their next times
    List,
    /// Show a schedule: its rules, its times, what it has done
    Show(Named),
    /// Let schedules make no tasks until they are resumed
    Pause(Several),
    /// Let paused schedules go on, with the next time that comes
    Resume(Several),
    /// Make a run of a schedule now, beside its times
    Run(Named),
    /// Print the next times of a schedule
    Next {
        #[command(flatten)]
        which: Named,
        /// How many
        #[arg(short = 'n', long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
        number: u16,
    },
    /// Remove schedules; the tasks that they have made stay
    Remove(Several),
}

/// One schedule.
#[derive(Debug, clap::Args)]
pub(super) struct Named {
    /// The schedule
    #[arg(value_name = "NAME", value_parser = filter::text())]
    name: String,
}

/// Some schedules.
#[derive(Debug, clap::Args)]
pub(super) struct Several {
    /// The schedules
    #[arg(value_name = "NAME", required = true, value_parser = filter::text())]
    names: Vec<String>,
}

/// A schedule in JSON: its record, and the command line of its jobs.
#[derive(Serialize)]
struct ScheduleJson<'s> {
    #[serde(flatten)]
    record: &'s ScheduleRecord,
    #[serde(skip_serializing_if = "Option::is_none")]
    command: Option<String>,
}

impl ScheduleVerb {
    pub(super) fn run(self, session: &mut Session) -> CliResult {
        match self {
            #[cfg(unix)]
            ScheduleVerb::Add(add) => add.run(session),
            ScheduleVerb::List => list(session),
            ScheduleVerb::Show(Named { name }) => show(session, &name),
            ScheduleVerb::Pause(which) => each(session, &which, "paused", Queue::pause_schedule),
            ScheduleVerb::Resume(which) => each(session, &which, "resumed", Queue::resume_schedule),
            ScheduleVerb::Run(Named { name }) => run(session, &name),
            ScheduleVerb::Next { which: Named { name }, number } => preview(session, &name, number),
            ScheduleVerb::Remove(which) => each(session, &which, "removed", Queue::remove_schedule),
        }
    }
}

fn list(session: &mut Session) -> CliResult {
    let now = session.now();
    let queue = session.read_only_queue()?;
    let schedules = queue.schedules()?;
    if session.json {
        for record in &schedules {
            let command = command(&queue, record);
            session.screen.json(&ScheduleJson { record, command })?;
        }
        return Ok(Exit::Done);
    }
    if schedules.is_empty() {
        session.screen.remark("there are no schedules");
        return Ok(Exit::Done);
    }
    let mut table = Table::new(&[
        ("NAME", Fit::Cut),
        ("WHEN", Fit::Cut),
        ("NEXT", Fit::Left),
        ("", Fit::Left),
        ("MADE", Fit::Right),
        ("MISSED", Fit::Right),
        ("LEFT OUT", Fit::Right),
        ("WHAT", Fit::Cut),
    ]);
    for record in &schedules {
        let next = record.fires_at.map_or_else(String::new, |at| session.time(at));
        let state = next_cell(record, now);
        let some = |n: u64| if n == 0 { String::new() } else { number(n) };
        table.row([
            safe(&record.schedule).into_owned().into(),
            safe(&rhythm(record)).into_owned().into(),
            next.into(),
            state,
            some(record.fired).into(),
            some(record.missed_ticks).into(),
            some(record.left_out).into(),
            safe(&what(&queue, record)).into_owned().into(),
        ]);
    }
    table.print(&mut session.screen)?;
    Ok(Exit::Done)
}

/// How soon it makes its next task, or why it makes none, as a cell of a table.
pub(super) fn next_cell(record: &ScheduleRecord, now: Timestamp) -> Cell {
    match record.status {
        ScheduleStatus::Active => next(record, now).into(),
        ScheduleStatus::Broken => Cell::tinted(next(record, now), Tint::Bad),
        _ => Cell::tinted(next(record, now), Tint::Dim),
    }
}

fn show(session: &mut Session, name: &str) -> CliResult {
    let queue = session.read_only_queue()?;
    let record = queue.schedule(name)?;
    if session.json {
        let command = command(&queue, &record);
        session.screen.json(&ScheduleJson { record: &record, command })?;
        return Ok(Exit::Done);
    }
    let now = session.now();
    let at = |time: Timestamp| format!("{} ({})", session.time(time), distance(time, now));
    let mut lines = vec![
        ("schedule", record.schedule.clone()),
        ("status", status(record.status).to_owned()),
        ("broken", record.broken.clone().unwrap_or_default()),
        ("when", rhythm(&record)),
        ("until", record.until.map(at).unwrap_or_default()),
        ("rules", rules(&record)),
        ("makes", what(&queue, &record)),
        ("queue", record.queue.clone().unwrap_or_default()),
        ("declared by", if record.declared { "the program that executes".to_owned() } else { String::new() }),
        ("next", record.next_tick.map(at).unwrap_or_default()),
        ("fires", record.fires_at.filter(|at| Some(*at) != record.next_tick).map(at).unwrap_or_default()),
        ("last", at(record.last_tick)),
        ("made", number(record.fired)),
        ("missed", number(record.missed_ticks)),
        ("left out", number(record.left_out)),
    ];
    lines.retain(|(_, value)| !value.is_empty());
    for (label, value) in lines {
        let label = session.screen.tint(Tint::Dim, format_args!("{label:<12}"));
        session.screen.line(format_args!("{label}{}", safe(&value)))?;
    }
    Ok(Exit::Done)
}

fn run(session: &mut Session, name: &str) -> CliResult {
    let id = session.writable_queue()?.run_schedule_now(name)?;
    session.note_done(format!("task {id} was made"));
    if session.json {
        session.screen.json(&serde_json::json!({ "schedule": name, "task_id": id }))?;
    } else {
        session.screen.line(id)?;
    }
    Ok(Exit::Done)
}

fn preview(session: &mut Session, name: &str, number: u16) -> CliResult {
    let now = session.now();
    let queue = session.read_only_queue()?;
    let ticks = queue.preview(name, usize::from(number))?;
    if session.json {
        session.screen.json(&ticks)?;
    } else {
        for tick in &ticks {
            session.screen.line(format_args!("{} ({})", session.time(*tick), distance(*tick, now)))?;
        }
    }
    if ticks.is_empty() {
        let why = match queue.schedule(name)?.status {
            ScheduleStatus::Active => "its next time follows the end of its run",
            _ => "no time is left",
        };
        session.screen.remark(why);
        return Ok(Exit::No);
    }
    Ok(Exit::Done)
}

/// Does something to some schedules, one after the other.
fn each(
    session: &mut Session,
    which: &Several,
    done: &str,
    act: fn(&Queue, &str) -> Result<(), crate::Error>,
) -> CliResult {
    let queue = session.writable_queue()?;
    for name in &which.names {
        act(&queue, name)?;
        session.note_done(format!("schedule {name:?} was {done}"));
        if session.json {
            session.screen.json(&serde_json::json!({ "schedule": name, "done": done }))?;
        } else {
            session.screen.line(format_args!("schedule {} {done}", safe(name)))?;
        }
    }
    Ok(Exit::Done)
}
