//! A sound file, with any values in any columns of rows that are not those of the innocent tasks: a typed error or a value from every
//! call, no overflow, and the innocent tasks run.

#![no_main]

#[path = "../../tests/it/helpers/files.rs"]
mod files;
mod place;

use std::sync::OnceLock;

use arbitrary::Arbitrary;
use files::{INNOCENT, Used, make, use_everything};
use libfuzzer_sys::fuzz_target;
use place::Place;
use rusqlite::types::Value;
use rusqlite::{Connection, ErrorCode};

/// One value of one row.
#[derive(Debug, Arbitrary)]
struct Damage {
    column: u16,
    row: u8,
    value: Planted,
}

#[derive(Debug, Arbitrary)]
enum Planted {
    Null,
    Small(i8),
    Number(i64),
    Edge(u8),
    Text(Vec<u8>),
    Blob(Vec<u8>),
}

impl Planted {
    /// As an SQL value, and the SQL that makes it a text if it is to be one, UTF-8 or not.
    fn value(&self) -> (Value, &'static str) {
        match self {
            Planted::Null => (Value::Null, "?1"),
            Planted::Small(n) => (Value::Integer(i64::from(*n)), "?1"),
            Planted::Number(n) => (Value::Integer(*n), "?1"),
            Planted::Edge(n) => {
                (Value::Integer(i64::MIN.rotate_left((*n).into()).wrapping_sub(i64::from(n % 2))), "?1")
            }
            Planted::Text(bytes) => (Value::Blob(bytes.clone()), "CAST(?1 AS TEXT)"),
            Planted::Blob(bytes) => (Value::Blob(bytes.clone()), "?1"),
        }
    }
}

struct Seed {
    bytes: Vec<u8>,
    /// (table, column, what must hold for its rows)
    columns: Vec<(String, String, String)>,
}

fn seed() -> &'static Seed {
    static SEED: OnceLock<Seed> = OnceLock::new();
    SEED.get_or_init(|| {
        let place = Place::new();
        make(place.path());
        let bytes = std::fs::read(place.path()).expect("it was made");
        let conn = Connection::open(place.path()).expect("it is sound");
        let sql = "SELECT m.name, c.name FROM sqlite_schema m JOIN pragma_table_info(m.name) c
                   WHERE m.type = 'table' AND m.name LIKE 'perdura%' ORDER BY 1, c.cid";
        let mut statement = conn.prepare(sql).expect("it is SQL");
        let found =
            statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get(1)?))).expect("it is SQL");
        let innocent = INNOCENT.map(|id| id.to_string()).join(",");
        let columns = found.map(Result::unwrap).map(|(table, column)| {
            let spared = match table.as_str() {
                "perdura_meta" | "perdura_counts" | "perdura_keys" | "perdura_padding"
                | "perdura_rollups" | "perdura_schedules" => "true".to_owned(),
                "perdura_queues" => "queue <> 'default'".to_owned(),
                "perdura_task_names" => "task_name <> 'step'".to_owned(),
                _ => format!("task_id NOT IN ({innocent})"),
            };
            (table, column, spared)
        });
        Seed { bytes, columns: columns.collect() }
    })
}

fuzz_target!(|damages: Vec<Damage>| {
    let place = Place::new();
    std::fs::write(place.path(), &seed().bytes).expect("it can be written");
    let conn = Connection::open(place.path()).expect("it is sound");
    conn.execute_batch("PRAGMA ignore_check_constraints = ON; PRAGMA synchronous = OFF").expect("it is SQL");
    for Damage { column, row, value } in damages.iter().take(8) {
        let (table, column, spared) = &seed().columns[usize::from(*column) % seed().columns.len()];
        let (value, expression) = value.value();
        let key = match table.as_str() {
            "perdura_attempts" | "perdura_counts" | "perdura_keys" | "perdura_output" | "perdura_rollups" => {
                "(SELECT 1)"
            } // tables without a rowid: all their rows
            _ => "rowid = (SELECT rowid FROM {table} WHERE {spared} ORDER BY rowid LIMIT 1 OFFSET ?2 % 12)",
        };
        let key = key.replace("{table}", table).replace("{spared}", spared);
        let sql = format!(
            "UPDATE OR IGNORE {table} SET {column} = {expression} WHERE {spared} AND {key} AND ?2 = ?2"
        );
        match conn.execute(&sql, (value, i64::from(*row))) {
            Ok(_) => {}
            Err(e) => {
                let refused = [Some(ErrorCode::ConstraintViolation), Some(ErrorCode::TypeMismatch)];
                assert!(refused.contains(&e.sqlite_error_code()), "{e}: {sql}");
            }
        }
    }
    conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).expect("nobody else has it");
    drop(conn);
    if let Used::Opened { innocents_ran, .. } = use_everything(place.path()) {
        assert!(innocents_ran, "{:#?}", files::errors());
    }
});
