//! The limit of a key, as an enqueue asks for it.

use std::ops::RangeInclusive;

use super::name::check_key;
use crate::error::Error;

/// How many permits a key can have. A transaction that frees permits lifts all waiters that fit;
/// this bounds its work.
pub(crate) const PERMITS: RangeInclusive<u32> = 1..=256;

/// How many tasks of a queue and key may run at once, as one of them asks for it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct KeyLimit {
    pub key: String,
    /// The task gets a permit while fewer than this are held.
    pub permits: u32,
    /// The task keeps its permit from its first start to its end.
    pub is_serial: bool,
}

impl KeyLimit {
    /// # Errors
    /// `InvalidInput`, naming the option and its range.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let field = if self.is_serial { "serial" } else { "limit" };
        check_key(&format!("key of {field}"), &self.key)?;
        if !PERMITS.contains(&self.permits) {
            return Err(Error::invalid_value(field, self.permits, "is not in 1 to 256"));
        }
        Ok(())
    }
}
