//! What attempts write: two bounded streams of text.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// Kept of the beginning of a stream, in bytes: how it set out.
pub(crate) const FIRST_BYTES: usize = 16 * 1024;
/// Kept of the end of a stream, in bytes: what happened before it ended, a few hundred lines.
pub(crate) const LAST_BYTES: usize = 48 * 1024;

/// Which stream of an attempt's output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutputStream {
    /// What it found out.
    Stdout,
    /// What it has to say about that.
    Stderr,
}

impl OutputStream {
    /// Both.
    pub const ALL: [OutputStream; 2] = [OutputStream::Stdout, OutputStream::Stderr];

    pub(crate) fn code(self) -> i64 {
        self as i64
    }

    pub(crate) fn from_code(code: i64) -> Option<OutputStream> {
        OutputStream::ALL.get(usize::try_from(code).ok()?).copied()
    }
}

/// What an attempt wrote to one stream: its first 16 KiB, and the last 48 KiB of the rest. Made by
/// [`Queue::output`](crate::Queue::output).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Output {
    /// The claim that it belongs to.
    pub generation: u64,
    /// Where it was written to.
    pub stream: OutputStream,
    /// How it began.
    pub first: String,
    /// How it went on, or ended if the middle was left out.
    pub last: String,
    /// How much was written, what was left out included.
    pub bytes: u64,
}

impl Output {
    /// How many bytes were left out between `first` and `last`.
    pub fn left_out(&self) -> u64 {
        self.bytes.saturating_sub(self.first.len() as u64).saturating_sub(self.last.len() as u64)
    }
}

/// One stream while it is being written.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stream {
    pub first: String,
    last: VecDeque<u8>,
    pub bytes: u64,
    /// Something of it is not in the file yet.
    pub is_new: bool,
}

impl Stream {
    pub(crate) fn push(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        self.is_new = true;
        self.bytes = self.bytes.saturating_add(text.len() as u64);
        let room = if self.last.is_empty() { FIRST_BYTES - self.first.len() } else { 0 };
        let cut = (0..=room.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        let (first, rest) = text.split_at(cut);
        self.first.push_str(first);
        self.last.extend(rest.bytes());
        let over = self.last.len().saturating_sub(LAST_BYTES);
        let is_inside = |byte: &u8| (0x80..0xC0).contains(byte);
        let over = over + self.last.iter().skip(over).take_while(|byte| over > 0 && is_inside(byte)).count();
        self.last.drain(..over);
    }

    /// The kept end of it.
    pub(crate) fn last(&mut self) -> String {
        String::from_utf8_lossy(self.last.make_contiguous()).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn beginning_and_end_are_kept_and_everything_is_counted(pieces in prop::collection::vec("[aü任🦀]{0,3000}", 0..40)) {
            let whole: String = pieces.concat();
            let mut stream = Stream::default();
            pieces.iter().for_each(|piece| stream.push(piece));
            let last = stream.last();
            prop_assert_eq!(stream.bytes, whole.len() as u64);
            prop_assert!(whole.starts_with(&stream.first) && whole.ends_with(&last));
            prop_assert!(stream.first.len() <= FIRST_BYTES && last.len() <= LAST_BYTES);
            if whole.len() <= FIRST_BYTES + LAST_BYTES - 8 {
                prop_assert_eq!(stream.first + &last, whole);
            } else {
                prop_assert!(stream.first.len() > FIRST_BYTES - 4 && last.len() > LAST_BYTES - 4);
            }
        }
    }
}
