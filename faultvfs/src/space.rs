//! How far a file may grow under a limit of space.

use std::path::Path;

use crate::plan::Role;

/// The length that a file may reach if the files together may have `limit` bytes. What is there already may stay.
///
/// Asks for lengths by path: opening and closing a database file would drop the locks that SQLite has on it.
pub(crate) fn reach(path_of: impl Fn(Role) -> Box<Path>, role: Role, limit: u64) -> u64 {
    let length = |role| std::fs::metadata(path_of(role)).map_or(0, |found| found.len());
    let others = Role::ALL.into_iter().filter(|other| *other != role).map(length).sum();
    limit.saturating_sub(others).max(length(role))
}
