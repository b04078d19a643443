//! The files of one attached database: decides how each operation fares, and records it.

use std::cell::Cell;
use std::collections::HashMap;
use std::ffi::c_int;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, Weak};

use rusqlite::ffi;

use crate::entry::Entry;
use crate::error::Error;
use crate::log::{Log, lock};
use crate::plan::{Class, Hit, Kind, Plan, Role};
use crate::real;

/// How many hits are kept in full; further ones are only counted, so a program that retries for
/// ever does not fill the memory.
const KEPT_HITS: usize = 10_000;

/// The attached files, by name as SQLite spells it.
static REGISTRY: LazyLock<Mutex<HashMap<Vec<u8>, DiskFile>>> = LazyLock::new(Mutex::default);

/// A file: its disk, and which file of the database it is.
pub(crate) type DiskFile = (Arc<Disk>, Role);

/// The attached file of this name.
pub(crate) fn find(name: &[u8]) -> Option<DiskFile> {
    lock(&REGISTRY).get(name).cloned()
}

thread_local! {
    /// Whether a plan refused the last lock that this thread requested.
    static REFUSED: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread waits for a lock that a plan refused: nobody holds it, so a sleep would be
/// useless.
pub(crate) fn waits_for_nobody() -> bool {
    REFUSED.get()
}

/// This thread requests a lock that no plan refuses.
pub(crate) fn waits_for_somebody() {
    REFUSED.set(false);
}

/// The disk below the files of one database.
pub(crate) struct Disk {
    /// The name of the database file, as SQLite spells it.
    name: Vec<u8>,
    pub(crate) state: Mutex<State>,
    /// The recording. The mutex is held while a file changes, so that a copy shows one moment and a
    /// recording has the true order.
    pub(crate) changes: Mutex<Weak<Mutex<Log>>>,
}

/// The plans of a test, and their effects so far.
#[derive(Default)]
pub(crate) struct State {
    pub plans: Vec<Plan>,
    /// The limit of the sum of the files' lengths.
    pub limit: Option<u64>,
    pub operations: u64,
    pub hit_count: u64,
    pub hits: Vec<Hit>,
}

impl State {
    fn hit(&mut self, class: Class, role: Role, kind: Kind) {
        self.hit_count += 1;
        if self.hits.len() < KEPT_HITS {
            self.hits.push(Hit { operation: self.operations, class, role, kind });
        }
    }
}

/// How an operation fares, by the plans and the limit of space.
#[derive(Clone, Copy, PartialEq)]
enum Decision {
    Pass,
    Fail(Kind),
    /// The file may not grow beyond this length.
    NoSpaceBeyond(u64),
}

impl Disk {
    /// Attaches the database whose file has this name; none if it is attached already.
    pub(crate) fn attach(name: Vec<u8>) -> Option<Arc<Disk>> {
        let disk = Arc::new(Disk { name, state: Mutex::default(), changes: Mutex::default() });
        let mut registry = lock(&REGISTRY);
        if registry.contains_key(&disk.name_of(Role::Database)) {
            return None;
        }
        for role in Role::ALL {
            registry.insert(disk.name_of(role), (disk.clone(), role));
        }
        Some(disk)
    }

    /// Detaches the database. Files that are open keep the disk, but nothing fails on it any more.
    pub(crate) fn detach(&self) {
        let mut registry = lock(&REGISTRY);
        for role in Role::ALL {
            registry.remove(&self.name_of(role));
        }
        *lock(&self.state) = State::default();
    }
}

// Each operation gets a function that passes it on to the real VFS, and returns SQLite's result
// code.
impl Disk {
    pub(crate) fn open(&self, role: Role, may_create: bool, pass: impl FnOnce() -> c_int) -> c_int {
        let changes = lock(&self.changes);
        let was_there = self.path_of(role).symlink_metadata().is_ok();
        let creates = may_create && !was_there;
        if self.decide(Class::Open, role, creates, None) != Decision::Pass {
            return ffi::SQLITE_CANTOPEN;
        }
        let code = pass();
        if let Some(log) =
            changes.upgrade().filter(|_| code == ffi::SQLITE_OK && Role::LASTING.contains(&role))
        {
            let mut log = lock(&log);
            if creates {
                log.push(Entry::Create(role));
            } else if !log.has(role) {
                // It was created without this VFS.
                log.push(Entry::Appear(role, self.content(role).ok().flatten().unwrap_or_default().into()));
            }
        }
        code
    }

    pub(crate) fn delete(&self, role: Role, durably: bool, pass: impl FnOnce() -> c_int) -> c_int {
        let changes = lock(&self.changes);
        if self.decide(Class::Delete, role, false, None) != Decision::Pass {
            return ffi::SQLITE_IOERR_DELETE;
        }
        logged(&changes, pass(), || Entry::Delete(role, durably))
    }

    pub(crate) fn read(&self, role: Role, pass: impl FnOnce() -> c_int) -> c_int {
        match self.decide(Class::Read, role, false, None) {
            Decision::Pass => pass(),
            _ if cfg!(unix) => ffi::SQLITE_IOERR_CORRUPTFS,
            _ => ffi::SQLITE_IOERR_READ,
        }
    }

    pub(crate) fn write(
        &self,
        role: Role,
        offset: u64,
        bytes: &[u8],
        pass: impl FnOnce(&[u8]) -> c_int,
    ) -> c_int {
        let changes = lock(&self.changes);
        let (written, answer) = match self.decide(Class::Write, role, true, Some(offset + bytes.len() as u64))
        {
            Decision::Pass => (bytes, ffi::SQLITE_OK),
            Decision::Fail(Kind::Io) => return ffi::SQLITE_IOERR_WRITE,
            Decision::Fail(Kind::TornWrite) => (&bytes[..bytes.len() / 2], ffi::SQLITE_IOERR_WRITE),
            Decision::Fail(Kind::ShortWrite) => (&bytes[..bytes.len() / 2], ffi::SQLITE_FULL),
            Decision::Fail(_) => return ffi::SQLITE_FULL,
            Decision::NoSpaceBeyond(end) => {
                let fits = usize::try_from(end.saturating_sub(offset)).unwrap_or(usize::MAX);
                (&bytes[..fits.min(bytes.len())], ffi::SQLITE_FULL)
            }
        };
        if written.is_empty() {
            return answer;
        }
        let code = logged(&changes, pass(written), || Entry::Write(role, offset, written.into()));
        if code == ffi::SQLITE_OK { answer } else { code }
    }

    pub(crate) fn truncate(&self, role: Role, size: u64, pass: impl FnOnce() -> c_int) -> c_int {
        let changes = lock(&self.changes);
        if self.decide(Class::Truncate, role, true, Some(size)) != Decision::Pass {
            return ffi::SQLITE_IOERR_TRUNCATE;
        }
        logged(&changes, pass(), || Entry::Truncate(role, size))
    }

    pub(crate) fn sync(&self, role: Role, pass: impl FnOnce() -> c_int) -> c_int {
        let changes = lock(&self.changes);
        match self.decide(Class::Sync, role, true, None) {
            Decision::Pass => logged(&changes, pass(), || Entry::Sync(role)),
            Decision::Fail(Kind::Io) => {
                logged(&changes, pass(), || Entry::Sync(role));
                ffi::SQLITE_IOERR_FSYNC
            }
            _ => {
                logged(&changes, ffi::SQLITE_OK, || Entry::LostSync(role));
                ffi::SQLITE_IOERR_FSYNC
            }
        }
    }

    pub(crate) fn size(&self, role: Role, pass: impl FnOnce() -> c_int) -> c_int {
        match self.decide(Class::Size, role, false, None) {
            Decision::Pass => pass(),
            _ => ffi::SQLITE_IOERR_FSTAT,
        }
    }

    /// `end`: the new length of the shared memory, if it may grow.
    pub(crate) fn map(&self, end: Option<u64>, pass: impl FnOnce() -> c_int) -> c_int {
        match self.decide(Class::ShmMap, Role::Shm, end.is_some(), end) {
            Decision::Pass => pass(),
            Decision::Fail(Kind::Full) | Decision::NoSpaceBeyond(_) => ffi::SQLITE_IOERR_SHMSIZE,
            Decision::Fail(_) => ffi::SQLITE_IOERR_SHMMAP,
        }
    }

    pub(crate) fn write_lock(&self, pass: impl FnOnce() -> c_int) -> c_int {
        let decision = self.decide(Class::WriteLock, Role::Shm, false, None);
        REFUSED.set(decision != Decision::Pass);
        if decision == Decision::Pass { pass() } else { ffi::SQLITE_BUSY }
    }

    /// Counts an operation and decides how it fares. `grows`: it may need space. `end`: the length
    /// that the file needs for it.
    fn decide(&self, class: Class, role: Role, grows: bool, end: Option<u64>) -> Decision {
        let mut state = lock(&self.state);
        state.operations += u64::from(class != Class::WriteLock);
        let mut decision = Decision::Pass;
        for plan in &mut state.plans {
            if let (Some(kind), Decision::Pass) = (plan.meet(class, role, grows), decision) {
                decision = Decision::Fail(kind);
            }
        }
        if let (Decision::Pass, Some(limit), Some(end)) = (decision, state.limit, end) {
            let reach = reach(|role| self.path_of(role).into(), role, limit);
            if end > reach {
                decision = Decision::NoSpaceBeyond(reach);
            }
        }
        match decision {
            Decision::Pass => {}
            Decision::Fail(kind) => state.hit(class, role, kind),
            Decision::NoSpaceBeyond(_) => state.hit(class, role, Kind::Full),
        }
        decision
    }

    fn name_of(&self, role: Role) -> Vec<u8> {
        [&self.name, role.suffix().as_bytes()].concat()
    }

    pub(crate) fn path_of(&self, role: Role) -> PathBuf {
        real::path(&self.name_of(role))
    }

    pub(crate) fn file_name(&self, role: Role) -> PathBuf {
        self.path_of(role).file_name().map(PathBuf::from).unwrap_or_default()
    }

    /// The content of a file; none if it does not exist.
    pub(crate) fn content(&self, role: Role) -> Result<Option<Vec<u8>>, Error> {
        if self.path_of(role).symlink_metadata().is_err() {
            return Ok(None);
        }
        real::read_file(&self.name_of(role), role).map(Some).map_err(Error::Sqlite)
    }
}

/// Adds a change that succeeded to the recording, if there is one.
fn logged(changes: &Weak<Mutex<Log>>, code: c_int, entry: impl FnOnce() -> Entry) -> c_int {
    if let Some(log) = changes.upgrade().filter(|_| code == ffi::SQLITE_OK) {
        lock(&log).push(entry());
    }
    code
}

/// The length that a file may reach if all files together may have `limit` bytes; never less than
/// its present length.
///
/// Gets lengths by path: opening and closing a database file would drop the (POSIX) locks that
/// SQLite has on it.
fn reach(path_of: impl Fn(Role) -> Box<Path>, role: Role, limit: u64) -> u64 {
    let length = |role| std::fs::metadata(path_of(role)).map_or(0, |found| found.len());
    let others = Role::ALL.into_iter().filter(|other| *other != role).map(length).sum();
    limit.saturating_sub(others).max(length(role))
}
