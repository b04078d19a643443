//! Passes permits of keys on: whatever a transaction has freed goes to those who wait, in that transaction. The rules are in `permits`.

use super::damaged::unless_damaged;
use super::permits::{PermitState, PermitWaiter, best_waiter, holders, set_standing};
use super::row::HotRow;
use crate::lifecycle::TaskEvent;
use crate::planted::planted;
use crate::store::commit::effects::LimitedKey;
use crate::store::commit::tx::Tx;
use crate::store::error::Sql;
use crate::task::{Extras, TaskId, Timestamp};

/// Passes on the permits of the keys that this transaction has touched; says whether there are any.
pub(super) fn pass_permits(tx: &Tx<'_>) -> Sql<bool> {
    let mut any = false;
    while let Some(key) = tx.gathered(|all| all.next_moved_permit()) {
        pass_key(tx, key)?;
        any = true;
    }
    Ok(any)
}

/// Lifts waiters of a key, the best first, until the best does not fit.
fn pass_key(tx: &Tx<'_>, key: LimitedKey) -> Sql<()> {
    while let Some(waiter) = best_waiter(tx, key)? {
        let id = TaskId::from_i64(waiter.id);
        if !waiter.is_held {
            set_standing(tx, id, PermitState::Waits, PermitState::Apart)?; // edited by hand: `check` reports it
            continue;
        }
        let held = holders(tx, key)?;
        if held >= waiter.permits && !take_for(tx, key, &waiter, held)? {
            break;
        }
        let give = |row: &HotRow| {
            let to = row.after(TaskEvent::PermitGiven, NO_TIME)?;
            HotRow { extras: to.extras.with(Extras::PERMIT), ..to }.replace(tx, row, NO_TIME)
        };
        unless_damaged(tx, id, NO_TIME, give)?;
    }
    Ok(())
}

/// Takes as many permits as a waiter lacks from holders behind it that are ready and not claimed; takes none if these are too few.
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
