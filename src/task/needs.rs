//! What a task needs beside its time and its turn: conditions that programs say are met, and free disk.

use serde::{Deserialize, Serialize};

use super::name::check_name;
use super::options::Options;
use super::timestamp::Timestamp;
use crate::error::Error;

/// Names of conditions that a file can have: each is a bit.
pub(crate) const MAX_CONDITIONS: usize = 62;

/// What an enqueue asks for.
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

    /// Asks for a condition, perhaps once more.
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

impl Options {
    /// Starts only while this condition is met: 1-200 bytes, no control characters. May be called for several; defaults to none. The options of a call
    /// that name conditions replace those of the type.
    ///
    /// What is met is said by programs, with [`set_condition`](crate::Queue::set_condition); what nobody knows is not met. A task that waits for a
    /// condition holds no worker, and nothing polls. A file can have 62 names.
    ///
    /// ```
    /// # use perdura::{Context, Failure, Hold, Options, Queue, State, testing::{ManualClock, SteppedQueue}};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Upload;
    /// # impl perdura::Task for Upload { const NAME: &'static str = "upload"; type Output = (); }
    /// # let upload = |_: Upload, _: &Context| Ok::<(), Failure>(());
    /// # let tests = SteppedQueue::open(Queue::builder().handle(upload), &ManualClock::new())?;
    /// # let queue = tests.queue();
    /// let id = queue.enqueue_with(&Upload, Options::new().needs("online"))?.id();
    /// # tests.run_until_idle()?;
    /// assert_eq!(queue.get(id)?.hold, Some(Hold::Condition));
    /// queue.set_condition("online", true)?; // when the system says so
    /// # tests.run_until_idle()?;
    /// assert_eq!(queue.get(id)?.state, State::Succeeded);
    /// # Ok::<(), perdura::Error>(())
    /// ```
    pub fn needs(mut self, condition: impl Into<String>) -> Options {
        self.needs.add(condition.into(), false);
        self
    }

    /// Like [`needs`](Options::needs), and the task needs the condition while it runs, too: ten seconds after it is no longer met, the handler is told
    /// to stop ([`ensure_active`](crate::Context::ensure_active), [`StopReason::Condition`](crate::StopReason::Condition)). The attempt does not count
    /// then, and the task waits for the condition again.
    ///
    /// ```
    /// # use perdura::Options;
    /// let options = Options::new().needs_throughout("on_mains"); // a transcode that is not for the battery
    /// # let queue = perdura::Queue::builder().open_temporary()?;
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Transcode;
    /// # impl perdura::Task for Transcode { const NAME: &'static str = "transcode"; type Output = (); }
    /// let task = queue.get(queue.enqueue_with(&Transcode, options)?.id())?;
    /// assert_eq!(task.needs.unwrap().throughout, ["on_mains"]);
    /// # Ok::<(), perdura::Error>(())
    /// ```
    pub fn needs_throughout(mut self, condition: impl Into<String>) -> Options {
        self.needs.add(condition.into(), true);
        self
    }

    /// Starts only while so many bytes are free on the disk of the file, for whoever runs the program. Defaults to 0: any. Range up to 2⁶³ − 1.
    ///
    /// The library looks when the task is to start, and each five seconds while some wait for it.
    ///
    /// ```
    /// # use perdura::{Context, Failure, Hold, Options, Queue, State, testing::{ManualClock, SteppedQueue}};
    /// # use std::time::Duration;
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Download;
    /// # impl perdura::Task for Download { const NAME: &'static str = "download"; type Output = (); }
    /// # let download = |_: Download, _: &Context| Ok::<(), Failure>(());
    /// # let mut tests = SteppedQueue::open(Queue::builder().handle(download), &ManualClock::new())?;
    /// tests.set_free_disk(1 << 30);
    /// let id = tests.queue().enqueue_with(&Download, Options::new().needs_free_disk(5 << 30))?.id();
    /// tests.run_until_idle()?;
    /// assert_eq!(tests.queue().get(id)?.hold, Some(Hold::Condition));
    /// tests.set_free_disk(6 << 30);
    /// tests.advance(Duration::from_secs(5))?;
    /// tests.run_until_idle()?;
    /// assert_eq!(tests.queue().get(id)?.state, State::Succeeded);
    /// # Ok::<(), perdura::Error>(())
    /// ```
    pub fn needs_free_disk(mut self, bytes: u64) -> Options {
        self.needs.free_bytes = bytes;
        self
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
    /// So many bytes of free disk it needs to start; 0: any.
    pub free_disk: u64,
    /// The condition that it waits for just now, if it waits for one.
    pub waits_for: Option<String>,
    /// Whether it waits for free disk just now.
    pub waits_for_disk: bool,
}
