//! Changing tasks that wait: what can be changed, what follows from it, what is refused.

use std::time::Duration;

use perdura::testing::{ManualClock, SteppedQueue};
use perdura::{Config, Context, ErrorKind, Failure, Hold, Options, Queue, State, Task, TaskId};
use serde::{Deserialize, Serialize};

use crate::support::*;

fn put(tests: &SteppedQueue, task: &Do, options: Options) -> TaskId {
    tests.queue().enqueue_with(task, options).unwrap().id()
}

/// Why an edit is refused; nothing was changed.
#[track_caller]
fn refused(queue: &Queue, id: TaskId, options: Options) -> (ErrorKind, String) {
    let before = queue.get(id).ok();
    let error = queue.edit(id, options).unwrap_err();
    assert_eq!(queue.get(id).ok(), before, "{error}");
    assert_sound(queue);
    (error.kind(), error.to_string())
}

#[test]
fn a_task_that_was_made_more_urgent_runs_first() {
    let (tests, _clock) = stepped();
    put(&tests, &Do::Ok(1), Options::new());
    let urgent = put(&tests, &Do::Ok(2), Options::new());
    tests.queue().edit(urgent, Options::new().priority(5)).unwrap();
    assert_sound(tests.queue());
    tests.run_one().unwrap();
    assert_eq!(tests.queue().get(urgent).unwrap().state, State::Succeeded);
}

#[test]
fn one_that_waits_for_a_condition_keeps_waiting_and_goes_by_its_new_priority() {
    let (tests, _clock) = stepped();
    let needs = || Options::new().needs("online");
    let first = put(&tests, &Do::Ok(1), needs());
    let second = put(&tests, &Do::Ok(2), needs());
    tests.run_until_idle().unwrap();
    tests.queue().edit(second, Options::new().priority(5)).unwrap();
    assert_eq!(tests.queue().get(second).unwrap().hold, Some(Hold::Condition));
    tests.queue().set_condition("online", true).unwrap();
    assert_sound(tests.queue());
    tests.run_one().unwrap();
    let state = |id| tests.queue().get(id).unwrap().state;
    assert_eq!((state(first), state(second)), (State::Queued, State::Succeeded));
}

#[test]
fn the_time_can_be_moved_both_ways() {
    let (mut tests, clock) = stepped();
    let id = put(&tests, &Do::Ok(1), Options::new().delay(60 * MINUTE));
    tests.queue().edit(id, Options::new().delay(MINUTE)).unwrap();
    tests.advance(MINUTE).unwrap();
    assert_eq!(tests.queue().get(id).unwrap().hold, Some(Hold::Ready));
    tests.queue().edit(id, Options::new().delay(MINUTE)).unwrap();
    assert_eq!(tests.run_until_idle().unwrap().succeeded, 0, "it waits again");
    assert_eq!(tests.queue().get(id).unwrap().hold, Some(Hold::Time));
    tests.queue().edit(id, Options::new().run_at(perdura::Clock::now(&clock))).unwrap();
    assert_sound(tests.queue());
    assert_eq!(tests.run_until_idle().unwrap().succeeded, 1);
}

#[test]
fn a_retry_that_waits_can_have_more_attempts_and_another_backoff() {
    let (mut tests, _clock) = stepped();
    let id = put(&tests, &fail(), Options::new().max_attempts(2).backoff(MINUTE));
    tests.run_until_idle().unwrap();
    let (kind, why) = refused(tests.queue(), id, Options::new().max_attempts(1));
    assert_eq!(kind, ErrorKind::InvalidInput);
    assert!(why.contains("max_attempts \"1\" leaves task 1 none: it has had 1"), "{why}");
    let more = Options::new().max_attempts(3).backoff(2 * MINUTE).timeout(SECOND).tag("t");
    tests.queue().edit(id, more).unwrap();
    let task = tests.queue().get(id).unwrap();
    assert_eq!((task.max_attempts, task.backoff, task.timeout), (3, Some(2 * MINUTE), Some(SECOND)));
    assert_eq!((task.attempt_number, task.tag.as_deref(), task.hold), (1, Some("t"), Some(Hold::Time)));
    tests.advance(MINUTE).unwrap();
    tests.run_until_idle().unwrap();
    let task = tests.queue().get(id).unwrap();
    assert_eq!((task.state, task.attempt_number), (State::Queued, 2), "a third is left");
}

