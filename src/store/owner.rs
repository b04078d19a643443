//! The owner epoch: the fence of a whole process. (The lock itself is in `sidecar`.)

use super::fault::Sql;
use super::suspects;
use super::tx::Tx;
use crate::error::{Error, ErrorKind};
use crate::planted::planted;

/// Whether the owner claims from a queue: a condition on the text of its name. SQLite reads the list once for each statement.
macro_rules! is_served {
    ($queue:literal) => {
        concat!(
            "((SELECT m.served FROM perdura_meta m WHERE m.id = 1) IS NULL OR ",
            $queue,
            " IN (SELECT j.value FROM json_each((SELECT m.served FROM perdura_meta m WHERE m.id = 1)) j))"
        )
    };
}
pub(super) use is_served;

/// Raises the epoch: whoever owned the file before can write as its owner no more. The new owner serves these queues, or all.
pub(crate) fn take_over(tx: &Tx<'_>, served: Option<&[String]>) -> Sql<i64> {
    let served = served.map(|queues| serde_json::Value::from(queues).to_string());
    let sql = "UPDATE perdura_meta SET owner_epoch = owner_epoch + 1, served = ?1 WHERE id = 1";
    tx.change_one(sql, [served])?;
    suspects::serve(tx)?;
    epoch(tx)
}

/// Checks, once a transaction, that this process still owns the file.
///
/// # Errors
/// `OwnershipLost`.
pub(crate) fn check_epoch(tx: &Tx<'_>, mine: impl Into<Option<i64>>) -> Sql<()> {
    if tx.epoch_checked.get() || mine.into() == Some(epoch(tx)?) || planted("g05-the-epoch-is-not-compared") {
        tx.epoch_checked.set(true);
        return Ok(());
    }
    let message = "another process has taken over the execution of this file; was its -owner file deleted?";
    Err(Error::new(ErrorKind::OwnershipLost, message).into())
}

pub(super) fn epoch(tx: &Tx<'_>) -> Sql<i64> {
    tx.one("SELECT owner_epoch FROM perdura_meta WHERE id = 1", [], |row| row.get(0))
}
