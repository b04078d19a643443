//! The verbs `complete` and `fail`: they end attempts whose work is outside.

use std::time::Duration;

use crate::console::filter;
use crate::console::times::age;
use crate::console::{CliResult, Exit, Session};
use crate::{Failure, State, TaskId};

/// The attempt that ends.
#[derive(Debug, clap::Args)]
struct WhichAttempt {
    /// The task
    #[arg(value_name = "ID")]
    id: TaskId,
    /// The generation that ends, as its handler told it (`show` has it too): an answer to an earlier one does nothing
    #[arg(long, value_name = "N")]
    generation: u64,
}

/// Say that a task whose work is outside has succeeded.
///
/// Such a task is RUNNING and has no worker: a person, a webhook or another program does the work, and says how it ends. `explain` names what it
/// waits for.
#[derive(Debug, clap::Args)]
pub(super) struct CompleteArgs {
    #[command(flatten)]
    attempt: WhichAttempt,
    /// The result, as JSON [default: null]
    #[arg(long, value_name = "JSON", value_parser = json)]
    result: Option<String>,
}

fn json(text: &str) -> Result<String, String> {
    match serde_json::from_str::<serde::de::IgnoredAny>(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(e) => Err(format!("it is not JSON: error at line {}, column {}", e.line(), e.column())),
    }
}

impl CompleteArgs {
    pub(super) fn run(&self, session: &mut Session) -> CliResult {
        let WhichAttempt { id, generation } = self.attempt;
        let queue = session.writable_queue()?;
        queue.complete_json(id, generation, self.result.as_deref().unwrap_or("null"))?;
        said(session, id, State::Succeeded)
    }
}

/// Say that an attempt whose work is outside has failed: its task is tried again, if attempts are left.
#[derive(Debug, clap::Args)]
pub(super) struct FailArgs {
    #[command(flatten)]
    attempt: WhichAttempt,
    /// What went wrong
    #[arg(long, value_name = "TEXT", default_value = "it was said to have failed", value_parser = filter::text())]
    message: String,
    /// What kind of error it was, for lists and denylists
    #[arg(long, value_name = "TYPE", default_value = "Outside", value_parser = filter::text())]
    error_type: String,
    /// Do not try again, however many attempts are left
    #[arg(long, conflicts_with = "retry_in")]
    permanent: bool,
    /// Try again after this time, instead of the task's backoff: 90s, 5m, 2h 30m
    #[arg(long, value_name = "TIME", value_parser = age)]
    retry_in: Option<Duration>,
}

impl FailArgs {
    pub(super) fn run(&self, session: &mut Session) -> CliResult {
        let WhichAttempt { id, generation } = self.attempt;
        let mut failure = Failure::named(&self.error_type, &self.message);
        if self.permanent {
            failure = failure.never_retry();
        }
        if let Some(delay) = self.retry_in {
            failure = failure.retry_after(delay);
        }
        let queue = session.writable_queue()?;
        queue.fail(id, generation, failure)?;
        let state = queue.get(id)?.state;
        said(session, id, state)
    }
}

/// Prints the new state of the task.
fn said(session: &mut Session, id: TaskId, state: State) -> CliResult {
    session.note_done(format!("task {id} is {state}"));
    if session.json {
        let queue = session.writable_queue()?;
        session.screen.json(&queue.get(id)?)?;
    } else {
        let then = if state == State::Queued { ", for its next attempt" } else { "" };
        session.screen.line(format_args!("task {id} is {state}{then}"))?;
    }
    Ok(Exit::Done)
}
