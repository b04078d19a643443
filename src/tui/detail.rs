//! All about one task or dead letter, as lines that scroll.

use ratatui::style::Style;
use ratatui::text::{Line, Span};
use unicode_width::UnicodeWidthChar;

use crate::console::json::pretty;
use crate::console::text::{safe, safe_lines};
use crate::console::times::Zone;
use crate::console::words::{bytes, distance, number, span};
use crate::tui::ink::Ink;
use crate::tui::messages::{Dossier, Either};
use crate::{Attempt, DeadLetter, Output, State, TaskId, TaskRecord, Timestamp};

/// Lines of one text (args, a result, a traceback) that are shown; the command `perdura show` has all of it.
const LONGEST_TEXT: usize = 200;
/// Bytes of JSON that are set out in lines; larger values are shown as they are stored.
const LARGEST_JSON: usize = 64 * 1024;

/// One task, looked at closely.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Detail {
    pub id: TaskId,
    /// None: not yet. Some(None): there is no such task.
    pub found: Option<Option<Box<Dossier>>>,
    pub scroll: usize,
}

impl Detail {
    /// Whether it is a dead letter.
    pub fn is_letter(&self) -> bool {
        matches!(&self.found, Some(Some(dossier)) if matches!(dossier.subject, Either::Letter(_)))
    }

    fn task(&self) -> Option<&TaskRecord> {
        match &self.found.as_ref()?.as_ref()?.subject {
            Either::Task(task) => Some(task),
            Either::Letter(_) => None,
        }
    }

    /// The queue of the task.
    pub fn queue(&self) -> Option<String> {
        self.task().map(|task| task.queue.clone())
    }

    /// Where the task stands.
    pub fn state(&self) -> Option<State> {
        self.task().map(|task| task.state)
    }
}

/// Everything that is known, in lines of this width.
pub(super) fn lines(detail: &Detail, now: Timestamp, width: usize, ink: Ink) -> Vec<Line<'static>> {
    let mut page = Page { lines: Vec::new(), width, ink };
    match &detail.found {
        None => page.text(&format!("Looking for task {}", detail.id), ink.dim()),
        Some(None) => {
            page.text(&format!("There is no task {}, and no dead letter of it.", detail.id), ink.bad())
        }
        Some(Some(dossier)) => page.dossier(dossier, now),
    }
    page.lines
}

struct Page {
    lines: Vec<Line<'static>>,
    width: usize,
    ink: Ink,
}

impl Page {
    fn dossier(&mut self, dossier: &Dossier, now: Timestamp) {
        match &dossier.subject {
            Either::Task(task) => self.task(task, dossier, now),
            Either::Letter(letter) => self.letter(letter, now),
        }
        if let Some(args) = &dossier.args {
            self.json("Args", args);
        }
        if let Some(result) = &dossier.result {
            self.json("Result", result);
        }
        if let Some(checkpoint) = &dossier.checkpoint {
            self.json("Checkpoint", checkpoint);
        }
        if !dossier.attempts.is_empty() {
            self.title(&format!("Attempts that did not succeed ({} are kept)", dossier.attempts.len()));
            dossier.attempts.iter().rev().for_each(|attempt| self.attempt(attempt, now));
        }
        dossier.output.iter().for_each(|output| self.output(output));
    }

