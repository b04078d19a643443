//! What a job is: a command line, where it runs, and what its exit codes mean.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::Task;
use crate::console::os_word::Word;
use crate::console::text::BYTE_ORDER_MARK;
use crate::console::words::bytes;

/// How long a job has between SIGTERM and SIGKILL.
pub(crate) const KILL_AFTER: Duration = Duration::from_secs(5);

/// The args of a job's task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Job {
    /// The program and its arguments. With `shell`, one word: the script.
    pub argv: Vec<Word>,
    /// What it is called where jobs are shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Whether `/bin/sh` runs it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shell: bool,
    /// Where it runs; absolute. Empty where an engine runs it.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub dir: Word,
    /// What its environment has beside the worker's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<(Word, Word)>,
    /// Where it was added: its environment is `env` alone, without the worker's.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub own_env: bool,
    /// Where it was added: its umask. Absent for the worker's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub umask: Option<u32>,
    /// The file that is its standard input; absolute. Absent for an empty one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdin: Option<Word>,
    /// By how much nicer than the worker it is to the other processes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nice: Option<u8>,
    /// Exit codes after which it is not retried.
    #[serde(default, skip_serializing_if = "Codes::is_empty")]
    pub deny_exit: Codes,
    /// Milliseconds between SIGTERM and SIGKILL; absent for [`KILL_AFTER`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kill_after_ms: Option<u64>,
    /// Whether exit code 0 means success also after it was asked to end.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub late_success: bool,
    /// A folder that goes along to the engine; absolute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<Word>,
    /// What the engine is told beside the command.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub spec: Map<String, Value>,
}

fn is_empty(word: &Word) -> bool {
    word.0.is_empty()
}

/// The longest name of a job.
const MAX_NAME_BYTES: usize = 200;

/// The task name of jobs: one that no program takes for its own tasks.
pub(crate) const TASK_NAME: &str = "perdura.job";

/// The task name of jobs that were added by earlier versions of this command, and of whatever a program calls so.
pub(crate) const OLD_TASK_NAME: &str = "job";

/// Before the name of an engine: the task name of the jobs that it runs.
const ENGINE_PREFIX: &str = "perdura.job@";

/// The task name of jobs that this engine runs.
pub(crate) fn task_name_on(engine: &str) -> String {
    format!("{ENGINE_PREFIX}{engine}")
}

/// The engine that runs jobs of this task name.
pub(crate) fn engine_of(task_name: &str) -> Option<&str> {
    task_name.strip_prefix(ENGINE_PREFIX)
}

/// Whether tasks of this name may be jobs.
pub(crate) fn may_be_job(task_name: &str) -> bool {
    [TASK_NAME, OLD_TASK_NAME].contains(&task_name) || engine_of(task_name).is_some()
}

impl Task for Job {
    const NAME: &'static str = TASK_NAME;
    type Output = ();
}

/// What is wrong with a job: the keys of its options, and what is wrong with their values.
#[derive(Debug, PartialEq)]
pub(crate) struct JobProblem {
    pub keys: &'static [&'static str],
    pub problem: String,
}

impl JobProblem {
    pub(crate) fn new(keys: &'static [&'static str], problem: impl Into<String>) -> JobProblem {
        JobProblem { keys, problem: problem.into() }
    }
}

impl Job {
    /// How long it has between SIGTERM and SIGKILL.
    pub(crate) fn kill_after(&self) -> Duration {
        self.kill_after_ms.map_or(KILL_AFTER, Duration::from_millis)
    }

    /// Refuses, when a job is added, what could only fail later.
    ///
    /// # Errors
    /// What is wrong, and what to do.
    pub(crate) fn check(&self) -> Result<(), JobProblem> {
        let program = self.argv.first().map_or(&[][..], Word::bytes);
        if program.trim_ascii().is_empty() {
            return Err(JobProblem::new(&["argv"], "it names no program"));
        }
        let variables = self.env.iter().flat_map(|(name, value)| [name, value]);
        let paths = [&self.dir].into_iter().chain(&self.working_dir).chain(&self.stdin);
        if self.argv.iter().chain(variables).chain(paths).any(|word| word.bytes().contains(&0)) {
            let problem = "a word has a zero byte, which no program can be given";
            return Err(JobProblem::new(&["argv", "env", "dir", "stdin"], problem));
        }
        if let Some(name) = &self.name {
            check_name(name)?;
        }
        if program.starts_with(BYTE_ORDER_MARK) {
            let problem = "the program begins with a byte order mark (U+FEFF); take it away";
            return Err(JobProblem::new(&["argv"], problem));
        }
        if !self.shell && program.ends_with(b"\r") {
            let problem =
                "the program ends in a carriage return; write the script with LF line ends, not CRLF";
            return Err(JobProblem::new(&["argv"], problem));
        }
        Ok(())
    }

