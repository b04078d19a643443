//! Enqueues: new tasks.
//!
//! **Tasks that start at once.** When a worker idles and nothing else is ready, a new task would be written as ready, found again, and
//! written again as running, all in one transaction. Instead it is written as running to begin with; the rules (`lifecycle`) see an enqueue
//! and a claim right after it. No other task loses its turn, because all of this must hold, as the transaction itself checks: no task in the
//! file is ready, the owner serves all queues, and the task's queue is neither paused nor has a limit, a rate or a closure. The task must be
//! alone in its transaction (of several, priorities decide which is first), have no needs and no limit of its key, and be no run of a
//! schedule, since others may be made in the same transaction.

use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode};

use super::gates::is_bounded;
use super::needs::NeedsRow;
use super::replace::{due, meet};
use super::{keys, permits};
use crate::error::{EnqueueToken, Error, ErrorKind};
use crate::lifecycle::{Reasons, TaskEvent, TaskState, next};
use crate::planted::planted;
use crate::store::commit::tx::{Prepared, Tx};
use crate::store::error::{Fault, Sql};
use crate::task::{Claimed, Enqueued, Extras, Hold, NewTask, State, TaskId, Timestamp, Unique, millis};

/// Makes tasks, in their order. If the unique key of a task is taken, or the same enqueue has made it before, the existing task is returned,
/// or replaced.
pub(crate) fn enqueue(tx: &Tx<'_>, tasks: &[NewTask], now: Timestamp) -> Sql<Vec<Enqueued>> {
    let (mut insert, mut names) = (Insert::new(tx)?, LatestNames::default());
    let is_alone = tasks.len() == 1;
    tasks.iter().map(|task| enqueue_one(tx, &mut insert, &mut names, task, is_alone, now)).collect()
}

fn enqueue_one<'t>(
    tx: &Tx<'_>,
    insert: &mut Insert<'_>,
    names: &mut LatestNames<'t>,
    task: &'t NewTask,
    is_alone: bool,
    now: Timestamp,
) -> Sql<Enqueued> {
    let options = &task.options;
    if let Some(token) = options.token
        && find_token(tx.conn, token)?
    {
        return Ok(Enqueued::Existing(TaskId::from_i64(token.task_id)));
    }
    let queue_id = id_of(&mut names.queue, &options.queue, |queue| tx.queue_id(queue))?;
    let run = task.run;
    let mut key = None;
    if let Some(unique) = &options.unique {
        let of_run = run.and_then(|run| run.unique_digest);
        let digest = of_run.unwrap_or_else(|| keys::digest(tx.file_id, &unique.scoped(&task.task_name)));
        let found = keys::look(tx, queue_id, &digest, now)?;
        if let Some(answer) = meet(tx, task, unique, found, now)? {
            return Ok(answer);
        }
        key = Some((unique, digest, found));
    }
    let (run_at, anchor) = due(options.due, now);
    let waits = run_at.is_some_and(|time| time > now);
    let mut reasons = if waits { Reasons::of(Hold::Time) } else { Reasons::NONE };
    if run.is_some_and(|run| run.waits) {
        reasons = reasons.with(Hold::Parents);
    }
    let place = match &options.limit {
        Some(limit) => {
            let of_run = run.and_then(|run| run.limit_digest);
            let digest = of_run.unwrap_or_else(|| keys::digest(tx.file_id, &limit.key));
            let needs_permit = reasons == Reasons::NONE;
            Some(permits::LimitRow::of_new(tx, (queue_id, digest), limit, options.priority, needs_permit)?)
        }
        None => None,
    };
    reasons = reasons.with(place.as_ref().map_or(Hold::Ready, permits::LimitRow::hold));
    let expires_at = options.expires.map(|after| now.saturating_add(after));
    let name_id = id_of(&mut names.task_name, &task.task_name, |name| tx.name_id(name))?;
    let needs = match options.needs.is_empty() {
        true => None,
        false => Some(NeedsRow::of_new(tx, &options.needs, options.priority)?),
    };
    let starts_at_once =
        is_alone && run.is_none() && reasons == Reasons::NONE && place.is_none() && needs.is_none();
    let started_at = match starts_at_once {
        true => tx.start_now(task, queue_id, expires_at)?,
        false => None,
    };
    let starts = started_at.is_some();
    let extras = key.as_ref().map_or(Extras::NONE, |(unique, ..)| first_extras(unique, starts));
    let extras = extras.with(Extras::RUN.only_if(run.is_some()));
    let extras = extras.with(place.as_ref().map_or(Extras::NONE, permits::LimitRow::extras));
    let extras = extras.with(Extras::NEEDS.only_if(needs.is_some()));
    let task_state = new_task_state(reasons, options.max_attempts, starts)?;
    let inserted = insert.task.change_one(rusqlite::params![
        queue_id,
        name_id,
        task_state.state.code(),
        task_state.hold().code(),
        options.priority,
        task_state.attempt_number,
        task_state.max_attempts,
        i64::from(starts), // generation: one claim, or none
        task_state.in_flight,
        extras.code(),
        now.as_millis(),
        started_at.map(Timestamp::as_millis),
        run_at.map(Timestamp::as_millis),
        anchor.map(Timestamp::as_millis),
        expires_at.map(Timestamp::as_millis),
        task_state.reasons.code(),
    ]);
    inserted.map_err(|fault| out_of_ids(tx.conn, fault))?;
    let id = tx.conn.last_insert_rowid();
    insert.args.change_one(rusqlite::params![
        id,
        task.args,
        task.version,
        task.token,
        options.backoff.map(millis),
        options.timeout.map(millis),
        key.as_ref().map(|(_, digest, _)| digest),
        options.tag,
        options.unique.as_ref().filter(|unique| unique.until_started).map(|_| true),
        options.unique.as_ref().and_then(|unique| unique.lasts).map(millis),
    ])?;
    let id = TaskId::from_i64(id);
    if let Some(place) = &place {
        place.insert(tx, id)?;
    }
    if let Some(needs) = &needs {
        needs.insert(tx, id)?;
    }
    if let Some((unique, digest, found)) = &key
        && extras.contains(Extras::KEY)
    {
        keys::hold(tx, queue_id, digest, *found, id, keys::time_from(now, unique.lasts))?;
    }
    tx.count(queue_id, task_state.state, task_state.hold(), 1);
    if starts {
        let claimed = claimed(id, &task_state, task, extras, tx.task_name(name_id)?, queue_id);
        tx.effect(|effects| effects.claims.push(claimed));
    }
    tx.effect(|effects| {
        effects.changed = true;
        effects.ready += u64::from(!starts && reasons == Reasons::NONE);
        let waits_until = waits.then_some(run_at).flatten();
        let expires_at = expires_at.filter(|_| !starts);
        effects.due = effects.due.into_iter().chain(waits_until).chain(expires_at).min();
    });
    Ok(Enqueued::Inserted(id))
}

