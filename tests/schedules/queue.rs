//! The queue's threads as they are, without its public face.

use std::sync::Arc;

#[path = "../../src/queue/attempts.rs"]
pub mod attempts;
#[path = "../../src/queue/core.rs"]
pub mod core;
#[path = "../../src/queue/dispatcher.rs"]
pub mod dispatcher;
#[path = "../../src/queue/handle.rs"]
pub mod handle;
#[path = "../../src/queue/handover.rs"]
pub mod handover;
#[path = "../../src/queue/hub.rs"]
pub mod hub;
#[path = "../../src/queue/obstacle.rs"]
pub mod obstacle;
#[path = "../../src/queue/pace.rs"]
pub mod pace;
#[path = "../../src/queue/siblings.rs"]
pub mod siblings;
#[path = "../../src/queue/signal.rs"]
pub mod signal;
#[path = "../../src/queue/ticks.rs"]
pub mod ticks;
#[path = "../../src/queue/wal_alarm.rs"]
pub mod wal_alarm;

mod threads;
mod wake_ups;

/// There is no WAL and nothing ages.
pub mod housekeeping {
    use super::core::Core;
    use crate::sync::Receiver;
    use std::sync::Arc;

    pub struct Housekeeping;

    impl Housekeeping {
        pub fn new(_: Arc<Core>) -> Housekeeping {
            Housekeeping
        }

        pub fn run(self, stop: &Receiver<()>) {
            let _ = stop.recv();
        }
    }
}

/// What a handler would get.
pub struct Queue {
    pub handle: Arc<handle::Handle>,
}
