//! An engine that is a program: what it is asked, what its answers mean, and what becomes of jobs when the queue's process is killed.
//!
//! `PERDURA_ENGINE` names another program than `examples/engines/folder.py`, with its arguments (`.ci/outside` does that with real clusters).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use perdura::engine::{Engine, JobId, JobStatus, NamedEngine};
use perdura::exec::ExecEngine;
use perdura::testing::{EngineCases, check_engine};
use perdura::{Builder, Config, Failure, Filter, Queue, State, Task};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::child::Child;
use crate::engine_jobs::{await_ends, began_once};
use crate::support::*;
use crate::told::Chance;

/// A program for a test, a Python script of these lines; `call` is what it is asked to do, `ask` what it is given.
fn script(folder: &Folder, lines: &str) -> ExecEngine {
    let path = folder.path().join("engine.py");
    let program =
        format!("import sys, json, time, os\ncall = sys.argv[-1]\nask = json.load(sys.stdin)\n{lines}\n");
    std::fs::write(&path, program).unwrap();
    ExecEngine::new("python3").arg(path)
}

fn has_python() -> bool {
    let found = std::process::Command::new("python3").arg("--version").output();
    has("python3", found.is_ok_and(|out| out.status.success()))
}

fn folder_engine(folder: &Path) -> ExecEngine {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/engines/folder.py");
    ExecEngine::new("python3").arg(script).arg(folder.join("jobs")).remembers(Duration::from_secs(3600))
}

#[test]
fn the_example_of_the_form_does_what_is_expected_of_an_engine() {
    if !has_python() {
        return;
    }
    let folder = Folder::new();
    let cases = EngineCases {
        succeeds: json!({ "argv": ["sh", "-c", "echo working; echo 42"] }),
        fails: json!({ "argv": ["sh", "-c", "exit 3"] }),
        runs: json!({ "argv": ["sleep", "1000"] }),
        refused: Some(json!({ "argv": "not a list" })),
        patience: Duration::from_secs(60),
    };
    check_engine(&mut folder_engine(folder.path()), &cases).unwrap();
}

#[test]
fn a_program_that_does_not_answer_as_it_should_has_not_answered_and_says_why() {
    if !has_python() {
        return;
    }
    let folder = Folder::new();
    let job = JobId::new("a1");
    let missing = ExecEngine::new("/no/such/program").start(&job, &json!(1)).unwrap_err();
    assert!(missing.message().contains("`/no/such/program start` cannot be started"), "{missing}");
    for (lines, why) in [
        ("sys.exit('the head is away\\x1b')", "ended with exit code 1: the head is away"),
        ("os.kill(os.getpid(), 9)", "was ended by a signal"),
        ("print('{')", "wrote no answer that is understood: cut short at line"),
        (
            "print('{\"secret\": 1}')",
            "wrote no answer that is understood: a value of another shape at line 1",
        ),
        ("print('<html>secret</html>')", "wrote no answer that is understood: not JSON at line 1, column 1"),
        ("pass", "wrote no answer: cut short"),
        ("print(json.dumps({'started': True}))", "a value of another shape"),
        ("sys.stdout.write('x' * 5000)", "wrote more than 4096 bytes"),
        ("time.sleep(100)", "did not answer within 1s"),
        ("os.system('sleep 100 &')\nprint('{}')", "keeps its output open"),
    ] {
        let began = Instant::now();
        let mut engine = script(&folder, lines).timeout(SECOND).max_output(4096);
        let error = engine.start(&job, &json!(1)).unwrap_err();
        assert!(error.message().contains(why), "{why:?}: {error}");
        assert!(!error.message().contains("secret") && !error.is_refusal(), "{error}");
        assert!(began.elapsed() < 30 * SECOND, "{lines}");
    }
    let refused = script(&folder, "print(json.dumps({'refused': 'no such image'}))")
        .start(&job, &json!(1))
        .unwrap_err();
    assert!(refused.is_refusal() && refused.message() == "no such image", "{refused:?}");
}

#[test]
fn a_program_gets_what_it_is_asked_and_its_words_are_statuses() {
    if !has_python() {
        return;
    }
    let folder = Folder::new();
    let answers = "known = {'a': {'status': 'running'}, 'b': {'status': 'failed', 'error_type': 'OutOfMemory', 'message': 'm', 'permanent': True},
         'c': {'status': 'lost', 'message': 'gone'}, 'd': {'status': 'absent'}}
answers = {'start': {}, 'poll': {job: known[job] for job in ask.get('jobs', []) if job in known}, 'cancel': {}, 'forget': {},
           'collect': {'result': {'loss': 0.5}, 'log': 'epoch 1\\n'}}
