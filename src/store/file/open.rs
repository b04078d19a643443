//! From a path to connections that are what they should be.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use r2d2_sqlite::SqliteConnectionManager;
use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;
use rusqlite::{Connection, OpenFlags};

use super::busy;
use super::cause::{descriptors, explained, is_shortage, make_beside};
use super::identity::beside;
use super::schema::{self, Identity};
use crate::config::Durability;
use crate::error::{Error, ErrorKind};
#[cfg(unix)]
use crate::journal::tell;
use crate::planted::planted;
use crate::store::error::{Fault, Sql};
use crate::store::{Opening, Settings};
use crate::sync::{Mutex, lock, thread};
use crate::task::Timestamp;

/// The statements that are kept prepared on a connection: more than there are texts.
const STATEMENTS: usize = 256;

/// Opens one file at a time in this process: closing the descriptor that made a file would drop the locks that SQLite has on it.
static OPENING: Mutex<()> = Mutex::new(());

/// A file that has been opened.
pub(crate) struct Opened {
    /// The writing connection, or one that cannot write in its place.
    pub connection: Connection,
    pub file_id: [u8; 16],
    pub manner: Manner,
    /// It belongs to a program, which has its own tables in it.
    pub is_shared: bool,
}

/// How the connections to a file are opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    Writes,
    /// Only looks, beside others that may write.
    Looks,
    /// Only looks, at a file that nobody can write where it lies: without a lock, a WAL and a `-shm`.
    LooksAtStill,
}

/// Opens a file. A new one is made; an existing one must be ours, and is left as it was if it is not.
pub(crate) fn first(path: &Path, opening: &Opening<'_>) -> Result<Opened, Error> {
    let one_at_a_time = lock(&OPENING);
    if opening.looks_only {
        return Ok(open_looker(path, opening).map_err(|fault| explained(fault, path))?);
    }
    let is_made = !opening.share && create_file(path)?;
    let opened = open_writer(path, opening).map_err(|fault| explained(fault, path))?;
    drop(one_at_a_time); // a logger may open a queue of its own
    if !opened.is_shared && !is_made {
        warn_if_others_may_read(path);
    }
    Ok(opened)
}

/// Makes an empty file that only its owner can read, and makes its name durable, if there is none; says whether it did.
fn create_file(path: &Path) -> Result<bool, Error> {
    match create_private(path) {
        Ok(file) => {
            drop(file);
            sync_folder(path)?;
            Ok(true)
        }
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(e) => Err(file_error("the file cannot be created", e)),
    }
}

/// Makes a new file that only its owner can read.
pub(crate) fn create_private(path: &Path) -> io::Result<fs::File> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// A file that exists already keeps its mode: it may be meant. But it is said.
#[cfg(unix)]
fn warn_if_others_may_read(path: &Path) {
    if let Ok(found) = fs::symlink_metadata(path) {
        let mode = std::os::unix::fs::PermissionsExt::mode(&found.permissions()) & 0o777;
        if mode & 0o077 != 0 {
            tell!(
                Warn,
                "{} may be read by others (mode {mode:o}); chmod 600 makes it private",
                path.display()
            );
        }
    }
}

#[cfg(not(unix))]
fn warn_if_others_may_read(_: &Path) {}

pub(crate) fn sync_folder(path: &Path) -> Result<(), Error> {
    #[cfg(unix)]
    if let Some(folder) = path.parent() {
        match fs::File::open(folder).and_then(|folder| folder.sync_all()) {
            // Not every file system that Apple's systems mount knows F_FULLFSYNC, and std falls back to nothing. SQLite does, and syncs the
            // folder too when it makes the -wal.
            Err(e) if cfg!(target_vendor = "apple") && !is_of_device(&e) => {}
            synced => synced.map_err(|e| file_error("the folder cannot be synced", e))?,
        }
    }
    let _ = path;
    Ok(())
}

/// Whether a sync has failed, rather than not being known.
#[cfg(unix)]
fn is_of_device(e: &io::Error) -> bool {
    !matches!(e.raw_os_error(), Some(libc::ENOTSUP | libc::ENOTTY | libc::EINVAL))
}

