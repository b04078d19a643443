//! The options with which a file is opened.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::temporary::TemporaryFolder;
use super::{busy, path};
use crate::config::Durability;
use crate::error::Error;
use crate::task::Timestamp;

/// Sets up the connection of the program's transactions when it is opened: functions, collations.
#[cfg(feature = "rusqlite")]
pub(crate) type OnConnection = Arc<dyn Fn(&rusqlite::Connection) -> rusqlite::Result<()> + Send + Sync>;

/// Where a file is.
#[derive(Clone)]
pub(crate) enum Location {
    File(PathBuf),
    /// In a folder of its own, which is removed with the last clone of this; `Store` drops its
    /// connections first.
    Private(Arc<TemporaryFolder>),
}

impl Location {
    /// A new place that nobody else knows.
    pub(crate) fn private() -> Result<Location, Error> {
        Ok(Location::Private(Arc::new(TemporaryFolder::new()?)))
    }

    /// The path of the file, if it is accepted.
    pub(crate) fn path(&self, network: bool) -> Result<PathBuf, Error> {
        match self {
            Location::File(path) => path::canonical(path, network),
            Location::Private(folder) => Ok(folder.file()),
        }
    }
}

/// How the connections to a file are set up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    pub durability: Durability,
    pub secure_delete: bool,
    /// The longest value that is read or written, in bytes.
    pub longest: usize,
    /// How long a write waits for a lock of another connection.
    pub busy_timeout: Duration,
}

/// Where a file is and how to treat it.
#[derive(Clone)]
pub(crate) struct Opening<'a> {
    pub place: Location,
    pub settings: Settings,
    /// Network file systems are accepted.
    pub network: bool,
    /// The file belongs to the program, which has tables of its own in it.
    pub share: bool,
    /// A file of ours that also has tables of others is treated as shared; any other is not.
    pub share_as_found: bool,
    /// Nothing is written.
    pub read_only: bool,
    /// A short WAL is kept when the file is closed: the next process that opens the file continues
    /// it, and nothing has to be copied and synced at the close.
    pub leaves_wal: bool,
    /// The SQLite VFS through which it is opened; `None`: the default one.
    pub vfs: Option<&'a str>,
    /// Bytes of the file that are reserved for a full disk.
    pub reserve_bytes: u64,
    pub now: Timestamp,
    /// Sets up the connection of the program's transactions.
    #[cfg(feature = "rusqlite")]
    pub on_connection: Option<OnConnection>,
}

impl Opening<'_> {
    /// Options for tests: values up to 1 MiB, no reserve, created at time 0.
    pub(crate) fn plain(place: Location, durability: Durability) -> Opening<'static> {
        Opening {
            place,
            settings: Settings {
                durability,
                secure_delete: false,
                longest: 1 << 20,
                busy_timeout: busy::DEFAULT_BUSY_TIMEOUT,
            },
            network: false,
            share: false,
            share_as_found: false,
            read_only: false,
            leaves_wal: false,
            vfs: None,
            reserve_bytes: 0,
            now: Timestamp::from_millis(0),
            #[cfg(feature = "rusqlite")]
            on_connection: None,
        }
    }
}

/// How the connections to a file are opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    Writes,
    /// Reads only, while others may write.
    Looks,
    /// Reads only, in a file that nobody can write: without locks, WAL or `-shm`.
    LooksAtStill,
}
