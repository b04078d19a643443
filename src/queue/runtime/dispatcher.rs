//! The dispatcher: the thread that settles what workers have finished, and with each settle fetches their next work. It also
//! commits what nobody waits for (progress, output), and asks for the ownership of the file and for news from other processes.

use std::time::Duration;

use super::attempts::is_passing;
use super::core::{Core, MAX_PANICS, RETRY_INTERVAL};
use crate::error::{Error, ErrorKind};
use crate::executor::Assignment;
use crate::handler::{Finished, Start};
use crate::logging::{survive, tell};
use crate::planted::planted;
use crate::store::Lifting;
use crate::sync::{Heard, Receiver, hear, next_of, thread};

/// Attempts settled in one transaction at most: bounds how long others wait for the writer.
const MAX_SETTLES: usize = 1024;

/// How long the dispatcher waits for more to settle, at most: so much later an end reaches the file.
const GATHER_TIME: Duration = Duration::from_millis(4);

/// The next settle may take so many times as long as the last one.
const SETTLE_MARGIN: u32 = 3;

/// The longest time from progress or output of a running attempt to the commit that keeps it.
const FLUSH_INTERVAL: Duration = Duration::from_secs(1);

/// How often the last outcomes are tried to be written. Each try may wait for a lock, but not for long any more.
const FINAL_TRIES: u32 = 8;

/// How long it waits after each of these that has failed: an error of the disk is told at once, and may be over in a moment.
const FINAL_PAUSE: Duration = Duration::from_millis(20);

/// The thread's life: until nobody can send outcomes any more. A turn that panics is followed by another, with the same outcomes.
pub(crate) fn run(core: &Core, outcomes: &Receiver<Finished>) {
    let mut dispatcher = Dispatcher::new(core);
    let mut panics = 0;
    let mut turn = |dispatcher: &mut Dispatcher<'_>, act: fn(&mut Dispatcher<'_>, &Receiver<Finished>)| {
        match survive("the dispatcher", || act(dispatcher, outcomes)) {
            Some(()) => panics = 0,
            None => {
                panics += 1;
                dispatcher.pause();
            }
        }
        panics < MAX_PANICS
    };
    let mut goes_on = turn(&mut dispatcher, |dispatcher, _| {
        dispatcher.begin();
        dispatcher.poll();
    });
    while goes_on {
        let wait = dispatcher.sleep();
        match next_of(outcomes, &core.shared.dispatcher.bell, wait) {
            Heard::Item(first) => dispatcher.unsettled.push(first),
            Heard::None => {}
            Heard::End => break,
        }
        goes_on = turn(&mut dispatcher, |dispatcher, outcomes| {
            dispatcher.gather(outcomes);
            dispatcher.turn();
        });
    }
    if !goes_on {
        core.break_down("the dispatcher");
        dispatcher.unsettled.extend(outcomes.try_iter());
    }
    survive("the dispatcher", || dispatcher.last_turn());
    if core.shared.gate.broken().is_some() {
        core.release_if_idle(); // a shutdown may never come
    }
}

struct Dispatcher<'c> {
    core: &'c Core,
    /// Outcomes that are not in the file yet.
    unsettled: Vec<Finished>,
    /// Where a new owner goes on with what it does first; none when all of that is done.
    begins_at: Option<Lifting>,
    /// After trouble: when to try again. Nothing is claimed until then.
    try_at: Option<Duration>,
    flush_at: Option<Duration>,
    poll_at: Option<Duration>,
    /// When to look whether claimed tasks still wait for a worker.
    recall_at: Option<Duration>,
    /// An outcome has come since `recall_at` was set.
    has_moved: bool,
    /// How long the last settle took.
    settling: Duration,
    /// How often a write of outcomes has met damage since all of them could be written.
    damage_seen: u32,
}

/// How often an outcome that meets damage in the file is tried to be written.
const DAMAGE_TRIES: u32 = 10;

/// As good as for ever, and yet no overflow.
const FOREVER: Duration = Duration::from_secs(365 * 86_400);

/// Tasks that were claimed ahead and wait so long without any task ending are given back: the tasks have become slow.
const RECALL_AFTER: Duration = Duration::from_millis(50);

