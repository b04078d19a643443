//! Conditions: tasks start only while what they need is met, and all that wait go on when it is.

use std::sync::mpsc;
use std::time::Duration;

use perdura::testing::{ManualClock, SteppedQueue, at_every_commit};
use perdura::{
    Builder, Config, Context, ErrorKind, Failure, Filter, Hold, OnConflict, Options, Queue, Schedule, State,
    StopReason, Task, TaskId, Unique,
};
use serde::{Deserialize, Serialize};

use crate::support::*;

#[derive(Debug, Clone, Serialize, Deserialize)]
enum Sync {
    /// Succeeds.
    Now,
    /// Waits for the network at its first attempts, so many times.
    Until(u64),
}

impl Task for Sync {
    const NAME: &'static str = "sync";
    type Output = u64;
}

fn sync(task: Sync, cx: &Context) -> Result<u64, Failure> {
    match task {
        Sync::Until(times) if cx.generation() <= times => Err(Failure::until("online")),
        _ => Ok(cx.generation()),
    }
}

fn program() -> Builder {
    builder(Config::default()).handle(sync)
}

fn open() -> SteppedQueue {
    SteppedQueue::open(program(), &ManualClock::new()).unwrap()
}

fn add(tests: &SteppedQueue, options: Options) -> TaskId {
    tests.queue().enqueue_with(&Sync::Now, options).unwrap().id()
}

fn hold(tests: &SteppedQueue, id: TaskId) -> Option<Hold> {
    tests.queue().get(id).unwrap().hold
}

fn state(tests: &SteppedQueue, id: TaskId) -> State {
    tests.queue().get(id).unwrap().state
}

#[test]
fn g20_a_task_starts_only_while_its_condition_is_met() {
    let tests = open();
    let queue = tests.queue().clone();
    let id = add(&tests, Options::new().needs("online"));
    let free = add(&tests, Options::new());
    assert_eq!(hold(&tests, id), Some(Hold::Ready), "nobody has looked yet");
    tests.run_until_idle().unwrap();
    assert_eq!((hold(&tests, id), state(&tests, free)), (Some(Hold::Condition), State::Succeeded));
    assert_sound(&queue);
    queue.set_condition("on_mains", true).unwrap();
    queue.set_condition("online", false).unwrap();
    tests.run_until_idle().unwrap();
    assert_eq!(hold(&tests, id), Some(Hold::Condition));
    queue.set_condition("online", true).unwrap();
    assert_eq!(hold(&tests, id), Some(Hold::Ready), "in the same commit");
    // Gone again before a worker came: it waits again.
    queue.set_condition("online", false).unwrap();
    tests.run_until_idle().unwrap();
    assert_eq!(hold(&tests, id), Some(Hold::Condition));
    queue.set_condition("online", true).unwrap();
    tests.run_until_idle().unwrap();
    assert_eq!(state(&tests, id), State::Succeeded);
    assert_eq!(queue.get(id).unwrap().attempt_number, 1);
    assert_sound(&queue);
}

#[test]
fn g20_a_task_that_needs_several_waits_for_the_next_one() {
    let tests = open();
    let queue = tests.queue().clone();
    let id = add(&tests, Options::new().needs("b").needs_throughout("a").needs("c").priority(5));
    tests.run_until_idle().unwrap();
    for name in ["b", "a", "c"] {
        assert_eq!(queue.get(id).unwrap().needs.unwrap().waits_for.as_deref(), Some(name));
        let why = queue.explain(id).unwrap().to_string();
        assert_eq!(
            why,
            format!(
                "task 1 is queued and waits for the condition {name:?}, of which nobody has said anything yet"
            )
        );
        queue.set_condition(name, true).unwrap();
        tests.run_until_idle().unwrap();
        assert_sound(&queue);
    }
    assert_eq!(state(&tests, id), State::Succeeded);
}

/// The best go first: by priority, then by id.
#[test]
fn g09_g20_who_waits_for_a_condition_goes_on_by_priority() {
    let tests = open();
    let queue = tests.queue().clone();
    for n in 0..300 {
        let _ = queue.enqueue_with(&Sync::Now, Options::new().needs("online").priority(n % 2)).unwrap();
    }
    let urgent = add(&tests, Options::new().needs("online").priority(9));
    tests.run_until_idle().unwrap();
    queue.set_condition("online", true).unwrap();
    let ready = |priority: i16| {
        let all = queue.tasks(Filter::new().limit(1_000)).unwrap();
        all.iter().filter(|task| task.hold == Some(Hold::Ready) && task.priority == priority).count()
    };
    assert_eq!((ready(9), ready(1), ready(0)), (1, 150, 105));
    assert_eq!(hold(&tests, urgent), Some(Hold::Ready));
}

