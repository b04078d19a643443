//! Health of a file: the thresholds that `doctor` and `report` share. It does not know how they are shown.

use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use crate::inspect::{FileReport, PragmaReport};

/// A queue that keeps up starts tasks within seconds. A ready task older than this waits too long.
pub(crate) const LONG_READY_WAIT: Duration = Duration::from_secs(5 * 60);

/// A WAL is checkpointed from 4 MiB on. One larger than this has something that keeps it from starting again: mostly a long reader.
const LARGE_WAL_BYTES: u64 = 64 << 20;

pub(crate) fn is_large_wal(bytes: u64) -> bool {
    bytes > LARGE_WAL_BYTES
}

/// A disk with less than this part of it free is about to be full,
const MIN_FREE_PART: u64 = 20;

/// but not a large one that still has this much.
const ENOUGH_FREE_BYTES: u64 = 4 << 30;

/// A disk with less than this free is about to be full, whatever its size.
const MIN_FREE_BYTES: u64 = 64 << 20;

/// How full a file system is.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Disk {
    pub total_bytes: u64,
    /// What this user may still write.
    pub free_bytes: u64,
}

impl Disk {
    /// The one that a file lies on; none where that cannot be known.
    #[cfg(unix)]
    pub(crate) fn of(file: &Path) -> Option<Disk> {
        let found = rustix::fs::statvfs(file).ok()?;
        let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
        Some(Disk { total_bytes: bytes(found.f_blocks), free_bytes: bytes(found.f_bavail) })
    }

    #[cfg(not(unix))]
    pub(crate) fn of(_: &Path) -> Option<Disk> {
        None
    }

    pub(crate) fn is_nearly_full(self) -> bool {
        self.free_bytes < MIN_FREE_BYTES.max(ENOUGH_FREE_BYTES.min(self.total_bytes / MIN_FREE_PART))
    }
}

/// The mode of a file that other users may read or write; none if they may not.
pub(crate) fn open_mode(file: &FileReport) -> Option<&str> {
    let is_open = |mode: &&str| u32::from_str_radix(mode, 8).is_ok_and(|mode| mode & 0o077 != 0);
    file.mode.as_deref().filter(is_open)
}

/// Pragmas that are not as they were set.
pub(crate) fn wrong_pragmas(file: &FileReport) -> impl Iterator<Item = &PragmaReport> {
    file.pragmas.iter().filter(|pragma| pragma.found != pragma.wanted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Queue;

    #[test]
    fn a_disk_is_nearly_full_by_its_part_and_by_its_bytes() {
        let is_nearly_full = |total_bytes, free_bytes| Disk { total_bytes, free_bytes }.is_nearly_full();
        assert!(!is_nearly_full(20 << 30, 1 << 30) && is_nearly_full(20 << 30, (1 << 30) - 1));
        assert!(
            !is_nearly_full(1 << 40, ENOUGH_FREE_BYTES) && is_nearly_full(1 << 40, ENOUGH_FREE_BYTES - 1)
        );
        assert!(is_nearly_full(100 << 20, MIN_FREE_BYTES - 1) && !is_nearly_full(100 << 20, MIN_FREE_BYTES));
    }

    #[test]
    fn what_others_may_do_and_what_sqlite_did_not_take_is_found() {
        let mut file = Queue::builder().open_temporary().unwrap().inspect().unwrap();
        file.mode = Some("700".to_owned());
        assert_eq!((open_mode(&file), wrong_pragmas(&file).count()), (None, 0));
        file.mode = Some("640".to_owned());
        file.pragmas[0].found = "delete".to_owned();
        assert_eq!(open_mode(&file), Some("640"));
        assert_eq!(
            wrong_pragmas(&file).map(|pragma| pragma.name.as_str()).collect::<Vec<_>>(),
            ["journal_mode"]
        );
    }
}
