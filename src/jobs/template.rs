//! A command with places that each item of a list fills: `gzip -9k {}`.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use crate::console::os_word::Word;

/// The places, and the part of an item that each stands for.
const PLACEHOLDERS: [(&[u8], PathPart); 5] = [
    (b"{/.}", PathPart::Stem),
    (b"{//}", PathPart::Folder),
    (b"{.}", PathPart::WithoutExtension),
    (b"{/}", PathPart::FileName),
    (b"{}", PathPart::Whole),
];

/// The part of an item, as a path, that fills a place.
#[derive(Debug, Clone, Copy)]
enum PathPart {
    Whole,
    WithoutExtension,
    FileName,
    Folder,
    Stem,
}

impl PathPart {
    fn of(self, item: &[u8]) -> Vec<u8> {
        let path = Path::new(OsStr::from_bytes(item));
        let name = |name: Option<&OsStr>| name.unwrap_or(path.as_os_str()).as_bytes().to_vec();
        match self {
            PathPart::Whole => item.to_vec(),
            PathPart::WithoutExtension => match path.file_stem() {
                Some(_) => path.with_extension("").into_os_string().into_vec(),
                None => item.to_vec(),
            },
            PathPart::FileName => name(path.file_name()),
            PathPart::Stem => name(path.file_stem()),
            PathPart::Folder => match path.parent() {
                Some(folder) if !folder.as_os_str().is_empty() => folder.as_os_str().as_bytes().to_vec(),
                _ => b".".to_vec(),
            },
        }
    }
}

/// A command line with places for an item.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Template {
    /// With `is_shell`, one word: the script.
    words: Vec<Vec<u8>>,
    is_shell: bool,
}

impl Template {
    /// Splits a command line as a shell does; a script of a shell stays whole. Without a place, the item comes last.
    ///
    /// # Errors
    /// It is empty; a quote is not closed.
    pub(super) fn new(text: &str, is_shell: bool) -> Result<Template, String> {
        let words = if is_shell { Ok(vec![text.to_owned()]) } else { shell_words::split(text) };
        let words = words.map_err(|_| "a quote is not closed".to_owned())?;
        let mut words: Vec<Vec<u8>> = words.into_iter().map(String::into_bytes).collect();
        let Some(last) = words.last_mut().filter(|word| !word.trim_ascii().is_empty()) else {
            return Err("it names no program".to_owned());
        };
        if is_shell && has_quoted_place(last) {
            return Err("a place such as {} stands within quotes; with --shell it is quoted by itself, so leave the quotes out".to_owned());
        }
        if is_shell && !has_place(last) {
            last.extend(b" {}");
        } else if !words.iter().any(|word| has_place(word)) {
            words.push(b"{}".to_vec());
        }
        Ok(Template { words, is_shell })
    }

    /// The command for this item.
    pub(super) fn fill(&self, item: &[u8]) -> Vec<Word> {
        let fill = |word: &Vec<u8>| Word(OsString::from_vec(self.fill_word(word, item)));
        self.words.iter().map(fill).collect()
    }

    fn fill_word(&self, word: &[u8], item: &[u8]) -> Vec<u8> {
        let (mut filled, mut rest) = (Vec::with_capacity(word.len() + item.len()), word);
        while let [first, behind @ ..] = rest {
            match PLACEHOLDERS.iter().find(|(text, _)| rest.starts_with(text)) {
                Some((text, part)) => {
                    let part = part.of(item);
                    filled.extend(if self.is_shell { quoted(&part) } else { part });
                    rest = &rest[text.len()..];
                }
                None => {
                    filled.push(*first);
                    rest = behind;
                }
            }
        }
        filled
    }
}

fn has_place(word: &[u8]) -> bool {
    PLACEHOLDERS.iter().any(|(text, _)| word.windows(text.len()).any(|part| part == *text))
}

/// Whether a place stands within quotes of a shell: the item is filled in with quotes of its own, which would end those.
fn has_quoted_place(script: &[u8]) -> bool {
    let (mut quote, mut rest) = (None, script);
    while let [first, behind @ ..] = rest {
        if quote.is_some() && PLACEHOLDERS.iter().any(|(text, _)| rest.starts_with(text)) {
            return true;
        }
        rest = behind;
        match (first, quote) {
            (b'\\', None | Some(b'"')) => rest = rest.get(1..).unwrap_or_default(),
            (b'\'' | b'"', None) => quote = Some(*first),
            (mark, Some(open)) if *mark == open => quote = None,
            _ => {}
        }
    }
    false
}

/// Quoted as one word of a shell.
fn quoted(bytes: &[u8]) -> Vec<u8> {
    let mut quoted = vec![b'\''];
    for byte in bytes {
        match byte {
            b'\'' => quoted.extend(br"'\''"),
            byte => quoted.push(*byte),
        }
    }
    quoted.push(b'\'');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(template: &str, is_shell: bool, item: &[u8]) -> Vec<Word> {
        Template::new(template, is_shell).unwrap().fill(item)
    }

    #[test]
    fn an_item_is_one_word_wherever_it_stands() {
        assert_eq!(filled("gzip -9k {}", false, b"a b.log"), ["gzip".into(), "-9k".into(), "a b.log".into()]);
        assert_eq!(filled("convert {} {.}.jpg", false, b"pics/x.y.png")[2], "pics/x.y.jpg".into());
        assert_eq!(filled("mv {} to/{/}", false, b"from/a")[2], "to/a".into());
        assert_eq!(filled("x {//} {/.}", false, b"a/b.c"), ["x".into(), "a".into(), "b".into()]);
        assert_eq!(filled("x {//}", false, b"a")[1], ".".into());
        assert_eq!(filled("wc -c", false, b"a")[2], "a".into(), "without a place it comes last");
        assert_eq!(filled("wc {}", false, b"\xff{}")[1].bytes(), b"\xff{}", "an item is not filled again");
    }

    #[test]
    fn a_shell_sees_an_item_as_one_word() {
        assert_eq!(filled("cat {} | wc", true, b"it's $HOME"), [r"cat 'it'\''s $HOME' | wc".into()]);
        assert_eq!(filled("wc", true, b"a b"), ["wc 'a b'".into()]);
        let escaped = r#"echo 'a' \" {} 'b'"#;
        assert_eq!(filled(escaped, true, b"x"), [r#"echo 'a' \" 'x' 'b'"#.into()]);
        for script in ["grep x '{}'", "grep x \"in {.}\"", r#"echo "\" {}""#] {
            assert!(Template::new(script, true).unwrap_err().contains("stands within quotes"), "{script}");
        }
    }

    #[test]
    fn what_is_no_command_is_refused() {
        assert_eq!(Template::new(" ", false).unwrap_err(), "it names no program");
        assert_eq!(Template::new("a 'b", false).unwrap_err(), "a quote is not closed");
    }
}
