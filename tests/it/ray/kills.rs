//! A real Ray cluster through kills: of the queue's process, of the head, of the supervisors of jobs, and of several together.
//!
//! `PERDURA_RAY_HEAD` is a program that kills: `head`, which comes back empty, or `supervisor`, that of some job. The oracle is a file in which each job notes its id
//! when it begins.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use perdura::engine::{Collected, Engine, EngineError, JobId, JobStatus, NamedEngine};
use perdura::ray::{RayEngine, RayJob};
use perdura::{Builder, Config, Filter, Queue, State, Task};
use serde::{Deserialize, Serialize};

use crate::child::Child;
use crate::engine_jobs::{await_ends, began_once};
use crate::support::*;
use crate::told::Chance;

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Step {
    fails: bool,
}

impl Task for Step {
    const NAME: &'static str = "step";
    type Output = u32;
}

/// Ray, with a pause around each call, so that kills meet all phases.
struct Slowed(RayEngine, Chance);

impl Slowed {
    fn pause(&mut self) {
        std::thread::sleep(self.1.time(Duration::from_millis(80)));
    }
}

impl Engine for Slowed {
    type Spec = RayJob;

    fn start(&mut self, job: &JobId, spec: &RayJob) -> Result<(), EngineError> {
        self.pause();
        let started = self.0.start(job, spec);
        self.pause();
        started
    }

    fn poll(&mut self, jobs: &[JobId]) -> Result<Vec<JobStatus>, EngineError> {
        let statuses = self.0.poll(jobs);
        self.pause();
        statuses
    }

    fn cancel(&mut self, job: &JobId) -> Result<(), EngineError> {
        self.0.cancel(job)
    }

    fn collect(&mut self, job: &JobId) -> Result<Collected, EngineError> {
        let collected = self.0.collect(job);
        self.pause();
        collected
    }

    fn forget(&mut self, job: &JobId) -> Result<(), EngineError> {
        self.pause();
        self.0.forget(job)
    }

    fn remembers(&self) -> Duration {
        self.0.remembers()
    }
}

fn program(folder: &Path) -> Builder {
    let address = std::env::var("PERDURA_RAY").expect("PERDURA_RAY is the address of a head");
    let ray = RayEngine::new(&address).unwrap().timeout(5 * SECOND);
    let named = NamedEngine::new("ray", Slowed(ray, Chance(seed())));
    let named = named.poll_interval(Duration::from_millis(200)).limit(6).forget(true).start_timeout(MINUTE);
    let starts = folder.join("starts");
    let config =
        Config::default().workers(2).retry_backoff(Duration::ZERO).max_task_attempts(3).retention(None);
    Queue::builder().config(config).outside(
        &named,
        move |task: Step, _| Ok(RayJob::new(entrypoint(&starts, task.fails))),
        |_, ended| {
            ended.check()?;
            ended.json()
        },
    )
}

/// Notes its id, which Ray tells in a variable, works for a moment, and ends.
fn entrypoint(starts: &Path, fails: bool) -> String {
    let id =
        r#"printf '%s' "$RAY_JOB_CONFIG_JSON_ENV_VAR" | sed -E 's/.*"job_submission_id": "([^"]*)".*/\1/'"#;
    let code = u8::from(fails);
    // One write for each job: others note theirs at the same time.
    let note = format!("echo \"$({id})\" >> '{}'", starts.display());
    format!("{note}; sleep 0.$(($$ % 10)); echo 7; exit {code}")
}

/// Works until it is killed, and makes new tasks as long as there are few.
pub fn role(file: &Path) {
    let queue = program(file.parent().unwrap()).open(file).unwrap();
    crate::child::tell(format_args!("open"));
    for n in 0_u64.. {
        let counts = queue.counts().unwrap().total();
        if counts.running + counts.queued() < 8 {
            let _ = queue.enqueue(&Step { fails: n % 7 == 3 });
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// How a task may be lost: the process died three times while it was asked what is to be done, or as G19 says.
const LOSSES: [&str; 6] = [
    "the process ended while the task was running",
    "the engine had accepted the job and does not know it any more",
    "the job may have been started, and the engine may have forgotten it since",
    "the job did not start within",
    "the engine has said nothing of the job for",
    "Ray says FAILED, JOB_SUPERVISOR_", // an error of its own
];

/// Kills, by the program that can.
fn kill(what: &str) {
    let program = PathBuf::from(std::env::var("PERDURA_RAY_HEAD").expect("PERDURA_RAY_HEAD kills"));
    assert!(std::process::Command::new(program).arg(what).status().unwrap().success(), "{what}");
}

#[test]
fn g19_kills_of_the_queue_the_head_and_supervisors_start_no_job_twice() {
    if std::env::var_os("PERDURA_RAY_HEAD").is_none() {
        return; // `.ci/ray` has a head
    }
    let seed = seed();
    eprintln!("seed of kills: {seed}");
    let (mut chance, folder) = (Chance(seed), Folder::new());
    let mut kills = BTreeMap::new();
    let (mut with_work, mut intended, mut accepted) = (0_u32, 0_u32, 0_u32);
    for round in rounds(12) {
        let child = Child::start("ray", &folder.file()).listen();
        child.await_line(|line| line == "open");
        std::thread::sleep(chance.time(Duration::from_millis(4000)));
        let what = if round % 12 == 5 { 0 } else { chance.below(10) };
        let what = match what {
            0 => "head, then queue",
            1 => "supervisor, then queue",
            2 => "supervisor",
            _ => "queue",
        };
        for victim in what.split(", then ").filter(|victim| *victim != "queue") {
            kill(victim);
        }
        if what == "supervisor" {
            std::thread::sleep(chance.time(Duration::from_secs(2)));
        }
        child.kill();
        *kills.entry(what).or_insert(0_u32) += 1;
        let looker = Queue::builder().read_only(true).open(folder.file()).unwrap();
        let outside: Vec<_> = looker
            .tasks(Filter::new().state(State::Running).limit(usize::MAX))
            .unwrap()
            .into_iter()
            .filter_map(|task| task.outside)
            .collect();
        with_work += u32::from(!outside.is_empty());
        intended += u32::from(outside.iter().any(|job| job.accepted_at.is_none()));
        accepted += u32::from(outside.iter().any(|job| job.accepted_at.is_some()));
    }
    let queue = program(folder.path()).open(folder.file()).unwrap();
    await_ends(&queue);
    let began = began_once(&folder.path().join("starts"));
    let (mut ends, mut losses) = (BTreeMap::new(), BTreeMap::new());
    for task in queue.tasks(Filter::new().limit(usize::MAX)).unwrap() {
        *ends.entry(format!("{:?}", task.state)).or_insert(0_u32) += 1;
        let why = task.error_message.as_deref().unwrap_or_default();
        let right = match task.state {
            State::Succeeded => true,
            State::Failed => task.error_type.as_deref() == Some("ExitCode.1"),
            State::Lost => match LOSSES.iter().find(|loss| why.contains(**loss)) {
                Some(loss) => {
                    *losses.entry(*loss).or_insert(0_u32) += 1;
                    true
                }
                None => false,
            },
            _ => false,
        };
        assert!(right, "{task:?}, which wrote {:?}", queue.output(task.task_id, None));
    }
    report(
        "Ray kills",
        format_args!(
            "kills: {kills:?}, with work in flight: {with_work} (intended {intended}, accepted {accepted}), jobs: {}, ends: {ends:?}, losses: {losses:?}",
            began
        ),
    );
    let all: u32 = kills.values().sum();
    assert!(with_work > all / 2, "too few kills met work in flight: {with_work} of {all}");
}
