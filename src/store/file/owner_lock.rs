//! The sidecar `<file>-owner`: an operating-system lock that shows which process executes tasks,
//! and the start notes.
//!
//! The operating system releases the lock when the process ends, for whatever reason, so a dead
//! owner is recognised at once and no clock is involved. The file is never unlinked.
//!
//! **Start notes.** Just before a handler starts, its worker writes (task, generation) into a slot
//! of the sidecar, without a sync. If the process dies, the operating system still has the note, so
//! the next owner can tell claims that had started from those that had not. A slot is reused only
//! after the end of its attempt is durable. The notes are never synced, so after a reboot they
//! prove nothing: they count only under the same boot (its id, or the time of its start), and for
//! the epoch whose owner wrote them.

use crate::sync::atomic::{AtomicU32, Ordering};
use std::collections::HashSet;
use std::fs::{File, Metadata, OpenOptions, TryLockError};
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::create::file_error;
use super::identity::beside;
use super::path::refuse_linked;
use crate::error::{Error, ErrorKind};
use crate::planted::planted;
use crate::sync::{Mutex, lock};
use crate::task::{TaskId, Timestamp};

/// What follows the database's name.
pub(crate) const SUFFIX: &str = "-owner";
/// The first bytes of every sidecar.
const MAGIC: &[u8; 8] = b"perdura1";
/// Magic (8), epoch (8), boot id (48).
const HEADER_BYTES: usize = 64;
/// Task, generation and check, 8 bytes each, and 8 unused.
const SLOT_BYTES: usize = 32;
/// Slots that are read at most: bounds what a hostile sidecar can make us read. More than the
/// attempts that can be in flight (1024 workers with 256 claims ahead each).
const MAX_SLOTS: usize = 1 << 19;
/// Part of each note's check, so that zeroes are not a valid note.
const CHECK: i64 = 0x5043_4845_434b_4544;

/// The right to execute tasks from a file. Dropping it gives it up.
pub(crate) struct OwnerLock {
    file: Arc<File>,
    /// The process that acquired it.
    process: u32,
}

/// Unlocks explicitly, because closing is not enough: a child process that is being started may
/// hold a copy of the descriptor a moment longer. A forked process shares the lock, and leaves it
/// to its parent.
impl Drop for OwnerLock {
    fn drop(&mut self) {
        if self.process == std::process::id() {
            let _ = self.file.unlock();
        }
    }
}

/// The start notes of the previous owner.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Started {
    /// The epoch of the owner that wrote them; `None` if they prove nothing.
    pub epoch: Option<i64>,
    /// (task, generation) of attempts that had started.
    pub attempts: HashSet<(i64, i64)>,
}

impl OwnerLock {
    /// Asks for the lock of a database; `None` if another process (or another queue of this one)
    /// has it.
    ///
    /// # Errors
    /// `OwnerFile` if somebody has to repair the file by hand; those of the disk.
    pub(crate) fn try_acquire(database: &Path) -> Result<Option<OwnerLock>, Error> {
        let path = &beside(database, SUFFIX);
        // Only a plain file is opened. It is checked again once it is open: somebody may be
        // replacing it.
        if let Ok(found) = std::fs::symlink_metadata(path) {
            refuse_odd(path, &found, database)?;
        }
        let file = open(path, database).map_err(|e| unusable(path, "opened", e))?;
        let found = file.metadata().map_err(|e| unusable(path, "looked at", e))?;
        refuse_odd(path, &found, database)?;
        let owned = |file| Some(OwnerLock { file: Arc::new(file), process: std::process::id() });
        match file.try_lock() {
            Ok(()) => Ok(owned(file)),
            Err(TryLockError::WouldBlock) if planted("g05-no-lock") || is_impatient() => Ok(owned(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(e)) => Err(unusable(path, "locked", e)),
        }
    }

    /// Reads the notes of the previous owner.
    pub(crate) fn read_notes(&self, booted_at: Option<Timestamp>) -> Started {
        let length = usize::try_from(self.file.metadata().map_or(0, |m| m.len())).unwrap_or(usize::MAX);
        let mut bytes = vec![0; length.min(HEADER_BYTES + MAX_SLOTS * SLOT_BYTES)];
        if bytes.len() < HEADER_BYTES || read_at(&self.file, &mut bytes, 0).is_err() {
            return Started::default();
        }
        let (header, slots) = bytes.split_at(HEADER_BYTES);
        let same_boot = boot_id(booted_at).is_some_and(|boot| is_same_boot(&header[16..], &boot));
        if &header[..8] != MAGIC || !same_boot {
            return Started::default();
        }
        let attempts = slots.chunks_exact(SLOT_BYTES).filter_map(|slot| {
            let [task_id, generation, check] = [number(slot, 0), number(slot, 8), number(slot, 16)];
            (check == task_id ^ generation.rotate_left(32) ^ CHECK).then_some((task_id, generation))
        });
        Started { epoch: Some(number(header, 8)), attempts: attempts.collect() }
    }

    /// Begins the notes of a new owner, and erases those of the previous one.
    pub(crate) fn begin_notes(&self, epoch: i64, booted_at: Option<Timestamp>) -> Result<Notes, Error> {
        let mut header = [0; HEADER_BYTES];
        header[..8].copy_from_slice(MAGIC);
        header[8..16].copy_from_slice(&epoch.to_le_bytes());
        if let Some(boot) = boot_id(booted_at) {
            header[16..16 + boot.len()].copy_from_slice(&boot);
        }
        let begin = self.file.set_len(0).and_then(|()| write_at(&self.file, &header, 0));
        begin.map_err(|e| file_error("the -owner file cannot be written", e))?;
        Ok(Notes { file: self.file.clone(), slots: Mutex::default() })
    }
}

/// Opens the sidecar, or creates it.
fn open(path: &Path, database: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600).custom_flags(libc::O_NOFOLLOW);
    }
    match options.clone().create_new(true).open(path) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => options.open(path),
        made => made.inspect(|file| give(file, database)),
    }
}

