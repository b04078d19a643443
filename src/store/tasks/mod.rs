//! The writes: what happens to tasks, each a function of a transaction, so that they compose.

pub(crate) mod admin;
pub(crate) mod before_commit;
pub(crate) mod claim;
pub(crate) mod counts;
pub(crate) mod damaged;
pub(crate) mod dead_letters;
pub(crate) mod enqueue;
pub(crate) mod epoch;
pub(crate) mod gates;
pub(crate) mod keys;
pub(crate) mod names;
pub(crate) mod promote;
pub(crate) mod purge;
pub(crate) mod ready;
pub(crate) mod recover;
pub(crate) mod remove;
pub(crate) mod replace;
pub(crate) mod rollups;
pub(crate) mod row;
pub(crate) mod run_ends;
pub(crate) mod runs;
pub(crate) mod schedule_admin;
pub(crate) mod schedules;
pub(crate) mod search;
pub(crate) mod settle;
pub(crate) mod suspects;
