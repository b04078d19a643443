//! Unique keys: at most one task of a queue, or of one name in a queue, holds a key.
//!
//! A key is taken as long as its task needs it ([`TaskState::needs_key`]). A key may also be taken for a time; it is then taken until that
//! time is over, even if the task has ended or is gone. A row whose time is over stays until an enqueue wants the key, or the maintenance
//! deletes it. The bit [`Extras::KEY`] of a task says that a row of `perdura_keys` names it.

use std::hash::Hasher;
use std::time::Duration;

use rusqlite::{Connection, Row};
use siphasher::sip128::{Hasher128, SipHasher24};

use crate::config::MAX_DURATION;
use crate::error::{Error, ErrorKind};
use crate::lifecycle::TaskState;
use crate::planted::planted;
use crate::store::commit::tx::Tx;
use crate::store::error::{Sql, contradiction};
use crate::task::{Extras, State, TaskId, Timestamp, millis};

/// What the file stores of a key.
pub(crate) type Digest = [u8; 16];

/// The digest of a key: SipHash-2-4-128, keyed with the file's random id, so that it reveals nothing outside the file.
pub(crate) fn digest(file_id: &[u8; 16], key: &str) -> Digest {
    let mut hasher = SipHasher24::new_with_key(file_id);
    hasher.write(key.as_bytes());
    hasher.finish128().as_bytes()
}

/// Whether a key is taken.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum FoundKey {
    Free,
    /// Its time is over and its task does not need it any more, but a row still names that task.
    Over(TaskId),
    Taken {
        by: TaskId,
        /// The beginning and the end of the time for which it is taken, if there is one.
        time: Option<(Timestamp, Timestamp)>,
    },
}

/// Whether a key is taken now.
pub(crate) fn look(tx: &Tx<'_>, queue_id: i64, digest: &[u8], now: Timestamp) -> Sql<FoundKey> {
    let sql = "SELECT task_id, since_ms, until_ms FROM perdura_keys WHERE queue_id = ?1 AND digest = ?2";
    let read =
        |row: &Row<'_>| Ok((row.get(0)?, row.get::<_, Option<i64>>(1)?, row.get::<_, Option<i64>>(2)?));
    let Some((by, since, until)) = tx.find(sql, (queue_id, digest), read)? else { return Ok(FoundKey::Free) };
    let time = since.map(Timestamp::from_millis).zip(until.map(Timestamp::from_millis));
    let by = TaskId::from_i64(by);
    Ok(match time {
        Some((_, until)) if until <= now && !is_needed(tx.conn, by)? => FoundKey::Over(by),
        _ => FoundKey::Taken { by, time },
    })
}

/// Whether the task that the row of a key names needs the key.
fn is_needed(conn: &Connection, id: TaskId) -> Sql<bool> {
    let sql = "SELECT state, in_flight, extras FROM perdura_tasks WHERE task_id = ?1 AND extras & 1 = 1";
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query([id.as_i64()])?;
    let Some(row) = rows.next()? else { return Ok(false) };
    let (state, extras) = (row.get(0)?, row.get(2)?);
    let out_of_range = |column, code| rusqlite::Error::IntegralValueOutOfRange(column, code);
    let state = State::from_code(state).ok_or(out_of_range(0, state))?;
    let extras = Extras::from_code(extras).ok_or(out_of_range(2, extras))?;
    Ok(TaskState::needs_key(state, row.get(1)?, extras.contains(Extras::UNTIL_STARTED)))
}

/// Gives a key to a task; with `time`, for at least that time. `key` is what [`look`] has found; it may be taken by a dead letter
/// that the task replays.
pub(crate) fn hold(
    tx: &Tx<'_>,
    queue_id: i64,
    digest: &[u8],
    key: FoundKey,
    id: TaskId,
    time: Option<(Timestamp, Timestamp)>,
) -> Sql<()> {
    if let FoundKey::Over(by) | FoundKey::Taken { by, .. } = key {
        let sql = "DELETE FROM perdura_keys WHERE queue_id = ?1 AND digest = ?2 AND task_id = ?3";
        tx.change_one(sql, (queue_id, digest, by.as_i64()))?;
        forget(tx, by)?;
    }
    let (since, until) = time.unzip();
    let [since, until] = [since, until].map(|time| time.map(Timestamp::as_millis));
    let sql = "INSERT INTO perdura_keys (queue_id, digest, task_id, since_ms, until_ms) VALUES (?1, ?2, ?3, ?4, ?5)";
    tx.change_one(sql, (queue_id, digest, id.as_i64(), since, until))
}

