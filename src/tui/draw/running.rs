//! What runs now, on the overview.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::lists::{after, what};
use super::table::{ListCell, ListTable, cell, left, more, rest, right};
use crate::console::inspect::task::ran;
use crate::console::words::compact_span;
use crate::tui::app::App;
use crate::tui::ink::Ink;
use crate::tui::running_now::{Estimate, RunningTask, estimate};

/// From this width on the queue is shown, too.
const MIN_QUEUE_WIDTH: u16 = 100;

pub(super) fn draw(app: &App, ink: Ink, area: Rect, buf: &mut Buffer) {
    if area.is_empty() {
        return;
    }
    let running = &app.overview.running;
    let room = usize::from(area.height).saturating_sub(1);
    let rows = running.iter().zip(app.overview.usual()).take(room);
    let columns =
        vec![right(" RUNNING"), right("FOR"), left("ESTIMATE", 16), left("QUEUE", 16), rest("WHAT")];
    let mut table = ListTable {
        columns,
        rows: rows.map(|(task, usual)| row(task, usual, app, ink)).collect(),
        cursor: None,
    };
    if area.width < MIN_QUEUE_WIDTH {
        table.leave_out(3..4);
    }
    let all = app.summary.as_ref().map_or(0, |summary| summary.counts.total().running);
    more(&mut table, usize::try_from(all).unwrap_or(usize::MAX).max(running.len()), ink);
    table.draw(area, ink, buf);
}

fn row(
    RunningTask { task, job }: &RunningTask,
    usual: Option<std::time::Duration>,
    app: &App,
    ink: Ink,
) -> Vec<ListCell> {
    let elapsed = ran(task, app.now).unwrap_or_default();
    let (estimate, style) = match usual.map(|usual| estimate(usual, elapsed)) {
        Some(Estimate::Left(left)) => (format!("~{} left", compact_span(left)), ink.plain()),
        Some(Estimate::Over(usual)) => (format!("over ~{}", compact_span(usual)), ink.warn()),
        None => (String::new(), ink.plain()),
    };
    let (what, what_style) = what(task, ink);
    let name = job.as_ref().map_or(&task.task_name, |job| &job.command);
    vec![
        cell(task.task_id.to_string(), ink.plain()),
        cell(compact_span(elapsed), ink.bold()),
        cell(estimate, style),
        cell(&task.queue, ink.plain()),
        cell(after(Some(name), what), what_style),
    ]
}
