//! Limits of keys: who holds a permit, who waits, and what passes one on.

use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::Duration;

use perdura::testing::{ManualClock, Ran, SteppedQueue, at_every_commit};
use perdura::{
    Config, Context, ErrorKind, Failure, Filter, Hold, OnConflict, Options, Overlap, Queue, Schedule, State,
    Task, TaskId, Unique,
};

use serde::{Deserialize, Serialize};

use crate::support::*;

fn limit(n: u32) -> Options {
    Options::new().limit("k", n)
}

fn serial() -> Options {
    Options::new().serial("k")
}

/// A task that no handler knows.
#[derive(Serialize, Deserialize)]
struct Stranger;

impl Task for Stranger {
    const NAME: &'static str = "stranger";
    type Output = ();
}

fn id_of(ran: Ran) -> TaskId {
    match ran {
        Ran::Succeeded(id)
        | Ran::Failed(id)
        | Ran::Snoozed(id)
        | Ran::Cancelled(id)
        | Ran::HandedBack(id) => id,
        ran => panic!("{ran:?}"),
    }
}

fn hold(queue: &Queue, id: TaskId) -> Option<Hold> {
    queue.get(id).unwrap().hold
}

fn holds<const N: usize>(queue: &Queue, ids: [TaskId; N]) -> [Option<Hold>; N] {
    assert_sound(queue);
    ids.map(|id| hold(queue, id))
}

const READY: Option<Hold> = Some(Hold::Ready);
const WAITS: Option<Hold> = Some(Hold::Limit);
const TIME: Option<Hold> = Some(Hold::Time);

#[test]
fn g16_no_more_tasks_of_a_key_run_than_its_limit_and_the_best_waiter_is_next() {
    let (tests, _) = stepped();
    let queue = tests.queue();
    let ids = [0, 0, 0, 5, 0].map(|priority| add(queue, &Do::Ok(0), limit(2).priority(priority)));
    let other = add(queue, &Do::Ok(0), Options::new().limit("other", 1));
    let elsewhere = add(queue, &Do::Ok(0), limit(1).queue("elsewhere"));
    assert_eq!(holds(queue, [other, elsewhere]), [READY; 2], "another key, another queue");
    // The better one took the permit of the worst that was ready.
    assert_eq!(holds(queue, ids), [READY, WAITS, WAITS, READY, WAITS]);
    let mut order = Vec::new();
    while let Some(ran) = tests.run_one().unwrap() {
        assert_sound(queue);
        order.extend(matches!(ran, Ran::Succeeded(id) if ids.contains(&id)).then(|| id_of(ran)));
    }
    assert_eq!(order, [ids[3], ids[0], ids[1], ids[2], ids[4]]);
}

/// What the newest of these does not change: how the first two stand.
#[test]
fn g16_nobody_overtakes_whatever_its_own_limit() {
    let (tests, _) = stepped();
    let queue = tests.queue();
    let [first, second, third] = [2, 1, 5].map(|n| add(queue, &Do::Ok(0), limit(n)));
    assert_eq!(
        holds(queue, [first, second, third]),
        [READY, WAITS, WAITS],
        "the third stands behind the second"
    );
    queue.cancel(second).unwrap();
    assert_eq!(holds(queue, [first, third]), [READY; 2], "a waiter that goes lets those behind it on");
    // A better one comes first by its own number, and those behind it by theirs.
    let better = add(queue, &Do::Ok(0), limit(1).priority(1));
    assert_eq!(holds(queue, [first, third, better]), [READY; 3]);
    let behind = add(queue, &Do::Ok(0), limit(3));
    let last = add(queue, &Do::Ok(0), limit(9));
    assert_eq!(holds(queue, [behind, last]), [WAITS, WAITS]);
    assert_eq!(tests.run_one().unwrap(), Some(Ran::Succeeded(better)));
    assert_eq!(holds(queue, [first, third, behind, last]), [READY; 4]);
}

