//! The checker of histories: what breaks an invariant is found, and what really happens breaks none.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;

use perdura::testing::history::{Asked, Event, History, HowEnded, Invariant, Made, Observation, Seen};
use perdura::testing::model::{Attempt, Command, Ending, Model, Pair, Program, Script, Workload};
use perdura::testing::proptest::{Machine, commands};
use perdura::testing::{HistoryRecorder, ManualClock, check_history};
use perdura::{
    Builder, Config, Context, Enqueued, Error, Failure, Hold, Options, Queue, State, SystemClock, Task,
    TaskId, Timestamp,
};
use proptest::prelude::*;
use proptest_state_machine::ReferenceStateMachine;
use serde::{Deserialize, Serialize};

use crate::child::{Child, say};
use crate::support::*;

// ---- Histories by hand ----

fn id(n: i64) -> TaskId {
    TaskId::from_i64(n)
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000 + seconds * 1000)
}

fn opened(process: u64) -> Event {
    Event::Opened { process, workers: 1 }
}

fn asks(call: u64, args: &[u64]) -> Event {
    let asked = |args: &u64| Asked {
        task_name: "t".to_owned(),
        queue: "q".to_owned(),
        priority: 0,
        args: *args,
        key: None,
        not_before: None,
    };
    Event::Enqueueing { process: 1, call, asked: args.iter().map(asked).collect() }
}

fn asks_with(call: u64, args: u64, key: Option<u64>, not_before: Option<Timestamp>) -> Event {
    let Event::Enqueueing { process, mut asked, .. } = asks(call, &[args]) else { unreachable!() };
    (asked[0].key, asked[0].not_before) = (key, not_before);
    Event::Enqueueing { process, call, asked }
}

fn acked(call: u64, ids: &[i64]) -> Event {
    let made = ids.iter().map(|n| Made { id: id(*n), is_new: true }).collect();
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
    Seen {
        id: id(task),
        task_name: "t".to_owned(),
        queue: "q".to_owned(),
        state,
        hold: (state == State::Queued).then_some(Hold::Ready),
        attempt_number,
        max_attempts: 3,
        generation,
        run_at: None,
        started_at: (generation > 0).then_some(at(10)),
        finished_at: state.is_finished().then_some(at(11)),
        args: task.cast_unsigned() * 100,
    }
}

fn look(tasks: Vec<Seen>) -> Event {
    Event::Observed(Observation { tasks, ..Observation::default() })
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
    check_history(&History { events }).err().map(|violation| violation.invariant)
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
    let counted =
        |n| Event::Observed(Observation { tasks: vec![queued()], letters: vec![], counts: counts(n) });
    assert_eq!(broken([one(), vec![counted(1)]].concat()), None);
    let keyed = |call| asks_with(call, call * 100, Some(7), None);
    let late = || vec![opened(1), asks_with(1, 100, None, Some(at(50))), acked(1, &[1])];
    let cases: Vec<(Invariant, &str, Vec<Event>, Vec<Event>)> = vec![
        (Durable, "lost", two(), vec![look(vec![queued()])]),
        (Durable, "other args", one(), vec![look(vec![Seen { args: 1, ..queued() }])]),
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
            vec![
                keyed(2),
                Event::Enqueued { process: 1, call: 2, made: vec![Made { id: id(1), is_new: false }] },
            ],
        ),
        (
            OneState,
            "running, not started",
            one(),
            vec![look(vec![Seen { started_at: None, ..seen(1, State::Running, 1, 1) }])],
        ),
        (
            OneState,
            "queued and ended",
            one(),
            vec![look(vec![Seen { finished_at: Some(at(1)), ..queued() }])],
        ),
        (OneState, "waits for no time", one(), vec![look(vec![Seen { hold: Some(Hold::Time), ..queued() }])]),
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
                look(vec![Seen {
                    hold: Some(Hold::Time),
                    run_at: Some(at(60)),
                    ..seen(1, State::Queued, 1, 1)
                }]),
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
        let text = check_history(&History { events: events.clone() }).unwrap_err().to_string();
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

// ---- Histories of real queues ----

/// A task with a number of its own, so that the checker can tell it from others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Noted {
    n: u64,
    script: Script,
}

impl Task for Noted {
    const NAME: &'static str = "noted";
}

/// A recorder, its clock (set after each command), and what the model held after the last command.
struct Recorded {
    recorder: HistoryRecorder,
    clock: ManualClock,
    before: Mutex<BTreeMap<TaskId, State>>,
}

impl Default for Recorded {
    fn default() -> Recorded {
        let clock = ManualClock::new();
        Recorded { recorder: HistoryRecorder::new(clock.clone()), clock, before: Mutex::default() }
    }
}

impl Workload for Noted {
    type World = Recorded;

    fn handle(builder: Builder, world: &Recorded, _: Program) -> Builder {
        world.recorder.opened(1);
        builder.handle(world.recorder.handler(|task: Noted, _: &Context| match task.script {
            Script::Fail => Err(Failure::named("told.to", "fail")),
            Script::FailForGood => Err(Failure::permanent("for good")),
            Script::Snooze => Err(Failure::snooze(MINUTE)),
            _ => Ok(()),
        }))
    }

