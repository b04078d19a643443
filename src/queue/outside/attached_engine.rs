//! An engine of a queue, and how it is used.

use std::sync::Arc;
use std::time::Duration;

use crate::engine::{AnyEngine, EngineError, EngineSettings};
use crate::logging::survive;

/// An engine of a queue, and how it is used.
pub(crate) struct Attached {
    pub settings: EngineSettings,
    pub engine: Arc<dyn AnyEngine>,
}

impl Attached {
    pub(super) fn name(&self) -> &str {
        &self.settings.name
    }

    /// How long it knows jobs that have ended; zero if it panics.
    pub(super) fn remembers(&self) -> Duration {
        self.call(|engine| Ok(engine.remembers())).unwrap_or_default()
    }

    /// Calls the engine. One that panics has not answered.
    pub(super) fn call<R>(
        &self,
        call: impl FnOnce(&dyn AnyEngine) -> Result<R, EngineError>,
    ) -> Result<R, EngineError> {
        let answer = survive("an engine", || call(&*self.engine));
        answer.unwrap_or_else(|| Err(EngineError::unreachable("it panicked")))
    }
}
