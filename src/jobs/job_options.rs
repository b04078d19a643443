//! The options of a job, as they are typed or stand in a line of a batch; and the job that they make of a command.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::builder::{OsStringValueParser, TypedValueParser, ValueParser};
use rustix::fs::Mode;
use serde_json::{Map, Value};

use super::engine_jobs;
use super::engines::{EngineEntry, EnginesFile};
use super::given::with;
use super::option_names::OptionStyle;
use super::unique::UniqueOptions;
use crate::console::inspect::job::{Codes, Job, JobProblem, TASK_NAME};
use crate::console::os_word::Word;
use crate::console::sizes::size;
use crate::console::times::{age, future};
use crate::console::{CliError, Exit};
use crate::{Options, Timestamp};

/// When a job may start, and what it is like.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct JobOptions {
    /// Start no sooner than so long from now, such as 10m
    #[arg(long, value_name = "TIME", value_parser = age, conflicts_with = "at")]
    pub delay: Option<Duration>,
    /// Start no sooner than this, in local time: 08:00 (its next one), tomorrow 08:00, 2026-11-30, 2026-11-30 08:00; with an offset,
    /// 2026-11-30T08:00:00+01:00; or @ and seconds since 1970
    #[arg(long, value_name = "TIME", value_parser = future)]
    pub at: Option<Timestamp>,
    /// What it is called where jobs are shown, beside its command
    #[arg(long)]
    pub name: Option<String>,
    #[command(flatten)]
    pub kind: RunOptions,
}

/// What is asked for beside the command line, of a job and of those of a schedule.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct RunOptions {
    /// Put it into this queue [default: default]
    #[arg(long)]
    pub queue: Option<String>,
    /// Higher runs first, within the queue [default: 0]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = priority)]
    pub priority: Option<i16>,
    /// How often it may be tried, the first time included [default: 3]
    #[arg(long, value_name = "N", value_parser = attempts)]
    pub max_attempts: Option<u32>,
    /// The wait after the first failure; it doubles with each further one [default: 1m]
    #[arg(long, value_name = "WAIT", value_parser = age)]
    pub backoff: Option<Duration>,
    /// End an attempt that takes longer; it has failed [default: never]
    #[arg(long, value_name = "TIME", value_parser = age)]
    pub timeout: Option<Duration>,
    #[command(flatten)]
    pub unique: UniqueOptions,
    /// Run at most N jobs of the queue with this key at once
    #[arg(long, value_name = "KEY=N", value_parser = key_limit, conflicts_with = "serial")]
    pub limit: Option<(String, u32)>,
    /// Run the jobs of the queue with this key one after another; those behind it wait for its retries, too
    #[arg(long, value_name = "KEY")]
    pub serial: Option<String>,
    /// Start only while this condition is met: `perdura condition NAME on` says so. May be repeated
    #[arg(long, value_name = "NAME")]
    pub needs: Vec<String>,
    /// The same, and stop ten seconds after it is no longer met: SIGTERM; the attempt does not count. May be repeated
    #[arg(long, value_name = "NAME")]
    pub needs_throughout: Vec<String>,
    /// Start only while so much of the file's disk is free, such as 500M or 5G
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub needs_free_disk: Option<u64>,
    /// Cancel it if it is still queued, or queued again, after this time, such as 2h [default: never]
    #[arg(long, value_name = "AFTER", value_parser = age)]
    pub expires: Option<Duration>,
    /// A text to find it by: `list --tag TAG`
    #[arg(long)]
    pub tag: Option<String>,
    /// Set this variable for the job; it has all others from the worker. May be repeated
    #[arg(long, value_name = "K=V", value_parser = variable())]
    pub env: Vec<(Word, Word)>,
    /// Keep the whole environment and the umask of this moment for it, in the file; it has nothing from the worker then
    #[arg(long)]
    pub keep_env: bool,
    /// Its standard input: a file, which is opened when the job starts [default: nothing]
    #[arg(long, value_name = "FILE")]
    pub stdin: Option<PathBuf>,
    /// Let other processes go first: by how much nicer than the worker it is, 1 to 19
    #[arg(long, value_name = "N", value_parser = nice)]
    pub nice: Option<u8>,
    /// The folder in which it runs [default: the current one]
    #[arg(long)]
    pub dir: Option<PathBuf>,
    /// Let this engine outside run it, of those in the file of engines
    #[arg(long, value_name = "ENGINE")]
    pub on: Option<String>,
    /// With --on: a folder that goes along, in a copy of which it runs, if the engine can
    #[arg(long, value_name = "DIR")]
    pub working_dir: Option<PathBuf>,
    /// With --on: what the engine is told beside the command, such as '{"entrypoint_num_gpus": 1}'
    #[arg(long, value_name = "JSON", value_parser = json_object)]
    pub spec: Option<Map<String, Value>>,
    /// Let /bin/sh run it: the words are joined with spaces
    #[arg(long)]
    pub shell: bool,
    /// Exit codes after which it is not retried, such as 2,64-78
    #[arg(long, value_name = "CODES")]
    pub deny_exit: Option<Codes>,
    /// How long it has to end after SIGTERM, before SIGKILL [default: 5s]
    #[arg(long, value_name = "TIME", value_parser = age)]
    pub kill_after: Option<Duration>,
    /// If the job was told to end (by its timeout, a cancel, or the end of the worker) and exits with 0, it has succeeded [default: it
    /// has not]
    #[arg(long)]
    pub late_success: bool,
    /// What options are called where they were given.
    #[arg(skip)]
    pub style: OptionStyle,
}

