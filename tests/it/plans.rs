//! How SQLite answers every statement that a busy life of a queue runs: `plans.txt` beside this file, word for word.
//!
//! After a change of a statement or an index: `PERDURA_BLESS=1 cargo test --features sql-log --test it plans`, and read the difference.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use perdura::testing::{ManualClock, SteppedQueue};
use perdura::{
    Clock, Config, Context, Failure, Filter, OnConflict, Options, Overlap, Queue, Schedule, State, Task,
    Unique,
};

use crate::support::*;

/// Saves a checkpoint and says how far it is.
#[derive(serde::Serialize, serde::Deserialize)]
struct Long;

impl Task for Long {
    const NAME: &'static str = "long";
    type Output = u64;
}

fn long(_: Long, cx: &Context) -> Result<u64, Failure> {
    let done = cx.checkpoint::<u64>()?.unwrap_or_default();
    cx.save_checkpoint(&(done + 1))?;
    cx.progress(1, 2);
    Ok(done)
}

/// Does steps, sleeps, waits for a condition, and fails at last.
#[derive(serde::Serialize, serde::Deserialize)]
struct Order;

impl Task for Order {
    const NAME: &'static str = "order";
    type Output = u64;
}

fn order(_: Order, cx: &Context) -> Result<u64, Failure> {
    let _ = cx.idempotency_key("charge")?;
    let done = cx.step("charge", || Ok(cx.generation()))?;
    cx.sleep("rest", Duration::from_secs(5))?;
    match cx.generation() {
        2 => Err(Failure::until("paper")),
        _ if done == 1 => Err(Failure::permanent("as told")),
        _ => Ok(done),
    }
}

/// Steps, and what tasks need.
fn needs(tests: &mut SteppedQueue) {
    let queue = tests.queue().clone();
    tests.set_free_disk(10);
    let id = queue.enqueue(&Order).unwrap().id();
    let lasting = Options::new().needs("paper").needs_throughout("ink").limit("needs", 2);
    let waiting = add(&queue, &Do::Ok(1), lasting);
    let roomy = add(&queue, &Do::Ok(1), Options::new().needs_free_disk(100));
    tests.run_until_idle().unwrap();
    queue.explain(id).unwrap();
    tests.advance(Duration::from_secs(5)).unwrap();
    tests.run_until_idle().unwrap();
    for id in [id, waiting, roomy] {
        queue.explain(id).unwrap();
        queue.steps(id).unwrap();
    }
    queue.set_condition("ink", true).unwrap();
    queue.set_condition("paper", true).unwrap();
    queue.conditions().unwrap();
    tests.set_free_disk(1_000);
    tests.advance(Duration::from_secs(5)).unwrap();
    tests.run_until_idle().unwrap();
    let _ = queue.move_to_dead_letters(Filter::new().ids([id])).unwrap();
    let again = queue.dead_letters().replay(id).unwrap();
    tests.run_until_idle().unwrap();
    queue.retry_from_start(again).unwrap();
    tests.run_until_idle().unwrap();
    tests.advance(Duration::from_secs(5)).unwrap();
    tests.run_until_idle().unwrap();
    queue.delete(waiting).unwrap();
}

fn open(path: &Path, clock: &ManualClock) -> SteppedQueue {
    let config = Config::default()
        .retention(Some(Duration::from_secs(60)))
        .dead_letter_after(Some(Duration::from_secs(3600)))
        .dead_letter_retention(Some(Duration::from_secs(7200)));
    SteppedQueue::open_file(builder(config).clock(clock.clone()).handle(long).handle(order), clock, path)
        .unwrap()
}

/// Everything that may happen to tasks, and every look at them.
fn live(path: &Path) {
    let clock = ManualClock::new();
    let mut tests = open(path, &clock);
    let queue = tests.queue().clone();
    queue.enqueue_all(&[Do::Ok(1), fail(), Do::Snooze(50), Do::Cancel, Do::Permanent]).unwrap();
    let _ = queue.enqueue(&Long).unwrap();
    let waits = add(&queue, &Do::Ok(2), Options::new().delay(Duration::from_secs(5)).unique("key").tag("t"));
    add(&queue, &Do::Ok(2), Options::new().unique("key"));
    add(&queue, &Do::Ok(3), Options::new().delay(Duration::from_secs(20)).expires(Duration::from_secs(30)));
    tests.run_until_idle().unwrap();
    queue.edit(waits, Options::new().delay(MINUTE).tag("t").priority(0)).unwrap();
    queue.edit_args(waits, &Do::Ok(1)).unwrap();
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
    live_schedules(&mut tests);
    needs(&mut tests);
    look(&queue, ok);
    queue.delete(doomed).unwrap();
    let _ = queue.delete_all(Filter::new().tag("t")).unwrap();
    queue.purge(SystemTime::UNIX_EPOCH).unwrap();
    keys(&mut tests, &clock);
    limits(&tests);
    tests.advance(Duration::from_secs(86_400)).unwrap();
    tests.apply_retention().unwrap();
    queue.enqueue_all(&[Do::Ok(5), Do::Ok(6)]).unwrap();
    drop(queue);
    tests.crash_in_attempt(true).unwrap().1.expect("something was ready");
    let tests = open(path, &clock);
    tests.queue().notify().unwrap();
    tests.run_until_idle().unwrap();
    drop(tests);
    let threaded = builder(Config::default()).open(path).unwrap();
    for n in 0..2 {
        let id = threaded.enqueue(&Do::Ok(n)).unwrap().id(); // the second one meets an idle queue and starts at once
        threaded.wait(id, PATIENCE).unwrap();
    }
}

