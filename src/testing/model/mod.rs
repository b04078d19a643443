//! A model of the queue in memory, to compare a real queue with.
//!
//! [`Model`] is the specification. It gives the answer of each [`Operation`] and the tasks after
//! it: states, the order of claims, waits and jumps of the clock, refunds, unique keys, limits of
//! keys, limits and rates of queues, conditions, holds, lost attempts, dead letters, retention,
//! crashes between any two commits. It is written from the rules and shares only plain values with
//! the queue (ids, states, options, configuration). [`Pair`] applies the same operations to a
//! [`SteppedQueue`](super::SteppedQueue) and to the model, and compares them after each.
//!
//! A [`Workload`] says what the tasks do: [`Script`] is that of perdura's own tests; a program's
//! own tasks need one `impl`. With the feature `proptest`, `perdura::testing::proptest` generates
//! the operations.
//!
//! Until 1.0, a minor version may change this module: semantic versioning does not cover it.
//!
//! ```
//! use perdura::testing::model::{Operation, Pair, Program, Script};
//! use perdura::{Config, Options};
//!
//! let mut pair = Pair::<Script>::new(&Config::default())?;
//! for operation in [
//!     Operation::Enqueue(Script::FailUntil(2), Options::new().queue("b")),
//!     Operation::RunOne,
//!     Operation::Crash(Program::Whole),
//!     Operation::Advance(std::time::Duration::from_secs(60)),
//!     Operation::RunOne,
//! ] {
//!     pair.apply(&operation)?;
//! }
//! pair.finish()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod bounds;
mod bytes;
mod commits;
mod conditions;
mod keys;
mod life;
mod manage;
mod operation;
mod pair;
mod permits;
mod script;
mod task;
mod workload;

pub use bytes::decode;
pub use life::Model;
pub use operation::{Answer, Invalid, Nth, Operation, Program};
pub use pair::{Difference, Pair};
pub use script::Script;
pub use task::{ModelLetter, ModelLimit, ModelTask};
pub use workload::{Act, Ending, ModelAttempt, Workload};
