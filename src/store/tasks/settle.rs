//! Settles: the writes that end an attempt, and the writes of a running attempt. All are fenced by the generation.

use std::time::Duration;

use super::damaged::fail_damaged;
use super::enqueue::enqueue;
use super::fence::check_fence;
#[cfg(feature = "rusqlite")]
use super::fence::superseded;
use super::row::{HotRow, clear_error, write_error};
use super::{gates, needs, outside, permits, retry_until, steps};
use crate::config::LostRetry;
use crate::error::ErrorKind;
use crate::lifecycle::{AttemptEnd, HistoryEntry, Lost, TaskEvent, Transition, next};
use crate::planted::planted;
use crate::retry::{Denylist, RetryPolicy, draw};
use crate::store::commit::tx::{Prepared, Tx};
use crate::store::error::{Fault, Sql};
use crate::task::{
    AttemptOutcome, ErrorReport, Extras, Hold, Measure, PendingOutput, Progress, Settlement, State, TaskId,
    Timestamp, Verdict, Written,
};

/// The settings that decide whether and when a task is tried again.
#[derive(Debug, Clone)]
pub(crate) struct SettleRules {
    pub policy: RetryPolicy,
    pub denylist: Denylist,
    pub lost_retry: LostRetry,
}

/// The type of the error that a lost attempt leaves.
pub(crate) const TASK_LOST: &str = "TaskLost";

/// How many of the first attempts of a task are kept, and how many of the last.
const ATTEMPTS_KEPT: i64 = 10;

impl SettleRules {
    /// The wait for the next attempt after the newest one has failed.
    pub(crate) fn delay(&self, file_id: &[u8; 16], row: &HotRow, base: Option<Duration>) -> Duration {
        let n = row.task_state.attempt_number;
        let policy = RetryPolicy { backoff: base.unwrap_or(self.policy.backoff), ..self.policy };
        policy.delay(n, draw(file_id, row.task_id.as_i64(), n))
    }

    /// The rule for lost attempts.
    pub(crate) fn lost(&self, delay: Duration) -> Lost {
        Lost { retry: self.lost_retry, denied: self.denylist.denies(TASK_LOST), delay }
    }
}

const WRITE_RESULT: &str = "INSERT OR REPLACE INTO perdura_results (task_id, result) VALUES (?1, ?2)";

/// The result of a settle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Settled {
    /// The attempt has ended; if it failed, with the state that its task has now.
    Done(Option<State>),
    /// It was not the running attempt any more; nothing was changed.
    Superseded,
}

/// What the caller is to log about the settled attempts.
#[derive(Debug, Default)]
pub(crate) struct SettleReport {
    /// Tasks whose attempt was not the running one any more, for which nothing was changed.
    pub late: Vec<TaskId>,
    /// Attempts that failed, with the states that their tasks have now: `QUEUED`, `FAILED` or `LOST`.
    pub failed: Vec<(TaskId, State)>,
}

/// Ends attempts.
pub(crate) fn settle<'s>(
    tx: &Tx<'_>,
    settlements: impl Iterator<Item = &'s Settlement>,
    rules: &SettleRules,
    now: Timestamp,
) -> Sql<SettleReport> {
    let mut success = Success::new(tx)?;
    let mut told = SettleReport::default();
    for s in settlements {
        tx.effect(|effects| effects.settled.push((s.task_id, s.generation)));
        let settled = match s.children.is_empty() {
            true => success.end_any(tx, s, rules, now),
            false => success.end_parent(tx, s, rules, now),
        };
        match settled {
            Ok(Settled::Done(None)) => {}
            Ok(Settled::Done(Some(state))) => told.failed.push((s.task_id, state)),
            Ok(Settled::Superseded) => told.late.push(s.task_id),
            Err(fault) if fault.is_damage() => fail_damaged(tx, s.task_id, fault, now)?,
            Err(fault) => return Err(fault),
        }
    }
    Ok(told)
}

/// Ends an attempt that has succeeded, in the transaction of its handler. Its worker stays busy: nothing is added to `settled`.
///
/// # Errors
/// `Superseded`: the transaction must be rolled back.
#[cfg(feature = "rusqlite")]
pub(crate) fn succeed(tx: &Tx<'_>, s: &Settlement, rules: &SettleRules, now: Timestamp) -> Sql<()> {
    let mut success = Success::new(tx)?;
    let is_done = success.settle(tx, s, now)? || settle_one(tx, s, rules, now)? == Settled::Done(None);
    if !is_done && !planted("g17-an-attempt-that-counts-no-more-commits") {
        return Err(superseded(s.task_id).into());
    }
    tx.effect(|effects| effects.ended.push(s.task_id));
    Ok(())
}

