//! Unique keys: how long they are taken, and what an enqueue does that finds one taken.

use std::time::Duration;

use perdura::testing::{CrashPoint, ManualClock, SteppedQueue, at_every_commit};
use perdura::{
    Clock, Config, Context, EnqueueToken, Enqueued, ErrorKind, Failure, Filter, Hold, OnConflict, Options,
    Queue, State, Task, TaskId, Unique,
};
use serde::{Deserialize, Serialize};

use crate::support::*;

const HOUR: Duration = Duration::from_secs(3600);

fn key() -> Unique {
    Unique::key("k")
}

fn options(unique: Unique) -> Options {
    Options::new().unique(unique)
}

fn put(queue: &Queue, task: &Do, options: Options) -> Enqueued {
    queue.enqueue_with(task, options).unwrap()
}

/// The task by which the key is taken; none if it is free. The task that it makes to find out is deleted again.
fn taken_by(queue: &Queue) -> Option<TaskId> {
    let made = put(queue, &Do::Ok(0), options(key()).delay(HOUR));
    if made.is_new() {
        queue.delete(made.id()).unwrap();
    }
    (!made.is_new()).then_some(made.id())
}

fn state(queue: &Queue, id: TaskId) -> State {
    queue.get(id).unwrap().state
}

fn args(queue: &Queue, id: TaskId) -> Do {
    serde_json::from_str(&queue.args_json(id).unwrap()).unwrap()
}

// ---- How long a key is taken ----

/// A queue whose handler enqueues another task with the same key while it runs, and answers with whether that was new.
fn reentrant(unique: fn() -> Unique, clock: &ManualClock) -> SteppedQueue {
    let handler = move |task: Do, cx: &Context| {
        if task != Do::Ok(1) {
            return run(task, cx);
        }
        let queue = cx.queue().ok_or_else(|| Failure::permanent("the test holds a handle"))?;
        Ok(u64::from(queue.enqueue_with(&Do::Ok(2), options(unique()))?.is_new()))
    };
    SteppedQueue::open(Queue::builder().clock(clock.clone()).handle(handler), clock).unwrap()
}

#[test]
fn g04_a_change_during_the_run_makes_one_follow_up() {
    for (unique, is_new) in [(key as fn() -> Unique, 0), (|| key().until_started(), 1)] {
        let tests = reentrant(unique, &ManualClock::new());
        let id = put(tests.queue(), &Do::Ok(1), options(unique())).id();
        tests.run_until_idle().unwrap();
        assert_eq!(tests.queue().result::<Do>(id).unwrap(), Some(is_new));
        assert_eq!(tests.queue().counts().unwrap().total().succeeded, 1 + is_new);
        assert_sound(tests.queue());
    }
}

#[test]
fn g04_a_task_that_starts_at_once_has_freed_its_key_until_the_start() {
    let handler = |task: Do, cx: &Context| {
        let queue = cx.queue().ok_or_else(|| Failure::permanent("the test holds a handle"))?;
        match task {
            Do::Ok(0) => Ok(0),
            _ => Ok(u64::from(queue.enqueue_with(&Do::Ok(0), options(key().until_started()))?.is_new())),
        }
    };
    let queue =
        Queue::builder().config(Config::default().workers(1)).handle(handler).open_temporary().unwrap();
    for n in 1..=20 {
        let id = put(&queue, &Do::Ok(n), options(key().until_started())).id();
        queue.wait(id, PATIENCE).unwrap();
        assert_eq!(queue.result::<Do>(id).unwrap(), Some(1), "{n}");
        queue.drain().unwrap();
    }
    // Taken for a time as well, it is not free yet.
    let timed = || options(Unique::key("timed").until_started().for_(HOUR));
    let id = put(&queue, &Do::Ok(0), timed()).id();
    queue.wait(id, PATIENCE).unwrap();
    assert_eq!(put(&queue, &Do::Ok(0), timed()), Enqueued::Existing(id));
    assert_sound(&queue);
}

