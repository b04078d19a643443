//! What is to be opened, and how.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::temporary::TemporaryFolder;
use super::{busy, path};
use crate::config::Durability;
use crate::error::Error;
use crate::task::Timestamp;

/// What the program does to its connection when it is opened: its functions, its collations.
#[cfg(feature = "rusqlite")]
pub(crate) type OnConnection = Arc<dyn Fn(&rusqlite::Connection) -> rusqlite::Result<()> + Send + Sync>;

/// Where a file lies.
#[derive(Clone)]
pub(crate) enum Location {
    File(PathBuf),
    /// In a folder of its own, which is removed when nobody has the place any more; after the connections, which come before it.
    Private(Arc<TemporaryFolder>),
}

impl Location {
    /// A new place that nobody else knows.
    pub(crate) fn private() -> Result<Location, Error> {
        Ok(Location::Private(Arc::new(TemporaryFolder::new()?)))
    }

    /// The path of the file, if it may be opened.
    pub(crate) fn path(&self, network: bool) -> Result<PathBuf, Error> {
        match self {
            Location::File(path) => path::canonical(path, network),
            Location::Private(folder) => Ok(folder.file()),
        }
    }
}

/// How its connections are set up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    pub durability: Durability,
    pub secure_delete: bool,
    /// The longest value that is read or written, in bytes.
    pub longest: usize,
    /// How long a write waits for a lock of another connection.
    pub busy_timeout: Duration,
}

/// Where a file lies and how to treat it.
#[derive(Clone)]
pub(crate) struct Opening<'a> {
    pub place: Location,
    pub settings: Settings,
    /// A network file system is taken, too.
    pub network: bool,
    /// The file belongs to the program, whose own tables are in it too.
    pub share: bool,
    /// If it is ours and others' tables are in it, it is shared; else it is not.
    pub share_as_found: bool,
    /// Nothing is written.
    pub read_only: bool,
    /// A short WAL stays when the file is closed: whoever opens it next goes on with it, and nothing has to be copied and synced now.
    pub leaves_wal: bool,
    /// The SQLite VFS through which it is opened; none: the default one.
    pub vfs: Option<&'a str>,
    /// Room in the file that is kept for a full disk.
    pub reserve_bytes: u64,
    pub now: Timestamp,
    /// What the program does to the connection of its transactions.
    #[cfg(feature = "rusqlite")]
    pub on_connection: Option<OnConnection>,
}

impl Opening<'_> {
    /// A file of no program: small values, no reserve, made when time began.
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
    /// Only looks, beside others that may write.
    Looks,
    /// Only looks, at a file that nobody can write where it lies: without a lock, a WAL and a `-shm`.
    LooksAtStill,
}
