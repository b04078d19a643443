//! The sections of the page.

mod failures;
mod file;
mod queues;
mod tasks;
mod times;

use maud::{Markup, html};

pub(super) use failures::{failures, letters};
pub(super) use file::file;
pub(super) use queues::queues;
pub(super) use tasks::tasks;
pub(super) use times::{activity, times};

use super::page::id;
use super::verdict::Section;

/// A section with its heading, and what bounds it has.
fn section(section: Section, heading: &str, note: Markup, inside: Markup) -> Markup {
    html! {
        section id=(id(section)) aria-labelledby={ (id(section)) "-h" } {
            div.heading {
                h2 id={ (id(section)) "-h" } { (heading) }
                p.note { (note) }
            }
            (inside)
        }
    }
}

/// What is said where there is nothing.
fn nothing(what: &str) -> Markup {
    html! { p.nothing { (what) } }
}
