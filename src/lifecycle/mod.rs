//! The life of a task as one pure, total function: [`next`] gives the transition for every state
//! and event.
//!
//! | from | event | to | attempt |
//! |---|---|---|---|
//! | QUEUED, ready | claim | RUNNING | + 1 |
//! | QUEUED, ready | no handler knows its name, or it lacks a condition | QUEUED, hold *unknown name* or *condition* | same |
//! | QUEUED, hold *time* | promote | QUEUED without that | same |
//! | QUEUED, hold *unknown name* | a handler knows it | QUEUED without that | same |
//! | QUEUED, waits for *tasks before it* | they ended | QUEUED without that | same |
//! | QUEUED, waits for a *condition* | it is met | QUEUED without that | same |
//! | QUEUED, hold *limit* | gets a permit | QUEUED without that | same |
//! | QUEUED, ready | its permit goes to a task before it | QUEUED, hold *limit* | same |
//! | QUEUED, waits for its *time* or as a *suspect* | run now | QUEUED without these two, no suspect | same |
//! | QUEUED, hold *suspect* | its turn | QUEUED, ready | same |
//! | QUEUED, ready, a suspect | its turn is taken back | QUEUED, hold *suspect* | same |
//! | RUNNING, a suspect | has run for a minute | RUNNING, no suspect | same |
//! | RUNNING | success | SUCCEEDED | same |
//! | RUNNING | failure; attempts left, retried | QUEUED, hold *time* | same |
//! | RUNNING | failure; none left, or not to be retried | FAILED | same |
//! | RUNNING | snooze | QUEUED, hold *time* | − 1 |
//! | RUNNING | hand-back | QUEUED, ready (a suspect: hold *suspect*) | − 1 |
//! | RUNNING | the handler declines it | QUEUED, hold *unknown name* | − 1 |
//! | RUNNING | the handler waits for a condition | QUEUED, hold *condition* | − 1 |
//! | RUNNING | its work goes on outside | RUNNING, no suspect | same |
//! | RUNNING, outside | the outcome is unknown | QUEUED or LOST by the rule for lost attempts, no suspect | same |
//! | RUNNING; LOST, in flight | its process died | QUEUED, a suspect, or LOST, by the rule for lost attempts | same |
//! | RUNNING | fell silent | LOST, its thread still in flight | same |
//! | LOST, in flight | success | SUCCEEDED | same |
//! | LOST, in flight | any other end | QUEUED or LOST by the rule for lost attempts, no suspect | same |
//! | RUNNING; LOST, in flight | the handler cancels, or any end but success with the cancel flag set | CANCELLED | same |
//! | RUNNING; LOST, in flight | cancel | the flag is set | same |
//! | QUEUED | cancel, or expired | CANCELLED | same |
//! | not RUNNING, in flight | its thread returned | no longer in flight; QUEUED: without hold *previous attempt* | same |
//! | QUEUED or CANCELLED, in flight | its process died | the same, and QUEUED becomes a suspect | same |
//! | FAILED, LOST, CANCELLED | manual retry | QUEUED | 0 |
//! | QUEUED | replaced by an enqueue with its unique key | QUEUED, with or without hold *time* | 0 |
//! | QUEUED | gets new args, perhaps a new time | QUEUED | same |
//! | not RUNNING, not in flight | deleted | gone | |
//! | FAILED, LOST, not in flight | moved | a dead letter | |
//!
//! The rule for lost attempts: QUEUED while attempts are left, unless `TaskLost` is on the denylist
//! or `lost_retry` is `manual`; else LOST.
//!
//! Everything else is refused, with the reason. A queued task can wait for several reasons at once
//! ([`Reasons`]): the end of one removes that one and no other, and the first that is left is its
//! hold. The module knows nothing of time (waits are durations), storage or threads.

mod event;
mod hold_reasons;
mod permit;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub(crate) use event::{AttemptEnd, Lost, Replacement, TaskEvent};
pub(crate) use hold_reasons::Reasons;
pub(crate) use permit::{PermitNeed, permit_need};

use crate::config::LostRetry;
use crate::planted::planted;
use crate::task::{Hold, State};

/// The part of a task that the rules use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TaskState {
    pub state: State,
    /// What it waits for; none unless it is QUEUED.
    pub reasons: Reasons,
    pub attempt_number: u32,
    pub max_attempts: u32,
    /// A thread executes its newest generation, whatever the state says.
    pub in_flight: bool,
    pub cancel_requested: bool,
    /// It was running when a process died, and has not proved harmless since.
    pub suspect: bool,
}