/// Each way in which a task can leave its permit, and what is left of it.
#[test]
fn g16_whatever_ends_or_delays_a_task_gives_its_permit_back() {
    let queued = |change: &dyn Fn(&Queue, TaskId)| {
        let (tests, _) = stepped();
        let ids = [0, 1].map(|n| add(tests.queue(), &Do::Ok(n), limit(1)));
        assert_eq!(holds(tests.queue(), ids), [READY, WAITS]);
        change(tests.queue(), ids[0]);
        assert_eq!(holds(tests.queue(), [ids[1]]), [READY]);
        tests.run_until_idle().unwrap();
        assert_sound(tests.queue());
    };
    queued(&|queue, id| queue.cancel(id).unwrap());
    queued(&|queue, id| queue.delete(id).unwrap());
    queued(&|queue, id| {
        queue.cancel(id).unwrap();
        queue.delete(id).unwrap();
    });
    for (task, state, of_first) in [
        (Do::Ok(1), State::Succeeded, None),
        (fail(), State::Queued, TIME),
        (Do::Permanent, State::Failed, None),
        (Do::Snooze(60_000), State::Queued, TIME),
        (Do::Cancel, State::Cancelled, None),
        (Do::RetryAfter(1000), State::Queued, TIME),
    ] {
        let (mut tests, _) = stepped();
        let queue = tests.queue().clone();
        let first = add(&queue, &task, limit(1));
        let second = add(&queue, &Do::Ok(0), limit(1));
        tests.run_one().unwrap();
        assert_eq!((queue.get(first).unwrap().state, hold(&queue, first)), (state, of_first), "{task:?}");
        assert_eq!(holds(&queue, [second]), [READY], "{task:?}");
        // What comes back from a wait stands in line again, by its id: it takes the permit of what is not claimed.
        tests.advance(MINUTE).unwrap();
        let then = if of_first.is_some() { [READY, WAITS] } else { [None, READY] };
        assert_eq!(holds(&queue, [first, second]), then, "{task:?}");
        if state == State::Failed || state == State::Cancelled {
            queue.retry(first).unwrap();
            assert_eq!(holds(&queue, [first, second]), [READY, WAITS]);
            queue.cancel(first).unwrap();
        }
        assert_eq!(queue.get(second).unwrap().limit.unwrap().permits, 1);
    }
}

#[test]
fn g16_what_expires_or_has_no_handler_lets_the_next_on() {
    let (mut tests, _) = stepped();
    let queue = tests.queue().clone();
    let old = add(&queue, &Do::Ok(0), limit(1).expires(SECOND));
    let next = add(&queue, &Do::Ok(0), limit(1));
    tests.advance(SECOND).unwrap();
    assert_eq!(queue.get(old).unwrap().state, State::Cancelled);
    assert_eq!(holds(&queue, [next]), [READY]);
    tests.run_until_idle().unwrap();
    let unknown = queue.enqueue_with(&Stranger, limit(1)).unwrap().id();
    let next = add(&queue, &Do::Ok(0), limit(1));
    assert_eq!(holds(&queue, [unknown, next]), [READY, WAITS]);
    assert_eq!(tests.run_one().unwrap(), Some(Ran::Succeeded(next)), "in the same claim");
    assert_eq!(holds(&queue, [unknown]), [Some(Hold::UnknownName)]);
}

