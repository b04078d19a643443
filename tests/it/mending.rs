//! What people do to tasks, and what they see of them.

use perdura::{Enqueued, ErrorKind, Filter, Hold, Options, State, Task, TaskId};
use serde::{Deserialize, Serialize};

use crate::support::*;

/// A task of each end state and one that waits, by id.
fn zoo(tests: &mut perdura::testing::SteppedQueue) -> [TaskId; 5] {
    let queue = tests.queue().clone();
    let failed = queue.enqueue(&Do::Permanent).unwrap().id();
    let succeeded = queue.enqueue(&Do::Ok(1)).unwrap().id();
    let cancelled = queue.enqueue(&Do::Cancel).unwrap().id();
    let waiting = queue.enqueue(&fail()).unwrap().id();
    tests.run_until_idle().unwrap();
    let ready = queue.enqueue(&Do::Ok(2)).unwrap().id();
    [failed, succeeded, cancelled, waiting, ready]
}

#[test]
fn manual_retry_starts_afresh_and_is_refused_elsewhere() {
    let (mut tests, _) = stepped();
    let [failed, succeeded, cancelled, waiting, ready] = zoo(&mut tests);
    let queue = tests.queue();
    for id in [failed, cancelled] {
        queue.retry(id).unwrap();
        let record = queue.get(id).unwrap();
        assert_eq!((record.state, record.attempt_number, record.error_type), (State::Queued, 0, None));
        assert_eq!(queue.attempts(id).unwrap().len(), 1, "history stays");
    }
    for (id, state) in [(succeeded, "SUCCEEDED"), (waiting, "QUEUED"), (ready, "QUEUED")] {
        let e = queue.retry(id).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::WrongState);
        assert!(e.to_string().contains(state) && e.to_string().contains(&id.to_string()), "{e}");
    }
    assert_eq!(queue.retry(TaskId::from_i64(999)).unwrap_err().kind(), ErrorKind::NotFound);
    assert_sound(queue);
}

#[test]
fn one_verb_changes_one_row() {
    let (mut tests, _) = stepped();
    let ids = zoo(&mut tests);
    let all = |q: &perdura::Queue| q.tasks(Filter::new()).unwrap();
    let queue = tests.queue();
    let others = |id: TaskId| all(queue).into_iter().filter(|r| r.task_id != id).collect::<Vec<_>>();
    for (id, verb) in [
        (ids[0], perdura::Queue::retry as fn(&perdura::Queue, TaskId) -> _),
        (ids[3], perdura::Queue::run_now),
        (ids[4], perdura::Queue::cancel),
        (ids[1], perdura::Queue::delete),
    ] {
        let before = others(id);
        verb(queue, id).unwrap();
        assert_eq!(others(id), before, "the rows of others");
    }
}

#[test]
fn retry_all_says_how_many_it_changed_and_skipped() {
    let (tests, _) = stepped();
    let queue = tests.queue();
    let keyed = || Options::new().unique("k");
    let first = add(queue, &Do::Permanent, keyed());
    tests.run_until_idle().unwrap();
    let second = add(queue, &Do::Permanent, keyed());
    tests.run_until_idle().unwrap();
    let bulk = queue.retry_all(Filter::new().error_type("Permanent")).unwrap();
    assert_eq!((bulk.changed, bulk.skipped), (1, 1), "one key, one live task");
    assert_eq!(queue.get(first).unwrap().state, State::Queued);
    let e = queue.retry(second).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Conflict);
    assert!(!e.to_string().contains("\"k\""), "{e}");
    assert_eq!(queue.retry_all(Filter::new().error_type("Other")).unwrap(), perdura::Bulk::default());
}

#[test]
fn a_limit_of_a_bulk_verb_counts_what_it_changes() {
    let (tests, _) = stepped();
    let queue = tests.queue();
    let mut ids = Vec::new();
    for n in 0..5 {
        ids.push(add(queue, &Do::Permanent, Options::new().unique(if n < 3 { "taken" } else { "free" })));
        tests.run_until_idle().unwrap();
    }
    add(queue, &Do::Ok(1), Options::new().unique("taken"));
    let bulk = queue.retry_all(Filter::new().limit(1)).unwrap();
    assert_eq!((bulk.changed, bulk.skipped), (1, 3));
    assert_eq!(queue.get(ids[3]).unwrap().state, State::Queued);
    assert_sound(queue);
}

#[test]
fn bulk_verbs_work_through_more_than_a_chunk() {
    let (tests, _) = stepped();
    let tasks: Vec<_> = (0..1300).map(|_| Do::Permanent).collect();
    tests.queue().enqueue_all(&tasks).unwrap();
    tests.run_until_idle().unwrap();
    let limited = tests.queue().retry_all(Filter::new().limit(700)).unwrap();
    assert_eq!(limited.changed, 700);
    assert_eq!(tests.queue().retry_all(Filter::new()).unwrap().changed, 600);
    assert_eq!(tests.queue().cancel_all(Filter::new()).unwrap().changed, 1300);
    assert_eq!(tests.queue().delete_all(Filter::new()).unwrap().changed, 1300);
    assert_eq!(tests.queue().counts().unwrap().total().all(), 0);
    assert_sound(tests.queue());
}

