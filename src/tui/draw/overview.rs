//! The overview screen: states, rates, queues, task names.

use std::time::Duration;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::chart;
use super::table::{Cell, Table, cell, left, right};
use crate::State;
use crate::console::inspect::queue::{bounds, by_key, held, note};
use crate::console::text::safe;
use crate::console::words::{compact_number, compact_span, distance, number};
use crate::tui::app::App;
use crate::tui::ink::Ink;
use crate::tui::rates::{Throughput, rates};
use crate::tui::requests::Summary;

/// Those that wait for a condition are counted up to here.
const MAX_COUNTED: u64 = 10_000;

/// From this width on queues and names stand side by side.
const MIN_SIDE_BY_SIDE_WIDTH: u16 = 126;

/// Which states are left out first where there is no room for all; before them, those in which no task is.
const LEAVE_OUT_ORDER: [State; 6] =
    [State::Cancelled, State::Succeeded, State::Lost, State::Running, State::Queued, State::Failed];

/// From this width on the durations of the last minutes are shown, too.
const MIN_RECENT_WIDTH: u16 = 72;

/// A ready task that waits longer than this is told apart: something does not keep up.
const LATE_AFTER: Duration = Duration::from_secs(60);

pub(super) fn draw(app: &App, ink: Ink, area: Rect, buf: &mut Buffer) {
    let Some(summary) = &app.summary else { return };
    states(summary, ink, Rect { height: 1, ..area }, buf);
    queued(app, summary, ink, Rect { y: area.y + 1, height: 1, ..area }, buf);
    let rows = area.height - 2;
    let chart = (rows / 3 + 1).clamp(4, 14);
    chart::draw(&app.rollups, app.now, ink, Rect { y: area.y + 2, height: chart, ..area }, buf);
    let below = Rect { y: area.y + 2 + chart, height: rows - chart, ..area };
    if area.width >= MIN_SIDE_BY_SIDE_WIDTH {
        let half = area.width * 2 / 5;
        queues(app, summary, ink, Rect { width: half, ..below }, buf);
        names(app, ink, Rect { x: below.x + half + 2, width: below.width - half - 2, ..below }, buf);
    } else {
        let named = (below.height / 2).max(2);
        queues(app, summary, ink, Rect { height: below.height - named, ..below }, buf);
        names(app, ink, Rect { y: below.bottom() - named, height: named, ..below }, buf);
    }
}

fn states(summary: &Summary, ink: Ink, area: Rect, buf: &mut Buffer) {
    let total = summary.counts.total();
    let line = |states: &[State], show: fn(u64) -> String| {
        let spans = states.iter().flat_map(|state| {
            let n = total.in_state(*state);
            let style = if n > 0 { ink.state(*state) } else { ink.dim() };
            [Span::styled(format!(" {state} "), style), Span::styled(format!("{}  ", show(n)), ink.bold())]
        });
        Line::from(spans.collect::<Vec<_>>())
    };
    let fits = |line: &Line<'_>| line.width() <= usize::from(area.width) + 2; // it ends in a gap
    let full = line(&State::ALL, number);
    let mut states = State::ALL.to_vec();
    let mut shown = if fits(&full) { full } else { line(&states, compact_number) };
    while !fits(&shown) && states.len() > 1 {
        let rank = |state: &State| LEAVE_OUT_ORDER.iter().position(|dispensable| dispensable == state);
        let first = states.iter().copied().min_by_key(|state| (total.in_state(*state) > 0, rank(state)));
        states.retain(|state| Some(*state) != first);
        shown = line(&states, compact_number);
    }
    buf.set_line(area.x, area.y, &shown, area.width);
}

/// What the queued ones wait for.
fn queued(app: &App, summary: &Summary, ink: Ink, area: Rect, buf: &mut Buffer) {
    let total = summary.counts.total();
    let mut spans = vec![Span::raw(format!(" {} ready", compact_number(total.ready)))];
    if let Some(oldest) = summary.ready_since.values().min() {
        let age = app.now.since(*oldest);
        let style = if age > LATE_AFTER { ink.warn() } else { ink.plain() };
        spans.push(Span::styled(format!(", the oldest for {}", compact_span(age)), style));
    }
    spans.push(Span::raw(format!(" · {} waiting", compact_number(total.waiting))));
    if let Some(due) = summary.next_due {
        let (text, style) = match due > app.now.saturating_sub(LATE_AFTER) {
            true if due > app.now => (format!(", the next {}", distance(due, app.now)), ink.plain()),
            true => (", one is due".to_owned(), ink.plain()),
            false => (format!(", late by {}", compact_span(app.now.since(due))), ink.warn()),
        };
        spans.push(Span::styled(text, style));
    }
    if total.unknown_name > 0 {
        spans.push(Span::styled(
            format!(" · {} without a handler", compact_number(total.unknown_name)),
            ink.warn(),
        ));
    }
    for (n, what) in [(total.held, "held"), (total.limited, "held by key")] {
        if n > 0 {
            spans.push(Span::raw(format!(" · {} {what}", compact_number(n))));
        }
    }
    if total.unmet > 0 {
        let missing = summary.conditions.iter().filter(|condition| condition.waiting > 0);
        let mut names: Vec<String> = missing.map(|condition| safe(&condition.name).into_owned()).collect();
        let for_names = summary.conditions.iter().fold(0_u64, |sum, c| sum.saturating_add(c.waiting));
        if for_names < total.unmet && summary.conditions.iter().all(|c| c.waiting <= MAX_COUNTED) {
            names.push("free disk".to_owned());
        }
        let text = format!(" · {} wait for {}", compact_number(total.unmet), names.join(", "));
        spans.push(Span::raw(text));
    }
    // What comes last matters least.
    while spans.len() > 1 && spans.iter().map(Span::width).sum::<usize>() > usize::from(area.width) {
        spans.pop();
    }
    buf.set_line(area.x, area.y, &Line::from(spans), area.width);
}

