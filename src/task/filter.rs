//! Which tasks a list or a bulk verb means.

use super::id::TaskId;
use super::state::{Hold, State};
use super::timestamp::Timestamp;
use crate::error::Error;

/// Which tasks a list or a bulk verb means: those that meet every condition given. Defaults to all.
///
/// An empty text is refused as [`InvalidInput`](crate::ErrorKind::InvalidInput), by every verb that takes a filter.
///
/// Lists come in pages by id, oldest first: ask for the next one with [`after_id`](Filter::after_id) the last id seen.
///
/// ```
/// use perdura::{Filter, State};
/// let failed_uploads = Filter::new().state(State::Failed).task_name("upload").limit(50);
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
#[must_use]
pub struct Filter {
    pub(crate) states: Vec<State>,
    /// None: whatever the id.
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

/// The page length of a list that names none.
pub(crate) const DEFAULT_PAGE: usize = 100;

impl Filter {
    /// Every task.
    pub fn new() -> Filter {
        Filter::default()
    }

    /// Tasks in this state; called again, in this state too.
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

    /// The task with this id; called again, this one too.
    pub fn id(mut self, id: TaskId) -> Filter {
        self.ids.get_or_insert_default().push(id);
        self
    }

    /// The tasks with these ids, and no others: no ids, no tasks.
    pub fn ids(mut self, ids: impl IntoIterator<Item = TaskId>) -> Filter {
        self.ids.get_or_insert_default().extend(ids);
        self
    }

    /// Tasks of this queue.
    pub fn queue(mut self, queue: impl Into<String>) -> Filter {
        self.queue = Some(queue.into());
        self
    }

    /// Tasks of this name.
    pub fn task_name(mut self, name: impl Into<String>) -> Filter {
        self.task_name = Some(name.into());
        self
    }

    /// Tasks whose newest error has this type: the whole name, its last segments (`NotFound` for `app::errors::NotFound`), or what stands before a
    /// dot in it (`payment` for `payment.declined`).
    pub fn error_type(mut self, error_type: impl Into<String>) -> Filter {
        self.error_type = Some(error_type.into());
        self
    }

    /// Tasks with this tag.
    pub fn tag(mut self, tag: impl Into<String>) -> Filter {
        self.tag = Some(tag.into());
        self
    }

    /// Tasks enqueued before this time.
    pub fn created_before(mut self, time: impl Into<Timestamp>) -> Filter {
        self.created_before = Some(time.into());
        self
    }

    /// Tasks that finished before this time.
    pub fn finished_before(mut self, time: impl Into<Timestamp>) -> Filter {
        self.finished_before = Some(time.into());
        self
    }

    /// Tasks with this text in their name, tag, newest error (type or message) or args. Args are matched as the JSON that is stored, and as
    /// one reads it: without escapes, and strings that stand one after the other with a blank between, so that `cp "a b"` finds `["cp","\"a b\""]`. Letters A-Z match
    /// in either case.
    pub fn text(mut self, text: &str) -> Filter {
        self.text = Some(text.to_ascii_lowercase());
        self
    }

    /// Lists the newest id first: ask for the next page with [`before_id`](Filter::before_id) the last id seen. Bulk verbs do not mind.
    pub fn newest_first(mut self) -> Filter {
        self.newest_first = true;
        self
    }

    /// Tasks with a lower id than this one.
    pub fn before_id(mut self, id: TaskId) -> Filter {
        self.before = Some(id);
        self
    }

    /// Tasks with a higher id than this one: the next page. Bulk verbs start there too.
    pub fn after_id(mut self, id: TaskId) -> Filter {
        self.after = Some(id);
        self
    }

    /// At most so many: of a bulk verb, that it changes. A list defaults to 100, a bulk verb and a count to all.
    pub fn limit(mut self, limit: usize) -> Filter {
        self.limit = Some(limit);
        self
    }

    /// Checks that no text of it is empty: that is a value that somebody forgot, and must not mean every task.
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

    /// This filter, with `states` where it names none.
    pub(crate) fn or_states(mut self, states: &[State]) -> Filter {
        if self.states.is_empty() {
            self.states = states.to_vec();
        }
        self
    }
}