    fn enqueue(&self, queue: &Queue, options: Options, world: &Recorded) -> Result<Enqueued, Error> {
        world.recorder.enqueue(queue, self, options)
    }

    fn can_batch(_: &[(Noted, Options)]) -> bool {
        true
    }

    fn enqueue_all(
        queue: &Queue,
        tasks: &[(Noted, Options)],
        world: &Recorded,
    ) -> Result<Vec<Enqueued>, Error> {
        world.recorder.enqueue_all(queue, tasks.iter().map(|(task, options)| (task, options.clone())))
    }

    fn ending(&self, _: Attempt) -> Ending {
        match self.script {
            Script::Fail => Ending::Fails("told.to"),
            Script::FailForGood => Ending::FailsForGood,
            Script::Snooze => Ending::Snoozes(MINUTE),
            _ => Ending::Succeeds,
        }
    }

    /// Notes what people did: it shows in the model.
    fn check(command: &Command<Noted>, model: &Model<Noted>, queue: &Queue, world: &Recorded) {
        let mut before = world.before.lock().unwrap();
        let recorder = &world.recorder;
        for (id, task) in model.tasks() {
            match before.get(id) {
                Some(was) if was.is_finished() && !task.state.is_finished() => recorder.retried(*id),
                None => task.replay_of.iter().for_each(|letter| recorder.replayed(*letter, *id)),
                _ => {}
            }
        }
        let gone =
            before.keys().filter(|id| !model.tasks().contains_key(id) && !model.letters().contains_key(id));
        gone.for_each(|id| recorder.deleted(*id));
        *before = model.tasks().iter().map(|(id, task)| (*id, task.state)).collect();
        before.extend(model.letters().iter().map(|(id, letter)| (*id, letter.task.state)));
        world.clock.set_wall(model.now());
        let inner = match command {
            Command::CrashDuring(inner, ..) => inner,
            command => command,
        };
        match inner {
            Command::JumpBack(_) => recorder.clock_set_back(),
            Command::RunNow(nth) => recorder.run_now(model.pick(*nth)),
            _ => {}
        }
        recorder.observe(queue).unwrap();
    }
}

impl Arbitrary for Noted {
    type Parameters = ();
    type Strategy = BoxedStrategy<Noted>;

    fn arbitrary_with((): ()) -> BoxedStrategy<Noted> {
        let scripts = vec![Script::Succeed, Script::Fail, Script::FailForGood, Script::Snooze];
        (any::<u64>(), proptest::sample::select(scripts)).prop_map(|(n, script)| Noted { n, script }).boxed()
    }
}

/// The history of a run beside the model.
fn history(model: &Model<Noted>, commands: &[Command<Noted>]) -> History {
    let mut pair = Pair::beside(model).unwrap();
    for command in commands {
        pair.apply(command).unwrap();
    }
    pair.world().recorder.history()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_really_happens_breaks_no_invariant(
        model in Machine::<Noted>::init_state(),
        commands in prop::collection::vec(commands::<Noted>(), 20..60),
    ) {
        let history = history(&model, &commands);
        check_history(&history).map_err(|violation| TestCaseError::fail(violation.to_string()))?;
    }

    /// A history in which one event is missing, doubled or moved; what no real queue can do is found.
    #[test]
    fn what_was_tampered_with_is_found(
        model in Machine::<Noted>::init_state(),
        commands in prop::collection::vec(commands::<Noted>(), 20..60),
        place in any::<prop::sample::Index>(),
    ) {
        let history = history(&model, &commands);
        prop_assume!(!history.events.is_empty());
        let n = place.index(history.events.len());
        let event = history.events[n].clone();
        let check = |events: Vec<Event>| check_history(&History { events });
        let mut without = history.events.clone();
        without.remove(n);
        let mut doubled = history.events.clone();
        doubled.insert(n, event.clone());
        match event {
            // An end and a start without their other half, and a second one.
            Event::Started { .. } => {
                let ends = history.events.iter().any(|other| matches!(
                    (other, &event),
                    (Event::Ended { id: a, generation: g, .. }, Event::Started { id: b, generation: h, .. }) if a == b && g == h
                ));
                prop_assert!(!ends || check(without).is_err());
                prop_assert!(check(doubled).is_err());
            }
            Event::Ended { .. } => prop_assert!(check(doubled).is_err()),
            Event::Enqueued { made, .. } if made.iter().any(|made| made.is_new) => prop_assert!(check(doubled).is_err()),
            Event::Enqueueing { ref asked, .. } if !asked.is_empty() => {
                let answered = matches!(history.events.get(n + 1), Some(Event::Enqueued { .. }));
                prop_assert!(!answered || check(without).is_err());
            }
            Event::Replayed { .. } => prop_assert!(check(without).is_err()),
            Event::Observed(ref seen) if !seen.tasks.is_empty() => {
                let mut fewer = seen.clone();
                fewer.tasks.pop();
                let mut lost = history.events.clone();
                lost[n] = Event::Observed(fewer);
                prop_assert!(check(lost).is_err());
            }
            _ => {}
        }
    }
}

