//! Work that is outside: a task is RUNNING without a thread, until somebody says how it ends.

use std::sync::mpsc;
use std::time::Duration;

use perdura::testing::{ManualClock, SteppedQueue, at_every_commit};
use perdura::{
    AttemptOutcome, Builder, Config, Context, ErrorKind, Failure, Filter, Hold, Options, Queue, State, Task,
    TaskId,
};
use serde::{Deserialize, Serialize};

use crate::support::*;

/// Asks somebody.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Approve;

impl Task for Approve {
    const NAME: &'static str = "approve";
    type Output = String;
}

fn approve(_: Approve, cx: &Context) -> Result<String, Failure> {
    let _ = cx; // a real one tells somebody its id and its generation
    Err(Failure::outside("approval"))
}

fn program() -> Builder {
    builder(Config::default()).handle(approve)
}

fn open() -> SteppedQueue {
    SteppedQueue::open(program(), &ManualClock::new()).unwrap()
}

/// A task that waits outside.
fn outside(tests: &SteppedQueue, options: Options) -> TaskId {
    let id = tests.queue().enqueue_with(&Approve, options).unwrap().id();
    assert_eq!(tests.run_until_idle().unwrap().went_outside, 1);
    id
}

fn yes() -> String {
    "yes".to_owned()
}

#[test]
fn g19_a_task_that_is_outside_runs_without_a_thread_and_ends_as_somebody_says() {
    let tests = open();
    let queue = tests.queue();
    let id = outside(&tests, Options::new());
    let record = queue.get(id).unwrap();
    assert_eq!((record.state, record.attempt_number, record.generation), (State::Running, 1, 1));
    let where_it_is = record.outside.unwrap();
    assert_eq!((where_it_is.waits_for.as_deref(), where_it_is.engine), (Some("approval"), None));
    assert_sound(queue);
    // The one worker is free.
    let other = add(queue, &Do::Ok(1), Options::new());
    tests.run_until_idle().unwrap();
    assert_eq!(queue.get(other).unwrap().state, State::Succeeded);
    queue.complete::<Approve>(id, 1, &yes()).unwrap();
    let record = queue.get(id).unwrap();
    assert_eq!((record.state, record.outside), (State::Succeeded, None));
    assert_eq!(queue.result::<Approve>(id).unwrap(), Some(yes()));
    assert_sound(queue);
}

#[test]
fn g07_only_the_attempt_that_is_outside_can_be_ended_and_once() {
    let tests = open();
    let queue = tests.queue();
    let id = outside(&tests, Options::new());
    let superseded = |ended: Result<(), perdura::Error>| {
        assert_eq!(ended.unwrap_err().kind(), ErrorKind::Superseded);
    };
    superseded(queue.complete::<Approve>(id, 0, &yes()));
    superseded(queue.complete::<Approve>(id, 2, &yes()));
    assert_eq!(queue.get(id).unwrap().state, State::Running);
    queue.fail(id, 1, Failure::permanent("no")).unwrap();
    superseded(queue.fail(id, 1, Failure::permanent("no")));
    superseded(queue.complete::<Approve>(id, 1, &yes()));
    assert_eq!(queue.get(id).unwrap().state, State::Failed);
    // Of the next attempt, the answer to the first one ends nothing.
    queue.retry(id).unwrap();
    superseded(queue.complete::<Approve>(id, 1, &yes()));
    tests.run_until_idle().unwrap();
    superseded(queue.complete::<Approve>(id, 1, &yes()));
    queue.complete::<Approve>(id, 2, &yes()).unwrap();
    superseded(queue.complete::<Approve>(id, 2, &yes()));
    assert_sound(queue);
}