#[test]
fn a_task_that_waits_again_takes_its_key_again_if_it_is_free() {
    let (mut tests, _) = stepped();
    let unique = || options(key().until_started());
    // A failure, and a snooze: the key is its own again.
    for again in [fail(), Do::Snooze(60_000)] {
        let id = put(tests.queue(), &again, unique()).id();
        tests.run_one().unwrap();
        assert_eq!(tests.queue().get(id).unwrap().hold, Some(Hold::Time));
        assert_eq!(taken_by(tests.queue()), Some(id));
        tests.queue().cancel(id).unwrap();
        assert_eq!(taken_by(tests.queue()), None, "it has ended");
        tests.queue().retry(id).unwrap();
        assert_eq!(taken_by(tests.queue()), Some(id), "a retry by hand");
        tests.queue().delete(id).unwrap();
    }
    // Not free: it goes on without, and the other one keeps it.
    let handler = |task: Do, cx: &Context| {
        let queue = cx.queue().ok_or_else(|| Failure::permanent("the test holds a handle"))?;
        if cx.attempt_number() == 1 {
            let _ = queue.enqueue_with(&Do::Ok(9), options(key().until_started()).delay(HOUR))?;
        }
        run(task, cx)
    };
    let clock = ManualClock::new();
    tests = SteppedQueue::open(Queue::builder().clock(clock.clone()).handle(handler), &clock).unwrap();
    let queue = tests.queue().clone();
    let id = put(&queue, &Do::FailUntil(2), unique()).id();
    tests.run_one().unwrap();
    let other = taken_by(&queue).unwrap();
    assert!(other != id && state(&queue, id) == State::Queued);
    tests.advance(MINUTE).unwrap();
    tests.run_one().unwrap();
    assert_eq!((state(&queue, id), taken_by(&queue)), (State::Succeeded, Some(other)));
    // By hand likewise: no conflict.
    let id = put(&queue, &Do::Permanent, Options::new().unique(Unique::key("hand").until_started())).id();
    tests.run_until_idle().unwrap();
    assert_eq!(state(&queue, id), State::Failed);
    assert_sound(&queue);
    queue.retry(other).unwrap_err();
}

#[test]
fn a_retry_by_hand_goes_on_without_a_key_until_the_start_that_is_taken() {
    let (tests, _) = stepped();
    let queue = tests.queue();
    let first = put(queue, &Do::Permanent, options(key().until_started())).id();
    tests.run_until_idle().unwrap();
    let second = put(queue, &Do::Ok(2), options(key())).id();
    queue.retry(first).unwrap();
    assert_eq!((state(queue, first), taken_by(queue)), (State::Queued, Some(second)));
    // A key of the whole life is a conflict.
    let third = put(queue, &Do::Permanent, Options::new().unique("other")).id();
    tests.run_until_idle().unwrap();
    let _ = put(queue, &Do::Ok(4), Options::new().unique("other"));
    let e = queue.retry(third).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Conflict);
    assert!(e.to_string().ends_with("holds the same unique key; try again when it has ended"), "{e}");
    assert_sound(queue);
}

#[test]
fn g08_recovery_gives_a_key_back_to_what_it_queues_again() {
    for started in [false, true] {
        let (tests, _) = stepped();
        let id = put(tests.queue(), &Do::Ok(1), options(key().until_started())).id();
        let (crashed, attempt) = tests.crash_in_attempt(started).unwrap();
        assert_eq!(attempt, Some(id));
        let tests = crashed.reopen(builder(Config::default())).unwrap();
        assert_eq!((state(tests.queue(), id), taken_by(tests.queue())), (State::Queued, Some(id)));
        tests.run_until_idle().unwrap();
        assert_eq!(taken_by(tests.queue()), None);
        assert_sound(tests.queue());
    }
}

