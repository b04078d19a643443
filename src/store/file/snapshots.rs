//! Reads of a file, on one snapshot each; another thread can interrupt long ones.

use std::sync::Arc;

use rusqlite::{Connection, InterruptHandle};

use super::crash::crashed;
use super::fork_guard::ForkGuard;
use super::identity::FileIdentity;
use super::readers::Readers;
use crate::error::{Error, ErrorKind};
use crate::store::error::{Fault, Sql};
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{Mutex, lock};

/// The reading side of an open file.
pub(crate) struct Snapshots {
    readers: Readers,
    interrupts: Interrupts,
    identity: Arc<FileIdentity>,
    process: Arc<ForkGuard>,
    /// Set when a test has simulated the death of the process.
    is_dead: Arc<AtomicBool>,
}

/// The long reads that are running.
#[derive(Default)]
struct Interrupts(Mutex<Reads>);

#[derive(Default)]
struct Reads {
    /// How often somebody has asked to end all long reads.
    requests: u64,
    last: u64,
    all: Vec<(u64, InterruptHandle)>,
}

/// A read of the file that may take several snapshots. A request to interrupt ends it, whichever of
/// its snapshots is being read; requests before its beginning do not count.
pub(crate) struct LongRead<'s> {
    snapshots: &'s Snapshots,
    /// How many requests there had been before it began.
    requests: u64,
}

/// One registered read of a [`LongRead`]; dropping it removes it from the list.
struct Reading<'i> {
    interrupts: &'i Interrupts,
    number: u64,
}

impl Snapshots {
    pub(crate) fn new(
        readers: Readers,
        identity: Arc<FileIdentity>,
        process: Arc<ForkGuard>,
        is_dead: Arc<AtomicBool>,
    ) -> Snapshots {
        Snapshots { readers, interrupts: Interrupts::default(), identity, process, is_dead }
    }

    /// Runs `look` on one snapshot of the file.
    ///
    /// # Errors
    /// Those of `look`, and those of getting a connection.
    pub(crate) fn read<R>(&self, look: impl FnOnce(&Connection) -> Sql<R>) -> Result<R, Error> {
        self.process.check()?;
        if self.is_dead.load(Ordering::Acquire) {
            return Err(crashed());
        }
        let connection = self.readers.get(&self.identity)?;
        self.identity.check_still()?;
        let snapshot = connection.unchecked_transaction().map_err(Fault::from)?;
        let seen = look(&snapshot);
        self.identity.check_still()?; // also if `look` failed
        Ok(seen?)
    }

    /// Begins a long read, which `interrupt` can end.
    pub(crate) fn long_read(&self) -> LongRead<'_> {
        LongRead { snapshots: self, requests: lock(&self.interrupts.0).requests }
    }

    /// Interrupts the long reads that are running. It holds the lock of the list, so none of them
    /// can end meanwhile and leave its connection to a later read, which would be interrupted
    /// instead.
    pub(crate) fn interrupt(&self) {
        let mut reads = lock(&self.interrupts.0);
        reads.requests += 1;
        reads.all.iter().for_each(|(_, read)| read.interrupt());
    }

    /// Closes the reading connections for good.
    pub(crate) fn close(&self) {
        self.readers.close();
    }
}

impl Interrupts {
    fn begin(&self, connection: &Connection, requests: u64) -> Result<Reading<'_>, Error> {
        let mut reads = lock(&self.0);
        if reads.requests != requests {
            return Err(Error::new(ErrorKind::Interrupted, "the read was interrupted, as was asked for"));
        }
        reads.last += 1;
        let number = reads.last;
        reads.all.push((number, connection.get_interrupt_handle()));
        Ok(Reading { interrupts: self, number })
    }
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        lock(&self.interrupts.0).all.retain(|(number, _)| *number != self.number);
    }
}

impl LongRead<'_> {
    /// Runs `look` on one snapshot of the file.
    ///
    /// # Errors
    /// Those of `look`, and those of getting a connection; `Interrupted`.
    pub(crate) fn read<R>(&self, look: impl FnOnce(&Connection) -> Sql<R>) -> Result<R, Error> {
        self.snapshots.read(|conn| {
            let _reading = self.snapshots.interrupts.begin(conn, self.requests)?;
            look(conn)
        })
    }
}
