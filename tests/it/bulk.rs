//! Verbs and lists over many tasks: where they search, what they write, and that they find what the filter means.

use std::path::Path;
use std::time::{Duration, SystemTime};

use perdura::testing::{ManualClock, SteppedQueue};
use perdura::{Bulk, Config, Filter, Hold, Options, Queue, State, TaskId, TaskRecord};

use crate::support::*;

const DAY: Duration = Duration::from_secs(86_400);

fn open(config: Config, path: &Path) -> (SteppedQueue, ManualClock) {
    let clock = ManualClock::new();
    (SteppedQueue::open_file(builder(config).clock(clock.clone()), &clock, path).unwrap(), clock)
}

/// A connection that is not the queue's.
pub fn other(path: &Path) -> rusqlite::Connection {
    rusqlite::Connection::open(path).unwrap()
}

#[test]
fn verbs_that_find_nothing_do_not_ask_for_the_writer() {
    let folder = Folder::new();
    let (tests, _) = open(Config::default(), &folder.file());
    tests.queue().enqueue_all(&[Do::Ok(1), Do::Permanent, Do::Cancel]).unwrap();
    tests.run_until_idle().unwrap();
    let queue = tests.queue();
    let neighbour = other(&folder.file());
    neighbour.execute_batch("BEGIN IMMEDIATE").unwrap(); // a verb that asked for it would end with an error
    for filter in [
        Filter::new().tag("none"),
        Filter::new().text("none"),
        Filter::new().queue("none"),
        Filter::new().task_name("none"),
        Filter::new().ids([TaskId::from_i64(77)]),
        Filter::new().created_before(SystemTime::UNIX_EPOCH),
    ] {
        for verb in [Queue::retry_all, Queue::cancel_all, Queue::delete_all, Queue::move_to_dead_letters] {
            assert_eq!(verb(queue, filter.clone()).unwrap(), Bulk::default(), "{filter:?}");
        }
    }
    assert_eq!(queue.purge(SystemTime::UNIX_EPOCH).unwrap(), 0);
    assert_eq!(queue.dead_letters().purge(SystemTime::UNIX_EPOCH).unwrap(), 0);
    neighbour.execute_batch("ROLLBACK").unwrap();
    assert_eq!(queue.delete_all(Filter::new().text("permanent")).unwrap().changed, 1);
    assert_sound(queue);
}

#[test]
fn a_verb_means_the_tasks_that_are_there_when_it_begins() {
    let (tests, _) = stepped();
    let queue = tests.queue();
    assert_eq!(queue.delete_all(Filter::new()).unwrap(), Bulk::default());
    let ids: Vec<TaskId> = (0..3).map(|n| queue.enqueue(&Do::Ok(n)).unwrap().id()).collect();
    assert_eq!(queue.cancel_all(Filter::new().after_id(ids[0])).unwrap().changed, 2);
    assert_eq!(queue.get(ids[0]).unwrap().state, State::Queued);
}

#[test]
fn what_is_skipped_does_not_count_towards_the_limit() {
    let (tests, _) = stepped();
    let queue = tests.queue().clone();
    let keyed = || Options::new().unique("k");
    for _ in 0..3 {
        add(&queue, &Do::Permanent, keyed());
        tests.run_until_idle().unwrap();
    }
    add(&queue, &Do::Permanent, Options::new());
    tests.run_until_idle().unwrap();
    add(&queue, &Do::Ok(1), keyed());
    let bulk = queue.retry_all(Filter::new().limit(1)).unwrap();
    assert_eq!((bulk.changed, bulk.skipped), (1, 3));
}

#[test]
fn a_long_list_of_ids_is_looked_up_and_not_sent_to_sqlite() {
    let config = Config::default().max_args_bytes(1024).max_result_bytes(1024);
    let (tests, _) = stepped_with(config);
    let queue = tests.queue();
    queue.enqueue_all(&vec![Do::Ok(1); 700]).unwrap();
    let ids = (1..200_000).map(|n| TaskId::from_i64(if n < 650 { n } else { n + 1_000_000_000 }));
    let filter = Filter::new().ids(ids);
    assert_eq!(queue.count(filter.clone()).unwrap(), 649);
    assert_eq!(queue.cancel_all(filter).unwrap().changed, 649);
    assert_eq!(queue.counts().unwrap().queues["default"].ready, 51);
}

/// A file with three tasks that have ended, the one in the middle of which is damaged: it claims a key that it has not.
fn damaged(config: Config, folder: &Folder, task: &Do) -> (SteppedQueue, ManualClock) {
    let (tests, clock) = open(config, &folder.file());
    tests.queue().enqueue_all(&vec![task.clone(); 3]).unwrap();
    tests.run_until_idle().unwrap();
    other(&folder.file()).execute("UPDATE perdura_tasks SET extras = 1 WHERE task_id = 2", ()).unwrap();
    (tests, clock)
}

