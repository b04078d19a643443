//! Crash points: the commit before or after which a test lets the process die.

use std::fmt;

/// On which side of a commit a process dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CrashMoment {
    /// Nothing of the transaction is in the file.
    Before,
    /// The transaction is durable; no caller has an answer yet.
    After,
}

/// Where a process dies: at the n-th commit from now, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct CrashPoint {
    /// The number of the commit.
    pub commit: u64,
    /// Before or after it.
    pub moment: CrashMoment,
}

impl CrashPoint {
    /// Just before the n-th commit from now.
    pub fn before(commit: u64) -> CrashPoint {
        CrashPoint { commit, moment: CrashMoment::Before }
    }

    /// Just after the n-th commit from now.
    pub fn after(commit: u64) -> CrashPoint {
        CrashPoint { commit, moment: CrashMoment::After }
    }
}

impl fmt::Display for CrashPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = match self.moment {
            CrashMoment::Before => "before",
            CrashMoment::After => "after",
        };
        write!(f, "{side} commit {}", self.commit)
    }
}
