//! Ray as an engine: its [Jobs API](https://docs.ray.io/en/latest/cluster/running-applications/job-submission/index.html), over HTTP.
//!
//! ```no_run
//! use perdura::engine::NamedEngine;
//! use perdura::ray::{RayEngine, RayJob};
//! use perdura::{Queue, Task};
//!
//! #[derive(serde::Serialize, serde::Deserialize)]
//! struct Train { epochs: u32 }
//! impl Task for Train {
//!     const NAME: &'static str = "train";
//!     type Output = f64;
//! }
//!
//! let ray = NamedEngine::new("ray", RayEngine::new("http://127.0.0.1:8265")?).forget(true);
//! let queue = Queue::builder()
//!     .outside(
//!         &ray,
//!         |task: Train, _| Ok(RayJob::new(format!("python train.py --epochs {}", task.epochs)).working_dir("train")),
//!         |_, ended| ended.json(), // the last line that the job has written
//!     )
//!     .open("tasks.db")?;
//! # Ok::<(), perdura::Error>(())
//! ```
//!
//! What becomes of a task, by what Ray says of its job:
//!
//! | Ray | the task |
//! |---|---|
//! | `PENDING`, `RUNNING` | `RUNNING` |
//! | `SUCCEEDED` | `SUCCEEDED`, with what the second function makes of it |
//! | `FAILED`, with the exit code of the command line | a failure, of the type `ExitCode.N` or `Signal.N`; it is retried |
//! | `FAILED` otherwise (its supervisor died, its environment could not be set up) | `LOST`: its work may have been done |
//! | `STOPPED` | `CANCELLED`, or a `Timeout` |
//! | it does not know the job | `LOST`, once it had accepted it |
//!
//! The log is kept with the attempt, and its last line is the job's result if that is JSON. A head that restarts without a Redis of its own forgets its jobs; what it
//! had accepted is `LOST` then. Ray keeps ended jobs for good unless somebody deletes them:
//! [`NamedEngine::forget`](crate::engine::NamedEngine::forget) does, once the end is in the file. Otherwise its list grows, and with it the cost of each look.

mod answers;
mod http;
mod job;
mod log;
mod package;
mod token;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

pub use job::RayJob;

use answers::{Details, names_job, says_absent, start_failed, uptime};
use http::{Head, HeadRequest};
use token::Token;

use crate::Error;
use crate::engine::{Collected, Engine, EngineError, JobId, JobStatus};
use crate::planted::planted;

/// Where Ray's dashboard listens unless it is told otherwise.
const USUAL_ADDRESS: &str = "http://127.0.0.1:8265";

/// From so many jobs on, one list is asked for instead of each of them.
const LIST_FROM: usize = 5;

/// How many jobs that are not in the list one poll asks for by their ids.
const ABSENT_PER_LOOK: usize = 50;

/// How long after the end of a job Ray certainly does not touch it any more.
const FORGET_AFTER: Duration = Duration::from_secs(15);

/// How many lines are asked for of the end of a log that cannot be read whole.
const LAST_LINES: u32 = 10_000;

/// A Ray cluster. The [module](crate::ray) has an example.
pub struct RayEngine {
    head: Head,
    max_package: u64,
    /// How long the head had been up, at the last poll for which that mattered.
    up: Duration,
}

impl RayEngine {
    /// The cluster whose dashboard has this address, such as `http://127.0.0.1:8265`.
    ///
    /// # Errors
    /// [`InvalidConfig`](crate::ErrorKind::InvalidConfig): it is no such address. Whether somebody listens there shows later.
    pub fn new(address: &str) -> Result<RayEngine, Error> {
        let head = Head::new(address, Duration::from_secs(30))?;
        Ok(RayEngine { head, max_package: 100 << 20, up: Duration::ZERO })
    }

    /// The cluster that the environment variable `RAY_ADDRESS` names, else the one of this machine (`http://127.0.0.1:8265`).
    ///
    /// # Errors
    /// [`InvalidConfig`](crate::ErrorKind::InvalidConfig): that is no such address.
    pub fn from_env() -> Result<RayEngine, Error> {
        RayEngine::new(std::env::var("RAY_ADDRESS").as_deref().unwrap_or(USUAL_ADDRESS))
    }

    /// Sets the token for calls to Ray. By default it is found as by Ray's own client: `RAY_AUTH_TOKEN`, the file that `RAY_AUTH_TOKEN_PATH` names,
    /// or `~/.ray/auth_token`; none if `RAY_AUTH_MODE` is `disabled`.
    #[must_use]
    pub fn token(mut self, token: impl Into<String>) -> RayEngine {
        self.head.token = Token::Given(token.into());
        self
    }

    /// Names the environment variable that holds the token.
    #[must_use]
    pub fn token_from_env(mut self, name: impl Into<String>) -> RayEngine {
        self.head.token = Token::Variable(name.into());
        self
    }

