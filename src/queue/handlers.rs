//! What a queue runs: its handlers, the tasks that engines run, how args of older versions are read, and which errors are not retried.

use super::builder::Builder;
use crate::engine::{Engine, EngineSettings, NamedEngine};
use crate::error::{Error, ErrorKind};
use crate::handler::{Context, Ended, Failure, OutsideHandler};
use crate::json::to_json;
use crate::retry::Denylist;
use crate::task::Task;

/// The largest spec of a job, in bytes of JSON.
const MAX_SPEC_BYTES: usize = 1024 * 1024;

impl Builder {
    /// Runs tasks of type `T` with this function. Each task type takes one handler; a second one is an error of `open`.
    ///
    /// Only a queue with handlers asks for the ownership of the file and executes. A queue without handlers enqueues and reads.
    ///
    /// ```
    /// use perdura::{Context, Failure, Queue, Task};
    ///
    /// #[derive(serde::Serialize, serde::Deserialize)]
    /// struct Add(u32, u32);
    /// impl Task for Add {
    ///     const NAME: &'static str = "add";
    ///     type Output = u32;
    /// }
    ///
    /// let add = |Add(a, b): Add, _: &Context| a.checked_add(b).ok_or_else(|| Failure::named("Overflow", "the sum is too large"));
    /// let queue = Queue::builder().handle(add).open_temporary()?;
    /// let id = queue.enqueue(&Add(1, 2))?.id();
    /// assert_eq!(queue.wait_result::<Add>(id, std::time::Duration::from_secs(60))?, 3);
    /// # Ok::<(), perdura::Error>(())
    /// ```
    pub fn handle<T, F>(mut self, handler: F) -> Builder
    where
        T: Task,
        F: Fn(T, &Context) -> Result<T::Output, Failure> + Send + Sync + 'static,
    {
        self.registry.add(handler);
        self
    }

    /// Runs tasks of type `T` on an engine outside this process: `spec` makes the job's spec from the task, and `finish` the task's output from the
    /// job that has ended. Each task type takes one of `handle` and `outside`; an engine may run several types. [`engine`](crate::engine) has an
    /// example.
    ///
    /// `spec` runs on a worker, and may return what a handler may: any [`Failure`], a snooze too. After it the task is `RUNNING` without a
    /// thread. `finish` runs on the thread that follows the engine's jobs, so it should be quick; it also gets jobs that have failed, and usually
    /// returns their failure ([`Ended::json`], [`Ended::text`], [`Ended::check`]). It may run again, after a crash before its output was durable.
    ///
    /// Such tasks stand in [queues of the engine](NamedEngine::queues) and in no others, and no others stand there: an enqueue that says otherwise is
    /// refused, and so is such a task when its turn comes. While the engine cannot be reached, these queues are closed, and no attempt is charged. A
    /// task's [timeout](crate::Options::timeout) and its [cancellation](crate::Queue::cancel) stop the job (the end of a condition that it
    /// [needs throughout](crate::Options::needs_throughout) does not); the task ends when the engine says that it
    /// has. [`drain`](crate::Queue::drain) waits for jobs; [`shutdown`](crate::Queue::shutdown) does not: the next process that has the engine
    /// follows them.
    pub fn outside<T, E, S, F>(self, engine: &NamedEngine<E>, spec: S, finish: F) -> Builder
    where
        T: Task,
        E: Engine,
        S: Fn(T, &Context) -> Result<E::Spec, Failure> + Send + Sync + 'static,
        F: Fn(T, &Ended) -> Result<T::Output, Failure> + Send + Sync + 'static,
    {
        self.outside_as(T::NAME, T::ALIASES, engine, spec, finish)
    }

