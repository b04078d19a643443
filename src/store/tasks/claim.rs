//! Claims: QUEUED → RUNNING, durable before the handler starts.
//!
//! What the index `perdura_ready` holds may run, so a claim never searches. Three kinds of tasks in it may not run after all, and a claim meets
//! each of them at most once: tasks whose name (or version) no handler knows, and tasks that lack something that they need (`needs`), are held;
//! expired tasks are cancelled. A task that must not be claimed ahead of a worker ends the claim if no worker idles. Queues that are paused or
//! shut (`gates`) are skipped as a whole.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::Row;

use super::damaged::{fail_damaged, indexed};
use super::gates::Gate;
use super::needs::{NeedsMet, Surroundings};
use super::permit_lifts::pass_permits;
use super::promote::expire;
use super::ready::{OpenQueue, ready_queues};
use super::row::{extras_at, reasons_at, refused_by_rules, time_at};
use super::{condition_waits, keys};
use crate::lifecycle::{TaskEvent, TaskState, next};
use crate::limits::Shut;
use crate::planted::planted;
use crate::store::commit::tx::{Prepared, Tx};
use crate::store::error::Sql;
use crate::task::{ClaimRoom, Claimed, Claims, Extras, HandledNames, Hold, State, TaskId, Timestamp};

/// Candidates that one transaction may meet and not claim: bounds the time that others wait for the writer.
const MAX_CANDIDATES: usize = 500;

/// A ready task, with what a worker needs.
struct Candidate {
    task_id: TaskId,
    generation: i64,
    task_state: TaskState,
    name_id: i64,
    extras: Extras,
    /// When it became ready; not known after a retry by hand or a hand-back.
    ready_since: Option<Timestamp>,
    expires_at: Option<i64>,
    args: Option<String>,
    version: u32,
    backoff_ms: Option<u64>,
    timeout_ms: Option<u64>,
    is_replay: bool,
}

/// A claim in progress.
struct Claiming<'d> {
    room: ClaimRoom,
    claims: Vec<Claimed>,
    /// The bytes of args of claims ahead of a worker.
    ahead_bytes: usize,
    /// How many candidates it may still meet and not claim.
    looks: usize,
    /// Queues that it has skipped because they are shut.
    shut: BTreeSet<i64>,
    surroundings: Surroundings<'d>,
}

/// How the turn of a queue has ended.
#[derive(PartialEq, Eq)]
enum ClaimTurn {
    /// It gave as many tasks as were asked for, and may have more.
    MayGoOn,
    Empty,
    /// Its next task is not claimed ahead of a worker, and no worker idles.
    WaitsForWorker,
}

impl Claiming<'_> {
    /// Whether the next claim, after `further` more, is ahead of a worker: all idle workers have a claim then.
    fn is_ahead(&self, further: usize) -> bool {
        self.claims.len() + further >= self.room.idle
    }

    /// Whether a task must not be claimed before a worker idles. A crash may charge an attempt to a task that was claimed ahead, which would
    /// end a task in its last attempt; large args would fill the memory.
    fn waits(&self, candidate: &Candidate, further: usize, bytes_before: usize) -> bool {
        let is_last = candidate.task_state.attempt_number + 1 >= candidate.task_state.max_attempts;
        self.is_ahead(further) && (is_last || bytes_before + candidate.bytes() > self.room.ahead_bytes)
    }

    fn add(&mut self, claimed: Claimed) {
        if self.is_ahead(0) {
            self.ahead_bytes += claimed.args.len();
        }
        self.claims.push(claimed);
    }

    /// Notes what opens the queues that were found shut: a time, or the end of a task.
    fn skip(&self, tx: &Tx<'_>, now: Timestamp) -> Sql<()> {
        for queue_id in &self.shut {
            let gate = Gate::read(tx.conn, *queue_id, now)?;
            // After a backward jump of the clock, the timer corrects the bounds at once.
            let until = if gate.has_jumped(now) { Some(now) } else { gate.room.err().and_then(Shut::until) };
            tx.effect(|effects| {
                effects.waits_for_end |= matches!(gate.room, Err(Shut::Full(_)));
                effects.due = effects.due.into_iter().chain(until).min();
            });
        }
        Ok(())
    }

    fn done(self, waits_for_worker: bool) -> Claims {
        Claims { claims: self.claims, waits_for_worker }
    }
}

impl Candidate {
    fn bytes(&self) -> usize {
        self.args.as_ref().map_or(0, String::len)
    }
}