#[test]
fn g04_a_key_for_a_time_is_taken_after_the_end_and_after_a_purge() {
    let (mut tests, clock) = stepped();
    let queue = tests.queue().clone();
    let id = put(&queue, &Do::Ok(1), options(key().for_(HOUR))).id();
    tests.run_until_idle().unwrap();
    assert_eq!((state(&queue, id), taken_by(&queue)), (State::Succeeded, Some(id)));
    tests.advance(MINUTE).unwrap();
    assert_eq!(queue.purge(clock.now().to_system_time()).unwrap(), 1);
    assert_eq!(queue.get(id).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(taken_by(&queue), Some(id), "the task is gone, and its key is taken");
    assert_sound(&queue);
    tests.advance(HOUR - MINUTE - Duration::from_millis(1)).unwrap();
    assert_eq!(taken_by(&queue), Some(id));
    tests.advance(Duration::from_millis(1)).unwrap();
    assert_eq!(taken_by(&queue), None);
    assert_sound(&queue);
}

#[test]
fn a_task_that_is_deleted_by_hand_frees_its_key() {
    let (tests, _) = stepped();
    let queue = tests.queue();
    let id = put(queue, &Do::Ok(1), options(key().for_(HOUR))).id();
    tests.run_until_idle().unwrap();
    queue.delete(id).unwrap();
    assert_eq!(taken_by(queue), None);
    let id = put(queue, &Do::Ok(1), options(key().for_(HOUR))).id();
    tests.run_until_idle().unwrap();
    assert_eq!(taken_by(queue), Some(id));
    assert_eq!(queue.delete_all(Filter::new()).unwrap().changed, 1);
    assert_eq!(taken_by(queue), None);
    assert_sound(queue);
}

#[test]
fn a_task_that_lives_longer_than_the_time_of_its_key_keeps_it() {
    let (mut tests, _) = stepped();
    let queue = tests.queue().clone();
    let id = put(&queue, &Do::Ok(1), options(key().for_(MINUTE)).delay(HOUR)).id();
    tests.advance(2 * MINUTE).unwrap();
    assert_eq!(tests.apply_retention().unwrap(), 0);
    assert_eq!(taken_by(&queue), Some(id));
    tests.advance(HOUR).unwrap();
    tests.run_until_idle().unwrap();
    assert_eq!(taken_by(&queue), None);
    assert_sound(&queue);
}

#[test]
fn a_key_whose_time_is_over_goes_to_whoever_wants_it_and_comes_back_to_nobody() {
    let (mut tests, _) = stepped();
    let queue = tests.queue().clone();
    let first = put(&queue, &Do::Permanent, options(key().for_(MINUTE))).id();
    tests.run_until_idle().unwrap();
    tests.advance(MINUTE).unwrap();
    let second = put(&queue, &Do::Ok(1), options(key()).delay(HOUR)).id();
    assert_sound(&queue);
    assert_eq!(queue.retry(first).unwrap_err().kind(), ErrorKind::Conflict);
    queue.delete(first).unwrap();
    assert_eq!(taken_by(&queue), Some(second), "the first had it no more");
    assert_sound(&queue);
}

#[test]
fn the_maintenance_takes_away_keys_whose_time_is_over() {
    let (mut tests, clock) = stepped();
    let queue = tests.queue().clone();
    let rows = || -> i64 {
        let conn = rusqlite::Connection::open(queue.path()).unwrap();
        conn.query_row("SELECT COUNT(*) FROM perdura_keys", [], |row| row.get(0)).unwrap()
    };
    for n in 0..700 {
        let unique = Unique::key(format!("{n}")).for_(MINUTE);
        let _ = put(&queue, &Do::Ok(n), Options::new().unique(unique));
    }
    tests.run_until_idle().unwrap();
    assert_eq!(queue.purge(clock.now().saturating_add(SECOND).to_system_time()).unwrap(), 700);
    assert_eq!(rows(), 700);
    tests.advance(10 * MINUTE).unwrap();
    tests.apply_retention().unwrap();
    assert_eq!(rows(), 0);
    assert_sound(&queue);
}

#[test]
fn g10_a_jump_back_of_the_clock_prolongs_a_key_by_its_own_length_at_most() {
    let year = 365 * 24 * HOUR;
    // The next enqueue with the key notices it …
    let (mut tests, clock) = stepped();
    let queue = tests.queue().clone();
    let id = put(&queue, &Do::Ok(1), options(key().for_(HOUR))).id();
    tests.run_until_idle().unwrap();
    clock.set_wall(clock.now().saturating_sub(year));
    tests.tick().unwrap();
    assert_eq!(taken_by(&queue), Some(id));
    tests.advance(HOUR).unwrap();
    assert_eq!(taken_by(&queue), None);
    // … or the maintenance does.
    let id = put(&queue, &Do::Ok(1), options(key().for_(HOUR))).id();
    tests.run_until_idle().unwrap();
    clock.set_wall(clock.now().saturating_sub(year));
    tests.apply_retention().unwrap();
    tests.advance(6 * MINUTE).unwrap();
    tests.apply_retention().unwrap();
    tests.advance(HOUR).unwrap();
    assert_eq!(taken_by(&queue), None, "task {id} has it no more");
    assert_sound(&queue);
}

#[test]
fn dead_letters_and_what_is_made_of_them_have_their_keys() {
    let (mut tests, _) = stepped();
    let queue = tests.queue().clone();
    let id = put(&queue, &Do::Permanent, options(key().for_(HOUR))).id();
    tests.run_until_idle().unwrap();
    queue.move_to_dead_letter(id).unwrap();
    assert_eq!(taken_by(&queue), Some(id), "the letter has it for its time");
    assert_sound(&queue);
    let again = queue.dead_letters().replay(id).unwrap();
    assert_eq!(taken_by(&queue), Some(again), "a letter is not in its own way");
    let e = queue.dead_letters().replay_again(id).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Conflict);
    tests.run_until_idle().unwrap();
    tests.advance(HOUR - MINUTE).unwrap();
    assert_eq!(taken_by(&queue), Some(again), "the time of the new task");
    tests.advance(HOUR).unwrap();
    assert_eq!(taken_by(&queue), None);
    // Until the start: the new task is one, too.
    let id = put(&queue, &Do::Permanent, options(key().until_started())).id();
    tests.run_until_idle().unwrap();
    queue.move_to_dead_letter(id).unwrap();
    let other = put(&queue, &Do::Ok(1), options(key()).delay(HOUR)).id();
    let again = queue.dead_letters().replay(id).unwrap();
    assert_eq!((state(&queue, again), taken_by(&queue)), (State::Queued, Some(other)));
    queue.delete(other).unwrap();
    tests.run_until_idle().unwrap();
    assert_eq!(taken_by(&queue), None);
    assert_sound(&queue);
}

