//! What a handler sees: its [`Context`], and the [`Failure`] that it may return.
//!
//! It declares the [`Port`] through which an attempt reaches the file, and knows nothing of SQL, queues or threads.

mod context;
mod control;
mod failure;
mod job_end;
mod port;
mod registry;
mod step_book;
mod steps;
mod upgrade;

pub use context::{Context, StopReason};
pub(crate) use control::Control;
pub use failure::Failure;
pub use job_end::{Ended, JobFailure};
pub(crate) use port::{Finished, Note, Port, Start};
pub(crate) use registry::{OutsideHandler, Registry, in_handler};
