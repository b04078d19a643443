//! The options of an enqueue.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use super::due::{Due, check_duration};
use super::limit::KeyLimit;
use super::name::{DEFAULT_QUEUE, check_key, check_name};
use super::needs::Needs;
use super::timestamp::Timestamp;
use super::unique::Unique;
use crate::config::{Config, MAX_ATTEMPTS_RANGE, MAX_DURATION};
use crate::error::{EnqueueToken, Error};

/// The options of an enqueue.
///
/// There are three levels; the first that sets an option wins: the options of the call, the task
/// type's own [`options()`](crate::Task::options), the [`Config`]. `max_attempts` is fixed when the
/// task is enqueued. A backoff or timeout that neither call nor type sets comes from the
/// configuration of the program that runs the attempt.
///
/// ```
/// # use perdura::{Options, Queue};
/// # use std::time::Duration;
/// # #[derive(serde::Serialize, serde::Deserialize)] struct Upload;
/// # impl perdura::Task for Upload { const NAME: &'static str = "upload"; type Output = (); }
/// # let queue = Queue::builder().open_temporary()?;
/// let options = Options::new().queue("uploads").priority(10).max_attempts(5).backoff(Duration::from_secs(5)).tag("holiday");
/// let task = queue.get(queue.enqueue_with(&Upload, options)?.id())?;
/// assert_eq!((task.queue.as_str(), task.priority, task.max_attempts), ("uploads", 10, 5));
/// assert_eq!((task.backoff, task.tag.as_deref()), (Some(Duration::from_secs(5)), Some("holiday")));
/// # Ok::<(), perdura::Error>(())
/// ```
#[derive(Clone, Default, PartialEq)]
#[must_use]
pub struct Options {
    pub(crate) queue: Option<String>,
    pub(crate) priority: Option<i16>,
    pub(crate) due: Option<Due>,
    pub(crate) max_attempts: Option<u32>,
    pub(crate) backoff: Option<Duration>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) unique: Option<Unique>,
    pub(crate) limit: Option<KeyLimit>,
    pub(crate) serial: Option<KeyLimit>,
    pub(crate) needs: Needs,
    pub(crate) expires: Option<Duration>,
    pub(crate) tag: Option<String>,
    pub(crate) token: Option<EnqueueToken>,
}

/// Leaves out keys and tag, whose text may be private, and the token.
impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("queue", &self.queue)
            .field("priority", &self.priority)
            .field("due", &self.due)
            .field("max_attempts", &self.max_attempts)
            .field("backoff", &self.backoff)
            .field("timeout", &self.timeout)
            .field("needs", &self.needs)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

impl Options {
    /// No options set: every option at its default.
    ///
    /// ```
    /// assert_eq!(perdura::Options::new(), perdura::Options::default());
    /// ```
    pub fn new() -> Options {
        Options::default()
    }

    /// Sets the queue: 1-200 bytes, no control characters. Defaults to `"default"`. [`Options`] has an example.
    pub fn queue(mut self, queue: impl Into<String>) -> Options {
        self.queue = Some(queue.into());
        self
    }

    /// Sets the priority: within a queue, tasks of a higher one run first. Defaults to 0.
    ///
    /// ```
    /// # use perdura::{Filter, Hold, Options, Queue, State};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Mail;
    /// # impl perdura::Task for Mail { const NAME: &'static str = "mail"; type Output = (); }
    /// # let queue = Queue::builder().open_temporary()?;
    /// # use perdura::{Context, Failure, testing::{ManualClock, SteppedQueue}};
    /// # let send = |_: Mail, _: &Context| Ok::<(), Failure>(());
    /// # let tests = SteppedQueue::open(Queue::builder().handle(send), &ManualClock::new())?;
    /// # let queue = tests.queue();
    /// let newsletter = queue.enqueue(&Mail)?.id();
    /// let password = queue.enqueue_with(&Mail, Options::new().priority(10))?.id();
    /// # tests.run_one()?;
    /// // The first task that runs:
    /// assert_eq!(queue.get(password)?.state, State::Succeeded);
    /// # assert_eq!(queue.get(newsletter)?.state, State::Queued);
    /// # Ok::<(), perdura::Error>(())
    /// ```
    pub fn priority(mut self, priority: i16) -> Options {
        self.priority = Some(priority);
        self
    }

