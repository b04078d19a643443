//! Ends of work outside (`outside`): somebody reports it, its engine reports it, its time is over, or it is cancelled.

use std::time::Duration;

use super::damaged::fail_damaged;
use super::fence::superseded;
use super::outside::{deadline, has_engine};
use super::row::{HotRow, refused_by_rules};
use super::settle::{SettleRules, Settled, close_attempt, measure, settle_one};
use crate::config::LostRetry;
use crate::error::{Error, ErrorKind};
use crate::lifecycle::{AttemptEnd, Lost, TaskEvent, next};
use crate::planted::planted;
use crate::store::commit::tx::Tx;
use crate::store::error::{Fault, Sql, contradiction};
use crate::task::{
    AttemptOutcome, ErrorReport, Extras, PendingOutput, Settlement, TaskId, Timestamp, Verdict,
};

/// Ends an attempt whose work was outside.
///
/// # Errors
/// `NotFound`; `Superseded` if another attempt is the running one, or none; `WrongState` if its handler has not returned yet.
pub(crate) fn end_outside(
    tx: &Tx<'_>,
    id: TaskId,
    generation: u64,
    verdict: Verdict,
    news: PendingOutput,
    rules: &SettleRules,
    now: Timestamp,
) -> Sql<()> {
    let row = HotRow::get(tx.conn, id)?;
    let has_gone = row.generation != generation.cast_signed() || !row.task_state.in_flight;
    if has_gone && !planted("g07-who-completes-need-not-know-the-attempt") {
        return Err(not_the_running_one(&row, generation).into());
    }
    if !row.extras.contains(Extras::OUTSIDE) {
        return Err(still_in_handler(id).into());
    }
    let sql = "SELECT backoff_ms FROM perdura_args WHERE task_id = ?1";
    let backoff: Option<u64> = tx.find(sql, [id.as_i64()], |row| row.get(0))?.flatten();
    let mut verdict = verdict;
    if let Verdict::Succeeded { late, .. } = &mut verdict {
        *late = deadline(tx, id)?.is_some_and(|deadline| deadline <= now);
    }
    let settlement = Settlement {
        task_id: id,
        generation: row.generation.cast_unsigned(),
        queue_id: row.queue_id,
        needs_full_settle: true,
        is_limited: false,
        backoff: backoff.map(Duration::from_millis),
        verdict,
        task_name: tx.task_name(row.name_id)?,
        waited: None,
        ran: row.started_at.map(|started| now.since(started)).unwrap_or_default(),
        news,
        children: Vec::new(),
    };
    tx.effect(|effects| effects.settled.push((id, settlement.generation)));
    match settle_one(tx, &settlement, rules, now)? {
        Settled::Done(_) => Ok(()),
        Settled::Superseded => Err(superseded(id).into()),
    }
}

/// Ends attempts whose work engines did. Those that somebody else has ended meanwhile are skipped.
pub(crate) fn end_jobs(
    tx: &Tx<'_>,
    ends: impl Iterator<Item = (TaskId, u64, Verdict, PendingOutput)>,
    rules: &SettleRules,
    now: Timestamp,
) -> Sql<()> {
    for (id, generation, verdict, news) in ends {
        match tx.whole(|| end_outside(tx, id, generation, verdict.clone(), news.clone(), rules, now)) {
            Err(Fault::Typed(e)) if is_over(&e) => {}
            Err(fault) if fault.is_damage() => fail_damaged(tx, id, fault, now)?,
            ended => ended?,
        }
    }
    Ok(())
}

/// The error for the end of an attempt that is not the running one; it names the running one, if there is one.
fn not_the_running_one(row: &HotRow, generation: u64) -> Error {
    let id = row.task_id;
    let is = match row.task_state.in_flight {
        true => format!("is run by generation {}, not {generation}", row.generation),
        false => format!("is {}, and no attempt of it runs", row.task_state.state),
    };
    Error::new(ErrorKind::Superseded, format!("task {id} {is}; nothing was changed"))
}

/// The error for an end that is reported before the handler has returned.
fn still_in_handler(id: TaskId) -> Error {
    let message = format!(
        "the handler of task {id} has not returned yet; its work can be ended by others once that has handed it over (Failure::outside)"
    );
    Error::new(ErrorKind::WrongState, message)
}

/// Cancels a task whose work outside nobody can be asked to stop. Returns false if an engine does the work.
pub(super) fn cancel(tx: &Tx<'_>, row: &HotRow, now: Timestamp) -> Sql<bool> {
    if has_engine(tx, row.task_id)? {
        return Ok(false);
    }
    let no_loss = Lost { retry: LostRetry::Manual, denied: false, delay: Duration::ZERO };
    let event = TaskEvent::Ended(AttemptEnd::Cancelled, no_loss);
    let next = next(&row.task_state, event).map_err(|refusal| refused_by_rules(row.task_id, refusal))?;
    row.moved(&next, now).replace(tx, row, now)?;
    let error = ErrorReport::new("Cancelled", "cancelled while its work was outside", "");
    close_attempt(tx, row, AttemptOutcome::Cancelled, &error, now)?;
    if let Some(measure) = measure(&next) {
        tx.roll_up(now, row.name_id, measure, row.started_at.map(|started| now.since(started)));
    }
    tx.effect(|effects| effects.settled.push((row.task_id, row.generation.cast_unsigned())));
    Ok(true)
}

/// Ends an attempt as timed out, because nobody has reported its end in time.
pub(super) fn time_out(tx: &Tx<'_>, row: &HotRow, rules: &SettleRules, now: Timestamp) -> Sql<()> {
    let error = ErrorReport::new("Timeout", "nobody has said in time how it ends", "");
    let verdict = Verdict::Failed { error, permanent: false, timed_out: true, retry_after: None };
    let generation = row.generation.cast_unsigned();
    match end_outside(tx, row.task_id, generation, verdict, PendingOutput::default(), rules, now) {
        Err(Fault::Typed(e)) if is_over(&e) => {
            Err(contradiction("its work is said to be outside, and its row does not say so"))
        }
        ended => ended,
    }
}

/// Whether an error says that the attempt does not run outside.
fn is_over(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Superseded | ErrorKind::NotFound | ErrorKind::WrongState)
}
