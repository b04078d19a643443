//! What options are called in a message: `--max-attempts` on the command line, `max_attempts` in a line of JSON.

use crate::Error;
use crate::console::CliError;
use crate::console::inspect::job::JobProblem;

/// How the options of a job are given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum OptionStyle {
    #[default]
    CommandLine,
    Json,
}

/// Fields of the library, and keys, whose option is not their name with dashes.
const OWN_NAMES: [(&str, &str); 12] = [
    ("unique key", "--unique"),
    ("unique key's time", "--for"),
    ("key of limit", "the key of --limit"),
    ("key of serial", "the key of --serial"),
    ("run_at", "--at"),
    ("max_wait", "MAX_WAIT"),
    ("argv", "the command"),
    ("pattern", "CRON"),
    ("time_zone", "--tz"),
    ("period", "--every"),
    ("schedule", "NAME"),
    ("task name", "the task name"),
];

impl OptionStyle {
    /// The option that sets a field of the library, or has this key.
    pub(super) fn name(self, field: &str) -> String {
        match OWN_NAMES.iter().find(|(other, _)| *other == field) {
            _ if self == OptionStyle::Json => field.to_owned(),
            Some((_, own)) => (*own).to_owned(),
            None => format!("--{}", field.replace('_', "-")),
        }
    }

    /// Several of them: `--env and --dir`.
    pub(super) fn names(self, fields: &[&str]) -> String {
        let names: Vec<_> = fields.iter().map(|field| self.name(field)).collect();
        match names.split_last() {
            Some((last, [])) => last.clone(),
            Some((last, first)) => format!("{} and {last}", first.join(", ")),
            None => String::new(),
        }
    }

    /// An error of the library, which names the option in place of its field.
    pub(super) fn error(self, error: Error) -> CliError {
        match error.field().map(|field| self.name(field)) {
            Some(name) => error.with_field_named(&name).into(),
            None => error.into(),
        }
    }

    /// What is wrong with a job, as wrong usage.
    pub(super) fn problem(self, JobProblem { keys, problem }: JobProblem) -> CliError {
        CliError::usage(format!("{}: {problem}", self.names(keys)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::Exit;
    use crate::{Config, ErrorKind, Options};

    #[test]
    fn options_are_named_as_they_are_typed() {
        let [typed, json] = [OptionStyle::CommandLine, OptionStyle::Json];
        for (field, option) in
            [("max_attempts", "--max-attempts"), ("unique key", "--unique"), ("argv", "the command")]
        {
            assert_eq!((typed.name(field).as_str(), json.name(field).as_str()), (option, field));
        }
        let keys = &["argv", "env", "working_dir"];
        assert_eq!(typed.names(keys), "the command, --env and --working-dir");
        assert_eq!(
            (json.names(keys), typed.names(&["on"])),
            ("argv, env and working_dir".into(), "--on".into())
        );
    }

    #[test]
    fn an_error_of_the_library_names_the_option() {
        let refused = |options: Options| {
            let now = std::time::SystemTime::UNIX_EPOCH;
            options.validate(&Config::default(), now).unwrap_err().context("line 3")
        };
        let error = OptionStyle::CommandLine.error(refused(Options::new().unique("")));
        assert_eq!(error.exit, Exit::Usage);
        assert!(error.message.starts_with("line 3: --unique is empty;"), "{}", error.message);
        let error = OptionStyle::Json.error(refused(Options::new().max_attempts(0)));
        assert!(error.message.starts_with("line 3: max_attempts \"0\" is not"), "{}", error.message);
        let other = Error::new(ErrorKind::NotFound, "queue is not an option here");
        assert_eq!(OptionStyle::CommandLine.error(other).message, "queue is not an option here");
    }
}
