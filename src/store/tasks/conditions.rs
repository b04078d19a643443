//! Conditions: what programs say is met or not, and the tasks that wait for it.
//!
//! Each name is a number, and a bit of what a task needs (`needs`). A condition counts as met if that was said last, by another process or by the
//! program that still owns the file; what nobody knows is not met. A task is not held before a claim meets it, and then by the first condition that
//! is missing. Whoever says that one is met lifts those that wait for it, up to so many, in the same commit; for the rest that a met condition
//! has waiters is the duty itself, which the owner's timer works off in chunks, and which ends if the condition is missing again.

use rusqlite::Connection;

use super::damaged::unless_damaged;
use super::row::{HotRow, time_at};
use crate::error::Error;
use crate::lifecycle::TaskEvent;
use crate::planted::planted;
use crate::store::commit::tx::Tx;
use crate::store::error::Sql;
use crate::task::{Condition, MAX_CONDITIONS, TaskId, Timestamp};

/// What stands for free disk where the number of a condition stands.
pub(crate) const FREE_DISK: i64 = 62;

/// Tasks that are lifted in the commit that says that a condition is met.
const LIFTED_AT_ONCE: usize = 256;

/// Waiters of one condition that are counted.
const MAX_COUNTED: i64 = 10_001;

/// Whether a condition counts as met: a condition on a row of `perdura_conditions`.
macro_rules! is_met {
    ($c:literal) => {
        concat!(
            "(COALESCE(",
            $c,
            ".is_met, 0) = 1 AND (",
            $c,
            ".owner_epoch IS NULL OR ",
            $c,
            ".owner_epoch = (SELECT m.owner_epoch FROM perdura_meta m WHERE m.id = 1)))"
        )
    };
}
pub(crate) use is_met;

/// The number of a condition, drawn if the file has none.
///
/// # Errors
/// `InvalidInput` for one too many.
pub(crate) fn condition_id(tx: &Tx<'_>, name: &str) -> Sql<i64> {
    if let Some(id) = find_condition(tx, name)? {
        return Ok(id);
    }
    let names = tx
        .conn
        .prepare_cached("SELECT condition FROM perdura_conditions ORDER BY condition")?
        .query_map([], |row| row.get::<_, String>(0))?
        .collect::<rusqlite::Result<Vec<String>>>()?;
    if names.len() >= MAX_CONDITIONS && !planted("g20-conditions-beyond-their-bits") {
        let problem = format!(
            "is one too many: a file can have {MAX_CONDITIONS} conditions, and they stay for good; use one of {}",
            names.join(", ")
        );
        return Err(Error::invalid_value("condition", name, &problem).into());
    }
    let id = i64::try_from(names.len()).unwrap_or(i64::MAX);
    tx.change_one("INSERT INTO perdura_conditions (condition_id, condition) VALUES (?1, ?2)", (id, name))?;
    Ok(id)
}

fn find_condition(tx: &Tx<'_>, name: &str) -> Sql<Option<i64>> {
    tx.find("SELECT condition_id FROM perdura_conditions WHERE condition = ?1", [name], |row| row.get(0))
}

/// The conditions that count as met: their bits.
pub(crate) fn met(conn: &Connection) -> Sql<i64> {
    let sql = concat!(
        "SELECT COALESCE(SUM(1 << c.condition_id), 0) FROM perdura_conditions c WHERE ",
        is_met!("c")
    );
    Ok(conn.prepare_cached(sql)?.query_row([], |row| row.get(0))?)
}

/// Says that a condition is met, or is not; `owner` is the epoch of who says so and owns the file. Lifts those that wait for it.
pub(crate) fn set_condition(
    tx: &Tx<'_>,
    name: &str,
    is_met: bool,
    owner: Option<i64>,
    now: Timestamp,
) -> Sql<()> {
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
        effects.due = Some(effects.due.map_or(now, |due| due.min(now))); // the timer: for the rest, and for those that run
    });
    Ok(())
}

/// Lifts up to so many that wait for a condition; says how many.
fn lift_waiters(tx: &Tx<'_>, id: i64, limit: usize, now: Timestamp) -> Sql<usize> {
    let waiters = tx.numbers(
        "SELECT task_id FROM perdura_needs INDEXED BY perdura_condition_waiters WHERE waits_for = ?1
         ORDER BY free_bytes, task_id LIMIT ?2",
        (id, i64::try_from(limit).unwrap_or(i64::MAX)),
    )?;
    lift(tx, &waiters, now)?;
    Ok(waiters.len())
}

fn lift(tx: &Tx<'_>, waiters: &[i64], now: Timestamp) -> Sql<()> {
    for id in waiters {
        let lift = |row: &HotRow| row.must_apply(tx, TaskEvent::ConditionMet, now);
        unless_damaged(tx, TaskId::from_i64(*id), now, lift)?;
    }
    Ok(())
}

