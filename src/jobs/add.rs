//! `perdura add`: makes jobs, one from the command line or many from the standard input.

use std::cell::Cell;
use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use serde::Serialize;

use super::batch::{self, Format, Separator};
use super::engines::EnginesOption;
use super::job_options::{JobOptions, NewJob, about_line};
use super::template::Template;
use crate::console::os_word::Word;
use crate::console::text::safe;
use crate::console::words::distance;
use crate::console::{CliError, CliResult, Exit, Session};
use crate::{Config, Enqueued, Error, ErrorKind, Queue, TaskId, Timestamp};

/// Of so many jobs the commit may stay in the WAL; of more, which are added at once, it is copied into the file.
const MAX_WAL_LEFT_JOBS: usize = 10;

/// What to add.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "It prints the id of the job. `perdura work` runs it; `perdura follow ID` shows what it writes."
)]
pub(crate) struct AddArgs {
    #[command(flatten)]
    options: JobOptions,
    #[command(flatten)]
    engines: EnginesOption,
    /// Add many jobs from the standard input, all or none: one command a line, or one JSON object a line with these options as
    /// its keys and `argv` or `command`
    #[arg(long, value_enum, value_name = "FORMAT", conflicts_with_all = ["command", "unique"])]
    from: Option<Format>,
    /// Add a job for each line of the standard input, all or none: this command, with the line as one word in the place of {}. A path's parts are
    /// {.} without its extension, {/} its name, {//} its folder, {/.} its name without extension
    #[arg(long, value_name = "COMMAND", conflicts_with_all = ["command", "unique", "from"])]
    template: Option<String>,
    /// With --template: what `find -print0` writes, items that end in a zero byte, in the place of lines
    #[arg(long, requires = "template")]
    from0: bool,
    /// The program and its arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "CMD")]
    command: Vec<OsString>,
}

/// The JSON answer for each job.
#[derive(Serialize)]
struct Added {
    task_id: TaskId,
    existing: bool,
    /// Whether it waited, and was replaced or has a new command line.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    replaced: bool,
    /// When it may start, if a time was named.
    #[serde(skip_serializing_if = "Option::is_none")]
    run_at: Option<Timestamp>,
}

impl AddArgs {
    pub(super) fn run(self, session: &mut Session) -> CliResult {
        let engines = self.engines.engines(session.db());
        let new = match (self.from, &self.template) {
            (Some(format), _) => batch::read(format, &standard_input()?, &self.options, &engines)?,
            (None, Some(template)) => {
                let template = Template::new(template, self.options.kind.shell)
                    .map_err(|problem| CliError::usage(format!("--template: {problem}")))?;
                let separator = if self.from0 { Separator::Zero } else { Separator::NewLine };
                batch::read_items(separator, &standard_input()?, &template, &self.options, &engines)?
            }
            (None, None) => {
                self.check_command()?;
                let argv = self.command.iter().map(|word| Word(word.clone())).collect();
                vec![self.options.new_job(argv, None, &engines)?]
            }
        };
        check(&new, session.now())?;
        let builder = Queue::builder().share_as_found(true);
        let builder = if new.len() <= MAX_WAL_LEFT_JOBS { builder.leave_wal() } else { builder };
        let queue = session.open(builder)?;
        let added = add(&queue, &new)?;
        let now = session.now();
        let mut are_new = added.iter().filter(|made| made.is_new());
        if let Some(first) = are_new.next() {
            let last = are_new.next_back().unwrap_or(first);
            let ids = if first.id() == last.id() {
                format!("job {} is", first.id())
            } else {
                format!("jobs {} to {} are", first.id(), last.id())
            };
            session.note_done(format!("{ids} added"));
        }
        for (made, new) in added.iter().zip(&new) {
            let (task_id, existing, replaced) = (made.id(), !made.is_new(), made.is_replaced());
            let run_at = new.at.filter(|_| !existing);
            if session.json {
                session.screen.json(&Added { task_id, existing, replaced, run_at })?;
            } else {
                session.screen.line(task_id)?;
            }
            if existing {
                let what = if replaced { "replaced what waited" } else { "nothing added" };
                session.screen.remark(format_args!("{what}: job {task_id} {}", key_of(&queue, task_id)));
            }
            if let Some(at) = run_at.filter(|_| new.line.is_none()) {
                let told = format!("{} ({})", session.time(at), distance(at, now));
                session.screen.remark(match at <= now {
                    true => format!("job {task_id} starts at once: {told} is past"),
                    false => format!("job {task_id} starts at {told} at the earliest"),
                });
            }
        }
        if new.is_empty() {
            session.screen.remark("nothing added: there was no command in the standard input");
        }
        Ok(Exit::Done)
    }

    /// Refuses what does not look like a command: a job for it would fail only later.
    fn check_command(&self) -> Result<(), CliError> {
        match self.command.first() {
            None => Err(CliError::usage(
                "add what? name a program and its arguments, or give many commands on the standard input with --from lines or --template",
            )),
            Some(word) if word.as_bytes().starts_with(b"-") => {
                let word = word.to_string_lossy();
                Err(CliError::usage(format!(
                    "add has no option {word}, see add --help; a program of that name is ./{word}"
                )))
            }
            Some(word) if self.command.len() == 1 && !self.options.kind.shell && is_script(word) => {
                Err(CliError::usage(format!(
                    "add: {:?} is one word, so it would be the name of a program; --shell gives it to a shell",
                    safe(&word.to_string_lossy())
                )))
            }
            Some(_) => Ok(()),
        }
    }
}

/// Whether a word looks like a whole command line, and no program has this name.
fn is_script(word: &OsStr) -> bool {
    word.as_bytes().contains(&b' ') && !Path::new(word).exists()
}

fn standard_input() -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    io::stdin().lock().read_to_end(&mut text)?;
    Ok(text)
}

/// How a job has the unique key that another was to have.
fn key_of(queue: &Queue, id: TaskId) -> &'static str {
    match queue.get(id) {
        Ok(task) if !task.state.is_finished() => "has this unique key and is not finished",
        Ok(_) => "has finished, and has this unique key until its time is over",
        Err(_) => "is gone, and has this unique key until its time is over",
    }
}

/// Refuses what is wrong before there is a file.
fn check(new: &[NewJob], now: Timestamp) -> Result<(), CliError> {
    let config = Config::default();
    for NewJob { job, options, line, style, .. } in new {
        job.check_size(config.max_args_bytes)
            .map_err(|problem| style.problem(problem))
            .and_then(|()| options.validate(&config, now.to_system_time()).map_err(|e| style.error(e)))
            .map_err(|error| about_line(error, *line))?;
    }
    Ok(())
}

/// All, or none. What is wrong with one of them names its line.
fn add(queue: &Queue, new: &[NewJob]) -> Result<Vec<Enqueued>, CliError> {
    let latest = Cell::new(None); // the job that was looked at last: a complaint is about it
    let jobs = new.iter().map(|new| {
        latest.set(Some(new));
        (new.task_name.clone().into(), &new.job, new.options.clone())
    });
    queue.enqueue_all_as(jobs).map_err(|e: Error| {
        let is_about_one = matches!(e.kind(), ErrorKind::InvalidInput | ErrorKind::TooLarge);
        match latest.get().filter(|_| is_about_one) {
            Some(new) => about_line(CliError { exit: Exit::Usage, ..new.style.error(e) }, new.line),
            None => e.into(),
        }
    })
}
