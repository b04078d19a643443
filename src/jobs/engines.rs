//! The engines that the command knows: those of a TOML file.
//!
//! ```toml
//! [engines.ray]
//! kind = "ray"
//! address = "http://127.0.0.1:8265"
//! token_env = "RAY_AUTH_TOKEN"
//!
//! [engines.slurm]
//! kind = "exec"
//! program = "./slurm.py"
//! args = ["/shared/jobs"]
//! remembers = "7days"
//! ```

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Deserializer};

use crate::console::inspect::job::task_name_on;
use crate::console::sizes::size;
use crate::console::text::safe;
use crate::console::times::age;
use crate::console::{CliError, Exit};
use crate::{DEFAULT_QUEUE, LostRetry};

/// The file of engines, beside the file with the tasks.
const USUAL_NAME: &str = "engines.toml";

/// The shortest time-out of a call of an engine.
const MIN_TIMEOUT: Duration = Duration::from_secs(1);

/// The shortest interval between polls of an engine.
const MIN_POLL_INTERVAL: Duration = Duration::from_millis(100);

/// Where the engines are described.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct EnginesOption {
    /// The file with the engines outside [default: engines.toml beside the file with the tasks, if there is one]
    #[arg(long, env = "PERDURA_ENGINES", hide_env_values = true, value_name = "FILE")]
    engines: Option<PathBuf>,
}

/// The engines, read when the first one is asked for.
#[derive(Debug)]
pub(super) struct EnginesFile {
    path: PathBuf,
    /// Somebody has named the file, so it has to be there.
    is_named: bool,
    read: OnceCell<BTreeMap<String, EngineEntry>>,
}

/// An engine, as the file describes it.
#[derive(Debug, Clone)]
pub(super) struct EngineEntry {
    pub name: String,
    pub kind: EngineKind,
    /// At least one.
    pub queues: Vec<String>,
    pub limit: Option<u32>,
    pub poll_interval: Option<Duration>,
    pub start_timeout: Option<Duration>,
    pub lost_retry: Option<LostRetry>,
    pub forget: Option<bool>,
    pub timeout: Option<Duration>,
}

/// What an engine is.
#[derive(Debug, Clone)]
pub(super) enum EngineKind {
    /// A program.
    Exec { program: PathBuf, args: Vec<String>, remembers: Option<Duration>, max_output: Option<usize> },
    /// A Ray cluster.
    #[cfg_attr(not(feature = "ray"), allow(dead_code, reason = "only a program with Ray uses it"))]
    Ray { address: Option<String>, token: Option<TokenPlace>, max_package: Option<u64> },
}

/// Where a token is found; never the token itself.
#[derive(Debug, Clone)]
#[cfg_attr(not(feature = "ray"), allow(dead_code, reason = "only a program with Ray uses it"))]
pub(super) enum TokenPlace {
    Variable(String),
    File(PathBuf),
}

impl EnginesOption {
    /// The engines of this file, for the tasks in `db`.
    pub(super) fn engines(&self, db: &Path) -> EnginesFile {
        let named = self.engines.clone().filter(|path| !path.as_os_str().is_empty()); // an unset variable of a shell
        let is_named = named.is_some();
        let path = named.unwrap_or_else(|| db.with_file_name(USUAL_NAME));
        EnginesFile { path, is_named, read: OnceCell::new() }
    }
}

impl EnginesFile {
    /// No file, for tests that need no engines.
    #[cfg(test)]
    pub(super) fn none() -> EnginesFile {
        EnginesOption::default().engines(Path::new("/nonexistent/perdura.db"))
    }

    /// All of them, by name.
    ///
    /// # Errors
    /// What is wrong with the file: its line, and what to do.
    pub(super) fn all(&self) -> Result<&BTreeMap<String, EngineEntry>, CliError> {
        if let Some(read) = self.read.get() {
            return Ok(read);
        }
        let entries = self.read()?;
        Ok(self.read.get_or_init(|| entries))
    }

