//! A private folder that goes away with its owner.

use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::{Path, PathBuf};

use super::open::file_error;
use crate::error::Error;

/// A folder in the system's temporary one that only its owner can enter. Dropping it removes it.
pub(crate) struct TemporaryFolder(PathBuf);

/// Names that are tried before giving up; more than one collision means that somebody is guessing them.
const TRIES: u32 = 16;

/// Linux's file system in memory.
const MEMORY: &str = "/dev/shm";

impl TemporaryFolder {
    pub(crate) fn new() -> Result<TemporaryFolder, Error> {
        TemporaryFolder::new_in(&std::env::temp_dir())
    }

    /// A folder in a file system that lies in memory, if the system has one and nobody wishes for another place (`TMPDIR`).
    pub(super) fn in_memory() -> Result<TemporaryFolder, Error> {
        let memory = Path::new(MEMORY);
        if cfg!(target_os = "linux") && std::env::var_os("TMPDIR").is_none() && memory.is_dir() {
            return TemporaryFolder::new_in(memory).or_else(|_| TemporaryFolder::new());
        }
        TemporaryFolder::new()
    }

    fn new_in(parent: &Path) -> Result<TemporaryFolder, Error> {
        let parent =
            parent.canonicalize().map_err(|e| file_error("the temporary folder cannot be used", e))?;
        let mut builder = fs::DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        let mut tries = 0;
        loop {
            let folder = parent.join(format!("perdura-{:016x}", RandomState::new().hash_one(tries)));
            match builder.create(&folder) {
                Ok(()) => return Ok(TemporaryFolder(folder)),
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists && tries < TRIES => tries += 1,
                Err(e) => return Err(file_error("no temporary folder can be made", e)),
            }
        }
    }

    /// The one file in it that matters.
    pub(crate) fn file(&self) -> PathBuf {
        self.0.join("tasks.db")
    }

    #[cfg(test)]
    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TemporaryFolder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
