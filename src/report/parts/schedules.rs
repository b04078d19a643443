//! The schedules: broken ones, then those that fire next.

use maud::{Markup, html};

use super::section::section;
use crate::ScheduleStatus;
use crate::console::inspect::schedule::{ScheduleFacts, next};
use crate::console::words::{count, distance};
use crate::report::data::{ReportData, Section};
use crate::report::table::{Kind, PageCell, col, table};
use crate::report::words::{local, text};

/// The section of schedules; empty if the file has none.
pub(in crate::report) fn schedules(data: &ReportData) -> Markup {
    let schedules = &data.schedules;
    if schedules.rows.is_empty() {
        return html! {};
    }
    let note = html! {
        @if schedules.more { "The next " (schedules.rows.len()) "; there are more" }
        @else { (count(schedules.rows.len() as u64, "schedule")) }
    };
    let columns = [
        col("Schedule", Kind::Text),
        col("When", Kind::Text),
        col("Makes", Kind::Text),
        col("Next", Kind::Number),
        col("Last run", Kind::Number),
        col("Made", Kind::Number),
        col("Missed", Kind::Number),
        col("Left out", Kind::Number),
    ];
    let rows = schedules.rows.iter().map(|schedule| row(schedule, data)).collect();
    section(
        Section::Schedules,
        "Schedules",
        note,
        html! { div.cards { (table("Schedules", &columns, rows)) } },
    )
}

fn row(schedule: &ScheduleFacts, data: &ReportData) -> Vec<PageCell> {
    let record = &schedule.record;
    let status = next(record, data.made_at);
    let name = html! {
        div {
            (text(&record.schedule))
            @match record.status {
                ScheduleStatus::Active => {}
                ScheduleStatus::Broken => { " " span.badge.warn { (status) } }
                _ => { " " span.badge { (status) } }
            }
        }
    };
    let next = match record.fires_at {
        Some(at) => PageCell::by(html! { (status) div.aside { (local(at)) } }, at.as_millis()),
        None if record.status == ScheduleStatus::Active => PageCell::by(html! { (status) }, ""),
        None => PageCell::none(),
    };
    let last_run = match (record.last_run, schedule.last_run_state, schedule.last_run_at) {
        (Some(id), Some(state), Some(at)) => {
            let class = format!("state {}", state.as_str().to_lowercase());
            let show = html! { span class=(class) { (state) } div.aside { (distance(at, data.made_at)) ", task " (id) } };
            PageCell::by(show, at.as_millis())
        }
        _ => PageCell::none(),
    };
    vec![
        PageCell::by(name, &record.schedule),
        PageCell::text(&schedule.when()),
        PageCell::text(schedule.makes()),
        next,
        last_run,
        PageCell::number(record.fired),
        PageCell::number(record.missed_ticks),
        PageCell::number(record.left_out),
    ]
}
