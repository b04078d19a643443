//! The threads of the queue, as they are.

#[path = "../../../src/queue/engine/attempts.rs"]
pub mod attempts;
#[path = "../../../src/queue/engine/claim_gate.rs"]
pub mod claim_gate;
#[path = "../../../src/queue/engine/claimer.rs"]
pub mod claimer;
#[path = "../../../src/queue/engine/core.rs"]
pub mod core;
#[path = "../../../src/queue/engine/dispatcher.rs"]
pub mod dispatcher;
#[path = "../../../src/queue/engine/followers.rs"]
pub mod followers;
#[path = "../../../src/queue/engine/obstacle.rs"]
pub mod obstacle;
#[path = "../../../src/queue/engine/ownership.rs"]
pub mod ownership;
#[path = "../../../src/queue/engine/port.rs"]
pub mod port;
#[path = "../../../src/queue/engine/prefetch.rs"]
pub mod prefetch;
#[path = "../../../src/queue/engine/running.rs"]
pub mod running;
#[path = "../../../src/queue/engine/shared.rs"]
pub mod shared;
#[path = "../../../src/queue/engine/siblings.rs"]
pub mod siblings;
#[path = "../../../src/queue/engine/signal.rs"]
pub mod signal;
#[path = "../../../src/queue/engine/threads.rs"]
pub mod threads;
#[path = "../../../src/queue/engine/ticks.rs"]
pub mod ticks;
#[path = "../../../src/queue/engine/wal_alarm.rs"]
pub mod wal_alarm;
#[path = "../../../src/queue/engine/workers.rs"]
pub mod workers;

/// There is no WAL and nothing ages.
pub mod maintenance {
    use super::core::Core;
    use crate::sync::Receiver;
    use std::sync::Arc;

    pub struct Maintenance;

    impl Maintenance {
        pub fn new(_: Arc<Core>) -> Maintenance {
            Maintenance
        }

        pub fn run(self, stop: &Receiver<()>) {
            let _ = stop.recv();
        }
    }
}