#[test]
fn what_cannot_be_completed_is_refused_and_says_why() {
    let tests = open();
    let queue = tests.queue();
    let id = outside(&tests, Options::new());
    let wrong = queue.complete::<Do>(id, 1, &7).unwrap_err();
    assert_eq!(wrong.kind(), ErrorKind::InvalidInput);
    assert!(wrong.to_string().contains("is a \"approve\""), "{wrong}");
    let missing: TaskId = "99".parse().unwrap();
    assert_eq!(queue.complete::<Approve>(missing, 1, &yes()).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(queue.fail(missing, 1, Failure::permanent("no")).unwrap_err().kind(), ErrorKind::NotFound);
    let no_end = queue.fail(id, 1, Failure::outside("somebody else")).unwrap_err();
    assert_eq!(no_end.kind(), ErrorKind::InvalidInput);
    let no_json = queue.complete_json(id, 1, "{secret").unwrap_err();
    assert_eq!(no_json.kind(), ErrorKind::Serialization);
    assert!(!no_json.to_string().contains("secret"), "{no_json}");
    let large = format!("{:?}", "x".repeat(2 << 20));
    assert_eq!(queue.complete_json(id, 1, &large).unwrap_err().kind(), ErrorKind::TooLarge);
    // What does not wait outside is no matter of somebody's.
    let waiting = add(queue, &Do::Ok(1), Options::new().delay(MINUTE));
    assert_eq!(queue.complete_json(waiting, 0, "1").unwrap_err().kind(), ErrorKind::Superseded);
    for refused in [queue.delete(id), queue.retry(id), queue.run_now(id)] {
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::WrongState);
    }
    assert_eq!(queue.get(id).unwrap().state, State::Running);
    for name in ["", "a\nb", &"x".repeat(201)] {
        let tests = SteppedQueue::open(
            Queue::builder().handle({
                let name = name.to_owned();
                move |_: Approve, _: &Context| Err(Failure::outside(name.clone()))
            }),
            &ManualClock::new(),
        )
        .unwrap();
        let id = tests.queue().enqueue(&Approve).unwrap().id();
        tests.run_until_idle().unwrap();
        let failed = tests.queue().get(id).unwrap();
        assert_eq!((failed.state, failed.error_type.as_deref()), (State::Failed, Some("InvalidInput")));
    }
}

#[test]
fn how_somebody_lets_it_fail_is_how_a_handler_would() {
    let mut tests = open();
    let queue = tests.queue().clone();
    let id = outside(&tests, Options::new());
    queue.fail(id, 1, Failure::named("declined", "no")).unwrap();
    let record = queue.get(id).unwrap();
    assert_eq!((record.state, record.hold), (State::Queued, Some(Hold::Time)));
    assert_eq!(record.error_type.as_deref(), Some("declined"));
    tests.advance(MINUTE).unwrap();
    tests.run_until_idle().unwrap();
    queue.fail(id, 2, Failure::snooze(SECOND)).unwrap();
    assert_eq!(queue.get(id).unwrap().attempt_number, 1, "a snooze does not count");
    tests.advance(SECOND).unwrap();
    tests.run_until_idle().unwrap();
    queue.fail(id, 3, Failure::cancel("never mind")).unwrap();
    assert_eq!(queue.get(id).unwrap().state, State::Cancelled);
    let outcomes: Vec<_> = queue.attempts(id).unwrap().iter().map(|attempt| attempt.outcome).collect();
    assert_eq!(outcomes, [AttemptOutcome::Failed, AttemptOutcome::Cancelled]);
    assert_sound(&queue);
}

#[test]
fn a_task_whose_work_nobody_does_is_cancelled_at_once() {
    let tests = open();
    let queue = tests.queue();
    let id = outside(&tests, Options::new().unique("one"));
    queue.cancel(id).unwrap();
    let record = queue.get(id).unwrap();
    assert_eq!((record.state, record.error_type.as_deref()), (State::Cancelled, Some("Cancelled")));
    assert!(queue.enqueue_with(&Approve, Options::new().unique("one")).unwrap().is_new());
    assert_eq!(queue.complete::<Approve>(id, 1, &yes()).unwrap_err().kind(), ErrorKind::Superseded);
    assert_sound(queue);
}

