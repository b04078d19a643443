//! The fence of attempts: only the running attempt of a task may write.

use crate::error::{Error, ErrorKind};
use crate::planted::planted;
use crate::store::commit::tx::Tx;
use crate::store::error::Sql;
use crate::task::TaskId;

/// Checks that an attempt is the running one (also while its task is LOST).
///
/// # Errors
/// `Superseded`.
pub(crate) fn check_fence(tx: &Tx<'_>, id: TaskId, generation: u64) -> Sql<()> {
    if planted("g07-no-fence") || planted("g17-an-attempt-that-counts-no-more-commits") {
        return Ok(());
    }
    let sql = "SELECT EXISTS (SELECT 1 FROM perdura_tasks
               WHERE task_id = ?1 AND generation = ?2 AND in_flight = 1 AND state IN (1, 5))";
    if tx.one(sql, (id.as_i64(), generation.cast_signed()), |row| row.get(0))? {
        return Ok(());
    }
    Err(superseded(id).into())
}

/// The error for a write by an attempt that is no longer the running one.
pub(super) fn superseded(id: TaskId) -> Error {
    Error::new(
        ErrorKind::Superseded,
        format!("task {id} is not run by this attempt any more; nothing was changed"),
    )
}
