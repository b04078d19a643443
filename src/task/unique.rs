//! Unique keys, as an enqueue asks for them: the key, how long it is taken, and what a second
//! enqueue does.

use std::fmt;
use std::time::Duration;

use super::due::{Due, check_duration};
use super::name::check_key;
use crate::config::MAX_DURATION;
use crate::error::Error;

/// A unique key, how long it is taken, and what an enqueue does if it is taken. For
/// [`Options::unique`](crate::Options::unique) and
/// [`Options::unique_in_queue`](crate::Options::unique_in_queue), which also accept a plain text.
///
/// ```
/// # use perdura::{Enqueued, OnConflict, Options, Queue, Unique};
/// # use std::time::Duration;
/// # #[derive(serde::Serialize, serde::Deserialize)] struct Sync { path: String }
/// # impl perdura::Task for Sync { const NAME: &'static str = "sync"; type Output = (); }
/// # let queue = Queue::builder().open_temporary()?;
/// // A folder is synced two seconds after its last change, but at least once a minute. A change during a sync makes one more.
/// let debounce = OnConflict::Debounce { max_wait: Duration::from_secs(60) };
/// let unique = || Unique::key("photos").until_started().on_conflict(debounce);
/// let options = || Options::new().delay(Duration::from_secs(2)).unique(unique());
/// let first = queue.enqueue_with(&Sync { path: "photos/1".into() }, options())?;
/// let second = queue.enqueue_with(&Sync { path: "photos/2".into() }, options())?;
/// assert_eq!(second, Enqueued::Replaced(first.id()));
/// # Ok::<(), perdura::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
#[must_use = "it does nothing before it is given to Options::unique()"]
pub struct Unique {
    pub(crate) key: String,
    /// Unique among tasks of all names, not only of one.
    pub(crate) whole_queue: bool,
    pub(crate) until_started: bool,
    pub(crate) lasts: Option<Duration>,
    pub(crate) on_conflict: OnConflict,
}

/// What an enqueue does if its unique key is taken.
///
/// Only a task that is `QUEUED` is replaced: one that is running, has ended or has stored
/// [steps](crate::Context::step) stays as it is, whatever the enqueue asks for. A replaced task
/// keeps its id, and so its place among tasks of its priority; its checkpoint is deleted, because
/// it was made for other args. If the key is unique in the queue and the task has another name, it
/// gets the new name with the new args.
///
/// ```
/// # use perdura::{OnConflict, Options, Queue, Unique};
/// # #[derive(serde::Serialize, serde::Deserialize)] struct Index { pages: u32 }
/// # impl perdura::Task for Index { const NAME: &'static str = "index"; type Output = (); }
/// # let queue = Queue::builder().open_temporary()?;
/// let newest = || Options::new().unique(Unique::key("index").on_conflict(OnConflict::ReplaceArgs));
/// let first = queue.enqueue_with(&Index { pages: 1 }, newest())?;
/// let second = queue.enqueue_with(&Index { pages: 2 }, newest())?;
/// assert!(second.is_replaced() && second.id() == first.id());
/// assert_eq!(queue.args_json(first.id())?, r#"{"pages":2}"#);
/// # Ok::<(), perdura::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum OnConflict {
    /// Changes nothing and returns [`Enqueued::Existing`](crate::Enqueued::Existing).
    #[default]
    Keep,
    /// Replaces the waiting task by the new one: args, options and time. Its attempts begin anew;
    /// it still waits for an attempt that was given up and still runs, and for its turn among
    /// suspects.
    Replace,
    /// Gives the waiting task the new args, and keeps its options, its time and its attempts.
    ReplaceArgs,
    /// Gives the waiting task the new args and restarts its wait: it waits for the
    /// [`delay`](crate::Options::delay) from now, but not longer than `max_wait` after the task was
    /// made. Its expiry, if the enqueue has one, is counted from now too. A task that has been
    /// tried before keeps its time.
    ///
    /// The enqueue needs a `delay`, and no [`run_at`](crate::Options::run_at).
    Debounce {
        /// How long enqueues can delay the task, counted from the first: at least the delay, at
        /// most 10 years.
        max_wait: Duration,
    },
}

