//! The recording of all changes, in order, and the images that a power cut could leave.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::entry::Entry;
use crate::error::Error;
use crate::image::Tear;
use crate::log::{Log, lock};
use crate::plan::Role;

/// Every change of a database's files since [`Faults::record`](crate::Faults::record), and the marks of the test, in one order. Ends
/// when it is dropped. Clones are the same recording.
///
/// # The model
///
/// A power cut *at* `n` comes after the first `n` entries. What it leaves is made file by file:
///
/// - What was written before the last completed sync of its file is there, with the length that the file had then.
/// - Of what was written after that, each sector of 512 bytes has any one of the contents that it had since, in no order; which one
///   is chosen by a [`Tear`]. A sector is whole: old or new, never a mixture, and its neighbours are not harmed (SQLite assumes
///   that too, unless it is told otherwise: `SQLITE_IOCAP_POWERSAFE_OVERWRITE`).
/// - The length is any that the file had since its last sync. Where the file is long enough but a sector was never written back, there
///   are zeros, as ext4 has there (unwritten extents), or what lay on the disk before (`data=writeback`).
/// - A sync that failed ([`Kind::FailedSync`](crate::Kind::FailedSync)) leaves what it was to sync undecided for good: Linux
///   takes the pages for clean, and later syncs pass them by. Only writing a sector again decides it.
/// - A file is cut (truncated) as a whole or not at all, and what was written behind a cut is not there without it.
/// - A new file may be missing until its first sync, and a removed one may be back, until the folder is synced. SQLite does that with
///   the first sync of a new WAL or journal.
/// - The shared memory is never there. SQLite makes it anew.
///
/// A device that loses what it has confirmed as flushed is outside of the model, and so is bit rot.
#[derive(Clone)]
pub struct Recording {
    log: Arc<Mutex<Log>>,
    file_name: PathBuf,
}

impl Recording {
    pub(crate) fn new(log: Arc<Mutex<Log>>, file_name: PathBuf) -> Recording {
        Recording { log, file_name }
    }

    /// Entries so far: changes, syncs and marks.
    pub fn len(&self) -> usize {
        lock(&self.log).entries.len()
    }

    /// Whether nothing has happened yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Completed syncs so far.
    pub fn syncs(&self) -> usize {
        lock(&self.log).entries.iter().filter(|entry| matches!(entry, Entry::Sync(_))).count()
    }

    /// Notes in the order of things that something has happened: that a COMMIT has returned, say. What the test is owed from then
    /// on must be in every image at a later entry.
    pub fn mark(&self, label: u64) {
        lock(&self.log).push(Entry::Mark(label));
    }

    /// The marks among the first `at` entries.
    pub fn marks_before(&self, at: usize) -> Vec<u64> {
        let log = lock(&self.log);
        let marks = log.entries.iter().take(at).filter_map(|entry| match entry {
            Entry::Mark(label) => Some(*label),
            _ => None,
        });
        marks.collect()
    }

    /// Writes into a folder what a power cut after the first `at` entries leaves. Answers with the path of the database there. Files
    /// of an image that was made there before are replaced or removed; so is the shared memory of whoever opened it.
    ///
    /// Images in the order of their entries cost least: each goes on from where the last one was.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn image(&self, at: usize, tear: Tear, folder: impl AsRef<Path>) -> Result<PathBuf, Error> {
        let files = lock(&self.log).cut(at).image(tear);
        let database = folder.as_ref().join(&self.file_name);
        for role in Role::ALL {
            let mut path = database.clone().into_os_string();
            path.push(role.suffix());
            match files.iter().find(|(of, _)| *of == role) {
                Some((_, bytes)) => std::fs::write(&path, bytes)?,
                None => match std::fs::remove_file(&path) {
                    Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e.into()),
                    _ => {}
                },
            }
        }
        Ok(database)
    }
}

impl std::fmt::Debug for Recording {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recording").field("len", &self.len()).finish_non_exhaustive()
    }
}

/// One line for each entry: its number, and what has happened.
impl std::fmt::Display for Recording {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (n, entry) in lock(&self.log).entries.iter().enumerate() {
            match entry {
                Entry::Create(role) => writeln!(f, "{n} create {role:?}")?,
                Entry::Appear(role, bytes) => writeln!(f, "{n} appear {role:?} {}", bytes.len())?,
                Entry::Write(role, at, bytes) => writeln!(f, "{n} write {role:?} {at}+{}", bytes.len())?,
                Entry::Truncate(role, length) => writeln!(f, "{n} truncate {role:?} {length}")?,
                Entry::Sync(role) => writeln!(f, "{n} sync {role:?}")?,
                Entry::LostSync(role) => writeln!(f, "{n} lost sync {role:?}")?,
                Entry::Delete(role, durably) => writeln!(f, "{n} delete {role:?} durably={durably}")?,
                Entry::Mark(label) => writeln!(f, "{n} mark {label}")?,
            }
        }
        Ok(())
    }
}
