//! Claims ride along with commits: the only place where tasks are claimed.
//!
//! Each write transaction of an owner that makes tasks ready, or ends attempts while tasks are left, claims in the same transaction
//! for whatever room the workers have, and hands the claims over as soon as they are durable. So an enqueue into an idle queue
//! starts its task without a second commit, and a worker's settle fetches its next work. While nothing is ready and workers idle, an
//! enqueue has leave ([`StartLeave`]) to write its task as claimed to begin with.
//!
//! **No wake-up is lost.** Everything here runs under the writer's lead, so transactions see each other's claims in order. Room
//! appears only when an attempt is settled, and that settle is a transaction that claims. Tasks become ready only in a transaction,
//! which claims, or remembers (`behind`) that it left some, and then the next settle claims. What other processes enqueue is asked
//! for by [`ask`]. A task that is not claimed ahead (its last attempt, large args) is left only if every worker has something to do, so
//! there is a settle to come; nothing more is claimed ahead until then, so the workers run dry and its turn comes. A queue that is full
//! (its limit) is left as well; then each settle claims. One that its rate or a closure shuts says when it opens, and the timer claims then.

use std::sync::Arc;
use std::time::Duration;

use super::shared::Shared;
use crate::error::Error;
use crate::planted::planted;
use crate::store::{CommitHook, Effects, FreeDisk, Sql, StartLeave, Tx, check_epoch, claim, lift};
use crate::task::{Claims, Timestamp};

pub(crate) struct Claimer {
    shared: Arc<Shared>,
    /// The queue that was served last by a commit; the next one's turn comes first.
    cursor: i64,
    /// The same after the transaction that is under way.
    next_cursor: i64,
    /// The last claim met a task that waits until a worker idles: there is nothing to claim before that.
    waits_for_worker: bool,
    /// The same after the transaction that is under way.
    next_waits: bool,
    /// A queue was met that is full: the end of one of its tasks lets the next one start.
    waits_for_end: bool,
    /// Tasks that the transaction had made ready when it was asked to claim.
    seen: u64,
    /// Since when the file has been written without pause.
    leads_since: Duration,
    /// When the newest commit ended.
    last_end: Duration,
}

/// Commits with a shorter pause between them leave other processes no time to write.
const PAUSE_GAP: Duration = Duration::from_millis(2);
/// How long this process writes without a pause, if others have the file open.
const MAX_LEAD_TIME: Duration = Duration::from_millis(40);

impl Claimer {
    pub(crate) fn new(shared: Arc<Shared>) -> Claimer {
        Claimer {
            shared,
            cursor: 0,
            next_cursor: 0,
            waits_for_worker: false,
            next_waits: false,
            waits_for_end: false,
            seen: 0,
            leads_since: Duration::ZERO,
            last_end: Duration::ZERO,
        }
    }
}

/// An empty write: its commit claims.
pub(crate) fn ask(shared: &Arc<Shared>) -> impl FnMut(&Tx<'_>) -> Sql<()> + Send + 'static {
    let shared = shared.clone();
    move |_| {
        shared.gate.set_behind(true);
        Ok(())
    }
}

impl CommitHook for Claimer {
    fn start_leave(&self) -> Option<StartLeave> {
        let epoch = self
            .shared
            .gate
            .epoch()
            .filter(|_| self.shared.gate.is_claiming() && !self.shared.gate.is_behind())?;
        let has_idle = self.shared.running.has_idle_worker();
        has_idle.then(|| StartLeave::new(epoch, self.shared.handled.clone(), self.shared.clock.now()))
    }

    fn before_commit(&mut self, tx: &Tx<'_>) -> Sql<bool> {
        let Some(epoch) = self.shared.gate.epoch().filter(|_| self.shared.gate.is_claiming()) else {
            return Ok(false);
        };
        let has_place =
            self.waits_for_end && !tx.effects().settled.is_empty() && !planted("g16-an-end-lets-nobody-on");
        if has_place {
            self.waits_for_end = false; // until it is said again
            tx.suspect_moved(); // one of the full queue may have its turn
        }
        let has_lifted = lift(tx)?;
        self.seen = tx.effects().ready;
        if self.seen == 0 && !self.shared.gate.is_behind() && !has_place {
            return Ok(has_lifted);
        }
        self.shared.gate.set_behind(true);
        let room = self.shared.running.room_after(&tx.effects());
        if room.total == 0 || (self.waits_for_worker && room.idle == 0) {
            return Ok(true);
        }
        check_epoch(tx, epoch)?;
        self.next_cursor = self.cursor;
        let shared = &self.shared;
        let free_disk = || shared.free_disk.get().and_then(FreeDisk::bytes);
        let Claims { claims, waits_for_worker } =
            claim(tx, room, &shared.handled, &free_disk, &mut self.next_cursor, shared.clock.now())?;
        let behind = claims.len() == room.total || waits_for_worker || tx.effects().more;
        self.next_waits = waits_for_worker;
        self.shared.gate.set_behind(behind && !planted("g04-the-rest-is-forgotten"));
        tx.effect(|effects| effects.claims.extend(claims));
        Ok(true)
    }

    fn committed(&mut self, effects: Effects) {
        (self.cursor, self.waits_for_worker) = (self.next_cursor, self.next_waits);
        self.waits_for_end |= effects.waits_for_end;
        let unseen = effects.ready > std::mem::take(&mut self.seen)
            || (self.waits_for_end && !effects.ended.is_empty()); // a place in a full queue may have become free
        if unseen && self.shared.gate.is_claiming() {
            self.shared.gate.set_behind(true); // a suspect got its turn after the claims, or the claims could not ride along
            self.shared.dispatcher.ring();
        }
        self.shared.after_commit(effects);
    }

    fn rolled_back(&mut self, error: Option<&Error>) {
        self.seen = 0;
        (self.next_cursor, self.next_waits) = (self.cursor, self.waits_for_worker);
        self.waits_for_end = true; // it may have been so
        self.shared.gate.set_behind(true);
        if let Some(error) = error {
            self.shared.claims_failed(error);
        }
    }

    fn begins(&mut self) -> Timestamp {
        let now = self.shared.monotonic();
        if now.saturating_sub(self.last_end) >= PAUSE_GAP {
            self.leads_since = now;
        }
        self.shared.clock.now()
    }

    fn rest(&mut self) -> Option<Duration> {
        self.last_end = self.shared.monotonic();
        if self.last_end.saturating_sub(self.leads_since) < MAX_LEAD_TIME {
            return None;
        }
        self.leads_since = self.last_end;
        Some(PAUSE_GAP)
    }
}
