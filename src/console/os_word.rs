//! A word of a command line as the operating system has it, perhaps not UTF-8; in JSON a text or bytes.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};

/// A word that Unix takes as it is: in JSON a text, or a list of bytes where it is not UTF-8.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Word(pub OsString);

impl Word {
    pub(crate) fn bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// For people: what is not UTF-8 is replaced.
    pub(crate) fn shown(&self) -> Cow<'_, str> {
        self.0.to_string_lossy()
    }
}

impl fmt::Debug for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl AsRef<OsStr> for Word {
    fn as_ref(&self) -> &OsStr {
        &self.0
    }
}

impl<W: Into<OsString>> From<W> for Word {
    fn from(word: W) -> Word {
        Word(word.into())
    }
}

impl Serialize for Word {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self.0.to_str() {
            Some(text) => s.serialize_str(text),
            None => s.collect_seq(self.bytes()),
        }
    }
}

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Word, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Word;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, or a list of bytes")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Word, E> {
                Ok(text.into())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Word, A::Error> {
                let mut bytes = Vec::new();
                while let Some(byte) = seq.next_element()? {
                    bytes.push(byte);
                }
                Ok(Word(OsString::from_vec(bytes)))
            }
        }
        d.deserialize_any(Either)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_survive_json_whatever_their_bytes() {
        for bytes in [&b"plain"[..], b"", b"\xff\xfe", "ü".as_bytes(), b"a\xc3"] {
            let word = Word(OsString::from_vec(bytes.to_vec()));
            let json = serde_json::to_string(&word).unwrap();
            assert_eq!(serde_json::from_str::<Word>(&json).unwrap(), word, "{json}");
        }
        assert_eq!(serde_json::to_string(&Word::from("a b")).unwrap(), "\"a b\"");
        assert!(serde_json::from_str::<Word>("[256]").is_err());
    }
}
