//! Files that SQLite takes for sound, holding what perdura never writes: made with SQL, checks and all guards off.
//!
//! Whatever stands in them: a typed error or a value, no panic, no overflow (the tests are built with checks for it), and the
//! tasks whose own rows are sound run.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use perdura::ErrorKind;
use rusqlite::Connection;
use rusqlite::types::Value;

use crate::files::{INNOCENT, Used, make, use_everything};
use crate::support::*;

/// Numbers at every edge that the code could know of.
const NUMBERS: [i64; 12] = [i64::MIN, -1, 0, 1, 2, 3, 77, 255, 40_000, 1 << 32, i64::MAX - 1, i64::MAX];

/// Texts as SQL: broken JSON, too deep, not even UTF-8, NUL, huge, of another shape.
const TEXTS: [&str; 9] = [
    "''",
    "'null'",
    "'{'",
    "'[1,2,3]'",
    "CAST(x'22fffe22' AS TEXT)",
    "CAST(x'220022' AS TEXT)",
    "replace(hex(zeroblob(60000)), '0', '[')",
    "'\"' || hex(zeroblob(1500000)) || '\"'",
    "'9e999'",
];

/// A column of a table of ours that a row may be damaged in.
#[derive(Debug, Clone)]
struct Column {
    table: String,
    column: String,
    kind: String,
}

/// One row's value to damage, and what to put there.
#[derive(Debug, Clone)]
struct Damage {
    at: Column,
    rowid: String,
    value: String,
}

impl Damage {
    fn sql(&self) -> String {
        let Column { table, column, .. } = &self.at;
        format!("UPDATE {table} SET {column} = {} WHERE {}", self.value, self.rowid)
    }

    fn apply(&self, conn: &Connection) {
        let _ = conn.execute(&self.sql(), []); // some break a primary key or a type, and then there is no such file
    }
}

fn unguarded(path: &Path) -> Connection {
    let conn = Connection::open(path).unwrap();
    conn.execute_batch(
        "PRAGMA ignore_check_constraints = ON; PRAGMA synchronous = OFF; PRAGMA writable_schema = ON",
    )
    .unwrap();
    conn
}

/// Removes a database and its companions.
fn remove(path: &Path) {
    for suffix in ["", "-wal", "-shm", "-owner"] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        let _ = std::fs::remove_file(name);
    }
}

/// Closes it, with everything in the database file.
fn close(conn: Connection) {
    conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
}

/// Every value of every row of every table that may be damaged without touching the innocent tasks, their queue or their name.
fn places(conn: &Connection) -> Vec<(Column, String)> {
    let sql = "SELECT m.name, c.name, c.type FROM sqlite_schema m JOIN pragma_table_info(m.name) c
               WHERE m.type = 'table' AND m.name LIKE 'perdura%' AND m.name <> 'perdura_padding' UNION ALL SELECT 'sqlite_sequence', 'seq', 'INTEGER'";
    let mut statement = conn.prepare(sql).unwrap();
    let columns = statement
        .query_map([], |row| Ok(Column { table: row.get(0)?, column: row.get(1)?, kind: row.get(2)? }));
    let mut all = Vec::new();
    for column in columns.unwrap().map(Result::unwrap) {
        let keys: Vec<String> = match column.table.as_str() {
            "perdura_meta" => vec!["id = 1".into()],
            "perdura_queues" => vec!["queue <> 'default'".into()],
            "perdura_task_names" => vec!["task_name <> 'step'".into()],
            "perdura_counts" => (0..6).map(|state| format!("state = {state}")).collect(),
            "perdura_conditions"
            | "perdura_keys"
            | "perdura_rollups"
            | "perdura_schedules"
            | "perdura_schedule_args"
            | "sqlite_sequence" => vec!["true".into()],
            table => {
                let innocent = INNOCENT.map(|id| id.to_string()).join(",");
                let sql = format!("SELECT DISTINCT task_id FROM {table} WHERE task_id NOT IN ({innocent})");
                let mut ids = conn.prepare(&sql).unwrap();
                let ids = ids.query_map([], |row| row.get::<_, i64>(0)).unwrap();
                ids.map(|id| format!("task_id = {}", id.unwrap())).collect()
            }
        };
        all.extend(keys.into_iter().map(|key| (column.clone(), key)));
    }
    all
}

