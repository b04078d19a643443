//! The last step before each COMMIT: what the writes of a transaction have gathered goes into the file with it.

use super::{counts, rollups, run_ends, suspects};
use crate::store::commit::tx::Tx;
use crate::store::error::Sql;

/// Lifts what the writes of this transaction have freed: runs that waited for others to end, and the next suspect. Says whether there may
/// be any.
pub(crate) fn lift(tx: &Tx<'_>) -> Sql<bool> {
    let runs_moved = run_ends::go_on(tx)?;
    Ok(suspects::pass_turn(tx)? || runs_moved)
}

/// Lifts what was freed, and writes the counters: the last step before COMMIT.
pub(crate) fn finish(tx: &Tx<'_>) -> Sql<()> {
    lift(tx)?;
    counts::write(tx, &tx.gathered(|all| all.take_counts()))?;
    rollups::write(tx, &tx.gathered(|all| all.take_rollups()))
}
