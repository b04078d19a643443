//! The checker of histories: each invariant that is broken is found. Here the histories are written by hand.

use perdura::testing::check_history;
use perdura::testing::history::{
    Asked, Event, History, HowEnded, Invariant, Made, Observation, Replaces, Seen,
};
use perdura::{Hold, State, TaskId, Timestamp};
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
    Event::Started { process, id: id(task), generation, attempt_number, max_attempts: 3, at: at(seconds) }
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
    for (invariant, name, mut events, rest) in cases {
        assert_eq!(broken(events.clone()), None, "{name}: the beginning is good");
        events.extend(rest);
        let text = check_history(&History::from(events.clone())).unwrap_err().to_string();
        assert_eq!(broken(events), Some(invariant), "{name}: {text}");
        assert!(text.starts_with(&format!("I{} ", invariant.number())) && text.contains("event "), "{text}");
        met.insert(invariant);
    }
    assert_eq!(met.len(), 13, "each invariant has a case");
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
