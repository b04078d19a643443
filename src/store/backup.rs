//! A copy of the file while it is in use: SQLite's online backup, of one snapshot, checked before it counts.

use std::path::Path;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};

use super::check::check;
use super::fault::Sql;
use super::open::{canonical, create_private, file_error, sync_folder};
use crate::error::{Error, ErrorKind};
use crate::task::Progress;

/// Pages copied between two looks at the progress (16 MiB of pages of 4 KiB).
const STEP_PAGES: i32 = 4096;

/// Copies the file as a snapshot shows it to `to`, which must not exist. What went wrong leaves nothing there.
///
/// # Errors
/// `InvalidInput` for a target that exists; `Corrupt` if the copy is not sound; those of the disk.
pub(crate) fn backup(snapshot: &Connection, to: &Path, progress: &mut dyn FnMut(Progress)) -> Sql<()> {
    let to = &canonical(to, true)?; // a copy is not locked by several, so a network may hold it
    new_file(to)?;
    let done = copy(snapshot, to, progress).and_then(|()| Ok(sync_folder(to)?));
    if done.is_err() {
        let _ = std::fs::remove_file(to); // the error that led here says more
    }
    done
}

/// Makes an empty file that only its owner can read.
///
/// # Errors
/// `InvalidInput` if there is one.
pub(super) fn new_file(path: &Path) -> Result<(), Error> {
    create_private(path).map(drop).map_err(|e| match e.kind() {
        std::io::ErrorKind::AlreadyExists => {
            Error::invalid_value("path", path.display(), "exists already; remove it, or give another path")
        }
        _ => file_error(&format!("{} cannot be created", path.display()), e),
    })
}

fn copy(snapshot: &Connection, to: &Path, progress: &mut dyn FnMut(Progress)) -> Sql<()> {
    // Begins the reading transaction, so that no commit makes the copy begin again.
    let _: i64 = snapshot.query_row("SELECT COUNT(*) FROM perdura_meta", [], |row| row.get(0))?;
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let mut target = Connection::open_with_flags(to, flags)?;
    let running = Backup::new(snapshot, &mut target)?;
    loop {
        let step = running.step(STEP_PAGES)?;
        let at = running.progress();
        let [total, left] = [at.pagecount, at.remaining].map(|n| u64::from(n.max(0).cast_unsigned()));
        progress(Progress { done: total.saturating_sub(left), total });
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
    target.close().map_err(|(_, e)| e)?; // empties its WAL into it
    let file = std::fs::File::open(to).and_then(|file| file.sync_all());
    Ok(file.map_err(|e| file_error("the copy cannot be synced", e))?)
}
