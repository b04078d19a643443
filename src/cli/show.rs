//! One task, whole.

use std::io::{self, Write};
use std::time::Duration;

use serde::Serialize;
use serde_json::value::RawValue;

use crate::console::inspect::explain::Sight;
use crate::console::inspect::task::{RecordJson, command, error_line, what};
use crate::console::json::{pretty, raw};
use crate::console::screen::Tint;
use crate::console::text::{safe, safe_lines};
use crate::console::times::Zone;
use crate::console::words::{bytes, count, distance, span};
use crate::console::{Done, Exit, Session, Trouble};
use crate::{
    Attempt, DeadLetter, ErrorKind, Hold, Output, OutputStream, Queue, State, TaskId, TaskRecord, Timestamp,
};

/// Show a task: args, attempts, errors, output, what happens next.
#[derive(Debug, clap::Args)]
pub(super) struct Show {
    /// The task, or the dead letter that was one
    #[arg(value_name = "ID")]
    id: TaskId,
    /// Show what this generation wrote (each time that a worker takes the task is one: 1, 2, …) [default: the newest that wrote anything]
    #[arg(long, value_name = "N", value_parser = generation)]
    generation: Option<u64>,
    /// Print this and nothing else, as it is: what a stream wrote, the args, the result
    #[arg(long, value_name = "PART")]
    only: Option<Only>,
}

fn generation(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| "it is a whole number".to_owned())
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Only {
    Stdout,
    Stderr,
    Args,
    Result,
}

/// All that is known of a task.
struct Known {
    task: TaskRecord,
    command: Option<String>,
    args: String,
    attempts: Vec<Attempt>,
    output: Vec<Output>,
    checkpoint: Option<String>,
    result: Option<String>,
    explanation: String,
    schedule: Vec<Duration>,
}

impl Show {
    pub(super) fn run(&self, session: &mut Session) -> Done {
        if self.only.is_some() {
            session.refuse_json(
                "show --only writes the part as it is; `perdura show ID --json` has all parts",
            )?;
        }
        let queue = session.look()?;
        if let Some(only) = self.only {
            return self.raw(session, &queue, only);
        }
        let task = match queue.get(self.id) {
            Ok(task) => task,
            Err(e) if e.kind() == ErrorKind::NotFound => {
                return show_letter(session, &queue, self.id, e.into());
            }
            Err(e) => return Err(e.into()),
        };
        let known = self.know(&queue, task, session.sight(&queue))?;
        if session.json {
            session.screen.json(&known.told())?;
        } else {
            known.print(session, &queue)?;
        }
        Ok(Exit::Done)
    }

    fn know(&self, queue: &Queue, task: TaskRecord, sight: Sight) -> Result<Known, Trouble> {
        let id = self.id;
        Ok(Known {
            command: command(queue, &task.task_name, id),
            args: queue.args_json(id)?,
            attempts: queue.attempts(id)?,
            output: self.output(queue)?,
            checkpoint: queue.checkpoint_json(id)?,
            result: queue.result_json(id)?,
            explanation: sight.explain(&queue.explain(id)?),
            schedule: queue.retry_schedule(id)?,
            task,
        })
    }

    fn raw(&self, session: &mut Session, queue: &Queue, only: Only) -> Done {
        let stream = match only {
            Only::Stdout => OutputStream::Stdout,
            Only::Stderr => OutputStream::Stderr,
            Only::Args => {
                let args = queue.args_json(self.id)?;
                write_raw(session, format!("{args}\n").as_bytes())?;
                return Ok(Exit::Done);
            }
            Only::Result => return self.raw_result(session, queue),
        };
        let output = self.output(queue)?;
        let Some(output) = output.into_iter().find(|output| output.stream == stream) else {
            return Ok(Exit::Done);
        };
        write_raw(session, &output.first)?;
        if output.left_out() > 0 {
            session.screen.flush()?;
            session.screen.remark(format_args!("… {} left out …", bytes(output.left_out())));
        }
        write_raw(session, &output.last)?;
        Ok(Exit::Done)
    }

    /// The result as JSON; `null` if it succeeded without one.
    fn raw_result(&self, session: &mut Session, queue: &Queue) -> Done {
        let result = match queue.result_json(self.id)? {
            Some(result) => result,
            None => match queue.get(self.id) {
                Ok(task) if task.state == State::Succeeded => "null".to_owned(),
                Ok(task) => {
                    let message = format!("task {} has no result: it is {}", self.id, task.state);
                    return Err(Trouble::new(Exit::No, message));
                }
                Err(e) if e.kind() == ErrorKind::NotFound => {
                    let letter = queue.dead_letters().get(self.id)?;
                    let message = format!("dead letter {} has no result: it is {}", self.id, letter.state);
                    return Err(Trouble::new(Exit::No, message));
                }
                Err(e) => return Err(e.into()),
            },
        };
        write_raw(session, format!("{result}\n").as_bytes())?;
        Ok(Exit::Done)
    }

