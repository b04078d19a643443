//! Rollups: sums of attempts by minute and task name, written in the commit that settles the attempts.

use std::collections::BTreeMap;
use std::time::Duration;

use rusqlite::Connection;

use crate::store::commit::effects::RollupKey;
use crate::store::commit::tx::Tx;
use crate::store::error::Sql;
use crate::task::{Measure, Rollup, Timestamp, UNKNOWN, bucket_of};

const MINUTE_MS: i64 = 60_000;

/// Minutes that are kept: a day. This and the number of task names bound the table.
const KEPT_MINUTES: i64 = 24 * 60;

fn minute_of(time: Timestamp) -> i64 {
    time.as_millis().div_euclid(MINUTE_MS)
}

impl Tx<'_> {
    /// Counts an attempt by how it ended and how long it ran, or by how long it had waited. `length`: that time, if it is known.
    pub(crate) fn roll_up(&self, now: Timestamp, name_id: i64, measure: Measure, length: Option<Duration>) {
        let key = (minute_of(now), name_id, measure.code(), length.map_or(UNKNOWN, bucket_of));
        self.gathered(|all| all.roll_up(key));
    }
}

/// Adds to the counters. A new counter also deletes those that are more than a day older, or more than a day newer (from before a backward
/// jump of the clock).
pub(crate) fn write(tx: &Tx<'_>, counted: &BTreeMap<RollupKey, i64>) -> Sql<()> {
    let mut newest = None;
    for ((minute, name_id, measure, bucket), n) in counted {
        let sql = "UPDATE perdura_rollups SET n = MIN(n, 1 << 62) + ?5
                   WHERE minute = ?1 AND name_id = ?2 AND measure = ?3 AND bucket = ?4";
        let counter = (minute, name_id, measure, bucket, n);
        if tx.run(sql, counter)? == 0 {
            let sql = "INSERT INTO perdura_rollups (minute, name_id, measure, bucket, n) VALUES (?1, ?2, ?3, ?4, ?5)";
            tx.change_one(sql, counter)?;
            newest = newest.max(Some(*minute));
        }
    }
    if let Some(minute) = newest {
        tx.run("DELETE FROM perdura_rollups WHERE minute < ?1", [minute.saturating_sub(KEPT_MINUTES)])?;
        tx.run("DELETE FROM perdura_rollups WHERE minute > ?1", [minute.saturating_add(KEPT_MINUTES)])?;
    }
    Ok(())
}

/// The rollups from a time on, by minute and task name.
pub(crate) fn rollups(conn: &Connection, since: Timestamp) -> Sql<Vec<Rollup>> {
    let mut statement = conn.prepare_cached(
        "SELECT r.minute, r.name_id, COALESCE((SELECT n.task_name FROM perdura_task_names n WHERE n.name_id = r.name_id), ''),
                r.measure, r.bucket, r.n
         FROM perdura_rollups r WHERE r.minute >= ?1 ORDER BY r.minute, r.name_id, r.measure, r.bucket",
    )?;
    let mut rows = statement.query([minute_of(since)])?;
    let (mut all, mut last) = (Vec::<Rollup>::new(), None);
    while let Some(row) = rows.next()? {
        let key: (i64, i64) = (row.get(0)?, row.get(1)?);
        if last != Some(key) {
            let minute = Timestamp::from_millis(key.0.saturating_mul(MINUTE_MS));
            all.push(Rollup::new(minute, row.get(2)?));
            last = Some(key);
        }
        let bucket = row.get::<_, i64>(4)?.clamp(0, i64::from(u8::MAX)) as u8;
        if let (Some(rollup), Some(measure)) = (all.last_mut(), Measure::from_code(row.get(3)?)) {
            rollup.count(measure, bucket, row.get::<_, i64>(5)?.max(0).cast_unsigned());
        }
    }
    Ok(all)
}
