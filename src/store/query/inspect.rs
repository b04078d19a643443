//! Facts about the file itself: its settings, its size, its WAL, its owner.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::Connection;
use serde::Serialize;

use crate::store::error::Sql;
use crate::store::file::holder::{self, Owner};
use crate::store::file::identity::beside;
use crate::store::file::mounts::Mounts;
use crate::store::file::owner_lock;
use crate::store::file::pragmas::Readback;
use crate::store::file::schema::VERSION;
use crate::store::file::wal_frames::{self, WalReport};
use crate::task::Timestamp;

/// Facts about a file, without its tasks. Made by [`Queue::inspect`](crate::Queue::inspect).
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct FileReport {
    /// Its path.
    pub path: PathBuf,
    /// The file's id, drawn when it was made.
    pub file_id: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// The version of its schema.
    pub schema_version: i64,
    /// The version of the SQLite that reads it.
    pub sqlite_version: String,
    /// The type of the file system that it lies on, where that can be known.
    pub file_system: Option<String>,
    /// Its permissions, as `chmod` writes them, on Unix.
    pub mode: Option<String>,
    /// The length of the database in bytes, without its WAL.
    pub bytes: u64,
    /// The size of a page in bytes.
    pub page_bytes: u64,
    /// The number of its pages.
    pub pages: u64,
    /// Pages that are free.
    pub free_pages: u64,
    /// Pages that are kept for a full disk.
    pub reserve_pages: u64,
    /// Whether the file gives free pages back to the file system when it is asked to. If not (`auto_vacuum = NONE`), it never becomes
    /// smaller; its free pages are used again.
    pub gives_pages_back: bool,
    /// Its WAL.
    pub wal: WalReport,
    /// How often the ownership was taken.
    pub owner_epoch: i64,
    /// Whether a process owns the file now; none if that cannot be known without disturbing the owner.
    pub owned: Option<bool>,
    /// The process that owns it, where that can be known.
    pub owner_process: Option<u32>,
    /// The queues that the owner (or the last one) claims from, if not from all.
    pub served: Option<Vec<String>>,
    /// How long finished tasks are kept, if an owner has set that in the file; `Some(None)`: for good.
    #[serde(serialize_with = "in_words")]
    pub retention: Option<Option<Duration>>,
    /// Pragmas as they were read back, on this program's connection.
    pub pragmas: Vec<PragmaReport>,
}

/// A pragma, what it should be, and what it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PragmaReport {
    /// Its name.
    pub name: String,
    /// What it was set to.
    pub wanted: String,
    /// What SQLite says it is.
    pub found: String,
}

/// Which process owns a file.
pub(crate) fn owner(path: &Path) -> Owner {
    owner_on(path, Mounts::read().as_ref())
}

fn owner_on(path: &Path, mounts: Option<&Mounts>) -> Owner {
    holder::owner(&beside(path, owner_lock::SUFFIX), mounts)
}

/// Reads everything but the tasks.
pub(crate) fn inspect(conn: &Connection, path: &Path, pragmas: Vec<Readback>) -> Sql<FileReport> {
    let pragma = |name: &str| conn.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let [pages, free_pages, page_bytes] =
        [pragma("page_count")?, pragma("freelist_count")?, pragma("page_size")?]
            .map(|n| n.max(0).cast_unsigned());
    let padding: i64 =
        conn.query_row("SELECT COALESCE(SUM(length(padding)), 0) FROM perdura_padding", [], |row| {
            row.get(0)
        })?;
    let sql = "SELECT file_id, created_at_ms, owner_epoch, served FROM perdura_meta WHERE id = 1";
    let (file_id, created, owner_epoch, served): ([u8; 16], i64, i64, Option<String>) =
        conn.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?;
    let unreadable = |e| crate::store::file::create::file_error("the -wal file cannot be read", e);
    let mounts = Mounts::read();
    let owner = owner_on(path, mounts.as_ref());
    Ok(FileReport {
        path: path.to_owned(),
        file_id: file_id.iter().map(|byte| format!("{byte:02x}")).collect(),
        created_at: Timestamp::from_millis(created),
        schema_version: VERSION,
        sqlite_version: rusqlite::version().to_owned(),
        file_system: mounts.as_ref().and_then(|mounts| mounts.kind_of(path)).map(str::to_owned),
        mode: mode(path),
        bytes: std::fs::symlink_metadata(path).map_or(0, |found| found.len()),
        page_bytes,
        pages,
        free_pages,
        gives_pages_back: pragma("auto_vacuum")? != 0,
        reserve_pages: padding.max(0).cast_unsigned().div_ceil(page_bytes.max(1)),
        wal: wal_frames::read(&beside(path, "-wal")).map_err(unreadable)?,
        owner_epoch,
        owned: owner.is_owned,
        owner_process: owner.process,
        served: served.and_then(|list| serde_json::from_str(&list).ok()),
        retention: crate::store::tasks::epoch::retention(conn)?,
        pragmas: pragmas
            .into_iter()
            .map(|(name, wanted, found)| PragmaReport { name, wanted, found })
            .collect(),
    })
}

/// Serializes it as a configuration file writes it: `"7days"`, `"never"`.
fn in_words<S: serde::Serializer>(retention: &Option<Option<Duration>>, s: S) -> Result<S::Ok, S::Error> {
    match retention {
        None => s.serialize_none(),
        Some(None) => s.serialize_str("never"),
        Some(Some(age)) => s.collect_str(&humantime::format_duration(*age)),
    }
}

#[cfg(unix)]
fn mode(path: &Path) -> Option<String> {
    use std::os::unix::fs::PermissionsExt;
    let found = std::fs::symlink_metadata(path).ok()?;
    Some(format!("{:o}", found.permissions().mode() & 0o777))
}

#[cfg(not(unix))]
fn mode(_: &Path) -> Option<String> {
    None
}
