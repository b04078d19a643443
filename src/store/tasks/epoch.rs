//! The owner epoch: it fences the writes of a whole process. (The lock of the owner is in `file/owner_lock`.)

use std::time::Duration;

use rusqlite::Connection;

use crate::error::{Error, ErrorKind};
use crate::planted::planted;
use crate::store::commit::tx::Tx;
use crate::store::error::Sql;
use crate::task::millis;

/// Whether the owner claims from a queue: a condition on its name. SQLite reads the list once for each statement.
macro_rules! is_served {
    ($queue:literal) => {
        concat!(
            "((SELECT m.served FROM perdura_meta m WHERE m.id = 1) IS NULL OR ",
            $queue,
            " IN (SELECT j.value FROM json_each((SELECT m.served FROM perdura_meta m WHERE m.id = 1)) j))"
        )
    };
}
pub(crate) use is_served;

/// What a new owner writes into the file about itself, for other processes and later owners.
#[derive(Debug, Clone, Default)]
pub(crate) struct OwnerSettings {
    /// The queues that it serves; none: all.
    pub served: Option<Vec<String>>,
    /// Its engines.
    pub engines: Vec<EngineLanes>,
    /// How long it wants finished tasks to be kept, if it has set that.
    pub retention: Option<Retention>,
}

/// The queues of an engine's tasks.
#[derive(Debug, Clone)]
pub(crate) struct EngineLanes {
    pub engine: String,
    pub queues: Vec<String>,
    /// The limit for each of these queues that has none.
    pub limit: u32,
}

/// How long finished tasks are kept; none: for good.
pub(crate) type Retention = Option<Duration>;

/// A list of names as JSON: as the file keeps it, and as SQL conditions take it.
pub(crate) fn queue_list(queues: &[String]) -> String {
    serde_json::Value::from(queues).to_string()
}

/// The stored value for "for good".
const FOR_GOOD: i64 = -1;

/// Raises the epoch, so that the previous owner can no longer write as the owner, and writes the settings of the new one. Returns its epoch.
pub(crate) fn take_over(tx: &Tx<'_>, settings: &OwnerSettings) -> Sql<i64> {
    let served = settings.served.as_deref().map(queue_list);
    let retention = settings.retention.map(|kept| kept.map_or(FOR_GOOD, millis));
    let engines: Vec<String> = settings.engines.iter().map(|lanes| lanes.engine.clone()).collect();
    let engines = (!engines.is_empty()).then(|| queue_list(&engines));
    let sql = "UPDATE perdura_meta SET owner_epoch = owner_epoch + 1, served = ?1, retention_ms = COALESCE(?2, retention_ms), engines = ?3
               WHERE id = 1";
    tx.change_one(sql, (served, retention, engines))?;
    for EngineLanes { queues, limit, .. } in &settings.engines {
        for queue in queues {
            let sql =
                "UPDATE perdura_queues SET max_in_flight = ?2 WHERE queue_id = ?1 AND max_in_flight IS NULL";
            tx.run(sql, (tx.queue_id(queue)?, limit))?;
        }
    }
    epoch(tx)
}

/// How long finished tasks are kept, if an owner has set that.
pub(crate) fn retention(conn: &Connection) -> Sql<Option<Retention>> {
    let sql = "SELECT retention_ms FROM perdura_meta WHERE id = 1";
    let stored: Option<i64> = conn.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
    Ok(stored.map(|ms| u64::try_from(ms).ok().map(Duration::from_millis)))
}

/// Checks, once in each transaction, that this process still owns the file.
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

pub(crate) fn epoch(tx: &Tx<'_>) -> Sql<i64> {
    tx.one("SELECT owner_epoch FROM perdura_meta WHERE id = 1", [], |row| row.get(0))
}