#[test]
fn filters_find_what_they_mean_page_by_page() {
    let (mut tests, clock) = stepped();
    let [failed, succeeded, cancelled, waiting, ready] = zoo(&mut tests);
    let queue = tests.queue();
    let tagged = add(queue, &Do::Ok(3), Options::new().queue("other").tag("blue"));
    let found = |filter| queue.tasks(filter).unwrap().iter().map(|r| r.task_id).collect::<Vec<_>>();
    assert_eq!(found(Filter::new()), [failed, succeeded, cancelled, waiting, ready, tagged]);
    assert_eq!(found(Filter::new().state(State::Failed).state(State::Cancelled)), [failed, cancelled]);
    assert_eq!(found(Filter::new().state(State::Queued)), [waiting, ready, tagged]);
    assert_eq!(found(Filter::new().state(State::Running)), []);
    assert_eq!(found(Filter::new().queue("other")), [tagged]);
    assert_eq!(found(Filter::new().queue("nowhere")), []);
    assert_eq!(found(Filter::new().tag("blue")), [tagged]);
    assert_eq!(found(Filter::new().task_name("do").error_type("told")), [waiting]);
    assert_eq!(found(Filter::new().id(ready).id(failed)), [failed, ready]);
    assert_eq!(found(Filter::new().ids([ready, failed])), [failed, ready]);
    assert_eq!(found(Filter::new().ids([])), []);
    assert_eq!(found(Filter::new().limit(2)), [failed, succeeded]);
    assert_eq!(found(Filter::new().limit(2).after_id(succeeded)), [cancelled, waiting]);
    let now = perdura::Clock::now(&clock).to_system_time();
    assert_eq!(found(Filter::new().created_before(now)), []);
    assert_eq!(found(Filter::new().finished_before(now + SECOND)), [failed, succeeded, cancelled]);
}

#[test]
fn a_record_serialises_under_its_names() {
    let (mut tests, _) = stepped();
    let [failed, ..] = zoo(&mut tests);
    let json = serde_json::to_value(tests.queue().get(failed).unwrap()).unwrap();
    assert_eq!(json["state"], "FAILED");
    assert_eq!(json["created_at"], "2026-01-01T00:00:00.000Z");
    assert_eq!(json["run_at"], serde_json::Value::Null);
    assert_eq!(json["task_name"], "do");
    assert_eq!(json["attempt_number"], 1);
    let back: perdura::TaskRecord = serde_json::from_value(json).unwrap();
    assert_eq!(back, tests.queue().get(failed).unwrap());
}

#[test]
fn run_now_lifts_a_wait_and_nothing_else() {
    let (mut tests, _) = stepped();
    let [failed, .., waiting, ready] = zoo(&mut tests);
    let queue = tests.queue();
    queue.run_now(waiting).unwrap();
    queue.run_now(ready).unwrap();
    assert_eq!(queue.get(waiting).unwrap().hold, Some(Hold::Ready));
    assert_eq!(queue.run_now(failed).unwrap_err().kind(), ErrorKind::WrongState);
    assert_eq!(tests.run_until_idle().unwrap().failed, 1);
    assert_eq!(tests.queue().get(waiting).unwrap().attempt_number, 2);
}

#[test]
fn a_paused_queue_stays_paused_across_a_restart() {
    let folder = Folder::new();
    let queue = builder(perdura::Config::default()).open(folder.file()).unwrap();
    queue.pause("slow").unwrap();
    let id = add(&queue, &Do::Ok(1), Options::new().queue("slow"));
    let other = queue.enqueue(&Do::Ok(2)).unwrap().id();
    queue.drain().unwrap();
    drop(queue);
    let queue = builder(perdura::Config::default()).open(folder.file()).unwrap();
    queue.drain().unwrap();
    assert_eq!(queue.get(other).unwrap().state, State::Succeeded);
    assert_eq!(queue.get(id).unwrap().state, State::Queued);
    assert!(queue.counts().unwrap().queues["slow"].paused);
    assert!(queue.explain(id).unwrap().to_string().contains("paused"));
    queue.resume("slow").unwrap();
    assert_eq!(queue.wait(id, PATIENCE).unwrap().state, State::Succeeded);
}

