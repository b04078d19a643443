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

/// One column of the file, and which of its values are damaged.
struct Column {
    table: String,
    column: String,
    /// What must hold for its rows: they are not those of the innocent tasks.
    spared: String,
    /// One damage is for one row; in a table without rowids, for all of them.
    has_rowid: bool,
}

struct Seed {
    bytes: Vec<u8>,
    columns: Vec<Column>,
}

fn seed() -> &'static Seed {
    static SEED: OnceLock<Seed> = OnceLock::new();
    SEED.get_or_init(|| {
        let place = Place::new();
        make(place.path());
        let bytes = std::fs::read(place.path()).expect("it was made");
        let conn = Connection::open(place.path()).expect("it is sound");
        let sql = "SELECT t.name, c.name, NOT t.wr, EXISTS (SELECT * FROM pragma_table_info(t.name) WHERE name = 'task_id')
                   FROM pragma_table_list t JOIN pragma_table_info(t.name) c
                   WHERE t.type = 'table' AND t.name LIKE 'perdura%' ORDER BY 1, c.cid";
        let mut statement = conn.prepare(sql).expect("it is SQL");
        let innocent = INNOCENT.map(|id| id.to_string()).join(",");
        let columns = statement.query_map([], |row| {
            let (table, is_of_a_task): (String, bool) = (row.get(0)?, row.get(3)?);
            let spared = match table.as_str() {
                "perdura_keys" => "true".to_owned(), // who took a key; nobody reads it to run a task
                "perdura_queues" => "queue <> 'default'".to_owned(),
                "perdura_task_names" => "task_name <> 'step'".to_owned(),
                _ if is_of_a_task => format!("task_id NOT IN ({innocent})"),
                _ => "true".to_owned(),
            };
            Ok(Column { table, column: row.get(1)?, spared, has_rowid: row.get(2)? })
        });
        let columns = columns.expect("it is SQL").map(Result::unwrap).collect();
        Seed { bytes, columns }
    })
}

fuzz_target!(|damages: Vec<Damage>| {
    let place = Place::new();
    std::fs::write(place.path(), &seed().bytes).expect("it can be written");
    let conn = Connection::open(place.path()).expect("it is sound");
    conn.execute_batch("PRAGMA ignore_check_constraints = ON; PRAGMA synchronous = OFF").expect("it is SQL");
    for Damage { column, row, value } in damages.iter().take(8) {
        let Column { table, column, spared, has_rowid } =
            &seed().columns[usize::from(*column) % seed().columns.len()];
        let (value, expression) = value.value();
        let one = format!(
            "rowid = (SELECT rowid FROM {table} WHERE {spared} ORDER BY rowid LIMIT 1 OFFSET ?2 % 12)"
        );
        let key = if *has_rowid { &one } else { "(SELECT 1)" };
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
