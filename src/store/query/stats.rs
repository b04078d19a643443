//! Statistics over many tasks, and the output of single attempts.

use rusqlite::{Connection, OptionalExtension};

use crate::store::error::Sql;
use crate::store::tasks::names::queue_name;
use crate::store::tasks::ready::{Priorities, ReadyQueues};
use crate::task::{
    Counts, FailureGroup, Failures, Filter, Output, OutputStream, State, TaskId, Timestamp, mask,
};

/// Priorities of a queue that are searched for its oldest ready task. More are hardly ever in use, and each costs a search.
const PRIORITIES: usize = 64;

/// What an attempt has written; without a generation, the newest attempt that has written anything.
pub(crate) fn output(conn: &Connection, id: TaskId, generation: Option<u64>) -> Sql<Vec<Output>> {
    let mut statement = conn.prepare_cached(
        "SELECT generation, stream, first, last, bytes FROM perdura_output
         WHERE task_id = ?1 AND generation = COALESCE(?2, (SELECT MAX(generation) FROM perdura_output WHERE task_id = ?1))
         ORDER BY stream",
    )?;
    let mut rows = statement.query((id.as_i64(), generation.map(u64::cast_signed)))?;
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        let Some(stream) = OutputStream::from_code(row.get(1)?) else { continue };
        all.push(Output {
            generation: row.get::<_, i64>(0)?.cast_unsigned(),
            stream,
            first: row.get(2)?,
            last: row.get(3)?,
            bytes: row.get::<_, i64>(4)?.max(0).cast_unsigned(),
        });
    }
    Ok(all)
}

/// For each queue with ready tasks, since when its oldest one is ready. It looks at the 100 lowest ids of each priority, and leaves out tasks
/// that were retried by hand or handed back: the file does not keep when they became ready.
pub(crate) fn ready_since(conn: &Connection) -> Sql<Vec<(String, Timestamp)>> {
    let mut queues = ReadyQueues::new(conn)?;
    let mut priorities = Priorities::new(conn)?;
    let mut first = conn.prepare_cached(
        "SELECT MIN(since) FROM (
             SELECT CASE generation WHEN 0 THEN MAX(COALESCE(run_at_ms, created_at_ms), created_at_ms) ELSE run_at_ms END AS since
             FROM perdura_tasks INDEXED BY perdura_ready
             WHERE state = 0 AND hold = 0 AND queue_id = ?1 AND priority = ?2 ORDER BY task_id LIMIT 100)",
    )?;
    let mut all = Vec::new();
    while let Some(queue_id) = queues.next()? {
        let (mut below, mut oldest) = (i64::MAX, None);
        for _ in 0..PRIORITIES {
            let Some(priority) = priorities.below(queue_id, below)? else { break };
            below = priority;
            let since: Option<i64> = first.query_row((queue_id, priority), |row| row.get(0))?;
            oldest = oldest.into_iter().chain(since).min();
        }
        let Some(ms) = oldest else { continue };
        all.extend(queue_name(conn, queue_id)?.map(|queue| (queue, Timestamp::from_millis(ms))));
    }
    Ok(all)
}

/// How many tasks match a filter, from the counters; none if it asks for more than states and a queue.
pub(crate) fn count_from(counts: &Counts, filter: &Filter) -> Option<u64> {
    let plain = Filter { states: filter.states.clone(), queue: filter.queue.clone(), ..Filter::new() };
    if *filter != plain {
        return None;
    }
    let states = if filter.states.is_empty() { &State::ALL[..] } else { &filter.states };
    let queues = counts.queues.iter().filter(|(name, _)| filter.queue.as_ref().is_none_or(|q| q == *name));
    let states: std::collections::BTreeSet<_> = states.iter().collect();
    let counters = states.into_iter().flat_map(|s| queues.clone().map(|(_, counts)| counts.in_state(*s)));
    Some(counters.fold(0, u64::saturating_add))
}

/// Groups tasks that failed or were lost by name, error type and masked message. `more`: there are other such tasks beside `found`.
pub(crate) fn failures(conn: &Connection, found: &[TaskId], more: bool) -> Sql<Failures> {
    let mut statement = conn.prepare_cached(
        "SELECT (SELECT n.task_name FROM perdura_task_names n WHERE n.name_id = t.name_id),
                COALESCE((SELECT e.error_type FROM perdura_errors e WHERE e.task_id = t.task_id), ''),
                COALESCE((SELECT e.error_message FROM perdura_errors e WHERE e.task_id = t.task_id), ''), t.finished_at_ms
         FROM perdura_tasks t WHERE t.task_id = ?1",
    )?;
    let mut groups = std::collections::HashMap::<(String, String, String), FailureGroup>::new();
    let mut looked_at = 0;
    for id in found {
        let row = statement
            .query_row([id.as_i64()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))
            .optional()?;
        let Some((task_name, error_type, message, ended)) = row else { continue }; // it was deleted meanwhile
        let (task_name, error_type, message): (String, String, String) = (task_name, error_type, message);
        looked_at += 1;
        let message = mask(&message);
        let key = (task_name.clone(), error_type.clone(), message.clone());
        let group = groups.entry(key).or_insert_with(|| FailureGroup {
            task_name,
            error_type,
            message,
            count: 0,
            newest: *id,
            newest_at: Option::<i64>::map(ended, Timestamp::from_millis),
            ids: Vec::new(),
        });
        group.count += 1;
        group.ids.push(*id);
    }
    let mut groups: Vec<_> = groups.into_values().collect();
    groups.sort_by_key(|group| (std::cmp::Reverse(group.count), std::cmp::Reverse(group.newest)));
    Ok(Failures { groups, looked_at, more })
}
