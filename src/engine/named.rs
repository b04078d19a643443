//! An engine under its name in the file, and how it is used.

use std::sync::Arc;
use std::time::Duration;

use super::contract::Engine;
use super::job::{Collected, EngineError, JobId, JobStatus};
use crate::config::{LostRetry, MAX_DURATION};
use crate::error::{Error, ErrorKind};
use crate::sync::{Mutex, lock};
use crate::task::check_name;

/// The shortest `poll_interval` of an engine.
const MIN_POLL_INTERVAL: Duration = Duration::from_millis(100);

/// An engine under the name that the file knows it by, and how it is used.
///
/// The name stands in the file with each job: an engine that is to be found again after a restart keeps its name. The [module](crate::engine) has an
/// example.
#[must_use]
pub struct NamedEngine<E> {
    pub(crate) settings: EngineSettings,
    pub(crate) engine: Arc<Mutex<E>>,
}

/// How an engine is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EngineSettings {
    pub name: String,
    pub queues: Vec<String>,
    pub limit: u32,
    pub poll_interval: Duration,
    pub start_timeout: Duration,
    pub lost_retry: LostRetry,
    pub forget: bool,
}

impl<E: Engine> NamedEngine<E> {
    /// An engine under a name: 1-200 bytes, no control characters.
    pub fn new(name: impl Into<String>, engine: E) -> NamedEngine<E> {
        let name = name.into();
        let settings = EngineSettings {
            queues: vec![name.clone()],
            name,
            limit: 100,
            poll_interval: Duration::from_secs(2),
            start_timeout: Duration::from_secs(30 * 60),
            lost_retry: LostRetry::Manual,
            forget: false,
        };
        NamedEngine { settings, engine: Arc::new(Mutex::new(engine)) }
    }

    /// Sets the queues of its tasks, in which no other tasks may stand: nothing in them starts while the engine cannot be reached. A task that is
    /// enqueued without a queue goes to the first one. Defaults to one queue with the engine's name.
    pub fn queues(mut self, queues: impl IntoIterator<Item = impl Into<String>>) -> NamedEngine<E> {
        self.settings.queues = queues.into_iter().map(Into::into).collect();
        self
    }

    /// Sets how many of its jobs are under way at once in each of its queues, for queues that have no [limit](crate::Queue::set_limit) yet: at least 1.
    /// Defaults to 100.
    pub fn limit(mut self, limit: u32) -> NamedEngine<E> {
        self.settings.limit = limit;
        self
    }

    /// Sets how often the engine is asked what has become of its jobs: 100 ms - 10 years. Defaults to 2 s.
    pub fn poll_interval(mut self, interval: Duration) -> NamedEngine<E> {
        self.settings.poll_interval = interval;
        self
    }

    /// Sets how long a job may be [pending](super::JobStatus::Pending): above zero. Then it is cancelled, and its task is `LOST`. Defaults to 30
    /// minutes.
    pub fn start_timeout(mut self, timeout: Duration) -> NamedEngine<E> {
        self.settings.start_timeout = timeout;
        self
    }

    /// Sets what becomes of a task whose job is lost by an error of the engine, has not started in time, or of which the engine could say nothing for
    /// [`stuck_task_timeout`](crate::Config::stuck_task_timeout). The next attempt has an id of its own. A job that the engine had accepted and does
    /// not know any more stays `LOST` in any case, until somebody retries it. Defaults to [`LostRetry::Manual`].
    pub fn lost_retry(mut self, rule: LostRetry) -> NamedEngine<E> {
        self.settings.lost_retry = rule;
        self
    }

    /// Lets the engine [forget](Engine::forget) each job once its task's end is durable. Jobs that are not forgotten yet when the process ends stay
    /// with the engine. Defaults to false.
    pub fn forget(mut self, forget: bool) -> NamedEngine<E> {
        self.settings.forget = forget;
        self
    }
}

impl EngineSettings {
    /// # Errors
    /// `InvalidConfig`, naming the engine, the setting and its range.
    pub(crate) fn check(&self) -> Result<(), Error> {
        check_name("engine", &self.name).map_err(|e| Error::new(ErrorKind::InvalidConfig, e.to_string()))?;
        let wrong = |problem: String| {
            Err(Error::new(ErrorKind::InvalidConfig, format!("engine {:?}: {problem}", self.name)))
        };
        if self.queues.is_empty() {
            return wrong("it has no queue; name one".to_owned());
        }
        if let Some(bad) = self.queues.iter().find_map(|queue| check_name("queue", queue).err()) {
            return wrong(bad.to_string());
        }
        if self.limit == 0 {
            return wrong("limit is 0; it takes 1 or more".to_owned());
        }
        if !(MIN_POLL_INTERVAL..=MAX_DURATION).contains(&self.poll_interval) {
            return wrong(format!(
                "poll_interval is {}; it takes 100ms to 10 years",
                humantime::format_duration(self.poll_interval)
            ));
        }
        if self.start_timeout.is_zero() {
            return wrong("start_timeout is 0; give it the time that a job may be pending".to_owned());
        }
        Ok(())
    }
}

/// An engine without its types: its specs are JSON.
pub(crate) trait AnyEngine: Send + Sync {
    fn start(&self, job: &JobId, spec: &str) -> Result<(), EngineError>;
    fn poll(&self, jobs: &[JobId]) -> Result<Vec<JobStatus>, EngineError>;
    fn cancel(&self, job: &JobId) -> Result<(), EngineError>;
    fn collect(&self, job: &JobId) -> Result<Collected, EngineError>;
    fn forget(&self, job: &JobId) -> Result<(), EngineError>;
    fn remembers(&self) -> Duration;
}

impl<E: Engine> AnyEngine for Mutex<E> {
    fn start(&self, job: &JobId, spec: &str) -> Result<(), EngineError> {
        let spec: E::Spec = serde_json::from_str(spec).map_err(|e| {
            let (line, column) = (e.line(), e.column());
            EngineError::refused(format!(
                "the spec of the job does not decode: error at line {line}, column {column}"
            ))
        })?;
        lock(self).start(job, &spec)
    }

    fn poll(&self, jobs: &[JobId]) -> Result<Vec<JobStatus>, EngineError> {
        let answers = lock(self).poll(jobs)?;
        if answers.len() == jobs.len() {
            return Ok(answers);
        }
        let message = format!("it was asked for {} jobs and has answered for {}", jobs.len(), answers.len());
        Err(EngineError::unreachable(message))
    }

    fn cancel(&self, job: &JobId) -> Result<(), EngineError> {
        lock(self).cancel(job)
    }

    fn collect(&self, job: &JobId) -> Result<Collected, EngineError> {
        lock(self).collect(job)
    }

    fn forget(&self, job: &JobId) -> Result<(), EngineError> {
        lock(self).forget(job)
    }

    fn remembers(&self) -> Duration {
        lock(self).remembers()
    }
}
