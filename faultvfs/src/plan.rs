//! Plans (which operations fail) and hits (which have failed): plain data.

/// The kinds of operations of SQLite on files.
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
    /// Getting the length of a file.
    Size,
    /// Mapping a piece of the shared memory of a WAL.
    ShmMap,
    /// Requesting the write lock of a WAL. It does not touch the disk, and fails only by
    /// [`Kind::Busy`].
    WriteLock,
}

/// A file of a database.
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
    /// The files that remain after a power cut. SQLite makes the shared memory again.
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

/// How an operation fails. The codes are those of SQLite's VFS for Unix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// The device fails (`EIO`). Nothing is written, truncated or removed. A sync *is* passed on,
    /// and reported as failed nevertheless; for a sync without effect see
    /// [`FailedSync`](Kind::FailedSync). The code is the `SQLITE_IOERR_…` of the operation, except
    /// `SQLITE_CANTOPEN` for an open and, on Unix, `SQLITE_IOERR_CORRUPTFS` for a read, which
    /// SQLite reports to its caller as `SQLITE_CORRUPT`.
    Io,
    /// The file system or quota is full (`ENOSPC`): `SQLITE_FULL` for a write, `SQLITE_IOERR_…` or
    /// `SQLITE_CANTOPEN` for other operations that may need space (a sync, a truncate, creating a
    /// file, more shared memory). A sync is not passed on. All other operations are neither counted
    /// nor failed.
    Full,
    /// Half of a write reaches the file, then the file system is full: `SQLITE_FULL`. Writes only.
    ShortWrite,
    /// Half of a write reaches the file, then the device fails: `SQLITE_IOERR_WRITE`. Writes only.
    TornWrite,
    /// The sync is *not* passed on, and returns `SQLITE_IOERR_FSYNC`. A recording treats it as
    /// Linux does: the pages count as clean, so no later sync makes them durable unless they are
    /// written again. Syncs only.
    FailedSync,
    /// Another connection holds the lock: `SQLITE_BUSY`. SQLite's sleeps between its tries
    /// (`sqlite3_busy_timeout`) take no time: with one failure the second try gets the lock; with
    /// [`from_then_on`](Plan::from_then_on) a timeout of any length is over at once. Write locks
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

/// A planned failure: of the n-th operation that can fail in this way, once or from then on.
///
/// Each plan counts on its own, from its call of [`Faults::fail`](crate::Faults::fail).
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
    /// Fails the `nth` operation from now that can fail in this way; the next one is 1.
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

    /// Fails all later ones too. Defaults to one failure.
    pub fn from_then_on(mut self) -> Plan {
        self.lasting = true;
        self
    }

    /// Counts an operation, and returns how it fails; none if it does not.
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