#[test]
fn g10_an_attempt_for_which_nobody_speaks_in_time_times_out() {
    let mut tests = open();
    let queue = tests.queue().clone();
    let id = outside(&tests, Options::new().timeout(10 * MINUTE));
    let deadline = queue.get(id).unwrap().outside.unwrap().deadline.unwrap();
    tests.advance(9 * MINUTE).unwrap();
    assert_eq!(queue.get(id).unwrap().state, State::Running);
    // The clock jumps back by a day: the wait begins again, and is as long as before at most.
    tests.clock().set_wall(deadline.saturating_sub(Duration::from_secs(86_400)));
    tests.tick().unwrap();
    tests.advance(9 * MINUTE).unwrap();
    assert_eq!(queue.get(id).unwrap().state, State::Running);
    tests.advance(MINUTE).unwrap();
    let record = queue.get(id).unwrap();
    assert_eq!((record.state, record.hold), (State::Queued, Some(Hold::Time)));
    assert_eq!(record.error_type.as_deref(), Some("Timeout"));
    assert_eq!(queue.attempts(id).unwrap()[0].outcome, AttemptOutcome::TimedOut);
    assert_sound(&queue);
}

#[test]
fn g08_g19_a_new_owner_leaves_alone_what_is_outside() {
    let tests = open();
    let id = outside(&tests, Options::new());
    let lost = add(tests.queue(), &Do::Ok(1), Options::new());
    let (crashed, claimed) = tests.crash_in_attempt(true).unwrap();
    assert_eq!(claimed, Some(lost));
    let tests = crashed.reopen(program()).unwrap();
    let queue = tests.queue();
    assert_eq!(queue.get(id).unwrap().state, State::Running);
    assert_eq!(queue.get(lost).unwrap().state, State::Queued);
    assert_sound(queue);
    tests.run_until_idle().unwrap();
    assert_eq!(queue.get(lost).unwrap().state, State::Succeeded);
    queue.complete::<Approve>(id, 1, &yes()).unwrap();
    assert_eq!(queue.get(id).unwrap().state, State::Succeeded);
    assert_eq!(queue.get(id).unwrap().attempt_number, 1);
}

#[test]
fn g06_a_suspect_that_goes_outside_passes_the_turn_on() {
    let mut tests = open();
    for queue in ["a", "b"] {
        let _ = tests.queue().enqueue_with(&Approve, Options::new().queue(queue)).unwrap();
        tests = tests.crash_in_attempt(true).unwrap().0.reopen(program()).unwrap();
        tests.queue().pause(queue).unwrap();
    }
    ["a", "b"].into_iter().for_each(|queue| tests.queue().resume(queue).unwrap());
    assert_eq!(tests.run_until_idle().unwrap().went_outside, 2);
    assert_sound(tests.queue());
    for task in tests.queue().tasks(Filter::new()).unwrap() {
        tests.queue().complete::<Approve>(task.task_id, 2, &yes()).unwrap();
    }
    assert_sound(tests.queue());
}

#[test]
fn g16_what_is_outside_counts_for_limits_until_it_ends() {
    let tests = open();
    let queue = tests.queue();
    queue.set_limit("asks", Some(1)).unwrap();
    let ids = [(); 2].map(|()| queue.enqueue_with(&Approve, Options::new().queue("asks")).unwrap().id());
    assert_eq!(tests.run_until_idle().unwrap().went_outside, 1);
    assert_eq!(queue.get(ids[1]).unwrap().hold, Some(Hold::Ready), "its queue is full");
    queue.complete::<Approve>(ids[0], 1, &yes()).unwrap();
    assert_eq!(tests.run_until_idle().unwrap().went_outside, 1);
    // A permit of a key, too.
    let keyed = [(); 2].map(|()| queue.enqueue_with(&Approve, Options::new().serial("k")).unwrap().id());
    assert_eq!(tests.run_until_idle().unwrap().went_outside, 1);
    assert_eq!(queue.get(keyed[1]).unwrap().hold, Some(Hold::Limit));
    queue.cancel(keyed[0]).unwrap();
    assert_eq!(tests.run_until_idle().unwrap().went_outside, 1);
    assert_sound(queue);
}

#[test]
fn an_answer_that_is_quicker_than_its_handler_waits_for_it() {
    let (told, asked) = mpsc::channel();
    let (go_on, may_return) = mpsc::channel::<()>();
    let may_return = std::sync::Mutex::new(may_return);
    let slow = move |_: Approve, cx: &Context| {
        told.send((cx.id(), cx.generation())).unwrap();
        may_return.lock().unwrap().recv().unwrap();
        Err(Failure::outside("approval"))
    };
    let queue = Queue::builder().workers(1).handle(slow).open_temporary().unwrap();
    let id = queue.enqueue(&Approve).unwrap().id();
    let (_, generation) = asked.recv().unwrap();
    std::thread::scope(|scope| {
        let quick = scope.spawn(|| queue.complete::<Approve>(id, generation, &yes()));
        std::thread::sleep(Duration::from_millis(50));
        go_on.send(()).unwrap();
        quick.join().unwrap().unwrap();
    });
    assert_eq!(queue.wait_result::<Approve>(id, PATIENCE).unwrap(), yes());
    assert_sound(&queue);
}

