//! Sets the pragmas of a connection, and reads them back.

use rusqlite::Connection;

use super::opening::{Manner, Settings};
use crate::config::Durability;
use crate::error::{Error, ErrorKind};
use crate::planted::planted;
use crate::store::error::Sql;

/// A pragma, the value to set (if any), and what it must read back as.
struct Pragma {
    name: &'static str,
    set: Option<&'static str>,
    wanted: &'static str,
}

const fn pragma(name: &'static str, value: &'static str) -> Pragma {
    Pragma { name, set: Some(value), wanted: value }
}

/// Free pages stay in the file until they are asked for. This is a setting of the file, not of the
/// connection.
const AUTO_VACUUM: Pragma = Pragma { name: "auto_vacuum", set: Some("INCREMENTAL"), wanted: "2" };

/// The WAL file is cut to this size when it restarts (`checkpoint::limit_wal` changes it later).
const WAL_LIMIT_BYTES: &str = "16777216";
const WAL_LIMIT: &str = "journal_size_limit";

fn shared_pragmas() -> Vec<Pragma> {
    vec![
        Pragma { name: "journal_mode", set: None, wanted: "wal" },
        pragma("foreign_keys", "0"),
        Pragma { name: "temp_store", set: Some("MEMORY"), wanted: "2" },
        pragma("mmap_size", "0"),
        pragma("cell_size_check", "1"),
        #[cfg(target_vendor = "apple")]
        pragma("fullfsync", "1"),
        #[cfg(target_vendor = "apple")]
        pragma("checkpoint_fullfsync", "1"),
    ]
}

/// Sets up a connection that writes.
pub(crate) fn set_up_writer(conn: &Connection, settings: &Settings) -> Sql<()> {
    apply(conn, &writer_pragmas(settings))
}

/// Sets up a connection that only reads.
pub(crate) fn set_up_reader(conn: &Connection, settings: &Settings, manner: Manner) -> Sql<()> {
    apply(conn, &reader_pragmas(settings, manner))
}

fn writer_pragmas(settings: &Settings) -> Vec<Pragma> {
    let mut all = shared_pragmas();
    all.push(synchronous(settings.durability));
    all.push(pragma("secure_delete", if settings.secure_delete { "1" } else { "0" }));
    all.push(pragma("cache_size", "-8192"));
    all.push(pragma(WAL_LIMIT, WAL_LIMIT_BYTES));
    all
}

fn reader_pragmas(settings: &Settings, manner: Manner) -> Vec<Pragma> {
    let mut all = shared_pragmas();
    if manner == Manner::LooksAtStill {
        all.retain(|pragma| pragma.name != "journal_mode"); // an immutable file has no WAL
    }
    all.push(synchronous(settings.durability));
    all.push(pragma("cache_size", "-2048"));
    all.push(pragma("query_only", "1"));
    all
}

fn synchronous(durability: Durability) -> Pragma {
    match durability {
        Durability::Full if planted("g01-commits-without-syncs") => {
            Pragma { name: "synchronous", set: Some("NORMAL"), wanted: "1" }
        }
        Durability::Full => Pragma { name: "synchronous", set: Some("FULL"), wanted: "2" },
        Durability::Relaxed => Pragma { name: "synchronous", set: Some("NORMAL"), wanted: "1" },
    }
}

/// Sets every pragma and reads every one back: SQLite reports no error when it ignores one.
fn apply(conn: &Connection, all: &[Pragma]) -> Sql<()> {
    for pragma in all {
        if let Some(value) = pragma.set {
            conn.pragma_update(None, pragma.name, PragmaValue(value))?;
        }
        let found = read_back(conn, pragma.name)?;
        if found != pragma.wanted {
            return Err(refused(pragma, &found).into());
        }
    }
    Ok(())
}

fn read_back(conn: &Connection, pragma: &str) -> rusqlite::Result<String> {
    conn.pragma_query_value(None, pragma, |row| match row.get_ref(0)? {
        rusqlite::types::ValueRef::Integer(n) => Ok(n.to_string()),
        value => Ok(value.as_str()?.to_owned()),
    })
}

