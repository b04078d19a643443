//! Conditions: which names there are, and which of them are met.
//!
//! Each condition has a number: its bit in what a task needs (`needs`). A condition counts as met if the last statement about it says so, and
//! that statement comes from a process that did not own the file, or from the present owner. An unknown condition is not met.

use rusqlite::Connection;

use crate::error::Error;
use crate::planted::planted;
use crate::store::commit::tx::Tx;
use crate::store::error::Sql;
use crate::task::{Condition, MAX_CONDITIONS, Timestamp};

/// Stands for free disk in `perdura_needs.waits_for`, in place of a condition's number.
pub(crate) const FREE_DISK: i64 = 62;

/// Waiters of one condition are counted up to this number.
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

/// The number of a condition. A new condition gets the lowest free number.
///
/// # Errors
/// `InvalidInput` if the file has as many conditions as it can have.
pub(crate) fn condition_id(tx: &Tx<'_>, name: &str) -> Sql<i64> {
    if let Some(id) = find_condition(tx, name)? {
        return Ok(id);
    }
    let mut statement = tx
        .conn
        .prepare_cached("SELECT condition_id, condition FROM perdura_conditions ORDER BY condition")?;
    let known = statement
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<Vec<(i64, String)>>>()?;
    let most = if planted("g20-conditions-beyond-their-bits") { 1000 } else { FREE_DISK };
    let Some(id) = (0..most).find(|id| known.iter().all(|(taken, _)| taken != id)) else {
        let names: Vec<&str> = known.iter().map(|(_, name)| name.as_str()).collect();
        let problem = format!(
            "is one too many: a file can have {MAX_CONDITIONS} conditions, and they stay for good; use one of {}",
            names.join(", ")
        );
        return Err(Error::invalid_value("condition", name, &problem).into());
    };
    tx.change_one("INSERT INTO perdura_conditions (condition_id, condition) VALUES (?1, ?2)", (id, name))?;
    Ok(id)
}

fn find_condition(tx: &Tx<'_>, name: &str) -> Sql<Option<i64>> {
    tx.find("SELECT condition_id FROM perdura_conditions WHERE condition = ?1", [name], |row| row.get(0))
}

/// The bits of the conditions that count as met.
pub(crate) fn met(conn: &Connection) -> Sql<i64> {
    let sql = concat!(
        "SELECT COALESCE(SUM(1 << c.condition_id), 0) FROM perdura_conditions c WHERE ",
        is_met!("c")
    );
    Ok(conn.prepare_cached(sql)?.query_row([], |row| row.get(0))?)
}

/// The bit of a condition; 0 for a number above 63.
pub(super) fn bit(id: i64) -> i64 {
    u32::try_from(id).ok().and_then(|id| 1_i64.checked_shl(id)).unwrap_or(0)
}

/// Conditions that are met and have waiters. (`IS NOT NULL`, not EXISTS: SQLite would turn EXISTS into a join, whose order depends on
/// statistics.)
pub(super) const WITH_DUTY: &str = concat!(
    "SELECT c.condition_id FROM perdura_conditions c WHERE ",
    is_met!("c"),
    " AND (SELECT n.task_id FROM perdura_needs n INDEXED BY perdura_condition_waiters WHERE n.waits_for = c.condition_id AND n.waits_for < 62 LIMIT 1) IS NOT NULL"
);

/// What the timer has to do for conditions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ConditionDuty {
    /// Tasks wait for a condition that is met.
    pub lifts: bool,
    /// Tasks wait for free disk.
    pub waits_for_disk: bool,
}

/// What the timer has to do for conditions.
pub(crate) fn condition_duty(conn: &Connection) -> Sql<ConditionDuty> {
    let disk =
        "SELECT EXISTS (SELECT 1 FROM perdura_needs INDEXED BY perdura_disk_waiters WHERE waits_for = 62)";
    Ok(ConditionDuty {
        lifts: conn.prepare_cached(WITH_DUTY)?.exists([])?,
        waits_for_disk: conn.prepare_cached(disk)?.query_row([], |row| row.get(0))?,
    })
}

/// Whether the file knows any condition, or a task waits for free disk.
pub(crate) fn has_conditions(conn: &Connection) -> Sql<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM perdura_conditions NOT INDEXED)
                   OR EXISTS (SELECT 1 FROM perdura_needs INDEXED BY perdura_disk_waiters WHERE waits_for = 62)";
    Ok(conn.prepare_cached(sql)?.query_row([], |row| row.get(0))?)
}

/// The conditions of a file, by name.
pub(crate) fn conditions(conn: &Connection) -> Sql<Vec<Condition>> {
    let sql = concat!(
        "SELECT c.condition, ",
        is_met!("c"),
        ", c.is_met, c.set_at_ms, c.owner_epoch IS NOT NULL,
             c.is_met IS NULL OR COALESCE(c.owner_epoch <> (SELECT m.owner_epoch FROM perdura_meta m WHERE m.id = 1), 0),
             (SELECT COUNT(*) FROM (SELECT 1 FROM perdura_needs n INDEXED BY perdura_condition_waiters WHERE n.waits_for = c.condition_id AND n.waits_for < 62 LIMIT ?1))
         FROM perdura_conditions c ORDER BY c.condition"
    );
    let mut statement = conn.prepare_cached(sql)?;
    let conditions = statement.query_map([MAX_COUNTED], |row| {
        Ok(Condition {
            name: row.get(0)?,
            is_met: row.get(1)?,
            said: row.get(2)?,
            set_at: row.get::<_, Option<i64>>(3)?.map(Timestamp::from_millis),
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
