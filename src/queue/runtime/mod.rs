//! What runs tasks: the threads, what they share, and the steps that they (and the testing kit without threads) call.
//!
//! It knows nothing of the public face of the queue.

pub(crate) mod attempts;
pub(crate) mod claim_gate;
pub(crate) mod claimer;
pub(crate) mod clock_guard;
pub(crate) mod core;
pub(crate) mod dispatcher;
pub(crate) mod engine_queues;
pub(crate) mod engine_threads;
pub(crate) mod maintenance;
pub(crate) mod new_task;
pub(crate) mod obstacle;
pub(crate) mod open_files;
pub(crate) mod ownership;
pub(crate) mod port;
pub(crate) mod prefetch;
pub(crate) mod running;
pub(crate) mod shared;
pub(crate) mod siblings;
pub(crate) mod signal;
pub(crate) mod threads;
pub(crate) mod timer_duties;
pub(crate) mod wal_alarm;
pub(crate) mod workers;

#[cfg(test)]
mod tests;
