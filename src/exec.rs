//! An engine that runs a program for each call: a short script connects any cluster.
//!
//! perdura runs the program once for each call, with the name of the call as the last argument. It
//! writes a JSON object to the program's standard input and reads one from its standard output:
//!
//! | call | gets | answers |
//! |---|---|---|
//! | `start` | `{"job": ID, "spec": …}` | `{}`: accepted. `{"refused": WHY}`: it will never accept this job. `{"not_now": WHY}`: the job was certainly not started |
//! | `poll` | `{"jobs": [ID, …]}` | `{ID: {"status": …}, …}`, see below; a job without an entry is `unknown` |
//! | `cancel` | `{"job": ID}` | `{}` |
//! | `collect` | `{"job": ID}` | `{"result": …, "log": TEXT}`, either may be left out |
//! | `forget` | `{"job": ID}` | `{}`; only if [`NamedEngine::forget`](crate::engine::NamedEngine::forget) asks for it |
//!
//! A status is `pending`, `running`, `succeeded`, `failed`, `cancelled`, `lost`, `absent` (it does
//! not know the job) or `unknown`. With `failed` go `error_type` and `message`, and `"permanent":
//! true` if the task must not be retried; with `lost` goes `message`. [`Engine`] says what each
//! call has to do. Most important: **an id that the program knows is not started again**.
//!
//! An exit code other than 0, no JSON, too much output, or no answer in time count as
//! [unreachable](EngineError::unreachable). After an exit code other than 0 the message has the
//! last 2 KiB of the standard error, so that must not contain secrets. A program that does not
//! answer in time is killed with its process group. `examples/engines` has scripts for Slurm and
//! for a perdura file on another machine, and a minimal one to start from.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::engine::{Collected, Engine, EngineError, JobEnd, JobFailure, JobId, JobStatus};
use crate::{Clock, SystemClock};

/// How many bytes of the standard error are kept: the last ones.
const STDERR_BYTES: usize = 2048;

/// The interval at which the end of the program is polled.
const EXIT_POLL: Duration = Duration::from_millis(5);

/// How long the output may stay open after the program has ended: a process that it left running
/// may hold it.
const OUTPUT_PATIENCE: Duration = Duration::from_secs(1);

/// An engine that runs a program for each call. The [module](crate::exec) describes the calls.
///
/// ```no_run
/// use perdura::engine::NamedEngine;
/// use perdura::exec::ExecEngine;
/// use perdura::{Queue, Task};
/// use std::time::Duration;
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Train { epochs: u32 }
/// impl Task for Train {
///     const NAME: &'static str = "train";
///     type Output = f64;
/// }
///
/// let day = Duration::from_secs(24 * 3600);
/// let slurm = NamedEngine::new("slurm", ExecEngine::new("engines/slurm.py").arg("/shared/jobs").remembers(7 * day));
/// let queue = Queue::builder()
///     .outside(
///         &slurm,
///         |task: Train, _| Ok(serde_json::json!({ "argv": ["train.py", task.epochs.to_string()] })),
///         |_, ended| ended.json(),
///     )
///     .open("tasks.db")?;
/// # Ok::<(), perdura::Error>(())
/// ```
#[derive(Clone)]
#[must_use]
pub struct ExecEngine {
    program: PathBuf,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    timeout: Duration,
    remembers: Duration,
    max_output: usize,
    clock: SystemClock,
}

impl ExecEngine {
    /// The program: a path, or a name that is looked up in `PATH`.
    pub fn new(program: impl Into<PathBuf>) -> ExecEngine {
        ExecEngine {
            program: program.into(),
            args: Vec::new(),
            env: Vec::new(),
            timeout: Duration::from_secs(30),
            remembers: Duration::ZERO,
            max_output: 16 << 20,
            clock: SystemClock::new(),
        }
    }

    /// Adds an argument, before the name of the call.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> ExecEngine {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Adds a variable to the program's environment, which is otherwise that of this process.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> ExecEngine {
        self.env.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Sets how long a call may take. Defaults to 30 s.
    pub fn timeout(mut self, timeout: Duration) -> ExecEngine {
        self.timeout = timeout;
        self
    }

    /// Sets how long the program knows the id of a job that has ended ([`Engine::remembers`]). Defaults to zero: a start that did not answer is `LOST`.
    pub fn remembers(mut self, time: Duration) -> ExecEngine {
        self.remembers = time;
        self
    }

    /// Sets how much the program may write on its standard output, in bytes. Defaults to 16 MiB.
    pub fn max_output(mut self, bytes: usize) -> ExecEngine {
        self.max_output = bytes;
        self
    }

