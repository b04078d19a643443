//! The protocols, in every order that chance finds and every state that there is.
//!
//! The files of the crate are compiled here once more, with a `sync` of shuttle's threads beneath and a store in memory, so that a test
//! decides which thread runs when. `group_commit`, `wake_ups` and `threads` try orders of threads, thousands by chance and as many by PCT
//! (few, well-placed changes of the running thread). `owner` goes through every state of a few processes on one file.
#![allow(dead_code, unused_imports)] // parts of a crate, used in part

#[path = "../../src/clock.rs"]
mod clock;
#[path = "../../src/config.rs"]
mod config;
#[path = "../../src/error.rs"]
mod error;
#[path = "../../src/executor.rs"]
mod executor;
#[path = "../../src/handler/mod.rs"]
mod handler;
#[path = "../../src/json/mod.rs"]
mod json;
#[path = "../../src/lifecycle/mod.rs"]
mod lifecycle;
#[path = "../../src/logging.rs"]
mod logging;
#[path = "../../src/planted.rs"]
mod planted;
#[path = "../../src/retry.rs"]
mod retry;
#[path = "../../src/task/mod.rs"]
mod task;
#[path = "../../src/timer.rs"]
mod timer;

mod owner;
mod queue;
mod store;
mod sync;

#[path = "../it/helpers/support.rs"]
mod support;

use std::time::Duration;

use clock::Clock;
use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::{Config, FailurePersistence, MaxSteps, Runner};
use task::Timestamp;

/// Schedules of one round, by chance and by PCT: half each.
const ROUND: usize = 100;

/// Changes of the running thread that PCT places.
const PCT_DEPTH: usize = 3;

/// Tries a test in many orders: `in_ci` schedules, or for as long as `PERDURA_MINUTES` says.
pub fn explore(name: &str, in_ci: usize, test: impl Fn() + Send + Sync + 'static) {
    let (seed, began, test) = (support::seed(), std::time::Instant::now(), std::sync::Arc::new(test));
    let mut schedules = 0;
    for round in support::rounds((in_ci / ROUND) as u64) {
        let seed = seed.wrapping_add(round);
        let _told = ToldIfItFails(seed);
        run(RandomScheduler::new_from_seed(seed, ROUND / 2), test.clone());
        run(PctScheduler::new_from_seed(seed, PCT_DEPTH, ROUND / 2), test.clone());
        schedules += ROUND;
    }
    support::report(name, format_args!("{schedules} schedules in {:?}, seed {seed}", began.elapsed()));
}

/// Says which seed repeats a schedule that failed.
struct ToldIfItFails(u64);

impl Drop for ToldIfItFails {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("PERDURA_SEED={} repeats it", self.0);
        }
    }
}

fn run(scheduler: impl Scheduler + 'static, test: std::sync::Arc<impl Fn() + Send + Sync + 'static>) {
    let mut config = Config::new();
    config.stack_size = 512 * 1024; // a panic is formatted on it
    config.max_steps = MaxSteps::FailAfter(200_000);
    config.failure_persistence = FailurePersistence::None; // the seed repeats it
    config.silence_warnings = true;
    Runner::new(scheduler, config).run(move || test());
}

/// The clock of the schedules: it stands still until a test lets time pass.
pub struct StandingClock;

impl Clock for StandingClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(1_000_000).saturating_add(sync::now())
    }

    fn monotonic(&self) -> Duration {
        sync::now()
    }
}
