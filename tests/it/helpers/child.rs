//! Processes that the tests start, kill and read: this test binary again, running one of the roles below.
//!
//! A role tells what it does on its standard output, a line each; the parent reads the lines while the role lives.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child as Process, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use perdura::{Config, Context, Failure, Options, Queue, Task};
use serde::{Deserialize, Serialize};

use crate::workload;

/// A running role. Dropped, it is killed.
pub struct Child {
    process: Process,
    lines: Option<std::io::Lines<BufReader<ChildStdout>>>,
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
        command.args(["--exact", "helpers::child::role", "--nocapture", "--test-threads=1"]);
        command
            .env(ROLE, role)
            .env(FILE, file)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut process = command.spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        Child { process, lines: Some(lines) }
    }

    /// The process that was started: the role itself, if no other program stands in between.
    pub fn process_id(&self) -> u32 {
        self.process.id()
    }

    /// The next thing that the role says; none when it has ended.
    pub fn line(&mut self) -> Option<String> {
        self.lines.as_mut().and_then(next_line)
    }

    /// From now on a thread reads what the role says.
    pub fn listen(mut self) -> Listening {
        let mut lines = self.lines.take().unwrap();
        let said = Arc::new(Mutex::new(Vec::new()));
        let shared = said.clone();
        let reader = std::thread::spawn(move || {
            while let Some(line) = next_line(&mut lines) {
                shared.lock().unwrap().push(line);
            }
        });
        Listening { child: self, said, reader }
    }

    /// The process's number.
    pub fn id(&self) -> u32 {
        self.process.id()
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

    /// As [`Listening::finish_within`].
    pub fn finish_within(self, limit: Duration) -> (Vec<String>, Option<ExitStatus>) {
        self.listen().finish_within(limit)
    }

    /// Waits for its end: what it said, and whether it ended well.
    pub fn finish(mut self) -> (Vec<String>, bool) {
        let said = std::iter::from_fn(|| self.line()).collect();
        (said, self.process.wait().unwrap().success())
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn next_line(lines: &mut std::io::Lines<BufReader<ChildStdout>>) -> Option<String> {
    loop {
        let line = lines.next()?.ok()?;
        if let Some((_, said)) = line.split_once(MARK) {
            return Some(said.to_owned());
        }
    }
}

/// A running role whose words are gathered as they come.
pub struct Listening {
    child: Child,
    said: Arc<Mutex<Vec<String>>>,
    reader: JoinHandle<()>,
}

impl Listening {
    /// What it has said and nobody has taken.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.said.lock().unwrap())
    }

    /// How many lines it has said.
    pub fn so_far(&self) -> usize {
        self.said.lock().unwrap().len()
    }

    /// Waits until one of its lines is right.
    #[track_caller]
    pub fn await_line(&self, is_right: impl Fn(&str) -> bool) {
        while !self.said.lock().unwrap().iter().any(|line| is_right(line)) {
            assert!(!self.reader.is_finished(), "the child ended: {:?}", self.said.lock().unwrap());
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Waits for its end, at most so long: what it said, and how it ended; none if it had to be killed.
    pub fn finish_within(mut self, limit: Duration) -> (Vec<String>, Option<ExitStatus>) {
        let until = Instant::now() + limit;
        let mut status = None;
        while status.is_none() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(2));
            status = self.child.process.try_wait().unwrap();
        }
        (self.kill(), status)
    }

    /// The process that was started.
    pub fn process_id(&self) -> u32 {
        self.child.process_id()
    }

    /// SIGKILL; then everything that it has said.
    pub fn kill(mut self) -> Vec<String> {
        let _ = self.child.process.kill(); // it may have ended
        self.child.process.wait().unwrap();
        self.reader.join().unwrap();
        std::mem::take(&mut self.said.lock().unwrap())
    }
}

/// Says a line, if this process has a role.
pub fn tell(line: std::fmt::Arguments<'_>) {
    if std::env::var_os(ROLE).is_none() {
        return;
    }
    let line = format!("{MARK}{line}\n");
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(line.as_bytes());
    let _ = out.flush();
}

macro_rules! say {
    ($($arg:tt)*) => { $crate::child::tell(format_args!($($arg)*)) };
}
pub(crate) use say;

/// Runs the role that the environment names; without one there is nothing to do.
#[test]
fn role() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let file = std::env::var(FILE).unwrap();
    let file = Path::new(&file);
    std::thread::spawn(end_with_the_parent);
    match role.as_str() {
        "race" => race(file),
        "hold" => hold(file),
        "poison" => poison(file),
        "hostile" => crate::handlers::role(file),
        "narrow" => narrow(file),
        "history" => crate::histories::child(file),
        #[cfg(all(unix, feature = "exec"))]
        "engine" => crate::exec_engine::role(file),
        #[cfg(feature = "ray")]
        "ray" => crate::ray::role(file),
        #[cfg(unix)]
        "panicking-logger" => crate::panics::role(file),
        "read-only" => match Queue::builder().open(file) {
            Ok(_) => say!("opened"),
            Err(e) => say!("{:?}: {e}", e.kind()),
        },
        role if crate::security::role(role, file) => {}
        #[cfg(target_os = "linux")]
        role if crate::surroundings::role(role, file) => {}
        role => workload::role(role, file),
    }
    std::process::exit(0);
}

/// A role must not outlive the test that started it, whatever ended that: its standard input is a pipe from there.
fn end_with_the_parent() {
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    std::process::exit(1);
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
    type Output = u64;
}

pub fn noted(task: Noted, cx: &Context) -> Result<u64, Failure> {
    say!("start {} {} {}", cx.id(), cx.generation(), cx.attempt_number());
    std::thread::sleep(Duration::from_micros(task.micros));
    say!("end {} {}", cx.id(), cx.generation());
    Ok(task.n)
}

fn config() -> Config {
    Config::default().workers(3).retention(None).poll_interval(Duration::from_millis(20))
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
    say!("open as process {}", std::process::id());
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
    type Output = u64;
}

fn die(_: Poison, cx: &Context) -> Result<u64, Failure> {
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
    let config = config().disk_reserve_bytes(0); // the WAL is to reach the limit
    let queue = Queue::builder().config(config).open(file).unwrap();
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
    type Output = String;
}
