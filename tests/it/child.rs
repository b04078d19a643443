//! Processes that the tests start, kill and read: this test binary again, running one of the roles below.
//!
//! A role tells what it does on its standard output, a line each; the parent reads the lines while the role lives.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child as Process, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use perdura::{Config, Context, Failure, Options, Queue, Task};
use serde::{Deserialize, Serialize};

/// A running role.
pub struct Child {
    process: Process,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

const ROLE: &str = "PERDURA_TEST_ROLE";
const FILE: &str = "PERDURA_TEST_FILE";

/// What a role says begins with this, to tell it from what the test harness prints.
const MARK: &str = "@ ";

impl Child {
    pub fn start(role: &str, file: &Path) -> Child {
        Child::start_through(Command::new(std::env::current_exe().unwrap()), role, file)
    }

    /// Starts a role through another program, which gets this binary and its arguments.
    pub fn start_through(mut command: Command, role: &str, file: &Path) -> Child {
        command.args(["--exact", "child::role", "--nocapture", "--test-threads=1"]);
        command
            .env(ROLE, role)
            .env(FILE, file)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut process = command.spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        Child { process, lines }
    }

    /// The next thing that the role says; none when it has ended.
    pub fn line(&mut self) -> Option<String> {
        loop {
            let line = self.lines.next()?.ok()?;
            if let Some((_, said)) = line.split_once(MARK) {
                return Some(said.to_owned());
            }
        }
    }

    /// Reads until the role says this.
    #[track_caller]
    pub fn await_line(&mut self, wanted: &str) {
        while let Some(line) = self.line() {
            if line == wanted {
                return;
            }
        }
        panic!("the child ended without saying {wanted:?}");
    }

    /// SIGKILL; then everything that the role has said and nobody has read.
    pub fn kill(mut self) -> Vec<String> {
        self.process.kill().unwrap();
        let said = std::iter::from_fn(|| self.line()).collect();
        self.process.wait().unwrap();
        said
    }

    /// Waits for its end: what it said, and whether it ended well.
    pub fn finish(mut self) -> (Vec<String>, bool) {
        let said = std::iter::from_fn(|| self.line()).collect();
        (said, self.process.wait().unwrap().success())
    }
}

/// Says a line, if this process has a role.
pub fn say(line: std::fmt::Arguments<'_>) {
    if std::env::var_os(ROLE).is_none() {
        return;
    }
    let line = format!("{MARK}{line}\n");
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(line.as_bytes());
    let _ = out.flush();
}

macro_rules! say {
    ($($arg:tt)*) => { say(format_args!($($arg)*)) };
}

/// Runs the role that the environment names; without one there is nothing to do.
#[test]
fn role() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let file = std::env::var(FILE).unwrap();
    let file = Path::new(&file);
    match role.as_str() {
        "work" => work(file),
        "race" => race(file),
        "hold" => hold(file),
        "poison" => poison(file),
        "narrow" => narrow(file),
        "history" => crate::histories::child(file),
        "read-only" => match Queue::builder().open(file) {
            Ok(_) => say!("opened"),
            Err(e) => say!("{:?}: {e}", e.kind()),
        },
        role => panic!("no role {role}"),
    }
    std::process::exit(0);
}

/// A task that says when it starts and ends. `n` is unique for its process.
#[derive(Serialize, Deserialize)]
pub struct Noted {
    pub process: u32,
    pub n: u64,
    pub micros: u64,
}

impl Task for Noted {
    const NAME: &'static str = "noted";
}

pub fn noted(task: Noted, cx: &Context) -> Result<u64, Failure> {
    say!("start {} {} {}", cx.id(), cx.generation(), cx.attempt_number());
    std::thread::sleep(Duration::from_micros(task.micros));
    say!("end {} {}", cx.id(), cx.generation());
    Ok(task.n)
}

fn config() -> Config {
    Config { workers: 3, retention: None, poll_interval: Duration::from_millis(20), ..Config::default() }
}

/// Enqueues from two threads without end, single tasks and batches of five, while three workers run them.
fn work(file: &Path) {
    say!("opening");
    let queue = Queue::builder().config(config()).handle(noted).open(file).unwrap();
    say!("open");
    let process = std::process::id();
    let counter = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for thread in 0..2 {
            let (queue, counter) = (&queue, &counter);
            scope.spawn(move || {
                loop {
                    let size = if thread == 0 { 1 } else { 5 };
                    let first = counter.fetch_add(size, Ordering::Relaxed);
                    let tasks: Vec<_> =
                        (first..first + size).map(|n| Noted { process, n, micros: n % 7 * 300 }).collect();
                    say!("try {process} {first} {size}");
                    let made = queue.enqueue_all(&tasks).unwrap();
                    let ids: Vec<_> = made.iter().map(|m| m.id().to_string()).collect();
                    say!("acked {}", ids.join(" "));
                }
            });
        }
    });
}

/// Opens as soon as it can, enqueues twenty tasks, and stays until forty are done.
fn race(file: &Path) {
    let queue = Queue::builder().config(config()).handle(noted).open(file).unwrap();
    let process = std::process::id();
    let tasks: Vec<_> = (0..20).map(|n| Noted { process, n, micros: 0 }).collect();
    queue.enqueue_all(&tasks).unwrap();
    while queue.counts().unwrap().total().succeeded < 40 {
        std::thread::sleep(Duration::from_millis(5));
    }
    say!("saw all");
}

/// Says whether it executes, and then runs what comes, for ever.
fn hold(file: &Path) {
    let queue = Queue::builder().config(config()).handle(noted).open(file).unwrap();
    say!("open");
    let mut executes = None;
    loop {
        if executes.replace(queue.executes()) != Some(queue.executes()) {
            say!("executes {}", queue.executes());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A task that takes its process with it.
#[derive(Serialize, Deserialize)]
pub struct Poison;

impl Task for Poison {
    const NAME: &'static str = "poison";
}

fn die(_: Poison, cx: &Context) -> Result<(), Failure> {
    say!("start {} {} {}", cx.id(), cx.generation(), cx.attempt_number());
    std::process::abort()
}

/// Runs everything that may start.
fn poison(file: &Path) {
    let queue = Queue::builder().config(config()).handle(noted).handle(die).open(file).unwrap();
    while !queue.executes() {
        std::thread::sleep(Duration::from_millis(5));
    }
    queue.drain().unwrap();
    queue.shutdown(Duration::from_secs(10)).unwrap();
}

/// Enqueues under a limit of the file size, until nothing goes any more.
fn narrow(file: &Path) {
    let queue = Queue::builder().open(file).unwrap();
    let note = |n, size: usize| Wide { n, text: "x".repeat(size) };
    let mut n = 0;
    for size in [40_000, 10] {
        loop {
            n += 1;
            let batch = [note(n, size), note(n, size)];
            match queue.enqueue_all(&batch) {
                Ok(made) => say!("acked {n} {}", made[0].id()),
                Err(e) => {
                    say!(
                        "failed {n} {:?} {}",
                        e.outcome(),
                        e.token().map_or_else(|| "-".to_owned(), |t| t.to_string())
                    );
                    break;
                }
            }
        }
    }
    let one = queue.enqueue_with(&note(n + 1, 10), Options::new());
    say!("after {}", one.is_ok());
}

/// A task of a size to choose.
#[derive(Serialize, Deserialize)]
pub struct Wide {
    pub n: u64,
    pub text: String,
}

impl Task for Wide {
    const NAME: &'static str = "wide";
}
