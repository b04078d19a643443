//! The verbs `stats` (states, queues, rates) and `failures` (tasks grouped by error).

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::condition;
use super::queues::{by_key, queue_note};
use super::schedule::next_cell;
use crate::console::filter::FilterArgs;
use crate::console::inspect::explain::{Explainer, WorkerStatus, is_to_run};
use crate::console::inspect::queue::held;
use crate::console::inspect::rollups::by_name;
use crate::console::inspect::schedule::NextSchedules;
use crate::console::inspect::task::running_here;
use crate::console::paging::at_least_one;
use crate::console::screen::Tint;
use crate::console::table::{Cell, Fit, Table, print_flowing};
use crate::console::text::safe;
use crate::console::times::{Past, past_day};
use crate::console::words::{count, distance, measured, number, span};
use crate::console::{CliResult, Exit, Session};
use crate::inspect::{FailureGroup, Failures as Failed, Rollup};
use crate::{Condition, Filter, Queue, QueueCounts, State, TaskRecord, Timestamp};

/// Count tasks by state and queue, and say what was done lately.
#[derive(Debug, clap::Args)]
pub(super) struct StatsArgs {
    /// Rates and times over so long, or since a time: a day at most, the file keeps no more
    #[arg(long, value_name = "AGE|TIME", default_value = "1h", value_parser = past_day)]
    since: Past,
}

/// What `stats` shows.
#[derive(Serialize)]
struct Statistics {
    total: QueueCounts,
    queues: BTreeMap<String, QueueCounts>,
    ready_since: BTreeMap<String, Timestamp>,
    schedules: NextSchedules,
    conditions: Vec<Condition>,
    next_due: Option<Timestamp>,
    /// The next due time of a task in a queue that is not paused.
    next_start: Option<Timestamp>,
    /// None where that cannot be known.
    worker_runs: Option<bool>,
    dead_letters_at_least: usize,
    since: Timestamp,
    /// By task name; the minute is the first one.
    names: Vec<Rollup>,
}

/// Schedules that are shown: broken ones first, then those that fire next.
const MAX_SCHEDULES: usize = 20;

/// Dead letters are counted up to this number: the file has no counter of them.
const MAX_COUNTED_LETTERS: usize = 1000;

impl Statistics {
    fn gather(queue: &Queue, since: Timestamp) -> Result<Statistics, crate::Error> {
        let counts = queue.counts()?;
        Ok(Statistics {
            total: counts.total(),
            queues: counts.queues,
            ready_since: queue.ready_since()?,
            schedules: NextSchedules::read(queue, MAX_SCHEDULES)?,
            conditions: queue.conditions()?,
            next_due: queue.next_due()?,
            next_start: queue.next_start()?,
            worker_runs: None,
            dead_letters_at_least: queue.dead_letters().list(Filter::new().limit(MAX_COUNTED_LETTERS))?.len(),
            since,
            names: by_name(&queue.rollups(since.to_system_time())?),
        })
    }
}

/// How many tasks are read to find out what program runs them.
const MAX_SAMPLE: usize = 50;

impl StatsArgs {
    pub(super) fn run(&self, session: &mut Session) -> CliResult {
        let now = session.now();
        let window = self.since.ago(now);
        let queue = session.read_only_queue()?;
        let explainer = session.explainer(&queue);
        let statistics = Statistics {
            worker_runs: explainer.worker.runs(),
            ..Statistics::gather(&queue, now.saturating_sub(window))?
        };
        if session.json {
            session.screen.json(&statistics)?;
            return Ok(Exit::Done);
        }
        print_states(session, &statistics)?;
        let running = running_here(&queue, statistics.total.running);
        let to_run = statistics.total.ready.saturating_add(running);
        let some = if explainer.worker == WorkerStatus::Missing && to_run > 0 {
            some_to_run(&queue)
        } else {
            Vec::new()
        };
        match explainer.missing_worker(to_run, &some) {
            Some(missing) => session.screen.line(session.screen.tint(Tint::Warn, missing))?,
            None => session.screen.line(explainer.worker.words())?,
        }
        print_queues(session, &statistics, now)?;
        print_schedules(session, &statistics.schedules, &explainer)?;
        if !statistics.conditions.is_empty() {
            session.screen.line("")?;
            condition::print(session, &statistics.conditions, now)?;
        }
        print_names(session, &statistics.names, self.since, window)?;
        Ok(Exit::Done)
    }
}

