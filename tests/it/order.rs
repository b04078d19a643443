//! The order of claims, and what clocks do to waits.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use perdura::testing::{ManualClock, Ran};
use perdura::{Builder, Clock, Config, Context, Filter, Options, Queue, Schedule, State, TaskId, Timestamp};

use crate::support::*;

/// Runs everything that is ready; answers with the ids in the order of their attempts.
fn order(tests: &perdura::testing::SteppedQueue) -> Vec<TaskId> {
    let id = |ran| match ran {
        Ran::Succeeded(id)
        | Ran::Failed(id)
        | Ran::Snoozed(id)
        | Ran::Cancelled(id)
        | Ran::HandedBack(id) => id,
        other => panic!("{other:?}"),
    };
    std::iter::from_fn(|| tests.run_one().unwrap()).map(id).collect()
}

#[test]
fn g09_ready_tasks_run_by_priority_and_then_in_the_order_of_their_ids() {
    let (tests, clock) = stepped();
    let add = |priority| add(tests.queue(), &Do::Ok(0), Options::new().priority(priority));
    let (a, b) = (add(0), add(0));
    clock.set_wall(Timestamp::from_millis(0));
    let (high, c, low) = (add(7), add(0), add(-7));
    assert_eq!(order(&tests), [high, a, b, c, low]);
}

#[test]
fn g09_a_promoted_retry_goes_before_younger_tasks() {
    let (mut tests, _) = stepped();
    let old = tests.queue().enqueue(&Do::FailUntil(2)).unwrap().id();
    tests.run_one().unwrap();
    let young = tests.queue().enqueue(&Do::Ok(0)).unwrap().id();
    tests.advance(MINUTE).unwrap();
    assert_eq!(order(&tests), [old, young]);
}

#[test]
fn g09_queues_with_ready_tasks_take_turns() {
    let (tests, _) = stepped();
    let add = |queue: &str| add(tests.queue(), &Do::Ok(0), Options::new().queue(queue));
    let a: Vec<_> = (0..4).map(|_| add("a")).collect();
    let b: Vec<_> = (0..2).map(|_| add("b")).collect();
    assert_eq!(order(&tests), [a[0], b[0], a[1], b[1], a[2], a[3]]);
}

/// A queue with one worker, which notes the tasks that it runs.
fn recording(path: &std::path::Path) -> (Queue, Arc<Mutex<Vec<TaskId>>>) {
    let (builder, order) = notes_order();
    (builder.open(path).unwrap(), order)
}

/// The same before it is opened.
fn notes_order() -> (Builder, Arc<Mutex<Vec<TaskId>>>) {
    let order = Arc::new(Mutex::new(Vec::new()));
    let ran = order.clone();
    let handler = move |task: Do, cx: &Context| {
        ran.lock().unwrap().push(cx.id());
        run(task, cx)
    };
    (Queue::builder().workers(1).poll_interval(Duration::ZERO).handle(handler), order)
}

#[test]
fn g09_a_new_task_does_not_start_before_one_that_another_process_has_made() {
    let folder = Folder::new();
    let (owner, order) = recording(&folder.file());
    let other = Queue::builder().open(folder.file()).unwrap();
    let first = other.enqueue(&Do::Ok(1)).unwrap().id(); // the owner has not noticed
    let second = owner.enqueue(&Do::Ok(2)).unwrap().id();
    owner.notify().unwrap();
    owner.drain().unwrap();
    assert_eq!(*order.lock().unwrap(), [first, second]);
    assert_sound(&owner);
}

#[test]
fn g09_a_new_task_does_not_start_in_a_queue_that_another_process_has_paused() {
    let folder = Folder::new();
    let (owner, order) = recording(&folder.file());
    owner.resume("default").unwrap(); // the file knows the queue then
    let other = rusqlite::Connection::open(folder.file()).unwrap(); // of no queue, so the owner does not hear of it
    let pause = |paused: bool| {
        let sql = "UPDATE perdura_queues SET paused = ?1 WHERE queue = 'default'";
        assert_eq!(other.execute(sql, [paused]).unwrap(), 1);
    };
    pause(true);
    let id = owner.enqueue(&Do::Ok(1)).unwrap().id();
    assert_eq!(owner.get(id).unwrap().state, State::Queued);
    pause(false);
    owner.notify().unwrap();
    owner.drain().unwrap();
    assert_eq!(*order.lock().unwrap(), [id]);
}

#[test]
fn a_task_that_starts_at_once_is_written_as_one_that_was_claimed() {
    let folder = Folder::new();
    let (owner, order) = recording(&folder.file());
    let options = Options::new().unique("key").max_attempts(1).timeout(MINUTE);
    let failed = add(&owner, &fail(), options.clone());
    assert_eq!(owner.wait(failed, PATIENCE).unwrap().state, State::Failed);
    let record = owner.get(failed).unwrap();
    assert_eq!((record.attempt_number, record.generation), (1, 1));
    assert!(record.started_at >= Some(record.created_at));
    assert_eq!(owner.attempts(failed).unwrap().len(), 1);
    let again = add(&owner, &Do::Ok(3), options);
    assert_eq!(owner.wait(again, PATIENCE).unwrap().state, State::Succeeded, "the key was free again");
    assert_eq!(*order.lock().unwrap(), [failed, again]);
    assert_sound(&owner);
}