/// Everything that can be put into a column: of its type, as far as `STRICT` holds even with the guards off.
fn values(kind: &str) -> Vec<String> {
    match kind {
        "INTEGER" => NUMBERS.iter().map(ToString::to_string).chain(["NULL".into()]).collect(),
        "TEXT" => TEXTS.iter().map(ToString::to_string).chain(["NULL".into()]).collect(),
        _ => ["x''", "x'00'", "zeroblob(16)", "zeroblob(3000000)", "NULL"].map(String::from).to_vec(),
    }
}

/// A file with tasks in every state, made once and copied for each case.
struct Hostile {
    folder: Folder,
    seed: Vec<u8>,
    places: Vec<(Column, String)>,
    outcomes: BTreeMap<String, u32>,
}

impl Hostile {
    fn new() -> Hostile {
        let folder = Folder::in_memory();
        make(&folder.file());
        let places = places(&Connection::open(folder.file()).unwrap());
        let seed = std::fs::read(folder.file()).unwrap();
        Hostile { folder, seed, places, outcomes: BTreeMap::new() }
    }

    /// The file, damaged by these; then everything is done with it.
    fn case(&mut self, all: &[Damage]) {
        // A name of its own: a reading connection of the case before may still be closing, and leave its WAL.
        let path = self.folder.path().join(format!("{}.db", self.outcomes.values().sum::<u32>()));
        std::fs::write(&path, &self.seed).unwrap();
        let conn = unguarded(&path);
        all.iter().for_each(|damage| damage.apply(&conn));
        close(conn);
        let before = std::fs::read(&path).unwrap();
        let used = catch_unwind(AssertUnwindSafe(|| use_everything(&path)));
        let sql = || all.iter().map(Damage::sql).collect::<Vec<_>>();
        let used = used.unwrap_or_else(|_| panic!("a panic after {:#?}", sql()));
        match used {
            Used::Refused(kind) => {
                assert!(
                    matches!(kind, ErrorKind::Corrupt | ErrorKind::NewerSchema),
                    "{kind:?} after {:#?}",
                    sql()
                );
                assert!(std::fs::read(&path).unwrap() == before, "refused, but changed, after {:#?}", sql());
            }
            Used::Opened { innocents_ran, .. } => {
                assert!(
                    innocents_ran,
                    "tasks with sound rows were kept from running by {:#?}: {:#?}",
                    sql(),
                    crate::files::errors()
                );
            }
        }
        *self.outcomes.entry(format!("{used:?}")).or_default() += 1;
        remove(&path);
    }

    fn report(&self, seed: u64) {
        report("hostile files", format_args!("seed {seed}, {:?}", self.outcomes));
    }
}

/// Numbers from a seed (SplitMix64): the same everywhere.
struct Chance(u64);

impl Chance {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % n as u64).unwrap()
    }

    fn one<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }
}

#[test]
fn g12_no_number_in_a_hot_row_stops_the_other_tasks() {
    let mut hostile = Hostile::new();
    let hot: Vec<_> = hostile.places.iter().filter(|(c, _)| c.table == "perdura_tasks").cloned().collect();
    let numbers = [i64::MIN, -1, 3, 1 << 32, i64::MAX];
    let turn = usize::try_from(seed() % 5).unwrap(); // two numbers a column, others in each run
    for (n, (at, rowid)) in hot.into_iter().enumerate() {
        let taken = if is_release() { 5 } else { 2 };
        for value in numbers.iter().cycle().skip(n + turn).take(taken).map(i64::to_string) {
            hostile.case(&[Damage { at: at.clone(), rowid: rowid.clone(), value }]);
        }
    }
    assert!(hostile.outcomes.len() > 1, "{:?}", hostile.outcomes);
    hostile.report(0);
}

