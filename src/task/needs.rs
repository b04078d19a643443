//! What a task needs to start besides its time and its turn: conditions that programs set, and free
//! disk.

use serde::{Deserialize, Serialize};

use super::name::check_name;
use super::timestamp::Timestamp;
use crate::error::Error;

/// How many names of conditions a file can have: each is a bit of an integer.
pub(crate) const MAX_CONDITIONS: usize = 62;

/// The conditions and the free disk that an enqueue asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Needs {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<NeededCondition>,
    #[serde(skip_serializing_if = "is_zero")]
    pub free_bytes: u64,
}

/// A condition that a task needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NeededCondition {
    pub name: String,
    /// Also while it runs.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub throughout: bool,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

impl Needs {
    pub(crate) fn is_empty(&self) -> bool {
        self.conditions.is_empty() && self.free_bytes == 0
    }

    /// Adds a condition, unless it is there already.
    pub(crate) fn add(&mut self, name: String, throughout: bool) {
        match self.conditions.iter_mut().find(|needed| needed.name == name) {
            Some(needed) => needed.throughout |= throughout,
            None => self.conditions.push(NeededCondition { name, throughout }),
        }
    }

    /// Each of the two fields, or `fallback`'s where it is not set.
    pub(crate) fn or(self, fallback: Needs) -> Needs {
        Needs {
            conditions: if self.conditions.is_empty() { fallback.conditions } else { self.conditions },
            free_bytes: if self.free_bytes == 0 { fallback.free_bytes } else { self.free_bytes },
        }
    }

    /// # Errors
    /// `InvalidInput`, naming the name and what is wrong with it, or the number and its range.
    pub(crate) fn check(&self) -> Result<(), Error> {
        for needed in &self.conditions {
            check_name("condition", &needed.name)?;
        }
        if self.conditions.len() > MAX_CONDITIONS {
            let problem = format!("is more than the {MAX_CONDITIONS} conditions that a file can have");
            return Err(Error::invalid_value("needs", self.conditions.len(), &problem));
        }
        if i64::try_from(self.free_bytes).is_err() {
            let problem = "is out of range; it takes up to 2^63 - 1 bytes";
            return Err(Error::invalid_value("needs_free_disk", self.free_bytes, problem));
        }
        Ok(())
    }
}

/// A condition, as the file has it. [`Queue::conditions`](crate::Queue::conditions) lists them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Condition {
    /// Its name.
    pub name: String,
    /// Whether it counts as met now.
    pub is_met: bool,
    /// How it was set last; none if nobody has set it yet.
    pub said: Option<bool>,
    /// When it was set.
    pub set_at: Option<Timestamp>,
    /// Whether the owner of the file set it: then it counts only as long as that program is the
    /// owner.
    pub by_owner: bool,
    /// Whether it is unknown now: it was never set, or the owner that set it is no longer the
    /// owner.
    pub is_unknown: bool,
    /// The tasks that wait for it, counted up to 10,001.
    pub waiting: u64,
}

/// What a task [needs](crate::Options::needs).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct NeedsRecord {
    /// Conditions that it needs to start.
    pub conditions: Vec<String>,
    /// Those of them that it needs while it runs, too.
    pub throughout: Vec<String>,
    /// How many bytes of free disk it needs to start; 0: any.
    pub free_disk: u64,
    /// The condition that it waits for now, if it waits for one.
    pub waits_for: Option<String>,
    /// Whether it waits for free disk now.
    pub waits_for_disk: bool,
}
