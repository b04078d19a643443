//! All about one task or dead letter, as lines that scroll.

use ratatui::style::Style;
use ratatui::text::{Line, Span};
use unicode_width::UnicodeWidthChar;

use crate::console::inspect::detail::{TaskDetail, TaskOrLetter, step_line};
use crate::console::json::pretty;
use crate::console::text::{safe, safe_lines};
use crate::console::words::{bytes, distance, number, span};
use crate::tui::ink::Ink;
use crate::{Attempt, DeadLetter, Output, State, TaskId, TaskRecord, Timestamp};

/// Lines of one text (args, a result, a traceback) that are shown; the command `perdura show` has all of it.
const MAX_TEXT_LINES: usize = 200;
/// Bytes of JSON that are set out in lines; larger values are shown as they are stored.
const MAX_PRETTY_BYTES: usize = 64 * 1024;

/// One task, looked at closely.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Detail {
    pub id: TaskId,
    /// None: it was not read yet. Some(None): there is no such task.
    pub found: Option<Option<Box<TaskDetail>>>,
    pub scroll: usize,
    /// Only its output is shown, as much as the file has.
    pub is_output: bool,
    /// The page stays scrolled to its end.
    pub is_pinned: bool,
}

impl Detail {
    /// Of a task that is not read yet.
    pub fn of(id: TaskId) -> Detail {
        Detail { id, found: None, scroll: 0, is_output: false, is_pinned: false }
    }

    /// Goes to the end of its output; from there, back to the whole page.
    pub fn follow(&mut self) {
        (self.is_output, self.is_pinned) = if self.is_pinned { (false, false) } else { (true, true) };
        self.scroll = 0;
    }

    /// Whether it is a dead letter.
    pub fn is_letter(&self) -> bool {
        matches!(&self.found, Some(Some(detail)) if matches!(detail.record, TaskOrLetter::Letter(_)))
    }

    fn task(&self) -> Option<&TaskRecord> {
        match &self.found.as_ref()?.as_ref()?.record {
            TaskOrLetter::Task(task) => Some(task),
            TaskOrLetter::Letter(_) => None,
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
    let mut page = DetailText { lines: Vec::new(), width, max_lines: MAX_TEXT_LINES, ink };
    match &detail.found {
        None => page.text(&format!("Looking for task {}", detail.id), ink.dim()),
        Some(None) => {
            page.text(&format!("There is no task {}, and no dead letter of it.", detail.id), ink.bad())
        }
        Some(Some(found)) if detail.is_output => page.only_output(found, detail.is_pinned),
        Some(Some(found)) => page.detail(found, now),
    }
    page.lines
}

struct DetailText {
    lines: Vec<Line<'static>>,
    width: usize,
    /// The most lines of each text.
    max_lines: usize,
    ink: Ink,
}

impl DetailText {
    fn detail(&mut self, detail: &TaskDetail, now: Timestamp) {
        match &detail.record {
            TaskOrLetter::Task(task) => self.task(task, detail, now),
            TaskOrLetter::Letter(letter) => self.letter(letter, detail, now),
        }
        if let Some(args) = &detail.args {
            self.json("Args", args);
        }
        if let Some(result) = &detail.result {
            self.json("Result", result);
        }
        if let Some(checkpoint) = &detail.checkpoint {
            self.json("Checkpoint", checkpoint);
        }
        if !detail.steps.is_empty() {
            self.title(&format!("Steps that are done ({})", detail.steps.len()));
            let lines: Vec<String> =
                detail.steps.iter().map(|step| step_line(step, self.ink.zone, self.width)).collect();
            self.text(&lines.join("\n"), self.ink.plain());
        }
        if !detail.attempts.is_empty() {
            self.title(&format!("Attempts that did not succeed ({} are kept)", detail.attempts.len()));
            detail.attempts.iter().rev().for_each(|attempt| self.attempt(attempt, now));
        }
        detail.output.iter().for_each(|output| self.output(output));
    }

    /// What it has written, with nothing left out of what is kept.
    fn only_output(&mut self, detail: &TaskDetail, is_pinned: bool) {
        let (id, name, state) = match &detail.record {
            TaskOrLetter::Task(task) => (task.task_id, &task.task_name, task.state),
            TaskOrLetter::Letter(letter) => (letter.task_id, &letter.task_name, letter.state),
        };
        self.head("Output of", id, detail.command.as_ref().unwrap_or(name), state);
        self.max_lines = usize::MAX;
        for output in &detail.output {
            self.output(output);
        }
        let end = match (state, is_pinned) {
            (State::Queued, _) => "It has not started yet.".to_owned(),
            (State::Running, true) => "It is followed; what it writes comes about once a second.".to_owned(),
            (State::Running, false) => "It goes on; f follows it.".to_owned(),
            (state, _) => format!("It has ended: {state}."),
        };
        self.lines.push(Line::default());
        self.text(&end, self.ink.dim());
    }

    fn task(&mut self, task: &TaskRecord, detail: &TaskDetail, now: Timestamp) {
        self.head("Task", task.task_id, &task.task_name, task.state);
        if let Some(why) = &detail.explanation {
            self.text(why, self.ink.warn());
        }
        self.facts(detail, now);
        self.field("tag", task.tag.clone());
        self.field("version", (task.version != 1).then(|| task.version.to_string()));
        self.field("retries", detail.retries(now));
        let error = [&task.error_type, &task.error_message, &task.error_traceback];
        self.error("Newest error", error.map(|text| text.as_deref().unwrap_or_default()));
    }

    fn letter(&mut self, letter: &DeadLetter, detail: &TaskDetail, now: Timestamp) {
        self.head("Dead letter", letter.task_id, &letter.task_name, letter.state);
        self.facts(detail, now);
        self.field("tag", letter.tag.clone());
        let error = [&letter.error_type, &letter.error_message, &letter.error_traceback];
        self.error("Error", error.map(|text| text.as_deref().unwrap_or_default()));
    }

    fn head(&mut self, what: &str, id: TaskId, name: &str, state: State) {
        let ink = self.ink;
        self.lines.push(Line::from(vec![
            Span::styled(format!(" {what} {id}  "), ink.bold()),
            Span::styled(format!("{}  ", safe(name)), ink.bold()),
            Span::styled(state.as_str(), ink.state(state)),
        ]));
    }

    fn facts(&mut self, detail: &TaskDetail, now: Timestamp) {
        for (name, value) in detail.facts(now, self.ink.zone) {
            self.field(name, Some(value));
        }
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
        match json.len() <= MAX_PRETTY_BYTES {
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
        let shown: Vec<String> = lines.by_ref().take(self.max_lines).collect();
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
