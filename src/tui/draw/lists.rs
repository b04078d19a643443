//! The lists: tasks, failures, what waits, dead letters.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::table::{ListCell, ListColumn, ListTable, cell, left, rest, right};
use crate::console::inspect::task::{held, is_job_name};
use crate::console::text::safe;
use crate::console::words::{compact_number, compact_span, count, number};
use crate::inspect::FailureGroup;
use crate::tui::app::{App, Tab};
use crate::tui::ink::Ink;
use crate::tui::list::{List, Row};
use crate::tui::requests::Listed;
use crate::tui::sort::MAX_SORTED_TASKS;
use crate::{DeadLetter, Hold, State, TaskRecord, Timestamp};

pub(super) fn draw(app: &App, ink: Ink, area: Rect, buf: &mut Buffer) {
    let title = Rect { height: 1, ..area };
    let body = Rect { y: area.y + 1, height: area.height - 1, ..area };
    let wide = usize::from(area.width);
    match app.tab {
        Tab::Overview | Tab::Schedules => {}
        Tab::Tasks => {
            head(app, &app.tasks, count_of(app), ink, title, buf);
            show(&app.tasks, task_columns(wide, "AGE"), |task| task_row(task, app, ink), ink, body, buf);
        }
        Tab::Waiting => {
            let order = if app.soonest_first { "the soonest first" } else { "by id, the newest first" };
            head(app, &app.waiting, Some(order.to_owned()), ink, title, buf);
            show(
                &app.waiting,
                task_columns(wide, "DUE IN"),
                |task| waiting_row(task, app.now, ink),
                ink,
                body,
                buf,
            );
        }
        Tab::Failures => {
            let of = match app.grouped {
                (n, true) => format!("the newest {} of them", count(n, "failure")),
                (n, false) => count(n, "failure"),
            };
            head(app, &app.failures, Some(of), ink, title, buf);
            let is_of_jobs = app.failures.one_name().is_some_and(is_job_name);
            let columns = vec![
                left("", 1),
                right("COUNT"),
                left(if is_of_jobs { "PROGRAM" } else { "NAME" }, wide / 5),
                left("ERROR", wide / 4),
                right("NEWEST"),
                rest("MESSAGE"),
            ];
            show(&app.failures, columns, |group| group_row(group, app.now, ink), ink, body, buf);
        }
        Tab::Letters => {
            head(app, &app.letters, None, ink, title, buf);
            let columns = vec![
                left("", 1),
                right("ID"),
                left("STATE", 6),
                left("NAME", wide / 5),
                left("QUEUE", wide / 8),
                right("MOVED"),
                left("REPLAYED", 12),
                rest("WHAT"),
            ];
            show(&app.letters, columns, |letter| letter_row(letter, app.now, ink), ink, body, buf);
        }
    }
}

/// The order of the tasks, and of how many where that is not all.
fn order(app: &App) -> String {
    let title = app.sort.title();
    if app.sort.is_bounded() && app.tasks.rows.len() >= MAX_SORTED_TASKS {
        return format!("{title}, of the newest {MAX_SORTED_TASKS} and what runs");
    }
    title.to_owned()
}

/// How many tasks match the filter, if the counters know.
fn count_of(app: &App) -> Option<String> {
    let query = &app.tasks.query;
    if *query != query.counted() {
        return None;
    }
    let counts = &app.summary.as_ref()?.counts;
    let queues =
        counts.queues.iter().filter(|(name, _)| query.queue.as_ref().is_none_or(|queue| queue == *name));
    let states = if query.states.is_empty() { &State::ALL[..] } else { &query.states };
    let in_states = queues.map(|(_, counts)| states.iter().map(|state| counts.in_state(*state)).sum::<u64>());
    Some(count(in_states.sum(), "task"))
}

