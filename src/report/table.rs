//! Tables. Each sorts by real values (`data-v`) once the page's script has made buttons of its headings.

use maud::{Markup, html};

use super::words::{local, second, text};
use crate::Timestamp;
use crate::console::text::safe;
use crate::console::words::{number, span};
use std::time::Duration;

/// How a column is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    /// A number, a time or a length of time: to the right, and the largest first when it is sorted.
    Number,
    /// What has no order.
    Picture,
}

pub(super) struct PageColumn {
    pub head: &'static str,
    pub kind: Kind,
    /// Markup below the heading.
    pub note: Option<Markup>,
}

/// A column.
pub(super) fn col(head: &'static str, kind: Kind) -> PageColumn {
    PageColumn { head, kind, note: None }
}

/// A cell: what is shown, and the value that it sorts by, if that is not its text.
pub(super) struct PageCell {
    show: Markup,
    value: Option<String>,
}

impl PageCell {
    pub fn new(show: Markup) -> PageCell {
        PageCell { show, value: None }
    }

    pub fn by(show: Markup, value: impl ToString) -> PageCell {
        PageCell { show, value: Some(safe(&value.to_string()).into_owned()) }
    }

    /// Text from a file.
    pub fn text(from_file: &str) -> PageCell {
        PageCell::new(text(from_file))
    }

    pub fn number(n: u64) -> PageCell {
        PageCell::by(html! { @if n == 0 { span.zero { "0" } } @else { (number(n)) } }, n)
    }

    pub fn time(moment: Option<Timestamp>) -> PageCell {
        match moment {
            Some(moment) => PageCell::by(local(moment), moment.as_millis()),
            None => PageCell::none(),
        }
    }

    /// How long, and since or until when.
    pub fn length(length: Option<Duration>, moment: Option<Timestamp>) -> PageCell {
        match length {
            Some(length) => {
                let title = moment.map(|moment| format!("{} UTC", second(moment)));
                PageCell::by(html! { span title=[title] { (span(length)) } }, length.as_millis())
            }
            None => PageCell::none(),
        }
    }

    pub fn none() -> PageCell {
        PageCell::by(html! { span.zero { "–" } }, "")
    }
}

/// A table in a box of its own, which scrolls if it must; the page does not.
pub(super) fn table(label: &str, columns: &[PageColumn], rows: Vec<Vec<PageCell>>) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label=(label) {
            table {
                thead { tr { @for column in columns { (heading(column)) } } }
                tbody {
                    @for row in rows {
                        tr {
                            @for (cell, column) in row.into_iter().zip(columns) {
                                td class=[class(column.kind)] data-v=[cell.value] data-head=(column.head) { (cell.show) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn heading(column: &PageColumn) -> Markup {
    let sort = match column.kind {
        Kind::Text => Some("text"),
        Kind::Number => Some("number"),
        Kind::Picture => None,
    };
    html! {
        th scope="col" class=[class(column.kind)] data-sort=[sort] {
            span.head { (column.head) }
            @if let Some(note) = &column.note { (note) }
        }
    }
}

fn class(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::Text => None,
        Kind::Number => Some("num"),
        Kind::Picture => Some("picture"),
    }
}
