//! The verb `show`: one task or dead letter with everything that is known of it.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::value::RawValue;

use crate::console::inspect::detail::{TaskDetail, TaskOrLetter, step_line};
use crate::console::inspect::task::{RecordJson, error_line, what};
use crate::console::json::{pretty, raw};
use crate::console::screen::Tint;
use crate::console::text::{safe, safe_lines};
use crate::console::words::{bytes, span};
use crate::console::{CliError, CliResult, Exit, Session};
use crate::{
    Attempt, DeadLetter, ErrorKind, Output, OutputStream, Queue, State, StepRecord, TaskId, TaskRecord,
    Timestamp,
};

/// Columns of a step's line, where its result is cut; the JSON has the whole result.
const STEP_COLUMNS: usize = 100;

/// Show a task: args, attempts, errors, output, what happens next.
#[derive(Debug, clap::Args)]
pub(super) struct ShowArgs {
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

impl ShowArgs {
    pub(super) fn run(&self, session: &mut Session) -> CliResult {
        if self.only.is_some() {
            session.refuse_json(
                "show --only writes the part as it is; `perdura show ID --json` has all parts",
            )?;
        }
        let queue = session.read_only_queue()?;
        if let Some(only) = self.only {
            return self.raw(session, &queue, only);
        }
        let explainer = session.explainer(&queue);
        let detail = TaskDetail::read(&queue, self.id, self.generation, |why| explainer.explain(why))?;
        if let TaskOrLetter::Task(task) = &detail.record {
            self.check_generation(task, &detail.output)?;
        }
        show(session, &detail)
    }

    fn raw(&self, session: &mut Session, queue: &Queue, only: Only) -> CliResult {
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
    fn raw_result(&self, session: &mut Session, queue: &Queue) -> CliResult {
        let result = match queue.result_json(self.id)? {
            Some(result) => result,
            None => match queue.get(self.id) {
                Ok(task) if task.state == State::Succeeded => "null".to_owned(),
                Ok(task) => {
                    let message = format!("task {} has no result: it is {}", self.id, task.state);
                    return Err(CliError::new(Exit::No, message));
                }
                Err(e) if e.kind() == ErrorKind::NotFound => {
                    let letter = queue.dead_letters().get(self.id)?;
                    let message = format!("dead letter {} has no result: it is {}", self.id, letter.state);
                    return Err(CliError::new(Exit::No, message));
                }
                Err(e) => return Err(e.into()),
            },
        };
        write_raw(session, format!("{result}\n").as_bytes())?;
        Ok(Exit::Done)
    }

    /// What the asked attempt wrote, or the newest that wrote anything.
    fn output(&self, queue: &Queue) -> Result<Vec<Output>, CliError> {
        let output = queue.output(self.id, self.generation)?;
        if !output.is_empty() {
            return Ok(output);
        }
        match queue.get(self.id) {
            Err(e) if e.kind() == ErrorKind::NotFound => drop(queue.dead_letters().get(self.id)?),
            task => self.check_generation(&task?, &output)?,
        }
        Ok(output)
    }

    /// Refuses a generation that the task never had.
    fn check_generation(&self, task: &TaskRecord, output: &[Output]) -> Result<(), CliError> {
        let is_missing = |wanted: &u64| output.is_empty() && !(1..=task.generation).contains(wanted);
        let Some(wanted) = self.generation.filter(is_missing) else { return Ok(()) };
        let has = match task.generation {
            0 => "it has not started yet".to_owned(),
            1 => "it has started once: 1 is the only one".to_owned(),
            last => format!("it has 1 to {last}"),
        };
        let message = format!("task {} has no generation {wanted}; {has}", self.id);
        Err(CliError::new(Exit::Refused, message))
    }
}

/// Writes bytes as they are; to a terminal, as text in which control characters are written out.
fn write_raw(session: &mut Session, bytes: &[u8]) -> io::Result<()> {
    match session.screen.is_terminal() {
        true => session.screen.text(safe_lines(&String::from_utf8_lossy(bytes))),
        false => session.screen.write_all(bytes),
    }
}

/// Shows all that is known of a task or a dead letter.
pub(super) fn show(session: &mut Session, detail: &TaskDetail) -> CliResult {
    match &detail.record {
        TaskOrLetter::Task(task) => show_task(session, task, detail),
        TaskOrLetter::Letter(letter) => show_letter(session, letter, detail),
    }
}

/// A task for programs.
#[derive(Serialize)]
struct TaskJson<'d> {
    task: RecordJson<'d, TaskRecord>,
    args: Option<Box<RawValue>>,
    attempts: &'d [Attempt],
    output: &'d [Output],
    checkpoint: Option<Box<RawValue>>,
    steps: Vec<StepJson<'d>>,
    result: Option<Box<RawValue>>,
    explanation: Option<&'d str>,
    retry_schedule_ms: Vec<u64>,
}

/// A dead letter for programs.
#[derive(Serialize)]
struct LetterJson<'d> {
    dead_letter: RecordJson<'d, DeadLetter>,
    args: Option<Box<RawValue>>,
    attempts: &'d [Attempt],
    steps: Vec<StepJson<'d>>,
}

