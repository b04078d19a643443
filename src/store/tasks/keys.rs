//! Unique keys: at most one live task of a queue, or of one name in it, holds a key.

use std::hash::Hasher;

use siphasher::sip128::{Hasher128, SipHasher24};

use crate::error::{Error, ErrorKind};
use crate::store::commit::tx::Tx;
use crate::store::error::Sql;
use crate::task::TaskId;

/// What the file keeps of a key.
pub(crate) type Digest = [u8; 16];

/// The digest of a key: SipHash-2-4-128, keyed with the file's random id, so that it says nothing outside the file.
pub(crate) fn digest(file_id: &[u8; 16], key: &str) -> Digest {
    let mut hasher = SipHasher24::new_with_key(file_id);
    hasher.write(key.as_bytes());
    hasher.finish128().as_bytes()
}

/// The live task that holds a key, if there is one.
pub(crate) fn holder(tx: &Tx<'_>, queue_id: i64, digest: &[u8]) -> Sql<Option<TaskId>> {
    let sql = "SELECT task_id FROM perdura_keys WHERE queue_id = ?1 AND digest = ?2";
    Ok(tx.find(sql, (queue_id, digest), |row| row.get(0))?.map(TaskId::from_i64))
}

/// Gives a key that nobody holds to a task.
pub(crate) fn hold(tx: &Tx<'_>, queue_id: i64, digest: &[u8], id: TaskId) -> Sql<()> {
    let sql = "INSERT INTO perdura_keys (queue_id, digest, task_id) VALUES (?1, ?2, ?3)";
    tx.change_one(sql, (queue_id, digest, id.as_i64()))
}

/// Takes the key of a task that comes to life (again); says whether it has one.
///
/// # Errors
/// `Conflict` if a live task holds it.
pub(crate) fn take(tx: &Tx<'_>, id: TaskId, queue_id: i64) -> Sql<bool> {
    let sql = "SELECT unique_digest FROM perdura_args WHERE task_id = ?1";
    let Some(digest) = tx.find(sql, [id.as_i64()], |row| row.get::<_, Option<Vec<u8>>>(0))?.flatten() else {
        return Ok(false);
    };
    if let Some(holder) = holder(tx, queue_id, &digest)? {
        let message = format!("task {holder} holds the same unique key; try again when it has ended");
        return Err(Error::new(ErrorKind::Conflict, message).into());
    }
    hold(tx, queue_id, &digest, id)?;
    Ok(true)
}

/// Releases the key that a task holds.
pub(crate) fn release(tx: &Tx<'_>, id: TaskId) -> Sql<()> {
    tx.change_one("DELETE FROM perdura_keys WHERE task_id = ?1", [id.as_i64()])
}

/// Releases the key of a task whose row may not say rightly whether it holds one.
pub(crate) fn release_if_held(tx: &Tx<'_>, id: TaskId) -> Sql<()> {
    tx.run("DELETE FROM perdura_keys WHERE task_id = ?1", [id.as_i64()]).map(drop)
}
