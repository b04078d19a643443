//! Opens connections that are safe on a file that somebody else may have prepared.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use r2d2_sqlite::SqliteConnectionManager;
use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;
use rusqlite::{Connection, OpenFlags};

use super::busy;
use super::cause::explained;
use super::identity::FileIdentity;
use super::opening::{Manner, Opening, Settings};
use super::pragmas::{set_up_reader, set_up_writer};
use crate::error::Error;
use crate::store::error::{Fault, Sql};

/// Prepared statements that a connection keeps: more than the store has SQL texts.
const CACHED_STATEMENTS: usize = 256;

/// Opens more connections to a file that is open already.
pub(crate) struct Connector {
    pub path: PathBuf,
    pub vfs: Option<String>,
    pub settings: Settings,
    pub manner: Manner,
    pub identity: Arc<FileIdentity>,
}

impl Connector {
    /// Opens another writing connection. It fails if another file has taken the place of this one.
    pub(crate) fn connect(&self) -> Result<Connection, Error> {
        self.identity.check()?;
        let set_up = || {
            let conn = connect(&self.path, self.vfs.as_deref(), &self.settings)?;
            set_up_writer(&conn, &self.settings)?;
            Ok(conn)
        };
        set_up().map_err(|fault| explained(fault, &self.path).into())
    }
}

pub(crate) fn connect(path: &Path, vfs: Option<&str>, settings: &Settings) -> Sql<Connection> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let conn = match vfs {
        None => Connection::open_with_flags(path, flags)?,
        Some(vfs) => Connection::open_with_flags_and_vfs(path, flags, vfs)?,
    };
    harden(&conn, vfs, settings)?;
    Ok(conn)
}

/// Logs each statement, if the program's log takes that level when the connection is opened.
#[cfg(feature = "sql-log")]
fn trace(conn: &Connection) {
    use rusqlite::trace::{TraceEvent, TraceEventCodes};
    const TARGET: &str = "perdura::sql";
    if log::log_enabled!(target: TARGET, log::Level::Trace) {
        conn.trace_v2(
            TraceEventCodes::SQLITE_TRACE_STMT,
            Some(|event| {
                if let TraceEvent::Stmt(_, text) = event {
                    log::trace!(target: TARGET, "{text}");
                }
            }),
        );
    }
}

/// The name and the flags with which a read-only connection is opened.
pub(crate) fn reading(path: &Path, manner: Manner) -> (PathBuf, OpenFlags) {
    match manner {
        Manner::LooksAtStill => (still_name(path).into(), READER_FLAGS | OpenFlags::SQLITE_OPEN_URI),
        _ => (path.to_owned(), READER_FLAGS),
    }
}

/// The URI that makes SQLite treat a file as immutable. Every byte that could have a meaning in a
/// URI is percent-encoded.
fn still_name(path: &Path) -> String {
    let mut uri = String::from("file:");
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'/' | b'-' | b'.' | b'_' | b'~' => uri.push(char::from(*byte)),
            _ if byte.is_ascii_alphanumeric() => uri.push(char::from(*byte)),
            _ => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri + "?immutable=1"
}

/// The flags of read-only connections.
const READER_FLAGS: OpenFlags = OpenFlags::SQLITE_OPEN_READ_ONLY
    .union(OpenFlags::SQLITE_OPEN_NO_MUTEX)
    .union(OpenFlags::SQLITE_OPEN_NOFOLLOW);

/// How the pool makes reading connections.
pub(crate) fn readers(path: &Path, opening: &Opening<'_>, manner: Manner) -> SqliteConnectionManager {
    let settings = opening.settings;
    let set_up = move |conn: &Connection, vfs: Option<&str>| -> rusqlite::Result<()> {
        let set_up = harden(conn, vfs, &settings).and_then(|()| set_up_reader(conn, &settings, manner));
        set_up.map_err(|fault| match fault {
            Fault::Sql(e) => e,
            Fault::Typed(e) => rusqlite::Error::ToSqlConversionFailure(e.into()),
        })
    };
    match opening.vfs.map(str::to_owned) {
        None => {
            let (name, flags) = reading(path, manner);
            SqliteConnectionManager::file(name).with_flags(flags).with_init(move |conn| set_up(conn, None))
        }
        Some(vfs) => {
            // The manager cannot open through a VFS. It opens a placeholder, which is replaced.
            let path = path.to_owned();
            SqliteConnectionManager::file(":memory:").with_init(move |conn| {
                *conn = Connection::open_with_flags_and_vfs(&path, READER_FLAGS, vfs.as_str())?;
                set_up(conn, Some(&vfs))
            })
        }
    }
}

/// Makes a connection safe to use on a file that somebody else may have prepared. Called before any
/// other SQL.
pub(crate) fn harden(conn: &Connection, vfs: Option<&str>, settings: &Settings) -> Sql<()> {
    #[cfg(feature = "sql-log")]
    trace(conn);
    for (config, on) in [
        (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true),
        (DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false),
        (DbConfig::SQLITE_DBCONFIG_WRITABLE_SCHEMA, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY, false),
        (DbConfig::SQLITE_DBCONFIG_DQS_DML, false),
        (DbConfig::SQLITE_DBCONFIG_DQS_DDL, false),
        // Plans do not depend on bound values; otherwise each new value of a LIMIT compiles its
        // statement again (30 µs).
        (DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true),
        #[cfg(feature = "bundled")]
        (DbConfig::SQLITE_DBCONFIG_ENABLE_ATTACH_CREATE, false),
        #[cfg(feature = "bundled")]
        (DbConfig::SQLITE_DBCONFIG_ENABLE_ATTACH_WRITE, false),
    ] {
        if conn.set_db_config(config, on)? != on {
            return Err(Error::internal(format!("SQLite did not take {config:?}")).into());
        }
    }
    for (limit, most) in limits(settings) {
        conn.set_limit(limit, most)?;
        if conn.limit(limit)? > most {
            return Err(Error::internal(format!("SQLite did not take {limit:?}")).into());
        }
    }
    match vfs {
        None => busy::wait_for_locks(conn)?,
        // SQLite's own handler sleeps through the VFS, which may have a clock of its own.
        Some(_) => conn.busy_timeout(settings.busy_timeout)?,
    }
    conn.set_prepared_statement_cache_capacity(CACHED_STATEMENTS);
    Ok(())
}

/// Upper limits of a connection: a little more than our statements and values need.
fn limits(settings: &Settings) -> [(Limit, i32); 6] {
    [
        // Also for reading: SQLite checks the length before it allocates a value.
        (Limit::SQLITE_LIMIT_LENGTH, i32::try_from(settings.longest).unwrap_or(i32::MAX)),
        (Limit::SQLITE_LIMIT_SQL_LENGTH, 100_000),
        (Limit::SQLITE_LIMIT_VDBE_OP, 1_000_000), // `integrity_check` needs some for each table of a shared file
        (Limit::SQLITE_LIMIT_ATTACHED, 0),
        (Limit::SQLITE_LIMIT_TRIGGER_DEPTH, 0),
        (Limit::SQLITE_LIMIT_WORKER_THREADS, 0),
    ]
}
