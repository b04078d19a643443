//! Creates our tables in a file, and identifies and verifies those of an existing one. Only this
//! file reads `schema.sql`.

use std::collections::HashSet;
use std::sync::OnceLock;

use rusqlite::Connection;

use crate::error::{Error, ErrorKind};
use crate::store::error::Sql;
use crate::task::Timestamp;

/// The schema version that this program reads and writes.
pub(crate) const VERSION: i64 = 1;

const SCHEMA: &str = include_str!("../../../schema.sql");

/// Whose file it is, judged by its schema alone.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum FileKind {
    /// It has no tables or other objects.
    Empty,
    /// It has objects, but no `perdura_meta`.
    Foreign,
    /// It has our objects, and others too if `shared`.
    Ours { shared: bool },
}

/// The statements of the schema as they are run, and so as SQLite stores them: without comments,
/// each on one line.
fn statements() -> &'static [String] {
    static STATEMENTS: OnceLock<Vec<String>> = OnceLock::new();
    STATEMENTS.get_or_init(|| {
        let bare: String =
            SCHEMA.lines().map(|line| line.split("--").next().unwrap_or("")).collect::<Vec<_>>().join(" ");
        let folded = bare.split(';').map(|s| s.split_whitespace().collect::<Vec<_>>().join(" "));
        folded.filter(|s| !s.is_empty()).collect()
    })
}

/// The table that a statement creates.
fn table_of(statement: &str) -> Option<&str> {
    statement.strip_prefix("CREATE TABLE ")?.split(' ').next()
}

/// The tables of the schema, in their order.
pub(crate) fn tables() -> impl Iterator<Item = &'static str> {
    statements().iter().filter_map(|statement| table_of(statement))
}

/// The `CHECK` constraints of a table.
pub(crate) struct Rules {
    pub table: &'static str,
    pub rules: Vec<&'static str>,
}

/// The tables that have `CHECK` constraints.
pub(crate) fn rules() -> &'static [Rules] {
    static RULES: OnceLock<Vec<Rules>> = OnceLock::new();
    RULES.get_or_init(|| {
        let of_table = statements().iter().filter_map(|statement| {
            let rules: Vec<&str> = statement.split("CHECK (").skip(1).map(up_to_its_end).collect();
            Some(Rules { table: table_of(statement)?, rules })
        });
        of_table.filter(|of_table| !of_table.rules.is_empty()).collect()
    })
}

/// The text up to the parenthesis that closes the one just before `after`.
fn up_to_its_end(after: &str) -> &str {
    let mut depth = 1;
    let end = after.find(|c| {
        depth += match c {
            '(' => 1,
            ')' => -1,
            _ => 0,
        };
        depth == 0
    });
    &after[..end.unwrap_or(after.len())]
}

/// Tells whose file it is.
pub(crate) fn identify(conn: &Connection) -> Sql<FileKind> {
    let mut statement = conn
        .prepare("SELECT name, tbl_name FROM sqlite_schema WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\'")?;
    let names = statement
        .query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let ours = names.iter().filter(|(_, table)| table.starts_with("perdura_")).count();
    Ok(match (names.len(), names.iter().any(|(name, _)| name == "perdura_meta")) {
        (0, _) => FileKind::Empty,
        (all, true) => FileKind::Ours { shared: all > ours },
        (_, false) => FileKind::Foreign,
    })
}

/// Checks that our objects in a file are exactly those that this program creates, and that no other
/// object belongs to our tables.
///
/// # Errors
/// `NewerSchema`; `Corrupt`, naming the object.
pub(crate) fn verify(conn: &Connection) -> Sql<()> {
    verify_meta(conn)?;
    verify_objects(conn)
}