#[test]
fn a_unique_key_is_held_by_one_live_task_of_a_queue() {
    let (tests, _) = stepped();
    let queue = tests.queue();
    let keyed = |queue_name: &str| Options::new().unique("key").queue(queue_name);
    let first = queue.enqueue_with(&Do::Ok(1), keyed("a")).unwrap();
    assert!(first.is_new());
    assert_eq!(queue.enqueue_with(&Do::Ok(2), keyed("a")).unwrap(), Enqueued::Existing(first.id()));
    assert!(queue.enqueue_with(&Do::Ok(3), keyed("b")).unwrap().is_new());
    let tasks = [Do::Ok(4), Do::Ok(5)];
    let batch = queue.enqueue_all_with(tasks.iter().map(|t| (t, keyed("c")))).unwrap();
    assert_eq!((batch[0].is_new(), batch[1]), (true, Enqueued::Existing(batch[0].id())));
    tests.run_until_idle().unwrap();
    assert!(queue.enqueue_with(&Do::Ok(6), keyed("a")).unwrap().is_new(), "the first has ended");
    assert_sound(queue);
}

#[test]
fn dead_letters_keep_everything_and_are_replayed_once() {
    let (mut tests, clock) = stepped();
    let [failed, ..] = zoo(&mut tests);
    let queue = tests.queue();
    let wrong = queue.move_to_dead_letters(Filter::new().state(State::Succeeded)).unwrap();
    assert_eq!((wrong.changed, wrong.skipped), (0, 1));
    assert_eq!(queue.move_to_dead_letters(Filter::new()).unwrap().changed, 1);
    assert_eq!(queue.get(failed).unwrap_err().kind(), ErrorKind::NotFound);
    let letter = queue.dead_letters().get(failed).unwrap();
    assert_eq!((letter.state, letter.error_type.as_deref()), (State::Failed, Some("Permanent")));
    assert_eq!(queue.attempts(failed).unwrap().len(), 1);
    assert_eq!(queue.args_json(failed).unwrap(), "\"Permanent\"");
    let new = queue.dead_letters().replay(failed).unwrap();
    assert!(new > failed, "ids are never used again");
    let record = queue.get(new).unwrap();
    assert_eq!((record.state, record.attempt_number, record.replay_of), (State::Queued, 0, Some(failed)));
    assert_eq!(queue.dead_letters().replay(failed).unwrap_err().kind(), ErrorKind::WrongState);
    let again = queue.dead_letters().replay_again(failed).unwrap();
    assert_eq!(queue.dead_letters().get(failed).unwrap().replayed_as, Some(again));
    assert_eq!(queue.dead_letters().list(Filter::new().queue("default")).unwrap().len(), 1);
    assert_sound(queue);
    let now = perdura::Clock::now(&clock).to_system_time();
    assert_eq!(queue.dead_letters().purge(now).unwrap(), 0);
    assert_eq!(queue.dead_letters().purge(now + SECOND).unwrap(), 1);
    assert_eq!(queue.dead_letters().get(failed).unwrap_err().kind(), ErrorKind::NotFound);
    assert_sound(queue);
}

#[test]
fn explain_says_why_a_task_does_not_run() {
    let (mut tests, _) = stepped();
    let [failed, succeeded, _, waiting, ready] = zoo(&mut tests);
    let queue = tests.queue();
    for (id, wanted) in [
        (failed, "is FAILED after 1 attempt: as told"),
        (succeeded, "is SUCCEEDED"),
        (waiting, "waits until 2026-01-01T00:01:00.000Z for its next attempt after told: as told"),
        (ready, "is queued and ready: 0 tasks of its queue come before it"),
    ] {
        let text = queue.explain(id).unwrap().to_string();
        assert!(text.contains(wanted), "{text}");
    }
}

/// The task type of [`Do`], with a text as its output.
#[derive(Debug, Serialize, Deserialize)]
struct Text;

impl Task for Text {
    const NAME: &'static str = Do::NAME;
    type Output = String;
}

#[derive(Debug, Serialize, Deserialize)]
struct Other;

impl Task for Other {
    const NAME: &'static str = "other";
    type Output = u64;
}

#[test]
fn results_of_another_type_or_state_are_typed_errors() {
    let (mut tests, _) = stepped();
    let [failed, succeeded, .., ready] = zoo(&mut tests);
    let queue = tests.queue();
    assert_eq!(queue.result::<Do>(succeeded).unwrap(), Some(1));
    assert_eq!(queue.result::<Do>(ready).unwrap(), None);
    assert_eq!(queue.result::<Text>(succeeded).unwrap_err().kind(), ErrorKind::Serialization);
    let e = queue.result::<Do>(failed).unwrap_err();
    assert_eq!((e.kind(), e.error_type()), (ErrorKind::TaskFailed, Some("Permanent")));
    assert_eq!(e.error_message(), queue.get(failed).unwrap().error_message.as_deref());
    assert!(e.to_string().contains("FAILED (Permanent)"), "{e}");
    let e = queue.result::<Other>(succeeded).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::InvalidInput);
    assert!(e.to_string().contains("is a \"do\", and the result of a \"other\""), "{e}");
}
