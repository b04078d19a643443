//! The rows of the table, in its order, and the curves.

use std::error::Error;

use crate::report::Report;
use crate::rows::{
    beside, curves, drain, enqueue, growth, limits, neighbours, retry, schedules, start, tails, waits, wear,
    weight,
};
use crate::{Asked, idle};

type Run = fn(&Asked, &mut Report) -> Result<(), Box<dyn Error>>;

/// A row, or a group that is measured together.
pub struct Entry {
    /// What `cargo bench --features sql-log -- WORD` picks by.
    pub name: &'static str,
    /// Takes long: left out with `--quick`, unless asked for by name.
    pub whole_only: bool,
    pub run: Run,
}

const fn quick(name: &'static str, run: Run) -> Entry {
    Entry { name, whole_only: false, run }
}

const fn whole(name: &'static str, run: Run) -> Entry {
    Entry { name, whole_only: true, run }
}

pub const ROWS: &[Entry] = &[
    quick("statements", enqueue::statements),
    quick("enqueue-one", enqueue::one_by_one),
    quick("enqueue-callers", enqueue::callers),
    quick("enqueue-batch", enqueue::batches),
    quick("drain", drain::drain),
    quick("start", start::start),
    quick("tails", tails::tails),
    quick("wear", wear::args),
    quick("promote", growth::promote),
    quick("retry", retry::lateness),
    quick("open", growth::open),
    quick("serial-keys", limits::drains),
    quick("key-waiters", limits::waiters),
    quick("schedules-due", schedules::due),
    quick("conditions", waits::waiters),
    whole("claim", growth::claims),
    whole("beside", beside::beside),
    quick("waiters", neighbours::waiters),
    whole("processes", neighbours::processes),
    whole("long-reader", neighbours::reader),
    whole("idle", idle::idle),
    whole("weight", weight::weight),
    whole("curve-callers", curves::callers),
    whole("curve-workers", curves::workers),
    whole("curve-wear", wear::curve),
];
