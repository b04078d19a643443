//! The handle by which a test orders faults for one database.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::disk::{Disk, State};
use crate::error::Error;
use crate::log::{Log, lock};
use crate::plan::{Hit, Plan, Role};
use crate::recording::Recording;
use crate::{real, vfs};

/// The faults of one database and its `-wal`, `-journal` and `-shm`. Clones share them; they end
/// when the last clone is dropped.
#[derive(Clone)]
pub struct Faults {
    attached: Arc<Attached>,
}

impl Faults {
    /// Attaches a database: its files that are opened through the VFS from now on get the faults
    /// that are ordered here. Registers the VFS.
    ///
    /// The file need not exist, but its folder must. Files that are open already are not affected.
    ///
    /// # Errors
    /// [`Error::Path`], [`Error::Attached`]; [`Error::Sqlite`] if the VFS cannot be registered.
    pub fn attach(path: impl AsRef<Path>) -> Result<Faults, Error> {
        let path = path.as_ref();
        vfs::register().map_err(Error::Sqlite)?;
        let name = real::full_name(&real_path(path)?).map_err(|_| Error::Path(path.to_owned()))?;
        let disk = Disk::attach(name).ok_or_else(|| Error::Attached(path.to_owned()))?;
        Ok(Faults { attached: Arc::new(Attached { disk }) })
    }

    /// The database's path, as SQLite sees it.
    pub fn path(&self) -> PathBuf {
        self.attached.disk.path_of(Role::Database)
    }

    /// Adds a plan, which fails one or more operations. Plans work side by side; if two match an
    /// operation, it fails as the first says.
    pub fn fail(&self, plan: Plan) {
        self.state().plans.push(plan);
    }

    /// Removes all plans. Counts, hits and the limit of space stay.
    pub fn clear(&self) {
        self.state().plans.clear();
    }

    /// Limits the sum of the lengths of the database's files, as a full file system does: of a
    /// write that would exceed it, the part that fits is written, and the result is `SQLITE_FULL`.
    /// Overwriting is still possible.
    pub fn limit_space(&self, bytes: u64) {
        self.state().limit = Some(bytes);
    }

    /// Lifts the limit of space.
    pub fn free_space(&self) {
        self.state().limit = None;
    }

    /// Operations since the faults were attached or [`reset`](Faults::reset), failed or not: of
    /// every class except [`WriteLock`](crate::Class::WriteLock).
    pub fn operations(&self) -> u64 {
        self.state().operations
    }

    /// How many operations were failed since the faults were attached or [`reset`](Faults::reset).
    pub fn hit_count(&self) -> u64 {
        self.state().hit_count
    }

    /// The operations that were failed, the first 10,000 of them.
    pub fn hits(&self) -> Vec<Hit> {
        self.state().hits.clone()
    }

    /// Sets the counts to 0 and forgets the hits. Plans keep their own counts.
    pub fn reset(&self) {
        let mut state = self.state();
        state.operations = 0;
        state.hit_count = 0;
        state.hits.clear();
    }

    /// Copies the database, its WAL and its journal into a folder, as they are between two writes:
    /// what remains if the process dies now. Returns the path of the copied database.
    ///
    /// It is safe while the database is open, unlike `std::fs::copy`, which would drop the locks
    /// that SQLite has on it.
    ///
    /// # Errors
    /// If a file cannot be read or written.
    pub fn copy_to(&self, folder: impl AsRef<Path>) -> Result<PathBuf, Error> {
        let disk = &self.attached.disk;
        let changes = lock(&disk.changes);
        for role in Role::LASTING {
            if let Some(bytes) = disk.content(role)? {
                std::fs::write(folder.as_ref().join(disk.file_name(role)), bytes)?;
            }
        }
        drop(changes);
        Ok(folder.as_ref().join(disk.file_name(Role::Database)))
    }

    /// Records every change of the files from now on, until the recording is dropped. A second
    /// recording replaces the first, which then gets no more entries.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn record(&self) -> Result<Recording, Error> {
        let disk = &self.attached.disk;
        let mut changes = lock(&disk.changes);
        let mut base = Vec::new();
        for role in Role::LASTING {
            if let Some(bytes) = disk.content(role)? {
                base.push((role, bytes));
            }
        }
        let log = Arc::new(Mutex::new(Log::new(base)));
        *changes = Arc::downgrade(&log);
        let file_name = disk.path_of(Role::Database).file_name().map(PathBuf::from).unwrap_or_default();
        Ok(Recording::new(log, file_name))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.attached.disk.state)
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faults")
            .field("path", &self.attached.disk.path_of(Role::Database))
            .finish_non_exhaustive()
    }
}

/// The path with its folder resolved, as SQLite resolves it.
fn real_path(path: &Path) -> Result<PathBuf, Error> {
    let wrong = || Error::Path(path.to_owned());
    let name = path.file_name().ok_or_else(wrong)?;
    if path.is_dir() {
        return Err(wrong());
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if cfg!(unix) {
        Ok(folder.canonicalize().map_err(|_| wrong())?.join(name))
    } else {
        // On Windows the result of `canonicalize` differs from SQLite's.
        if folder.is_dir() { Ok(path.to_owned()) } else { Err(wrong()) }
    }
}

/// Detaches the database when the last handle is dropped.
struct Attached {
    disk: Arc<Disk>,
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.disk.detach();
    }
}