    /// What the asked attempt wrote, or the newest that wrote anything.
    fn output(&self, queue: &Queue) -> Result<Vec<Output>, Trouble> {
        let output = queue.output(self.id, self.generation)?;
        if !output.is_empty() {
            return Ok(output);
        }
        let task = match queue.get(self.id) {
            Err(e) if e.kind() == ErrorKind::NotFound => {
                return Ok(queue.dead_letters().get(self.id).map(|_| output)?);
            }
            task => task?,
        };
        if let Some(wanted) = self.generation.filter(|wanted| !(1..=task.generation).contains(wanted)) {
            let has = match task.generation {
                0 => "it has not started yet".to_owned(),
                1 => "it has started once: 1 is the only one".to_owned(),
                last => format!("it has 1 to {last}"),
            };
            let message = format!("task {} has no generation {wanted}; {has}", self.id);
            return Err(Trouble::new(Exit::Refused, message));
        }
        Ok(output)
    }
}

/// Writes bytes as they are; to a terminal a text that cannot steer it.
fn write_raw(session: &mut Session, bytes: &[u8]) -> io::Result<()> {
    match session.screen.is_terminal() {
        true => session.screen.text(safe_lines(&String::from_utf8_lossy(bytes))),
        false => session.screen.write_all(bytes),
    }
}

/// The same for programs.
#[derive(Serialize)]
struct Told<'k> {
    task: RecordJson<'k, TaskRecord>,
    args: Box<RawValue>,
    attempts: &'k [Attempt],
    output: &'k [Output],
    checkpoint: Option<Box<RawValue>>,
    result: Option<Box<RawValue>>,
    explanation: &'k str,
    retry_schedule_ms: Vec<u64>,
}

/// A dead letter for programs.
#[derive(Serialize)]
struct ToldLetter<'k> {
    dead_letter: RecordJson<'k, DeadLetter>,
    args: Box<RawValue>,
    attempts: &'k [Attempt],
}

impl Known {
    fn told(&self) -> Told<'_> {
        Told {
            task: RecordJson::of_task(&self.task, self.command.clone()),
            args: raw(&self.args),
            attempts: &self.attempts,
            output: &self.output,
            checkpoint: self.checkpoint.as_deref().map(raw),
            result: self.result.as_deref().map(raw),
            explanation: &self.explanation,
            retry_schedule_ms: self.schedule.iter().map(|wait| wait.as_millis() as u64).collect(),
        }
    }

    fn print(&self, session: &mut Session, queue: &Queue) -> io::Result<()> {
        let now = session.now();
        let task = &self.task;
        let head = format!("task {}  {}  {}", task.task_id, task.state, safe(&task.task_name));
        let head = session.screen.tint(Tint::of(task.state), head);
        session.screen.line(head)?;
        session.screen.line(safe(&self.explanation))?;
        session.screen.line("")?;
        for (label, value) in facts(task, now, session.zone) {
            fact(session, label, &value)?;
        }
        for (label, value) in [("what", what(queue, task)), ("error", error_line(task))] {
            if !value.is_empty() {
                fact(session, label, &value)?;
            }
        }
        if task.max_attempts > 1 {
            fact(session, "retries", &self.retries(now))?;
        }
        section(session, "args", &pretty(&self.args))?;
        for (title, value) in [("checkpoint", &self.checkpoint), ("result", &self.result)] {
            if let Some(value) = value {
                section(session, title, &pretty(value))?;
            }
        }
        self.print_attempts(session)?;
        for output in &self.output {
            print_output(session, output)?;
        }
        Ok(())
    }

    /// The whole schedule, and where the task is in it.
    fn retries(&self, now: Timestamp) -> String {
        let waits: Vec<String> = self.schedule.iter().map(|wait| span(*wait)).collect();
        let mut text = format!("waits {} after its failures", waits.join(", "));
        if self.task.backoff_ms.is_none() {
            text.push_str(" (the default)");
        }
        if let (Some(Hold::Time), Some(due), Some(_)) =
            (self.task.hold, self.task.run_at, &self.task.error_type)
        {
            let next = self.task.attempt_number + 1;
            text.push_str(&format!("; attempt {next} {}", distance(due, now)));
        }
        text
    }

    fn print_attempts(&self, session: &mut Session) -> io::Result<()> {
        if self.attempts.is_empty() {
            return Ok(());
        }
        heading(session, "attempts that did not succeed")?;
        for attempt in &self.attempts {
            print_attempt(session, attempt)?;
        }
        Ok(())
    }
}

