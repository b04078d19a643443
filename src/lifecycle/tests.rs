//! Tests of the transition table, row by row, and properties of every transition.

use proptest::prelude::*;

use super::*;

const LOST: Lost = Lost { retry: LostRetry::Immediate, denied: false, delay: Duration::from_secs(60) };
const MINUTE: Duration = Duration::from_secs(60);

fn task(state: State, attempt_number: u32) -> TaskState {
    TaskState {
        state,
        reasons: Reasons::NONE,
        attempt_number,
        max_attempts: 3,
        in_flight: state == State::Running,
        cancel_requested: false,
        suspect: false,
    }
}

fn failure() -> TaskEvent {
    TaskEvent::Ended(AttemptEnd::Failed { refused: false, delay: MINUTE }, LOST)
}

fn after(task: TaskState, event: TaskEvent) -> TaskState {
    next(&task, event).expect("the event is allowed").task_state
}

#[test]
fn each_row_of_the_table_holds() {
    let queued = task(State::Queued, 0);
    let for_ = |holds: &[Hold]| holds.iter().fold(Reasons::NONE, |all, hold| all.with(*hold));
    let waiting = TaskState { reasons: for_(&[Hold::Time]), ..queued };
    let held = TaskState { reasons: for_(&[Hold::Suspect]), suspect: true, ..queued };
    let both = TaskState { reasons: for_(&[Hold::Time, Hold::Suspect]), suspect: true, ..queued };
    let unknown = TaskState { reasons: for_(&[Hold::UnknownName, Hold::Suspect]), ..both };
    let behind = TaskState { reasons: for_(&[Hold::PreviousAttempt]), in_flight: true, ..queued };
    let running = task(State::Running, 1);
    let last = task(State::Running, 3);
    let flagged = TaskState { cancel_requested: true, ..running };
    let silent = TaskState { state: State::Lost, ..running };
    let refused = TaskEvent::Ended(AttemptEnd::Failed { refused: true, delay: MINUTE }, LOST);
    let snooze = TaskEvent::Ended(AttemptEnd::Snoozed(MINUTE), LOST);
    let until = TaskEvent::Ended(AttemptEnd::Waits, LOST);
    let reasons = Reasons::of(Hold::Condition).with(Hold::Suspect);
    let unmet = TaskState { reasons, suspect: true, ..task(State::Queued, 0) };
    let reasons = Reasons::of(Hold::Condition).with(Hold::Time);
    let put_off = TaskState { reasons, ..task(State::Queued, 0) };
    let back = TaskEvent::Ended(AttemptEnd::HandedBack, LOST);
    let declined = TaskEvent::Ended(AttemptEnd::Declined, LOST);
    let whole = |waits| Replacement::Whole { waits };
    let args = TaskEvent::Replaced(Replacement::Args);
    let later = |waits| TaskEvent::Replaced(Replacement::ArgsAndTime { waits });
    let rows: &[(TaskState, TaskEvent, State, Hold, u32)] = &[
        (queued, TaskEvent::Claim, State::Running, Hold::Ready, 1),
        (waiting, TaskEvent::Promote, State::Queued, Hold::Ready, 0),
        (waiting, TaskEvent::RunNow, State::Queued, Hold::Ready, 0),
        (queued, TaskEvent::RunNow, State::Queued, Hold::Ready, 0),
        (both, TaskEvent::RunNow, State::Queued, Hold::Ready, 0),
        (both, TaskEvent::Promote, State::Queued, Hold::Suspect, 0),
        (held, TaskEvent::RunNow, State::Queued, Hold::Ready, 0),
        (held, TaskEvent::SuspectTurn, State::Queued, Hold::Ready, 0),
        (after(held, TaskEvent::SuspectTurn), TaskEvent::SuspectWait, State::Queued, Hold::Suspect, 0),
        (queued, TaskEvent::NameUnknown, State::Queued, Hold::UnknownName, 0),
        (unknown, TaskEvent::NameKnown, State::Queued, Hold::Suspect, 0),
        (unknown, TaskEvent::RunNow, State::Queued, Hold::UnknownName, 0),
        (after(unknown, TaskEvent::RunNow), TaskEvent::NameKnown, State::Queued, Hold::Ready, 0),
        (behind, TaskEvent::ThreadReturned, State::Queued, Hold::Ready, 0),
        (behind, TaskEvent::ProcessDied(LOST), State::Queued, Hold::Suspect, 0),
        (TaskState { suspect: true, ..running }, TaskEvent::ProvedHarmless, State::Running, Hold::Ready, 1),
        (running, TaskEvent::Succeeded, State::Succeeded, Hold::Ready, 1),
        (running, failure(), State::Queued, Hold::Time, 1),
        (last, failure(), State::Failed, Hold::Ready, 3),
        (running, refused, State::Failed, Hold::Ready, 1),
        (running, snooze, State::Queued, Hold::Time, 0),
        (running, back, State::Queued, Hold::Ready, 0),
        (running, declined, State::Queued, Hold::UnknownName, 0),
        (flagged, declined, State::Cancelled, Hold::Ready, 1),
        (running, until, State::Queued, Hold::Condition, 0),
        (flagged, until, State::Cancelled, Hold::Ready, 1),
        (silent, until, State::Queued, Hold::Ready, 1),
        (queued, TaskEvent::ConditionMissing, State::Queued, Hold::Condition, 0),
        (unmet, TaskEvent::ConditionMet, State::Queued, Hold::Suspect, 0),
        (unmet, TaskEvent::RunNow, State::Queued, Hold::Condition, 0),
        (put_off, TaskEvent::ConditionMet, State::Queued, Hold::Time, 0),
        (put_off, TaskEvent::Promote, State::Queued, Hold::Condition, 0),
        (unmet, args, State::Queued, Hold::Condition, 0),
        (unmet, TaskEvent::Replaced(whole(false)), State::Queued, Hold::Suspect, 0),
        (running, TaskEvent::ProcessDied(LOST), State::Queued, Hold::Suspect, 1),
        (last, TaskEvent::ProcessDied(LOST), State::Lost, Hold::Ready, 3),
        (running, TaskEvent::FellSilent, State::Lost, Hold::Ready, 1),
        (silent, TaskEvent::Succeeded, State::Succeeded, Hold::Ready, 1),
        (silent, failure(), State::Queued, Hold::Ready, 1),
        (silent, snooze, State::Queued, Hold::Ready, 1),
        (silent, TaskEvent::Retried, State::Queued, Hold::PreviousAttempt, 0),
        (running, TaskEvent::Ended(AttemptEnd::Cancelled, LOST), State::Cancelled, Hold::Ready, 1),
        (flagged, failure(), State::Cancelled, Hold::Ready, 1),
        (flagged, snooze, State::Cancelled, Hold::Ready, 1),
        (flagged, back, State::Cancelled, Hold::Ready, 1),
        (flagged, TaskEvent::ProcessDied(LOST), State::Cancelled, Hold::Ready, 1),
        (flagged, TaskEvent::Succeeded, State::Succeeded, Hold::Ready, 1),
        (queued, TaskEvent::CancelRequested, State::Cancelled, Hold::Ready, 0),
        (waiting, TaskEvent::Expired, State::Cancelled, Hold::Ready, 0),
        (running, TaskEvent::CancelRequested, State::Running, Hold::Ready, 1),
        (both, TaskEvent::Replaced(whole(false)), State::Queued, Hold::Suspect, 0),
        (unknown, TaskEvent::Replaced(whole(false)), State::Queued, Hold::Suspect, 0),
        (behind, TaskEvent::Replaced(whole(true)), State::Queued, Hold::PreviousAttempt, 0),
        (
            TaskState { attempt_number: 2, ..waiting },
            TaskEvent::Replaced(whole(true)),
            State::Queued,
            Hold::Time,
            0,
        ),
        (TaskState { attempt_number: 2, ..waiting }, args, State::Queued, Hold::Time, 2),
        (unknown, args, State::Queued, Hold::Suspect, 0),
        (queued, later(true), State::Queued, Hold::Time, 0),
        (both, later(false), State::Queued, Hold::Suspect, 0),
        (task(State::Failed, 3), TaskEvent::Retried, State::Queued, Hold::Ready, 0),
        (task(State::Lost, 3), TaskEvent::Retried, State::Queued, Hold::Ready, 0),
        (task(State::Cancelled, 1), TaskEvent::Retried, State::Queued, Hold::Ready, 0),
    ];
    for (from, event, state, hold, attempt_number) in rows {
        let to = after(*from, *event);
        assert_eq!(
            (to.state, to.hold(), to.attempt_number),
            (*state, *hold, *attempt_number),
            "{event:?} on {from:?}"
        );
    }
}

