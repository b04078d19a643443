//! The conditions that tasks need.

use maud::{Markup, html};

use super::section::section;
use crate::Condition;
use crate::console::words::{count, distance};
use crate::report::data::{ReportData, Section};
use crate::report::table::{Kind, PageCell, col, table};
use crate::report::words::{local, text};

/// The section of conditions; empty if the file has none.
pub(in crate::report) fn conditions(data: &ReportData) -> Markup {
    let conditions = &data.conditions;
    if conditions.is_empty() {
        return html! {};
    }
    let columns = [
        col("Condition", Kind::Text),
        col("State", Kind::Text),
        col("Said", Kind::Number),
        col("Waiting", Kind::Number),
    ];
    let rows = conditions.iter().map(|condition| row(condition, data)).collect();
    section(
        Section::Conditions,
        "Conditions",
        html! { (count(conditions.len() as u64, "condition")) },
        html! { div.cards { (table("Conditions", &columns, rows)) } },
    )
}

fn row(condition: &Condition, data: &ReportData) -> Vec<PageCell> {
    let state = match (condition.is_met, condition.is_unknown) {
        (true, _) => "met",
        (false, true) => "unknown",
        (false, false) => "not met",
    };
    let is_missed = !condition.is_met && condition.waiting > 0;
    let badge = html! { @if is_missed { span.badge.warn { (state) } } @else { span.badge { (state) } } };
    let said = match condition.set_at {
        Some(at) => {
            let by = if condition.by_owner { "by its program" } else { "by another" };
            let show = html! { (distance(at, data.made_at)) ", " (by) div.aside { (local(at)) } };
            PageCell::by(show, at.as_millis())
        }
        None => PageCell::none(),
    };
    vec![
        PageCell::by(html! { (text(&condition.name)) }, &condition.name),
        PageCell::by(badge, state),
        said,
        PageCell::number(condition.waiting),
    ]
}