/// A child that the file refuses makes its parent fail for good, and nothing is left behind.
#[test]
fn g17_g20_a_child_that_names_a_condition_too_many_fails_its_parent() {
    let work = |task: Sync, cx: &Context| -> Result<u64, Failure> {
        if let Sync::Until(_) = task {
            cx.enqueue_with(&Sync::Now, Options::new())?;
            cx.enqueue_with(&Sync::Now, Options::new().needs("one more"))?;
        }
        Ok(1)
    };
    let tests = SteppedQueue::open(Queue::builder().handle(work), &ManualClock::new()).unwrap();
    let queue = tests.queue();
    for n in 0..62 {
        queue.set_condition(&format!("c{n}"), true).unwrap();
    }
    let parent = queue.enqueue_with(&Sync::Until(1), Options::new().serial("k")).unwrap().id();
    let behind = queue.enqueue_with(&Sync::Now, Options::new().serial("k")).unwrap().id();
    tests.run_until_idle().unwrap();
    let task = queue.get(parent).unwrap();
    assert_eq!((task.state, task.error_type.as_deref()), (State::Failed, Some("InvalidInput")));
    let said = task.error_message.unwrap();
    assert!(
        said.starts_with("a task that it makes is refused: condition \"one more\" is one too many"),
        "{said}"
    );
    assert_eq!((state(&tests, behind), queue.count(Filter::new()).unwrap()), (State::Succeeded, 2));
    assert_sound(queue);
}

/// More than are lifted in the commit that says so; some of them need more.
#[test]
fn g04_g20_all_that_wait_go_on_when_a_condition_is_met() {
    let tests = open();
    let queue = tests.queue().clone();
    let options = |n| {
        if n % 100 == 0 { Options::new().needs("online").needs("b") } else { Options::new().needs("online") }
    };
    for n in 0..1_200 {
        let _ = queue.enqueue_with(&Sync::Now, options(n)).unwrap();
    }
    tests.run_until_idle().unwrap();
    assert_eq!(queue.counts().unwrap().total().unmet, 1_200);
    queue.set_condition("online", true).unwrap();
    assert_eq!(queue.counts().unwrap().total().ready, 256, "no more in one commit");
    assert_sound(&queue);
    tests.run_until_idle().unwrap();
    let counts = queue.counts().unwrap().total();
    assert_eq!((counts.succeeded, counts.unmet), (1_188, 12));
    assert_eq!(queue.conditions().unwrap()[0].waiting, 12);
    assert_sound(&queue);
}

#[test]
fn g20_a_crash_while_waiters_are_lifted_forgets_none() {
    let crashes = at_every_commit(
        || {
            let tests = open();
            for _ in 0..300 {
                let _ = tests.queue().enqueue_with(&Sync::Now, Options::new().needs("online"))?;
            }
            tests.run_until_idle()?;
            Ok(tests)
        },
        |tests| {
            tests.queue().set_condition("online", true)?;
            tests.tick()
        },
        |crashed, point| {
            let mut tests = crashed.reopen(program())?;
            assert_sound(tests.queue());
            // What the dead owner said is known no more; the new one says it.
            tests.run_until_idle()?;
            assert_eq!(tests.queue().counts()?.total().succeeded, 0, "after a crash {point}");
            tests.queue().set_condition("online", true)?;
            tests.tick()?;
            tests.run_until_idle()?;
            assert_eq!(tests.queue().counts()?.total().succeeded, 300, "after a crash {point}");
            assert_sound(tests.queue());
            Ok(())
        },
    );
    assert!(crashes.unwrap() >= 4);
}