/// A step for programs; a sleep has no result.
#[derive(Serialize)]
struct StepJson<'d> {
    name: &'d str,
    number: Option<u64>,
    done_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<Box<RawValue>>,
    is_sleep: bool,
}

impl StepJson<'_> {
    fn of(step: &StepRecord) -> StepJson<'_> {
        StepJson {
            name: &step.name,
            number: step.number,
            done_at: step.done_at,
            result: step.result_json.as_deref().map(raw),
            is_sleep: step.is_sleep(),
        }
    }
}

fn show_task(session: &mut Session, task: &TaskRecord, detail: &TaskDetail) -> CliResult {
    if session.json {
        session.screen.json(&TaskJson {
            task: RecordJson::of_task(task, detail.command.clone()),
            args: detail.args.as_deref().map(raw),
            attempts: &detail.attempts,
            output: &detail.output,
            checkpoint: detail.checkpoint.as_deref().map(raw),
            steps: detail.steps.iter().map(StepJson::of).collect(),
            result: detail.result.as_deref().map(raw),
            explanation: detail.explanation.as_deref(),
            retry_schedule_ms: detail.schedule.iter().map(|wait| wait.as_millis() as u64).collect(),
        })?;
    } else {
        print_task(session, task, detail)?;
    }
    Ok(Exit::Done)
}

fn print_task(session: &mut Session, task: &TaskRecord, detail: &TaskDetail) -> io::Result<()> {
    let now = session.now();
    let head = format!("task {}  {}  {}", task.task_id, task.state, safe(&task.task_name));
    let head = session.screen.tint(Tint::of(task.state), head);
    session.screen.line(head)?;
    session.screen.line(safe(detail.explanation.as_deref().unwrap_or_default()))?;
    session.screen.line("")?;
    for (label, value) in detail.facts(now, session.zone) {
        fact(session, label, &value)?;
    }
    for (label, value) in [("what", what(detail.command.clone(), task)), ("error", error_line(task))] {
        if !value.is_empty() {
            fact(session, label, &value)?;
        }
    }
    if let Some(retries) = detail.retries(now) {
        fact(session, "retries", &retries)?;
    }
    for (title, value) in
        [("args", &detail.args), ("checkpoint", &detail.checkpoint), ("result", &detail.result)]
    {
        if let Some(value) = value {
            section(session, title, &pretty(value))?;
        }
    }
    print_steps(session, detail)?;
    if !detail.attempts.is_empty() {
        heading(session, "attempts that did not succeed")?;
    }
    for attempt in &detail.attempts {
        print_attempt(session, attempt)?;
    }
    for output in &detail.output {
        print_output(session, output)?;
    }
    Ok(())
}

fn print_steps(session: &mut Session, detail: &TaskDetail) -> io::Result<()> {
    if !detail.steps.is_empty() {
        heading(session, "steps that are done")?;
    }
    for step in &detail.steps {
        let line = step_line(step, session.zone, STEP_COLUMNS);
        session.screen.line(format_args!("  {line}"))?;
    }
    Ok(())
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

fn show_letter(session: &mut Session, letter: &DeadLetter, detail: &TaskDetail) -> CliResult {
    if session.json {
        let dead_letter = RecordJson::of_letter(letter, detail.command.clone());
        let args = detail.args.as_deref().map(raw);
        let steps = detail.steps.iter().map(StepJson::of).collect();
        session.screen.json(&LetterJson { dead_letter, args, attempts: &detail.attempts, steps })?;
        return Ok(Exit::Done);
    }
    let now = session.now();
    let head = format!("dead letter {}  {}  {}", letter.task_id, letter.state, safe(&letter.task_name));
    let head = session.screen.tint(Tint::Bad, head);
    session.screen.line(head)?;
    for (label, value) in detail.facts(now, session.zone) {
        fact(session, label, &value)?;
    }
    if let Some(error) = &letter.error_type {
        let message = letter.error_message.as_deref().unwrap_or_default();
        fact(session, "error", &format!("{error}: {message}"))?;
    }
    if let Some(args) = &detail.args {
        section(session, "args", &pretty(args))?;
    }
    print_steps(session, detail)?;
    if !detail.attempts.is_empty() {
        heading(session, "attempts")?;
    }
    for attempt in &detail.attempts {
        print_attempt(session, attempt)?;
    }
    Ok(Exit::Done)
}
