//! What can be read of a schedule.

use std::time::Duration;

use serde::{Serialize, Serializer};

use super::rules::{Missed, Overlap};
use crate::task::{TaskId, Timestamp};

/// What a schedule follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ScheduleKind {
    /// A cron pattern.
    Cron,
    /// A period.
    Every,
    /// The ends of its runs.
    AfterEnd,
}

/// Whether a schedule makes tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ScheduleStatus {
    /// It does.
    Active,
    /// Not until somebody resumes it.
    Paused,
    /// A program has declared it once, and the newest program that executed and declared any has not.
    Disabled,
    /// It is invalid, or this program cannot read it: [`ScheduleRecord::broken`] says why.
    Broken,
    /// It has no more ticks: its [`until`](crate::Schedule::until) is over.
    Over,
}

/// Everything about a schedule but its args. Made by [`Queue::schedules`](crate::Queue::schedules).
///
/// Serialises under these names, times as RFC 3339, lengths of time as milliseconds with `_ms` at the end of their names, what is absent
/// as null. Of a broken schedule only what can be read is there.
///
/// ```
/// # use perdura::{Queue, Schedule, ScheduleKind};
/// # use std::time::Duration;
/// # #[derive(serde::Serialize, serde::Deserialize)] struct Sync;
/// # impl perdura::Task for Sync { const NAME: &'static str = "sync"; type Output = (); }
/// # let queue = Queue::builder().open_temporary()?;
/// queue.set_schedule(Schedule::every("sync", Duration::from_secs(900)), &Sync)?;
/// let schedule = queue.schedule("sync")?;
/// assert_eq!((schedule.kind, schedule.task_name.as_deref()), (Some(ScheduleKind::Every), Some("sync")));
/// # Ok::<(), perdura::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ScheduleRecord {
    /// Its name.
    pub schedule: String,
    /// What it follows.
    pub kind: Option<ScheduleKind>,
    /// Its cron pattern.
    pub pattern: Option<String>,
    /// The time zone of its pattern; none: local time.
    pub time_zone: Option<String>,
    /// Its pattern in words, if this program has the feature `cron`.
    pub words: Option<String>,
    /// Its period, or the time from the end of a run to the next.
    #[serde(rename = "period_ms", serialize_with = "millis")]
    pub period: Option<Duration>,
    /// What becomes of missed ticks.
    pub missed: Option<Missed>,
    /// How old a missed tick may be, if that was set.
    #[serde(rename = "grace_ms", serialize_with = "millis")]
    pub grace: Option<Duration>,
    /// What a tick does while the run before is live.
    pub overlap: Option<Overlap>,
    /// How much later than its tick a run is made at most.
    #[serde(rename = "jitter_ms", serialize_with = "millis")]
    pub jitter: Option<Duration>,
    /// No tick after this time fires.
    pub until: Option<Timestamp>,
    /// The name of its tasks.
    pub task_name: Option<String>,
    /// The queue of its tasks.
    pub queue: Option<String>,
    /// Whether a program declares it with [`Builder::schedule`](crate::Builder::schedule).
    pub declared: bool,
    /// Whether it makes tasks.
    pub status: ScheduleStatus,
    /// Why it does not, if it is broken.
    pub broken: Option<String>,
    /// Its next tick; none if it has none, or not before its run has ended.
    pub next_tick: Option<Timestamp>,
    /// When that makes its run: later by its jitter. None unless it is active.
    pub fires_at: Option<Timestamp>,
    /// The newest tick that fired or was passed over, or when the schedule was made.
    pub last_tick: Timestamp,
    /// The newest run that one of its ticks has made, as long as that is kept as a task or a dead letter. Runs by hand are none.
    pub last_run: Option<TaskId>,
    /// Ticks that made a task.
    pub fired: u64,
    /// Ticks that made none because nobody fired them in their time. Those of a cron pattern are counted up to 1000 at a time.
    pub missed_ticks: u64,
    /// Ticks that made none because of a run before, or of another task with the same unique key.
    pub left_out: u64,
}

fn millis<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    duration.map(|d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX)).serialize(serializer)
}
