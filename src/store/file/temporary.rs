//! A private temporary folder, which is removed when it is dropped.

use std::fs::{self, File};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::{Path, PathBuf};

use super::create::file_error;
use crate::error::Error;
use crate::sync::atomic::{AtomicBool, Ordering};

/// A folder, in the system's temporary one, that only its owner can enter. Dropping it removes it.
/// The folder of a killed process is removed by the next process whose first temporary folder is
/// made in the same place.
pub(crate) struct TemporaryFolder {
    path: PathBuf,
    /// Locked while the folder is in use.
    alive: Option<File>,
}

/// Prefix of the folders' names.
const PREFIX: &str = "perdura-";

/// The file whose lock shows that a folder is in use. It gets this name once it is locked.
const ALIVE: &str = "alive";

/// How many folders one process examines when it sweeps.
const MAX_LEFT: usize = 1000;

/// How many names are tried; more than one collision means that somebody is guessing them.
const TRIES: u32 = 16;

/// Linux's in-memory file system.
const MEMORY: &str = "/dev/shm";

impl TemporaryFolder {
    pub(crate) fn new() -> Result<TemporaryFolder, Error> {
        TemporaryFolder::new_in(&std::env::temp_dir())
    }

    /// A folder in an in-memory file system, if the system has one and `TMPDIR` does not name
    /// another place.
    pub(crate) fn in_memory() -> Result<TemporaryFolder, Error> {
        let memory = Path::new(MEMORY);
        if cfg!(target_os = "linux") && std::env::var_os("TMPDIR").is_none() && memory.is_dir() {
            return TemporaryFolder::new_in(memory).or_else(|_| TemporaryFolder::new());
        }
        TemporaryFolder::new()
    }

    fn new_in(parent: &Path) -> Result<TemporaryFolder, Error> {
        let parent =
            parent.canonicalize().map_err(|e| file_error("the temporary folder cannot be used", e))?;
        if !HAS_SWEPT.swap(true, Ordering::AcqRel) {
            sweep(&parent);
        }
        let mut tries = 0;
        loop {
            let path = parent.join(format!("{PREFIX}{:016x}", RandomState::new().hash_one(tries)));
            match make_private(&path) {
                Ok(()) => {
                    let alive = mark(&path).ok(); // a folder without it is never swept
                    return Ok(TemporaryFolder { path, alive });
                }
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists && tries < TRIES => tries += 1,
                Err(e) => return Err(file_error("no temporary folder can be made", e)),
            }
        }
    }

    /// The path of the database in it.
    pub(crate) fn file(&self) -> PathBuf {
        self.path.join("tasks.db")
    }

    #[cfg(test)]
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for TemporaryFolder {
    fn drop(&mut self) {
        // Outside Unix a file that is open cannot be removed.
        self.alive.take();
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Creates a folder that nobody else can enter.
fn make_private(path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    return std::os::unix::fs::DirBuilderExt::mode(&mut fs::DirBuilder::new(), 0o700).create(path);
    #[cfg(not(unix))]
    fs::create_dir(path)
}

/// Whether this process has removed the folders of killed ones.
static HAS_SWEPT: AtomicBool = AtomicBool::new(false);

/// Creates the file that shows that a folder is in use.
fn mark(folder: &Path) -> io::Result<File> {
    let unnamed = folder.join("half");
    let file = File::create_new(&unnamed)?;
    file.try_lock()?;
    fs::rename(unnamed, folder.join(ALIVE))?;
    Ok(file)
}

/// Opens that file. Another user may have put anything there, so this waits for no pipe and follows
/// no link.
fn open_mark(folder: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.read(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_NONBLOCK | libc::O_NOFOLLOW);
    let mark = options.open(folder.join(ALIVE))?;
    if mark.metadata()?.is_file() { Ok(mark) } else { Err(io::ErrorKind::InvalidInput.into()) }
}

/// Removes the folders that killed processes have left here. Those of other users cannot be
/// entered, and stay.
fn sweep(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    let ours = entries.flatten().filter(|entry| {
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        is_folder && entry.file_name().to_str().is_some_and(is_name)
    });
    for entry in ours.take(MAX_LEFT) {
        let is_left = open_mark(&entry.path()).is_ok_and(|alive| alive.try_lock().is_ok());
        if is_left {
            let _ = fs::remove_dir_all(entry.path()); // another process may be doing the same
        }
    }
}

/// Whether a folder of this name may be one of ours.
fn is_name(name: &str) -> bool {
    let digits = name.strip_prefix(PREFIX).unwrap_or_default();
    digits.len() == 16 && digits.bytes().all(|b| b.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_process_has_left_is_removed_and_nothing_else() {
        let place = TemporaryFolder::new().unwrap();
        let [dead, alive] = [(); 2].map(|()| TemporaryFolder::new_in(place.path()).unwrap());
        let others = place.path().join("perdura-0123456789abcdef"); // no `alive` in it: it may be about to be made
        fs::create_dir(&others).unwrap();
        fs::write(dead.file(), "tasks").unwrap();
        let mut dead = std::mem::ManuallyDrop::new(dead);
        dead.alive.take(); // as the system does when a process is killed
        sweep(place.path());
        assert!(!dead.path().exists());
        assert!(alive.path().exists() && others.exists());
    }

    /// Opening a pipe that nobody writes to would wait for ever.
    #[test]
    #[cfg(unix)]
    fn what_another_user_has_put_there_is_neither_waited_for_nor_followed() {
        let place = TemporaryFolder::new().unwrap();
        let [piped, linked] = ["0", "1"].map(|n| place.path().join(format!("{PREFIX}{n:0>16}")));
        [&piped, &linked].into_iter().for_each(|folder| fs::create_dir(folder).unwrap());
        let made = std::process::Command::new("mkfifo").arg(piped.join(ALIVE)).status().unwrap();
        assert!(made.success());
        fs::write(place.path().join("precious"), "precious").unwrap();
        std::os::unix::fs::symlink(place.path().join("precious"), linked.join(ALIVE)).unwrap();
        sweep(place.path());
        assert!(piped.exists() && linked.exists());
    }
}