    /// Starts no sooner than this long after the enqueue: at most 10 years. Replaces [`run_at`](Options::run_at). Defaults to zero.
    ///
    /// ```
    /// # use perdura::{Filter, Hold, Options, Queue, State};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Mail;
    /// # impl perdura::Task for Mail { const NAME: &'static str = "mail"; type Output = (); }
    /// # let queue = Queue::builder().open_temporary()?;
    /// # use std::time::Duration;
    /// let id = queue.enqueue_with(&Mail, Options::new().delay(Duration::from_secs(600)))?.id();
    /// let task = queue.get(id)?;
    /// assert_eq!(task.run_at, Some(task.created_at.saturating_add(Duration::from_secs(600))));
    /// # Ok::<(), perdura::Error>(())
    /// ```
    pub fn delay(mut self, delay: Duration) -> Options {
        self.due = Some(Due::After(delay));
        self
    }

    /// Starts no sooner than at this time by the wall clock. Replaces [`delay`](Options::delay). Defaults to now.
    ///
    /// ```
    /// # use perdura::{Filter, Hold, Options, Queue, State};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Mail;
    /// # impl perdura::Task for Mail { const NAME: &'static str = "mail"; type Output = (); }
    /// # let queue = Queue::builder().open_temporary()?;
    /// # use std::time::{Duration, SystemTime};
    /// let tonight = SystemTime::now() + Duration::from_secs(8 * 3600);
    /// let id = queue.enqueue_with(&Mail, Options::new().run_at(tonight))?.id();
    /// assert_eq!(queue.get(id)?.run_at, Some(tonight.into()));
    /// # Ok::<(), perdura::Error>(())
    /// ```
    pub fn run_at(mut self, time: impl Into<Timestamp>) -> Options {
        self.due = Some(Due::At(time.into()));
        self
    }

    /// Sets how often the task may be tried, the first time included: 1-100. Defaults to [`Config::max_task_attempts`]. [`Options`] has an example.
    pub fn max_attempts(mut self, attempts: u32) -> Options {
        self.max_attempts = Some(attempts);
        self
    }

    /// Sets the wait after the first failure, at most [`Config::retry_backoff_max`]; it doubles
    /// with each further failure. Defaults to [`Config::retry_backoff`].
    /// [`Queue::retry_schedule`](crate::Queue::retry_schedule) has an example.
    pub fn backoff(mut self, base: Duration) -> Options {
        self.backoff = Some(base);
        self
    }

    /// Sets how long one attempt may take before [`cx.ensure_active()`](crate::Context::ensure_active) ends it: above zero, at most 10 years.
    /// Defaults to [`Config::task_timeout`].
    ///
    /// ```
    /// # use perdura::{Filter, Hold, Options, Queue, State};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Mail;
    /// # impl perdura::Task for Mail { const NAME: &'static str = "mail"; type Output = (); }
    /// # let queue = Queue::builder().open_temporary()?;
    /// # use std::time::Duration;
    /// let id = queue.enqueue_with(&Mail, Options::new().timeout(Duration::from_secs(30)))?.id();
    /// assert_eq!(queue.get(id)?.timeout, Some(Duration::from_secs(30)));
    /// # Ok::<(), perdura::Error>(())
    /// ```
    pub fn timeout(mut self, timeout: Duration) -> Options {
        self.timeout = Some(timeout);
        self
    }

    /// Makes no second task while this key is taken among the tasks of the same name and queue: the
    /// enqueue returns [`Enqueued::Existing`](crate::Enqueued::Existing), or replaces the waiting
    /// task if [`OnConflict`](crate::OnConflict) says so. A text is a key that is taken while a
    /// task that has it is live; see [`Unique`] for more. 1-200 bytes, no control characters; only
    /// a digest of it is kept. Defaults to none.
    ///
    /// ```
    /// # use perdura::{Filter, Hold, Options, Queue, State};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Mail;
    /// # impl perdura::Task for Mail { const NAME: &'static str = "mail"; type Output = (); }
    /// # let queue = Queue::builder().open_temporary()?;
    /// let first = queue.enqueue_with(&Mail, Options::new().unique("welcome ada"))?;
    /// let second = queue.enqueue_with(&Mail, Options::new().unique("welcome ada"))?;
    /// assert!(first.is_new() && !second.is_new());
    /// assert_eq!(first.id(), second.id());
    /// # Ok::<(), perdura::Error>(())
    /// ```
    pub fn unique(mut self, unique: impl Into<Unique>) -> Options {
        self.unique = Some(Unique { whole_queue: false, ..unique.into() });
        self
    }

