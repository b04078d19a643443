//! What an enqueue may ask for.

use std::fmt;
use std::time::Duration;

use super::name::{DEFAULT_QUEUE, check_key, check_name};
use super::timestamp::Timestamp;
use crate::config::{Config, MAX_ATTEMPTS_RANGE, MAX_DURATION};
use crate::error::{EnqueueToken, Error};

/// What an enqueue asks for beside its args.
///
/// There are three levels, and the nearest wins: the options of the call, the task type's own
/// [`options()`](crate::Task::options), the [`Config`]. `max_attempts` is settled when the task is enqueued; a backoff or
/// timeout that neither call nor type names is the configuration's of the program that runs the attempt.
#[derive(Clone, Default, PartialEq)]
#[must_use]
pub struct Options {
    pub(crate) queue: Option<String>,
    pub(crate) priority: Option<i16>,
    pub(crate) due: Option<Due>,
    pub(crate) max_attempts: Option<u32>,
    pub(crate) backoff: Option<Duration>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) unique: Option<UniqueKey>,
    pub(crate) expires: Option<Duration>,
    pub(crate) tag: Option<String>,
    pub(crate) token: Option<EnqueueToken>,
}

/// Without the unique key and the tag, whose text may be private.
impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("queue", &self.queue)
            .field("priority", &self.priority)
            .field("due", &self.due)
            .field("max_attempts", &self.max_attempts)
            .field("backoff", &self.backoff)
            .field("timeout", &self.timeout)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

/// A unique key, and among which tasks of its queue it is one.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct UniqueKey {
    pub key: String,
    /// Among tasks of all names, not of one.
    pub whole_queue: bool,
}

impl UniqueKey {
    /// A text that no other key has in a queue: neither names nor keys have control characters.
    pub(crate) fn scoped(&self, task_name: &str) -> String {
        format!("{}\0{}", if self.whole_queue { "" } else { task_name }, self.key)
    }
}

/// When a task may start.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Due {
    /// So long after the enqueue.
    After(Duration),
    /// When the wall clock says so.
    At(Timestamp),
}

impl Options {
    /// No wishes: every option at its default.
    pub fn new() -> Options {
        Options::default()
    }

    /// The queue: 1-200 bytes, no control characters. Defaults to `"default"`.
    pub fn queue(mut self, queue: impl Into<String>) -> Options {
        self.queue = Some(queue.into());
        self
    }

    /// Higher runs first, within the queue. Defaults to 0.
    pub fn priority(mut self, priority: i16) -> Options {
        self.priority = Some(priority);
        self
    }

    /// Start no sooner than so long after the enqueue. Replaces [`run_at`](Options::run_at). Defaults to zero.
    pub fn delay(mut self, delay: Duration) -> Options {
        self.due = Some(Due::After(delay));
        self
    }

    /// Start no sooner than the wall clock says this. Replaces [`delay`](Options::delay). Defaults to now.
    pub fn run_at(mut self, time: impl Into<Timestamp>) -> Options {
        self.due = Some(Due::At(time.into()));
        self
    }

    /// How often it may be tried, the first time included: 1-100. Defaults to [`Config::max_task_attempts`].
    pub fn max_attempts(mut self, attempts: u32) -> Options {
        self.max_attempts = Some(attempts);
        self
    }

    /// The wait after the first failure; it doubles with each further one. Defaults to [`Config::retry_backoff`].
    pub fn backoff(mut self, base: Duration) -> Options {
        self.backoff = Some(base);
        self
    }

    /// How long one attempt may take before `cx.ensure_active()` ends it. Defaults to [`Config::task_timeout`].
    pub fn timeout(mut self, timeout: Duration) -> Options {
        self.timeout = Some(timeout);
        self
    }

    /// At most one live task of this name in its queue holds this key: an enqueue that finds one makes none and answers
    /// [`Enqueued::Existing`](crate::Enqueued::Existing). 1-200 bytes, no control characters; only a digest of it is kept.
    /// Defaults to none.
    pub fn unique(mut self, key: impl Into<String>) -> Options {
        self.unique = Some(UniqueKey { key: key.into(), whole_queue: false });
        self
    }

    /// Like [`unique`](Options::unique), among the tasks of all names in the queue that are enqueued with this.
    pub fn unique_in_queue(mut self, key: impl Into<String>) -> Options {
        self.unique = Some(UniqueKey { key: key.into(), whole_queue: true });
        self
    }

    /// If it is `QUEUED` so long after the enqueue (not started, or waiting for a retry), it is cancelled. Longer than a
    /// [`delay`](Options::delay). Defaults to never.
    pub fn expires(mut self, after: Duration) -> Options {
        self.expires = Some(after);
        self
    }

    /// A mark of your own to find tasks by: 1-200 bytes, no control characters. Defaults to none.
    pub fn tag(mut self, tag: impl Into<String>) -> Options {
        self.tag = Some(tag.into());
        self
    }