    /// Runs the program once.
    fn call<A: DeserializeOwned>(&self, call: &str, question: &impl Serialize) -> Result<A, EngineError> {
        let question = serde_json::to_vec(question).map_err(|e| EngineError::not_now(e.to_string()))?;
        let shown = format!("`{} {call}`", self.program.display());
        let mut command = Command::new(&self.program);
        command.args(&self.args).arg(call).envs(self.env.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let spawned = command.spawn();
        let mut child =
            spawned.map_err(|e| EngineError::not_now(format!("{shown} cannot be started: {e}")))?;
        let answered = self.talk(&shown, &mut child, question);
        if matches!(child.try_wait(), Ok(None)) {
            end(&mut child); // not reaped yet, so no other process has its id
        }
        let answer = answered?;
        serde_json::from_slice(&answer).map_err(|e| {
            let (line, column) = (e.line(), e.column());
            let what =
                if answer.is_empty() { "wrote no answer" } else { "wrote no answer that is understood" };
            EngineError::unreachable(format!("{shown} {what}: {} at line {line}, column {column}", plain(&e)))
        })
    }

    /// Writes the question to the program, and waits for its end and its answer.
    fn talk(&self, shown: &str, child: &mut Child, question: Vec<u8>) -> Result<Vec<u8>, EngineError> {
        let until = self.clock.monotonic().saturating_add(self.timeout);
        if let Some(mut stdin) = child.stdin.take() {
            // The program need not read all of it: its exit code says whether it failed.
            background("question", move || drop(stdin.write_all(&question)));
        }
        let out = child.stdout.take().map(|out| read(out, self.max_output.saturating_add(1)));
        let err = child.stderr.take().map(read_end);
        let status = loop {
            match child.try_wait() {
                Ok(Some(status)) => break status,
                Ok(None) if self.clock.monotonic() > until => {
                    let within = humantime::format_duration(self.timeout);
                    return Err(EngineError::unreachable(format!("{shown} did not answer within {within}")));
                }
                Ok(None) => std::thread::sleep(EXIT_POLL),
                Err(e) => return Err(EngineError::unreachable(format!("{shown} cannot be waited for: {e}"))),
            }
        };
        let gather = |pipe: Option<Receiver<Vec<u8>>>| match pipe
            .map(|pipe| pipe.recv_timeout(OUTPUT_PATIENCE))
        {
            Some(Err(RecvTimeoutError::Timeout)) => Err(EngineError::unreachable(format!(
                "{shown} has ended, and something that it has started keeps its output open; let that write elsewhere"
            ))),
            Some(Ok(bytes)) => Ok(bytes),
            Some(Err(RecvTimeoutError::Disconnected)) | None => Ok(Vec::new()),
        };
        let (out, err) = (gather(out), gather(err).unwrap_or_default());
        if !status.success() {
            let how = how_it_ended(status);
            return Err(EngineError::unreachable(format!("{shown} {how}{}", said(&err))));
        }
        let out = out?;
        if out.len() > self.max_output {
            let message = format!("{shown} wrote more than {} bytes; see max_output", self.max_output);
            return Err(EngineError::unreachable(message));
        }
        Ok(out)
    }
}

/// Runs `act` on a thread of its own. If no thread can be started, `act` is dropped, and its
/// receiver gets nothing.
fn background(what: &str, act: impl FnOnce() + Send + 'static) {
    let builder = std::thread::Builder::new().name(format!("perdura-exec-{what}"));
    let _ = builder.spawn(act);
}

/// Reads a pipe to its end, at most `max` bytes.
fn read(pipe: impl Read + Send + 'static, max: usize) -> Receiver<Vec<u8>> {
    let (tell, told) = mpsc::channel();
    background("answer", move || {
        let mut bytes = Vec::new();
        let limit = u64::try_from(max).unwrap_or(u64::MAX);
        let _ = pipe.take(limit).read_to_end(&mut bytes);
        let _ = tell.send(bytes);
    });
    told
}

/// Reads a pipe to its end, and keeps the last bytes.
fn read_end(mut pipe: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (tell, told) = mpsc::channel();
    background("errors", move || {
        let (mut end, mut piece) = (Vec::new(), [0; 4096]);
        while let Ok(n @ 1..) = pipe.read(&mut piece) {
            end.extend_from_slice(&piece[..n]);
            end.drain(..end.len().saturating_sub(STDERR_BYTES));
        }
        let _ = tell.send(end);
    });
    told
}

/// Kills a program that did not answer, with its process group.
fn end(child: &mut Child) {
    #[cfg(unix)]
    if let Some(group) = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap_or(0)) {
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
    let _ = child.kill();
    let _ = child.wait();
}

fn how_it_ended(status: ExitStatus) -> String {
    match status.code() {
        Some(code) => format!("ended with exit code {code}"),
        None => "was ended by a signal".to_owned(),
    }
}

/// The end of the program's standard error, to append to a message.
fn said(err: &[u8]) -> String {
    let text = String::from_utf8_lossy(err).trim().to_owned();
    if text.is_empty() { String::new() } else { format!(": {text}") }
}

/// What is wrong with a JSON text, without quoting it.
fn plain(e: &serde_json::Error) -> &'static str {
    match e.classify() {
        serde_json::error::Category::Data => "a value of another shape",
        serde_json::error::Category::Eof => "cut short",
        _ => "not JSON",
    }
}