impl TaskState {
    /// The first reason for which it may not be claimed.
    pub(crate) fn hold(&self) -> Hold {
        self.reasons.hold()
    }

    /// Whether a task needs its unique key: while it is live (`QUEUED`, `RUNNING`, or `LOST` while
    /// its thread still runs) or, with `until_started`, while it is `QUEUED`.
    pub(crate) fn needs_key(state: State, in_flight: bool, until_started: bool) -> bool {
        match state {
            State::Queued => true,
            State::Running => !until_started,
            State::Lost => in_flight && !until_started,
            State::Succeeded | State::Failed | State::Cancelled => false,
        }
    }
}

/// The result of an event.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Transition {
    pub task_state: TaskState,
    /// What happens to its due time.
    pub wait: Wait,
    /// What the store has to write into its history.
    pub ending: HistoryEntry,
}

/// What happens to `run_at`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    /// It stays.
    Keep,
    /// It waits for nothing.
    Clear,
    /// It is set to this long from now.
    For(Duration),
}

/// How the event ends the attempt, if it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HistoryEntry {
    /// No attempt ended.
    None,
    /// An attempt ended, and it counts.
    Attempt,
    /// An attempt ended, and it does not count.
    Refund,
    /// No attempt ended; the count of attempts begins anew.
    Revived,
}

/// Why an event is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Its state does not allow it.
    State(State),
    /// It is held by a reason that this event does not lift.
    Held(Hold),
    /// A thread still runs it.
    InFlight,
    /// No attempt is running that the event could end.
    Superseded,
}

/// The transition of a task by `event`.
///
/// # Errors
/// The reason for a refusal; the task stays as it is.
pub(crate) fn next(task: &TaskState, event: TaskEvent) -> Result<Transition, Refusal> {
    match event {
        TaskEvent::Claim => match (task.state, task.hold()) {
            (State::Queued, Hold::Ready) => Ok(claimed(task)),
            (State::Queued, hold) => Err(Refusal::Held(hold)),
            (state, _) => Err(Refusal::State(state)),
        },
        TaskEvent::ParentsEnded => end_reason(task, Hold::Parents),
        TaskEvent::Promote => lift(task, Hold::Time),
        TaskEvent::NameKnown => lift(task, Hold::UnknownName),
        TaskEvent::ConditionMet => end_reason(task, Hold::Condition),
        TaskEvent::SuspectTurn => lift(task, Hold::Suspect),
        TaskEvent::PermitGiven => lift(task, Hold::Limit),
        TaskEvent::PermitTaken => hold(task, turn(task).with(Hold::Limit)),
        TaskEvent::NameUnknown => hold(task, turn(task).with(Hold::UnknownName)),
        TaskEvent::ConditionMissing => hold(task, turn(task).with(Hold::Condition)),
        TaskEvent::SuspectWait if task.suspect => hold(task, turn(task)),
        TaskEvent::SuspectWait => Err(Refusal::State(task.state)),
        TaskEvent::ProvedHarmless => match task.state {
            State::Running if task.suspect => Ok(unchanged(&TaskState { suspect: false, ..*task })),
            state => Err(Refusal::State(state)),
        },
        TaskEvent::RunNow => run_now(task),
        TaskEvent::ThreadReturned if task.in_flight && task.state != State::Running => Ok(returned(task)),
        TaskEvent::ThreadReturned => Err(Refusal::Superseded),
        TaskEvent::Succeeded => may_end(task).map(|()| finished(task, State::Succeeded)),
        TaskEvent::Ended(end, lost_rule) => may_end(task).map(|()| ended(task, end, lost_rule)),
        TaskEvent::FellSilent => match task.state {
            State::Running => {
                Ok(Transition { task_state: TaskState { state: State::Lost, ..*task }, ..unchanged(task) })
            }
            _ => Err(Refusal::Superseded),
        },
        TaskEvent::ProcessDied(lost) => died(task, lost),
        TaskEvent::CancelRequested => match task.state {
            State::Queued => Ok(abandoned(task)),
            State::Running | State::Lost if task.in_flight => Ok(Transition {
                task_state: TaskState { cancel_requested: true, ..*task },
                ..unchanged(task)
            }),
            state => Err(Refusal::State(state)),
        },
        TaskEvent::Expired => match task.state {
            State::Queued => Ok(abandoned(task)),
            state => Err(Refusal::State(state)),
        },
        TaskEvent::Retried => match task.state {
            State::Failed | State::Lost | State::Cancelled => Ok(revived(task)),
            state => Err(Refusal::State(state)),
        },
        TaskEvent::Replaced(by) => match task.state {
            State::Queued => Ok(replaced(task, by)),
            state => Err(Refusal::State(state)),
        },
        TaskEvent::Deleted => match task.state {
            State::Running => Err(Refusal::State(State::Running)),
            _ if task.in_flight && !planted("g16-a-row-in-flight-is-deleted") => Err(Refusal::InFlight),
            _ => Ok(unchanged(task)),
        },
        TaskEvent::MovedToDeadLetters => match task.state {
            State::Failed | State::Lost if task.in_flight => Err(Refusal::InFlight),
            State::Failed | State::Lost => Ok(unchanged(task)),
            state => Err(Refusal::State(state)),
        },
    }
}

