//! All that is known of one task or dead letter: read once, for the verb `show` and for the screen, and the facts of it in words.

use std::time::Duration;

use super::task::{command_of, ran};
use crate::console::table::shorten;
use crate::console::text::safe;
use crate::console::times::Zone;
use crate::console::words::{bytes, count, distance, span};
use crate::inspect::Explanation;
use crate::{
    Attempt, DeadLetter, Error, ErrorKind, Hold, KeyRecord, LimitRecord, NeedsRecord, Output, OutsideRecord,
    Queue, State, StepRecord, TaskId, TaskRecord, Timestamp,
};

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum TaskOrLetter {
    Task(TaskRecord),
    Letter(DeadLetter),
}

/// All that is known of one task or dead letter.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TaskDetail {
    pub record: TaskOrLetter,
    /// The command line, if it is a job for the shell.
    pub command: Option<String>,
    /// None if it was deleted while it was read.
    pub args: Option<String>,
    pub attempts: Vec<Attempt>,
    pub output: Vec<Output>,
    pub checkpoint: Option<String>,
    /// The steps that are done.
    pub steps: Vec<StepRecord>,
    pub result: Option<String>,
    /// Why it does not run, or that it does; none for a dead letter.
    pub explanation: Option<String>,
    /// The waits after each failure.
    pub schedule: Vec<Duration>,
}

impl TaskDetail {
    /// Reads the details of a task, or of the dead letter that it has become. `generation`: the one whose output is read; none: the newest that
    /// wrote anything.
    ///
    /// # Errors
    /// `NotFound` if there is neither; those of reading the file.
    pub(crate) fn read(
        queue: &Queue,
        id: TaskId,
        generation: Option<u64>,
        explain: impl Fn(&Explanation) -> String,
    ) -> Result<TaskDetail, Error> {
        let missing = match queue.get(id) {
            Ok(task) => {
                let mut detail = TaskDetail::read_rest(queue, id, generation, TaskOrLetter::Task(task))?;
                detail.explanation = found(queue.explain(id))?.map(|why| explain(&why));
                detail.schedule = found(queue.retry_schedule(id))?.unwrap_or_default();
                return Ok(detail);
            }
            Err(e) if e.kind() == ErrorKind::NotFound => e,
            Err(e) => return Err(e),
        };
        match TaskDetail::read_letter(queue, id) {
            Err(e) if e.kind() == ErrorKind::NotFound => Err(missing),
            letter => letter,
        }
    }

    /// Reads the details of a dead letter.
    ///
    /// # Errors
    /// `NotFound` if there is none; those of reading the file.
    pub(crate) fn read_letter(queue: &Queue, id: TaskId) -> Result<TaskDetail, Error> {
        let letter = queue.dead_letters().get(id)?;
        TaskDetail::read_rest(queue, id, None, TaskOrLetter::Letter(letter))
    }

    fn read_rest(
        queue: &Queue,
        id: TaskId,
        generation: Option<u64>,
        record: TaskOrLetter,
    ) -> Result<TaskDetail, Error> {
        let args = found(queue.args_json(id))?;
        let name = match &record {
            TaskOrLetter::Task(task) => &task.task_name,
            TaskOrLetter::Letter(letter) => &letter.task_name,
        };
        Ok(TaskDetail {
            command: args.as_deref().and_then(|args| command_of(name, args)),
            args,
            attempts: found(queue.attempts(id))?.unwrap_or_default(),
            output: queue.output(id, generation)?,
            checkpoint: queue.checkpoint_json(id)?,
            steps: queue.steps(id)?,
            result: queue.result_json(id)?,
            explanation: None,
            schedule: Vec::new(),
            record,
        })
    }

    /// Its known facts: a label and a text each.
    pub(crate) fn facts(&self, now: Timestamp, zone: Zone) -> Vec<(&'static str, String)> {
        match &self.record {
            TaskOrLetter::Task(task) => task_facts(task, now, zone),
            TaskOrLetter::Letter(letter) => letter_facts(letter, now, zone),
        }
    }

    /// All waits between its retries, and when the next attempt starts; none for a task with one attempt, and for a dead letter.
    pub(crate) fn retries(&self, now: Timestamp) -> Option<String> {
        let TaskOrLetter::Task(task) = &self.record else { return None };
        if task.max_attempts < 2 {
            return None;
        }
        let waits: Vec<String> = self.schedule.iter().map(|wait| span(*wait)).collect();
        let mut text = format!("waits {} after its failures", waits.join(", "));
        if task.backoff.is_none() {
            text.push_str(" (the default)");
        }
        if let (Some(Hold::Time), Some(due), Some(_)) = (task.hold, task.run_at, &task.error_type) {
            let next = task.attempt_number + 1;
            text.push_str(&format!("; attempt {next} {}", distance(due, now)));
        }
        Some(text)
    }
}

/// A step in one line: its name, when it was done, and its result, cut to `columns`.
pub(crate) fn step_line(step: &StepRecord, zone: Zone, columns: usize) -> String {
    let number = step.number.map_or_else(String::new, |number| format!(" {number}"));
    let gave = step.result_json.as_deref().unwrap_or("(a sleep)");
    let line = format!("{}{number}  {}  ", safe(&step.name), zone.show(step.done_at));
    let left = columns.saturating_sub(line.chars().count()).max(10);
    // Only its beginning can be shown.
    let start: String = gave.chars().take(left + 1).collect();
    line + &shorten(&safe(&start), left)
}

