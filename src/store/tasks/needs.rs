//! What tasks need to start (conditions, free disk), and which of it a task waits for.
//!
//! The bit [`Extras::NEEDS`] of a task says that it has a row in `perdura_needs`.

use rusqlite::{OptionalExtension, Row};

use super::conditions::{FREE_DISK, bit, condition_id, condition_name, met};
use crate::lifecycle::Reasons;
use crate::planted::planted;
use crate::store::commit::tx::Tx;
use crate::store::error::Sql;
use crate::task::{Extras, Hold, Needs, NeedsRecord, TaskId};

/// A row of `perdura_needs`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NeedsRow {
    needs: i64,
    throughout: i64,
    free_bytes: i64,
    priority: i64,
}

impl NeedsRow {
    /// The row of a new task.
    ///
    /// # Errors
    /// `InvalidInput` if it names a new condition and the file has no room for one.
    pub(crate) fn of_new(tx: &Tx<'_>, needs: &Needs, priority: i16) -> Sql<NeedsRow> {
        let free_bytes = i64::try_from(needs.free_bytes).unwrap_or(i64::MAX);
        let mut row = NeedsRow { needs: 0, throughout: 0, free_bytes, priority: i64::from(priority) };
        for needed in &needs.conditions {
            let bit = bit(condition_id(tx, &needed.name)?);
            row.needs |= bit;
            row.throughout |= if needed.throughout { bit } else { 0 };
        }
        Ok(row)
    }

    pub(crate) fn insert(&self, tx: &Tx<'_>, id: TaskId) -> Sql<()> {
        let sql = "INSERT INTO perdura_needs (task_id, needs, throughout, free_bytes, priority) VALUES (?1, ?2, ?3, ?4, ?5)";
        let NeedsRow { needs, throughout, free_bytes, priority } = self;
        tx.change_one(sql, (id.as_i64(), needs, throughout, free_bytes, priority))
    }

    fn find(tx: &Tx<'_>, id: TaskId) -> Sql<Option<NeedsRow>> {
        let sql = "SELECT needs, throughout, free_bytes, priority FROM perdura_needs WHERE task_id = ?1";
        let read = |row: &Row<'_>| {
            Ok(NeedsRow {
                needs: row.get(0)?,
                throughout: row.get(1)?,
                free_bytes: row.get(2)?,
                priority: row.get(3)?,
            })
        };
        tx.find(sql, [id.as_i64()], read)
    }
}

/// Which conditions are met, and how much disk is free: read once for each claim, when the first task needs it.
pub(super) struct Surroundings<'d> {
    met: Option<i64>,
    free_bytes: Option<Option<u64>>,
    free_disk: &'d dyn Fn() -> Option<u64>,
}

/// Whether a task has what it needs to start.
pub(super) enum NeedsMet {
    /// It has; while it runs it needs these conditions (bits).
    Yes { throughout: i64 },
    /// It lacks this: the number of a condition, or [`FREE_DISK`].
    Lacks(i64),
}

impl<'d> Surroundings<'d> {
    pub(super) fn new(free_disk: &'d dyn Fn() -> Option<u64>) -> Surroundings<'d> {
        Surroundings { met: None, free_bytes: None, free_disk }
    }

    /// Judges the needs of a task.
    pub(super) fn judge(&mut self, tx: &Tx<'_>, id: TaskId) -> Sql<NeedsMet> {
        let Some(row) = NeedsRow::find(tx, id)? else { return Ok(NeedsMet::Yes { throughout: 0 }) };
        let met = match self.met {
            Some(met) => met,
            None => *self.met.insert(met(tx.conn)?),
        };
        let missing = row.needs & !met;
        if missing != 0 && !planted("g20-a-task-starts-without-its-condition") {
            return Ok(NeedsMet::Lacks(i64::from(missing.trailing_zeros())));
        }
        if row.free_bytes > 0 {
            let free = *self.free_bytes.get_or_insert_with(self.free_disk);
            if free.is_none_or(|free| free < row.free_bytes.unsigned_abs()) {
                return Ok(NeedsMet::Lacks(FREE_DISK));
            }
        }
        Ok(NeedsMet::Yes { throughout: row.throughout })
    }
}

/// Notes the condition that a task waits for after its attempt. Returns its extras.
pub(super) fn wait_for(tx: &Tx<'_>, id: TaskId, condition: i64, extras: Extras) -> Sql<Extras> {
    tx.change_one(
        "INSERT INTO perdura_needs (task_id, needs, throughout, free_bytes, priority, waits_for)
         SELECT task_id, 0, 0, 0, priority, ?2 FROM perdura_tasks WHERE task_id = ?1
         ON CONFLICT (task_id) DO UPDATE SET waits_for = excluded.waits_for",
        (id.as_i64(), condition),
    )?;
    Ok(extras.with(Extras::NEEDS))
}

/// Clears `waits_for` if a change of reasons ends the wait for a condition.
pub(super) fn follow(tx: &Tx<'_>, id: TaskId, before: Reasons, to: Reasons) -> Sql<()> {
    if before.contains(Hold::Condition) && !to.contains(Hold::Condition) {
        tx.run("UPDATE perdura_needs SET waits_for = NULL WHERE task_id = ?1", [id.as_i64()])?;
    }
    Ok(())
}

/// Deletes the needs of a task or of a dead letter.
pub(super) fn forget_needs(tx: &Tx<'_>, id: TaskId) -> Sql<()> {
    tx.run("DELETE FROM perdura_needs WHERE task_id = ?1", [id.as_i64()]).map(drop)
}

/// Replaces the needs of a queued task; returns its extras.
pub(super) fn replace_needs(
    tx: &Tx<'_>,
    id: TaskId,
    extras: Extras,
    needs: &Needs,
    priority: i16,
) -> Sql<Extras> {
    if extras.contains(Extras::NEEDS) {
        forget_needs(tx, id)?;
    }
    if needs.is_empty() {
        return Ok(extras.without(Extras::NEEDS));
    }
    NeedsRow::of_new(tx, needs, priority)?.insert(tx, id)?;
    Ok(extras.with(Extras::NEEDS))
}

/// Copies the needs of a dead letter to the new task that replays it; returns the bit for them.
pub(super) fn copy_needs(tx: &Tx<'_>, letter: TaskId, new: TaskId) -> Sql<Extras> {
    let Some(row) = NeedsRow::find(tx, letter)? else { return Ok(Extras::NONE) };
    row.insert(tx, new)?;
    Ok(Extras::NEEDS)
}

/// What a task needs, if it has a row of needs.
pub(crate) fn needs_record(conn: &rusqlite::Connection, id: TaskId) -> Sql<Option<NeedsRecord>> {
    let sql = "SELECT needs, throughout, free_bytes, waits_for FROM perdura_needs WHERE task_id = ?1";
    let found: Option<(i64, i64, i64, Option<i64>)> = conn
        .prepare_cached(sql)?
        .query_row([id.as_i64()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))
        .optional()?;
    let Some((needs, throughout, free_bytes, waits_for)) = found else { return Ok(None) };
    let names = |bits: i64| -> Sql<Vec<String>> {
        (0..FREE_DISK).filter(|id| bits >> id & 1 == 1).map(|id| condition_name(conn, id)).collect()
    };
    let condition = waits_for.filter(|id| *id != FREE_DISK);
    Ok(Some(NeedsRecord {
        conditions: names(needs)?,
        throughout: names(throughout)?,
        free_disk: free_bytes.max(0).unsigned_abs(),
        waits_for: condition.map(|id| condition_name(conn, id)).transpose()?,
        waits_for_disk: waits_for == Some(FREE_DISK),
    }))
}
