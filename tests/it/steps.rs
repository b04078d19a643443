//! Steps of a handler are done once, sleeps hold no thread, and the keys of a task's effects stay the same.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use perdura::testing::{ManualClock, SteppedQueue, at_every_commit};
use perdura::{
    Config, Context, Failure, Filter, Hold, OnConflict, Options, Queue, State, Task, TaskId, Unique,
};
use serde::{Deserialize, Serialize};

use crate::support::*;

/// What the world has seen: how often each step was done, by task and name.
type World = Arc<Mutex<BTreeMap<String, u32>>>;

#[derive(Debug, Clone, Serialize, Deserialize)]
enum Order {
    /// Two steps; between them so many attempts fail.
    Fails(u32),
    /// A step, a sleep of a minute, a step.
    Sleeps,
    /// Three pages, each a step; the first attempt fails behind the second.
    Pages,
    /// Does what its name says with steps.
    Misuses(String),
}

impl Task for Order {
    const NAME: &'static str = "order";
    type Output = u32;
}

fn handler(world: &World) -> impl Fn(Order, &Context) -> Result<u32, Failure> + Send + Sync + 'static {
    let world = world.clone();
    move |order, cx| {
        let does = |name: &str| -> Result<u32, Failure> {
            *world.lock().unwrap().entry(format!("{} {name}", cx.id())).or_default() += 1;
            Ok(7)
        };
        match order {
            Order::Fails(times) => {
                let charged = cx.step("charge", || does("charge"))?;
                if cx.generation() <= u64::from(times) {
                    return Err(Failure::named("warehouse.closed", "not yet"));
                }
                Ok(charged + cx.step("ship", || does("ship"))?)
            }
            Order::Sleeps => {
                cx.step("welcome", || does("welcome"))?;
                cx.sleep("cooldown", MINUTE)?;
                cx.step("remind", || does("remind"))
            }
            Order::Pages => {
                let mut sum = 0;
                for page in 0..3 {
                    if page == 2 && cx.generation() == 1 {
                        return Err(Failure::named("paper.out", "not yet"));
                    }
                    sum += cx.step_n("page", page, || does(&format!("page {page}")))?;
                }
                Ok(sum)
            }
            Order::Misuses(how) => misuse(&how, cx),
        }
    }
}

fn misuse(how: &str, cx: &Context) -> Result<u32, Failure> {
    match how {
        "a name twice" => {
            cx.step("same", || Ok(1))?;
            cx.step("same", || Ok(2))
        }
        "a number twice" => {
            cx.step_n("same", 3, || Ok(1))?;
            cx.step_n("same", 3, || Ok(2))
        }
        "a number of no file" => cx.step_n("same", u64::MAX, || Ok(1)),
        "an empty name" => cx.step("", || Ok(1)),
        "too large" => cx.step("large", || Ok("x".repeat(2_000_000))).map(|_| 1),
        "no JSON" => cx.step("number", || Ok(f64::NAN)).map(|_| 1),
        "of another type" if cx.generation() == 1 => {
            cx.step("value", || Ok("a text".to_owned()))?;
            Err(Failure::named("later", "with another program"))
        }
        "of another type" => cx.step("value", || Ok(1)),
        "a sleep that is a step" if cx.generation() == 1 => {
            cx.sleep("value", MINUTE)?;
            Ok(1)
        }
        "a sleep that is a step" => cx.step("value", || Ok(1)),
        "a step that is a sleep" if cx.generation() == 1 => {
            cx.step("value", || Ok(1))?;
            Err(Failure::named("later", "with another program"))
        }
        "a step that is a sleep" => cx.sleep("value", MINUTE).map(|()| 1),
        other => panic!("{other}"),
    }
}

fn shop(world: &World) -> SteppedQueue {
    SteppedQueue::open(builder(Config::default()).handle(handler(world)), &ManualClock::new()).unwrap()
}

fn seen(world: &World) -> Vec<u32> {
    world.lock().unwrap().values().copied().collect()
}

/// Runs all ready tasks, then lets a minute pass, so many times.
fn run_for(tests: &mut SteppedQueue, minutes: u32) {
    for _ in 0..minutes {
        tests.run_until_idle().unwrap();
        assert_sound(tests.queue());
        tests.advance(MINUTE).unwrap();
    }
    tests.run_until_idle().unwrap();
}

