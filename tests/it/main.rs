//! All integration tests, in one binary. They go through the front door, never sleep for luck, and each takes a few lines.
//! Tests of a promise begin with its number (docs/guarantees.md).

mod helpers;

#[cfg(feature = "rusqlite")]
use helpers::deeds;
#[cfg(target_os = "linux")]
use helpers::loop_device;
use helpers::{bounded, child, engine_jobs, files, logger, support, told, workload};

mod ahead;
mod api;
mod basics;
mod bounds;
mod bulk;
#[cfg(unix)]
mod checksum;
#[cfg(target_os = "linux")]
mod clock;
mod concurrency;
mod conditions;
mod conditions_page;
mod corrupt;
mod differences;
mod documents;
mod edit;
#[cfg(feature = "rusqlite")]
mod effects_page;
mod endings;
mod engines;
#[cfg(all(unix, feature = "exec"))]
mod exec_engine;
mod explained;
mod fixtures;
#[cfg(unix)]
mod forked;
mod full_disk;
mod handlers;
mod heard;
mod histories;
mod history;
mod hostile;
#[cfg(unix)]
mod identity;
mod images;
mod io_errors;
mod kill;
mod kit;
mod looking;
mod loops;
mod mending;
mod model_based;
mod neighbours;
mod order;
#[cfg(feature = "rusqlite")]
mod outside;
mod outside_page;
mod own_transaction;
#[cfg(unix)]
mod panics;
mod permits;
#[cfg(all(feature = "sql-log", feature = "bundled"))]
mod plans;
#[cfg(target_os = "linux")]
mod power;
mod processes;
#[cfg(all(unix, feature = "ray"))]
mod ray;
mod refuse;
mod retention;
mod retry;
mod running;
#[cfg(feature = "cron")]
mod scale_page;
mod schedules_page;
#[cfg(unix)]
mod security;
#[cfg(target_os = "linux")]
mod soak;
mod steps;
#[cfg(target_os = "linux")]
mod surroundings;
mod suspects;
#[cfg(target_os = "linux")]
mod system;
#[cfg(feature = "faults")]
mod testing_page;
mod tick_histories;
mod ticks;
#[cfg(feature = "rusqlite")]
mod transactions;
mod unique;
mod upgrades;
mod values;
mod walls;
