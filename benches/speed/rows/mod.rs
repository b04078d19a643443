//! What is measured.

pub mod beside;
pub mod curves;
pub mod drain;
pub mod enqueue;
pub mod growth;
pub mod limits;
pub mod neighbours;
pub mod retry;
pub mod schedules;
pub mod start;
pub mod tails;
pub mod waits;
pub mod wear;
pub mod weight;