/// A sample of the tasks that are to run; none if they cannot be read.
fn some_to_run(queue: &Queue) -> Vec<TaskRecord> {
    let filter = Filter::new().state(State::Queued).state(State::Running).limit(MAX_SAMPLE);
    let mut some = queue.tasks(filter).unwrap_or_default();
    some.retain(is_to_run);
    some
}

fn print_states(session: &mut Session, statistics: &Statistics) -> std::io::Result<()> {
    let cells = State::ALL.map(|state| {
        let n = statistics.total.in_state(state);
        let tint = if n == 0 { Tint::Dim } else { Tint::of(state) };
        Cell::tinted(format!("{} {}", number(n), state), tint)
    });
    print_flowing(cells.iter().map(|cell| (String::new(), cell)), &mut session.screen)?;
    if statistics.dead_letters_at_least > 0 {
        let n = statistics.dead_letters_at_least;
        let or_more = if n == MAX_COUNTED_LETTERS { " or more" } else { "" };
        session.screen.line(format_args!("{}{or_more}", count(n as u64, "dead letter")))?;
    }
    Ok(())
}

fn print_names(
    session: &mut Session,
    names: &[Rollup],
    since: Past,
    window: Duration,
) -> std::io::Result<()> {
    let since = since.since(session.zone);
    if names.is_empty() {
        return session.screen.line(format_args!("\nno attempt has ended {since}"));
    }
    let heading = format!("attempts that ended {since}");
    let heading = session.screen.tint(Tint::Bold, heading);
    session.screen.line(format_args!("\n{heading}"))?;
    let mut table = Table::new(&[
        ("NAME", Fit::Cut),
        ("OK", Fit::Right),
        ("RETRIED", Fit::Right),
        ("FAILED", Fit::Right),
        ("LOST", Fit::Right),
        ("PER MIN", Fit::Right),
        ("RAN P50", Fit::Right),
        ("RAN P95", Fit::Right),
        ("WAITED P50", Fit::Right),
        ("WAITED P95", Fit::Right),
    ]);
    let minutes = (window.as_secs_f64() / 60.0).max(1.0);
    for rollup in names {
        let quantile =
            |histogram: &crate::inspect::Histogram, q| histogram.quantile(q).map_or("–".into(), measured);
        let bad = |n: u64| if n == 0 { "0".into() } else { Cell::tinted(number(n), Tint::Bad) };
        table.row([
            safe(&rollup.task_name).into_owned().into(),
            number(rollup.succeeded).into(),
            number(rollup.retried).into(),
            bad(rollup.failed),
            bad(rollup.lost),
            format!("{:.1}", rollup.ended() as f64 / minutes).into(),
            quantile(&rollup.ran, 0.5).into(),
            quantile(&rollup.ran, 0.95).into(),
            quantile(&rollup.waited, 0.5).into(),
            quantile(&rollup.waited, 0.95).into(),
        ]);
    }
    table.print(&mut session.screen)
}

fn print_queues(session: &mut Session, statistics: &Statistics, now: Timestamp) -> std::io::Result<()> {
    if statistics.queues.is_empty() {
        return Ok(());
    }
    session.screen.line("")?;
    let mut table = Table::new(&[
        ("QUEUE", Fit::Cut),
        ("READY", Fit::Right),
        ("OLDEST", Fit::Right),
        ("WAITING", Fit::Right),
        ("HELD", Fit::Right),
        ("BY KEY", Fit::Right),
        ("RUNNING", Fit::Right),
        ("LIMIT", Fit::Right),
        ("RATE", Fit::Left),
        ("FAILED", Fit::Right),
        ("LOST", Fit::Right),
        ("", Fit::Left),
    ]);
    for (name, counts) in &statistics.queues {
        let oldest = statistics.ready_since.get(name).map_or(String::new(), |since| span(now.since(*since)));
        table.row([
            safe(name).into_owned().into(),
            number(counts.ready).into(),
            oldest.into(),
            number(counts.waiting).into(),
            number(held(counts)).into(),
            by_key(counts),
            number(counts.running).into(),
            counts.limit.map_or_else(String::new, |limit| number(u64::from(limit))).into(),
            counts.rate.map_or_else(String::new, |rate| rate.to_string()).into(),
            number(counts.failed).into(),
            number(counts.lost).into(),
            queue_note(counts, now),
        ]);
    }
    table.print(&mut session.screen)?;
    if let Some(due) = statistics.next_start {
        let when = match (due > now, statistics.worker_runs) {
            (true, _) => distance(due, now),
            (false, Some(false)) => "now, as soon as a worker runs".to_owned(),
            (false, _) => "now".to_owned(),
        };
        session.screen.line(format_args!("next due {when}"))?;
    }
    Ok(())
}

