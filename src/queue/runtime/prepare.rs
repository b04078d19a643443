//! From a value and its options to a row that can be written: before the writer is taken.

use std::hash::{BuildHasher, RandomState};

use super::core::Core;
use crate::error::Error;
use crate::json::to_json;
use crate::store::EngineLanes;
use crate::sync::atomic::{AtomicI64, Ordering};
use crate::task::{DEFAULT_QUEUE, NewTask, Options, Task};

impl Core {
    /// Checks and serialises a task.
    pub(crate) fn prepare<T: Task>(&self, task: &T, options: Options) -> Result<NewTask, Error> {
        let own = task.options();
        let options =
            self.in_its_lane(T::NAME, options, &own)?.resolve(T::NAME, own, &self.config, self.now())?;
        let name = T::NAME;
        let args = to_json("args", task, self.config.max_args_bytes)
            .map_err(|e| e.context(&format!("task {name:?}")))?;
        let token = options.token.map_or_else(|| self.new_token(), |repeated| repeated.token);
        Ok(NewTask { task_name: name.into(), version: T::VERSION, args, options, token, run: None })
    }

    /// Options of a task that has no queue of its own and runs on an engine get that of the engine.
    ///
    /// # Errors
    /// `InvalidInput`: it stands in a queue where it may not.
    fn in_its_lane(&self, name: &str, options: Options, own: &Options) -> Result<Options, Error> {
        let Some(lanes) = self.lanes.get().filter(|lanes| !lanes.engines.is_empty()) else {
            return Ok(options);
        };
        let has = |lane: &EngineLanes, queue: &str| lane.queues.iter().any(|own| own == queue);
        let queue = options.queue.as_deref().or(own.queue.as_deref());
        let (queue, problem) = match (lanes.of_tasks.get(name).map(|at| &lanes.engines[*at]), queue) {
            (Some(lane), None) => return Ok(options.queue(lane.queues[0].clone())),
            (Some(lane), Some(queue)) if !has(lane, queue) => {
                let EngineLanes { engine, queues, .. } = lane;
                (
                    queue,
                    format!(
                        "is none of the engine {engine:?}, on which tasks of the name {name:?} run; it takes one of {queues:?}"
                    ),
                )
            }
            (Some(_), Some(_)) => return Ok(options),
            (None, queue) => {
                let queue = queue.unwrap_or(DEFAULT_QUEUE);
                let Some(lane) = lanes.engines.iter().find(|lane| has(lane, queue)) else {
                    return Ok(options);
                };
                let engine = &lane.engine;
                (
                    queue,
                    format!(
                        "is one of the engine {engine:?}, and tasks of the name {name:?} do not run there; choose another"
                    ),
                )
            }
        };
        Err(Error::invalid_value("queue", queue, &problem))
    }

    /// A number that no other enqueue has.
    pub(crate) fn new_token(&self) -> i64 {
        static COUNTER: AtomicI64 = AtomicI64::new(0);
        let count = COUNTER.fetch_add(1, Ordering::Relaxed);
        RandomState::new().hash_one((count, self.store.file_id())).cast_signed()
    }
}
