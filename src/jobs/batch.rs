//! Many jobs from one text: a command a line, or a JSON object a line.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Map, Value};

use super::engines::EnginesFile;
use super::job_options::{JobOptions, NewJob, about_line, attempts, key_limit, nice, priority};
use super::option_names::OptionStyle;
use super::template::Template;
use super::unique::conflict_rule;
use crate::Timestamp;
use crate::console::CliError;
use crate::console::os_word::Word;
use crate::console::sizes::size;
use crate::console::text::without_mark;
use crate::console::times::age;
use crate::console::times::future;

/// Format of a batch on the standard input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// One command a line, split into words like a shell does; # begins a comment
    Lines,
    /// One JSON object a line
    Jsonl,
}

/// Reads all jobs of a text. `options` hold for those that say nothing else.
///
/// # Errors
/// The first wrong line: its number, and what is wrong.
pub(super) fn read(
    format: Format,
    text: &[u8],
    options: &JobOptions,
    engines: &EnginesFile,
) -> Result<Vec<NewJob>, CliError> {
    if text.starts_with(b"\xff\xfe") || text.starts_with(b"\xfe\xff") {
        return Err(CliError::usage("the standard input is UTF-16; save it as UTF-8; nothing was added"));
    }
    let mut all = Vec::new();
    for (line, bytes) in (1..).zip(without_mark(text).split(|b| *b == b'\n')) {
        let at = |problem: String| CliError::usage(format!("line {line}: {problem}; nothing was added"));
        let utf8 = || "it is not UTF-8; in a line of JSON, such a word is a list of bytes".to_owned();
        let text = std::str::from_utf8(bytes).map_err(|_| at(utf8()))?;
        let text = text.strip_suffix('\r').unwrap_or(text);
        if text.trim().is_empty() || (format == Format::Lines && text.trim_start().starts_with('#')) {
            continue;
        }
        let (argv, options) = match format {
            Format::Lines => (words(text, options.kind.shell).map_err(at)?, options.clone()),
            Format::Jsonl => object(text, options.clone()).map_err(at)?,
        };
        if argv.is_empty() {
            continue; // a line with nothing but a comment behind blanks
        }
        all.push(options.new_job(argv, Some(line), engines).map_err(|error| about_line(error, Some(line)))?);
    }
    Ok(all)
}

/// What is between the items of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Separator {
    NewLine,
    Zero,
}

/// Reads a list: a job for each item that is not empty.
///
/// # Errors
/// The first wrong item: its number, and what is wrong.
pub(super) fn read_items(
    separator: Separator,
    text: &[u8],
    template: &Template,
    options: &JobOptions,
    engines: &EnginesFile,
) -> Result<Vec<NewJob>, CliError> {
    let (byte, end) = match separator {
        Separator::NewLine => (b'\n', &b"\r"[..]),
        Separator::Zero => (0, &b""[..]),
    };
    let items =
        (1..).zip(text.split(|b| *b == byte)).map(|(n, item)| (n, item.strip_suffix(end).unwrap_or(item)));
    let jobs = items.filter(|(_, item)| !item.is_empty()).map(|(n, item)| {
        let job = options.new_job(template.fill(item), Some(n), engines);
        job.map_err(|error| about_line(error, Some(n)))
    });
    jobs.collect()
}

/// The words of a command line; with `shell`, all of it is one.
fn words(text: &str, shell: bool) -> Result<Vec<Word>, String> {
    if shell {
        return Ok(vec![text.into()]);
    }
    let words = shell_words::split(text).map_err(|_| "a quote is not closed".to_owned())?;
    Ok(words.into_iter().map(Word::from).collect())
}

/// The command and the options of one object.
fn object(text: &str, mut options: JobOptions) -> Result<(Vec<Word>, JobOptions), String> {
    options.kind.style = OptionStyle::Json;
    let object: Map<String, Value> =
        serde_json::from_str(text).map_err(|e| format!("it is not a JSON object (column {})", e.column()))?;
    if object.contains_key("limit") && object.contains_key("serial") {
        return Err("limit and serial exclude each other".to_owned());
    }
    if object.contains_key("delay") && object.contains_key("at") {
        return Err("delay and at exclude each other".to_owned());
    }
    let (mut argv, mut command) = (None, None);
    for (key, value) in object {
        let wrong = |problem: String| format!("{key}: {problem}");
        match key.as_str() {
            "argv" => argv = Some(list(value).map_err(wrong)?),
            "command" => command = Some(string(value).map_err(wrong)?),
            _ => set(&mut options, &key, value).map_err(wrong)?,
        }
    }
    let argv = match (argv, command) {
        (Some(argv), None) if options.kind.shell && argv.len() != 1 => {
            return Err("argv: with shell, it has one word, the script".to_owned());
        }
        (Some(argv), None) => argv,
        (None, Some(command)) => {
            words(&command, options.kind.shell).map_err(|problem| format!("command: {problem}"))?
        }
        _ => return Err("it needs argv, a list of words, or command, a text, and not both".to_owned()),
    };
    if argv.is_empty() {
        return Err("argv: it names no program".to_owned());
    }
    Ok((argv, options))
}