    /// Refuses what is larger than the file takes.
    ///
    /// # Errors
    /// How large it is, and may be.
    pub(crate) fn check_size(&self, most: usize) -> Result<(), JobProblem> {
        let size = serde_json::to_vec(self).map_or(0, |json| json.len()); // what cannot be written is refused when it is
        if size <= most {
            return Ok(());
        }
        let [size, most] = [size, most].map(|n| bytes(n as u64));
        let problem = format!("they are {size}, and {most} at most are kept; put them into a file");
        Err(JobProblem::new(&["argv", "env", "dir", "spec"], problem))
    }

    /// Whether it is one that a worker runs itself: it has a folder.
    pub(crate) fn is_local(&self) -> bool {
        !is_empty(&self.dir)
    }

    /// The words of the program that is started.
    pub(crate) fn command(&self) -> Vec<&[u8]> {
        let words = self.argv.iter().map(Word::bytes);
        if self.shell { [&b"/bin/sh"[..], b"-c"].into_iter().chain(words).collect() } else { words.collect() }
    }

    /// What it is called, if it has a name, and its command line, as one would type it.
    pub(crate) fn line(&self) -> String {
        match &self.name {
            Some(name) => format!("{name}: {}", self.command_line()),
            None => self.command_line(),
        }
    }

    fn command_line(&self) -> String {
        let words = self.argv.iter().map(Word::shown);
        if self.shell {
            shell_words::join(["sh".into(), "-c".into()].into_iter().chain(words))
        } else {
            shell_words::join(words)
        }
    }

    /// The name of the program that it starts, without its folder and its arguments: `sh` of a script.
    #[cfg(any(feature = "tui", feature = "report"))]
    pub(crate) fn program(&self) -> String {
        if let Some(name) = &self.name {
            return name.clone();
        }
        let word = self.argv.first().filter(|_| !self.shell).map_or("sh".into(), Word::shown);
        let name = word.trim_end_matches('/').rsplit('/').next().filter(|name| !name.is_empty());
        name.unwrap_or(&word).to_owned()
    }
}

/// Refuses what cannot be the name of a job.
fn check_name(name: &str) -> Result<(), JobProblem> {
    let is_name = (1..=MAX_NAME_BYTES).contains(&name.len()) && !name.chars().any(char::is_control);
    let problem = || format!("it has 1 to {MAX_NAME_BYTES} bytes and no control characters");
    is_name.then_some(()).ok_or_else(|| JobProblem::new(&["name"], problem()))
}

/// The command line of a job, as one would type it, from the name and the args of its task; none if they are not a job's.
pub(crate) fn describe(task_name: &str, args_json: &str) -> Option<String> {
    read(task_name, args_json).map(|job| job.line())
}

/// The job that a task is, from its name and its args; none if they are not a job's.
pub(crate) fn read(task_name: &str, args_json: &str) -> Option<Job> {
    let job = serde_json::from_str::<Job>(args_json).ok();
    job.filter(|job| job.is_local() != engine_of(task_name).is_some())
}

/// Exit codes: single ones and ranges, `2,64-78`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Codes(Vec<(u8, u8)>);

impl Codes {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn contains(&self, code: i32) -> bool {
        self.0.iter().any(|(first, last)| (i32::from(*first)..=i32::from(*last)).contains(&code))
    }
}

impl std::str::FromStr for Codes {
    type Err = String;