#[test]
fn g18_a_step_is_done_once_and_gives_the_same_in_each_attempt() {
    let world = World::default();
    let mut tests = shop(&world);
    let id = tests.queue().enqueue(&Order::Fails(2)).unwrap().id();
    tests.run_until_idle().unwrap();
    let steps = tests.queue().steps(id).unwrap();
    assert_eq!(steps.len(), 1);
    assert_eq!((steps[0].name.as_str(), steps[0].number), ("charge", None));
    assert_eq!((steps[0].result_json.as_deref(), steps[0].is_sleep()), (Some("7"), false));
    run_for(&mut tests, 4);
    assert_eq!(seen(&world), [1, 1]);
    assert_eq!(tests.queue().result::<Order>(id).unwrap(), Some(14));
    assert_eq!(tests.queue().steps(id).unwrap(), [], "they go with success");
    assert_sound(tests.queue());
}

#[test]
fn g18_a_step_costs_one_commit_and_a_task_without_any_costs_none() {
    let world = World::default();
    let tests = shop(&world);
    let commits_of = |order: &Order| {
        let _ = tests.queue().enqueue(order).unwrap();
        let before = tests.commits();
        tests.run_one().unwrap();
        tests.commits() - before
    };
    let two_steps = commits_of(&Order::Fails(0));
    let none = commits_of(&Order::Misuses("an empty name".into()));
    assert_eq!(two_steps, none + 2);
}

#[test]
fn g18_numbered_steps_are_steps_of_their_own() {
    let world = World::default();
    let mut tests = shop(&world);
    let id = tests.queue().enqueue(&Order::Pages).unwrap().id();
    tests.run_until_idle().unwrap();
    let numbers: Vec<Option<u64>> = tests.queue().steps(id).unwrap().iter().map(|s| s.number).collect();
    assert_eq!(numbers, [Some(0), Some(1)]);
    run_for(&mut tests, 1);
    assert_eq!((seen(&world), tests.queue().result::<Order>(id).unwrap()), (vec![1, 1, 1], Some(21)));
}

#[test]
fn g18_a_sleep_holds_no_thread_and_the_next_attempt_goes_on_behind_it() {
    let world = World::default();
    let mut tests = shop(&world);
    let id = tests.queue().enqueue(&Order::Sleeps).unwrap().id();
    tests.run_until_idle().unwrap();
    let task = tests.queue().get(id).unwrap();
    assert_eq!((task.hold, task.attempt_number, task.snoozes), (Some(Hold::Time), 0, 1));
    let why = tests.queue().explain(id).unwrap().to_string();
    assert_eq!(why, "task 1 is queued and sleeps (\"cooldown\") until 2026-01-01T00:01:00.000Z");
    tests.advance(MINUTE - Duration::from_millis(1)).unwrap();
    tests.run_until_idle().unwrap();
    assert_eq!(seen(&world), [1], "it still sleeps");
    run_for(&mut tests, 1);
    assert_eq!(seen(&world), [1, 1]);
    assert_eq!(tests.queue().get(id).unwrap().state, State::Succeeded);
}

/// A sleep is over when its wait has ended, whatever ended it.
#[test]
fn g18_a_sleep_is_over_when_somebody_ends_it() {
    let world = World::default();
    let mut tests = shop(&world);
    let [early, cancelled] = [(); 2].map(|()| tests.queue().enqueue(&Order::Sleeps).unwrap().id());
    tests.run_until_idle().unwrap();
    let queue = tests.queue().clone();
    queue.run_now(early).unwrap();
    queue.cancel(cancelled).unwrap();
    tests.run_until_idle().unwrap();
    assert_eq!(queue.get(early).unwrap().state, State::Succeeded);
    assert_eq!(queue.steps(cancelled).unwrap().len(), 2, "what was done stays known");
    queue.retry(cancelled).unwrap();
    run_for(&mut tests, 0);
    assert_eq!(queue.get(cancelled).unwrap().state, State::Succeeded);
    assert_eq!(seen(&world), [1; 4]);
    assert_sound(&queue);
}

