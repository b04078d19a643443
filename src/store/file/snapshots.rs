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
    /// Set when a test has let the process of the file die.
    is_dead: Arc<AtomicBool>,
}

/// The long reads that go on.
#[derive(Default)]
struct Interrupts(Mutex<Reads>);

#[derive(Default)]
struct Reads {
    /// How often somebody has asked for the end of all looks.
    requests: u64,
    last: u64,
    all: Vec<(u64, InterruptHandle)>,
}

/// A look at a file that may take several reads. A request that comes after its beginning ends it, whichever read goes on then.
pub(crate) struct LongRead<'s> {
    snapshots: &'s Snapshots,
    /// The requests before it.
    requests: u64,
}

/// One read of it, until this is dropped.
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
        self.identity.check_still()?; // whatever was seen
        Ok(seen?)
    }

    /// A look that others may end.
    pub(crate) fn long_read(&self) -> LongRead<'_> {
        LongRead { snapshots: self, requests: lock(&self.interrupts.0).requests }
    }

    /// Ends the looks that go on now. No read ends meanwhile, so none that another begins later on its connection is meant.
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