#[test]
fn a_task_that_started_at_once_expires_while_it_waits_for_its_retry() {
    let folder = Folder::new();
    let (owner, _) = recording(&folder.file());
    owner.wait(add(&owner, &Do::Ok(1), Options::new()), MINUTE).unwrap(); // nothing is left to claim: the next one starts at once
    let options = Options::new().expires(Duration::from_millis(200)).backoff(MINUTE);
    let id = add(&owner, &fail(), options);
    let record = owner.wait(id, MINUTE / 2).unwrap();
    assert_eq!((record.state, record.error_type.as_deref()), (State::Cancelled, Some("Expired")));
}

#[test]
fn g09_runs_of_schedules_that_come_at_once_start_by_their_priority() {
    let folder = Folder::new();
    let clock = ManualClock::new();
    let (builder, order) = notes_order();
    let schedule = |name: &str, priority| {
        let options = Options::new().priority(priority).tag(name);
        Schedule::every(name, MINUTE).options(options)
    };
    let builder = builder.clock(clock.clone()).schedule(schedule("low", 0), &Do::Ok(0));
    let queue = builder.schedule(schedule("high", 9), &Do::Ok(0)).open(folder.file()).unwrap();
    let before = add(&queue, &Do::Ok(0), Options::new());
    queue.wait(before, PATIENCE).unwrap(); // its worker idles from now on
    order.lock().unwrap().clear();
    clock.advance(MINUTE);
    add(&queue, &Do::Ok(0), Options::new().delay(60 * MINUTE)); // the timer hears of it, and looks at the clock
    while order.lock().unwrap().len() < 2 {
        std::thread::sleep(Duration::from_millis(1));
    }
    let tags =
        order.lock().unwrap().iter().map(|id| queue.get(*id).unwrap().tag.unwrap()).collect::<Vec<_>>();
    assert_eq!(tags, ["high", "low"]);
}

#[test]
fn g10_a_task_without_a_due_time_runs_whatever_the_clock_says() {
    for ms in [i64::MIN, -5, 0, 253_402_300_800_000, i64::MAX] {
        let (tests, clock) = stepped();
        clock.set_wall(Timestamp::from_millis(ms));
        let id = tests.queue().enqueue(&Do::Ok(1)).unwrap().id();
        clock.set_wall(Timestamp::from_millis(ms.saturating_sub(1_000_000_000)));
        assert_eq!(tests.run_until_idle().unwrap().succeeded, 1, "at {ms}");
        assert!(serde_json::to_string(&tests.queue().get(id).unwrap()).is_ok());
        let fails = tests.queue().enqueue(&fail()).unwrap().id();
        tests.run_until_idle().unwrap();
        assert_eq!(tests.queue().get(fails).unwrap().attempt_number, 1);
        assert_sound(tests.queue());
    }
}

#[test]
fn g10_a_backward_jump_delays_a_relative_wait_by_at_most_its_own_delay_again() {
    for days in [0, 1, 30, 20_000, 100_000_u64] {
        let (mut tests, clock) = stepped();
        let id = tests.queue().enqueue(&fail()).unwrap().id();
        tests.run_until_idle().unwrap();
        tests.advance(30 * SECOND).unwrap();
        clock.set_wall(clock.now().saturating_sub(Duration::from_secs(days * 86_400)));
        tests.tick().unwrap();
        tests.advance(MINUTE).unwrap();
        assert_eq!(tests.run_until_idle().unwrap().failed, 1, "{days} days back");
        assert_eq!(tests.queue().get(id).unwrap().attempt_number, 2);
    }
}

#[test]
fn g10_an_absolute_time_means_what_the_clock_says() {
    let (mut tests, clock) = stepped();
    let due = clock.now().saturating_add(MINUTE);
    let id = add(tests.queue(), &Do::Ok(1), Options::new().run_at(due.to_system_time()));
    clock.set_wall(clock.now().saturating_sub(60 * MINUTE));
    tests.tick().unwrap();
    tests.advance(30 * MINUTE).unwrap();
    assert_eq!(tests.queue().get(id).unwrap().run_at, Some(due));
    tests.advance(31 * MINUTE).unwrap();
    assert_eq!(tests.run_until_idle().unwrap().succeeded, 1);
}

#[test]
fn g10_a_forward_jump_starts_nothing_twice_and_deletes_nothing_until_the_clock_is_steady() {
    let config = Config::default().dead_letter_after(Some(MINUTE));
    let (mut tests, clock) = stepped_with(config);
    let done = tests.queue().enqueue(&Do::Ok(1)).unwrap().id();
    let failed = tests.queue().enqueue(&Do::Permanent).unwrap().id();
    let waits = tests.queue().enqueue(&fail()).unwrap().id();
    tests.run_until_idle().unwrap();
    tests.apply_retention().unwrap();
    clock.suspend(365 * 86_400 * SECOND);
    tests.tick().unwrap();
    tests.tick().unwrap();
    assert_eq!(tests.run_until_idle().unwrap().failed, 1);
    assert_eq!(tests.queue().get(waits).unwrap().attempt_number, 2);
    assert_eq!(tests.apply_retention().unwrap(), 0, "the clock has jumped");
    clock.advance(4 * MINUTE);
    assert_eq!(tests.apply_retention().unwrap(), 0);
    clock.advance(2 * MINUTE);
    assert_eq!(tests.apply_retention().unwrap(), 2, "by now it has been steady");
    assert!(tests.queue().get(done).is_err());
    assert!(tests.queue().dead_letters().get(failed).is_ok());
    assert_sound(tests.queue());
}