#[test]
fn g16_a_serial_task_keeps_its_permit_from_its_first_start_to_its_end() {
    let (mut tests, _) = stepped();
    let queue = tests.queue().clone();
    let waits = add(&queue, &Do::Ok(0), serial().delay(MINUTE));
    let first = add(&queue, &fail(), serial().max_attempts(2));
    let second = add(&queue, &Do::Snooze(1000), serial());
    let third = add(&queue, &Do::Ok(0), serial());
    assert_eq!(
        holds(&queue, [waits, first, second, third]),
        [TIME, READY, WAITS, WAITS],
        "it has not started"
    );
    tests.run_one().unwrap();
    assert_eq!(holds(&queue, [first, second]), [TIME, WAITS], "its retry wait holds the others back");
    let better = add(&queue, &Do::Ok(0), serial().priority(9));
    assert_eq!(holds(&queue, [better]), [WAITS], "whatever their priority");
    tests.advance(MINUTE).unwrap();
    assert_eq!(
        holds(&queue, [waits, first, better]),
        [WAITS, READY, WAITS],
        "it is ready again, and keeps it"
    );
    assert_eq!(tests.run_one().unwrap().map(id_of), Some(first));
    assert_eq!(queue.get(first).unwrap().state, State::Failed, "a dead end lets the next on");
    let rest: Vec<TaskId> = std::iter::from_fn(|| tests.run_one().unwrap()).map(id_of).collect();
    assert_eq!(rest, [better, waits, second], "a snooze keeps it");
    assert_eq!(holds(&queue, [second, third]), [TIME, WAITS]);
    // By hand, it begins anew.
    queue.cancel(second).unwrap();
    assert_eq!(holds(&queue, [third]), [READY]);
    queue.retry(first).unwrap();
    assert_eq!(holds(&queue, [first, third]), [READY, WAITS]);
    queue.retry(second).unwrap();
    assert_eq!(holds(&queue, [first, second, third]), [READY, WAITS, WAITS]);
}

#[test]
fn g16_what_a_dead_process_ran_keeps_its_permit_unless_it_waits_for_its_time() {
    for (options, is_serial, retry, started, of_first) in [
        (limit(1), false, perdura::LostRetry::Immediate, true, READY),
        (limit(1), false, perdura::LostRetry::Immediate, false, READY),
        (limit(1), false, perdura::LostRetry::Backoff, true, TIME),
        (serial(), true, perdura::LostRetry::Backoff, true, TIME),
        (limit(1), false, perdura::LostRetry::Manual, true, None),
    ] {
        let clock = ManualClock::new();
        let config = Config::default().lost_retry(retry);
        let tests = SteppedQueue::open(builder(config.clone()).clock(clock.clone()), &clock).unwrap();
        let first = add(tests.queue(), &Do::Ok(0), options.clone().max_attempts(5));
        let second = add(tests.queue(), &Do::Ok(0), options);
        let (crashed, ran) = tests.crash_in_attempt(started).unwrap();
        assert_eq!(ran, Some(first));
        let tests = crashed.reopen(builder(config).clock(clock.clone())).unwrap();
        let is_free = of_first.is_none() || (of_first == TIME && !is_serial);
        let of_second = if is_free { READY } else { WAITS };
        assert_eq!(holds(tests.queue(), [first, second]), [of_first, of_second], "{retry:?}");
        let better = add(tests.queue(), &Do::Ok(0), limit(1).priority(1));
        let takes = is_free || !started;
        assert_eq!(holds(tests.queue(), [better]), [if takes { READY } else { WAITS }], "{retry:?}");
        let expected = if takes { better } else { first };
        if is_serial {
            assert_eq!(tests.run_one().unwrap(), None);
        } else {
            assert_eq!(tests.run_one().unwrap(), Some(Ran::Succeeded(expected)));
        }
        assert_sound(tests.queue());
    }
}

#[test]
fn g16_a_dead_letter_holds_nothing_and_what_is_made_of_it_stands_in_line() {
    let (mut tests, _) = stepped();
    let queue = tests.queue().clone();
    let bad = add(&queue, &Do::Permanent, serial());
    let next = add(&queue, &Do::Ok(0), serial());
    tests.run_one().unwrap();
    queue.move_to_dead_letter(bad).unwrap();
    assert_eq!(holds(&queue, [next]), [READY]);
    let again = queue.dead_letters().replay(bad).unwrap();
    assert_eq!(holds(&queue, [next, again]), [READY, WAITS]);
    assert!(queue.get(again).unwrap().limit.unwrap().serial);
    tests.run_one().unwrap();
    assert_eq!(holds(&queue, [again]), [READY]);
    tests.run_until_idle().unwrap();
    tests.advance(Duration::from_secs(400 * 24 * 3600)).unwrap();
    tests.apply_retention().unwrap();
    assert_sound(&queue);
}

