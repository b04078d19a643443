//! The dead letters of a queue.

use super::handle::Queue;
use crate::error::Error;
use crate::store::{self, Among, Rank, Search};
use crate::task::{DEFAULT_PAGE, DeadLetter, Filter, TaskId, Timestamp};

/// Tasks that ended `FAILED` or `LOST` and were moved out of the way, with their args, errors and attempts. Made by
/// [`Queue::dead_letters`].
///
/// ```
/// # use perdura::{Context, Failure, Filter, Queue, State, testing::{ManualClock, SteppedQueue}};
/// # #[derive(serde::Serialize, serde::Deserialize)] struct Mail;
/// # impl perdura::Task for Mail { const NAME: &'static str = "mail"; type Output = (); }
/// # let send = |_: Mail, _: &Context| Err::<(), _>(Failure::permanent("no route"));
/// # let tests = SteppedQueue::open(Queue::builder().handle(send), &ManualClock::new())?;
/// # let (queue, id) = (tests.queue(), tests.queue().enqueue(&Mail)?.id());
/// # tests.run_until_idle()?;
/// let moved = queue.move_to_dead_letters(Filter::new().queue("default"))?;
/// assert_eq!(moved.changed, 1);
/// for letter in queue.dead_letters().list(Filter::new())? {
///     println!("{} {}: {:?}", letter.task_id, letter.task_name, letter.error_message);
///     queue.dead_letters().replay(letter.task_id)?;
/// }
/// # Ok::<(), perdura::Error>(())
/// ```
#[derive(Debug)]
pub struct DeadLetters<'q> {
    pub(super) queue: &'q Queue,
}