/// What unique keys ask for: until the start, for a time, and replacing what waits.
fn keys(tests: &mut SteppedQueue, clock: &ManualClock) {
    let queue = tests.queue().clone();
    let minute = Duration::from_secs(60);
    let unique = || Unique::key("kept").until_started().for_(minute);
    for on_conflict in
        [OnConflict::Replace, OnConflict::ReplaceArgs, OnConflict::Debounce { max_wait: minute }]
    {
        let options = Options::new().delay(SECOND).unique_in_queue(unique().on_conflict(on_conflict));
        add(&queue, &Do::Ok(7), options);
    }
    let _ = queue
        .enqueue_with(&Long, Options::new().unique_in_queue(unique().on_conflict(OnConflict::Replace)))
        .unwrap();
    clock.set_wall(clock.now().saturating_sub(SECOND));
    add(&queue, &Do::Ok(7), Options::new().unique_in_queue(unique()));
    tests.run_until_idle().unwrap();
    tests.advance(2 * minute).unwrap();
    let taken_over = add(&queue, &Do::Ok(8), Options::new().unique_in_queue(unique()));
    add(&queue, &Do::FailUntil(2), Options::new().unique(Unique::key("again").until_started()));
    tests.run_until_idle().unwrap();
    queue.delete(taken_over).unwrap();
    add(&queue, &Do::Ok(9), Options::new().unique(Unique::key("long").for_(30 * minute)));
    tests.run_until_idle().unwrap();
    clock.set_wall(clock.now().saturating_sub(60 * minute)); // noticed, trusted, and over
    for pause in [minute, 6 * minute, 40 * minute] {
        tests.advance(pause).unwrap();
        tests.apply_retention().unwrap();
    }
}

/// All that happens to schedules and their runs.
fn live_schedules(tests: &mut SteppedQueue) {
    let queue = tests.queue().clone();
    for overlap in [Overlap::Queue, Overlap::Replace] {
        let schedule = Schedule::every("s", MINUTE).overlap(overlap).options(Options::new().queue("runs"));
        queue.set_schedule(schedule, &Do::Permanent).unwrap();
        queue.pause_schedule("s").unwrap();
        queue.resume_schedule("s").unwrap();
        for _ in 0..3 {
            tests.advance(MINUTE).unwrap();
        }
        let runs = queue.tasks(Filter::new().queue("runs").state(State::Queued)).unwrap();
        queue.explain(runs[1].task_id).unwrap();
        tests.run_until_idle().unwrap();
        queue.retry(runs[0].task_id).unwrap();
        tests.run_until_idle().unwrap();
        assert_eq!(queue.move_to_dead_letters(Filter::new().id(runs[0].task_id)).unwrap().changed, 1);
        queue.dead_letters().replay(runs[0].task_id).unwrap();
        queue.cancel_all(Filter::new().queue("runs")).map(drop).unwrap();
    }
    queue.set_schedule(Schedule::after_end("after", MINUTE), &Do::Ok(1)).unwrap();
    tests.advance(MINUTE).unwrap();
    tests.run_until_idle().unwrap();
    queue.run_schedule_now("after").unwrap();
    tests.run_until_idle().unwrap();
    assert_eq!(queue.preview("after", 3).unwrap().len(), 1);
    queue.schedule_args_json("after").unwrap();
    assert_eq!(queue.schedules().unwrap().len(), 2);
    assert_eq!(queue.next_schedules(9).unwrap().len(), 2);
    queue.remove_schedule("s").unwrap();
    queue.remove_schedule("after").unwrap();
}