#[test]
fn g12_no_value_in_any_table_makes_a_panic_or_stops_the_other_tasks() {
    let mut hostile = Hostile::new();
    let seed = seed();
    let mut chance = Chance(seed);
    for _ in rounds(600) {
        let places = hostile.places.clone();
        let damages: Vec<_> = (0..=chance.below(3))
            .map(|_| {
                let (at, rowid) = chance.one(&places).clone();
                let value = chance.one(&values(&at.kind)).clone();
                Damage { at, rowid, value }
            })
            .collect();
        hostile.case(&damages);
    }
    hostile.report(seed);
}

/// A file that was made hostile with SQL, and what becomes of it.
fn hostile(sql: &str) -> (Folder, Used) {
    let folder = Folder::in_memory();
    make(&folder.file());
    let conn = unguarded(&folder.file());
    conn.execute_batch(sql).unwrap_or_else(|e| panic!("{sql}: {e}"));
    close(conn);
    let used = use_everything(&folder.file());
    (folder, used)
}

#[test]
fn g12_what_is_planted_beside_our_rows_stops_nobody() {
    for sql in [
        "INSERT INTO perdura_results VALUES (10, '1'), (11, '1'), (13, '1'), (14, '1'), (15, '1')",
        "INSERT INTO perdura_attempts SELECT task_id, 1, 1, 0, 0, 'nonsense', '', '', '' FROM perdura_tasks
         WHERE task_id NOT IN (SELECT task_id FROM perdura_attempts)"
            ,
        "DELETE FROM perdura_keys",
        "UPDATE perdura_keys SET task_id = 1",
        "INSERT INTO perdura_keys (queue_id, digest, task_id) VALUES (1, x'00', 7), (1, x'01', 7), (2, x'', 10)",
        "DELETE FROM perdura_args WHERE task_id NOT IN (1, 12)",
        "DELETE FROM perdura_counts",
        "UPDATE perdura_counts SET n = 0",
        "UPDATE perdura_counts SET n = 9223372036854775807",
        "UPDATE perdura_tasks SET name_id = 99 WHERE task_id = 11",
        "UPDATE perdura_tasks SET queue_id = 99 WHERE task_id = 11",
        "UPDATE perdura_tasks SET in_flight = 1 WHERE task_id = 11",
        "UPDATE perdura_tasks SET suspect = 1, hold = 7, reasons = 64 WHERE task_id IN (7, 11)",
        "INSERT INTO perdura_dead_letters SELECT task_id, queue_id, name_id, 3, 0, 1, 1, 1, 0, 0, 0, 0, NULL, NULL
         FROM perdura_tasks WHERE task_id NOT IN (1, 12)",
    ] {
        let (_folder, used) = hostile(sql);
        assert!(matches!(used, Used::Opened { innocents_ran: true, .. }), "{used:?} after {sql}");
    }
}

