//! All integration tests, in one binary. They go through the front door, never sleep for luck, and each takes a few lines.
//! Tests of a promise begin with its number (docs/guarantees.md).

mod support;

mod basics;
mod child;
mod kill;
mod model;
mod model_based;
mod processes;