/// Takes one key of an object.
fn set(options: &mut JobOptions, key: &str, value: Value) -> Result<(), String> {
    let kind = &mut options.kind;
    match key {
        "queue" => kind.queue = Some(string(value)?),
        "priority" => kind.priority = Some(priority(&number(&value)?)?),
        "delay" => (options.delay, options.at) = (Some(duration(value)?), None),
        "at" => (options.delay, options.at) = (None, Some(time(value)?)),
        "max_attempts" => kind.max_attempts = Some(attempts(&number(&value)?)?),
        "backoff" => kind.backoff = Some(duration(value)?),
        "timeout" => kind.timeout = Some(duration(value)?),
        "unique" => kind.unique.unique = Some(string(value)?),
        "until_started" => kind.unique.until_started = value.as_bool().ok_or("it is not true or false")?,
        "for" => kind.unique.lasts = Some(duration(value)?),
        "on_conflict" => kind.unique.on_conflict = Some(conflict_rule(&string(value)?)?),
        "limit" => (kind.limit, kind.serial) = (Some(key_limit(&string(value)?)?), None),
        "serial" => (kind.limit, kind.serial) = (None, Some(string(value)?)),
        "needs" => kind.needs = names(value)?,
        "needs_throughout" => kind.needs_throughout = names(value)?,
        "needs_free_disk" => kind.needs_free_disk = Some(size(&string(value)?)?),
        "expires" => kind.expires = Some(duration(value)?),
        "name" => options.name = Some(string(value)?),
        "tag" => kind.tag = Some(string(value)?),
        "env" => kind.env.extend(variables(value)?),
        "keep_env" => kind.keep_env = value.as_bool().ok_or("it is not true or false")?,
        "stdin" => kind.stdin = Some(PathBuf::from(word(value)?.0)),
        "nice" => kind.nice = Some(nice(&number(&value)?)?),
        "on" => kind.on = Some(string(value)?),
        "working_dir" => kind.working_dir = Some(PathBuf::from(word(value)?.0)),
        "spec" => {
            let Value::Object(spec) = value else { return Err("it is not an object".to_owned()) };
            kind.spec = Some(spec);
        }
        "dir" => kind.dir = Some(PathBuf::from(word(value)?.0)),
        "shell" => kind.shell = value.as_bool().ok_or("it is not true or false")?,
        "deny_exit" => kind.deny_exit = Some(string(value)?.parse()?),
        "kill_after" => kind.kill_after = Some(duration(value)?),
        "late_success" => kind.late_success = value.as_bool().ok_or("it is not true or false")?,
        _ => {
            return Err(
                "there is no such key; there are argv, command, queue, priority, delay, at, max_attempts, \
                        backoff, timeout, unique, until_started, for, on_conflict, limit, serial, needs, needs_throughout, needs_free_disk, expires, name, tag, env, keep_env, \
                        stdin, nice, dir, on, working_dir, spec, shell, deny_exit, kill_after and late_success"
                    .to_owned(),
            );
        }
    }
    Ok(())
}

fn string(value: Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text),
        _ => Err("it is not a text".to_owned()),
    }
}

/// A name, or a list of names.
fn names(value: Value) -> Result<Vec<String>, String> {
    match value {
        Value::String(name) => Ok(vec![name]),
        Value::Array(names) => names.into_iter().map(string).collect(),
        _ => Err("it is neither a text nor a list of texts".to_owned()),
    }
}

fn word(value: Value) -> Result<Word, String> {
    serde_json::from_value(value).map_err(|_| "it is neither a text nor a list of bytes".to_owned())
}

fn list(value: Value) -> Result<Vec<Word>, String> {
    let Value::Array(words) = value else { return Err("it is not a list of words".to_owned()) };
    words.into_iter().map(word).collect()
}

fn variables(value: Value) -> Result<Vec<(Word, Word)>, String> {
    let Value::Object(map) = value else { return Err("it is not an object of names and values".to_owned()) };
    let variable = |(name, value): (String, Value)| match name.is_empty() || name.contains('=') {
        true => Err(format!("{name:?} is no name of a variable")),
        false => Ok((name.into(), word(value)?)),
    };
    map.into_iter().map(variable).collect()
}

/// A number as it is written in a command line.
fn number(value: &Value) -> Result<String, String> {
    let number = value.as_i64().map(|number| number.to_string());
    number.ok_or_else(|| format!("{value} is not a whole number"))
}

