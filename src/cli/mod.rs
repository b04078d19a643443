//! The command `perdura`: an admin for every file, and durable jobs for every shell.
//!
//! A program that uses perdura can offer the admin's verbs for its own file: [`Command`] is a part of a clap parser. The program names the
//! file; neither a user nor the environment names another.
//!
//! ```
//! use clap::Parser;
//!
//! #[derive(Parser)]
//! enum MyApp {
//!     /// Look at the tasks, and mend them.
//!     Tasks(perdura::cli::Command),
//! }
//!
//! let MyApp::Tasks(command) = MyApp::parse_from(["my-app", "tasks", "stats"]);
//! let exit_code = command.run_on("no-such-file.db"); // says on stderr that there is no such file
//! # let _ = exit_code;
//! ```
//!
//! It uses only the public API, and says how it ended by [`Exit`].

mod complete;
mod condition;
mod dead_letters;
mod doctor;
mod explain;
mod file;
mod list;
mod manage;
mod queues;
mod schedule;
mod show;
mod stats;
mod wait;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use crate::TaskId;
use crate::console::{CliResult, FileOption, GlobalOptions, Session, filter, no_json, refusal};
#[cfg(unix)]
use crate::jobs;

pub use crate::console::{ColorChoice, Exit};

/// The verbs of the admin, for the parser of a program of your own.
#[derive(Debug, clap::Args)]
pub struct Command {
    #[command(flatten)]
    common: GlobalOptions,
    #[command(subcommand)]
    verb: Box<AdminVerb>,
}

impl Command {
    /// Runs the verb on this file: answers go to stdout, errors to stderr, in the name of the running program. The exit code is one of [`Exit`].
    pub fn run_on(self, file: impl Into<PathBuf>) -> ExitCode {
        let Command { common, verb } = self;
        Session::of_program(&common, file.into()).end_with(|session| verb.run(session))
    }
}

/// The verbs for any file.
#[derive(Debug, clap::Subcommand)]
enum AdminVerb {
    #[command(visible_alias = "ls")]
    List(list::ListArgs),
    #[command(visible_alias = "log")]
    Show(show::ShowArgs),
    #[command(visible_alias = "status")]
    Stats(stats::StatsArgs),
    Failures(stats::FailuresArgs),
    /// Say why a task does not run now
    Explain {
        /// The task
        #[arg(value_name = "ID")]
        id: TaskId,
    },
    Wait(wait::WaitArgs),
    Retry(manage::RetryArgs),
    /// Cancel QUEUED tasks, and ask RUNNING ones to stop
    #[command(visible_alias = "kill")]
    Cancel(filter::Target),
    /// Delete tasks that are not running, with all that is kept of them
    #[command(visible_alias = "rm")]
    Delete(filter::Target),
    /// Make dead letters of FAILED and LOST tasks: they are kept apart, and can be replayed
    MoveToDead(filter::Target),
    /// Run tasks now that wait for their time, or for their turn after a process died
    RunNow(filter::Target),
    /// Start no more tasks of these queues, until they are resumed; what runs goes on
    Pause(queues::ToPause),
    /// Start tasks of these queues again: of paused ones, and of those that a task has closed for a while
    Resume(queues::ToResume),
    /// Look at queues, and bound what they start: a limit, a rate, a pause
    #[command(subcommand)]
    Queue(queues::QueueVerb),
    Condition(condition::ConditionArgs),
    Complete(complete::CompleteArgs),
    Fail(complete::FailArgs),
    /// Delete tasks that succeeded or were cancelled long ago
    Purge(manage::PurgeArgs),
    /// Look at dead letters (failed tasks that are kept apart), and make tasks of them again
    #[command(subcommand)]
    Dead(dead_letters::DeadVerb),
    /// Make tasks by themselves: at the times of a cron pattern, at a fixed interval, or after the run before
    #[command(subcommand)]
    Schedule(schedule::ScheduleVerb),
    Doctor(doctor::DoctorArgs),
    /// Copy the file while it is in use; the copy is checked
    Backup {
        /// Where the copy goes; nothing may be there
        #[arg(value_name = "FILE")]
        to: PathBuf,
    },
    /// Write everything as lines of JSON, to a file or to stdout
    Export {
        /// Where it goes [default: the standard output]; nothing may be there
        #[arg(value_name = "FILE")]
        to: Option<PathBuf>,
    },
    #[cfg(feature = "report")]
    Report(crate::report::ReportArgs),
    #[cfg(feature = "tui")]
    Watch(crate::tui::WatchArgs),
}

