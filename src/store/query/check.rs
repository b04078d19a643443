//! Checks a file: each invariant is a query that must return no rows.

use std::error::Error as _;

use rusqlite::Connection;
use serde::Serialize;

use crate::error::{Error, ErrorKind};
use crate::store::error::{Sql, meaning};
use crate::store::file::schema::{self, Rules};
use crate::store::tasks::epoch::is_served;
use crate::store::tasks::gates::is_bounded;

/// What [`Queue::check`](crate::Queue::check) found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
#[must_use = "it says whether the file is sound"]
pub struct CheckReport {
    /// A sentence for each broken invariant; empty if the file is sound.
    pub problems: Vec<String>,
}

impl CheckReport {
    /// Whether nothing is wrong.
    pub fn is_ok(&self) -> bool {
        self.problems.is_empty()
    }
}

/// What must hold in every committed state: for each, the problem and a query for rows that break it.
const INVARIANTS: &[(&str, &str)] = &[
    (
        "counters differ from a recount",
        "SELECT 1 FROM (
             SELECT queue_id, state, hold, COUNT(*) AS n FROM perdura_tasks GROUP BY queue_id, state, hold
             UNION ALL SELECT queue_id, state, hold, -n FROM perdura_counts)
         GROUP BY queue_id, state, hold HAVING SUM(n) <> 0",
    ),
    ("tasks of an unknown state", "SELECT 1 FROM perdura_tasks WHERE state NOT BETWEEN 0 AND 5"),
    (
        "numbers out of their range",
        "SELECT 1 FROM perdura_tasks WHERE priority NOT BETWEEN -32768 AND 32767 OR max_attempts NOT BETWEEN 1 AND 100
             OR generation NOT BETWEEN 0 AND 1 << 62 OR snoozes NOT BETWEEN 0 AND 1 << 62 OR in_flight NOT BETWEEN 0 AND 1
             OR cancel_requested NOT BETWEEN 0 AND 1 OR suspect NOT BETWEEN 0 AND 1 OR extras & ~65791 <> 0",
    ),
    (
        "args, results, checkpoints, steps or jobs that are not JSON",
        "SELECT 1 FROM perdura_args WHERE json_valid(args) = 0
             UNION ALL SELECT 1 FROM perdura_results WHERE json_valid(result) = 0 AND result <> ''
             UNION ALL SELECT 1 FROM perdura_checkpoints WHERE json_valid(checkpoint) = 0
             UNION ALL SELECT 1 FROM perdura_steps WHERE json_valid(result) = 0
             UNION ALL SELECT 1 FROM perdura_outside WHERE json_valid(spec) = 0",
    ),
    ("tasks of an unknown hold", "SELECT 1 FROM perdura_tasks WHERE hold NOT IN (0, 1, 2, 3, 4, 5, 6, 7)"),
    ("tasks without args", "SELECT 1 FROM perdura_tasks t WHERE NOT EXISTS (SELECT 1 FROM perdura_args a WHERE a.task_id = t.task_id)"),
    (
        "tasks of an unknown queue or name",
        "SELECT 1 FROM perdura_tasks t WHERE NOT EXISTS (SELECT 1 FROM perdura_queues q WHERE q.queue_id = t.queue_id)
             OR NOT EXISTS (SELECT 1 FROM perdura_task_names n WHERE n.name_id = t.name_id)",
    ),
    (
        "ids that are both a task and a dead letter",
        "SELECT 1 FROM perdura_tasks JOIN perdura_dead_letters USING (task_id)",
    ),
    (
        "unique keys whose task does not hold them",
        "SELECT 1 FROM perdura_keys k WHERE CASE WHEN EXISTS (SELECT 1 FROM perdura_tasks t WHERE t.task_id = k.task_id)
             THEN NOT EXISTS (SELECT 1 FROM perdura_tasks t WHERE t.task_id = k.task_id AND t.queue_id = k.queue_id AND t.extras & 1 = 1
                 AND (k.until_ms IS NOT NULL OR t.state = 0 OR (t.extras & 2 = 0 AND (t.state = 1 OR (t.state = 5 AND t.in_flight = 1)))))
             ELSE k.until_ms IS NULL END",
    ),
    (
        "tasks whose unique key is missing",
        "SELECT 1 FROM perdura_tasks t WHERE t.extras & 1 = 1 AND NOT EXISTS (SELECT 1 FROM perdura_keys k WHERE k.task_id = t.task_id)",
    ),
    (
        "limits of keys that do not fit their task",
        "SELECT 1 FROM perdura_limits l LEFT JOIN perdura_tasks t USING (task_id)
         WHERE CASE WHEN t.task_id IS NULL THEN l.standing <> 0 OR NOT EXISTS (SELECT 1 FROM perdura_dead_letters d WHERE d.task_id = l.task_id)
             ELSE t.extras & 4 = 0 OR t.queue_id <> l.queue_id OR t.priority <> l.priority
                 OR (l.standing = 1) <> (t.extras & 8 <> 0) OR (l.standing = 2) <> (t.reasons & 32 <> 0)
                 OR (t.extras & 16 <> 0 AND l.serial = 0) END",
    ),
    (
        "tasks whose limit of their key is missing",
        "SELECT 1 FROM perdura_tasks t WHERE (t.extras & 4 <> 0 AND NOT EXISTS (SELECT 1 FROM perdura_limits l WHERE l.task_id = t.task_id))
             OR (t.extras & 4 = 0 AND (t.extras & 24 <> 0 OR t.reasons & 32 <> 0))",
    ),
    (
        "permits of tasks that need none, or tasks that run without one",
        "SELECT 1 FROM perdura_tasks WHERE extras & 4 <> 0 AND CASE WHEN extras & 8 <> 0
             THEN NOT (in_flight = 1 OR (state = 0 AND (reasons & ~64 = 0 OR extras & 16 <> 0)))
             ELSE state = 1 OR (state = 0 AND reasons & ~64 = 0) END",
    ),
    (
        "keys of which more permits are held than any of their holders allows",
        "SELECT 1 FROM perdura_limits WHERE standing = 1 GROUP BY queue_id, digest HAVING COUNT(*) > MAX(permits)",
    ),
    (
        "keys whose first waiter could have a permit",
        "SELECT 1 FROM (SELECT DISTINCT queue_id, digest FROM perdura_limits WHERE standing = 2) k
         WHERE (SELECT COUNT(*) FROM perdura_limits h WHERE h.standing = 1 AND h.queue_id = k.queue_id AND h.digest = k.digest)
             < (SELECT w.permits FROM perdura_limits w WHERE w.standing = 2 AND w.queue_id = k.queue_id AND w.digest = k.digest
                ORDER BY w.priority DESC, w.task_id LIMIT 1)",
    ),
    (
        "args of no task",
        "SELECT 1 FROM perdura_args c WHERE NOT EXISTS (SELECT 1 FROM perdura_tasks t WHERE t.task_id = c.task_id)
             AND NOT EXISTS (SELECT 1 FROM perdura_dead_letters d WHERE d.task_id = c.task_id)",
    ),
    (
        "errors, attempts, results, checkpoints, progress or output of no task",
        "SELECT 1 FROM (SELECT task_id FROM perdura_errors UNION SELECT task_id FROM perdura_attempts
             UNION SELECT task_id FROM perdura_results UNION SELECT task_id FROM perdura_checkpoints
             UNION SELECT task_id FROM perdura_progress UNION SELECT task_id FROM perdura_output) c
         WHERE NOT EXISTS (SELECT 1 FROM perdura_args a WHERE a.task_id = c.task_id)",
    ),
    (
        "steps of no task, or of one whose row does not say that it has any",
        "SELECT 1 FROM (SELECT DISTINCT task_id FROM perdura_steps) s
         WHERE COALESCE((SELECT t.extras & 32 FROM perdura_tasks t WHERE t.task_id = s.task_id),
                        (SELECT 1 FROM perdura_dead_letters d WHERE d.task_id = s.task_id), 0) = 0",
    ),
    (
        "tasks that have succeeded with steps, or have none where their row says that they have some",
        "SELECT 1 FROM perdura_tasks t WHERE t.extras & 32 <> 0
             AND (t.state = 2 OR NOT EXISTS (SELECT 1 FROM perdura_steps s WHERE s.task_id = t.task_id))",
    ),
    (
        "needs of no task, or of one whose row does not say that it has any, or the other way round",
        "SELECT 1 FROM perdura_needs n
         WHERE COALESCE((SELECT t.extras & 64 FROM perdura_tasks t WHERE t.task_id = n.task_id),
                        (SELECT 1 FROM perdura_dead_letters d WHERE d.task_id = n.task_id), 0) = 0
         UNION ALL SELECT 1 FROM perdura_tasks t WHERE t.extras & 64 <> 0
             AND NOT EXISTS (SELECT 1 FROM perdura_needs n WHERE n.task_id = t.task_id)",
    ),
    (
        "tasks that wait for a condition and do not say for which, or the other way round",
        "SELECT 1 FROM perdura_needs n LEFT JOIN perdura_tasks t USING (task_id)
         WHERE (n.waits_for IS NOT NULL) <> (COALESCE(t.reasons & 16, 0) <> 0)
             OR (n.waits_for = 62 AND n.free_bytes = 0)
             OR (n.waits_for < 62 AND NOT EXISTS (SELECT 1 FROM perdura_conditions c WHERE c.condition_id = n.waits_for))
         UNION ALL SELECT 1 FROM perdura_tasks t WHERE t.reasons & 16 <> 0
             AND NOT EXISTS (SELECT 1 FROM perdura_needs n WHERE n.task_id = t.task_id AND n.waits_for IS NOT NULL)",
    ),
    (
        "needs of another priority than their task",
        "SELECT 1 FROM perdura_needs n JOIN perdura_tasks t USING (task_id) WHERE n.priority <> t.priority",
    ),
    (
        "tasks that need conditions that the file does not know",
        "SELECT 1 FROM perdura_needs n WHERE n.needs & ~(SELECT COALESCE(SUM(1 << c.condition_id), 0) FROM perdura_conditions c) <> 0",
    ),
    (
        "work outside of tasks that do not run or whose row does not say so, or the other way round",
        "SELECT 1 FROM perdura_outside o WHERE NOT EXISTS (SELECT 1 FROM perdura_tasks t WHERE t.task_id = o.task_id
             AND t.state = 1 AND t.extras & 128 <> 0)
         UNION ALL SELECT 1 FROM perdura_tasks t WHERE t.extras & 128 <> 0
             AND NOT EXISTS (SELECT 1 FROM perdura_outside o WHERE o.task_id = t.task_id)",
    ),
    (
        "results of tasks that did not succeed",
        "SELECT 1 FROM perdura_results r WHERE NOT EXISTS (SELECT 1 FROM perdura_tasks t WHERE t.task_id = r.task_id AND t.state = 2)",
    ),
    ("attempts beyond the newest generation", "SELECT 1 FROM perdura_attempts a JOIN perdura_tasks t USING (task_id) WHERE a.generation > t.generation"),
    ("tasks with more than 20 attempts kept", "SELECT 1 FROM perdura_attempts GROUP BY task_id HAVING COUNT(*) > 20"),
    ("more than one suspect that has the turn", "SELECT 1 FROM (SELECT COUNT(*) AS n FROM perdura_tasks t JOIN perdura_queues q USING (queue_id)
         WHERE t.suspect = 1 AND (t.state = 1 OR (t.state = 0 AND t.hold = 0 AND q.paused = 0))) WHERE n > 1"),
    (
        "tasks whose reasons to wait do not fit their row",
        "SELECT 1 FROM perdura_tasks WHERE reasons & ~127 <> 0 OR (reasons & 1 <> 0 AND in_flight = 0) OR (reasons & 64 <> 0 AND suspect = 0)",
    ),
    (
        "tasks that were running when a process died, and to which nobody will give their turn",
        concat!(
            "SELECT 1 FROM perdura_tasks t JOIN perdura_queues q USING (queue_id)
             WHERE t.suspect = 1 AND t.state = 0 AND t.hold = 7 AND q.paused = 0 AND NOT ",
            is_bounded!("q"),
            " AND ",
            is_served!("q.queue"),
            " AND NOT EXISTS (SELECT 1 FROM perdura_tasks o JOIN perdura_queues p USING (queue_id)
                 WHERE o.suspect = 1 AND (o.state = 1 OR (o.state = 0 AND o.hold = 0 AND p.paused = 0 AND ",
            is_served!("p.queue"),
            ")))"
        ),
    ),
    (
        "output of attempts that nobody can look at",
        "SELECT 1 FROM perdura_output o WHERE generation < (SELECT MAX(generation) FROM perdura_output n WHERE n.task_id = o.task_id)
             AND NOT EXISTS (SELECT 1 FROM perdura_attempts a WHERE a.task_id = o.task_id AND a.generation = o.generation)",
    ),
    (
        "runs of no task",
        "SELECT 1 FROM perdura_runs r WHERE NOT EXISTS (SELECT 1 FROM perdura_args a WHERE a.task_id = r.task_id)",
    ),
    (
        "tasks that are marked as runs and are none",
        "SELECT 1 FROM perdura_tasks t WHERE t.extras & 65536 <> 0 AND NOT EXISTS (SELECT 1 FROM perdura_runs r WHERE r.task_id = t.task_id)",
    ),
    (
        "runs that are live where their task is not, or the other way round",
        "SELECT 1 FROM perdura_runs r LEFT JOIN perdura_tasks t USING (task_id) WHERE r.live NOT BETWEEN 0 AND 2 OR (r.live > 0) <>
             COALESCE(t.extras & 65536 <> 0 AND (t.state IN (0, 1) OR (t.state = 5 AND t.in_flight = 1)), 0)",
    ),
    (
        "tasks that wait for runs before them and are no such run, or the other way round",
        "SELECT 1 FROM perdura_tasks t LEFT JOIN perdura_runs r USING (task_id) WHERE (t.reasons & 2 <> 0) <> (COALESCE(r.live, 0) = 2)",
    ),
    (
        "runs that wait although none before them is live",
        "SELECT 1 FROM perdura_runs r WHERE r.live = 2 AND NOT EXISTS (SELECT 1 FROM perdura_runs o WHERE o.schedule_id = r.schedule_id AND o.live = 1)",
    ),
    (
        "schedules without args, or args of no schedule",
        "SELECT 1 FROM perdura_schedules s WHERE NOT EXISTS (SELECT 1 FROM perdura_schedule_args a WHERE a.schedule_id = s.schedule_id)
             UNION ALL SELECT 1 FROM perdura_schedule_args a WHERE json_valid(a.args) = 0
                 OR NOT EXISTS (SELECT 1 FROM perdura_schedules s WHERE s.schedule_id = a.schedule_id)",
    ),
    (
        "schedules that are to be fired although they are paused, disabled or broken, or have no tick",
        "SELECT 1 FROM perdura_schedules WHERE due_ms IS NOT NULL AND (paused <> 0 OR disabled <> 0 OR broken IS NOT NULL OR next_tick_ms IS NULL)",
    ),
    ("ids beyond the highest ever given", "SELECT 1 FROM perdura_tasks WHERE task_id > (SELECT seq FROM sqlite_sequence WHERE name = 'perdura_tasks')"),
];

/// Checks SQLite's own structures and every invariant. Reads the whole file.
pub(crate) fn check(conn: &Connection) -> Sql<CheckReport> {
    Ok(check_steps(|step| Ok(check_step(conn, step)?))?)
}

/// Runs every step of a check and collects what they find. A step that fails because of damage counts as a finding, and the next one runs.
///
/// # Errors
/// Errors of a step that do not come from the file's contents: a lock, the disk.
pub(crate) fn check_steps(
    mut check: impl FnMut(usize) -> Result<Vec<String>, Error>,
) -> Result<CheckReport, Error> {
    let mut report = CheckReport::default();
    let (mut unread, mut first) = (0, None);
    for step in 0..=INVARIANTS.len() + schema::rules().len() {
        match check(step) {
            Ok(found) => report.problems.extend(found),
            Err(e) if e.kind() == ErrorKind::Corrupt => {
                unread += 1;
                first.get_or_insert(e);
            }
            Err(e) => return Err(e),
        }
    }
    if let Some(e) = first {
        let why = e.source().map_or_else(|| e.to_string(), ToString::to_string);
        report
            .problems
            .push(format!("SQLite: {why}, so {unread} of perdura's own rules could not be checked"));
    }
    Ok(report)
}

/// Runs one step of a check; returns what it finds. Each step may use a snapshot of its own: one that is held for minutes would let the WAL
/// grow.
pub(crate) fn check_step(conn: &Connection, step: usize) -> Sql<Vec<String>> {
    let Some(invariant) = step.checked_sub(1) else { return check_structure(conn) };
    if let Some((problem, sql)) = INVARIANTS.get(invariant) {
        let mut statement = conn.prepare(sql)?;
        let mut rows = statement.query([])?;
        let mut found = 0;
        while rows.next()?.is_some() {
            found += 1;
        }
        return Ok(if found > 0 { vec![format!("{problem} ({found})")] } else { Vec::new() });
    }
    match schema::rules().get(invariant - INVARIANTS.len()) {
        Some(of_table) => check_rules(conn, of_table),
        None => Ok(Vec::new()),
    }
}

/// Counts the rows of a table that break its `CHECK`s. SQLite's own check skips these on a read-only connection.
fn check_rules(conn: &Connection, Rules { table, rules }: &Rules) -> Sql<Vec<String>> {
    let counts: Vec<_> = rules.iter().map(|rule| format!("COUNT(*) FILTER (WHERE NOT ({rule}))")).collect();
    let sql = format!("SELECT {} FROM {table}", counts.join(", "));
    let found = conn.query_row(&sql, [], |row| {
        (0..rules.len()).map(|n| row.get::<_, i64>(n)).collect::<Result<Vec<_>, _>>()
    })?;
    let broken = rules.iter().zip(found).filter(|(_, found)| *found > 0);
    Ok(broken.map(|(rule, found)| format!("rows of {table} that break the rule {rule} ({found})")).collect())
}

/// The findings of SQLite's own check.
fn check_structure(conn: &Connection) -> Sql<Vec<String>> {
    let mut problems = Vec::new();
    let mut statement = conn.prepare("PRAGMA integrity_check(10)")?;
    let mut rows = statement.query([])?;
    loop {
        match rows.next() {
            Ok(Some(row)) => problems.extend(lines(&row.get::<_, String>(0)?)),
            Ok(None) => return Ok(problems),
            Err(e) if meaning(&e).0 == ErrorKind::Corrupt => {
                problems.push(format!("SQLite: {e}"));
                return Ok(problems);
            }
            Err(e) => return Err(e.into()),
        }
    }
}

/// The findings in one row of `integrity_check`. It may have several lines, and the first may only name the database.
fn lines(answer: &str) -> impl Iterator<Item = String> {
    let said = answer.lines().map(str::trim);
    let said = said.filter(|line| !line.is_empty() && *line != "ok" && !line.starts_with("*** in database "));
    said.map(|line| format!("SQLite: {line}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::Reasons;
    use crate::task::Hold;

    #[test]
    fn the_numbers_of_holds_are_those_that_rows_are_written_with() {
        let codes: Vec<String> =
            [Hold::Ready].iter().chain(&Hold::REASONS).map(|hold| hold.code().to_string()).collect();
        let bits = Hold::REASONS.into_iter().fold(Reasons::NONE, Reasons::with).code();
        let all: String = INVARIANTS.iter().map(|(_, sql)| *sql).collect();
        assert!(all.contains(&format!("hold NOT IN ({})", codes.join(", "))), "{codes:?}");
        assert!(all.contains(&format!("reasons & ~{bits} <> 0")), "{bits}");
        let extras = crate::task::Extras::KNOWN.code();
        assert!(all.contains(&format!("extras & ~{extras} <> 0")), "{extras}");
    }
}