#[test]
fn g16_a_replaced_task_is_judged_anew() {
    let (tests, _) = stepped();
    let queue = tests.queue();
    let unique = || Unique::key("u").on_conflict(OnConflict::Replace);
    let replaced = add(queue, &Do::Ok(0), limit(1).unique(unique()));
    let next = add(queue, &Do::Ok(0), limit(1));
    assert_eq!(holds(queue, [replaced, next]), [READY, WAITS]);
    let put = |options: Options| {
        assert!(queue.enqueue_with(&Do::Ok(1), options.unique(unique())).unwrap().is_replaced())
    };
    put(Options::new());
    assert_eq!(holds(queue, [replaced, next]), [READY, READY], "without a limit");
    assert_eq!(queue.get(replaced).unwrap().limit, None);
    put(limit(1).priority(-1));
    assert_eq!(holds(queue, [replaced, next]), [WAITS, READY], "with a worse place");
    put(limit(1).priority(1));
    assert_eq!(holds(queue, [replaced, next]), [READY, WAITS], "with a better one");
    put(limit(1).delay(MINUTE));
    assert_eq!(holds(queue, [replaced, next]), [TIME, READY], "with a time");
    put(limit(2));
    assert_eq!(holds(queue, [replaced, next]), [READY, READY], "with another number");
    put(Options::new().serial("another"));
    assert_eq!(holds(queue, [replaced, next]), [READY, READY]);
    tests.run_until_idle().unwrap();
    assert_eq!(queue.counts().unwrap().total().succeeded, 2);
}

#[test]
fn g16_a_paused_queue_keeps_its_line_and_a_copy_has_it_too() {
    let (tests, clock) = stepped();
    let queue = tests.queue();
    let ids = [1, 2, 3].map(|n| add(queue, &Do::Ok(n), serial()));
    queue.pause("default").unwrap();
    assert_eq!(tests.run_one().unwrap(), None);
    assert_eq!(holds(queue, ids), [READY, WAITS, WAITS]);
    let mut text = Vec::new();
    queue.export(&mut text).unwrap();
    let folder = Folder::in_memory();
    Queue::builder().import(folder.file(), &mut text.as_slice()).unwrap();
    let copy = SteppedQueue::open_file(builder(Config::default()), &clock, folder.file()).unwrap();
    assert_eq!(holds(copy.queue(), ids), [READY, WAITS, WAITS]);
    for tests in [&tests, &copy] {
        tests.queue().resume("default").unwrap();
        tests.run_until_idle().unwrap();
        assert_eq!(tests.queue().counts().unwrap().total().succeeded, 3);
        assert_sound(tests.queue());
    }
}

