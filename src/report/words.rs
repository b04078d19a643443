//! Text from a file, times and lengths of time, as the page writes them.

use maud::{Markup, html};

use std::time::Duration;

use crate::Timestamp;
use crate::console::text::{safe, safe_lines};
use crate::console::words::span;

/// Text from a file: marks that could turn the direction of text around it are written out, and `bdi` sets the rest apart.
pub(super) fn text(text: &str) -> Markup {
    html! { bdi { (safe(text)) } }
}

/// [`text`] for several lines.
pub(super) fn lines(text: &str) -> Markup {
    html! { bdi { (safe_lines(text)) } }
}

/// A moment, in UTC; the page's script can show it in the reader's own time.
pub(super) fn local(moment: Timestamp) -> Markup {
    html! { time datetime=(moment) title=(moment) { (second(moment)) } }
}

/// How far back a page looks: `24 h`, `1 h 30 min`.
pub(super) fn window(back: Duration) -> String {
    match back.as_secs() {
        seconds if seconds.is_multiple_of(3600) => format!("{} h", seconds / 3600),
        _ => span(back),
    }
}

/// `2026-11-23 08:30:00`.
pub(super) fn second(moment: Timestamp) -> String {
    cut(moment, 19)
}

/// `2026-11-23 08:30`.
pub(super) fn minute(moment: Timestamp) -> String {
    cut(moment, 16)
}

/// `08:30`.
pub(super) fn clock(moment: Timestamp) -> String {
    cut(moment, 16).split_off(11)
}

/// The first `length` characters of a time in RFC 3339, whose fields have fixed places, with a blank for the `T`.
fn cut(moment: Timestamp, length: usize) -> String {
    moment.to_string().chars().take(length).map(|c| if c == 'T' { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_people_read_them() {
        let moment = Timestamp::from_millis(1_795_422_600_250);
        assert_eq!(second(moment), "2026-11-23 08:30:00");
        assert_eq!((minute(moment).as_str(), clock(moment).as_str()), ("2026-11-23 08:30", "08:30"));
        assert_eq!(
            local(moment).into_string(),
            "<time datetime=\"2026-11-23T08:30:00.250Z\" title=\"2026-11-23T08:30:00.250Z\">2026-11-23 08:30:00</time>"
        );
    }

    #[test]
    fn text_from_a_file_is_text() {
        assert_eq!(text("<b>\u{202e}x").into_string(), "<bdi>&lt;b&gt;\\u{202e}x</bdi>");
        assert_eq!(lines("a\nb\u{2028}").into_string(), "<bdi>a\nb\\u{2028}</bdi>");
    }
}
