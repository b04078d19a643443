//! What a queue costs that has nothing to do, and what one costs to open: looked at from outside, in a child process.

use std::error::Error;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use perdura::{Options, Queue, Schedule};

use crate::Asked;
use crate::measure::Rounds;
use crate::report::{Report, Row, Target};
use crate::work::{Noop, Scratch, noop};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// How long an idle queue is watched.
const WATCHED: Duration = Duration::from_secs(10);
/// How long one with schedules is watched: the timer looks at the wall clock each minute while a tick is to come.
const SCHEDULES_WATCHED: Duration = Duration::from_secs(130);
/// Schedules of an idle file, whose ticks are days away.
const SCHEDULES: usize = 10_000;
/// The period of the one among them that ticks.
const PERIOD: Duration = Duration::from_secs(5);

/// The life of a child: opens a queue with handlers, says how long that took, and stays until its input ends.
pub fn child(role: &str, mut args: impl Iterator<Item = String>) -> Outcome<()> {
    let path = args.next().ok_or("a child needs a path")?;
    if role == "--child-enqueues" {
        let queue = Queue::builder().open(&path)?;
        println!("0");
        loop {
            let _ = queue.enqueue(&Noop { n: 1 })?; // until it is killed
        }
    }
    let mut builder = Queue::builder().workers(2).handle(noop);
    if role != "--child-polling" {
        builder = builder.poll_interval(Duration::ZERO);
    }
    if role == "--child-schedules" || role == "--child-ticks" {
        for n in 0..SCHEDULES as u64 {
            let schedule = Schedule::every(format!("schedule {n}"), Duration::from_secs(10 * 86_400));
            builder = builder.schedule(schedule, &Noop { n });
        }
    }
    if role == "--child-ticks" {
        builder = builder.schedule(Schedule::every("it ticks", PERIOD), &Noop { n: 0 });
    }
    let began = Instant::now();
    let queue = builder.open(&path)?;
    let opened = began.elapsed();
    if role == "--child-waiting" {
        let _ = queue.enqueue_with(&Noop { n: 1 }, Options::new().delay(Duration::from_secs(3600)))?;
    }
    println!("{}", opened.as_nanos());
    std::io::stdin().read_to_end(&mut Vec::new())?;
    std::process::exit(0) // its tasks may still run
}

/// A child that writes without pause.
pub struct Running(Child);

impl Running {
    pub fn start(role: &str, path: &Path) -> Outcome<Running> {
        Ok(Running(start(role, path)?.0))
    }

    pub fn stop(mut self) -> Outcome<()> {
        self.0.kill()?;
        self.0.wait()?;
        Ok(())
    }
}

fn start(role: &str, path: &Path) -> Outcome<(Child, Duration)> {
    let mut child = Command::new(std::env::current_exe()?)
        .arg(role)
        .arg(path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    BufReader::new(child.stdout.take().ok_or("a child has an output")?).read_line(&mut line)?;
    Ok((child, Duration::from_nanos(line.trim().parse()?)))
}

fn stop(mut child: Child) -> Outcome<()> {
    drop(child.stdin.take());
    child.wait()?;
    Ok(())
}

/// How long a child takes to open the file, and its resident bytes at most, while it runs tasks of it for a while.
pub fn open_in_child(path: &Path) -> Outcome<(Duration, u64)> {
    let (child, opened) = start("--child-open", path)?;
    thread::sleep(Duration::from_millis(500));
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id()))?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    let kilobytes: u64 = resident.trim().trim_end_matches(" kB").parse()?;
    stop(child)?;
    Ok((opened, kilobytes * 1024))
}

/// How often the threads of a process were put on a processor, and the processor time that it took, in clock ticks.
fn awakenings(process: u32) -> Outcome<(u64, u64)> {
    let mut switches = 0;
    for task in std::fs::read_dir(format!("/proc/{process}/task"))? {
        let status = std::fs::read_to_string(task?.path().join("status"))?;
        let counts = status
            .lines()
            .filter(|line| line.contains("ctxt_switches"))
            .filter_map(|line| line.rsplit('\t').next());
        switches += counts.filter_map(|n| n.trim().parse::<u64>().ok()).sum::<u64>();
    }
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    let times = stat.rsplit(") ").next().unwrap_or_default().split(' ').skip(11).take(2);
    Ok((switches, times.filter_map(|n| n.parse::<u64>().ok()).sum()))
}

