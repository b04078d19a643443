//! The sections of the page.

mod conditions;
mod failures;
mod file;
mod queues;
mod schedules;
mod section;
mod task_label;
mod tasks;
mod times;
mod worker;

pub(super) use conditions::conditions;
pub(super) use failures::{failures, letters};
pub(super) use file::file;
pub(super) use queues::queues;
pub(super) use schedules::schedules;
pub(super) use tasks::tasks;
pub(super) use times::{activity, times};
pub(super) use worker::worker;
