//! What the operating system refuses: threads, writes, any other call. Whatever it is, the answer is a typed error, no process panics
//! or hangs, and what was acknowledged stays.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use perdura::Queue;

use crate::child::Child;
use crate::loop_device::{Disk, is_program, must};
use crate::support::*;
use crate::told::Told;

/// This test binary as a user who may do nothing, and whom nobody else uses.
fn as_stranger(mut command: Command) -> Command {
    let user = 60_000 + std::process::id() % 5_000;
    command.args(["setpriv", &format!("--reuid={user}"), &format!("--regid={user}"), "--clear-groups"]);
    command.arg(std::env::current_exe().unwrap());
    command
}

fn open_to_all(folder: &Folder) {
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
}

/// The number of threads that a user may have goes up one by one: `open` is refused until there are enough, and every time the
/// file can be opened afterwards.
#[test]
fn open_is_refused_where_threads_cannot_be_started() {
    if !has("root, prlimit and setpriv", is_root() && is_program("prlimit") && is_program("setpriv")) {
        return;
    }
    let (mut refused, mut opened) = (0, 0);
    for threads in 3..40 {
        let folder = Folder::new();
        open_to_all(&folder);
        let mut limited = Command::new("prlimit");
        limited.arg(format!("--nproc={threads}"));
        let child = Child::start_through(as_stranger(limited), "threads", &folder.file());
        let (said, status) = child.finish_within(MINUTE);
        let said = said.concat();
        assert!(status.is_some_and(|s| s.success()), "with {threads} threads: {status:?}, {said}");
        match said.split_once(' ') {
            Some(("refused", why)) => {
                assert!(why.starts_with("Io ") && why.contains("thread"), "{why}");
                refused += 1;
            }
            _ => opened += u32::from(said == "opened"),
        }
        let queue = builder(perdura::Config::default()).open(folder.file()).unwrap();
        assert!(queue.executes(), "the lock is free again");
        let _ = queue.enqueue(&Do::Ok(1)).unwrap();
        queue.drain().unwrap();
        assert_sound(&queue);
        if opened > 1 {
            break;
        }
    }
    assert!(refused >= 3 && opened > 1, "{refused} were refused, {opened} were not");
}

