//! A program's output as text.

use std::borrow::Cow;

/// Makes text of bytes that come in pieces: a character that is split between two pieces stays whole, what is no UTF-8 is replaced.
#[derive(Default)]
pub(super) struct Decoder {
    /// The beginning of a character whose rest has not come: at most three bytes.
    begun: Vec<u8>,
}

impl Decoder {
    pub(super) fn decode<'b>(&mut self, piece: &'b [u8]) -> Cow<'b, str> {
        if self.begun.is_empty()
            && let Ok(text) = std::str::from_utf8(piece)
        {
            return Cow::Borrowed(text);
        }
        let mut bytes = std::mem::take(&mut self.begun);
        bytes.extend_from_slice(piece);
        let rest = bytes.len() - begun_at_the_end(&bytes);
        self.begun = bytes.split_off(rest);
        Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// What is left at the end of the input: a replacement character for a character that was cut.
    pub(super) fn finish(&mut self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut self.begun)).into_owned()
    }
}

/// How many bytes at the end begin a character that more bytes could complete.
fn begun_at_the_end(bytes: &[u8]) -> usize {
    let last = bytes.utf8_chunks().last().map_or(&[][..], |chunk| chunk.invalid());
    let may_go_on = std::str::from_utf8(last).is_err_and(|e| e.error_len().is_none());
    if may_go_on { last.len() } else { 0 }
}

/// Finds the last line of text that comes in pieces.
#[derive(Default)]
pub(super) struct LastLine {
    tail: Vec<u8>,
}

/// How many bytes of the end are kept, at least: a longer line is cut.
const TAIL_BYTES: usize = 4096;

/// The most bytes of a UTF-8 character after its first one: the kept end may begin within a character.
const MAX_REST_BYTES: usize = 3;

/// The most characters of a line that are shown.
const MAX_LINE_CHARS: usize = 300;

impl LastLine {
    pub(super) fn push(&mut self, piece: &[u8]) {
        self.tail.extend_from_slice(&piece[piece.len().saturating_sub(TAIL_BYTES)..]);
        if self.tail.len() > 2 * TAIL_BYTES {
            self.tail.drain(..self.tail.len() - TAIL_BYTES);
        }
    }

    /// The last line that is not blank. A carriage return begins a line, too: a terminal shows what is written after it.
    pub(super) fn get(&self) -> Option<String> {
        let rest_of_character =
            self.tail.iter().take(MAX_REST_BYTES).take_while(|byte| (0x80..0xC0).contains(*byte)).count();
        let tail = String::from_utf8_lossy(&self.tail[rest_of_character..]);
        let line = tail.split(['\n', '\r']).map(str::trim).rfind(|line| !line.is_empty())?;
        let mut shown: String = line.chars().take(MAX_LINE_CHARS).collect();
        if shown.len() < line.len() {
            shown.push('…');
        }
        Some(shown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_in_two_pieces_stays_whole() {
        let text = "aü任🦀z".as_bytes();
        for cut in 0..=text.len() {
            for second in cut..=text.len() {
                let mut decoder = Decoder::default();
                let mut all = decoder.decode(&text[..cut]).into_owned();
                all.push_str(&decoder.decode(&text[cut..second]));
                all.push_str(&decoder.decode(&text[second..]));
                all.push_str(&decoder.finish());
                assert_eq!(all, "aü任🦀z", "cut at {cut} and {second}");
            }
        }
    }

    #[test]
    fn what_is_no_text_is_replaced_and_loses_nothing_else() {
        let mut decoder = Decoder::default();
        assert_eq!(decoder.decode(b"a\xffb"), "a\u{fffd}b");
        assert_eq!(decoder.decode(b"c\xe4\xbb"), "c");
        assert_eq!(decoder.decode(b"d"), "\u{fffd}d");
        assert_eq!(decoder.decode(b"\xf0\x9f"), "");
        assert_eq!(decoder.finish(), "\u{fffd}");
        assert_eq!(decoder.finish(), "");
    }

    #[test]
    fn the_last_line_is_found_and_bounded() {
        let mut line = LastLine::default();
        assert_eq!(line.get(), None);
        line.push(b"first\nsec");
        line.push(b"ond\n\n  \n");
        assert_eq!(line.get().unwrap(), "second");
        line.push(b"\r 98 %\r 99 %\rERROR: no room\r\n");
        assert_eq!(line.get().unwrap(), "ERROR: no room");
        line.push(b"in two pi\xc3");
        line.push(b"\xa9ces, and \xff");
        assert_eq!(line.get().unwrap(), "in two pi\u{e9}ces, and \u{fffd}");
        (0..100).for_each(|_| line.push("任".repeat(1001).as_bytes()));
        assert!(!line.get().unwrap().contains('\u{fffd}'));
        assert_eq!(line.get().unwrap().chars().count(), MAX_LINE_CHARS + 1);
        assert!(line.tail.len() <= 3 * TAIL_BYTES);
    }
}
