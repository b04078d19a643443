//! Counters: how many tasks each queue has in each state and hold. Every write keeps them, so that no read scans the tasks.

use std::collections::BTreeMap;

use crate::store::commit::effects::CountKey;
use crate::store::commit::tx::Tx;
use crate::store::error::Sql;
use crate::task::{Hold, State};

impl Tx<'_> {
    /// Counts `by` more tasks of a queue in a state and hold.
    pub(crate) fn count(&self, queue_id: i64, state: State, hold: Hold, by: i64) {
        self.gathered(|all| all.count((queue_id, state.code(), hold.code()), by));
    }
}

/// Writes what was counted to the counters.
pub(crate) fn write(tx: &Tx<'_>, counted: &BTreeMap<CountKey, i64>) -> Sql<()> {
    for ((queue_id, state, hold), by) in counted {
        if *by == 0 {
            continue;
        }
        // Clamped, so that a wrong counter, which `check` reports, does not stop the queue.
        let sql = "UPDATE perdura_counts SET n = MAX(0, MIN(n, 1 << 62) + ?4)
                   WHERE queue_id = ?1 AND state = ?2 AND hold = ?3";
        if tx.run(sql, (queue_id, state, hold, by))? == 0 {
            let sql = "INSERT INTO perdura_counts (queue_id, state, hold, n) VALUES (?1, ?2, ?3, MAX(0, ?4))";
            tx.change_one(sql, (queue_id, state, hold, by))?;
        }
    }
    Ok(())
}