/// What limits of keys ask for: lines, a better one that takes a permit, and another limit for one that waits.
fn limits(tests: &SteppedQueue) {
    let queue = tests.queue();
    let unique = || Unique::key("limited").on_conflict(OnConflict::Replace);
    let options = || Options::new().queue("limited").serial("k");
    let bad = add(queue, &Do::Permanent, options());
    tests.run_one().unwrap();
    queue.move_to_dead_letter(bad).unwrap();
    add(queue, &Do::Ok(1), options().unique(unique()));
    let waits = add(queue, &Do::Ok(1), options());
    queue.explain(waits).unwrap();
    queue.dead_letters().replay(bad).unwrap();
    add(queue, &Do::Ok(1), options().priority(1));
    let _ = queue.enqueue_with(&Do::Ok(2), options().unique(unique())).unwrap();
    queue.cancel(waits).unwrap();
    tests.run_until_idle().unwrap();
}

fn look(queue: &Queue, id: perdura::TaskId) {
    queue.get(id).unwrap();
    queue.attempts(id).unwrap();
    queue.args_json(id).unwrap();
    queue.result::<Do>(id).unwrap();
    queue.explain(id).unwrap();
    queue.counts().unwrap();
    queue.is_drained().unwrap();
    queue.next_due().unwrap();
    queue.next_start().unwrap();
    queue.ready_since().unwrap();
    queue.output(id, None).unwrap();
    queue.rollups(SystemTime::UNIX_EPOCH).unwrap();
    queue.count(Filter::new().state(State::Failed)).unwrap();
    queue.failures(Filter::new()).unwrap();
    queue.tasks(Filter::new()).unwrap();
    queue.tasks(Filter::new().state(State::Failed).error_type("told")).unwrap();
    for filter in [
        Filter::new().newest_first(),
        Filter::new().state(State::Queued).newest_first(),
        Filter::new().state(State::Queued).state(State::Running),
        Filter::new().tag("t").newest_first(),
        Filter::new().ids([id]),
    ] {
        queue.tasks(filter.clone()).unwrap();
        queue.dead_letters().list(filter).unwrap();
    }
}

/// The statements of such a life. Once for all tests: while one listens, another must not stop it.
static STATEMENTS: LazyLock<BTreeSet<String>> = LazyLock::new(|| {
    let folder = Folder::new();
    crate::logger::statements(|| live(&folder.file()))
});

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

/// Fills every table of ours with so many rows, which stand in all indexes of what is under way, or in none of them.
fn fill(path: &Path, rows: u32, under_way: bool) {
    let conn = rusqlite::Connection::open(path).unwrap();
    conn.execute_batch("PRAGMA ignore_check_constraints = ON; BEGIN").unwrap();
    let sql = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name LIKE 'perdura%' AND name <> 'perdura_meta'";
    let tables: Vec<String> = column(&conn, sql);
    for table in tables {
        let columns: Vec<String> = column(&conn, &format!("SELECT name FROM pragma_table_info('{table}')"));
        let types: Vec<String> = column(&conn, &format!("SELECT type FROM pragma_table_info('{table}')"));
        let value = |(name, kind): (&String, &String)| match (name.as_str(), kind.as_str()) {
            ("state", _) if under_way => "0".to_owned(),
            ("state", _) => "2 + n % 4".to_owned(),
            ("hold", _) if under_way => "n % 5".to_owned(),
            ("in_flight" | "suspect" | "paused", _) if under_way => "1".to_owned(),
            ("hold" | "in_flight" | "suspect" | "paused", _) => "0".to_owned(),
            ("queue_id" | "name_id" | "priority", _) if table == "perdura_tasks" => "n % 3".to_owned(),
            (_, "TEXT") => "'x' || n".to_owned(),
            (_, "BLOB") => "zeroblob(n % 40)".to_owned(),
            _ => "n".to_owned(),
        };
        let values: Vec<String> = columns.iter().zip(&types).map(value).collect();
        let (columns, values) = (columns.join(", "), values.join(", "));
        conn.execute_batch(&format!(
            "DELETE FROM {table};
             INSERT INTO {table} ({columns})
             WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {rows})
             SELECT {values} FROM numbers WHERE n <= {rows};"
        ))
        .unwrap();
    }
    conn.execute_batch("COMMIT").unwrap();
}

fn column(conn: &rusqlite::Connection, sql: &str) -> Vec<String> {
    let mut statement = conn.prepare(sql).unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().collect::<rusqlite::Result<_>>().unwrap()
}

