//! What the types of the API promise of themselves.

use std::fmt::Debug;

use perdura::testing::history::{Event, History, HistoryRecorder, Violation};
use perdura::testing::model::{Difference, Model, Operation, Pair, Script};
use perdura::testing::{Crashed, ManualClock, SteppedQueue};
use perdura::{inspect, *};

use crate::support::*;

fn everywhere<T: Send + Sync + Debug>() {}
fn on_one_thread<T: Send + Debug>() {}

#[test]
fn types_go_to_other_threads_and_into_messages() {
    everywhere::<(Queue, Builder, DeadLetters<'_>, Batch<'_>, Context, Failure, Error, ErrorKind, Outcome)>();
    everywhere::<(Config, Durability, LostRetry, RetryPolicy, Options, Filter, EnqueueToken, Enqueued, Bulk)>(
    );
    everywhere::<(TaskId, TaskRecord, State, Hold, Attempt, AttemptOutcome, DeadLetter, Progress, Timestamp)>(
    );
    everywhere::<(Unique, OnConflict, KeyRecord)>();
    everywhere::<(Counts, QueueCounts, Output, OutputStream, ShutdownReport, SystemClock)>();
    everywhere::<(inspect::CheckReport, inspect::FileReport, inspect::Owner, inspect::PragmaReport)>();
    everywhere::<(inspect::WalReport, inspect::Explanation, inspect::Failures, inspect::FailureGroup)>();
    everywhere::<(inspect::Histogram, inspect::Rollup)>();
    everywhere::<(ManualClock, Event, History, HistoryRecorder, Violation, Operation<Script>, Model<Script>)>(
    );
    on_one_thread::<(SteppedQueue, Crashed, Pair<Script>, Difference)>();
}

#[test]
fn a_failure_shows_its_message_and_a_queue_no_task() {
    assert!(format!("{:?}", Failure::permanent("the disk is gone")).contains("the disk is gone"));
    let queue = Queue::builder().open_temporary().unwrap();
    let mut batch = queue.batch();
    batch.add(&Do::Panic("CANARY".into())).unwrap();
    assert!(!format!("{batch:?} {queue:?} {:?}", Queue::builder().handle(run)).contains("CANARY"));
}

#[test]
fn a_batch_of_several_types_is_made_whole_or_not_at_all() {
    let queue = Queue::builder().open_temporary().unwrap();
    let mut batch = queue.batch();
    batch.add(&Do::Ok(1)).unwrap();
    let refused = batch.add_with(&Do::Ok(2), Options::new().queue("")).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    batch.add_with(&crate::child::Poison, Options::new().priority(3)).unwrap();
    let made = batch.enqueue().unwrap();
    let names: Vec<_> = made.iter().map(|made| queue.get(made.id()).unwrap().task_name).collect();
    assert_eq!(names, ["do", "poison"]);
    assert_eq!(queue.counts().unwrap().queue("default").ready, 2);
    assert_eq!(queue.counts().unwrap().queue("no such queue"), QueueCounts::default());
    assert!(queue.batch().enqueue().unwrap().is_empty());
}

#[test]
fn a_unique_key_holds_among_tasks_of_one_name_unless_asked_otherwise() {
    let clock = ManualClock::new();
    let handler = |_: Do, cx: &Context| {
        let queue = cx.queue().ok_or_else(|| Failure::permanent("the test holds a handle"))?;
        // The task that runs has this key, too.
        let made = queue.enqueue_with(&crate::child::Poison, Options::new().unique("k")).unwrap();
        Ok(u64::from(made.is_new()))
    };
    let tests = SteppedQueue::open(Queue::builder().clock(clock.clone()).handle(handler), &clock).unwrap();
    let queue = tests.queue();
    let id = queue.enqueue_with(&Do::Ok(1), Options::new().unique("k")).unwrap().id();
    assert_eq!(queue.enqueue_with(&Do::Ok(2), Options::new().unique("k")).unwrap(), Enqueued::Existing(id));
    tests.run_until_idle().unwrap();
    assert_eq!(queue.result::<Do>(id).unwrap(), Some(1), "it did not get itself");

    let in_queue = || Options::new().unique_in_queue("q");
    let id = queue.enqueue_with(&Do::Ok(3), in_queue().delay(MINUTE)).unwrap().id();
    assert_eq!(queue.enqueue_with(&crate::child::Poison, in_queue()).unwrap(), Enqueued::Existing(id));
    assert!(queue.enqueue_with(&Do::Ok(4), Options::new().unique("q").delay(MINUTE)).unwrap().is_new());
    assert!(queue.enqueue_with(&Do::Ok(5), in_queue().queue("other")).unwrap().is_new());
    assert_sound(queue);
}