#[test]
fn what_the_table_does_not_name_is_refused() {
    let rows: &[(TaskState, TaskEvent, Refusal)] = &[
        (task(State::Queued, 0), TaskEvent::Retried, Refusal::State(State::Queued)),
        (task(State::Running, 1), TaskEvent::Retried, Refusal::State(State::Running)),
        (task(State::Succeeded, 1), TaskEvent::Retried, Refusal::State(State::Succeeded)),
        (task(State::Succeeded, 1), TaskEvent::CancelRequested, Refusal::State(State::Succeeded)),
        (task(State::Running, 1), TaskEvent::Replaced(Replacement::Args), Refusal::State(State::Running)),
        (task(State::Lost, 3), TaskEvent::CancelRequested, Refusal::State(State::Lost)),
        (task(State::Running, 1), TaskEvent::Deleted, Refusal::State(State::Running)),
        (task(State::Running, 1), TaskEvent::ProvedHarmless, Refusal::State(State::Running)),
        (task(State::Queued, 1), failure(), Refusal::Superseded),
        (task(State::Succeeded, 1), TaskEvent::Succeeded, Refusal::Superseded),
        (task(State::Lost, 3), TaskEvent::Succeeded, Refusal::Superseded),
        (
            TaskState { reasons: Reasons::of(Hold::Time), ..task(State::Queued, 1) },
            TaskEvent::Claim,
            Refusal::Held(Hold::Time),
        ),
        (
            TaskState { reasons: Reasons::of(Hold::UnknownName), ..task(State::Queued, 1) },
            TaskEvent::RunNow,
            Refusal::Held(Hold::UnknownName),
        ),
    ];
    for (from, event, refusal) in rows {
        assert_eq!(next(from, *event), Err(*refusal), "{event:?} on {from:?}");
    }
}

