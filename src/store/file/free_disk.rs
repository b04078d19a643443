//! How much disk is free where the file lies.

use std::path::{Path, PathBuf};

use crate::sync::atomic::{AtomicU64, Ordering};

/// How much disk is free where the file lies: as the file system says or, in a test, as that says.
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

    /// Bytes that may still be written; none if nobody can say.
    pub(crate) fn bytes(&self) -> Option<u64> {
        match self.said.load(Ordering::Acquire) {
            u64::MAX => fs4::available_space(&self.folder).ok(),
            said => Some(said),
        }
    }

    /// From now on it is so much.
    pub(crate) fn say(&self, bytes: u64) {
        self.said.store(bytes.min(u64::MAX - 1), Ordering::Release);
    }
}