/// System calls that strace counts while it watches; none if there is no strace.
fn system_calls(process: u32) -> Outcome<Option<(u64, String)>> {
    let strace =
        Command::new("strace").args(["-f", "-qq", "-p", &process.to_string()]).stderr(Stdio::piped()).spawn();
    let Ok(mut strace) = strace else { return Ok(None) };
    thread::sleep(Duration::from_secs(1)); // attaching interrupts every wait once
    let mut output = strace.stderr.take().ok_or("strace has an output")?;
    let reader = thread::spawn(move || {
        let mut lines: Vec<(Instant, String)> = Vec::new();
        for line in BufReader::new(&mut output).lines().map_while(Result::ok) {
            lines.push((Instant::now(), line));
        }
        lines
    });
    let began = Instant::now();
    thread::sleep(WATCHED);
    let ended = Instant::now();
    Command::new("kill").args(["-INT", &strace.id().to_string()]).status()?;
    strace.wait()?;
    let lines = reader.join().map_err(|_| "the reader panicked")?;
    // What strace had to say before it had attached to every thread is not a call of ours.
    let calls: Vec<String> = lines
        .into_iter()
        .filter(|(at, line)| {
            *at > began + Duration::from_millis(200) && *at < ended && !line.contains("<detached")
        })
        .map(|(_, line)| line)
        .collect();
    Ok(Some((calls.len() as u64, calls.into_iter().take(3).collect::<Vec<_>>().join("; "))))
}

/// An idle queue, as it is watched.
struct Idler {
    /// The role of the child.
    role: &'static str,
    what: String,
    watched: Duration,
    /// Wake-ups at most; none: they are shown and not judged.
    bound: Option<f64>,
    counts_calls: bool,
}

pub fn idle(asked: &Asked, report: &mut Report) -> Outcome<()> {
    let looks = 1.0 + WATCHED.as_secs_f64() / 5.0;
    let minutes = 1.0 + (SCHEDULES_WATCHED.as_secs_f64() / 60.0).floor();
    let idler = |role, what: &str, watched, bound, counts_calls| {
        let what = what.to_owned();
        Idler { role, what, watched, bound, counts_calls }
    };
    let far = format!("{SCHEDULES} schedules whose ticks are far away, no polling");
    let ticks = format!("{SCHEDULES} schedules, one of which ticks each {} s, no polling", PERIOD.as_secs());
    for idler in [
        idler("--child-idle", "nothing waits, no polling", WATCHED, Some(0.0), true),
        idler("--child-waiting", "one task waits, no polling", WATCHED, Some(looks), true),
        idler("--child-polling", "nothing waits, polling each 5 s (default)", WATCHED, Some(looks), false),
        idler("--child-schedules", &far, SCHEDULES_WATCHED, Some(minutes), false),
        idler("--child-ticks", &ticks, 10 * PERIOD, None, false),
    ] {
        watch(asked, report, &idler)?;
    }
    Ok(())
}

fn watch(asked: &Asked, report: &mut Report, idler: &Idler) -> Outcome<()> {
    let scratch = Scratch::new(&asked.dir);
    let (child, _) = start(idler.role, scratch.path())?;
    thread::sleep(Duration::from_secs(3)); // until the last chore of opening is done
    let before = awakenings(child.id())?;
    thread::sleep(idler.watched);
    let after = awakenings(child.id())?;
    let row = |what: &str, unit, figure: f64, target| Row {
        name: format!("idle for {} s, {}: {what}", idler.watched.as_secs(), idler.what),
        synchronous: "",
        unit,
        raw: None,
        perdura: Rounds(vec![figure]),
        judged: Rounds(vec![figure]),
        target,
    };
    let at_most = |bound: Option<f64>| bound.map_or(Target::None, Target::AtMost);
    report.row(row("wake-ups", "wake-ups", (after.0 - before.0) as f64, at_most(idler.bound)));
    let no_time = if idler.bound.is_some() { Target::AtMost(0.0) } else { Target::None };
    report.row(row("processor time", "ticks", (after.1 - before.1) as f64, no_time));
    match system_calls(child.id())? {
        Some((calls, which)) => {
            // A wake-up of the timer is a wait that ends, a look at the clock, and the next wait.
            let bound = idler.bound.filter(|_| idler.counts_calls).map(|wake_ups| 4.0 * wake_ups);
            let what = format!("system calls in {} s", WATCHED.as_secs());
            report.row(row(&what, "calls", calls as f64, at_most(bound)));
            if !which.is_empty() {
                println!("    {which}");
            }
        }
        None => println!("strace is not installed; system calls are not counted"),
    }
    std::io::stdout().flush()?;
    stop(child)
}