/// The ids of the previous task's queue and name: tasks of a batch mostly have the same.
#[derive(Default)]
struct LatestNames<'t> {
    queue: Option<(&'t str, i64)>,
    task_name: Option<(&'t str, i64)>,
}

/// The id of a name: the previous task's, if it has the same name.
fn id_of<'t>(
    latest: &mut Option<(&'t str, i64)>,
    name: &'t str,
    find: impl FnOnce(&str) -> Sql<i64>,
) -> Sql<i64> {
    match *latest {
        Some((same, id)) if same == name => Ok(id),
        _ => {
            let id = find(name)?;
            *latest = Some((name, id));
            Ok(id)
        }
    }
}

/// The bits of a new task for its key. A task that starts at once does not take a key that it needs only until it starts, unless the key is
/// taken for a time as well.
fn first_extras(unique: &Unique, starts: bool) -> Extras {
    let is_free = unique.until_started && starts && unique.lasts.is_none();
    let is_kept = !is_free || planted("g04-a-direct-start-keeps-the-key");
    Extras::KEY.only_if(is_kept).with(Extras::UNTIL_STARTED.only_if(unique.until_started))
}

/// The state of a new task: queued, or claimed at once.
fn new_task_state(reasons: Reasons, max_attempts: u32, starts: bool) -> Sql<TaskState> {
    let queued = TaskState {
        state: State::Queued,
        reasons,
        attempt_number: 0,
        max_attempts,
        in_flight: false,
        cancel_requested: false,
        suspect: false,
    };
    if !starts {
        return Ok(queued);
    }
    let refused = |why| Error::internal(format!("a new task refused its claim: {why:?}"));
    Ok(next(&queued, TaskEvent::Claim).map_err(refused)?.task_state)
}

/// The claim of a new task that starts at once.
fn claimed(
    id: TaskId,
    task_state: &TaskState,
    task: &NewTask,
    extras: Extras,
    task_name: Arc<str>,
    queue_id: i64,
) -> Claimed {
    let whole = |duration: Duration| Duration::from_millis(millis(duration).cast_unsigned()); // rounded as in the file
    Claimed {
        task_id: id,
        generation: 1,
        attempt_number: task_state.attempt_number,
        max_attempts: task_state.max_attempts,
        task_name,
        queue_id,
        args: task.args.clone(),
        version: task.version,
        backoff: task.options.backoff.map(whole),
        timeout: task.options.timeout.map(whole),
        waited: Some(Duration::ZERO),
        extras,
        suspect: task_state.suspect,
        is_replay: false,
        needs_throughout: 0,
    }
}

/// The statements for the two rows of each new task.
struct Insert<'c> {
    task: Prepared<'c>,
    args: Prepared<'c>,
}

