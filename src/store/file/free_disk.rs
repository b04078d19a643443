//! How much disk is free where the file lies.

use std::path::{Path, PathBuf};

use crate::sync::atomic::{AtomicU64, Ordering};

/// Free room on the disk where the file lies, from the file system or set by a test.
pub(crate) struct FreeDisk {
    folder: PathBuf,
    /// Bytes; `u64::MAX`: ask the file system.
    said: AtomicU64,
}

impl FreeDisk {
    pub(crate) fn of(file: &Path) -> FreeDisk {
        let folder = file.parent().unwrap_or(file).to_owned();
        FreeDisk { folder, said: AtomicU64::new(u64::MAX) }
    }

    /// Free bytes; `None` if the file system does not tell.
    pub(crate) fn bytes(&self) -> Option<u64> {
        match self.said.load(Ordering::Acquire) {
            u64::MAX => fs4::available_space(&self.folder).ok(),
            said => Some(said),
        }
    }

    /// Sets the free bytes from now on.
    pub(crate) fn say(&self, bytes: u64) {
        self.said.store(bytes.min(u64::MAX - 1), Ordering::Release);
    }
}
