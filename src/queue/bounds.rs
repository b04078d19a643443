//! What bounds a queue: how many of its tasks run at once, and how often one starts; how many workers there are for all queues; and which
//! conditions are met.

use super::handle::Queue;
use crate::config::WORKERS_RANGE;
use crate::error::{Error, ErrorKind};
use crate::store::{self, Rank};
use crate::sync::lock;
use crate::task::{Condition, Rate, check_name};

/// Limits and rates. All are durable and act at once; a process that executes in another program follows within its
/// [`poll_interval`](crate::Config::poll_interval), or when it hears of it ([`notify`](Queue::notify)).
impl Queue {
    /// Bounds how many tasks of a queue are in flight at once, claims that wait for a worker included; none: no bound but the workers.
    ///
    /// Tasks that run go on when the limit is lowered; the next one starts when there is room. Range 1 to 4,294,967,295.
    ///
    /// ```
    /// # let queue = perdura::Queue::builder().open_temporary()?;
    /// queue.set_limit("ocr", Some(2))?;
    /// assert_eq!(queue.counts()?.queue("ocr").limit, Some(2));
    /// queue.set_limit("ocr", None)?;
    /// # Ok::<(), perdura::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) for a limit of 0 (pause the queue instead), and for a name that no queue can have.
    pub fn set_limit(&self, queue: &str, limit: Option<u32>) -> Result<(), Error> {
        check_name("queue", queue)?;
        if limit == Some(0) {
            let problem = "lets nothing run; it is at least 1 (a queue that is to rest is paused)";
            return Err(Error::invalid_value("limit", 0, problem));
        }
        let queue = queue.to_owned();
        self.runtime.core.commit(Rank::Change, move |tx| store::set_limit(tx, &queue, limit))
    }

    /// Bounds how often tasks of a queue start; none: no bound.
    ///
    /// Each attempt spends a start when it is claimed, retries too; a claim that could not start gives it back. So nothing is lost if the task
    /// is cancelled while it waits. What was spent is in the file, so a program that is started again does not start the burst again; the same
    /// rate set again changes nothing. A clock that jumps back shuts the queue for one start at most.
    ///
    /// ```
    /// # let queue = perdura::Queue::builder().open_temporary()?;
    /// use perdura::Rate;
    /// use std::time::Duration;
    ///
    /// queue.set_rate("api", Some(Rate::per(Duration::from_secs(60), 50).burst(5)))?;
    /// queue.set_rate("api", None)?;
    /// # Ok::<(), perdura::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) for a rate out of its range ([`Rate`] has them), and for a name that no queue can have.
    pub fn set_rate(&self, queue: &str, rate: Option<Rate>) -> Result<(), Error> {
        check_name("queue", queue)?;
        if let Some(rate) = rate {
            rate.check()?;
        }
        let (queue, now) = (queue.to_owned(), self.runtime.core.now());
        self.runtime.core.commit(Rank::Change, move |tx| store::set_rate(tx, &queue, rate, now))
    }

    /// Sets the number of workers of this queue from now on, until it is closed: for a laptop on battery, or a program that is minimised.
    ///
    /// Tasks that run go on, so it can take a while until fewer run at once. Tasks that were claimed ahead and have not started are handed
    /// back when there are fewer workers than before. Range 1 to 1024; [`workers`](crate::Builder::workers) says how many there are at first.
    ///
    /// ```
    /// # use perdura::{Context, Failure, Queue};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Mail;
    /// # impl perdura::Task for Mail { const NAME: &'static str = "mail"; type Output = (); }
    /// # let send = |_: Mail, _: &Context| Ok::<(), Failure>(());
    /// let queue = Queue::builder().workers(8).handle(send).open_temporary()?;
    /// queue.set_workers(1)?; // on battery
    /// # Ok::<(), perdura::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) if it is out of range (to run nothing, pause the queues); [`NoHandlers`](ErrorKind::NoHandlers);
    /// [`ShutDown`](ErrorKind::ShutDown); [`Io`](ErrorKind::Io) if a thread cannot be started: then there are as many as could be.
    pub fn set_workers(&self, workers: usize) -> Result<(), Error> {
        if !WORKERS_RANGE.contains(&workers) {
            let (least, most) = (WORKERS_RANGE.start(), WORKERS_RANGE.end());
            let problem = format!("is out of range; it takes {least} to {most}");
            return Err(Error::invalid_value("workers", workers, &problem));
        }
        if self.runtime.registry.is_empty() {
            return Err(Error::new(ErrorKind::NoHandlers, "this queue has no handlers, and so no workers"));
        }
        self.store().process.check()?;
        if self.runtime.core.shared.gate.is_stopping() {
            return Err(Error::new(
                ErrorKind::ShutDown,
                "the queue was shut down and has no workers any more",
            ));
        }
        self.runtime.core.set_workers(workers)
    }

    /// Says that a condition is met from now on, or is not met any more. Its name has 1-200 bytes, no control characters. Tasks that
    /// [need](crate::Options::needs) the condition wait for this.
    ///
    /// What the owner of the file says counts as long as it owns the file: after it ended or crashed, nobody knows whether the computer is still
    /// online. What another process says (or the command: `perdura condition online on`), or a queue that does not own the file, counts until it is
    /// said anew. What a queue with handlers has said counts as the owner's word once it comes to own the file. A condition of which nobody knows is
    /// not met.
    ///
    /// Up to 256 tasks that wait for the condition are ready in the same commit; the rest follow at once, in chunks that let others write.
    ///
    /// ```
    /// # let queue = perdura::Queue::builder().open_temporary()?;
    /// queue.set_condition("online", true)?;
    /// queue.set_condition("on_mains", false)?;
    /// let conditions: Vec<(String, bool)> = queue.conditions()?.into_iter().map(|c| (c.name, c.is_met)).collect();
    /// assert_eq!(conditions, [("on_mains".to_owned(), false), ("online".to_owned(), true)]);
    /// # Ok::<(), perdura::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) for a name that no condition can have, and for the 63rd of a file: they stay for good.
    pub fn set_condition(&self, condition: &str, is_met: bool) -> Result<(), Error> {
        check_name("condition", condition)?;
        let core = &self.runtime.core;
        let (name, owner, now) = (condition.to_owned(), core.shared.gate.epoch(), core.now());
        core.commit(Rank::Change, move |tx| store::set_condition(tx, &name, is_met, owner, now))?;
        if !self.runtime.registry.is_empty() {
            lock(&core.said).insert(condition.to_owned(), (is_met, now)); // for when it comes to own the file
        }
        Ok(())
    }

    /// The conditions that the file knows, because a task needs them or somebody has said something of them; sorted by name.
    /// [`set_condition`](Queue::set_condition) has an example.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn conditions(&self) -> Result<Vec<Condition>, Error> {
        let mut conditions = self.store().read(store::conditions)?;
        self.without_word_of_the_gone(&mut conditions);
        Ok(conditions)
    }

    /// Makes conditions unknown that the owner has set, if nobody owns the file.
    pub(super) fn without_word_of_the_gone(&self, conditions: &mut [Condition]) {
        if conditions.iter().any(|c| c.by_owner && !c.is_unknown) && self.owner().is_owned == Some(false) {
            for condition in conditions.iter_mut().filter(|c| c.by_owner) {
                (condition.is_met, condition.is_unknown) = (false, true);
            }
        }
    }
}
