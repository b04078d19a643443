//! The file: how large it is, who owns it, how it is set.

use maud::{Markup, html};

use super::section::section;
use crate::console::words::{bytes, number};
use crate::inspect::FileReport;
use crate::report::data::{ReportData, Section};
use crate::report::table::{Kind, PageCell, col, table};
use crate::report::words::{local, text};

pub(in crate::report) fn file(data: &ReportData) -> Markup {
    let note = html! { "As it was found, through a connection that only reads" };
    let inside = html! {
        div.pair {
            div { h3 { "Sizes and owner" } (facts(data)) }
            div { h3 { "Pragmas as read back" } (pragmas(&data.file)) }
        }
    };
    section(Section::File, "File and disk", note, inside)
}

fn facts(data: &ReportData) -> Markup {
    let file = &data.file;
    let fact = |name: &str, value: Markup| html! { div { dt { (name) } dd { (value) } } };
    let of_pages = |pages: u64| {
        let part = pages as f64 / file.pages.max(1) as f64 * 100.0;
        html! { (bytes(pages.saturating_mul(file.page_bytes))) span.aside { " " (number(pages)) " pages, " (format!("{part:.0} %")) } }
    };
    html! {
        dl.facts {
            (fact("Database", html! { (bytes(file.bytes)) span.aside { " " (number(file.pages)) " pages of " (bytes(file.page_bytes)) } }))
            (fact("Free pages", of_pages(file.free_pages)))
            (fact("Kept for a full disk", of_pages(file.reserve_pages)))
            (fact("WAL", wal(file)))
            @if let Some(disk) = data.disk {
                (fact("Disk", html! { (bytes(disk.free_bytes)) " free of " (bytes(disk.total_bytes)) }))
            }
            @if let Some(kind) = &file.file_system { (fact("File system", text(kind))) }
            @if let Some(mode) = &file.mode { (fact("Permissions", text(mode))) }
            (fact("Owner", owner(file)))
            @if let Some(served) = &file.served {
                (fact("Serves only", html! { @for (n, queue) in served.iter().enumerate() { @if n > 0 { ", " } (text(queue)) } }))
            }
            (fact("Ownership taken", html! { (number(file.owner_epoch.max(0).cast_unsigned())) " ×" }))
            (fact("Made", local(file.created_at)))
            (fact("File id", html! { code { (text(&file.file_id)) } }))
            (fact("Schema", html! { "version " (file.schema_version) ", read by SQLite " (text(&file.sqlite_version)) }))
        }
    }
}

fn wal(file: &FileReport) -> Markup {
    let wal = &file.wal;
    html! {
        (bytes(wal.bytes))
        span.aside {
            " " (number(wal.frames)) " pages, " (number(wal.committed)) " of them committed"
            @if wal.damaged { ", header damaged" }
        }
    }
}

fn owner(file: &FileReport) -> Markup {
    html! {
        @match (file.owned, file.owner_process) {
            (Some(true), Some(process)) => { "process " (process) " runs the tasks" }
            (Some(true), None) => { "a process runs the tasks" }
            (Some(false), _) => { "no worker runs" }
            (None, _) => { "not known" }
        }
    }
}

fn pragmas(file: &FileReport) -> Markup {
    let columns = [col("Pragma", Kind::Text), col("Found", Kind::Text), col("Wanted", Kind::Text)];
    let rows = file.pragmas.iter().map(|pragma| {
        let found = html! {
            (text(&pragma.found))
            @if pragma.found != pragma.wanted { " " span.badge.warn { "differs" } }
        };
        vec![PageCell::text(&pragma.name), PageCell::by(found, &pragma.found), PageCell::text(&pragma.wanted)]
    });
    table("Pragmas", &columns, rows.collect())
}
