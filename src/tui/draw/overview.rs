//! The overview screen: states, rates, what runs, queues, task names.

use std::time::Duration;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::chart;
use super::running;
use super::table::{ListCell, ListTable, cell, left, more, right};
use crate::State;
use crate::console::inspect::queue::{bounds, by_key, held, note};
use crate::console::text::safe;
use crate::console::words::{compact_number, compact_span, distance, number};
use crate::tui::app::App;
use crate::tui::ink::Ink;
use crate::tui::layout::OverviewParts;
use crate::tui::rates::{Throughput, rates};
use crate::tui::requests::Summary;

/// The tasks that wait for one condition are counted up to this number.
const MAX_COUNTED: u64 = 10_000;

/// The order in which states are left out if there is no room for all. States without tasks go before all others, except `LOST` and `FAILED`: that
/// nothing is lost and nothing has failed is worth its room.
const LEAVE_OUT_ORDER: [State; 6] =
    [State::Cancelled, State::Succeeded, State::Running, State::Queued, State::Lost, State::Failed];

/// From this width on the durations of the last minutes are shown, too.
const MIN_RECENT_WIDTH: u16 = 72;

/// A ready task that waits longer than this has another colour: the workers do not keep up.
const LATE_AFTER: Duration = Duration::from_secs(60);

pub(super) fn draw(app: &App, ink: Ink, area: Rect, buf: &mut Buffer) {
    let Some(summary) = &app.summary else { return };
    states(summary, ink, Rect { height: 1, ..area }, buf);
    queued(app, summary, ink, Rect { y: area.y + 1, height: 1, ..area }, buf);
    let parts = OverviewParts::of(area, app.overview.running.len());
    chart::draw(&app.overview.rollups, app.now, ink, parts.chart, buf);
    running::draw(app, ink, parts.running, buf);
    queues(app, summary, ink, parts, buf);
    if app.overview.has_only_jobs() && !app.overview.programs.is_empty() {
        programs(app, ink, parts.names, buf);
    } else {
        names(app, ink, parts.names, buf);
    }
}

fn states(summary: &Summary, ink: Ink, area: Rect, buf: &mut Buffer) {
    let total = summary.counts.total();
    let line = |states: &[State], show: fn(u64) -> String, gap: &'static str| {
        let mut spans = Vec::new();
        for state in states {
            let n = total.in_state(*state);
            let style = if n > 0 { ink.state(*state) } else { ink.dim() };
            spans.push(Span::raw(if spans.is_empty() { " " } else { gap }));
            spans.extend([Span::styled(format!("{state} "), style), Span::styled(show(n), ink.bold())]);
        }
        Line::from(spans)
    };
    let fits = |line: &Line<'_>| line.width() <= usize::from(area.width);
    let mut states = State::ALL.to_vec();
    let mut shown = line(&states, number, "   ");
    while !fits(&shown) {
        shown = line(&states, compact_number, "   ");
        if fits(&shown) || states.len() == 1 {
            break;
        }
        shown = line(&states, compact_number, "  ");
        let rank = |state: &State| LEAVE_OUT_ORDER.iter().position(|dispensable| dispensable == state);
        let is_needed =
            |state: &State| total.in_state(*state) > 0 || matches!(state, State::Failed | State::Lost);
        let first = states.iter().copied().min_by_key(|state| (is_needed(state), rank(state)));
        if !fits(&shown) {
            states.retain(|state| Some(*state) != first);
        }
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

fn queues(app: &App, summary: &Summary, ink: Ink, parts: OverviewParts, buf: &mut Buffer) {
    let area = parts.queues;
    let room = usize::from(area.height).saturating_sub(1).max(1);
    let offset = parts.first_queue(app);
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
    let mut table = ListTable { columns, rows: rows.collect(), cursor: Some(app.queue - offset) };
    more(&mut table, summary.counts.queues.len() - offset, ink);
    indent(&mut table);
    table.draw(area, ink, buf);
}

fn names(app: &App, ink: Ink, area: Rect, buf: &mut Buffer) {
    let all = rates(&app.overview.rollups, app.now);
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
    let mut table = ListTable { columns, rows: rows.collect(), cursor: None };
    if area.width < MIN_RECENT_WIDTH {
        table.leave_out(2..5);
    }
    more(&mut table, all.len(), ink);
    indent(&mut table);
    table.draw(area, ink, buf);
}

/// What programs did lately, where all tasks are jobs: their one task name says nothing.
fn programs(app: &App, ink: Ink, area: Rect, buf: &mut Buffer) {
    let all = &app.overview.programs;
    let room = usize::from(area.height).saturating_sub(1);
    let time = |time: Option<Duration>| cell(time.map(compact_span).unwrap_or_default(), ink.plain());
    let rows = all.iter().take(room).map(|figures| {
        let bad = figures.failed + figures.lost;
        let style = if bad > 0 { ink.bad() } else { ink.plain() };
        vec![
            cell(&figures.name, ink.bold()),
            cell(compact_number(figures.ended()), ink.plain()),
            time(figures.ran(0.5)),
            time(figures.ran(0.95)),
            cell(compact_number(bad), style),
        ]
    });
    let columns = vec![left(" PROGRAM", 32), right("ENDED LATELY"), right("P50"), right("P95"), right("BAD")];
    let mut table = ListTable { columns, rows: rows.collect(), cursor: None };
    more(&mut table, all.len(), ink);
    indent(&mut table);
    table.draw(area, ink, buf);
}

/// Sets the first column off from the edge of the screen.
fn indent(table: &mut ListTable) {
    for row in &mut table.rows {
        if let Some(first) = row.first_mut() {
            *first = ListCell { text: format!(" {}", first.text), style: first.style };
        }
    }
}
