//! The output of attempts: two bounded streams of bytes.

use std::borrow::Cow;
use std::collections::VecDeque;

use serde::{Deserialize, Serialize, Serializer};

/// How much of the beginning of a stream is kept, in bytes.
pub(crate) const FIRST_BYTES: usize = 16 * 1024;
/// How much of the end of a stream is kept, in bytes: a few hundred lines.
pub(crate) const LAST_BYTES: usize = 48 * 1024;

/// Which stream of an attempt's output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutputStream {
    /// Results (standard output).
    Stdout,
    /// Diagnostics (standard error).
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
///
/// The bytes are kept as the attempt wrote them. When it is serialised, `first` and `last` are
/// texts, in which bytes that are not UTF-8 are replaced by U+FFFD.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Output {
    /// The generation of the attempt that wrote it.
    pub generation: u64,
    /// The stream that it was written to.
    pub stream: OutputStream,
    /// The beginning.
    #[serde(serialize_with = "as_text")]
    pub first: Vec<u8>,
    /// What follows `first`, or the end if the middle was left out.
    #[serde(serialize_with = "as_text")]
    pub last: Vec<u8>,
    /// How many bytes were written, including those left out.
    pub bytes: u64,
}

impl Output {
    /// How many bytes were left out between `first` and `last`.
    pub fn left_out(&self) -> u64 {
        self.bytes.saturating_sub(self.first.len() as u64).saturating_sub(self.last.len() as u64)
    }

    /// `first` as text; bytes that are not UTF-8 are replaced by U+FFFD.
    pub fn first_text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.first)
    }

    /// `last` as text; bytes that are not UTF-8 are replaced by U+FFFD.
    pub fn last_text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.last)
    }
}

fn as_text<S: Serializer>(bytes: &[u8], s: S) -> Result<S::Ok, S::Error> {
    s.serialize_str(&String::from_utf8_lossy(bytes))
}

/// A stream that is being written. No UTF-8 character is cut in two.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stream {
    pub first: Vec<u8>,
    last: VecDeque<u8>,
    pub bytes: u64,
    /// It has bytes that are not in the file yet.
    pub is_new: bool,
}

impl Stream {
    pub(crate) fn push(&mut self, piece: &[u8]) {
        if piece.is_empty() {
            return;
        }
        self.is_new = true;
        self.bytes = self.bytes.saturating_add(piece.len() as u64);
        let room = if self.last.is_empty() { FIRST_BYTES - self.first.len() } else { 0 };
        let (first, rest) = piece.split_at(room.min(piece.len()));
        self.first.extend_from_slice(first);
        if self.last.is_empty() && !rest.is_empty() {
            let begun = self.first.len() - begun_at_the_end(&self.first);
            self.last.extend(self.first.drain(begun..));
        }
        self.last.extend(rest);
        let over = self.last.len().saturating_sub(LAST_BYTES);
        if over > 0 {
            let goes_on = |byte: &&u8| (0x80..0xC0).contains(*byte);
            let rest_of_character =
                self.last.iter().skip(over).take(LONGEST_REST).take_while(goes_on).count();
            self.last.drain(..over + rest_of_character);
        }
    }

    /// The end that is kept.
    pub(crate) fn last(&mut self) -> Vec<u8> {
        self.last.make_contiguous().to_vec()
    }
}

/// The most bytes that a UTF-8 character has after its first.
const LONGEST_REST: usize = 3;

/// The length of an incomplete UTF-8 character at the end, which more bytes could complete.
fn begun_at_the_end(bytes: &[u8]) -> usize {
    let end = &bytes[bytes.len().saturating_sub(LONGEST_REST)..];
    let last = end.utf8_chunks().last().map_or(&[][..], |chunk| chunk.invalid());
    let may_go_on = std::str::from_utf8(last).is_err_and(|e| e.error_len().is_none());
    if may_go_on { last.len() } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn streamed(pieces: &[&[u8]]) -> Output {
        let mut stream = Stream::default();
        pieces.iter().for_each(|piece| stream.push(piece));
        let last = stream.last();
        let Stream { first, bytes, .. } = stream;
        Output { generation: 1, stream: OutputStream::Stdout, first, last, bytes }
    }

    proptest! {
        #[test]
        fn beginning_and_end_are_kept_byte_for_byte_and_everything_is_counted(
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..5000), 0..40),
        ) {
            let output = streamed(&pieces.iter().map(Vec::as_slice).collect::<Vec<_>>());
            let whole = pieces.concat();
            prop_assert_eq!(output.bytes, whole.len() as u64);
            prop_assert!(whole.starts_with(&output.first) && whole.ends_with(&output.last));
            prop_assert!(output.first.len() <= FIRST_BYTES && output.last.len() <= LAST_BYTES);
            if output.left_out() == 0 {
                prop_assert_eq!([output.first, output.last].concat(), whole);
            } else {
                prop_assert!(whole.len() > FIRST_BYTES + LAST_BYTES - 8);
                prop_assert!(output.first.len() > FIRST_BYTES - 4 && output.last.len() > LAST_BYTES - 4);
            }
        }

        #[test]
        fn no_character_is_cut_wherever_the_pieces_end(text in "[aü任🦀]{0,40000}", size in 1..5000_usize) {
            let output = streamed(&text.as_bytes().chunks(size).collect::<Vec<_>>());
            prop_assert!(std::str::from_utf8(&output.first).is_ok() && std::str::from_utf8(&output.last).is_ok());
            if output.left_out() == 0 {
                prop_assert_eq!(output.first_text() + output.last_text(), text);
            }
        }
    }

    #[test]
    fn what_is_no_text_is_kept_and_replaced_where_a_text_is_asked_for() {
        let output = streamed(&[b"a\xffb"]);
        assert_eq!((output.first.as_slice(), output.bytes), (&b"a\xffb"[..], 3));
        assert_eq!(output.first_text(), "a\u{fffd}b");
        assert_eq!(serde_json::to_value(&output).unwrap()["first"], "a\u{fffd}b");
    }
}