#[test]
fn with_threads_an_end_from_another_process_lets_the_next_task_on_and_drain_waits_for_it() {
    let folder = Folder::new();
    let config = Config::default().poll_interval(Duration::from_millis(20)).workers(1);
    let queue = Queue::builder().config(config).handle(approve).open(folder.file()).unwrap();
    queue.set_limit("default", Some(1)).unwrap();
    let ids = [(); 2].map(|()| queue.enqueue(&Approve).unwrap().id());
    let is_outside = |id| queue.get(id).unwrap().outside.is_some();
    let await_it = |id| {
        while !is_outside(id) {
            std::thread::sleep(Duration::from_millis(2))
        }
    };
    await_it(ids[0]);
    assert!(!queue.is_drained().unwrap());
    let other = Queue::builder().open(folder.file()).unwrap();
    other.complete::<Approve>(ids[0], 1, &yes()).unwrap();
    await_it(ids[1]);
    // A shutdown does not wait for it, and it stays as it is.
    let report = queue.shutdown(MINUTE).unwrap();
    assert!(report.still_running.is_empty() && report.interrupted == 0, "{report:?}");
    assert_eq!(other.get(ids[1]).unwrap().state, State::Running);
    other.fail(ids[1], 1, Failure::permanent("no")).unwrap();
    assert!(other.is_drained().unwrap());
    assert_sound(&other);
}

#[test]
fn g19_a_crash_at_each_commit_neither_loses_nor_doubles_what_is_outside() {
    let crashes = at_every_commit(
        || Ok(open()),
        |tests| {
            let unique = Options::new().unique("one").serial("account");
            let id = tests.queue().enqueue_with(&Approve, unique)?.id();
            tests.run_until_idle()?;
            tests.queue().fail(id, 1, Failure::named("later", "again"))?;
            tests.advance(MINUTE)?;
            tests.run_until_idle()?;
            tests.queue().complete::<Approve>(id, 2, &yes())
        },
        |crashed, point| {
            let mut tests = crashed.reopen(program())?;
            let queue = tests.queue().clone();
            assert_sound(&queue);
            for _ in 0..2 {
                tests.run_until_idle()?;
                tests.advance(MINUTE)?;
            }
            for task in queue.tasks(Filter::new().state(State::Running))? {
                assert!(task.outside.is_some(), "{point}: {task:?}");
                queue.complete::<Approve>(task.task_id, task.generation, &yes())?;
            }
            for task in queue.tasks(Filter::new())? {
                assert_eq!(task.state, State::Succeeded, "{point}: {task:?}");
                assert!(task.attempt_number <= 3);
            }
            assert_sound(&queue);
            Ok(())
        },
    );
    assert!(crashes.unwrap() >= 12);
}

#[test]
fn what_is_outside_survives_an_export() {
    let folder = Folder::new();
    let tests = open();
    let id = outside(&tests, Options::new().timeout(MINUTE));
    let mut text = Vec::new();
    tests.queue().export(&mut text).unwrap();
    Queue::builder().import(folder.file(), text.as_slice()).unwrap();
    let copy = Queue::builder().open(folder.file()).unwrap();
    assert_eq!(copy.get(id).unwrap(), tests.queue().get(id).unwrap());
    copy.complete::<Approve>(id, 1, &yes()).unwrap();
    assert_sound(&copy);
}

#[test]
fn g20_what_is_outside_is_explained_with_what_ends_it() {
    let tests = open();
    let id = outside(&tests, Options::new().timeout(MINUTE));
    let why = tests.queue().explain(id).unwrap().to_string();
    for part in ["waits outside", "\"approval\"", "generation 1", "the attempt fails if nobody does by"] {
        assert!(why.contains(part), "{part:?} is missing: {why}");
    }
}
