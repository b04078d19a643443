//! All SQL, and all knowledge of the file.
//!
//! Four modules, each of which uses only those before it: `file` is the file and its connections,
//! `commit` puts many writes into one transaction, `tasks` holds the writes, `query` the reads.
//! [`Store`] combines them for one open file. Writes are functions of [`Tx`], so that they compose;
//! reads are functions of a read-only connection.
//! The store is told the time and never reads a clock. It starts no thread of its own (the readers'
//! thread belongs to their pool) and knows no handler.

mod commit;
mod error;
mod file;
mod opened;
mod query;
mod tasks;

#[cfg(feature = "rusqlite")]
pub(crate) use commit::alone::CallerTx;
pub(crate) use commit::commit_queue::Rank;
pub(crate) use commit::effects::Effects;
pub(crate) use commit::tx::{StartLeave, Tx};
pub(crate) use commit::wal_keeper::WalKeeper;
pub(crate) use commit::writer::CommitHook;
pub(crate) use error::Sql;
pub(crate) use file::checkpoint::{CHECKPOINT_PAGES, warn_of_wal_reset_bug};
pub(crate) use file::free_disk::FreeDisk;
pub(crate) use file::free_pages::{read_free_list, return_free_pages};
pub use file::holder::Owner;
pub(crate) use file::identity::FileKey;
#[cfg(feature = "rusqlite")]
pub(crate) use file::opening::OnConnection;
pub(crate) use file::opening::{Location, Opening, Settings};
pub(crate) use file::owner_lock::{Notes, OwnerLock, StartNote};
pub(crate) use file::pragmas::data_version;
pub(crate) use file::statistics::forget_statistics;
#[cfg(test)]
pub(crate) use file::temporary::TemporaryFolder;
pub use file::wal_frames::WalReport;
pub(crate) use opened::Store;
pub(crate) use query::backup::backup;
pub use query::check::CheckReport;
pub(crate) use query::check::{check_step, check_steps};
pub(crate) use query::export::export;
pub use query::inspect::{FileReport, PragmaReport};
pub(crate) use query::records::{
    Flags, args, attempts, checkpoint, counts, flags, permit_holders, queue_flags, ready_before, record,
    result, served, waits_until,
};
pub(crate) use query::schedules::{
    next_schedules, preview, run_before, schedule, schedule_args, schedules, tick,
};
pub(crate) use query::stats::{count_from, failures, output, ready_since};
pub(crate) use tasks::admin::{Verb, apply_all, apply_one, set_paused};
pub(crate) use tasks::before_commit::lift;
pub(crate) use tasks::claim::claim;
pub(crate) use tasks::condition_waits::{
    DISK_INTERVAL, DISK_PASS_START, DiskPass, Said, lift_by_disk, lift_met, say_again, set_condition,
};
pub(crate) use tasks::conditions::{condition_duty, conditions, has_conditions, met};
pub(crate) use tasks::dead_letters::{get_dead_letter, old_dead_letters, purge_dead_letters, replay};
pub(crate) use tasks::edit::{Edit, EditedArgs, edit};
pub(crate) use tasks::enqueue::{enqueue, find_token};
pub(crate) use tasks::epoch::{EngineLanes, OwnerSettings, check_epoch, queue_list, retention};
#[cfg(feature = "rusqlite")]
pub(crate) use tasks::fence::check_fence;
pub(crate) use tasks::gates::{
    changed, close_for_engine, closed_why, mend_jumps, open_again, openings, set_limit, set_rate,
};
pub(crate) use tasks::jobs::{accept, args_of, engines, jobs, spec};
pub(crate) use tasks::keys::{digest, keys_from_the_future, old_keys, tidy_keys};
pub(crate) use tasks::outside_ends::{end_jobs, end_outside};
pub(crate) use tasks::promote::{
    clock_has_run_on, clock_jumped, has_unknown_names, is_due, next_due, next_start, promote,
};
pub(crate) use tasks::purge::{Ages, drop_counters, idle_queues, old, purge};
pub(crate) use tasks::ready::is_at_work;
pub(crate) use tasks::recover::{Recovered, recover};
pub(crate) use tasks::rollups::rollups;
pub(crate) use tasks::schedule_admin::{
    Declared, pause_schedule, reconcile, remove_schedule, resume_schedule, run_schedule_now, set_schedule,
};
pub(crate) use tasks::schedules::{Fired, fire, next_tick};
pub(crate) use tasks::search::{Among, Order, Search};
#[cfg(feature = "rusqlite")]
pub(crate) use tasks::settle::succeed;
pub(crate) use tasks::settle::{SettleRules, TASK_LOST, fall_silent, save_checkpoint, save_pending, settle};
pub(crate) use tasks::steps::{idempotency_key, save_step, sleeps, step_keys, step_result, steps};
pub(crate) use tasks::suspects::spare;
pub(crate) use tasks::unhandled::{Lifting, lift_known};
