//! The report on attempts that have ended: one line each, and the sum.

use std::io::{self, IsTerminal};
use std::time::Duration;

use unicode_width::UnicodeWidthStr;

use super::hooks::Hooks;
use super::worker_event::EndedAttempt;
use super::worker_output::WorkerOutput;
use crate::console::inspect::task::RecordJson;
use crate::console::screen::{Tint, json_line};
use crate::console::table::shorten;
use crate::console::text::safe;
use crate::console::words::{count, span};
use crate::console::{CliError, Session};
use crate::{Clock, ErrorKind, Queue, State, SystemClock, TaskId, TaskRecord};

/// Columns of a line where stderr is no terminal.
const FILE_WIDTH: usize = 400;

/// Narrowest column for a job's command and error; with less room they get lines of their own.
const MIN_TEXT_WIDTH: usize = 40;

/// Counts of a run's attempts by result.
#[derive(Debug, Default)]
pub(super) struct Sum {
    pub succeeded: u64,
    pub failed: u64,
    pub cancelled: u64,
    pub lost: u64,
    /// Failed, with another attempt to come.
    pub again: u64,
    pub handed_back: u64,
    /// Deleted meanwhile.
    pub gone: u64,
}

impl Sum {
    /// In words: `2 succeeded, 1 failed`.
    fn words(&self) -> String {
        let parts = [
            (self.succeeded, "succeeded"),
            (self.failed, "failed for good"),
            (self.again, "retried"),
            (self.cancelled, "cancelled"),
            (self.lost, "lost"),
            (self.handed_back, "handed back"),
            (self.gone, "deleted meanwhile"),
        ];
        let said: Vec<_> =
            parts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
        said.join(", ")
    }

    /// The last line of a run.
    pub(super) fn closing(&self, took: Duration) -> String {
        let Sum { succeeded, failed, cancelled, lost, again, handed_back, gone } = self;
        let all = succeeded + failed + cancelled + lost + again + handed_back + gone;
        let words = if all == 0 { String::new() } else { format!(": {}", self.words()) };
        format!("{} in {}{words}", count(all, "attempt"), span(took))
    }
}

/// Attempts that have ended, until their tasks' new states are known.
pub(super) struct AttemptReporter {
    pending: Vec<EndedAttempt>,
    quiet: bool,
    hooks: Option<Hooks>,
    clock: SystemClock,
    pub sum: Sum,
}

impl AttemptReporter {
    pub(super) fn new(quiet: bool, hooks: Option<Hooks>) -> AttemptReporter {
        AttemptReporter { pending: Vec::new(), quiet, hooks, clock: SystemClock::new(), sum: Sum::default() }
    }

    /// Waits for the commands of the user that still run.
    pub(super) fn finish(&self) {
        if let Some(hooks) = &self.hooks {
            hooks.finish();
        }
    }

    /// Whether there are ended attempts whose outcome is not known yet.
    pub(super) fn are_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// The tasks of the ended attempts whose outcome is not known yet.
    pub(super) fn pending(&self) -> impl Iterator<Item = TaskId> {
        self.pending.iter().map(|ended| ended.id)
    }

    /// Adds an attempt that has ended.
    pub(super) fn add(&mut self, ended: EndedAttempt) {
        self.pending.push(ended);
    }

    /// Reports the attempts whose outcome is in the file.
    ///
    /// # Errors
    /// If the file cannot be read. What is not told yet stays pending.
    pub(super) fn tell(
        &mut self,
        queue: &Queue,
        output: &WorkerOutput,
        session: &Session,
    ) -> Result<(), CliError> {
        let mut error = Ok(());
        for ended in std::mem::take(&mut self.pending) {
            match queue.get(ended.id) {
                Err(e) if e.kind() == ErrorKind::NotFound => self.sum.gone += 1,
                Err(e) => {
                    error = Err(e.into());
                    self.pending.push(ended);
                }
                Ok(record) if record.state == State::Running && record.generation == ended.generation => {
                    self.pending.push(ended);
                }
                Ok(record) => {
                    let result = self.judge(&ended, &record);
                    if let (Some(hooks), AttemptResult::State(_)) = (&self.hooks, result) {
                        hooks.tell(&record, &ended.line);
                    }
                    if session.json {
                        output.answer(json_line(&RecordJson::of_task(&record, Some(ended.line)))?);
                    } else if !self.quiet {
                        output.remark(self.line(&ended, &record, result, session));
                    }
                }
            }
        }
        error
    }