#[test]
fn a_lost_task_follows_lost_retry() {
    let running = task(State::Running, 1);
    let rule = |retry| TaskEvent::ProcessDied(Lost { retry, ..LOST });
    assert_eq!(after(running, rule(LostRetry::Immediate)).hold(), Hold::Suspect);
    let waiting = after(running, rule(LostRetry::Backoff)).reasons;
    assert_eq!(waiting.holds().collect::<Vec<_>>(), [Hold::Time, Hold::Suspect]);
    assert_eq!(after(running, rule(LostRetry::Manual)).state, State::Lost);
    assert_eq!(after(running, TaskEvent::ProcessDied(Lost { denied: true, ..LOST })).state, State::Lost);
}

fn standings() -> impl Strategy<Value = TaskState> {
    let reasons = prop::sample::subsequence(Hold::REASONS.to_vec(), 0..=Hold::REASONS.len());
    let states = prop::sample::select(State::ALL.to_vec());
    (states, reasons, 0_u32..4, any::<[bool; 3]>()).prop_map(
        |(state, reasons, n, [flight, cancel, suspect])| {
            let attempts = match state {
                State::Queued => n.min(2),
                State::Running => n.clamp(1, 3),
                _ => n,
            };
            let reasons = match state {
                State::Queued => reasons.into_iter().fold(Reasons::NONE, Reasons::with),
                _ => Reasons::NONE,
            };
            let in_flight = match state {
                State::Running => true,
                State::Queued => reasons.contains(Hold::PreviousAttempt),
                State::Lost | State::Cancelled => flight,
                State::Succeeded | State::Failed => false,
            };
            let is_suspect = suspect && matches!(state, State::Queued | State::Running);
            TaskState {
                state,
                reasons,
                attempt_number: attempts,
                max_attempts: 3,
                in_flight,
                cancel_requested: cancel && in_flight,
                suspect: is_suspect || reasons.contains(Hold::Suspect),
            }
        },
    )
}

