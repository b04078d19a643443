//! Opens a file: from a path to a connection whose settings were checked.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::config::DbConfig;

use super::cause::{descriptors, explained, make_beside};
use super::connect::{connect, harden, reading};
use super::create::{create_private, file_error, sync_folder};
use super::identity::beside;
use super::lengths::wal_bytes;
use super::opening::{Manner, Opening};
use super::path::open_companions;
use super::pragmas::{keep_free_pages, set_up_reader, set_up_writer};
use super::schema::{self, FileKind};
use super::statistics::forget_statistics;
use crate::config::Durability;
use crate::error::{Error, ErrorKind};
#[cfg(unix)]
use crate::logging::tell;
use crate::planted::planted;
use crate::store::error::{Fault, Sql};
use crate::sync::{Mutex, lock, thread};
use crate::task::Timestamp;

/// One file at a time is opened in this process. Creating a file and closing its descriptor would
/// drop the locks that SQLite, on another thread, already has on it.
static OPENING: Mutex<()> = Mutex::new(());

/// An opened file.
pub(crate) struct Opened {
    /// The writing connection; a read-only one if the file was opened for reading.
    pub connection: Connection,
    pub file_id: [u8; 16],
    pub manner: Manner,
    /// The file belongs to a program, which has tables of its own in it.
    pub is_shared: bool,
}

/// Opens a file. A missing one is created, unless it is to be shared or read only; one that is
/// refused is left as it was.
pub(crate) fn open(path: &Path, opening: &Opening<'_>) -> Result<Opened, Error> {
    let opened = match first(path, opening) {
        Err(e) if e.kind() == ErrorKind::ReadOnly && !opening.read_only && open_companions(path) => {
            first(path, opening)?
        }
        opened => opened?,
    };
    if opened.manner == Manner::Writes {
        let _ = forget_statistics(&opened.connection); // they would only make searches slower
    }
    Ok(opened)
}

/// One attempt of `open`, which does not repair read-only companions.
pub(crate) fn first(path: &Path, opening: &Opening<'_>) -> Result<Opened, Error> {
    let one_at_a_time = lock(&OPENING);
    if opening.read_only {
        return Ok(open_looker(path, opening).map_err(|fault| explained(fault, path))?);
    }
    if opening.share && opening.vfs.is_none() && is_missing(path) {
        let message = "there is no such file, and share(true) needs a database that exists; make it, with PRAGMA journal_mode = WAL";
        return Err(Error::new(ErrorKind::NotFound, message));
    }
    let is_made = !opening.share && create_file(path)?;
    let opened = open_writer(path, opening).map_err(|fault| explained(fault, path))?;
    drop(one_at_a_time); // a logger may open a queue of its own
    if !opened.is_shared && !is_made {
        warn_if_others_may_read(path);
    }
    Ok(opened)
}

/// Whether the file is missing. (A VFS may keep it elsewhere.)
fn is_missing(path: &Path) -> bool {
    fs::symlink_metadata(path).is_err_and(|e| e.kind() == io::ErrorKind::NotFound)
}

/// Creates an empty file that only its owner can read, and makes its name durable. Returns false if
/// the file exists.
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

/// Warns if others can read the file. An existing file keeps its mode, which may be intended.
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
        if identity == FileKind::Empty {
            // Without effect if another tool has already written the header.
            conn.execute_batch("PRAGMA auto_vacuum = INCREMENTAL")?;
        }
        switch_to_wal(&conn)?;
    }
    set_up_writer(&conn, &opening.settings)?;
    if !planted("g03-an-old-wal-may-come-back") {
        bury_old_wal(&conn, path)?;
    }
    let file_id = make_or_verify(&conn, opening.now)?;
    if !is_shared {
        keep_free_pages(&conn)?;
    }
    if opening.leaves_wal && identity != FileKind::Empty {
        leave_wal(&conn, opening.settings.durability)?;
    }
    Ok(Opened { connection: conn, file_id, manner: Manner::Writes, is_shared })
}