    fn from_str(text: &str) -> Result<Codes, String> {
        let code = |text: &str| {
            let code = text.trim().parse().ok().filter(|code| *code > 0);
            code.ok_or_else(|| format!("{text:?} is not an exit code of 1-255; write them like 2,64-78"))
        };
        let range = |part: &str| match part.split_once('-') {
            None => code(part).map(|code| (code, code)),
            Some((first, last)) => match (code(first)?, code(last)?) {
                (first, last) if first <= last => Ok((first, last)),
                _ => Err(format!("the range {part:?} ends before it begins")),
            },
        };
        text.split(',').map(range).collect::<Result<_, _>>().map(Codes)
    }
}

impl TryFrom<String> for Codes {
    type Error = String;

    fn try_from(text: String) -> Result<Codes, String> {
        text.parse()
    }
}

impl From<Codes> for String {
    fn from(codes: Codes) -> String {
        codes.to_string()
    }
}

impl fmt::Display for Codes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (first, last)) in self.0.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            if first == last { write!(f, "{comma}{first}")? } else { write!(f, "{comma}{first}-{last}")? }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(argv: &[&str]) -> Job {
        Job {
            argv: argv.iter().map(|word| (*word).into()).collect(),
            name: None,
            shell: false,
            dir: "/".into(),
            env: Vec::new(),
            own_env: false,
            umask: None,
            stdin: None,
            nice: None,
            deny_exit: Codes::default(),
            kill_after_ms: None,
            late_success: false,
            working_dir: None,
            spec: Map::new(),
        }
    }

    #[test]
    fn a_plain_job_has_short_args_and_a_line_to_copy() {
        let plain = job(&["echo", "a b", "it's"]);
        let json = serde_json::to_string(&plain).unwrap();
        assert_eq!(json, r#"{"argv":["echo","a b","it's"],"dir":"/"}"#);
        assert_eq!(describe(TASK_NAME, &json).unwrap(), r#"echo 'a b' 'it'\''s'"#);
        assert_eq!(describe("perdura.job@ray", &json), None);
        let script = Job { shell: true, ..job(&["sleep 1; date"]) };
        assert_eq!(script.line(), "sh -c 'sleep 1; date'");
        let named = Job { name: Some("nap".into()), ..script.clone() };
        assert_eq!(named.line(), "nap: sh -c 'sleep 1; date'");
        assert_eq!((named.program().as_str(), script.program().as_str()), ("nap", "sh"));
        let unnameable = Job { name: Some("a\nb".into()), ..plain.clone() };
        assert_eq!(unnameable.check().unwrap_err().keys, ["name"]);
        assert_eq!(script.command(), [&b"/bin/sh"[..], b"-c", b"sleep 1; date"]);
        assert_eq!(describe(TASK_NAME, r#"{"to":"ada"}"#), None);
        assert_eq!(describe(OLD_TASK_NAME, r#"{"argv":["make"]}"#), None, "it may be anybody's");
        assert_eq!(describe("perdura.job@ray", r#"{"argv":["make"]}"#).as_deref(), Some("make"));
    }

    #[cfg(any(feature = "tui", feature = "report"))]
    #[test]
    fn a_program_is_named_without_its_folder_and_its_arguments() {
        let program = |argv: &[&str]| job(argv).program();
        assert_eq!(program(&["/usr/local/bin/gzip", "-9", "secret"]), "gzip");
        assert_eq!([program(&["make"]), program(&["./a b.sh"]), program(&["x/"])], ["make", "a b.sh", "x"]);
        assert_eq!((program(&["/"]), program(&[])), ("/".to_owned(), "sh".to_owned()));
        assert_eq!(Job { shell: true, ..job(&["curl secret"]) }.program(), "sh");
    }

    #[test]
    fn exit_codes_are_written_singly_and_in_ranges() {
        let codes: Codes = "2,64-78".parse().unwrap();
        assert!([2, 64, 70, 78].into_iter().all(|code| codes.contains(code)));
        assert!([0, 1, 63, 79, -1, 258].into_iter().all(|code| !codes.contains(code)));
        assert_eq!(codes.to_string(), "2,64-78");
        for wrong in ["", "0", "256", "a", "3-", "9-3", "1,,2"] {
            assert!(wrong.parse::<Codes>().is_err(), "{wrong:?}");
        }
    }
}
