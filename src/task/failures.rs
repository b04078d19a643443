//! Groups of failures whose messages differ only in numbers and ids.

use serde::Serialize;

use super::id::TaskId;
use super::timestamp::Timestamp;

/// Tasks that ended badly in the same way: the same task name and error type, and the same message but for numbers and ids. Made by
/// [`Queue::failures`](crate::Queue::failures).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct FailureGroup {
    /// Their task name.
    pub task_name: String,
    /// The type of their newest error; empty if none is kept.
    pub error_type: String,
    /// Its message, with `#` for numbers and ids.
    pub message: String,
    /// How many there are.
    pub count: u64,
    /// The newest of them.
    pub newest: TaskId,
    /// When that one ended.
    pub newest_at: Option<Timestamp>,
    /// All of them, newest first: for [`Filter::ids`](crate::Filter::ids).
    #[serde(skip)]
    pub ids: Vec<TaskId>,
}

/// Groups of failures, the largest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Failures {
    /// The groups.
    pub groups: Vec<FailureGroup>,
    /// How many tasks were read: the newest ones.
    pub looked_at: u64,
    /// Whether there are more that were not read.
    pub more: bool,
}

/// How many characters of a masked message are compared.
const MESSAGE_CHARS: usize = 200;

/// The message with `#` for what differs from task to task: numbers, hexadecimal ids, digits within
/// words.
pub(crate) fn mask(message: &str) -> String {
    let mut masked = String::new();
    let mut word = String::new();
    for c in message.chars().take(MESSAGE_CHARS * 2).chain([' ']) {
        if c.is_alphanumeric() || matches!(c, '-' | '_') {
            word.push(c);
            continue;
        }
        mask_word(&word, &mut masked);
        word.clear();
        masked.push(c);
    }
    let short: String = masked.trim_end().chars().take(MESSAGE_CHARS).collect();
    short
}

/// Ids are masked whole: UUIDs, and words of 8 or more hexadecimal digits with at least one decimal
/// digit. In all other words each run of digits is masked.
fn mask_word(word: &str, into: &mut String) {
    let is_hex = |part: &str| {
        part.len() >= 8
            && part.chars().all(|c| c.is_ascii_hexdigit())
            && part.contains(|c: char| c.is_ascii_digit())
    };
    let is_uuid = word.len() == 36 && word.split('-').map(str::len).eq([8, 4, 4, 4, 12]);
    if is_hex(word) || is_uuid && word.chars().all(|c| c == '-' || c.is_ascii_hexdigit()) {
        return into.push('#');
    }
    let mut in_number = false;
    for c in word.chars() {
        let is_digit = c.is_numeric();
        match (is_digit, in_number) {
            (true, false) => into.push('#'),
            (true, true) => {}
            (false, _) => into.push(c),
        }
        in_number = is_digit;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_from_task_to_task_is_masked() {
        for (message, masked) in [
            ("order 17 of 4", "order # of #"),
            ("order 1234567 of 9", "order # of #"),
            ("no user 550e8400-e29b-41d4-a716-446655440000", "no user #"),
            ("commit deadbeef01 is gone", "commit # is gone"),
            ("the facade decade", "the facade decade"),
            ("IPv4 at 10.0.0.1:80", "IPv# at #.#.#.#:#"),
            ("took 3.5s, limit 2s", "took #.#s, limit #s"),
            ("", ""),
            ("任务 42 失败", "任务 # 失败"),
        ] {
            assert_eq!(mask(message), masked);
        }
        assert_eq!(mask(&"x ".repeat(10_000)).chars().count(), MESSAGE_CHARS);
    }
}
