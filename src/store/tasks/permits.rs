//! Limits of keys: how many tasks of a queue with the same key may be ready or running at once.
//!
//! A permit is a bit of its task's own row ([`Extras::PERMIT`]); `perdura_limits` has the same by key, so that an index finds holders and
//! waiters. There is neither a counter nor a lease: recovery settles the tasks of a dead process, and that gives their permits back with the
//! same writes as any settle.
//!
//! [`follow`] is part of each write of a row: a task that no longer needs its permit gives it back, and one that needs a permit takes it or
//! waits. A write that frees a permit, removes a waiter or adds a better one notes the key. Before the COMMIT, `permit_lifts` handles the noted
//! keys: it lifts waiters, the best first (by priority, then by id), until the best does not fit. Each waiter is judged by its own number of
//! permits. A waiter that goes before a holder takes that holder's permit if the holder is ready and not claimed. A key has at most 256
//! permits, so no more tasks are lifted at once, and all of it happens in the same transaction.

use std::cmp::Reverse;
use std::collections::VecDeque;

use rusqlite::Row;

use super::keys::{self, Digest};
use crate::lifecycle::{PermitNeed, Reasons, TaskState, permit_need};
use crate::planted::planted;
use crate::store::commit::effects::LimitedKey;
use crate::store::commit::tx::{Prepared, Tx};
use crate::store::error::{Sql, contradiction};
use crate::task::{Extras, Hold, KeyLimit, State, TaskId};

/// Whether a task holds a permit of its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PermitState {
    /// It needs no permit now.
    Apart,
    Holds,
    Waits,
}

/// A task's row of `perdura_limits`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LimitRow {
    queue_id: i64,
    digest: Digest,
    permits: u32,
    is_serial: bool,
    priority: i64,
    standing: PermitState,
}

impl LimitRow {
    /// The row of a new task. `needs_permit`: it needs a permit now, not later.
    pub(crate) fn of_new(
        tx: &Tx<'_>,
        (queue_id, digest): LimitedKey,
        limit: &KeyLimit,
        priority: i16,
        needs_permit: bool,
    ) -> Sql<LimitRow> {
        let place = LimitRow {
            queue_id,
            digest,
            permits: limit.permits,
            is_serial: limit.is_serial,
            priority: i64::from(priority),
            standing: PermitState::Apart,
        };
        let standing = if needs_permit { place.judge(tx, None)? } else { PermitState::Apart };
        Ok(LimitRow { standing, ..place })
    }

    /// The row of a task, if it has one.
    fn find(tx: &Tx<'_>, id: TaskId) -> Sql<Option<LimitRow>> {
        let sql = "SELECT queue_id, digest, permits, serial, priority, standing FROM perdura_limits WHERE task_id = ?1";
        let read = |row: &Row<'_>| {
            Ok(LimitRow {
                queue_id: row.get(0)?,
                digest: row.get(1)?,
                permits: row.get(2)?,
                is_serial: row.get(3)?,
                priority: row.get(4)?,
                standing: match row.get(5)? {
                    0 => PermitState::Apart,
                    1 => PermitState::Holds,
                    2 => PermitState::Waits,
                    code => return Err(rusqlite::Error::IntegralValueOutOfRange(5, code)),
                },
            })
        };
        tx.find(sql, [id.as_i64()], read)
    }

    fn key(&self) -> LimitedKey {
        (self.queue_id, self.digest)
    }

    /// `Limit` if it waits for a permit, else `Ready`.
    pub(crate) fn hold(&self) -> Hold {
        if self.standing == PermitState::Waits { Hold::Limit } else { Hold::Ready }
    }

    /// The bits of its task's row.
    pub(crate) fn extras(&self) -> Extras {
        Extras::LIMITED.with(Extras::PERMIT.only_if(self.standing == PermitState::Holds))
    }

    pub(crate) fn insert(&self, tx: &Tx<'_>, id: TaskId) -> Sql<()> {
        let sql =
            "INSERT INTO perdura_limits (task_id, queue_id, digest, permits, serial, priority, standing)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
        let LimitRow { queue_id, digest, permits, is_serial, priority, standing } = self;
        tx.change_one(sql, (id.as_i64(), queue_id, digest, permits, is_serial, priority, *standing as i64))
    }

    /// Whether a task that begins to need a permit gets one or waits; a new task has no id yet. It does not overtake waiters.
    fn judge(&self, tx: &Tx<'_>, id: Option<TaskId>) -> Sql<PermitState> {
        let goes_before = |waiter: &PermitWaiter| match id {
            Some(id) => (Reverse(waiter.priority), waiter.id) < (Reverse(self.priority), id.as_i64()),
            None => waiter.priority >= self.priority,
        };
        let is_behind = best_waiter(tx, self.key())?.as_ref().is_some_and(goes_before);
        if is_behind && !planted("g16-a-newcomer-overtakes") {
            return Ok(PermitState::Waits);
        }
        if holders(tx, self.key())? < self.permits {
            return Ok(PermitState::Holds);
        }
        moved(tx, self.key()); // it may take the permit of a holder behind it
        Ok(PermitState::Waits)
    }
}

