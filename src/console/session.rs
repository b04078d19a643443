//! One run of the command: its file, its output, its exit code.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::error::{CliError, CliResult, Exit};
use super::inspect::explain::{Explainer, WorkerStatus};
use super::options::GlobalOptions;
use super::screen::{ColorChoice, Screen};
use super::text::safe;
use super::times::{Zone, zone_error};
use crate::{Builder, Clock, Config, Queue, SystemClock, Timestamp};

/// The default file.
const DEFAULT_FILE: &str = "perdura.db";

/// The name before error messages.
const COMMAND_NAME: &str = "perdura";

/// The largest args, results and checkpoints, in bytes.
const MAX_VALUE_BYTES: usize = 256 * 1024 * 1024;

/// One run of the command.
pub(crate) struct Session {
    db: PathBuf,
    /// The program that has mounted the verbs, if it is not the command itself.
    program: Option<String>,
    /// Answers are JSON.
    pub json: bool,
    /// How times are shown.
    pub zone: Zone,
    pub screen: Screen,
    /// What was done; shown if the answer cannot be written.
    done: Option<String>,
    /// It was said that the time zone is not known.
    told_zone: Cell<bool>,
}

impl Session {
    pub(crate) fn begin(common: &GlobalOptions, db: Option<PathBuf>) -> Session {
        let db = db.unwrap_or_else(|| DEFAULT_FILE.into());
        Session::new(common, db, None)
    }

    /// Ends a run whose command line is wrong.
    pub(crate) fn refuse(error: &CliError) -> ExitCode {
        Screen::new(ColorChoice::Never, COMMAND_NAME).print_error(error);
        error.exit.into()
    }

    /// One of a program that has mounted the verbs for its file.
    pub(crate) fn of_program(common: &GlobalOptions, db: PathBuf) -> Session {
        let program = std::env::args_os().next().map(PathBuf::from).unwrap_or_default();
        let program =
            program.file_stem().map_or_else(|| "error".into(), |name| name.to_string_lossy().into_owned());
        Session::new(common, db, Some(program))
    }

    fn new(common: &GlobalOptions, db: PathBuf, program: Option<String>) -> Session {
        let zone = if common.json || common.utc { Zone::Utc } else { Zone::Local };
        let screen = Screen::new(common.color, program.as_deref().unwrap_or(COMMAND_NAME));
        Session { db, program, json: common.json, zone, screen, done: None, told_zone: Cell::new(false) }
    }

    /// Runs a verb; the exit code. A reader that has closed the pipe is no error.
    pub(crate) fn end_with(mut self, verb: impl FnOnce(&mut Session) -> CliResult) -> ExitCode {
        let done = verb(&mut self);
        let flushed = self.screen.flush();
        let done = match done {
            Ok(Exit::HungUp) => Ok(Exit::HungUp), // a terminal that has gone takes nothing more
            Ok(exit) if self.screen.reader_has_left() => Ok(exit),
            Err(_) if self.screen.reader_has_left() => Ok(Exit::Done),
            done => {
                let done = done.and_then(|exit| Ok(flushed.map(|()| exit)?));
                done.map_err(|error| self.naming(self.unanswered(error)))
            }
        };
        match done {
            Ok(exit) => exit.into(),
            Err(error) => {
                self.screen.print_error(&error);
                error.exit.into()
            }
        }
    }

    /// Remembers what was done, for the error message if the answer cannot be written (a full disk behind the standard output).
    pub(crate) fn note_done(&mut self, what: impl Into<String>) {
        self.done = Some(what.into());
    }

    /// If the answer could not be written, an error that says so and what was done; else the same error.
    fn unanswered(&self, error: CliError) -> CliError {
        match self.screen.failure() {
            Some(why) if error.message.contains(why) => {
                let done = self.done.as_ref().map_or_else(String::new, |done| format!("{done}, but "));
                CliError::new(
                    Exit::File,
                    format!("{done}the answer could not be written to the standard output: {why}"),
                )
            }
            _ => error,
        }
    }

    /// The error, which names the file, if it is an error of that.
    pub(crate) fn naming(&self, error: CliError) -> CliError {
        error.named(&self.db)
    }