#[test]
fn g12_a_row_that_cannot_be_read_ends_its_task_and_says_why() {
    for (sql, wanted) in [
        ("UPDATE perdura_args SET args = CAST(x'22ff22' AS TEXT) WHERE task_id = 11", "rows of the file"),
        ("UPDATE perdura_args SET version = -7 WHERE task_id = 11", "rows of the file"),
        ("UPDATE perdura_tasks SET generation = 9223372036854775807 WHERE task_id = 11", "rows of the file"),
        (
            "UPDATE perdura_tasks SET attempt_number = -9223372036854775808 WHERE task_id = 11",
            "rows of the file",
        ),
        (
            "UPDATE perdura_tasks SET run_at_ms = 5, hold = 3, reasons = 4, max_attempts = 5000000000 WHERE task_id = 11",
            "rows of the file",
        ),
    ] {
        let folder = Folder::in_memory();
        make(&folder.file());
        let conn = unguarded(&folder.file());
        conn.execute_batch(sql).unwrap();
        close(conn);
        let clock = perdura::testing::ManualClock::new();
        clock.advance(std::time::Duration::from_secs(700));
        let mut tests = perdura::testing::SteppedQueue::open_file(
            crate::files::builder().clock(clock.clone()),
            &clock,
            folder.file(),
        )
        .unwrap();
        tests.tick().unwrap();
        tests.run_until_idle().unwrap();
        let record = tests.queue().get("11".parse().unwrap()).unwrap();
        assert_eq!(
            (record.state, record.error_type.as_deref()),
            (perdura::State::Failed, Some("RowDamaged")),
            "{sql}"
        );
        assert!(record.error_message.as_ref().unwrap().contains(wanted), "{record:?}");
        assert_eq!(tests.queue().counts().unwrap().queues["default"].failed, 1);
    }
}

#[test]
fn g12_check_reports_what_a_hostile_hand_has_written() {
    for sql in [
        "UPDATE perdura_tasks SET state = 77 WHERE task_id = 11",
        "UPDATE perdura_tasks SET hold = 77 WHERE task_id = 11",
        "UPDATE perdura_tasks SET hold = 7, reasons = 64 WHERE task_id = 11",
        "UPDATE perdura_tasks SET hold = 1, reasons = 1 WHERE task_id = 11",
        "UPDATE perdura_tasks SET reasons = 2 WHERE task_id = 11",
        "UPDATE perdura_tasks SET priority = 70000 WHERE task_id = 11",
        "UPDATE perdura_tasks SET name_id = 99 WHERE task_id = 11",
        "UPDATE perdura_args SET args = '{' WHERE task_id = 11",
        "UPDATE perdura_counts SET n = n + 1 WHERE state = 0",
        "UPDATE perdura_tasks SET attempt_number = 99 WHERE task_id = 11",
        "INSERT INTO perdura_keys (queue_id, digest, task_id) VALUES (1, x'00', 1)",
        "INSERT INTO perdura_results VALUES (11, '1')",
        "UPDATE sqlite_sequence SET seq = 3",
    ] {
        let folder = Folder::in_memory();
        make(&folder.file());
        unguarded(&folder.file()).execute_batch(sql).unwrap();
        let queue = perdura::Queue::builder().open(folder.file()).unwrap();
        assert!(!queue.check().unwrap().is_ok(), "{sql}");
    }
}

#[test]
fn g12_ids_that_have_reached_their_end_are_an_error_of_their_own() {
    let folder = Folder::in_memory();
    make(&folder.file());
    unguarded(&folder.file()).execute_batch("UPDATE sqlite_sequence SET seq = 9223372036854775807").unwrap();
    let queue = crate::files::builder().open(folder.file()).unwrap();
    for _ in 0..2 {
        let e = queue.enqueue(&crate::files::Step::Succeed(1)).unwrap_err();
        assert_eq!((e.kind(), e.outcome()), (ErrorKind::Corrupt, perdura::Outcome::NotDone), "{e}");
        assert!(e.to_string().contains("ids of this file are used up"), "{e}");
    }
    queue.wait("11".parse().unwrap(), MINUTE).unwrap();
}