#[test]
fn a_copy_of_a_file_has_its_keys() {
    let (tests, clock) = stepped();
    let queue = tests.queue();
    let gone = put(queue, &Do::Ok(1), options(key().for_(HOUR))).id();
    let waits = put(queue, &Do::Ok(1), options(Unique::key("w").until_started()).delay(HOUR)).id();
    let _ = put(queue, &Do::Ok(2), options(Unique::key("w").on_conflict(OnConflict::ReplaceArgs)));
    tests.run_until_idle().unwrap();
    queue.purge(clock.now().saturating_add(SECOND).to_system_time()).unwrap();
    let mut text = Vec::new();
    queue.export(&mut text).unwrap();
    let folder = Folder::in_memory();
    Queue::builder().import(folder.file(), text.as_slice()).unwrap();
    let tests = SteppedQueue::open_file(builder(Config::default()), &clock, folder.file()).unwrap();
    assert_eq!(taken_by(tests.queue()), Some(gone));
    assert_eq!(put(tests.queue(), &Do::Ok(3), options(Unique::key("w"))), Enqueued::Existing(waits));
    assert_eq!(args(tests.queue(), waits), Do::Ok(2));
    assert_sound(tests.queue());
}

#[test]
fn a_damaged_task_frees_its_key_and_keeps_one_for_a_time() {
    for (unique, is_free) in [(key(), true), (key().until_started(), true), (key().for_(HOUR), false)] {
        let (tests, _) = stepped();
        let queue = tests.queue();
        let id = put(queue, &Do::Ok(1), options(unique)).id();
        let conn = rusqlite::Connection::open(queue.path()).unwrap();
        conn.execute_batch("PRAGMA ignore_check_constraints = 1; UPDATE perdura_tasks SET suspect = 'x'")
            .unwrap_err();
        conn.execute_batch(
            "PRAGMA ignore_check_constraints = 1; UPDATE perdura_tasks SET extras = 1048576 + extras",
        )
        .unwrap();
        tests.run_until_idle().unwrap();
        assert_eq!(queue.get(id).unwrap().error_type.as_deref(), Some("RowDamaged"));
        assert_eq!(taken_by(queue).is_none(), is_free);
        assert_sound(queue);
        queue.retry(id).unwrap();
        assert_eq!(taken_by(queue), Some(id));
        tests.run_until_idle().unwrap();
        assert_sound(queue);
    }
}

// ---- What an enqueue does that finds its key taken ----

fn replace() -> Unique {
    key().on_conflict(OnConflict::Replace)
}

fn debounce(max_wait: Duration) -> Unique {
    key().on_conflict(OnConflict::Debounce { max_wait })
}

#[test]
fn g03_a_replaced_task_is_the_new_one_under_the_old_id() {
    let (tests, clock) = stepped();
    let queue = tests.queue();
    let old = options(key()).priority(3).max_attempts(2).backoff(SECOND).timeout(SECOND).tag("old");
    let id = put(queue, &Do::Ok(1), old.delay(MINUTE).expires(HOUR)).id();
    let made = queue.get(id).unwrap().created_at;
    let new = options(replace()).priority(-3).max_attempts(9).backoff(MINUTE).timeout(MINUTE).tag("new");
    assert_eq!(put(queue, &Do::Ok(2), new.delay(HOUR).expires(2 * HOUR)), Enqueued::Replaced(id));
    let task = queue.get(id).unwrap();
    assert_eq!((task.priority, task.max_attempts, task.tag.as_deref()), (-3, 9, Some("new")));
    assert_eq!((task.backoff, task.timeout), (Some(MINUTE), Some(MINUTE)));
    assert_eq!((task.created_at, task.run_at), (made, Some(clock.now().saturating_add(HOUR))));
    assert_eq!((task.expires_at, args(queue, id)), (Some(clock.now().saturating_add(2 * HOUR)), Do::Ok(2)));
    // What it does not name is at its default: it waits for nothing now.
    assert_eq!(put(queue, &Do::Ok(3), options(replace())), Enqueued::Replaced(id));
    let task = queue.get(id).unwrap();
    assert_eq!((task.priority, task.max_attempts, task.tag), (0, 3, None));
    assert_eq!(
        (task.hold, task.run_at, task.expires_at, task.backoff),
        (Some(Hold::Ready), None, None, None)
    );
    assert_sound(queue);
    tests.run_until_idle().unwrap();
    assert_eq!(queue.result::<Do>(id).unwrap(), Some(3));
    assert_eq!(queue.count(Filter::new()).unwrap(), 1);
}

