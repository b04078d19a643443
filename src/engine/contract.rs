//! The trait [`Engine`]: what an engine outside must do.

use std::time::Duration;

use serde::{Serialize, de::DeserializeOwned};

use super::job::{Collected, EngineError, JobId, JobStatus};

/// Something that runs jobs outside this process.
///
/// All calls block, and come from one thread. Each must end by itself, within half a minute say: set time-outs. A call that panics counts as
/// [`unreachable`](EngineError::unreachable). The [module](crate::engine) has an example.
pub trait Engine: Send + 'static {
    /// What a job of this engine is. It is kept as JSON in the file until the job has ended.
    type Spec: Serialize + DeserializeOwned;

    /// Starts a job under this id. It returns when the engine has accepted it for certain.
    ///
    /// **An id that the engine knows is not started again**, whether its job runs or has ended: then this is `Ok`. perdura calls it again for an
    /// id only after [`not_now`](EngineError::not_now), or if an earlier call did not answer and [`poll`](Engine::poll) has said since that the
    /// engine does not know the id.
    ///
    /// # Errors
    /// [`refused`](EngineError::refused): this job can never run (its task fails for good). [`not_now`](EngineError::not_now): it was not started for
    /// certain. [`unreachable`](EngineError::unreachable): it may have been started.
    fn start(&mut self, job: &JobId, spec: &Self::Spec) -> Result<(), EngineError>;

    /// What has become of these jobs: an answer for each, in their order.
    ///
    /// # Errors
    /// If the engine can answer for none of them. A job for which it cannot answer is [`JobStatus::Unknown`].
    fn poll(&mut self, jobs: &[JobId]) -> Result<Vec<JobStatus>, EngineError>;

    /// Asks a job to stop. It is only a request: `poll` says when it has ended. A job that has ended, or that the engine does not know, is no error.
    ///
    /// # Errors
    /// If the engine cannot be asked. It is asked again.
    fn cancel(&mut self, job: &JobId) -> Result<(), EngineError>;

    /// The result and the log of a job that has ended.
    ///
    /// # Errors
    /// If they cannot be fetched now. It is tried again for ten minutes; then a job that has succeeded counts as lost. Leave out instead what can
    /// never be fetched (a log that the engine has lost).
    fn collect(&mut self, job: &JobId) -> Result<Collected, EngineError>;

    /// The log of a job so far, from the byte `from` on: `perdura follow` shows it while the job runs. Empty by default.
    ///
    /// # Errors
    /// If it cannot be had now, or the engine cannot tell it.
    fn log(&mut self, job: &JobId, from: u64) -> Result<Vec<u8>, EngineError> {
        let _ = (job, from);
        Ok(Vec::new())
    }

    /// Forgets a job that has ended, after its task's end is durable. perdura calls it only if
    /// [`NamedEngine::forget`](super::NamedEngine::forget) asks for it. Does nothing by default.
    ///
    /// # Errors
    /// If that cannot be done now. It is tried again up to eight times, as long as this process follows jobs.
    fn forget(&mut self, job: &JobId) -> Result<(), EngineError> {
        let _ = job;
        Ok(())
    }

    /// How long, at least, the engine knows the id of a job after the job has ended.
    ///
    /// A start that did not answer is repeated only within this time, and only if the engine does not know the id. With zero, such a task is `LOST`.
    fn remembers(&self) -> Duration;
}
