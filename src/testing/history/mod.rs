//! Histories: what happened to a queue as plain data, and a check that this keeps the promises.
//!
//! A [`HistoryRecorder`] records enqueues, starts and ends of handlers, crashes, and readings of
//! the file; [`check_history`] is a pure function that checks the invariants. Both work with any
//! queue, with threads or without, and across processes: events are serde data, so a child can
//! print them, be killed, and have its history checked by its parent.
//!
//! Until 1.0, a minor version may change this module: semantic versioning does not cover it.
//!
//! ```
//! use perdura::testing::{HistoryRecorder, check_history};
//! use perdura::{Context, Failure, Options, Queue, SystemClock, Task};
//!
//! #[derive(serde::Serialize, serde::Deserialize)]
//! struct Greet { name: String }
//! impl Task for Greet {
//!     const NAME: &'static str = "greet";
//!     type Output = String;
//! }
//!
//! let recorder = HistoryRecorder::new(SystemClock::new());
//! recorder.opened(2);
//! let handler = recorder.handler(|task: Greet, _: &Context| Ok::<_, Failure>(format!("hello {}", task.name)));
//! let queue = Queue::builder().workers(2).handle(handler).open_temporary()?;
//! for name in ["ada", "grace", "edsger"] {
//!     recorder.enqueue(&queue, &Greet { name: name.into() }, Options::new())?;
//! }
//! queue.drain()?;
//! recorder.observe(&queue)?;
//! check_history(&recorder.history())?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod bounds;
mod check;
mod effects;
mod event;
mod keys;
mod known;
mod observed;
mod recorder;
mod starts;
mod ticks;

pub use check::check_history;
pub use event::{
    Asked, AskedLimit, Bound, Event, History, HowEnded, Invariant, Made, Observation, Replaces, Seen,
    Violation,
};
pub use recorder::HistoryRecorder;
