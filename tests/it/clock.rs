//! A wall clock that jumps under a running process. The library libfaketime lies to a whole process about it, and reads the lie anew
//! from a file each time; the monotonic clock stays true, and with it the process measures what the jumps did.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use perdura::{Config, Context, Failure, Queue, Task};
use serde::{Deserialize, Serialize};

use crate::child::{Child, say};
use crate::support::*;
use crate::told::Chance;

/// Where distributions put the library.
const LIBRARIES: &[&str] = &[
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib64/faketime/libfaketimeMT.so.1",
    "/usr/lib/faketime/libfaketimeMT.so.1",
];

/// What the clock is told, one after the other in CI and by chance in a long run.
const JUMPS: &[&str] = &[
    "-30d",
    "+365d",
    "@1970-01-01 00:00:10",
    "@1955-11-05 06:15:00",
    "@2100-02-28 23:59:58",
    "+0d",
    "+3d",
    "-1d",
];

const BACKOFF: Duration = Duration::from_millis(200);
/// A jump back is noticed by the timer's next look at the latest.
const LOOK: Duration = Duration::from_secs(5);
/// How much later than promised a busy machine may be.
const SLACK: Duration = Duration::from_secs(3);
/// Far more than a run takes, far less than the jumps.
const RETENTION: Duration = Duration::from_secs(86_400);

/// A task that knows when it was made: microseconds after the role began, on the monotonic clock.
#[derive(Serialize, Deserialize)]
struct Made {
    at: u64,
    fails: bool,
}

impl Task for Made {
    const NAME: &'static str = "made";
    type Output = ();
}

/// Enqueues all the time, and says when each task starts: how many ms after it was made or, for a retry, after it failed.
pub fn role(file: &Path) {
    let origin = Instant::now();
    let micros = move || u64::try_from(origin.elapsed().as_micros()).unwrap();
    let failed_at: Vec<AtomicU64> = (0..64).map(|_| AtomicU64::new(0)).collect();
    let handler = move |task: Made, cx: &Context| {
        let slot = &failed_at[usize::try_from(cx.id().as_i64()).unwrap() % 64];
        if cx.attempt_number() == 1 {
            say!("started {}", (micros() - task.at) / 1000);
            if task.fails {
                slot.store(micros(), Ordering::Relaxed);
                return Err(Failure::named("as.told", "as told"));
            }
        } else {
            say!("retried {}", (micros() - slot.load(Ordering::Relaxed)) / 1000);
        }
        Ok(())
    };
    let config = Config::default()
        .workers(3)
        .retention(Some(RETENTION))
        .retry_backoff(BACKOFF)
        .poll_interval(Duration::from_millis(50));
    let queue = Queue::builder().config(config).handle(handler).open(file).unwrap();
    say!("open");
    for n in 1_u64.. {
        let _ = queue.enqueue(&Made { at: micros(), fails: n % 8 == 0 }).unwrap();
        let year =
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_secs());
        say!("kept {} of {n} at {}", queue.counts().unwrap().total().all(), 1970 + year / 31_556_952);
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The largest of the times that the role has told under this word, and how many there were.
fn slowest(said: &[String], word: &str) -> (Duration, usize) {
    let times = said.iter().filter_map(|line| line.strip_prefix(word)?.trim().parse().ok());
    let times: Vec<Duration> = times.map(Duration::from_millis).collect();
    (times.iter().max().copied().unwrap_or_default(), times.len())
}

#[test]
fn g10_a_clock_that_jumps_delays_nothing_for_long_and_deletes_nothing() {
    let Some(library) = LIBRARIES.iter().find(|path| Path::new(path).exists()) else {
        has("libfaketime", false);
        return;
    };
    let folder = Folder::new();
    let told_time = folder.path().join("time");
    let tell_time = |time: &str| {
        std::fs::write(folder.path().join("new"), time).unwrap();
        std::fs::rename(folder.path().join("new"), &told_time).unwrap(); // never half a time
    };
    tell_time("+0d");
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env("LD_PRELOAD", library).env("FAKETIME_TIMESTAMP_FILE", &told_time);
    command.envs([("FAKETIME_DONT_FAKE_MONOTONIC", "1"), ("FAKETIME_NO_CACHE", "1")]);
    let child = Child::start_through(command, "clock", &folder.file()).listen();
    child.await_line(|line| line == "open");
    let mut chance = Chance(seed());
    let (mut jumps, mut starts, mut retries) = (0, 0, 0);
    let (mut slowest_start, mut slowest_retry) = (Duration::ZERO, Duration::ZERO);
    let mut years = std::collections::BTreeSet::new();
    for round in rounds(JUMPS.len() as u64 * 2) {
        let which = if jumps < JUMPS.len() { round } else { chance.below(JUMPS.len() as u64) };
        tell_time(JUMPS[usize::try_from(which).unwrap()]);
        jumps += 1;
        std::thread::sleep(Duration::from_millis(400) + chance.time(Duration::from_millis(400)));
        let said = child.take();
        let (start, some_starts) = slowest(&said, "started");
        let (retry, some_retries) = slowest(&said, "retried");
        (starts, retries) = (starts + some_starts, retries + some_retries);
        (slowest_start, slowest_retry) = (slowest_start.max(start), slowest_retry.max(retry));
        for line in said.iter().filter_map(|line| line.strip_prefix("kept ")) {
            let (kept, rest) = line.split_once(" of ").unwrap();
            let (made, year) = rest.split_once(" at ").unwrap();
            assert_eq!(kept, made, "nothing is deleted by age while the clock jumps");
            years.insert(year.parse::<u64>().unwrap());
        }
        assert!(start < SLACK, "a task without a due time waited for {start:?}");
        assert!(retry < 2 * BACKOFF + LOOK + SLACK, "a retry after {BACKOFF:?} came after {retry:?}");
    }
    child.kill();
    report(
        "clock",
        format_args!(
            "{jumps} jumps; {starts} starts, the latest after {slowest_start:?}; {retries} retries, the latest after {slowest_retry:?}"
        ),
    );
    assert!(years.contains(&1970) && years.iter().any(|y| *y >= 2099), "the clock did not jump: {years:?}");
    assert!(starts > jumps * 5 && retries > jumps / 2, "{starts} starts, {retries} retries");
    assert_sound(&Queue::builder().open(folder.file()).unwrap());
}
