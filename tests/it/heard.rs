//! What a program hears of its tasks without asking: lines of its log, and a write that does not wait.

use perdura::{Config, ErrorKind, Failure, Options, Queue, State, Task};
use serde::{Deserialize, Serialize};

use crate::logger;
use crate::support::*;

#[derive(Serialize, Deserialize)]
struct Heard(u32);

impl Task for Heard {
    const NAME: &'static str = "heard";
    type Output = ();
}

#[test]
fn a_task_that_fails_is_told_in_the_log_without_its_message() {
    logger::listen();
    let folder = Folder::new();
    let fails = |_: Heard, _: &perdura::Context| -> Result<(), Failure> {
        Err(Failure::named("heard.Refused", "the private text"))
    };
    let config = Config::default().retry_backoff(std::time::Duration::ZERO);
    let queue = Queue::builder().config(config).handle(fails).open(folder.file()).unwrap();
    let id = queue.enqueue_with(&Heard(1), Options::new().max_attempts(2)).unwrap().id();
    queue.wait(id, PATIENCE).unwrap();
    assert_eq!(queue.get(id).unwrap().state, State::Failed);
    queue.shutdown(MINUTE).unwrap();
    let lines: Vec<String> =
        logger::lines().into_iter().filter(|line| line.contains("heard.Refused")).collect();
    assert_eq!(
        lines,
        [
            format!("an attempt of task {id} (heard) failed, and it is tried again: heard.Refused"),
            format!("task {id} (heard) is FAILED: heard.Refused"),
        ]
    );
}

/// The same tasks under a name that no other test's lines have.
#[derive(Serialize, Deserialize)]
struct Doomed;

impl Task for Doomed {
    const NAME: &'static str = "heard.doomed";
    type Output = ();
}

#[test]
fn a_task_that_is_lost_with_its_process_is_told_in_the_log() {
    logger::listen();
    let clock = perdura::testing::ManualClock::new();
    let open = || {
        Queue::builder().clock(clock.clone()).handle(|_: Doomed, _: &perdura::Context| Ok::<(), Failure>(()))
    };
    let tests = perdura::testing::SteppedQueue::open(open(), &clock).unwrap();
    let id = tests.queue().enqueue_with(&Doomed, Options::new().max_attempts(1)).unwrap().id();
    let (crashed, _) = tests.crash_in_attempt(true).unwrap();
    let tests = crashed.reopen(open()).unwrap();
    assert_eq!(tests.queue().get(id).unwrap().state, State::Lost);
    let lines: Vec<String> =
        logger::lines().into_iter().filter(|line| line.contains("heard.doomed")).collect();
    assert_eq!(lines, [format!("task {id} (heard.doomed) is LOST: TaskLost")]);
}

#[test]
fn a_write_waits_for_a_lock_as_long_as_it_was_told_to() {
    let folder = Folder::new();
    let queue = Queue::builder().busy_timeout(std::time::Duration::ZERO).open(folder.file()).unwrap();
    let other = rusqlite::Connection::open(folder.file()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let e = queue.enqueue(&Heard(1)).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Busy, "{e}");
    other.execute_batch("ROLLBACK").unwrap();
    let _ = queue.enqueue(&Heard(1)).unwrap();
    let too_long = Config::default().busy_timeout(61 * MINUTE);
    assert!(
        too_long.validate().unwrap_err().to_string().starts_with("busy_timeout = \"1h 1m\" is out of range")
    );
}
