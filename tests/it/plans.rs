//! How SQLite answers every statement that a busy life of a queue runs: `plans.txt` beside this file, word for word.
//!
//! After a change of a statement or an index: `PERDURA_BLESS=1 cargo test --features trace --test it plans`, and read the difference.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use perdura::testing::{ManualClock, SteppedQueue};
use perdura::{Config, Context, Failure, Filter, Options, Queue, State, Task};

use crate::support::*;

/// Saves a checkpoint and says how far it is.
#[derive(serde::Serialize, serde::Deserialize)]
struct Long;

impl Task for Long {
    const NAME: &'static str = "long";
}

fn long(_: Long, cx: &Context) -> Result<u64, Failure> {
    let done = cx.checkpoint::<u64>()?.unwrap_or_default();
    cx.save_checkpoint(&(done + 1))?;
    cx.progress(1, 2);
    Ok(done)
}

fn open(path: &Path, clock: &ManualClock) -> SteppedQueue {
    let config = Config {
        retention: Some(Duration::from_secs(60)),
        dead_letter_after: Some(Duration::from_secs(3600)),
        dead_letter_retention: Some(Duration::from_secs(7200)),
        ..Config::default()
    };
    SteppedQueue::open_file(builder(config).clock(clock.clone()).handle(long), clock, path).unwrap()
}

/// Everything that may happen to tasks, and every look at them.
fn live(path: &Path) {
    let clock = ManualClock::new();
    let mut tests = open(path, &clock);
    let queue = tests.queue().clone();
    queue.enqueue_all(&[Do::Ok(1), fail(), Do::Snooze(50), Do::Cancel, Do::Permanent]).unwrap();
    queue.enqueue(&Long).unwrap();
    let waits = add(&queue, &Do::Ok(2), Options::new().delay(Duration::from_secs(5)).unique("key").tag("t"));
    add(&queue, &Do::Ok(2), Options::new().unique("key"));
    add(&queue, &Do::Ok(3), Options::new().delay(Duration::from_secs(20)).expires(Duration::from_secs(30)));
    tests.run_until_idle().unwrap();
    queue.run_now(waits).unwrap();
    let ok = add(&queue, &Do::Ok(4), Options::new().queue("other"));
    queue.pause("other").unwrap();
    queue.resume("other").unwrap();
    tests.run_until_idle().unwrap();
    for _ in 0..4 {
        tests.advance(Duration::from_secs(130)).unwrap();
        tests.run_until_idle().unwrap();
    }
    let doomed = add(&queue, &fail(), Options::new().max_attempts(1));
    let buried = add(&queue, &fail(), Options::new().max_attempts(1));
    tests.run_until_idle().unwrap();
    queue.retry(doomed).unwrap();
    queue.cancel(doomed).unwrap();
    assert_eq!(queue.retry_all(Filter::new().state(State::Cancelled).limit(1)).unwrap().changed, 1);
    let _ = queue.cancel_all(Filter::new().queue("default").task_name("do")).unwrap();
    assert_eq!(queue.move_to_dead_letters(Filter::new().ids([buried])).unwrap().changed, 1);
    queue.dead_letters().list(Filter::new()).unwrap();
    queue.dead_letters().replay(buried).unwrap();
    look(&queue, ok);
    queue.delete(doomed).unwrap();
    let _ = queue.delete_all(Filter::new().tag("t")).unwrap();
    queue.purge(SystemTime::UNIX_EPOCH).unwrap();
    tests.advance(Duration::from_secs(86_400)).unwrap();
    tests.age().unwrap();
    queue.enqueue_all(&[Do::Ok(5), Do::Ok(6)]).unwrap();
    drop(queue);
    tests.crash_in_attempt(true).unwrap().1.expect("something was ready");
    let tests = open(path, &clock);
    tests.queue().notify().unwrap();
    tests.run_until_idle().unwrap();
    drop(tests);
    let threaded = builder(Config::default()).open(path).unwrap();
    for n in 0..2 {
        let id = threaded.enqueue(&Do::Ok(n)).unwrap(); // the second one meets an idle queue and starts at once
        threaded.wait(id, MINUTE).unwrap();
    }
}

fn look(queue: &Queue, id: perdura::TaskId) {
    queue.get(id).unwrap();
    queue.attempts(id).unwrap();
    queue.args_json(id).unwrap();
    queue.result::<u64>(id).unwrap();
    queue.explain(id).unwrap();
    queue.counts().unwrap();
    queue.is_drained().unwrap();
    queue.next_due().unwrap();
    queue.ready_since().unwrap();
    queue.output(id, None).unwrap();
    queue.rollups(SystemTime::UNIX_EPOCH).unwrap();
    queue.count(Filter::new().state(State::Failed)).unwrap();
    queue.failures(Filter::new()).unwrap();
    queue.tasks(Filter::new()).unwrap();
    queue.tasks(Filter::new().state(State::Failed).error_type("told")).unwrap();
}

/// The plan of each statement that reads or writes a table of ours.
fn plans(path: &Path, statements: &BTreeSet<String>) -> String {
    let conn = rusqlite::Connection::open(path).unwrap();
    let verbs = ["SELECT", "INSERT", "UPDATE", "DELETE", "WITH"];
    let mut all = String::new();
    for text in statements.iter().filter(|text| verbs.iter().any(|verb| text.starts_with(verb))) {
        let mut explain = conn.prepare(&format!("EXPLAIN QUERY PLAN {text}")).unwrap();
        let steps: Vec<String> = explain
            .raw_query()
            .mapped(|row| row.get::<_, String>("detail"))
            .collect::<rusqlite::Result<_>>()
            .unwrap();
        writeln!(all, "{text}").unwrap();
        steps.iter().for_each(|step| writeln!(all, "    {step}").unwrap());
    }
    all
}

#[test]
fn every_statement_is_answered_as_planned() {
    let folder = Folder::new();
    let statements = crate::logger::statements(|| live(&folder.file()));
    assert!(statements.len() > 60, "{} statements were traced", statements.len());
    let found = plans(&folder.file(), &statements);
    let of_history =
        ["perdura_tasks", "perdura_args", "perdura_results", "perdura_attempts", " t", " a", " r"];
    let is_whole =
        |step: &str| step.starts_with("SCAN") && of_history.iter().any(|table| step.ends_with(table));
    let whole: Vec<_> = found.lines().filter(|line| is_whole(line.trim())).collect();
    assert!(whole.is_empty(), "statements that read the whole history: {whole:?}\n{found}");
    if std::env::var_os("PERDURA_BLESS").is_some() {
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/plans.txt"), &found).unwrap();
    }
    let golden = include_str!("plans.txt");
    let difference: Vec<String> = found
        .lines()
        .filter(|line| !golden.lines().any(|g| g == *line))
        .map(|line| format!("+ {line}"))
        .chain(
            golden.lines().filter(|line| !found.lines().any(|f| f == *line)).map(|line| format!("- {line}")),
        )
        .collect();
    assert!(found == golden, "the plans have changed:\n{}", difference.join("\n"));
}
