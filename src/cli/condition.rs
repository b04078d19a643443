//! The verb `condition`: sets, shows and lists conditions that tasks need.

use crate::console::screen::Tint;
use crate::console::table::{Cell, Fit, Table};
use crate::console::text::safe;
use crate::console::words::{count, distance, number};
use crate::console::{CliError, CliResult, Exit, Session, filter};
use crate::{Condition, Queue, Timestamp};

/// Say that a condition which tasks need is met, or is not; or list the conditions.
///
/// What this command says counts until somebody says otherwise. What the program that executes the tasks says counts while that program runs.
#[derive(Debug, clap::Args)]
pub(super) struct ConditionArgs {
    /// The condition [default: list all]
    #[arg(value_name = "NAME", value_parser = filter::text())]
    name: Option<String>,
    /// Whether it is met [default: show it]
    #[arg(value_name = "on|off", value_enum)]
    is_met: Option<IsMet>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum IsMet {
    On,
    Off,
}

impl ConditionArgs {
    pub(super) fn run(&self, session: &mut Session) -> CliResult {
        match (&self.name, self.is_met) {
            (None, _) => list(session),
            (Some(name), None) => {
                let queue = session.read_only_queue()?;
                show(session, &find(&queue, name)?)
            }
            (Some(name), Some(is_met)) => set(session, name, is_met == IsMet::On),
        }
    }
}

fn find(queue: &Queue, name: &str) -> Result<Condition, CliError> {
    let conditions = queue.conditions()?;
    let known: Vec<String> = conditions.iter().map(|c| safe(&c.name).into_owned()).collect();
    conditions.into_iter().find(|condition| condition.name == name).ok_or_else(|| {
        let known = match known.is_empty() {
            true => "it knows none".to_owned(),
            false => format!("it knows {}", known.join(", ")),
        };
        CliError::new(Exit::Refused, format!("the file knows no condition {name:?}; {known}"))
    })
}

fn set(session: &mut Session, name: &str, is_met: bool) -> CliResult {
    let queue = session.writable_queue()?;
    let before = queue.conditions()?.into_iter().find(|condition| condition.name == name);
    queue.set_condition(name, is_met)?;
    let state = if is_met { "is met" } else { "is not met" };
    session.note_done(format!("{name} {state}"));
    if session.json {
        return show(session, &find(&queue, name)?);
    }
    let freed = before.as_ref().map_or(0, |before| before.waiting);
    let freed = match is_met && freed > 0 {
        true => format!(", and lets {} on", count(freed, "task")),
        false => String::new(),
    };
    session.screen.line(format_args!("the condition {} {state}{freed}", safe(name)))?;
    if before.is_none() {
        session.screen.remark(format_args!("no task has needed it so far; is the name spelt as they do?"));
    }
    Ok(Exit::Done)
}

fn show(session: &mut Session, condition: &Condition) -> CliResult {
    if session.json {
        session.screen.json(condition)?;
    } else {
        let (state, _) = state(condition);
        let when = condition.set_at.map(|at| format!(", as was said {}", distance(at, session.now())));
        let waiting = match condition.waiting {
            0 => String::new(),
            n => format!("; {} for it", wait(n)),
        };
        let when = when.unwrap_or_default();
        session
            .screen
            .line(format_args!("the condition {} {state}{when}{waiting}", safe(&condition.name)))?;
    }
    Ok(Exit::Done)
}

/// `1 task waits`, `3 tasks wait`.
fn wait(n: u64) -> String {
    format!("{} {}", count(n, "task"), if n == 1 { "waits" } else { "wait" })
}

fn list(session: &mut Session) -> CliResult {
    let (conditions, now) = (session.read_only_queue()?.conditions()?, session.now());
    if session.json {
        for condition in &conditions {
            session.screen.json(condition)?;
        }
        return Ok(Exit::Done);
    }
    if conditions.is_empty() {
        session.screen.remark("no task needs a condition; `perdura add --needs NAME` makes one that does");
        return Ok(Exit::Done);
    }
    print(session, &conditions, now)?;
    Ok(Exit::Done)
}

/// A table of conditions.
pub(super) fn print(session: &mut Session, conditions: &[Condition], now: Timestamp) -> std::io::Result<()> {
    let mut table = Table::new(&[
        ("CONDITION", Fit::Cut),
        ("STATE", Fit::Left),
        ("SAID", Fit::Left),
        ("BY", Fit::Left),
        ("WAITING", Fit::Right),
    ]);
    for condition in conditions {
        let (state, tint) = state(condition);
        let by = match (condition.said, condition.by_owner) {
            (None, _) => "",
            (Some(_), true) => "its program",
            (Some(_), false) => "another",
        };
        table.row([
            safe(&condition.name).into_owned().into(),
            Cell::tinted(state.trim_start_matches("is ").to_owned(), tint),
            condition.set_at.map_or_else(String::new, |at| distance(at, now)).into(),
            by.into(),
            number(condition.waiting).into(),
        ]);
    }
    table.print(&mut session.screen)
}

/// Whether it is met, in words.
fn state(condition: &Condition) -> (&'static str, Tint) {
    match (condition.is_met, condition.is_unknown) {
        (true, _) => ("is met", Tint::Good),
        (false, true) => ("is unknown", Tint::Warn),
        (false, false) => ("is not met", Tint::Warn),
    }
}
