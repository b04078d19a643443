//! Plans (what is to fail) and hits (what has failed): plain data.

/// What SQLite asks of the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Class {
    /// Opening a file.
    Open,
    /// Removing a file.
    Delete,
    /// Reading a piece of a file.
    Read,
    /// Writing a piece of a file.
    Write,
    /// Setting the length of a file.
    Truncate,
    /// Making what was written durable.
    Sync,
    /// Asking for the length of a file.
    Size,
    /// Mapping a piece of the shared memory that the users of a WAL have.
    ShmMap,
    /// Asking for the lock that lets one connection write to a WAL. It touches no disk, and fails by [`Kind::Busy`] alone.
    WriteLock,
}

/// Which of a database's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Role {
    /// The database file itself.
    Database,
    /// The write-ahead log, `-wal`.
    Wal,
    /// The rollback journal, `-journal`.
    Journal,
    /// The shared memory, `-shm`.
    Shm,
}

impl Role {
    pub(crate) const ALL: [Role; 4] = [Role::Database, Role::Wal, Role::Journal, Role::Shm];
    /// Those that a power cut leaves. SQLite makes the shared memory anew.
    pub(crate) const LASTING: [Role; 3] = [Role::Database, Role::Wal, Role::Journal];

    pub(crate) fn suffix(self) -> &'static str {
        match self {
            Role::Database => "",
            Role::Wal => "-wal",
            Role::Journal => "-journal",
            Role::Shm => "-shm",
        }
    }
}

/// How an operation fails. The codes are those that SQLite's VFS for Unix answers with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// The device fails (`EIO`). Nothing is written, cut or removed. A sync *is* passed on, and reported as failed all the same; for
    /// one that is lost see [`FailedSync`](Kind::FailedSync). The code is the `SQLITE_IOERR_…` of the operation; a read answers
    /// `SQLITE_IOERR_CORRUPTFS`, which SQLite tells its caller as `SQLITE_CORRUPT`, and an open answers `SQLITE_CANTOPEN`.
    Io,
    /// The file system or quota is full (`ENOSPC`): `SQLITE_FULL` for a write, `SQLITE_IOERR_…` or `SQLITE_CANTOPEN` for what else
    /// may need space (a sync, a truncate, making a file, more shared memory). A sync is not passed on. Other operations are
    /// neither counted nor failed.
    Full,
    /// Half of a write reaches the file, then the file system is full: `SQLITE_FULL`. Writes only.
    ShortWrite,
    /// Half of a write reaches the file, then the device fails: `SQLITE_IOERR_WRITE`. Writes only.
    TornWrite,
    /// The sync is *not* passed on, and answers `SQLITE_IOERR_FSYNC`. A recording takes it as Linux does: what was to be synced
    /// counts as clean, so no later sync makes up for it; only writing it again does. Syncs only.
    FailedSync,
    /// Another connection holds the lock: `SQLITE_BUSY`. What SQLite sleeps until it asks again (`sqlite3_busy_timeout`) takes no time
    /// here: asked for once, the lock is there at the second try; from then on, a timeout of any length is over at once. Write locks
    /// only.
    Busy,
}

impl Kind {
    /// Whether an operation can fail in this way. `grows`: it may need space.
    fn applies(self, class: Class, grows: bool) -> bool {
        match self {
            Kind::Io => class != Class::WriteLock,
            Kind::Full => grows,
            Kind::ShortWrite | Kind::TornWrite => class == Class::Write,
            Kind::FailedSync => class == Class::Sync,
            Kind::Busy => class == Class::WriteLock,
        }
    }
}

/// An order to fail: the n-th operation that can fail in this way, once or from then on.
///
/// Every plan counts for itself, from the moment it is given to [`Faults::fail`](crate::Faults::fail).
#[derive(Debug, Clone)]
pub struct Plan {
    nth: u64,
    kind: Kind,
    classes: Option<Vec<Class>>,
    role: Option<Role>,
    lasting: bool,
    seen: u64,
}

impl Plan {
    /// The `nth` operation from now fails, the next one being 1. Counted are those that can fail in this way.
    pub fn at(nth: u64, kind: Kind) -> Plan {
        Plan { nth: nth.max(1), kind, classes: None, role: None, lasting: false, seen: 0 }
    }

    /// Counts and fails only operations of these classes. Defaults to all.
    pub fn only(mut self, classes: &[Class]) -> Plan {
        self.classes = Some(classes.to_vec());
        self
    }

    /// Counts and fails only operations on this file. Defaults to all.
    pub fn on(mut self, role: Role) -> Plan {
        self.role = Some(role);
        self
    }

    /// All later ones fail, too. Defaults to one failure.
    pub fn from_then_on(mut self) -> Plan {
        self.lasting = true;
        self
    }

    /// Counts an operation; says how it is to fail.
    pub(crate) fn meet(&mut self, class: Class, role: Role, grows: bool) -> Option<Kind> {
        let counts = self.kind.applies(class, grows)
            && self.classes.as_ref().is_none_or(|classes| classes.contains(&class))
            && self.role.is_none_or(|only| only == role);
        if !counts {
            return None;
        }
        self.seen += 1;
        let hit = self.seen == self.nth || (self.lasting && self.seen > self.nth);
        hit.then_some(self.kind)
    }
}

/// An operation that was failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Hit {
    /// Its number among all operations, from 1.
    pub operation: u64,
    /// What it was.
    pub class: Class,
    /// On which file.
    pub role: Role,
    /// How it failed.
    pub kind: Kind,
}