#[test]
fn g10_the_timer_thread_promotes_when_due_and_after_a_backward_jump() {
    let folder = Folder::new();
    let queue = builder(Config::default().poll_interval(Duration::ZERO)).open(folder.file()).unwrap();
    let options = || Options::new().backoff(Duration::from_millis(20));
    let ids: Vec<_> = (0..20).map(|_| add(&queue, &Do::FailUntil(3), options())).collect();
    for id in ids {
        let record = queue.wait(id, PATIENCE).unwrap();
        assert_eq!((record.state, record.attempt_number), (State::Succeeded, 3));
        let starts: Vec<_> = queue.attempts(id).unwrap().iter().map(|a| a.started_at).collect();
        assert!(starts[1] >= starts[0].saturating_add(Duration::from_millis(20)), "never early");
    }
}

#[test]
fn retention_deletes_what_is_old_and_keeps_what_is_young() {
    let (mut tests, clock) = stepped_with(Config::default().retention(Some(60 * MINUTE)));
    let old = tests.queue().enqueue(&Do::Ok(1)).unwrap().id();
    let failed = tests.queue().enqueue(&Do::Permanent).unwrap().id();
    tests.run_until_idle().unwrap();
    for _ in 0..7 {
        tests.apply_retention().unwrap();
        clock.advance(10 * MINUTE);
    }
    let young = tests.queue().enqueue(&Do::Ok(2)).unwrap().id();
    tests.run_until_idle().unwrap();
    assert_eq!(tests.apply_retention().unwrap(), 1);
    let left: Vec<_> = tests.queue().tasks(Filter::new()).unwrap().iter().map(|r| r.task_id).collect();
    assert_eq!(left, [failed, young]);
    assert!(!left.contains(&old));
    assert_sound(tests.queue());
}

#[test]
fn expired_tasks_are_cancelled_with_the_reason() {
    let (mut tests, _) = stepped();
    let expires = || Options::new().expires(MINUTE);
    let by_timer = add(tests.queue(), &Do::Ok(1), expires());
    tests.advance(MINUTE).unwrap();
    let (tests_too, clock) = stepped();
    let by_claim = add(tests_too.queue(), &Do::Ok(1), expires());
    clock.advance(MINUTE);
    assert_eq!(tests_too.run_one().unwrap(), None);
    for (tests, id) in [(&tests, by_timer), (&tests_too, by_claim)] {
        let record = tests.queue().get(id).unwrap();
        assert_eq!((record.state, record.error_type.as_deref()), (State::Cancelled, Some("Expired")));
        tests.queue().retry(id).unwrap();
        assert_eq!(tests.queue().get(id).unwrap().expires_at, None, "a manual retry clears the expiry");
        assert_eq!(tests.run_until_idle().unwrap().succeeded, 1);
    }
}

/// A task that no handler here knows.
#[derive(serde::Serialize, serde::Deserialize)]
struct Stranger;

impl perdura::Task for Stranger {
    const NAME: &'static str = "stranger";
    type Output = ();
}

#[test]
fn each_of_many_queues_has_its_turn() {
    const QUEUES: u64 = 40;
    let (tests, _) = stepped();
    let queue = tests.queue().clone();
    let of = |n: u64| Options::new().queue(format!("q{n}"));
    for n in 0..QUEUES {
        for _ in 0..2 {
            add(&queue, &Do::Ok(n), of(n));
        }
    }
    queue.pause("q5").unwrap();
    let _ = queue.enqueue_with(&Stranger, of(0).priority(1)).unwrap(); // is met first and held, which takes the turn of its queue
    let mut ran = Vec::new();
    while tests.run_one().unwrap().is_some() {
        let done = queue.tasks(Filter::new().state(State::Succeeded).limit(usize::MAX)).unwrap();
        let newest = done.into_iter().find(|task| !ran.iter().any(|(id, _)| *id == task.task_id)).unwrap();
        ran.push((newest.task_id, newest.queue));
    }
    let wanted: Vec<String> = (0..QUEUES).filter(|n| *n != 5).map(|n| format!("q{n}")).collect();
    let in_turn: Vec<_> = ran.iter().map(|(_, queue)| queue.clone()).collect();
    let from_the_next = [&wanted[1..], &wanted[..1]].concat();
    assert_eq!(in_turn, [from_the_next.clone(), from_the_next].concat());
    assert_eq!(queue.counts().unwrap().queues["q5"].ready, 2);
    assert_sound(&queue);
}
