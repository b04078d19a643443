//! What attempts did over time, and how long they took.

use maud::{Markup, html};

use super::section::{nothing, section};
use crate::console::inspect::task::{engine_of_job, is_job_name};
use crate::console::words::{count, measured, number, span};
use crate::report::chart::{self, Height, Scale};
use crate::report::data::{ReportData, Section};
use crate::report::sums::{AttemptKind, Distribution, EndedFigures, NameFigures};
use crate::report::table::{Kind, PageCell, PageColumn, col, table};
use crate::report::words::local;

/// All attempts over time, and below them those that did not succeed, on a scale of their own.
pub(in crate::report) fn activity(data: &ReportData) -> Markup {
    let activity = &data.activity;
    let note = html! {
        "Attempts by how they ended, " (span(std::time::Duration::from_secs(activity.bar_s))) " a bar; times in " span.zone { "UTC" }
        @if activity.sum.ended() > 0 {
            "; from " (local(activity.from)) " to " (local(activity.to)) ": all that ended in the last " (data.window())
        }
    };
    let bad = &AttemptKind::ALL[1..];
    let inside = html! {
        @if activity.sum.ended() == 0 { (nothing("No attempt ended in this time.")) }
        @else {
            div.panel {
                (chart::legend(activity.sum))
                h3 { "All attempts" }
                (chart::stacked(activity, &AttemptKind::ALL, Height(150.0), &all_label(data)))
                @if activity.sum.sum(bad) > 0 {
                    h3 { "Not succeeded" }
                    (chart::stacked(activity, bad, Height(80.0), &format!("{} that did not succeed, over time", count(activity.sum.sum(bad), "attempt"))))
                }
                (chart::numbers(activity))
            }
        }
    };
    section(Section::Activity, "Activity", note, inside)
}

fn all_label(data: &ReportData) -> String {
    let sum = data.activity.sum;
    let parts = AttemptKind::ALL.map(|outcome| format!("{} {}", number(sum.of(outcome)), outcome.word()));
    format!("{} over time: {}", count(sum.ended(), "attempt"), parts.join(", "))
}

/// Outcomes, run times and waits by task name.
pub(in crate::report) fn times(data: &ReportData) -> Markup {
    let names = &data.names.rows;
    let window = data.window();
    let note = html! {
        "Over the last " (window) "; by task name lengths are at most a quarter too long; lines at p50 (solid), p95 (dashed) and p99 (dotted)"
        @if data.names.more { "; the " (names.len()) " busiest names" }
    };
    let ended = &data.ended;
    let inside = html! {
        @if names.is_empty() { (nothing("No attempt ended in this time.")) }
        @else {
            @if !data.has_only_jobs() { (outcomes(names)) }
            @if !ended.programs.is_empty() {
                h3 { "By program " span.aside { (of_newest(data)) @if ended.more_programs { "; programs of the newest jobs among them" } } }
                (ended_table("Program", &ended.programs))
            }
            @if ended.queues.len() > 1 || data.has_only_jobs() {
                h3 { "By queue " span.aside { (of_newest(data)) } }
                (ended_table("Queue", &ended.queues))
            }
            div.pair {
                (distributions("Run time", "how long attempts ran", names, |name| &name.ran))
                (distributions("Wait", "from ready until started", names, |name| &name.waited))
            }
        }
    };
    section(Section::Times, "Times and outcomes", note, inside)
}

/// Of which tasks the figures by program and by queue are made: the file keeps no sums of these.
fn of_newest(data: &ReportData) -> String {
    let ended = &data.ended;
    let which = if ended.looked_at < data.total.all() { "the newest " } else { "" };
    format!("{} of {which}{} ended in this time", number(ended.tasks), count(ended.looked_at, "task"))
}

fn ended_table(head: &'static str, all: &[EndedFigures]) -> Markup {
    let columns = [
        col(head, Kind::Text),
        col("Tasks", Kind::Number),
        col("Succeeded", Kind::Number),
        col("Failed", Kind::Number),
        col("Lost", Kind::Number),
        col("Cancelled", Kind::Number),
        col("Ran p50", Kind::Number),
        col("Ran p95", Kind::Number),
        col("Longest", Kind::Number),
    ];
    let rows = all.iter().map(|figures| {
        let numbers = [figures.ended, figures.succeeded, figures.failed, figures.lost, figures.cancelled];
        std::iter::once(PageCell::text(&figures.name))
            .chain(numbers.map(PageCell::number))
            .chain([figures.p50, figures.p95, figures.longest].map(length))
            .collect()
    });
    table(&format!("Outcomes by {}", head.to_lowercase()), &columns, rows.collect())
}

fn length(length: Option<std::time::Duration>) -> PageCell {
    match length {
        Some(length) => PageCell::by(html! { (measured(length)) }, length.as_micros()),
        None => PageCell::none(),
    }
}

fn outcomes(names: &[NameFigures]) -> Markup {
    let columns = [
        col("Task name", Kind::Text),
        col("Attempts", Kind::Number),
        col("Succeeded", Kind::Number),
        col("Retried", Kind::Number),
        col("Failed", Kind::Number),
        col("Lost", Kind::Number),
        col("Cancelled", Kind::Number),
        col("Succeeded of all", Kind::Number),
    ];
    let rows = names.iter().map(|name| {
        let part = name.outcomes.succeeded as f64 / name.outcomes.ended().max(1) as f64 * 100.0;
        // Never 100 % where something did not succeed.
        let part = (part * 10.0).floor() / 10.0;
        let numbers = std::iter::once(name.outcomes.ended()).chain(AttemptKind::ALL.map(|o| name.outcomes.of(o)));
        let share = html! {
            (format!("{part:.1} %")) " "
            svg.share aria-hidden="true" width="60" height="8" { rect.all width="60" height="8" {} rect.part width=(format!("{:.1}", part * 0.6)) height="8" {} }
        };
        std::iter::once(PageCell::text(&name.task_name))
            .chain(numbers.map(PageCell::number))
            .chain([PageCell::by(share, part)])
            .collect()
    });
    table("Outcomes by task name", &columns, rows.collect())
}

/// A task name; that of all jobs in words.
fn shown_name(task_name: &str) -> String {
    match engine_of_job(task_name) {
        Some(engine) => format!("jobs on {engine}"),
        None if is_job_name(task_name) => "jobs".to_owned(),
        None => task_name.to_owned(),
    }
}

fn distributions(
    heading: &'static str,
    what: &'static str,
    names: &[NameFigures],
    of: impl Fn(&NameFigures) -> &Distribution,
) -> Markup {
    let known: Vec<&NameFigures> = names.iter().filter(|name| of(name).count > 0).collect();
    let scale = Scale::of(known.iter().map(|name| of(name)));
    let picture = PageColumn { head: "Distribution", kind: Kind::Picture, note: Some(scale.axis()) };
    let columns = [
        col("Task name", Kind::Text),
        picture,
        col("p50", Kind::Number),
        col("p95", Kind::Number),
        col("p99", Kind::Number),
    ];
    let row = |name: &&NameFigures| {
        let d = of(name);
        let lengths = [d.p50, d.p95, d.p99].map(length);
        [PageCell::text(&shown_name(&name.task_name)), PageCell::new(chart::distribution(d, scale, heading))]
            .into_iter()
            .chain(lengths)
            .collect()
    };
    html! {
        div {
            h3 { (heading) " " span.aside { (what) } }
            @if known.is_empty() { (nothing("Nothing was measured.")) }
            @else { (table(heading, &columns, known.iter().map(row).collect())) }
        }
    }
}
