//! The command `perdura`: an admin for every file, and durable jobs for every shell.
//!
//! A program that uses perdura can offer the admin's verbs for its own file: [`Command`] is a part of a clap parser.
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
//! let MyApp::Tasks(command) = MyApp::parse_from(["my-app", "tasks", "stats", "--db", "no-such-file.db"]);
//! let exit_code = command.run(); // says on stderr that there is no such file
//! # let _ = exit_code;
//! ```
//!
//! It uses only the public API, and says how it ended by [`Exit`].

#[cfg(unix)]
mod jobs;
pub(crate) mod screen;
mod session;
pub(crate) mod table;
mod trouble;
pub(crate) mod words;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};

pub use screen::When;
pub(crate) use session::Session;
pub use trouble::Exit;
pub(crate) use trouble::{Done, Trouble};

/// What every verb takes.
#[derive(Debug, Clone, clap::Args)]
struct Common {
    /// The file with the tasks [default: perdura.db]
    #[arg(long, global = true, env = "PERDURA_DB", hide_env_values = true, value_name = "FILE")]
    db: Option<PathBuf>,
    /// Answer in JSON: one document, or one line for each task
    #[arg(long, global = true)]
    json: bool,
    /// When to colour [NO_COLOR turns it off, too]
    #[arg(long, global = true, value_enum, default_value_t = When::Auto, value_name = "WHEN")]
    color: When,
}

/// The verbs of the admin, for the parser of a program of your own.
#[derive(Debug, clap::Args)]
pub struct Command {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    verb: Verb,
}

impl Command {
    /// Takes this file where the command line and `PERDURA_DB` name none. Defaults to `perdura.db` in the current folder.
    #[must_use]
    pub fn or_db(mut self, file: impl Into<PathBuf>) -> Command {
        self.common.db.get_or_insert_with(|| file.into());
        self
    }

    /// Does it; answers on stdout, complains on stderr.
    pub fn run(self) -> ExitCode {
        let Command { common, verb } = self;
        Session::begin(common).end_with(|session| verb.run(session))
    }
}

/// What can be done to every file.
#[derive(Debug, clap::Subcommand)]
enum Verb {
    #[cfg(feature = "tui")]
    Watch(crate::tui::Watch),
}

impl Verb {
    fn run(self, session: &mut Session) -> Done {
        match self {
            #[cfg(feature = "tui")]
            Verb::Watch(watch) => watch.run(session),
        }
    }
}

/// Durable tasks in one file: jobs for the shell, and an admin.
#[derive(Debug, Parser)]
#[command(name = "perdura", version, propagate_version = true, max_term_width = 100)]
struct Perdura {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    verb: Whole,
}

#[derive(Debug, clap::Subcommand)]
enum Whole {
    #[cfg(unix)]
    #[command(flatten)]
    Jobs(jobs::Verb),
    #[command(flatten)]
    Admin(Verb),
}

/// The whole command, for a `main` function.
pub fn main() -> ExitCode {
    let Perdura { common, verb } = Perdura::parse();
    Session::begin(common).end_with(|session| match verb {
        #[cfg(unix)]
        Whole::Jobs(verb) => verb.run(session),
        Whole::Admin(verb) => verb.run(session),
    })
}

/// The whole command's grammar, for completions and manual pages.
fn grammar() -> clap::Command {
    Perdura::command()
}
