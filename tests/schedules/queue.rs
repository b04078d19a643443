//! The queue's threads as they are, without its public face.

use std::sync::Arc;

pub mod engine;
mod threads;
mod wake_ups;

/// What a handler would get.
pub struct Queue {
    pub engine: Arc<engine::threads::Engine>,
}