/// Clears the bit of a task, which may be gone, that no row of a key names any more.
fn forget(tx: &Tx<'_>, id: TaskId) -> Sql<()> {
    let sql = "UPDATE perdura_tasks SET extras = extras & ~1 WHERE task_id = ?1 AND extras & 1 = 1";
    tx.run(sql, [id.as_i64()]).map(drop)
}

/// The time for which a key is taken from `now` on.
pub(crate) fn time_from(now: Timestamp, lasts: Option<Duration>) -> Option<(Timestamp, Timestamp)> {
    lasts.map(|lasts| (now, now.saturating_add(lasts)))
}

/// Takes the unique key of a task that is live again; returns the bits for it. With `replays`, it is a new task that replays that dead
/// letter.
///
/// # Errors
/// `Conflict` if the key is taken; if the task needs the key only until it starts, it goes on without it instead.
pub(crate) fn take(
    tx: &Tx<'_>,
    id: TaskId,
    queue_id: i64,
    replays: Option<TaskId>,
    now: Timestamp,
) -> Sql<Extras> {
    let sql = "SELECT unique_digest, until_started, unique_for_ms FROM perdura_args WHERE task_id = ?1";
    let read = |row: &Row<'_>| {
        let until_started = row.get::<_, Option<bool>>(1)?.unwrap_or(false);
        Ok((row.get::<_, Option<Vec<u8>>>(0)?, until_started, row.get::<_, Option<u64>>(2)?))
    };
    let Some((Some(digest), until_started, lasts)) = tx.find(sql, [id.as_i64()], read)? else {
        return Ok(Extras::NONE);
    };
    let extras = Extras::UNTIL_STARTED.only_if(until_started);
    let key = look(tx, queue_id, &digest, now)?;
    match key {
        FoundKey::Taken { by, .. } if by == id => return Ok(extras.with(Extras::KEY)),
        FoundKey::Taken { by, .. } if Some(by) == replays => {}
        FoundKey::Taken { .. } if until_started => return Ok(extras),
        FoundKey::Taken { by, time } => return Err(taken(by, time.is_some()).into()),
        FoundKey::Free | FoundKey::Over(_) => {}
    }
    let lasts = lasts.filter(|_| replays.is_some()).map(Duration::from_millis);
    hold(tx, queue_id, &digest, key, id, time_from(now, lasts))?;
    Ok(extras.with(Extras::KEY))
}

fn taken(by: TaskId, for_a_time: bool) -> Error {
    let when = if for_a_time { "it has ended and the time of the key is over" } else { "it has ended" };
    Error::new(ErrorKind::Conflict, format!("task {by} holds the same unique key; try again when {when}"))
}

/// Releases a key that its task does not need any more, unless it is taken for a time that is not over. Returns whether it was released.
pub(crate) fn release(tx: &Tx<'_>, id: TaskId, now: Timestamp) -> Sql<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM perdura_keys INDEXED BY perdura_key_holders WHERE task_id = ?1)";
    match release_if_held(tx, id, now)? {
        false if !tx.one(sql, [id.as_i64()], |row| row.get(0))? => {
            Err(contradiction("a task has a unique key that is not there"))
        }
        released => Ok(released),
    }
}

/// The same, without an error if the task has no key.
pub(crate) fn release_if_held(tx: &Tx<'_>, id: TaskId, now: Timestamp) -> Sql<bool> {
    let sql = match planted("g04-an-end-frees-a-key-before-its-time") {
        false => {
            "DELETE FROM perdura_keys INDEXED BY perdura_key_holders WHERE task_id = ?1 AND (until_ms IS NULL OR until_ms <= ?2)"
        }
        true => "DELETE FROM perdura_keys INDEXED BY perdura_key_holders WHERE task_id = ?1 AND ?2 = ?2",
    };
    Ok(tx.run(sql, (id.as_i64(), now.as_millis()))? > 0)
}

/// Releases the key of a task that has just been claimed, if it needs it only until it starts; returns its extras.
pub(crate) fn start(tx: &Tx<'_>, id: TaskId, generation: i64, extras: Extras, now: Timestamp) -> Sql<Extras> {
    let may_go = extras.contains(Extras::KEY.with(Extras::UNTIL_STARTED));
    if !may_go || planted("g04-a-claim-keeps-the-key") || !release(tx, id, now)? {
        return Ok(extras);
    }
    let left = extras.without(Extras::KEY);
    let sql = "UPDATE perdura_tasks SET extras = ?3 WHERE task_id = ?1 AND generation = ?2 AND extras = ?4 AND state = 1";
    tx.change_one(sql, (id.as_i64(), generation, left.code(), extras.code()))?;
    Ok(left)
}

