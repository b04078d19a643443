//! Schedules: how they are kept, and how their ticks become tasks.
//!
//! Only the owner fires ticks. The transaction that makes the task of a tick also moves the schedule on, and its WHERE has the tick that it
//! expects. A unique index (`perdura_run_ticks`) allows one task for each tick.

use rusqlite::{Connection, OptionalExtension, Row};

use super::enqueue::enqueue;
use super::row::{HotRow, time_at, write_error};
use super::schedule_runs;
use crate::config::Config;
use crate::error::{Error, ErrorKind};
use crate::lifecycle::TaskEvent;
use crate::planted::planted;
use crate::schedule::{Definition, Standing, TIMES, TickSeries, Turn, on_time, turn};
use crate::store::commit::tx::Tx;
use crate::store::error::{Fault, Sql, contradiction};
use crate::task::{Enqueued, ErrorReport, NewRun, NewTask, Timestamp};

/// A schedule as the file has it.
#[derive(Debug, Clone)]
pub(crate) struct ScheduleRow {
    pub schedule_id: i64,
    pub name: String,
    pub definition: String,
    pub declared: bool,
    pub paused: bool,
    pub disabled: bool,
    pub broken: Option<String>,
    pub due: Option<Timestamp>,
    pub standing: Standing,
    pub fired: u64,
    pub missed: u64,
    pub left_out: u64,
}

/// What [`fire`] did.
#[derive(Debug, Default)]
pub(crate) struct Fired {
    /// Schedules that were looked at.
    pub schedules: usize,
    /// Schedules that were restarted, because a clock that was ahead had written them.
    pub anchored: Vec<String>,
    /// Schedules that cannot make tasks, and why.
    pub broken: Vec<(String, String)>,
}

macro_rules! schedule_row {
    ($which:literal) => {
        concat!(
            "SELECT schedule_id, schedule, definition, declared, paused, disabled, broken, next_tick_ms, due_ms, last_tick_ms,
                    highest_tick_ms, fired, missed, left_out
             FROM perdura_schedules ",
            $which
        )
    };
}

fn as_row(row: &Row<'_>) -> rusqlite::Result<ScheduleRow> {
    Ok(ScheduleRow {
        schedule_id: row.get(0)?,
        name: row.get(1)?,
        definition: row.get(2)?,
        declared: row.get(3)?,
        paused: row.get(4)?,
        disabled: row.get(5)?,
        broken: row.get(6)?,
        due: time_at(row, 8)?,
        standing: Standing {
            next: time_at(row, 7)?,
            last: Timestamp::from_millis(row.get(9)?),
            highest: time_at(row, 10)?,
        },
        fired: row.get::<_, i64>(11)?.cast_unsigned(),
        missed: row.get::<_, i64>(12)?.cast_unsigned(),
        left_out: row.get::<_, i64>(13)?.cast_unsigned(),
    })
}

impl ScheduleRow {
    pub(super) fn by_id(conn: &Connection, schedule_id: i64) -> Sql<Option<ScheduleRow>> {
        let mut statement = conn.prepare_cached(schedule_row!("WHERE schedule_id = ?1"))?;
        Ok(statement.query_row([schedule_id], as_row).optional()?)
    }

    /// The schedule with a name.
    pub(crate) fn find(conn: &Connection, name: &str) -> Sql<Option<ScheduleRow>> {
        let mut statement = conn.prepare_cached(schedule_row!("WHERE schedule = ?1"))?;
        Ok(statement.query_row([name], as_row).optional()?)
    }

    /// # Errors
    /// `NotFound`.
    pub(crate) fn get(conn: &Connection, name: &str) -> Sql<ScheduleRow> {
        ScheduleRow::find(conn, name)?.ok_or_else(|| {
            let message = format!("there is no schedule {name:?}; it was removed, or never existed");
            Error::new(ErrorKind::NotFound, message).into()
        })
    }

