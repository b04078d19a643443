//! What the peers' benchmark programs share: the arguments, the payloads' sizes, the JSON
//! line, the percentiles, the bytes written. It knows nothing of any peer's interface.

use std::error::Error;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

/// Whatever a peer may fail with; it becomes the reason of a skipped line.
pub type Failed = Box<dyn Error + Send + Sync>;

/// Tasks of one transaction in `enqueue-batch`, and where tasks are made before the clock starts.
pub const BATCH: u64 = 1_000;
/// Bytes of a payload in `args-100k`.
pub const LARGE: usize = 100_000;
/// Workers in `drain` and `args-100k`.
pub const WORKERS: usize = 2;
/// Tasks in flight in `drain-wide`.
pub const WIDE: usize = 64;
/// Samples of `latency` that are not counted: the first ones find cold caches.
pub const WARM_UP: u64 = 5;
/// The rest between two samples of `latency`: the executor has settled the last task by then, and is idle.
pub const REST: Duration = Duration::from_millis(2);

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    EnqueueOne,
    EnqueueBatch,
    Drain,
    /// As `Drain`, with [`WIDE`] tasks in flight: in an async executor that number is not a number of threads, and it decides how
    /// many results share a commit.
    DrainWide,
    OneAtATime,
    Latency,
    Args100k,
}

impl Work {
    pub const ALL: [Work; 7] = [
        Work::EnqueueOne,
        Work::EnqueueBatch,
        Work::Drain,
        Work::DrainWide,
        Work::OneAtATime,
        Work::Latency,
        Work::Args100k,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Work::EnqueueOne => "enqueue-one",
            Work::EnqueueBatch => "enqueue-batch",
            Work::Drain => "drain",
            Work::DrainWide => "drain-wide",
            Work::OneAtATime => "one-at-a-time",
            Work::Latency => "latency",
            Work::Args100k => "args-100k",
        }
    }
}

/// The command line of every peer's program.
#[derive(Debug, Clone)]
pub struct Args {
    pub work: Work,
    pub tasks: u64,
    pub dir: PathBuf,
    /// `synchronous=FULL` is asked for, where the peer lets its user set it.
    pub full: bool,
    /// Only perdura has this one: its default is FULL already, so it is the other setting that needs a flag.
    pub relaxed: bool,
}

impl Args {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Args, String> {
        let (mut work, mut tasks, mut dir, mut full, mut relaxed) = (None, None, None, false, false);
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
            match word.as_str() {
                "--work" => {
                    let name = value()?;
                    let known = Work::ALL.into_iter().find(|work| work.name() == name);
                    work = Some(known.ok_or_else(|| format!("no work is called {name:?}"))?);
                }
                "--tasks" => tasks = Some(value()?.parse().map_err(|e| format!("--tasks: {e}"))?),
                "--dir" => dir = Some(PathBuf::from(value()?)),
                "--full" => full = true,
                "--relaxed" => relaxed = true,
                other => return Err(format!("unknown argument {other:?}")),
            }
        }
        let tasks = tasks.filter(|tasks| *tasks > 0).ok_or("--tasks is missing or 0")?;
        let (work, dir) = (work.ok_or("--work is missing")?, dir.ok_or("--dir is missing")?);
        Ok(Args { work, tasks, dir, full, relaxed })
    }

    /// A flag that changes nothing would put a figure into the wrong table.
    fn checked(self, peer: &str) -> Result<Args, String> {
        match (self.relaxed, self.full) {
            (true, _) if peer != "perdura" => Err(format!("{peer} has no --relaxed")),
            (true, true) => Err("--full and --relaxed exclude each other".into()),
            _ => Ok(self),
        }
    }

    /// The database file: a fresh one, if the directory is.
    pub fn file(&self) -> PathBuf {
        self.dir.join("queue.db")
    }

    /// The numbers of the tasks in batches of [`BATCH`].
    pub fn batches(&self) -> impl Iterator<Item = std::ops::Range<u64>> + use<> {
        let tasks = self.tasks;
        (0..tasks).step_by(BATCH as usize).map(move |first| first..(first + BATCH).min(tasks))
    }
}

