//! Operations on schedules: declare, make, remove, pause, resume, run now.

use super::schedule_runs;
use super::schedules::{ScheduleRow, Tick, begin, make_run, replace_waiting, tame};
use crate::config::Config;
use crate::error::{Error, ErrorKind};
use crate::planted::planted;
use crate::schedule::{Definition, Standing, TickSeries, Turn, turn};
use crate::store::commit::tx::Tx;
use crate::store::error::{Fault, Sql};
use crate::task::{Enqueued, TaskId, Timestamp};

/// A schedule that a program declares, or makes at run time.
#[derive(Debug, Clone)]
pub(crate) struct Declared {
    pub name: String,
    /// The text that the file keeps.
    pub definition: String,
    /// JSON.
    pub args: String,
}

/// Makes a schedule, or replaces the one of the same name. An unchanged one keeps its ticks; a paused one stays paused.
pub(crate) fn set_schedule(tx: &Tx<'_>, wanted: &Declared, declared: bool, now: Timestamp) -> Sql<()> {
    let now = tame(now);
    let (definition, ticks) = Definition::parse(&wanted.definition)?;
    let Some(row) = ScheduleRow::find(tx.conn, &wanted.name)? else {
        return insert(tx, wanted, declared, &Standing::begin(&definition, &ticks, None, now), &definition);
    };
    let sql = "SELECT args FROM perdura_schedule_args WHERE schedule_id = ?1";
    let args: Option<String> = tx.find(sql, [row.schedule_id], |row| row.get(0))?;
    let is_same = row.definition == wanted.definition && args.as_ref() == Some(&wanted.args);
    let goes_on =
        is_same && !row.disabled && row.read().is_ok() && !planted("g15-a-declared-schedule-begins-again");
    if goes_on && row.declared == declared && row.broken.is_none() {
        return Ok(());
    }
    let standing = match goes_on {
        true => row.standing,
        false => begin(tx, row.schedule_id, &definition, &ticks, row.standing.highest, now)?,
    };
    let after = ScheduleRow {
        definition: wanted.definition.clone(),
        declared,
        disabled: false,
        broken: None,
        standing,
        ..row.clone()
    };
    after.write(tx, &definition, &row)?;
    write_args(tx, row.schedule_id, &wanted.args)
}

fn insert(
    tx: &Tx<'_>,
    wanted: &Declared,
    declared: bool,
    standing: &Standing,
    definition: &Definition,
) -> Sql<()> {
    // Higher than the id of any removed schedule of which a run that a tick made, or a live run, is still kept.
    let sql = "SELECT 1 + MAX(COALESCE((SELECT MAX(s.schedule_id) FROM perdura_schedules s), 0),
                   COALESCE((SELECT r.schedule_id FROM perdura_runs r INDEXED BY perdura_run_ticks WHERE r.by_hand = 0 ORDER BY r.schedule_id DESC LIMIT 1), 0),
                   COALESCE((SELECT r.schedule_id FROM perdura_runs r INDEXED BY perdura_live_runs WHERE r.live > 0 ORDER BY r.schedule_id DESC LIMIT 1), 0))";
    let schedule_id: i64 = tx.one(sql, [], |row| row.get(0))?;
    tx.change_one(
        "INSERT INTO perdura_schedules (schedule_id, schedule, definition, declared, paused, disabled, last_tick_ms, fired, missed, left_out)
         VALUES (?1, ?2, ?3, ?4, 0, 0, ?5, 0, 0, 0)",
        (schedule_id, &wanted.name, &wanted.definition, declared, standing.last.as_millis()),
    )?;
    let row = ScheduleRow::get(tx.conn, &wanted.name)?;
    ScheduleRow { standing: *standing, ..row.clone() }.write(tx, definition, &row)?;
    write_args(tx, schedule_id, &wanted.args)
}

fn write_args(tx: &Tx<'_>, schedule_id: i64, args: &str) -> Sql<()> {
    tx.change_one(
        "INSERT OR REPLACE INTO perdura_schedule_args (schedule_id, args) VALUES (?1, ?2)",
        (schedule_id, args),
    )
}

/// Brings the schedules of the file in line with those that a new owner declares: sets these, disables declared ones that are not among
/// them, and retries broken ones. An owner that declares none only retries broken ones.
pub(crate) fn reconcile(tx: &Tx<'_>, all: &[Declared], now: Timestamp) -> Sql<()> {
    for wanted in all {
        match tx.whole(|| set_schedule(tx, wanted, true, now)) {
            // A damaged row is replaced by what the program declares.
            Err(fault) if fault.is_damage() => {
                forget(tx, &wanted.name)?;
                set_schedule(tx, wanted, true, now)?;
            }
            done => done?,
        }
    }
    if !all.is_empty() {
        let mut names: Vec<&str> = all.iter().map(|wanted| wanted.name.as_str()).collect();
        names.sort_unstable();
        let names = serde_json::to_string(&names).unwrap_or_default();
        tx.run(
            "UPDATE perdura_schedules SET disabled = 1, due_ms = NULL
             WHERE declared = 1 AND disabled = 0 AND schedule NOT IN (SELECT value FROM json_each(?1))",
            [names],
        )?;
    }
    for id in tx.numbers("SELECT schedule_id FROM perdura_schedules INDEXED BY perdura_broken_schedules WHERE broken IS NOT NULL", [])? {
        try_again(tx, id)?;
    }
    Ok(())
}

