//! The schedules: broken ones, then those that fire next.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::table::{ListCell, ListTable, cell, left, rest, right};
use crate::console::inspect::schedule::{ScheduleFacts, next};
use crate::console::words::{compact_number, compact_span, count};
use crate::tui::app::App;
use crate::tui::ink::Ink;
use crate::{ScheduleStatus, Timestamp};

/// From this width on all columns are shown.
const MIN_WIDE: u16 = 110;
/// Columns that are left out below it: the times of ticks, and what schedules make.
const NOT_NARROW: [usize; 2] = [2, 7];
/// Columns, of those that are left then, that are left out if they are empty: the counts.
const COUNTS: std::ops::Range<usize> = 4..6;

pub(super) fn draw(app: &App, ink: Ink, area: Rect, buf: &mut Buffer) {
    let list = &app.schedules;
    let schedules = &list.found.rows;
    let shown = count(schedules.len() as u64, "schedule");
    let of = if list.found.more { format!("the next {shown}; there are more") } else { shown };
    let head = vec![
        Span::styled(format!(" {}", app.tab.title()), ink.bold()),
        Span::raw(if list.is_known { format!("  {of}") } else { String::new() }),
    ];
    buf.set_line(area.x, area.y, &Line::from(head), area.width);
    let body = Rect { y: area.y + 1, height: area.height - 1, ..area };
    let wide = usize::from(area.width);
    let columns = vec![
        left(" SCHEDULE", wide / 4),
        left("NEXT", 16),
        left("", 28),
        left("LAST RUN", 20),
        right("MADE"),
        right("MISSED"),
        right("LEFT OUT"),
        left("MAKES", wide / 6),
        rest("WHEN"),
    ];
    let room = usize::from(body.height).saturating_sub(1);
    let rows = schedules.iter().skip(list.offset).take(room);
    let mut table = ListTable {
        columns,
        rows: rows.map(|schedule| row(schedule, app.now, ink)).collect(),
        cursor: Some(list.cursor.saturating_sub(list.offset)),
    };
    if area.width < MIN_WIDE {
        for column in NOT_NARROW.into_iter().rev() {
            table.leave_out(column..column + 1);
        }
        for column in COUNTS.rev() {
            if table.rows.iter().all(|row| row[column].text.is_empty()) {
                table.leave_out(column..column + 1);
            }
        }
    }
    table.draw(body, ink, buf);
    if schedules.is_empty() {
        let text = if list.is_known { "Nothing here." } else { "Looking…" };
        buf.set_stringn(area.x + 3, body.y + 1, text, usize::from(area.width), ink.dim());
    }
}

fn row(schedule: &ScheduleFacts, now: Timestamp, ink: Ink) -> Vec<ListCell> {
    let record = &schedule.record;
    let (name, when) = (&record.schedule, schedule.when());
    let style = match record.status {
        ScheduleStatus::Active => ink.plain(),
        ScheduleStatus::Broken => ink.bad(),
        _ => ink.dim(),
    };
    let next = match record.fires_at.filter(|at| *at > now) {
        Some(at) => format!("in {}", compact_span(at.since(now))),
        None => next(record, now),
    };
    let (last_run, state) = match (schedule.last_run_state, schedule.last_run_at) {
        (Some(state), Some(at)) => (format!("{state} {}", compact_span(now.since(at))), ink.state(state)),
        _ => (String::new(), ink.plain()),
    };
    let some = |n: u64| cell(if n == 0 { String::new() } else { compact_number(n) }, ink.plain());
    let at = record.fires_at.map(|at| ink.zone.show(at)).unwrap_or_default();
    vec![
        cell(format!(" {name}"), ink.bold()),
        cell(next, style),
        cell(at, ink.dim()),
        cell(last_run, state),
        some(record.fired),
        some(record.missed_ticks),
        some(record.left_out),
        cell(schedule.makes(), ink.plain()),
        cell(when, style),
    ]
}