/// A row of what is needed that leads nowhere, as an edit may leave it, keeps nobody else from going on.
#[test]
fn g12_g20_who_waits_and_is_not_there_is_in_nobodys_way() {
    let folder = Folder::new();
    let mut tests = SteppedQueue::open_file(program(), &ManualClock::new(), folder.file()).unwrap();
    let ids = [(); 3].map(|()| add(&tests, Options::new().needs("online")));
    tests.run_until_idle().unwrap();
    let edit = rusqlite::Connection::open(folder.file()).unwrap();
    edit.execute_batch(
        "DELETE FROM perdura_tasks WHERE task_id = 1;
         UPDATE perdura_tasks SET hold = 0, reasons = 0 WHERE task_id = 2",
    )
    .unwrap();
    drop(edit);
    assert!(!tests.queue().check().unwrap().is_ok(), "it is told");
    tests.queue().set_condition("online", true).unwrap();
    tests.tick().unwrap();
    tests.run_until_idle().unwrap();
    for id in &ids[1..] {
        assert_eq!(state(&tests, *id), State::Succeeded);
    }
    tests.queue().set_condition("online", true).unwrap();
}

#[test]
fn g20_what_the_owner_said_is_unknown_after_it_and_what_others_said_is_not() {
    let folder = Folder::new();
    let clock = ManualClock::new();
    let first = SteppedQueue::open_file(program(), &clock, folder.file()).unwrap();
    let other = Queue::builder().open(folder.file()).unwrap(); // without handlers: it never owns the file
    first.queue().set_condition("online", true).unwrap();
    other.set_condition("on_mains", true).unwrap();
    let said = |queue: &Queue| -> Vec<(String, bool, bool, bool)> {
        let all = queue.conditions().unwrap();
        all.into_iter().map(|c| (c.name, c.is_met, c.by_owner, c.is_unknown)).collect()
    };
    assert_eq!(said(&other), [("on_mains".into(), true, false, false), ("online".into(), true, true, false)]);
    drop(first);
    let mut second = SteppedQueue::open_file(program(), &clock, folder.file()).unwrap();
    assert_eq!(
        said(second.queue()),
        [("on_mains".into(), true, false, false), ("online".into(), false, true, true)]
    );
    let mains = add(&second, Options::new().needs("on_mains"));
    let online = add(&second, Options::new().needs("online"));
    second.run_until_idle().unwrap();
    assert_eq!((state(&second, mains), hold(&second, online)), (State::Succeeded, Some(Hold::Condition)));
    let why = second.queue().explain(online).unwrap().to_string();
    assert!(
        why.contains("of which nobody knows: the program that said so last, at 2026-01-01T00:00:00.000Z,"),
        "{why}"
    );
    other.set_condition("online", true).unwrap();
    second.tick().unwrap();
    second.run_until_idle().unwrap();
    assert_eq!(state(&second, online), State::Succeeded);
}

/// A program that has spoken before it came to own the file says it again then, unless another has spoken since.
#[test]
fn g20_a_new_owner_says_again_what_it_has_said() {
    let folder = Folder::new();
    let clock = ManualClock::new();
    let mut config = Config::default();
    config.poll_interval = Duration::from_millis(10);
    let first = SteppedQueue::open_file(program(), &clock, folder.file()).unwrap();
    let second = builder(config).handle(sync).clock(clock.clone()).open(folder.file()).unwrap();
    for name in ["online", "on_mains"] {
        second.set_condition(name, true).unwrap();
    }
    clock.advance(SECOND);
    first.queue().set_condition("online", false).unwrap(); // ends with its word
    Queue::builder()
        .clock(clock.clone())
        .open(folder.file())
        .unwrap()
        .set_condition("on_mains", false)
        .unwrap();
    drop(first);
    while !second.executes() {
        clock.advance(Duration::from_millis(10)); // it asks again by this clock
        std::thread::sleep(Duration::from_millis(5));
    }
    let said: Vec<_> =
        second.conditions().unwrap().into_iter().map(|c| (c.name, c.is_met, c.by_owner)).collect();
    assert_eq!(said, [("on_mains".into(), false, false), ("online".into(), true, true)]);
    drop(second);
    let later = Queue::builder().open(folder.file()).unwrap().conditions().unwrap();
    assert!(later[1].is_unknown && !later[1].is_met, "nobody owns the file: {later:?}");
}

