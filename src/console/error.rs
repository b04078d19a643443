//! How a verb ends: its exit code, or its error.

use std::fmt;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use crate::{Error, ErrorKind};

/// How the command ended: its exit code. 2, wrong usage, is clap's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Exit {
    /// 0: done.
    Done = 0,
    /// 1: finished, but a task failed, a problem was found, or nothing matched.
    No = 1,
    /// 2: the command line is wrong, for any file and terminal.
    Usage = 2,
    /// 3: refused: no such task, a state that does not allow it, a taken unique key.
    Refused = 3,
    /// 4: a file, a folder, the disk or the terminal is not as it must be.
    File = 4,
    /// 129: its terminal has gone (SIGHUP); what ran was handed back.
    HungUp = 129,
    /// 130: interrupted by SIGINT; what ran was handed back.
    Interrupted = 130,
    /// 143: terminated by SIGTERM; what ran was handed back.
    Terminated = 143,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

/// Parts of the library's messages that name a method, and what to say in the shell instead.
const IN_SHELL: [(&str, &str); 15] = [
    (", or only look with read_only(true)", ""),
    (", and read_only(true) makes none; check", "; check"),
    ("make it by opening it without read_only(true)", "its first task makes it one"),
    (", or share(true) if it is yours", ""),
    ("with share(true), turn WAL on before: ", "turn WAL on: "),
    ("use open_temporary()", "give the path of a file"),
    ("`Queue::check`", "`doctor`"),
    ("see Queue::check", "see `doctor`"),
    ("or open the queue again", "or end this command and start it again"),
    ("replay_again makes another", "--again makes another"),
    ("run_now starts one that waits", "run-now starts one that waits"),
    ("longer than delay,", "longer than --delay,"),
    ("later than run_at", "later than --at"),
    ("goes with delay and not with run_at", "goes with --delay and not with --at"),
    ("no meaning with after_end", "no meaning with --after-end"),
];

/// A message of the library, for those who have the command alone.
pub(crate) fn in_shell(message: &str) -> String {
    IN_SHELL.iter().fold(without_numbers(message), |text, (call, shell)| text.replace(call, shell))
}

/// The system's message without its error number.
pub(crate) fn system(error: &io::Error) -> String {
    without_numbers(&error.to_string())
}

/// A text without `(os error 2)`.
fn without_numbers(text: &str) -> String {
    let mut rest = text;
    let mut kept = String::with_capacity(text.len());
    while let Some((before, number)) = rest.split_once(" (os error ") {
        kept.push_str(before);
        rest = number.split_once(')').map_or("", |(_, after)| after);
    }
    kept + rest
}

/// The result of a verb.
pub(crate) type CliResult = Result<Exit, CliError>;

/// An error of the command: its exit code, and a message that says what to do next.
#[derive(Debug)]
pub(crate) struct CliError {
    pub exit: Exit,
    pub message: String,
    /// It is an error of the database, and its message need not say which file that is.
    pub is_of_database: bool,
}

impl CliError {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> CliError {
        CliError { exit, message: message.into(), is_of_database: false }
    }

    /// An error of the library about a file.
    pub(crate) fn of_file(error: Error) -> CliError {
        CliError { exit: Exit::File, ..error.into() }
    }

    /// A file or folder that was to be written and cannot be.
    pub(crate) fn of_target(target: &Path, error: &io::Error) -> CliError {
        let what_to_do = match error.kind() {
            io::ErrorKind::NotFound => "make its folder first, or give another path",
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                "give a path where you may write"
            }
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "free some space",
            _ => "give another path",
        };
        CliError::new(Exit::File, format!("{}: {}; {what_to_do}", target.display(), system(error)))
    }

    /// An error of the library, of which a full disk and the like is that of a file that was to be written.
    pub(crate) fn of_copy(target: &Path, error: Error) -> CliError {
        let is_of_target = matches!(error.kind(), ErrorKind::DiskFull | ErrorKind::ReadOnly | ErrorKind::Io);
        let error = CliError::of_file(error);
        if is_of_target { error.named(target) } else { error }
    }

    /// The same with the path of the database before it, if it is an error of that and does not name it.
    pub(crate) fn named(self, path: &Path) -> CliError {
        let folder =
            path.parent().map(|folder| if folder.as_os_str().is_empty() { Path::new(".") } else { folder });
        let real = folder.and_then(|folder| Some(folder.canonicalize().ok()?.join(path.file_name()?)));
        let names = |path: &Path| is_named(&self.message, &path.to_string_lossy());
        if !self.is_of_database || names(path) || real.as_deref().is_some_and(names) {
            return self;
        }
        let message = format!("{}: {}", path.display(), self.message);
        CliError { message, is_of_database: false, ..self }
    }

    pub(crate) fn usage(message: impl Into<String>) -> CliError {
        CliError::new(Exit::Usage, message)
    }
}

