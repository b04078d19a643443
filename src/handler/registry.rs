//! The handlers of a queue, by task name, and which threads run one.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::HashMap;
use std::time::Duration;

use serde_json::Value;

use super::context::Context;
use super::failure::Failure;
use super::job_end::Ended;
use super::upgrade::Upgrades;
use crate::error::{Error, ErrorKind};
use crate::json::{from_json, to_json};
use crate::task::{Elsewhere, Task, Verdict, check_name};

/// How long a task is snoozed whose queue could not be read.
const UNREADABLE_PAUSE: Duration = Duration::from_secs(1);

/// A handler without its types: JSON in, JSON out.
type Erased = Box<dyn Fn(&str, &Context) -> Result<Option<String>, Failure> + Send + Sync>;

/// The handlers of a queue, by task name.
#[derive(Default)]
pub(crate) struct Registry {
    handlers: Vec<Handler>,
    /// The index of the handler of each name, the older names of a task included.
    names: HashMap<&'static str, usize>,
    upgrades: HashMap<&'static str, Upgrades>,
    twice: Vec<&'static str>,
}

struct Handler {
    task_name: &'static str,
    version: u32,
    run: Erased,
    /// Makes the output from a job that has ended; none for a handler that runs here.
    finish: Option<FinishFn>,
}

/// Makes the output of a task from its args and the job that has ended: JSON of at most so many bytes.
type FinishFn = Box<dyn Fn(&str, &Ended, usize) -> Result<Option<String>, Failure> + Send + Sync>;