    /// Refuses `--json` where there is nothing in JSON.
    pub(crate) fn refuse_json(&self, why: &str) -> Result<(), CliError> {
        if self.json { Err(CliError::usage(format!("--json: {why}; leave it out"))) } else { Ok(()) }
    }

    /// Where the file is, as it was named.
    pub(crate) fn db(&self) -> &Path {
        &self.db
    }

    /// The time.
    pub(crate) fn now(&self) -> Timestamp {
        SystemClock::new().now()
    }

    /// What an explanation needs beside the task.
    pub(crate) fn explainer(&self, queue: &Queue) -> Explainer {
        let is_mounted = self.program.is_some();
        Explainer { worker: WorkerStatus::of(queue), now: self.now(), zone: self.zone, is_mounted }
    }

    /// A time, as it is shown.
    pub(crate) fn time(&self, moment: Timestamp) -> String {
        self.zone.show(moment)
    }

    /// The queue of the file, which must exist, opened read-only.
    ///
    /// # Errors
    /// What is wrong with the file, and what to do.
    pub(crate) fn read_only_queue(&self) -> Result<Queue, CliError> {
        self.must_exist()?;
        self.open(Session::builder().read_only(true))
    }

    /// The queue of the file, which must exist, opened to change it. It executes nothing.
    ///
    /// # Errors
    /// What is wrong with the file, and what to do.
    pub(crate) fn writable_queue(&self) -> Result<Queue, CliError> {
        self.must_exist()?;
        self.open(Session::builder())
    }

    /// Settings for any file: the largest values that any program may have put into one.
    pub(crate) fn builder() -> Builder {
        let mut config = Config::default();
        (config.max_args_bytes, config.max_result_bytes, config.max_checkpoint_bytes) =
            (MAX_VALUE_BYTES, MAX_VALUE_BYTES, MAX_VALUE_BYTES);
        Queue::builder().config(config).share_as_found(true)
    }

    /// The queue of the file with these settings and handlers; the file is made if it is not there.
    ///
    /// # Errors
    /// What is wrong with the file; the command line has been checked before.
    pub(crate) fn open(&self, builder: Builder) -> Result<Queue, CliError> {
        self.must_have_folder()?;
        if self.zone == Zone::Local
            && !self.told_zone.replace(true)
            && let Some(error) = zone_error()
        {
            self.screen.remark(safe(&error));
        }
        builder.open(&self.db).map_err(CliError::of_file)
    }

    /// Whether there is a current folder, if the file lies in it.
    pub(crate) fn must_have_folder(&self) -> Result<(), CliError> {
        if self.db.is_absolute() || std::env::current_dir().is_ok() {
            return Ok(());
        }
        let message = format!(
            "the current folder is gone, and {} with it; go to another one, or name a whole path with --db",
            self.db.display()
        );
        Err(CliError::new(Exit::File, message))
    }

    /// Whether there is a file.
    ///
    /// # Errors
    /// There is none, and what to do.
    pub(crate) fn must_exist(&self) -> Result<(), CliError> {
        let mut wal = self.db.clone().into_os_string();
        wal.push("-wal");
        if [self.db.as_os_str(), &wal].into_iter().any(|path| std::fs::symlink_metadata(path).is_ok()) {
            return Ok(()); // a WAL without its database is refused when that is opened, with the advice of the library
        }
        self.must_have_folder()?;
        let db = self.db.display();
        let message = match &self.program {
            None => format!(
                "there is no file {db}; name one with --db or PERDURA_DB, or make it with `perdura add` or `perdura init`"
            ),
            Some(program) => {
                format!("there is no file {db} yet; {program} makes it when it enqueues its first task")
            }
        };
        Err(CliError::new(Exit::File, message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_has_mounted_the_verbs_is_not_told_of_the_command() {
        let common = || GlobalOptions { json: false, utc: false, color: ColorChoice::Never };
        let missing = |session: Session| session.must_exist().unwrap_err().message;
        let own = missing(Session::begin(&common(), Some("no-such.db".into())));
        assert!(own.contains("`perdura init`") && own.contains("PERDURA_DB"), "{own}");
        let of_program = missing(Session::of_program(&common(), "no-such.db".into()));
        assert!(of_program.starts_with("there is no file no-such.db yet; "), "{of_program}");
        assert!(!of_program.contains("PERDURA_DB") && !of_program.contains("init"), "{of_program}");
    }
}
