//! Export of a file as lines of JSON, and import of such a text into a new file.
//!
//! The first line describes the file. Then follows a line for each row of each table, with its columns by name. The last line counts the
//! rows, so that a truncated text is noticed. Only the padding for a full disk and the count of probes are left out. A text is imported into
//! a new file only: ids, generations and unique keys have a meaning only within their file.

use std::io::{BufRead, Read, Write};

use rusqlite::types::{Value as SqlValue, ValueRef};
use rusqlite::{Connection, params_from_iter};
use serde_json::{Map, Value, json};

use super::check::check;
use crate::error::{Error, ErrorKind};
use crate::store::error::{Fault, Sql};
use crate::store::file::schema::{self, VERSION};

/// The version of the text format.
const FORMAT: i64 = 1;

/// A line longer than this many times the longest text is refused: JSON escapes make a text up to six times as long.
const LINE_FACTOR: u64 = 8;

/// Tables that are not exported: the first line has the values of one, and the other is only padding for a full disk.
const LEFT_OUT: [&str; 2] = ["perdura_meta", "perdura_padding"];

/// The values of the first line.
const META: &str = "SELECT file_id, owner_epoch, created_at_ms,
    COALESCE((SELECT seq FROM sqlite_sequence WHERE name = 'perdura_tasks'), 0), served, engines, retention_ms
    FROM perdura_meta WHERE id = 1";

/// Writes all rows of a snapshot; returns how many there were.
///
/// # Errors
/// Those of the file; `Io` if `out` fails.
pub(crate) fn export(snapshot: &Connection, out: &mut dyn Write) -> Sql<u64> {
    let first = snapshot.query_row(META, [], |row| {
        let (epoch, created, last): (i64, i64, i64) = (row.get(1)?, row.get(2)?, row.get(3)?);
        Ok(json!({
            "perdura_export": FORMAT, "schema_version": VERSION, "file_id": as_json(row.get_ref(0)?),
            "owner_epoch": epoch, "created_at_ms": created, "last_task_id": last,
            "served": as_json(row.get_ref(4)?), "engines": as_json(row.get_ref(5)?), "retention_ms": as_json(row.get_ref(6)?),
        }))
    })?;
    write_line(out, &first)?;
    let mut rows = 0;
    for (table, columns) in tables(snapshot)? {
        let list = columns.join(", ");
        let mut statement = snapshot.prepare(&format!("SELECT {list} FROM {table} ORDER BY 1, 2"))?;
        let mut found = statement.query([])?;
        while let Some(row) = found.next()? {
            let mut line = Map::new();
            line.insert("table".into(), table.as_str().into());
            for (i, column) in columns.iter().enumerate() {
                line.insert(column.clone(), as_json(row.get_ref(i)?));
            }
            write_line(out, &line.into())?;
            rows += 1;
        }
    }
    write_line(out, &json!({ "rows": rows }))?;
    Ok(rows)
}

/// The exported tables, in the order of the schema, each with its columns.
fn tables(conn: &Connection) -> Sql<Vec<(String, Vec<String>)>> {
    let mut all = Vec::new();
    for table in schema::tables().filter(|table| !LEFT_OUT.contains(table)) {
        let mut statement = conn.prepare("SELECT name FROM pragma_table_info(?1)")?;
        let columns = statement.query_map([table], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
        all.push((table.to_owned(), columns));
    }
    Ok(all)
}

fn as_json(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(n) => n.into(),
        ValueRef::Real(x) => x.into(),
        ValueRef::Text(text) => String::from_utf8_lossy(text).into(),
        ValueRef::Blob(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => json!({ "utf8": text }),
            Err(_) => json!({ "hex": bytes.iter().map(|b| format!("{b:02x}")).collect::<String>() }),
        },
    }
}

fn write_line(out: &mut dyn Write, line: &Value) -> Sql<()> {
    let written = writeln!(out, "{line}");
    Ok(written.map_err(|e| {
        Error::new(ErrorKind::Io, format!("the export cannot be written: {e}")).with_source(e)
    })?)
}

/// Reads a text into a new file, within the caller's transaction; returns how many rows that was.
///
/// # Errors
/// `InvalidInput`, naming the line and what is wrong with it; `NewerSchema`; those of the file.
pub(crate) fn import(conn: &Connection, text: &mut dyn BufRead, longest: usize) -> Sql<u64> {
    let mut lines = Lines { text, longest: longest as u64 * LINE_FACTOR, number: 0 };
    let first = lines.next()?.ok_or_else(|| wrong(1, "there is nothing to import"))?;
    import_meta(conn, &first)?;
    let tables = tables(conn)?;
    let mut rows = 0;
    while let Some(line) = lines.next()? {
        if let Some(counted) = line.get("rows") {
            if *counted != rows {
                return Err(wrong(lines.number, &format!("{rows} rows came before, not {counted}")).into());
            }
            if lines.next()?.is_some() {
                return Err(wrong(lines.number, "the line that counts the rows must be the last").into());
            }
            return verify(conn).map(|()| rows);
        }
        import_row(conn, &tables, line).map_err(|problem| wrong(lines.number, &problem))?;
        rows += 1;
    }
    Err(wrong(lines.number, "the last line, which counts the rows, is missing; the text was cut").into())
}

