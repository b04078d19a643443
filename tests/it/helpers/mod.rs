//! What the tests share.

pub mod bounded;
pub mod child;
#[cfg(feature = "rusqlite")]
pub mod deeds;
pub mod engine_jobs;
pub mod files;
pub mod logger;
#[cfg(target_os = "linux")]
pub mod loop_device;
pub mod support;
pub mod told;
pub mod workload;