/// Checks the row of `perdura_meta`.
///
/// # Errors
/// `NewerSchema`; `Corrupt`.
pub(crate) fn verify_meta(conn: &Connection) -> Sql<()> {
    let version: i64 = conn
        .query_row("SELECT schema_version FROM perdura_meta WHERE id = 1", [], |row| row.get(0))
        .map_err(|_| strange("perdura_meta"))?;
    if version > VERSION {
        let message = format!(
            "a newer perdura made this file (schema {version}; this program knows {VERSION}); update the program"
        );
        return Err(Error::new(ErrorKind::NewerSchema, message).into());
    }
    if version < VERSION {
        return Err(strange("perdura_meta").into());
    }
    let is_sound =
        "SELECT length(file_id) = 16 AND owner_epoch BETWEEN 0 AND 1 << 62 AND probes BETWEEN 0 AND 1 << 62
                        AND (served IS NULL OR (json_valid(served) AND json_type(served) = 'array'
                             AND NOT EXISTS (SELECT 1 FROM json_each(served) WHERE type <> 'text')))
                        AND (engines IS NULL OR (json_valid(engines) AND json_type(engines) = 'array'
                             AND NOT EXISTS (SELECT 1 FROM json_each(engines) WHERE type <> 'text')))
                        AND (retention_ms IS NULL OR retention_ms BETWEEN -1 AND 315576000000)
                        AND NOT EXISTS (SELECT 1 FROM perdura_meta WHERE id <> 1)
                    FROM perdura_meta WHERE id = 1";
    if !conn.query_row(is_sound, [], |row| row.get(0)).map_err(|_| strange("perdura_meta"))? {
        return Err(strange("perdura_meta").into());
    }
    Ok(())
}

fn verify_objects(conn: &Connection) -> Sql<()> {
    let mut statement = conn.prepare(
        "SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL
         AND (name LIKE 'perdura\\_%' ESCAPE '\\' OR tbl_name LIKE 'perdura\\_%' ESCAPE '\\' OR name = 'sqlite_sequence')",
    )?;
    let rows = statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?;
    let of_sqlite = "CREATE TABLE sqlite_sequence(name,seq)"; // for AUTOINCREMENT
    let mut wanted: HashSet<&str> = statements().iter().map(String::as_str).chain([of_sqlite]).collect();
    for row in rows {
        let (name, sql) = row?;
        if !wanted.remove(sql.as_str()) {
            return Err(strange(&name).into());
        }
    }
    match wanted.into_iter().next() {
        None => Ok(()),
        Some(missing) => Err(strange(missing.split('(').next().unwrap_or(missing).trim()).into()),
    }
}

fn strange(object: &str) -> Error {
    let message = format!(
        "{object:?} in this file is not what perdura makes; the file was altered or damaged, restore a backup"
    );
    Error::new(ErrorKind::Corrupt, message)
}

/// Creates our objects, within the caller's transaction.
pub(crate) fn create(conn: &Connection, now: Timestamp) -> Sql<()> {
    for statement in statements() {
        conn.execute(statement, [])?;
    }
    conn.execute(
        "INSERT INTO perdura_meta (id, schema_version, file_id, owner_epoch, created_at_ms, probes)
         VALUES (1, ?1, randomblob(16), 0, ?2, 0)",
        (VERSION, now.as_millis()),
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_file_verifies_and_every_change_is_noticed() {
        let conn = Connection::open_in_memory().unwrap();
        assert_eq!(identify(&conn).unwrap(), FileKind::Empty);
        create(&conn, Timestamp::from_millis(0)).unwrap();
        assert_eq!(identify(&conn).unwrap(), FileKind::Ours { shared: false });
        verify(&conn).unwrap();
        for change in [
            "CREATE TRIGGER t AFTER INSERT ON perdura_tasks BEGIN SELECT 1; END",
            "CREATE INDEX i ON perdura_tasks (state)",
            "DROP INDEX perdura_ready",
            "CREATE TABLE perdura_more (x)",
            "UPDATE perdura_meta SET schema_version = 2",
            "DELETE FROM perdura_meta",
        ] {
            conn.execute_batch("SAVEPOINT s").unwrap();
            conn.execute_batch(change).unwrap();
            assert!(verify(&conn).is_err(), "{change}");
            conn.execute_batch("ROLLBACK TO s; RELEASE s").unwrap();
        }
        conn.execute_batch("CREATE TABLE mine (x)").unwrap();
        assert_eq!(identify(&conn).unwrap(), FileKind::Ours { shared: true });
        verify(&conn).unwrap();
    }

    #[test]
    fn every_check_of_the_schema_is_found() {
        let found: usize = rules().iter().map(|of_table| of_table.rules.len()).sum();
        assert_eq!(found, SCHEMA.matches("CHECK (").count());
        let conn = Connection::open_in_memory().unwrap();
        create(&conn, Timestamp::from_millis(0)).unwrap();
        for Rules { table, rules } in rules() {
            for rule in rules {
                conn.prepare(&format!("SELECT 1 FROM {table} WHERE NOT ({rule})")).unwrap();
            }
        }
        let counts = rules().iter().find(|of_table| of_table.table == "perdura_counts").unwrap();
        assert!(counts.rules.contains(&"n >= 0"), "{:?}", counts.rules);
    }
}
