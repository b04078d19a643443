//! What it costs to let a Ray cluster run tasks.
//!
//! `cargo bench --features ray --bench ray` follows 1,000 running jobs of a scripted server: how many requests, how much of a processor.
//!
//! With `RAY=http://127.0.0.1:8265` jobs run on that cluster too, a few at a time: by a loop of Ray's own client (`PYTHON` is a Python that has it) and by perdura, in turn. `JOBS=1000`,
//! `AT_ONCE=4`, `ROUNDS=1` say how much, `CHART=ray.svg` draws the jobs that have ended, by time. (`.ci/ray shell` starts a head.)

mod chart;
#[allow(dead_code, reason = "the tests use the rest of it")]
#[path = "../../tests/it/ray/server.rs"]
mod server;

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use perdura::engine::{Collected, Engine, EngineError, JobId, JobStatus, NamedEngine};
use perdura::ray::{RayEngine, RayJob};
use perdura::{Config, Queue, Task};
use serde::{Deserialize, Serialize};
use server::Server;

/// How often both look.
const INTERVAL: Duration = Duration::from_millis(500);

/// What each job does.
const ENTRYPOINT: &str = "true";

/// For how long the jobs of the scripted server are followed.
const FOLLOWED: Duration = Duration::from_secs(30);

#[derive(Serialize, Deserialize)]
struct Job;

impl Task for Job {
    const NAME: &'static str = "job";
    type Output = ();
}

/// When a job was submitted, accepted, seen to run and seen to have ended, in seconds.
#[derive(Debug, Clone, Copy, Default)]
struct Times {
    submitted: f64,
    accepted: f64,
    ran: Option<f64>,
    ended: f64,
}

/// A run of many jobs.
struct Run {
    jobs: Vec<Times>,
    /// Processor time that it took itself, in seconds.
    used: f64,
}

fn main() {
    follow();
    let Ok(address) = std::env::var("RAY") else { return };
    let number = |name: &str, default| {
        std::env::var(name).map_or(default, |text| text.parse::<u32>().expect("a number"))
    };
    let (jobs, at_once, rounds) = (number("JOBS", 1000), number("AT_ONCE", 4), number("ROUNDS", 1));
    println!("{jobs} × `{ENTRYPOINT}` on Ray, {at_once} at once, a look each {INTERVAL:?}:");
    let mut runs = Vec::new();
    for _ in 0..rounds {
        let (own, ours) = (bare(&address, jobs, at_once), perdura(&address, jobs, at_once));
        println!("  Ray's client  {}", own.told());
        println!("  perdura       {}", ours.told());
        println!("  submit to seen running: {:.2} × its client's", ours.waits() / own.waits());
        runs.push((own, ours));
    }
    if let (Ok(path), Some((own, ours))) = (std::env::var("CHART"), runs.pop()) {
        let ends = |run: &Run| run.jobs.iter().map(|job| job.ended).collect();
        let curves = [("a loop of Ray's own client", ends(&own)), ("perdura", ends(&ours))];
        chart::draw(&curves, at_once, path.as_ref()).expect("a chart");
        println!("{path} was drawn");
    }
}

impl Run {
    fn told(&self) -> String {
        let end = self.jobs.iter().map(|job| job.ended).fold(0.0, f64::max);
        let submit = median(self.jobs.iter().map(|job| job.accepted - job.submitted));
        format!(
            "{end:.1} s, {:.2} jobs/s; submit {:.0} ms, to seen running {:.2} s (medians); {:.2} s of a processor",
            self.jobs.len() as f64 / end,
            submit * 1e3,
            self.waits(),
            self.used
        )
    }

    /// The median time from submit until it is seen to run.
    fn waits(&self) -> f64 {
        median(self.jobs.iter().map(|job| job.ran.unwrap_or(job.ended) - job.submitted))
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// A file of its own, with all its queue left behind.
fn open(engine: &NamedEngine<impl Engine<Spec = RayJob>>) -> Queue {
    let config = Config::default().workers(2).retention(None);
    let builder = Queue::builder().config(config).outside(
        engine,
        |_: Job, _| Ok(RayJob::new(ENTRYPOINT)),
        |_, ended| ended.check(),
    );
    builder.open_temporary().expect("a file")
}

/// 1,000 jobs that run, followed for a while.
fn follow() {
    let server = Server::start();
    let engine = RayEngine::new(&server.address).expect("its address").token("none");
    let queue = open(&NamedEngine::new("ray", engine).limit(1000));
    let tasks: Vec<Job> = (0..1000).map(|_| Job).collect();
    let made = queue.enqueue_all(&tasks).expect("tasks");
    let is_accepted =
        |id| queue.get(id).expect("it is there").outside.is_some_and(|job| job.accepted_at.is_some());
    while !made.iter().all(|task| is_accepted(task.id())) {
        std::thread::sleep(Duration::from_millis(100));
    }
    let all: Vec<String> = server.state().jobs.keys().cloned().collect();
    for job in &all {
        server.set(job, serde_json::json!({ "status": "RUNNING" }));
    }
    let (asked, used, began) = (server.asked(""), used_by_follower(), Instant::now());
    std::thread::sleep(FOLLOWED);
    let (asked, used, took) =
        (server.asked("") - asked, used_by_follower() - used, began.elapsed().as_secs_f64());
    println!(
        "1,000 running jobs of a scripted server, followed for {took:.0} s with a look each 2 s: {asked} requests ({:.2}/s), {:.2} % of a processor",
        asked as f64 / took,
        100.0 * used / took
    );
    let _ = queue.cancel_all(perdura::Filter::new()).expect("they are cancelled");
}

/// What the thread that follows has used of a processor, in seconds. It is the kernel's figure for that thread: the server has others.
fn used_by_follower() -> f64 {
    let threads = std::fs::read_dir("/proc/self/task").expect("Linux").flatten();
    let stats = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("stat")).ok());
    stats.filter(|stat| stat.contains("(perdura-engine")).map(|stat| seconds(&stat)).sum()
}