#[test]
fn other_args_are_what_the_handler_gets_and_no_checkpoint_of_the_old_ones() {
    #[derive(Serialize, Deserialize)]
    struct Count(u64);
    impl Task for Count {
        const NAME: &'static str = "count";
        type Output = u64;
    }
    let count = |task: Count, cx: &Context| match cx.checkpoint::<u64>()? {
        None if task.0 == 1 => {
            cx.save_checkpoint(&100)?;
            Err(Failure::named("later", "as told"))
        }
        saved => Ok(task.0 + saved.unwrap_or(0)),
    };
    let clock = ManualClock::new();
    let mut tests =
        SteppedQueue::open(Queue::builder().clock(clock.clone()).handle(count).handle(run), &clock).unwrap();
    let id = tests.queue().enqueue(&Count(1)).unwrap().id();
    tests.run_until_idle().unwrap();
    let error = tests.queue().edit_args(id, &Do::Ok(1)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WrongState);
    assert!(error.to_string().contains("is a \"count\" and not a \"do\""), "{error}");
    tests.queue().edit_args(id, &Count(7)).unwrap();
    assert_sound(tests.queue());
    tests.advance(MINUTE).unwrap();
    tests.run_until_idle().unwrap();
    assert_eq!(tests.queue().result::<Count>(id).unwrap(), Some(7));
}

#[test]
fn what_cannot_be_changed_is_refused() {
    let config = Config::default();
    let (tests, _clock) = stepped_with(config);
    let ended = put(&tests, &Do::Ok(1), Options::new());
    tests.run_until_idle().unwrap();
    let (kind, why) = refused(tests.queue(), ended, Options::new().priority(1));
    assert_eq!(
        (kind, why.as_str()),
        (ErrorKind::WrongState, "task 1 is SUCCEEDED; only QUEUED tasks can be changed")
    );
    let limited = put(&tests, &Do::Ok(1), Options::new().limit("k", 1));
    let (kind, why) = refused(tests.queue(), limited, Options::new().priority(1));
    assert!(kind == ErrorKind::WrongState && why.contains("in the line of its key"), "{why}");
    tests.queue().edit(limited, Options::new().tag("t")).unwrap();
    let waits = put(&tests, &Do::Ok(1), Options::new().delay(MINUTE).expires(10 * MINUTE));
    let (kind, why) = refused(tests.queue(), waits, Options::new().delay(Duration::from_secs(600)));
    assert!(
        kind == ErrorKind::InvalidInput && why.starts_with("run_at is not before the task expires"),
        "{why}"
    );
    for (options, option) in [
        (Options::new().queue("q"), "queue"),
        (Options::new().unique("k"), "unique"),
        (Options::new().serial("k"), "serial"),
        (Options::new().needs("online"), "needs"),
        (Options::new().expires(MINUTE), "expires"),
    ] {
        let (kind, why) = refused(tests.queue(), waits, options);
        assert!(kind == ErrorKind::InvalidInput && why.starts_with(option), "{why}");
    }
    let (kind, _) = refused(tests.queue(), waits, Options::new().max_attempts(0));
    assert_eq!(kind, ErrorKind::InvalidInput);
    let none = TaskId::from_i64(99);
    assert_eq!(tests.queue().edit(none, Options::new().priority(1)).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn args_whose_steps_are_done_stay() {
    let step = |_: Do, cx: &Context| -> Result<u64, Failure> {
        cx.step("one", || Ok::<u64, Failure>(1))?;
        Err(Failure::named("later", "as told"))
    };
    let clock = ManualClock::new();
    let tests = SteppedQueue::open(Queue::builder().clock(clock.clone()).handle(step), &clock).unwrap();
    let id = put(&tests, &Do::Ok(1), Options::new());
    tests.run_until_idle().unwrap();
    let error = tests.queue().edit_args(id, &Do::Ok(2)).unwrap_err();
    assert!(error.to_string().contains("has stored steps"), "{error}");
    tests.queue().edit(id, Options::new().priority(1)).unwrap();
}