/// Claims as many tasks as there is room for. Queues with ready tasks take turns, beginning after the queue `cursor`, which is moved on.
///
/// If a task must wait until a worker idles, nothing is claimed after it, neither of its own queue nor of others: they might keep all
/// workers busy for ever. Its queue is the first at the next claim.
pub(crate) fn claim(
    tx: &Tx<'_>,
    room: ClaimRoom,
    known: &HandledNames,
    free_disk: &dyn Fn() -> Option<u64>,
    cursor: &mut i64,
    now: Timestamp,
) -> Sql<Claims> {
    let mut claiming = Claiming {
        room,
        claims: Vec::new(),
        ahead_bytes: 0,
        looks: MAX_CANDIDATES,
        shut: BTreeSet::new(),
        surroundings: Surroundings::new(free_disk),
    };
    loop {
        let wanted = room.total - claiming.claims.len();
        let (queues, are_all) = ready_queues(tx, *cursor, wanted, now, &mut claiming.shut)?;
        // If there are more queues, each of these has one turn before the others have theirs.
        let waits_for_worker = claim_in_turn(tx, queues, are_all, known, cursor, now, &mut claiming)?;
        let is_full = claiming.claims.len() == room.total;
        // Tasks that could not be claimed have left the index, so each round gets further; they may also have freed permits.
        let has_passed = pass_permits(tx)?;
        if waits_for_worker || is_full || (are_all && !has_passed) || claiming.looks == 0 {
            let is_cut_short = claiming.looks == 0 && !are_all && !is_full;
            tx.effect(|effects| {
                effects.more |= is_cut_short && !planted("g04-a-claim-cut-short-is-forgotten")
            });
            claiming.skip(tx, now)?;
            return Ok(claiming.done(waits_for_worker));
        }
    }
}

/// Claims from these queues in turn: one turn each or, with `again`, until they have nothing more. Returns whether a task waits until a
/// worker idles.
fn claim_in_turn(
    tx: &Tx<'_>,
    mut queues: Vec<OpenQueue>,
    again: bool,
    known: &HandledNames,
    cursor: &mut i64,
    now: Timestamp,
    claiming: &mut Claiming<'_>,
) -> Sql<bool> {
    let total = claiming.room.total;
    while claiming.claims.len() < total && !queues.is_empty() {
        let share = ((total - claiming.claims.len()) / queues.len()).max(1);
        let mut kept = Vec::new();
        for lane in queues {
            let before = claiming.claims.len();
            let wanted = share.min(total - before);
            if wanted == 0 {
                break;
            }
            if claiming.looks == 0 {
                tx.effect(|effects| effects.more = true);
                return Ok(false);
            }
            let turn = match lane.is_bounded {
                false => claim_from(tx, lane.queue_id, wanted, known, now, claiming)?,
                true => claim_within(tx, lane.queue_id, wanted, known, now, claiming)?,
            };
            let had_its_turn = turn != ClaimTurn::WaitsForWorker || claiming.claims.len() > before;
            *cursor = if had_its_turn { lane.queue_id } else { *cursor };
            match turn {
                ClaimTurn::MayGoOn => kept.push(lane),
                ClaimTurn::Empty => {}
                ClaimTurn::WaitsForWorker => return Ok(true),
            }
        }
        queues = if again { kept } else { Vec::new() };
    }
    Ok(false)
}

/// The same as [`claim_from`] for a queue with bounds: at most as many as they allow. With a rate, nothing is claimed ahead of a worker.
fn claim_within(
    tx: &Tx<'_>,
    queue_id: i64,
    wanted: usize,
    known: &HandledNames,
    now: Timestamp,
    claiming: &mut Claiming<'_>,
) -> Sql<ClaimTurn> {
    let mut gate = Gate::read(tx.conn, queue_id, now)?;
    while gate.tidy(tx)? {
        gate = Gate::read(tx.conn, queue_id, now)?;
    }
    let Ok(room) = gate.room else {
        claiming.shut.insert(queue_id);
        return Ok(ClaimTurn::Empty);
    };
    let before = claiming.claims.len();
    let workers = claiming.room.idle.saturating_sub(before);
    if gate.has_rate() && workers == 0 && !planted("g16-a-rate-is-spent-ahead") {
        return Ok(ClaimTurn::WaitsForWorker);
    }
    let most = if gate.has_rate() && workers > 0 { workers } else { wanted };
    let turn = claim_from(tx, queue_id, wanted.min(room).min(most), known, now, claiming)?;
    gate.spend(tx, claiming.claims.len() - before, now)?;
    Ok(turn)
}