pub(super) fn priority(text: &str) -> Result<i16, String> {
    text.parse().map_err(|_| format!("it is a whole number of {} to {}", i16::MIN, i16::MAX))
}

pub(super) fn attempts(text: &str) -> Result<u32, String> {
    let attempts = text.parse().ok().filter(|attempts| (1..=100).contains(attempts));
    attempts.ok_or_else(|| "it is a whole number of 1 to 100".to_owned())
}

/// How much nicer a job can be than its worker.
const NICE_RANGE: std::ops::RangeInclusive<u8> = 1..=19;

/// Reads how much nicer it is to be.
///
/// # Errors
/// What it must look like.
pub(super) fn nice(text: &str) -> Result<u8, String> {
    let nice = text.parse().ok().filter(|nice| NICE_RANGE.contains(nice));
    nice.ok_or_else(|| "it is a whole number of 1 to 19".to_owned())
}

/// Reads a limit: the key, which may have a `=`, and the number behind the last one.
///
/// # Errors
/// What it must look like.
pub(super) fn key_limit(text: &str) -> Result<(String, u32), String> {
    let limit = text.rsplit_once('=').and_then(|(key, n)| Some((key.to_owned(), n.parse().ok()?)));
    limit.ok_or_else(|| "it is a key and a number, such as example.org=2".to_owned())
}

/// Reads a JSON object.
///
/// # Errors
/// It is none, and where.
pub(super) fn json_object(text: &str) -> Result<Map<String, Value>, String> {
    serde_json::from_str(text)
        .map_err(|e| format!("it is not a JSON object (line {}, column {})", e.line(), e.column()))
}

fn variable() -> ValueParser {
    ValueParser::new(OsStringValueParser::new().try_map(|text| {
        let bytes = text.as_bytes();
        let at = bytes.iter().position(|b| *b == b'=').filter(|at| *at > 0);
        let word = |bytes: &[u8]| Word(OsString::from_vec(bytes.to_vec()));
        at.map(|at| (word(&bytes[..at]), word(&bytes[at + 1..]))).ok_or("it is not of the form NAME=VALUE")
    }))
}

