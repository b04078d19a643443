//! Reads that go on, so that somebody may end them.

use rusqlite::{Connection, InterruptHandle};

use crate::sync::{Mutex, lock};

/// The reads of one store.
#[derive(Default)]
pub(super) struct Interrupts(Mutex<Reads>);

#[derive(Default)]
struct Reads {
    last: u64,
    all: Vec<(u64, InterruptHandle)>,
}

/// A read that goes on until this is dropped.
pub(super) struct Reading<'i> {
    interrupts: &'i Interrupts,
    number: u64,
}

impl Interrupts {
    /// A read begins on this connection.
    pub(super) fn begin(&self, connection: &Connection) -> Reading<'_> {
        let mut reads = lock(&self.0);
        reads.last += 1;
        let number = reads.last;
        reads.all.push((number, connection.get_interrupt_handle()));
        Reading { interrupts: self, number }
    }

    /// Ends the statements that run now. No read ends meanwhile, so none that begins later on its connection is meant.
    pub(super) fn interrupt(&self) {
        lock(&self.0).all.iter().for_each(|(_, read)| read.interrupt());
    }
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        lock(&self.interrupts.0).all.retain(|(number, _)| *number != self.number);
    }
}
