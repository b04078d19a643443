//! Group commit: writes of many threads become one transaction, one sync, and an answer for each.
//!
//! It knows no state and no rule of a task: what is written, and what that means for the rest of
//! the program, is decided by the modules that write.

#[cfg(feature = "rusqlite")]
pub(crate) mod alone;
pub(crate) mod commit_queue;
pub(crate) mod effects;
pub(crate) mod name_cache;
pub(crate) mod tx;
pub(crate) mod wal_keeper;
pub(crate) mod writer;