/// Whether a text has this name, and not only as a part of a word.
fn is_named(text: &str, name: &str) -> bool {
    text.match_indices(name).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + name.len()..].chars().next();
        ![before, after].into_iter().flatten().any(char::is_alphanumeric)
    })
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<Error> for CliError {
    fn from(error: Error) -> CliError {
        let exit = match error.kind() {
            ErrorKind::InvalidInput | ErrorKind::InvalidConfig => Exit::Usage,
            ErrorKind::NotFound | ErrorKind::WrongState | ErrorKind::Conflict | ErrorKind::Superseded => {
                Exit::Refused
            }
            _ => Exit::File,
        };
        let is_of_database = !matches!(error.kind(), ErrorKind::ForkedProcess | ErrorKind::TimedOut);
        let is_of_database = exit == Exit::File && is_of_database;
        CliError { is_of_database, ..CliError::new(exit, in_shell(&error.to_string())) }
    }
}

/// A screen or a file of the user's that cannot be written.
impl From<io::Error> for CliError {
    fn from(error: io::Error) -> CliError {
        CliError::new(Exit::File, system(&error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Calls that a message may name.
    const CALLS: [&str; 12] = [
        "read_only(",
        "share(",
        "Queue::",
        "Builder::",
        "open_temporary(",
        "replay_again",
        "than run_at",
        "with run_at",
        "with after_end",
        "run_now ",
        "retry_from_start",
        "open the queue",
    ];

    /// Only for programs: the command registers its handlers, and opens shared files as they are.
    const NOT_REACHED: [&str; 6] = [
        "share(true) needs a database that exists",
        "register one with Builder::handle",
        "a queue with handlers executes tasks",
        "open it with share(true) if they are yours",
        "the queue was opened with read_only(true)",
        "run_now starts it now",
    ];

    /// The lines of the library's sources in which a text names a call.
    fn naming(folder: &Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                naming(&path, found);
                continue;
            }
            let source = std::fs::read_to_string(&path).unwrap();
            let source = source.split("#[cfg(test)]\nmod ").next().unwrap().replace("\\\n", ""); // a text may go on in the next line
            let is_in_text = |line: &&str| {
                let line = line.trim_start();
                let before = CALLS.iter().filter_map(|call| line.split_once(call)).map(|(before, _)| before);
                !line.starts_with("//")
                    && before.into_iter().any(|before| before.matches('"').count() % 2 == 1)
            };
            found.extend(source.lines().filter(is_in_text).map(str::to_owned));
        }
    }

    #[test]
    fn an_error_of_the_database_names_it_once() {
        let damaged = |text: &str| CliError::from(Error::new(ErrorKind::Corrupt, text));
        let named = |text: &str, path: &str| damaged(text).named(Path::new(path)).message;
        assert_eq!(named("the file is damaged", "a.db"), "a.db: the file is damaged");
        assert_eq!(
            named("the file is damaged", "a"),
            "a: the file is damaged",
            "a letter of a word is no name"
        );
        for text in ["opening /x/a.db: the file is damaged", "path \"a.db\" is a folder", "a.db-wal is there"]
        {
            assert_eq!(named(text, "a.db"), text);
        }
        let twice = damaged("the file is damaged").named(Path::new("a.db")).named(Path::new("b.db"));
        assert_eq!(twice.message, "a.db: the file is damaged");
        let other = CliError::from(Error::new(ErrorKind::NotFound, "there is no task 9"));
        assert_eq!(other.named(Path::new("a.db")).message, "there is no task 9");
        let full = || Error::new(ErrorKind::DiskFull, "the disk or quota is full");
        assert_eq!(
            CliError::of_copy(Path::new("b.db"), full()).named(Path::new("a.db")).message,
            "b.db: the disk or quota is full"
        );
    }

    #[test]
    fn no_message_of_the_library_names_a_call_to_the_shell() {
        let mut lines = Vec::new();
        for room in ["store", "queue", "task", "handler", "schedule"] {
            naming(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(room), &mut lines);
        }
        for (call, _) in IN_SHELL {
            assert!(lines.iter().any(|line| line.contains(call)), "the library no longer says {call:?}");
        }
        lines.retain(|line| !NOT_REACHED.iter().any(|said| line.contains(said)));
        for line in &mut lines {
            *line = in_shell(line);
        }
        lines.retain(|line| CALLS.iter().any(|call| line.contains(call)));
        assert!(lines.is_empty(), "{lines:#?}");
    }
}