/// Clears the mark of a broken schedule that can be read now: by a program with the feature `cron`, or after a repair.
fn try_again(tx: &Tx<'_>, schedule_id: i64) -> Sql<()> {
    let row = match ScheduleRow::by_id(tx.conn, schedule_id) {
        Err(fault) if fault.is_damage() => return Ok(()),
        row => row?,
    };
    let Some(row) = row else { return Ok(()) };
    match row.read() {
        Ok((definition, _)) => ScheduleRow { broken: None, ..row.clone() }.write(tx, &definition, &row),
        Err(_) => Ok(()),
    }
}

/// Removes a schedule. Its runs stay and go on.
///
/// # Errors
/// `NotFound`.
pub(crate) fn remove_schedule(tx: &Tx<'_>, name: &str) -> Sql<()> {
    match forget(tx, name)? {
        true => Ok(()),
        false => ScheduleRow::get(tx.conn, name).map(drop),
    }
}

/// Removes a schedule without reading its row, which may be damaged; returns whether there was one.
fn forget(tx: &Tx<'_>, name: &str) -> Sql<bool> {
    let sql = "SELECT schedule_id FROM perdura_schedules WHERE schedule = ?1";
    let Some(id) = tx.find(sql, [name], |row| row.get::<_, i64>(0))? else { return Ok(false) };
    tx.change_one("DELETE FROM perdura_schedules WHERE schedule_id = ?1", [id])?;
    tx.run("DELETE FROM perdura_schedule_args WHERE schedule_id = ?1", [id])?;
    tx.effect(|effects| effects.changed = true);
    Ok(true)
}

/// Pauses a schedule: it makes no tasks until it is resumed.
///
/// # Errors
/// `NotFound`.
pub(crate) fn pause_schedule(tx: &Tx<'_>, name: &str) -> Sql<()> {
    let row = ScheduleRow::get(tx.conn, name)?;
    tx.change_one(
        "UPDATE perdura_schedules SET paused = 1, due_ms = NULL WHERE schedule_id = ?1",
        [row.schedule_id],
    )?;
    tx.effect(|effects| effects.changed = true);
    Ok(())
}

/// Resumes a paused schedule. Ticks that fell into the pause do not fire.
///
/// # Errors
/// `NotFound`; `WrongState` if it is broken.
pub(crate) fn resume_schedule(tx: &Tx<'_>, name: &str, now: Timestamp) -> Sql<()> {
    let row = ScheduleRow::get(tx.conn, name)?;
    let (definition, ticks) = readable(&row)?;
    if !row.paused {
        return Ok(());
    }
    let standing = match planted("g15-ticks-of-a-pause-fire") {
        true => row.standing,
        false => row.standing.resume(&definition, &ticks, tame(now)),
    };
    ScheduleRow { paused: false, standing, ..row.clone() }.write(tx, &definition, &row)
}

/// The definition and the ticks of a schedule.
///
/// # Errors
/// `WrongState` with the reason if it is broken.
pub(crate) fn readable(row: &ScheduleRow) -> Result<(Definition, TickSeries), Fault> {
    row.read().map_err(|e| {
        let message = format!("schedule {:?} is broken: {e}; set it anew", row.name);
        Error::new(ErrorKind::WrongState, message).into()
    })
}

/// Makes a run of a schedule now, beside its ticks, even if it is paused or disabled.
///
/// # Errors
/// `NotFound`; `WrongState` if it is broken; `Conflict` if a run of it is live and its overlap forbids another, or a task holds its unique key.
pub(crate) fn run_schedule_now(tx: &Tx<'_>, config: &Config, name: &str, now: Timestamp) -> Sql<TaskId> {
    let now = tame(now);
    let row = ScheduleRow::get(tx.conn, name)?;
    let (definition, ticks) = readable(&row)?;
    let (is_live, one_waits) = schedule_runs::under_way(tx, row.schedule_id)?;
    let turn = turn(definition.overlap, is_live, one_waits, false);
    if turn == Turn::LeaveOut {
        let live = schedule_runs::first(tx, row.schedule_id, one_waits)?;
        let task = live.map_or_else(|| "a task".to_owned(), |id| format!("task {id}"));
        let what = if one_waits { "waits for the run before" } else { "has not ended" };
        let message = format!(
            "schedule {name:?} makes no run now: its run, {task}, {what}; try again when it has ended"
        );
        return Err(Error::new(ErrorKind::Conflict, message).into());
    }
    if turn == Turn::Replace {
        replace_waiting(tx, row.schedule_id, now)?;
    }
    let waits = matches!(turn, Turn::Wait | Turn::Replace);
    let tick = Tick { time: now, by_hand: true };
    match make_run(tx, config, &row, &definition, tick, waits, now)? {
        Enqueued::Existing(holder) | Enqueued::Replaced(holder) => {
            let message = format!(
                "task {holder} holds the unique key of schedule {name:?}; try again when it has ended"
            );
            Err(Error::new(ErrorKind::Conflict, message).into())
        }
        Enqueued::Inserted(id) => {
            if matches!(ticks, TickSeries::AfterEnd(_)) {
                let standing = Standing { next: None, ..row.standing };
                ScheduleRow { standing, ..row.clone() }.write(tx, &definition, &row)?;
            }
            Ok(id)
        }
    }
}