    /// Like [`unique`](Options::unique), but the key is shared by all tasks of the queue that are
    /// enqueued with `unique_in_queue`, whatever their names.
    ///
    /// ```
    /// # use perdura::{Options, Queue};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Upload;
    /// # impl perdura::Task for Upload { const NAME: &'static str = "upload"; type Output = (); }
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Download;
    /// # impl perdura::Task for Download { const NAME: &'static str = "download"; type Output = (); }
    /// # let queue = Queue::builder().open_temporary()?;
    /// let upload = queue.enqueue_with(&Upload, Options::new().unique_in_queue("photo 7"))?;
    /// let download = queue.enqueue_with(&Download, Options::new().unique_in_queue("photo 7"))?;
    /// assert!(!download.is_new() && download.id() == upload.id());
    /// # Ok::<(), perdura::Error>(())
    /// ```
    pub fn unique_in_queue(mut self, unique: impl Into<Unique>) -> Options {
        self.unique = Some(Unique { whole_queue: true, ..unique.into() });
        self
    }

    /// Lets at most `n` tasks of the queue that have this key run at once: the key is 1-200 bytes without control characters, `n` is 1-256. Only a
    /// digest of the key is kept. Defaults to no limit. Not together with [`serial`](Options::serial).
    ///
    /// A task that finds `n` permits of its key taken waits ([`Hold::Limit`](crate::Hold::Limit));
    /// a transaction that gives one back passes it to the first waiter, by priority and then by id.
    /// No task overtakes the waiters, new tasks included; but a task of a higher priority takes the
    /// permit of one that is ready and not claimed. A task that waits for its time or its retry
    /// holds no permit. Tasks of one key can have different `n`: each counts by its own, and while
    /// the first waiter does not fit, those behind it wait too.
    ///
    /// ```
    /// # use perdura::{Hold, Options, Queue};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Fetch { page: u32 }
    /// # impl perdura::Task for Fetch { const NAME: &'static str = "fetch"; type Output = (); }
    /// # let queue = Queue::builder().open_temporary()?;
    /// let polite = || Options::new().limit("example.org", 2);
    /// let pages = [1, 2, 3].map(|page| Fetch { page });
    /// let made = queue.enqueue_all_with(pages.iter().map(|page| (page, polite())))?;
    /// assert_eq!(queue.get(made[1].id())?.hold, Some(Hold::Ready));
    /// assert_eq!(queue.get(made[2].id())?.hold, Some(Hold::Limit));
    /// # Ok::<(), perdura::Error>(())
    /// ```
    pub fn limit(mut self, key: impl Into<String>, n: u32) -> Options {
        self.limit = Some(KeyLimit { key: key.into(), permits: n, is_serial: false });
        self
    }

    /// Runs the tasks of the queue that have this key one after another: like [`limit(key, 1)`](Options::limit), but from its first start on a task
    /// keeps its permit until it has ended. Defaults to no limit. Not together with [`limit`](Options::limit).
    ///
    /// So the order is strict: while a task waits for its retry, those behind it wait too. When a
    /// task ends, whatever its end state, the next one may run.
    ///
    /// ```
    /// # use perdura::{Context, Failure, Hold, Options, Queue, State};
    /// # use perdura::testing::{ManualClock, SteppedQueue};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Update { account: u32 }
    /// # impl perdura::Task for Update { const NAME: &'static str = "update"; type Output = (); }
    /// # let update = |_: Update, _: &Context| Err::<(), _>(Failure::named("Busy", "try again"));
    /// # let tests = SteppedQueue::open(Queue::builder().handle(update), &ManualClock::new())?;
    /// # let queue = tests.queue();
    /// let first = queue.enqueue_with(&Update { account: 7 }, Options::new().serial("account 7"))?.id();
    /// let second = queue.enqueue_with(&Update { account: 7 }, Options::new().serial("account 7"))?.id();
    /// # tests.run_one()?;
    /// // The first has failed and is tried again in a minute:
    /// assert_eq!(queue.get(first)?.hold, Some(Hold::Time));
    /// assert_eq!(queue.get(second)?.hold, Some(Hold::Limit));
    /// # Ok::<(), perdura::Error>(())
    /// ```
    pub fn serial(mut self, key: impl Into<String>) -> Options {
        self.serial = Some(KeyLimit { key: key.into(), permits: 1, is_serial: true });
        self
    }

