//! One change of the files, as a recording keeps it.

use crate::plan::Role;

/// A recorded change.
pub(crate) enum Entry {
    /// A file was made.
    Create(Role),
    /// A file is there that was not made here: durable, as far as one can tell.
    Appear(Role, Box<[u8]>),
    Write(Role, u64, Box<[u8]>),
    Truncate(Role, u64),
    Sync(Role),
    /// A sync has failed, and nothing of it has reached the device.
    LostSync(Role),
    /// A file was removed; whether its removal was synced.
    Delete(Role, bool),
    Mark(u64),
}