/// `Failure::until`: no backoff, no charge; but an ordinary failure if the condition is met.
#[test]
fn g20_an_attempt_waits_until_a_condition_comes_and_is_charged_if_it_is_there() {
    let mut tests = open();
    let queue = tests.queue().clone();
    let id = queue.enqueue(&Sync::Until(2)).unwrap().id();
    tests.run_until_idle().unwrap();
    let task = queue.get(id).unwrap();
    assert_eq!((task.hold, task.attempt_number, task.generation), (Some(Hold::Condition), 0, 1));
    assert_eq!(task.needs.as_ref().unwrap().waits_for.as_deref(), Some("online"));
    assert_eq!(task.error_type, None, "it has not failed");
    assert_sound(&queue);
    // Met as the next attempt ends: whatever it lacks, it is not this.
    queue.set_condition("online", true).unwrap();
    tests.run_until_idle().unwrap();
    let task = queue.get(id).unwrap();
    assert_eq!((task.hold, task.attempt_number), (Some(Hold::Time), 1));
    assert_eq!(task.error_type.as_deref(), Some("Condition"));
    let said = task.error_message.unwrap();
    assert_eq!(said, "it asked to wait until the condition \"online\" is met, which it counts as");
    tests.advance(MINUTE).unwrap();
    tests.run_until_idle().unwrap();
    assert_eq!((state(&tests, id), queue.get(id).unwrap().attempt_number), (State::Succeeded, 2));
    assert_sound(&queue);
}

/// What flickers stops nobody; what stays away for ten seconds does.
#[test]
fn g20_who_runs_without_what_it_needs_throughout_is_told_after_ten_seconds() {
    let (answer, answers) = mpsc::channel();
    let (ask, asked) = mpsc::channel::<()>();
    let asked = std::sync::Mutex::new(asked);
    let work = move |_: Sync, cx: &Context| -> Result<u64, Failure> {
        while cx.generation() == 1 {
            asked.lock().unwrap().recv().unwrap();
            answer.send(cx.stop_reason()).unwrap();
            cx.ensure_active()?;
        }
        Ok(cx.generation())
    };
    let clock = ManualClock::new();
    let queue = Queue::builder().clock(clock.clone()).workers(1).handle(work).open_temporary().unwrap();
    let look = move || {
        ask.send(()).unwrap();
        answers.recv_timeout(PATIENCE).unwrap()
    };
    queue.set_condition("on_mains", true).unwrap();
    let id = queue.enqueue_with(&Sync::Now, Options::new().needs_throughout("on_mains")).unwrap().id();
    assert_eq!(look(), None);
    queue.set_condition("on_mains", false).unwrap();
    clock.advance(Duration::from_secs(9));
    assert_eq!(look(), None);
    queue.set_condition("on_mains", true).unwrap();
    clock.advance(Duration::from_secs(9));
    assert_eq!(look(), None);
    // Each commit lets the timer look: at one it sees that the condition is gone, at one ten seconds later it says so.
    let told = (0..2_000).find_map(|_| {
        queue.set_condition("on_mains", false).unwrap();
        clock.advance(Duration::from_secs(10));
        std::thread::sleep(Duration::from_millis(1));
        look()
    });
    assert_eq!(told, Some(StopReason::Condition));
    queue.drain().unwrap();
    let task = queue.get(id).unwrap();
    assert_eq!((task.hold, task.attempt_number, task.error_type), (Some(Hold::Condition), 0, None));
    queue.set_condition("on_mains", true).unwrap();
    assert_eq!(queue.wait(id, PATIENCE).unwrap().state, State::Succeeded);
    assert_eq!(queue.get(id).unwrap().attempt_number, 1);
    assert_sound(&queue);
}

#[test]
fn g20_free_disk_is_looked_at_when_a_task_starts_and_while_some_wait() {
    let mut tests = open();
    let queue = tests.queue().clone();
    tests.set_free_disk(1_000);
    let small = add(&tests, Options::new().needs_free_disk(2_000));
    let large = add(&tests, Options::new().needs_free_disk(9_000));
    let fits = add(&tests, Options::new().needs_free_disk(1_000));
    tests.run_until_idle().unwrap();
    assert_eq!(state(&tests, fits), State::Succeeded);
    for id in [small, large] {
        assert_eq!(hold(&tests, id), Some(Hold::Condition));
        assert!(queue.get(id).unwrap().needs.unwrap().waits_for_disk);
    }
    let why = queue.explain(large).unwrap().to_string();
    assert_eq!(why, "task 2 is queued and waits until 9000 bytes of disk are free; 1000 bytes are");
    assert_sound(&queue);
    tests.set_free_disk(2_000);
    tests.advance(Duration::from_secs(5)).unwrap();
    tests.run_until_idle().unwrap();
    assert_eq!((state(&tests, small), hold(&tests, large)), (State::Succeeded, Some(Hold::Condition)));
    // It is there for a moment only.
    tests.set_free_disk(10_000);
    tests.advance(Duration::from_secs(5)).unwrap();
    tests.set_free_disk(10);
    tests.run_until_idle().unwrap();
    assert_eq!(hold(&tests, large), Some(Hold::Condition));
    tests.set_free_disk(10_000);
    tests.advance(Duration::from_secs(5)).unwrap();
    tests.run_until_idle().unwrap();
    assert_eq!(state(&tests, large), State::Succeeded);
    assert_sound(&queue);
}