    /// All schedules, by name, after the name `after`.
    pub(crate) fn all(conn: &Connection, after: &str, limit: usize) -> Sql<Vec<ScheduleRow>> {
        let mut statement =
            conn.prepare_cached(schedule_row!("WHERE schedule > ?1 ORDER BY schedule LIMIT ?2"))?;
        let rows = statement.query_map((after, i64::try_from(limit).unwrap_or(i64::MAX)), as_row)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Schedules that are marked as broken.
    pub(crate) fn broken(conn: &Connection, limit: usize) -> Sql<Vec<ScheduleRow>> {
        let sql = schedule_row!(
            "INDEXED BY perdura_broken_schedules WHERE broken IS NOT NULL ORDER BY schedule_id LIMIT ?1"
        );
        ScheduleRow::some(conn, sql, limit)
    }

    /// Schedules with a due time, the soonest first.
    pub(crate) fn soonest(conn: &Connection, limit: usize) -> Sql<Vec<ScheduleRow>> {
        let sql = schedule_row!(
            "INDEXED BY perdura_due_schedules WHERE due_ms IS NOT NULL ORDER BY due_ms LIMIT ?1"
        );
        ScheduleRow::some(conn, sql, limit)
    }

    /// Schedules without a due time, by name. The scan passes over all that have one.
    pub(crate) fn resting(conn: &Connection, limit: usize) -> Sql<Vec<ScheduleRow>> {
        let sql = schedule_row!("WHERE due_ms IS NULL ORDER BY schedule LIMIT ?1");
        ScheduleRow::some(conn, sql, limit)
    }

    fn some(conn: &Connection, sql: &str, limit: usize) -> Sql<Vec<ScheduleRow>> {
        let mut statement = conn.prepare_cached(sql)?;
        let rows = statement.query_map([i64::try_from(limit).unwrap_or(i64::MAX)], as_row)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Checks its times, and parses its definition.
    ///
    /// # Errors
    /// `InvalidInput`, saying what is wrong.
    pub(crate) fn read(&self) -> Result<(Definition, TickSeries), Error> {
        let Standing { last, highest, next } = self.standing;
        let times = [
            ("next_tick_ms", next),
            ("last_tick_ms", Some(last)),
            ("highest_tick_ms", highest),
            ("due_ms", self.due),
        ];
        for (column, time) in times {
            if let Some(time) = time.filter(|time| !TIMES.contains(&time.as_millis())) {
                return Err(Error::invalid_value(
                    column,
                    time.as_millis(),
                    "is no time of the years 1970 to 9999",
                ));
            }
        }
        Definition::parse(&self.definition)
    }

    /// Whether it makes tasks.
    fn is_on(&self) -> bool {
        !self.paused && !self.disabled && self.broken.is_none()
    }

    /// Writes this row over `before`, whose ticks must still be those in the file.
    pub(super) fn write(&self, tx: &Tx<'_>, definition: &Definition, before: &ScheduleRow) -> Sql<()> {
        let fires_at =
            |tick: Timestamp| tame(tick.saturating_add(definition.delay(tx.file_id, &self.name, tick)));
        let due = self.standing.next.filter(|_| self.is_on()).map(fires_at);
        let Standing { last, highest, next } = self.standing;
        let ms = |time: Option<Timestamp>| time.map(Timestamp::as_millis);
        tx.change_one(
            "UPDATE perdura_schedules SET definition = ?1, declared = ?2, paused = ?3, disabled = ?4, broken = ?5, next_tick_ms = ?6,
                 due_ms = ?7, last_tick_ms = ?8, highest_tick_ms = ?9, fired = ?10, missed = ?11, left_out = ?12
             WHERE schedule_id = ?13 AND next_tick_ms IS ?14 AND last_tick_ms = ?15",
            rusqlite::params![
                self.definition,
                self.declared,
                self.paused,
                self.disabled,
                self.broken,
                ms(next),
                ms(due),
                last.as_millis(),
                ms(highest),
                self.fired.cast_signed(),
                self.missed.cast_signed(),
                self.left_out.cast_signed(),
                self.schedule_id,
                ms(before.standing.next),
                before.standing.last.as_millis(),
            ],
        )?;
        tx.effect(|effects| {
            effects.changed = true;
            effects.tick = effects.tick.into_iter().chain(due).min();
        });
        Ok(())
    }
}

/// The nearest time that a schedule can have.
pub(super) fn tame(now: Timestamp) -> Timestamp {
    Timestamp::from_millis(now.as_millis().clamp(*TIMES.start(), *TIMES.end()))
}

/// When the next tick is due.
pub(crate) fn next_tick(conn: &Connection) -> Sql<Option<Timestamp>> {
    let sql = "SELECT due_ms FROM perdura_schedules INDEXED BY perdura_due_schedules WHERE due_ms IS NOT NULL ORDER BY due_ms LIMIT 1";
    let due = conn.prepare_cached(sql)?.query_row([], |row| row.get(0)).optional()?;
    Ok(due.map(Timestamp::from_millis))
}

/// Whether a schedule was written by a clock that was ahead by more than a day.
pub(crate) fn is_any_from_the_future(conn: &Connection, now: Timestamp) -> Sql<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM perdura_schedules INDEXED BY perdura_last_ticks WHERE last_tick_ms > ?1 AND broken IS NULL)";
    Ok(conn.prepare_cached(sql)?.query_row([a_day_after(now)], |row| row.get(0))?)
}

fn a_day_after(now: Timestamp) -> i64 {
    now.saturating_add(crate::schedule::DAY).as_millis()
}