/// An attempt that is cancelled while it falls asleep has not slept.
#[test]
fn g18_a_sleep_that_did_not_come_to_be_is_not_known() {
    let asleep = |_: Order, cx: &Context| -> Result<u32, Failure> {
        if cx.generation() == 1 {
            cx.queue().expect("a queue").cancel(cx.id())?;
        }
        cx.sleep("cooldown", MINUTE).map(|()| 1)
    };
    let mut tests = SteppedQueue::open(Queue::builder().handle(asleep), &ManualClock::new()).unwrap();
    let id = tests.queue().enqueue(&Order::Sleeps).unwrap().id();
    tests.run_until_idle().unwrap();
    let queue = tests.queue().clone();
    assert_eq!((queue.get(id).unwrap().state, queue.steps(id).unwrap().len()), (State::Cancelled, 0));
    queue.retry(id).unwrap();
    tests.run_until_idle().unwrap();
    assert_eq!(queue.get(id).unwrap().hold, Some(Hold::Time), "now it sleeps");
    run_for(&mut tests, 1);
    assert_eq!(queue.get(id).unwrap().state, State::Succeeded);
}

#[test]
fn g18_a_retry_by_hand_keeps_the_steps_and_one_from_the_start_does_not() {
    let world = World::default();
    let mut tests = shop(&world);
    let once = Options::new().max_attempts(1);
    let id = tests.queue().enqueue_with(&Order::Fails(2), once).unwrap().id();
    run_for(&mut tests, 0);
    let queue = tests.queue().clone();
    assert_eq!(queue.get(id).unwrap().state, State::Failed);
    queue.retry(id).unwrap();
    run_for(&mut tests, 0);
    assert_eq!((queue.get(id).unwrap().state, seen(&world)), (State::Failed, vec![1]));
    queue.retry_from_start(id).unwrap();
    assert_eq!(queue.steps(id).unwrap(), []);
    assert_sound(&queue);
    run_for(&mut tests, 0);
    assert_eq!(seen(&world), [2, 1], "charged again, as was asked for");
    assert_eq!(queue.get(id).unwrap().state, State::Succeeded);
}

#[test]
fn g18_a_dead_letter_keeps_its_steps_and_a_replay_goes_on_behind_them() {
    let keys = Arc::new(Mutex::new(Vec::new()));
    let notes = keys.clone();
    let work = move |_: Order, cx: &Context| -> Result<u32, Failure> {
        let key = cx.idempotency_key("charge")?;
        notes.lock().unwrap().push((key.clone(), cx.idempotency_key("ship")?));
        cx.step("charge", || Ok(key))?;
        Err(Failure::permanent("no such address"))
    };
    let tests = SteppedQueue::open(Queue::builder().handle(work), &ManualClock::new()).unwrap();
    let queue = tests.queue();
    let id = queue.enqueue(&Order::Sleeps).unwrap().id();
    let other = queue.enqueue(&Order::Sleeps).unwrap().id();
    tests.run_until_idle().unwrap();
    let _ = queue.move_to_dead_letters(Filter::new().ids([id])).unwrap();
    let of_letter = queue.steps(id).unwrap();
    assert_eq!(of_letter.len(), 1);
    let replayed = queue.dead_letters().replay(id).unwrap();
    assert_eq!(queue.steps(replayed).unwrap(), of_letter);
    assert_sound(queue);
    tests.run_until_idle().unwrap();
    // The replay of a replay, whose first letter is gone, has the keys of the first task too.
    let _ = queue.move_to_dead_letters(Filter::new().ids([replayed])).unwrap();
    let again = queue.dead_letters().replay(replayed).unwrap();
    tests.run_until_idle().unwrap();
    assert_eq!(queue.steps(again).unwrap(), of_letter);
    assert_sound(queue);
    let keys = keys.lock().unwrap();
    assert_eq!(keys.len(), 4);
    assert!(keys[0] != keys[1] && keys[0].0 != keys[0].1, "each task and each name has its own");
    assert!(keys[2] == keys[0] && keys[3] == keys[0], "and they are those of the first task");
    assert_ne!(other, again);
}