#[test]
fn g16_runs_of_schedules_stand_in_the_line_of_their_key() {
    let (mut tests, _) = stepped();
    let queue = tests.queue().clone();
    let every = |name: &str, options: Options| Schedule::every(name, MINUTE).options(options);
    for (name, options) in [("a", limit(2)), ("b", limit(2)), ("c", serial())] {
        queue.set_schedule(every(name, options), &Do::Ok(1)).unwrap();
    }
    let first = add(&queue, &Do::Ok(0), limit(2));
    tests.advance(MINUTE).unwrap();
    let mut runs = queue.tasks(Filter::new()).unwrap();
    runs.retain(|task| task.task_id != first);
    let limits: Vec<(u32, bool)> = runs
        .iter()
        .map(|run| queue.get(run.task_id).unwrap().limit.unwrap())
        .map(|l| (l.permits, l.serial))
        .collect();
    let [a, b, c] = [0, 1, 2].map(|n| runs[n].task_id);
    assert_eq!(limits, [(2, false), (2, false), (1, true)]);
    assert_eq!(holds(&queue, [first, a, b, c]), [READY, READY, WAITS, WAITS]);
    queue.remove_schedule("a").unwrap();
    assert_eq!(tests.run_until_idle().unwrap().succeeded, 4);
    // One that waits for the run before it stands in no line yet.
    let pair = every("pair", serial()).overlap(Overlap::Queue);
    queue.set_schedule(pair, &Do::Ok(1)).unwrap();
    let one = queue.run_schedule_now("pair").unwrap();
    let two = queue.run_schedule_now("pair").unwrap();
    let three = add(&queue, &Do::Ok(0), serial());
    assert_eq!(holds(&queue, [one, three]), [READY, WAITS]);
    assert_eq!(hold(&queue, two), Some(Hold::Parents));
    let order: Vec<TaskId> = std::iter::from_fn(|| tests.run_one().unwrap()).map(id_of).collect();
    assert_eq!(
        order,
        [one, two, three],
        "by their ids, as it came into the line before the third had its turn"
    );
    assert_sound(&queue);
}

#[test]
fn g16_a_new_task_with_a_limit_does_not_start_at_once() {
    let handler = |_: Do, cx: &Context| -> Result<u64, Failure> {
        let queue = cx.queue().ok_or_else(|| Failure::permanent("the test holds a handle"))?;
        if cx.id().as_i64() > 1 {
            return Ok(0);
        }
        let next = queue.enqueue_with(&Do::Ok(1), serial())?.id();
        Ok(u64::from(queue.get(next)?.hold == WAITS))
    };
    let queue = Queue::builder().workers(4).handle(handler).open_temporary().unwrap();
    let first = add(&queue, &Do::Ok(0), serial());
    queue.wait(first, PATIENCE).unwrap();
    assert_eq!(queue.result::<Do>(first).unwrap(), Some(1));
    queue.drain().unwrap();
    assert_eq!(queue.counts().unwrap().total().succeeded, 2);
    assert_sound(&queue);
}

#[test]
fn g16_a_crash_at_each_commit_of_a_hand_over_leaves_the_line_as_it_was_or_passed_on() {
    for options in [serial as fn() -> Options, || limit(2)] {
        let crashes = at_every_commit(
            || Ok(stepped().0),
            move |tests| {
                let tasks = [Do::FailUntil(2), Do::Ok(1), Do::Snooze(1), Do::Ok(2), Do::Permanent, Do::Ok(3)];
                let _ = tests.queue().enqueue_all_with(tasks.iter().map(|task| (task, options())))?;
                tests.run_until_idle()?;
                let _ = tests.queue().enqueue_with(&Do::Ok(4), options().priority(1))?;
                tests.advance(MINUTE)?;
                let first = tests.queue().tasks(Filter::new().state(State::Queued))?;
                first.first().map_or(Ok(()), |task| tests.queue().cancel(task.task_id))?;
                tests.run_until_idle().map(drop)
            },
            |crashed, point| {
                let mut tests = crashed.reopen(builder(Config::default()))?;
                assert_sound(tests.queue());
                for task in tests.queue().tasks(Filter::new().state(State::Queued))? {
                    if tests.queue().args_json(task.task_id)?.contains("Snooze") {
                        tests.queue().cancel(task.task_id)?;
                    }
                }
                for _ in 0..8 {
                    tests.run_until_idle()?;
                    assert_sound(tests.queue());
                    tests.advance(MINUTE)?;
                }
                assert_eq!(tests.queue().counts()?.total().queued(), 0, "after a crash {point}");
                Ok(())
            },
        );
        assert!(crashes.unwrap() > 10);
    }
}

/// What a small model remembers of a task.
#[derive(Debug, Clone, Copy)]
struct Known {
    id: TaskId,
    key: usize,
    permits: u32,
    serial: bool,
    priority: i16,
}

