//! The verb `explain`.

use crate::TaskId;
use crate::console::text::safe;
use crate::console::{CliResult, Exit, Session};

/// Says why a task does not run now.
pub(super) fn explain(session: &mut Session, id: TaskId) -> CliResult {
    let queue = session.read_only_queue()?;
    let explanation =
        queue.explain(id).map_err(|e| session.explainer(&queue).unless_letter(&queue, id, e))?;
    let explainer = session.explainer(&queue);
    let text = explainer.explain(&explanation);
    if session.json {
        let worker = explainer.worker.runs();
        session
            .screen
            .json(&serde_json::json!({ "task_id": id, "explanation": text, "worker_runs": worker }))?;
    } else {
        session.screen.line(safe(&text))?;
    }
    Ok(Exit::Done)
}