/// Gives a new sidecar to the user (and group) of the database. Root can, and must: otherwise a
/// file that root has once created would keep that user from executing. (SQLite does the same with
/// `-wal` and `-shm`.) For any other user it fails, and the file stays as it is.
#[cfg(unix)]
fn give(file: &File, database: &Path) {
    use std::os::unix::fs::{MetadataExt, fchown};
    if let (Ok(made), Ok(of)) = (file.metadata(), std::fs::symlink_metadata(database))
        && made.uid() != of.uid()
    {
        let _ = fchown(file, Some(of.uid()), Some(of.gid()));
    }
}

#[cfg(not(unix))]
fn give(_: &File, _: &Path) {}

/// Refuses a sidecar that is not a plain file with one name, or that another user has put there:
/// what is written into it must not reach another file, and whoever can write it decides which
/// attempts count as started.
fn refuse_odd(path: &Path, found: &Metadata, database: &Path) -> Result<(), Error> {
    refuse_linked(path, found).map_err(|e| Error::new(ErrorKind::OwnerFile, e.to_string()))?;
    match stranger(found, database) {
        None => Ok(()),
        Some(user) => {
            let message = format!(
                "{} belongs to another user (number {user}) than the database; remove it while no program uses the database, or give it \
                 to the database's user",
                path.display()
            );
            Err(Error::new(ErrorKind::OwnerFile, message))
        }
    }
}

/// The user of a sidecar, if that is neither the database's, nor ours, nor root. `None` also where
/// our own user is not known.
#[cfg(unix)]
fn stranger(found: &Metadata, database: &Path) -> Option<u32> {
    use std::os::unix::fs::MetadataExt;
    const ROOT: u32 = 0;
    let user = found.uid();
    let of_database = std::fs::symlink_metadata(database).ok()?.uid();
    (user != ROOT && user != of_database && user != me()?).then_some(user)
}

#[cfg(not(unix))]
fn stranger(_: &Metadata, _: &Path) -> Option<u32> {
    None
}

/// The user as whom this process creates files. Only Linux tells without unsafe code.
#[cfg(unix)]
fn me() -> Option<u32> {
    if !cfg!(target_os = "linux") {
        return None;
    }
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let users = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    users.split_whitespace().nth(3)?.parse().ok() // real, effective, saved, for files
}

/// Turns an error of the operating system about the sidecar into one for the caller, with a fix.
fn unusable(path: &Path, what: &str, e: io::Error) -> Error {
    let fix = match e.kind() {
        io::ErrorKind::PermissionDenied if std::fs::symlink_metadata(path).is_ok() => {
            "another user made it: give it to the user of this program, or remove it while no program uses the database"
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "who executes tasks must be able to write in the folder; check its permissions"
        }
        io::ErrorKind::Unsupported => "its file system has no locks; use a local one",
        _ => return file_error(&format!("{} cannot be {what}", path.display()), e),
    };
    Error::new(ErrorKind::OwnerFile, format!("{} cannot be {what}: {e}; {fix}", path.display()))
        .with_source(e)
}