fn unchanged(task: &TaskState) -> Transition {
    Transition { task_state: *task, wait: Wait::Keep, ending: HistoryEntry::None }
}

/// The reason that a suspect keeps when it is queued or held: its turn. None for other tasks.
fn turn(task: &TaskState) -> Reasons {
    if task.suspect { Reasons::of(Hold::Suspect) } else { Reasons::NONE }
}

fn waiting(task: &TaskState, reasons: Reasons) -> Transition {
    unchanged(&TaskState { reasons, ..*task })
}

/// Holds a ready task for these reasons.
fn hold(task: &TaskState, reasons: Reasons) -> Result<Transition, Refusal> {
    match (task.state, task.hold()) {
        (State::Queued, Hold::Ready) => Ok(waiting(task, reasons)),
        (State::Queued, hold) => Err(Refusal::Held(hold)),
        (state, _) => Err(Refusal::State(state)),
    }
}

/// Removes a reason, whether or not it is the hold.
fn end_reason(task: &TaskState, reason: Hold) -> Result<Transition, Refusal> {
    match task.state {
        State::Queued if task.reasons.contains(reason) => Ok(waiting(task, task.reasons.without(reason))),
        State::Queued => Err(Refusal::Held(task.hold())),
        state => Err(Refusal::State(state)),
    }
}

/// Removes the reason `from`; refused if it is not the hold.
fn lift(task: &TaskState, from: Hold) -> Result<Transition, Refusal> {
    match (task.state, task.hold()) {
        (State::Queued, hold) if hold == from && planted("g06-a-lifted-hold-takes-the-others-along") => {
            Ok(waiting(task, Reasons::NONE))
        }
        (State::Queued, hold) if hold == from => Ok(waiting(task, task.reasons.without(from))),
        (State::Queued, hold) => Err(Refusal::Held(hold)),
        (state, _) => Err(Refusal::State(state)),
    }
}

/// Removes the time and the turn among suspects, and no other reason.
fn run_now(task: &TaskState) -> Result<Transition, Refusal> {
    let reasons = task.reasons.without(Hold::Time).without(Hold::Suspect);
    match (task.state, task.hold()) {
        (State::Queued, Hold::Ready) => Ok(unchanged(task)),
        (State::Queued, hold) if reasons == task.reasons => Err(Refusal::Held(hold)),
        (State::Queued, _) => Ok(waiting(&TaskState { suspect: false, ..*task }, reasons)),
        (state, _) => Err(Refusal::State(state)),
    }
}

fn claimed(task: &TaskState) -> Transition {
    let task_state = TaskState {
        state: State::Running,
        attempt_number: task.attempt_number.saturating_add(1),
        in_flight: true,
        cancel_requested: false,
        ..*task
    };
    Transition { task_state, ..unchanged(task) }
}

/// Whether an attempt of the task can end: it is RUNNING, or LOST with its thread still at work.
fn may_end(task: &TaskState) -> Result<(), Refusal> {
    match task.state {
        State::Running => Ok(()),
        State::Lost if task.in_flight => Ok(()),
        _ => Err(Refusal::Superseded),
    }
}

fn finished(task: &TaskState, state: State) -> Transition {
    let task_state = TaskState {
        state,
        reasons: Reasons::NONE,
        in_flight: false,
        cancel_requested: task.cancel_requested && state == State::Cancelled,
        suspect: false,
        ..*task
    };
    Transition { task_state, wait: Wait::Clear, ending: HistoryEntry::Attempt }
}

fn queued(task: &TaskState, reasons: Reasons, wait: Wait, ending: HistoryEntry) -> Transition {
    let task_state = TaskState { state: State::Queued, reasons, in_flight: false, ..*task };
    Transition { task_state, wait, ending }
}

