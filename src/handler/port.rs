//! How running attempts reach the file: declared here, implemented by the queue.

use std::any::Any;
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::control::Control;
use crate::error::Error;
use crate::task::{Claimed, Settlement, StepKey, TaskId, TaskRecord, Timestamp};

/// How running attempts reach the file. The queue implements it.
pub(crate) trait Port: Send + Sync + 'static {
    /// Notes, durably enough for a crash of the process, that an attempt is about to start.
    fn starting(&self, claimed: &Claimed) -> Result<Box<dyn Note>, Error>;
    /// The newest checkpoint of a task, as JSON.
    fn checkpoint(&self, id: TaskId) -> Result<Option<String>, Error>;
    /// Saves a checkpoint of the running attempt; durable when it returns.
    fn save_checkpoint(&self, control: &Control, json: String) -> Result<(), Error>;
    /// The keys of the steps of a task that are done, at most `limit`.
    fn step_keys(&self, id: TaskId, limit: usize) -> Result<Vec<StepKey>, Error>;
    /// The result of a step of a task, as JSON; none if it is not done, and an inner none for a sleep.
    fn step_result(&self, id: TaskId, step: &StepKey) -> Result<Option<Option<String>>, Error>;
    /// Keeps the result of a step of the running attempt; durable when it returns.
    fn save_step(&self, control: &Control, step: StepKey, json: String) -> Result<(), Error>;
    /// The idempotency key of a task for `name`: the same in all its attempts, and in all replays of it.
    fn idempotency_key(&self, id: TaskId, name: &str) -> Result<String, Error>;
    /// Says that there is progress or output to be written soon.
    fn has_pending(&self);
    /// An attempt has a deadline, on the monotonic clock.
    fn watch_deadline(&self, deadline: Duration);
    /// An attempt has begun of a task that was running when a process died.
    fn watch_suspect(&self, control: &Control);
    /// An attempt has begun to send heartbeats.
    fn watch_silence(&self);
    /// An attempt has ended.
    fn finished(&self, finished: Finished);
    /// What became of an attempt is not known: its thread has panicked outside the handler.
    fn missed(&self, id: TaskId, generation: u64);
    /// The tick whose run a task is, if it is one.
    fn tick(&self, id: TaskId) -> Result<Option<Timestamp>, Error>;
    /// A task as the file has it.
    fn record(&self, id: TaskId) -> Result<TaskRecord, Error>;
    /// What the queue's clock says.
    fn now(&self) -> Timestamp;
    /// Time since some fixed moment.
    fn monotonic(&self) -> Duration;
    /// The largest (result, checkpoint), in bytes.
    fn limits(&self) -> (usize, usize);
    /// How long one attempt may take of a task without a timeout of its own.
    fn default_timeout(&self) -> Option<Duration>;
    /// The queue, for handlers that ask for it.
    fn home(&self) -> Weak<dyn Any + Send + Sync>;
    /// Itself, for the queue's own calls.
    fn as_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;
}

/// The note of a start. It is dropped when the attempt's end is durable; its place is used again then.
pub(crate) trait Note: Send + Sync {
    /// Lets the note stay for good: the attempt has started, and its end will not be written.
    fn keep(self: Box<Self>);
}

/// How an attempt began that has ended.
pub(crate) enum Start {
    /// Its handler ran.
    Noted(Box<dyn Note>),
    /// Its start could not be noted.
    Failed,
    /// No worker took it.
    Never,
}

/// An attempt that has ended.
pub(crate) struct Finished {
    pub settlement: Settlement,
    pub start: Start,
}