/// The processor time that a process has used, in ticks of 10 ms.
fn ticks(process: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// A file system that gives up and goes read-only while a queue works on it.
#[test]
fn a_file_system_that_turns_read_only_is_reported_and_costs_nothing() {
    let Some(disk) = Disk::new("ext4", "") else { return };
    disk.format();
    let file = disk.path().join("tasks.db");
    let child = Child::start("steady", &file).listen();
    child.await_line(|line| line.starts_with("end"));
    let before = child.so_far(); // what is acknowledged while the journal is given up need not be there
    must(Command::new("mount").args(["-o", "remount,abort"]).arg(disk.path()));
    child.await_line(|line| line.starts_with("failed"));
    let used = ticks(child.process_id());
    std::thread::sleep(2 * SECOND);
    let used = ticks(child.process_id()) - used;
    let said = child.kill();
    let failed: Vec<_> = said.iter().filter(|line| line.starts_with("failed")).collect();
    assert!(failed.len() > 10, "each enqueue is answered: {failed:?}");
    let is_typed =
        |line: &&String| ["cannot be written", "reported an error"].iter().any(|told| line.contains(told));
    assert!(failed.iter().all(is_typed), "{failed:?}");
    assert!(used < 100, "{used} of 200 ticks were used for nothing");
    disk.unmount();
    disk.mount();
    let mut told = Told::default();
    told.take(&said[..before]);
    told.take_late(&said[before..]);
    told.finish(&file);
}

#[test]
fn a_folder_that_cannot_be_written_is_refused_and_nothing_is_made_in_it() {
    if !has("root and setpriv", is_root() && is_program("setpriv")) {
        return;
    }
    let folder = Folder::new();
    drop(Queue::builder().open(folder.file()).unwrap());
    std::fs::set_permissions(folder.file(), std::fs::Permissions::from_mode(0o666)).unwrap();
    std::fs::remove_file(folder.path().join("tasks.db-owner")).ok();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let names = || {
        let mut names: Vec<_> =
            std::fs::read_dir(folder.path()).unwrap().map(|f| f.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let before = names();
    for file in ["tasks.db", "new.db"] {
        let nice = Command::new("env"); // any program that starts another
        let child = Child::start_through(as_stranger(nice), "read-only", &folder.path().join(file));
        let (said, status) = child.finish_within(MINUTE);
        let said = said.concat();
        assert!(
            status.is_some_and(|s| s.success()) && said.starts_with("ReadOnly"),
            "{file}: {status:?} {said}"
        );
        assert_eq!(names(), before, "nothing was made");
    }
}

/// Which system call fails, how, and the first time in each thread (with `+`: from then on) that it does. Locks fail only while the
/// file is opened: later ones are mostly unlocks, which do not fail, and one that does locks the file until its process ends.
const REFUSALS: &[(&str, &str, &[&str])] = &[
    ("openat", "EMFILE", &["1", "2", "3", "4", "5", "6", "2+", "7+"]),
    ("openat", "EACCES", &["1", "3", "4"]),
    ("fcntl", "EAGAIN", &["1", "4"]),
    ("fcntl", "ENOLCK", &["1", "4"]),
    ("fsync,fdatasync", "EIO", &["1", "3", "6", "2+"]),
    ("pwrite64", "ENOSPC", &["1", "5", "12"]),
    ("flock", "ENOLCK", &["1", "1+"]),
    ("fstat,newfstatat", "EIO", &["1", "2", "3", "5", "8"]),
    ("unlink", "EIO", &["1", "1+"]),
    ("unlink", "EACCES", &["1"]),
    ("close", "EIO", &["1", "3", "5"]),
    ("ftruncate", "EIO", &["1", "2"]),
    ("mmap", "ENOMEM", &["1", "2", "3", "4", "5", "6", "8"]),
    ("pread64", "EIO", &["1", "2", "4", "8"]),
    ("clone3", "EAGAIN", &["1", "2", "4", "5", "7", "9"]),
];

/// A life that takes longer hangs. A refusal that meets an unlock by chance keeps that lock until the process ends, and each statement that
/// needs it waits for 10 s: a dozen of them one after the other in the two lives of the role.
const LONGEST_LIFE: Duration = Duration::from_secs(5 * 60);

/// Runs the role `once` with one refusal; what it said, and how it ended.
fn refused_once(
    file: &Path,
    call: &str,
    error: &str,
    when: &str,
) -> (Vec<String>, Option<std::process::ExitStatus>) {
    let child = Child::start("once", file).listen();
    child.await_line(|line| line == "ready");
    let mut strace = Command::new("strace");
    strace.args(["-f", "-q", "-e", &format!("trace={call}"), "-o"]).arg(file.with_extension("trace"));
    strace
        .arg("-e")
        .arg(format!("inject={call}:error={error}:when={when}"))
        .args(["-p", &child.process_id().to_string()]);
    let mut strace = strace.stdin(Stdio::null()).spawn().unwrap();
    let is_traced = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.process_id())).unwrap();
        !status.contains("TracerPid:\t0\n")
    };
    while !is_traced() {
        std::thread::yield_now();
    }
    std::fs::write(file.with_extension("go"), "").unwrap();
    let ended = child.finish_within(LONGEST_LIFE);
    let _ = strace.wait();
    ended
}

