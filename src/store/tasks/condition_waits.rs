//! Tasks that wait for a condition or for free disk: what holds them, and what lifts them.
//!
//! The first claim that meets a task whose condition is missing holds it, by the first condition that is missing. The commit that sets a
//! condition to met lifts up to [`LIFTED_AT_ONCE`] of its waiters. The owner's timer lifts the rest in chunks, as long as the condition stays
//! met: it looks for met conditions that have waiters, so nothing else has to be stored.

use std::collections::BTreeMap;

use super::conditions::{FREE_DISK, WITH_DUTY, condition_id};
use super::damaged::unless_damaged;
use super::epoch::check_epoch;
use super::row::HotRow;
use crate::lifecycle::TaskEvent;
use crate::planted::planted;
use crate::store::commit::tx::Tx;
use crate::store::error::Sql;
use crate::task::{TaskId, Timestamp};

/// Tasks that are lifted in the commit that sets a condition to met.
const LIFTED_AT_ONCE: usize = 256;

/// How long after a task has begun to wait for free disk the timer measures it again.
pub(crate) const DISK_INTERVAL: std::time::Duration = std::time::Duration::from_secs(5);

/// Holds a ready task that lacks a condition or free disk.
pub(super) fn hold(tx: &Tx<'_>, row: &HotRow, lacks: i64, now: Timestamp) -> Sql<()> {
    row.must_apply(tx, TaskEvent::ConditionMissing, now)?;
    tx.change_one(
        "UPDATE perdura_needs SET waits_for = ?2 WHERE task_id = ?1",
        (row.task_id.as_i64(), lacks),
    )?;
    if lacks == FREE_DISK {
        let look = now.saturating_add(DISK_INTERVAL);
        tx.effect(|effects| effects.due = Some(effects.due.map_or(look, |due| due.min(look))));
    }
    Ok(())
}

/// Sets whether a condition is met, and lifts its waiters if so. `owner`: the epoch of the caller, if it owns the file.
pub(crate) fn set_condition(
    tx: &Tx<'_>,
    name: &str,
    is_met: bool,
    owner: Option<i64>,
    now: Timestamp,
) -> Sql<()> {
    if let Some(mine) = owner {
        check_epoch(tx, mine)?;
    }
    let id = condition_id(tx, name)?;
    let owner = owner.filter(|_| !planted("g20-what-the-owner-said-outlives-it"));
    let sql =
        "UPDATE perdura_conditions SET is_met = ?2, set_at_ms = ?3, owner_epoch = ?4 WHERE condition_id = ?1";
    tx.change_one(sql, (id, is_met, now.as_millis(), owner))?;
    if is_met && !planted("g04-nobody-is-lifted-when-a-condition-is-met") {
        lift_waiters(tx, id, LIFTED_AT_ONCE, now)?;
    }
    tx.effect(|effects| {
        effects.changed = true;
        effects.due = Some(effects.due.map_or(now, |due| due.min(now))); // wakes the timer: it lifts the rest, and checks running tasks
    });
    Ok(())
}

/// Repeats, with a new owner's epoch, what the same queue said of conditions before. Conditions that a process without the ownership has
/// set since are left as they are.
pub(crate) fn say_again(tx: &Tx<'_>, said: &Said, epoch: i64, now: Timestamp) -> Sql<()> {
    for (name, (is_met, at)) in said {
        let sql =
            "SELECT owner_epoch IS NULL AND set_at_ms <> ?2 FROM perdura_conditions WHERE condition = ?1";
        let is_anothers =
            tx.find(sql, (name, at.as_millis()), |row| row.get::<_, Option<bool>>(0))?.flatten();
        if is_anothers != Some(true) && !planted("g20-a-new-owner-forgets-what-it-has-said") {
            set_condition(tx, name, *is_met, Some(epoch), now)?;
        }
    }
    Ok(())
}

/// What a queue has said of conditions, and when.
pub(crate) type Said = BTreeMap<String, (bool, Timestamp)>;

/// Lifts up to `limit` tasks that wait for a condition; returns how many.
fn lift_waiters(tx: &Tx<'_>, id: i64, limit: usize, now: Timestamp) -> Sql<usize> {
    let waiters = tx.numbers(
        "SELECT task_id FROM perdura_needs INDEXED BY perdura_condition_waiters WHERE waits_for = ?1 AND waits_for < 62
         ORDER BY priority DESC, task_id LIMIT ?2",
        (id, i64::try_from(limit).unwrap_or(i64::MAX)),
    )?;
    lift(tx, &waiters, now)?;
    Ok(waiters.len())
}

fn lift(tx: &Tx<'_>, waiters: &[i64], now: Timestamp) -> Sql<()> {
    for id in waiters {
        let sql = "SELECT state = 0 AND reasons & 16 <> 0 FROM perdura_tasks WHERE task_id = ?1";
        if tx.find(sql, [id], |row| row.get::<_, Option<bool>>(0))?.flatten() == Some(true) {
            let lift = |row: &HotRow| row.must_apply(tx, TaskEvent::ConditionMet, now);
            unless_damaged(tx, TaskId::from_i64(*id), now, lift)?;
        } else {
            // Edited by hand, which `check` reports. It leaves the line, so that others do not wait behind it.
            tx.run("UPDATE perdura_needs SET waits_for = NULL WHERE task_id = ?1", [id])?;
        }
    }
    Ok(())
}

/// Lifts up to `limit` tasks that wait for conditions that are met; returns how many.
pub(crate) fn lift_met(tx: &Tx<'_>, limit: usize, now: Timestamp) -> Sql<usize> {
    let mut lifted = 0;
    for id in tx.numbers(WITH_DUTY, [])? {
        lifted += lift_waiters(tx, id, limit.saturating_sub(lifted), now)?;
    }
    Ok(lifted)
}

/// Cursor of a pass over the tasks that wait for free disk: the bytes that the last one needs, and its id.
pub(crate) type DiskPass = (i64, i64);

/// The start of a pass.
pub(crate) const DISK_PASS_START: DiskPass = (i64::MIN, i64::MIN);

/// Lifts up to `limit` tasks after the cursor that wait for no more free disk than `free_bytes`. Returns the new cursor; none at the end of
/// the pass.
///
/// The claims of the same commit may hold a task again, if the disk has less by then. The cursor keeps the pass from meeting it again.
pub(crate) fn lift_by_disk(
    tx: &Tx<'_>,
    free_bytes: u64,
    after: DiskPass,
    limit: usize,
    now: Timestamp,
) -> Sql<Option<DiskPass>> {
    let free = i64::try_from(free_bytes).unwrap_or(i64::MAX);
    let sql = "SELECT free_bytes, task_id FROM perdura_needs INDEXED BY perdura_disk_waiters
               WHERE waits_for = 62 AND (free_bytes, task_id) > (?1, ?2) AND free_bytes <= ?3 ORDER BY free_bytes, task_id LIMIT ?4";
    let mut statement = tx.conn.prepare_cached(sql)?;
    let limit_ = i64::try_from(limit).unwrap_or(i64::MAX);
    let found = statement
        .query_map((after.0, after.1, free, limit_), |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<Vec<DiskPass>>>()?;
    lift(tx, &found.iter().map(|(_, id)| *id).collect::<Vec<_>>(), now)?;
    Ok(found.last().copied().filter(|_| found.len() == limit))
}