    fn task(&mut self, task: &TaskRecord, dossier: &Dossier, now: Timestamp) {
        let ink = self.ink;
        self.lines.push(Line::from(vec![
            Span::styled(format!(" Task {}  ", task.task_id), ink.bold()),
            Span::styled(format!("{}  ", safe(&task.task_name)), ink.bold()),
            Span::styled(task.state.as_str(), ink.state(task.state)),
        ]));
        if let Some(why) = &dossier.why {
            self.text(why, ink.warn());
        }
        let flag = |on: bool, text: &str| on.then(|| text.to_owned());
        let when = |time: Option<Timestamp>| time.map(|time| moment(time, now, ink.zone));
        self.field("queue", Some(format!("{}, priority {}", task.queue, task.priority)));
        let attempts = format!("{} of {}", task.attempt_number, task.max_attempts);
        self.field(
            "attempts",
            Some(format!("{attempts}; taken by a worker {} times in all", number(task.generation))),
        );
        self.field("progress", task.progress.map(|p| format!("{} of {}", number(p.done), number(p.total))));
        self.field("created", Some(moment(task.created_at, now, ink.zone)));
        self.field("due", when(task.run_at));
        self.field("expires", when(task.expires_at));
        self.field("started", when(task.started_at));
        self.field("finished", when(task.finished_at));
        if let Some((started, finished)) = task.started_at.zip(task.finished_at) {
            self.field("ran", Some(span(finished.since(started))));
        }
        self.field("tag", task.tag.clone());
        self.field("timeout", task.timeout_ms.map(|ms| span(std::time::Duration::from_millis(ms))));
        self.field("snoozes", (task.snoozes > 0).then(|| number(task.snoozes.into())));
        self.field("version", (task.version != 1).then(|| task.version.to_string()));
        self.field("replay of", task.replay_of.map(|id| format!("dead letter {id}")));
        self.field("cancel", flag(task.cancel_requested, "was asked for while it ran"));
        self.field("late", flag(task.late, "it succeeded after its deadline"));
        if !dossier.schedule.is_empty() {
            let waits: Vec<String> = dossier.schedule.iter().map(|wait| span(*wait)).collect();
            let by = if task.backoff_ms.is_some() { "its own backoff" } else { "the default backoff" };
            self.field("retries", Some(format!("after {} ({by})", waits.join(", "))));
        }
        let error = [&task.error_type, &task.error_message, &task.error_traceback];
        self.error("Newest error", error.map(|text| text.as_deref().unwrap_or_default()));
    }

    fn letter(&mut self, letter: &DeadLetter, now: Timestamp) {
        let ink = self.ink;
        self.lines.push(Line::from(vec![
            Span::styled(format!(" Dead letter {}  ", letter.task_id), ink.bold()),
            Span::styled(format!("{}  ", safe(&letter.task_name)), ink.bold()),
            Span::styled(letter.state.as_str(), ink.state(letter.state)),
        ]));
        self.field("queue", Some(format!("{}, priority {}", letter.queue, letter.priority)));
        self.field("attempts", Some(format!("{} of {}", letter.attempt_number, letter.max_attempts)));
        self.field("created", Some(moment(letter.created_at, now, ink.zone)));
        self.field("finished", Some(moment(letter.finished_at, now, ink.zone)));
        self.field("moved", Some(moment(letter.moved_at, now, ink.zone)));
        let replayed = letter.replayed_as.zip(letter.replayed_at);
        self.field(
            "replayed",
            replayed.map(|(id, at)| format!("as task {id}, {}", moment(at, now, ink.zone))),
        );
        self.field("tag", letter.tag.clone());
        let error = [&letter.error_type, &letter.error_message, &letter.error_traceback];
        self.error("Error", error.map(|text| text.as_deref().unwrap_or_default()));
    }

    fn attempt(&mut self, attempt: &Attempt, now: Timestamp) {
        let outcome = match attempt.outcome {
            crate::AttemptOutcome::Failed => "failed",
            crate::AttemptOutcome::TimedOut => "timed out",
            crate::AttemptOutcome::Lost => "was lost",
            crate::AttemptOutcome::Cancelled => "was cancelled",
        };
        let ran = span(attempt.finished_at.since(attempt.started_at));
        let head = format!(
            "attempt {} (generation {}) {outcome} {} after {ran}",
            attempt.attempt_number,
            attempt.generation,
            distance(attempt.finished_at, now),
        );
        self.text(&head, self.ink.bold());
        let Attempt { error_type, error_message, error_traceback, .. } = attempt;
        self.indented(&format!("{error_type}: {error_message}"), self.ink.plain());
        self.indented(error_traceback, self.ink.dim());
    }