/// Objects that would run code or show other rows, each hanging on a table of ours.
#[test]
fn s06_g12_nothing_that_a_schema_could_run_is_run() {
    for sql in [
        "CREATE TRIGGER evil AFTER UPDATE ON perdura_tasks BEGIN DELETE FROM perdura_args; END",
        "CREATE TRIGGER evil BEFORE INSERT ON perdura_tasks BEGIN SELECT RAISE(ABORT, 'evil'); END",
        "ALTER TABLE perdura_tasks RENAME TO hidden; CREATE VIEW perdura_tasks AS SELECT * FROM hidden",
        "CREATE VIRTUAL TABLE perdura_evil USING fts5(x)",
        "ALTER TABLE perdura_errors ADD COLUMN evil TEXT AS (hex(zeroblob(10))) VIRTUAL",
        "CREATE INDEX evil ON perdura_tasks (abs(priority))",
        "CREATE INDEX evil ON perdura_tasks (state) WHERE json_valid('{}')",
        "UPDATE sqlite_schema SET sql = replace(sql, 'hold = 0 OR state = 0', 'randomblob(9) IS NULL') WHERE name = 'perdura_tasks'",
        "UPDATE sqlite_schema SET sql = 'CREATE TABLE perdura_args (task_id INTEGER PRIMARY KEY, args)' WHERE name = 'perdura_args'",
        "UPDATE sqlite_schema SET rootpage = (SELECT rootpage FROM sqlite_schema WHERE name = 'perdura_args') WHERE name = 'perdura_results'",
        "CREATE TABLE perdura_more (x)",
        "DROP TABLE perdura_progress",
        "UPDATE sqlite_schema SET sql = 'nonsense' WHERE name = 'perdura_keys'",
    ] {
        let folder = Folder::in_memory();
        make(&folder.file());
        let conn = unguarded(&folder.file());
        conn.execute_batch(sql).unwrap_or_else(|e| panic!("{sql}: {e}"));
        close(conn);
        let before = std::fs::read(folder.file()).unwrap();
        let used = use_everything(&folder.file());
        if sql.contains("rootpage") {
            // The texts are as they should be; that two tables share their pages is for `check` to find.
            assert!(!matches!(used, Used::Opened { sound: true, .. }), "{used:?} after {sql}");
            continue;
        }
        let wanted = if sql.contains("hidden") { ErrorKind::NotPerdura } else { ErrorKind::Corrupt };
        assert_eq!(used, Used::Refused(wanted), "{sql}");
        assert!(std::fs::read(folder.file()).unwrap() == before, "{sql}");
    }
}

/// A trigger of the program's own, which shares the file, runs for the program alone.
#[test]
fn s06_g12_triggers_of_a_shared_file_do_not_run_for_us() {
    let folder = Folder::new();
    let conn = Connection::open(folder.file()).unwrap();
    conn.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(())).unwrap();
    conn.execute_batch("CREATE TABLE log (x); CREATE VIEW v AS SELECT * FROM log;").unwrap();
    let queue = crate::files::builder().share(true).open(folder.file()).unwrap();
    let id = queue.enqueue(&crate::files::Step::Succeed(1)).unwrap().id();
    queue.wait(id, PATIENCE).unwrap();
    drop(queue);
    // A trigger on one of our tables, under a name of its own, is one of the things that hang on them.
    conn.execute_batch(
        "CREATE TRIGGER mine AFTER INSERT ON perdura_tasks BEGIN INSERT INTO log VALUES (1); END",
    )
    .unwrap();
    let e = crate::files::builder().share(true).open(folder.file()).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Corrupt, "{e}");
    // One that is planted while the file is open is not run by the connections that are there.
    conn.execute_batch("DROP TRIGGER mine").unwrap();
    let queue = crate::files::builder().share(true).open(folder.file()).unwrap();
    conn.execute_batch(
        "CREATE TRIGGER mine AFTER INSERT ON perdura_tasks BEGIN INSERT INTO log VALUES (1); END",
    )
    .unwrap();
    let id = queue.enqueue(&crate::files::Step::Succeed(1)).unwrap().id();
    queue.wait(id, PATIENCE).unwrap();
    let logged: Value = conn.query_row("SELECT COUNT(*) FROM log", [], |row| row.get(0)).unwrap();
    assert_eq!(logged, Value::Integer(0));
}
