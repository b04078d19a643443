//! The queues.

use maud::{Markup, html};

use super::section::{nothing, section};
use crate::console::inspect::queue::{bounds, by_key, held, note};
use crate::console::words::{count, distance};
use crate::report::data::{QueueRow, ReportData, Section};
use crate::report::table::{Kind, PageCell, col, table};
use crate::report::words::{local, text};

pub(in crate::report) fn queues(data: &ReportData) -> Markup {
    let note = html! {
        (count(data.queues.len() as u64, "queue"))
        @if let Some(due) = data.next_due { "; next due " (distance(due, data.made_at)) " (" (local(due)) ")" }
    };
    let columns = [
        col("Queue", Kind::Text),
        col("Ready", Kind::Number),
        col("Oldest ready", Kind::Number),
        col("Waiting", Kind::Number),
        col("Held", Kind::Number),
        col("Running", Kind::Number),
        col("Succeeded", Kind::Number),
        col("Failed", Kind::Number),
        col("Lost", Kind::Number),
        col("Cancelled", Kind::Number),
    ];
    let rows: Vec<_> = data.queues.iter().map(|queue_row| row(queue_row, data)).collect();
    let inside = html! {
        @if rows.is_empty() { (nothing("There are no queues yet.")) } @else { (table("Queues", &columns, rows)) }
    };
    section(Section::Queues, "Queues", note, inside)
}

fn row(queue_row: &QueueRow, data: &ReportData) -> Vec<PageCell> {
    let QueueRow { queue, counts, ready_since } = queue_row;
    let name = html! {
        (text(queue))
        @if counts.not_served { " " span.badge.warn title="the program that runs the tasks takes those of other queues only" { "not served" } }
        @else if let Some(note) = note(counts, data.made_at) { " " span.badge.warn { (note) } }
        @for fact in bounds(counts).into_iter().chain(by_key(counts)) { " " span.badge { (fact) } }
    };
    let age = ready_since.map(|since| data.made_at.since(since));
    vec![
        PageCell::by(name, queue),
        PageCell::number(counts.ready),
        PageCell::length(age, *ready_since),
        PageCell::number(counts.waiting),
        PageCell::number(held(counts)),
        PageCell::number(counts.running),
        PageCell::number(counts.succeeded),
        PageCell::number(counts.failed),
        PageCell::number(counts.lost),
        PageCell::number(counts.cancelled),
    ]
}
