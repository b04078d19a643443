//! All integration tests, in one binary. They go through the front door, never sleep for luck, and each takes a few lines.
//! Tests of a promise begin with its number (docs/guarantees.md).

mod support;

mod basics;
#[cfg(unix)]
mod checksum;
mod child;
mod concurrency;
mod disk;
mod histories;
mod history;
mod kill;
mod mending;
mod model_based;
mod order;
#[cfg(feature = "rusqlite")]
mod own_transaction;
#[cfg(all(feature = "trace", feature = "bundled"))]
mod plans;
mod processes;
mod refuse;
mod retry;
mod running;
mod walls;
