//! The file as the operating system and SQLite see it: paths, connections, locks, room on the disk.
//!
//! Of our tables it knows `perdura_meta`, which identifies the file, and `perdura_padding`, the
//! reserve. It knows nothing of tasks.

pub(crate) mod busy;
#[cfg(feature = "rusqlite")]
pub(crate) mod caller_connection;
#[cfg(feature = "rusqlite")]
pub(crate) mod caller_transaction;
pub(crate) mod cause;
pub(crate) mod checkpoint;
#[cfg(feature = "rusqlite")]
pub(crate) mod closure;
pub(crate) mod connect;
pub(crate) mod crash;
pub(crate) mod create;
pub(crate) mod fork_guard;
pub(crate) mod free_disk;
pub(crate) mod free_pages;
pub(crate) mod holder;
pub(crate) mod identity;
pub(crate) mod lengths;
pub(crate) mod mounts;
pub(crate) mod open;
pub(crate) mod opening;
pub(crate) mod owner_lock;
pub(crate) mod path;
pub(crate) mod pragmas;
pub(crate) mod readers;
pub(crate) mod reserve;
pub(crate) mod schema;
pub(crate) mod snapshots;
pub(crate) mod statistics;
pub(crate) mod template;
pub(crate) mod temporary;
pub(crate) mod wal_frames;