/// One call fails once, or from then on, in a short life of a queue. The lives mostly wait, so several go on at once.
#[test]
fn g01_g02_g03_no_refused_system_call_makes_it_panic_hang_or_lose() {
    if !has("strace", is_root() && is_program("strace")) {
        return;
    }
    let series = series();
    let left = Mutex::new(series.into_iter());
    let figures = Mutex::new(Refusals::default());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some(one) = { left.lock().unwrap().next() } {
                    let done = refuse_each(one);
                    figures.lock().unwrap().add(done);
                }
            });
        }
    });
    let figures = figures.into_inner().unwrap();
    report("refused calls", format_args!("{figures:?}"));
    assert!(figures.told > 10, "hardly any refusal was told to the caller");
}

/// Lives with one refusal each, one after the other.
fn refuse_each((call, error, whens): Series) -> Refusals {
    let mut figures = Refusals::default();
    for when in whens {
        let began = Instant::now();
        let refused = survives(call, error, &when);
        figures.cases += 1;
        figures.refused += refused.times;
        figures.told += usize::from(refused.told);
        figures.slowest = (began.elapsed(), format!("{call} {error} {when}")).max(figures.slowest);
        if refused.times == 0 && is_release() {
            break; // it makes fewer such calls
        }
    }
    if is_release() {
        report("refused calls", format_args!("{call}, {error}: {figures:?}"));
    }
    figures
}

/// What is refused one after the other: a call, its error, and when.
type Series = (&'static str, &'static str, Box<dyn Iterator<Item = String> + Send>);

/// In each CI run those of the table; for a release each call of each kind, once and from then on, until a life makes no more of them.
fn series() -> Vec<Series> {
    let listed = |whens: &'static [&str]| Box::new(whens.iter().map(|when| (*when).to_owned()));
    let mut all: Vec<Series> = Vec::new();
    for (call, error, whens) in REFUSALS {
        if is_release() && *call != "fcntl" {
            all.push((call, error, Box::new((1..).map(|n| n.to_string()))));
            all.push((call, error, Box::new((1..).map(|n| format!("{n}+")))));
        } else {
            all.push((call, error, listed(whens)));
        }
    }
    all
}

/// One refusal, or many: how often it happened, and whether the caller was told of any trouble.
struct Refused {
    times: usize,
    told: bool,
}

#[derive(Debug, Default)]
struct Refusals {
    cases: usize,
    refused: usize,
    told: usize,
    slowest: (Duration, String),
}

impl Refusals {
    fn add(&mut self, more: Refusals) {
        self.cases += more.cases;
        self.refused += more.refused;
        self.told += more.told;
        self.slowest = std::mem::take(&mut self.slowest).max(more.slowest);
    }
}

/// One case: it ends by itself, and the file has what was acknowledged.
fn survives(call: &str, error: &str, when: &str) -> Refused {
    let folder = Folder::new();
    let (said, status) = refused_once(&folder.file(), call, error, when);
    let trace = std::fs::read_to_string(folder.file().with_extension("trace")).unwrap();
    // Where Rust's own start of a thread gets no memory it aborts: that is a crash like any other.
    let crashed = call == "mmap" && status.is_some_and(|s| s.signal() == Some(SIGABRT));
    let well = crashed || status.is_some_and(|s| s.success());
    assert!(well, "{call}:{error}:{when}: {status:?} {said:?}");
    // A sync that fails as WAL is turned on must fail the open: else the readers find a file that is not in WAL mode.
    let is_blind = said.iter().any(|line| line.starts_with("trouble blind"));
    assert!(!is_blind || !call.starts_with("fsync"), "{call}:{error}:{when}: {said:?}");
    let mut told = Told::default();
    let lived: Vec<String> = said.iter().filter(|line| told_knows(line)).cloned().collect();
    told.take(&lived);
    told.finish(&folder.file());
    Refused {
        times: trace.matches("(INJECTED)").count(),
        told: said.iter().any(|line| line.starts_with("failed") || line.starts_with("trouble")),
    }
}

const SIGABRT: i32 = 6;

fn told_knows(line: &str) -> bool {
    !["ready", "trouble", "over"].iter().any(|word| line.starts_with(word))
}