/// Restarts schedules that a clock that was ahead has written, then fires the ticks that are due: of up to `limit` schedules, until they
/// have made `limit` tasks or a few more.
pub(crate) fn fire(tx: &Tx<'_>, config: &Config, now: Timestamp, limit: usize) -> Sql<Fired> {
    let now = tame(now);
    let most = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut fired = Fired::default();
    let ahead = tx.numbers(
        "SELECT schedule_id FROM perdura_schedules INDEXED BY perdura_last_ticks WHERE last_tick_ms > ?1 AND broken IS NULL LIMIT ?2",
        (a_day_after(now), most),
    )?;
    for id in ahead {
        fired.schedules += 1;
        let anchored = unless_broken(tx, id, &mut fired.broken, |row| anchor(tx, row, now))?;
        fired.anchored.extend(anchored);
    }
    let due = tx.numbers(
        "SELECT schedule_id FROM perdura_schedules INDEXED BY perdura_due_schedules
         WHERE due_ms IS NOT NULL AND due_ms <= ?1 ORDER BY due_ms LIMIT ?2",
        (now.as_millis(), most),
    )?;
    let mut made = 0;
    for id in due {
        fired.schedules += 1;
        let tasks = unless_broken(tx, id, &mut fired.broken, |row| fire_one(tx, config, row, now))?;
        made += tasks.unwrap_or(0);
        if made >= limit {
            break;
        }
    }
    Ok(fired)
}

/// Changes a schedule within a savepoint. If its row, its definition or the options of its tasks are invalid, marks it as broken and returns
/// none.
fn unless_broken<R>(
    tx: &Tx<'_>,
    schedule_id: i64,
    broken: &mut Vec<(String, String)>,
    act: impl FnOnce(&ScheduleRow) -> Sql<R>,
) -> Sql<Option<R>> {
    let done = tx.whole(|| {
        let row = ScheduleRow::by_id(tx.conn, schedule_id)?;
        act(&row.ok_or_else(|| contradiction("an index names a schedule that is not there"))?)
    });
    match done {
        // If SQLite has rolled back the whole transaction (no id is left), the mark cannot be written.
        Err(fault) if is_its_own(&fault) && !tx.conn.is_autocommit() => {
            let why = Error::from(fault).to_string();
            broken.push((break_down(tx, schedule_id, &why)?, why));
            Ok(None)
        }
        done => done.map(Some),
    }
}

/// Whether a fault concerns one schedule alone.
fn is_its_own(fault: &Fault) -> bool {
    let is_input =
        matches!(fault, Fault::Typed(e) if matches!(e.kind(), ErrorKind::InvalidInput | ErrorKind::TooLarge));
    (is_input || fault.is_damage()) && !planted("g15-a-broken-schedule-stops-the-others")
}

/// Marks a schedule as broken; returns its name.
fn break_down(tx: &Tx<'_>, schedule_id: i64, why: &str) -> Sql<String> {
    let sql = "UPDATE perdura_schedules SET broken = ?2, due_ms = NULL WHERE schedule_id = ?1";
    tx.change_one(sql, (schedule_id, why))?;
    tx.effect(|effects| effects.changed = true);
    let name: Option<String> = tx.one(
        "SELECT CAST(schedule AS TEXT) FROM perdura_schedules WHERE schedule_id = ?1",
        [schedule_id],
        |row| Ok(row.get(0).ok()),
    )?;
    Ok(name.unwrap_or_default())
}

/// Restarts a schedule from now; returns its name.
fn anchor(tx: &Tx<'_>, row: &ScheduleRow, now: Timestamp) -> Sql<String> {
    let (definition, ticks) = row.read()?;
    let standing = begin(tx, row.schedule_id, &definition, &ticks, row.standing.highest, now)?;
    ScheduleRow { standing, ..row.clone() }.write(tx, &definition, row)?;
    Ok(row.name.clone())
}

/// The standing of a schedule that begins now.
pub(super) fn begin(
    tx: &Tx<'_>,
    schedule_id: i64,
    definition: &Definition,
    ticks: &TickSeries,
    highest: Option<Timestamp>,
    now: Timestamp,
) -> Sql<Standing> {
    let highest = highest.filter(|tick| TIMES.contains(&tick.as_millis()));
    let standing = Standing::begin(definition, ticks, highest, now);
    let waits_for_run =
        matches!(ticks, TickSeries::AfterEnd(_)) && schedule_runs::under_way(tx, schedule_id)?.0;
    Ok(Standing { next: standing.next.filter(|_| !waits_for_run), ..standing })
}