impl<'c> Insert<'c> {
    fn new(tx: &Tx<'c>) -> Sql<Insert<'c>> {
        let task = tx.prepare(
            "INSERT INTO perdura_tasks (queue_id, name_id, state, hold, priority, attempt_number, max_attempts, generation,
                 in_flight, cancel_requested, suspect, extras, late, snoozes, created_at_ms, started_at_ms, run_at_ms, anchor_ms,
                 expires_at_ms, reasons)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, 0, 0, ?10, 0, 0, ?11, ?12, ?13, ?14, ?15, ?16)",
        )?;
        let args = tx.prepare(
            "INSERT INTO perdura_args (task_id, args, version, token, backoff_ms, timeout_ms, unique_digest, tag, until_started,
                 unique_for_ms)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        )?;
        Ok(Insert { task, args })
    }
}

/// Replaces SQLITE_FULL by a clear error if the ids of the file are used up: SQLite reports that like a full disk. Ids end only if somebody
/// has written a huge one into the file.
pub(crate) fn out_of_ids(conn: &Connection, fault: Fault) -> Fault {
    let is_full = matches!(&fault, Fault::Sql(e) if e.sqlite_error_code() == Some(ErrorCode::DiskFull));
    let sql = "SELECT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'perdura_tasks' AND seq = 9223372036854775807)";
    let ids_ended = is_full && conn.query_row(sql, [], |row| row.get(0)).unwrap_or(false);
    if !ids_ended {
        return fault;
    }
    let message =
        "the ids of this file are used up, which no program does by itself; move its tasks to a new one";
    Error::new(ErrorKind::Corrupt, message).into()
}

/// Whether the enqueue with this token is in the file.
pub(crate) fn find_token(conn: &Connection, token: EnqueueToken) -> Sql<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM perdura_args WHERE task_id = ?1 AND (token = ?2 OR replace_token = ?2))";
    Ok(conn.prepare_cached(sql)?.query_row((token.task_id, token.token), |row| row.get(0))?)
}

// ---- Tasks that start at once ----

impl Tx<'_> {
    /// The start time of this new ready task, if it may start at once. That uses up the leave.
    pub(crate) fn start_now(
        &self,
        task: &NewTask,
        queue_id: i64,
        expires_at: Option<Timestamp>,
    ) -> Sql<Option<Timestamp>> {
        let Some(leave) = &self.start_leave else { return Ok(None) };
        let is_over = expires_at.is_some_and(|time| time <= leave.now);
        let is_handled = leave.handled.get(&*task.task_name).is_some_and(|version| *version >= task.version);
        if leave.is_taken.get() || is_over || !is_handled {
            return Ok(None);
        }
        let may_start = planted("g09-starts-out-of-turn") || self.nothing_is_ready(leave.epoch, queue_id)?;
        leave.is_taken.set(may_start);
        Ok(may_start.then_some(leave.now))
    }

    /// Whether this process still owns the file and serves all queues, no task is ready, and this queue is neither paused nor bounded.
    fn nothing_is_ready(&self, epoch: i64, queue_id: i64) -> Sql<bool> {
        let sql = concat!(
            "SELECT owner_epoch = ?1 AND served IS NULL AND NOT EXISTS (SELECT 1 FROM perdura_tasks INDEXED BY perdura_ready WHERE state = 0 AND hold = 0)
                 AND (SELECT q.paused = 0 AND NOT ",
            is_bounded!("q"),
            " FROM perdura_queues q WHERE q.queue_id = ?2) FROM perdura_meta WHERE id = 1"
        );
        self.one(sql, (epoch, queue_id), |row| row.get(0))
    }
}
