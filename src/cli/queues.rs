//! The verbs for queues: `list`, `limit`, `rate`, `pause`, `resume`.

use clap::Subcommand;

use super::manage::{set_paused, unknown_queue};
use crate::console::inspect::queue::{held, note};
use crate::console::screen::Tint;
use crate::console::table::{Cell, Fit, Table};
use crate::console::text::safe;
use crate::console::words::number;
use crate::console::{CliError, CliResult, Exit, Session, filter};
use crate::{QueueCounts, Rate, Timestamp};

/// What can be done with queues.
#[derive(Debug, Subcommand)]
pub(super) enum QueueVerb {
    /// List the queues, what bounds them, and what they wait for
    List,
    /// Bound how many tasks of a queue run at once
    Limit {
        /// The queue; it may have no task yet
        #[arg(value_name = "QUEUE", value_parser = filter::text())]
        queue: String,
        /// At least 1; `none` takes the limit away
        #[arg(value_name = "N|none", value_parser = limit)]
        limit: BoundArg<u32>,
    },
    /// Bound how often tasks of a queue start
    Rate {
        /// The queue; it may have no task yet
        #[arg(value_name = "QUEUE", value_parser = filter::text())]
        queue: String,
        /// At most so many starts in a time: 50/1m, 2/1s; `none` takes the rate away
        #[arg(value_name = "RATE|none", value_parser = rate)]
        rate: BoundArg<Rate>,
        /// How many may start at once after a rest
        #[arg(long, value_name = "N", default_value_t = 1)]
        burst: u32,
    },
    /// Start no more tasks of these queues, until they are resumed; what runs goes on
    Pause(ToPause),
    /// Start tasks of these queues again: of paused ones, and of those that a task has closed for a while
    Resume(ToResume),
}

/// Queues to pause.
#[derive(Debug, clap::Args)]
pub(super) struct ToPause {
    /// Queues; a queue may be paused before its first task
    #[arg(value_name = "QUEUE", required = true, value_parser = filter::text())]
    queues: Vec<String>,
}

impl ToPause {
    pub(super) fn run(&self, session: &mut Session) -> CliResult {
        set_paused(session, &self.queues, true)
    }
}

/// Queues to resume.
#[derive(Debug, clap::Args)]
pub(super) struct ToResume {
    /// Queues of the file
    #[arg(value_name = "QUEUE", required = true, value_parser = filter::text())]
    queues: Vec<String>,
}

impl ToResume {
    pub(super) fn run(&self, session: &mut Session) -> CliResult {
        set_paused(session, &self.queues, false)
    }
}

/// A bound as it is typed; `None`: the bound is taken away.
#[derive(Debug, Clone, Copy)]
pub(super) struct BoundArg<T>(Option<T>);

fn bound<T: std::str::FromStr>(text: &str) -> Result<BoundArg<T>, T::Err> {
    if text == "none" { Ok(BoundArg(None)) } else { text.parse().map(|bound| BoundArg(Some(bound))) }
}

fn limit(text: &str) -> Result<BoundArg<u32>, String> {
    bound(text).map_err(|_| "it is a whole number of 1 or more, or none".to_owned())
}

fn rate(text: &str) -> Result<BoundArg<Rate>, String> {
    bound(text).map_err(|e: crate::Error| {
        let why = e.to_string();
        why.strip_prefix(&format!("rate {text:?} ")).map_or(why.clone(), |why| format!("it {why}"))
    })
}

impl QueueVerb {
    pub(super) fn run(self, session: &mut Session) -> CliResult {
        match self {
            QueueVerb::List => list(session),
            QueueVerb::Limit { queue, limit: BoundArg(limit) } => {
                let words = limit.map_or("no limit".to_owned(), |limit| format!("a limit of {limit}"));
                set(session, &queue, &words, |file| file.set_limit(&queue, limit))
            }
            QueueVerb::Rate { queue, rate: BoundArg(rate), burst } => {
                let rate = rate.map(|rate| rate.burst(burst));
                let words = rate.map_or("no rate".to_owned(), |rate| format!("a rate of {rate}"));
                set(session, &queue, &words, |file| file.set_rate(&queue, rate))
            }
            QueueVerb::Pause(queues) => queues.run(session),
            QueueVerb::Resume(queues) => queues.run(session),
        }
    }
}

/// Sets a bound, and says what the queue has then.
fn set(
    session: &mut Session,
    name: &str,
    words: &str,
    act: impl FnOnce(&crate::Queue) -> Result<(), crate::Error>,
) -> CliResult {
    let queue = session.writable_queue()?;
    let unknown = unknown_queue(&queue, &[name.to_owned()])?;
    act(&queue)?;
    session.note_done(format!("{name}: {words}"));
    if session.json {
        print_one(session, name, &queue.counts()?.queue(name))?;
    } else {
        session.screen.line(format_args!("queue {} has {words}", safe(name)))?;
    }
    if let Some(unknown) = unknown {
        session.screen.remark(unknown);
    }
    Ok(Exit::Done)
}

fn print_one(session: &mut Session, name: &str, counts: &QueueCounts) -> Result<(), CliError> {
    let mut line = serde_json::to_value(counts).unwrap_or_default();
    if let Some(line) = line.as_object_mut() {
        line.insert("queue".to_owned(), name.into());
    }
    Ok(session.screen.json(&line)?)
}

fn list(session: &mut Session) -> CliResult {
    let (counts, now) = (session.read_only_queue()?.counts()?, session.now());
    if session.json {
        for (name, counts) in &counts.queues {
            print_one(session, name, counts)?;
        }
        return Ok(Exit::Done);
    }
    let mut table = Table::new(&[
        ("QUEUE", Fit::Cut),
        ("READY", Fit::Right),
        ("WAITING", Fit::Right),
        ("HELD", Fit::Right),
        ("BY KEY", Fit::Right),
        ("RUNNING", Fit::Right),
        ("LIMIT", Fit::Right),
        ("RATE", Fit::Left),
        ("", Fit::Left),
    ]);
    for (name, counts) in &counts.queues {
        table.row([
            safe(name).into_owned().into(),
            number(counts.ready).into(),
            number(counts.waiting).into(),
            number(held(counts)).into(),
            by_key(counts),
            number(counts.running).into(),
            counts.limit.map_or("–".to_owned(), |limit| number(u64::from(limit))).into(),
            counts.rate.map_or("–".to_owned(), |rate| rate.to_string()).into(),
            queue_note(counts, now),
        ]);
    }
    table.print(&mut session.screen)?;
    Ok(Exit::Done)
}

/// How many of the held tasks wait for a permit of their key, as a cell of a table; empty if none does.
pub(super) fn by_key(counts: &QueueCounts) -> Cell {
    if counts.limited == 0 { "".into() } else { number(counts.limited).into() }
}

/// What keeps all of a queue from starting, as a cell of a table.
pub(super) fn queue_note(counts: &QueueCounts, now: Timestamp) -> Cell {
    note(counts, now).map_or_else(|| "".into(), |note| Cell::tinted(note, Tint::Warn))
}