/// With threads and the real disk: the timer looks by itself.
#[test]
fn a_task_that_needs_a_byte_of_free_disk_runs() {
    let queue = program().open_temporary().unwrap();
    let id = queue.enqueue_with(&Sync::Now, Options::new().needs_free_disk(1)).unwrap().id();
    assert_eq!(queue.wait(id, PATIENCE).unwrap().state, State::Succeeded);
    let never = queue.enqueue_with(&Sync::Now, Options::new().needs_free_disk(1 << 62)).unwrap().id();
    queue.drain().unwrap();
    assert_eq!(queue.get(never).unwrap().hold, Some(Hold::Condition));
}

/// Another process says it: the owner hears of it, and what it could not lift at once follows.
#[test]
fn g04_g20_a_condition_that_another_process_sets_is_heard() {
    let folder = Folder::new();
    let mut config = Config::default();
    config.poll_interval = Duration::from_millis(20);
    let queue = builder(config).handle(sync).workers(2).open(folder.file()).unwrap();
    let tasks = vec![Sync::Now; 600];
    let _ = queue.enqueue_all_with(tasks.iter().map(|task| (task, Options::new().needs("online")))).unwrap();
    queue.drain().unwrap();
    assert_eq!(queue.counts().unwrap().total().unmet, 600);
    let other = Queue::builder().open(folder.file()).unwrap();
    other.set_condition("online", true).unwrap();
    queue.drain().unwrap();
    assert_eq!(queue.counts().unwrap().total().succeeded, 600);
    assert_sound(&queue);
}

#[test]
fn a_task_that_waits_for_a_condition_obeys_like_any_other() {
    let mut tests = open();
    let queue = tests.queue().clone();
    let needs = || Options::new().needs("online");
    let cancelled = add(&tests, needs());
    let expired = add(&tests, needs().expires(MINUTE));
    let deleted = add(&tests, needs());
    let serial = add(&tests, needs().serial("k"));
    let behind = add(&tests, Options::new().serial("k"));
    let replaced = add(&tests, needs().unique(Unique::key("r")));
    tests.run_until_idle().unwrap();
    assert_eq!(state(&tests, behind), State::Succeeded, "who waits for a condition holds no permit");
    assert_eq!(queue.run_now(cancelled).unwrap_err().kind(), ErrorKind::WrongState);
    queue.cancel(cancelled).unwrap();
    queue.delete(deleted).unwrap();
    assert_sound(&queue);
    let other = Options::new().unique(Unique::key("r").on_conflict(OnConflict::Replace));
    assert_eq!(queue.enqueue_with(&Sync::Now, other).unwrap().id(), replaced);
    tests.run_until_idle().unwrap();
    assert_eq!(state(&tests, replaced), State::Succeeded, "it needs nothing any more");
    tests.advance(MINUTE).unwrap();
    assert_eq!(state(&tests, expired), State::Cancelled);
    queue.retry(cancelled).unwrap();
    tests.run_until_idle().unwrap();
    assert_eq!(hold(&tests, cancelled), Some(Hold::Condition), "its needs are still its own");
    queue.set_condition("online", true).unwrap();
    tests.run_until_idle().unwrap();
    for id in [cancelled, serial] {
        assert_eq!(state(&tests, id), State::Succeeded);
    }
    assert_sound(&queue);
}

