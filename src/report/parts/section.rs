//! The frame of a section.

use maud::{Markup, html};

use crate::report::data::Section;

/// A section with its heading; `note` says what it covers.
pub(super) fn section(section: Section, heading: &str, note: Markup, inside: Markup) -> Markup {
    html! {
        section id=(section.id()) aria-labelledby={ (section.id()) "-h" } {
            div.heading {
                h2 id={ (section.id()) "-h" } { (heading) }
                p.note { (note) }
            }
            (inside)
        }
    }
}

/// The text of an empty section.
pub(super) fn nothing(what: &str) -> Markup {
    html! { p.nothing { (what) } }
}
