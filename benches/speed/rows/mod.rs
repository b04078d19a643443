//! What is measured.

pub mod drain;
pub mod enqueue;
pub mod start;
