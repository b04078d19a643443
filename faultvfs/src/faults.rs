//! The faults of one database: what a test orders, and what each operation meets.

use std::cell::Cell;
use std::collections::HashMap;
use std::ffi::c_int;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};

use rusqlite::ffi;

use crate::plan::{Class, Hit, Kind, Plan, Role};
use crate::recording::{Entry, Log, Recording};
use crate::{space, vfs};

/// Hits that are kept with their particulars; the rest is only counted. A program that tries for ever must not fill the memory.
const KEPT_HITS: usize = 10_000;

/// The faults of one database and its `-wal`, `-journal` and `-shm`. Clones are the same faults; they end with the last one.
#[derive(Clone)]
pub struct Faults {
    attached: Arc<Attached>,
}

/// Why a file cannot be attached, copied or recorded.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// SQLite could not open this path.
    Path(PathBuf),
    /// There are faults for this database already: clone them.
    Attached(PathBuf),
    /// A file cannot be read or written.
    Io(io::Error),
    /// SQLite's code for what went wrong while its own VFS was asked.
    Sqlite(c_int),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Path(path) => {
                write!(
                    f,
                    "{} is not a path that SQLite can open; give the path of a file in a folder that exists",
                    path.display()
                )
            }
            Error::Attached(path) => write!(f, "{} has faults already; clone those", path.display()),
            Error::Io(e) => write!(f, "a file cannot be copied: {e}"),
            Error::Sqlite(code) => write!(f, "SQLite's own VFS answers with code {code}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Io(e) => Some(e),
            _ => None,
        }
    }
}

impl From<io::Error> for Error {
    fn from(e: io::Error) -> Error {
        Error::Io(e)
    }
}

impl Faults {
    /// Files of this database that are opened through the VFS from now on obey what this orders. Registers the VFS.
    ///
    /// The file need not exist, but its folder must. Files that are open already are left alone.
    ///
    /// # Errors
    /// [`Error::Path`], [`Error::Attached`]; [`Error::Sqlite`] if the VFS cannot be registered.
    pub fn attach(path: impl AsRef<Path>) -> Result<Faults, Error> {
        let path = path.as_ref();
        vfs::register().map_err(Error::Sqlite)?;
        let name = vfs::full_name(&real_path(path)?).map_err(|_| Error::Path(path.to_owned()))?;
        let disk = Arc::new(Disk { name, state: Mutex::default(), changes: Mutex::default() });
        let mut registry = lock(&REGISTRY);
        if registry.contains_key(&disk.name_of(Role::Database)) {
            return Err(Error::Attached(path.to_owned()));
        }
        for role in Role::ALL {
            registry.insert(disk.name_of(role), (disk.clone(), role));
        }
        Ok(Faults { attached: Arc::new(Attached { disk }) })
    }

    /// The database's path, as SQLite sees it.
    pub fn path(&self) -> PathBuf {
        self.attached.disk.path_of(Role::Database)
    }

    /// Fails an operation, or many. Several plans hold side by side; an operation that two of them mean fails as the first says.
    pub fn fail(&self, plan: Plan) {
        self.state().plans.push(plan);
    }

    /// Fails nothing any more. Counts and hits stay, the limit of space too.
    pub fn clear(&self) {
        self.state().plans.clear();
    }

    /// Keeps the sum of the lengths of the database's files below so many bytes, as a full file system does: of a write that would
    /// go beyond, what fits is written, and the answer is `SQLITE_FULL`. Writing over what is there goes on.
    pub fn limit_space(&self, bytes: u64) {
        self.state().limit = Some(bytes);
    }

    /// Lifts the limit of space.
    pub fn free_space(&self) {
        self.state().limit = None;
    }

    /// Operations since the faults were attached or [`reset`](Faults::reset), of every class that touches the disk, failed or not.
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

    /// Begins to count at 0 again and forgets the hits. Plans go on where they are.
    pub fn reset(&self) {
        let mut state = self.state();
        state.operations = 0;
        state.hit_count = 0;
        state.hits.clear();
    }

    /// Copies the database, its WAL and its journal into a folder, as they are between two writes: what is left when the process dies
    /// now. Answers with the path of the copied database.
    ///
    /// It is safe while the database is open, other than `std::fs::copy`, which would drop the locks that SQLite has on it.
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