/// Opens a read-only connection in place of the writing one.
fn open_looker(path: &Path, opening: &Opening<'_>) -> Sql<Opened> {
    if fs::symlink_metadata(path).is_err() {
        let message = "there is no such file, and read_only(true) makes none; check the path";
        return Err(Error::new(ErrorKind::NotFound, message).into());
    }
    match look_at(path, opening, Manner::Looks) {
        Err(Fault::Sql(e)) if is_without_companions(&e) && is_still(path, opening)? => {
            // No companion is needed now, so it is the file itself that SQLite cannot open.
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

/// Whether nobody can write the file, as far as this process can know: no file can be made in its
/// folder, and no writer has left a journal or a WAL with content. (Another user may be able to
/// write; so each read checks the file before and after: see `FileIdentity`.)
///
/// # Errors
/// `ReadOnly` if there is a WAL (or journal) that SQLite cannot read there.
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
        FileKind::Empty => {
            let message = "an empty file, not yet a queue; make it by opening it without read_only(true)";
            return Err(Error::new(ErrorKind::NotPerdura, message).into());
        }
        identity => refuse_strangers(&conn, &identity, is_shared)?,
    }
    set_up_reader(&conn, &opening.settings, manner)?;
    let sql = "SELECT file_id FROM perdura_meta WHERE id = 1";
    let file_id = conn.query_row(sql, [], |row| row.get::<_, [u8; 16]>(0))?;
    Ok(Opened { connection: conn, file_id, manner, is_shared })
}

/// Turns WAL on. SQLite returns SQLITE_BUSY at once, without waiting, if another process does the
/// same now.
fn switch_to_wal(conn: &Connection) -> Sql<()> {
    const WAL_SWITCH_TRIES: u32 = 500;
    const WAL_SWITCH_PAUSE: Duration = Duration::from_millis(20);
    for _ in 1..WAL_SWITCH_TRIES {
        match ask_for_wal(conn) {
            Err(e) if e.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy) => {
                thread::sleep(WAL_SWITCH_PAUSE)
            }
            switched => return Ok(switched?),
        }
    }
    Ok(ask_for_wal(conn)?)
}

/// Asks for WAL mode and steps the statement to its end. SQLite returns the row "wal" before it
/// commits the switch: whoever stops there (as `query_row` does) misses a failed commit, after
/// which SQLite reports "wal" but writes with a rollback journal.
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

/// Called before the first commit into a new WAL: makes the removal of the previous WAL durable.
/// The last connection to close a file deletes its WAL, and SQLite does not sync that. Where a file
/// system reuses blocks before their release is durable (ext4 with `data=writeback`, FAT), the new
/// WAL may be written into blocks of the old one. A power cut then brings the old WAL back with a
/// foreign block in it, and SQLite would copy the frames before that block over the newer database.
/// As long as this connection is open, the WAL is not deleted.
fn bury_old_wal(conn: &Connection, path: &Path) -> Result<(), Error> {
    if wal_bytes(conn) > 0 {
        return Ok(()); // it is in use, or is the previous one
    }
    match sync_folder(path) {
        // A folder that this user may not read. SQLite does not sync such a folder either.
        Err(e) if e.kind() == ErrorKind::ReadOnly => Ok(()),
        synced => synced,
    }
}

/// The next process to open the file must read a WAL that is left: one of this size takes less than
/// a millisecond.
const MAX_LEFT_WAL_BYTES: u64 = 1 << 20;

/// Lets SQLite keep the WAL when this connection is closed, if it is short now and its commits are
/// synced: its content is as durable there as in the database.
fn leave_wal(conn: &Connection, durability: Durability) -> Sql<()> {
    if durability == Durability::Full && wal_bytes(conn) < MAX_LEFT_WAL_BYTES {
        conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    }
    Ok(())
}

/// Whether the file is treated as a program's database that also has our tables. `share_as_found`
/// never applies to a file without them.
fn is_shared(identity: &FileKind, opening: &Opening<'_>) -> bool {
    opening.share || (opening.share_as_found && *identity == FileKind::Ours { shared: true })
}

fn refuse_strangers(conn: &Connection, identity: &FileKind, share: bool) -> Sql<()> {
    let refused = match identity {
        FileKind::Foreign if !share && !planted("g12-foreign-files-taken") => {
            "another program's database; give another path, or share(true) if it is yours"
        }
        FileKind::Ours { shared: true } if !share => {
            "holds tables that are not perdura's; open it with share(true) if they are yours"
        }
        FileKind::Ours { .. } => return schema::verify(conn),
        FileKind::Empty | FileKind::Foreign => return Ok(()),
    };
    Err(Error::new(ErrorKind::NotPerdura, refused).into())
}

/// Creates our tables, or verifies them if they exist; returns the file's id.
fn make_or_verify(conn: &Connection, now: Timestamp) -> Sql<[u8; 16]> {
    conn.execute_batch("BEGIN IMMEDIATE")?;
    let made = match schema::identify(conn) {
        Ok(FileKind::Ours { .. }) => schema::verify(conn),
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