/// A role: enqueues from two threads without end, single tasks and batches, while three workers run them; says every event.
pub fn child(file: &Path) {
    let process = std::process::id();
    let recorder = HistoryRecorder::telling(process, SystemClock::new(), |event| {
        say(format_args!("{}", serde_json::to_string(event).unwrap()));
    });
    recorder.opened(3);
    let queue = worker(&recorder, 3).open(file).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..2_u64 {
            let (recorder, queue) = (&recorder, &queue);
            scope.spawn(move || {
                for call in 0.. {
                    let first = (u64::from(process) << 32) + call * 8 + thread * 4;
                    let batch: Vec<_> =
                        (first..=first + thread * 3).map(|n| Noted { n, script: Script::Succeed }).collect();
                    recorder.enqueue_all(queue, batch.iter().map(|task| (task, Options::new()))).unwrap();
                }
            });
        }
    });
}

fn worker(recorder: &HistoryRecorder, workers: usize) -> Builder {
    let handler = recorder.handler(|task: Noted, _: &Context| match task.n % 5 {
        0 => Err(Failure::named("told.to", "fail").retry_after(SECOND / 1000)),
        1 => Err(Failure::snooze(SECOND / 100)),
        _ => Ok(task.n),
    });
    let config = Config { workers, retention: None, ..Config::default() };
    Queue::builder().config(config).handle(handler)
}

#[test]
fn g01_g03_g05_g06_g08_a_killed_process_breaks_no_invariant() {
    let folder = Folder::new();
    let mut history = History::default();
    let (mut random, mut starts) = (seed(), 0);
    for _ in 0..20 {
        let mut child = Child::start("history", &folder.file());
        let mut said = Vec::new();
        while let Some(line) = child.line() {
            said.push(line);
            if said.iter().any(|line| line.contains("\"started\"")) {
                break;
            }
        }
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        std::thread::sleep(std::time::Duration::from_micros((random >> 33) % 20_000));
        said.extend(child.kill());
        let whole = |line: &String| serde_json::from_str::<Event>(line).ok(); // the last one may be cut
        let events: Vec<Event> = said.iter().map_while(whole).collect();
        assert!(events.len() + 1 >= said.len(), "only the last line may be cut: {said:?}");
        let Some(Event::Opened { process, .. }) = events.first() else {
            panic!("it begins with its opening")
        };
        let process = *process;
        starts += events.iter().filter(|event| matches!(event, Event::Started { .. })).count();
        history.events.extend(events);
        history.events.push(Event::Crashed { process });
        history.events.extend(looked(&folder));
    }
    assert!(starts > 20, "only {starts} handlers began");
    check_history(&history).unwrap_or_else(|violation| panic!("{violation}"));
    let without_one = history.events.iter().filter_map(|event| match event {
        Event::Observed(seen) => {
            let tasks = seen.tasks.iter().filter(|task| task.id != id(1)).cloned().collect();
            Some(Event::Observed(Observation { tasks, ..seen.clone() }))
        }
        event => Some(event.clone()),
    });
    let violation = check_history(&without_one.collect()).unwrap_err();
    assert!(
        [Invariant::Durable, Invariant::NoGhosts, Invariant::Counters].contains(&violation.invariant),
        "{violation}"
    );
}

fn looked(folder: &Folder) -> Vec<Event> {
    let onlooker = HistoryRecorder::new(SystemClock::new());
    onlooker.observe(&Queue::builder().open(folder.file()).unwrap()).unwrap();
    onlooker.history().events
}

#[test]
fn g05_g06_g07_threads_break_no_invariant() {
    let recorder = HistoryRecorder::new(SystemClock::new());
    recorder.opened(4);
    let handler = recorder.handler(|task: Noted, cx: &Context| match task.n % 5 {
        0 if cx.attempt_number() == 1 => Err(Failure::named("told.to", "fail").retry_after(SECOND / 100)),
        1 if cx.generation() < 3 => Err(Failure::snooze(SECOND / 100)),
        2 => std::panic::resume_unwind(Box::new("as told")), // without the noise of a panic
        _ => Ok(task.n),
    });
    let queue = Queue::builder().workers(4).handle(handler).panic_hook(false).open_in_memory().unwrap();
    let ids = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for thread in 0..3 {
            let (recorder, queue, ids) = (&recorder, &queue, &ids);
            scope.spawn(move || {
                for n in (0..120).filter(|n| n % 3 == thread) {
                    let options = Options::new().max_attempts(if n % 5 == 2 { 1 } else { 3 });
                    let made =
                        recorder.enqueue(queue, &Noted { n, script: Script::Succeed }, options).unwrap();
                    ids.lock().unwrap().push(made.id());
                }
            });
        }
    });
    for id in ids.into_inner().unwrap() {
        queue.wait(id, MINUTE).unwrap();
    }
    recorder.observe(&queue).unwrap();
    let history = recorder.history();
    check_history(&history).unwrap();
    let starts = history.events.iter().filter(|event| matches!(event, Event::Started { .. })).count();
    assert_eq!(starts, 120 + 24 + 2 * 24, "a second attempt of each fifth, two more after two snoozes");
}