/// Lifts up to so many that wait for conditions that are met; says how many.
pub(crate) fn lift_met(tx: &Tx<'_>, limit: usize, now: Timestamp) -> Sql<usize> {
    let mut lifted = 0;
    for id in tx.numbers(WITH_DUTY, [])? {
        lifted += lift_waiters(tx, id, limit.saturating_sub(lifted), now)?;
    }
    Ok(lifted)
}

/// Conditions that are met and have waiters.
const WITH_DUTY: &str = concat!(
    "SELECT c.condition_id FROM perdura_conditions c WHERE ",
    is_met!("c"),
    " AND EXISTS (SELECT 1 FROM perdura_needs n INDEXED BY perdura_condition_waiters WHERE n.waits_for = c.condition_id)"
);

/// Where a pass over those that wait for free disk has come to: what that one needs, and its id.
pub(crate) type DiskPass = (i64, i64);

/// Lifts up to so many that wait for no more free disk than this, beyond `after`; answers with where to go on, unless the pass has come to
/// its end.
///
/// The claims of the same commit may hold a task again, for the disk has less by then. So the pass goes on behind what it has seen.
pub(crate) fn lift_by_disk(
    tx: &Tx<'_>,
    free_bytes: u64,
    after: DiskPass,
    limit: usize,
    now: Timestamp,
) -> Sql<Option<DiskPass>> {
    let free = i64::try_from(free_bytes).unwrap_or(i64::MAX);
    let sql = "SELECT free_bytes, task_id FROM perdura_needs INDEXED BY perdura_condition_waiters
               WHERE waits_for = 62 AND (free_bytes, task_id) > (?1, ?2) AND free_bytes <= ?3 ORDER BY free_bytes, task_id LIMIT ?4";
    let mut statement = tx.conn.prepare_cached(sql)?;
    let limit_ = i64::try_from(limit).unwrap_or(i64::MAX);
    let found = statement
        .query_map((after.0, after.1, free, limit_), |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<Vec<DiskPass>>>()?;
    lift(tx, &found.iter().map(|(_, id)| *id).collect::<Vec<_>>(), now)?;
    Ok(found.last().copied().filter(|_| found.len() == limit))
}

/// What there is to do for conditions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ConditionDuty {
    /// Tasks wait for a condition that is met.
    pub lifts: bool,
    /// Tasks wait for free disk.
    pub waits_for_disk: bool,
}

/// What there is to do for conditions.
pub(crate) fn condition_duty(conn: &Connection) -> Sql<ConditionDuty> {
    let disk = "SELECT EXISTS (SELECT 1 FROM perdura_needs INDEXED BY perdura_condition_waiters WHERE waits_for = 62)";
    Ok(ConditionDuty {
        lifts: conn.prepare_cached(WITH_DUTY)?.exists([])?,
        waits_for_disk: conn.prepare_cached(disk)?.query_row([], |row| row.get(0))?,
    })
}

/// Whether the file knows any condition, or a task waits for free disk.
pub(crate) fn has_conditions(conn: &Connection) -> Sql<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM perdura_conditions)
                   OR EXISTS (SELECT 1 FROM perdura_needs INDEXED BY perdura_condition_waiters WHERE waits_for = 62)";
    Ok(conn.prepare_cached(sql)?.query_row([], |row| row.get(0))?)
}

/// The conditions that a file knows, by their names.
pub(crate) fn conditions(conn: &Connection) -> Sql<Vec<Condition>> {
    let sql = concat!(
        "SELECT c.condition, ",
        is_met!("c"),
        ", c.is_met, c.set_at_ms, c.owner_epoch IS NOT NULL,
             c.is_met IS NULL OR COALESCE(c.owner_epoch <> (SELECT m.owner_epoch FROM perdura_meta m WHERE m.id = 1), 0),
             (SELECT COUNT(*) FROM (SELECT 1 FROM perdura_needs n INDEXED BY perdura_condition_waiters WHERE n.waits_for = c.condition_id LIMIT ?1))
         FROM perdura_conditions c ORDER BY c.condition"
    );
    let mut statement = conn.prepare_cached(sql)?;
    let conditions = statement.query_map([MAX_COUNTED], |row| {
        Ok(Condition {
            name: row.get(0)?,
            is_met: row.get(1)?,
            said: row.get(2)?,
            set_at: time_at(row, 3)?,
            by_owner: row.get(4)?,
            is_unknown: row.get(5)?,
            waiting: row.get(6)?,
        })
    })?;
    Ok(conditions.collect::<rusqlite::Result<_>>()?)
}

/// The name of a condition.
pub(crate) fn condition_name(conn: &Connection, id: i64) -> Sql<String> {
    let sql = "SELECT condition FROM perdura_conditions WHERE condition_id = ?1";
    let name = conn.prepare_cached(sql)?.query_row([id], |row| row.get(0));
    Ok(name.unwrap_or_else(|_| format!("condition {id}")))
}