/// The start notes of this process.
pub(crate) struct Notes {
    file: Arc<File>,
    slots: Mutex<Slots>,
}

#[derive(Default)]
struct Slots {
    free: Vec<u64>,
    made: u64,
}

impl Notes {
    /// Writes the note that an attempt is about to start.
    pub(crate) fn write(self: &Arc<Notes>, task_id: TaskId, generation: u64) -> Result<StartNote, Error> {
        let slot = {
            let mut slots = lock(&self.slots);
            slots.free.pop().unwrap_or_else(|| {
                slots.made += 1;
                slots.made - 1
            })
        };
        let note = StartNote { notes: self.clone(), slot, is_kept: false };
        let (task_id, generation) = (task_id.as_i64(), generation.cast_signed());
        let mut bytes = [0; SLOT_BYTES];
        bytes[..8].copy_from_slice(&task_id.to_le_bytes());
        bytes[8..16].copy_from_slice(&generation.to_le_bytes());
        bytes[16..24].copy_from_slice(&(task_id ^ generation.rotate_left(32) ^ CHECK).to_le_bytes());
        let offset = HEADER_BYTES as u64 + slot * SLOT_BYTES as u64;
        write_at(&self.file, &bytes, offset)
            .map_err(|e| file_error("the -owner file cannot be written", e))?;
        Ok(note)
    }
}

/// The note of one start. Drop it when the end of the attempt is durable: then its slot is reused.
pub(crate) struct StartNote {
    notes: Arc<Notes>,
    slot: u64,
    is_kept: bool,
}

impl StartNote {
    /// Keeps the note: its slot is never reused.
    pub(crate) fn keep(mut self) {
        self.is_kept = true;
    }
}

impl Drop for StartNote {
    fn drop(&mut self) {
        if !self.is_kept {
            lock(&self.notes.slots).free.push(self.slot);
        }
    }
}

/// A planted bug: an owner that keeps the file for long is taken for dead.
fn is_impatient() -> bool {
    static REFUSED: AtomicU32 = AtomicU32::new(0);
    REFUSED.fetch_add(1, Ordering::Relaxed) > 30 && planted("g05-a-slow-owner-is-taken-for-dead")
}

fn number(bytes: &[u8], at: usize) -> i64 {
    let mut eight = [0; 8];
    eight.copy_from_slice(&bytes[at..at + 8]);
    i64::from_le_bytes(eight)
}

/// Distinguishes one run of the operating system from the next: Linux has an id for it; elsewhere
/// it is the time at which the system was started. Where neither is known, every claim of a dead
/// process counts as started.
fn boot_id(booted_at: Option<Timestamp>) -> Option<Vec<u8>> {
    let id = match booted_at {
        Some(time) => format!("{BOOTED_AT}{}", time.as_millis()).into_bytes(),
        None if cfg!(target_os = "linux") => std::fs::read("/proc/sys/kernel/random/boot_id").ok()?,
        None => return None,
    };
    let id = id.trim_ascii();
    (!id.is_empty() && id.len() <= HEADER_BYTES - 16).then(|| id.to_vec())
}

/// Prefix of a boot id that is a time.
const BOOTED_AT: &str = "booted at ";

/// Two readings of one start differ by at most so many milliseconds, unless somebody sets the
/// clock: the start is computed from a wall clock that is adjusted. No system starts twice in this
/// time.
const BOOT_WOBBLE_MS: u64 = 2_000;

/// Whether the id in a header, padded with zeroes, is that of this boot.
fn is_same_boot(noted: &[u8], boot: &[u8]) -> bool {
    let end = noted.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let noted = &noted[..end];
    let time = |id| std::str::from_utf8(id).ok()?.strip_prefix(BOOTED_AT)?.parse::<i64>().ok();
    match (time(noted), time(boot)) {
        (Some(noted), Some(boot)) => noted.abs_diff(boot) <= BOOT_WOBBLE_MS,
        _ => noted == boot,
    }
}

#[cfg(unix)]
fn write_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, offset)
}

#[cfg(unix)]
fn read_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, offset)
}

#[cfg(windows)]
fn write_at(file: &File, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        let n = std::os::windows::fs::FileExt::seek_write(file, bytes, offset)?;
        bytes = &bytes[n..];
        offset += n as u64;
    }
    Ok(())
}

