//! Commands of the user that run when jobs have ended (`--on-success`, `--on-failure`). No command is run again that has failed, or that a killed
//! worker did not get to.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Sender, unbounded};

use super::worker_output::WorkerOutput;
use crate::console::system;
use crate::{Clock, State, SystemClock, TaskRecord};

/// How long the worker waits at its end for the commands that are left.
const LAST_HOOKS_TIMEOUT: Duration = Duration::from_secs(10);

/// How many commands may wait; with so many, a further one is left out, with a warning.
const MAX_WAITING: usize = 1000;

/// The most characters of a text that go into a variable of the environment: Linux takes 128 KiB in one.
const MAX_VARIABLE_CHARS: usize = 8 << 10;

/// A text as a variable of the environment.
fn variable(text: &str) -> String {
    text.chars().take(MAX_VARIABLE_CHARS).map(|c| if c == '\0' { '\u{fffd}' } else { c }).collect()
}

/// What is run when a job has succeeded, or has failed for good.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct HookOptions {
    /// Let /bin/sh run this when a job has succeeded; PERDURA_TASK_ID, PERDURA_STATE and PERDURA_COMMAND say which
    #[arg(long, value_name = "CMD")]
    pub on_success: Option<String>,
    /// Let /bin/sh run this when a job has failed for good; PERDURA_ERROR_TYPE and PERDURA_ERROR say why. Not for one that is lost with its worker
    #[arg(long, value_name = "CMD")]
    pub on_failure: Option<String>,
}

impl HookOptions {
    pub(super) fn are_given(&self) -> bool {
        self.on_success.is_some() || self.on_failure.is_some()
    }

    fn command(&self, state: State) -> Option<&str> {
        match state {
            State::Succeeded => self.on_success.as_deref(),
            State::Failed | State::Lost => self.on_failure.as_deref(),
            State::Queued | State::Running | State::Cancelled => None,
        }
    }
}

/// Runs the commands one after another, on a thread of their own.
pub(super) struct Hooks {
    options: HookOptions,
    db: PathBuf,
    to_run: Sender<Command>,
    waiting: Arc<AtomicUsize>,
    output: Arc<WorkerOutput>,
}

impl Hooks {
    /// # Errors
    /// No thread can be started.
    pub(super) fn start(options: HookOptions, db: &Path, output: Arc<WorkerOutput>) -> io::Result<Hooks> {
        let (to_run, commands) = unbounded::<Command>(); // bounded by MAX_WAITING
        let waiting: Arc<AtomicUsize> = Arc::default();
        let (left, to_tell) = (waiting.clone(), output.clone());
        let life = move || {
            for mut command in commands {
                // The wait fails if the worker has reaped the command as an orphan: then it has ended, too.
                if let Err(e) = command.spawn().map(|mut child| drop(child.wait())) {
                    to_tell
                        .warn(format_args!("a command for the end of a job cannot be run: {}", system(&e)));
                }
                left.fetch_sub(1, Ordering::AcqRel);
            }
        };
        thread::Builder::new().name("perdura-hooks".to_owned()).spawn(life)?;
        Ok(Hooks { options, db: db.to_owned(), to_run, waiting, output })
    }

    /// Runs the command for the end of this job, if there is one.
    pub(super) fn tell(&self, record: &TaskRecord, line: &str) {
        let Some(script) = self.options.command(record.state) else { return };
        if self.waiting.load(Ordering::Acquire) >= MAX_WAITING {
            self.output.warn("the commands for the ends of jobs are too slow; some are left out");
            return;
        }
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", script])
            .env("PERDURA_DB", &self.db)
            .env("PERDURA_TASK_ID", record.task_id.to_string())
            .env("PERDURA_STATE", record.state.as_str())
            .env("PERDURA_COMMAND", variable(line))
            .env("PERDURA_ERROR_TYPE", variable(record.error_type.as_deref().unwrap_or_default()))
            .env("PERDURA_ERROR", variable(record.error_message.as_deref().unwrap_or_default()))
            .process_group(0) // a signal of the terminal is for the worker
            .stdin(Stdio::null())
            .stdout(io::stderr());
        self.waiting.fetch_add(1, Ordering::AcqRel);
        let _ = self.to_run.send(command); // its thread ends later than this
    }

    /// Waits until all commands have run, at most [`LAST_HOOKS_TIMEOUT`].
    pub(super) fn finish(&self) {
        let clock = SystemClock::new();
        let until = clock.monotonic().saturating_add(LAST_HOOKS_TIMEOUT);
        while self.waiting.load(Ordering::Acquire) > 0 {
            if clock.monotonic() >= until {
                self.output.remark("commands for the ends of jobs still run, and are left alone");
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}
