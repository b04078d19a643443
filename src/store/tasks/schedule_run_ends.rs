//! What follows the end of a run: a run that waits may start, or a schedule whose ticks follow the ends of its runs gets its next tick.
//!
//! A write that ends, revives or removes a run notes it ([`Tx::run_moved`]). The noted runs are handled at the end of the transaction.

use super::damaged::unless_damaged;
use super::row::HotRow;
use super::schedule_runs::{self, LIVE, OVER, WAITS};
use super::schedules;
use crate::lifecycle::TaskEvent;
use crate::planted::planted;
use crate::store::commit::tx::Tx;
use crate::store::error::Sql;
use crate::task::{TaskId, Timestamp};

/// Handles the runs that this transaction has noted; returns whether there were any.
pub(super) fn go_on(tx: &Tx<'_>) -> Sql<bool> {
    let mut any = false;
    loop {
        let moved = tx.gathered(|all| std::mem::take(&mut all.moved_runs));
        if moved.is_empty() {
            return Ok(any);
        }
        // First the state of all of them: a run that waited may have ended in the same transaction.
        let mut ended = Vec::new();
        for (id, at) in moved {
            let Some((schedule_id, has_ended)) = note(tx, id)? else { continue };
            any = true;
            ended.extend(has_ended.then_some((schedule_id, at)));
        }
        for (schedule_id, at) in ended {
            run_ended(tx, schedule_id, at)?;
        }
    }
}

/// Updates whether a run is live; returns its schedule and whether the run has just ended. None if it is no run.
fn note(tx: &Tx<'_>, id: TaskId) -> Sql<Option<(i64, bool)>> {
    let sql = "SELECT schedule_id, live, (SELECT t.state < 2 OR (t.state = 5 AND t.in_flight = 1) FROM perdura_tasks t WHERE t.task_id = r.task_id),
                      EXISTS (SELECT 1 FROM perdura_dead_letters d WHERE d.task_id = r.task_id)
               FROM perdura_runs r WHERE r.task_id = ?1";
    let run = tx.find(sql, [id.as_i64()], |row| {
        Ok((
            row.get::<_, i64>(0)?,
            row.get::<_, i64>(1)?,
            row.get::<_, Option<bool>>(2)?,
            row.get::<_, bool>(3)?,
        ))
    })?;
    let Some((schedule_id, was, is_live, is_letter)) = run else { return Ok(None) };
    if is_live.is_none() && !is_letter {
        schedule_runs::forget(tx, id)?;
    } else if is_live.unwrap_or(false) != (was != OVER) {
        let is = if is_live.unwrap_or(false) { LIVE } else { OVER };
        schedule_runs::set_live(tx, id, was, is)?;
    }
    Ok(Some((schedule_id, was != OVER && !is_live.unwrap_or(false))))
}

/// Starts the next run of a schedule that waits or, if there is none, lets the schedule go on; unless a run is still live.
fn run_ended(tx: &Tx<'_>, schedule_id: i64, at: Timestamp) -> Sql<()> {
    if planted("g15-the-end-of-a-run-is-not-told") {
        return Ok(());
    }
    loop {
        if schedule_runs::under_way(tx, schedule_id)?.0 {
            return Ok(());
        }
        let Some(next) = schedule_runs::first(tx, schedule_id, true)? else {
            return schedules::run_ended(tx, schedule_id, at);
        };
        schedule_runs::set_live(tx, next, WAITS, LIVE)?;
        let lift = |row: &HotRow| row.must_apply(tx, TaskEvent::ParentsEnded, at);
        if unless_damaged(tx, next, at, lift)?.is_some() {
            return Ok(());
        }
        schedule_runs::set_live(tx, next, LIVE, OVER)?; // it was damaged and has been failed
    }
}
