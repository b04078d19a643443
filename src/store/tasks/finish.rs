//! The end of each write transaction: what its writes have gathered goes into the file in the same commit.

use super::{rollups, suspects};
use crate::store::commit::tx::Tx;
use crate::store::error::Sql;

/// Passes on the turn among suspects, and writes the counters: the last step before COMMIT.
pub(crate) fn finish(tx: &Tx<'_>) -> Sql<()> {
    suspects::pass_turn(tx)?;
    for ((queue_id, state, hold), by) in tx.gathered(|all| all.take_counts()) {
        if by == 0 {
            continue;
        }
        // Bounded, so that a counter that is wrong, for whatever reason, never stops the queue: `check` reports it.
        let sql = "UPDATE perdura_counts SET n = MAX(0, MIN(n, 1 << 62) + ?4)
                   WHERE queue_id = ?1 AND state = ?2 AND hold = ?3";
        if tx.run(sql, (queue_id, state, hold, by))? == 0 {
            let sql = "INSERT INTO perdura_counts (queue_id, state, hold, n) VALUES (?1, ?2, ?3, MAX(0, ?4))";
            tx.change_one(sql, (queue_id, state, hold, by))?;
        }
    }
    rollups::write(tx, &tx.gathered(|all| all.take_rollups()))
}