    fn error(&mut self, title: &str, [error_type, message, traceback]: [&str; 3]) {
        if error_type.is_empty() {
            return;
        }
        self.title(title);
        self.text(error_type, self.ink.bad());
        self.text(message, self.ink.plain());
        self.indented(traceback, self.ink.dim());
    }

    fn output(&mut self, output: &Output) {
        let stream = match output.stream {
            crate::OutputStream::Stdout => "stdout",
            crate::OutputStream::Stderr => "stderr",
        };
        self.title(&format!(
            "Output of generation {} to {stream} ({})",
            output.generation,
            bytes(output.bytes)
        ));
        self.text(&output.first_text(), self.ink.plain());
        if output.left_out() > 0 {
            self.text(&format!("({} left out)", bytes(output.left_out())), self.ink.dim());
        }
        self.text(&output.last_text(), self.ink.plain());
    }

    fn json(&mut self, title: &str, json: &str) {
        self.title(&format!("{title} ({})", bytes(json.len() as u64)));
        match json.len() <= LARGEST_JSON {
            true => self.text(&pretty(json), self.ink.plain()),
            false => self.text(json, self.ink.plain()),
        }
    }

    fn title(&mut self, title: &str) {
        self.lines.push(Line::default());
        self.text(title, self.ink.key());
    }

    fn field(&mut self, name: &str, value: Option<String>) {
        let Some(value) = value else { return };
        let name = Span::styled(format!(" {name:<10}"), self.ink.dim());
        for (i, part) in wrap(&safe(&value), self.width.saturating_sub(12)).into_iter().enumerate() {
            let name = if i == 0 { name.clone() } else { Span::raw(" ".repeat(11)) };
            self.lines.push(Line::from(vec![name, Span::raw(part)]));
        }
    }

    fn text(&mut self, text: &str, style: Style) {
        self.block(text, " ", style);
    }

    fn indented(&mut self, text: &str, style: Style) {
        self.block(text, "   ", style);
    }

    /// Lines of text, as many as may be.
    fn block(&mut self, text: &str, indent: &str, style: Style) {
        if text.is_empty() {
            return;
        }
        let safe = safe_lines(text);
        let mut lines = safe.lines().flat_map(|line| {
            let line = line.replace('\t', "    ");
            wrap(&line, self.width.saturating_sub(indent.len() + 1))
        });
        let shown: Vec<String> = lines.by_ref().take(LONGEST_TEXT).collect();
        let left = lines.count();
        let as_line =
            |part: String| Line::from(vec![Span::raw(indent.to_owned()), Span::styled(part, style)]);
        self.lines.extend(shown.into_iter().map(as_line));
        if left > 0 {
            let more = format!("{indent}({} more lines)", number(left as u64));
            self.lines.push(Line::from(Span::styled(more, self.ink.dim())));
        }
    }
}

fn moment(time: Timestamp, now: Timestamp, zone: Zone) -> String {
    format!("{} ({})", zone.show(time), distance(time, now))
}

/// A line in parts of at most so many columns, cut between words where there are some.
fn wrap(line: &str, width: usize) -> Vec<String> {
    let width = width.max(8);
    let (mut parts, mut part, mut used) = (Vec::new(), String::new(), 0);
    for c in line.chars() {
        let wide = c.width().unwrap_or(0);
        if used + wide > width {
            // The last blank is where it is cut, unless that would leave much of the line empty.
            let cut = part.rfind(' ').filter(|at| *at > part.len() / 2).map_or(part.len(), |at| at + 1);
            let rest = part.split_off(cut);
            parts.push(std::mem::replace(&mut part, rest));
            used = part.chars().map(|c| c.width().unwrap_or(0)).sum();
        }
        part.push(c);
        used += wide;
    }
    parts.push(part);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_between_words_and_by_columns() {
        assert_eq!(wrap("the quick brown fox", 10), ["the quick ", "brown fox"]);
        assert_eq!(wrap("abcdefghijklmnop", 10), ["abcdefghij", "klmnop"]);
        assert_eq!(wrap("任务任务任务", 9), ["任务任务", "任务"]);
        assert_eq!(wrap("", 10), [""]);
    }
}
