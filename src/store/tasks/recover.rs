//! Recovery: a new owner first settles what the dead one was running.

use std::sync::Arc;
use std::time::Duration;

use super::damaged::unless_damaged;
use super::epoch::{OwnerSettings, epoch, take_over};
use super::row::HotRow;
use super::settle::{SettleRules, TASK_LOST, close_attempt, measure};
use super::{outside, permits, suspects};
use crate::lifecycle::{AttemptEnd, HistoryEntry, TaskEvent, next};
use crate::planted::planted;
use crate::store::commit::tx::Tx;
use crate::store::error::{Sql, contradiction};
use crate::store::file::owner_lock::Started;
use crate::task::{AttemptOutcome, ErrorReport, Extras, State, TaskId, Timestamp};

/// What recovery did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Recovered {
    /// The epoch of the new owner.
    pub epoch: i64,
    /// Attempts that had started; they count as attempts.
    pub lost: usize,
    /// Claims whose attempt had not started; they were handed back, and do not count.
    pub handed_back: usize,
    /// The tasks that are `LOST` now, and their names.
    pub lost_for_good: Vec<(TaskId, Arc<str>)>,
}

/// Settles every attempt of the dead owner, except those whose work is outside, and raises the epoch, in one transaction. The time it takes
/// grows with the running tasks, not with the queue.
pub(crate) fn recover(
    tx: &Tx<'_>,
    started: &Started,
    rules: &SettleRules,
    settings: &OwnerSettings,
    now: Timestamp,
) -> Sql<Recovered> {
    let mut recovered = Recovered::default();
    let notes_count = started.epoch == Some(epoch(tx)?);
    if planted("g08-no-recovery") {
        recovered.epoch = begin_epoch(tx, settings)?;
        return Ok(recovered);
    }
    for id in tx.numbers(
        "SELECT task_id FROM perdura_tasks INDEXED BY perdura_in_flight WHERE in_flight = 1 ORDER BY task_id",
        [],
    )? {
        let had_started = |row: &HotRow| !notes_count || started.attempts.contains(&(id, row.generation));
        let settle = |row: &HotRow| settle_dead(tx, row, had_started(row), rules, now);
        match unless_damaged(tx, TaskId::from_i64(id), now, settle)?.flatten() {
            Some(SettledAttempt { event: TaskEvent::ProcessDied(_), state, name_id }) => {
                recovered.lost += 1;
                if state == State::Lost {
                    recovered.lost_for_good.push((TaskId::from_i64(id), tx.task_name(name_id)?));
                }
            }
            Some(_) => recovered.handed_back += 1,
            None => {}
        }
    }
    recovered.epoch = begin_epoch(tx, settings)?;
    Ok(recovered)
}

/// Raises the epoch for a new owner, which may serve other queues than the one before.
fn begin_epoch(tx: &Tx<'_>, settings: &OwnerSettings) -> Sql<i64> {
    let epoch = take_over(tx, settings)?;
    suspects::serve(tx)?;
    Ok(epoch)
}

/// How an attempt of a dead process has ended, and the new state of its task.
struct SettledAttempt {
    event: TaskEvent,
    state: State,
    name_id: i64,
}

/// Ends an attempt of a dead process; none if its work is outside, or if the rules refuse it.
fn settle_dead(
    tx: &Tx<'_>,
    row: &HotRow,
    had_started: bool,
    rules: &SettleRules,
    now: Timestamp,
) -> Sql<Option<SettledAttempt>> {
    let sql = "SELECT backoff_ms FROM perdura_args WHERE task_id = ?1";
    let backoff: Option<u64> = tx.find(sql, [row.task_id.as_i64()], |row| row.get(0))?.flatten();
    let lost = rules.lost(rules.delay(tx.file_id, row, backoff.map(Duration::from_millis)));
    let had_started = had_started && !planted("g06-refund-on-crash");
    let event = if had_started || row.task_state.state != State::Running {
        TaskEvent::ProcessDied(lost)
    } else {
        TaskEvent::Ended(AttemptEnd::HandedBack, lost)
    };
    if row.extras.contains(Extras::OUTSIDE) && !planted("g19-recovery-takes-what-is-outside-for-lost") {
        return match outside::is_there(tx, row.task_id)? {
            true => Ok(None), // it has no thread that could have died
            false => Err(contradiction("its work is said to be outside, and nothing says where")),
        };
    }
    let Ok(next) = next(&row.task_state, event) else { return Ok(None) };
    let mut to = row.moved(&next, now);
    if matches!(event, TaskEvent::ProcessDied(_)) && row.task_state.state != State::Queued {
        to.extras = permits::started(to.extras);
    }
    to.replace(tx, row, now)?;
    if next.ending == HistoryEntry::Attempt {
        let outcome = match next.task_state.state {
            State::Cancelled => AttemptOutcome::Cancelled,
            _ => AttemptOutcome::Lost,
        };
        let error = ErrorReport::new(TASK_LOST, "the process ended while the task was running", "");
        close_attempt(tx, row, outcome, &error, now)?;
        if let Some(measure) = measure(&next) {
            tx.roll_up(now, row.name_id, measure, None); // nobody knows when it died
        }
    }
    Ok(Some(SettledAttempt { event, state: next.task_state.state, name_id: row.name_id }))
}
