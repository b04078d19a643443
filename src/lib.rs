//! A durable task queue that lives inside a program.
//!
#![cfg_attr(any(doc, doctest), doc = include_str!("guide/links.md"))]
#![cfg_attr(any(doc, doctest), doc = include_str!("guide/pictures.md"))]
#![cfg_attr(any(doc, doctest), doc = include_str!("../README.md"))]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

#[cfg(not(any(unix, windows)))]
compile_error!(
    "perdura needs files with locks and writes at a place, which Rust's standard library has on Unix and Windows only"
);
#[cfg(all(
    feature = "cli",
    any(target_os = "openbsd", target_os = "redox", target_os = "cygwin", target_os = "horizon")
))]
compile_error!(
    "perdura's feature `cli` needs waitid for its jobs, and this platform has none; build the library without that feature"
);

#[cfg(feature = "cli")]
pub mod cli;
mod clock;
mod config;
#[cfg(feature = "cli")]
mod console;
mod crash;
pub mod engine;
mod error;
#[cfg(feature = "exec")]
pub mod exec;
mod executor;
#[cfg(any(doc, doctest))]
pub mod guide;
mod handler;
#[cfg(all(feature = "cli", unix))]
mod jobs;
mod json;
mod lifecycle;
mod limits;
mod logging;
mod planted;
mod queue;
#[cfg(feature = "ray")]
pub mod ray;
#[cfg(feature = "report")]
mod report;
mod retry;
mod schedule;
mod store;
mod sync;
mod task;
pub mod testing;
mod timer;
#[cfg(feature = "tui")]
mod tui;

pub use clock::{Clock, SystemClock};
pub use config::{Config, Durability, LostRetry};
pub use error::{EnqueueToken, Error, ErrorKind, Outcome};
pub use handler::{Context, Failure, StopReason};
#[cfg(feature = "rusqlite")]
pub use queue::Transaction;
pub use queue::{Batch, Builder, DeadLetters, Queue, ShutdownReport};
pub use retry::RetryPolicy;
pub use schedule::{Missed, Overlap, Schedule, ScheduleKind, ScheduleRecord, ScheduleStatus};
pub use task::{
    Attempt, AttemptOutcome, Bulk, Condition, Counts, DEFAULT_QUEUE, DeadLetter, Enqueued, Filter, Hold,
    KeyRecord, LimitRecord, NeedsRecord, OnConflict, Options, Output, OutputStream, OutsideRecord, Progress,
    QueueCounts, Rate, State, StepRecord, Task, TaskId, TaskRecord, Timestamp, Unique,
};

/// Reports of a queue and its file, for people who operate it and for programs that show them.
pub mod inspect {
    pub use crate::queue::Explanation;
    pub use crate::store::{CheckReport, FileReport, Owner, PragmaReport, WalReport};
    pub use crate::task::{FailureGroup, Failures, Histogram, Rollup};
}