#[test]
fn a_replaced_task_begins_anew_and_one_with_new_args_goes_on() {
    let (mut tests, _) = stepped();
    let queue = tests.queue().clone();
    let id = put(&queue, &fail(), options(key()).max_attempts(3)).id();
    tests.run_until_idle().unwrap();
    tests.advance(MINUTE).unwrap();
    tests.run_until_idle().unwrap();
    let before = queue.get(id).unwrap();
    assert_eq!((before.attempt_number, before.hold), (2, Some(Hold::Time)));
    let newest = options(key().on_conflict(OnConflict::ReplaceArgs)).priority(5).max_attempts(1).delay(HOUR);
    assert_eq!(put(&queue, &Do::Ok(5), newest), Enqueued::Replaced(id));
    assert_eq!((queue.get(id).unwrap(), args(&queue, id)), (before, Do::Ok(5)), "args alone");
    assert_eq!(put(&queue, &fail(), options(replace()).max_attempts(1)), Enqueued::Replaced(id));
    let task = queue.get(id).unwrap();
    assert_eq!((task.attempt_number, task.max_attempts, task.error_type), (0, 1, None));
    assert_eq!(queue.attempts(id).unwrap().len(), 2, "history stays");
    tests.run_until_idle().unwrap();
    assert_eq!((state(&queue, id), queue.get(id).unwrap().attempt_number), (State::Failed, 1));
    assert_sound(&queue);
}

#[test]
fn only_a_task_that_waits_is_replaced() {
    for on_conflict in [OnConflict::Replace, OnConflict::ReplaceArgs, OnConflict::Debounce { max_wait: HOUR }]
    {
        let (tests, _) = stepped();
        let unique = move || options(key().for_(HOUR).on_conflict(on_conflict)).delay(MINUTE);
        let handler = move |_: Do, cx: &Context| {
            let queue = cx.queue().ok_or_else(|| Failure::permanent("the test holds a handle"))?;
            assert_eq!(queue.enqueue_with(&Do::Ok(2), unique())?, Enqueued::Existing(cx.id()), "it runs");
            Ok(7)
        };
        drop(tests);
        let clock = ManualClock::new();
        let tests =
            SteppedQueue::open(Queue::builder().clock(clock.clone()).handle(handler), &clock).unwrap();
        let queue = tests.queue();
        let id = put(queue, &Do::Ok(1), options(key().for_(HOUR))).id();
        tests.run_until_idle().unwrap();
        assert_eq!(put(queue, &Do::Ok(3), unique()), Enqueued::Existing(id), "it has ended");
        assert_eq!((state(queue, id), args(queue, id)), (State::Succeeded, Do::Ok(1)));
        queue.purge(clock.now().saturating_add(SECOND).to_system_time()).unwrap();
        assert_eq!(put(queue, &Do::Ok(4), unique()), Enqueued::Existing(id), "it is gone");
        assert_sound(queue);
    }
}

#[derive(Serialize, Deserialize)]
struct Saves;
impl Task for Saves {
    const NAME: &'static str = "saves";
    type Output = Option<u32>;
}

#[test]
fn g01_a_checkpoint_goes_with_the_args_that_it_was_made_for() {
    for on_conflict in [OnConflict::Replace, OnConflict::ReplaceArgs, OnConflict::Debounce { max_wait: HOUR }]
    {
        let clock = ManualClock::new();
        let handler = |_: Saves, cx: &Context| -> Result<Option<u32>, Failure> {
            let found = cx.checkpoint::<u32>()?;
            cx.save_checkpoint(&1)?;
            if cx.generation() == 1 { Err(Failure::named("once", "as told")) } else { Ok(found) }
        };
        let mut tests =
            SteppedQueue::open(Queue::builder().clock(clock.clone()).handle(handler), &clock).unwrap();
        let queue = tests.queue().clone();
        let id = queue.enqueue_with(&Saves, options(key())).unwrap().id();
        tests.run_until_idle().unwrap();
        let again = options(key().on_conflict(on_conflict)).delay(SECOND);
        assert_eq!(queue.enqueue_with(&Saves, again).unwrap(), Enqueued::Replaced(id));
        tests.advance(2 * MINUTE).unwrap();
        tests.run_until_idle().unwrap();
        assert_eq!(queue.result::<Saves>(id).unwrap(), Some(None), "{on_conflict:?}");
    }
}

