//! The owner epoch: the fence of a whole process. (The lock itself is in `sidecar`.)

use super::fault::Sql;
use super::tx::Tx;
use crate::error::{Error, ErrorKind};

/// Raises the epoch: whoever owned the file before can write as its owner no more.
pub(crate) fn take_over(tx: &Tx<'_>) -> Sql<i64> {
    tx.change_one("UPDATE perdura_meta SET owner_epoch = owner_epoch + 1 WHERE id = 1", [])?;
    epoch(tx)
}

/// Checks, once a transaction, that this process still owns the file.
///
/// # Errors
/// `OwnershipLost`.
pub(crate) fn check_epoch(tx: &Tx<'_>, mine: impl Into<Option<i64>>) -> Sql<()> {
    if tx.epoch_checked.get() || mine.into() == Some(epoch(tx)?) {
        tx.epoch_checked.set(true);
        return Ok(());
    }
    let message = "another process has taken over the execution of this file; was its -owner file deleted?";
    Err(Error::new(ErrorKind::OwnershipLost, message).into())
}

pub(super) fn epoch(tx: &Tx<'_>) -> Sql<i64> {
    tx.one("SELECT owner_epoch FROM perdura_meta WHERE id = 1", [], |row| row.get(0))
}