fn duration(value: Value) -> Result<Duration, String> {
    let text = string(value).map_err(|_| "it is not a text such as \"10m\"".to_owned())?;
    age(&text).map_err(|e| format!("{text:?}: {e}"))
}

fn time(value: Value) -> Result<Timestamp, String> {
    future(&string(value).map_err(|_| "it is not a text such as \"2026-11-30T08:00:00Z\"".to_owned())?)
}

#[cfg(test)]
mod tests {
    use super::super::job_options::RunOptions;
    use super::*;

    fn told(format: Format, text: &str) -> String {
        read(format, text.as_bytes(), &JobOptions::default(), &EnginesFile::none())
            .err()
            .map(|e| e.message)
            .unwrap_or_default()
    }

    #[test]
    fn lines_are_split_like_a_shell_does() {
        let text = b"# list\n\necho 'a b' c\\ d\r\n   # more\ntrue";
        let new = read(Format::Lines, text, &JobOptions::default(), &EnginesFile::none()).unwrap();
        let lines: Vec<_> = new.iter().map(|new| (new.line, new.job.line())).collect();
        assert_eq!(lines, [(Some(3), "echo 'a b' 'c d'".to_owned()), (Some(5), "true".to_owned())]);
        let kind = RunOptions { shell: true, ..RunOptions::default() };
        let shell = JobOptions { kind, ..JobOptions::default() };
        let new = read(Format::Lines, b"echo 'a b' | wc", &shell, &EnginesFile::none()).unwrap();
        assert_eq!(new[0].job.argv, ["echo 'a b' | wc".into()]);
    }

    #[test]
    fn an_object_says_more_than_the_command_line() {
        let kind = RunOptions { priority: Some(1), ..RunOptions::default() };
        let options = JobOptions { at: Some(Timestamp::from_millis(0)), kind, ..JobOptions::default() };
        let text = br#"{"argv": ["a", [255]], "priority": -5, "delay": "10m", "env": {"K": "V"}, "dir": "/x/./y", "deny_exit": "2", "needs": ["online", "on_mains"], "needs_free_disk": "5G"}"#;
        let new = read(Format::Jsonl, text, &options, &EnginesFile::none()).unwrap();
        let needs = Options::new().needs("online").needs("on_mains").needs_free_disk(5 << 30);
        assert_eq!(new[0].options, needs.priority(-5).delay(Duration::from_secs(600)));
        assert_eq!(new[0].job.argv[1].bytes(), [255]);
        assert_eq!((new[0].job.dir.bytes(), new[0].job.env.len()), (&b"/x/y"[..], 1));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        for (text, part) in [
            (
                "{\"argv\": [\"a\"]}\n{\"argv\": [\"a\"], \"delay\": \"5 apples\"}",
                "line 2: delay: \"5 apples\"",
            ),
            ("{\"argv\": [\"a\"], \"priorty\": 5}", "line 1: priorty: there is no such key"),
            (
                "{\"argv\": [\"a\"], \"priority\": 70000}",
                "line 1: priority: it is a whole number of -32768 to 32767",
            ),
            ("{\"argv\": []}", "line 1: argv: it names no program"),
            ("{\"argv\": [\"a\"], \"command\": \"b\"}", "not both"),
            ("{\"argv\": [\"a\\u0000\"]}", "zero byte"),
            ("{\"command\": \"'\"}", "line 1: command: a quote"),
            ("\n[1]", "line 2: it is not a JSON object"),
            ("{\"argv\": [\"a\"], \"for\": \"1h\"}", "line 1: until_started, for and on_conflict"),
            ("{\"argv\": [\"a\"], \"limit\": \"k\"}", "line 1: limit: it is a key and a number"),
            ("{\"argv\": [\"a\"], \"limit\": \"k=1\", \"serial\": \"k\"}", "limit and serial exclude"),
            ("{\"argv\": [\"a\"], \"needs\": 5}", "line 1: needs: it is neither a text nor a list"),
            (
                "{\"argv\": [\"a\"], \"needs_free_disk\": \"5 apples\"}",
                "line 1: needs_free_disk: it is a number of bytes",
            ),
            ("{\"argv\": [\"a\"], \"on_conflict\": \"x\"}", "line 1: on_conflict: it is keep, replace"),
            ("{\"argv\": [\"a\"], \"env\": {\"A=B\": \"\"}}", "env: \"A=B\""),
        ] {
            let told = told(Format::Jsonl, text);
            assert!(told.contains(part) && told.ends_with("nothing was added"), "{text}: {told}");
        }
        assert!(told(Format::Lines, "true\n\necho 'a").contains("line 3: a quote is not closed"));
    }

    use crate::Options;
}