    /// One of them.
    ///
    /// # Errors
    /// There is no such engine, and which there are; as [`all`](EnginesFile::all).
    pub(super) fn get(&self, name: &str) -> Result<&EngineEntry, CliError> {
        let (all, path) = (self.all()?, self.path.display());
        all.get(name).ok_or_else(|| {
            let problem = match all.len() {
                0 => format!("write [engines.{name}] into {path}, as `perdura work --help` shows, or name another file with --engines"),
                _ => format!("{path} has {}", list(all.keys())),
            };
            CliError::usage(format!("there is no engine {name:?}; {problem}"))
        })
    }

    fn read(&self) -> Result<BTreeMap<String, EngineEntry>, CliError> {
        let path = self.path.display();
        let text = match std::fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound && !self.is_named => {
                return Ok(BTreeMap::new());
            }
            Err(e) => {
                return Err(CliError::new(Exit::File, format!("the engines in {path} cannot be read: {e}")));
            }
        };
        let wrong = |problem: String| CliError::usage(format!("the engines in {path}: {problem}"));
        let file: EnginesText = toml::from_str(&text).map_err(|e| {
            let line = e.span().map_or(1, |at| 1 + text[..at.start.min(text.len())].matches('\n').count());
            wrong(format!("line {line}: {}", e.message().replace('\n', " ")))
        })?;
        let folder = self.path.parent().unwrap_or(Path::new(""));
        let entry = |(name, text): (String, EntryText)| {
            let entry =
                text.entry(&name, folder).map_err(|problem| wrong(format!("[engines.{name}]: {problem}")))?;
            Ok::<_, CliError>((name, entry))
        };
        let engines: BTreeMap<String, EngineEntry> =
            file.engines.into_iter().map(entry).collect::<Result<_, _>>()?;
        let mut owners = BTreeMap::new();
        for (name, queue) in
            engines.iter().flat_map(|(name, engine)| engine.queues.iter().map(move |queue| (name, queue)))
        {
            if let Some(other) = owners.insert(queue, name).filter(|other| *other != name) {
                return Err(wrong(format!(
                    "the queue {queue:?} is one of {other:?} and of {name:?}; give each its own"
                )));
            }
        }
        Ok(engines)
    }
}

impl EngineEntry {
    /// Whether it is a program, which has processes here.
    pub(super) fn is_program(&self) -> bool {
        matches!(self.kind, EngineKind::Exec { .. })
    }

    /// The name of its tasks.
    pub(super) fn task_name(&self) -> String {
        task_name_on(&self.name)
    }

    /// The queue for a job of this engine: `wanted`, or the first of the engine's queues.
    ///
    /// # Errors
    /// `wanted` is not one of the engine's queues, and which are.
    pub(super) fn queue(&self, wanted: Option<&str>) -> Result<&str, String> {
        let found = match wanted {
            None => self.queues.first(),
            Some(wanted) => self.queues.iter().find(|queue| *queue == wanted),
        };
        found.map(String::as_str).ok_or_else(|| {
            let (name, queues) = (&self.name, list(&self.queues));
            format!("{:?} is none of the engine {name:?}; it takes {queues}", wanted.unwrap_or_default())
        })
    }
}