/// Claims up to `wanted` tasks of one queue.
fn claim_from(
    tx: &Tx<'_>,
    queue_id: i64,
    wanted: usize,
    known: &HandledNames,
    now: Timestamp,
    claiming: &mut Claiming<'_>,
) -> Sql<ClaimTurn> {
    let (candidates, may_have_more) = match candidates(tx, queue_id, wanted, claiming) {
        Err(fault) if fault.is_damage() => {
            let found = singly(tx, queue_id, wanted)?;
            let is_full = found.len() == wanted;
            (found, is_full)
        }
        found => {
            let (found, may_have_more) = found?;
            (found.into_iter().map(|found| (found.task_id, Ok(found))).collect(), may_have_more)
        }
    };
    let mut take = tx.prepare(TAKE)?;
    for (id, candidate) in candidates {
        match candidate.and_then(|found| claim_one(tx, &mut take, queue_id, found, known, now, claiming)) {
            Ok(ClaimResult::Claimed) => continue,
            Ok(ClaimResult::Waits) => return Ok(ClaimTurn::WaitsForWorker),
            Ok(ClaimResult::NotNow) => {}
            Err(fault) if fault.is_damage() => fail_damaged(tx, id, fault, now)?,
            Err(fault) => return Err(fault),
        }
        claiming.looks = claiming.looks.saturating_sub(1);
    }
    Ok(if may_have_more { ClaimTurn::MayGoOn } else { ClaimTurn::Empty })
}

/// What a claim did with a candidate.
enum ClaimResult {
    Claimed,
    /// It may not run, and was held or cancelled.
    NotNow,
    /// It must not be claimed before a worker idles.
    Waits,
}

/// Claims a task, if it may run and there is room for it.
fn claim_one(
    tx: &Tx<'_>,
    take: &mut Prepared<'_>,
    queue_id: i64,
    candidate: Candidate,
    known: &HandledNames,
    now: Timestamp,
    claiming: &mut Claiming<'_>,
) -> Sql<ClaimResult> {
    let name = tx.task_name(candidate.name_id)?;
    if candidate.expires_at.is_some_and(|ms| ms <= now.as_millis()) {
        expire(tx, &indexed(tx, candidate.task_id)?, now)?;
        return Ok(ClaimResult::NotNow);
    }
    if known.get(&name).is_none_or(|version| *version < candidate.version) {
        indexed(tx, candidate.task_id)?.must_apply(tx, TaskEvent::NameUnknown, now)?;
        return Ok(ClaimResult::NotNow);
    }
    if claiming.waits(&candidate, 0, claiming.ahead_bytes) {
        return Ok(ClaimResult::Waits);
    }
    let mut throughout = 0;
    if candidate.extras.contains(Extras::NEEDS) {
        match claiming.surroundings.judge(tx, candidate.task_id)? {
            NeedsMet::Yes { throughout: bits } => throughout = bits,
            NeedsMet::Lacks(condition) => {
                condition_waits::hold(tx, &indexed(tx, candidate.task_id)?, condition, now)?;
                return Ok(ClaimResult::NotNow);
            }
        }
    }
    let claimed = take_one(tx, take, queue_id, candidate, name, now)?;
    claiming.add(Claimed { needs_throughout: throughout, ..claimed });
    Ok(ClaimResult::Claimed)
}

/// What a claim reads of the tasks that it may take. Subqueries, not a join, read the cold row: in a join, statistics of a young file could
/// turn the lookup into a scan.
macro_rules! candidates {
    ($which:literal) => {
        concat!(
            "SELECT t.task_id, t.generation, t.attempt_number, t.max_attempts, t.suspect, t.name_id, t.extras, t.expires_at_ms,
                    (SELECT a.args FROM perdura_args a WHERE a.task_id = t.task_id),
                    (SELECT a.version FROM perdura_args a WHERE a.task_id = t.task_id),
                    (SELECT a.backoff_ms FROM perdura_args a WHERE a.task_id = t.task_id),
                    (SELECT a.timeout_ms FROM perdura_args a WHERE a.task_id = t.task_id),
                    (SELECT a.replay_of IS NOT NULL FROM perdura_args a WHERE a.task_id = t.task_id),
                    CASE t.generation WHEN 0 THEN COALESCE(t.run_at_ms, t.created_at_ms) ELSE t.run_at_ms END, t.reasons
             FROM perdura_tasks t ",
            $which
        )
    };
}

