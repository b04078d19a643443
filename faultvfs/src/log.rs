//! The changes of the files in order, and what a power cut after any of them would find.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::entry::Entry;
use crate::image::Cut;
use crate::plan::Role;

/// The files at the beginning, and what has happened since.
pub(crate) struct Log {
    base: Vec<(Role, Vec<u8>)>,
    pub(crate) entries: Vec<Entry>,
    present: Vec<Role>,
    /// The state of things after so many entries: where the last image was made, as the next one is likely to be close behind.
    cut: (usize, Cut),
}

impl Log {
    pub(crate) fn new(base: Vec<(Role, Vec<u8>)>) -> Log {
        let present = base.iter().map(|(role, _)| *role).collect();
        let cut = (0, Cut::new(&base));
        Log { base, entries: Vec::new(), present, cut }
    }

    /// Whether a file is there, as far as the log knows.
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

    /// The state of things after the first entries.
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

/// Locks it, also where a thread has panicked with it: nothing is half done there.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