/// The damage is what it was, and nothing else is wrong.
fn assert_as_damaged(queue: &Queue) {
    let left: Vec<i64> =
        queue.tasks(Filter::new()).unwrap().iter().map(|task| task.task_id.as_i64()).collect();
    assert_eq!(left, [2]);
    queue.args_json(TaskId::from_i64(2)).unwrap();
    let problems = queue.check().unwrap().problems;
    assert_eq!(problems, ["tasks whose unique key is missing (1)"]);
}

#[test]
fn g12_a_damaged_row_does_not_keep_others_from_their_age() {
    for task in [Do::Ok(1), Do::Permanent] {
        let folder = Folder::new();
        let age = Some(Duration::from_secs(1));
        let config = Config::default().retention(age).dead_letter_after(age);
        let (mut tests, _) = damaged(config, &folder, &task);
        for _ in 0..3 {
            tests.advance(Duration::from_secs(400)).unwrap();
            tests.apply_retention().unwrap();
        }
        assert_as_damaged(tests.queue());
    }
}

#[test]
fn g12_a_verb_leaves_a_damaged_task_whole() {
    let folder = Folder::new();
    let (tests, _) = damaged(Config::default(), &folder, &Do::Ok(1));
    let bulk = tests.queue().delete_all(Filter::new()).unwrap();
    assert_eq!((bulk.changed, bulk.skipped), (2, 1));
    assert_as_damaged(tests.queue());
    assert_eq!(tests.queue().purge(SystemTime::now() + 1000 * DAY).unwrap(), 0);
    assert_as_damaged(tests.queue());
    drop(tests);

    let folder = Folder::new();
    let (tests, _) = damaged(Config::default(), &folder, &Do::Permanent);
    let bulk = tests.queue().move_to_dead_letters(Filter::new()).unwrap();
    assert_eq!((bulk.changed, bulk.skipped), (2, 1));
    assert_as_damaged(tests.queue());
}

#[test]
fn purging_works_after_a_shutdown() {
    let queue = builder(Config::default()).open_temporary().unwrap();
    queue.enqueue_all(&vec![Do::Ok(1); 3]).unwrap();
    queue.enqueue_all(&vec![Do::Permanent; 1200]).unwrap();
    queue.drain().unwrap();
    assert_eq!(queue.move_to_dead_letters(Filter::new()).unwrap().changed, 1200);
    queue.shutdown(MINUTE).unwrap();
    let later = SystemTime::now() + MINUTE;
    assert_eq!(queue.purge(later).unwrap(), 3);
    assert_eq!(queue.dead_letters().purge(later).unwrap(), 1200);
    assert_sound(&queue);
}

/// Tasks in every state and hold, in `queues` queues with `priorities` each.
fn zoo(queues: u64, priorities: i16) -> (SteppedQueue, Vec<TaskRecord>) {
    let (tests, _) = stepped();
    let queue = tests.queue().clone();
    for n in 0..600_u64 {
        let task = [Do::Ok(n), Do::Permanent, Do::Cancel, fail(), Do::FailUntil(9)][(n % 5) as usize].clone();
        let mut options = Options::new().queue(format!("q{}", n % queues));
        if n % 7 == 0 {
            options = options.tag(format!("tag{}", n % 3));
        }
        add(&queue, &task, options);
    }
    for _ in 0..450 {
        tests.run_one().unwrap();
    }
    for n in 0..100_u64 {
        let mut options =
            Options::new().queue(format!("q{}", n % queues)).priority((n % 11) as i16 % priorities);
        if n % 3 == 0 {
            options = options.delay(Duration::from_secs(1000 - n));
        }
        add(&queue, &Do::Ok(n), options);
    }
    let all = queue.tasks(Filter::new().limit(usize::MAX)).unwrap();
    assert_eq!(all.len(), 700);
    (tests, all)
}

#[test]
fn every_page_of_every_filter_has_what_it_means() {
    for (queues, priorities) in [(1, 1), (3, 5), (90, 3)] {
        let (tests, all) = zoo(queues, priorities);
        assert!(
            all.iter().any(|t| t.hold == Some(Hold::Time)) && all.iter().any(|t| t.hold == Some(Hold::Ready))
        );
        let queue = tests.queue();
        let state_sets: &[&[State]] = &[
            &[],
            &[State::Queued],
            &[State::Running, State::Queued],
            &[State::Failed],
            &[State::Cancelled, State::Failed, State::Queued],
            &[State::Succeeded],
            &[State::Succeeded, State::Queued],
            &[State::Lost],
        ];
        type Narrow = (fn(Filter) -> Filter, fn(&Queue, &TaskRecord) -> bool);
        let narrow: [Narrow; 6] = [
            (|f| f, |_, _| true),
            (|f| f.queue("q0"), |_, t| t.queue == "q0"),
            (|f| f.tag("tag1"), |_, t| t.tag.as_deref() == Some("tag1")),
            (|f| f.error_type("told"), |_, t| t.error_type.as_deref() == Some("told")),
            (|f| f.text("TOLD"), says_told),
            (|f| f.ids((1..701).step_by(3).map(TaskId::from_i64)), |_, t| t.task_id.as_i64() % 3 == 1),
        ];
        for states in state_sets {
            for (filter, is_meant) in &narrow {
                let filter = filter(states.iter().fold(Filter::new(), |f, s| f.state(*s)));
                let meant = all.iter().filter(|t| states.is_empty() || states.contains(&t.state));
                let meant = meant.filter(|t| is_meant(queue, t));
                let mut wanted: Vec<TaskId> = meant.map(|t| t.task_id).collect();
                assert_eq!(queue.count(filter.clone()).unwrap(), wanted.len() as u64, "{filter:?}");
                assert_eq!(walk(queue, filter.clone().limit(37), Filter::after_id), wanted, "{filter:?}");
                wanted.reverse();
                let newest_first = filter.clone().newest_first().limit(150);
                assert_eq!(
                    walk(queue, newest_first, Filter::before_id),
                    wanted,
                    "{filter:?}, the newest first"
                );
            }
        }
    }
}