fn used() -> f64 {
    seconds(&std::fs::read_to_string("/proc/self/stat").expect("Linux"))
}

/// User and system time: the fields 14 and 15, in hundredths of a second.
fn seconds(stat: &str) -> f64 {
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    fields.skip(11).take(2).map(|ticks| ticks.parse::<f64>().expect("ticks") / 100.0).sum()
}

fn bare(address: &str, jobs: u32, at_once: u32) -> Run {
    let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/ray/bare.py");
    let interval = INTERVAL.as_secs_f64().to_string();
    let said = Command::new(python)
        .args([script, address, &jobs.to_string(), &at_once.to_string(), &interval, ENTRYPOINT])
        .output()
        .expect("Python");
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    let mut run = Run { jobs: Vec::new(), used: 0.0 };
    for line in String::from_utf8_lossy(&said.stdout).lines() {
        let numbers: Vec<f64> = line.split(' ').filter_map(|word| word.parse().ok()).collect();
        match numbers.as_slice() {
            [used] => run.used = *used,
            [submitted, accepted, ran, ended] => {
                run.jobs.push(Times {
                    submitted: *submitted,
                    accepted: *accepted,
                    ran: Some(*ran),
                    ended: *ended,
                });
            }
            _ => panic!("{line}"),
        }
    }
    run
}

fn perdura(address: &str, jobs: u32, at_once: u32) -> Run {
    let times = Arc::new(Mutex::new(BTreeMap::new()));
    let (before, began) = (used(), Instant::now());
    let engine = Timed { ray: RayEngine::new(address).expect("an address"), times: times.clone(), began };
    let named = NamedEngine::new("ray", engine).limit(at_once).poll_interval(INTERVAL).forget(true);
    let queue = open(&named);
    let tasks: Vec<Job> = (0..jobs).map(|_| Job).collect();
    queue.enqueue_all(&tasks).expect("tasks");
    queue.drain().expect("they end");
    assert_eq!(queue.counts().expect("counts").total().succeeded, u64::from(jobs));
    let jobs = times.lock().expect("no panic").values().copied().collect();
    Run { jobs, used: used() - before }
}

/// The engine of Ray, with a note of the time of each event of a job.
struct Timed {
    ray: RayEngine,
    times: Arc<Mutex<BTreeMap<JobId, Times>>>,
    began: Instant,
}

impl Timed {
    fn note(&self, job: &JobId, note: impl FnOnce(&mut Times, f64)) {
        let now = self.began.elapsed().as_secs_f64();
        note(self.times.lock().expect("no panic").entry(job.clone()).or_default(), now);
    }
}

impl Engine for Timed {
    type Spec = RayJob;

    fn start(&mut self, job: &JobId, spec: &RayJob) -> Result<(), EngineError> {
        self.note(job, |times, now| times.submitted = now);
        let started = self.ray.start(job, spec);
        self.note(job, |times, now| times.accepted = now);
        started
    }

    fn poll(&mut self, jobs: &[JobId]) -> Result<Vec<JobStatus>, EngineError> {
        let statuses = self.ray.poll(jobs)?;
        for (job, status) in jobs.iter().zip(&statuses) {
            match status {
                JobStatus::Running => self.note(job, |times, now| times.ran = times.ran.or(Some(now))),
                JobStatus::Ended(_) => self.note(job, |times, now| times.ended = now),
                _ => {}
            }
        }
        Ok(statuses)
    }

    fn cancel(&mut self, job: &JobId) -> Result<(), EngineError> {
        self.ray.cancel(job)
    }

    fn collect(&mut self, job: &JobId) -> Result<Collected, EngineError> {
        self.ray.collect(job)
    }

    fn forget(&mut self, job: &JobId) -> Result<(), EngineError> {
        self.ray.forget(job)
    }

    fn remembers(&self) -> Duration {
        self.ray.remembers()
    }
}