    /// The same for tasks whose name is known only when the program runs.
    pub(crate) fn outside_as<T, E, S, F>(
        mut self,
        task_name: &'static str,
        aliases: &'static [&'static str],
        engine: &NamedEngine<E>,
        spec: S,
        finish: F,
    ) -> Builder
    where
        T: Task,
        E: Engine,
        S: Fn(T, &Context) -> Result<E::Spec, Failure> + Send + Sync + 'static,
        F: Fn(T, &Ended) -> Result<T::Output, Failure> + Send + Sync + 'static,
    {
        let spec = move |task: T, cx: &Context| {
            let spec = spec(task, cx)?;
            to_json("spec of the job", &spec, MAX_SPEC_BYTES).map_err(Failure::from_write)
        };
        let EngineSettings { name, queues, .. } = engine.settings.clone();
        self.registry.add_outside(OutsideHandler { task_name, aliases, engine: name, queues, spec, finish });
        for name in std::iter::once(&task_name).chain(aliases) {
            self.engines.attach(engine, name);
        }
        self
    }

    /// Reads args of an older [`Task::VERSION`] as those of the next: `from` is the older one. Each version before the newest needs a step; a gap is an
    /// error of `open`. The steps run in the worker, one after the other, before the args are decoded; what the file has stays as it is. A step
    /// that fails ends the attempt like a handler does.
    ///
    /// Numbers beyond 64 bits are floats in a [`serde_json::Value`].
    ///
    /// ```
    /// # use perdura::{Context, Failure, Queue, Task};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Resize { width: u32, height: u32 }
    /// # impl Task for Resize { const NAME: &'static str = "resize"; const VERSION: u32 = 2; type Output = (); }
    /// # let resize = |_: Resize, _: &Context| Ok::<(), Failure>(());
    /// // Version 1 had one size for both.
    /// let queue = Queue::builder()
    ///     .handle(resize)
    ///     .upgrade::<Resize>(1, |args| Ok(serde_json::json!({ "width": args["size"], "height": args["size"] })))
    ///     .open_temporary()?;
    /// # Ok::<(), perdura::Error>(())
    /// ```
    pub fn upgrade<T: Task>(
        mut self,
        from: u32,
        step: impl Fn(serde_json::Value) -> Result<serde_json::Value, Failure> + Send + Sync + 'static,
    ) -> Builder {
        self.registry.upgrade::<T>(from, step);
        self
    }

    /// Never retries failures that were made from an error of this type.
    ///
    /// It does the same as the type's name on [`retry_exception_denylist`](crate::Config::retry_exception_denylist), and the compiler checks the name.
    ///
    /// ```
    /// # use perdura::{Context, Failure, Queue, State, testing::{ManualClock, SteppedQueue}};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Parse(String);
    /// # impl perdura::Task for Parse { const NAME: &'static str = "parse"; type Output = u32; }
    /// let parse = |Parse(text): Parse, _: &Context| Ok::<u32, Failure>(text.parse()?);
    /// let builder = Queue::builder().handle(parse).deny::<std::num::ParseIntError>();
    /// # let tests = SteppedQueue::open(builder, &ManualClock::new())?;
    /// # let queue = tests.queue();
    /// let id = queue.enqueue(&Parse("seven".into()))?.id();
    /// # tests.run_until_idle()?;
    /// assert_eq!((queue.get(id)?.state, queue.get(id)?.attempt_number), (State::Failed, 1));
    /// # Ok::<(), perdura::Error>(())
    /// ```
    pub fn deny<E: std::error::Error>(mut self) -> Builder {
        self.denied.push(std::any::type_name::<E>());
        self
    }

    pub(super) fn denylist(&self) -> Result<Denylist, Error> {
        let mut denylist = Denylist::default();
        let named = self.config.retry_exception_denylist.iter().map(String::as_str);
        for entry in named.chain(self.denied.iter().copied()) {
            denylist.add(entry).map_err(|bad| {
                let message = format!("retry_exception_denylist: the entry {entry:?} {}", bad.0);
                Error::new(ErrorKind::InvalidConfig, message)
            })?;
        }
        Ok(denylist)
    }
}