/// Whether its args or its error have the word.
fn says_told(queue: &Queue, task: &TaskRecord) -> bool {
    let error =
        [&task.error_type, &task.error_message].into_iter().flatten().any(|text| text.contains("told"));
    error || queue.args_json(task.task_id).unwrap().contains("told")
}

/// All pages of a filter.
fn walk(queue: &Queue, mut page: Filter, next: fn(Filter, TaskId) -> Filter) -> Vec<TaskId> {
    let mut found = Vec::new();
    loop {
        let tasks = queue.tasks(page.clone()).unwrap();
        found.extend(tasks.iter().map(|task| task.task_id));
        let Some(last) = found.last().filter(|_| !tasks.is_empty()) else { return found };
        page = next(page, *last);
    }
}

#[test]
fn a_task_far_behind_is_told_so_without_counting_all() {
    let (tests, _) = stepped();
    let queue = tests.queue();
    queue.enqueue_all(&vec![Do::Ok(1); 10_001]).unwrap();
    let near = queue.explain(TaskId::from_i64(10_001)).unwrap();
    assert!(near.to_string().contains("10000 tasks of its queue come before it"), "{near}");
    let urgent = add(queue, &Do::Ok(2), Options::new().priority(1));
    assert_eq!(queue.explain(urgent).unwrap().before_it, 0);
    let far = queue.explain(TaskId::from_i64(10_001)).unwrap();
    assert!(far.to_string().contains("more than 10,000 tasks of its queue come before it"), "{far}");
    let first = queue.explain(TaskId::from_i64(1)).unwrap();
    assert!(first.to_string().contains("1 task of its queue comes before it"), "{first}");
}

#[test]
fn counters_of_queues_without_tasks_are_dropped() {
    let folder = Folder::new();
    let config = Config::default().retention(Some(Duration::from_secs(1)));
    let (mut tests, _) = open(config, &folder.file());
    let queue = tests.queue().clone();
    for n in 0..150 {
        add(&queue, &Do::Ok(n), Options::new().queue(format!("q{n}")));
    }
    tests.run_until_idle().unwrap();
    add(&queue, &Do::Ok(1), Options::new().queue("q7"));
    queue.pause("q8").unwrap();
    tests.advance(Duration::from_secs(400)).unwrap();
    tests.apply_retention().unwrap();
    let counters = "SELECT COUNT(DISTINCT queue_id) FROM perdura_counts";
    let count = |sql| other(&folder.file()).query_row(sql, (), |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(count(counters), 1);
    let known: Vec<String> = queue.counts().unwrap().queues.into_keys().collect();
    assert_eq!(known, ["q7", "q8"], "one has a task, the other is paused");
    tests.run_until_idle().unwrap();
    add(&queue, &Do::Ok(1), Options::new().queue("q9"));
    assert_eq!(queue.counts().unwrap().queues["q9"].ready, 1);
    assert_sound(&queue);
}

#[test]
fn what_is_ready_is_not_counted_as_run_now() {
    let (tests, _) = stepped();
    let queue = tests.queue();
    let later = || Options::new().delay(MINUTE);
    let tasks = [(Do::Ok(1), Options::new()), (Do::Ok(2), later()), (Do::Ok(3), later())];
    let _ = queue.enqueue_all_with(tasks.iter().map(|(task, options)| (task, options.clone()))).unwrap();
    assert_eq!(queue.run_now_all(Filter::new().hold(Hold::Ready)).unwrap(), Bulk::default());
    assert_eq!(queue.run_now_all(Filter::new().limit(1)).unwrap().changed, 1);
    assert_eq!(queue.run_now_all(Filter::new()).unwrap().changed, 1);
    assert_eq!(queue.run_now_all(Filter::new()).unwrap(), Bulk::default());
    assert_eq!(queue.counts().unwrap().total().ready, 3);
}
