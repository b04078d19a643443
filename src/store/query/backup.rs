//! Backup: copies one snapshot of a file in use with SQLite's online backup, and checks the copy before it gets its name.

use std::fs::OpenOptions;
use std::path::Path;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};

use super::check::check;
use crate::error::{Error, ErrorKind};
use crate::store::error::Sql;
use crate::store::file::create::{create_private, file_error, sync_folder};
use crate::store::file::identity::beside;
use crate::store::file::path::{canonical, refuse_long};
use crate::task::Progress;

/// Pages copied between two syncs of the copy (4 MiB of pages of 4 KiB): commits would wait for a file system that has much to write.
const STEP_PAGES: i32 = 1024;

/// Copies the file, as the snapshot shows it, to `to`, which must not exist. After an error nothing is left there.
///
/// # Errors
/// `InvalidInput` if the target exists; `Corrupt` if the copy is not sound; those of the disk.
pub(crate) fn backup(snapshot: &Connection, to: &Path, progress: &mut dyn FnMut(Progress)) -> Sql<()> {
    let to = &canonical(to, true)?; // a network file system is allowed: no two processes lock a copy
    make_whole(to, |half| copy(snapshot, half, progress))
}

/// Makes a new file that only its owner can read. Until it is complete it has another name, in the same folder, so that a killed process
/// leaves no incomplete file under its name.
///
/// # Errors
/// `InvalidInput` if the file exists; those of `make`. No file is left then.
pub(crate) fn make_whole<R>(path: &Path, make: impl FnOnce(&Path) -> Sql<R>) -> Sql<R> {
    if std::fs::symlink_metadata(path).is_ok() {
        return Err(exists(path, "remove it, or give another path").into());
    }
    let half = &beside(path, HALF);
    refuse_long(half)?;
    create_private(half).map_err(|e| match e.kind() {
        std::io::ErrorKind::AlreadyExists => {
            exists(half, "another run makes it now, or was killed: remove it then")
        }
        _ => file_error(&format!("{} cannot be created", half.display()), e),
    })?;
    remove_companions(half); // those of a killed run
    let done = make(half).and_then(|made| Ok(name(half, path).map(|()| made)?));
    if done.is_err() {
        remove_companions(half);
        let _ = std::fs::remove_file(half); // the first error is returned
    }
    done
}

/// The suffix of the name until the file is complete.
const HALF: &str = "-half";

/// Removes the files that SQLite may have left beside a database.
fn remove_companions(path: &Path) {
    for companion in ["-journal", "-wal", "-shm"] {
        let _ = std::fs::remove_file(beside(path, companion)); // mostly there is none
    }
}

fn exists(path: &Path, what_to_do: &str) -> Error {
    Error::invalid_value("path", path.display(), &format!("exists already; {what_to_do}"))
}

/// Gives a complete, closed file its name.
fn name(half: &Path, path: &Path) -> Result<(), Error> {
    if std::fs::symlink_metadata(beside(half, "-wal")).is_ok_and(|wal| wal.len() > 0) {
        return Err(Error::new(ErrorKind::Io, "the new file could not be closed; is the disk full?"));
    }
    match std::fs::hard_link(half, path) {
        Ok(()) => {
            let _ = std::fs::remove_file(half); // the file already has its name
        }
        Err(_) if std::fs::symlink_metadata(path).is_ok() => {
            return Err(exists(path, "remove it, or give another path"));
        }
        // Not every file system has hard links.
        Err(_) => std::fs::rename(half, path).map_err(|e| file_error("the new file cannot be named", e))?,
    }
    sync_folder(path)
}

fn copy(snapshot: &Connection, to: &Path, progress: &mut dyn FnMut(Progress)) -> Sql<()> {
    // Begins the read transaction: without it a commit would make SQLite restart the copy.
    let _: i64 = snapshot.query_row("SELECT COUNT(*) FROM perdura_meta", [], |row| row.get(0))?;
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    // Declared before `target`, so closed after it: closing a file drops all POSIX locks of the process on it, SQLite's too. Open for writing,
    // because Windows syncs only such files.
    let file =
        OpenOptions::new().write(true).open(to).map_err(|e| file_error("the copy cannot be opened", e))?;
    let mut target = Connection::open_with_flags(to, flags)?;
    let running = Backup::new(snapshot, &mut target)?;
    loop {
        let step = running.step(STEP_PAGES)?;
        let at = running.progress();
        let [total, left] = [at.pagecount, at.remaining].map(|n| u64::from(n.max(0).cast_unsigned()));
        progress(Progress { done: total.saturating_sub(left), total });
        file.sync_data().map_err(cannot_sync)?;
        match step {
            StepResult::Done => break,
            StepResult::More => {}
            _ => return Err(Error::new(ErrorKind::Busy, "the target of the backup is in use").into()),
        }
    }
    drop(running);
    let report = check(&target)?;
    if let Some(problem) = report.problems.first() {
        let message = format!("the copy is not sound: {problem}; look at the file with `Queue::check`");
        return Err(Error::new(ErrorKind::Corrupt, message).into());
    }
    target.close().map_err(|(_, e)| e)?; // checkpoints its WAL
    Ok(file.sync_all().map_err(cannot_sync)?)
}

fn cannot_sync(error: std::io::Error) -> Error {
    file_error("the copy cannot be synced", error)
}