    /// Repeat an enqueue whose outcome stayed unknown: if it did reach the disk, nothing is made and
    /// [`Enqueued::Existing`](crate::Enqueued::Existing) names it. Not for [`Task::options`].
    pub fn token(mut self, token: EnqueueToken) -> Options {
        self.token = Some(token);
        self
    }

    /// These options where they say something, `fallback`'s where they do not.
    pub(crate) fn or(self, fallback: Options) -> Options {
        Options {
            queue: self.queue.or(fallback.queue),
            priority: self.priority.or(fallback.priority),
            due: self.due.or(fallback.due),
            max_attempts: self.max_attempts.or(fallback.max_attempts),
            backoff: self.backoff.or(fallback.backoff),
            timeout: self.timeout.or(fallback.timeout),
            unique: self.unique.or(fallback.unique),
            expires: self.expires.or(fallback.expires),
            tag: self.tag.or(fallback.tag),
            token: self.token.or(fallback.token),
        }
    }

    /// Checks every bound of these options alone, as an enqueue at this time would with this configuration: for a program that refuses a
    /// wish before it opens a file. The options of a task type are merged when it is enqueued, and checked then.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput), naming the option, its value and its range.
    ///
    /// ```
    /// use perdura::{Config, Options};
    ///
    /// let wish = Options::new().queue("");
    /// assert!(wish.validate(&Config::default(), std::time::SystemTime::now()).is_err());
    /// ```
    pub fn validate(&self, config: &Config, now: impl Into<Timestamp>) -> Result<(), Error> {
        self.check(config, now.into())
    }

    fn check(&self, config: &Config, now: Timestamp) -> Result<(), Error> {
        check_name("queue", self.queue.as_deref().unwrap_or(DEFAULT_QUEUE))?;
        if let Some(unique) = &self.unique {
            check_key("unique key", &unique.key)?;
        }
        if let Some(tag) = &self.tag {
            check_key("tag", tag)?;
        }
        let max_attempts = self.max_attempts.unwrap_or(config.max_task_attempts);
        if !MAX_ATTEMPTS_RANGE.contains(&max_attempts) {
            return Err(Error::invalid_value("max_attempts", max_attempts, "is not in 1 to 100"));
        }
        let (delay, wait) = match self.due {
            Some(Due::After(delay)) => (Some(delay), delay),
            Some(Due::At(time)) => (None, time.since(now)),
            None => (None, Duration::ZERO),
        };
        for (field, value) in [("delay", delay), ("timeout", self.timeout), ("expires", self.expires)] {
            check_duration(field, value, MAX_DURATION)?;
        }
        check_duration("backoff", self.backoff, config.retry_backoff_max)?;
        if let Some(after) = self.expires.filter(|after| !wait.is_zero() && *after <= wait) {
            let problem =
                "is over before the task may start; make it longer than delay, or later than run_at";
            return Err(Error::invalid_value("expires", humantime::format_duration(after), problem));
        }
        if self.timeout.is_some_and(|t| t.is_zero()) {
            return Err(Error::invalid("timeout", "is zero; leave it out for no limit"));
        }
        Ok(())
    }

    /// The options of one enqueue of `task`: the call's, then the type's, then the configuration's, all checked.
    ///
    /// # Errors
    /// `InvalidInput`, naming the option, its value and its range.
    pub(crate) fn resolve(
        self,
        task_name: &str,
        of_kind: Options,
        config: &Config,
        now: Timestamp,
    ) -> Result<Resolved, Error> {
        let all = self.or(of_kind);
        check_name("task name", task_name)?;
        all.check(config, now)?;
        Ok(Resolved {
            queue: all.queue.unwrap_or_else(|| DEFAULT_QUEUE.to_owned()),
            priority: all.priority.unwrap_or(0),
            due: all.due.filter(|due| *due != Due::After(Duration::ZERO)),
            max_attempts: all.max_attempts.unwrap_or(config.max_task_attempts),
            backoff: all.backoff,
            timeout: all.timeout,
            unique: all.unique,
            expires: all.expires,
            tag: all.tag,
            token: all.token,
        })
    }
}

fn check_duration(field: &str, value: Option<Duration>, max: Duration) -> Result<(), Error> {
    match value {
        Some(d) if d > max => Err(Error::invalid_value(
            field,
            humantime::format_duration(d),
            &format!("is longer than {}", humantime::format_duration(max)),
        )),
        _ => Ok(()),
    }
}

/// [`Options`] with every level applied and every bound checked.
#[derive(Clone)]
pub(crate) struct Resolved {
    pub queue: String,
    pub priority: i16,
    pub due: Option<Due>,
    pub max_attempts: u32,
    pub backoff: Option<Duration>,
    pub timeout: Option<Duration>,
    pub unique: Option<UniqueKey>,
    pub expires: Option<Duration>,
    pub tag: Option<String>,
    pub token: Option<EnqueueToken>,
}