/// The first ready tasks of a queue, in order, up to one that must wait until a worker idles; and whether there may be more.
fn candidates(
    tx: &Tx<'_>,
    queue_id: i64,
    wanted: usize,
    claiming: &Claiming<'_>,
) -> Sql<(Vec<Candidate>, bool)> {
    let sql = match planted("g09-newest-first") {
        false => candidates!(
            "INDEXED BY perdura_ready WHERE t.queue_id = ?1 AND t.state = 0 AND t.hold = 0
             ORDER BY t.priority DESC, t.task_id ASC LIMIT ?2"
        ),
        true => candidates!(
            "INDEXED BY perdura_ready WHERE t.queue_id = ?1 AND t.state = 0 AND t.hold = 0
             ORDER BY t.priority DESC, t.task_id DESC LIMIT ?2"
        ),
    };
    let mut statement = tx.conn.prepare_cached(sql)?;
    let mut rows = statement.query((queue_id, i64::try_from(wanted).unwrap_or(i64::MAX)))?;
    let (mut found, mut bytes) = (Vec::new(), claiming.ahead_bytes);
    while let Some(row) = rows.next()? {
        let candidate = as_candidate(row)?;
        let is_enough = claiming.waits(&candidate, found.len(), bytes);
        if claiming.is_ahead(found.len()) {
            bytes += candidate.bytes();
        }
        found.push(candidate);
        if is_enough {
            return Ok((found, true)); // it is claimed only if some before it are not
        }
    }
    let is_full = found.len() == wanted;
    Ok((found, is_full))
}

/// The same if one of them cannot be read: each is read by itself, into a candidate or a fault.
fn singly(tx: &Tx<'_>, queue_id: i64, wanted: usize) -> Sql<Vec<(TaskId, Sql<Candidate>)>> {
    let sql = "SELECT task_id FROM perdura_tasks INDEXED BY perdura_ready WHERE queue_id = ?1 AND state = 0 AND hold = 0
               ORDER BY priority DESC, task_id LIMIT ?2";
    let ids = tx.numbers(sql, (queue_id, i64::try_from(wanted).unwrap_or(i64::MAX)))?;
    let read = |id| (TaskId::from_i64(id), tx.one(candidates!("WHERE t.task_id = ?1"), [id], as_candidate));
    Ok(ids.into_iter().map(read).collect())
}

fn as_candidate(row: &Row<'_>) -> rusqlite::Result<Candidate> {
    Ok(Candidate {
        task_id: TaskId::from_i64(row.get(0)?),
        generation: row.get(1)?,
        task_state: TaskState {
            state: State::Queued,
            reasons: reasons_at(row, 14)?,
            attempt_number: row.get(2)?,
            max_attempts: row.get(3)?,
            in_flight: false,
            cancel_requested: false,
            suspect: row.get(4)?,
        },
        name_id: row.get(5)?,
        extras: extras_at(row, 6)?,
        expires_at: row.get(7)?,
        args: row.get(8)?,
        version: row.get::<_, Option<u32>>(9)?.unwrap_or(1),
        backoff_ms: row.get(10)?,
        timeout_ms: row.get(11)?,
        is_replay: row.get::<_, Option<bool>>(12)?.unwrap_or(false),
        ready_since: time_at(row, 13)?,
    })
}

/// The claim itself. With the settle it is the hottest write, so it sets only the columns that a claim changes.
const TAKE: &str =
    "UPDATE perdura_tasks SET state = ?1, attempt_number = ?2, generation = generation + 1, in_flight = 1, started_at_ms = ?3
     WHERE task_id = ?4 AND generation = ?5 AND state = 0 AND hold = 0 AND in_flight = 0";

fn take_one(
    tx: &Tx<'_>,
    take: &mut Prepared<'_>,
    queue_id: i64,
    from: Candidate,
    task_name: Arc<str>,
    now: Timestamp,
) -> Sql<Claimed> {
    let to = next(&from.task_state, TaskEvent::Claim)
        .map_err(|refusal| refused_by_rules(from.task_id, refusal))?
        .task_state;
    take.change_one((
        to.state.code(),
        if planted("g06-only-the-first-attempt-counts") { 1 } else { to.attempt_number },
        now.as_millis(),
        from.task_id.as_i64(),
        from.generation,
    ))?;
    let mut extras = from.extras;
    if extras.contains(Extras::UNTIL_STARTED) {
        extras = keys::start(tx, from.task_id, from.generation + 1, extras, now)?;
    }
    tx.count(queue_id, State::Queued, Hold::Ready, -1);
    tx.count(queue_id, to.state, to.hold(), 1);
    if to.suspect {
        tx.suspect_moved();
    }
    Ok(Claimed {
        task_id: from.task_id,
        generation: from.generation.cast_unsigned() + 1,
        attempt_number: to.attempt_number,
        max_attempts: to.max_attempts,
        task_name,
        queue_id,
        args: from.args.unwrap_or_default(),
        version: from.version,
        backoff: from.backoff_ms.map(Duration::from_millis),
        timeout: from.timeout_ms.map(Duration::from_millis),
        waited: from.ready_since.map(|since| now.since(since)),
        extras,
        suspect: to.suspect,
        is_replay: from.is_replay,
        needs_throughout: 0,
    })
}
