//! Reads of schedules.

use std::collections::HashSet;

use rusqlite::{Connection, OptionalExtension};

use crate::schedule::{Definition, Rhythm, ScheduleKind, ScheduleRecord, ScheduleStatus, TickSeries};
use crate::store::error::Sql;
use crate::store::tasks::schedules::ScheduleRow;
use crate::task::{DEFAULT_QUEUE, TaskId, Timestamp};

/// Schedules that one query reads.
const PAGE: usize = 500;

/// All schedules, by name.
pub(crate) fn schedules(conn: &Connection) -> Sql<Vec<ScheduleRecord>> {
    let mut all: Vec<ScheduleRecord> = Vec::new();
    loop {
        let after = all.last().map_or("", |last| last.schedule.as_str());
        let page = ScheduleRow::all(conn, after, PAGE)?;
        let is_last = page.len() < PAGE;
        all.extend(as_records(conn, page)?);
        if is_last {
            return Ok(all);
        }
    }
}

/// One schedule.
///
/// # Errors
/// `NotFound`.
pub(crate) fn schedule(conn: &Connection, name: &str) -> Sql<ScheduleRecord> {
    as_record(conn, ScheduleRow::get(conn, name)?)
}

/// Up to `limit` schedules: first broken ones, up to half of `limit`, then those that fire next, the soonest first, then the others, by name.
pub(crate) fn next_schedules(conn: &Connection, limit: usize) -> Sql<Vec<ScheduleRecord>> {
    let mut rows = ScheduleRow::broken(conn, limit.div_ceil(2))?;
    let mut known: HashSet<i64> = rows.iter().map(|row| row.schedule_id).collect();
    rows.extend(ScheduleRow::soonest(conn, limit)?.into_iter().filter(|row| known.insert(row.schedule_id)));
    if rows.len() < limit {
        // Fewer than `limit` have a due time, so this scan passes over no more rows than that.
        rows.extend(
            ScheduleRow::resting(conn, limit)?.into_iter().filter(|row| known.insert(row.schedule_id)),
        );
    }
    rows.truncate(limit);
    let mut records = as_records(conn, rows)?;
    // Some are found broken only when they are read.
    records.sort_by_key(|record| record.status != ScheduleStatus::Broken);
    Ok(records)
}

fn as_records(conn: &Connection, rows: Vec<ScheduleRow>) -> Sql<Vec<ScheduleRecord>> {
    rows.into_iter().map(|row| as_record(conn, row)).collect()
}

fn as_record(conn: &Connection, row: ScheduleRow) -> Sql<ScheduleRecord> {
    let read = row.read();
    let broken = row.broken.clone().or_else(|| read.as_ref().err().map(ToString::to_string));
    let status = match () {
        () if broken.is_some() => ScheduleStatus::Broken,
        () if row.disabled => ScheduleStatus::Disabled,
        () if row.paused => ScheduleStatus::Paused,
        () if is_over(&row, read.as_ref().ok()) => ScheduleStatus::Over,
        () => ScheduleStatus::Active,
    };
    let mut record = ScheduleRecord {
        schedule: row.name,
        kind: None,
        pattern: None,
        time_zone: None,
        words: None,
        period: None,
        missed: None,
        grace: None,
        overlap: None,
        jitter: None,
        until: None,
        task_name: None,
        queue: None,
        declared: row.declared,
        status,
        broken,
        next_tick: row.standing.next,
        fires_at: row.due.filter(|_| status == ScheduleStatus::Active),
        last_tick: row.standing.last,
        last_run: last_run(conn, row.schedule_id)?,
        fired: row.fired,
        missed_ticks: row.missed,
        left_out: row.left_out,
    };
    let definition = match read {
        Ok((definition, ticks)) => {
            record.words = ticks.words();
            Some(definition)
        }
        Err(_) => serde_json::from_str(&row.definition).ok(),
    };
    if let Some(definition) = definition {
        describe(&mut record, definition);
    }
    Ok(record)
}