/// The fast path of a settle: a first attempt that succeeded, of a task with no extras but needs and a permit. With the claim it is the hottest
/// write. It writes the transition itself instead of calling `lifecycle::next`, which would need the row first: the WHERE has the conditions
/// of that function.
struct Success<'c> {
    task: Prepared<'c>,
    result: Prepared<'c>,
    /// Prepared for the first task with a limit.
    limited: Option<Limited<'c>>,
}

/// The same for a task whose key has a limit.
struct Limited<'c> {
    task: Prepared<'c>,
    leave: permits::Leave<'c>,
}

impl<'c> Success<'c> {
    fn new(tx: &Tx<'c>) -> Sql<Success<'c>> {
        let task = tx.prepare(
            "UPDATE perdura_tasks SET state = 2, in_flight = 0, cancel_requested = 0, late = ?1, run_at_ms = NULL, anchor_ms = NULL,
                 finished_at_ms = ?2
             WHERE task_id = ?3 AND generation = ?4 AND state = 1 AND in_flight = 1 AND extras & ~64 = 0 AND suspect = 0",
        )?;
        let result = tx.prepare(WRITE_RESULT)?;
        Ok(Success { task, result, limited: None })
    }

    /// Writes the row of such an attempt; returns false if it is not one.
    fn end(&mut self, tx: &Tx<'c>, s: &Settlement, late: bool, now: Timestamp) -> Sql<bool> {
        let row = (late, now.as_millis(), s.task_id.as_i64(), s.generation.cast_signed());
        if !s.is_limited {
            return Ok(self.task.run(row)? > 0);
        }
        let limited = match &mut self.limited {
            Some(limited) => limited,
            none => none.insert(Limited {
                task: tx.prepare(
                    "UPDATE perdura_tasks SET state = 2, in_flight = 0, cancel_requested = 0, late = ?1, run_at_ms = NULL, anchor_ms = NULL,
                         finished_at_ms = ?2, extras = extras & ~8
                     WHERE task_id = ?3 AND generation = ?4 AND state = 1 AND in_flight = 1 AND extras & ~64 = 12 AND suspect = 0",
                )?,
                leave: permits::Leave::new(tx)?,
            }),
        };
        match limited.task.run(row) {
            Ok(1) => {}
            Err(fault) if !fault.is_damage() => return Err(fault),
            _ => return Ok(false), // the slow path reads the row and reports what is wrong with it
        }
        limited.leave.run(tx, s.task_id)?;
        Ok(true)
    }

    /// Settles such an attempt; returns false if it is not one.
    fn settle(&mut self, tx: &Tx<'c>, s: &Settlement, now: Timestamp) -> Sql<bool> {
        let Verdict::Succeeded { result, late } = &s.verdict else { return Ok(false) };
        let id = s.task_id.as_i64();
        if s.needs_full_settle || !self.end(tx, s, *late, now)? {
            return Ok(false);
        }
        if let Some(result) = result {
            self.result.change_one((id, result))?;
        }
        tx.count(s.queue_id, State::Running, Hold::Ready, -1);
        tx.count(s.queue_id, State::Succeeded, Hold::Ready, 1);
        tx.effect(|effects| effects.changed = true);
        roll_up(tx, s, Measure::Succeeded, now)?;
        write_news(tx, s.task_id, s.generation, &s.news)?;
        make_children(tx, s, now)?;
        Ok(true)
    }
}

impl<'c> Success<'c> {
    /// Ends an attempt, on the fast path if possible.
    fn end_any(&mut self, tx: &Tx<'c>, s: &Settlement, rules: &SettleRules, now: Timestamp) -> Sql<Settled> {
        if matches!(s.verdict, Verdict::Committed) || self.settle(tx, s, now)? {
            return Ok(Settled::Done(None));
        }
        settle_one(tx, s, rules, now)
    }

