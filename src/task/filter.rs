//! Conditions that select tasks for a list or a bulk change.

use super::id::TaskId;
use super::state::{Hold, State};
use super::timestamp::Timestamp;
use crate::error::Error;

/// Conditions that select tasks for a list or a bulk change: a task matches if it meets every condition. Defaults to all tasks.
///
/// An empty text is refused as [`InvalidInput`](crate::ErrorKind::InvalidInput), by every call that takes a filter.
///
/// Lists come in pages by id, oldest first: ask for the next one with [`after_id`](Filter::after_id) and the last id seen.
///
/// ```
/// # use perdura::{Filter, Hold, Options, Queue, State};
/// # #[derive(serde::Serialize, serde::Deserialize)] struct Mail;
/// # impl perdura::Task for Mail { const NAME: &'static str = "mail"; type Output = (); }
/// # let queue = Queue::builder().open_temporary()?;
/// # let id = queue.enqueue_with(&Mail, Options::new().queue("outbox").tag("holiday"))?.id();
/// let filter = Filter::new().state(State::Queued).queue("outbox").task_name("mail").limit(50);
/// let found = queue.tasks(filter)?;
/// assert_eq!(found[0].task_id, id);
/// # Ok::<(), perdura::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
#[must_use]
pub struct Filter {
    pub(crate) states: Vec<State>,
    /// None: any id.
    pub(crate) ids: Option<Vec<TaskId>>,
    pub(crate) queue: Option<String>,
    pub(crate) task_name: Option<String>,
    pub(crate) error_type: Option<String>,
    pub(crate) tag: Option<String>,
    pub(crate) created_before: Option<Timestamp>,
    pub(crate) finished_before: Option<Timestamp>,
    pub(crate) text: Option<String>,
    pub(crate) hold: Option<Hold>,
    pub(crate) after: Option<TaskId>,
    pub(crate) before: Option<TaskId>,
    pub(crate) newest_first: bool,
    pub(crate) limit: Option<usize>,
}

/// The default page length of a list.
pub(crate) const DEFAULT_PAGE: usize = 100;

impl Filter {
    /// No conditions: every task matches.
    ///
    /// ```
    /// # use perdura::{Filter, Hold, Options, Queue, State};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Mail;
    /// # impl perdura::Task for Mail { const NAME: &'static str = "mail"; type Output = (); }
    /// # let queue = Queue::builder().open_temporary()?;
    /// let _ = queue.enqueue(&Mail)?;
    /// assert_eq!(queue.tasks(Filter::new())?.len(), 1);
    /// # Ok::<(), perdura::Error>(())
    /// ```
    pub fn new() -> Filter {
        Filter::default()
    }

    /// Tasks in this state; may be called repeatedly, for tasks in any of the states.
    ///
    /// ```
    /// # use perdura::{Filter, Hold, Options, Queue, State};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Mail;
    /// # impl perdura::Task for Mail { const NAME: &'static str = "mail"; type Output = (); }
    /// # let queue = Queue::builder().open_temporary()?;
    /// queue.cancel(queue.enqueue(&Mail)?.id())?;
    /// let finished = Filter::new().state(State::Succeeded).state(State::Cancelled);
    /// assert_eq!(queue.count(finished)?, 1);
    /// # Ok::<(), perdura::Error>(())
    /// ```
    pub fn state(mut self, state: State) -> Filter {
        self.states.push(state);
        self
    }

    /// `QUEUED` tasks with this hold: [`Hold::Ready`] for those that may be claimed, [`Hold::Time`] for those that wait for a time. Dead
    /// letters have none.
    ///
    /// ```
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Mail;
    /// # impl perdura::Task for Mail { const NAME: &'static str = "mail"; type Output = (); }
    /// use perdura::{Filter, Hold, Options, Queue};
    ///
    /// let queue = Queue::builder().open_temporary()?;
    /// let later = queue.enqueue_with(&Mail, Options::new().delay(std::time::Duration::from_secs(60)))?.id();
    /// let waiting = queue.tasks(Filter::new().hold(Hold::Time))?;
    /// assert_eq!(waiting[0].task_id, later);
    /// assert!(queue.tasks(Filter::new().hold(Hold::Ready))?.is_empty());
    /// # Ok::<(), perdura::Error>(())
    /// ```
    pub fn hold(mut self, hold: Hold) -> Filter {
        self.hold = Some(hold);
        self.state(State::Queued)
    }