fn import_meta(conn: &Connection, first: &Map<String, Value>) -> Sql<()> {
    let number = |key: &str| first.get(key).and_then(Value::as_i64);
    if number("perdura_export") != Some(FORMAT) {
        return Err(wrong(1, "it does not begin as an export of perdura does").into());
    }
    match number("schema_version") {
        Some(VERSION) => {}
        Some(newer) if newer > VERSION => {
            let message = format!(
                "a newer perdura made this export (schema {newer}; this program knows {VERSION}); update the program"
            );
            return Err(Error::new(ErrorKind::NewerSchema, message).into());
        }
        _ => return Err(wrong(1, "schema_version is not one that this program knows").into()),
    }
    let value = |key: &str| first.get(key).and_then(|value| from_json(value).ok());
    let (Some(SqlValue::Blob(file_id)), Some(epoch), Some(created), Some(last), Some(served)) = (
        value("file_id"),
        number("owner_epoch"),
        number("created_at_ms"),
        number("last_task_id"),
        value("served"),
    ) else {
        return Err(wrong(1, "file_id, owner_epoch, created_at_ms, last_task_id or served is missing").into());
    };
    // Older exports have neither of them.
    let (engines, retention) = (value("engines"), number("retention_ms"));
    let sql = "UPDATE perdura_meta SET file_id = ?1, owner_epoch = ?2, created_at_ms = ?3, served = ?4, engines = ?5, retention_ms = ?6 WHERE id = 1";
    let written =
        conn.execute(sql, (file_id, epoch, created, served, engines, retention)).map_err(Fault::from);
    written.and_then(|_| schema::verify_meta(conn)).map_err(|fault| match fault.is_damage() {
        true => wrong(
            1,
            "file_id, owner_epoch, served, engines or retention_ms is not what a file of perdura has",
        )
        .into(),
        false => fault,
    })?;
    conn.execute("DELETE FROM sqlite_sequence WHERE name = 'perdura_tasks'", [])?;
    conn.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('perdura_tasks', ?1)", [last])?;
    Ok(())
}

/// Inserts a row. The error says what is wrong, without any of its values: they may be private.
fn import_row(
    conn: &Connection,
    tables: &[(String, Vec<String>)],
    mut line: Map<String, Value>,
) -> Result<(), String> {
    let named = line.remove("table");
    let named = named.as_ref().and_then(Value::as_str).ok_or("it names no table")?;
    let (table, columns) =
        tables.iter().find(|(table, _)| table == named).ok_or("its table is none of perdura's")?;
    let mut values = Vec::new();
    for column in columns {
        let value = line.remove(column).ok_or_else(|| format!("the column {column} is missing"))?;
        values.push(from_json(&value).map_err(|problem| format!("the column {column} {problem}"))?);
    }
    if !line.is_empty() {
        return Err(format!("it has columns that {table} has not"));
    }
    let places = vec!["?"; columns.len()].join(", ");
    let sql = format!("INSERT INTO {table} ({}) VALUES ({places})", columns.join(", "));
    let inserted = conn.prepare_cached(&sql).and_then(|mut insert| insert.execute(params_from_iter(values)));
    inserted.map(drop).map_err(|e| format!("SQLite refuses the row: {e}"))
}

fn from_json(value: &Value) -> Result<SqlValue, &'static str> {
    match value {
        Value::Null => Ok(SqlValue::Null),
        Value::String(text) => Ok(SqlValue::Text(text.clone())),
        Value::Number(n) => n.as_i64().map(SqlValue::Integer).ok_or("is not a whole number of 64 bits"),
        Value::Object(bytes) => {
            let text = |key| bytes.get(key).and_then(Value::as_str);
            let utf8 = text("utf8").map(|text| text.as_bytes().to_vec());
            utf8.or_else(|| from_hex(text("hex")?)).map(SqlValue::Blob).ok_or("is no value")
        }
        Value::Bool(_) | Value::Array(_) => Err("is no value"),
    }
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    digits.len().is_multiple_of(2).then(|| digits.chunks(2).map(byte).collect())?
}

/// Checks the whole file: rows may be valid one by one and contradict each other.
fn verify(conn: &Connection) -> Sql<()> {
    match check(conn)?.problems.first() {
        None => Ok(()),
        Some(problem) => {
            let message = format!("the export is not sound: {problem}; nothing was imported");
            Err(Error::new(ErrorKind::InvalidInput, message).into())
        }
    }
}

fn wrong(line: u64, problem: &str) -> Error {
    Error::new(ErrorKind::InvalidInput, format!("line {line} of the export: {problem}"))
}

/// The lines of a text, as JSON objects.
struct Lines<'t> {
    text: &'t mut dyn BufRead,
    longest: u64,
    /// The number of the line that was read last.
    number: u64,
}

impl Lines<'_> {
    fn next(&mut self) -> Result<Option<Map<String, Value>>, Error> {
        self.number += 1;
        let mut line = Vec::new();
        let read = (&mut *self.text).take(self.longest).read_until(b'\n', &mut line);
        match read.map_err(|e| wrong(self.number, &format!("it cannot be read: {e}")).with_source(e))? {
            0 => return Ok(None),
            n if n as u64 == self.longest => {
                return Err(wrong(self.number, "it is longer than a row can be"));
            }
            _ => {}
        }
        // serde's own messages may contain values.
        let parsed =
            serde_json::from_slice(&line).map_err(|_| wrong(self.number, "it is not a JSON object"))?;
        Ok(Some(parsed))
    }
}