    fn judge(&mut self, ended: &EndedAttempt, record: &TaskRecord) -> AttemptResult {
        let (result, counter) = match record.state {
            _ if ended.succeeded => (AttemptResult::State(State::Succeeded), &mut self.sum.succeeded),
            _ if record.generation > ended.generation => (AttemptResult::Again, &mut self.sum.again),
            State::Queued | State::Running if record.attempt_number < ended.attempt => {
                (AttemptResult::HandedBack, &mut self.sum.handed_back)
            }
            State::Queued | State::Running => (AttemptResult::Again, &mut self.sum.again),
            State::Succeeded => (AttemptResult::State(State::Succeeded), &mut self.sum.succeeded),
            State::Failed => (AttemptResult::State(State::Failed), &mut self.sum.failed),
            State::Cancelled => (AttemptResult::State(State::Cancelled), &mut self.sum.cancelled),
            State::Lost => (AttemptResult::State(State::Lost), &mut self.sum.lost),
        };
        *counter += 1;
        result
    }

    /// The line of one attempt: `17  FAILED  3/3  1.2 s  make all: exit code 2 after 1.2 s: no rule`.
    fn line(
        &self,
        ended: &EndedAttempt,
        record: &TaskRecord,
        result: AttemptResult,
        session: &Session,
    ) -> String {
        let (state, tint) = match result {
            AttemptResult::State(state) => {
                (state.as_str(), if state == State::Succeeded { Tint::Good } else { Tint::Bad })
            }
            AttemptResult::Again | AttemptResult::HandedBack => (State::Queued.as_str(), Tint::Warn),
        };
        let error = record.error_message.as_deref().unwrap_or_default();
        let why = match result {
            AttemptResult::State(State::Succeeded) => String::new(),
            AttemptResult::State(_) => error.to_owned(),
            AttemptResult::HandedBack => "handed back".to_owned(),
            AttemptResult::Again => {
                let wait =
                    record.run_at.map(|due| due.since(self.clock.now())).filter(|wait| !wait.is_zero());
                let when = wait
                    .map_or_else(|| "again at once".to_owned(), |wait| format!("again in {}", span(wait)));
                format!("{when}; {error}")
            }
        };
        let attempt = format!("{}/{}", ended.attempt, record.max_attempts);
        let head = format!("{:>6}  ", ended.id);
        let middle = format!("{state:<9}  {attempt:>5}  {:>9}  ", span(ended.took));
        let is_seen = io::stderr().is_terminal();
        let width = if is_seen { session.screen.width() } else { FILE_WIDTH };
        let texts = [safe(&ended.line).into_owned(), safe(&why.replace('\n', " ")).into_owned()];
        let result = if is_seen { session.screen.tint(tint, &middle) } else { middle.clone() };
        match laid_out(&texts, width, head.len(), middle.len()) {
            Layout::Beside(text) => format!("{head}{result}{text}"),
            Layout::Below(lines) => format!("{head}{result}\n{}", lines.join("\n")),
        }
    }
}

/// Where a job's command and error are placed.
#[derive(Debug, PartialEq)]
enum Layout {
    Beside(String),
    Below(Vec<String>),
}

/// Places the texts in a line of `width` columns that begins with `head` and `middle` columns of other things. Lines below it are indented by `head`.
fn laid_out([what, why]: &[String; 2], width: usize, head: usize, middle: usize) -> Layout {
    let beside = width.saturating_sub(head + middle);
    if beside >= MIN_TEXT_WIDTH {
        return Layout::Beside(side_by_side(what, why, beside));
    }
    let texts = [what, why].into_iter().filter(|text| !text.is_empty());
    let below = |text: &String| format!("{:head$}{}", "", shorten(text, width.saturating_sub(head)));
    Layout::Below(texts.map(below).collect())
}

/// A job's command and error in `room` columns.
fn side_by_side(what: &str, why: &str, room: usize) -> String {
    if why.is_empty() {
        return shorten(what, room);
    }
    let why = shorten(why, room * 3 / 5);
    format!("{}  {why}", shorten(what, room.saturating_sub(why.width() + 2)))
}

/// The result of an attempt.
#[derive(Debug, Clone, Copy)]
enum AttemptResult {
    State(State),
    Again,
    HandedBack,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_room_beside_the_fate_of_a_job_stands_below_it() {
        let texts = ["sh -c 'make all'".to_owned(), "exit code 2".to_owned()];
        assert_eq!(laid_out(&texts, 100, 8, 29), Layout::Beside("sh -c 'make all'  exit code 2".into()));
        let below = Layout::Below(vec!["        sh -c 'make all'".into(), "        exit code 2".into()]);
        assert_eq!(laid_out(&texts, 40, 8, 29), below);
        let succeeded = ["x".repeat(50), String::new()];
        assert_eq!(
            laid_out(&succeeded, 40, 8, 29),
            Layout::Below(vec![format!("        {}…", "x".repeat(31))])
        );
    }
}
