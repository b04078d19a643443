//! The real queue of writes, over the transaction of the table.

#[path = "../../../src/store/commit/commit_queue.rs"]
pub mod commit_queue;

use super::tx;
