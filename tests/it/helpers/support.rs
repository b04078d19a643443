//! What the tests share: a task that does what its args say, and queues to run it.

use std::path::PathBuf;
use std::time::Duration;

use perdura::testing::{ManualClock, SteppedQueue};
use perdura::{Builder, Config, Context, Failure, Options, Queue, Task, TaskId};
use serde::{Deserialize, Serialize};

#[path = "needs.rs"]
mod needs;
pub use needs::has;

/// A task that does what its args say.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Do {
    Ok(u64),
    Fail(String),
    Permanent,
    Panic(String),
    Snooze(u64),
    Cancel,
    RetryAfter(u64),
    FailUntil(u32),
}

impl Task for Do {
    const NAME: &'static str = "do";
    type Output = u64;
}

/// The handler of [`Do`].
pub fn run(task: Do, cx: &Context) -> Result<u64, Failure> {
    match task {
        Do::Ok(n) => Ok(n),
        Do::Fail(error_type) => Err(Failure::named(error_type, "as told")),
        Do::Permanent => Err(Failure::permanent("as told")),
        Do::Panic(text) => panic!("{text}"),
        Do::Snooze(ms) => Err(Failure::snooze(Duration::from_millis(ms))),
        Do::Cancel => Err(Failure::cancel("as told")),
        Do::RetryAfter(ms) => Err(Failure::named("later", "as told").retry_after(Duration::from_millis(ms))),
        Do::FailUntil(n) if cx.attempt_number() < n => Err(Failure::named("not.yet", "as told")),
        Do::FailUntil(n) => Ok(u64::from(n)),
    }
}

pub fn fail() -> Do {
    Do::Fail("told".to_owned())
}

/// A stepped queue with a handler for [`Do`], on a clock of its own.
pub fn stepped() -> (SteppedQueue, ManualClock) {
    stepped_with(Config::default())
}

pub fn stepped_with(config: Config) -> (SteppedQueue, ManualClock) {
    let clock = ManualClock::new();
    (SteppedQueue::open(builder(config).clock(clock.clone()), &clock).unwrap(), clock)
}

pub fn builder(config: Config) -> Builder {
    Queue::builder().config(config).handle(run)
}

/// A folder that is removed at the end of its test.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Folder {
        Folder::within(&std::env::temp_dir())
    }

    /// In memory, if the machine has such a place: for tests that are not about syncs.
    pub fn in_memory() -> Folder {
        let memory = std::path::Path::new("/dev/shm");
        if memory.is_dir() { Folder::within(memory) } else { Folder::new() }
    }

    fn within(folder: &std::path::Path) -> Folder {
        use std::hash::{BuildHasher, RandomState};
        let name = format!("perdura-test-{}-{:016x}", std::process::id(), RandomState::new().hash_one(0));
        let path = folder.join(name);
        std::fs::create_dir(&path).unwrap();
        Folder(path.canonicalize().unwrap())
    }

    pub fn path(&self) -> &std::path::Path {
        &self.0
    }

    pub fn file(&self) -> PathBuf {
        self.0.join("tasks.db")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Enqueues with options, and answers with the id.
pub fn add(queue: &Queue, task: &Do, options: Options) -> TaskId {
    queue.enqueue_with(task, options).unwrap().id()
}

/// Asserts that a file is sound.
#[track_caller]
pub fn assert_sound(queue: &Queue) {
    let report = queue.check().unwrap();
    assert!(report.is_ok(), "{report:#?}");
}

pub const SECOND: Duration = Duration::from_secs(1);
pub const MINUTE: Duration = Duration::from_secs(60);

/// How long a test waits for something that should come at once. With a planted bug it may never come, so the wait is shorter.
pub const PATIENCE: Duration = if cfg!(perdura_planted) { Duration::from_secs(12) } else { MINUTE };

/// How often a harness repeats itself: `in_ci` times in each CI run; for so many minutes if `PERDURA_MINUTES` says so (`.ci/release`).
/// The numbers it yields are the rounds.
pub fn rounds(in_ci: u64) -> impl Iterator<Item = u64> {
    let minutes = std::env::var("PERDURA_MINUTES")
        .ok()
        .map(|text| text.parse::<f64>().expect("PERDURA_MINUTES is a number"));
    let until = minutes.map(|m| std::time::Instant::now() + Duration::from_secs_f64(m * 60.0));
    (0..).take_while(move |round| match until {
        Some(until) => std::time::Instant::now() < until,
        None => *round < in_ci,
    })
}

/// Whether this is a long run for a release (`.ci/release`).
pub fn is_release() -> bool {
    std::env::var_os("PERDURA_MINUTES").is_some()
}

/// A seed for chance: `PERDURA_SEED`, or a new one. A harness prints it, so that its run can be repeated.
pub fn seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    match std::env::var("PERDURA_SEED") {
        Ok(text) => text.parse().expect("PERDURA_SEED is a number"),
        Err(_) => RandomState::new().hash_one(0),
    }
}

/// Whether the tests run as root, which may become another user, mount, and read what it wants.
#[cfg(unix)]
pub fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|me| std::os::unix::fs::MetadataExt::uid(&me) == 0)
}

/// What a harness has done, for whoever reads its output: counts, each with its name.
pub fn report(harness: &str, figures: std::fmt::Arguments<'_>) {
    eprintln!("figures of {harness}: {figures}");
}
