//! Jobs that wait for their start: their time does not run, and nothing is charged.

use std::time::{Duration, Instant};

use perdura::{State, TaskId};
use rustix::process::Signal;

use crate::jobs_killed::{read_pid, signal, working};
use crate::support::{Place, Running, await_that};

/// Waits until a task has counted as running for so long.
fn await_running(place: &Place, id: TaskId, time: Duration) {
    let mut since = None;
    await_that("it has been running long enough", || {
        place.record(id).state == State::Running && since.get_or_insert_with(Instant::now).elapsed() >= time
    });
}

/// A worker that waits for the job of a killed one, whose shim is stopped; and a job that this worker has claimed.
fn waiting_for_a_predecessor(place: &Place, options: &[&str]) -> (TaskId, Running, i32) {
    let script = r#"if [ "$PERDURA_GENERATION" = 1 ]; then echo $PPID > shim; echo $$ > pid; sleep 1000; fi"#;
    let (_, worker) = working(place, &["--max-attempts", "2"], &[], script);
    let shim = read_pid(place, "shim");
    signal(shim, Signal::STOP);
    signal(worker.id(), Signal::KILL);
    drop(worker);
    let id = place.add(["--timeout", "1s", "--max-attempts", "1", "--", "true"]);
    let worker = place.start(place.command(["work", "--workers", "2"].iter().chain(options)));
    await_that("it says that it waits", || {
        worker.err().contains("waiting until the jobs of the worker before")
    });
    (id, worker, shim)
}

#[test]
fn a_job_that_waits_for_a_predecessor_has_not_timed_out() {
    let place = Place::new();
    let (id, worker, shim) = waiting_for_a_predecessor(&place, &["--drain"]);
    await_running(&place, id, Duration::from_millis(1500));
    signal(shim, Signal::CONT);
    let said = worker.end();
    assert_eq!(said.code, Some(0), "{said:?}");
    let record = place.record(id);
    assert_eq!((record.state, record.attempt_number, record.snoozes), (State::Succeeded, 1, 0));
}

#[test]
fn a_worker_that_waits_for_its_predecessor_ends_at_once() {
    let place = Place::new();
    let (id, worker, shim) = waiting_for_a_predecessor(&place, &["--grace", "1h"]);
    signal(worker.id(), Signal::TERM);
    assert_eq!(worker.end().code, Some(143));
    assert_eq!((place.record(id).state, place.record(id).attempt_number), (State::Queued, 0));
    signal(shim, Signal::CONT);
}

/// The library gives a task that ignores its deadline a second worker, whose task waits for the place of the first.
#[test]
fn a_jobs_time_counts_from_its_start() {
    let place = Place::new();
    let slow = r#"trap "" TERM; echo $$ > pid; until [ -e go ]; do sleep 0.02; done"#;
    let options = ["--priority", "1", "--timeout", "500ms", "--kill-after", "1m", "--max-attempts", "1"];
    let next = place.add(["--timeout", "3s", "--max-attempts", "1", "--shell", "sleep 1"]);
    let (_, worker) = working(&place, &options, &["--drain", "--workers", "1"], slow);
    await_running(&place, next, Duration::from_millis(2500));
    std::fs::write(place.path("go"), "").unwrap();
    worker.end();
    let record = place.record(next);
    assert_eq!((record.state, record.attempt_number), (State::Succeeded, 1), "{record:?}");
}