/// A task that waits for a condition is put off: it waits for both, and whichever comes first takes nothing of the other.
#[test]
fn g06_g20_a_task_that_waits_for_a_condition_and_for_its_time_waits_for_both() {
    for time_first in [false, true] {
        let mut tests = open();
        let queue = tests.queue().clone();
        let unique = || Unique::key("k").on_conflict(OnConflict::Debounce { max_wait: 10 * MINUTE });
        let options = || Options::new().needs("online").unique(unique()).delay(MINUTE);
        let id = add(&tests, options());
        tests.advance(MINUTE).unwrap();
        tests.run_until_idle().unwrap();
        assert_eq!(hold(&tests, id), Some(Hold::Condition));
        assert_eq!(add(&tests, options()), id);
        assert_eq!(queue.get(id).unwrap().reasons, [Hold::Time, Hold::Condition]);
        if time_first {
            tests.advance(MINUTE).unwrap();
            assert_eq!(hold(&tests, id), Some(Hold::Condition));
            queue.set_condition("online", true).unwrap();
        } else {
            queue.set_condition("online", true).unwrap();
            assert_eq!(hold(&tests, id), Some(Hold::Time));
            tests.advance(MINUTE).unwrap();
        }
        assert_sound(&queue);
        tests.run_until_idle().unwrap();
        assert_eq!(state(&tests, id), State::Succeeded);
    }
}

#[test]
fn a_dead_letter_that_is_replayed_needs_what_it_needed() {
    let fails = |_: Sync, _: &Context| Err::<u64, _>(Failure::permanent("no"));
    let tests = SteppedQueue::open(Queue::builder().handle(fails), &ManualClock::new()).unwrap();
    let queue = tests.queue();
    queue.set_condition("online", true).unwrap();
    let id = queue.enqueue_with(&Sync::Now, Options::new().needs("online").needs_free_disk(7)).unwrap().id();
    tests.run_until_idle().unwrap();
    let _ = queue.move_to_dead_letters(Filter::new()).unwrap();
    assert_sound(queue);
    let again = queue.dead_letters().replay(id).unwrap();
    let needs = queue.get(again).unwrap().needs.unwrap();
    assert_eq!((needs.conditions, needs.free_disk), (vec!["online".to_owned()], 7));
    assert_sound(queue);
}

#[test]
fn runs_of_a_schedule_need_what_it_says() {
    let hour = Duration::from_secs(3600);
    let schedule = Schedule::every("hourly", hour).options(Options::new().needs("online"));
    let mut tests =
        SteppedQueue::open(program().schedule(schedule, &Sync::Now), &ManualClock::new()).unwrap();
    tests.advance(hour + Duration::from_secs(2)).unwrap();
    tests.run_until_idle().unwrap();
    let run = tests.queue().tasks(Filter::new()).unwrap().remove(0);
    assert_eq!((run.hold, run.needs.unwrap().conditions), (Some(Hold::Condition), vec!["online".to_owned()]));
}

#[test]
fn g20_a_file_has_sixty_two_conditions_and_not_one_more() {
    let tests = open();
    let queue = tests.queue();
    for n in 0..61 {
        queue.set_condition(&format!("c{n}"), true).unwrap();
    }
    let mut all = Options::new();
    for n in 0..61 {
        all = all.needs(format!("c{n}"));
    }
    let id = add(&tests, all.needs("the last"));
    let refused = queue.set_condition("one more", true).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    let said = refused.to_string();
    assert!(
        said.starts_with("condition \"one more\" is one too many: a file can have 62 conditions"),
        "{said}"
    );
    let refused = queue.enqueue_with(&Sync::Now, Options::new().needs("one more")).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    tests.run_until_idle().unwrap();
    assert_eq!(queue.get(id).unwrap().needs.unwrap().waits_for.as_deref(), Some("the last"));
    queue.set_condition("the last", true).unwrap();
    tests.run_until_idle().unwrap();
    assert_eq!(state(&tests, id), State::Succeeded);
    assert_sound(queue);
}

#[test]
fn names_and_sizes_that_cannot_be_are_refused_by_name() {
    let tests = open();
    let queue = tests.queue();
    let long = "x".repeat(201);
    for (options, expected) in [
        (Options::new().needs(""), "condition \"\" is empty"),
        (Options::new().needs("a\nb"), "condition "),
        (Options::new().needs_throughout(long), "has 201 bytes; shorten it to at most 200"),
        (
            Options::new().needs_free_disk(u64::MAX),
            "needs_free_disk \"18446744073709551615\" is out of range",
        ),
    ] {
        let refused = queue.enqueue_with(&Sync::Now, options).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidInput);
        assert!(refused.to_string().contains(expected), "{refused}");
    }
    assert_eq!(queue.set_condition("", true).unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(Failure::until("").error_type(), "InvalidInput");
    assert_eq!(queue.conditions().unwrap(), []);
}
