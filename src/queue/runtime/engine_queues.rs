//! Engines outside, and the queues in which their tasks stand: no other tasks stand there.

use std::collections::HashMap;

use crate::error::Error;
use crate::store::EngineLanes;
use crate::task::{DEFAULT_QUEUE, Options};

/// The engines of a queue, and the queues in which their tasks stand.
#[derive(Default)]
pub(crate) struct Lanes {
    pub engines: Vec<EngineLanes>,
    /// Which of them runs tasks of a name.
    pub of_tasks: HashMap<&'static str, usize>,
}

impl Lanes {
    /// The options of a task; with the first queue of its engine, if it runs on one and names no queue.
    ///
    /// # Errors
    /// `InvalidInput`: it stands in a queue where it may not.
    pub(crate) fn place(&self, name: &str, options: Options, own: &Options) -> Result<Options, Error> {
        let has = |lane: &EngineLanes, queue: &str| lane.queues.iter().any(|own| own == queue);
        let queue = options.queue.as_deref().or(own.queue.as_deref());
        let lane = self.of_tasks.get(name).and_then(|at| self.engines.get(*at));
        let problem = match (lane, queue) {
            (Some(lane), None) => {
                let first = lane.queues.first().cloned().unwrap_or_default(); // each has one
                return Ok(options.queue(first));
            }
            (Some(lane), Some(queue)) if has(lane, queue) => return Ok(options),
            (Some(EngineLanes { engine, queues, .. }), Some(_)) => format!(
                "is none of the engine {engine:?}, on which tasks of the name {name:?} run; it takes one of {queues:?}"
            ),
            (None, queue) => {
                let queue = queue.unwrap_or(DEFAULT_QUEUE);
                let Some(lane) = self.engines.iter().find(|lane| has(lane, queue)) else {
                    return Ok(options);
                };
                let engine = &lane.engine;
                format!(
                    "is one of the engine {engine:?}, and tasks of the name {name:?} do not run there; choose another"
                )
            }
        };
        Err(Error::invalid_value("queue", queue.unwrap_or(DEFAULT_QUEUE), &problem))
    }
}
