//! A recording of all changes in order, and the images that a power cut could leave.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::entry::Entry;
use crate::error::Error;
use crate::image::Tear;
use crate::log::{Log, lock};
use crate::plan::Role;

/// Every change of a database's files since [`Faults::record`](crate::Faults::record), and the
/// marks of the test, in order. The recording ends when it is dropped. Clones share it.
///
/// # The model
///
/// A power cut *at* `n` comes after the first `n` entries. It leaves of each file:
///
/// - What was written before its last completed sync is there, with the length of that time.
/// - After that, each sector of 512 bytes has any one of the contents that it had since, in no
///   order; a [`Tear`] chooses which. A sector is atomic: old or new, never a mixture, and its
///   neighbours are not damaged (SQLite assumes that too, unless told otherwise:
///   `SQLITE_IOCAP_POWERSAFE_OVERWRITE`).
/// - The length is any that it had since its last sync. A sector within the length that was never
///   written back is zeros, as on ext4 (unwritten extents), or old content of the disk
///   (`data=writeback`).
/// - A sync that failed ([`Kind::FailedSync`](crate::Kind::FailedSync)) leaves the sectors that it
///   should have synced undecided for good: Linux marks the pages as clean, and later syncs skip
///   them. Only writing a sector again decides it.
/// - A truncation is atomic, and no write after it is there without it.
/// - A new file may be missing until its first sync, and a removed file may be back until the
///   folder is synced. SQLite syncs the folder with the first sync of a new WAL or journal, and
///   with some removals.
/// - The shared memory is never there. SQLite makes it again.
///
/// Devices that lose data after they confirmed a flush are outside the model, and so is bit rot.
#[derive(Clone)]
pub struct Recording {
    log: Arc<Mutex<Log>>,
    file_name: PathBuf,
}

impl Recording {
    pub(crate) fn new(log: Arc<Mutex<Log>>, file_name: PathBuf) -> Recording {
        Recording { log, file_name }
    }

    /// The number of entries so far: changes, syncs and marks.
    pub fn len(&self) -> usize {
        lock(&self.log).entries.len()
    }

    /// Whether there is no entry yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of completed syncs so far.
    pub fn syncs(&self) -> usize {
        lock(&self.log).entries.iter().filter(|entry| matches!(entry, Entry::Sync(_))).count()
    }

    /// Adds a mark of the test, for instance that a COMMIT has returned: what that promises must be
    /// in every image at a later entry.
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

    /// Writes what a power cut after the first `at` entries leaves into a folder, and returns the
    /// path of the database there. Files of an earlier image there are replaced or removed, and so
    /// is a `-shm` that an opener left.
    ///
    /// Images are cheapest in the order of their entries: each continues from the last one.
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

/// One line for each entry: its number and the change.
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