fn ended(task: &TaskState, end: AttemptEnd, lost_rule: Lost) -> Transition {
    let spared = TaskState { suspect: false, ..*task };
    let refunded = TaskState { attempt_number: task.attempt_number.saturating_sub(1), ..spared };
    if task.cancel_requested || end == AttemptEnd::Cancelled {
        return finished(task, State::Cancelled);
    }
    if task.state == State::Lost {
        return lost(&spared, lost_rule);
    }
    let time = Reasons::of(Hold::Time);
    match end {
        AttemptEnd::Failed { refused, .. }
            if refused || planted("g04-no-retry") || task.attempt_number >= task.max_attempts =>
        {
            finished(task, State::Failed)
        }
        AttemptEnd::Failed { delay, .. } => queued(&spared, time, Wait::For(delay), HistoryEntry::Attempt),
        AttemptEnd::Snoozed(delay) => queued(&refunded, time, Wait::For(delay), HistoryEntry::Refund),
        AttemptEnd::HandedBack => queued(
            &TaskState { suspect: task.suspect, ..refunded },
            turn(task),
            Wait::Clear,
            HistoryEntry::Refund,
        ),
        AttemptEnd::Declined => {
            queued(&refunded, Reasons::of(Hold::UnknownName), Wait::Clear, HistoryEntry::Refund)
        }
        AttemptEnd::Waits => {
            queued(&refunded, Reasons::of(Hold::Condition), Wait::Clear, HistoryEntry::Refund)
        }
        AttemptEnd::Cancelled => finished(task, State::Cancelled),
        AttemptEnd::WentOutside => unchanged(&spared),
        AttemptEnd::Lost => lost(&spared, lost_rule),
    }
}

fn died(task: &TaskState, lost_rule: Lost) -> Result<Transition, Refusal> {
    let suspected = TaskState { suspect: true, ..*task };
    match task.state {
        _ if !task.in_flight => Err(Refusal::State(task.state)),
        State::Running | State::Lost if task.cancel_requested => Ok(finished(task, State::Cancelled)),
        State::Running | State::Lost => Ok(lost(&suspected, lost_rule)),
        State::Queued => Ok(returned(&TaskState { reasons: task.reasons.with(Hold::Suspect), ..suspected })),
        _ => Ok(returned(task)),
    }
}

fn lost(task: &TaskState, rule: Lost) -> Transition {
    if task.attempt_number >= task.max_attempts || rule.denied {
        return finished(task, State::Lost);
    }
    match rule.retry {
        LostRetry::Manual => finished(task, State::Lost),
        LostRetry::Immediate => queued(task, turn(task), Wait::Clear, HistoryEntry::Attempt),
        LostRetry::Backoff => {
            queued(task, turn(task).with(Hold::Time), Wait::For(rule.delay), HistoryEntry::Attempt)
        }
    }
}

/// The thread of an attempt that was given up returned or died. The task may have been retried or
/// cancelled since.
fn returned(task: &TaskState) -> Transition {
    let reasons = task.reasons.without(Hold::PreviousAttempt);
    unchanged(&TaskState { reasons, in_flight: false, ..*task })
}

/// Cancels a queued task. A thread of an older attempt may still be at work.
fn abandoned(task: &TaskState) -> Transition {
    let next = finished(task, State::Cancelled);
    Transition {
        task_state: TaskState { in_flight: task.in_flight, ..next.task_state },
        ending: HistoryEntry::None,
        ..next
    }
}

fn revived(task: &TaskState) -> Transition {
    let task_state = TaskState {
        state: State::Queued,
        reasons: if task.in_flight { Reasons::of(Hold::PreviousAttempt) } else { Reasons::NONE },
        attempt_number: 0,
        cancel_requested: false,
        suspect: false,
        ..*task
    };
    Transition { task_state, wait: Wait::Clear, ending: HistoryEntry::Revived }
}

/// Replaces a queued task. Whether a handler knows it is checked again at its claim. The caller
/// sets `run_at`.
fn replaced(task: &TaskState, by: Replacement) -> Transition {
    let known = task.reasons.without(Hold::UnknownName);
    let timed = |reasons: Reasons, waits| {
        if waits { reasons.with(Hold::Time) } else { reasons.without(Hold::Time) }
    };
    match by {
        Replacement::Args => waiting(task, known),
        Replacement::ArgsAndTime { waits } => waiting(task, timed(known, waits)),
        Replacement::Whole { waits } => {
            // Reasons that do not follow from its args and options stay.
            let stays = [Hold::PreviousAttempt, Hold::Parents]
                .into_iter()
                .filter(|hold| task.reasons.contains(*hold));
            let reasons = stays.fold(turn(task), Reasons::with);
            let task_state = TaskState { reasons: timed(reasons, waits), attempt_number: 0, ..*task };
            Transition { ending: HistoryEntry::Revived, ..unchanged(&task_state) }
        }
    }
}
