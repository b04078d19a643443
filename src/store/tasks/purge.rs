//! Retention: deletes old finished tasks, and moves old failed ones to the dead letters.
//!
//! Ids rise with the time of enqueue, and nothing finishes before it was enqueued. So a pass walks the ids from the lowest, and
//! stops at the first slice in which all tasks are too young; no index is kept for it, and the hot path pays nothing. It searches on a
//! reading connection, and writes only if it has found something.

use rusqlite::Connection;

use super::dead_letters::move_to_dead_letters;
use super::remove::{KeyEnds, remove};
use super::row::HotRow;
use crate::lifecycle::{TaskEvent, next};
use crate::planted::planted;
use crate::store::commit::tx::Tx;
use crate::store::error::Sql;
use crate::task::{State, TaskId, Timestamp};

/// Before which time tasks must have finished to be deleted or moved.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ages {
    /// SUCCEEDED and CANCELLED tasks that finished before this are deleted.
    pub delete_before: Option<Timestamp>,
    /// FAILED and LOST tasks that finished before this become dead letters.
    pub dead_letter_before: Option<Timestamp>,
}

impl Ages {
    /// Before which time a task in this state must have finished; none: it stays.
    fn of(self, state: State) -> Option<Timestamp> {
        match state {
            State::Succeeded | State::Cancelled => self.delete_before,
            State::Failed | State::Lost => self.dead_letter_before,
            State::Queued if planted("g04-waiting-tasks-purged") => self.delete_before,
            State::Queued | State::Running => None,
        }
    }
}

/// One slice of a pass, `limit` rows after the id `after`: the tasks that are old enough, and the id to go on after, if any.
pub(crate) fn old(
    conn: &Connection,
    ages: Ages,
    after: TaskId,
    limit: usize,
    now: Timestamp,
) -> Sql<(Vec<TaskId>, Option<TaskId>)> {
    let youngest = ages.delete_before.into_iter().chain(ages.dead_letter_before).max();
    let Some(youngest) = youngest else { return Ok((Vec::new(), None)) };
    let mut statement = conn.prepare_cached(
        "SELECT task_id, state, created_at_ms, finished_at_ms FROM perdura_tasks NOT INDEXED
         WHERE task_id > ?1 ORDER BY task_id LIMIT ?2",
    )?;
    let mut rows = statement.query((after.as_i64(), i64::try_from(limit).unwrap_or(i64::MAX)))?;
    let (mut seen, mut last, mut any_old, mut found) = (0, after, false, Vec::new());
    while let Some(row) = rows.next()? {
        seen += 1;
        last = TaskId::from_i64(row.get(0)?);
        let created: i64 = row.get(2)?;
        any_old |= created < youngest.as_millis() || created > now.as_millis(); // a time in the future says nothing about the age
        let Some(state) = State::from_code(row.get(1)?) else { continue }; // `check` reports it
        let finished: Option<i64> = row.get(if planted("g04-waiting-tasks-purged") { 2 } else { 3 })?;
        if finished.zip(ages.of(state)).is_some_and(|(ms, before)| ms < before.as_millis()) {
            found.push(last);
        }
    }
    Ok((found, (seen == limit && any_old).then_some(last)))
}

/// Deletes or moves those of these tasks that are (still) old enough, until `enough` returns true. Returns how many that were, and how
/// many ids it has handled. A damaged task is left unchanged, and does not stop the others.
pub(crate) fn purge(
    tx: &Tx<'_>,
    ages: Ages,
    ids: &[TaskId],
    now: Timestamp,
    enough: &dyn Fn() -> bool,
) -> Sql<(usize, usize)> {
    let mut ended = 0;
    let done = tx.each(ids, enough, |id| {
        match tx.whole(|| end(tx, ages, *id, now)) {
            Err(fault) if fault.is_damage() => {}
            is_over => ended += usize::from(is_over?),
        }
        Ok(())
    })?;
    Ok((ended, done))
}

/// Deletes or moves a task if it is old enough; returns whether it did.
fn end(tx: &Tx<'_>, ages: Ages, id: TaskId, now: Timestamp) -> Sql<bool> {
    let Some(row) = HotRow::find(tx.conn, id)? else { return Ok(false) };
    let state = row.task_state.state;
    let since = if planted("g04-waiting-tasks-purged") {
        row.finished_at.or(Some(Timestamp::from_millis(0)))
    } else {
        row.finished_at
    };
    if since.zip(ages.of(state)).is_none_or(|(since, before)| since >= before) {
        return Ok(false);
    }
    let is_letter = matches!(state, State::Failed | State::Lost);
    let event = if is_letter { TaskEvent::MovedToDeadLetters } else { TaskEvent::Deleted };
    if next(&row.task_state, event).is_err() {
        return Ok(false);
    }
    if is_letter {
        move_to_dead_letters(tx, &row, now)?
    } else {
        remove(tx, &row, KeyEnds::InTime(now), now)?
    }
    Ok(true)
}

/// Queues after the id `after` that have counters but no tasks, up to `limit`. Otherwise each read of the counts would read the counters of
/// queues that are used no more.
pub(crate) fn idle_queues(conn: &Connection, after: i64, limit: usize) -> Sql<Vec<i64>> {
    let mut statement = conn.prepare_cached(
        "SELECT DISTINCT c.queue_id FROM perdura_counts c WHERE c.queue_id > ?1 AND c.n = 0
             AND NOT EXISTS (SELECT 1 FROM perdura_counts o WHERE o.queue_id = c.queue_id AND o.n <> 0)
         ORDER BY c.queue_id LIMIT ?2",
    )?;
    let rows = statement.query_map((after, i64::try_from(limit).unwrap_or(i64::MAX)), |row| row.get(0))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Deletes the counters of these queues that are (still) 0, until `enough` returns true. Returns the same as [`purge`].
pub(crate) fn drop_counters(tx: &Tx<'_>, queues: &[i64], enough: &dyn Fn() -> bool) -> Sql<(usize, usize)> {
    let mut dropped = 0;
    let done = tx.each(queues, enough, |queue_id| {
        dropped += tx.run("DELETE FROM perdura_counts WHERE queue_id = ?1 AND n = 0", [queue_id])?;
        Ok(())
    })?;
    Ok((dropped, done))
}