/// Whatever happens to many tasks of few keys: what holds a permit by the answers of the queue is what a model gives one.
#[test]
fn g16_lines_are_as_a_model_of_them_says_whatever_happens() {
    let seed = seed();
    println!("seed {seed}");
    let mut random = Random(seed);
    for _ in rounds(6) {
        let (mut tests, _) = stepped();
        let queue = tests.queue().clone();
        let mut known: Vec<Known> = Vec::new();
        for _ in 0..150 {
            match random.below(12) {
                0..=4 => {
                    let (key, serial) = (random.below(3), random.below(3) == 0);
                    let permits = if serial { 1 } else { 1 + random.below(3) as u32 };
                    let priority = random.below(3) as i16;
                    let name = format!("key {key}");
                    let options = if serial {
                        Options::new().serial(name)
                    } else {
                        Options::new().limit(name, permits)
                    };
                    let options = if random.below(5) == 0 { options.delay(SECOND) } else { options };
                    let task = match random.below(6) {
                        0 => fail(),
                        1 => Do::Permanent,
                        2 => Do::Snooze(1500),
                        _ => Do::Ok(0),
                    };
                    let id = add(&queue, &task, options.priority(priority).max_attempts(2));
                    known.push(Known { id, key, permits, serial, priority });
                }
                5..=7 => drop(tests.run_one().unwrap()),
                8 => tests.advance(SECOND * (1 + random.below(60) as u32)).unwrap(),
                9 if !known.is_empty() => drop(queue.cancel(known[random.below(known.len())].id)),
                10 if !known.is_empty() => drop(queue.retry(known[random.below(known.len())].id)),
                11 if !known.is_empty() => drop(queue.delete(known[random.below(known.len())].id)),
                _ => {}
            }
            compare(&queue, &known);
        }
        assert_sound(&queue);
    }
}

/// The line of each key, as its tasks show it: the waiters in their order, the first does not fit, and none goes before a holder that is ready.
fn compare(queue: &Queue, known: &[Known]) {
    for key in 0..3 {
        let (mut holders, mut waiters, mut ready) = (0, Vec::new(), Vec::new());
        for task in known.iter().filter(|task| task.key == key) {
            let Ok(record) = queue.get(task.id) else { continue };
            let held = record.limit.unwrap().held;
            holders += u32::from(held);
            let place = (-task.priority, task.id);
            match (record.state, record.hold) {
                (State::Queued, READY) => {
                    assert!(held, "{task:?} is ready without a permit");
                    if !task.serial || record.generation == 0 {
                        ready.push(place);
                    }
                }
                (State::Queued, WAITS) => {
                    assert!(!held, "{task:?} waits with a permit");
                    waiters.push((place, task.permits));
                }
                (State::Queued, _) => assert_eq!(
                    held,
                    task.serial && record.generation > 0 && record.attempt_number + record.snoozes > 0,
                    "{task:?} waits for its time"
                ),
                _ => assert!(!held, "{task:?} has ended"),
            }
        }
        waiters.sort_unstable();
        let Some((first, permits)) = waiters.first().copied() else { continue };
        assert!(
            holders >= permits,
            "{holders} permits are held, and the first waiter needs fewer: {permits}"
        );
        let behind = ready.iter().filter(|place| **place > first).count() as u32;
        assert!(holders - behind >= permits, "the first waiter could take permits of those behind it");
    }
}

/// Numbers that a seed draws.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n
    }
}