impl<'c> Dispatcher<'c> {
    fn new(core: &'c Core) -> Dispatcher<'c> {
        Dispatcher {
            core,
            unsettled: Vec::new(),
            begins_at: core.is_owner().then_some(Lifting::START),
            try_at: None,
            flush_at: None,
            poll_at: None,
            recall_at: None,
            has_moved: false,
            settling: Duration::ZERO,
            damage_seen: 0,
        }
    }

    /// How long it may sleep if no outcome comes and nobody rings.
    fn sleep(&self) -> Duration {
        if self.begins_at.is_some() && self.try_at.is_none() {
            return Duration::ZERO;
        }
        let next = [self.try_at, self.flush_at, self.poll_at, self.recall_at].into_iter().flatten().min();
        next.map_or(FOREVER, |at| at.saturating_sub(self.core.shared.monotonic()))
    }

    fn is_due(&self, at: Option<Duration>) -> bool {
        at.is_some_and(|at| at <= self.core.shared.monotonic())
    }

    /// Takes what else has ended. While the workers have work on hand, it waits for more, so that one commit, and one sync, ends
    /// several attempts; but not so long that a worker would wait for that commit.
    fn gather(&mut self, outcomes: &Receiver<Finished>) {
        let slack = self
            .core
            .shared
            .running
            .work_on_hand()
            .saturating_sub(self.settling.saturating_mul(SETTLE_MARGIN));
        if !self.unsettled.is_empty() && !slack.is_zero() {
            hear(&self.core.shared.dispatcher.bell, slack.min(GATHER_TIME));
        }
        let room = MAX_SETTLES.saturating_sub(self.unsettled.len());
        self.unsettled.extend(outcomes.try_iter().take(room));
    }

    fn turn(&mut self) {
        let shared = &self.core.shared;
        match shared.gate.take_trouble() {
            Some(e) if e.kind() == ErrorKind::OwnershipLost => {
                return self.core.disown(&mut self.unsettled);
            }
            Some(e) => self.note_trouble(Err(e)),
            None => {}
        }
        let tries_again = self.is_due(self.try_at);
        if tries_again {
            self.try_at = None;
        }
        if self.try_at.is_none() {
            self.settle(); // with claims only if they are allowed: after trouble, outcomes come first
        }
        if tries_again && self.try_at.is_none() {
            self.core.shared.gate.set_claiming(self.core.is_owner());
            self.core.shared.gate.set_behind(true);
        }
        if self.try_at.is_none() {
            self.begin();
            self.claim();
        }
        if self.try_at.is_none() {
            self.hear_siblings();
        }
        if tries_again && self.try_at.is_none() {
            self.core.trouble_is_over();
        }
        self.flush();
        self.recall();
        if self.is_due(self.poll_at) || (self.core.shared.siblings.take_release() && !self.core.is_owner()) {
            self.poll();
        }
    }

    /// Settles what is finished; what there is room for is claimed in the same commit.
    fn settle(&mut self) {
        if self.unsettled.is_empty() {
            return;
        }
        self.has_moved = true;
        for finished in &self.unsettled {
            if matches!(finished.start, Start::Noted(_)) {
                self.core.shared.running.prefetch.observe(finished.settlement.ran);
            }
        }
        if self.unsettled.iter().any(|finished| matches!(finished.start, Start::Failed)) {
            self.pause();
        }
        let began = self.core.shared.monotonic();
        let settled = self.core.settle(&mut self.unsettled);
        self.settling = self.core.shared.monotonic().saturating_sub(began);
        let Err(e) = settled else {
            self.damage_seen = 0;
            return;
        };
        if e.kind() == ErrorKind::OwnershipLost {
            self.core.disown(&mut self.unsettled);
        } else if is_passing(&e) && (self.unsettled.len() == 1 || e.kind() == ErrorKind::Busy) {
            if planted("g04-outcomes-are-forgotten-after-trouble") {
                self.unsettled.clear();
            }
            self.note_trouble(Err(e));
        } else {
            self.settle_one_by_one();
        }
    }

    /// One of the outcomes cannot be written, or there is little room: none must keep the others from it.
    fn settle_one_by_one(&mut self) {
        let mut trouble = Ok(());
        for finished in std::mem::take(&mut self.unsettled) {
            let mut alone = vec![finished];
            let Err(e) = self.core.settle(&mut alone) else { continue };
            if is_passing(&e) || self.may_read_again(&e) {
                self.unsettled.append(&mut alone);
                trouble = Err(e);
            } else {
                alone.into_iter().for_each(|finished| self.core.abandon(finished, &e));
            }
        }
        self.note_trouble(trouble);
    }

    /// Whether to try again after an error that looks like damage. SQLite reports a read error of the device as damage: it may go away, and real
    /// damage does not. A panic, too, may not come again.
    fn may_read_again(&mut self, e: &Error) -> bool {
        let is_damage = matches!(e.kind(), ErrorKind::Corrupt | ErrorKind::Internal);
        self.damage_seen += u32::from(is_damage);
        is_damage && self.damage_seen <= DAMAGE_TRIES
    }

    /// Claims what an earlier commit has left.
    fn claim(&mut self) {
        if self.core.shared.gate.is_behind() && self.core.shared.gate.is_claiming() {
            let claimed = self.core.claim_more();
            self.note_trouble(claimed);
        }
    }

    /// Writes progress and output, some time after they were made.
    fn flush(&mut self) {
        if self.flush_at.is_none() && self.core.shared.running.is_pending() {
            self.flush_at = Some(self.core.shared.monotonic() + FLUSH_INTERVAL);
        }
        if self.is_due(self.flush_at) {
            self.flush_at = None;
            let flushed = self.core.flush_pending();
            self.note_trouble(flushed);
        }
    }

    /// Gives claimed tasks back that wait while every worker is busy with something slow, so that cancelling, pausing and
    /// priorities reach them.
    fn recall(&mut self) {
        let shared = &self.core.shared;
        if self.is_due(self.recall_at) {
            self.recall_at = None;
            if !self.has_moved {
                shared.running.prefetch.slow_down();
                self.unsettled
                    .extend(std::iter::from_fn(|| shared.running.take_job()).map(Assignment::hand_back));
                return self.settle();
            }
        }
        if self.recall_at.is_none() && shared.running.jobs_waiting() > 0 {
            self.recall_at = Some(shared.monotonic() + RECALL_AFTER);
            self.has_moved = false;
        }
    }

    /// Claims nothing for a while.
    fn pause(&mut self) {
        self.core.shared.gate.set_claiming(false);
        self.try_at.get_or_insert(self.core.shared.monotonic() + RETRY_INTERVAL);
    }

    fn note_trouble(&mut self, step: Result<(), Error>) {
        if let Err(e) = step {
            self.core.note_trouble(&e);
            self.pause();
        }
    }

    /// What a new owner does first, a chunk of it: outcomes do not wait for all of it.
    fn begin(&mut self) {
        let Some(from) = self.begins_at.filter(|_| self.core.is_owner()) else {
            self.begins_at = None;
            return;
        };
        match self.core.begin(from) {
            Ok(next) => self.begins_at = next,
            Err(e) => self.note_trouble(Err(e)),
        }
    }

    /// Asks for the ownership if it has none, else for news from other processes.
    fn poll(&mut self) {
        let interval = self.core.config.poll_interval;
        self.poll_at = (!interval.is_zero()).then(|| self.core.shared.monotonic() + interval);
        if self.core.is_owner() {
            let looked = self.core.check_other_processes();
            return self.note_trouble(looked);
        }
        if self.core.shared.gate.is_stopping() {
            return;
        }
        match self.core.take_over() {
            Ok(true) => {
                self.begins_at = Some(Lifting::START);
                self.begin();
            }
            Ok(false) => {}
            Err(_) => self.poll_at = Some(self.core.shared.monotonic() + RETRY_INTERVAL), // it was logged
        }
    }

    /// Looks at what another queue of this process has written, if one has.
    fn hear_siblings(&mut self) {
        let siblings = &self.core.shared.siblings;
        if !siblings.take_ring() || !self.core.is_owner() {
            return;
        }
        let looked = self.core.check_other_processes();
        if looked.is_err() {
            siblings.note_ring(); // it is looked at with the next try
        }
        self.note_trouble(looked);
    }

    /// Nobody sends any more: what is left is tried for a moment, and given up then.
    fn last_turn(&mut self) {
        for _ in 0..FINAL_TRIES {
            self.settle();
            if self.unsettled.is_empty() {
                break;
            }
            thread::sleep(FINAL_PAUSE);
        }
        if planted("g08-what-cannot-be-written-keeps-the-file") {
            return;
        }
        let why = Error::new(
            ErrorKind::TimedOut,
            "the queue has ended, and the file could not be written until then",
        );
        self.unsettled.drain(..).for_each(|finished| self.core.abandon(finished, &why));
        if let Err(e) = self.core.flush_pending() {
            tell!(Warn, "progress and output were not written: {e}");
        }
    }
}