impl DeadLetters<'_> {
    /// A page of the letters that match the filter, oldest id first unless the filter says [`newest_first`](Filter::newest_first).
    ///
    /// The length of a page is the filter's [`limit`](Filter::limit), which defaults to 100. [`DeadLetters`] has an example.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn list(&self, filter: Filter) -> Result<Vec<DeadLetter>, Error> {
        filter.check()?;
        let search = Search::new(&filter, Among::Letters, filter.order());
        self.queue.store().search(search, filter.limit.unwrap_or(DEFAULT_PAGE), store::get_dead_letter, None)
    }

    /// One letter, by the id that it had as a task.
    ///
    /// ```
    /// # use perdura::{Context, Failure, Filter, Queue, State, testing::{ManualClock, SteppedQueue}};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Mail;
    /// # impl perdura::Task for Mail { const NAME: &'static str = "mail"; type Output = (); }
    /// # let send = |_: Mail, _: &Context| Err::<(), _>(Failure::permanent("no route"));
    /// # let tests = SteppedQueue::open(Queue::builder().handle(send), &ManualClock::new())?;
    /// # let (queue, id) = (tests.queue(), tests.queue().enqueue(&Mail)?.id());
    /// # tests.run_until_idle()?;
    /// queue.move_to_dead_letter(id)?;
    /// let letter = queue.dead_letters().get(id)?;
    /// assert_eq!((letter.state, letter.error_message.as_deref()), (State::Failed, Some("no route")));
    /// # Ok::<(), perdura::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound).
    pub fn get(&self, id: TaskId) -> Result<DeadLetter, Error> {
        self.queue.store().read(|conn| store::get_dead_letter(conn, id))
    }

    /// Makes a new task from a letter, and answers with its id.
    ///
    /// The new task has fresh attempts, the same args, options and checkpoint, and a [`replay_of`](crate::TaskRecord::replay_of) that names the
    /// letter. The letter stays, marked as replayed.
    ///
    /// ```
    /// # use perdura::{Context, Failure, Filter, Queue, State, testing::{ManualClock, SteppedQueue}};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Mail;
    /// # impl perdura::Task for Mail { const NAME: &'static str = "mail"; type Output = (); }
    /// # let send = |_: Mail, _: &Context| Err::<(), _>(Failure::permanent("no route"));
    /// # let tests = SteppedQueue::open(Queue::builder().handle(send), &ManualClock::new())?;
    /// # let (queue, id) = (tests.queue(), tests.queue().enqueue(&Mail)?.id());
    /// # tests.run_until_idle()?;
    /// queue.move_to_dead_letter(id)?;
    /// let new = queue.dead_letters().replay(id)?;
    /// assert_eq!(queue.get(new)?.replay_of, Some(id));
    /// assert_eq!(queue.dead_letters().get(id)?.replayed_as, Some(new));
    /// # Ok::<(), perdura::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound); [`WrongState`](crate::ErrorKind::WrongState) if the letter was replayed before;
    /// [`Conflict`](crate::ErrorKind::Conflict) if a live task holds its unique key.
    pub fn replay(&self, id: TaskId) -> Result<TaskId, Error> {
        self.replay_as(id, false)
    }

    /// Like [`replay`](DeadLetters::replay), and also takes a letter that was replayed before.
    ///
    /// ```
    /// # use perdura::{Context, Failure, Filter, Queue, State, testing::{ManualClock, SteppedQueue}};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Mail;
    /// # impl perdura::Task for Mail { const NAME: &'static str = "mail"; type Output = (); }
    /// # let send = |_: Mail, _: &Context| Err::<(), _>(Failure::permanent("no route"));
    /// # let tests = SteppedQueue::open(Queue::builder().handle(send), &ManualClock::new())?;
    /// # let (queue, id) = (tests.queue(), tests.queue().enqueue(&Mail)?.id());
    /// # tests.run_until_idle()?;
    /// queue.move_to_dead_letter(id)?;
    /// let first = queue.dead_letters().replay(id)?;
    /// assert!(queue.dead_letters().replay(id).is_err(), "it was replayed before");
    /// let second = queue.dead_letters().replay_again(id)?;
    /// assert_ne!(first, second);
    /// # Ok::<(), perdura::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound); [`Conflict`](crate::ErrorKind::Conflict).
    pub fn replay_again(&self, id: TaskId) -> Result<TaskId, Error> {
        self.replay_as(id, true)
    }

    fn replay_as(&self, id: TaskId, forced: bool) -> Result<TaskId, Error> {
        let core = &self.queue.runtime.core;
        let (now, token) = (core.now(), core.new_token());
        core.commit(Rank::Add, move |tx| store::replay(tx, id, forced, token, now))
    }

    /// Deletes letters that were moved before a time, and says how many. It does so at once, whatever `dead_letter_retention` says.
    ///
    /// ```
    /// # use perdura::{Context, Failure, Filter, Queue, State, testing::{ManualClock, SteppedQueue}};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Mail;
    /// # impl perdura::Task for Mail { const NAME: &'static str = "mail"; type Output = (); }
    /// # let send = |_: Mail, _: &Context| Err::<(), _>(Failure::permanent("no route"));
    /// # let tests = SteppedQueue::open(Queue::builder().handle(send), &ManualClock::new())?;
    /// # let (queue, id) = (tests.queue(), tests.queue().enqueue(&Mail)?.id());
    /// # tests.run_until_idle()?;
    /// queue.move_to_dead_letter(id)?;
    /// let in_a_minute = queue.dead_letters().get(id)?.moved_at.saturating_add(std::time::Duration::from_secs(60));
    /// assert_eq!(queue.dead_letters().purge(in_a_minute)?, 1);
    /// # Ok::<(), perdura::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn purge(&self, moved_before: impl Into<Timestamp>) -> Result<usize, Error> {
        self.queue.runtime.core.purge_dead_letters(moved_before.into(), || true)
    }
}

impl Queue {
    /// The tasks that were moved out of the way. [`DeadLetters`] has an example.
    pub fn dead_letters(&self) -> DeadLetters<'_> {
        DeadLetters { queue: self }
    }
}
