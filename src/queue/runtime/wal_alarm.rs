//! Warns when the WAL grows too long because a reader's old snapshot keeps it from being reused.

use crate::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// The length from which it warns, in pages (64 MiB of pages of 4 KiB); it warns again at each doubling.
pub(crate) const LONG_WAL_PAGES: u32 = 16 * 1024;

pub(crate) struct WalAlarm {
    /// The length at which it warns next.
    next: AtomicU32,
    is_due: AtomicBool,
}

impl Default for WalAlarm {
    fn default() -> WalAlarm {
        WalAlarm { next: AtomicU32::new(LONG_WAL_PAGES), is_due: AtomicBool::new(false) }
    }
}

impl WalAlarm {
    /// A commit has left a WAL of so many pages. Called by whoever commits, before the next one can.
    pub(crate) fn note(&self, pages: u32) {
        let next = self.next.load(Ordering::Relaxed);
        if pages >= next {
            self.next.store(pages.saturating_mul(2), Ordering::Relaxed);
            self.is_due.store(true, Ordering::Release);
        } else if pages < LONG_WAL_PAGES / 2 && next > LONG_WAL_PAGES {
            self.next.store(LONG_WAL_PAGES, Ordering::Relaxed); // it has started again
        }
    }

    /// Whether a warning is due; it counts as given from now on.
    pub(crate) fn take(&self) -> bool {
        self.is_due.load(Ordering::Acquire) && self.is_due.swap(false, Ordering::AcqRel)
    }
}
