//! What `explain` says of each reason to wait, with the instant at which it ends, where there is one. (Of pauses, limits of queues, suspects and
//! processes that cannot execute the tests stand with what they are about.)

use std::time::Duration;

use perdura::testing::{ManualClock, SteppedQueue};
use perdura::{Config, Context, Failure, Hold, Options, Overlap, Queue, Rate, Schedule, TaskId};

use crate::support::*;

const HOUR: Duration = Duration::from_secs(3600);

#[track_caller]
fn says(queue: &Queue, id: TaskId, wanted: &str) {
    assert_eq!(queue.explain(id).unwrap().to_string(), format!("task {id} is queued and {wanted}"));
}

#[test]
fn g20_explain_names_a_time() {
    let (tests, _) = stepped();
    let id = add(tests.queue(), &Do::Ok(1), Options::new().delay(HOUR));
    says(tests.queue(), id, "waits until 2026-01-01T01:00:00.000Z");
    tests.queue().pause("default").unwrap();
    says(tests.queue(), id, "waits until 2026-01-01T01:00:00.000Z; its queue \"default\" is paused");
}

#[test]
fn g20_explain_names_a_retry() {
    let (tests, _) = stepped();
    let id = add(tests.queue(), &Do::RetryAfter(3_600_000), Options::new());
    tests.run_one().unwrap();
    says(tests.queue(), id, "waits until 2026-01-01T01:00:00.000Z for its next attempt after later: as told");
}

#[test]
fn g20_explain_names_a_rate() {
    let (tests, _) = stepped();
    tests.queue().set_rate("default", Some(Rate::per(MINUTE, 1))).unwrap();
    let [_, second] = [1, 2].map(|n| add(tests.queue(), &Do::Ok(n), Options::new()));
    tests.run_one().unwrap();
    says(
        tests.queue(),
        second,
        "ready, but the rate of its queue \"default\" lets the next task start at 2026-01-01T00:01:00.000Z",
    );
}

#[test]
fn g20_explain_names_a_throttle() {
    let closes = |_: Do, _: &Context| Err::<u64, _>(Failure::throttle(MINUTE * 5));
    let tests = SteppedQueue::open(Queue::builder().handle(closes), &ManualClock::new()).unwrap();
    let id = add(tests.queue(), &Do::Ok(1), Options::new());
    tests.run_one().unwrap();
    says(
        tests.queue(),
        id,
        "ready, but a handler has closed its queue \"default\" until 2026-01-01T00:05:00.000Z",
    );
}

#[test]
fn g20_explain_names_a_key_whose_holder_waits_for_its_retry() {
    let (tests, _) = stepped();
    let serial = || Options::new().serial("k");
    let first = add(tests.queue(), &Do::RetryAfter(3_600_000), serial());
    let second = add(tests.queue(), &Do::Ok(1), serial());
    let wanted =
        format!("waits for its turn: tasks of its key run one after another; task {first} is before it");
    says(tests.queue(), second, &wanted);
    tests.run_one().unwrap();
    let wanted = format!("{wanted}; task {first} waits until 2026-01-01T01:00:00.000Z itself");
    says(tests.queue(), second, &wanted);
    let why = tests.queue().explain(second).unwrap();
    assert_eq!(
        (why.task.hold, why.blocker_due),
        (Some(Hold::Limit), tests.queue().get(first).unwrap().run_at)
    );
    assert_eq!(tests.queue().explain(first).unwrap().blocker_due, None, "it waits for no other task");
}

#[test]
fn g20_explain_names_a_run_before_that_waits_for_its_retry() {
    let (mut tests, _) = stepped();
    let schedule = Schedule::every("sync", MINUTE).overlap(Overlap::Queue);
    tests.queue().set_schedule(schedule, &Do::RetryAfter(3_600_000)).unwrap();
    tests.advance(MINUTE).unwrap();
    tests.run_one().unwrap();
    tests.advance(MINUTE).unwrap();
    let second = tests.queue().tasks(perdura::Filter::new().hold(Hold::Parents)).unwrap()[0].task_id;
    says(
        tests.queue(),
        second,
        "waits until task 1, the run before it of the schedule \"sync\", has ended; task 1 waits until 2026-01-01T01:01:00.000Z itself; it is the \
         run of 2026-01-01T00:02:00.000Z",
    );
}

#[test]
fn g20_explain_names_a_name_that_no_handler_knows() {
    let none = Queue::builder().config(Config::default());
    let tests =
        SteppedQueue::open(none.handle(|_: Stranger, _: &Context| Ok::<_, Failure>(())), &ManualClock::new());
    let tests = tests.unwrap();
    let id = add(tests.queue(), &Do::Ok(1), Options::new());
    tests.run_one().unwrap();
    says(tests.queue(), id, "waits for a program that handles the task name \"do\" (version 1); start one");
}

#[test]
fn g20_explain_names_a_process_that_does_not_execute() {
    let queue = Queue::builder().open_temporary().unwrap();
    let id = add(&queue, &Do::Ok(1), Options::new());
    says(&queue, id, "ready: 0 tasks of its queue come before it; no process executes tasks from the file");
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Stranger;

impl perdura::Task for Stranger {
    const NAME: &'static str = "stranger";
    type Output = ();
}

#[test]
fn g20_a_wait_that_is_over_says_what_the_task_waits_for() {
    #[derive(serde::Serialize, serde::Deserialize)]
    struct Forgotten;
    impl perdura::Task for Forgotten {
        const NAME: &'static str = "forgotten";
        type Output = ();
    }
    let (tests, _) = stepped();
    let id = tests.queue().enqueue(&Forgotten).unwrap().id();
    tests.run_until_idle().unwrap();
    let late = tests.queue().wait(id, Duration::ZERO).unwrap_err();
    let wanted = "task 1 is not finished after 0s: task 1 is queued and waits for a program that handles the task name \"forgotten\" (version 1); start one";
    assert_eq!((late.kind(), late.to_string().as_str()), (perdura::ErrorKind::TimedOut, wanted));
}
