//! `perdura work`: runs the jobs of a file.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, unbounded};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use signal_hook::iterator::Signals;

use super::calling_job::refuse_waiting_for_itself;
use super::descendants;
use super::engines::{EngineEntry, EnginesOption};
use super::hooks::{HookOptions, Hooks};
use super::job_log::LogFolder;
use super::reporter::AttemptReporter;
use super::runner::{JobResult, Runner, ToldEnds};
use super::signals::{self, SignalFlag, SignalListener};
use super::worker::{CHECK_INTERVAL, Worker, WorkerExit, WorkerOptions};
use super::worker_event::WorkerEvent;
use super::worker_output::{WorkerOutput, show_warnings};
use crate::console::inspect::job::{Job, OLD_TASK_NAME, TASK_NAME};
use crate::console::sizes::size;
use crate::console::system;
use crate::console::text::safe;
use crate::console::times::age;
use crate::console::words::{count, span};
use crate::console::{CliError, CliResult, Exit, Session};
use crate::planted::planted;
use crate::{Builder, Config, Context, Counts, Failure, Options, Task};

/// How to run the jobs.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Under systemd, use KillMode=mixed, so that the worker decides what becomes of its jobs.

Jobs that were added with --on ENGINE run on the engines of the file engines.toml:
  [engines.ray]
  kind = \"ray\"
  address = \"http://127.0.0.1:8265\"

  [engines.slurm]
  kind = \"exec\"
  program = \"./slurm.py\"")]
pub(crate) struct WorkArgs {
    /// How many jobs run at the same time [default: the number of processors]
    #[arg(long, value_name = "N", value_parser = workers)]
    workers: Option<usize>,
    /// Run only jobs of this queue; may be repeated [default: all]
    #[arg(long = "queue", value_name = "QUEUE")]
    queues: Vec<String>,
    /// End when nothing is left that may start; with exit code 1 if a job failed for good. It does not wait for retries
    #[arg(long)]
    drain: bool,
    /// End when all is done: wait for retries, too, and for whatever else starts by itself within this time. Exit code 0 only if all of that has
    /// succeeded. What is paused, starts later or waits for a condition is told, and left
    #[arg(long, value_name = "TIME", num_args = 0..=1, require_equals = true, default_missing_value = "1h", value_parser = age, conflicts_with = "drain")]
    until_done: Option<Duration>,
    /// Also write all that jobs write into files of this folder, ID-CLAIM.out and ID-CLAIM.err; nobody deletes them
    #[arg(long, value_name = "DIR")]
    log_dir: Option<PathBuf>,
    /// The longest file there; the rest of what a job writes is left out
    #[arg(long, value_name = "SIZE", default_value = "100M", value_parser = size, requires = "log_dir")]
    log_max: u64,
    #[command(flatten)]
    hooks: HookOptions,
    /// Delete tasks of all queues that succeeded or were cancelled this long ago or longer, such as 7d; `never` deletes none [default: as
    /// a program has written into the file, else never]
    #[arg(long, value_name = "AGE", value_parser = keep)]
    keep: Option<Keep>,
    /// How long running jobs may go on after the first signal
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = crate::console::times::age)]
    grace: Duration,
    #[command(flatten)]
    engines: EnginesOption,
    /// Do not say how each job ends, nor how far it has come
    #[arg(long, short)]
    quiet: bool,
}

/// How long tasks that succeeded or were cancelled are kept; none: for good.
#[derive(Debug, Clone, Copy)]
struct Keep(Option<Duration>);

fn keep(text: &str) -> Result<Keep, String> {
    if text == "never" {
        return Ok(Keep(None));
    }
    let age = age(text).map_err(|e| format!("{e}, or never"))?;
    let kept = Config { retention: Some(age), ..Config::default() };
    kept.validate().map(|()| Keep(Some(age))).map_err(|_| "it is 1ms to 10years, or never".to_owned())
}

fn workers(text: &str) -> Result<usize, String> {
    let config = |workers| Config { workers, ..Config::default() };
    let workers = text.parse().ok().filter(|workers| config(*workers).validate().is_ok());
    workers.ok_or_else(|| "it is a whole number of 1 to 1024".to_owned())
}