/// Marks a task with a limit as started.
pub(crate) fn started(extras: Extras) -> Extras {
    extras.with(Extras::STARTED.only_if(extras.contains(Extras::LIMITED)))
}

/// The part of a row that decides about its permit.
type Standpoint = (TaskState, Extras);

/// Updates the permit of a task for a change of its row, from `before` to `to`; returns `to` with the reason and the bits of the permit.
pub(super) fn follow(
    tx: &Tx<'_>,
    id: TaskId,
    before: Standpoint,
    (mut to, extras): Standpoint,
) -> Sql<Standpoint> {
    let place = LimitRow::find(tx, id)?
        .ok_or_else(|| contradiction("a task has a limit of its key that is not there"))?;
    let is_live = to.in_flight || matches!(to.state, State::Queued | State::Running);
    let has_started = extras.contains(Extras::STARTED) && place.is_serial && is_live;
    let was = place.standing;
    let standing = match permit_need(to.state, to.in_flight, to.reasons, has_started) {
        PermitNeed::Nothing => PermitState::Apart,
        PermitNeed::Keeps | PermitNeed::Turn if extras.contains(Extras::PERMIT) => PermitState::Holds,
        PermitNeed::Keeps => PermitState::Apart,
        PermitNeed::Turn if was == PermitState::Apart => place.judge(tx, Some(id))?,
        PermitNeed::Turn => PermitState::Waits,
    };
    let extras = extras.without(Extras::PERMIT).without(Extras::STARTED);
    let extras = extras.with(Extras::PERMIT.only_if(standing == PermitState::Holds));
    let extras = extras.with(Extras::STARTED.only_if(has_started));
    let reasons = to.reasons.without(Hold::Limit);
    to.reasons = if standing == PermitState::Waits { reasons.with(Hold::Limit) } else { reasons };
    let has_left = standing == PermitState::Apart && was != PermitState::Apart;
    if (has_left && !planted("g16-a-permit-that-is-given-back-wakes-nobody"))
        || (was == PermitState::Holds && can_be_taken((to, extras)) && !can_be_taken(before))
    {
        moved(tx, place.key());
    }
    if standing != was {
        set_standing(tx, id, was, standing)?;
    }
    Ok((to, extras))
}

/// Whether a task that goes before it may take its permit: it is ready, no suspect, and has not started.
fn can_be_taken((TaskState { state, reasons, suspect, .. }, extras): Standpoint) -> bool {
    state == State::Queued && reasons == Reasons::NONE && !suspect && !extras.contains(Extras::STARTED)
}

pub(super) fn set_standing(tx: &Tx<'_>, id: TaskId, from: PermitState, to: PermitState) -> Sql<()> {
    tx.change_one(SET_STANDING, (id.as_i64(), from as i64, to as i64))
}

/// The statement of [`set_standing`].
pub(super) const SET_STANDING: &str =
    "UPDATE perdura_limits SET standing = ?3 WHERE task_id = ?1 AND standing = ?2";

fn moved(tx: &Tx<'_>, key: LimitedKey) {
    tx.gathered(|all| all.permit_moved(key));
}

/// Gives back the permit, or the place in line, of a task that is removed, replaced or failed as damaged. Its row of `perdura_limits` stays.
pub(super) fn leave(tx: &Tx<'_>, id: TaskId) -> Sql<()> {
    Leave::new(tx)?.run(tx, id)
}

/// The statements of [`leave`]. (One statement with RETURNING takes nearly twice as long: SQLite builds a table of what is returned.)
pub(super) struct Leave<'c> {
    key: Prepared<'c>,
    leave: Prepared<'c>,
}