/// What the operating system says about a file of ours.
pub(crate) fn file_error(what: &str, e: io::Error) -> Error {
    let (kind, fix) = match e.kind() {
        io::ErrorKind::PermissionDenied => (ErrorKind::ReadOnly, "check the permissions of the folder"),
        io::ErrorKind::ReadOnlyFilesystem => {
            (ErrorKind::ReadOnly, "mount its file system for writing, or only look with look_only(true)")
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => (ErrorKind::DiskFull, "free some space"),
        io::ErrorKind::InvalidFilename => (ErrorKind::InvalidInput, "give a shorter name"),
        io::ErrorKind::OutOfMemory => (ErrorKind::Io, "free some memory"),
        _ if is_shortage(&e) => (ErrorKind::Io, "close some, or raise their limit (ulimit -n)"),
        _ => (ErrorKind::Io, "check the disk"),
    };
    Error::new(kind, format!("{what}: {e}; {fix}")).with_source(e)
}

/// Another writing connection to a file that is open already.
pub(crate) fn again(path: &Path, vfs: Option<&str>, settings: &Settings) -> Sql<Connection> {
    let conn = connect(path, vfs, settings)?;
    pragmas(&conn, &writer_pragmas(settings))?;
    Ok(conn)
}

fn connect(path: &Path, vfs: Option<&str>, settings: &Settings) -> Sql<Connection> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let conn = match vfs {
        None => Connection::open_with_flags(path, flags)?,
        Some(vfs) => Connection::open_with_flags_and_vfs(path, flags, vfs)?,
    };
    harden(&conn, vfs, settings)?;
    Ok(conn)
}

/// Tells the program's log which statements run, if it listens when the file is opened.
#[cfg(feature = "trace")]
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

fn open_writer(path: &Path, opening: &Opening<'_>) -> Sql<Opened> {
    let conn = connect(path, opening.vfs, &opening.settings)?;
    if conn.is_readonly(rusqlite::MAIN_DB)? {
        return Err(match make_beside(path) {
            Err(e) => file_error("the file cannot be written", e),
            Ok(()) => Error::new(ErrorKind::ReadOnly, "the file cannot be written; check its permissions"),
        }
        .into());
    }
    let identity = schema::identify(&conn)?;
    let is_shared = is_shared(&identity, opening);
    refuse_strangers(&conn, &identity, is_shared)?;
    if !is_shared {
        if identity == Identity::Empty {
            conn.execute_batch("PRAGMA auto_vacuum = INCREMENTAL")?; // a database that another tool has made may not take it
        }
        switch_to_wal(&conn)?;
    }
    pragmas(&conn, &writer_pragmas(&opening.settings))?;
    let file_id = make_or_verify(&conn, opening.now)?;
    if !is_shared {
        keep_free_pages(&conn)?;
    }
    Ok(Opened { connection: conn, file_id, manner: Manner::Writes, is_shared })
}

/// A file that gives its free pages back at each commit (`auto_vacuum = FULL`) cannot keep room for the next one, so it is told to keep
/// them until it is asked. One that never gives any back (`NONE`) would have to be written anew for that, and stays as it is.
pub(crate) fn keep_free_pages(conn: &Connection) -> Sql<()> {
    const FULL: &str = "1";
    if read_back(conn, AUTO_VACUUM.name)? != FULL || planted("g11-free-pages-are-given-back-at-once") {
        return Ok(());
    }
    pragmas(conn, &[AUTO_VACUUM])
}

/// A connection that cannot write, in the place of the writing one.
fn open_looker(path: &Path, opening: &Opening<'_>) -> Sql<Opened> {
    if fs::symlink_metadata(path).is_err() {
        let message = "there is no such file, and look_only(true) makes none; check the path";
        return Err(Error::new(ErrorKind::NotFound, message).into());
    }
    match look_at(path, opening, Manner::Looks) {
        Err(Fault::Sql(e)) if is_without_companions(&e) && is_still(path, opening)? => {
            // No companion is needed now, so what SQLite cannot open is the file.
            look_at(path, opening, Manner::LooksAtStill).map_err(|fault| match fault {
                Fault::Sql(e) if is_without_companions(&e) => {
                    let message = "the file cannot be opened; check who may read it";
                    Error::new(ErrorKind::ReadOnly, message).with_source(e).into()
                }
                fault => fault,
            })
        }
        looked => looked,
    }
}

/// Whether SQLite could not open or make a `-wal` or `-shm`, or the file itself.
fn is_without_companions(e: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{CannotOpen, ReadOnly};
    matches!(e.sqlite_error_code(), Some(CannotOpen | ReadOnly))
}

