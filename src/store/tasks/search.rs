//! Finds the tasks or dead letters that match a filter.
//!
//! A search of a large file can take minutes. So it runs in slices, each bounded by the rows that it reads, not by those that it
//! finds, and each on a snapshot of its own: between slices it holds no lock, and no old snapshot that would let the WAL grow. It goes by
//! id, so tasks that change meanwhile are neither found twice nor skipped: a slice sees each task as it is at that moment.
//!
//! Where an index holds every task that can match, the search scans that index and reads no other tasks. No index holds `SUCCEEDED`
//! tasks, because each task would pay for it.

use rusqlite::Connection;
use rusqlite::types::Value;

use super::names::{find_queue, find_task_name};
use super::ready::{Priorities, ReadyQueues};
use crate::store::error::Sql;
use crate::task::{Filter, Hold, Progress, State, TaskId, Timestamp};

/// Rows that the first slice reads. They often fill a page of a list.
const FIRST_SLICE: usize = 500;
/// Rows that a later slice reads, at most.
const SLICE: usize = 10_000;
/// Rows that a slice reads with a text filter, which reads the texts of each row.
const TEXT_SLICE: usize = 500;
/// Tasks named by id that a slice looks up.
const NAMED_SLICE: usize = 5_000;
/// Pairs of queue and priority with ready tasks that are scanned one by one. With more pairs, all ready tasks are sorted by id.
const READY_LANES: usize = 64;

/// The order of ids that a search goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    OldestFirst,
    NewestFirst,
}

impl Filter {
    pub(crate) fn order(&self) -> Order {
        if self.newest_first { Order::NewestFirst } else { Order::OldestFirst }
    }
}

/// What is searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Among {
    Tasks,
    Letters,
}

/// The conditions that all access paths share. `?1` and `?2` are the ids to look between, `?3` and `?4` belong to the path; `$hold` is
/// the condition on the hold, which dead letters do not have.
macro_rules! find {
    ($from:literal, $id:literal, $hold:literal, $order:literal) => {
        concat!(
            "SELECT t.task_id FROM ",
            $from,
            " AND ", $id, " > ?1 AND ", $id,
            " < ?2 AND (1 << t.state) & ?5 <> 0
              AND (?6 IS NULL OR t.name_id = ?6) AND (?7 IS NULL OR t.queue_id = ?7)
              AND (?8 IS NULL OR t.created_at_ms < ?8) AND (?9 IS NULL OR t.finished_at_ms < ?9)
              AND (?10 IS NULL OR (SELECT a.tag FROM perdura_args a WHERE a.task_id = t.task_id) = ?10)
              AND (?11 IS NULL OR EXISTS (SELECT 1 FROM perdura_errors e WHERE e.task_id = t.task_id
                       AND (e.error_type = ?11 OR substr(e.error_type, -length(?11) - 2) = '::' || ?11
                            OR instr(e.error_type, ?11 || '.') = 1)))
              AND (?12 IS NULL OR EXISTS (SELECT 1 FROM perdura_task_names n WHERE n.name_id = t.name_id AND instr(lower(n.task_name), ?12))
                   OR EXISTS (SELECT 1 FROM perdura_args a WHERE a.task_id = t.task_id
                       AND (instr(lower(a.tag), ?12) OR instr(lower(a.args), ?12)
                            OR (?13 IS NOT NULL AND instr(replace(lower(a.args), '\",\"', ' '), ?13))))
                   OR EXISTS (SELECT 1 FROM perdura_errors e WHERE e.task_id = t.task_id
                       AND (instr(lower(e.error_type), ?12) OR instr(lower(e.error_message), ?12))))
              AND ",
            $hold,
            " ORDER BY t.task_id ",
            $order,
            " LIMIT ?15"
        )
    };
}

/// The row at which a slice ends: `?15` rows are before it.
macro_rules! edge {
    ($from:literal, $id:literal, $order:literal) => {
        concat!(
            "SELECT t.task_id FROM ",
            $from,
            " AND ",
            $id,
            " > ?1 AND ",
            $id,
            " < ?2 ORDER BY t.task_id ",
            $order,
            " LIMIT 1 OFFSET ?15"
        )
    };
}

