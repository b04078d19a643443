//! What a worker that runs nothing waits for. It is said once, until it is something else.

use std::path::Path;
use std::time::Duration;

use super::output::Voice;
use crate::QueueCounts;
use crate::console::text::safe;
use crate::console::words::count;

/// How often it looks what is left to run, while it runs nothing.
const LOOK_AROUND: Duration = Duration::from_secs(1);

/// The most queues that a line names.
const MOST_NAMED: usize = 5;

/// Whether a worker runs the tasks of the file.
#[derive(PartialEq)]
pub(super) enum Stands {
    Owner,
    /// Another process does; this one comes next.
    Next,
    /// What is in the way.
    Hindered(String),
}

/// What was said of that.
#[derive(Default)]
pub(super) struct Standing {
    stands: Option<Stands>,
    /// The queues of which it was said that their tasks wait.
    waits: Vec<String>,
    /// When it last looked, on the monotonic clock.
    looked: Option<Duration>,
}

impl Standing {
    pub(super) fn tell(&mut self, now: Stands, file: &Path, voice: &Voice) {
        if self.stands.as_ref() == Some(&now) {
            return;
        }
        let file = file.display();
        match (&now, &self.stands) {
            (Stands::Owner, None) => {}
            (Stands::Owner, Some(Stands::Hindered(_))) => {
                voice.remark(format_args!("running the tasks of {file}"))
            }
            (Stands::Owner, Some(_)) => {
                voice.remark(format_args!("the other process has ended; running the tasks of {file}"))
            }
            (Stands::Next, Some(Stands::Owner)) => {
                voice.remark(format_args!("another process has taken over the tasks of {file}"))
            }
            (Stands::Next, _) => voice.remark(format_args!(
                "another process runs the tasks of {file}; waiting until it ends, then taking over"
            )),
            (Stands::Hindered(why), _) => voice
                .remark(format_args!("the tasks of {file} cannot be run, trying again each second: {why}")),
        }
        self.stands = Some(now);
    }

    /// Whether it is time to look what is left to run.
    pub(super) fn is_due(&mut self, now: Duration) -> bool {
        let is_due = self.looked.is_none_or(|looked| now.saturating_sub(looked) >= LOOK_AROUND);
        if is_due {
            self.looked = Some(now);
        }
        is_due
    }

    /// Says what keeps the tasks of its queues waiting, if somebody has to do something about it.
    pub(super) fn tell_waits<'q>(
        &mut self,
        queues: impl Iterator<Item = (&'q String, &'q QueueCounts)>,
        voice: &Voice,
    ) {
        let mut queues = queues.filter(|(_, counts)| counts.queued() > 0).collect::<Vec<_>>();
        let is_owner = self.stands == Some(Stands::Owner);
        match self.stands {
            Some(Stands::Owner) if queues.iter().all(|(_, counts)| counts.paused) => {}
            Some(Stands::Next) => queues.retain(|(_, counts)| counts.unserved && !counts.paused),
            _ => queues.clear(),
        }
        let names: Vec<String> = queues.iter().map(|(name, _)| (*name).clone()).collect();
        if !names.is_empty() && names != self.waits {
            let (tasks, names) = of(&queues);
            voice.remark(match is_owner {
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
    let names = queues.iter().take(MOST_NAMED).map(|(name, _)| safe(name).into_owned());
    let more = (queues.len() > MOST_NAMED).then(|| "…".to_owned());
    (count(tasks, "task"), names.chain(more).collect::<Vec<_>>().join(", "))
}
