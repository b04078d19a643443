//! What is known of a file and its tasks, for whoever shows it: the verbs, the screen, the report.

pub(crate) mod action;
pub(crate) mod detail;
pub(crate) mod explain;
pub(crate) mod health;
#[cfg(unix)]
pub(crate) mod job;
#[cfg(any(feature = "tui", feature = "report"))]
pub(crate) mod lately;
#[cfg(feature = "report")]
pub(crate) mod process_age;
pub(crate) mod queue;
pub(crate) mod rollups;
pub(crate) mod schedule;
pub(crate) mod task;
