//! A job of an engine that has ended, as the program's function gets it.

use std::borrow::Cow;
use std::fmt;

use serde::de::DeserializeOwned;

use super::failure::Failure;
use crate::json::from_json;

/// A job that has ended: how, and with which result. The last argument of [`Builder::outside`](crate::Builder::outside) makes the task's output of
/// it.
///
/// ```
/// # use perdura::engine::{Ended, JobFailure};
/// # use perdura::Failure;
/// fn loss(ended: &Ended) -> Result<f64, Failure> {
///     ended.json() // fails as the job has failed, if it has
/// }
/// assert_eq!(loss(&Ended::succeeded("0.25")).unwrap(), 0.25);
/// assert_eq!(loss(&Ended::failed(JobFailure::new("ExitCode.1", "out of memory"))).unwrap_err().error_type(), "ExitCode.1");
/// ```
pub struct Ended {
    job: String,
    failure: Option<JobFailure>,
    result: Option<String>,
    log: Vec<u8>,
}

/// How the user's work in a job has failed. `?` makes a [`Failure`] of it, with the same type and message.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct JobFailure {
    /// A stable name of the kind of failure, for lists and the denylist.
    pub error_type: String,
    /// A message to show.
    pub message: String,
    /// It is not retried, however many attempts are left.
    pub permanent: bool,
}

impl JobFailure {
    /// A failure that is retried while attempts are left.
    pub fn new(error_type: impl Into<String>, message: impl Into<String>) -> JobFailure {
        JobFailure { error_type: error_type.into(), message: message.into(), permanent: false }
    }

    /// It is not retried.
    #[must_use]
    pub fn never_retry(self) -> JobFailure {
        JobFailure { permanent: true, ..self }
    }
}

impl From<JobFailure> for Failure {
    fn from(job: JobFailure) -> Failure {
        let failure = Failure::named(job.error_type, job.message);
        if job.permanent { failure.never_retry() } else { failure }
    }
}

impl Ended {
    pub(crate) fn new(job: &str, failure: Option<JobFailure>, result: Option<String>, log: Vec<u8>) -> Ended {
        Ended { job: job.to_owned(), failure, result, log }
    }

    /// A job that has succeeded with this result, for tests.
    pub fn succeeded(result: impl Into<String>) -> Ended {
        Ended::new("test", None, Some(result.into()), Vec::new())
    }

    /// A job that has failed, for tests.
    pub fn failed(failure: JobFailure) -> Ended {
        Ended::new("test", Some(failure), None, Vec::new())
    }

    /// The id under which the engine knows it.
    pub fn job(&self) -> &str {
        &self.job
    }

    /// How it has failed; none if it has succeeded.
    pub fn failure(&self) -> Option<&JobFailure> {
        self.failure.as_ref()
    }

    /// What it has written, as far as the engine knows it. Bytes that are not UTF-8 are replaced.
    pub fn log(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.log)
    }

    /// Fails as the job has failed, if it has.
    ///
    /// # Errors
    /// Its failure.
    pub fn check(&self) -> Result<(), Failure> {
        self.failure.clone().map_or(Ok(()), |failure| Err(failure.into()))
    }

    /// Its result, a text.
    ///
    /// # Errors
    /// Its failure, if it has failed; `ResultMissing` if it has no result.
    pub fn text(&self) -> Result<String, Failure> {
        self.check()?;
        let missing =
            || Failure::named("ResultMissing", "the job has succeeded and has given no result").never_retry();
        self.result.clone().ok_or_else(missing)
    }

    /// Its result, decoded from JSON.
    ///
    /// # Errors
    /// As [`text`](Ended::text); `ResultUndecodable` if it is not what is asked for.
    pub fn json<O: DeserializeOwned>(&self) -> Result<O, Failure> {
        from_json(&self.text()?).map_err(|wrong| {
            let message = format!("the result of the job does not decode: {wrong}");
            Failure::named("ResultUndecodable", message).never_retry()
        })
    }
}

/// Shows the sizes of result and log, whose texts may be private.
impl fmt::Debug for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ended")
            .field("job", &self.job)
            .field("failure", &self.failure)
            .field("result_bytes", &self.result.as_ref().map(String::len))
            .field("log_bytes", &self.log.len())
            .finish()
    }
}