    /// Cancels the task if it is `QUEUED` this long after the enqueue: it has not started, or waits
    /// for a retry.
    ///
    /// It must be longer than a [`delay`](Options::delay), and at most 10 years. Defaults to never.
    ///
    /// ```
    /// # use perdura::{Filter, Hold, Options, Queue, State};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Mail;
    /// # impl perdura::Task for Mail { const NAME: &'static str = "mail"; type Output = (); }
    /// # let queue = Queue::builder().open_temporary()?;
    /// # use std::time::Duration;
    /// # use perdura::testing::{ManualClock, SteppedQueue};
    /// # let mut tests = SteppedQueue::open(Queue::builder(), &ManualClock::new())?;
    /// let day = Duration::from_secs(24 * 3600);
    /// let id = tests.queue().enqueue_with(&Mail, Options::new().expires(day))?.id();
    /// tests.advance(day)?;
    /// assert_eq!(tests.queue().get(id)?.state, State::Cancelled);
    /// # Ok::<(), perdura::Error>(())
    /// ```
    pub fn expires(mut self, after: Duration) -> Options {
        self.expires = Some(after);
        self
    }

    /// Sets a tag, by which tasks can be found: 1-200 bytes, no control characters. Defaults to
    /// none. [`Filter::tag`](crate::Filter::tag) has an example.
    pub fn tag(mut self, tag: impl Into<String>) -> Options {
        self.tag = Some(tag.into());
        self
    }

    /// Repeats an enqueue whose outcome is unknown ([`Error::token`]): if it reached the disk, no
    /// task is made and [`Enqueued::Existing`](crate::Enqueued::Existing) has the id of the first
    /// one. Not for [`Task::options`](crate::Task::options).
    ///
    /// ```
    /// # use perdura::{Filter, Hold, Options, Queue, State};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Mail;
    /// # impl perdura::Task for Mail { const NAME: &'static str = "mail"; type Output = (); }
    /// # let queue = Queue::builder().open_temporary()?;
    /// let made = queue.enqueue(&Mail).or_else(|e| match e.token() {
    ///     Some(token) => queue.enqueue_with(&Mail, Options::new().token(token)),
    ///     None => Err(e),
    /// })?;
    /// assert!(made.is_new());
    /// # Ok::<(), perdura::Error>(())
    /// ```
    pub fn token(mut self, token: EnqueueToken) -> Options {
        self.token = Some(token);
        self
    }

    /// Each option, or `fallback`'s where it is not set.
    pub(crate) fn or(self, fallback: Options) -> Options {
        let is_limited = self.limit.is_some() || self.serial.is_some();
        Options {
            queue: self.queue.or(fallback.queue),
            priority: self.priority.or(fallback.priority),
            due: self.due.or(fallback.due),
            max_attempts: self.max_attempts.or(fallback.max_attempts),
            backoff: self.backoff.or(fallback.backoff),
            timeout: self.timeout.or(fallback.timeout),
            unique: self.unique.or(fallback.unique),
            limit: self.limit.or(fallback.limit.filter(|_| !is_limited)),
            serial: self.serial.or(fallback.serial.filter(|_| !is_limited)),
            needs: self.needs.or(fallback.needs),
            expires: self.expires.or(fallback.expires),
            tag: self.tag.or(fallback.tag),
            token: self.token.or(fallback.token),
        }
    }

