//! What options are called in a message: `--max-attempts` on the command line, `max_attempts` in a line of JSON.
//!
//! Messages of this program name them as keys between backquotes. Those of the library, and those of values, begin with the field that
//! they speak of.

use crate::console::{CliError, Exit};

/// Where options stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OptionStyle {
    CommandLine,
    Json,
}

/// Options whose name differs from their key by their dashes only.
const OPTIONS: [&str; 33] = [
    "queue",
    "priority",
    "delay",
    "at",
    "max_attempts",
    "backoff",
    "timeout",
    "unique",
    "until_started",
    "for",
    "on_conflict",
    "limit",
    "serial",
    "needs",
    "needs_throughout",
    "needs_free_disk",
    "expires",
    "name",
    "tag",
    "env",
    "keep_env",
    "stdin",
    "nice",
    "dir",
    "on",
    "working_dir",
    "spec",
    "kill_after",
    "missed",
    "grace",
    "overlap",
    "jitter",
    "until",
];

/// Those with names of their own: the library's field, or the key, then what stands on the command line.
const OWN_NAMES: [(&str, &str); 10] = [
    ("unique key", "--unique"),
    ("key of limit", "the key of --limit"),
    ("key of serial", "the key of --serial"),
    ("run_at", "--at"),
    ("max_wait", "MAX_WAIT"),
    ("argv", "the command"),
    ("late_success", "--late-success"),
    ("pattern", "CRON"),
    ("time_zone", "--tz"),
    ("period", "--every"),
];

impl OptionStyle {
    /// The same error, which names options as they are typed.
    pub(super) fn name(self, error: CliError) -> CliError {
        match error.exit {
            Exit::Usage => CliError { message: self.text(&error.message), ..error },
            _ => error,
        }
    }

    fn text(self, message: &str) -> String {
        let message = self.quoted(message);
        if self == OptionStyle::Json {
            return message;
        }
        let (place, text) = match message.split_once(": ") {
            Some((place, text)) if is_place(place) => (&message[..place.len() + 2], text),
            _ => ("", message.as_str()),
        };
        format!("{place}{}", leading(text))
    }

    /// Options between backquotes.
    fn quoted(self, message: &str) -> String {
        let mut text = String::with_capacity(message.len());
        let mut rest = message;
        while let Some((before, (quoted, after))) =
            rest.split_once('`').and_then(|(before, after)| Some((before, after.split_once('`')?)))
        {
            text.push_str(before);
            match typed(quoted) {
                Some(_) if self == OptionStyle::Json => text.push_str(quoted),
                Some(option) => text.push_str(&option),
                None => text.push_str(&format!("`{quoted}`")),
            }
            rest = after;
        }
        text + rest
    }
}

/// `line 3`, `schedule "nightly"`
fn is_place(text: &str) -> bool {
    let is_line = text.strip_prefix("line ").is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit()));
    is_line || (text.starts_with("schedule \"") && text.ends_with('"'))
}

/// What stands on the command line for a field or a key.
fn typed(name: &str) -> Option<String> {
    if let Some((_, own)) = OWN_NAMES.iter().find(|(field, _)| *field == name) {
        return Some((*own).to_owned());
    }
    OPTIONS.contains(&name).then(|| format!("--{}", name.replace('_', "-")))
}

/// A text that begins with a field: `timeout is zero`, `argv, env and dir: they are …`.
fn leading(text: &str) -> String {
    if let Some((names, rest)) = text.split_once(':') {
        let list = names.replace(" and ", ", ");
        let list: Option<Vec<_>> = list.split(", ").map(typed).collect();
        if let Some([first @ .., last]) = list.as_deref() {
            let names =
                if first.is_empty() { last.clone() } else { format!("{} and {last}", first.join(", ")) };
            return format!("{names}:{rest}");
        }
    }
    let fields = OPTIONS.into_iter().chain(OWN_NAMES.into_iter().map(|(field, _)| field));
    let field = fields.filter(|field| text.strip_prefix(*field).is_some_and(|rest| rest.starts_with(' ')));
    match field.max_by_key(|field| field.len()) {
        Some(field) => format!("{}{}", typed(field).unwrap_or_default(), &text[field.len()..]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_named_as_they_are_typed() {
        for (message, typed, json) in [
            ("unique key is empty", "--unique is empty", "unique key is empty"),
            ("line 3: timeout is zero; x", "line 3: --timeout is zero; x", "line 3: timeout is zero; x"),
            ("max_attempts \"0\" is not", "--max-attempts \"0\" is not", "max_attempts \"0\" is not"),
            (
                "`dir` does not go with `on`: `perdura work` runs",
                "--dir does not go with --on: `perdura work` runs",
                "dir does not go with on: `perdura work` runs",
            ),
            (
                "argv, env and dir: they are",
                "the command, --env and --dir: they are",
                "argv, env and dir: they are",
            ),
            (
                "`until_started`, `for` and `on_conflict` say",
                "--until-started, --for and --on-conflict say",
                "until_started, for and on_conflict say",
            ),
            ("there is no engine `x`", "there is no engine `x`", "there is no engine `x`"),
            (
                "schedule \"a\": time_zone \"x\" is none",
                "schedule \"a\": --tz \"x\" is none",
                "schedule \"a\": time_zone \"x\" is none",
            ),
            ("the queue is full", "the queue is full", "the queue is full"),
        ] {
            assert_eq!(OptionStyle::CommandLine.text(message), typed);
            assert_eq!(OptionStyle::Json.text(message), json);
        }
        let other = CliError::new(Exit::Refused, "queue is not an option here");
        assert_eq!(OptionStyle::CommandLine.name(other).message, "queue is not an option here");
    }
}