#[test]
fn g16_an_attempt_that_was_given_up_keeps_its_permit_until_its_thread_returns() {
    let ((tell, started), (go, may_go)) = (channel(), channel::<()>());
    let may_go = Mutex::new(may_go);
    let handler = move |_: Do, cx: &Context| -> Result<u64, Failure> {
        if cx.id().as_i64() == 1 && cx.generation() == 1 {
            cx.heartbeat()?;
            tell.send(cx.id()).expect("the test listens");
            may_go.lock().unwrap().recv().expect("the test says so");
        }
        Ok(0)
    };
    let config = Config::default()
        .workers(2)
        .stuck_task_timeout(Duration::from_millis(100))
        .lost_retry(perdura::LostRetry::Manual);
    let queue = Queue::builder().config(config).handle(handler).open_temporary().unwrap();
    let first = add(&queue, &Do::Ok(0), limit(1));
    let second = add(&queue, &Do::Ok(0), limit(1));
    assert_eq!(started.recv_timeout(PATIENCE).unwrap(), first);
    assert_eq!(queue.wait(first, PATIENCE).unwrap().state, State::Lost);
    assert_eq!(holds(&queue, [second]), [WAITS]);
    queue.retry(first).unwrap();
    assert_eq!(holds(&queue, [first, second]), [Some(Hold::PreviousAttempt), WAITS]);
    go.send(()).unwrap();
    queue.drain().unwrap();
    assert_sound(&queue);
    assert_eq!(queue.counts().unwrap().total().succeeded, 2);
}

#[test]
fn g12_a_damaged_task_gives_its_permit_back() {
    let (tests, _) = stepped();
    let queue = tests.queue();
    let [bad, next] = [0, 1].map(|n| add(queue, &Do::Ok(n), limit(1)));
    let conn = crate::bulk::other(queue.path());
    conn.execute_batch("UPDATE perdura_tasks SET extras = 4096 + 12 WHERE task_id = 1").unwrap();
    assert_eq!(tests.run_one().unwrap(), Some(Ran::Succeeded(next)));
    assert_eq!(queue.get(bad).unwrap().state, State::Failed);
    // A line that an edit has left behind stops nobody.
    let waits = [2, 3].map(|n| add(queue, &Do::Ok(n), limit(1)));
    conn.execute_batch("INSERT INTO perdura_limits SELECT 999, queue_id, digest, 1, 0, 9, 2 FROM perdura_limits WHERE standing = 2").unwrap();
    assert!(!queue.check().unwrap().is_ok());
    for id in waits {
        assert_eq!(tests.run_one().unwrap(), Some(Ran::Succeeded(id)));
    }
}

#[test]
fn explain_says_for_whom_a_task_waits() {
    let (tests, _) = stepped();
    let queue = tests.queue();
    let ids = [1, 2, 3].map(|_| add(queue, &Do::Ok(0), limit(2)));
    let why = queue.explain(ids[2]).unwrap();
    assert_eq!(why.permit_holders, ids[..2]);
    assert!(
        why.to_string().ends_with(
            "waits for its turn: its key has a limit of 2 tasks at once; tasks 1, 2 are before it"
        ),
        "{why}"
    );
    let alone = add(queue, &Do::Ok(0), Options::new().serial("s"));
    let behind = add(queue, &Do::Ok(0), Options::new().serial("s"));
    let why = queue.explain(behind).unwrap().to_string();
    assert!(
        why.ends_with(&format!("tasks of its key run one after another; task {alone} is before it")),
        "{why}"
    );
    assert!(queue.explain(alone).unwrap().permit_holders.is_empty());
}

#[test]
fn what_cannot_be_a_limit_is_refused_by_name() {
    let (tests, _) = stepped();
    let refused = |options: Options| {
        let e = tests.queue().enqueue_with(&Do::Ok(0), options).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::InvalidInput);
        e.to_string()
    };
    for n in [0, 257] {
        let told = refused(limit(n));
        assert!(
            told.contains("limit") && told.contains(&n.to_string()) && told.contains("1 to 256"),
            "{told}"
        );
    }
    for options in
        [Options::new().limit("", 1), Options::new().limit("x".repeat(201), 1), Options::new().serial("a\0")]
    {
        let told = refused(options);
        assert!(told.starts_with("key of "), "{told}");
    }
    assert!(refused(limit(1).serial("k")).contains("together with limit"));
    assert_eq!(add(tests.queue(), &Do::Ok(0), limit(256)).as_i64(), 1);
}
