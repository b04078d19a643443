//! The checker of histories: each invariant that is broken is found. Here the histories are written by hand.

use perdura::testing::check_history;
use perdura::testing::history::{
    Asked, Bound, Event, History, HowEnded, Invariant, Made, Observation, Replaces, Seen,
};
use perdura::{Hold, Rate, State, TaskId, Timestamp};
use serde_json::json;

fn id(n: i64) -> TaskId {
    TaskId::from_i64(n)
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000 + seconds * 1000)
}

/// A value of the history, as a file of one has it.
fn from<T: serde::de::DeserializeOwned>(value: serde_json::Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn made(task: i64, is_new: bool) -> Made {
    from(json!({"id": task, "is_new": is_new}))
}

fn opened(process: u64) -> Event {
    Event::Opened { process, workers: 1 }
}

fn asks(call: u64, args: &[u64]) -> Event {
    let asked = |args: &u64| from(json!({"task_name": "t", "queue": "q", "priority": 0, "args": args}));
    Event::Enqueueing { process: 1, call, asked: args.iter().map(asked).collect() }
}

fn asks_with(call: u64, args: u64, key: Option<u64>, not_before: Option<Timestamp>) -> Event {
    let Event::Enqueueing { process, mut asked, .. } = asks(call, &[args]) else { unreachable!() };
    (asked[0].key, asked[0].not_before) = (key, not_before);
    Event::Enqueueing { process, call, asked }
}

fn acked(call: u64, ids: &[i64]) -> Event {
    let made = ids.iter().map(|n| made(*n, true)).collect();
    Event::Enqueued { process: 1, call, made }
}

fn start_in(process: u64, task: i64, generation: u64, attempt_number: u32, seconds: i64) -> Event {
    Event::Started {
        process,
        id: id(task),
        generation,
        attempt_number,
        max_attempts: 3,
        at: at(seconds),
        claimed_at: Some(at(seconds)),
        tick: None,
    }
}

fn start(task: i64, generation: u64, attempt_number: u32) -> Event {
    start_in(1, task, generation, attempt_number, 10)
}

fn end(task: i64, generation: u64, how: HowEnded) -> Event {
    Event::Ended { id: id(task), generation, how }
}

fn seen(task: i64, state: State, attempt_number: u32, generation: u64) -> Seen {
    let mut seen: Seen = from(json!({
        "id": task, "task_name": "t", "queue": "q", "state": state, "attempt_number": attempt_number, "max_attempts": 3,
        "generation": generation, "args": task * 100,
    }));
    seen.hold = (state == State::Queued).then_some(Hold::Ready);
    seen.started_at = (generation > 0).then_some(at(10));
    seen.finished_at = state.is_finished().then_some(at(11));
    seen
}

/// The same with something changed.
fn but(mut seen: Seen, change: impl FnOnce(&mut Seen)) -> Seen {
    change(&mut seen);
    seen
}

fn look(tasks: Vec<Seen>) -> Event {
    let mut observed = Observation::default();
    observed.tasks = tasks;
    Event::Observed(observed)
}

/// Two tasks, a crash, a refund, a retry by hand: all as it may be.
fn good() -> Vec<Event> {
    use HowEnded::*;
    vec![
        opened(1),
        asks(1, &[100]),
        asks(2, &[200, 300]),
        acked(2, &[2, 3]),
        acked(1, &[1]),
        start(1, 1, 1),
        end(1, 1, Failed),
        start(2, 1, 1),
        end(2, 1, Refunded),
        start(2, 2, 1),
        end(2, 2, Succeeded),
        look(vec![
            seen(1, State::Queued, 1, 1),
            seen(2, State::Succeeded, 1, 2),
            seen(3, State::Queued, 0, 0),
        ]),
        start(3, 1, 1),
        Event::Crashed { process: 1 },
        opened(2),
        start_in(2, 3, 2, 2, 20),
        end(3, 2, Failed),
        start_in(2, 3, 4, 3, 30), // generation 3 was claimed and not started
        end(3, 4, Failed),
        look(vec![
            seen(1, State::Queued, 1, 1),
            seen(2, State::Succeeded, 1, 2),
            seen(3, State::Failed, 3, 4),
        ]),
        Event::Retried { id: id(3) },
        start_in(2, 3, 5, 1, 40),
        end(3, 5, Succeeded),
        Event::Deleted { id: id(2) },
        look(vec![seen(1, State::Queued, 1, 1), seen(3, State::Succeeded, 1, 5)]),
    ]
}

fn broken(events: Vec<Event>) -> Option<Invariant> {
    check_history(&History::from(events)).err().map(|violation| violation.invariant)
}

#[test]
fn what_may_be_passes() {
    assert_eq!(check_history(&good().into_iter().collect()), Ok(()));
    assert_eq!(check_history(&History::default()), Ok(()));
}

#[test]
fn each_broken_invariant_is_found() {
    use HowEnded::*;
    use Invariant::*;
    let one = || vec![opened(1), asks(1, &[100]), acked(1, &[1])];
    let two = || vec![opened(1), asks(1, &[100]), acked(1, &[1]), asks(2, &[200]), acked(2, &[2])];
    let queued = || seen(1, State::Queued, 0, 0);
    let counts = |n| {
        let counts = serde_json::json!({
            "paused": false, "ready": n, "waiting": 0, "unknown_name": 0, "held": 0, "running": 0,
            "succeeded": 0, "failed": 0, "cancelled": 0, "lost": 0
        });
        Some(serde_json::from_value(counts).unwrap())
    };
    let counted = |n| {
        let Event::Observed(mut observed) = look(vec![queued()]) else { unreachable!() };
        observed.counts = counts(n);
        Event::Observed(observed)
    };
    assert_eq!(broken([one(), vec![counted(1)]].concat()), None);
    let keyed = |call| asks_with(call, call * 100, Some(7), None);
    let with = |call, change: fn(&mut Asked)| {
        let Event::Enqueueing { process, call, mut asked } = keyed(call) else { unreachable!() };
        change(&mut asked[0]);
        Event::Enqueueing { process, call, asked }
    };
    let until_started = |call| with(call, |asked| asked.until_started = true);
    let replaces = |call| with(call, |asked| asked.replaces = Replaces::Args);
    let replaced = |call, task| {
        let made = from(json!({"id": task, "is_new": false, "is_replaced": true}));
        Event::Enqueued { process: 1, call, made: vec![made] }
    };
    let late = || vec![opened(1), asks_with(1, 100, None, Some(at(50))), acked(1, &[1])];
    let cases: Vec<(Invariant, &str, Vec<Event>, Vec<Event>)> = vec![
        (Durable, "lost", two(), vec![look(vec![queued()])]),
        (Durable, "other args", one(), vec![look(vec![but(queued(), |seen| seen.args = 1)])]),
        (NoGhosts, "a stranger", one(), vec![look(vec![queued(), seen(2, State::Queued, 0, 0)])]),
        (
            NoGhosts,
            "half a batch",
            one(),
            vec![asks(2, &[200, 300]), look(vec![queued(), seen(2, State::Queued, 0, 0)])],
        ),
        (
            NoGhosts,
            "refused, and there",
            one(),
            vec![
                asks(2, &[200]),
                Event::NotDone { process: 1, call: 2 },
                look(vec![queued(), seen(2, State::Queued, 0, 0)]),
            ],
        ),
        (NoGhosts, "an id given twice", one(), vec![asks(2, &[200]), acked(2, &[1])]),
        (NoGhosts, "a start of nothing", one(), vec![start(9, 1, 1)]),
        (
            UniqueKeys,
            "two holders",
            vec![opened(1), keyed(1), acked(1, &[1]), keyed(2), acked(2, &[2])],
            vec![look(vec![queued(), seen(2, State::Queued, 0, 0)])],
        ),
        (
            UniqueKeys,
            "a holder that has another key",
            one(),
            vec![keyed(2), Event::Enqueued { process: 1, call: 2, made: vec![made(1, false)] }],
        ),
        (
            UniqueKeys,
            "a change by an enqueue that was to change nothing",
            vec![opened(1), keyed(1), acked(1, &[1])],
            vec![keyed(2), replaced(2, 1)],
        ),
        (
            UniqueKeys,
            "two that have not started with a key until the start",
            vec![opened(1), until_started(1), acked(1, &[1]), until_started(2), acked(2, &[2])],
            vec![look(vec![queued(), seen(2, State::Queued, 0, 0)])],
        ),
        (
            Durable,
            "args that no replacement had",
            vec![opened(1), replaces(1), acked(1, &[1]), replaces(2), replaced(2, 1)],
            vec![look(vec![but(queued(), |seen| seen.args = 300)])],
        ),
        (
            Counted,
            "attempts that begin anew with new args",
            vec![
                opened(1),
                replaces(1),
                acked(1, &[1]),
                start(1, 1, 1),
                end(1, 1, HowEnded::Failed),
                replaces(2),
                replaced(2, 1),
            ],
            vec![start(1, 2, 1)],
        ),
        (
            OneState,
            "running, not started",
            one(),
            vec![look(vec![but(seen(1, State::Running, 1, 1), |seen| seen.started_at = None)])],
        ),
        (
            OneState,
            "queued and ended",
            one(),
            vec![look(vec![but(queued(), |seen| seen.finished_at = Some(at(1)))])],
        ),
        (
            OneState,
            "waits for no time",
            one(),
            vec![look(vec![but(queued(), |seen| seen.hold = Some(Hold::Time))])],
        ),
        (Counted, "too many attempts", one(), vec![look(vec![seen(1, State::Queued, 4, 4)])]),
        (
            Counted,
            "an attempt that was not counted",
            one(),
            vec![start(1, 1, 1), end(1, 1, Failed), start(1, 2, 1)],
        ),
        (
            Counted,
            "a refund that was counted",
            one(),
            vec![start(1, 1, 1), end(1, 1, Refunded), start(1, 2, 2)],
        ),
        (
            Counted,
            "a crash that was not counted",
            one(),
            vec![start(1, 1, 1), Event::Crashed { process: 1 }, opened(2), start_in(2, 1, 2, 1, 20)],
        ),
        (
            Counted,
            "a generation that falls",
            one(),
            vec![look(vec![seen(1, State::Queued, 1, 2)]), look(vec![seen(1, State::Queued, 1, 1)])],
        ),
        (
            Counted,
            "an attempt given back without a reason",
            one(),
            vec![look(vec![seen(1, State::Queued, 1, 1)]), look(vec![seen(1, State::Queued, 0, 1)])],
        ),
        (
            EndsStay,
            "succeeded, and starts",
            one(),
            vec![start(1, 1, 1), end(1, 1, Succeeded), start(1, 2, 2)],
        ),
        (
            EndsStay,
            "seen cancelled, and starts",
            one(),
            vec![look(vec![seen(1, State::Cancelled, 0, 0)]), start(1, 1, 1)],
        ),
        (
            EndsStay,
            "failed, and is queued",
            one(),
            vec![look(vec![seen(1, State::Failed, 3, 3)]), look(vec![seen(1, State::Queued, 3, 3)])],
        ),
        (EndsStay, "deleted, and starts", one(), vec![Event::Deleted { id: id(1) }, start(1, 1, 1)]),
        (OneOwner, "two processes", two(), vec![start(1, 1, 1), opened(2), start_in(2, 2, 1, 1, 10)]),
        (OneOwner, "more than the workers", two(), vec![start(1, 1, 1), start(2, 1, 1)]),
        (NeverTwiceAtOnce, "overlap", one(), vec![start(1, 1, 1), start(1, 2, 2)]),
        (NeverTwiceAtOnce, "one claim twice", one(), vec![start(1, 1, 1), end(1, 1, Failed), start(1, 1, 1)]),
        (NeverTwiceAtOnce, "two ends", one(), vec![start(1, 1, 1), end(1, 1, Failed), end(1, 1, Failed)]),
        (NeverTwiceAtOnce, "an end of nothing", one(), vec![end(1, 1, Failed)]),
        (
            ClaimedFirst,
            "started before its claim was durable",
            one(),
            vec![start(1, 1, 1), look(vec![queued()])],
        ),
        (Order, "the younger first", two(), vec![start(2, 1, 1), end(2, 1, Succeeded), start(1, 1, 1)]),
        (NotBefore, "too early", late(), vec![start(1, 1, 1)]),
        (
            NotBefore,
            "before the retry is due",
            one(),
            vec![
                look(vec![but(seen(1, State::Queued, 1, 1), |seen| {
                    (seen.hold, seen.run_at) = (Some(Hold::Time), Some(at(60)));
                })]),
                start_in(1, 1, 2, 2, 59),
            ],
        ),
        (Counters, "a wrong counter", one(), vec![counted(2)]),
        (Conservation, "deleted, and there", one(), vec![Event::Deleted { id: id(1) }, look(vec![queued()])]),
        (Conservation, "purged, and there", one(), vec![Event::Purged { count: 1 }, look(vec![queued()])]),
    ];
    let mut met = std::collections::HashSet::new();
    for (invariant, name, mut events, rest) in cases.into_iter().chain(bound_cases()) {
        assert_eq!(broken(events.clone()), None, "{name}: the beginning is good");
        events.extend(rest);
        let text = check_history(&History::from(events.clone())).unwrap_err().to_string();
        assert_eq!(broken(events), Some(invariant), "{name}: {text}");
        assert!(text.starts_with(&format!("I{} ", invariant.number())) && text.contains("event "), "{text}");
        met.insert(invariant);
    }
    assert_eq!(met.len(), 17, "each invariant has a case");
}

type Case = (Invariant, &'static str, Vec<Event>, Vec<Event>);

/// Two workers, and tasks (the first has the number 1) whose key has these limits, 0 for a serial one.
fn limited(permits: &[u32]) -> Vec<Event> {
    let mut events = vec![Event::Opened { process: 1, workers: 4 }];
    for (n, permits) in (1..).zip(permits) {
        let Event::Enqueueing { process, call, mut asked } = asks(n, &[n * 100]) else { unreachable!() };
        let limit = json!({"key": 5, "permits": *permits.max(&1), "serial": *permits == 0});
        asked[0].limit = Some(from(limit));
        events.extend([Event::Enqueueing { process, call, asked }, acked(n, &[n as i64])]);
    }
    events
}

fn bounding(bound: Bound) -> Event {
    Event::Bounding { queue: "q".into(), bound }
}

fn bounded(bound: Bound) -> Vec<Event> {
    vec![bounding(bound), Event::Bounded { queue: "q".into(), bound }]
}

/// These are enqueued, under numbers that begin with this one.
fn enqueued(from: u64, tasks: std::ops::Range<i64>) -> Vec<Event> {
    let args: Vec<u64> = tasks.clone().map(|n| n as u64 * 100).collect();
    vec![asks(from, &args), acked(from, &tasks.collect::<Vec<_>>())]
}

fn run(task: i64, seconds: i64) -> Vec<Event> {
    vec![start_in(1, task, 1, 1, seconds), end(task, 1, HowEnded::Succeeded)]
}

/// A run of the schedule "s", whose tick is that time.
fn run_of_tick(task: i64, tick: i64, seconds: i64) -> Vec<Event> {
    let mut events = run(task, seconds);
    if let Event::Started { tick: of_start, .. } = &mut events[0] {
        *of_start = Some(at(tick));
    }
    events
}

fn scheduled() -> Vec<Event> {
    let asked = from(json!({"task_name": "t", "queue": "q", "priority": 0, "args": 700}));
    vec![opened(1), Event::Scheduled { schedule: "s".into(), asked }]
}

fn run_seen(task: i64) -> Seen {
    but(seen(task, State::Succeeded, 1, 1), |seen| seen.args = 700)
}

/// Too many at once, too many in a time, and a tick twice.
fn bound_cases() -> Vec<Case> {
    use HowEnded::*;
    use Invariant::*;
    let (limit, rate) = (
        |n| bounded(Bound::Limit(Some(n))),
        || {
            let rate = Rate::per(std::time::Duration::from_secs(60), 6).burst(2);
            bounded(Bound::Rate(Some(rate)))
        },
    );
    let four = || vec![Event::Opened { process: 1, workers: 4 }];
    vec![
        (
            Limits,
            "two at once of a key with a limit of one",
            [limited(&[1, 1]), vec![start(1, 1, 1)]].concat(),
            vec![start(2, 1, 1)],
        ),
        (
            Limits,
            "one more than the largest limit of a key",
            [limited(&[2, 1, 2]), vec![start(1, 1, 1), start(2, 1, 1)]].concat(),
            vec![start(3, 1, 1)],
        ),
        (
            Limits,
            "between two attempts of a serial task",
            [limited(&[0, 0]), vec![start(1, 1, 1), end(1, 1, Failed), start(2, 1, 1), end(2, 1, Succeeded)]]
                .concat(),
            vec![start(1, 2, 2)],
        ),
        (
            Limits,
            "two at once of a queue with a limit of one",
            [four(), limit(1), enqueued(1, 1..3), vec![start(1, 1, 1)]].concat(),
            vec![start(2, 1, 1)],
        ),
        (
            Limits,
            "a limit that was lowered before the newest was made",
            [
                four(),
                limit(3),
                enqueued(1, 1..3),
                vec![start(1, 1, 1), start(2, 1, 1)],
                limit(2),
                enqueued(2, 3..4),
            ]
            .concat(),
            vec![start(3, 1, 1)],
        ),
        (
            Rates,
            "three starts of a burst of two",
            [four(), rate(), enqueued(1, 1..4), run(1, 10), run(2, 19)].concat(),
            run(3, 19),
        ),
        (
            Rates,
            "a start too many in a longer window",
            [four(), rate(), enqueued(1, 1..9), run(1, 10), run(2, 10), run(3, 20), run(4, 30)].concat(),
            run(5, 39),
        ),
        (
            Ticks,
            "one tick, two tasks",
            [scheduled(), run_of_tick(1, 5, 6), run_of_tick(2, 10, 12), run_of_tick(3, 10, 14)].concat(),
            vec![look([1, 2, 3].map(run_seen).to_vec())],
        ),
        (Ticks, "before its tick", scheduled(), run_of_tick(1, 5, 4)),
        (CommittedOnce, "an effect twice", committed(), vec![Event::Effects { of: vec![id(1), id(1)] }]),
        (CommittedOnce, "a second commit", committed(), vec![Event::Committed { id: id(1) }]),
        (CommittedOnce, "an effect that is gone", committed(), vec![Event::Effects { of: vec![] }]),
        (CommittedOnce, "a start after the commit", committed(), vec![start(1, 2, 2)]),
        (
            CommittedOnce,
            "a commit of what has failed",
            committed(),
            vec![look(vec![seen(1, State::Failed, 1, 1)])],
        ),
        (
            CommittedOnce,
            "an effect of what has failed",
            [
                vec![opened(1), asks(1, &[100]), acked(1, &[1]), start(1, 1, 1), end(1, 1, Failed)],
                vec![look(vec![but(seen(1, State::Failed, 1, 1), |seen| seen.max_attempts = 1)])],
            ]
            .concat(),
            vec![Event::Effects { of: vec![id(1)] }],
        ),
    ]
}

/// A task that has committed its effect with its end.
fn committed() -> Vec<Event> {
    vec![opened(1), asks(1, &[100]), acked(1, &[1]), start(1, 1, 1), Event::Committed { id: id(1) }]
}

/// Who waits for a condition is overtaken, and effects that are there once are right.
#[test]
fn effects_and_needs_that_are_right_are_found_right() {
    let asked = |args: u64, needs: bool| json!({"task_name": "t", "queue": "q", "priority": 0, "args": args, "needs": needs});
    let begins =
        Event::Enqueueing { process: 1, call: 1, asked: from(json!([asked(100, true), asked(200, false)])) };
    let one_worker = Event::Opened { process: 1, workers: 1 };
    let events = vec![
        one_worker,
        begins,
        acked(1, &[1, 2]),
        start(2, 1, 1),
        Event::Committed { id: id(2) },
        Event::Effects { of: vec![id(2)] },
        end(2, 1, HowEnded::Succeeded),
        look(vec![seen(1, State::Queued, 0, 0), seen(2, State::Succeeded, 1, 1)]),
        start(1, 1, 1),
        end(1, 1, HowEnded::Succeeded),
        Event::Effects { of: vec![id(2)] },
    ];
    assert_eq!(check_history(&History::from(events)), Ok(()));
}

/// As the queue does it: it was cancelled before its start, its key went to another, and a retry by hand goes on without a key until the start.
#[test]
fn a_retry_by_hand_may_go_on_without_a_key_until_the_start() {
    let keyed = |call, args| {
        let Event::Enqueueing { process, mut asked, .. } = asks_with(call, args, Some(7), None) else {
            unreachable!()
        };
        asked[0].until_started = true;
        Event::Enqueueing { process, call, asked }
    };
    let waits = |task| seen(task, State::Queued, 0, 0);
    let mut events = vec![opened(1), keyed(1, 100), acked(1, &[1]), look(vec![waits(1)])];
    events.push(look(vec![seen(1, State::Cancelled, 0, 0)]));
    events.extend([keyed(2, 200), acked(2, &[2]), look(vec![seen(1, State::Cancelled, 0, 0), waits(2)])]);
    let both = look(vec![waits(1), waits(2)]);
    let retried = [events.clone(), vec![Event::Retried { id: id(1) }, both.clone()]].concat();
    assert_eq!(broken(retried), None);
    let two_new = vec![opened(1), keyed(1, 100), acked(1, &[1]), keyed(2, 200), acked(2, &[2]), both];
    assert_eq!(broken(two_new), Some(Invariant::UniqueKeys));
}

#[test]
fn bounds_are_judged_by_what_may_have_been_in_force() {
    use HowEnded::*;
    let limit = |n| bounded(Bound::Limit(n));
    let four = || vec![Event::Opened { process: 1, workers: 4 }];
    let good = |events: Vec<Vec<Event>>| assert_eq!(check_history(&History::from(events.concat())), Ok(()));
    good(vec![
        limited(&[2, 2, 1]),
        vec![start(1, 1, 1), start(2, 1, 1), end(1, 1, Succeeded), end(2, 1, Failed), start(3, 1, 1)],
    ]);
    // Whoever retries a serial task by hand lets others go before it; one without a limit is in nobody's way.
    let retried = vec![
        start(1, 1, 1),
        end(1, 1, Failed),
        start(2, 1, 1),
        Event::Retried { id: id(1) },
        end(2, 1, Succeeded),
    ];
    good(vec![limited(&[0, 0]), retried, vec![start(1, 2, 1)]]);
    // What was claimed before a limit was set may start after it, and what is claimed while one is raised may know the new one.
    good(vec![four(), enqueued(1, 1..3), limit(Some(1)), vec![start(1, 1, 1), start(2, 1, 1)]]);
    good(vec![
        four(),
        limit(Some(1)),
        enqueued(1, 1..3),
        vec![start(1, 1, 1), bounding(Bound::Limit(None)), start(2, 1, 1)],
    ]);
    // What a crash has ended does not count; what came before the clock went back says nothing.
    good(vec![
        four(),
        limit(Some(1)),
        enqueued(1, 1..3),
        vec![start(1, 1, 1), Event::Crashed { process: 1 }, opened(2), start_in(2, 2, 1, 1, 20)],
    ]);
    let rate = bounded(Bound::Rate(Some(Rate::per(std::time::Duration::from_secs(60), 1))));
    good(vec![
        four(),
        rate.clone(),
        enqueued(1, 1..4),
        run(1, 10),
        run(2, 70),
        vec![Event::ClockSet],
        run(3, 20),
    ]);
    good(vec![four(), enqueued(1, 1..4), rate, run(1, 10), run(2, 10)]);
    let by_hand = vec![Event::RunByHand { id: id(2) }, look([1, 2].map(run_seen).to_vec())];
    good(vec![scheduled(), run_of_tick(1, 5, 6), run_of_tick(2, 5, 6), by_hand]);
}

#[test]
fn an_enqueue_without_an_answer_may_have_happened_whole() {
    let events = |there: Vec<Seen>| {
        vec![opened(1), asks(1, &[100, 200]), Event::Crashed { process: 1 }, look(there.clone()), look(there)]
    };
    let both = vec![seen(1, State::Queued, 0, 0), seen(2, State::Queued, 0, 0)];
    assert_eq!(broken(events(vec![])), None);
    assert_eq!(broken(events(both.clone())), None);
    assert_eq!(broken(events(both[..1].to_vec())), Some(Invariant::NoGhosts));
    let mut gone = events(both);
    gone.push(look(vec![seen(1, State::Queued, 0, 0)]));
    assert_eq!(broken(gone), Some(Invariant::Durable), "what was seen stays");
}

#[test]
fn a_wait_begins_anew_when_the_clock_is_set_back() {
    let mut events = vec![
        opened(1),
        asks_with(1, 100, None, Some(at(50))),
        acked(1, &[1]),
        Event::ClockSet,
        start(1, 1, 1),
    ];
    assert_eq!(broken(events.clone()), None);
    events.remove(3);
    assert_eq!(broken(events), Some(Invariant::NotBefore));
}

#[test]
fn a_history_survives_its_json() {
    let history: History = good().into_iter().collect();
    let text = serde_json::to_string(&history).unwrap();
    assert_eq!(serde_json::from_str::<History>(&text).unwrap(), history);
    assert!(text.starts_with(r#"{"events":[{"event":"opened","process":1,"workers":1},"#), "{text}");
}