    /// Names the file that holds the token. It is read for each call, so that a new token is taken up.
    #[must_use]
    pub fn token_from_file(mut self, path: impl Into<PathBuf>) -> RayEngine {
        self.head.token = Token::File(path.into());
        self
    }

    /// Sets how long a call may take; one that sends a folder may take 20 times as long. Defaults to 30 s.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> RayEngine {
        self.head.with_timeout(timeout);
        self
    }

    /// Sets how large a folder may be that is sent along with a job, packed, in bytes: it is held in memory while it is sent. Defaults to 100 MiB.
    /// Ray 2.60 takes no more, and a proxy before it may take less.
    #[must_use]
    pub fn max_package(mut self, bytes: u64) -> RayEngine {
        self.max_package = bytes;
        self
    }

    /// What Ray tells of one job, if it knows it.
    fn details(&self, job: &JobId) -> Result<Option<Details>, EngineError> {
        let mut answer = self.head.ask(&of_job(job), HeadRequest::Get)?;
        if answer.is_ok() {
            return answer.json().map(Some);
        }
        let text = answer.text()?;
        if says_absent(answer.status, &text) { Ok(None) } else { Err(answer.strange()) }
    }

    /// The status of one job.
    fn status(&self, job: &JobId) -> Result<JobStatus, EngineError> {
        Ok(self.details(job)?.map_or(JobStatus::Absent, |details| details.status()))
    }

    /// The statuses of a few jobs, each asked for. A job whose status the head cannot say now is `Unknown`; if that holds for all, it is an error.
    fn each_status(&self, jobs: &[JobId]) -> Result<Vec<JobStatus>, EngineError> {
        let (mut said, mut trouble) = (Vec::new(), None);
        for job in jobs {
            match self.status(job) {
                Ok(status) => said.push(Some(status)),
                Err(e) => {
                    said.push(None);
                    trouble = Some(e);
                }
            }
        }
        match trouble {
            Some(e) if said.iter().all(Option::is_none) => Err(e),
            _ => Ok(said.into_iter().map(|status| status.unwrap_or(JobStatus::Unknown)).collect()),
        }
    }

    /// The statuses of many jobs, by one list of all; a job that is not in it is asked for by its id.
    fn statuses(&self, jobs: &[JobId]) -> Result<Vec<JobStatus>, EngineError> {
        let mut answer = self.head.ask("/api/jobs/", HeadRequest::Get)?;
        if !answer.is_ok() {
            return Err(answer.strange());
        }
        let listed: Vec<Details> = answer.json()?;
        let listed: BTreeMap<&str, &Details> =
            listed.iter().filter_map(|details| Some((details.submission_id.as_deref()?, details))).collect();
        let mut asked = 0;
        let status = |job: &JobId| match listed.get(job.as_str()) {
            Some(details) => Ok(details.status()),
            None if planted("g19-what-a-list-of-ray-leaves-out-is-absent") => Ok(JobStatus::Absent),
            None if asked == ABSENT_PER_LOOK => Ok(JobStatus::Unknown),
            None => {
                asked += 1;
                self.status(job)
            }
        };
        jobs.iter().map(status).collect()
    }

    /// Asks how long the head has been up, which is how long it remembers jobs: zero if it does not say so.
    ///
    /// # Errors
    /// The head is in trouble, and may say it later.
    fn look_at_head(&mut self) -> Result<(), EngineError> {
        let asked =
            "/api/v0/nodes?detail=1&filter_keys=is_head_node&filter_predicates=%3D&filter_values=true";
        let mut answer = self.head.ask(asked, HeadRequest::Get)?;
        if matches!(answer.status, 408 | 429 | 500..) {
            return Err(answer.strange());
        }
        let (date, text) = (answer.date().unwrap_or_default(), answer.text()?);
        self.up = uptime(&date, &text).unwrap_or_default();
        Ok(())
    }

    /// Sends the folder of a job, unless the cluster has it; answers with its address in the cluster.
    fn send_folder(&self, spec: &RayJob) -> Result<Option<String>, EngineError> {
        let Some(folder) = spec.folder() else { return Ok(None) };
        if spec.has_excludes() {
            let message = "the runtime environment has `excludes`, which do not go with a working folder of this machine; name them in its .rayignore";
            return Err(EngineError::refused(message));
        }
        let package = package::pack(folder, self.max_package)?;
        let path = format!("/api/packages/gcs/{}", package.name);
        let not_sent = |e: EngineError| EngineError::not_now(e.message());
        let is_there = self.head.ask(&path, HeadRequest::Get).map_err(not_sent)?.is_ok();
        if !is_there {
            let mut sent = self.head.ask(&path, HeadRequest::Upload(&package.bytes)).map_err(not_sent)?;
            if sent.status == 413 {
                let folder = folder.display();
                return Err(EngineError::refused(format!(
                    "the working folder {folder}, packed, is larger than Ray, or what stands before it, takes"
                )));
            }
            if !sent.is_ok() {
                return Err(not_sent(sent.strange()));
            }
        }
        Ok(Some(format!("gcs://{}", package.name)))
    }

    /// The log of a job; only its last lines if Ray cannot give it whole (a byte is not UTF-8), or if it is longer than perdura reads.
    fn written(&self, job: &JobId, details: &Details) -> Result<String, EngineError> {
        let mut answer = self.head.ask(&format!("{}/logs", of_job(job)), HeadRequest::Get)?;
        let whole = match answer.status {
            200 => log::end_of_log(answer.body()).map_err(|e| answer.cut(&e))?,
            500 => None,
            404 if planted("g19-the-log-of-a-forgotten-job-is-empty") => Some(String::new()),
            _ => return Err(answer.strange()), // 404: the head has forgotten the job since it said how it ended
        };
        match whole {
            Some(log) => Ok(log),
            None => self.last_lines(job, details),
        }
    }

    /// The last lines of the log of a job, from the node on which it ran.
    fn last_lines(&self, job: &JobId, details: &Details) -> Result<String, EngineError> {
        let node = details.node().ok_or_else(|| {
            EngineError::unreachable("Ray does not say on which node the job ran, so its log cannot be had")
        })?;
        let path = format!("/api/v0/logs/file?node_id={node}&submission_id={job}&lines={LAST_LINES}");
        let mut answer = self.head.ask(&path, HeadRequest::Get)?;
        if !answer.is_ok() {
            return Err(answer.strange());
        }
        log::last_bytes(answer.body()).map_err(|e| answer.cut(&e))
    }
}