impl<'c> Leave<'c> {
    pub(super) fn new(tx: &Tx<'c>) -> Sql<Leave<'c>> {
        Ok(Leave {
            key: tx.prepare(
                "SELECT queue_id, digest FROM perdura_limits WHERE task_id = ?1 AND standing <> 0",
            )?,
            leave: tx
                .prepare("UPDATE perdura_limits SET standing = 0 WHERE task_id = ?1 AND standing <> 0")?,
        })
    }

    pub(super) fn run(&mut self, tx: &Tx<'_>, id: TaskId) -> Sql<()> {
        let key = self.key.find([id.as_i64()], |row| Ok((row.get(0)?, row.get::<_, Vec<u8>>(1)?)))?;
        let Some((queue_id, digest)) = key else { return Ok(()) };
        self.leave.change_one([id.as_i64()])?;
        // A damaged digest is the digest of no key.
        if let Ok(digest) = digest.try_into() {
            moved(tx, (queue_id, digest));
        }
        Ok(())
    }
}

/// Copies the limit of a dead letter to the new task that replays it; returns the bits for its row, and whether it waits.
pub(super) fn copy(tx: &Tx<'_>, letter: TaskId, new: TaskId) -> Sql<(Extras, Reasons)> {
    let Some(place) = LimitRow::find(tx, letter)? else { return Ok((Extras::NONE, Reasons::NONE)) };
    let place = LimitRow { standing: place.judge(tx, Some(new))?, ..place };
    place.insert(tx, new)?;
    Ok((place.extras(), Reasons::of(place.hold())))
}

/// Replaces the limit of a queued task; returns its extras. The write of its row then decides about its permit ([`follow`]).
pub(super) fn replace(
    tx: &Tx<'_>,
    id: TaskId,
    queue_id: i64,
    extras: Extras,
    limit: Option<&KeyLimit>,
    priority: i16,
) -> Sql<Extras> {
    if extras.contains(Extras::LIMITED) {
        leave(tx, id)?;
        tx.change_one("DELETE FROM perdura_limits WHERE task_id = ?1", [id.as_i64()])?;
    }
    let extras = extras.without(Extras::LIMITED).without(Extras::PERMIT).without(Extras::STARTED);
    let Some(limit) = limit else { return Ok(extras) };
    let digest = keys::digest(tx.file_id, &limit.key);
    LimitRow::of_new(tx, (queue_id, digest), limit, priority, false)?.insert(tx, id)?;
    Ok(extras.with(Extras::LIMITED))
}

/// A task that waits for a permit.
pub(super) struct PermitWaiter {
    pub id: i64,
    pub priority: i64,
    pub permits: u32,
}

impl PermitWaiter {
    fn read(row: &Row<'_>) -> rusqlite::Result<PermitWaiter> {
        Ok(PermitWaiter {
            id: row.get(0)?,
            priority: row.get(1)?,
            permits: u32::try_from(row.get::<_, i64>(2)?.max(1)).unwrap_or(u32::MAX), // an edit by hand may have left any number
        })
    }
}

macro_rules! waiters {
    ($limit:literal) => {
        concat!(
            "SELECT task_id, priority, permits FROM perdura_limits INDEXED BY perdura_permit_waiters
             WHERE standing = 2 AND queue_id = ?1 AND digest = ?2 ORDER BY priority DESC, task_id LIMIT ",
            $limit
        )
    };
}

/// The first waiter for a permit of a key.
fn best_waiter(tx: &Tx<'_>, key: LimitedKey) -> Sql<Option<PermitWaiter>> {
    tx.find(waiters!(1), key, PermitWaiter::read)
}

/// The first two waiters for a permit of a key; `statement` is [`BEST_WAITERS`].
pub(super) fn best_waiters(statement: &mut Prepared<'_>, key: LimitedKey) -> Sql<VecDeque<PermitWaiter>> {
    statement.all(key, PermitWaiter::read)
}

/// The statement of [`best_waiters`].
pub(super) const BEST_WAITERS: &str = waiters!(2);

/// How many permits of a key are held.
fn holders(tx: &Tx<'_>, key: LimitedKey) -> Sql<u32> {
    holders_by(&mut tx.prepare(HOLDERS)?, key)
}

/// The statement of [`holders`].
pub(super) const HOLDERS: &str = "SELECT COUNT(*) FROM perdura_limits INDEXED BY perdura_permits WHERE standing = 1 AND queue_id = ?1 AND digest = ?2";

/// The same with [`HOLDERS`] prepared.
pub(super) fn holders_by(statement: &mut Prepared<'_>, key: LimitedKey) -> Sql<u32> {
    Ok(statement.find(key, |row| row.get(0))?.unwrap_or(0))
}
