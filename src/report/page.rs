//! From the data to the page. Pure: a value in, markup out.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::chart;
use super::data::{ReportData, Section};
use super::parts;
use super::verdict::quiet;
use super::words::{local, minute, text};
use crate::console::inspect::queue::held;
use crate::console::words::number;

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");

/// What the browser lets the page use: this style and this script, by the SHA-256 of their text, and nothing else.
const POLICY: &str = concat!(
    "default-src 'none'; base-uri 'none'; form-action 'none'; ",
    "style-src 'sha256-t1Pns18aznQ4nj9Ik84x7b/i9pVZTOQxEcHJN3jQKIE='; ",
    "script-src 'sha256-vX71FPp5s6fKx1d2hrRZATgSznjLaEdNjqGR3Zfrq3c='"
);

/// The whole page.
pub(super) fn page(data: &ReportData) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="referrer" content="no-referrer";
                meta name="color-scheme" content="light dark";
                title { (title(data)) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                a.skip href="#main" { "To the content" }
                (chart::patterns())
                (head(data))
                main id="main" {
                    (tiles(data))
                    (parts::activity(data))
                    (parts::queues(data))
                    (parts::schedules(data))
                    (parts::conditions(data))
                    (parts::failures(data))
                    (parts::times(data))
                    (parts::tasks(data))
                    (parts::letters(data))
                    (parts::file(data))
                }
                (foot(data))
                script { (PreEscaped(SCRIPT)) }
            }
        }
    }
}

fn name(data: &ReportData) -> String {
    data.file.path.file_name().unwrap_or(data.file.path.as_os_str()).to_string_lossy().into_owned()
}

fn title(data: &ReportData) -> String {
    crate::console::text::safe(&format!("{} – perdura, {} UTC", name(data), minute(data.made_at)))
        .into_owned()
}

fn head(data: &ReportData) -> Markup {
    html! {
        header {
            div.top {
                div {
                    h1 { (text(&name(data))) }
                    p.sub {
                        (text(&data.file.path.to_string_lossy())) span.dot { " · " }
                        "made " (local(data.made_at)) " " span.zone { "UTC" } span.dot { " · " }
                        "activity of the last " (data.window())
                    }
                }
                div.controls hidden {
                    label.filter { span.label { "Filter all tables" } input type="search" id="filter" autocomplete="off" spellcheck="false" placeholder="name, error, queue …"; }
                    button type="button" id="zone" aria-pressed="false" { "Local time" }
                    button type="button" id="theme" { "Dark" }
                }
            }
            (verdict(data))
            (deeds(data))
            p.worker { (parts::worker(data)) }
            p.found role="status" id="found" {}
            nav aria-label="Sections" {
                @for (section, word) in SECTIONS.iter().filter(|(section, _)| data.has(*section)) { a href={ "#" (section.id()) } { (word) } }
            }
        }
    }
}

const SECTIONS: [(Section, &str); 9] = [
    (Section::Activity, "Activity"),
    (Section::Queues, "Queues"),
    (Section::Schedules, "Schedules"),
    (Section::Conditions, "Conditions"),
    (Section::Failures, "Failures"),
    (Section::Times, "Times"),
    (Section::Tasks, "Tasks"),
    (Section::Letters, "Dead letters"),
    (Section::File, "File"),
];

/// The sentence, each part of which leads to where the page says more.
fn verdict(data: &ReportData) -> Markup {
    let concerns = &data.verdict.concerns;
    html! {
        p.verdict.bad[!concerns.is_empty()] {
            @if concerns.is_empty() { span.mark aria-hidden="true" { "✓" } (quiet(data)) "." }
            @else {
                span.mark aria-hidden="true" { "!" }
                "Needs attention: "
                @for (n, concern) in concerns.iter().enumerate() {
                    @if n > 0 { "; " }
                    a href={ "#" (concern.about.id()) } { (text(&concern.text)) }
                }
                "."
            }
        }
    }
}

/// What one types for each concern.
fn deeds(data: &ReportData) -> Markup {
    let concerns =
        || data.verdict.concerns.iter().filter_map(|concern| Some((concern, concern.command.as_ref()?)));
    html! {
        @if concerns().next().is_some() {
            ul.deeds {
                @for (concern, command) in concerns() {
                    li { span.deed { code { (text(command)) } } span.aside { (text(&concern.text)) } }
                }
            }
        }
    }
}

/// How many tasks there are in which state.
fn tiles(data: &ReportData) -> Markup {
    let total = &data.total;
    let queued = [
        ("Ready", total.ready, "ready"),
        ("Waiting", total.waiting, "waiting"),
        ("Held", held(total), "held"),
        ("Running", total.running, "running"),
    ];
    let ended = [
        ("Succeeded", total.succeeded, "succeeded"),
        ("Failed", total.failed, "failed"),
        ("Lost", total.lost, "lost"),
        ("Cancelled", total.cancelled, "cancelled"),
    ];
    html! {
        dl.tiles aria-label="Tasks by state" {
            @for (word, n, class) in queued.into_iter().chain(ended) {
                div class={ "tile " (class) (if n == 0 { " none" } else { "" }) } {
                    dt { (word) }
                    dd { (number(n)) }
                }
            }
        }
    }
}

fn foot(data: &ReportData) -> Markup {
    html! {
        footer {
            p {
                "Made by perdura " (data.perdura_version) " from a file that was only read. The parts were read one after another: in a file "
                "that is in use they may differ by what happened in between. SQLite's structures were not checked. "
                "Commands are for the folder of the file; elsewhere they need --db, and what changes many tasks counts them and asks first. "
                "This page loads nothing and sends nothing."
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::{Digest, Sha256};

    /// What stands between the quotes of a policy.
    fn hash(text: &str) -> String {
        const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let digest = Sha256::digest(text.replace("\r\n", "\n"));
        let groups = digest.chunks(3).map(|three| {
            let bits = (0..3).fold(0_u32, |bits, n| bits << 8 | u32::from(*three.get(n).unwrap_or(&0)));
            let digit = |n: usize| {
                if n > three.len() { '=' } else { char::from(DIGITS[(bits >> (18 - 6 * n) & 63) as usize]) }
            };
            (0..4).map(digit).collect::<String>()
        });
        format!("'sha256-{}'", groups.collect::<String>())
    }

    #[test]
    fn the_policy_allows_this_style_and_this_script() {
        assert_eq!(hash("abc"), "'sha256-ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0='");
        for text in [STYLE, SCRIPT] {
            assert!(POLICY.contains(&hash(text)), "the page's policy must have {}", hash(text));
            assert!(!text.contains("</"), "it would end its element");
        }
    }
}