fn queues(app: &App, summary: &Summary, ink: Ink, area: Rect, buf: &mut Buffer) {
    let room = usize::from(area.height).saturating_sub(1).max(1);
    let offset = (app.queue + 1).saturating_sub(room);
    let rows = summary.counts.queues.iter().skip(offset).take(room).map(|(name, counts)| {
        let age = summary.ready_since.get(name).map(|since| app.now.since(*since));
        let late = if age.is_some_and(|age| age > LATE_AFTER) { ink.warn() } else { ink.plain() };
        let note = note(counts, app.now).map(|note| if counts.paused { "PAUSED".to_owned() } else { note });
        let style = if note.is_some() { ink.warn() } else { ink.plain() };
        let facts: Vec<String> = note.into_iter().chain(bounds(counts)).chain(by_key(counts)).collect();
        vec![
            cell(name, ink.bold()),
            cell(compact_number(counts.ready), ink.plain()),
            cell(compact_number(counts.waiting), ink.plain()),
            cell(compact_number(held(counts)), ink.plain()),
            cell(compact_number(counts.running), ink.plain()),
            cell(age.map(compact_span).unwrap_or_default(), late),
            cell(facts.join(", "), style),
        ]
    });
    let columns = vec![
        left(" QUEUE", 32),
        right("READY"),
        right("WAIT"),
        right("HELD"),
        right("RUN"),
        right("OLDEST"),
        left("", 40),
    ];
    let mut table = Table { columns, rows: rows.collect(), cursor: Some(app.queue - offset) };
    more(&mut table, summary.counts.queues.len() - offset, ink);
    indent(&mut table);
    table.draw(area, ink, buf);
}

fn names(app: &App, ink: Ink, area: Rect, buf: &mut Buffer) {
    let all = rates(&app.rollups, app.now);
    let room = usize::from(area.height).saturating_sub(1);
    let time = |time: Option<Duration>| cell(time.map(compact_span).unwrap_or_default(), ink.plain());
    let speed = |rate: &Throughput| {
        let n = rate.a_minute();
        let text = if n < 10.0 { format!("{n:.1}") } else { compact_number(n.round() as u64) };
        cell(text, ink.plain())
    };
    let rows = all.iter().take(room).map(|rates| {
        let bad = rates.long.bad().unwrap_or(0.0);
        let percent = if bad > 0.0 { format!("{:.1}%", bad * 100.0) } else { "0%".to_owned() };
        vec![
            cell(&rates.name, ink.bold()),
            speed(&rates.short),
            time(rates.short.ran(0.5)),
            time(rates.short.ran(0.95)),
            time(rates.short.waited(0.95)),
            speed(&rates.long),
            time(rates.long.ran(0.5)),
            time(rates.long.ran(0.95)),
            cell(percent, if bad > 0.0 { ink.bad() } else { ink.plain() }),
        ]
    });
    let columns = vec![
        left(" NAME", 32),
        right("5m:/MIN"),
        right("P50"),
        right("P95"),
        right("WAIT95"),
        right("1h:/MIN"),
        right("P50"),
        right("P95"),
        right("BAD"),
    ];
    let mut table = Table { columns, rows: rows.collect(), cursor: None };
    if area.width < MIN_RECENT_WIDTH {
        table.leave_out(2..5);
    }
    more(&mut table, all.len(), ink);
    indent(&mut table);
    table.draw(area, ink, buf);
}

/// Says in the last row how many have no room.
fn more(table: &mut Table, all: usize, ink: Ink) {
    let hidden = all.saturating_sub(table.rows.len());
    if hidden > 0 && table.cursor.is_none() {
        let columns = table.columns.len() - 1;
        let blank = std::iter::repeat_with(|| cell("", ink.plain())).take(columns);
        if let Some(last) = table.rows.last_mut() {
            *last = std::iter::once(cell(format!("{} more", hidden + 1), ink.dim())).chain(blank).collect();
        }
    }
}

/// Sets the first column off from the edge of the screen.
fn indent(table: &mut Table) {
    for row in &mut table.rows {
        if let Some(first) = row.first_mut() {
            *first = Cell { text: format!(" {}", first.text), style: first.style };
        }
    }
}