#[test]
fn g04_enqueues_put_a_task_off_and_not_for_ever() {
    let (mut tests, clock) = stepped();
    let queue = tests.queue().clone();
    let change = |n| put(&queue, &Do::Ok(n), options(debounce(MINUTE)).delay(20 * SECOND));
    let id = change(0).id();
    let end = clock.now().saturating_add(MINUTE);
    for n in 1..=3 {
        tests.advance(15 * SECOND).unwrap();
        assert_eq!(change(n), Enqueued::Replaced(id));
        let due = clock.now().saturating_add(20 * SECOND).min(end);
        assert_eq!(queue.get(id).unwrap().run_at, Some(due), "{n}");
        assert!(tests.run_one().unwrap().is_none());
    }
    tests.advance(15 * SECOND).unwrap();
    tests.run_until_idle().unwrap();
    assert_eq!((state(&queue, id), queue.result::<Do>(id).unwrap()), (State::Succeeded, Some(3)));
    // The time from the first has long been over: it may run at once.
    queue.pause("default").unwrap();
    let id = change(4).id();
    tests.advance(HOUR).unwrap();
    assert_eq!(change(5), Enqueued::Replaced(id));
    assert_eq!(queue.get(id).unwrap().hold, Some(Hold::Ready));
    assert_sound(&queue);
}

#[test]
fn a_debounced_task_that_was_tried_before_keeps_its_time() {
    let (tests, clock) = stepped();
    let queue = tests.queue();
    let id = put(queue, &fail(), options(key())).id();
    tests.run_until_idle().unwrap();
    let before = queue.get(id).unwrap();
    assert_eq!(put(queue, &Do::Ok(1), options(debounce(HOUR)).delay(SECOND)), Enqueued::Replaced(id));
    assert_eq!((queue.get(id).unwrap(), args(queue, id)), (before, Do::Ok(1)));
    // The wait of a debounced task is a relative one: a clock that jumps back delays it by its own length.
    let id = put(queue, &Do::Ok(2), Options::new().unique("other").delay(MINUTE)).id();
    let unique = Unique::key("other").on_conflict(OnConflict::Debounce { max_wait: HOUR });
    let _ = put(queue, &Do::Ok(3), Options::new().unique(unique).delay(2 * MINUTE));
    let mut tests = tests;
    clock.set_wall(clock.now().saturating_sub(1000 * HOUR));
    tests.tick().unwrap();
    assert_eq!(tests.queue().get(id).unwrap().run_at, Some(clock.now().saturating_add(2 * MINUTE)));
}

#[test]
fn a_key_of_the_whole_queue_replaces_tasks_of_other_names() {
    for on_conflict in [OnConflict::Replace, OnConflict::ReplaceArgs, OnConflict::Debounce { max_wait: HOUR }]
    {
        let (mut tests, _) = stepped();
        let queue = tests.queue().clone();
        let unique = || Options::new().unique_in_queue(key().on_conflict(on_conflict)).delay(SECOND);
        // Nobody knows this name: it is held for that, until it has another.
        let id = queue.enqueue_with(&Saves, unique()).unwrap().id();
        tests.advance(SECOND).unwrap();
        tests.run_until_idle().unwrap();
        assert_eq!(queue.get(id).unwrap().hold, Some(Hold::UnknownName));
        assert_eq!(queue.enqueue_with(&Do::Ok(3), unique()).unwrap(), Enqueued::Replaced(id));
        assert_eq!(queue.get(id).unwrap().task_name, "do");
        tests.advance(SECOND).unwrap();
        tests.run_until_idle().unwrap();
        assert_eq!(queue.result::<Do>(id).unwrap(), Some(3));
        assert_sound(&queue);
    }
}

