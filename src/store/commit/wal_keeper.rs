//! WAL checkpoints on the thread of a long read or write, so that commits need not make them.

use std::cell::OnceCell;

use rusqlite::Connection;

use super::writer::Writer;
use crate::error::{Error, ErrorKind};
use crate::logging::tell;
use crate::store::error::Sql;
use crate::store::file::checkpoint::{checkpoint_wal, has_wal_reset_bug, limit_wal};
use crate::store::file::connect::Connector;
use crate::store::file::lengths::wal_bytes;
use crate::store::file::opening::Manner;
use crate::store::file::snapshots::LongRead;
use crate::sync::lock;

/// A WAL that has grown beyond this was kept from restarting.
const LONG_WAL_BYTES: u64 = 8 << 20;

/// How many more rounds a checkpoint alongside commits runs at most.
const MAX_CHECKPOINT_ROUNDS: u32 = 10;
/// It ends when a round has copied fewer pages than this (1 MiB): the writer copies what was added
/// since, while other threads wait.
const PAGES_LEFT_TO_WRITER: u32 = 256;

/// Copies the WAL into the database file alongside commits, on the thread that holds the keeper:
/// while there is one, no commit of this process has to. A verb that reads or writes much of the
/// file holds one, so it goes no faster than the disk.
pub(crate) struct WalKeeper<'s> {
    writer: &'s Writer,
    connector: &'s Connector,
    look: LongRead<'s>,
    /// Whether two connections may write and checkpoint at once. (Not with SQLite's WAL-reset bug.)
    is_beside: bool,
    /// Opened when it is first needed; `None` if that failed.
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

    /// Copies the WAL if it is long. If that fails, a commit will report what is wrong with the
    /// disk.
    pub(crate) fn copy_if_long(&self) {
        if self.writer.wal().is_long() {
            let _ = self.copy();
        }
    }

    /// Reads much of the file on one snapshot, and then copies the WAL, if it grew because that
    /// snapshot kept it from restarting.
    pub(crate) fn read<R>(&self, look: impl FnOnce(&Connection) -> Sql<R>) -> Result<R, Error> {
        let mut can_copy = false;
        let found = self.look.read(|conn| {
            let before = wal_bytes(conn).max(LONG_WAL_BYTES);
            let found = look(conn);
            let has_grown = self.is_beside && wal_bytes(conn) > before;
            // Opened while the snapshot is still held: after that, a commit of another process may
            // copy the WAL.
            can_copy = has_grown && self.connection().is_some();
            found
        });
        if can_copy {
            // Errors are ignored as above. Not on the writer, which may be waiting for a
            // transaction of the thread that reads.
            let _ = self.copy_beside();
        }
        found
    }

    /// Copies the WAL: most of it alongside commits, then the few pages added meanwhile on the
    /// writer, so that the WAL can restart.
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
            let before = copied; // the next round copies what was added during this one
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
