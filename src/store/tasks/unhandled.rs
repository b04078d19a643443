//! Lifts the holds of tasks whose name no handler knew, when an owner knows it.

use std::collections::BTreeMap;

use super::damaged::unless_damaged;
use super::names::find_task_name;
use super::row::HotRow;
use crate::lifecycle::TaskEvent;
use crate::planted::planted;
use crate::store::commit::tx::Tx;
use crate::store::error::Sql;
use crate::task::{HandledNames, TaskId, Timestamp};

/// Cursor of a pass over the tasks with an unknown name. A pass looks at each task once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lifting {
    name_id: i64,
    task_id: i64,
}

impl Lifting {
    /// The start of a pass.
    pub(crate) const START: Lifting = Lifting { name_id: i64::MIN, task_id: i64::MIN };
}

/// Lifts the hold of tasks whose name, in the version of their args, a handler knows. Looks at up to `limit` tasks; returns the new cursor,
/// none at the end of the pass.
///
/// The claims of the same commit may hold a task again, so a pass that always began at the start might not end.
pub(crate) fn lift_known(
    tx: &Tx<'_>,
    known: &HandledNames,
    from: Lifting,
    limit: usize,
    now: Timestamp,
) -> Sql<Option<Lifting>> {
    let (mut left, mut last) = (limit, from);
    for (name_id, version) in known_names(tx, known)?.range(from.name_id..) {
        let after = if *name_id == from.name_id { from.task_id } else { i64::MIN };
        let sql = "SELECT t.task_id, (SELECT a.version FROM perdura_args a WHERE a.task_id = t.task_id) <= ?3
                   FROM perdura_tasks t INDEXED BY perdura_unknown WHERE t.state = 0 AND t.hold = 4 AND t.name_id = ?1 AND t.task_id > ?2
                   ORDER BY t.task_id LIMIT ?4";
        let mut statement = tx.conn.prepare_cached(sql)?;
        let of_name = (*name_id, after, *version, i64::try_from(left).unwrap_or(i64::MAX));
        let held = statement
            .query_map(of_name, |row| Ok((row.get(0)?, row.get::<_, Option<bool>>(1)?)))?
            .collect::<rusqlite::Result<Vec<(i64, Option<bool>)>>>()?;
        for (task_id, is_known) in held {
            if is_known != Some(false) || planted("g04-holds-of-newer-versions-are-lifted") {
                let lift = |row: &HotRow| row.must_apply(tx, TaskEvent::NameKnown, now);
                unless_damaged(tx, TaskId::from_i64(task_id), now, lift)?;
            }
            (left, last) = (left - 1, Lifting { name_id: *name_id, task_id });
        }
        if left == 0 {
            return Ok(Some(last));
        }
    }
    Ok(None)
}

/// The ids of the names that handlers know, each with the newest version of its args.
fn known_names(tx: &Tx<'_>, known: &HandledNames) -> Sql<BTreeMap<i64, u32>> {
    let mut numbers = BTreeMap::new();
    for (name, version) in known {
        if let Some(name_id) = find_task_name(tx.conn, name)? {
            numbers.insert(name_id, *version);
        }
    }
    Ok(numbers)
}
