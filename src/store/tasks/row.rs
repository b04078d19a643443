//! The hot row of a task: how it is read, and the UPDATE by which events change it.
//!
//! Fast paths write the row themselves: the claim, the settle of a success, the permit of a waiter.

use rusqlite::{Connection, OptionalExtension};

use super::{keys, needs, outside, permits};
use crate::error::{Error, ErrorKind};
use crate::lifecycle::{Reasons, Refusal, TaskEvent, TaskState, Transition, Wait, next};
use crate::store::commit::tx::Tx;
use crate::store::error::{Fault, Sql, contradiction};
use crate::task::{ErrorReport, Extras, Hold, State, TaskId, Timestamp};

/// A task's hot row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct HotRow {
    pub task_id: TaskId,
    pub task_state: TaskState,
    pub generation: i64,
    pub queue_id: i64,
    pub name_id: i64,
    pub extras: Extras,
    pub late: bool,
    pub snoozes: i64,
    pub run_at: Option<Timestamp>,
    pub anchor: Option<Timestamp>,
    pub expires_at: Option<Timestamp>,
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
}

/// Reads a state from a row.
pub(crate) fn state_at(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<State> {
    let code = row.get(column)?;
    State::from_code(code).ok_or(rusqlite::Error::IntegralValueOutOfRange(column, code))
}

/// Reads the reasons for which a task waits from a row.
pub(crate) fn reasons_at(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Reasons> {
    let code = row.get(column)?;
    Reasons::from_code(code).ok_or(rusqlite::Error::IntegralValueOutOfRange(column, code))
}

/// Reads a hold from a row.
pub(crate) fn hold_at(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Hold> {
    let code = row.get(column)?;
    Hold::from_code(code).ok_or(rusqlite::Error::IntegralValueOutOfRange(column, code))
}

/// Reads the extras of a task from a row.
pub(crate) fn extras_at(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Extras> {
    let code = row.get(column)?;
    Extras::from_code(code).ok_or(rusqlite::Error::IntegralValueOutOfRange(column, code))
}

/// Reads a time, or none, from a row.
pub(crate) fn time_at(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Option<Timestamp>> {
    Ok(row.get::<_, Option<i64>>(column)?.map(Timestamp::from_millis))
}

/// What SQL stores for a time.
pub(crate) fn ms(time: Option<Timestamp>) -> Option<i64> {
    time.map(Timestamp::as_millis)
}

impl HotRow {
    /// The row of a task, if there is one.
    pub(crate) fn find(conn: &Connection, id: TaskId) -> Sql<Option<HotRow>> {
        let sql = "SELECT state, reasons, attempt_number, max_attempts, in_flight, cancel_requested, suspect,
                          generation, queue_id, extras, late, snoozes,
                          run_at_ms, anchor_ms, expires_at_ms, started_at_ms, finished_at_ms, name_id
                   FROM perdura_tasks WHERE task_id = ?1";
        let mut statement = conn.prepare_cached(sql)?;
        let row = statement.query_row([id.as_i64()], |row| {
            Ok(HotRow {
                task_id: id,
                task_state: TaskState {
                    state: state_at(row, 0)?,
                    reasons: reasons_at(row, 1)?,
                    attempt_number: row.get(2)?,
                    max_attempts: row.get(3)?,
                    in_flight: row.get(4)?,
                    cancel_requested: row.get(5)?,
                    suspect: row.get(6)?,
                },
                generation: row.get(7)?,
                queue_id: row.get(8)?,
                extras: extras_at(row, 9)?,
                late: row.get(10)?,
                snoozes: row.get(11)?,
                run_at: time_at(row, 12)?,
                anchor: time_at(row, 13)?,
                expires_at: time_at(row, 14)?,
                started_at: time_at(row, 15)?,
                finished_at: time_at(row, 16)?,
                name_id: row.get(17)?,
            })
        });
        Ok(row.optional()?)
    }

    /// The row of a task.
    ///
    /// # Errors
    /// `NotFound`.
    pub(crate) fn get(conn: &Connection, id: TaskId) -> Sql<HotRow> {
        HotRow::find(conn, id)?.ok_or_else(|| no_task(id).into())
    }

    /// Applies an event by the rules, and writes the new row. If the rules refuse it (the inner result), nothing is written.
    pub(crate) fn apply(
        &self,
        tx: &Tx<'_>,
        event: TaskEvent,
        now: Timestamp,
    ) -> Sql<Result<Transition, Refusal>> {
        match next(&self.task_state, event) {
            Ok(next) => {
                self.moved(&next, now).replace(tx, self, now)?;
                Ok(Ok(next))
            }
            Err(refusal) => Ok(Err(refusal)),
        }
    }

    /// Applies an event that the rules must allow for this row, because the query that found it says so.
    pub(crate) fn must_apply(&self, tx: &Tx<'_>, event: TaskEvent, now: Timestamp) -> Sql<()> {
        match self.apply(tx, event, now)? {
            Ok(_) => Ok(()),
            Err(refusal) => Err(refused_by_rules(self.task_id, refusal)),
        }
    }

    /// This row after an event that the rules must allow; nothing is written.
    pub(crate) fn after(&self, event: TaskEvent, now: Timestamp) -> Sql<HotRow> {
        match next(&self.task_state, event) {
            Ok(next) => Ok(self.moved(&next, now)),
            Err(refusal) => Err(refused_by_rules(self.task_id, refusal)),
        }
    }

    /// This row after a transition; nothing is written.
    pub(crate) fn moved(&self, next: &Transition, now: Timestamp) -> HotRow {
        let (run_at, anchor) = match next.wait {
            Wait::Keep => (self.run_at, self.anchor),
            Wait::Clear => (None, None),
            Wait::For(delay) => (Some(now.saturating_add(delay)), Some(now)),
        };
        let over = |s: &TaskState| s.state.is_finished() && !(s.state == State::Lost && s.in_flight);
        let finished_at = match (over(&self.task_state), over(&next.task_state)) {
            (true, true) => self.finished_at,
            (false, true) => Some(now),
            (_, false) => None,
        };
        HotRow { task_state: next.task_state, run_at, anchor, finished_at, ..*self }
    }

    /// Writes this row over `before`, which must still be what the file holds.
    pub(crate) fn replace(mut self, tx: &Tx<'_>, before: &HotRow, now: Timestamp) -> Sql<()> {
        if self.extras != Extras::NONE {
            self.extras = self.key_follows(tx, before, now)?;
            if self.extras.contains(Extras::NEEDS) {
                needs::follow(tx, self.task_id, before.task_state.reasons, self.task_state.reasons)?;
            }
            if self.extras.contains(Extras::OUTSIDE) && self.task_state.state != State::Running {
                outside::come_back(tx, self.task_id)?;
                self.extras = self.extras.without(Extras::OUTSIDE);
            }
            if self.extras.contains(Extras::LIMITED) {
                let (was, to) = ((before.task_state, before.extras), (self.task_state, self.extras));
                (self.task_state, self.extras) = permits::follow(tx, self.task_id, was, to)?;
            }
        }
        if before.extras.contains(Extras::RUN) && before.is_live() != self.is_live() {
            tx.run_moved(self.task_id, self.finished_at.unwrap_or(Timestamp::from_millis(0)));
        }
        let (to, from) = (&self.task_state, &before.task_state);
        tx.change_one(
            "UPDATE perdura_tasks SET
                 state = ?1, hold = ?2, attempt_number = ?3, in_flight = ?4, cancel_requested = ?5, suspect = ?6,
                 extras = ?7, late = ?8, snoozes = ?9, run_at_ms = ?10, anchor_ms = ?11, expires_at_ms = ?12,
                 started_at_ms = ?13, finished_at_ms = ?14, reasons = ?20
             WHERE task_id = ?15 AND generation = ?16 AND state = ?17 AND reasons = ?18 AND in_flight = ?19",
            rusqlite::params![
                to.state.code(),
                to.hold().code(),
                to.attempt_number,
                to.in_flight,
                to.cancel_requested,
                to.suspect,
                self.extras.code(),
                self.late,
                self.snoozes,
                ms(self.run_at),
                ms(self.anchor),
                ms(self.expires_at),
                ms(self.started_at),
                ms(self.finished_at),
                self.task_id.as_i64(),
                before.generation,
                from.state.code(),
                from.reasons.code(),
                from.in_flight,
                to.reasons.code(),
            ],
        )?;
        tx.count(self.queue_id, from.state, from.hold(), -1);
        tx.count(self.queue_id, to.state, to.hold(), 1);
        if to.suspect || from.suspect {
            tx.suspect_moved();
        }
        let is_ready = |s: &TaskState| s.state == State::Queued && s.reasons == Reasons::NONE;
        let is_queued = to.state == State::Queued;
        let waits_until = (is_queued && to.hold() == Hold::Time).then_some(self.run_at).flatten();
        let expires_at = is_queued.then_some(self.expires_at).flatten();
        tx.effect(|effects| {
            effects.changed |= to.state != from.state || to.hold() != from.hold();
            effects.ended.extend((to.state != from.state && to.state.is_finished()).then_some(self.task_id));
            effects.ready += u64::from(is_ready(to) && !is_ready(from));
            effects.due = effects.due.into_iter().chain(waits_until).chain(expires_at).min();
        });
        Ok(())
    }

    /// Releases the unique key of a task that does not need it any more. A key that the task needs only until it starts, and needs again now,
    /// is taken again if it is free. Returns the extras.
    fn key_follows(&self, tx: &Tx<'_>, before: &HotRow, now: Timestamp) -> Sql<Extras> {
        let needed = before.needs_key();
        match (self.needs_key(), self.extras.contains(Extras::KEY)) {
            (false, true) if needed && keys::release(tx, self.task_id, now)? => {
                Ok(self.extras.without(Extras::KEY))
            }
            (true, false) if !needed && self.extras.contains(Extras::UNTIL_STARTED) => {
                Ok(self.extras.with(keys::take(tx, self.task_id, self.queue_id, None, now)?))
            }
            _ => Ok(self.extras),
        }
    }

    fn is_live(&self) -> bool {
        TaskState::needs_key(self.task_state.state, self.task_state.in_flight, false)
    }

    fn needs_key(&self) -> bool {
        let TaskState { state, in_flight, .. } = self.task_state;
        TaskState::needs_key(state, in_flight, self.extras.contains(Extras::UNTIL_STARTED))
    }
}

/// The error for the id of no task.
pub(crate) fn no_task(id: TaskId) -> Error {
    Error::new(
        ErrorKind::NotFound,
        format!("there is no task {id}; it was deleted, moved to the dead letters, or never existed"),
    )
}

/// The fault of a row for which the rules refuse an event that they must allow.
pub(crate) fn refused_by_rules(id: TaskId, refusal: Refusal) -> Fault {
    contradiction(&format!("the rules refuse what is due for task {id}: {refusal:?}"))
}

/// Stores the error of a task.
pub(crate) fn write_error(tx: &Tx<'_>, id: TaskId, error: &ErrorReport) -> Sql<()> {
    tx.run(
        "INSERT INTO perdura_errors (task_id, error_type, error_message, error_traceback) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (task_id) DO UPDATE SET error_type = excluded.error_type,
             error_message = excluded.error_message, error_traceback = excluded.error_traceback",
        (id.as_i64(), &error.error_type, &error.error_message, &error.error_traceback),
    )?;
    Ok(())
}

/// Deletes the error of a task.
pub(crate) fn clear_error(tx: &Tx<'_>, id: TaskId) -> Sql<()> {
    tx.run("DELETE FROM perdura_errors WHERE task_id = ?1", [id.as_i64()])?;
    Ok(())
}