/// The keys are promised to stay: other programs have stored them. A task that gets the number of one that a backup does not know is another one.
#[test]
fn g18_idempotency_keys_are_those_of_the_file_task_and_name() {
    let key = |_: Order, cx: &Context| -> Result<u32, Failure> {
        let key = cx.idempotency_key("charge")?;
        cx.save_checkpoint(&key)?;
        Err(Failure::named("again", "no"))
    };
    let folder = Folder::new();
    let key_of = |file: &std::path::Path, id: TaskId| {
        Queue::builder().open(file).unwrap().checkpoint_json(id).unwrap().unwrap()
    };
    let file = folder.file();
    let mut tests =
        SteppedQueue::open_file(Queue::builder().handle(key), &ManualClock::new(), &file).unwrap();
    let id = tests.queue().enqueue(&Order::Sleeps).unwrap().id();
    tests.run_until_idle().unwrap();
    let copy = folder.path().join("copy.db");
    tests.queue().backup(&copy, |_| {}).unwrap();
    let first = key_of(&file, id);
    tests.advance(MINUTE).unwrap();
    tests.run_until_idle().unwrap();
    assert_eq!(key_of(&file, id), first, "the second attempt has the same");
    let later = tests.queue().enqueue(&Order::Sleeps).unwrap().id();
    tests.run_until_idle().unwrap();
    drop(tests);
    let mut of_copy =
        SteppedQueue::open_file(Queue::builder().handle(key), &ManualClock::new(), &copy).unwrap();
    of_copy.advance(MINUTE).unwrap();
    of_copy.run_until_idle().unwrap();
    assert_eq!(key_of(&copy, id), first, "and so has that of a copy");
    assert_eq!(of_copy.queue().enqueue(&Order::Sleeps).unwrap().id(), later, "its number is given again");
    of_copy.run_until_idle().unwrap();
    assert_ne!(key_of(&copy, later), key_of(&file, later), "and the key is another one");
    assert_eq!(first.trim_matches('"').len(), 32);
}

/// Args with steps are not replaced: what was done was done for them.
#[test]
fn g18_a_task_with_steps_keeps_its_args() {
    for on_conflict in [
        OnConflict::Replace,
        OnConflict::ReplaceArgs,
        OnConflict::Debounce { max_wait: Duration::from_secs(3600) },
    ] {
        let world = World::default();
        let mut tests = shop(&world);
        let options = || Options::new().unique(Unique::key("k").on_conflict(on_conflict)).delay(MINUTE);
        let id = tests.queue().enqueue_with(&Order::Fails(1), options()).unwrap().id();
        run_for(&mut tests, 1);
        let again = tests.queue().enqueue_with(&Order::Sleeps, options()).unwrap();
        assert!(matches!(again, perdura::Enqueued::Existing(by) if by == id), "{on_conflict:?}: {again:?}");
        run_for(&mut tests, 1);
        assert_eq!(tests.queue().result::<Order>(id).unwrap(), Some(14));
    }
}

#[test]
fn what_is_wrong_with_a_step_is_a_typed_permanent_failure() {
    let world = World::default();
    let mut tests = shop(&world);
    let expected = [
        (
            "a name twice",
            "StepRepeated",
            "the step \"same\" before; each needs a name, or a number, of its own",
        ),
        ("a number twice", "StepRepeated", "the step \"same\" 3 before"),
        ("a number of no file", "Permanent", "over 2^63 - 1"),
        ("an empty name", "InvalidInput", "the name of a step"),
        (
            "too large",
            "TooLarge",
            "the JSON of the result of the step \"large\" has 2000002 bytes, over the limit of 1048576",
        ),
        ("no JSON", "Unserializable", "the result of the step \"number\" cannot be kept"),
        ("of another type", "StepUndecodable", "what the step \"value\" has given does not decode"),
        ("a sleep that is a step", "StepUndecodable", "it was a sleep"),
        ("a step that is a sleep", "StepUndecodable", "it was no sleep"),
    ];
    let ids: Vec<TaskId> = expected
        .iter()
        .map(|(how, ..)| tests.queue().enqueue(&Order::Misuses((*how).into())).unwrap().id())
        .collect();
    run_for(&mut tests, 2);
    for (id, (how, error_type, message)) in ids.into_iter().zip(expected) {
        let task = tests.queue().get(id).unwrap();
        assert_eq!((task.state, task.error_type.as_deref()), (State::Failed, Some(error_type)), "{how}");
        let said = task.error_message.unwrap();
        assert!(said.contains(message), "{how}: {said}");
    }
    assert_sound(tests.queue());
}

