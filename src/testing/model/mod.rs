//! A model of the queue, to compare a real one with: the life of a task, without a file.
//!
//! [`Model`] is the specification. It says what each [`Command`] answers and what the tasks look like after it: states, the order
//! of claims, waits and jumps of the clock, refunds, unique keys, limits of keys, limits and rates of queues, holds, lost attempts, dead letters, ages, crashes between any two
//! commits. It is written from the rules alone and shares no code with the queue. [`Pair`] gives the same commands to a
//! [`SteppedQueue`](super::SteppedQueue) and to the model, and compares after each.
//!
//! What the tasks do is a [`Workload`]: [`Script`] is the one that perdura's own tests use; a program's own tasks take one `impl`.
//! With the feature `proptest`, `perdura::testing::proptest` makes the commands.
//!
//! Until 1.0, a minor version may change this module: it is outside the promises of semantic versioning.
//!
//! ```
//! use perdura::testing::model::{Command, Pair, Program, Script};
//! use perdura::{Config, Options};
//!
//! let mut pair = Pair::<Script>::new(&Config::default())?;
//! for command in [
//!     Command::Enqueue(Script::FailUntil(2), Options::new().queue("b")),
//!     Command::RunOne,
//!     Command::Crash(Program::Whole),
//!     Command::Advance(std::time::Duration::from_secs(60)),
//!     Command::RunOne,
//! ] {
//!     pair.apply(&command)?;
//! }
//! pair.finish()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod bounds;
mod bytes;
mod command;
mod conditions;
mod keys;
mod life;
mod manage;
mod pair;
mod permits;
mod script;
mod steps;
mod task;
mod workload;

pub use bytes::decode;
pub use command::{Answer, Command, Invalid, Nth, Program};
pub use life::Model;
pub use pair::{Difference, Pair};
pub use script::Script;
pub use task::{ModelLetter, ModelLimit, ModelTask};
pub use workload::{Act, Ending, ModelAttempt, Workload};