    /// Checks the range of every option, as an enqueue at this time and with this configuration
    /// does.
    ///
    /// It is for programs that check options before they open a file. The options of a task type
    /// are merged and checked when a task is enqueued.
    ///
    /// ```
    /// use perdura::{Config, Options};
    ///
    /// let options = Options::new().queue("");
    /// assert!(options.validate(&Config::default(), std::time::SystemTime::now()).is_err());
    /// ```
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput), naming the option, its value and its range.
    pub fn validate(&self, config: &Config, now: impl Into<Timestamp>) -> Result<(), Error> {
        self.check(config, || now.into())
    }

    /// Refuses options that cannot be changed after the enqueue.
    ///
    /// # Errors
    /// `InvalidInput`, naming the first such option.
    pub(crate) fn check_edit(&self) -> Result<(), Error> {
        let fixed = [
            ("queue", self.queue.is_some()),
            ("unique", self.unique.is_some()),
            ("limit", self.limit.is_some()),
            ("serial", self.serial.is_some()),
            ("needs", !self.needs.is_empty()),
            ("expires", self.expires.is_some()),
            ("token", self.token.is_some()),
        ];
        match fixed.iter().find(|(_, is_set)| *is_set) {
            Some((option, _)) => {
                Err(Error::invalid(option, "cannot be changed; cancel the task and make a new one"))
            }
            None => Ok(()),
        }
    }

    /// `now` is called only if an option needs it.
    fn check(&self, config: &Config, now: impl FnOnce() -> Timestamp) -> Result<(), Error> {
        check_name("queue", self.queue.as_deref().unwrap_or(DEFAULT_QUEUE))?;
        if let Some(unique) = &self.unique {
            unique.check(self.due)?;
        }
        for limit in self.limit.iter().chain(&self.serial) {
            limit.check()?;
        }
        if self.limit.is_some() && self.serial.is_some() {
            return Err(Error::invalid("serial", "is asked for together with limit; a task has one of them"));
        }
        self.needs.check()?;
        if let Some(tag) = &self.tag {
            check_key("tag", tag)?;
        }
        let max_attempts = self.max_attempts.unwrap_or(config.max_task_attempts);
        if !MAX_ATTEMPTS_RANGE.contains(&max_attempts) {
            return Err(Error::invalid_value("max_attempts", max_attempts, "is not in 1 to 100"));
        }
        let (delay, wait) = match self.due {
            Some(Due::After(delay)) => (Some(delay), delay),
            Some(Due::At(time)) => (None, time.since(now())),
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

    /// The options of one enqueue, merged and checked: those of the call, then of the type
    /// (`of_kind`), then of the configuration.
    ///
    /// # Errors
    /// `InvalidInput`, naming the option, its value and its range.
    pub(crate) fn resolve(
        self,
        task_name: &str,
        of_kind: Options,
        config: &Config,
        now: impl FnOnce() -> Timestamp,
    ) -> Result<Resolved, Error> {
        let all = self.or(of_kind);
        check_name("task name", task_name)?;
        all.check(config, now)?;
        Ok(Resolved {
            queue: all.queue.map_or(Cow::Borrowed(DEFAULT_QUEUE), Cow::Owned),
            priority: all.priority.unwrap_or(0),
            due: all.due.filter(|due| *due != Due::After(Duration::ZERO)),
            max_attempts: all.max_attempts.unwrap_or(config.max_task_attempts),
            backoff: all.backoff,
            timeout: all.timeout,
            unique: all.unique,
            limit: all.limit.or(all.serial),
            needs: all.needs,
            expires: all.expires,
            tag: all.tag,
            token: all.token,
        })
    }
}

/// [`Options`] with every level applied and every bound checked.
#[derive(Clone)]
pub(crate) struct Resolved {
    pub queue: Cow<'static, str>,
    pub priority: i16,
    pub due: Option<Due>,
    pub max_attempts: u32,
    pub backoff: Option<Duration>,
    pub timeout: Option<Duration>,
    pub unique: Option<Unique>,
    pub limit: Option<KeyLimit>,
    pub needs: Needs,
    pub expires: Option<Duration>,
    pub tag: Option<String>,
    pub token: Option<EnqueueToken>,
}