/// The name of a pragma, what it should be, what it is.
pub(crate) type Readback = (String, String, String);

/// Reads the pragmas of the writing connection (or of the read-only one in its place).
pub(crate) fn read_pragmas_back(
    conn: &Connection,
    settings: &Settings,
    manner: Manner,
) -> Sql<Vec<Readback>> {
    let all = match manner {
        Manner::Writes => writer_pragmas(settings),
        Manner::Looks | Manner::LooksAtStill => reader_pragmas(settings, manner),
    };
    let is_fixed = |pragma: &Pragma| pragma.name != WAL_LIMIT;
    let read = |pragma: Pragma| {
        Ok((pragma.name.to_owned(), pragma.wanted.to_owned(), read_back(conn, pragma.name)?))
    };
    all.into_iter().filter(is_fixed).map(read).collect()
}

/// Checks that the commits of a caller's connection are as durable as this queue's.
///
/// # Errors
/// `InvalidInput`, naming the pragma, its value and the fix.
#[cfg(feature = "rusqlite")]
pub(crate) fn check_caller(conn: &Connection, settings: &Settings) -> Sql<()> {
    let wanted = synchronous(settings.durability);
    let level = |text: &str| text.parse::<u8>().unwrap_or(0);
    let found = read_back(conn, wanted.name)?;
    let is_right =
        level(&found) >= level(wanted.wanted) || planted("g01-a-connection-that-does-not-sync-enqueues");
    if !is_right {
        let message = format!(
            "the connection has synchronous = {found}, and this queue needs {} at least; run PRAGMA synchronous = {} on it before the transaction",
            wanted.wanted,
            wanted.set.unwrap_or_default(),
        );
        return Err(Error::new(ErrorKind::InvalidInput, message).into());
    }
    #[cfg(target_vendor = "apple")]
    if settings.durability == Durability::Full && read_back(conn, "fullfsync")? != "1" {
        let message = "the connection has fullfsync = 0, and this queue needs 1; run PRAGMA fullfsync = 1 on it before the transaction";
        return Err(Error::new(ErrorKind::InvalidInput, message).into());
    }
    let found = read_back(conn, "journal_mode")?;
    if found != "wal" {
        let message = format!(
            "the connection has journal_mode = {found}, and this queue needs WAL; run PRAGMA journal_mode = WAL on it"
        );
        return Err(Error::new(ErrorKind::InvalidInput, message).into());
    }
    Ok(())
}

fn refused(pragma: &Pragma, found: &str) -> Error {
    if pragma.name == "journal_mode" {
        let message = format!(
            "the file's journal mode is {found:?}, and it needs WAL; with share(true), turn WAL on before: PRAGMA journal_mode = WAL"
        );
        return Error::new(ErrorKind::InvalidConfig, message);
    }
    Error::internal(format!(
        "SQLite keeps {} at {found:?} and does not take {:?}",
        pragma.name, pragma.wanted
    ))
}

/// A pragma's value: a number or a keyword.
struct PragmaValue(&'static str);

impl rusqlite::ToSql for PragmaValue {
    fn to_sql(&self) -> rusqlite::Result<rusqlite::types::ToSqlOutput<'_>> {
        match self.0.parse::<i64>() {
            Ok(n) => Ok(n.into()),
            Err(_) => self.0.to_sql(),
        }
    }
}

/// Stops a file from giving its free pages back at each commit (`auto_vacuum = FULL`): it could not
/// keep room for the next commit. A file that never gives any back (`NONE`) would have to be
/// rewritten for that, and stays as it is.
pub(crate) fn keep_free_pages(conn: &Connection) -> Sql<()> {
    const FULL: &str = "1";
    if read_back(conn, AUTO_VACUUM.name)? != FULL || planted("g11-free-pages-are-given-back-at-once") {
        return Ok(());
    }
    apply(conn, &[AUTO_VACUUM])
}

/// A number that changes whenever another connection has committed.
pub(crate) fn data_version(conn: &Connection) -> Sql<i64> {
    Ok(conn.query_row("PRAGMA data_version", [], |row| row.get(0))?)
}
