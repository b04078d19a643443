//! Passes permits of keys on: what a transaction has freed goes to waiters in the same transaction. The rules are in `permits`.

use super::damaged::unless_damaged;
use super::permits::{
    BEST_WAITERS, HOLDERS, PermitState, PermitWaiter, SET_STANDING, best_waiters, holders_by, set_standing,
};
use super::row::HotRow;
use crate::lifecycle::TaskEvent;
use crate::planted::planted;
use crate::store::commit::effects::LimitedKey;
use crate::store::commit::tx::{Prepared, Tx};
use crate::store::error::Sql;
use crate::task::{Extras, Hold, State, TaskId, Timestamp};

/// Passes on the permits of the keys that this transaction has noted; returns whether there were any.
pub(super) fn pass_permits(tx: &Tx<'_>) -> Sql<bool> {
    let Some(mut key) = tx.gathered(|all| all.next_moved_permit()) else { return Ok(false) };
    let mut lift = Lift::new(tx)?;
    loop {
        lift.pass_key(tx, key)?;
        let Some(next) = tx.gathered(|all| all.next_moved_permit()) else { return Ok(true) };
        key = next;
    }
}

/// The statements that run for each key, or for each waiter that is lifted.
struct Lift<'c> {
    best_waiters: Prepared<'c>,
    holders: Prepared<'c>,
    give: Prepared<'c>,
    set_standing: Prepared<'c>,
}

impl<'c> Lift<'c> {
    fn new(tx: &Tx<'c>) -> Sql<Lift<'c>> {
        Ok(Lift {
            best_waiters: tx.prepare(BEST_WAITERS)?,
            holders: tx.prepare(HOLDERS)?,
            give: tx.prepare(
                "UPDATE perdura_tasks SET hold = 0, reasons = 0, extras = extras | 8
                 WHERE task_id = ?1 AND queue_id = ?2 AND state = 0 AND reasons = 32 AND in_flight = 0 AND suspect = 0 AND extras & 12 = 4",
            )?,
            set_standing: tx.prepare(SET_STANDING)?,
        })
    }

    /// Lifts waiters of a key, the best first, until the best does not fit.
    fn pass_key(&mut self, tx: &Tx<'_>, key: LimitedKey) -> Sql<()> {
        let mut waiters = best_waiters(&mut self.best_waiters, key)?;
        if waiters.is_empty() {
            return Ok(());
        }
        let mut held = holders_by(&mut self.holders, key)?;
        // Holders that were lifted here go before all that still wait: if there are no others, no permit can be taken.
        let mut lifted = 0;
        while let Some(waiter) = waiters.pop_front() {
            if held >= waiter.permits {
                if held == lifted || !take_for(tx, key, &waiter, held)? {
                    return Ok(());
                }
                held = waiter.permits - 1;
                waiters.clear(); // stale: the tasks whose permits were taken wait too
            }
            let id = TaskId::from_i64(waiter.id);
            if self.give(tx, key, id)? || give_slowly(tx, id)? {
                let is_counted = !planted("g16-a-permit-that-is-given-is-not-counted");
                (held, lifted) = (held + u32::from(is_counted), lifted + 1);
            } else {
                held = holders_by(&mut self.holders, key)?; // it does not wait any more
            }
            if waiters.is_empty() {
                waiters = best_waiters(&mut self.best_waiters, key)?;
            }
        }
        Ok(())
    }

    /// Gives a permit to a task that waits for nothing else; returns false if it is not such a task. It writes the transition itself instead
    /// of calling `lifecycle::next`, which would need the row first: the WHERE has the conditions of that function.
    fn give(&mut self, tx: &Tx<'_>, (queue_id, _): LimitedKey, id: TaskId) -> Sql<bool> {
        match self.give.run((id.as_i64(), queue_id)) {
            Ok(1) => {}
            Err(fault) if !fault.is_damage() => return Err(fault),
            _ => return Ok(false),
        }
        self.set_standing.change_one((id.as_i64(), PermitState::Waits as i64, PermitState::Holds as i64))?;
        tx.count(queue_id, State::Queued, Hold::Limit, -1);
        tx.count(queue_id, State::Queued, Hold::Ready, 1);
        tx.effect(|effects| (effects.changed, effects.ready) = (true, effects.ready + 1));
        Ok(true)
    }
}

/// Gives a permit to any task that waits for one, by the rules; returns whether it did. A task that does not wait, or is damaged, leaves
/// the line.
fn give_slowly(tx: &Tx<'_>, id: TaskId) -> Sql<bool> {
    let sql = "SELECT state = 0 AND hold = 6 AND extras & 4 <> 0 FROM perdura_tasks WHERE task_id = ?1";
    if tx.find(sql, [id.as_i64()], |row| row.get::<_, Option<bool>>(0))?.flatten() != Some(true) {
        set_standing(tx, id, PermitState::Waits, PermitState::Apart)?; // edited by hand, which `check` reports
        return Ok(false);
    }
    let give = |row: &HotRow| {
        let to = row.after(TaskEvent::PermitGiven, NO_TIME)?;
        HotRow { extras: to.extras.with(Extras::PERMIT), ..to }.replace(tx, row, NO_TIME)
    };
    Ok(unless_damaged(tx, id, NO_TIME, give)?.is_some())
}

/// Takes as many permits as a waiter lacks from holders behind it that are ready and not claimed; none if there are too few of them.
fn take_for(tx: &Tx<'_>, key: LimitedKey, waiter: &PermitWaiter, held: u32) -> Sql<bool> {
    let lacks = held - waiter.permits + 1;
    let worst = tx.numbers(
        "SELECT l.task_id FROM perdura_limits l INDEXED BY perdura_permits
         WHERE l.standing = 1 AND l.queue_id = ?1 AND l.digest = ?2 AND (l.priority < ?3 OR (l.priority = ?3 AND l.task_id > ?4))
             AND (SELECT t.state = 0 AND t.hold = 0 AND t.suspect = 0 AND t.extras & 16 = 0 FROM perdura_tasks t WHERE t.task_id = l.task_id)
         ORDER BY l.priority, l.task_id DESC LIMIT ?5",
        (key.0, key.1, waiter.priority, waiter.id, lacks),
    )?;
    if worst.len() < lacks as usize || planted("g16-a-ready-task-keeps-its-permit-from-a-better-one") {
        return Ok(false);
    }
    for id in worst {
        let take = |row: &HotRow| {
            let to = row.after(TaskEvent::PermitTaken, NO_TIME)?;
            HotRow { extras: to.extras.without(Extras::PERMIT), ..to }.replace(tx, row, NO_TIME)
        };
        unless_damaged(tx, TaskId::from_i64(id), NO_TIME, take)?;
    }
    Ok(true)
}

/// Permits neither begin a wait nor end a task, so no time is written.
const NO_TIME: Timestamp = Timestamp::from_millis(0);