/// What the list shows: the filter, how many, what is selected.
fn head<R: Row>(app: &App, list: &List<R>, of: Option<String>, ink: Ink, area: Rect, buf: &mut Buffer) {
    let mut spans = vec![Span::styled(format!(" {}", app.tab.title()), ink.bold())];
    spans.extend(of.map(|of| Span::raw(format!("  {of}"))));
    let is_said = app.tab == Tab::Failures && list.one_name().is_some_and(is_job_name);
    if let Some(name) = list.one_name().filter(|_| !is_said && list.query.name.is_none()) {
        spans.push(Span::raw(if is_job_name(name) {
            "  all jobs".to_owned()
        } else {
            format!("  all {}", safe(name))
        }));
    }
    if !list.query.is_all() {
        spans.push(Span::raw("  filter "));
        spans.push(Span::styled(safe(&list.query.to_string()).into_owned(), ink.key()));
    }
    if !list.selected.is_empty() {
        let n = number(list.selected.len() as u64);
        spans.push(Span::styled(format!("  {n} selected"), ink.warn()));
    }
    let ends = list.rows.first().zip(list.rows.last()).filter(|_| !list.is_whole);
    let shown = ends.map(|(first, last)| {
        let end = if list.is_last { ", the oldest" } else { "" };
        format!(" {} to {}{end} ", first.id(), last.id())
    });
    let shown = shown.unwrap_or_default();
    let order = Span::styled(format!("  {}", order(app)), ink.dim());
    let used: usize = spans.iter().map(Span::width).sum();
    let is_sorted = app.tab == Tab::Tasks && (app.sort.is_bounded() || list.query.is_all());
    if is_sorted && used + order.width() + shown.len() <= usize::from(area.width) {
        spans.push(order);
    }
    buf.set_line(area.x, area.y, &Line::from(spans), area.width);
    let x = area.right().saturating_sub(shown.len() as u16);
    buf.set_stringn(x, area.y, shown, usize::from(area.width), ink.dim());
}

/// The rows that are seen.
fn show<R: Row>(
    list: &List<R>,
    columns: Vec<ListColumn>,
    mut row: impl FnMut(&R) -> Vec<ListCell>,
    ink: Ink,
    area: Rect,
    buf: &mut Buffer,
) {
    let room = usize::from(area.height).saturating_sub(1);
    let rows = list.rows.iter().skip(list.offset).take(room).map(|r| {
        let mark = if list.selected.contains(&r.id()) { "*" } else { " " };
        let mut cells = row(r);
        cells.insert(0, cell(mark, ink.warn()));
        cells
    });
    let mut table =
        ListTable { columns, rows: rows.collect(), cursor: Some(list.cursor.saturating_sub(list.offset)) };
    if list.one_name().is_some() {
        table.leave_out_titled("NAME"); // it is the same in each row, and the title says it
    }
    table.draw(area, ink, buf);
    if list.rows.is_empty() {
        let y = area.y + 2;
        let text = if list.is_known { "Nothing here." } else { "Looking…" };
        buf.set_stringn(area.x + 3, y, text, usize::from(area.width), ink.dim());
    }
}

fn task_columns(wide: usize, time: &'static str) -> Vec<ListColumn> {
    vec![
        left("", 1),
        right("ID"),
        left("STATE", 9),
        left("NAME", wide / 5),
        left("QUEUE", wide / 8),
        right("TRY"),
        right(time),
        rest("WHAT"),
    ]
}

fn tries(task: &TaskRecord) -> String {
    format!("{}/{}", task.attempt_number, task.max_attempts)
}

fn task_row(task: &Listed<TaskRecord>, app: &App, ink: Ink) -> Vec<ListCell> {
    let since = match task.state {
        State::Queued => task.created_at,
        State::Running => task.started_at.unwrap_or(task.created_at),
        _ => task.finished_at.unwrap_or(task.created_at),
    };
    let mut cells = cells(task, compact_span(app.now.since(since)), ink);
    let is_paused = |name| app.queues().any(|(queue, counts)| queue == name && counts.paused);
    if task.hold == Some(Hold::Ready) && is_paused(&task.queue) {
        cells.pop();
        cells.push(cell(after(task.command.as_ref(), "its queue is paused".to_owned()), ink.warn()));
    }
    cells
}

