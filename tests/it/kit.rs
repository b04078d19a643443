//! The testing kit, tested: assertions, a task performed, crashes at every commit.

use perdura::testing::{CrashPoint, ManualClock, Ran, SteppedQueue, at_every_commit};
use perdura::{Config, Context, ErrorKind, Failure, Options, Queue, State, Task};
use serde::{Deserialize, Serialize};

use crate::support::*;

#[test]
fn assertions_find_what_is_enqueued() {
    let (mut tests, _) = stepped();
    let queue = tests.queue();
    let now = queue.enqueue(&Do::Ok(1)).unwrap().id();
    let later = add(queue, &Do::Ok(2), Options::new().delay(MINUTE));
    assert_eq!(tests.assert_enqueued::<Do>(|task| *task == Do::Ok(2)).task_id, later);
    tests.refute_enqueued::<Do>(|task| *task == Do::Ok(3));
    let all = tests.all_enqueued::<Do>().unwrap();
    assert_eq!(all.iter().map(|t| t.record.task_id).collect::<Vec<_>>(), [now, later]);
    assert_eq!(all[0].task, Do::Ok(1));
    tests.run_until_idle().unwrap();
    tests.refute_enqueued(|task: &Do| *task == Do::Ok(1));
    tests.advance(MINUTE).unwrap();
    assert_eq!(tests.run_until_idle().unwrap().succeeded, 1);
    assert!(tests.all_enqueued::<Do>().unwrap().is_empty());
}

/// What a panic says.
fn said(act: impl FnOnce() + std::panic::UnwindSafe) -> String {
    let panic = std::panic::catch_unwind(act).expect_err("it does not hold");
    panic.downcast_ref::<String>().cloned().unwrap_or_default()
}

#[test]
fn g14_assertions_that_fail_name_tasks_and_no_args() {
    let (tests, _) = stepped();
    let id = tests.queue().enqueue(&Do::Fail("canary".into())).unwrap().id();
    let tests = std::panic::AssertUnwindSafe(&tests);
    let missing = said(|| drop(tests.assert_enqueued::<Do>(|_| false)));
    assert_eq!(missing, format!("no \"do\" task is enqueued as wanted; there are {id} in \"default\""));
    let unwanted = said(|| tests.refute_enqueued::<Do>(|_| true));
    assert_eq!(unwanted, format!("\"do\" tasks are enqueued that should not be: {id} in \"default\""));
}

#[test]
fn one_task_is_performed_from_args_to_outcome() {
    let (tests, _) = stepped();
    let performed = tests.perform(&Do::Ok(7)).unwrap();
    assert_eq!(performed.ran, Ran::Succeeded(performed.record.task_id));
    assert_eq!(tests.queue().result::<Do>(performed.record.task_id).unwrap(), Some(7));
    let performed = tests.perform(&fail()).unwrap();
    assert!(matches!(performed.ran, Ran::Failed(_)));
    assert_eq!(performed.record.error_type.as_deref(), Some("told"));
    let _ = tests.queue().enqueue(&Do::Ok(1)).unwrap();
    let error = tests.perform(&Do::Ok(2)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WrongState);
    assert_eq!(
        error.to_string(),
        "1 other tasks are ready and would run first; call run_until_idle() before"
    );
}

/// Args that do not come back as they went.
#[derive(Serialize, Deserialize)]
struct OneSided {
    parts: Vec<Part>,
}

#[derive(Serialize, Deserialize)]
struct Part {
    #[serde(skip_deserializing)]
    size: u32,
}

impl Task for OneSided {
    const NAME: &'static str = "one sided";
    type Output = ();
}

#[test]
fn args_that_change_on_their_way_are_found() {
    let clock = ManualClock::new();
    let handler = |_: OneSided, _: &Context| Ok::<_, Failure>(());
    let tests = SteppedQueue::open(Queue::builder().handle(handler), &clock).unwrap();
    let error = tests.perform(&OneSided { parts: vec![Part { size: 3 }] }).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Serialization);
    assert!(error.to_string().contains("at /parts/0/size"), "{error}");
    assert_eq!(tests.queue().counts().unwrap().total().all(), 0, "it was not enqueued");
}

#[test]
fn g06_g08_a_crash_at_every_commit_of_a_retry_leaves_a_sound_file_and_charges_what_started() {
    let crashes = at_every_commit(
        || SteppedQueue::open(builder(Config::default()), &ManualClock::new()),
        |tests| {
            let _ = tests.queue().enqueue(&Do::FailUntil(2))?;
            tests.run_until_idle()?;
            tests.advance(MINUTE)?;
            tests.run_until_idle()?;
            Ok(())
        },
        |crashed, point| {
            let mut tests = crashed.reopen(builder(Config::default()))?;
            assert_sound(tests.queue());
            let there = tests.queue().tasks(perdura::Filter::new())?;
            assert_eq!(there.is_empty(), point == CrashPoint::before(1), "{point}");
            let Some(task) = there.first() else { return Ok(()) };
            tests.run_until_idle()?;
            tests.advance(2 * MINUTE)?;
            tests.run_until_idle()?;
            let end = tests.queue().get(task.task_id)?;
            assert_eq!(end.state, State::Succeeded, "a crash {point}");
            assert!((2..=3).contains(&end.attempt_number), "a crash {point}: {}", end.attempt_number);
            assert_sound(tests.queue());
            Ok(())
        },
    );
    // enqueue, claim, settle, promote, claim, settle: each before and after
    assert_eq!(crashes.unwrap(), 12);
}

#[test]
fn fresh_queues_are_independent_and_alike() {
    let clock = ManualClock::new();
    let config = Config::default().retry_jitter(1.0);
    let delays = || {
        let tests = SteppedQueue::open(builder(config.clone()), &clock).unwrap();
        let id = tests.queue().enqueue(&fail()).unwrap().id();
        tests.run_until_idle().unwrap();
        (id, tests.queue().get(id).unwrap().run_at)
    };
    assert_eq!(delays(), delays(), "ids and jitter are the same in each run");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..25).for_each(|_| assert_eq!(delays().0.as_i64(), 1)));
        }
    });
}

/// What cannot run stands before what can, and is more than one claim looks at.
#[test]
fn a_claim_that_is_cut_short_goes_on() {
    let (tests, _) = stepped();
    let queue = tests.queue();
    let unknown = vec![Unknown; 1_100];
    let _ = queue.enqueue_all(&unknown).unwrap();
    let id = queue.enqueue(&Do::Ok(1)).unwrap().id();
    assert_eq!(tests.run_until_idle().unwrap().succeeded, 1);
    assert_eq!(queue.get(id).unwrap().state, State::Succeeded);
    assert_eq!(queue.counts().unwrap().total().unknown_name, 1_100);
}

#[derive(Clone, Serialize, Deserialize)]
struct Unknown;

impl perdura::Task for Unknown {
    const NAME: &'static str = "unknown";
    type Output = ();
}
