//! Runs: the tasks that schedules have made.

use crate::store::commit::tx::Tx;
use crate::store::error::Sql;
use crate::task::{TaskId, Timestamp};

/// The values of `perdura_runs.live`.
pub(super) const OVER: i64 = 0;
pub(super) const LIVE: i64 = 1;
pub(super) const WAITS: i64 = 2;

/// Inserts a new run.
pub(super) fn add(
    tx: &Tx<'_>,
    id: TaskId,
    schedule_id: i64,
    tick: Timestamp,
    by_hand: bool,
    waits: bool,
) -> Sql<()> {
    let live = if waits { WAITS } else { LIVE };
    tx.change_one(
        "INSERT INTO perdura_runs (task_id, schedule_id, tick_ms, by_hand, live) VALUES (?1, ?2, ?3, ?4, ?5)",
        (id.as_i64(), schedule_id, tick.as_millis(), by_hand, live),
    )
}

/// Whether a tick has made a task that is still kept.
pub(super) fn has_fired(tx: &Tx<'_>, schedule_id: i64, tick: Timestamp) -> Sql<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM perdura_runs INDEXED BY perdura_run_ticks
               WHERE by_hand = 0 AND schedule_id = ?1 AND tick_ms = ?2)";
    tx.one(sql, (schedule_id, tick.as_millis()), |row| row.get(0))
}

/// Whether a run of a schedule is live, and whether one waits.
pub(super) fn under_way(tx: &Tx<'_>, schedule_id: i64) -> Sql<(bool, bool)> {
    let sql = "SELECT EXISTS (SELECT 1 FROM perdura_runs INDEXED BY perdura_live_runs WHERE live > 0 AND live = 1 AND schedule_id = ?1),
                      EXISTS (SELECT 1 FROM perdura_runs INDEXED BY perdura_live_runs WHERE live > 0 AND live = 2 AND schedule_id = ?1)";
    tx.one(sql, [schedule_id], |row| Ok((row.get(0)?, row.get(1)?)))
}

/// The first run of a schedule that is live or, with `waits`, the first that waits.
pub(super) fn first(tx: &Tx<'_>, schedule_id: i64, waits: bool) -> Sql<Option<TaskId>> {
    let live = if waits { WAITS } else { LIVE };
    let sql = "SELECT task_id FROM perdura_runs INDEXED BY perdura_live_runs
               WHERE live > 0 AND schedule_id = ?1 AND live = ?2 ORDER BY tick_ms, task_id LIMIT 1";
    Ok(tx.find(sql, (schedule_id, live), |row| row.get(0))?.map(TaskId::from_i64))
}

/// Makes a new task a run of the same tick as the dead letter that it replays; returns whether the letter was a run.
pub(super) fn repeat(tx: &Tx<'_>, letter: TaskId, new: TaskId) -> Sql<bool> {
    let sql = "INSERT INTO perdura_runs (task_id, schedule_id, tick_ms, by_hand, live)
               SELECT ?2, schedule_id, tick_ms, 1, 1 FROM perdura_runs WHERE task_id = ?1";
    Ok(tx.run(sql, (letter.as_i64(), new.as_i64()))? > 0)
}

/// Deletes the run of a task or dead letter.
pub(super) fn forget(tx: &Tx<'_>, id: TaskId) -> Sql<()> {
    tx.run("DELETE FROM perdura_runs WHERE task_id = ?1", [id.as_i64()]).map(drop)
}

/// Changes the `live` of a run.
pub(super) fn set_live(tx: &Tx<'_>, id: TaskId, was: i64, is: i64) -> Sql<()> {
    let sql = "UPDATE perdura_runs SET live = ?3 WHERE task_id = ?1 AND live = ?2";
    tx.change_one(sql, (id.as_i64(), was, is))
}