/// What the peer's connection does about power cuts.
#[derive(Debug, Clone)]
pub struct Durability {
    journal: String,
    synchronous: Synchronous,
    /// Where the two come from.
    source: &'static str,
}

/// SQLite's `PRAGMA synchronous`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Synchronous {
    Off,
    Normal,
    Full,
    Extra,
}

impl Synchronous {
    /// From the number that SQLite answers with.
    pub fn from_number(number: i64) -> Result<Synchronous, Failed> {
        match number {
            0 => Ok(Synchronous::Off),
            1 => Ok(Synchronous::Normal),
            2 => Ok(Synchronous::Full),
            3 => Ok(Synchronous::Extra),
            other => Err(format!("SQLite says synchronous={other}").into()),
        }
    }

    /// As SQLite's documentation writes it.
    pub fn name(self) -> &'static str {
        match self {
            Synchronous::Off => "OFF",
            Synchronous::Normal => "NORMAL",
            Synchronous::Full => "FULL",
            Synchronous::Extra => "EXTRA",
        }
    }
}

impl Durability {
    /// Both settings were asked of the connection that does the work.
    pub fn read_back(journal: &str, synchronous: Synchronous) -> Durability {
        Durability { journal: journal.to_lowercase(), synchronous, source: "read back" }
    }

    /// The peer keeps its connection to itself: the journal mode comes from the file's header, `synchronous` from `source`.
    pub fn from_file(
        args: &Args,
        synchronous: Synchronous,
        source: &'static str,
    ) -> Result<Durability, Failed> {
        // Read after the work: closing a database file opened on the side drops the locks of SQLite in the same process.
        let header = std::fs::read(args.file())?;
        let journal = match header.get(18..20) {
            Some([2, 2]) => "wal",
            Some([1, 1]) => "rollback",
            other => return Err(format!("not a SQLite file: versions {other:?}").into()),
        };
        Ok(Durability { journal: journal.into(), synchronous, source })
    }

    /// By SQLite's documentation, does an acknowledged commit survive a power cut?
    fn durable(&self) -> bool {
        self.synchronous >= Synchronous::Full
    }

    fn text(&self) -> String {
        format!("{} {}; {}", self.journal, self.synchronous.name(), self.source)
    }

    /// What a power cut may take, in the words of SQLite's documentation.
    fn loses(&self) -> &'static str {
        match (self.synchronous, self.journal.as_str()) {
            (Synchronous::Off, _) => {
                "the newest commits, and perhaps the whole file: a connection that is OFF never syncs"
            }
            (Synchronous::Normal, "wal") => {
                "the newest commits, back to the last checkpoint: the WAL is not synced at a commit"
            }
            (Synchronous::Normal, _) => {
                "hardly anything: commits are synced, but less often than with FULL; a very small chance of a damaged file on older file systems"
            }
            _ => "nothing that was acknowledged",
        }
    }
}

/// What a program has found out.
#[derive(Debug)]
pub struct Report {
    pub measured: Measured,
    pub durability: Durability,
    /// What a reader must know to judge the figure.
    pub note: Option<String>,
}

/// The figure.
#[derive(Debug)]
pub enum Measured {
    /// All tasks took so long.
    Rate(Duration),
    /// Each sample took so long.
    Latency(Vec<Duration>),
    /// All tasks took so long, and wrote so many bytes.
    Bytes(Duration, u64),
}

/// A reason why a peer cannot do a work, which is no failure.
pub fn skip<T>(reason: &str) -> Result<T, Failed> {
    Err(reason.into())
}

/// Runs a peer's program: parses the arguments, measures, prints the line. `lock` is the package's Cargo.lock, which knows the
/// version of the peer that was measured.
pub fn main(peer: &str, lock: &str, measure: impl FnOnce(&Args) -> Result<Report, Failed>) {
    let args =
        Args::parse(std::env::args().skip(1)).and_then(|args| args.checked(peer)).unwrap_or_else(|e| {
            eprintln!("{e}\nusage: {peer} --work NAME --tasks N --dir DIR [--full] [--relaxed]");
            std::process::exit(2)
        });
    let mut line = json!({
        "peer": peer,
        "version": version(lock, peer),
        "libsqlite3_sys": version(lock, "libsqlite3-sys"),
        "work": args.work.name(),
        "full": args.full,
        "relaxed": args.relaxed,
        "tasks": args.tasks,
    });
    let fields = line.as_object_mut().expect("json! with braces makes an object");
    match measure(&args) {
        Ok(report) => describe(fields, &args, report),
        Err(e) => {
            fields.insert("skipped".into(), e.to_string().into());
        }
    }
    println!("{line}");
    // At once: a peer's threads may have no way to end, and what they still do is not measured.
    std::process::exit(0)
}