    /// The same for an attempt that makes tasks. If the file refuses one of them (it has no room for a new condition), the attempt fails for
    /// good instead.
    fn end_parent(
        &mut self,
        tx: &Tx<'c>,
        s: &Settlement,
        rules: &SettleRules,
        now: Timestamp,
    ) -> Sql<Settled> {
        let refused = match tx.whole(|| self.end_any(tx, s, rules, now)) {
            Err(Fault::Typed(error)) if error.kind() == ErrorKind::InvalidInput => error.to_string(),
            settled => return settled,
        };
        let error =
            ErrorReport::new("InvalidInput", &format!("a task that it makes is refused: {refused}"), "");
        let verdict = Verdict::Failed { error, permanent: true, timed_out: false, retry_after: None };
        let failed = Settlement { verdict, children: Vec::new(), ..s.clone() };
        settle_one(tx, &failed, rules, now)
    }
}

/// Ends any attempt, by the rules.
pub(super) fn settle_one(tx: &Tx<'_>, s: &Settlement, rules: &SettleRules, now: Timestamp) -> Sql<Settled> {
    let is_mine = |row: &HotRow| row.generation == s.generation.cast_signed();
    let Some(row) = HotRow::find(tx.conn, s.task_id)?.filter(is_mine) else {
        return Ok(Settled::Superseded);
    };
    let delay = rules.delay(tx.file_id, &row, s.backoff);
    let lost = rules.lost(delay);
    let (verdict, condition) = retry_until::judge(tx, &s.verdict)?;
    let event = match &*verdict {
        Verdict::Succeeded { .. } => TaskEvent::Succeeded,
        Verdict::Failed { error, permanent, retry_after, .. } => TaskEvent::Ended(
            AttemptEnd::Failed {
                refused: *permanent || rules.denylist.denies(&error.error_type),
                delay: retry_after.unwrap_or(delay),
            },
            lost,
        ),
        Verdict::Snoozed { delay, .. } => TaskEvent::Ended(AttemptEnd::Snoozed(*delay), lost),
        Verdict::Cancelled(_) => TaskEvent::Ended(AttemptEnd::Cancelled, lost),
        Verdict::HandedBack | Verdict::Unstarted | Verdict::Throttled(_) => {
            TaskEvent::Ended(AttemptEnd::HandedBack, lost)
        }
        Verdict::Declined => TaskEvent::Ended(AttemptEnd::Declined, lost),
        Verdict::Waits { .. } => TaskEvent::Ended(AttemptEnd::Waits, lost),
        Verdict::Outside(_) => TaskEvent::Ended(AttemptEnd::WentOutside, lost),
        Verdict::Lost { retry, .. } => TaskEvent::Ended(AttemptEnd::Lost, Lost { retry: *retry, ..lost }),
        Verdict::Committed => return Ok(Settled::Done(None)),
    };
    let Ok(next) = next(&row.task_state, event) else {
        let _ = row.apply(tx, TaskEvent::ThreadReturned, now)?;
        return Ok(Settled::Superseded);
    };
    let mut to = row.moved(&next, now);
    to.late = matches!(s.verdict, Verdict::Succeeded { late: true, .. });
    to.snoozes = to.snoozes.saturating_add(i64::from(matches!(s.verdict, Verdict::Snoozed { .. })));
    if !matches!(s.verdict, Verdict::Unstarted | Verdict::Declined) {
        to.extras = permits::started(to.extras);
    }
    to.extras = steps_follow(tx, s, &next, to.extras, now)?;
    if let Verdict::Outside(outside) = &s.verdict
        && next.task_state.state == State::Running
    {
        outside::go(tx, s.task_id, s.generation, outside, now)?;
        to.extras = to.extras.with(Extras::OUTSIDE);
    }
    if let Some(condition) = condition.filter(|_| next.ending == HistoryEntry::Refund) {
        to.extras = needs::wait_for(tx, s.task_id, condition, to.extras)?;
    }
    to.replace(tx, &row, now)?;
    match s.verdict {
        Verdict::Throttled(delay) => gates::close(tx, row.queue_id, delay, now)?,
        Verdict::Unstarted => gates::refund(tx, row.queue_id)?,
        _ => {}
    }
    if let Verdict::Succeeded { result, .. } = &s.verdict {
        if let Some(result) = result {
            tx.prepare(WRITE_RESULT)?.change_one((s.task_id.as_i64(), result))?;
        }
        clear_error(tx, s.task_id)?;
        tx.run("DELETE FROM perdura_checkpoints WHERE task_id = ?1", [s.task_id.as_i64()])?;
        make_children(tx, s, now)?;
    } else if next.ending == HistoryEntry::Attempt {
        let (outcome, error) = report(&row, &next, &verdict);
        close_attempt(tx, &row, outcome, &error, now)?;
    }
    if let Some(measure) = measure(&next) {
        roll_up(tx, s, measure, now)?;
    }
    write_news(tx, s.task_id, s.generation, &s.news)?;
    let has_failed = next.ending == HistoryEntry::Attempt
        && matches!(next.task_state.state, State::Queued | State::Failed | State::Lost);
    Ok(Settled::Done(has_failed.then_some(next.task_state.state)))
}

/// Deletes the steps of a task that succeeds, and stores the sleep of one that falls asleep; returns its extras.
fn steps_follow(
    tx: &Tx<'_>,
    s: &Settlement,
    next: &Transition,
    extras: Extras,
    now: Timestamp,
) -> Sql<Extras> {
    match &s.verdict {
        Verdict::Succeeded { .. } if extras.contains(Extras::STEPS) => {
            steps::forget_steps(tx, s.task_id)?;
            Ok(extras.without(Extras::STEPS))
        }
        // Only if it really sleeps: it may have been cancelled, or given up as LOST.
        Verdict::Snoozed { sleep: Some(sleep), .. }
            if next.ending == HistoryEntry::Refund && !planted("g18-a-sleep-is-forgotten") =>
        {
            steps::fall_asleep(tx, s.task_id, sleep, now)?;
            Ok(extras.with(Extras::STEPS))
        }
        _ => Ok(extras),
    }
}

/// Enqueues the tasks that the attempt has asked for.
fn make_children(tx: &Tx<'_>, s: &Settlement, now: Timestamp) -> Sql<()> {
    if s.children.is_empty() || planted("g17-children-are-forgotten") {
        return Ok(());
    }
    enqueue(tx, &s.children, now).map(drop)
}

/// Counts an attempt in the rollups: how long it ran and, if known, how long it waited.
fn roll_up(tx: &Tx<'_>, s: &Settlement, measure: Measure, now: Timestamp) -> Sql<()> {
    let name_id = tx.name_id(&s.task_name)?;
    tx.roll_up(now, name_id, measure, Some(s.ran));
    if s.waited.is_some() {
        tx.roll_up(now, name_id, Measure::Waited, s.waited);
    }
    Ok(())
}

/// The measure that counts an attempt with this end; none if it was refunded.
pub(crate) fn measure(next: &Transition) -> Option<Measure> {
    match (next.task_state.state, next.ending) {
        (State::Succeeded, _) => Some(Measure::Succeeded),
        (_, ending) if ending != HistoryEntry::Attempt => None,
        (State::Failed, _) => Some(Measure::Failed),
        (State::Lost, _) => Some(Measure::Lost),
        (State::Cancelled, _) => Some(Measure::Cancelled),
        (State::Queued | State::Running, _) => Some(Measure::Retried),
    }
}

/// The outcome and the error of an attempt, for its history.
fn report(row: &HotRow, next: &Transition, verdict: &Verdict) -> (AttemptOutcome, ErrorReport) {
    let outcome = match (next.task_state.state, verdict) {
        (State::Cancelled, _) => AttemptOutcome::Cancelled,
        (_, Verdict::Lost { .. }) => AttemptOutcome::Lost,
        _ if row.task_state.state == State::Lost => AttemptOutcome::Lost,
        (_, Verdict::Failed { timed_out: true, .. }) => AttemptOutcome::TimedOut,
        _ => AttemptOutcome::Failed,
    };
    let error = match verdict {
        Verdict::Failed { error, .. } | Verdict::Cancelled(error) | Verdict::Lost { error, .. } => {
            error.clone()
        }
        _ if outcome == AttemptOutcome::Cancelled => {
            ErrorReport::new("Cancelled", "cancelled while it was running", "")
        }
        _ => ErrorReport::new(TASK_LOST, "it had fallen silent and then stopped without a result", ""),
    };
    (outcome, error)
}

/// Stores the error of a task, and adds the attempt to its history, which keeps the first and the last 10.
pub(crate) fn close_attempt(
    tx: &Tx<'_>,
    row: &HotRow,
    outcome: AttemptOutcome,
    error: &ErrorReport,
    now: Timestamp,
) -> Sql<()> {
    write_error(tx, row.task_id, error)?;
    tx.run(
        "INSERT OR REPLACE INTO perdura_attempts (task_id, generation, attempt_number, started_at_ms, finished_at_ms,
             outcome, error_type, error_message, error_traceback)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        rusqlite::params![
            row.task_id.as_i64(),
            row.generation,
            row.task_state.attempt_number,
            row.started_at.unwrap_or(now).as_millis(),
            now.as_millis(),
            outcome.as_str(),
            error.error_type,
            error.error_message,
            error.error_traceback,
        ],
    )?;
    let forgotten = tx.run(
        "DELETE FROM perdura_attempts WHERE task_id = ?1 AND generation = (
             SELECT generation FROM perdura_attempts WHERE task_id = ?1 ORDER BY generation LIMIT 1 OFFSET ?2)
         AND (SELECT COUNT(*) FROM perdura_attempts WHERE task_id = ?1) > 2 * ?2",
        (row.task_id.as_i64(), ATTEMPTS_KEPT),
    )?;
    match forgotten {
        0 => Ok(()),
        _ => forget_output(tx, row.task_id, row.generation),
    }
}

