//! From enqueue to settled, on a stepped queue and with threads.

use std::time::Duration;

use perdura::{Config, Options, Queue, State};

use crate::support::*;

#[test]
fn a_task_succeeds_and_its_result_is_kept() {
    let (tests, _) = stepped();
    let id = tests.queue().enqueue(&Do::Ok(7)).unwrap().id();
    assert_eq!(tests.queue().get(id).unwrap().state, State::Queued);
    assert_eq!(tests.run_until_idle().unwrap().succeeded, 1);
    let record = tests.queue().get(id).unwrap();
    assert_eq!((record.state, record.attempt_number, record.generation), (State::Succeeded, 1, 1));
    assert_eq!(tests.queue().result::<Do>(id).unwrap(), Some(7));
    assert_sound(tests.queue());
}

#[test]
fn by_default_three_attempts_60_and_120_seconds_apart() {
    let (mut tests, clock) = stepped();
    let id = tests.queue().enqueue(&fail()).unwrap().id();
    tests.run_until_idle().unwrap();
    for wait in [60, 120] {
        let record = tests.queue().get(id).unwrap();
        assert_eq!(record.run_at.unwrap(), perdura::Clock::now(&clock).saturating_add(wait * SECOND));
        tests.advance(wait * SECOND - Duration::from_millis(1)).unwrap();
        assert_eq!(tests.run_one().unwrap(), None, "too early");
        tests.advance(Duration::from_millis(1)).unwrap();
        assert_eq!(tests.run_until_idle().unwrap().failed, 1);
    }
    let record = tests.queue().get(id).unwrap();
    assert_eq!((record.state, record.attempt_number), (State::Failed, 3));
    assert_eq!(record.error_type.as_deref(), Some("told"));
    assert_eq!(tests.queue().attempts(id).unwrap().len(), 3);
    assert_sound(tests.queue());
}

#[test]
fn g08_a_new_owner_settles_what_the_dead_one_was_running() {
    let folder = Folder::new();
    let clock = perdura::testing::ManualClock::new();
    let open = || {
        let builder = builder(Config::default()).clock(clock.clone());
        perdura::testing::SteppedQueue::open_file(builder, &clock, folder.file()).unwrap()
    };
    let tests = open();
    let ids: Vec<_> = (0..3).map(|n| tests.queue().enqueue(&Do::Ok(n)).unwrap().id()).collect();
    assert_eq!(tests.crash_in_attempt(true).unwrap().1, Some(ids[0]));
    let record = open().queue().get(ids[0]).unwrap();
    assert_eq!((record.state, record.attempt_number), (State::Queued, 1), "a started attempt is charged");
    assert_eq!(record.error_type.as_deref(), Some("TaskLost"));
    assert_eq!(open().crash_in_attempt(false).unwrap().1, Some(ids[0]), "the order is kept");
    let tests = open();
    assert_eq!(tests.queue().get(ids[0]).unwrap().attempt_number, 1, "one that had not started is not");
    assert_eq!(tests.run_until_idle().unwrap().succeeded, 3);
    assert_sound(tests.queue());
}

#[test]
fn threads_drain_a_thousand_tasks() {
    let folder = Folder::new();
    let queue = builder(Config::default().workers(2)).open(folder.file()).unwrap();
    let tasks: Vec<_> = (0..1000).map(Do::Ok).collect();
    let ids = queue.enqueue_all(&tasks).unwrap();
    queue.drain().unwrap();
    let total = queue.counts().unwrap().total();
    assert_eq!(total.succeeded, 1000);
    assert_eq!(queue.result::<Do>(ids[999].id()).unwrap(), Some(999));
    let report = queue.shutdown(Duration::from_secs(10)).unwrap();
    assert!(report.still_running.is_empty());
    assert_sound(&queue);
}

#[test]
fn an_enqueue_starts_an_idle_queue() {
    let folder = Folder::new();
    let queue = builder(Config::default().poll_interval(Duration::ZERO)).open(folder.file()).unwrap();
    for n in 0..50 {
        let id = add(&queue, &Do::Ok(n), Options::new());
        assert_eq!(queue.wait(id, Duration::from_secs(20)).unwrap().state, State::Succeeded);
    }
    drop(queue);
    let queue = Queue::builder().open(folder.file()).unwrap();
    assert_eq!(queue.counts().unwrap().total().succeeded, 50);
    assert_sound(&queue);
}

#[test]
fn g06_g08_a_crash_leaves_what_a_killed_process_leaves() {
    let clock = perdura::testing::ManualClock::new();
    let open = || perdura::testing::SteppedQueue::open(builder(Config::default()), &clock).unwrap();
    let tests = open();
    let queue = tests.queue().clone();
    let id = queue.enqueue(&Do::Ok(1)).unwrap().id();
    let (crashed, claimed) = tests.crash_in_attempt(true).unwrap();
    assert_eq!(claimed, Some(id));
    assert_eq!(queue.get(id).unwrap_err().kind(), perdura::ErrorKind::Crashed);
    assert_eq!(queue.enqueue(&Do::Ok(2)).unwrap_err().kind(), perdura::ErrorKind::Crashed);
    let mut wal = crashed.path().as_os_str().to_owned();
    wal.push("-wal");
    assert!(std::fs::metadata(wal).unwrap().len() > 0, "the WAL stays as it was");
    let tests = crashed.reopen(builder(Config::default())).unwrap();
    let record = tests.queue().get(id).unwrap();
    assert_eq!((record.state, record.attempt_number), (State::Queued, 1));
    assert_eq!(tests.run_until_idle().unwrap().succeeded, 1);
    assert_sound(tests.queue());
}

#[test]
fn g02_a_crash_at_a_commit_answers_unknown_and_the_token_finds_out() {
    use perdura::testing::CrashPoint;
    for (point, is_there) in [(CrashPoint::before(1), false), (CrashPoint::after(1), true)] {
        let (tests, _) = stepped();
        tests.crash_at(point);
        let error = tests.queue().enqueue(&Do::Ok(1)).unwrap_err();
        assert_eq!(error.outcome(), perdura::Outcome::Unknown);
        let token = error.token().unwrap();
        let tests = tests.crash().unwrap().reopen(builder(Config::default())).unwrap();
        assert_eq!(tests.queue().find_by_token(token).unwrap().is_some(), is_there, "{point}");
        let again = tests.queue().enqueue_with(&Do::Ok(1), perdura::Options::new().token(token)).unwrap();
        assert_eq!(again.is_new(), !is_there, "{point}");
    }
}

#[test]
fn g01_each_of_a_hundred_enqueues_is_in_the_file() {
    let folder = Folder::in_memory();
    let queue = builder(Config::default()).open(folder.file()).unwrap();
    queue.pause("default").unwrap();
    let ids: Vec<_> = (0..100).map(|n| queue.enqueue(&Do::Ok(n)).unwrap().id()).collect();
    drop(queue);
    let queue = Queue::builder().open(folder.file()).unwrap();
    let found: Vec<_> =
        queue.tasks(perdura::Filter::new().limit(200)).unwrap().iter().map(|task| task.task_id).collect();
    assert_eq!(found, ids);
}