/// The path of a job.
fn of_job(job: &JobId) -> String {
    format!("/api/jobs/{job}") // hexadecimal digits and `-`
}

impl Engine for RayEngine {
    type Spec = RayJob;

    fn start(&mut self, job: &JobId, spec: &RayJob) -> Result<(), EngineError> {
        let package = self.send_folder(spec)?;
        let submission = spec.submission(job.as_str(), package).to_string();
        let mut answer = self.head.ask("/api/jobs/", HeadRequest::Post(submission.as_bytes()))?;
        let (status, text) = (answer.status, answer.text()?);
        if status == 200 && names_job(&text, job.as_str()) {
            return Ok(());
        }
        let there = self.status(job).map_err(|e| EngineError::unreachable(e.message()))?;
        start_failed(status, &text, there != JobStatus::Absent)
    }

    fn poll(&mut self, jobs: &[JobId]) -> Result<Vec<JobStatus>, EngineError> {
        let statuses = if jobs.len() < LIST_FROM { self.each_status(jobs)? } else { self.statuses(jobs)? };
        if statuses.contains(&JobStatus::Absent) {
            self.look_at_head()?; // after the poll: the head that answered the poll is this one, or its predecessor
        }
        Ok(statuses)
    }

    fn cancel(&mut self, job: &JobId) -> Result<(), EngineError> {
        let mut answer = self.head.ask(&format!("{}/stop", of_job(job)), HeadRequest::Post(b""))?;
        if matches!(answer.status, 200 | 404) { Ok(()) } else { Err(answer.strange()) }
    }

    fn collect(&mut self, job: &JobId) -> Result<Collected, EngineError> {
        let Some(details) = self.details(job)? else {
            return Err(EngineError::unreachable("Ray has forgotten the job"));
        };
        let log = self.written(job, &details)?;
        let collected =
            match log::result(&log, job.as_str(), details.entrypoint.as_deref().unwrap_or_default()) {
                Some(result) => Collected::new().result(result),
                None => Collected::new(),
            };
        Ok(collected.log(log))
    }

    fn log(&mut self, job: &JobId, from: u64) -> Result<Vec<u8>, EngineError> {
        let mut answer = self.head.ask(&format!("{}/logs", of_job(job)), HeadRequest::Get)?;
        if !answer.is_ok() {
            return Err(answer.strange());
        }
        log::log_from(answer.body(), from).map_err(|e| answer.cut(&e))
    }

    /// Ray goes on looking at a job for a second or more after it has ended; one that is deleted meanwhile comes back as failed, and stays.
    fn forget(&mut self, job: &JobId) -> Result<(), EngineError> {
        let mut answer = self.head.ask(&of_job(job), HeadRequest::Get)?;
        let date = answer.date().unwrap_or_default();
        if answer.is_ok() && !answer.json::<Details>()?.has_ended_for(FORGET_AFTER, &date) {
            return Err(EngineError::not_now("the job has ended just now"));
        }
        let mut answer = self.head.ask(&of_job(job), HeadRequest::Delete)?;
        if matches!(answer.status, 200 | 404) { Ok(()) } else { Err(answer.strange()) }
    }

    /// How long the head has been up: since then it forgets only what is deleted. Zero as long as that is not known.
    fn remembers(&self) -> Duration {
        if planted("g19-a-head-never-forgets") { Duration::MAX } else { self.up }
    }
}

impl fmt::Debug for RayEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RayEngine")
            .field("head", &self.head)
            .field("max_package", &self.max_package)
            .finish_non_exhaustive()
    }
}