impl AdminVerb {
    fn run(self, session: &mut Session) -> CliResult {
        match self {
            AdminVerb::List(list) => list.run(session),
            AdminVerb::Show(show) => show.run(session),
            AdminVerb::Stats(stats) => stats.run(session),
            AdminVerb::Failures(failures) => failures.run(session),
            AdminVerb::Explain { id } => explain::explain(session, id),
            AdminVerb::Wait(wait) => wait.run(session),
            AdminVerb::Retry(retry) => retry.run(session),
            AdminVerb::Cancel(target) => manage::CANCEL.run(session, &target),
            AdminVerb::Delete(target) => manage::DELETE.run(session, &target),
            AdminVerb::MoveToDead(target) => manage::MOVE_TO_DEAD.run(session, &target),
            AdminVerb::RunNow(target) => manage::RUN_NOW.run(session, &target),
            AdminVerb::Pause(queues) => queues.run(session),
            AdminVerb::Resume(queues) => queues.run(session),
            AdminVerb::Queue(verb) => verb.run(session),
            AdminVerb::Condition(condition) => condition.run(session),
            AdminVerb::Complete(complete) => complete.run(session),
            AdminVerb::Fail(fail) => fail.run(session),
            AdminVerb::Purge(purge) => purge.run(session),
            AdminVerb::Dead(dead) => dead.run(session),
            AdminVerb::Schedule(schedule) => schedule.run(session),
            AdminVerb::Doctor(doctor) => doctor.run(session),
            AdminVerb::Backup { to } => file::backup(session, &to),
            AdminVerb::Export { to } => file::export(session, to.as_deref()),
            #[cfg(feature = "report")]
            AdminVerb::Report(report) => report.run(session),
            #[cfg(feature = "tui")]
            AdminVerb::Watch(watch) => watch.run(session),
        }
    }
}

/// Verbs that only the command has, and not a program that mounts the others.
#[derive(Debug, clap::Subcommand)]
enum FileVerb {
    /// Make a new file, named by --db, of an export
    Import {
        /// The export; `-` is the standard input
        #[arg(value_name = "EXPORT")]
        from: PathBuf,
    },
    /// Make the file, if it is not there
    Init,
    /// Write completions for a shell
    #[command(arg = no_json())]
    Completions { shell: clap_complete::Shell },
    /// Write the manual: to stdout, or a page for each verb into a folder
    #[command(arg = no_json())]
    Man {
        /// The folder [default: one page, to the standard output]
        #[arg(value_name = "FOLDER")]
        folder: Option<PathBuf>,
    },
}

impl FileVerb {
    fn run(self, session: &mut Session) -> CliResult {
        match self {
            FileVerb::Import { from } => file::import(session, &from),
            FileVerb::Init => file::init(session),
            FileVerb::Completions { shell } => file::completions(session, shell, grammar()),
            FileVerb::Man { folder } => file::manual(session, folder, grammar()),
        }
    }
}

/// The end of the help, where there are no jobs.
#[cfg(not(unix))]
const FIRST_STEPS: &str = "\
First steps, with the file of a program:
  perdura --db tasks.db list         and show, failures, retry, doctor …

Exit codes:
  0    done
  1    finished, but a problem was found or nothing matched
  2    the command line, or the input of `add --from`, is wrong for any file
  3    refused: no such task, or its state or a unique key forbids it
  4    a file, a folder, the disk or the terminal is not as it must be";

#[cfg(unix)]
const FIRST_STEPS: &str = "\
First steps:
  perdura add -- gzip big.log        a job that is tried until it has succeeded, three times at most
  perdura work --until-done          run what is there, retries too; kill it at any moment, and start it again
  perdura list                       and show, failures, retry, doctor …

Exit codes:
  0    done
  1    finished, but a job failed, a problem was found, or nothing matched
  2    the command line, or the input of `add --from`, is wrong for any file
  3    refused: no such task, or its state or a unique key forbids it
  4    a file, a folder, the disk or the terminal is not as it must be
  129  `work` lost its terminal, 130 interrupted, 143 terminated: what ran was handed back";

/// Durable tasks in one file: jobs for the shell, and an admin.
#[derive(Debug, Parser)]
#[command(name = "perdura", version, propagate_version = true, max_term_width = 100, after_help = FIRST_STEPS)]
struct Perdura {
    #[command(flatten)]
    place: FileOption,
    #[command(flatten)]
    common: GlobalOptions,
    #[command(subcommand)]
    verb: AnyVerb,
}

#[derive(Debug, clap::Subcommand)]
enum AnyVerb {
    #[cfg(unix)]
    #[command(flatten)]
    Jobs(jobs::JobVerb),
    #[command(flatten)]
    Admin(AdminVerb),
    #[command(flatten)]
    FileVerb(FileVerb),
}

/// The whole command, for a `main` function.
pub fn main() -> ExitCode {
    let Perdura { place, common, verb } = match Perdura::try_parse() {
        Ok(typed) => typed,
        Err(e) => match refusal::of(&e) {
            Some(error) => return Session::refuse(&error),
            None => e.exit(),
        },
    };
    Session::begin(&common, place.db).end_with(|session| match verb {
        #[cfg(unix)]
        AnyVerb::Jobs(verb) => verb.run(session),
        AnyVerb::Admin(verb) => verb.run(session),
        AnyVerb::FileVerb(verb) => verb.run(session),
    })
}

/// The whole command's grammar, for completions and manual pages.
fn grammar() -> clap::Command {
    Perdura::command()
}