#[test]
fn a_replaced_key_is_taken_as_the_newest_enqueue_says() {
    let (mut tests, _) = stepped();
    let queue = tests.queue().clone();
    let id = put(&queue, &Do::Ok(1), options(key().for_(HOUR)).delay(MINUTE)).id();
    assert_eq!(
        put(&queue, &Do::Ok(2), options(replace().until_started()).delay(MINUTE)),
        Enqueued::Replaced(id)
    );
    tests.advance(MINUTE).unwrap();
    tests.run_until_idle().unwrap();
    assert_eq!(taken_by(&queue), None, "not for a time any more");
    let id = put(&queue, &Do::Ok(1), options(key().until_started()).delay(MINUTE)).id();
    tests.advance(MINUTE / 2).unwrap();
    assert_eq!(put(&queue, &Do::Ok(2), options(replace().for_(HOUR))), Enqueued::Replaced(id));
    tests.run_until_idle().unwrap();
    tests.advance(HOUR - MINUTE / 2 - SECOND).unwrap();
    assert_eq!(taken_by(&queue), Some(id), "from when it was made");
    tests.advance(SECOND).unwrap();
    assert_eq!(taken_by(&queue), None);
    assert_sound(&queue);
}

#[test]
fn a_batch_replaces_what_it_has_just_made() {
    let (tests, _) = stepped();
    let queue = tests.queue();
    let made = queue
        .enqueue_all_with([
            (&Do::Ok(1), options(replace())),
            (&Do::Ok(2), options(replace())),
            (&Do::Ok(3), Options::new()),
            (&Do::Ok(4), options(key())),
        ])
        .unwrap();
    let id = made[0].id();
    assert_eq!((made[0].is_new(), made[1], made[3]), (true, Enqueued::Replaced(id), Enqueued::Existing(id)));
    tests.run_until_idle().unwrap();
    assert_eq!(queue.result::<Do>(id).unwrap(), Some(2));
    assert_sound(queue);
}

#[cfg(feature = "rusqlite")]
#[test]
fn g03_a_replacement_in_a_transaction_of_the_program_comes_and_goes_with_it() {
    let (tests, _) = stepped();
    let queue = tests.queue();
    let id = put(queue, &Do::Ok(1), options(key())).id();
    let mut conn = rusqlite::Connection::open(queue.path()).unwrap();
    for (n, commits) in [(2, false), (3, true)] {
        let transaction = conn.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).unwrap();
        let made = queue.enqueue_in(&transaction, &Do::Ok(n), options(replace())).unwrap();
        assert_eq!(made, Enqueued::Replaced(id));
        if commits { transaction.commit().unwrap() } else { drop(transaction) }
    }
    tests.run_until_idle().unwrap();
    assert_eq!(queue.result::<Do>(id).unwrap(), Some(3));
    let transaction = conn.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).unwrap();
    let timed = || Options::new().unique(Unique::key("timed").for_(HOUR));
    let first = queue.enqueue_in(&transaction, &Do::Ok(1), timed()).unwrap();
    assert_eq!(queue.enqueue_in(&transaction, &Do::Ok(2), timed()).unwrap(), Enqueued::Existing(first.id()));
    transaction.commit().unwrap();
    assert_sound(queue);
}

#[test]
fn g02_an_enqueue_that_is_repeated_changes_nothing_again() {
    let (tests, _) = stepped();
    let queue = tests.queue();
    let conn = rusqlite::Connection::open(queue.path()).unwrap();
    let token = |id: TaskId, column: &str| -> EnqueueToken {
        let sql = format!("SELECT {column} FROM perdura_args WHERE task_id = ?1");
        let token: i64 = conn.query_row(&sql, [id.as_i64()], |row| row.get(0)).unwrap();
        format!("{id}-{:016x}", token.cast_unsigned()).parse().unwrap()
    };
    let id = put(queue, &Do::Ok(1), options(replace())).id();
    let first = token(id, "token");
    assert_eq!(put(queue, &Do::Ok(2), options(replace())), Enqueued::Replaced(id));
    let second = token(id, "COALESCE(replace_token, 0)");
    for token in [first, second] {
        assert_eq!(queue.find_by_token(token).unwrap(), Some(id));
        assert_eq!(put(queue, &Do::Ok(9), options(replace()).token(token)), Enqueued::Existing(id));
        assert_eq!(args(queue, id), Do::Ok(2));
    }
    tests.run_until_idle().unwrap();
    assert_eq!(
        put(queue, &Do::Ok(9), options(replace()).token(second)),
        Enqueued::Existing(id),
        "it has run"
    );
    assert_eq!(queue.count(Filter::new()).unwrap(), 1);
}