fn print_schedules(
    session: &mut Session,
    schedules: &NextSchedules,
    explainer: &Explainer,
) -> std::io::Result<()> {
    if schedules.rows.is_empty() {
        return Ok(());
    }
    session.screen.line("")?;
    let mut table = Table::new(&[
        ("SCHEDULE", Fit::Cut),
        ("NEXT", Fit::Left),
        ("", Fit::Left),
        ("LAST RUN", Fit::Left),
        ("WHEN", Fit::Cut),
    ]);
    for schedule in &schedules.rows {
        let record = &schedule.record;
        let last_run = match (schedule.last_run_state, schedule.last_run_at) {
            (Some(state), Some(at)) => {
                Cell::tinted(format!("{state} {}", distance(at, explainer.now)), Tint::of(state))
            }
            _ => "".into(),
        };
        table.row([
            safe(&record.schedule).into_owned().into(),
            record.fires_at.map_or_else(String::new, |at| session.time(at)).into(),
            next_cell(record, explainer.now),
            last_run,
            safe(&schedule.when()).into_owned().into(),
        ]);
    }
    table.print(&mut session.screen)?;
    if schedules.more {
        let list = explainer.verb(format_args!("schedule list"));
        session.screen.line(format_args!("there are more: {list} has all of them"))?;
    }
    Ok(())
}

/// Group FAILED and LOST tasks by what went wrong.
#[derive(Debug, clap::Args)]
pub(super) struct FailuresArgs {
    #[command(flatten)]
    which: FilterArgs,
    /// Look at the newest N failed tasks
    #[arg(long, short = 'l', default_value_t = 10_000, value_name = "N", value_parser = at_least_one)]
    limit: usize,
}

impl FailuresArgs {
    pub(super) fn run(&self, session: &mut Session) -> CliResult {
        let now = session.now();
        let queue = session.read_only_queue()?;
        let filter = self.which.filter(now).limit(self.limit);
        let failures = queue.failures(filter.clone())?;
        let (retrying, more_queued) = match self.which.names_states() {
            true => (Vec::new(), false),
            false => {
                let found = queue.failures(filter.state(State::Queued))?;
                (found.groups, found.more)
            }
        };
        let retrying: Vec<_> = retrying.into_iter().filter(|group| !group.error_type.is_empty()).collect();
        if session.json {
            session.screen.json(&FailuresJson { failures, retrying, more_queued })?;
            return Ok(Exit::Done);
        }
        if failures.groups.is_empty() {
            session.screen.remark("nothing has failed for good");
        } else {
            print_groups(session, &failures.groups, now)?;
        }
        if failures.more {
            session.screen.remark(format_args!(
                "of the newest {}; there are more",
                count(failures.looked_at, "failure")
            ));
        }
        if !retrying.is_empty() {
            let heading = session.screen.tint(Tint::Bold, "failed, will be tried again");
            session.screen.line(format_args!("\n{heading}"))?;
            print_groups(session, &retrying, now)?;
        }
        if more_queued {
            session.screen.remark(format_args!(
                "looked at the newest {} only; --limit looks at more",
                count(self.limit as u64, "queued task")
            ));
        }
        Ok(Exit::Done)
    }
}

/// The JSON answer of `failures`.
#[derive(Serialize)]
struct FailuresJson {
    #[serde(flatten)]
    failures: Failed,
    /// Groups of tasks that have failed and wait for their next attempt.
    retrying: Vec<FailureGroup>,
    /// More tasks are queued than were looked at for that.
    more_queued: bool,
}

fn print_groups(session: &mut Session, groups: &[FailureGroup], now: Timestamp) -> std::io::Result<()> {
    let mut table = Table::new(&[
        ("COUNT", Fit::Right),
        ("NAME", Fit::Cut),
        ("ERROR", Fit::Cut),
        ("MESSAGE", Fit::Cut),
        ("NEWEST", Fit::Right),
        ("WHEN", Fit::Left),
    ]);
    for group in groups {
        table.row([
            number(group.count).into(),
            safe(&group.task_name).into_owned().into(),
            Cell::tinted(safe(&group.error_type), Tint::Bad),
            safe(group.message.lines().next().unwrap_or_default()).into_owned().into(),
            group.newest.to_string().into(),
            group.newest_at.map_or(String::new(), |at| distance(at, now)).into(),
        ]);
    }
    table.print(&mut session.screen)
}
