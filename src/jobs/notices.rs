//! Tells the user why an idle worker waits. Each reason is written once, until it changes.

use std::path::Path;
use std::time::Duration;

use super::worker_output::WorkerOutput;
use crate::console::text::safe;
use crate::console::words::count;
use crate::{QueueCounts, TaskRecord};

/// Interval between counts of waiting tasks while nothing runs.
const COUNT_INTERVAL: Duration = Duration::from_secs(1);

/// How many queues, or tasks, a line names at most.
const MAX_NAMED: usize = 5;

/// Whether a worker runs the tasks of the file.
#[derive(PartialEq)]
pub(super) enum FileOwnership {
    Owner,
    /// Another process does; this one comes next.
    Next,
    /// The obstacle.
    Hindered(String),
}

/// What was last reported.
#[derive(Default)]
pub(super) struct WaitNotices {
    ownership: Option<FileOwnership>,
    /// The queues of which it was said that their tasks wait.
    waits: Vec<String>,
    /// When it last looked, on the monotonic clock.
    looked: Option<Duration>,
    told_outside: bool,
}

impl WaitNotices {
    pub(super) fn tell(&mut self, now: FileOwnership, file: &Path, output: &WorkerOutput) {
        if self.ownership.as_ref() == Some(&now) {
            return;
        }
        let file = file.display();
        match (&now, &self.ownership) {
            (FileOwnership::Owner, None) => {}
            (FileOwnership::Owner, Some(FileOwnership::Hindered(_))) => {
                output.remark(format_args!("running the tasks of {file}"))
            }
            (FileOwnership::Owner, Some(_)) => {
                output.remark(format_args!("the other process has ended; running the tasks of {file}"))
            }
            (FileOwnership::Next, Some(FileOwnership::Owner)) => {
                output.remark(format_args!("another process has taken over the tasks of {file}"))
            }
            (FileOwnership::Next, _) => output.remark(format_args!(
                "another process runs the tasks of {file}; waiting until it ends, then taking over"
            )),
            (FileOwnership::Hindered(why), _) => output
                .remark(format_args!("the tasks of {file} cannot be run, trying again each second: {why}")),
        }
        self.ownership = Some(now);
    }

    /// Whether it is time to count the waiting tasks.
    pub(super) fn is_due(&mut self, now: Duration) -> bool {
        let is_due = self.looked.is_none_or(|looked| now.saturating_sub(looked) >= COUNT_INTERVAL);
        if is_due {
            self.looked = Some(now);
        }
        is_due
    }

    /// Whether [`tell_outside`](WaitNotices::tell_outside) has said something.
    pub(super) fn has_told_outside(&self) -> bool {
        self.told_outside
    }

    /// Says that only these tasks are left: their work is outside, and not at an engine of this worker.
    pub(super) fn tell_outside(&mut self, tasks: &[TaskRecord], output: &WorkerOutput) {
        if tasks.is_empty() {
            return;
        }
        self.told_outside = true;
        let ids: Vec<_> = tasks.iter().take(MAX_NAMED).map(|task| task.task_id.to_string()).collect();
        let more = if tasks.len() > ids.len() { ", …" } else { "" };
        output.remark(format_args!(
            "waiting for {} whose work is outside ({}{more}); `perdura explain ID` says for what",
            count(tasks.len() as u64, "task"),
            ids.join(", ")
        ));
    }

    /// Says what keeps the tasks of its queues waiting, if somebody has to do something about it.
    pub(super) fn tell_waits<'q>(
        &mut self,
        queues: impl Iterator<Item = (&'q String, &'q QueueCounts)>,
        output: &WorkerOutput,
    ) {
        let mut queues = queues.filter(|(_, counts)| counts.queued() > 0).collect::<Vec<_>>();
        let is_owner = self.ownership == Some(FileOwnership::Owner);
        match self.ownership {
            Some(FileOwnership::Owner) if queues.iter().all(|(_, counts)| counts.paused) => {}
            Some(FileOwnership::Next) => queues.retain(|(_, counts)| counts.not_served && !counts.paused),
            _ => queues.clear(),
        }
        let names: Vec<String> = queues.iter().map(|(name, _)| (*name).clone()).collect();
        if !names.is_empty() && names != self.waits {
            let (tasks, names) = of(&queues);
            output.remark(match is_owner {
                true => format!("nothing to run: {tasks} in paused queues ({names}); `perdura resume QUEUE` lets them run"),
                false => format!(
                    "the other process does not take the queues of {tasks} ({names}): they start when it has ended"
                ),
            });
        }
        self.waits = names;
    }
}

/// How many tasks are in these queues, and their names.
fn of(queues: &[(&String, &QueueCounts)]) -> (String, String) {
    let tasks = queues.iter().fold(0_u64, |sum, (_, counts)| sum.saturating_add(counts.queued()));
    let names = queues.iter().take(MAX_NAMED).map(|(name, _)| safe(name).into_owned());
    let more = (queues.len() > MAX_NAMED).then(|| "…".to_owned());
    (count(tasks, "task"), names.chain(more).collect::<Vec<_>>().join(", "))
}
