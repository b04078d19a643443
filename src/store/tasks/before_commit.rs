//! The last step before each COMMIT: what the writes of a transaction have gathered goes into the file with it.

use super::{counts, rollups, suspects};
use crate::store::commit::tx::Tx;
use crate::store::error::Sql;

/// Passes on the turn among suspects, and writes the counters: the last step before COMMIT.
pub(crate) fn finish(tx: &Tx<'_>) -> Sql<()> {
    suspects::pass_turn(tx, None)?;
    counts::write(tx, &tx.gathered(|all| all.take_counts()))?;
    rollups::write(tx, &tx.gathered(|all| all.take_rollups()))
}