/// What a worker claims: the args of a task that may be a job.
#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct ClaimedArgs(pub Box<RawValue>);

impl Task for ClaimedArgs {
    const NAME: &'static str = TASK_NAME;
    type Output = JobResult;
}

/// [`ClaimedArgs`] under the old task name.
#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct OldClaimedArgs(pub Box<RawValue>);

impl Task for OldClaimedArgs {
    const NAME: &'static str = OLD_TASK_NAME;
    type Output = JobResult;
}

/// Reads a job from the args of a task.
///
/// # Errors
/// They are not those of a local job: the task is declined, and left to the program that it belongs to.
fn job_of(args: &RawValue) -> Result<Job, Failure> {
    let job = serde_json::from_str::<Job>(args.get()).ok();
    job.filter(Job::is_local).ok_or_else(Failure::decline)
}

impl WorkArgs {
    pub(super) fn run(self, session: &mut Session) -> CliResult {
        refuse_waiting_for_itself(session, None)?;
        for queue in &self.queues {
            let options = Options::new().queue(queue);
            options.validate(&Config::default(), session.now().to_system_time())?;
        }
        let output = Arc::new(WorkerOutput::new()?);
        let ending_signals = signals::ending_signals();
        let to_hear = Signals::new(&ending_signals)?; // from here on, a signal hands back what runs
        let signal_flag = SignalFlag::new(&ending_signals)?;
        let exit = self.run_with(session, &output, to_hear).unwrap_or_else(|error| {
            let error = session.naming(error);
            output.remark(format_args!("perdura: {}", safe(&error.message)));
            error.exit
        });
        let is_told = output.finish(|| signal_flag.exit().is_some());
        Ok(match exit {
            Exit::Done | Exit::No if !is_told => signal_flag.exit().unwrap_or(Exit::File),
            exit => exit,
        })
    }

    fn run_with(&self, session: &Session, output: &Arc<WorkerOutput>, to_hear: Signals) -> CliResult {
        let (to_tell, events) = unbounded(); // bounded by the jobs that end: each is told before long
        show_warnings(output);
        descendants::adopt_orphans();
        let mut worker = self.start(session, to_tell.clone(), events, output)?; // from here on its queue must be stopped
        let listener = SignalListener::new(to_hear, &worker.runner, to_tell.clone())?;
        let end = worker.work(session);
        let signal = if let Ok(WorkerExit::Signal(signal)) = end { Some(signal) } else { None };
        let done = match end {
            Ok(WorkerExit::Drained) => worker.finish(session),
            Ok(WorkerExit::Signal(signal)) => Ok(signals::exit_of(signal)),
            Err(error) => Err(error),
        };
        let stopped = worker.stop(signal, to_tell, session);
        worker.reporter.finish();
        listener.end();
        worker.runner.rest();
        match (stopped, done) {
            (Err(lost), Err(error)) => {
                let message = format!("{}; {}", error.message, lost.message);
                Err(CliError { message, exit: lost.exit, ..error })
            }
            (stopped, done) => stopped.and(done),
        }
    }

