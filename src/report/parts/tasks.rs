//! Single tasks: the slowest, those that run, those that wait.

use std::time::Duration;

use maud::{Markup, html};

use super::failures::first_line;
use super::section::{nothing, section};
use super::task_label::{what_cell, what_heading};
use crate::console::inspect::queue::held as held_count;
use crate::console::inspect::task::held;
use crate::console::words::{count, number};
use crate::report::data::{MAX_ROWS, Part, ReportData, Section, TaskRow, ready_at};
use crate::report::table::{Kind, PageCell, col, table};
use crate::report::words::{lines, text};

pub(in crate::report) fn tasks(data: &ReportData) -> Markup {
    let note = html! { "At most " (MAX_ROWS) " of each kind" };
    let inside = html! {
        (list("Running", "the longest first", &data.running, "Nothing is running.", data, ("Runs for", ran)))
        (list("Oldest ready", &queued_note(data, data.total.ready), &data.queued.ready, "Nothing is ready.", data, ("Ready for", ready_for)))
        (list("Due next", &queued_note(data, data.total.waiting), &data.queued.waiting, "Nothing waits for its time.", data, ("Due in", due_in)))
        @if !data.queued.held.rows.is_empty() {
            (list("Held for another reason", &queued_note(data, held_count(&data.total)), &data.queued.held, "", data, ("Since", age)))
        }
        (list("Slowest", &slowest_note(data), &data.slowest.tasks, "No task ended in this time.", data, ("Ran for", ran)))
    };
    section(Section::Tasks, "Tasks", note, inside)
}

/// The length of time that a list is about, and the moment that it is counted from or to.
type Length = fn(&TaskRow, &ReportData) -> PageCell;

fn ran(shown: &TaskRow, _: &ReportData) -> PageCell {
    PageCell::length(shown.ran_ms.map(Duration::from_millis), shown.task.started_at)
}

fn ready_for(shown: &TaskRow, data: &ReportData) -> PageCell {
    let since = ready_at(&shown.task);
    PageCell::length(Some(data.made_at.since(since)), Some(since))
}

fn age(shown: &TaskRow, data: &ReportData) -> PageCell {
    let since = shown.task.created_at;
    PageCell::length(Some(data.made_at.since(since)), Some(since))
}

fn due_in(shown: &TaskRow, data: &ReportData) -> PageCell {
    PageCell::length(shown.task.run_at.map(|due| due.since(data.made_at)), shown.task.run_at)
}

fn queued_note(data: &ReportData, of: u64) -> String {
    let (looked, all) = (data.queued.looked_at, data.total.queued());
    let of = number(of);
    if looked >= all {
        format!("of {of}")
    } else {
        format!(
            "of {of}; looked at: the {} oldest and newest of {} queued tasks",
            number(looked),
            number(all)
        )
    }
}

fn slowest_note(data: &ReportData) -> String {
    let window = data.window();
    let looked = count(data.slowest.looked_at, "task");
    let which = if data.slowest.looked_at < data.total.all() { "the newest " } else { "" };
    format!("newest attempt of what succeeded or failed in the last {window}, among {which}{looked}")
}

/// A list of tasks, with a column of states if some of them have finished.
fn list(
    heading: &str,
    note: &str,
    part: &Part<TaskRow>,
    none: &str,
    data: &ReportData,
    (head, length): (&'static str, Length),
) -> Markup {
    let states = part.rows.iter().any(|shown| shown.task.state.is_finished());
    let what = what_heading(part.rows.iter().map(|shown| &shown.job));
    let mut columns = vec![col("Task", Kind::Number), col(what, Kind::Text), col("Queue", Kind::Text)];
    columns.extend(states.then(|| col("State", Kind::Text)));
    columns.extend([col(head, Kind::Number), col("Attempt", Kind::Number), col("What is known", Kind::Text)]);
    let row = |shown: &TaskRow| {
        let task = &shown.task;
        let state = html! { span class={ "state " (task.state.as_str().to_lowercase()) } { (task.state) } };
        let mut cells = vec![
            PageCell::by(html! { (task.task_id) }, task.task_id),
            what_cell(&task.task_name, &shown.job),
            PageCell::text(&task.queue),
        ];
        cells.extend(states.then(|| PageCell::new(state)));
        cells.extend([
            length(shown, data),
            PageCell::by(html! { (task.attempt_number) " of " (task.max_attempts) }, task.attempt_number),
            PageCell::new(known(shown)),
        ]);
        cells
    };
    html! {
        h3 { (heading) " " span.aside { (note) @if part.more && !part.rows.is_empty() { "; there are more" } } }
        @if part.rows.is_empty() && part.more { (nothing("None is among those that were looked at.")) }
        @else if part.rows.is_empty() { (nothing(none)) }
        @else { (table(heading, &columns, part.rows.iter().map(row).collect())) }
    }
}

/// Other notable facts.
fn known(shown: &TaskRow) -> Markup {
    let task = &shown.task;
    html! {
        @if let Some(progress) = task.progress { span.fact { (number(progress.done)) " of " (number(progress.total)) } }
        @if let Some(hold) = held(task) { span.fact { (hold) } }
        @if task.priority != 0 { span.fact { "priority " (task.priority) } }
        @if task.cancel_requested { span.fact { "to be cancelled" } }
        @if task.late { span.fact { "late" } }
        @if task.snoozes > 0 { span.fact { "snoozed " (task.snoozes) " ×" } }
        @if let Some(tag) = &task.tag { span.fact { "tag " (text(tag)) } }
        @if let Some(error) = &task.error_type {
            span.fact { b { (text(error)) } " " (text(&first_line(task.error_message.as_deref().unwrap_or_default()))) }
        }
        @if let Some(args) = &shown.args { details { summary { "Args" } pre { (lines(args)) } } }
    }
}