/// Whether nobody can write a file where it lies, as far as this process can know: its folder takes no file, and nothing is left of
/// somebody who wrote. (Somebody else may be able to; so it is looked at before and after each look: see `Identity`.)
///
/// # Errors
/// `ReadOnly` if there is a WAL that SQLite cannot read there.
fn is_still(path: &Path, opening: &Opening<'_>) -> Result<bool, Error> {
    let can_be_told = cfg!(unix) && opening.vfs.is_none() && descriptors().is_ok();
    let Some(why) = make_beside(path).err().filter(|_| can_be_told) else { return Ok(false) };
    if !matches!(why.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem) {
        return Ok(false);
    }
    let has_text = |suffix| fs::symlink_metadata(beside(path, suffix)).is_ok_and(|found| found.len() > 0);
    if has_text("-wal") || has_text("-journal") {
        let message = "the newest commits are in its -wal, which cannot be read where no -shm can be made; copy the database and its -wal \
                       into a folder that can be written, and look at it there";
        return Err(Error::new(ErrorKind::ReadOnly, message).with_source(why));
    }
    Ok(true)
}

fn look_at(path: &Path, opening: &Opening<'_>, manner: Manner) -> Sql<Opened> {
    let (name, flags) = reading(path, manner);
    let conn = match opening.vfs {
        None => Connection::open_with_flags(name, flags)?,
        Some(vfs) => Connection::open_with_flags_and_vfs(name, flags, vfs)?,
    };
    harden(&conn, opening.vfs, &opening.settings)?;
    let identity = schema::identify(&conn)?;
    let is_shared = is_shared(&identity, opening);
    match identity {
        Identity::Empty => {
            let message = "an empty file, not yet a queue; make it by opening it without look_only(true)";
            return Err(Error::new(ErrorKind::NotPerdura, message).into());
        }
        identity => refuse_strangers(&conn, &identity, is_shared)?,
    }
    pragmas(&conn, &reader_pragmas(&opening.settings, manner))?;
    let sql = "SELECT file_id FROM perdura_meta WHERE id = 1";
    let file_id = conn.query_row(sql, [], |row| row.get::<_, [u8; 16]>(0))?;
    Ok(Opened { connection: conn, file_id, manner, is_shared })
}

/// The name and the flags with which a connection that only reads is opened.
fn reading(path: &Path, manner: Manner) -> (PathBuf, OpenFlags) {
    match manner {
        Manner::LooksAtStill => (still_name(path).into(), READER_FLAGS | OpenFlags::SQLITE_OPEN_URI),
        _ => (path.to_owned(), READER_FLAGS),
    }
}

/// The URI by which SQLite takes a file for one that cannot change. Whatever could mean something in a URI is written as its number.
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

/// Turns WAL on. SQLite answers "busy" at once if another process does the same now, without waiting.
fn switch_to_wal(conn: &Connection) -> Sql<()> {
    const TRIES: u32 = 500;
    const PAUSE: Duration = Duration::from_millis(20);
    for _ in 1..TRIES {
        match ask_for_wal(conn) {
            Err(e) if e.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy) => {
                thread::sleep(PAUSE)
            }
            switched => return Ok(switched?),
        }
    }
    Ok(ask_for_wal(conn)?)
}

/// SQLite answers "wal" first and commits the switch then. Whoever does not ask for the end of the answer (`query_row` does not) never
/// hears that the commit has failed; and from then on SQLite says "wal", and writes with a rollback journal.
fn ask_for_wal(conn: &Connection) -> rusqlite::Result<()> {
    let mut statement = conn.prepare("PRAGMA journal_mode = WAL")?;
    let mut rows = statement.query([])?;
    while rows.next()?.is_some() {
        if planted("g01-a-failed-switch-to-wal-goes-unheard") {
            break;
        }
    }
    Ok(())
}

/// Whether a file is treated as one of a program, whose own tables are in it too. A file without any of ours is never found to be that.
fn is_shared(identity: &Identity, opening: &Opening<'_>) -> bool {
    opening.share || (opening.share_as_found && *identity == Identity::Ours { shared: true })
}

fn refuse_strangers(conn: &Connection, identity: &Identity, share: bool) -> Sql<()> {
    let refused = match identity {
        Identity::Foreign if !share && !planted("g12-foreign-files-taken") => {
            "another program's database; give another path, or share(true) if it is yours"
        }
        Identity::Ours { shared: true } if !share => {
            "holds tables that are not perdura's; open it with share(true) if they are yours"
        }
        Identity::Ours { .. } => return schema::verify(conn),
        Identity::Empty | Identity::Foreign => return Ok(()),
    };
    Err(Error::new(ErrorKind::NotPerdura, refused).into())
}