/// What and where the engine is, for people.
impl fmt::Display for EngineEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            EngineKind::Exec { program, .. } => {
                write!(f, "the program {}", safe(&program.to_string_lossy()))?
            }
            EngineKind::Ray { address: Some(address), .. } => write!(f, "Ray at {}", safe(address))?,
            EngineKind::Ray { address: None, .. } => write!(f, "the Ray of RAY_ADDRESS, or of this machine")?,
        }
        write!(f, "; its jobs stand in the queue {}", safe(&list(&self.queues)))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EnginesText {
    #[serde(default)]
    engines: BTreeMap<String, EntryText>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EntryText {
    kind: KindText,
    program: Option<PathBuf>,
    args: Option<Vec<String>>,
    #[serde(default, deserialize_with = "time")]
    remembers: Option<Duration>,
    #[serde(default, deserialize_with = "bytes")]
    max_output: Option<u64>,
    address: Option<String>,
    token_env: Option<String>,
    token_file: Option<PathBuf>,
    #[serde(default, deserialize_with = "bytes")]
    max_package: Option<u64>,
    #[serde(default, deserialize_with = "time")]
    timeout: Option<Duration>,
    queues: Option<Vec<String>>,
    limit: Option<u32>,
    #[serde(default, deserialize_with = "time")]
    poll_interval: Option<Duration>,
    #[serde(default, deserialize_with = "time")]
    start_timeout: Option<Duration>,
    lost_retry: Option<LostRetry>,
    forget: Option<bool>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum KindText {
    Exec,
    Ray,
}

impl EntryText {
    /// Checks the entry. A relative path starts at `folder`, that of the file.
    fn entry(self, name: &str, folder: &Path) -> Result<EngineEntry, String> {
        let misplaced = [
            ("program", self.program.is_some(), KindText::Exec),
            ("args", self.args.is_some(), KindText::Exec),
            ("remembers", self.remembers.is_some(), KindText::Exec),
            ("max_output", self.max_output.is_some(), KindText::Exec),
            ("address", self.address.is_some(), KindText::Ray),
            ("token_env", self.token_env.is_some(), KindText::Ray),
            ("token_file", self.token_file.is_some(), KindText::Ray),
            ("max_package", self.max_package.is_some(), KindText::Ray),
        ];
        if let Some((key, _, of)) = misplaced.iter().find(|(_, is_given, of)| *is_given && *of != self.kind) {
            let of = if *of == KindText::Exec { "exec" } else { "ray" };
            return Err(format!("{key} goes with kind = {of:?}; take it away"));
        }
        let is_short = |time: Option<Duration>, least: Duration| time.is_some_and(|time| time < least);
        let wrong = [
            (
                self.program.as_ref().is_some_and(|program| program.as_os_str().is_empty()),
                "program: it is empty",
            ),
            (is_short(self.timeout, MIN_TIMEOUT), "timeout: it takes 1s or more"),
            (is_short(self.poll_interval, MIN_POLL_INTERVAL), "poll_interval: it takes 100ms or more"),
            (
                is_short(self.start_timeout, Duration::from_millis(1)),
                "start_timeout: it is 0; give it the time that a job may be pending",
            ),
            (self.limit == Some(0), "limit: it takes 1 or more"),
            (
                self.queues.as_ref().is_some_and(Vec::is_empty),
                "queues: it has none; name one, or take the line away",
            ),
            (
                self.queues.as_ref().is_some_and(|queues| queues.iter().any(|queue| queue == DEFAULT_QUEUE)),
                "queues: \"default\" is that of other jobs; name another",
            ),
        ];
        if let Some((_, why)) = wrong.iter().find(|(is_wrong, _)| *is_wrong) {
            return Err((*why).to_owned());
        }
        let kind = match self.kind {
            KindText::Exec => EngineKind::Exec {
                program: program(
                    self.program.ok_or("an engine of the kind \"exec\" needs a program")?,
                    folder,
                ),
                args: self.args.unwrap_or_default(),
                remembers: self.remembers,
                max_output: self.max_output.map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX)),
            },
            KindText::Ray => EngineKind::Ray {
                address: self.address,
                token: match (self.token_env, self.token_file) {
                    (Some(_), Some(_)) => {
                        return Err("token_env and token_file exclude each other".to_owned());
                    }
                    (Some(variable), None) => Some(TokenPlace::Variable(variable)),
                    (None, file) => file.map(|file| TokenPlace::File(folder.join(file))),
                },
                max_package: self.max_package,
            },
        };
        let queues = self.queues.unwrap_or_else(|| vec![name.to_owned()]);
        Ok(EngineEntry {
            name: name.to_owned(),
            kind,
            queues,
            limit: self.limit,
            poll_interval: self.poll_interval,
            start_timeout: self.start_timeout,
            lost_retry: self.lost_retry,
            forget: self.forget,
            timeout: self.timeout,
        })
    }
}

fn list<'n>(names: impl IntoIterator<Item = &'n String>) -> String {
    names.into_iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ")
}

/// A name without a folder is looked for in `PATH`.
fn program(program: PathBuf, folder: &Path) -> PathBuf {
    if program.components().count() > 1 { folder.join(program) } else { program }
}

fn time<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    age(&String::deserialize(from)?).map(Some).map_err(serde::de::Error::custom)
}

