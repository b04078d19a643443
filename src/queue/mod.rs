//! The queue: where storage and execution meet. Nothing else sees both.
//!
//! `runtime` runs tasks: its steps are called by its threads, or by the testing kit without threads. The other files are what a program
//! sees, a file for each kind of thing that it may want.

mod bounds;
mod builder;
mod children;
mod complete;
mod dead_letters;
mod edit;
mod enqueue;
mod explain;
mod file;
mod handle;
mod handlers;
mod manage;
mod outside;
mod query;
mod runtime;
mod schedules;
mod stepper;
mod transaction;
mod wait;

pub use builder::Builder;
pub use dead_letters::DeadLetters;
pub use enqueue::Batch;
pub use explain::Explanation;
pub use handle::Queue;
pub use runtime::threads::ShutdownReport;
pub use stepper::Ran;
pub(crate) use stepper::{Remains, Stepper};
#[cfg(feature = "rusqlite")]
pub use transaction::Transaction;
