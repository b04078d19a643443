//! The testing kit: queues without threads and a clock that a test moves, for tests that do not
//! sleep and are deterministic.
//!
//! A [`SteppedQueue`] has the same file, the same SQL and the same steps as a
//! [`Queue`](crate::Queue), but nothing happens unless the test calls for it, and time passes only
//! on its [`ManualClock`].
//!
//! ```
//! use perdura::testing::{ManualClock, SteppedQueue};
//! use perdura::{Failure, Queue, State};
//! use std::time::Duration;
//!
//! #[derive(serde::Serialize, serde::Deserialize)]
//! struct Flaky;
//! impl perdura::Task for Flaky {
//!     const NAME: &'static str = "flaky";
//!     type Output = ();
//! }
//!
//! let clock = ManualClock::new();
//! let builder = Queue::builder().clock(clock.clone()).handle(|_: Flaky, cx: &perdura::Context| match cx.attempt_number() {
//!     1 => Err(Failure::named("network.down", "no route")),
//!     _ => Ok(()),
//! });
//! let mut tests = SteppedQueue::open(builder, &clock)?;
//! let id = tests.queue().enqueue(&Flaky)?.id();
//! tests.run_until_idle()?;
//! assert_eq!(tests.queue().get(id)?.error_type.as_deref(), Some("network.down"));
//! tests.advance(Duration::from_secs(60))?; // the backoff of the first retry
//! tests.run_until_idle()?;
//! assert_eq!(tests.queue().get(id)?.state, State::Succeeded);
//! # Ok::<(), perdura::Error>(())
//! ```

mod assertions;
mod clock;
mod engine;
pub mod history;
pub mod model;
#[cfg(feature = "proptest")]
pub mod proptest;
mod stepped;

pub use crate::crash::{CrashMoment, CrashPoint};
pub use assertions::{EnqueuedTask, Performed};
pub use clock::ManualClock;
pub use engine::{EngineCalls, EngineCases, ScriptedEngine, StartFault, check_engine};
pub use history::{History, HistoryRecorder, Invariant, Violation, check_history};
/// Faults below SQLite: failing operations, a full disk, power cuts. Open the queue with
/// [`Builder::vfs`](crate::Builder::vfs) and [`faults::VFS`].
#[cfg(feature = "faults")]
pub use perdura_faultvfs as faults;
pub use stepped::{Crashed, Ran, RunSummary, SteppedQueue, at_every_commit};