    /// The task with this id; may be called repeatedly, for tasks with any of the ids.
    ///
    /// ```
    /// # use perdura::{Filter, Hold, Options, Queue, State};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Mail;
    /// # impl perdura::Task for Mail { const NAME: &'static str = "mail"; type Output = (); }
    /// # let queue = Queue::builder().open_temporary()?;
    /// let made = queue.enqueue_all(&[Mail, Mail, Mail])?;
    /// let found = queue.tasks(Filter::new().id(made[0].id()).id(made[2].id()))?;
    /// assert_eq!(found.len(), 2);
    /// # Ok::<(), perdura::Error>(())
    /// ```
    pub fn id(mut self, id: TaskId) -> Filter {
        self.ids.get_or_insert_default().push(id);
        self
    }

    /// The tasks with these ids, and no others: without ids, no task matches.
    ///
    /// ```
    /// # use perdura::{Filter, Hold, Options, Queue, State};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Mail;
    /// # impl perdura::Task for Mail { const NAME: &'static str = "mail"; type Output = (); }
    /// # let queue = Queue::builder().open_temporary()?;
    /// let ids = queue.enqueue_all(&[Mail, Mail])?.into_iter().map(|made| made.id());
    /// assert_eq!(queue.cancel_all(Filter::new().ids(ids))?.changed, 2);
    /// assert!(queue.tasks(Filter::new().ids([]))?.is_empty());
    /// # Ok::<(), perdura::Error>(())
    /// ```
    pub fn ids(mut self, ids: impl IntoIterator<Item = TaskId>) -> Filter {
        self.ids.get_or_insert_default().extend(ids);
        self
    }

    /// Tasks of this queue. [`Filter`] has an example.
    pub fn queue(mut self, queue: impl Into<String>) -> Filter {
        self.queue = Some(queue.into());
        self
    }

    /// Tasks of this name. [`Filter`] has an example.
    pub fn task_name(mut self, name: impl Into<String>) -> Filter {
        self.task_name = Some(name.into());
        self
    }

    /// Tasks whose newest error has this type: the whole name, its last segments (`NotFound` for `app::errors::NotFound`), or the part before a
    /// dot (`payment` for `payment.declined`).
    ///
    /// ```
    /// # use perdura::{Context, Failure, Filter, Queue, testing::{ManualClock, SteppedQueue}};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Mail;
    /// # impl perdura::Task for Mail { const NAME: &'static str = "mail"; type Output = (); }
    /// let charge = |_: Mail, _: &Context| Err::<(), _>(Failure::named("payment.declined", "insufficient funds"));
    /// # let tests = SteppedQueue::open(Queue::builder().handle(charge), &ManualClock::new())?;
    /// # let (queue, id) = (tests.queue(), tests.queue().enqueue(&Mail)?.id());
    /// # tests.run_until_idle()?;
    /// assert_eq!(queue.tasks(Filter::new().error_type("payment"))?[0].task_id, id);
    /// # Ok::<(), perdura::Error>(())
    /// ```
    pub fn error_type(mut self, error_type: impl Into<String>) -> Filter {
        self.error_type = Some(error_type.into());
        self
    }

    /// Tasks with this tag.
    ///
    /// ```
    /// # use perdura::{Filter, Hold, Options, Queue, State};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Mail;
    /// # impl perdura::Task for Mail { const NAME: &'static str = "mail"; type Output = (); }
    /// # let queue = Queue::builder().open_temporary()?;
    /// let id = queue.enqueue_with(&Mail, Options::new().tag("holiday"))?.id();
    /// assert_eq!(queue.tasks(Filter::new().tag("holiday"))?[0].task_id, id);
    /// # Ok::<(), perdura::Error>(())
    /// ```
    pub fn tag(mut self, tag: impl Into<String>) -> Filter {
        self.tag = Some(tag.into());
        self
    }

    /// Tasks that were enqueued before this time.
    ///
    /// ```
    /// # use perdura::{Filter, Hold, Options, Queue, State};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Mail;
    /// # impl perdura::Task for Mail { const NAME: &'static str = "mail"; type Output = (); }
    /// # let queue = Queue::builder().open_temporary()?;
    /// # use std::time::{Duration, SystemTime};
    /// let _ = queue.enqueue(&Mail)?;
    /// let an_hour_ago = SystemTime::now() - Duration::from_secs(3600);
    /// assert_eq!(queue.count(Filter::new().created_before(an_hour_ago))?, 0);
    /// # Ok::<(), perdura::Error>(())
    /// ```
    pub fn created_before(mut self, time: impl Into<Timestamp>) -> Filter {
        self.created_before = Some(time.into());
        self
    }

    /// Tasks that finished before this time.
    ///
    /// ```
    /// # use perdura::{Filter, Hold, Options, Queue, State};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Mail;
    /// # impl perdura::Task for Mail { const NAME: &'static str = "mail"; type Output = (); }
    /// # let queue = Queue::builder().open_temporary()?;
    /// # use std::time::{Duration, SystemTime};
    /// queue.cancel(queue.enqueue(&Mail)?.id())?;
    /// let an_hour_ago = SystemTime::now() - Duration::from_secs(3600);
    /// assert_eq!(queue.delete_all(Filter::new().finished_before(an_hour_ago))?.changed, 0);
    /// # Ok::<(), perdura::Error>(())
    /// ```
    pub fn finished_before(mut self, time: impl Into<Timestamp>) -> Filter {
        self.finished_before = Some(time.into());
        self
    }

