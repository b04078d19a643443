//! WAL checkpoints on the thread of a long read or write, so that commits need not make them.

use std::cell::OnceCell;

use rusqlite::Connection;

use super::writer::Writer;
use crate::error::{Error, ErrorKind};
use crate::logging::tell;
use crate::store::error::Sql;
use crate::store::file::checkpoint::{checkpoint_wal, has_wal_reset_bug, limit_wal};
use crate::store::file::connect::Connector;
use crate::store::file::opening::Manner;
use crate::store::file::reserve::wal_bytes;
use crate::store::file::snapshots::LongRead;
use crate::sync::lock;

/// A WAL that has grown beyond this could not start again when it should have.
const LONG_WAL_BYTES: u64 = 8 << 20;

/// A WAL checkpoint beside the commits goes on in rounds, so many at most, until so few pages (1 MiB) have come meanwhile: those are left
/// for the writer to copy, while others wait.
const MAX_CHECKPOINT_ROUNDS: u32 = 10;
const PAGES_LEFT_TO_WRITER: u32 = 256;

/// Copies the WAL into the database file beside the commits, on the thread that holds it: as long as there is one, no commit of this
/// process has to. A verb that reads or writes much of the file holds one, and so goes no faster than the disk takes it.
pub(crate) struct WalKeeper<'s> {
    writer: &'s Writer,
    connector: &'s Connector,
    look: LongRead<'s>,
    /// Two connections may write and checkpoint at once. (SQLite's WAL-reset bug forbids it.)
    is_beside: bool,
    /// Opened when it is needed first; none if that failed.
    connection: OnceCell<Option<Connection>>,
}

impl<'s> WalKeeper<'s> {
    pub(crate) fn new(writer: &'s Writer, connector: &'s Connector, look: LongRead<'s>) -> WalKeeper<'s> {
        let is_beside = connector.manner == Manner::Writes && !has_wal_reset_bug(rusqlite::version_number());
        if is_beside {
            writer.wal().add_keeper();
        }
        WalKeeper { writer, connector, look, is_beside, connection: OnceCell::new() }
    }

    /// Copies the WAL if it is long. If that fails, a commit says what is wrong with the disk.
    pub(crate) fn copy_if_long(&self) {
        if self.writer.wal().is_long() {
            let _ = self.copy();
        }
    }

    /// Looks at much of the file on one snapshot, and then copies the WAL, if that could not start again meanwhile.
    pub(crate) fn read<R>(&self, look: impl FnOnce(&Connection) -> Sql<R>) -> Result<R, Error> {
        let mut can_copy = false;
        let found = self.look.read(|conn| {
            let before = wal_bytes(conn).max(LONG_WAL_BYTES);
            let found = look(conn);
            let has_grown = self.is_beside && wal_bytes(conn) > before;
            can_copy = has_grown && self.connection().is_some(); // opened before a commit of another process may copy it
            found
        });
        if can_copy {
            let _ = self.copy_beside(); // as above; not on the writer, which may wait for a transaction of the thread that reads
        }
        found
    }

    /// Copies the WAL: most of it beside the commits, then the few pages that came meanwhile on the writer, so that the WAL can start
    /// again.
    ///
    /// # Errors
    /// Those of the disk; `FileReplaced`.
    pub(crate) fn copy(&self) -> Result<(), Error> {
        let copied = self.copy_beside().and_then(|()| {
            self.writer.alone(|conn| {
                limit_wal(conn)?;
                checkpoint_wal(conn).map(drop)
            })
        });
        if copied.as_ref().is_err_and(|e| e.kind() == ErrorKind::DiskFull) {
            self.writer.doubt_disk();
        }
        copied
    }

    fn copy_beside(&self) -> Result<(), Error> {
        let _copying = lock(&self.writer.wal().copying);
        self.connector.identity.check()?;
        let Some(connection) = self.connection() else { return Ok(()) };
        let mut copied = checkpoint_wal(connection)?;
        for _ in 0..MAX_CHECKPOINT_ROUNDS {
            let before = copied; // what has come while that was copied is left
            copied = checkpoint_wal(connection)?;
            if copied.saturating_sub(before) < PAGES_LEFT_TO_WRITER {
                break;
            }
        }
        Ok(())
    }

    fn connection(&self) -> Option<&Connection> {
        let tell = |e: Error| tell!(Warn, "WAL checkpoints will run on the writer: {e}");
        let opened = || if self.is_beside { self.connector.connect().map_err(tell).ok() } else { None };
        self.connection.get_or_init(opened).as_ref()
    }
}

impl Drop for WalKeeper<'_> {
    fn drop(&mut self) {
        if self.is_beside {
            self.writer.wal().remove_keeper();
        }
    }
}
