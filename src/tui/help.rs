//! The help: which keys there are, in as many lines as they need, and how many of those fit.

use super::app::App;
use crate::console::table::wrap;
use crate::console::words::compact_span;

const HELP: &[(&str, &str)] = &[
    ("1-6, Tab", "overview, tasks, failures, waiting, dead letters, schedules"),
    ("j k, arrows", "up and down; PgUp PgDn, Home End (g G) go further"),
    ("Enter, Esc", "open (a group: list it); back, also from a filter"),
    ("/", "filter: state:failed,lost queue: name: error: tag: id: text"),
    ("Space, A", "select one; select all on the page"),
    ("s", "tasks: newest, running, longest run or most attempts first"),
    ("f", "follow the output of a task; once more: all about it"),
    ("l", "failures: open the latest of the group"),
    ("mouse", "click a tab or a row, again to open it; Shift selects text"),
    ("", ""),
    (
        "",
        "Capitals change the file, after a question. They mean what is selected; else all that match the filter; else the row under the \
         cursor (failures: its whole group).",
    ),
    ("R", "retry what failed or was lost; replay dead letters"),
    ("N", "run now what waits for its time, or the schedule"),
    ("C, D", "cancel; delete (dead letters: by age)"),
    ("M", "move what failed or was lost to the dead letters"),
    ("P", "pause or resume the queue, or the schedule"),
];

/// The column of the keys.
pub(super) const KEY_COLUMN_WIDTH: u16 = 13;

/// The lines of the help, for an inside of so many columns.
pub(super) fn help_lines(app: &App, width: u16) -> Vec<(&'static str, String)> {
    let mut lines = Vec::new();
    for (keys, what) in HELP {
        let what = wrap(what, usize::from(width.saturating_sub(KEY_COLUMN_WIDTH)));
        lines.extend(std::iter::once(*keys).chain(std::iter::repeat("")).zip(what));
    }
    let summary = app.summary.as_ref().map(|summary| compact_span(summary.took)).unwrap_or_default();
    let (every, took) = (compact_span(app.every), compact_span(app.took));
    let cost = format!("Refreshed each {every}; that took {summary} for the counters, {took} for the list.");
    lines.extend(
        wrap(&cost, usize::from(width.saturating_sub(KEY_COLUMN_WIDTH))).into_iter().map(|line| ("", line)),
    );
    lines
}

/// How many lines of the help do not fit.
pub(super) fn help_end(app: &App) -> usize {
    let (width, height) = app.size;
    let inside = inside_of(width);
    help_lines(app, inside).len().saturating_sub(usize::from(height.saturating_sub(3)))
}

pub(super) fn box_width(screen: u16) -> u16 {
    screen.saturating_sub(4).min(76)
}

/// The columns inside a box: it has a border, and a blank beside it.
pub(super) fn inside_of(screen: u16) -> u16 {
    box_width(screen).saturating_sub(4)
}