#[test]
fn a_handler_knows_where_its_task_lies_and_what_time_it_is() {
    let clock = ManualClock::new();
    let handler = |_: Do, cx: &Context| {
        assert_eq!((cx.queue_name()?.as_str(), cx.tag()?.as_deref(), cx.version()?), ("mail", Some("a"), 1));
        Ok(cx.now().as_millis().cast_unsigned())
    };
    let builder = Queue::builder().clock(clock.clone()).handle(handler);
    let tests = SteppedQueue::open(builder, &clock).unwrap();
    let options = Options::new().queue("mail").tag("a");
    let id = tests.queue().enqueue_with(&Do::Ok(1), options).unwrap().id();
    tests.run_until_idle().unwrap();
    assert_eq!(tests.queue().result::<Do>(id).unwrap(), Some(clock.now().as_millis().cast_unsigned()));
}

#[test]
fn a_time_of_a_record_is_taken_where_a_time_goes_in() {
    let (tests, _) = stepped();
    let queue = tests.queue();
    let id = queue.enqueue_with(&Do::Ok(1), Options::new().timeout(MINUTE)).unwrap().id();
    let record = queue.get(id).unwrap();
    assert_eq!((record.timeout, record.backoff), (Some(MINUTE), None));
    assert!(serde_json::to_string(&record).unwrap().contains("\"timeout_ms\":60000,\"backoff_ms\":null"));
    let json = serde_json::to_string(&record).unwrap();
    assert_eq!(serde_json::from_str::<TaskRecord>(&json).unwrap(), record);
    let later = record.created_at.saturating_add(MINUTE);
    assert!(queue.tasks(Filter::new().created_before(record.created_at)).unwrap().is_empty());
    assert_eq!(queue.tasks(Filter::new().created_before(later)).unwrap().len(), 1);
    assert_eq!(std::time::SystemTime::from(later), later.to_system_time());
}

#[test]
fn verbs_for_one_task_and_for_all_that_match_do_the_same() {
    let (tests, _) = stepped();
    let queue = tests.queue();
    let wait = || queue.enqueue_with(&Do::Permanent, Options::new().delay(MINUTE)).unwrap().id();
    let [first, second, third] = [wait(), wait(), wait()];
    queue.run_now(first).unwrap();
    let changed = queue.run_now_all(Filter::new().hold(Hold::Time).limit(1)).unwrap().changed;
    let waits = |id| queue.get(id).unwrap().hold == Some(Hold::Time);
    assert_eq!((changed, waits(first), waits(second), waits(third)), (1, false, false, true));
    assert_eq!(queue.count(Filter::new().hold(Hold::Ready)).unwrap(), 2);
    tests.run_until_idle().unwrap();
    queue.move_to_dead_letter(first).unwrap();
    assert_eq!(queue.move_to_dead_letter(third).unwrap_err().kind(), ErrorKind::WrongState);
    assert_eq!(queue.move_to_dead_letters(Filter::new()).unwrap().changed, 1);
    let letters = queue.dead_letters();
    assert_eq!(letters.list(Filter::new()).unwrap().len(), 2);
    assert!(letters.list(Filter::new().hold(Hold::Ready)).unwrap().is_empty(), "they have none");
    assert_sound(queue);
}