fn write_news(tx: &Tx<'_>, id: TaskId, generation: u64, news: &PendingOutput) -> Sql<()> {
    for written in &news.output {
        write_output(tx, id, generation.cast_signed(), written)?;
    }
    match news.progress {
        Some(progress) => write_progress(tx, id, progress),
        None => Ok(()),
    }
}

/// Writes what is kept of a stream. The first write of an attempt deletes the output of earlier attempts that are not in the history.
fn write_output(tx: &Tx<'_>, id: TaskId, generation: i64, written: &Written) -> Sql<()> {
    let Written { stream, first, last, bytes } = written;
    let bytes = i64::try_from(*bytes).unwrap_or(i64::MAX);
    let text = (id.as_i64(), generation, stream.code(), bytes, first, last);
    let sql = "UPDATE perdura_output SET bytes = ?4, first = ?5, last = ?6
               WHERE task_id = ?1 AND generation = ?2 AND stream = ?3";
    if tx.run(sql, text)? == 1 {
        return Ok(());
    }
    forget_output(tx, id, generation)?;
    tx.change_one(
        "INSERT INTO perdura_output (task_id, generation, stream, bytes, first, last) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        text,
    )
}

/// Deletes the output of earlier attempts that are not in the history.
fn forget_output(tx: &Tx<'_>, id: TaskId, generation: i64) -> Sql<()> {
    tx.run(
        "DELETE FROM perdura_output WHERE task_id = ?1 AND generation < ?2 AND NOT EXISTS (
             SELECT 1 FROM perdura_attempts a WHERE a.task_id = ?1 AND a.generation = perdura_output.generation)",
        (id.as_i64(), generation),
    )?;
    Ok(())
}