/// `NotFound` is answered as none: the task may have been deleted between two reads.
fn found<T>(read: Result<T, Error>) -> Result<Option<T>, Error> {
    match read {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn task_facts(task: &TaskRecord, now: Timestamp, zone: Zone) -> Vec<(&'static str, String)> {
    let time = |moment: Timestamp| format!("{} ({})", zone.show(moment), distance(moment, now));
    let mut facts = vec![
        ("queue", format!("{}, priority {}", task.queue, task.priority)),
        (
            "attempt",
            format!("{} of {}, generation {}", task.attempt_number, task.max_attempts, task.generation),
        ),
        ("enqueued", time(task.created_at)),
    ];
    let free = task.generation.saturating_sub(u64::from(task.attempt_number));
    if free > 0 {
        let times = count(task.generation, "time");
        let text = format!(
            "taken by a worker {times}; not counted as attempts: {free} (handed back, snoozed, or before a retry by hand)"
        );
        facts.push(("starts", text));
    }
    for (label, moment) in [
        ("due", task.run_at),
        ("expires", task.expires_at),
        ("started", task.started_at),
        ("finished", task.finished_at.filter(|_| task.state.is_finished())),
    ] {
        facts.extend(moment.map(|moment| (label, time(moment))));
    }
    if let Some(ran) = ran(task, now).filter(|_| task.state.is_finished()) {
        facts.push(("ran", span(ran) + if task.late { ", past its deadline" } else { "" }));
    }
    facts.extend(task.timeout.map(|timeout| ("timeout", span(timeout))));
    facts.extend(
        task.progress.map(|progress| ("progress", format!("{} of {}", progress.done, progress.total))),
    );
    if task.snoozes > 0 {
        facts.push(("snoozed", count(u64::from(task.snoozes), "time")));
    }
    if task.cancel_requested && task.state == State::Running {
        facts.push(("cancel", "asked for".to_owned()));
    }
    facts.extend(task.replay_of.map(|letter| ("made of", format!("dead letter {letter}"))));
    let key = task.unique.and_then(|key| key_fact(task, key, now, time));
    facts.extend(key.map(|text| ("unique key", text)));
    facts.extend(task.limit.map(|limit| ("key limit", limit_fact(limit))));
    facts.extend(task.needs.as_deref().and_then(needs_fact).map(|needs| ("needs", needs)));
    if let Some(outside) = task.outside.as_deref() {
        facts.push(("outside", outside_fact(outside, task.generation)));
        facts.extend(outside.deadline.map(|deadline| ("deadline", time(deadline))));
    }
    facts
}

/// The engine and the job that do its work; without an engine, what it waits for and the generation that `complete` and `fail` need.
fn outside_fact(outside: &OutsideRecord, generation: u64) -> String {
    match (&outside.engine, &outside.job) {
        (Some(engine), Some(job)) => {
            let accepted = if outside.accepted_at.is_some() { "" } else { ", which has not accepted it yet" };
            format!("on the engine {engine:?}{accepted}, as {job}")
        }
        _ => format!(
            "waits for {:?}; generation {generation}",
            outside.waits_for.as_deref().unwrap_or_default()
        ),
    }
}

/// The conditions and the free disk that it needs; none if it needs neither any more.
fn needs_fact(needs: &NeedsRecord) -> Option<String> {
    let named = |name: &String| match needs.throughout.contains(name) {
        true => format!("{name} (while it runs, too)"),
        false => name.clone(),
    };
    let mut all: Vec<String> = needs.conditions.iter().map(named).collect();
    if needs.free_disk > 0 {
        all.push(format!("{} of free disk", bytes(needs.free_disk)));
    }
    (!all.is_empty()).then(|| all.join(", "))
}

/// How many tasks of its key run at once, and whether it is one of them.
fn limit_fact(limit: LimitRecord) -> String {
    let rule = match limit.serial {
        true => "one after another, retries included".to_owned(),
        false => format!("{} at once", count(u64::from(limit.permits), "task")),
    };
    let held = if limit.held { "; it has a permit" } else { "" };
    format!("{rule}{held}")
}

/// How long its unique key is taken; none if it has ended and the key is free.
fn key_fact(
    task: &TaskRecord,
    key: KeyRecord,
    now: Timestamp,
    time: impl Fn(Timestamp) -> String,
) -> Option<String> {
    let until = key.until.filter(|until| key.held && *until > now).map(time);
    let is_queued = task.state == State::Queued;
    let needs = is_queued || !task.state.is_finished() && !key.until_started;
    Some(match (needs, key.held, until) {
        (true, false, _) => "taken by another task: it runs without".to_owned(),
        (true, true, until) => {
            let scope = if key.until_started { "taken until it starts" } else { "taken until it has ended" };
            scope.to_owned()
                + &until.map_or_else(String::new, |until| format!(", and until {until} in any case"))
        }
        (false, _, Some(until)) => format!("taken until {until}"),
        (false, _, None) if task.state == State::Running => "free again since it started".to_owned(),
        (false, _, None) => return None,
    })
}

fn letter_facts(letter: &DeadLetter, now: Timestamp, zone: Zone) -> Vec<(&'static str, String)> {
    let time = |moment: Timestamp| format!("{} ({})", zone.show(moment), distance(moment, now));
    let mut facts = vec![
        ("queue", format!("{}, priority {}", letter.queue, letter.priority)),
        ("attempt", format!("{} of {}", letter.attempt_number, letter.max_attempts)),
        ("enqueued", time(letter.created_at)),
        ("finished", time(letter.finished_at)),
        ("moved", time(letter.moved_at)),
    ];
    if let (Some(at), Some(task)) = (letter.replayed_at, letter.replayed_as) {
        facts.push(("replayed", format!("as task {task}, {}", time(at))));
    }
    facts
}
