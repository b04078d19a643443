//! Reads of a file, each on a snapshot that the caller holds, and copies of it (backup, export).

pub(crate) mod backup;
pub(crate) mod check;
pub(crate) mod export;
pub(crate) mod inspect;
pub(crate) mod records;
pub(crate) mod schedules;
pub(crate) mod stats;
