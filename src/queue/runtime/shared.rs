//! What the queue's threads share in memory, and what a commit means for it.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::claim_gate::ClaimGate;
use super::engine_threads::Followers;
use super::running::Running;
use super::siblings::{Sibling, Siblings, concerns_siblings};
use super::signal::{Doorbell, Signal};
use super::wal_alarm::WalAlarm;
use crate::clock::Clock;
use crate::error::Error;
use crate::store::{CHECKPOINT_PAGES, Effects, FreeDisk};
use crate::sync::atomic::{AtomicU32, Ordering};
use crate::task::{HandledNames, TaskId};
use crate::timer::{Alarm, NextTick};

pub(crate) struct Shared {
    pub clock: Arc<dyn Clock>,
    pub handled: Arc<HandledNames>,
    pub running: Running,
    pub gate: ClaimGate,
    pub alarm: Arc<Alarm>,
    /// Signals each change of a task's state.
    pub changes: Signal,
    /// Wakes the dispatcher.
    pub dispatcher: Doorbell,
    /// Wakes the maintenance.
    pub maintenance: Doorbell,
    pub wal_alarm: WalAlarm,
    /// The threads that follow work outside.
    pub followers: Followers,
    /// Other queues of this process on the same file.
    pub siblings: Siblings,
    /// How much disk is free for the file.
    pub free_disk: OnceLock<FreeDisk>,
    /// Pages in the WAL after the newest commit; 0 when it has been looked at since.
    wal_pages: AtomicU32,
}

impl Shared {
    pub(crate) fn new(clock: Arc<dyn Clock>, handled: Arc<HandledNames>) -> Shared {
        Shared {
            clock,
            handled,
            running: Running::default(),
            gate: ClaimGate::default(),
            alarm: Arc::default(),
            changes: Signal::default(),
            dispatcher: Doorbell::new(),
            maintenance: Doorbell::new(),
            wal_alarm: WalAlarm::default(),
            followers: Followers::default(),
            siblings: Siblings::default(),
            free_disk: OnceLock::new(),
            wal_pages: AtomicU32::new(0),
        }
    }

    pub(crate) fn monotonic(&self) -> Duration {
        self.clock.monotonic()
    }

    /// A thread of ours cannot go on: nothing is claimed any more, and waiting callers get the error.
    pub(crate) fn break_down(&self, why: Error) {
        self.gate.break_down(why);
        self.changes.tell_all();
    }

    /// Claims could not ride along with a commit.
    pub(crate) fn claims_failed(&self, why: &Error) {
        if self.gate.claims_failed(why) {
            self.dispatcher.ring();
        }
    }

    /// Applies the effects of a commit to the running queue, and wakes the threads that they concern. Called by whoever committed, before the next
    /// commit.
    pub(crate) fn after_commit(&self, effects: Effects) {
        let changed = effects.changed || !effects.settled.is_empty();
        let concerns_siblings = concerns_siblings(&effects);
        self.running.forget(&effects.settled);
        let is_ahead = self.running.hand_over(effects.claims);
        if is_ahead && effects.settled.is_empty() {
            self.dispatcher.ring(); // it recalls them if they wait for long (after a settle it looks by itself)
        }
        self.running.flag(&effects.cancelled, &effects.superseded);
        if let Some(due) = effects.due {
            self.alarm.set(NextTick::at(due));
        }
        if effects.tick.is_some() {
            self.alarm.set(NextTick { schedules: effects.tick, ..NextTick::default() });
        }
        if effects.more {
            self.dispatcher.ring();
        }
        if effects.jobs_changed {
            self.followers.ring();
        }
        if effects.wal_pages > 0 {
            self.wal_alarm.note(effects.wal_pages);
            let before = self.wal_pages.swap(effects.wal_pages, Ordering::AcqRel);
            if before == 0 || effects.wal_pages >= CHECKPOINT_PAGES {
                self.maintenance.ring();
            }
        }
        let ended = effects.settled.iter().map(|(id, _)| *id).chain(effects.ended);
        if concerns_siblings && self.siblings.are_there() {
            self.siblings.ring(Some(&ended.clone().collect::<Vec<_>>()));
        }
        if changed {
            self.changes.tell(ended);
        }
    }

    /// The pages in the WAL after the newest commit. They count as looked at from now on; the next commit tells again.
    pub(crate) fn take_wal_pages(&self) -> u32 {
        self.wal_pages.swap(0, Ordering::AcqRel)
    }

    pub(crate) fn wal_is_large(&self) -> bool {
        self.wal_pages.load(Ordering::Acquire) >= CHECKPOINT_PAGES
    }

    /// Looks again at each change (of one task, or of any) until `look` sees something; none if the time runs out first. What no change
    /// tells of is noticed within `patience`.
    pub(crate) fn wait_until<R, E>(
        &self,
        task: Option<TaskId>,
        timeout: Option<Duration>,
        patience: impl Fn() -> Duration,
        look: impl Fn() -> Result<Option<R>, E>,
    ) -> Result<Option<R>, E> {
        let until = timeout.map(|timeout| self.monotonic().saturating_add(timeout));
        let mut listener = self.changes.listen(task);
        loop {
            if let Some(seen) = look()? {
                return Ok(Some(seen));
            }
            let left = until.map_or(Duration::MAX, |until| until.saturating_sub(self.monotonic()));
            if left.is_zero() {
                return Ok(None);
            }
            listener.wait(left.min(patience()));
        }
    }
}

impl Sibling for Shared {
    fn siblings(&self) -> &Siblings {
        &self.siblings
    }

    /// Only the owner has to look at what was committed.
    fn hear_of_commit(&self, ended: Option<&[TaskId]>) {
        match ended {
            Some(ended) => self.changes.tell(ended.iter().copied()),
            None => self.changes.tell_all(),
        }
        if self.gate.epoch().is_some() && self.siblings.note_ring() {
            self.dispatcher.ring();
        }
    }

    fn hear_of_release(&self) {
        self.siblings.note_release();
        self.dispatcher.ring();
    }
}
