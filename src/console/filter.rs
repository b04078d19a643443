//! Filters on the command line: which tasks a verb selects.

use std::time::SystemTime;

use super::consent::Consent;
use super::error::CliError;
use super::times::{Past, past};
use clap::builder::{NonEmptyStringValueParser, PossibleValuesParser, TypedValueParser};

use crate::{Filter, State, TaskId, Timestamp};

/// The conditions that the command line and the filter box of the screen share.
pub(crate) struct Conditions<'c> {
    pub states: &'c [State],
    pub queue: &'c Option<String>,
    pub name: &'c Option<String>,
    pub error: &'c Option<String>,
    pub tag: &'c Option<String>,
    pub text: &'c Option<String>,
}

impl Conditions<'_> {
    /// The queue's filter of these conditions.
    pub(crate) fn filter(self) -> Filter {
        let mut filter = self.states.iter().fold(Filter::new(), |filter, state| filter.state(*state));
        if let Some(queue) = self.queue {
            filter = filter.queue(queue);
        }
        if let Some(name) = self.name {
            filter = filter.task_name(name);
        }
        if let Some(error) = self.error {
            filter = filter.error_type(error);
        }
        if let Some(tag) = self.tag {
            filter = filter.tag(tag);
        }
        if let Some(text) = self.text {
            filter = filter.text(text);
        }
        filter
    }
}

/// Which tasks are meant: those that meet all conditions that are given.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct FilterArgs {
    /// In this state. For several, separate them by commas, or repeat the option
    #[arg(long, short, value_name = "STATE", value_delimiter = ',', value_parser = state(), ignore_case = true)]
    state: Vec<State>,
    /// In this queue
    #[arg(long, short, value_name = "QUEUE", value_parser = text())]
    queue: Option<String>,
    /// Of this task name
    #[arg(long, short, value_name = "NAME", value_parser = text())]
    name: Option<String>,
    /// Whose newest error has this type, or a part of it: NotFound finds app::NotFound, ExitCode finds ExitCode.7
    #[arg(long, short, value_name = "TYPE", value_parser = text())]
    error: Option<String>,
    /// With this tag
    #[arg(long, value_name = "TAG", value_parser = text())]
    tag: Option<String>,
    /// With this text in name, tag, error or args: as JSON, or as they read, such as a command line
    #[arg(long, short = 't', value_name = "TEXT", value_parser = text())]
    text: Option<String>,
    /// That finished at least this long ago: 90s, 12h, 7d; or before this time: 08:00, 2026-11-30, 2026-11-30 08:00
    #[arg(long, value_name = "AGE|TIME", value_parser = past)]
    finished_before: Option<Past>,
    /// That were enqueued at least this long ago, or before this time
    #[arg(long, value_name = "AGE|TIME", value_parser = past)]
    created_before: Option<Past>,
}

/// A text that is not empty: an unset variable of a shell must not mean everything.
pub(crate) fn text() -> impl TypedValueParser<Value = String> {
    NonEmptyStringValueParser::new()
}

/// One of the six states, in any case.
fn state() -> impl TypedValueParser<Value = State> {
    PossibleValuesParser::new(State::ALL.map(State::as_str)).try_map(|name| name.parse())
}

impl FilterArgs {
    /// Whether nothing was asked for, so that all tasks are meant.
    pub(crate) fn is_all(&self) -> bool {
        self.filter(Timestamp::from_millis(0)) == Filter::new()
    }

    pub(crate) fn names_states(&self) -> bool {
        !self.state.is_empty()
    }

    /// This filter for tasks in one of `states`; if it names states itself, in those of them that are in `states`. None if no state is in both:
    /// no task matches.
    pub(crate) fn among(&self, states: &[State]) -> Option<FilterArgs> {
        let named = |state: &State| self.state.is_empty() || self.state.contains(state);
        let state: Vec<_> = states.iter().copied().filter(named).collect();
        (!state.is_empty()).then(|| FilterArgs { state, ..self.clone() })
    }

    pub(crate) fn filter(&self, now: Timestamp) -> Filter {
        let long_ago = |past: Past| -> SystemTime { past.at(now).to_system_time() };
        let FilterArgs { state, queue, name, error, tag, text, .. } = self;
        let mut filter = Conditions { states: state, queue, name, error, tag, text }.filter();
        if let Some(past) = self.finished_before {
            filter = filter.finished_before(long_ago(past));
        }
        if let Some(past) = self.created_before {
            filter = filter.created_before(long_ago(past));
        }
        filter
    }
}

/// The tasks that a verb changes: some ids, or all that match a filter.
#[derive(Debug, clap::Args)]
pub(crate) struct Target {
    /// These tasks
    #[arg(value_name = "ID")]
    pub ids: Vec<TaskId>,
    #[command(flatten)]
    pub which: FilterArgs,
    /// All that the verb can change
    #[arg(long)]
    pub all: bool,
    #[command(flatten)]
    pub consent: Consent,
}

impl Target {
    /// Checks that exactly one of ids, filter and `--all` was given.
    pub(crate) fn check(&self) -> Result<(), CliError> {
        match (self.ids.is_empty(), self.which.is_all(), self.all) {
            (false, true, false) | (true, false, false) | (true, true, true) => Ok(()),
            (true, true, false) => {
                Err(CliError::usage("which tasks? name ids, or a filter such as --state FAILED, or --all"))
            }
            (true, false, true) => {
                Err(CliError::usage("a filter and --all exclude each other; leave one out"))
            }
            (false, ..) => Err(CliError::usage("ids go without a filter and without --all; leave one out")),
        }
    }
}
