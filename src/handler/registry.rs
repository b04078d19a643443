//! The handlers of a queue, by task name, and which threads run one.

use std::cell::Cell;
use std::collections::HashMap;

use super::context::Context;
use super::failure::Failure;
use crate::json::{from_json, to_json};
use crate::task::{Task, Verdict};

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
    pub(crate) fn add<T, F>(&mut self, handler: F)
    where
        T: Task,
        F: Fn(T, &Context) -> Result<T::Output, Failure> + Send + Sync + 'static,
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
            return Verdict::Unstarted;
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
