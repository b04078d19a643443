//! Whether a process executes the tasks, and when it began.

use maud::{Markup, html};

use crate::console::words::{count, distance};
use crate::report::data::{ReportData, WorkerFacts};
use crate::report::words::local;

pub(in crate::report) fn worker(data: &ReportData) -> Markup {
    let WorkerFacts { runs, process, since } = data.worker;
    html! {
        @match (runs, process) {
            (Some(true), Some(process)) => { "Process " (process) " runs the tasks" }
            (Some(true), None) => { "A process runs the tasks; it cannot be seen from here" }
            (Some(false), _) => { "No worker runs" }
            (None, _) => { "Whether a worker runs cannot be known from here" }
        }
        @if let Some(since) = since { ". It began " (distance(since, data.made_at)) " (" (local(since)) ")" }
        @if runs == Some(true) { "; " (count(data.total.running, "task")) " running" }
        "."
    }
}