fn bytes<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    size(&String::deserialize(from)?).map(Some).map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<BTreeMap<String, EngineEntry>, String> {
        let of_this = format!("perdura-engines-{:x}-{:?}", std::process::id(), std::thread::current().id());
        let folder = std::env::temp_dir().join(of_this);
        std::fs::create_dir(&folder).unwrap();
        let path = folder.join("engines.toml");
        std::fs::write(&path, text).unwrap();
        let engines = EnginesOption { engines: Some(path) }.engines(Path::new("perdura.db"));
        let read = engines.all().cloned().map_err(|e| e.message);
        std::fs::remove_dir_all(folder).unwrap();
        read
    }

    #[test]
    fn engines_are_read_and_paths_are_those_of_the_file() {
        let engines = read(
            r#"
            [engines.here]
            kind = "exec"
            program = "./run.py"
            args = ["x"]
            queues = ["a", "b"]
            poll_interval = "500ms"
            lost_retry = "backoff"
            [engines."big box"]
            kind = "ray"
            token_file = "token"
            max_package = "1G"
            "#,
        )
        .unwrap();
        let here = &engines["here"];
        let EngineKind::Exec { program, .. } = &here.kind else { panic!("{here:?}") };
        assert!(program.is_absolute() && program.ends_with("run.py"), "{program:?}");
        assert_eq!((here.queue(None).unwrap(), here.queue(Some("b")).unwrap()), ("a", "b"));
        assert!(here.queue(Some("default")).unwrap_err().contains("it takes \"a\", \"b\""));
        assert_eq!(
            (here.poll_interval, here.lost_retry),
            (Some(Duration::from_millis(500)), Some(LostRetry::Backoff))
        );
        let big = &engines["big box"];
        assert_eq!((big.queue(None).unwrap(), big.task_name().as_str()), ("big box", "perdura.job@big box"));
        assert!(matches!(
            &big.kind,
            EngineKind::Ray { max_package: Some(1_073_741_824), token: Some(TokenPlace::File(_)), .. }
        ));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line_or_its_engine() {
        for (text, told) in [
            ("[engines.a]\nkind = \"exec\"\nprogramm = \"x\"", "line 3: unknown field `programm`"),
            ("[engines.a]\nkind = \"slurm\"", "line 2: unknown variant `slurm`"),
            ("[engines.a]\nkind = \"exec\"\ntimeout = \"5\"", "line 3: it has no unit"),
            ("[engines.a]\nkind = ", "line 2:"),
            ("[engines.a]\nprogram = \"x\"", "missing field `kind`"),
            ("[engine.a]\nkind = \"exec\"", "line 1: unknown field `engine`"),
            ("[engines.a]\nkind = \"exec\"", "[engines.a]: an engine of the kind \"exec\" needs a program"),
            (
                "[engines.a]\nkind = \"ray\"\nprogram = \"x\"",
                "[engines.a]: program goes with kind = \"exec\"",
            ),
            ("[engines.a]\nkind = \"ray\"\ntoken_env = \"A\"\ntoken_file = \"b\"", "exclude each other"),
            ("[engines.a]\nkind = \"ray\"\nqueues = []", "queues: it has none"),
            ("[engines.a]\nkind = \"ray\"\nqueues = [\"default\"]", "is that of other jobs"),
            ("[engines.a]\nkind = \"ray\"\ntimeout = \"0s\"", "timeout: it takes 1s or more"),
            ("[engines.a]\nkind = \"ray\"\npoll_interval = \"1ms\"", "poll_interval: it takes 100ms"),
            ("[engines.a]\nkind = \"ray\"\nlimit = 0", "limit: it takes 1 or more"),
            ("[engines.a]\nkind = \"exec\"\nprogram = \"\"", "program: it is empty"),
            (
                "[engines.a]\nkind = \"ray\"\n[engines.b]\nkind = \"ray\"\nqueues = [\"a\"]",
                "give each its own",
            ),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(told), "{text:?}: {error}");
        }
        assert!(EnginesFile::none().all().unwrap().is_empty());
        let missing = EnginesOption { engines: Some("/nonexistent/e.toml".into()) }.engines(Path::new("a"));
        assert!(missing.all().unwrap_err().message.contains("cannot be read"));
        assert!(EnginesFile::none().get("ray").unwrap_err().message.contains("write [engines.ray] into"));
    }
}
