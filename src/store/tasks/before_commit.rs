//! The last step before each COMMIT: what the writes of a transaction have gathered goes into the file with it.

use super::{counts, permit_lifts, rollups, schedule_run_ends, suspects};
use crate::store::commit::tx::Tx;
use crate::store::error::Sql;

/// Lifts what the writes of this transaction have freed: runs that waited for others to end, the best waiters of permits, and the next
/// suspect. Says whether there may be any.
pub(crate) fn lift(tx: &Tx<'_>) -> Sql<bool> {
    let mut any = false;
    // What one of them lifts, or puts aside as damaged, may be work for the others.
    while schedule_run_ends::go_on(tx)? | permit_lifts::pass_permits(tx)? | suspects::pass_turn(tx)? {
        any = true;
    }
    Ok(any)
}

/// Lifts what was freed, and writes the counters: the last step before COMMIT.
pub(crate) fn finish(tx: &Tx<'_>) -> Sql<()> {
    lift(tx)?;
    counts::write(tx, &tx.gathered(|all| all.take_counts()))?;
    rollups::write(tx, &tx.gathered(|all| all.take_rollups()))
}
