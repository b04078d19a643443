//! The queue's threads as they are, without its public face.

use std::sync::Arc;

pub mod runtime;
mod threads;
mod wake_ups;

/// What a handler would get.
pub struct Queue {
    pub runtime: Arc<runtime::threads::Runtime>,
}
