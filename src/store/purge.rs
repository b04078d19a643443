//! What age does: finished tasks are deleted, failed ones become dead letters.
//!
//! Ids rise with the time of enqueue, and nothing finishes before it was enqueued. So a pass walks the ids from the lowest, and
//! stops at the first chunk that is too young; no index is kept for it, and the hot path pays nothing.

use super::admin::remove;
use super::fault::Sql;
use super::letters::bury;
use super::quarantine::indexed;
use super::tx::Tx;
use crate::lifecycle::{Event, next};
use crate::planted::planted;
use crate::task::{State, TaskId, Timestamp};

/// Which ages end what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ages {
    /// SUCCEEDED and CANCELLED tasks that finished before this are deleted.
    pub delete_before: Option<Timestamp>,
    /// FAILED and LOST tasks that finished before this become dead letters.
    pub bury_before: Option<Timestamp>,
}

/// One chunk of a pass over the ids beyond `after`: how many tasks it ended, and where to go on, if anywhere.
pub(crate) fn purge(
    tx: &Tx<'_>,
    ages: Ages,
    after: TaskId,
    limit: usize,
    now: Timestamp,
) -> Sql<(usize, Option<TaskId>)> {
    let youngest = ages.delete_before.into_iter().chain(ages.bury_before).max();
    let Some(youngest) = youngest else { return Ok((0, None)) };
    let mut statement = tx.conn.prepare_cached(
        "SELECT task_id, state, created_at_ms, finished_at_ms FROM perdura_tasks WHERE task_id > ?1 ORDER BY task_id LIMIT ?2",
    )?;
    let mut rows = statement.query((after.as_i64(), i64::try_from(limit).unwrap_or(i64::MAX)))?;
    let (mut seen, mut last, mut any_old, mut over) = (0, after, false, Vec::new());
    while let Some(row) = rows.next()? {
        seen += 1;
        last = TaskId::from_i64(row.get(0)?);
        let created: i64 = row.get(2)?;
        any_old |= created < youngest.as_millis() || created > now.as_millis(); // a time to come says nothing of the age
        let Some(state) = State::from_code(row.get(1)?) else { continue }; // `check` reports it
        let before = match state {
            State::Succeeded | State::Cancelled => ages.delete_before,
            State::Failed | State::Lost => ages.bury_before,
            State::Queued if planted("g04-waiting-tasks-purged") => ages.delete_before,
            State::Queued | State::Running => None,
        };
        let finished: Option<i64> = row.get(if planted("g04-waiting-tasks-purged") { 2 } else { 3 })?;
        if finished.zip(before).is_some_and(|(ms, before)| ms < before.as_millis()) {
            over.push((last, state));
        }
    }
    drop(rows);
    let mut ended = 0;
    for (id, state) in over {
        let row = match indexed(tx, id) {
            Err(fault) if fault.is_damage() => continue,
            row => row?,
        };
        let buried = matches!(state, State::Failed | State::Lost);
        let event = if buried { Event::MovedToDeadLetters } else { Event::Deleted };
        if next(&row.standing, event).is_ok() {
            if buried {
                bury(tx, &row, now)?
            } else {
                remove(tx, &row)?
            }
            ended += 1;
        }
    }
    Ok((ended, (seen == limit && any_old).then_some(last)))
}