impl JobOptions {
    /// The job that runs this command, with its options.
    ///
    /// # Errors
    /// Words that no program can be given; a current folder that is needed and missing; an engine that there is not, or that does not take it.
    pub(super) fn new_job(
        &self,
        argv: Vec<Word>,
        line: Option<usize>,
        engines: &EnginesFile,
    ) -> Result<NewJob, CliError> {
        let engine = self.kind.engine(engines)?;
        let job = self.kind.job(argv, self.name.clone(), engine)?;
        let options = self.kind.options(self.delay, engine)?;
        let options = with(options, self.at.map(Timestamp::to_system_time), Options::run_at);
        let options = with(options, self.delay, Options::delay);
        Ok(NewJob { task_name: task_name(engine), job, options, at: self.at, line, style: self.kind.style })
    }
}

/// The name of the tasks of jobs, which this engine runs, if one does.
pub(super) fn task_name(engine: Option<&EngineEntry>) -> String {
    engine.map_or_else(|| TASK_NAME.to_owned(), EngineEntry::task_name)
}

impl RunOptions {
    /// The engine that is to run it.
    ///
    /// # Errors
    /// There is no such engine; options that go only with one, or not with one.
    pub(super) fn engine<'e>(&self, engines: &'e EnginesFile) -> Result<Option<&'e EngineEntry>, CliError> {
        let Some(name) = &self.on else {
            let only = [("working_dir", self.working_dir.is_some()), ("spec", self.spec.is_some())];
            return match only.iter().find(|(_, is_given)| *is_given) {
                Some((option, _)) => Err(CliError::usage(format!(
                    "{} is for an engine outside; name one with {}, or leave it out",
                    self.style.name(option),
                    self.style.name("on")
                ))),
                None => Ok(None),
            };
        };
        let engine = engines.get(name)?;
        let never = [
            ("dir", self.dir.is_some()),
            ("kill_after", self.kill_after.is_some()),
            ("keep_env", self.keep_env),
            ("stdin", self.stdin.is_some()),
            ("nice", self.nice.is_some()),
            ("late_success", self.late_success),
            ("needs_throughout", !self.needs_throughout.is_empty()),
        ];
        match never.iter().find(|(_, is_given)| *is_given) {
            Some((option, _)) => Err(CliError::usage(format!(
                "{} does not go with {}: it is for jobs that `perdura work` runs itself",
                self.style.name(option),
                self.style.name("on")
            ))),
            None => Ok(Some(engine)),
        }
    }

    /// The job that runs this command.
    ///
    /// # Errors
    /// Words that no program can be given; a current folder that is needed and missing; an engine that does not take it.
    pub(super) fn job(
        &self,
        argv: Vec<Word>,
        name: Option<String>,
        engine: Option<&EngineEntry>,
    ) -> Result<Job, CliError> {
        let job = Job { name, ..self.unchecked_job(argv, engine)? };
        let is_taken = |job| engine.map_or(Ok(()), |engine| engine_jobs::check(engine, job));
        job.check().and_then(|()| is_taken(&job)).map_err(|problem| self.style.problem(problem))?;
        Ok(job)
    }

    fn unchecked_job(&self, argv: Vec<Word>, engine: Option<&EngineEntry>) -> Result<Job, CliError> {
        let dir = match engine {
            Some(_) => Word::from(""),
            None => absolute(self.dir.as_deref().unwrap_or(Path::new(".")))?,
        };
        let env = if self.keep_env { kept_env(&self.env) } else { self.env.clone() };
        Ok(Job {
            name: None,
            argv: if self.shell { vec![join(&argv)] } else { argv },
            shell: self.shell,
            dir,
            env,
            own_env: self.keep_env,
            umask: self.keep_env.then(umask),
            stdin: self.stdin.as_deref().map(absolute).transpose()?,
            nice: self.nice,
            deny_exit: self.deny_exit.clone().unwrap_or_default(),
            kill_after_ms: self.kill_after.map(|d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX)),
            late_success: self.late_success,
            working_dir: self.working_dir.as_deref().map(absolute).transpose()?,
            spec: self.spec.clone().unwrap_or_default(),
        })
    }

    /// The options of its task.
    ///
    /// # Errors
    /// What does not go with the unique key; a queue where it may not stand.
    pub(super) fn options(
        &self,
        delay: Option<Duration>,
        engine: Option<&EngineEntry>,
    ) -> Result<Options, CliError> {
        let queue = self.queue.as_deref();
        let queue = match engine {
            Some(engine) => {
                let found = engine.queue(queue);
                Some(found.map_err(|problem| self.style.problem(JobProblem::new(&["queue"], problem)))?)
            }
            None => queue,
        };
        let options = with(Options::new(), queue, Options::queue);
        let options = with(options, self.priority, Options::priority);
        let options = with(options, self.max_attempts, Options::max_attempts);
        let options = with(options, self.backoff, Options::backoff);
        let options = with(options, self.timeout, Options::timeout);
        let options = with(options, self.limit.clone(), |options, (key, n)| options.limit(key, n));
        let options = with(options, self.serial.as_deref(), Options::serial);
        let options = self.needs.iter().fold(options, Options::needs);
        let options = self.needs_throughout.iter().fold(options, Options::needs_throughout);
        let options = with(options, self.needs_free_disk, Options::needs_free_disk);
        let options = with(options, self.expires, Options::expires);
        let options = with(options, self.tag.as_deref(), Options::tag);
        Ok(match self.unique.unique(delay, self.style)? {
            Some(unique) => options.unique(unique),
            None => options,
        })
    }
}