open(os.path.join(os.path.dirname(sys.argv[0]), call), 'w').write(json.dumps([ask, os.environ.get('TOKEN')]))
print(json.dumps(answers[call]))";
    let mut engine = script(&folder, answers).env("TOKEN", "t");
    let ids = ["a", "b", "c", "d", "e"].map(JobId::new);
    let statuses = engine.poll(&ids).unwrap();
    assert_eq!(
        [&statuses[0], &statuses[3], &statuses[4]],
        [&JobStatus::Running, &JobStatus::Absent, &JobStatus::Unknown]
    );
    let shown = format!("{:?} {:?}", statuses[1], statuses[2]);
    assert!(
        shown.contains("OutOfMemory")
            && shown.contains("permanent: true")
            && shown.contains("Lost(\"gone\")"),
        "{shown}"
    );
    engine.start(&ids[0], &json!({ "argv": ["x"] })).unwrap();
    engine.cancel(&ids[0]).unwrap();
    engine.forget(&ids[0]).unwrap();
    let _ = engine.collect(&ids[0]).unwrap();
    for (call, asked) in [
        ("start", json!([{ "job": "a", "spec": { "argv": ["x"] } }, "t"])),
        ("poll", json!([{ "jobs": ["a", "b", "c", "d", "e"] }, "t"])),
        ("cancel", json!([{ "job": "a" }, "t"])),
        ("collect", json!([{ "job": "a" }, "t"])),
        ("forget", json!([{ "job": "a" }, "t"])),
    ] {
        let heard: serde_json::Value =
            serde_json::from_str(&std::fs::read_to_string(folder.path().join(call)).unwrap()).unwrap();
        assert_eq!(heard, asked, "{call}");
    }
    assert_eq!(engine.poll(&[]).unwrap(), []);
}

// ---- Kills ----

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Build {
    /// Where jobs note that they have begun.
    starts: PathBuf,
    fails: bool,
}

impl Task for Build {
    const NAME: &'static str = "build";
    type Output = u32;
}

/// The queue under test: jobs note their id, which is the name of their folder, work for a moment, and end.
fn program(folder: &Path) -> Builder {
    let engine = match std::env::var("PERDURA_ENGINE") {
        Ok(words) => {
            let mut words = words.split_whitespace();
            let engine = ExecEngine::new(words.next().expect("PERDURA_ENGINE names a program"));
            words.fold(engine.remembers(Duration::from_secs(3600)), ExecEngine::arg)
        }
        Err(_) => folder_engine(folder),
    };
    let named = NamedEngine::new("builds", engine).poll_interval(Duration::from_millis(100)).limit(8);
    let config =
        Config::default().workers(1).retry_backoff(Duration::ZERO).max_task_attempts(3).retention(None);
    Queue::builder().config(config).outside(
        &named,
        |task: Build, _| {
            let code = if task.fails { 1 } else { 0 };
            let work = format!(
                "basename \"$PWD\" >> '{}'; sleep 0.0$(($$ % 10)); echo 7; exit {code}",
                task.starts.display()
            );
            Ok::<_, Failure>(json!({ "argv": ["sh", "-c", work] }))
        },
        |_, ended| ended.json(),
    )
}

/// Works until it is killed, and makes new tasks as long as there are few.
pub fn role(file: &Path) {
    let folder = file.parent().unwrap();
    let queue = program(folder).open(file).unwrap();
    crate::child::tell(format_args!("open"));
    for n in 0_u64.. {
        let counts = queue.counts().unwrap().total();
        if counts.running + counts.queued() < 16 {
            let _ = queue.enqueue(&Build { starts: folder.join("starts"), fails: n % 7 == 3 });
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// How a task may be lost: its process died three times while it asked what the engine is to do; or the engine has lost the job, which a killed controller
/// may do.
const LOSSES: [&str; 4] = [
    "the process ended while the task was running",
    "it has left the queue without an exit code",
    "the engine had accepted the job and does not know it any more",
    "the job may have been started, and the engine may have forgotten it since",
];

/// The oracle is a file in which each job notes that it has begun.
#[test]
fn g19_kill_9_starts_no_job_twice_and_each_is_told_of() {
    if !has_python() {
        return;
    }
    let seed = seed();
    eprintln!("seed of engine kills: {seed}");
    let (mut chance, folder) = (Chance(seed), Folder::new());
    let (mut kills, mut with_work) = (0_u64, 0_u64);
    for _ in rounds(30) {
        let child = Child::start("engine", &folder.file()).listen();
        child.await_line(|line| line == "open");
        std::thread::sleep(chance.time(Duration::from_millis(2000)));
        child.kill();
        kills += 1;
        let looker = Queue::builder().read_only(true).open(folder.file()).unwrap();
        with_work += u64::from(looker.counts().unwrap().total().running > 0);
    }
    let queue = program(folder.path()).open(folder.file()).unwrap();
    // What was running in a thread when its process died is queued again; the rest is followed to its end.
    await_ends(&queue);
    let began = began_once(&folder.path().join("starts"));
    let mut ends = BTreeMap::new();
    for task in queue.tasks(Filter::new().limit(usize::MAX)).unwrap() {
        *ends.entry(format!("{:?}", task.state)).or_insert(0_u32) += 1;
        let right = match task.state {
            State::Succeeded => true,
            State::Failed => task.error_type.as_deref() == Some("ExitCode.1"),
            State::Lost => {
                let why = task.error_message.as_deref().unwrap_or_default();
                LOSSES.iter().any(|loss| why.contains(loss))
            }
            _ => false,
        };
        assert!(right, "{task:?}");
    }
    report(
        "engine kills",
        format_args!("kills: {kills}, with work in flight: {with_work}, jobs: {}, ends: {ends:?}", began),
    );
    assert!(with_work > kills / 2, "too few kills met work in flight: {with_work} of {kills}");
}
