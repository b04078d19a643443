//! The threads of the queue, as they are.

#[path = "../../../src/queue/runtime/attempts.rs"]
pub mod attempts;
#[path = "../../../src/queue/runtime/claim_gate.rs"]
pub mod claim_gate;
#[path = "../../../src/queue/runtime/claimer.rs"]
pub mod claimer;
#[path = "../../../src/queue/runtime/core.rs"]
pub mod core;
#[path = "../../../src/queue/runtime/dispatcher.rs"]
pub mod dispatcher;
#[path = "../../../src/queue/runtime/engine_queues.rs"]
pub mod engine_queues;
#[path = "../../../src/queue/runtime/engine_threads.rs"]
pub mod engine_threads;
#[path = "../../../src/queue/runtime/obstacle.rs"]
pub mod obstacle;
#[path = "../../../src/queue/runtime/ownership.rs"]
pub mod ownership;
#[path = "../../../src/queue/runtime/port.rs"]
pub mod port;
#[path = "../../../src/queue/runtime/prefetch.rs"]
pub mod prefetch;
#[path = "../../../src/queue/runtime/running.rs"]
pub mod running;
#[path = "../../../src/queue/runtime/shared.rs"]
pub mod shared;
#[path = "../../../src/queue/runtime/siblings.rs"]
pub mod siblings;
#[path = "../../../src/queue/runtime/signal.rs"]
pub mod signal;
#[path = "../../../src/queue/runtime/threads.rs"]
pub mod threads;
#[path = "../../../src/queue/runtime/timer_duties.rs"]
pub mod timer_duties;
#[path = "../../../src/queue/runtime/wal_alarm.rs"]
pub mod wal_alarm;
#[path = "../../../src/queue/runtime/workers.rs"]
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