fn events() -> impl Strategy<Value = TaskEvent> {
    let delay = (0_u64..1000).prop_map(Duration::from_millis);
    let retry = prop::sample::select(vec![LostRetry::Immediate, LostRetry::Backoff, LostRetry::Manual]);
    let lost = (retry, any::<bool>(), delay.clone()).prop_map(|(retry, denied, delay)| Lost {
        retry,
        denied,
        delay,
    });
    let end = prop_oneof![
        (any::<bool>(), delay.clone()).prop_map(|(refused, delay)| AttemptEnd::Failed { refused, delay }),
        delay.prop_map(AttemptEnd::Snoozed),
        Just(AttemptEnd::HandedBack),
        Just(AttemptEnd::Declined),
        Just(AttemptEnd::Waits),
        Just(AttemptEnd::Cancelled),
        Just(AttemptEnd::WentOutside),
        Just(AttemptEnd::Lost),
    ];
    let plain = prop::sample::select(vec![
        TaskEvent::Claim,
        TaskEvent::Promote,
        TaskEvent::RunNow,
        TaskEvent::NameUnknown,
        TaskEvent::NameKnown,
        TaskEvent::ConditionMissing,
        TaskEvent::ConditionMet,
        TaskEvent::SuspectTurn,
        TaskEvent::ParentsEnded,
        TaskEvent::SuspectWait,
        TaskEvent::PermitGiven,
        TaskEvent::PermitTaken,
        TaskEvent::ProvedHarmless,
        TaskEvent::ThreadReturned,
        TaskEvent::Succeeded,
        TaskEvent::FellSilent,
        TaskEvent::CancelRequested,
        TaskEvent::Expired,
        TaskEvent::Retried,
        TaskEvent::Replaced(Replacement::Whole { waits: false }),
        TaskEvent::Replaced(Replacement::Whole { waits: true }),
        TaskEvent::Replaced(Replacement::Args),
        TaskEvent::Replaced(Replacement::ArgsAndTime { waits: false }),
        TaskEvent::Replaced(Replacement::ArgsAndTime { waits: true }),
        TaskEvent::Deleted,
        TaskEvent::MovedToDeadLetters,
    ]);
    prop_oneof![3 => plain, 2 => (end, lost.clone()).prop_map(|(e, l)| TaskEvent::Ended(e, l)), 1 => lost.prop_map(TaskEvent::ProcessDied)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]
    #[test]
    fn every_answer_is_a_legal_standing(from in standings(), event in events()) {
        let Ok(Transition { task_state: to, wait, .. }) = next(&from, event) else { return Ok(()) };
        prop_assert!(to.attempt_number <= to.max_attempts);
        prop_assert!(to.state == State::Queued || to.reasons == Reasons::NONE);
        prop_assert!(to.suspect || !to.reasons.contains(Hold::Suspect));
        prop_assert!(to.state != State::Queued || to.attempt_number < to.max_attempts);
        prop_assert!(to.state != State::Running || (to.in_flight && to.attempt_number >= 1));
        prop_assert!(!matches!(to.state, State::Succeeded | State::Failed) || !to.in_flight);
        prop_assert!(to.reasons.contains(Hold::PreviousAttempt) <= to.in_flight);
        prop_assert!(matches!(wait, Wait::For(_)) <= to.reasons.contains(Hold::Time));
    }

    #[test]
    fn no_task_is_ready_while_a_reason_stands_and_none_is_held_without_one(from in standings(), event in events()) {
        let Ok(Transition { task_state: to, .. }) = next(&from, event) else { return Ok(()) };
        prop_assert_eq!(to.hold() == Hold::Ready, to.reasons == Reasons::NONE);
        prop_assert!(event != TaskEvent::Claim || from.reasons == Reasons::NONE);
    }

    #[test]
    fn whatever_ends_a_reason_takes_that_one_away_and_no_other(from in standings(), event in events()) {
        let ends: &[Hold] = match event {
            TaskEvent::ParentsEnded => &[Hold::Parents],
            TaskEvent::Promote => &[Hold::Time],
            TaskEvent::NameKnown => &[Hold::UnknownName],
            TaskEvent::ConditionMet => &[Hold::Condition],
            TaskEvent::SuspectTurn => &[Hold::Suspect],
            TaskEvent::PermitGiven => &[Hold::Limit],
            TaskEvent::RunNow => &[Hold::Time, Hold::Suspect],
            TaskEvent::ThreadReturned if from.state == State::Queued => &[Hold::PreviousAttempt],
            _ => return Ok(()),
        };
        let Ok(Transition { task_state: to, .. }) = next(&from, event) else { return Ok(()) };
        let left = ends.iter().fold(from.reasons, |left, hold| left.without(*hold));
        prop_assert_eq!(to.reasons, left);
    }

    #[test]
    fn a_thread_at_work_is_forgotten_only_when_it_returns_or_dies(from in standings(), event in events()) {
        let Ok(Transition { task_state: to, .. }) = next(&from, event) else { return Ok(()) };
        let returns = matches!(event, TaskEvent::Succeeded | TaskEvent::Ended(..) | TaskEvent::ThreadReturned | TaskEvent::ProcessDied(_));
        prop_assert!(!from.in_flight || to.in_flight || returns);
    }

    #[test]
    fn attempts_fall_only_by_refund_and_manual_retry(from in standings(), event in events()) {
        let Ok(Transition { task_state: to, ending, .. }) = next(&from, event) else { return Ok(()) };
        let by = from.attempt_number.saturating_sub(to.attempt_number);
        prop_assert!(by == 0 || ending == HistoryEntry::Revived || (ending == HistoryEntry::Refund && by == 1));
    }
}
