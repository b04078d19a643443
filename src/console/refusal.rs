//! Errors of the command line in one line, as every other error: what is wrong, and what to do.

use std::error::Error as _;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::error::CliError;

/// clap's error as ours; none for what is no error, such as `--help`.
pub(crate) fn of(error: &clap::Error) -> Option<CliError> {
    let about = |kind| error.get(kind).map_or_else(Vec::new, texts);
    let one = |kind| about(kind).into_iter().next().unwrap_or_default();
    let arg = bare(&one(ContextKind::InvalidArg));
    let named = named(&one(ContextKind::InvalidArg));
    let value = one(ContextKind::InvalidValue);
    let verb = verb(&one(ContextKind::Usage));
    let see = format!("see `{} --help`", ["perdura", &verb].join(" ").trim_end());
    let message = match error.kind() {
        ErrorKind::DisplayHelp
        | ErrorKind::DisplayVersion
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => return None,
        ErrorKind::InvalidValue if value.is_empty() => {
            format!("{named}: it has no value, or an empty one; give it one")
        }
        ErrorKind::InvalidValue => {
            format!("{named} {value}: it is one of {}", about(ContextKind::ValidValue).join(", "))
        }
        ErrorKind::ValueValidation => {
            let why = error.source().map_or_else(|| "it cannot be that".to_owned(), ToString::to_string);
            let value = if value.is_empty() { "\"\"" } else { &value };
            format!("{named} {value}: {why}")
        }
        ErrorKind::UnknownArgument => {
            let meant = meant(one(ContextKind::SuggestedArg));
            match arg.starts_with('-') {
                true => format!("{}there is no option {arg}; {meant}{see}", within(&verb)),
                false => format!("{}{arg} is one word too many; {see}", within(&verb)),
            }
        }
        ErrorKind::InvalidSubcommand => {
            let wrong = one(ContextKind::InvalidSubcommand);
            let meant = meant(one(ContextKind::SuggestedSubcommand));
            format!("{}there is no verb {wrong}; {meant}{see}", within(&verb))
        }
        ErrorKind::MissingRequiredArgument => {
            let missing = about(ContextKind::InvalidArg).join(" and ");
            format!("{}{missing} is missing; {see}", within(&verb))
        }
        ErrorKind::ArgumentConflict => match one(ContextKind::PriorArg) {
            prior if bare(&prior) == arg => format!("{arg} may be given once; leave the others out"),
            prior => format!("{arg} and {} exclude each other; leave one out", bare(&prior)),
        },
        _ => {
            let text = error.to_string();
            let first = text.lines().next().unwrap_or_default();
            format!("{}; {see}", first.trim_start_matches("error: "))
        }
    };
    Some(CliError::usage(message))
}

fn texts(value: &ContextValue) -> Vec<String> {
    match value {
        ContextValue::String(text) => vec![text.clone()],
        ContextValue::Strings(texts) => texts.clone(),
        ContextValue::StyledStr(text) => vec![text.to_string()],
        ContextValue::StyledStrs(texts) => texts.iter().map(ToString::to_string).collect(),
        _ => Vec::new(),
    }
}

/// `--delay` of `--delay <TIME>`, `ID` of `<ID>...`.
fn bare(arg: &str) -> String {
    let name = arg.split([' ', '=']).next().unwrap_or_default();
    name.trim_matches(['<', '>', '[', ']', '.']).to_owned()
}

/// `--delay` of `--delay <TIME>`; a value that has a place, as the usage line names it: `<ID>` of `<ID>...`.
fn named(arg: &str) -> String {
    if arg.starts_with('-') { bare(arg) } else { arg.trim_end_matches('.').to_owned() }
}

/// `dead purge` of `Usage: perdura dead purge [OPTIONS]`.
fn verb(usage: &str) -> String {
    let words = usage.split_whitespace().skip(2);
    words.take_while(|word| !word.starts_with(['-', '<', '['])).collect::<Vec<_>>().join(" ")
}

fn within(verb: &str) -> String {
    if verb.is_empty() { String::new() } else { format!("{verb}: ") }
}

fn meant(suggestion: String) -> String {
    if suggestion.is_empty() { suggestion } else { format!("did you mean {suggestion}? ") }
}
