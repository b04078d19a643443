//! The last step before each COMMIT: follow-up writes for what the transaction has changed, and the counters.

use super::{counts, permit_lifts, rollups, schedule_run_ends, suspects};
use crate::store::commit::tx::Tx;
use crate::store::error::Sql;

/// Lifts the holds of tasks that the writes of this transaction have freed: runs that waited for others to end, the best waiters for
/// permits, and the next suspect. Returns whether there was anything to check.
pub(crate) fn lift(tx: &Tx<'_>) -> Sql<bool> {
    let mut any = false;
    // A task that one of them lifts, or fails as damaged, may give the others work.
    while schedule_run_ends::go_on(tx)? | permit_lifts::pass_permits(tx)? | suspects::pass_turn(tx)? {
        any = true;
    }
    Ok(any)
}

/// Lifts freed tasks and writes the counters: the last step before COMMIT.
pub(crate) fn finish(tx: &Tx<'_>) -> Sql<()> {
    lift(tx)?;
    counts::write(tx, &tx.gathered(|all| all.take_counts()))?;
    rollups::write(tx, &tx.gathered(|all| all.take_rollups()))
}
