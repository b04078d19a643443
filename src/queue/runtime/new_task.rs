//! From a value and its options to a row that can be written: before the writer is taken.

use std::borrow::Cow;
use std::hash::{BuildHasher, RandomState};

use super::core::Core;
use crate::error::Error;
use crate::json::to_json;
use crate::sync::atomic::{AtomicI64, Ordering};
use crate::task::{NewTask, Options, Task};

impl Core {
    /// Checks and serialises a task.
    pub(crate) fn prepare<T: Task>(&self, task: &T, options: Options) -> Result<NewTask, Error> {
        self.prepare_as(T::NAME.into(), task, options)
    }

    /// The same for a task whose name is known only when the program runs.
    pub(crate) fn prepare_as<T: Task>(
        &self,
        name: Cow<'static, str>,
        task: &T,
        options: Options,
    ) -> Result<NewTask, Error> {
        let own = task.options();
        let options = self.place(&name, options, &own)?.resolve(&name, own, &self.config, || self.now())?;
        let args = to_json("args", task, self.config.max_args_bytes)
            .map_err(|e| e.context(&format!("task {name:?}")))?;
        let token = options.token.map_or_else(|| self.new_token(), |repeated| repeated.token);
        Ok(NewTask { task_name: name, version: T::VERSION, args, options, token, run: None })
    }

    /// Options of a task in the queue of its engine, if it runs on one.
    ///
    /// # Errors
    /// As [`Lanes::place`].
    pub(crate) fn place(&self, name: &str, options: Options, own: &Options) -> Result<Options, Error> {
        match self.lanes.get() {
            Some(lanes) => lanes.place(name, options, own),
            None => Ok(options),
        }
    }

    /// A number that no other enqueue has.
    pub(crate) fn new_token(&self) -> i64 {
        static COUNTER: AtomicI64 = AtomicI64::new(0);
        let count = COUNTER.fetch_add(1, Ordering::Relaxed);
        RandomState::new().hash_one((count, self.store.file_id())).cast_signed()
    }
}
