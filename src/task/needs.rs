//! What a task needs beside its time and its turn: conditions that programs say are met, and free disk.

use serde::{Deserialize, Serialize};

use super::name::check_name;
use super::timestamp::Timestamp;
use crate::error::Error;

/// Names of conditions that a file can have: each is a bit.
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
    /// While it runs, too.
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

    /// These where they say something, `fallback`'s where they do not.
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

/// A condition, as the file knows it. [`Queue::conditions`](crate::Queue::conditions) gives them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Condition {
    /// Its name.
    pub name: String,
    /// Whether it counts as met now.
    pub is_met: bool,
    /// What was said of it last; none if nobody has said anything yet.
    pub said: Option<bool>,
    /// When that was said.
    pub set_at: Option<Timestamp>,
    /// Whether the program that owned the file said so: it counts no longer than that owns it.
    pub by_owner: bool,
    /// Whether nobody knows now: nothing was said yet, or the program that said it does not own the file any more.
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
    /// The condition that it waits for just now, if it waits for one.
    pub waits_for: Option<String>,
    /// Whether it waits for free disk just now.
    pub waits_for_disk: bool,
}