/// Releases the key of a task that somebody deletes, even if its time is not over.
pub(crate) fn release_now(tx: &Tx<'_>, id: TaskId) -> Sql<()> {
    tx.change_one("DELETE FROM perdura_keys INDEXED BY perdura_key_holders WHERE task_id = ?1", [id.as_i64()])
}

/// Changes the time for which a key is taken.
pub(crate) fn set_time(tx: &Tx<'_>, id: TaskId, time: Option<(Timestamp, Timestamp)>) -> Sql<()> {
    let (since, until) = time.unzip();
    let [since, until] = [since, until].map(|time| time.map(Timestamp::as_millis));
    let sql = "UPDATE perdura_keys INDEXED BY perdura_key_holders SET since_ms = ?2, until_ms = ?3 WHERE task_id = ?1";
    tx.change_one(sql, (id.as_i64(), since, until))
}

/// Restarts the time of a key if it began in the future: the clock has jumped back. So a jump delays its end by at most its own length.
pub(crate) fn notice_jump(
    tx: &Tx<'_>,
    id: TaskId,
    time: Option<(Timestamp, Timestamp)>,
    now: Timestamp,
) -> Sql<()> {
    match time {
        Some((since, until)) if since > now && !planted("g10-a-key-trusts-the-clock") => {
            set_time(tx, id, time_from(now, Some(until.since(since))))
        }
        _ => Ok(()),
    }
}

// ---- Maintenance ----

/// Keys whose time is over, the oldest first, after the cursor `after` (`until_ms`, task id): at most `limit`.
pub(crate) fn old_keys(
    conn: &Connection,
    now: Timestamp,
    after: (i64, i64),
    limit: usize,
) -> Sql<Vec<(i64, i64)>> {
    let mut statement = conn.prepare_cached(
        "SELECT until_ms, task_id FROM perdura_keys INDEXED BY perdura_key_times
         WHERE until_ms IS NOT NULL AND (until_ms, task_id) > (?1, ?2) AND until_ms <= ?3 ORDER BY until_ms, task_id LIMIT ?4",
    )?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = statement
        .query_map((after.0, after.1, now.as_millis(), limit), |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Tasks with keys whose time began in the future (the clock has jumped back): at most `limit`.
pub(crate) fn keys_from_the_future(conn: &Connection, now: Timestamp, limit: usize) -> Sql<Vec<i64>> {
    let mut statement = conn.prepare_cached(
        "SELECT task_id FROM perdura_keys INDEXED BY perdura_key_anchors WHERE since_ms IS NOT NULL AND since_ms > ?1 LIMIT ?2",
    )?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = statement.query_map((now.as_millis(), limit), |row| row.get(0))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Tidies the keys of these tasks, until `enough` returns true: deletes those whose time is over and that their task does not need, and
/// restarts times that began in the future. Returns how many that were, and how many ids it has handled.
pub(crate) fn tidy_keys(
    tx: &Tx<'_>,
    ids: &[i64],
    now: Timestamp,
    enough: &dyn Fn() -> bool,
) -> Sql<(usize, usize)> {
    let mut tidied = 0;
    let done = tx.each(ids, enough, |id| {
        match tx.whole(|| tidy_key(tx, TaskId::from_i64(*id), now)) {
            Err(fault) if fault.is_damage() => {}
            is_tidied => tidied += usize::from(is_tidied?),
        }
        Ok(())
    })?;
    Ok((tidied, done))
}

fn tidy_key(tx: &Tx<'_>, id: TaskId, now: Timestamp) -> Sql<bool> {
    // Clamped: a damaged row may have a longer time than any option allows.
    let again = "UPDATE perdura_keys INDEXED BY perdura_key_holders SET since_ms = ?2, until_ms = ?2 + MAX(0, MIN(until_ms - since_ms, ?3))
                 WHERE task_id = ?1 AND since_ms > ?2";
    if tx.run(again, (id.as_i64(), now.as_millis(), millis(MAX_DURATION)))? > 0 {
        return Ok(true);
    }
    if is_needed(tx.conn, id)? {
        return Ok(false);
    }
    let over =
        "DELETE FROM perdura_keys INDEXED BY perdura_key_holders WHERE task_id = ?1 AND until_ms <= ?2";
    let is_over = tx.run(over, (id.as_i64(), now.as_millis()))? > 0;
    if is_over {
        forget(tx, id)?;
    }
    Ok(is_over)
}
