//! Long looks at a file, which somebody else may end.

use rusqlite::{Connection, InterruptHandle};

use crate::error::{Error, ErrorKind};
use crate::store::Store;
use crate::store::error::Sql;
use crate::sync::{Mutex, lock};

/// The looks of one store.
#[derive(Default)]
pub(crate) struct Interrupts(Mutex<Reads>);

#[derive(Default)]
struct Reads {
    /// How often somebody has asked for the end of all looks.
    requests: u64,
    last: u64,
    all: Vec<(u64, InterruptHandle)>,
}

/// A look at a file that may take several reads. A request that comes after its beginning ends it, whichever read goes on then.
pub(crate) struct Look<'s> {
    store: &'s Store,
    /// The requests before it.
    requests: u64,
}

/// One read of it, until this is dropped.
struct Reading<'i> {
    interrupts: &'i Interrupts,
    number: u64,
}

impl Interrupts {
    /// Ends the looks that go on now. No read ends meanwhile, so none that another begins later on its connection is meant.
    pub(crate) fn interrupt(&self) {
        let mut reads = lock(&self.0);
        reads.requests += 1;
        reads.all.iter().for_each(|(_, read)| read.interrupt());
    }

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

impl<'s> Look<'s> {
    pub(crate) fn new(store: &'s Store) -> Look<'s> {
        Look { store, requests: lock(&store.interrupts.0).requests }
    }

    /// Runs `look` on one snapshot of the file.
    ///
    /// # Errors
    /// Those of `look`, and those of getting a connection; `Interrupted`.
    pub(crate) fn read<R>(&self, look: impl FnOnce(&Connection) -> Sql<R>) -> Result<R, Error> {
        self.store.read(|conn| {
            let _reading = self.store.interrupts.begin(conn, self.requests)?;
            look(conn)
        })
    }
}
