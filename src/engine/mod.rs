//! Engines: what runs the work of tasks outside this process. The file keeps the truth, and an engine that exists (a cluster, a batch system, another
//! machine) does the work.
//!
//! A program says which tasks an engine runs by [`Builder::outside`](crate::Builder::outside). Such a task is `RUNNING` for as long as its job is
//! under way, and holds no thread. One thread for each engine follows all of its jobs. What is promised of them is
//! [G19](https://docs.rs/crate/perdura/latest/source/docs/guarantees.md): a job that an engine has accepted is never submitted again under its id.
//!
//! # An engine of one's own
//!
//! An engine implements [`Engine`]. Here it is a folder that another machine looks into: a job is a file, and its answer is another one.
//!
//! ```
//! use std::path::{Path, PathBuf};
//! use std::time::Duration;
//!
//! use perdura::engine::{Collected, Engine, EngineError, JobEnd, JobId, JobStatus, NamedEngine};
//! use perdura::{Queue, Task};
//!
//! /// Jobs are files `ID.job`; who does them writes another file, and renames it to `ID.done` when it is whole.
//! struct Mailbox(PathBuf);
//!
//! impl Mailbox {
//!     fn file(&self, job: &JobId, end: &str) -> PathBuf {
//!         self.0.join(format!("{job}.{end}"))
//!     }
//! }
//!
//! impl Engine for Mailbox {
//!     type Spec = String;
//!
//!     fn start(&mut self, job: &JobId, spec: &String) -> Result<(), EngineError> {
//!         match std::fs::File::create_new(self.file(job, "job")) {
//!             Ok(mut file) => {
//!                 use std::io::Write;
//!                 file.write_all(spec.as_bytes()).map_err(|e| EngineError::unreachable(e.to_string()))
//!             }
//!             Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => Ok(()), // it has it already
//!             Err(e) => Err(EngineError::not_now(e.to_string())),
//!         }
//!     }
//!
//!     fn poll(&mut self, jobs: &[JobId]) -> Result<Vec<JobStatus>, EngineError> {
//!         let status = |job| match (self.file(job, "done").exists(), self.file(job, "job").exists()) {
//!             (true, _) => JobStatus::Ended(JobEnd::Succeeded),
//!             (false, true) => JobStatus::Running,
//!             (false, false) => JobStatus::Absent,
//!         };
//!         Ok(jobs.iter().map(status).collect())
//!     }
//!
//!     fn cancel(&mut self, _: &JobId) -> Result<(), EngineError> {
//!         Ok(()) // it is asked again, until the job has ended
//!     }
//!
//!     fn collect(&mut self, job: &JobId) -> Result<Collected, EngineError> {
//!         let answer = std::fs::read_to_string(self.file(job, "done"));
//!         Ok(Collected::new().result(&answer.map_err(|e| EngineError::unreachable(e.to_string()))?))
//!     }
//!
//!     fn remembers(&self) -> Duration {
//!         Duration::MAX // nobody deletes the files
//!     }
//! }
//!
//! #[derive(serde::Serialize, serde::Deserialize)]
//! struct Render { scene: String }
//! impl Task for Render {
//!     const NAME: &'static str = "render";
//!     type Output = String;
//! }
//!
//! # let folder = std::env::temp_dir().join(format!("perdura-mailbox-{}", std::process::id()));
//! # std::fs::create_dir_all(&folder)?;
//! # let other = folder.clone();
//! # std::thread::spawn(move || loop {
//! #     for entry in std::fs::read_dir(&other).into_iter().flatten().flatten() {
//! #         let job = entry.path();
//! #         if job.extension().is_some_and(|e| e == "job") && !job.with_extension("done").exists() {
//! #             std::fs::write(job.with_extension("half"), "rendered").ok();
//! #             std::fs::rename(job.with_extension("half"), job.with_extension("done")).ok();
//! #         }
//! #     }
//! #     std::thread::sleep(Duration::from_millis(5));
//! # });
//! let farm = NamedEngine::new("farm", Mailbox(folder.clone())).poll_interval(Duration::from_millis(100));
//! let queue = Queue::builder()
//!     .outside(&farm, |task: Render, _| Ok(task.scene), |_, ended| ended.text())
//!     .open_temporary()?;
//! let id = queue.enqueue(&Render { scene: "dawn".into() })?.id();
//! assert_eq!(queue.wait_result::<Render>(id, Duration::from_secs(60))?, "rendered");
//! # std::fs::remove_dir_all(folder)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`testing::check_engine`](crate::testing::check_engine) runs an engine through what perdura expects of it.

mod contract;
mod job;
mod judge;
mod named;

pub use contract::Engine;
pub(crate) use job::EngineErrorKind;
pub use job::{Collected, EngineError, JobEnd, JobId, JobStatus};
pub(crate) use judge::{Decision, Fate, JobRules, KnownJob, judge};
pub use named::NamedEngine;
pub(crate) use named::{AnyEngine, EngineSettings};

pub use crate::handler::{Ended, JobFailure};