fn print_attempt(session: &mut Session, attempt: &Attempt) -> io::Result<()> {
    let Attempt { attempt_number, generation, started_at, finished_at, error_type, .. } = attempt;
    let outcome = serde_json::to_value(attempt.outcome).unwrap_or_default();
    let ran = finished_at.since(*started_at);
    let error = session.screen.tint(Tint::Bad, safe(error_type));
    let started_at = session.time(*started_at);
    session.screen.line(format_args!(
        "  {attempt_number} (generation {generation})  {started_at}, ran {}  {}  {error}",
        span(ran),
        outcome.as_str().unwrap_or_default(),
    ))?;
    for text in [&attempt.error_message, &attempt.error_traceback] {
        for line in safe_lines(text).lines() {
            session.screen.line(format_args!("      {line}"))?;
        }
    }
    Ok(())
}

fn print_output(session: &mut Session, output: &Output) -> io::Result<()> {
    let stream = match output.stream {
        OutputStream::Stdout => "stdout",
        OutputStream::Stderr => "stderr",
    };
    heading(session, &format!("{stream} of generation {} ({})", output.generation, bytes(output.bytes)))?;
    let text = match output.left_out() {
        0 => format!("{}{}", output.first_text(), output.last_text()),
        left_out => {
            format!("{}\n… {} left out …\n{}", output.first_text(), bytes(left_out), output.last_text())
        }
    };
    for line in safe_lines(&text).lines() {
        session.screen.line(format_args!("  {line}"))?;
    }
    Ok(())
}

/// The facts of a task that there are.
fn facts(task: &TaskRecord, now: Timestamp, zone: Zone) -> Vec<(&'static str, String)> {
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
    if let Some((started, finished)) =
        task.started_at.zip(task.finished_at).filter(|_| task.state == State::Succeeded)
    {
        facts.push((
            "ran",
            span(finished.since(started)) + if task.late { ", past its deadline" } else { "" },
        ));
    }
    facts.extend(task.timeout_ms.map(|ms| ("timeout", span(Duration::from_millis(ms)))));
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
    facts
}

fn fact(session: &mut Session, label: &str, value: &str) -> io::Result<()> {
    let label = session.screen.tint(Tint::Dim, format_args!("{label:<9}"));
    session.screen.line(format_args!("  {label}  {}", safe(value)))
}

fn heading(session: &mut Session, title: &str) -> io::Result<()> {
    let title = session.screen.tint(Tint::Bold, title);
    session.screen.line(format_args!("\n{title}"))
}

fn section(session: &mut Session, title: &str, text: &str) -> io::Result<()> {
    heading(session, title)?;
    for line in safe_lines(text).lines() {
        session.screen.line(format_args!("  {line}"))?;
    }
    Ok(())
}

/// Shows a dead letter; `otherwise` if there is none either.
pub(super) fn show_letter(session: &mut Session, queue: &Queue, id: TaskId, otherwise: Trouble) -> Done {
    let letter = match queue.dead_letters().get(id) {
        Ok(letter) => letter,
        Err(e) if e.kind() == ErrorKind::NotFound => return Err(otherwise),
        Err(e) => return Err(e.into()),
    };
    let (args, attempts) = (queue.args_json(id)?, queue.attempts(id)?);
    if session.json {
        let command = command(queue, &letter.task_name, id);
        let dead_letter = RecordJson::of_letter(&letter, command);
        session.screen.json(&ToldLetter { dead_letter, args: raw(&args), attempts: &attempts })?;
        return Ok(Exit::Done);
    }
    let now = session.now();
    let head = format!("dead letter {id}  {}  {}", letter.state, safe(&letter.task_name));
    let head = session.screen.tint(Tint::Bad, head);
    session.screen.line(head)?;
    for (label, value) in letter_facts(&letter, now, session.zone) {
        fact(session, label, &value)?;
    }
    section(session, "args", &pretty(&args))?;
    if !attempts.is_empty() {
        heading(session, "attempts")?;
    }
    for attempt in &attempts {
        print_attempt(session, attempt)?;
    }
    Ok(Exit::Done)
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
    if let Some(error) = &letter.error_type {
        facts.push(("error", format!("{error}: {}", letter.error_message.as_deref().unwrap_or_default())));
    }
    facts
}
