//! The rows of the table, in its order.

use std::error::Error;

use crate::Asked;
use crate::report::Report;
use crate::rows;

/// A row, or a group that is measured together.
pub struct Entry {
    /// What `cargo bench --features trace -- WORD` picks by.
    pub name: &'static str,
    /// Takes minutes: left out with `--quick`, unless asked for by name.
    pub whole_only: bool,
    pub run: fn(&Asked, &mut Report) -> Result<(), Box<dyn Error>>,
}

const fn row(name: &'static str, run: fn(&Asked, &mut Report) -> Result<(), Box<dyn Error>>) -> Entry {
    Entry { name, whole_only: false, run }
}

pub const ROWS: &[Entry] = &[
    row("statements", rows::enqueue::statements),
    row("enqueue-one", rows::enqueue::one_by_one),
    row("enqueue-callers", rows::enqueue::callers),
    row("enqueue-batch", rows::enqueue::batches),
    row("drain", rows::drain::drain),
    row("start", rows::start::start),
];