#[cfg(windows)]
fn read_at(file: &File, mut bytes: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match std::os::windows::fs::FileExt::seek_read(file, bytes, offset)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => {
                bytes = &mut bytes[n..];
                offset += n as u64;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_come_back_until_the_next_owner_begins() {
        let folder = crate::store::file::temporary::TemporaryFolder::new().unwrap();
        let database = folder.file();
        let lock = OwnerLock::try_acquire(&database).unwrap().expect("nobody has it");
        assert!(OwnerLock::try_acquire(&database).unwrap().is_none());
        assert_eq!(lock.read_notes(None), Started::default());
        let notes = Arc::new(lock.begin_notes(7, None).unwrap());
        let settled = notes.write(TaskId::from_i64(3), 1).unwrap();
        let first = notes.write(TaskId::from_i64(4), 9).unwrap();
        drop(settled);
        let second = notes.write(TaskId::from_i64(5), 2).unwrap();
        let started = lock.read_notes(None);
        if cfg!(target_os = "linux") {
            assert_eq!(started, Started { epoch: Some(7), attempts: HashSet::from([(4, 9), (5, 2)]) });
        }
        drop((first, second, notes, lock));
        let next = OwnerLock::try_acquire(&database).unwrap().expect("the lock went with its owner");
        assert_eq!(next.read_notes(None), started);
        next.begin_notes(8, None).unwrap();
        assert!(next.read_notes(None).attempts.is_empty());
    }

    #[test]
    fn g06_notes_count_for_one_boot_and_its_time_may_wobble() {
        let at = |ms| Some(Timestamp::from_millis(ms));
        let folder = crate::store::file::temporary::TemporaryFolder::new().unwrap();
        let database = folder.file();
        let lock = OwnerLock::try_acquire(&database).unwrap().unwrap();
        let now = 1_790_000_000_000;
        let notes = Arc::new(lock.begin_notes(7, at(now)).unwrap());
        let _noted = notes.write(TaskId::from_i64(3), 1).unwrap();
        for (booted_at, counts) in [
            (at(now), true),
            (at(now + 1_999), true),
            (at(now - 1_999), true),
            (at(now + 2_001), false),
            (at(now - 60_000), false),
            (at(now / 10), false), // another number that begins with the same digits
            (None, false),
        ] {
            assert_eq!(lock.read_notes(booted_at).epoch.is_some(), counts, "{booted_at:?}");
        }
        assert!(boot_id(None).is_none_or(|id| is_same_boot(&[&id[..], &[0; 8]].concat(), &id)));
        assert!(!is_same_boot(b"0ab1c2", b"0ab1c2d3") && !is_same_boot(b"0ab1c2d3", b"0ab1c2"));
    }

    #[test]
    fn a_sidecar_of_rubbish_proves_nothing() {
        let folder = crate::store::file::temporary::TemporaryFolder::new().unwrap();
        let (database, path) = (folder.file(), folder.path().join("tasks.db-owner"));
        for rubbish in [vec![], vec![0; 10], vec![0xff; 4096], [MAGIC.as_slice(), &[0; 200]].concat()] {
            std::fs::write(&path, &rubbish).unwrap();
            let lock = OwnerLock::try_acquire(&database).unwrap().unwrap();
            assert_eq!(lock.read_notes(None), Started::default());
        }
    }

    /// A process may die at any byte that it writes into its sidecar.
    #[test]
    fn g06_a_sidecar_cut_or_garbled_anywhere_names_no_start_that_was_not_noted() {
        let folder = crate::store::file::temporary::TemporaryFolder::new().unwrap();
        let (database, path) = (folder.file(), folder.path().join("tasks.db-owner"));
        let lock = OwnerLock::try_acquire(&database).unwrap().unwrap();
        let notes = Arc::new(lock.begin_notes(7, None).unwrap());
        let noted: Vec<_> = (1..4).map(|n| notes.write(TaskId::from_i64(n), 1).unwrap()).collect();
        let whole = std::fs::read(&path).unwrap();
        assert_eq!(whole.len(), HEADER_BYTES + noted.len() * SLOT_BYTES);
        for cut in 0..whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let started = lock.read_notes(None);
            let slots = cut.saturating_sub(HEADER_BYTES) / SLOT_BYTES;
            assert_eq!(started.attempts.len(), if started.epoch.is_some() { slots } else { 0 });
            assert!(started.epoch.is_none_or(|epoch| epoch == 7 && cut >= HEADER_BYTES), "cut at {cut}");
        }
        for at in 0..whole.len() {
            let mut garbled = whole.clone();
            garbled[at] ^= 0xff;
            std::fs::write(&path, &garbled).unwrap();
            let started = lock.read_notes(None);
            let said = (1..4).map(|n| (n, 1)).collect::<HashSet<_>>();
            assert!(started.attempts.is_subset(&said), "byte {at} of {started:?}");
        }
    }
}
