//! All integration tests, in one binary. They go through the front door, never sleep for luck, and each takes a few lines.

mod support;

mod basics;
mod model;
mod model_based;
