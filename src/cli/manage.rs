//! The verbs that change tasks and queues.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::console::consent::Consent;
use crate::console::filter::Target;
use crate::console::inspect::action::{self, TaskAction};
use crate::console::times::{Past, past};
use crate::console::words::{count, number};
use crate::console::{CliError, CliResult, Exit, Session};
use crate::{Bulk, Config, Error, Filter, Options, Queue, State, TaskId};

/// A verb that changes tasks.
pub(super) struct Change {
    /// What stands before "3 tasks".
    pub verb: &'static str,
    /// As in "task 3 is queued again", and in "3 tasks are queued again".
    pub done: [&'static str; 2],
    /// The same of tasks that run on for a while, for a verb that only asks them to stop.
    pub asked: Option<[&'static str; 2]>,
    pub one: fn(&Queue, TaskId) -> Result<(), CliError>,
    pub action: &'static TaskAction,
}

const RETRY: Change = Change {
    verb: "retry",
    done: ["is queued again", "are queued again"],
    asked: None,
    one: |queue, id| Ok(queue.retry(id)?),
    action: &action::RETRY,
};

const RETRY_FROM_START: Change = Change {
    done: [
        "is queued again, without its checkpoint and steps",
        "are queued again, without their checkpoints and steps",
    ],
    one: |queue, id| Ok(queue.retry_from_start(id)?),
    action: &action::RETRY_FROM_START,
    ..RETRY
};

/// Queue FAILED, LOST or CANCELLED tasks again, with fresh attempts.
#[derive(Debug, clap::Args)]
pub(super) struct RetryArgs {
    #[command(flatten)]
    target: Target,
    /// Drop their checkpoints (how far they had come): they begin anew
    #[arg(long)]
    from_start: bool,
}

impl RetryArgs {
    pub(super) fn run(&self, session: &mut Session) -> CliResult {
        let change = if self.from_start { RETRY_FROM_START } else { RETRY };
        change.run(session, &self.target)
    }
}

pub(super) const CANCEL: Change = Change {
    verb: "cancel",
    done: ["is cancelled", "are cancelled"],
    asked: Some(["runs, and was told to stop", "run, and were told to stop"]),
    one: |queue, id| Ok(queue.cancel(id)?),
    action: &action::CANCEL,
};

const DELETED: [&str; 2] = ["is deleted", "are deleted"];

pub(super) const DELETE: Change = Change {
    verb: "delete",
    done: DELETED,
    asked: None,
    one: |queue, id| Ok(queue.delete(id)?),
    action: &action::DELETE,
};

/// How many tasks that stay as they are, are counted at most.
const MAX_COUNTED_TO_STAY: usize = 1000;

pub(super) const MOVE_TO_DEAD: Change = Change {
    verb: "move to the dead letters:",
    done: ["is a dead letter", "are dead letters"],
    asked: None,
    one: move_one,
    action: &action::MOVE_TO_DEAD_LETTERS,
};

pub(super) const RUN_NOW: Change = Change {
    verb: "run now:",
    done: ["is ready", "are ready"],
    asked: None,
    one: |queue, id| Ok(queue.run_now(id)?),
    action: &action::RUN_NOW,
};

fn move_one(queue: &Queue, id: TaskId) -> Result<(), CliError> {
    let state = queue.get(id)?.state;
    let bulk = queue.move_to_dead_letters(Filter::new().id(id).state(state))?;
    match bulk.changed {
        0 => Err(CliError::new(
            Exit::Refused,
            format!("task {id} is {state}; only FAILED and LOST tasks become dead letters"),
        )),
        _ => Ok(()),
    }
}

impl Change {
    pub(super) fn run(&self, session: &mut Session, target: &Target) -> CliResult {
        target.check()?;
        if target.ids.is_empty() { self.by_filter(session, target) } else { self.by_id(session, target) }
    }

    fn by_id(&self, session: &mut Session, target: &Target) -> CliResult {
        if target.consent.dry_run {
            return self.would_change(session, target);
        }
        each(session, &target.ids, |queue, id| {
            (self.one)(queue, id)?;
            let runs = || queue.get(id).is_ok_and(|task| task.state == State::Running);
            Ok(self.asked.filter(|_| runs()).map_or(self.done[0], |[one, _]| one))
        })
    }

    /// The question without its mark, such as `retry 3 tasks`.
    fn what(&self, tasks: u64) -> String {
        format!("{} {}", self.verb, count(tasks, "task"))
    }

    /// Counts those of some tasks that it can change, and complains of the others.
    fn would_change(&self, session: &mut Session, target: &Target) -> CliResult {
        let queue = session.read_only_queue()?;
        let mut tasks = 0;
        for id in &target.ids {
            match queue.get(*id) {
                Ok(task) if self.action.allows(&task) => tasks += 1,
                Ok(task) => {
                    let verb = self.verb.trim_end_matches(':');
                    let is = match task.hold.filter(|_| self.action.allowed.contains(&task.state)) {
                        Some(_) => format!("{}, and not for its time or its turn", task.state),
                        None => task.state.to_string(),
                    };
                    let message = format!("task {id} is {is}, and {verb} would refuse it");
                    session.screen.print_error(&CliError::new(Exit::Refused, message));
                }
                Err(e) => {
                    let error = session.explainer(&queue).unless_letter(&queue, *id, e);
                    session.screen.print_error(&session.naming(error));
                }
            }
        }
        let exit = target.consent.confirm(session, &self.what(tasks), tasks)?.unwrap_or(Exit::Done);
        Ok(if tasks < target.ids.len() as u64 { Exit::Refused } else { exit })
    }

    fn by_filter(&self, session: &mut Session, target: &Target) -> CliResult {
        let filter = target.which.filter(session.now());
        let names_states = target.which.names_states();
        let states = if names_states { self.action.allowed } else { self.action.default };
        let mut tasks = 0;
        if let Some(meant) = target.which.among(states) {
            let queue = session.read_only_queue()?;
            tasks = self.action.count(&queue, meant.filter(session.now()))?;
            if !names_states {
                self.tell_staying(session, &queue, target)?;
            }
        }
        if let Some(exit) = target.consent.confirm(session, &self.what(tasks), tasks)? {
            return Ok(exit);
        }
        let queue = session.writable_queue()?;
        let bulk = (self.action.all)(&queue, filter)?;
        let asked = match (self.asked, target.which.among(&[State::Running])) {
            (Some(words), Some(running)) if bulk.changed > 0 => {
                // Those that have stopped meanwhile are done.
                let running = queue.count(running.filter(session.now())).unwrap_or_default();
                Some((running.min(bulk.changed), words))
            }
            _ => None,
        };
        print_bulk(session, bulk, self.done, asked)
    }

    /// Says how many tasks match and stay as they are, because the filter does not name their state.
    fn tell_staying(&self, session: &Session, queue: &Queue, target: &Target) -> Result<(), CliError> {
        for state in self.action.allowed.iter().filter(|state| !self.action.default.contains(state)) {
            let Some(matching) = target.which.among(&[*state]) else { continue };
            let filter = matching.filter(session.now()).limit(MAX_COUNTED_TO_STAY + 1);
            let more = match queue.count(filter)? {
                0 => continue,
                n if n > MAX_COUNTED_TO_STAY as u64 => {
                    format!("more than {}", number(MAX_COUNTED_TO_STAY as u64))
                }
                n => number(n),
            };
            let [are, them] = if more == "1" { ["is", "it"] } else { ["are", "them"] };
            let how = match target.all {
                true => format!("name --state {state} in place of --all"),
                false => format!("add --state {state}"),
            };
            let verb = self.verb;
            session.screen.remark(format_args!(
                "{more} that match {are} {state}, and stay; {how} to {verb} {them}, too"
            ));
        }
        Ok(())
    }
}

/// Prints what a verb over many tasks did; `asked`: to how many of them it is not done yet. The exit code is 1 if it changed nothing.
fn print_bulk(
    session: &mut Session,
    bulk: Bulk,
    done: [&str; 2],
    asked: Option<(u64, [&str; 2])>,
) -> CliResult {
    session.note_done(format!("{} changed", count(bulk.changed, "task")));
    if session.json {
        session.screen.json(&bulk)?;
    } else {
        let told = |n: u64, [one, many]: [&str; 2]| {
            format!("{} {}", count(n, "task"), if n == 1 { one } else { many })
        };
        let asked = asked.filter(|(n, _)| *n > 0);
        let finished = bulk.changed - asked.map_or(0, |(n, _)| n);
        let finished = (finished > 0 || asked.is_none()).then(|| told(finished, done));
        let parts: Vec<_> = finished.into_iter().chain(asked.map(|(n, words)| told(n, words))).collect();
        let skipped = match bulk.skipped {
            0 => String::new(),
            n => format!("; {} skipped: their state or a unique key does not allow it", count(n, "task")),
        };
        session.screen.line(format_args!("{}{skipped}", parts.join("; ")))?;
    }
    Ok(if bulk.changed == 0 { Exit::No } else { Exit::Done })
}

/// Changes tasks one by one, so that it is known which was refused and why.
fn each(
    session: &mut Session,
    ids: &[TaskId],
    one: impl Fn(&Queue, TaskId) -> Result<&'static str, CliError>,
) -> CliResult {
    let queue = session.writable_queue()?;
    let (mut changed, mut refused) = (Vec::new(), Vec::new());
    for id in ids {
        match one(&queue, *id) {
            Ok(done) => {
                changed.push(Changed { id: *id, replayed_as: None, answer: format!("task {id} {done}") });
            }
            Err(error) => {
                let error = session.explainer(&queue).unless_letter(&queue, *id, error);
                refused.push((*id, session.naming(error)));
            }
        }
    }
    print_ids(session, &changed, &refused)?;
    Ok(refused.first().map_or(Exit::Done, |(_, error)| error.exit))
}

/// The JSON answer of a verb that names ids: the counts of [`Bulk`], as for a filter, and the ids.
#[derive(Serialize)]
struct IdsJson<'r> {
    changed: usize,
    skipped: usize,
    task_ids: Vec<TaskId>,
    /// Why, by the id.
    refused: BTreeMap<i64, &'r str>,
    /// For dead letters that are replayed: which tasks were made of them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    replayed_as: BTreeMap<i64, TaskId>,
}

/// A task or dead letter that a verb has changed.
pub(super) struct Changed {
    pub id: TaskId,
    pub replayed_as: Option<TaskId>,
    /// The line to print.
    pub answer: String,
}

/// Prints what was done to each id.
pub(super) fn print_ids(
    session: &mut Session,
    changed: &[Changed],
    refused: &[(TaskId, CliError)],
) -> Result<(), CliError> {
    if !changed.is_empty() {
        session.note_done(changed.iter().map(|one| one.answer.as_str()).collect::<Vec<_>>().join("; "));
    }
    for (_, error) in refused {
        session.screen.print_error(error);
    }
    if session.json {
        session.screen.json(&IdsJson {
            changed: changed.len(),
            skipped: refused.len(),
            task_ids: changed.iter().map(|one| one.id).collect(),
            refused: refused.iter().map(|(id, error)| (id.as_i64(), error.message.as_str())).collect(),
            replayed_as: changed.iter().filter_map(|one| Some((one.id.as_i64(), one.replayed_as?))).collect(),
        })?;
    } else {
        for one in changed {
            session.screen.line(&one.answer)?;
        }
    }
    Ok(())
}

/// Pauses or resumes queues. One without tasks may be paused before its first, or be mistyped: that is told.
pub(super) fn set_paused(session: &mut Session, queues: &[String], paused: bool) -> CliResult {
    for name in queues {
        Options::new().queue(name).validate(&Config::default(), session.now().to_system_time())?; // all of them, before one is changed
    }
    let queue = session.writable_queue()?;
    let unknown = unknown_queue(&queue, queues)?;
    for name in queues {
        if paused { queue.pause(name)? } else { queue.resume(name)? }
    }
    print_paused(session, queues, paused)?;
    if let Some(unknown) = unknown {
        let until = if paused { "; it stays paused until it is resumed" } else { "" };
        session.screen.remark(format_args!("{unknown}{until}"));
    }
    Ok(Exit::Done)
}

/// How many queues a message names at most.
const MAX_NAMED_QUEUES: usize = 10;

/// A sentence on the first of these queues in which no task is.
pub(super) fn unknown_queue(queue: &Queue, named: &[String]) -> Result<Option<String>, Error> {
    let counts = queue.counts()?;
    let Some(unknown) = named.iter().find(|name| !counts.queues.contains_key(*name)) else {
        return Ok(None);
    };
    let known: Vec<&str> = counts.queues.keys().take(MAX_NAMED_QUEUES).map(String::as_str).collect();
    let more = if counts.queues.len() > MAX_NAMED_QUEUES { ", …" } else { "" };
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") + more };
    Ok(Some(format!("no task is in a queue {unknown:?}; the file has: {known}")))
}

fn print_paused(session: &mut Session, queues: &[String], paused: bool) -> Result<(), CliError> {
    let word = if paused { "paused" } else { "resumed" };
    session.note_done(format!("{}: {word}", queues.join(", ")));
    for name in queues {
        if session.json {
            session.screen.json(&serde_json::json!({ "queue": name, "paused": paused }))?;
        } else {
            session.screen.line(format_args!("queue {} is {word}", crate::console::text::safe(name)))?;
        }
    }
    Ok(())
}

/// Delete tasks that succeeded or were cancelled long ago.
#[derive(Debug, clap::Args)]
pub(super) struct PurgeArgs {
    /// That finished so long ago, or longer: 90s, 12h, 7d; or before this time
    #[arg(long, value_name = "AGE|TIME", value_parser = past)]
    older_than: Past,
    #[command(flatten)]
    consent: Consent,
}

impl PurgeArgs {
    pub(super) fn run(&self, session: &mut Session) -> CliResult {
        let now = session.now();
        let before = self.older_than.at(now).to_system_time();
        let ended = Filter::new().state(State::Succeeded).state(State::Cancelled).finished_before(before);
        let tasks = session.read_only_queue()?.count(ended)?;
        let what = format!(
            "delete {} that succeeded or were cancelled {}",
            count(tasks, "task"),
            self.older_than.before(session.zone)
        );
        if let Some(exit) = self.consent.confirm(session, &what, tasks)? {
            return Ok(exit);
        }
        let changed = session.writable_queue()?.purge(before)? as u64;
        print_bulk(session, Bulk { changed, skipped: 0 }, DELETED, None)
    }
}