/// Leaves out the key, whose text may be private.
impl fmt::Debug for Unique {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unique")
            .field("until_started", &self.until_started)
            .field("for", &self.lasts)
            .field("on_conflict", &self.on_conflict)
            .finish_non_exhaustive()
    }
}

impl<K: Into<String>> From<K> for Unique {
    fn from(key: K) -> Unique {
        Unique::key(key)
    }
}

impl Unique {
    /// This key, taken while a task that has it is live (`QUEUED`, `RUNNING`, or `LOST` while its thread still runs). 1-200 bytes, no control
    /// characters; only a digest of it is kept.
    pub fn key(key: impl Into<String>) -> Unique {
        Unique {
            key: key.into(),
            whole_queue: false,
            until_started: false,
            lasts: None,
            on_conflict: OnConflict::Keep,
        }
    }

    /// Takes the key only until the task is claimed, so a change during the run can enqueue one
    /// more task. Defaults to as long as the task is live.
    ///
    /// The claim frees the key in its own transaction. A task that is `QUEUED` again (after a
    /// failure, a snooze, a shutdown, a crash, or by hand) takes the key again if it is free then,
    /// else it goes on without it.
    ///
    /// ```
    /// # use perdura::{Context, Failure, Options, Queue, Unique};
    /// # use perdura::testing::{ManualClock, SteppedQueue};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Sync;
    /// # impl perdura::Task for Sync { const NAME: &'static str = "sync"; type Output = (); }
    /// let again = |_: Sync, cx: &Context| -> Result<(), Failure> {
    ///     // A change while it runs:
    ///     if let Some(queue) = cx.queue().filter(|_| cx.id().as_i64() == 1) {
    ///         let made = queue.enqueue_with(&Sync, Options::new().unique(Unique::key("photos").until_started()))?;
    ///         assert!(made.is_new());
    ///     }
    ///     Ok(())
    /// };
    /// let tests = SteppedQueue::open(Queue::builder().handle(again), &ManualClock::new())?;
    /// let options = Options::new().unique(Unique::key("photos").until_started());
    /// let _ = tests.queue().enqueue_with(&Sync, options)?;
    /// assert_eq!(tests.run_until_idle()?.succeeded, 2);
    /// # Ok::<(), perdura::Error>(())
    /// ```
    pub fn until_started(mut self) -> Unique {
        self.until_started = true;
        self
    }

    /// Keeps the key taken for at least this long after the task was made, whatever becomes of the task: above zero, at most 10 years. Defaults to
    /// no longer than the task needs it.
    ///
    /// The key stays taken after the task has ended, has become a dead letter, or was purged: the
    /// id in [`Enqueued::Existing`](crate::Enqueued::Existing) may be that of a task that is gone.
    /// A task that is [deleted](crate::Queue::delete) by hand frees its key. A task that is live
    /// beyond this time keeps the key, as any live task does.
    ///
    /// The time is one of the wall clock. If the clock is set forward, the key is free early. If it
    /// is set back, the key stays taken for at most the same length again, counted from the next
    /// enqueue with the key or from when the owner's maintenance notices the jump, within 15
    /// minutes.
    ///
    /// ```
    /// # use perdura::{Context, Failure, Options, Queue, Unique};
    /// # use perdura::testing::{ManualClock, SteppedQueue};
    /// # use std::time::Duration;
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Report;
    /// # impl perdura::Task for Report { const NAME: &'static str = "report"; type Output = (); }
    /// # let handler = |_: Report, _: &Context| Ok::<(), Failure>(());
    /// # let mut tests = SteppedQueue::open(Queue::builder().handle(handler), &ManualClock::new())?;
    /// let hour = Duration::from_secs(3600);
    /// let hourly = || Options::new().unique(Unique::key("report").for_(hour));
    /// let first = tests.queue().enqueue_with(&Report, hourly())?;
    /// tests.run_until_idle()?;
    /// assert_eq!(tests.queue().enqueue_with(&Report, hourly())?, perdura::Enqueued::Existing(first.id()));
    /// tests.advance(hour)?;
    /// assert!(tests.queue().enqueue_with(&Report, hourly())?.is_new());
    /// # Ok::<(), perdura::Error>(())
    /// ```
    pub fn for_(mut self, lasts: Duration) -> Unique {
        self.lasts = Some(lasts);
        self
    }