/// The ids in an index, in order; each task is then looked up by its id.
macro_rules! list {
    ($from:literal, $order:literal) => {
        concat!(
            "SELECT t.task_id FROM ",
            $from,
            " AND t.task_id > ?1 AND t.task_id < ?2 ORDER BY t.task_id ",
            $order
        )
    };
}

/// An access path: a scan in the order of ids through one index, with statements for both orders.
#[derive(Clone, Copy)]
struct Way {
    find: [&'static str; 2],
    edge: [&'static str; 2],
    /// Each task that is found must still be compared with the filter.
    is_list: bool,
}

macro_rules! way {
    ($from:literal) => {
        way!($from, id "t.task_id", hold "(?14 IS NULL OR (t.state = 0 AND t.hold = ?14))")
    };
    ($from:literal, id $id:literal) => {
        way!($from, id $id, hold "(?14 IS NULL OR (t.state = 0 AND t.hold = ?14))")
    };
    ($from:literal, id $id:literal, hold $hold:literal) => {
        Way {
            find: [find!($from, $id, $hold, "ASC"), find!($from, $id, $hold, "DESC")],
            edge: [edge!($from, $id, "ASC"), edge!($from, $id, "DESC")],
            is_list: false,
        }
    };
    ($from:literal, list) => {
        Way {
            find: [list!($from, "ASC"), list!($from, "DESC")],
            edge: [edge!($from, "t.task_id", "ASC"), edge!($from, "t.task_id", "DESC")],
            is_list: true,
        }
    };
}

/// All tasks. Each path names its index (or that it uses none), so that statistics in the file cannot change its plan.
const ALL: Way = way!("perdura_tasks t NOT INDEXED WHERE TRUE");
/// Those in flight, in one state. The index orders them by queue; the unary plus keeps statistics from making the scan a skip scan.
const IN_FLIGHT: Way = way!("perdura_tasks t INDEXED BY perdura_in_flight WHERE t.in_flight = 1 AND t.state = ?3", id "+t.task_id");
/// Those that ended without success, in one state.
const ENDED: Way = way!("perdura_tasks t INDEXED BY perdura_ended WHERE t.state > 2 AND t.state = ?3");
/// Queued tasks that are held.
const HELD: Way = way!("perdura_tasks t INDEXED BY perdura_held WHERE t.state = 0 AND t.hold > 0");
/// Ready tasks of one queue and priority.
const READY: Way = way!(
    "perdura_tasks t INDEXED BY perdura_ready WHERE t.state = 0 AND t.hold = 0 AND t.queue_id = ?3 AND t.priority = ?4"
);
/// Ready tasks of all queues.
const ALL_READY: Way = way!("perdura_tasks t INDEXED BY perdura_ready WHERE t.state = 0 AND t.hold = 0");
/// Tasks and letters with a tag.
const TAGGED: Way = way!("perdura_args t INDEXED BY perdura_tags WHERE t.tag = ?3", list);
const LETTERS: Way =
    way!("perdura_dead_letters t NOT INDEXED WHERE TRUE", id "t.task_id", hold "?14 IS NULL");

/// One task, by its id: SQLite uses the rowid whatever the statistics say.
const ONE_TASK: &str = find!(
    "perdura_tasks t WHERE t.task_id = ?3",
    "t.task_id",
    "(?14 IS NULL OR (t.state = 0 AND t.hold = ?14))",
    "ASC"
);
const ONE_LETTER: &str =
    find!("perdura_dead_letters t WHERE t.task_id = ?3", "t.task_id", "?14 IS NULL", "ASC");

/// An access path and its parameters.
struct SearchLane {
    way: Way,
    keys: [Value; 2],
}

impl SearchLane {
    fn new(way: Way) -> SearchLane {
        SearchLane { way, keys: [Value::Null, Value::Null] }
    }

    fn of(way: Way, first: impl Into<Value>, second: impl Into<Value>) -> SearchLane {
        SearchLane { way, keys: [first.into(), second.into()] }
    }
}

/// A search in progress.
pub(crate) struct Search {
    filter: Filter,
    among: Among,
    order: Order,
    /// The ids that it has still to look between, both excluded; none: it has ended.
    rest: Option<(i64, i64)>,
    /// The ids that are left to look up, if the filter names any; they are taken from the end.
    named: Option<Vec<i64>>,
    slice: usize,
}

impl Search {
    /// A search for all that matches a filter. The filter's limit is ignored.
    pub(crate) fn new(filter: &Filter, among: Among, order: Order) -> Search {
        let low = filter.after.map_or(i64::MIN, TaskId::as_i64);
        let high = filter.before.map_or(i64::MAX, TaskId::as_i64);
        let named = filter.ids.as_ref().map(|ids| {
            let mut ids: Vec<i64> =
                ids.iter().map(|id| id.as_i64()).filter(|id| low < *id && *id < high).collect();
            ids.sort_unstable();
            ids.dedup();
            if order == Order::OldestFirst {
                ids.reverse();
            }
            ids
        });
        let slice = if filter.text.is_some() { TEXT_SLICE } else { FIRST_SLICE };
        Search {
            filter: Filter { ids: None, ..filter.clone() },
            among,
            order,
            rest: Some((low, high)),
            named,
            slice,
        }
    }

    /// A search for the tasks that exist now and match a filter, oldest first. Tasks that are enqueued later are not found.
    pub(crate) fn of_now(conn: &Connection, filter: &Filter) -> Sql<Search> {
        let mut search = Search::new(filter, Among::Tasks, Order::OldestFirst);
        let newest: Option<i64> =
            conn.prepare_cached("SELECT MAX(task_id) FROM perdura_tasks")?.query_row([], |row| row.get(0))?;
        let beyond = newest.unwrap_or(i64::MIN).saturating_add(1);
        search.rest = search.rest.map(|(low, high)| (low, high.min(beyond)));
        Ok(search)
    }

    pub(crate) fn is_over(&self) -> bool {
        self.rest.is_none()
    }

    /// Its progress: the ids that it has passed, of those from the oldest to the newest in the file.
    pub(crate) fn progress(&self, conn: &Connection) -> Sql<Progress> {
        let sql = match self.among {
            Among::Tasks => {
                "SELECT (SELECT MIN(task_id) FROM perdura_tasks), (SELECT MAX(task_id) FROM perdura_tasks)"
            }
            Among::Letters => {
                "SELECT (SELECT MIN(task_id) FROM perdura_dead_letters), (SELECT MAX(task_id) FROM perdura_dead_letters)"
            }
        };
        let (oldest, newest): (Option<i64>, Option<i64>) =
            conn.prepare_cached(sql)?.query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let (oldest, newest) = oldest.zip(newest).unwrap_or((1, 0));
        let between = |low: i64, high: i64| high.saturating_sub(low).saturating_sub(1).max(0).cast_unsigned();
        let all = (oldest.saturating_sub(1), newest.saturating_add(1));
        let total = between(all.0, all.1);
        let left = self.rest.map_or(0, |(low, high)| between(low.max(all.0), high.min(all.1)));
        Ok(Progress { done: total.saturating_sub(left), total })
    }

    /// Runs the next slice: what it finds, in order, at most `limit`.
    pub(crate) fn step(&mut self, conn: &Connection, limit: usize) -> Sql<Vec<TaskId>> {
        let Some((low, high)) = self.rest else { return Ok(Vec::new()) };
        let Some(check) = Check::new(conn, &self.filter, self.among)? else {
            self.rest = None;
            return Ok(Vec::new());
        };
        if let Some(named) = &mut self.named {
            let found = look_up(conn, named, &check, limit)?;
            self.rest = self.rest.filter(|_| !named.is_empty());
            return Ok(found);
        }
        let lanes = self.lanes(conn, &check)?;
        let share = self.slice.div_ceil(lanes.len().max(1));
        let edges = lanes
            .iter()
            .map(|lane| check.edge(conn, lane, self.order, (low, high), share))
            .collect::<Sql<Vec<_>>>()?;
        let edges = edges.into_iter().flatten();
        let (edge, bounds) = match self.order {
            Order::OldestFirst => {
                let edge = edges.min();
                (edge, (low, edge.map_or(high, |id| id.saturating_add(1))))
            }
            Order::NewestFirst => {
                let edge = edges.max();
                (edge, (edge.map_or(low, |id| id.saturating_sub(1)), high))
            }
        };
        let mut found = Vec::new();
        for lane in &lanes {
            found.extend(check.find(conn, lane, self.order, bounds, limit)?);
        }
        self.sort(&mut found);
        let last = if found.len() >= limit { found.get(limit.saturating_sub(1)).copied() } else { edge };
        found.truncate(limit);
        self.rest = last.map(|last| match self.order {
            Order::OldestFirst => (last, high),
            Order::NewestFirst => (low, last),
        });
        if self.filter.text.is_none() {
            self.slice = (self.slice * 4).min(SLICE);
        }
        Ok(found.into_iter().map(TaskId::from_i64).collect())
    }

    fn sort(&self, found: &mut [i64]) {
        match self.order {
            Order::OldestFirst => found.sort_unstable(),
            Order::NewestFirst => found.sort_unstable_by(|a, b| b.cmp(a)),
        }
    }

    /// The access paths that together find everything that can match the filter.
    fn lanes(&self, conn: &Connection, check: &Check<'_>) -> Sql<Vec<SearchLane>> {
        if let Some(tag) = &self.filter.tag {
            return Ok(vec![SearchLane::of(TAGGED, tag.clone(), Value::Null)]);
        }
        if self.among == Among::Letters {
            return Ok(vec![SearchLane::new(LETTERS)]);
        }
        let states = &self.filter.states;
        if states.is_empty() || states.contains(&State::Succeeded) {
            return Ok(vec![SearchLane::new(ALL)]);
        }
        let states: std::collections::BTreeSet<_> = states.iter().collect();
        let mut lanes = Vec::new();
        for state in states {
            match state {
                State::Queued => {
                    lanes.push(SearchLane::new(HELD));
                    lanes.extend(ready_lanes(conn, check.queue_id)?);
                }
                State::Running => lanes.push(SearchLane::of(IN_FLIGHT, state.code(), Value::Null)),
                _ => lanes.push(SearchLane::of(ENDED, state.code(), Value::Null)),
            }
        }
        Ok(lanes)
    }
}

/// A text escaped as in JSON, to search args in which a blank replaces the `","` between the strings of a list; none if that search can
/// find nothing more than the plain one.
fn as_in_args(text: &str) -> Option<String> {
    let json = serde_json::Value::from(text).to_string();
    let escaped = &json[1..json.len() - 1];
    (escaped != text || text.contains(' ')).then(|| escaped.to_owned())
}

/// Looks up the next tasks named by id, and keeps those that match.
fn look_up(conn: &Connection, named: &mut Vec<i64>, check: &Check<'_>, limit: usize) -> Sql<Vec<TaskId>> {
    let mut found = Vec::new();
    for _ in 0..NAMED_SLICE {
        if found.len() == limit {
            break;
        }
        let Some(id) = named.pop() else { break };
        if check.is_meant(conn, id)? {
            found.push(TaskId::from_i64(id));
        }
    }
    Ok(found)
}

/// The access paths for ready tasks.
fn ready_lanes(conn: &Connection, queue_id: Option<i64>) -> Sql<Vec<SearchLane>> {
    let mut queues = ReadyQueues::new(conn)?;
    let mut priorities = Priorities::new(conn)?;
    let mut lanes = Vec::new();
    let mut next = match queue_id {
        Some(_) => queue_id,
        None => queues.next()?,
    };
    while let Some(queue) = next {
        let mut below = i64::MAX;
        while let Some(priority) = priorities.below(queue, below)? {
            below = priority;
            lanes.push(SearchLane::of(READY, queue, priority));
            if lanes.len() > READY_LANES {
                return Ok(vec![SearchLane::new(ALL_READY)]);
            }
        }
        next = if queue_id.is_some() { None } else { queues.next()? };
    }
    Ok(lanes)
}

/// A filter with its names resolved to ids, ready to be bound.
pub(crate) struct Check<'f> {
    filter: &'f Filter,
    among: Among,
    name_id: Option<i64>,
    queue_id: Option<i64>,
}

impl<'f> Check<'f> {
    /// None if no task can match: the file does not know the name or the queue, or its counters show no such tasks.
    pub(crate) fn new(conn: &Connection, filter: &'f Filter, among: Among) -> Sql<Option<Check<'f>>> {
        let name_id = match &filter.task_name {
            Some(name) => find_task_name(conn, name)?,
            None => None,
        };
        let queue_id = match &filter.queue {
            Some(queue) => find_queue(conn, queue)?,
            None => None,
        };
        let is_unknown =
            name_id.is_some() != filter.task_name.is_some() || queue_id.is_some() != filter.queue.is_some();
        let check = Check { filter, among, name_id, queue_id };
        if is_unknown || !check.are_counted(conn)? {
            return Ok(None);
        }
        Ok(Some(check))
    }

    /// Whether the counters show tasks of the filter's queue in its states; true if it names no queue.
    fn are_counted(&self, conn: &Connection) -> Sql<bool> {
        let Some(queue_id) = self.queue_id.filter(|_| self.among == Among::Tasks) else { return Ok(true) };
        let sql = "SELECT EXISTS (SELECT 1 FROM perdura_counts WHERE queue_id = ?1 AND n > 0 AND (1 << state) & ?2 <> 0)";
        Ok(conn.prepare_cached(sql)?.query_row((queue_id, self.filter.state_mask()), |row| row.get(0))?)
    }

    /// Whether a task matches the filter. The filter's bounds of ids and its limit are ignored.
    pub(crate) fn is_meant(&self, conn: &Connection, id: i64) -> Sql<bool> {
        let sql = if self.among == Among::Tasks { ONE_TASK } else { ONE_LETTER };
        Ok(!self.run(conn, sql, &[id.into(), Value::Null], ANY, 1)?.is_empty())
    }

    fn edge(
        &self,
        conn: &Connection,
        lane: &SearchLane,
        order: Order,
        between: (i64, i64),
        rows: usize,
    ) -> Sql<Option<i64>> {
        let found = self.run(conn, lane.way.edge[order as usize], &lane.keys, between, rows)?;
        Ok(found.first().copied())
    }

    fn find(
        &self,
        conn: &Connection,
        lane: &SearchLane,
        order: Order,
        between: (i64, i64),
        limit: usize,
    ) -> Sql<Vec<i64>> {
        let sql = lane.way.find[order as usize];
        if !lane.way.is_list {
            return self.run(conn, sql, &lane.keys, between, limit);
        }
        let mut statement = conn.prepare_cached(sql)?;
        let mut rows = statement.query((between.0, between.1, &lane.keys[0]))?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            let id = row.get(0)?;
            if self.is_meant(conn, id)? {
                found.push(id);
            }
            if found.len() >= limit {
                break;
            }
        }
        Ok(found)
    }

    fn run(
        &self,
        conn: &Connection,
        sql: &str,
        keys: &[Value; 2],
        between: (i64, i64),
        rows: usize,
    ) -> Sql<Vec<i64>> {
        let filter = self.filter;
        let mut statement = conn.prepare_cached(sql)?;
        let rows = statement.query_map(
            rusqlite::params![
                between.0,
                between.1,
                keys[0],
                keys[1],
                filter.state_mask(),
                self.name_id,
                self.queue_id,
                filter.created_before.map(Timestamp::as_millis),
                filter.finished_before.map(Timestamp::as_millis),
                filter.tag,
                filter.error_type,
                filter.text,
                filter.text.as_deref().and_then(as_in_args),
                filter.hold.map(Hold::code),
                i64::try_from(rows).unwrap_or(i64::MAX),
            ],
            |row| row.get(0),
        )?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}

/// All ids.
const ANY: (i64, i64) = (i64::MIN, i64::MAX);