    fn start(
        &self,
        session: &Session,
        to_tell: Sender<WorkerEvent>,
        events: Receiver<WorkerEvent>,
        output: &Arc<WorkerOutput>,
    ) -> Result<Worker, CliError> {
        let workers = self.workers.unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from));
        // As it is before this worker takes over: what it then finds lost ends with this run.
        let is_new = std::fs::symlink_metadata(session.db()).is_err();
        let looker = session.open(Session::builder())?;
        let (db, counts) = (looker.path().to_owned(), looker.counts()?);
        let kept = self.kept(looker.inspect()?.retention);
        let engines = self.engines.engines(session.db());
        let (engines, left_out): (Vec<&EngineEntry>, Vec<_>) =
            engines.all()?.values().partition(|engine| engine.absence().is_none());
        for why in left_out.into_iter().filter_map(EngineEntry::absence) {
            output.remark(format_args!("{}", safe(&why)));
        }
        let options = self.options(&engines);
        let before = options.total(&counts);
        let quiet = self.quiet && !session.json;
        let hooks = self.hooks.are_given().then(|| Hooks::start(self.hooks.clone(), &db, output.clone()));
        let hooks = hooks.transpose()?;
        let to_follow = to_tell.clone();
        let has_programs = hooks.is_some() || engines.iter().any(|engine| engine.is_program());
        let logs = self.log_dir.as_deref().map(|path| self.log_folder(path, output)).transpose()?;
        if let Some(logs) = logs.as_ref().filter(|_| !quiet && !session.json) {
            output.remark(format_args!("all that jobs write goes into {}", logs.path().display()));
        }
        let told = if quiet && hooks.is_none() { ToldEnds::Failures } else { ToldEnds::All };
        let runner = Arc::new(Runner::new(&db, workers, told, has_programs, logs, to_tell, output.clone()));
        let mut builder = self.set_up(Session::builder(), workers, runner.clone());
        for engine in &engines {
            builder = engine.attach(builder, to_follow.clone())?;
        }
        let queue = session.open(builder)?;
        drop(looker); // not before: the last one that closes a file has to tidy it up
        if !quiet && !session.json {
            let workers = count(workers as u64, "worker");
            if is_new {
                output
                    .remark(format_args!("made the new file {}: there are no jobs in it yet", db.display()));
            }
            output.remark(format_args!("{workers} for the jobs of {}; {kept}", db.display()));
            self.tell_new_queues(&counts, output);
            for engine in &engines {
                output.remark(format_args!("engine {:?}: {engine}", safe(&engine.name)));
            }
        }
        Ok(Worker::new(
            queue,
            runner,
            events,
            output.clone(),
            AttemptReporter::new(self.quiet, hooks),
            options,
            before,
        ))
    }

    fn log_folder(&self, path: &Path, output: &Arc<WorkerOutput>) -> Result<LogFolder, CliError> {
        LogFolder::new(path, self.log_max, output.clone()).map_err(|e| {
            CliError::new(Exit::File, format!("--log-dir: {} cannot be made: {}", path.display(), system(&e)))
        })
    }

    fn set_up(&self, builder: Builder, workers: usize, runner: Arc<Runner>) -> Builder {
        let runs_old = runner.clone();
        let run = move |args: ClaimedArgs, cx: &Context| runner.handle(&job_of(&args.0)?, cx);
        let run_old = move |args: OldClaimedArgs, cx: &Context| runs_old.handle(&job_of(&args.0)?, cx);
        let builder = builder.workers(workers).poll_interval(CHECK_INTERVAL).queues(&self.queues);
        let builder = builder.panic_hook(true).handle(run).handle(run_old);
        match self.keep {
            Some(Keep(age)) => builder.retention_here(age),
            None if planted("cli-a-worker-deletes-unasked") => builder,
            None => builder.retention_of_file(),
        }
    }

    /// Says which of the named queues the file does not have: they may come, or be mistyped.
    fn tell_new_queues(&self, counts: &Counts, output: &WorkerOutput) {
        for name in self.queues.iter().filter(|name| !counts.queues.contains_key(*name)) {
            output.remark(format_args!("there is no queue {name:?} yet; its jobs run when there are some"));
        }
    }

    /// What becomes of finished tasks, in words.
    fn kept(&self, of_file: Option<Option<Duration>>) -> String {
        let (age, who) = match (self.keep, of_file) {
            (Some(Keep(age)), _) => (age, "--keep"),
            (None, said) => (said.flatten(), "as the file says"),
        };
        match age {
            Some(age) => {
                format!("what has succeeded or was cancelled is deleted after {} ({who})", span(age))
            }
            None => "finished jobs are kept (purge deletes old ones)".to_owned(),
        }
    }

    fn options(&self, engines: &[&EngineEntry]) -> WorkerOptions {
        let engines = engines.iter().map(|engine| engine.name.clone()).collect();
        WorkerOptions {
            queues: self.queues.clone(),
            engines,
            drain: self.drain || self.until_done.is_some(),
            until_done: self.until_done,
            shows_progress: !self.quiet,
            grace: self.grace,
        }
    }
}