/// Makes our tables if they are not there, and reads the file's id.
fn make_or_verify(conn: &Connection, now: Timestamp) -> Sql<[u8; 16]> {
    conn.execute_batch("BEGIN IMMEDIATE")?;
    let made = match schema::identify(conn) {
        Ok(Identity::Ours { .. }) => schema::verify(conn),
        Ok(_) => schema::create(conn, now),
        Err(e) => Err(e),
    };
    let made = made.and_then(|()| {
        Ok(conn.query_row("SELECT file_id FROM perdura_meta WHERE id = 1", [], |row| {
            row.get::<_, [u8; 16]>(0)
        })?)
    });
    match made {
        Ok(file_id) => {
            conn.execute_batch("COMMIT")?;
            Ok(file_id)
        }
        Err(fault) => {
            if !conn.is_autocommit() {
                conn.execute_batch("ROLLBACK")?;
            }
            Err(fault)
        }
    }
}

/// How connections are opened that only read.
const READER_FLAGS: OpenFlags = OpenFlags::SQLITE_OPEN_READ_ONLY
    .union(OpenFlags::SQLITE_OPEN_NO_MUTEX)
    .union(OpenFlags::SQLITE_OPEN_NOFOLLOW);

/// The pool's way to make reading connections.
pub(crate) fn readers(path: &Path, opening: &Opening<'_>, manner: Manner) -> SqliteConnectionManager {
    let settings = opening.settings;
    let set_up = move |conn: &Connection, vfs: Option<&str>| -> rusqlite::Result<()> {
        let set_up =
            harden(conn, vfs, &settings).and_then(|()| pragmas(conn, &reader_pragmas(&settings, manner)));
        set_up.map_err(|fault| match fault {
            Fault::Sql(e) => e,
            Fault::Told(e) => rusqlite::Error::ToSqlConversionFailure(e.into()),
        })
    };
    match opening.vfs.map(str::to_owned) {
        None => {
            let (name, flags) = reading(path, manner);
            SqliteConnectionManager::file(name).with_flags(flags).with_init(move |conn| set_up(conn, None))
        }
        Some(vfs) => {
            // The manager knows no VFS. It opens a place holder, which the real connection takes the place of.
            let path = path.to_owned();
            SqliteConnectionManager::file(":memory:").with_init(move |conn| {
                *conn = Connection::open_with_flags_and_vfs(&path, READER_FLAGS, vfs.as_str())?;
                set_up(conn, Some(&vfs))
            })
        }
    }
}

/// Makes a connection safe to use on a file that somebody else may have prepared: before any other SQL.
fn harden(conn: &Connection, vfs: Option<&str>, settings: &Settings) -> Sql<()> {
    #[cfg(feature = "trace")]
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
        // Plans do not depend on bound values; otherwise each new value of a LIMIT compiles its statement again (30 µs).
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
        Some(_) => conn.busy_timeout(settings.busy_timeout)?, // it may have an opinion of how long a sleep is
    }
    conn.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(())
}

/// How much a connection takes of what SQLite could do: more than our statements and values need, and little more.
fn limits(settings: &Settings) -> [(Limit, i32); 6] {
    [
        // Also of what is read: SQLite looks at the length before it makes room for a value.
        (Limit::SQLITE_LIMIT_LENGTH, i32::try_from(settings.longest).unwrap_or(i32::MAX)),
        (Limit::SQLITE_LIMIT_SQL_LENGTH, 100_000),
        (Limit::SQLITE_LIMIT_VDBE_OP, 1_000_000), // `integrity_check` has some for each table of a shared file
        (Limit::SQLITE_LIMIT_ATTACHED, 0),
        (Limit::SQLITE_LIMIT_TRIGGER_DEPTH, 0),
        (Limit::SQLITE_LIMIT_WORKER_THREADS, 0),
    ]
}

/// A pragma, what to set it to (if it is to be set), and what it must read back as.
struct Pragma {
    name: &'static str,
    set: Option<&'static str>,
    wanted: &'static str,
}

const fn pragma(name: &'static str, value: &'static str) -> Pragma {
    Pragma { name, set: Some(value), wanted: value }
}

/// Free pages stay in the file until they are asked for. It is the file's own setting, not the connection's.
const AUTO_VACUUM: Pragma = Pragma { name: "auto_vacuum", set: Some("INCREMENTAL"), wanted: "2" };

/// The WAL file is cut to this size when it starts again (but see `chores::limit_wal`).
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
        all.retain(|pragma| pragma.name != "journal_mode"); // it has none
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

/// Sets every pragma and reads every one back: SQLite says nothing when it ignores one.
fn pragmas(conn: &Connection, all: &[Pragma]) -> Sql<()> {
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

/// What the pragmas of the writing connection (or of the one in its place) are.
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

fn refused(pragma: &Pragma, found: &str) -> Error {
    if pragma.name == "journal_mode" {
        let message = format!(
            "the file's journal mode is {found:?}, and it needs WAL; with share(true), turn WAL on before"
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