#[test]
fn a_task_has_ten_thousand_steps_and_not_one_more() {
    let steps = |_: Order, cx: &Context| -> Result<u32, Failure> {
        for n in 0..10_001 {
            cx.step_n("n", n, || Ok(n))?;
        }
        Ok(1)
    };
    let mut relaxed = Config::default();
    relaxed.durability = perdura::Durability::Relaxed;
    let tests = SteppedQueue::open(builder(relaxed).handle(steps), &ManualClock::new()).unwrap();
    let id = tests.queue().enqueue(&Order::Sleeps).unwrap().id();
    tests.run_until_idle().unwrap();
    let task = tests.queue().get(id).unwrap();
    assert_eq!((task.state, task.error_type.as_deref()), (State::Failed, Some("TooManySteps")));
    assert_eq!(tests.queue().steps(id).unwrap().len(), 10_000);
    tests.queue().delete(id).unwrap();
    assert_eq!(tests.queue().steps(id).unwrap(), []);
    assert_sound(tests.queue());
}

/// Steps that an attempt has begun which counts no more are not kept.
#[test]
fn g07_g18_a_step_of_an_attempt_that_counts_no_more_is_not_kept() {
    let folder = Folder::new();
    let file = folder.file();
    let late = move |_: Order, cx: &Context| -> Result<u32, Failure> {
        let sql = "UPDATE perdura_tasks SET generation = generation + 1";
        cx.step("charge", || Ok(rusqlite::Connection::open(&file)?.execute_batch(sql)?))?;
        Ok(1)
    };
    let builder = Queue::builder().handle(late);
    let tests = SteppedQueue::open_file(builder, &ManualClock::new(), folder.file()).unwrap();
    let id = tests.queue().enqueue(&Order::Sleeps).unwrap().id();
    let _ = tests.run_one();
    assert_eq!(tests.queue().steps(id).unwrap(), []);
}

/// Steps are begun only by attempts that go on.
#[test]
fn a_cancelled_attempt_begins_no_further_step() {
    let world = World::default();
    let notes = world.clone();
    let work = move |_: Order, cx: &Context| -> Result<u32, Failure> {
        cx.queue().expect("a queue").cancel(cx.id())?;
        cx.step("charge", || {
            notes.lock().unwrap().insert("charged".into(), 1);
            Ok(1)
        })
    };
    let tests = SteppedQueue::open(Queue::builder().handle(work), &ManualClock::new()).unwrap();
    let id = tests.queue().enqueue(&Order::Sleeps).unwrap().id();
    tests.run_until_idle().unwrap();
    assert_eq!((tests.queue().get(id).unwrap().state, seen(&world)), (State::Cancelled, vec![]));
}

/// After a crash at any commit: whatever step was kept is not done again, and no sleep is slept twice.
#[test]
fn g18_a_crash_at_each_commit_does_no_kept_step_again() {
    let crashes = at_every_commit(
        || Ok(shop(&World::default())),
        |tests| {
            let serial = Options::new().serial("account");
            for order in [Order::Fails(1), Order::Sleeps, Order::Pages] {
                let _ = tests.queue().enqueue_with(&order, serial.clone())?;
            }
            for _ in 0..5 {
                tests.run_until_idle()?;
                tests.advance(MINUTE)?;
            }
            tests.run_until_idle().map(drop)
        },
        |crashed, point| {
            let world = World::default();
            let mut tests = crashed.reopen(builder(Config::default()).handle(handler(&world)))?;
            assert_sound(tests.queue());
            let mut kept = BTreeMap::new();
            for task in tests.queue().tasks(Filter::new())? {
                for step in tests.queue().steps(task.task_id)? {
                    let number = step.number.map_or_else(String::new, |n| format!(" {n}"));
                    kept.insert(format!("{} {}{number}", task.task_id, step.name), step.is_sleep());
                }
            }
            for _ in 0..8 {
                tests.run_until_idle()?;
                tests.advance(MINUTE)?;
            }
            tests.run_until_idle()?;
            assert_sound(tests.queue());
            for task in tests.queue().tasks(Filter::new())? {
                assert_eq!(task.state, State::Succeeded, "after a crash {point}");
                assert!(!kept.contains_key(&format!("{} cooldown", task.task_id)) || task.snoozes == 1);
            }
            let world = world.lock().unwrap();
            assert!(
                kept.keys().all(|step| !world.contains_key(step)),
                "after a crash {point}: {kept:?}, {world:?}"
            );
            assert!(world.values().all(|times| *times == 1), "after a crash {point}: {world:?}");
            Ok(())
        },
    );
    assert!(crashes.unwrap() > 30);
}