/// Every program that shares a file may run these, and SQLite's own documentation asks it to.
#[test]
fn plans_do_not_depend_on_statistics() {
    let mut turned = BTreeSet::new();
    for (rows, under_way) in [
        (0, true),
        (1, true),
        (1, false),
        (2, true),
        (10, true),
        (10, false),
        (100_000, true),
        (100_000, false),
    ] {
        let folder = Folder::in_memory();
        drop(Queue::builder().open(folder.file()).unwrap());
        fill(&folder.file(), rows, under_way);
        for gather in ["PRAGMA optimize = 0x10002", "ANALYZE"] {
            rusqlite::Connection::open(folder.file()).unwrap().execute_batch(gather).unwrap();
            let found = plans(&folder.file(), &STATEMENTS);
            let golden: BTreeSet<_> = blocks(include_str!("plans.txt")).collect();
            let others = blocks(&found).filter(|block| !golden.contains(block));
            let others = others.filter(|block| rows > 9 || !is_walk(block));
            turned.extend(
                others.map(|block| format!("{rows} rows, under way: {under_way}, {gather}: {block}")),
            );
        }
    }
    assert!(
        turned.is_empty(),
        "{} plans were turned:\n{}",
        turned.len(),
        turned.into_iter().collect::<Vec<_>>().join("\n")
    );
}

/// Whether a statement walks along the ids of a table. Nothing can keep SQLite from going through the whole table then, if it has learnt
/// that there are hardly any rows in it. (So that is deleted when a file is opened.) Claims, settles and timers have no such statement;
/// the padding has a few rows at most.
fn is_walk(block: &str) -> bool {
    block.contains(" NOT INDEXED ") || block.starts_with("DELETE FROM perdura_padding")
}

/// What other programs have learnt of our tables is gone when the file has been opened.
#[test]
fn statistics_of_our_tables_are_forgotten() {
    let folder = Folder::new();
    let conn = rusqlite::Connection::open(folder.file()).unwrap();
    conn.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE mine (x); INSERT INTO mine VALUES (1)")
        .unwrap();
    let queue = builder(Config::default()).share(true).open(folder.file()).unwrap();
    add(&queue, &Do::Ok(1), Options::new());
    drop(queue);
    conn.execute_batch("ANALYZE").unwrap();
    let about = || column(&conn, "SELECT DISTINCT tbl FROM sqlite_stat1 ORDER BY tbl");
    assert!(about().iter().any(|table| table == "perdura_tasks"), "{:?}", about());
    drop(Queue::builder().share(true).read_only(true).open(folder.file()).unwrap());
    assert!(about().len() > 1, "who only looks changes nothing");
    drop(Queue::builder().share(true).open(folder.file()).unwrap());
    assert_eq!(about(), ["mine"]);
}

/// And of what they learn while it is open, all connections hear that it is gone, too, when the owner has looked at ages.
#[test]
fn statistics_that_come_while_a_file_is_open_are_forgotten_by_all_connections() {
    let folder = Folder::new();
    let clock = ManualClock::new();
    let mut tests =
        SteppedQueue::open_file(builder(Config::default()).clock(clock.clone()), &clock, folder.file())
            .unwrap();
    add(tests.queue(), &Do::Ok(1), Options::new());
    let [reader, analyst] = [(); 2].map(|()| rusqlite::Connection::open(folder.file()).unwrap());
    let plan = || {
        let walk = "SELECT t.task_id FROM perdura_tasks t NOT INDEXED WHERE t.task_id > 5 ORDER BY t.task_id LIMIT 9";
        let plan = format!("EXPLAIN QUERY PLAN {walk}");
        column(&reader, "SELECT 'reads the schema anew, if it has changed' FROM perdura_meta");
        reader.query_row(&plan, [], |row| row.get::<_, String>(3)).unwrap()
    };
    assert_eq!(plan(), "SEARCH t USING INTEGER PRIMARY KEY (rowid>?)");
    analyst.execute_batch("ANALYZE").unwrap();
    assert_eq!(plan(), "SCAN t");
    tests.advance(Duration::from_secs(3600)).unwrap();
    tests.apply_retention().unwrap();
    assert_eq!(column(&analyst, "SELECT tbl FROM sqlite_stat1 WHERE tbl GLOB 'perdura_*'"), [""; 0]);
    assert_eq!(plan(), "SEARCH t USING INTEGER PRIMARY KEY (rowid>?)");
    assert_sound(tests.queue());
}

/// Each statement with its plan.
fn blocks(plans: &str) -> impl Iterator<Item = String> {
    let mut blocks = Vec::<String>::new();
    for line in plans.lines() {
        match blocks.last_mut().filter(|_| line.starts_with(' ')) {
            Some(block) => *block += &format!("\n{line}"),
            None => blocks.push(line.to_owned()),
        }
    }
    blocks.into_iter()
}

#[test]
fn every_statement_is_answered_as_planned() {
    assert!(STATEMENTS.len() > 60, "{} statements were traced", STATEMENTS.len());
    let folder = Folder::new();
    drop(Queue::builder().open(folder.file()).unwrap());
    let found = plans(&folder.file(), &STATEMENTS);
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