fn write_progress(tx: &Tx<'_>, id: TaskId, progress: Progress) -> Sql<()> {
    let Progress { done, total } = progress;
    tx.run(
        "INSERT INTO perdura_progress (task_id, done, total) VALUES (?1, ?2, ?3)
         ON CONFLICT (task_id) DO UPDATE SET done = excluded.done, total = excluded.total",
        (id.as_i64(), done.cast_signed(), total.cast_signed()),
    )?;
    Ok(())
}

/// Saves a running attempt's checkpoint.
///
/// # Errors
/// `Superseded`.
pub(crate) fn save_checkpoint(tx: &Tx<'_>, id: TaskId, generation: u64, checkpoint: &str) -> Sql<()> {
    check_fence(tx, id, generation)?;
    tx.run(
        "INSERT INTO perdura_checkpoints (task_id, checkpoint) VALUES (?1, ?2)
         ON CONFLICT (task_id) DO UPDATE SET checkpoint = excluded.checkpoint",
        (id.as_i64(), checkpoint),
    )?;
    Ok(())
}

/// Saves the new output and progress of a running attempt; does nothing if the attempt is no longer the running one.
pub(crate) fn save_pending(tx: &Tx<'_>, id: TaskId, generation: u64, news: &PendingOutput) -> Sql<()> {
    match check_fence(tx, id, generation) {
        Ok(()) => write_news(tx, id, generation, news),
        Err(Fault::Typed(e)) if e.kind() == ErrorKind::Superseded => Ok(()),
        Err(e) => Err(e),
    }
}

/// Marks the task of a silent attempt as LOST; its thread may still end the attempt. Does nothing if it has ended meanwhile.
pub(crate) fn fall_silent(
    tx: &Tx<'_>,
    id: TaskId,
    generation: u64,
    silent: Duration,
    now: Timestamp,
) -> Sql<()> {
    let Some(row) = HotRow::find(tx.conn, id)?.filter(|row| row.generation == generation.cast_signed())
    else {
        return Ok(());
    };
    if row.apply(tx, TaskEvent::FellSilent, now)?.is_ok() {
        let message = format!("no sign of life for {}", humantime::format_duration(silent));
        write_error(tx, id, &ErrorReport::new(TASK_LOST, &message, ""))?;
    }
    Ok(())
}
