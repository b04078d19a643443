//! The dispatcher: the thread that settles what workers have finished, and with each settle fetches their next work. It also
//! commits what nobody waits for (progress), and asks for the ownership of the file and for news from other processes.

use std::time::Duration;

use crossbeam_channel::{Receiver, select};

use super::core::{Core, TRY_AGAIN};
use crate::error::{Error, ErrorKind};
use crate::handler::Finished;
use crate::task::Verdict;

/// Attempts settled in one transaction at most: bounds how long others wait for the writer.
const MAX_SETTLES: usize = 1024;

/// Progress reaches the file so long after it was made, at most.
const PROGRESS_EACH: Duration = Duration::from_secs(1);

/// The thread's life: until nobody can send outcomes any more.
pub(super) fn run(core: &Core, outcomes: &Receiver<Finished>) {
    let mut dispatcher =
        Dispatcher { core, unsettled: Vec::new(), try_at: None, flush_at: None, poll_at: None };
    dispatcher.poll();
    loop {
        let wait = dispatcher.sleep();
        let first = select! {
            recv(outcomes) -> first => match first {
                Ok(first) => Some(first),
                Err(_) => break,
            },
            recv(core.hub.wake.bell) -> _ => None,
            default(wait) => None,
        };
        dispatcher.unsettled.extend(first.into_iter().chain(outcomes.try_iter()).take(MAX_SETTLES));
        dispatcher.turn();
    }
    dispatcher.last_turn();
}

struct Dispatcher<'c> {
    core: &'c Core,
    /// Outcomes that are not in the file yet.
    unsettled: Vec<Finished>,
    /// After trouble: when to try again. Nothing is claimed until then.
    try_at: Option<Duration>,
    flush_at: Option<Duration>,
    poll_at: Option<Duration>,
}

/// As good as for ever, and yet no overflow.
const FOR_EVER: Duration = Duration::from_secs(365 * 86_400);

impl Dispatcher<'_> {
    /// How long nothing but news can make work.
    fn sleep(&self) -> Duration {
        let next = [self.try_at, self.flush_at, self.poll_at].into_iter().flatten().min();
        next.map_or(FOR_EVER, |at| at.saturating_sub(self.core.hub.monotonic()))
    }

    fn is_due(&self, at: Option<Duration>) -> bool {
        at.is_some_and(|at| at <= self.core.hub.monotonic())
    }

    fn turn(&mut self) {
        if self.is_due(self.try_at) {
            self.try_at = None;
            self.core.hub.set_claiming(self.core.is_owner());
            self.core.hub.set_behind(true);
        }
        if self.try_at.is_none() {
            self.settle();
        }
        if self.flush_at.is_none() && self.core.hub.progress_waits() {
            self.flush_at = Some(self.core.hub.monotonic() + PROGRESS_EACH);
        }
        if self.is_due(self.flush_at) {
            self.flush_at = None;
            let flushed = self.core.flush_progress();
            self.note_trouble(flushed);
        }
        if self.is_due(self.poll_at) {
            self.poll();
        }
    }

    /// Settles what is finished, and claims what there is room for.
    fn settle(&mut self) {
        if self.unsettled.is_empty() {
            if self.core.hub.is_behind() && self.core.is_owner() {
                let claimed = self.core.claim_more();
                self.note_trouble(claimed);
            }
            return;
        }
        let batch = std::mem::take(&mut self.unsettled);
        let starts_fail =
            batch.iter().any(|f| f.note.is_none() && matches!(f.settlement.verdict, Verdict::HandedBack));
        batch.iter().filter(|f| f.note.is_some()).for_each(|f| self.core.hub.pace.observe(f.took));
        if starts_fail && self.core.hub.is_claiming() {
            self.pause();
        }
        if let Err((batch, e)) = self.core.settle(batch) {
            if e.kind() == ErrorKind::OwnershipLost {
                log::error!("{} outcomes could not be written: {e}", batch.len());
                self.core.disown(&batch);
            } else {
                self.unsettled = batch;
                self.note_trouble(Err(e));
            }
        }
    }

    /// Claims nothing for a while.
    fn pause(&mut self) {
        self.core.hub.set_claiming(false);
        self.try_at = Some(self.core.hub.monotonic() + TRY_AGAIN);
    }

    fn note_trouble(&mut self, step: Result<(), Error>) {
        if let Err(e) = step {
            log::warn!("the file cannot be written, trying again in {TRY_AGAIN:?}: {e}");
            self.pause();
        }
    }

    /// Asks for the ownership if it has none, else for news from other processes.
    fn poll(&mut self) {
        let interval = self.core.config.poll_interval;
        self.poll_at = (!interval.is_zero()).then(|| self.core.hub.monotonic() + interval);
        if self.core.is_owner() {
            let looked = self.core.look_abroad().map(drop);
            self.note_trouble(looked);
            return;
        }
        if let Err(e) = self.core.take_over() {
            log::warn!("the ownership of the file could not be taken, trying again: {e}");
            self.poll_at = Some(self.core.hub.monotonic() + TRY_AGAIN);
        }
    }

    /// Nobody sends any more: one last try for what is left.
    fn last_turn(mut self) {
        self.settle();
        if !self.unsettled.is_empty() {
            log::error!("{} outcomes are not written; their tasks count as lost", self.unsettled.len());
        }
        if let Err(e) = self.core.flush_progress() {
            log::warn!("progress was not written: {e}");
        }
    }
}