/// How tasks of a type run on an engine.
pub(crate) struct OutsideHandler<S, F> {
    pub task_name: &'static str,
    pub aliases: &'static [&'static str],
    /// The engine's name in the file.
    pub engine: String,
    /// The queues in which its tasks stand.
    pub queues: Vec<String>,
    /// Makes the spec of the job, JSON.
    pub spec: S,
    /// Makes the output of the task.
    pub finish: F,
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
            cx.result_json(&handler(task, cx)?)
        };
        self.push(
            T::ALIASES,
            Handler { task_name: T::NAME, version: T::VERSION, run: Box::new(run), finish: None },
        );
    }

    /// Adds a handler whose work an engine does.
    pub(crate) fn add_outside<T, S, F>(&mut self, outside: OutsideHandler<S, F>)
    where
        T: Task,
        S: Fn(T, &Context) -> Result<String, Failure> + Send + Sync + 'static,
        F: Fn(T, &Ended) -> Result<T::Output, Failure> + Send + Sync + 'static,
    {
        let OutsideHandler { task_name, aliases, engine, queues, spec, finish } = outside;
        let decode = |args: &str| from_json::<T>(args).map_err(|wrong| Failure::undecodable(&wrong));
        let run = move |args: &str, cx: &Context| {
            // A file that cannot be read is no failure of this task.
            let queue = cx.queue_name().map_err(|_| Failure::snooze(UNREADABLE_PAUSE))?;
            if !queues.contains(&queue) {
                return Err(Failure::wrong_queue(&queue, &engine, &queues));
            }
            let spec = spec(decode(args)?, cx)?;
            Err(Failure::goes_outside(Elsewhere::Engine { name: engine.clone(), spec }))
        };
        let finish = move |args: &str, ended: &Ended, limit: usize| {
            let json =
                to_json("result", &finish(decode(args)?, ended)?, limit).map_err(Failure::from_write)?;
            Ok((json != "null").then_some(json))
        };
        let finish: Option<FinishFn> = Some(Box::new(finish));
        self.push(aliases, Handler { task_name, version: T::VERSION, run: Box::new(run), finish });
    }

    fn push(&mut self, aliases: &'static [&'static str], handler: Handler) {
        for name in std::iter::once(&handler.task_name).chain(aliases) {
            if self.names.insert(name, self.handlers.len()).is_some() {
                self.twice.push(name);
            }
        }
        self.handlers.push(handler);
    }

    /// Adds an upgrade from the args of one version to those of the next.
    pub(crate) fn upgrade<T: Task>(
        &mut self,
        from: u32,
        step: impl Fn(Value) -> Result<Value, Failure> + Send + Sync + 'static,
    ) {
        let upgrades = self.upgrades.entry(T::NAME).or_insert_with(|| Upgrades::new(T::NAME, T::VERSION));
        upgrades.add(from, Box::new(step));
    }

    /// The task names that it knows, each with the newest version of its args.
    pub(crate) fn names(&self) -> impl Iterator<Item = (&'static str, u32)> {
        self.names.iter().map(|(name, at)| (*name, self.handlers[*at].version))
    }

    /// # Errors
    /// `InvalidConfig`: a name that is invalid or has two handlers; upgrades with a gap, or of a task without a handler.
    pub(crate) fn check(&self) -> Result<(), Error> {
        self.names().try_for_each(|(name, _)| check_name("task name", name))?;
        if let [name, ..] = self.twice.as_slice() {
            let message = format!(
                "two handlers for the task name {name:?}; register one, or give one of the task types another NAME"
            );
            return Err(Error::new(ErrorKind::InvalidConfig, message));
        }
        for (name, upgrades) in &self.upgrades {
            if !self.handlers.iter().any(|handler| handler.task_name == *name) {
                let message =
                    format!("upgrade of the task name {name:?}: there is no handler for it; add one");
                return Err(Error::new(ErrorKind::InvalidConfig, message));
            }
            upgrades.check()?;
        }
        Ok(())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.handlers.is_empty()
    }

    /// Runs the handler of a claimed task. May panic, as the handler may.
    pub(crate) fn run(&self, args: &str, cx: &Context) -> Verdict {
        let handler = self.names.get(&*cx.claimed.task_name).and_then(|at| self.handlers.get(*at));
        let Some(handler) = handler else { return Verdict::Unstarted };
        let _inside = InHandler::enter();
        let args = self.newest(handler, args, cx.claimed.version);
        let ended = args.and_then(|args| (handler.run)(&args, cx));
        match ended {
            Ok(result) => Verdict::Succeeded { result, late: cx.is_late() },
            Err(failure) => failure.verdict(),
        }
    }

    /// Whether it can make the output of tasks of this name from a job that has ended.
    pub(crate) fn finishes(&self, name: &str) -> bool {
        self.names
            .get(name)
            .and_then(|at| self.handlers.get(*at))
            .is_some_and(|handler| handler.finish.is_some())
    }

    /// The verdict of a task whose job has ended. `limit`: the largest result, in bytes. May panic, as the program's function may.
    pub(crate) fn finish(
        &self,
        name: &str,
        args: &str,
        version: u32,
        ended: &Ended,
        limit: usize,
    ) -> Verdict {
        let handler = self.names.get(name).and_then(|at| self.handlers.get(*at));
        let Some((handler, finish)) = handler.and_then(|handler| Some((handler, handler.finish.as_ref()?)))
        else {
            return Failure::undecodable("no engine of this program does such tasks any more").verdict();
        };
        let _inside = InHandler::enter();
        match self.newest(handler, args, version).and_then(|args| finish(&args, ended, limit)) {
            Ok(result) => Verdict::Succeeded { result, late: false },
            Err(failure) if failure.is_outside() => Failure::job_is_over().verdict(),
            Err(failure) => failure.verdict(),
        }
    }

    /// Args of a version as those of the newest one.
    fn newest<'a>(&self, handler: &Handler, args: &'a str, version: u32) -> Result<Cow<'a, str>, Failure> {
        let is_old = version < handler.version;
        match self.upgrades.get(handler.task_name).filter(|_| is_old) {
            Some(upgrades) => upgrades.run(args, version).map(Cow::Owned),
            None => Ok(Cow::Borrowed(args)),
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
