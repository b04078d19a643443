//! What a handler sees: its [`Context`], and the [`Failure`] that it may return.
//!
//! It declares the [`Port`] through which an attempt reaches the file, and knows nothing of SQL, queues or threads.

mod context;
mod control;
mod failure;

use std::any::Any;
use std::cell::Cell;
use std::collections::HashMap;
use std::sync::Weak;
use std::time::Duration;

use serde::Serialize;

pub use context::Context;
pub(crate) use control::Control;
pub use failure::Failure;

use crate::error::Error;
use crate::json::{from_json, to_json};
use crate::task::{Claimed, Settlement, Task, TaskId, Verdict};

/// How running attempts reach the file. The queue implements it.
pub(crate) trait Port: Send + Sync + 'static {
    /// Notes, durably enough for a crash of the process, that an attempt is about to start.
    fn starting(&self, claimed: &Claimed) -> Result<Box<dyn Note>, Error>;
    /// The newest checkpoint of a task, as JSON.
    fn checkpoint(&self, id: TaskId) -> Result<Option<String>, Error>;
    /// Saves a checkpoint of the running attempt; durable when it returns.
    fn save_checkpoint(&self, control: &Control, json: String) -> Result<(), Error>;
    /// There is something to be written, some time.
    fn has_news(&self);
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
    /// Time since some fixed moment.
    fn monotonic(&self) -> Duration;
    /// The largest (result, checkpoint), in bytes.
    fn limits(&self) -> (usize, usize);
    /// The limit of one attempt of tasks that say nothing themselves.
    fn default_timeout(&self) -> Option<Duration>;
    /// The queue, for handlers that ask for it.
    fn home(&self) -> Weak<dyn Any + Send + Sync>;
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

/// A handler without its types: JSON in, JSON out.
type Erased = Box<dyn Fn(&str, &Context) -> Result<Option<String>, Failure> + Send + Sync>;

/// The handlers of a queue, by task name.
#[derive(Default)]
pub(crate) struct Registry {
    handlers: HashMap<&'static str, (u32, Erased)>,
    twice: Vec<&'static str>,
}

impl Registry {
    /// Adds a handler.
    pub(crate) fn add<T, O, F>(&mut self, handler: F)
    where
        T: Task,
        O: Serialize,
        F: Fn(T, &Context) -> Result<O, Failure> + Send + Sync + 'static,
    {
        let run = move |args: &str, cx: &Context| {
            let task: T = from_json(args).map_err(|wrong| Failure::undecodable(&wrong))?;
            let result =
                to_json("result", &handler(task, cx)?, cx.port.limits().0).map_err(Failure::from_write)?;
            Ok((result != "null").then_some(result))
        };
        if self.handlers.insert(T::NAME, (T::VERSION, Box::new(run))).is_some() {
            self.twice.push(T::NAME);
        }
    }

    /// The task names that it knows, each with the newest version of its args.
    pub(crate) fn names(&self) -> impl Iterator<Item = (&'static str, u32)> {
        self.handlers.iter().map(|(name, (version, _))| (*name, *version))
    }

    /// Names that were registered more than once.
    pub(crate) fn registered_twice(&self) -> &[&'static str] {
        &self.twice
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.handlers.is_empty()
    }

    /// Runs the handler of a claimed task. May panic, as the handler may.
    pub(crate) fn run(&self, args: &str, cx: &Context) -> Verdict {
        let Some((_, handler)) = self.handlers.get(&*cx.claimed.task_name) else {
            return Verdict::HandedBack;
        };
        let _inside = InHandler::enter();
        match handler(args, cx) {
            Ok(result) => Verdict::Succeeded { result, late: cx.is_late() },
            Err(failure) => failure.verdict(),
        }
    }
}

thread_local! {
    static IN_HANDLER: Cell<bool> = const { Cell::new(false) };
}

/// Marks the thread as one that runs a handler, while it lives.
struct InHandler(bool);

impl InHandler {
    fn enter() -> InHandler {
        InHandler(IN_HANDLER.replace(true))
    }
}

impl Drop for InHandler {
    fn drop(&mut self) {
        IN_HANDLER.set(self.0);
    }
}

/// Whether this thread is inside a handler.
pub(crate) fn in_handler() -> bool {
    IN_HANDLER.get()
}