fn waiting_row(task: &Listed<TaskRecord>, now: Timestamp, ink: Ink) -> Vec<ListCell> {
    let due = match task.run_at {
        Some(due) if due > now => compact_span(due.since(now)),
        Some(due) => format!("late {}", compact_span(now.since(due))),
        None => String::new(),
    };
    cells(task, due, ink)
}

fn cells(task: &Listed<TaskRecord>, time: String, ink: Ink) -> Vec<ListCell> {
    let (what, style) = what(task, ink);
    vec![
        cell(task.task_id.to_string(), ink.plain()),
        cell(task.state.as_str(), ink.state(task.state)),
        cell(&task.task_name, ink.plain()),
        cell(&task.queue, ink.plain()),
        cell(tries(task), ink.plain()),
        cell(time, ink.plain()),
        cell(after(task.command.as_ref(), what), style),
    ]
}

/// What there is to say, behind the command line of a job.
pub(super) fn after(command: Option<&String>, what: String) -> String {
    match command {
        Some(command) if what.is_empty() => command.clone(),
        Some(command) => format!("{command} · {what}"),
        None => what,
    }
}

/// The most telling thing about a task.
pub(super) fn what(task: &TaskRecord, ink: Ink) -> (String, Style) {
    if task.cancel_requested && task.state == State::Running {
        return ("is to stop".to_owned(), ink.warn());
    }
    if let (State::Running, Some(progress)) = (task.state, task.progress) {
        let percent = (u128::from(progress.done) * 100).checked_div(u128::from(progress.total)).unwrap_or(0);
        return (
            format!("{percent}% {}/{}", compact_number(progress.done), compact_number(progress.total)),
            ink.plain(),
        );
    }
    if let Some(held) = held(task) {
        return (held.to_owned(), ink.warn());
    }
    if let Some(error_type) = &task.error_type {
        let style = if matches!(task.state, State::Failed | State::Lost) { ink.bad() } else { ink.plain() };
        return (error(error_type, task.error_message.as_deref()), style);
    }
    (task.tag.as_ref().map(|tag| format!("tag {tag}")).unwrap_or_default(), ink.dim())
}

/// An error in a line: the type's own name, and what it said.
fn error(error_type: &str, message: Option<&str>) -> String {
    format!("{}: {}", last_segment(error_type), first_line(message.unwrap_or_default()))
}

fn last_segment(error_type: &str) -> &str {
    // The generics of a type have paths of their own.
    let plain = error_type.split('<').next().unwrap_or(error_type);
    match plain.rfind("::").map_or(0, |at| at + 2) {
        from if &plain[from..] != "Error" => &error_type[from..],
        _ => error_type, // that alone says nothing
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

fn group_row(group: &Listed<FailureGroup>, now: Timestamp, ink: Ink) -> Vec<ListCell> {
    let newest = group.newest_at.map(|at| compact_span(now.since(at))).unwrap_or_default();
    vec![
        cell(number(group.count), ink.bold()),
        cell(group.command.as_ref().unwrap_or(&group.task_name), ink.plain()),
        cell(last_segment(&group.error_type), ink.bad()),
        cell(newest, ink.plain()),
        cell(first_line(&group.message), ink.plain()),
    ]
}

fn letter_row(letter: &Listed<DeadLetter>, now: Timestamp, ink: Ink) -> Vec<ListCell> {
    let replayed = letter.replayed_as.map(|id| format!("as {id}")).unwrap_or_default();
    let error_type = letter.error_type.as_deref().unwrap_or_default();
    vec![
        cell(letter.task_id.to_string(), ink.plain()),
        cell(letter.state.as_str(), ink.state(letter.state)),
        cell(&letter.task_name, ink.plain()),
        cell(&letter.queue, ink.plain()),
        cell(compact_span(now.since(letter.moved_at)), ink.plain()),
        cell(replayed, ink.plain()),
        cell(after(letter.command.as_ref(), error(error_type, letter.error_message.as_deref())), ink.plain()),
    ]
}
