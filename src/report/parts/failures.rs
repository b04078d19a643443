//! Failures in groups, and dead letters.

use maud::{Markup, html};

use super::section::{nothing, section};
use super::task_label::{what_cell, what_heading};
use crate::console::words::{count, number};
use crate::report::data::{Group, LetterRow, ReportData, Section, TaskRow};
use crate::report::table::{Kind, PageCell, col, table};
use crate::report::words::{lines, local, text};

pub(in crate::report) fn failures(data: &ReportData) -> Markup {
    let groups = &data.failures.groups.rows;
    let note = html! {
        @if data.failures.more { "The newest " (count(data.failures.looked_at, "failed or lost task")) }
        @else { (count(data.failures.looked_at, "failed or lost task")) }
        " by what went wrong; # stands for numbers and ids"
        @if data.failures.groups.more { "; the " (groups.len()) " largest groups" }
    };
    let inside = html! {
        @if groups.is_empty() { (nothing("No task is failed or lost.")) }
        @else { (groups_table("Failures", groups, "Newest", |group| PageCell::time(group.group.newest_at))) }
        (retrying(data))
    };
    section(Section::Failures, "Failures", note, inside)
}

/// Tasks that have failed and will be tried again; empty if there are none.
fn retrying(data: &ReportData) -> Markup {
    let failures = &data.failures;
    let groups = &failures.retrying.rows;
    let due = |group: &Group| PageCell::time(group.example.as_ref().and_then(|example| example.task.run_at));
    html! {
        @if !groups.is_empty() {
            h3 {
                "Failed, will be tried again " span.aside {
                    (count(failures.retrying_tasks, "task"))
                    @if failures.retrying.more { "; the " (groups.len()) " largest groups" }
                    @if failures.more_queued { "; of the newest queued tasks, and there are more" }
                }
            }
            (groups_table("Failed, will be tried again", groups, "Newest due", due))
        }
    }
}

fn groups_table(
    label: &str,
    groups: &[Group],
    when: &'static str,
    time: impl Fn(&Group) -> PageCell,
) -> Markup {
    let are_jobs = groups.iter().all(|group| !group.programs.is_empty());
    let columns = [
        col("Count", Kind::Number),
        col(if are_jobs { "Program" } else { "Task name" }, Kind::Text),
        col("Error", Kind::Text),
        col(when, Kind::Number),
    ];
    let rows = groups.iter().map(|group| row(group, time(group))).collect();
    html! { div.cards.wide-3 { (table(label, &columns, rows)) } }
}

fn row(found: &Group, time: PageCell) -> Vec<PageCell> {
    let Group { group, example, programs, .. } = found;
    let error = html! {
        div.error-type { (text(if group.error_type.is_empty() { "no error is kept" } else { &group.error_type })) }
        div.message { (lines(&group.message)) }
        @if let Some(command) = &found.command { div.deed { code { (text(command)) } } }
        @if let Some(example) = example { (newest(example, found.stderr.as_deref())) }
    };
    vec![
        PageCell::by(html! { b { (number(group.count)) } }, group.count),
        if programs.is_empty() {
            PageCell::text(&group.task_name)
        } else {
            PageCell::text(&programs.join(", "))
        },
        PageCell::by(error, format!("{} {}", group.error_type, group.message)),
        time,
    ]
}

/// The whole error of the newest task of a group.
fn newest(TaskRow { task, args, job, .. }: &TaskRow, stderr: Option<&str>) -> Markup {
    html! {
        details {
            summary { "Task " (task.task_id) ", attempt " (task.attempt_number) " of " (task.max_attempts) ", queue " (text(&task.queue)) }
            @if let Some(command) = &job.command { p { "Command" } pre { (lines(command)) } }
            @if let Some(due) = task.run_at { p { "It is tried again at " (local(due)) } }
            @if let Some(tag) = &task.tag { p { "Tag " (text(tag)) } }
            (whole_error(task.error_message.as_deref(), task.error_traceback.as_deref()))
            @if let Some(stderr) = stderr { p { "The end of its standard error" } pre { (lines(stderr)) } }
            @if let Some(args) = args { p { "Args" } pre { (lines(args)) } }
        }
    }
}

fn whole_error(message: Option<&str>, traceback: Option<&str>) -> Markup {
    html! {
        @if let Some(message) = message { pre { (lines(message)) } }
        @if let Some(traceback) = traceback.filter(|traceback| !traceback.is_empty()) { pre.traceback { (lines(traceback)) } }
    }
}

pub(in crate::report) fn letters(data: &ReportData) -> Markup {
    let letters = &data.dead_letters;
    let note = html! {
        "Failed and lost tasks that were moved out of the way"
        @if letters.more { "; the newest " (letters.rows.len()) } @else { "; " (letters.rows.len()) " in all" }
    };
    let columns = [
        col("Task", Kind::Number),
        col(what_heading(letters.rows.iter().map(|letter| &letter.job)), Kind::Text),
        col("Queue", Kind::Text),
        col("Error", Kind::Text),
        col("Attempts", Kind::Number),
        col("Moved", Kind::Number),
        col("Replayed as", Kind::Number),
    ];
    let inside = html! {
        @if letters.rows.is_empty() { (nothing("There are no dead letters.")) }
        @else { div.cards.wide-4 { (table("Dead letters", &columns, letters.rows.iter().map(letter).collect())) } }
    };
    section(Section::Letters, "Dead letters", note, inside)
}

fn letter(LetterRow { letter, job }: &LetterRow) -> Vec<PageCell> {
    let message = letter.error_message.as_deref().unwrap_or_default();
    let error_type = letter.error_type.as_deref().unwrap_or("no error is kept");
    let error = html! {
        div.error-type { (text(error_type)) }
        details.inline {
            summary { (text(&first_line(message))) }
            (whole_error(Some(message), letter.error_traceback.as_deref()))
        }
    };
    let id = letter.task_id;
    vec![
        PageCell::by(html! { (id) }, id),
        what_cell(&letter.task_name, job),
        PageCell::text(&letter.queue),
        PageCell::by(error, format!("{error_type} {message}")),
        PageCell::by(html! { (letter.attempt_number) " of " (letter.max_attempts) }, letter.attempt_number),
        PageCell::time(Some(letter.moved_at)),
        match letter.replayed_as {
            Some(new) => PageCell::by(html! { (new) }, new),
            None => PageCell::none(),
        },
    ]
}

/// What a list shows of a message, in characters.
const MAX_LINE_CHARS: usize = 160;

/// The first line of a message, cut.
pub(super) fn first_line(message: &str) -> String {
    let line = message.lines().next().unwrap_or_default();
    match line.char_indices().nth(MAX_LINE_CHARS) {
        Some((cut, _)) => format!("{}…", &line[..cut]),
        None => line.to_owned(),
    }
}