    /// Records every change of the files from now on, until the recording is dropped. A second one takes the place of the first,
    /// which then stands still.
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

/// The path with its folder resolved, as SQLite will see it.
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
        // What `canonicalize` makes of a path elsewhere is not what SQLite makes of it.
        if folder.is_dir() { Ok(path.to_owned()) } else { Err(wrong()) }
    }
}

/// Which databases have faults: by the name of each file, as SQLite spells it.
static REGISTRY: LazyLock<Mutex<HashMap<Vec<u8>, Standing>>> = LazyLock::new(Mutex::default);

/// A file: the disk on which it stands, and which file it is there.
pub(crate) type Standing = (Arc<Disk>, Role);

/// The faults of the file of this name, and which file it is.
pub(crate) fn find(name: &[u8]) -> Option<Standing> {
    lock(&REGISTRY).get(name).cloned()
}

/// Takes the faults off with the last handle. Files that are open still have the disk; nothing fails on it any more.
struct Attached {
    disk: Arc<Disk>,
}

impl Drop for Attached {
    fn drop(&mut self) {
        let mut registry = lock(&REGISTRY);
        for role in Role::ALL {
            registry.remove(&self.disk.name_of(role));
        }
        *lock(&self.disk.state) = State::default();
    }
}

thread_local! {
    /// The last lock that this thread has asked for was refused by a plan.
    static REFUSED: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread sleeps until somebody lets go of a lock that nobody holds.
pub(crate) fn waits_for_nobody() -> bool {
    REFUSED.get()
}

/// It asks for a lock that no plan refuses.
pub(crate) fn waits_for_somebody() {
    REFUSED.set(false);
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the files of one database stand on.
pub(crate) struct Disk {
    /// The name of the database file, as SQLite spells it.
    name: Vec<u8>,
    state: Mutex<State>,
    /// Held while a file changes, so that copies are of one moment and a recording has the order of things; the recording.
    changes: Mutex<Weak<Mutex<Log>>>,
}

#[derive(Default)]
struct State {
    plans: Vec<Plan>,
    limit: Option<u64>,
    operations: u64,
    hit_count: u64,
    hits: Vec<Hit>,
}

impl State {
    fn hit(&mut self, class: Class, role: Role, kind: Kind) {
        self.hit_count += 1;
        if self.hits.len() < KEPT_HITS {
            self.hits.push(Hit { operation: self.operations, class, role, kind });
        }
    }
}

/// How an operation fares: by plan, or for want of space.
#[derive(Clone, Copy, PartialEq)]
enum Fate {
    Pass,
    Fail(Kind),
    /// The file may be so long and no longer.
    NoSpaceBeyond(u64),
}

// Each operation is given the function that passes it on, and answers with SQLite's code for what became of it.
impl Disk {
    pub(crate) fn open(&self, role: Role, may_create: bool, pass: impl FnOnce() -> c_int) -> c_int {
        let changes = lock(&self.changes);
        let was_there = self.path_of(role).symlink_metadata().is_ok();
        let creates = may_create && !was_there;
        if self.fate(Class::Open, role, creates, None) != Fate::Pass {
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
                // Somebody else has made it, beside this VFS.
                log.push(Entry::Appear(role, self.content(role).ok().flatten().unwrap_or_default().into()));
            }
        }
        code
    }

    pub(crate) fn delete(&self, role: Role, durably: bool, pass: impl FnOnce() -> c_int) -> c_int {
        let changes = lock(&self.changes);
        if self.fate(Class::Delete, role, false, None) != Fate::Pass {
            return ffi::SQLITE_IOERR_DELETE;
        }
        logged(&changes, pass(), || Entry::Delete(role, durably))
    }

    pub(crate) fn read(&self, role: Role, pass: impl FnOnce() -> c_int) -> c_int {
        match self.fate(Class::Read, role, false, None) {
            Fate::Pass => pass(),
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
        let (written, answer) = match self.fate(Class::Write, role, true, Some(offset + bytes.len() as u64)) {
            Fate::Pass => (bytes, ffi::SQLITE_OK),
            Fate::Fail(Kind::Io) => return ffi::SQLITE_IOERR_WRITE,
            Fate::Fail(Kind::TornWrite) => (&bytes[..bytes.len() / 2], ffi::SQLITE_IOERR_WRITE),
            Fate::Fail(Kind::ShortWrite) => (&bytes[..bytes.len() / 2], ffi::SQLITE_FULL),
            Fate::Fail(_) => return ffi::SQLITE_FULL,
            Fate::NoSpaceBeyond(end) => {
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
        if self.fate(Class::Truncate, role, true, Some(size)) != Fate::Pass {
            return ffi::SQLITE_IOERR_TRUNCATE;
        }
        logged(&changes, pass(), || Entry::Truncate(role, size))
    }

    pub(crate) fn sync(&self, role: Role, pass: impl FnOnce() -> c_int) -> c_int {
        let changes = lock(&self.changes);
        match self.fate(Class::Sync, role, true, None) {
            Fate::Pass => logged(&changes, pass(), || Entry::Sync(role)),
            Fate::Fail(Kind::Io) => {
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
        match self.fate(Class::Size, role, false, None) {
            Fate::Pass => pass(),
            _ => ffi::SQLITE_IOERR_FSTAT,
        }
    }

    /// `end`: how long the shared memory is to be, if it may grow.
    pub(crate) fn map(&self, end: Option<u64>, pass: impl FnOnce() -> c_int) -> c_int {
        match self.fate(Class::ShmMap, Role::Shm, end.is_some(), end) {
            Fate::Pass => pass(),
            Fate::Fail(Kind::Full) | Fate::NoSpaceBeyond(_) => ffi::SQLITE_IOERR_SHMSIZE,
            Fate::Fail(_) => ffi::SQLITE_IOERR_SHMMAP,
        }
    }

    pub(crate) fn write_lock(&self, pass: impl FnOnce() -> c_int) -> c_int {
        let fate = self.fate(Class::WriteLock, Role::Shm, false, None);
        REFUSED.set(fate != Fate::Pass);
        if fate == Fate::Pass { pass() } else { ffi::SQLITE_BUSY }
    }

    /// Counts an operation and says how it fares. `grows`: it may need space; `end`: up to where in the file.
    fn fate(&self, class: Class, role: Role, grows: bool, end: Option<u64>) -> Fate {
        let mut state = lock(&self.state);
        state.operations += u64::from(class != Class::WriteLock);
        let mut fate = Fate::Pass;
        for plan in &mut state.plans {
            if let (Some(kind), Fate::Pass) = (plan.meet(class, role, grows), fate) {
                fate = Fate::Fail(kind);
            }
        }
        if let (Fate::Pass, Some(limit), Some(end)) = (fate, state.limit, end) {
            let reach = space::reach(|role| self.path_of(role).into(), role, limit);
            if end > reach {
                fate = Fate::NoSpaceBeyond(reach);
            }
        }
        match fate {
            Fate::Pass => {}
            Fate::Fail(kind) => state.hit(class, role, kind),
            Fate::NoSpaceBeyond(_) => state.hit(class, role, Kind::Full),
        }
        fate
    }

    fn name_of(&self, role: Role) -> Vec<u8> {
        [&self.name, role.suffix().as_bytes()].concat()
    }

    fn path_of(&self, role: Role) -> PathBuf {
        vfs::path(&self.name_of(role))
    }

    fn file_name(&self, role: Role) -> PathBuf {
        self.path_of(role).file_name().map(PathBuf::from).unwrap_or_default()
    }

    /// What is in a file; none if it is not there.
    fn content(&self, role: Role) -> Result<Option<Vec<u8>>, Error> {
        if self.path_of(role).symlink_metadata().is_err() {
            return Ok(None);
        }
        vfs::read_file(&self.name_of(role), role).map(Some).map_err(Error::Sqlite)
    }
}

/// Notes a change that has succeeded in the recording, if there is one.
fn logged(changes: &Weak<Mutex<Log>>, code: c_int, entry: impl FnOnce() -> Entry) -> c_int {
    if let Some(log) = changes.upgrade().filter(|_| code == ffi::SQLITE_OK) {
        lock(&log).push(entry());
    }
    code
}
