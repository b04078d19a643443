//! Histories of real queues: beside the model, with threads, and of killed processes. They break no invariant; tampered ones do.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;

use perdura::testing::history::{Bound, Event, History, Invariant};
use perdura::testing::model::{
    Answer, Ending, Model, ModelAttempt, Operation, Pair, Program, Script, Workload,
};
use perdura::testing::proptest::{Machine, operations};
use perdura::testing::{HistoryRecorder, ManualClock, check_history};
use perdura::{
    Builder, Config, Context, Enqueued, Error, Failure, Options, Queue, Rate, State, SystemClock, Task,
    TaskId,
};
use proptest::prelude::*;
use proptest_state_machine::ReferenceStateMachine;
use serde::{Deserialize, Serialize};

use crate::child::{Child, tell};
use crate::support::*;

/// A task with a number of its own, so that the checker can tell it from others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Noted {
    pub n: u64,
    pub script: Script,
}

impl Task for Noted {
    const NAME: &'static str = "noted";
    type Output = u64;
}

/// A recorder, its clock (set after each operation), and what the model held after the last operation.
pub struct Recorded {
    pub recorder: HistoryRecorder,
    pub clock: ManualClock,
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
            Script::Throttle => Err(Failure::throttle(MINUTE)),
            _ => Ok(0),
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

    fn ending(&self, _: ModelAttempt) -> Ending {
        match self.script {
            Script::Fail => Ending::Fails("told.to"),
            Script::FailForGood => Ending::FailsForGood,
            Script::Snooze => Ending::Snoozes(MINUTE),
            Script::Throttle => Ending::Throttles(MINUTE),
            _ => Ending::Succeeds,
        }
    }

    /// Notes what people did: it shows in the model.
    fn check(operation: &Operation<Noted>, model: &Model<Noted>, queue: &Queue, world: &Recorded) {
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
        // Nothing was claimed since it was set; if the process died meanwhile, it was set or not.
        let noted = |queue: &str, bound| {
            recorder.push(match model.answer() {
                Answer::Crashed => Event::Bounding { queue: queue.to_owned(), bound },
                _ => Event::Bounded { queue: queue.to_owned(), bound },
            });
        };
        let inner = match operation {
            Operation::CrashDuring(inner, ..) => inner,
            operation => operation,
        };
        match inner {
            Operation::JumpBack(_) => recorder.clock_set_back(),
            Operation::RunNow(nth) => recorder.run_now(model.pick(*nth)),
            Operation::SetLimit(queue, limit) => noted(queue, Bound::Limit(*limit)),
            Operation::SetRate(queue, rate) => noted(queue, Bound::Rate(*rate)),
            _ => {}
        }
        recorder.observe(queue).unwrap();
    }
}

impl Arbitrary for Noted {
    type Parameters = ();
    type Strategy = BoxedStrategy<Noted>;

    fn arbitrary_with((): ()) -> BoxedStrategy<Noted> {
        let scripts =
            vec![Script::Succeed, Script::Fail, Script::FailForGood, Script::Snooze, Script::Throttle];
        (any::<u64>(), proptest::sample::select(scripts)).prop_map(|(n, script)| Noted { n, script }).boxed()
    }
}

/// The history of a run beside the model.
fn history(model: &Model<Noted>, operations: &[Operation<Noted>]) -> History {
    let mut pair = Pair::beside(model).unwrap();
    for operation in operations {
        pair.apply(operation).unwrap();
    }
    pair.world().recorder.history()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_really_happens_breaks_no_invariant(
        model in Machine::<Noted>::init_state(),
        operations in prop::collection::vec(operations::<Noted>(), 20..60),
    ) {
        let history = history(&model, &operations);
        check_history(&history).map_err(|violation| TestCaseError::fail(violation.to_string()))?;
    }

    /// A history in which one event is missing, doubled or moved; what no real queue can do is found.
    #[test]
    fn what_was_tampered_with_is_found(
        model in Machine::<Noted>::init_state(),
        operations in prop::collection::vec(operations::<Noted>(), 20..60),
        place in any::<prop::sample::Index>(),
    ) {
        let history = history(&model, &operations);
        prop_assume!(!history.events.is_empty());
        let n = place.index(history.events.len());
        let event = history.events[n].clone();
        let check = |events: Vec<Event>| check_history(&History::from(events));
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
        tell(format_args!("{}", serde_json::to_string(event).unwrap()));
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

pub fn worker(recorder: &HistoryRecorder, workers: usize) -> Builder {
    let handler = recorder.handler(|task: Noted, _: &Context| match task.n % 5 {
        0 => Err(Failure::named("told.to", "fail").retry_after(SECOND / 1000)),
        1 => Err(Failure::snooze(SECOND / 100)),
        _ => Ok(task.n),
    });
    let config = Config::default().workers(workers).retention(None);
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
    let without_one = history.events.iter().map(|event| match event {
        Event::Observed(seen) => {
            let tasks = seen.tasks.iter().filter(|task| task.id != TaskId::from_i64(1)).cloned().collect();
            let mut seen = seen.clone();
            seen.tasks = tasks;
            Event::Observed(seen)
        }
        event => event.clone(),
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
    let queue = Queue::builder().workers(4).handle(handler).panic_hook(false).open_temporary().unwrap();
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
        queue.wait(id, PATIENCE).unwrap();
    }
    recorder.observe(&queue).unwrap();
    let history = recorder.history();
    check_history(&history).unwrap();
    let starts = history.events.iter().filter(|event| matches!(event, Event::Started { .. })).count();
    assert_eq!(starts, 120 + 24 + 2 * 24, "a second attempt of each fifth, two more after two snoozes");
}

/// Tasks with limits of their keys, serial ones that are tried again, a queue with a limit, and one with a rate, on four threads.
#[test]
fn g16_threads_keep_limits_and_rates() {
    let recorder = HistoryRecorder::new(SystemClock::new());
    recorder.opened(4);
    let handler = recorder.handler(|task: Noted, cx: &Context| {
        std::thread::sleep(std::time::Duration::from_micros(200)); // work, beside which that of others shows
        match task.n % 4 {
            0 if cx.attempt_number() == 1 => Err(Failure::named("told.to", "fail").retry_after(SECOND / 100)),
            _ => Ok(task.n),
        }
    });
    let queue = Queue::builder().workers(4).handle(handler).open_temporary().unwrap();
    recorder.set_limit(&queue, "narrow", Some(2)).unwrap();
    let rate = Rate::per(SECOND / 10, 10).burst(3);
    recorder.set_rate(&queue, "slow", Some(rate)).unwrap();
    let options = |n: u64| {
        let key = format!("key {}", n % 8);
        match n % 5 {
            0 => Options::new().queue("narrow"),
            1 => Options::new().queue("slow"),
            2 => Options::new().serial(key),
            3 => Options::new().limit(key, 2),
            _ => Options::new(),
        }
    };
    let tasks: Vec<_> = (0..160).map(|n| (Noted { n, script: Script::Succeed }, options(n))).collect();
    let made =
        recorder.enqueue_all(&queue, tasks.iter().map(|(task, options)| (task, options.clone()))).unwrap();
    for made in made {
        queue.wait(made.id(), PATIENCE).unwrap();
    }
    recorder.observe(&queue).unwrap();
    check_history(&recorder.history()).unwrap_or_else(|violation| panic!("{violation}"));
}