/// Variables that belong to a process or to perdura, and not to the environment that a job is to have.
const NOT_KEPT: [&str; 8] =
    ["PWD", "OLDPWD", "SHLVL", "_", "PERDURA_DB", "PERDURA_TASK_ID", "PERDURA_ATTEMPT", "PERDURA_GENERATION"];

/// The environment of this process, and behind it what is set for the job.
fn kept_env(set: &[(Word, Word)]) -> Vec<(Word, Word)> {
    let mine = std::env::vars_os().filter(|(name, _)| !NOT_KEPT.iter().any(|not| name == not));
    mine.map(|(name, value)| (Word(name), Word(value))).chain(set.iter().cloned()).collect()
}

/// The umask of this process. It can only be read by setting it; nothing else runs here that could make a file meanwhile.
fn umask() -> u32 {
    let mask = rustix::process::umask(Mode::empty());
    rustix::process::umask(mask);
    u32::try_from(i64::from(mask.bits())).unwrap_or(0) // a mode has 16 bits on some systems
}

fn absolute(folder: &Path) -> Result<Word, CliError> {
    let here = if folder.is_absolute() { PathBuf::new() } else { current_folder()? };
    Ok(Word(here.join(folder).components().collect::<PathBuf>().into_os_string()))
}

fn current_folder() -> Result<PathBuf, CliError> {
    std::env::current_dir().map_err(|_| {
        let message =
            "the current folder is gone or cannot be read; go to another one, or name the folder of the job: --dir /FOLDER";
        CliError::new(Exit::File, message)
    })
}

fn join(words: &[Word]) -> Word {
    let words: Vec<&OsStr> = words.iter().map(AsRef::as_ref).collect();
    Word(words.join(OsStr::new(" ")))
}

/// A job on its way into the file.
pub(super) struct NewJob {
    pub task_name: String,
    pub job: Job,
    pub options: Options,
    /// When it may start, if a time was named.
    pub at: Option<Timestamp>,
    /// The line that it came from.
    pub line: Option<usize>,
    /// What its options are called where they were given.
    pub style: OptionStyle,
}

/// Names the line of a job, if it came from one.
pub(super) fn about_line(error: CliError, line: Option<usize>) -> CliError {
    match line {
        Some(line) => {
            CliError { message: format!("line {line}: {}; nothing was added", error.message), ..error }
        }
        None => error,
    }
}
