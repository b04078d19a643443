//! Jobs: reads and writes of the work that engines do outside.

use rusqlite::Connection;

use crate::planted::planted;
use crate::store::commit::tx::Tx;
use crate::store::error::Sql;
use crate::task::{JobRow, TaskId, Timestamp};

/// The jobs of an engine, and the file's owner epoch.
pub(crate) fn jobs(conn: &Connection, engine: &str) -> Sql<(Vec<JobRow>, i64)> {
    let epoch = conn
        .prepare_cached("SELECT owner_epoch FROM perdura_meta WHERE id = 1")?
        .query_row([], |row| row.get(0))?;
    let mut statement = conn.prepare_cached(
        "SELECT o.task_id, t.generation, o.job, o.since_ms, o.accepted_at_ms, o.deadline_ms, t.cancel_requested, o.owner_epoch
         FROM perdura_outside o INDEXED BY perdura_jobs CROSS JOIN perdura_tasks t ON t.task_id = o.task_id
         WHERE o.engine IS NOT NULL AND o.engine = ?1 ORDER BY o.task_id",
    )?;
    let rows = statement.query_map([engine], |row| {
        Ok(JobRow {
            task_id: TaskId::from_i64(row.get(0)?),
            generation: row.get::<_, i64>(1)?.cast_unsigned(),
            job: row.get(2)?,
            since: Timestamp::from_millis(row.get(3)?),
            accepted_at: row.get::<_, Option<i64>>(4)?.map(Timestamp::from_millis),
            deadline: row.get::<_, Option<i64>>(5)?.map(Timestamp::from_millis),
            cancel_requested: row.get(6)?,
            epoch: row.get(7)?,
        })
    })?;
    Ok((rows.collect::<rusqlite::Result<_>>()?, epoch))
}

/// The spec of a job, which its engine gets; none if the job has ended.
pub(crate) fn spec(conn: &Connection, id: TaskId, job: &str) -> Sql<Option<String>> {
    let mut statement =
        conn.prepare_cached("SELECT spec FROM perdura_outside WHERE task_id = ?1 AND job = ?2")?;
    let mut rows = statement.query((id.as_i64(), job))?;
    Ok(rows.next()?.map(|row| row.get(0)).transpose()?.flatten())
}

/// Notes that an engine has accepted these jobs; their deadlines begin. Jobs that have ended, or were noted before, are skipped.
pub(crate) fn accept(tx: &Tx<'_>, jobs: &[(TaskId, String)], now: Timestamp) -> Sql<()> {
    for (id, job) in jobs {
        if planted("g19-that-a-job-was-accepted-is-not-noted") {
            continue;
        }
        let sql = "UPDATE perdura_outside SET accepted_at_ms = ?3, deadline_ms = ?3 + time_left_ms WHERE task_id = ?1 AND job = ?2 AND accepted_at_ms IS NULL";
        tx.run(sql, (id.as_i64(), job, now.as_millis()))?;
    }
    tx.effect(|effects| effects.changed = true);
    Ok(())
}

/// The task name, the args and their version, of a job's task.
pub(crate) fn args_of(conn: &Connection, id: TaskId) -> Sql<Option<(String, String, u32)>> {
    let mut statement = conn.prepare_cached(
        "SELECT (SELECT n.task_name FROM perdura_task_names n WHERE n.name_id = t.name_id),
                (SELECT a.args FROM perdura_args a WHERE a.task_id = t.task_id),
                (SELECT a.version FROM perdura_args a WHERE a.task_id = t.task_id)
         FROM perdura_tasks t WHERE t.task_id = ?1",
    )?;
    let mut rows = statement.query([id.as_i64()])?;
    let read = |row: &rusqlite::Row<'_>| Ok::<_, rusqlite::Error>((row.get(0)?, row.get(1)?, row.get(2)?));
    Ok(rows.next()?.map(read).transpose()?)
}

/// The names of the owner's engines; empty if it has none.
pub(crate) fn engines(conn: &Connection) -> Sql<Vec<String>> {
    let sql = "SELECT j.value FROM perdura_meta m, json_each(m.engines) j WHERE m.id = 1";
    let mut statement = conn.prepare_cached(sql)?;
    let names = statement.query_map([], |row| row.get(0))?;
    Ok(names.collect::<rusqlite::Result<_>>()?)
}