#[test]
fn g06_a_replaced_suspect_still_waits_for_its_turn() {
    let (tests, clock) = stepped();
    let [id, other] = [1, 2].map(|n| {
        let unique = Unique::key(format!("{n}"));
        put(tests.queue(), &Do::Ok(n), Options::new().unique(unique)).id()
    });
    let folder = Folder::in_memory();
    let copy = folder.path().join("copy.db");
    tests.queue().backup(&copy, |_| {}).unwrap();
    let conn = rusqlite::Connection::open(&copy).unwrap();
    // What a process leaves that died with both of them.
    conn.execute_batch(
        "UPDATE perdura_tasks SET state = 1, in_flight = 1, generation = 1, attempt_number = 1, started_at_ms = created_at_ms;
         DELETE FROM perdura_counts; INSERT INTO perdura_counts VALUES (1, 1, 0, 2)",
    )
    .unwrap();
    drop(conn);
    let tests = SteppedQueue::open_file(builder(Config::default()), &clock, &copy).unwrap();
    let queue = tests.queue();
    let hold = |id| queue.get(id).unwrap().hold;
    assert_eq!((hold(id), hold(other)), (Some(Hold::Ready), Some(Hold::Suspect)));
    let unique = Unique::key("2").on_conflict(OnConflict::Replace);
    assert_eq!(put(queue, &Do::Ok(3), Options::new().unique(unique)), Enqueued::Replaced(other));
    assert_eq!(hold(other), Some(Hold::Suspect));
    assert_sound(queue);
    tests.run_until_idle().unwrap();
    assert_eq!(queue.counts().unwrap().total().succeeded, 2);
}

#[test]
fn g03_g08_a_crash_at_every_commit_of_a_replaced_key_leaves_a_sound_file() {
    for on_conflict in [OnConflict::Replace, OnConflict::ReplaceArgs, OnConflict::Debounce { max_wait: HOUR }]
    {
        let unique = move || key().until_started().for_(2 * MINUTE).on_conflict(on_conflict);
        let newest =
            move |n| (Do::Ok(n), options(unique()).delay(SECOND).priority(i16::try_from(n).unwrap_or(0)));
        let crashes = at_every_commit(
            || SteppedQueue::open(builder(Config::default()), &ManualClock::new()),
            move |tests| {
                for n in 1..=3 {
                    let (task, options) = newest(n);
                    let _ = tests.queue().enqueue_with(&task, options)?;
                }
                tests.advance(SECOND)?;
                tests.run_until_idle()?;
                tests.advance(2 * MINUTE)?;
                let (task, options) = newest(4);
                let _ = tests.queue().enqueue_with(&task, options)?;
                Ok(())
            },
            move |crashed, point: CrashPoint| {
                let mut tests = crashed.reopen(builder(Config::default()))?;
                let queue = tests.queue().clone();
                assert_sound(&queue);
                for task in queue.tasks(Filter::new().state(State::Queued))? {
                    let Do::Ok(n) = args(&queue, task.task_id) else { panic!("another task, {point}") };
                    let whole = on_conflict == OnConflict::Replace || n == 1 || n == 4;
                    assert!(!whole || i64::from(task.priority) == n.cast_signed(), "half replaced, {point}");
                }
                tests.advance(HOUR)?;
                tests.run_until_idle()?;
                assert_eq!(queue.count(Filter::new().state(State::Queued))?, 0, "{point}");
                assert_eq!(taken_by(&queue), None, "{point}");
                assert_sound(&queue);
                Ok(())
            },
        );
        // Three enqueues, promote, claim, settle, a purge of nothing, and one enqueue: each before and after.
        assert_eq!(crashes.unwrap(), 14, "{on_conflict:?}");
    }
}

#[test]
fn bounds_of_a_unique_key_are_refused() {
    let queue = Queue::builder().open_temporary().unwrap();
    for (options, part) in [
        (options(key().for_(Duration::ZERO)), "for is zero; leave it out"),
        (options(key().for_(MINUTE * 10_000_000)), "is longer than 10years"),
        (options(debounce(MINUTE)), "on_conflict is debounce, which needs a delay to begin anew"),
        (options(debounce(MINUTE)).delay(Duration::ZERO), "which needs a delay"),
        (options(debounce(MINUTE)).delay(HOUR), "max_wait \"1m\" is shorter than the delay, 1h"),
        (options(debounce(MINUTE)).run_at(std::time::SystemTime::now()), "with delay and not with run_at"),
        (options(Unique::key("")), "unique key is empty"),
    ] {
        let e = queue.enqueue_with(&Do::Ok(1), options).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::InvalidInput);
        assert!(e.to_string().contains(part), "{e} lacks {part}");
    }
    assert_eq!(queue.counts().unwrap().total().all(), 0);
}