/// The newest run that a tick of a schedule has made, of those in the file.
fn last_run(conn: &Connection, schedule_id: i64) -> Sql<Option<TaskId>> {
    let sql = "SELECT task_id FROM perdura_runs INDEXED BY perdura_run_ticks
               WHERE by_hand = 0 AND schedule_id = ?1 ORDER BY tick_ms DESC LIMIT 1";
    let mut statement = conn.prepare_cached(sql)?;
    Ok(statement.query_row([schedule_id], |row| row.get(0).map(TaskId::from_i64)).optional()?)
}

/// Whether a schedule has no ticks left. One that waits for the end of its run still has one.
fn is_over(row: &ScheduleRow, read: Option<&(Definition, TickSeries)>) -> bool {
    let waits_for_run = matches!(read, Some((_, TickSeries::AfterEnd(_))));
    row.standing.next.is_none() && !waits_for_run
}

fn describe(record: &mut ScheduleRecord, definition: Definition) {
    record.period = definition.rhythm.period();
    record.missed = Some(definition.missed);
    record.grace = definition.grace();
    record.overlap = Some(definition.overlap);
    record.jitter = Some(definition.jitter());
    record.until = definition.until();
    record.task_name = Some(definition.task_name);
    record.queue = Some(definition.options.queue.unwrap_or_else(|| DEFAULT_QUEUE.to_owned()));
    record.kind = Some(match definition.rhythm {
        Rhythm::Cron { pattern, zone } => {
            (record.pattern, record.time_zone) = (Some(pattern), zone);
            ScheduleKind::Cron
        }
        Rhythm::EveryMs(_) => ScheduleKind::Every,
        Rhythm::AfterEndMs(_) => ScheduleKind::AfterEnd,
    });
}

/// The args of a schedule's tasks.
///
/// # Errors
/// `NotFound`.
pub(crate) fn schedule_args(conn: &Connection, name: &str) -> Sql<String> {
    let row = ScheduleRow::get(conn, name)?;
    let mut statement =
        conn.prepare_cached("SELECT args FROM perdura_schedule_args WHERE schedule_id = ?1")?;
    Ok(statement.query_row([row.schedule_id], |row| row.get(0))?)
}

/// The next `n` ticks of a schedule, as if it were not paused. If its ticks follow the ends of its runs, only the next is known.
///
/// # Errors
/// `NotFound`; `WrongState` if it is broken.
pub(crate) fn preview(conn: &Connection, name: &str, n: usize, now: Timestamp) -> Sql<Vec<Timestamp>> {
    let row = ScheduleRow::get(conn, name)?;
    let (definition, ticks) = crate::store::tasks::schedule_admin::readable(&row)?;
    let standing = if row.paused { row.standing.resume(&definition, &ticks, now) } else { row.standing };
    let mut all = Vec::new();
    let mut next = definition.within(standing.next);
    while let Some(tick) = next.filter(|_| all.len() < n) {
        all.push(tick);
        next = definition.within(ticks.after(tick));
    }
    Ok(all)
}

/// The tick of a task that is a run.
pub(crate) fn tick(conn: &Connection, id: TaskId) -> Sql<Option<Timestamp>> {
    let mut statement = conn.prepare_cached("SELECT tick_ms FROM perdura_runs WHERE task_id = ?1")?;
    let tick: Option<i64> = statement.query_row([id.as_i64()], |row| row.get(0)).optional()?;
    Ok(tick.map(Timestamp::from_millis))
}

/// The schedule of a task that is a run, and the run that it waits for, if it waits for one.
pub(crate) fn run_before(conn: &Connection, id: TaskId) -> Sql<(Option<String>, Option<TaskId>)> {
    let sql = "SELECT (SELECT s.schedule FROM perdura_schedules s WHERE s.schedule_id = r.schedule_id),
                      CASE r.live WHEN 2 THEN (SELECT o.task_id FROM perdura_runs o INDEXED BY perdura_live_runs
                          WHERE o.live > 0 AND o.live = 1 AND o.schedule_id = r.schedule_id ORDER BY o.tick_ms, o.task_id LIMIT 1) END
               FROM perdura_runs r WHERE r.task_id = ?1";
    let found = conn
        .prepare_cached(sql)?
        .query_row([id.as_i64()], |row| Ok((row.get(0)?, row.get::<_, Option<i64>>(1)?)))
        .optional()?;
    Ok(found.map_or((None, None), |(schedule, before)| (schedule, before.map(TaskId::from_i64))))
}
