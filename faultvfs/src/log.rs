//! The log of all changes, and the state of the files after any of them.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::entry::Entry;
use crate::image::Cut;
use crate::plan::Role;

/// The files at the start, and the changes since.
pub(crate) struct Log {
    base: Vec<(Role, Vec<u8>)>,
    pub(crate) entries: Vec<Entry>,
    present: Vec<Role>,
    /// The state after this many entries. Kept from the last image, since the next one is likely to
    /// be a little later.
    cut: (usize, Cut),
}

impl Log {
    pub(crate) fn new(base: Vec<(Role, Vec<u8>)>) -> Log {
        let present = base.iter().map(|(role, _)| *role).collect();
        let cut = (0, Cut::new(&base));
        Log { base, entries: Vec::new(), present, cut }
    }

    /// Whether a file exists, as far as the log knows.
    pub(crate) fn has(&self, role: Role) -> bool {
        self.present.contains(&role)
    }

    pub(crate) fn push(&mut self, entry: Entry) {
        match entry {
            Entry::Create(role) | Entry::Appear(role, _) if !self.has(role) => self.present.push(role),
            Entry::Delete(role, _) => self.present.retain(|other| *other != role),
            _ => {}
        }
        self.entries.push(entry);
    }

    /// The state after the first `at` entries.
    pub(crate) fn cut(&mut self, at: usize) -> &Cut {
        let at = at.min(self.entries.len());
        let (done, cut) = &mut self.cut;
        if at < *done {
            (*done, *cut) = (0, Cut::new(&self.base));
        }
        self.entries[*done..at].iter().for_each(|entry| cut.apply(entry));
        *done = at;
        cut
    }
}

/// Locks a mutex and ignores poison: no change is left half done.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