fn describe(line: &mut Map<String, Value>, args: &Args, report: Report) {
    let Report { measured, durability, note } = report;
    line.insert("durability".into(), durability.text().into());
    line.insert("durable".into(), durability.durable().into());
    line.insert("power_cut_takes".into(), durability.loses().into());
    let mut rate = |took: Duration| {
        line.insert("seconds".into(), rounded(took.as_secs_f64()));
        line.insert("per_second".into(), rounded(args.tasks as f64 / took.as_secs_f64()));
    };
    match measured {
        Measured::Rate(took) => rate(took),
        Measured::Bytes(took, bytes) => {
            rate(took);
            line.insert("bytes_per_task".into(), (bytes / args.tasks).into());
        }
        Measured::Latency(mut samples) => {
            samples.sort_unstable();
            rate(samples.iter().sum());
            line.insert("p50_us".into(), rounded(micros(percentile(&samples, 50))));
            line.insert("p99_us".into(), rounded(micros(percentile(&samples, 99))));
        }
    }
    if let Some(note) = note {
        line.insert("note".into(), note.into());
    }
}

/// The version of a package in a Cargo.lock.
fn version<'l>(lock: &'l str, package: &str) -> &'l str {
    let name = format!("name = \"{package}\"");
    let mut lines = lock.lines().skip_while(|line| *line != name).skip(1);
    let version = lines.next().and_then(|line| line.strip_prefix("version = "));
    version.map_or("unknown", |quoted| quoted.trim_matches('"'))
}

/// The nearest rank of sorted samples.
fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

/// Three decimals: more would only be noise.
fn rounded(figure: f64) -> Value {
    json!((figure * 1e3).round() / 1e3)
}

/// Runs it and says how long it took.
pub fn timed<T, E>(run: impl FnOnce() -> Result<T, E>) -> Result<Duration, E> {
    let started = Instant::now();
    run()?;
    Ok(started.elapsed())
}

/// The bytes that this process has handed to `write` and its relatives so far. Linux only.
pub fn bytes_written() -> Result<u64, Failed> {
    let io = std::fs::read_to_string("/proc/self/io")?;
    let wchar = io.lines().find_map(|line| line.strip_prefix("wchar: "));
    Ok(wchar.ok_or("no wchar in /proc/self/io")?.trim().parse()?)
}

/// A payload of [`LARGE`] bytes. Letters only, so that JSON adds nothing.
pub fn large_text() -> String {
    "perdura ".repeat(LARGE / 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_ranks() {
        let samples: Vec<Duration> = (1..=200).map(Duration::from_micros).collect();
        assert_eq!(percentile(&samples, 50), Duration::from_micros(100));
        assert_eq!(percentile(&samples, 99), Duration::from_micros(198));
        assert_eq!(percentile(&samples[..1], 99), Duration::from_micros(1));
    }

    #[test]
    fn the_version_is_the_one_of_the_lock() {
        let lock = "[[package]]\nname = \"a\"\nversion = \"1.2.3\"\n\n[[package]]\nname = \"b\"\nversion = \"4.5.6\"\n";
        assert_eq!(version(lock, "b"), "4.5.6");
        assert_eq!(version(lock, "c"), "unknown");
    }

    #[test]
    fn batches_cover_every_task_once() {
        let words = ["--work", "drain", "--tasks", "2500", "--dir", "d"].map(String::from);
        let batches: Vec<_> = Args::parse(words.into_iter()).unwrap().batches().collect();
        assert_eq!(batches, [0..1000, 1000..2000, 2000..2500]);
    }
}