#[derive(Serialize)]
struct OneJob<'q> {
    job: &'q str,
    #[serde(skip_serializing_if = "Option::is_none")]
    spec: Option<&'q Value>,
}

#[derive(Serialize)]
struct Jobs<'q> {
    jobs: Vec<&'q str>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StartReply {
    refused: Option<String>,
    not_now: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EmptyReply {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StatusReply {
    status: JobStatusWord,
    error_type: Option<String>,
    message: Option<String>,
    #[serde(default)]
    permanent: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum JobStatusWord {
    Pending,
    Running,
    Succeeded,
    Failed,
    Cancelled,
    Lost,
    Absent,
    Unknown,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CollectReply {
    result: Option<Value>,
    #[serde(default)]
    log: String,
}

impl StatusReply {
    fn status(self) -> JobStatus {
        let message = self.message.unwrap_or_default();
        match self.status {
            JobStatusWord::Pending => JobStatus::Pending,
            JobStatusWord::Running => JobStatus::Running,
            JobStatusWord::Succeeded => JobStatus::Ended(JobEnd::Succeeded),
            JobStatusWord::Failed => {
                let error_type = self.error_type.unwrap_or_else(|| "JobFailed".to_owned());
                let failure = JobFailure::new(error_type, message);
                JobStatus::Ended(JobEnd::Failed(if self.permanent { failure.never_retry() } else { failure }))
            }
            JobStatusWord::Cancelled => JobStatus::Ended(JobEnd::Cancelled),
            JobStatusWord::Lost => JobStatus::Ended(JobEnd::Lost(message)),
            JobStatusWord::Absent => JobStatus::Absent,
            JobStatusWord::Unknown => JobStatus::Unknown,
        }
    }
}

impl Engine for ExecEngine {
    type Spec = Value;

    fn start(&mut self, job: &JobId, spec: &Value) -> Result<(), EngineError> {
        match self.call("start", &OneJob { job: job.as_str(), spec: Some(spec) })? {
            StartReply { refused: Some(why), .. } => Err(EngineError::refused(why)),
            StartReply { not_now: Some(why), .. } => Err(EngineError::not_now(why)),
            StartReply { refused: None, not_now: None } => Ok(()),
        }
    }

    fn poll(&mut self, jobs: &[JobId]) -> Result<Vec<JobStatus>, EngineError> {
        if jobs.is_empty() {
            return Ok(Vec::new());
        }
        let question = Jobs { jobs: jobs.iter().map(JobId::as_str).collect() };
        let mut said: BTreeMap<String, StatusReply> = self.call("poll", &question)?;
        let status = |job: &JobId| said.remove(job.as_str()).map_or(JobStatus::Unknown, StatusReply::status);
        Ok(jobs.iter().map(status).collect())
    }

    fn cancel(&mut self, job: &JobId) -> Result<(), EngineError> {
        self.call("cancel", &OneJob { job: job.as_str(), spec: None }).map(|EmptyReply {}| ())
    }

    fn collect(&mut self, job: &JobId) -> Result<Collected, EngineError> {
        let CollectReply { result, log } = self.call("collect", &OneJob { job: job.as_str(), spec: None })?;
        let collected = Collected::new().log(log);
        Ok(match result {
            Some(result) => collected.result(result.to_string()),
            None => collected,
        })
    }

    fn forget(&mut self, job: &JobId) -> Result<(), EngineError> {
        self.call("forget", &OneJob { job: job.as_str(), spec: None }).map(|EmptyReply {}| ())
    }

    fn remembers(&self) -> Duration {
        self.remembers
    }
}

/// Leaves out arguments and variables, which may be secrets.
impl fmt::Debug for ExecEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExecEngine")
            .field("program", &self.program)
            .field("timeout", &self.timeout)
            .field("remembers", &self.remembers)
            .finish_non_exhaustive()
    }
}
