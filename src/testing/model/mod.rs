//! A model of the queue, to compare a real one with: the life of a task, without a file.
//!
//! [`Model`] is the specification. It says what each [`Operation`] answers and what the tasks look like after it: states, the order
//! of claims, waits and jumps of the clock, refunds, unique keys, limits of keys, limits and rates of queues, holds, lost attempts, dead letters, ages, crashes between any two
//! commits. It is written from the rules alone and shares no code with the queue. [`Pair`] gives the same operations to a
//! [`SteppedQueue`](super::SteppedQueue) and to the model, and compares after each.
//!
//! What the tasks do is a [`Workload`]: [`Script`] is the one that perdura's own tests use; a program's own tasks take one `impl`.
//! With the feature `proptest`, `perdura::testing::proptest` makes the operations.
//!
//! Until 1.0, a minor version may change this module: it is outside the promises of semantic versioning.
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