/// Fires the ticks of one schedule that are due; returns how many tasks that made.
fn fire_one(tx: &Tx<'_>, config: &Config, row: &ScheduleRow, now: Timestamp) -> Sql<usize> {
    let (definition, ticks) = row.read()?;
    let fires_at = |tick: Timestamp| tick.saturating_add(definition.delay(tx.file_id, &row.name, tick));
    let due = definition.due(&ticks, row.standing, fires_at, now);
    let mut after =
        ScheduleRow { standing: due.standing, missed: row.missed.saturating_add(due.missed), ..row.clone() };
    let is_backlog =
        due.fire.len() > 1 || due.fire.first().is_some_and(|tick| !on_time(fires_at(*tick), now));
    let mut made = 0;
    for tick in &due.fire {
        if schedule_runs::has_fired(tx, row.schedule_id, *tick)? && !planted("g15-a-tick-makes-two-tasks") {
            continue;
        }
        let (is_live, one_waits) = schedule_runs::under_way(tx, row.schedule_id)?;
        match turn(definition.overlap, is_live, one_waits, is_backlog) {
            Turn::LeaveOut => after.left_out = after.left_out.saturating_add(1),
            Turn::Replace => {
                replace_waiting(tx, row.schedule_id, now)?;
                made += make(tx, config, &mut after, &definition, *tick, true, now)?;
            }
            turn => made += make(tx, config, &mut after, &definition, *tick, turn == Turn::Wait, now)?,
        }
    }
    after.write(tx, &definition, row)?;
    Ok(made)
}

/// Makes the task of a tick, and counts it; returns 0 if its unique key is taken.
fn make(
    tx: &Tx<'_>,
    config: &Config,
    row: &mut ScheduleRow,
    definition: &Definition,
    tick: Timestamp,
    waits: bool,
    now: Timestamp,
) -> Sql<usize> {
    match make_run(tx, config, row, definition, Tick { time: tick, by_hand: false }, waits, now)? {
        Enqueued::Inserted(_) => {
            row.fired = row.fired.saturating_add(1);
            Ok(1)
        }
        Enqueued::Existing(_) | Enqueued::Replaced(_) => {
            row.left_out = row.left_out.saturating_add(1);
            Ok(0)
        }
    }
}

/// The time of a run, and who has made it.
#[derive(Clone, Copy)]
pub(super) struct Tick {
    pub time: Timestamp,
    pub by_hand: bool,
}

/// Makes a run, which waits for the runs before it if `waits`.
pub(super) fn make_run(
    tx: &Tx<'_>,
    config: &Config,
    row: &ScheduleRow,
    definition: &Definition,
    tick: Tick,
    waits: bool,
    now: Timestamp,
) -> Sql<Enqueued> {
    let sql = "SELECT args FROM perdura_schedule_args WHERE schedule_id = ?1";
    let args: String = tx.one(sql, [row.schedule_id], |row| row.get(0))?;
    let task = NewTask {
        task_name: definition.task_name.clone().into(),
        version: definition.version,
        args,
        options: definition.resolve(config, now)?,
        token: definition.token(tx.file_id, &row.name, tick.time),
        run: Some(NewRun {
            waits,
            unique_digest: definition.unique_digest(),
            limit_digest: definition.limit_digest(),
        }),
    };
    let made = enqueue(tx, &[task], now)?;
    let Some(made) = made.into_iter().next() else { return Err(contradiction("an enqueue gave no answer")) };
    if let Enqueued::Inserted(id) = made {
        schedule_runs::add(tx, id, row.schedule_id, tick.time, tick.by_hand, waits)?;
    }
    Ok(made)
}

/// Cancels the run of a schedule that waits, because a newer one replaces it.
pub(super) fn replace_waiting(tx: &Tx<'_>, schedule_id: i64, now: Timestamp) -> Sql<()> {
    let Some(id) = schedule_runs::first(tx, schedule_id, true)? else { return Ok(()) };
    let row = HotRow::get(tx.conn, id)?;
    row.must_apply(tx, TaskEvent::CancelRequested, now)?;
    let error =
        ErrorReport::new("Replaced", "a newer run of its schedule took its place before it started", "");
    write_error(tx, id, &error)?;
    schedule_runs::set_live(tx, id, schedule_runs::WAITS, schedule_runs::OVER)
}

/// Sets the next tick of a schedule whose runs have all ended, if its ticks follow the ends of its runs.
pub(super) fn run_ended(tx: &Tx<'_>, schedule_id: i64, at: Timestamp) -> Sql<()> {
    let Some(row) = ScheduleRow::by_id(tx.conn, schedule_id)?.filter(|row| row.standing.next.is_none())
    else {
        return Ok(());
    };
    let Ok((definition, TickSeries::AfterEnd(pause))) = row.read() else { return Ok(()) };
    let beyond_last = row.standing.last.saturating_add(std::time::Duration::from_millis(1));
    let next = tame(at).saturating_add(pause).max(beyond_last);
    let standing = Standing { next: definition.within(Some(next)), ..row.standing };
    ScheduleRow { standing, ..row.clone() }.write(tx, &definition, &row)
}
