//! The engines of a queue, and who follows their jobs.

use std::collections::HashMap;
use std::sync::Arc;

use super::attached_engine::Attached;
use super::poller::Poller;
use crate::engine::{AnyEngine, Engine, EngineSettings, NamedEngine};
use crate::error::{Error, ErrorKind};
use crate::handler::Registry;
use crate::queue::runtime::core::Core;
use crate::queue::runtime::engine_queues::Lanes;
use crate::store::EngineLanes;

/// The engines of a queue.
#[derive(Default)]
pub(crate) struct Engines {
    attached: Vec<Arc<Attached>>,
    /// Two different engines have this name, or one has two different settings.
    twice: Option<String>,
    /// The engine of each task name.
    of_tasks: HashMap<&'static str, usize>,
}

impl Engines {
    /// Adds the engine of a task name.
    pub(crate) fn attach<E: Engine>(&mut self, named: &NamedEngine<E>, task_name: &'static str) {
        let engine: Arc<dyn AnyEngine> = named.engine.clone();
        let known = self.attached.iter().position(|known| known.settings.name == named.settings.name);
        let at = known.unwrap_or_else(|| {
            let settings = named.settings.clone();
            self.attached.push(Arc::new(Attached { settings, engine: engine.clone() }));
            self.attached.len() - 1
        });
        let is_same = Arc::ptr_eq(&self.attached[at].engine, &engine);
        if !is_same || self.attached[at].settings != named.settings {
            self.twice = Some(named.settings.name.clone());
        }
        self.of_tasks.insert(task_name, at);
    }

    /// # Errors
    /// `InvalidConfig`, naming the engine and what is wrong.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let wrong = |message: String| Err(Error::new(ErrorKind::InvalidConfig, message));
        if let Some(name) = &self.twice {
            return wrong(format!(
                "engine {name:?}: two engines have this name; give one of them another, or pass the same NamedEngine for all its tasks"
            ));
        }
        let mut owners = HashMap::new();
        for attached in &self.attached {
            attached.settings.check()?;
            let name = &attached.settings.name;
            for queue in &attached.settings.queues {
                if let Some(other) = owners.insert(queue, name).filter(|other| *other != name) {
                    return wrong(format!(
                        "engine {name:?}: its queue {queue:?} is one of the engine {other:?} as well; give it one of its own"
                    ));
                }
            }
        }
        Ok(())
    }

    /// The queues in which their tasks stand.
    pub(crate) fn lanes(&self) -> Lanes {
        let lanes = |attached: &Arc<Attached>| {
            let EngineSettings { name, queues, limit, .. } = &attached.settings;
            EngineLanes { engine: name.clone(), queues: queues.clone(), limit: *limit }
        };
        Lanes { engines: self.attached.iter().map(lanes).collect(), of_tasks: self.of_tasks.clone() }
    }

    /// The pollers that follow their jobs.
    pub(crate) fn pollers(&self, core: &Arc<Core>, registry: &Arc<Registry>) -> Vec<Poller> {
        let poller = |attached: &Arc<Attached>| Poller::new(core.clone(), registry.clone(), attached.clone());
        self.attached.iter().map(poller).collect()
    }
}
