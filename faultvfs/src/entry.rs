//! One recorded change of the files.

use crate::plan::Role;

/// A recorded change.
pub(crate) enum Entry {
    /// A file was created.
    Create(Role),
    /// A file exists that was created without this VFS; it counts as durable.
    Appear(Role, Box<[u8]>),
    Write(Role, u64, Box<[u8]>),
    Truncate(Role, u64),
    Sync(Role),
    /// A sync failed, and nothing was synced.
    LostSync(Role),
    /// A file was removed; the flag: whether its removal was synced.
    Delete(Role, bool),
    Mark(u64),
}