    /// Sets what this enqueue does if the key is taken. Defaults to [`OnConflict::Keep`]. [`Unique`] has an example.
    pub fn on_conflict(mut self, on_conflict: OnConflict) -> Unique {
        self.on_conflict = on_conflict;
        self
    }

    /// The key with its scope, unique in a queue: neither names nor keys contain the separator.
    pub(crate) fn scoped(&self, task_name: &str) -> String {
        format!("{}\0{}", if self.whole_queue { "" } else { task_name }, self.key)
    }

    /// Checks every bound; `due` is when the task may start.
    ///
    /// # Errors
    /// `InvalidInput`, naming the option, its value and its range.
    pub(super) fn check(&self, due: Option<Due>) -> Result<(), Error> {
        check_key("unique key", &self.key)?;
        check_duration("for", self.lasts, MAX_DURATION)?;
        if self.lasts.is_some_and(|lasts| lasts.as_millis() == 0) {
            return Err(Error::invalid(
                "for",
                "is zero; leave it out if the key is needed no longer than its task",
            ));
        }
        let OnConflict::Debounce { max_wait } = self.on_conflict else { return Ok(()) };
        check_duration("max_wait", Some(max_wait), MAX_DURATION)?;
        match due {
            Some(Due::After(delay)) if !delay.is_zero() && delay <= max_wait => Ok(()),
            Some(Due::After(delay)) if !delay.is_zero() => {
                let problem = format!("is shorter than the delay, {}", humantime::format_duration(delay));
                Err(Error::invalid_value("max_wait", humantime::format_duration(max_wait), &problem))
            }
            Some(Due::At(_)) => {
                Err(Error::invalid("on_conflict", "is debounce, which goes with delay and not with run_at"))
            }
            _ => Err(Error::invalid("on_conflict", "is debounce, which needs a delay to begin anew")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_a_key_that_is_taken_while_its_task_is_live() {
        let owned = String::from("k");
        for unique in
            [Unique::from("k"), Unique::from(&owned), Unique::from('k'), Unique::from(owned.clone())]
        {
            assert_eq!(unique, Unique::key("k"));
        }
    }

    #[test]
    fn bounds_are_refused_with_what_to_do() {
        let second = Duration::from_secs(1);
        let told = |unique: Unique, due| unique.check(due).err().map(|e| e.to_string()).unwrap_or_default();
        let debounce = |max_wait| Unique::key("k").on_conflict(OnConflict::Debounce { max_wait });
        for (unique, due, part) in [
            (Unique::key("k").for_(Duration::ZERO), None, "for is zero"),
            (Unique::key("k").for_(Duration::from_nanos(1)), None, "for is zero"),
            (Unique::key("k").for_(MAX_DURATION + second), None, "for \""),
            (debounce(second), None, "on_conflict is debounce, which needs a delay"),
            (debounce(second), Some(Due::At(crate::Timestamp::from_millis(0))), "not with run_at"),
            (debounce(second), Some(Due::After(2 * second)), "is shorter than the delay, 2s"),
            (debounce(MAX_DURATION + second), Some(Due::After(second)), "max_wait"),
        ] {
            let told = told(unique, due);
            assert!(told.contains(part), "{told} lacks {part}");
        }
        assert_eq!(told(debounce(second), Some(Due::After(second))), "");
        assert_eq!(told(Unique::key("k").for_(MAX_DURATION), None), "");
        assert!(!format!("{:?}", Unique::key("secret")).contains("secret"));
    }
}