    /// Tasks with this text in their name, tag, newest error (type or message) or args. Letters A-Z match in either case.
    ///
    /// Args match in two forms: as the JSON that is stored, and as a person reads it. The second form has no escapes, and has a blank between strings
    /// that follow one another, so that `cp "a b"` finds `["cp","\"a b\""]`.
    ///
    /// ```
    /// # use perdura::{Filter, Queue};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Mail { to: String }
    /// # impl perdura::Task for Mail { const NAME: &'static str = "mail"; type Output = (); }
    /// # let queue = Queue::builder().open_temporary()?;
    /// let id = queue.enqueue(&Mail { to: "ada@example.org".into() })?.id();
    /// assert_eq!(queue.tasks(Filter::new().text("Ada@"))?[0].task_id, id);
    /// # Ok::<(), perdura::Error>(())
    /// ```
    pub fn text(mut self, text: &str) -> Filter {
        self.text = Some(text.to_ascii_lowercase());
        self
    }

    /// Lists the newest id first: ask for the next page with [`before_id`](Filter::before_id) and the last id seen. It has no effect on bulk changes.
    ///
    /// ```
    /// # use perdura::{Filter, Hold, Options, Queue, State};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Mail;
    /// # impl perdura::Task for Mail { const NAME: &'static str = "mail"; type Output = (); }
    /// # let queue = Queue::builder().open_temporary()?;
    /// let made = queue.enqueue_all(&[Mail, Mail, Mail])?;
    /// let newest = Filter::new().newest_first().limit(2);
    /// let page = queue.tasks(newest.clone())?;
    /// assert_eq!(page[0].task_id, made[2].id());
    /// let next = queue.tasks(newest.before_id(page[1].task_id))?;
    /// assert_eq!(next[0].task_id, made[0].id());
    /// # Ok::<(), perdura::Error>(())
    /// ```
    pub fn newest_first(mut self) -> Filter {
        self.newest_first = true;
        self
    }

    /// Tasks with a lower id than this one. [`newest_first`](Filter::newest_first) has an example.
    pub fn before_id(mut self, id: TaskId) -> Filter {
        self.before = Some(id);
        self
    }

    /// Tasks with a higher id than this one: the next page. Bulk changes start there, too. [`Queue::tasks`](crate::Queue::tasks) has an example.
    pub fn after_id(mut self, id: TaskId) -> Filter {
        self.after = Some(id);
        self
    }

    /// At most this many tasks; for a bulk change, at most this many changed tasks. Defaults to 100 for a list, and to all tasks for a bulk
    /// change and a count.
    ///
    /// ```
    /// # use perdura::{Filter, Hold, Options, Queue, State};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Mail;
    /// # impl perdura::Task for Mail { const NAME: &'static str = "mail"; type Output = (); }
    /// # let queue = Queue::builder().open_temporary()?;
    /// let _ = queue.enqueue_all(&[Mail, Mail, Mail])?;
    /// assert_eq!(queue.tasks(Filter::new().limit(2))?.len(), 2);
    /// assert_eq!(queue.cancel_all(Filter::new().limit(2))?.changed, 2);
    /// # Ok::<(), perdura::Error>(())
    /// ```
    pub fn limit(mut self, limit: usize) -> Filter {
        self.limit = Some(limit);
        self
    }

    /// Checks that no text is empty: an empty text is probably a forgotten value, and must not
    /// match every task.
    ///
    /// # Errors
    /// `InvalidInput`, naming the condition.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let Filter { queue, task_name, error_type, tag, text, .. } = self;
        for (condition, value) in [
            ("queue", queue),
            ("task_name", task_name),
            ("error_type", error_type),
            ("tag", tag),
            ("text", text),
        ] {
            if value.as_deref() == Some("") {
                return Err(Error::invalid(
                    &format!("the filter's {condition}"),
                    "is empty; give it a value, or leave it out",
                ));
            }
        }
        Ok(())
    }

    /// The states as a bit mask (bit n = state number n); all bits if none is named.
    pub(crate) fn state_mask(&self) -> i64 {
        if self.states.is_empty() { -1 } else { self.states.iter().fold(0, |mask, s| mask | 1 << s.code()) }
    }

    /// This filter, with `states` if it names none.
    pub(crate) fn or_states(mut self, states: &[State]) -> Filter {
        if self.states.is_empty() {
            self.states = states.to_vec();
        }
        self
    }
}
