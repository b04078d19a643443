//! What the tests share: a folder of their own, and the command in it.

use std::ffi::OsStr;
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use perdura::{Queue, TaskId, TaskRecord};

/// No test waits longer for anything.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A folder with a file of tasks, removed at the end of its test.
pub struct Place(PathBuf);

/// How a run of the command ended, and what it said.
#[derive(Debug)]
pub struct Said {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Place {
    pub fn new() -> Place {
        let name = format!("perdura-cli-{}-{:016x}", std::process::id(), RandomState::new().hash_one(0));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Place(path.canonicalize().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// What a file holds; empty if it is not there.
    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// The command in this folder, on its file.
    pub fn command<W: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = W>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_perdura"));
        command.args(words).current_dir(&self.0).stdin(Stdio::null());
        command.env("PERDURA_DB", self.path("tasks.db")).env_remove("COLUMNS");
        command
    }

    /// Runs it to its end.
    #[track_caller]
    pub fn run<W: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = W>) -> Said {
        self.start(self.command(words)).end()
    }

    /// The same, with this on its standard input.
    #[track_caller]
    pub fn feed<W: AsRef<OsStr>>(&self, input: &str, words: impl IntoIterator<Item = W>) -> Said {
        std::fs::write(self.path("input"), input).unwrap();
        let mut command = self.command(words);
        command.stdin(File::open(self.path("input")).unwrap());
        self.start(command).end()
    }

    /// Runs it beside the test.
    pub fn start(&self, mut command: Command) -> Running {
        let out = self.path(&format!("{:016x}.out", RandomState::new().hash_one(1)));
        command.stdout(File::create(&out).unwrap());
        let mut running = self.start_with(&mut command);
        running.out = Some(out);
        running
    }

    /// The same, with a standard output of its own.
    pub fn start_with(&self, command: &mut Command) -> Running {
        let err = self.path(&format!("{:016x}.err", RandomState::new().hash_one(1)));
        command.stderr(File::create(&err).unwrap());
        Running { child: command.spawn().unwrap(), out: None, err }
    }

    /// Adds a job, and answers with its id.
    #[track_caller]
    pub fn add<W: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = W>) -> TaskId {
        let words = words.into_iter().map(|word| word.as_ref().to_owned());
        let said = self.run([OsStr::new("add").to_owned()].into_iter().chain(words));
        assert_eq!(said.code, Some(0), "{said:?}");
        said.out.trim().parse().unwrap()
    }

    pub fn queue(&self) -> Queue {
        Queue::builder().open(self.path("tasks.db")).unwrap()
    }

    pub fn record(&self, id: TaskId) -> TaskRecord {
        self.queue().get(id).unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A run of the command that goes on. It is killed if the test ends before it.
pub struct Running {
    child: Child,
    /// None if it goes elsewhere.
    out: Option<PathBuf>,
    err: PathBuf,
}

impl Running {
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn out(&self) -> String {
        self.out.as_deref().map_or_else(String::new, text)
    }

    pub fn err(&self) -> String {
        text(&self.err)
    }

    /// Waits for its end.
    #[track_caller]
    pub fn end(mut self) -> Said {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return Said { code: status.code(), out: self.out(), err: self.err() };
            }
            assert!(began.elapsed() < PATIENCE, "it does not end: {}{}", self.out(), self.err());
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn text(path: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned()
}

/// Waits until something is so.
#[track_caller]
pub fn await_that(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "it never came: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
