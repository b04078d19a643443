//! Text from outside: from a task file, or written by an editor.
//!
//! What comes from a file never reaches a terminal raw ([`safe`]): its control characters could steer it, and its marks of direction
//! could make a line read as another.

use std::borrow::Cow;

/// Text that a terminal only shows: control characters and marks of direction are written out (`\u{1b}`).
pub(crate) fn safe(text: &str) -> Cow<'_, str> {
    escape(text, |_| false)
}

/// [`safe`] for several lines: line ends and tabs stay.
pub(crate) fn safe_lines(text: &str) -> Cow<'_, str> {
    escape(text, |c| matches!(c, '\n' | '\t'))
}

/// JSON that means the same and that a terminal only shows: what [`safe`] writes out occurs in strings only, and gets JSON's escapes
/// (`\u009b`).
pub(crate) fn safe_json(json: &str) -> Cow<'_, str> {
    if json.chars().all(|c| !c.is_control() && !is_mark(c)) {
        return Cow::Borrowed(json);
    }
    let mut escaped = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        match c.is_control() || is_mark(c) {
            true => c
                .encode_utf16(&mut [0; 2])
                .iter()
                .for_each(|unit| escaped.push_str(&format!("\\u{unit:04x}"))),
            false => escaped.push(c),
        }
    }
    Cow::Owned(escaped)
}

fn escape(text: &str, keep: impl Fn(char) -> bool) -> Cow<'_, str> {
    let harmless = |c: char| keep(c) || !(c.is_control() || is_mark(c));
    if text.chars().all(harmless) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if harmless(c) {
            escaped.push(c);
        } else {
            escaped.extend(c.escape_default());
        }
    }
    Cow::Owned(escaped)
}

/// Invisible characters that change how others are shown.
fn is_mark(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// The byte order mark that some editors put before a text.
pub(crate) const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// A text without its byte order mark.
#[cfg(unix)]
pub(crate) fn without_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_a_file_cannot_steer_the_terminal() {
        assert_eq!(safe("plain ü 任务"), "plain ü 任务");
        assert_eq!(safe("\u{1b}[2Ja\rb\nc\u{9b}d"), "\\u{1b}[2Ja\\rb\\nc\\u{9b}d");
        assert_eq!(safe("a\u{202e}b\u{200d}"), "a\\u{202e}b\\u{200d}");
        assert_eq!(safe("a\u{61c}b"), "a\\u{61c}b", "a mark of direction, too");
        assert_eq!(safe_lines("a\n\tb\u{7}"), "a\n\tb\\u{7}");
    }

    #[test]
    fn json_that_is_made_safe_means_the_same() {
        let value = serde_json::json!({ "a\u{9b}": "\u{1b}[2J\u{7f}\u{202e}ü🦀\\" });
        let text = value.to_string();
        let safe = safe_json(&text);
        assert!(safe.chars().all(|c| !c.is_control() && !is_mark(c)), "{safe}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&safe).unwrap(), value);
    }
}
