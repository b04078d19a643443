//! Ray as an engine: what it is asked, and what becomes of tasks by its answers, by those too that a real head gives rarely.
//!
//! `PERDURA_RAY` is the address of a real head (`.ci/ray` starts one).

mod kills;
mod server;

use std::time::{Duration, Instant};

use perdura::engine::{Engine, EngineError, JobId, JobStatus, NamedEngine};
use perdura::ray::{RayEngine, RayJob};
use perdura::testing::{EngineCases, ManualClock, SteppedQueue, check_engine};
use perdura::{Config, ErrorKind, LostRetry, State, Task, TaskId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub use kills::role;
use server::{Fault, Server};

use crate::engine_jobs::{get, is_accepted, look};
use crate::support::*;

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Train(String);

impl Task for Train {
    const NAME: &'static str = "train";
    type Output = Value;
}

fn engine(server: &Server) -> RayEngine {
    RayEngine::new(&server.address).unwrap().token("the-secret")
}

fn open_with(
    engine: RayEngine,
    set: impl FnOnce(NamedEngine<RayEngine>) -> NamedEngine<RayEngine>,
) -> SteppedQueue {
    let named = set(NamedEngine::new("ray", engine));
    let builder = builder(Config::default()).outside(
        &named,
        |task: Train, _| {
            let job = RayJob::new(&task.0);
            Ok(if let Some(folder) = task.0.strip_prefix("in ") { job.working_dir(folder) } else { job })
        },
        |_, ended| {
            ended.check()?;
            if ended.log().is_empty() { Ok(Value::Null) } else { ended.json() }
        },
    );
    SteppedQueue::open(builder, &ManualClock::new()).unwrap()
}

fn open(server: &Server) -> SteppedQueue {
    open_with(engine(server), |named| named)
}

/// Adds a task, whose job is intended then.
fn add(tests: &SteppedQueue, entrypoint: &str) -> TaskId {
    let id = tests.queue().enqueue(&Train(entrypoint.to_owned())).unwrap().id();
    assert_eq!(tests.run_until_idle().unwrap().went_outside, 1);
    id
}

#[track_caller]
fn assert_started_once(server: &Server) {
    let state = server.state();
    assert!(state.starts.values().all(|starts| *starts == 1), "{:?}", state.starts);
}

fn cases(patience: Duration) -> EngineCases<RayJob> {
    EngineCases {
        succeeds: RayJob::new("echo working; echo 42"),
        fails: RayJob::new("exit 3"),
        runs: RayJob::new("sleep 1000"),
        refused: Some(RayJob::new("true").working_dir("no-such-folder")),
        patience,
    }
}

#[test]
fn it_does_what_is_expected_of_an_engine() {
    let server = Server::start();
    server.state().runs = true;
    let cases = EngineCases { runs: RayJob::new("sleep"), ..cases(MINUTE) };
    check_engine(&mut engine(&server), &cases).unwrap();
    assert_started_once(&server);
}

#[test]
fn a_real_head_does_what_is_expected_of_an_engine() {
    let Ok(address) = std::env::var("PERDURA_RAY") else { return };
    check_engine(&mut RayEngine::new(&address).unwrap(), &cases(2 * MINUTE)).unwrap();
}

#[test]
fn a_real_head_that_asks_for_a_token_gets_none() {
    let (Ok(address), Some(_)) = (std::env::var("PERDURA_RAY"), std::env::var_os("PERDURA_RAY_ASKS")) else {
        return;
    };
    let (job, spec) = (JobId::new("a-1"), RayJob::new("true"));
    let error = RayEngine::new(&address).unwrap().start(&job, &spec).unwrap_err();
    assert!(error.message().contains("asks for a token"), "{error}");
    let error = RayEngine::new(&address).unwrap().token("wrong-secret").start(&job, &spec).unwrap_err();
    assert_eq!(error, EngineError::not_now(error.message()));
    assert!(
        error.message().contains("does not take the token") && !error.message().contains("wrong-secret"),
        "{error}"
    );
}

#[test]
fn a_real_job_gets_its_folder_and_gives_its_result() {
    let Ok(address) = std::env::var("PERDURA_RAY") else { return };
    let folder = Folder::new();
    std::fs::write(
        folder.path().join("train.py"),
        "import os\nprint('epoch 1')\nprint(int(os.environ['N']) * 7)\n",
    )
    .unwrap();
    let here = folder.path().to_owned();
    let named = NamedEngine::new("ray", RayEngine::new(&address).unwrap()).forget(true);
    let queue = builder(Config::default().max_task_attempts(1))
        .outside(
            &named,
            move |task: Train, _| Ok(RayJob::new(task.0).working_dir(&here).env("N", "6")),
            |_, ended| ended.json(),
        )
        .open_temporary()
        .unwrap();
    let id = queue.enqueue(&Train("python train.py".to_owned())).unwrap().id();
    assert_eq!(queue.wait_result::<Train>(id, 2 * MINUTE).unwrap(), 42);
    let bad = queue.enqueue(&Train("python no-such-file.py".to_owned())).unwrap().id();
    let failed = queue.wait(bad, 2 * MINUTE).unwrap();
    assert_eq!((failed.state, failed.error_type.as_deref()), (State::Failed, Some("ExitCode.2")));
}

#[test]
fn g19_a_job_is_submitted_under_its_id_and_its_end_is_the_tasks() {
    let server = Server::start();
    let mut tests = open(&server);
    let id = add(&tests, "python train.py");
    assert_eq!(server.asked(""), 0, "the intent is durable before anything is asked");
    tests.poll_engines().unwrap();
    let job = server.the_job();
    let task = get(&tests, id);
    assert_eq!(task.outside.as_ref().unwrap().job.as_deref(), Some(job.as_str()));
    assert_eq!(
        server.state().jobs[&job].submission,
        json!({ "entrypoint": "python train.py", "submission_id": job })
    );
    server.set(&job, json!({ "status": "RUNNING" }));
    look(&mut tests);
    assert_eq!(get(&tests, id).state, State::Running);
    server.succeed(&job, "Running entrypoint for job\nepoch 1\n{\"loss\": 0.5}\n");
    look(&mut tests);
    assert_eq!(get(&tests, id).state, State::Succeeded);
    assert_eq!(tests.queue().result::<Train>(id).unwrap(), Some(json!({ "loss": 0.5 })));
    let output = tests.queue().output(id, None).unwrap();
    assert!(String::from_utf8_lossy(&output[0].first).contains("epoch 1"));
    assert_eq!(server.asked("DELETE"), 0);
}

#[test]
fn what_has_ended_is_deleted_once_its_end_is_in_the_file_if_asked() {
    let server = Server::start();
    let mut tests = open_with(engine(&server), |named| named.forget(true));
    let id = add(&tests, "true");
    tests.poll_engines().unwrap();
    let job = server.the_job();
    server.succeed(&job, "1");
    look(&mut tests);
    assert_eq!((get(&tests, id).state, server.state().jobs.len()), (State::Succeeded, 0));
}

#[test]
fn what_ray_still_looks_at_is_deleted_later() {
    let server = Server::start();
    let mut tests = open_with(engine(&server), |named| named.forget(true));
    let id = add(&tests, "true");
    tests.poll_engines().unwrap();
    let job = server.the_job();
    let ended = |at: u64| json!({ "status": "SUCCEEDED", "end_time": at });
    server.set(&job, ended(1_796_040_000_000 - 1000)); // a second before the date of all answers
    for _ in 0..3 {
        tests.advance(10 * SECOND).unwrap();
        tests.poll_engines().unwrap();
    }
    assert_eq!(get(&tests, id).state, State::Succeeded);
    assert!(server.state().jobs.contains_key(&job), "Ray would bring it back as failed");
    server.set(&job, ended(1_796_040_000_000 - 20_000));
    for _ in 0..3 {
        tests.advance(MINUTE).unwrap();
        tests.poll_engines().unwrap();
    }
    assert!(server.state().jobs.is_empty());
}

#[test]
fn what_a_job_is_reaches_ray() {
    let spec = RayJob::new("train")
        .runtime_env("pip", json!(["torch"]))
        .env("A", "1")
        .metadata("of", "me")
        .num_cpus(2.0)
        .num_gpus(0.5)
        .memory(1 << 30)
        .resource("tpu", 1.0);
    let server = Server::start();
    engine(&server).start(&JobId::new("a-1"), &spec).unwrap();
    assert_eq!(
        server.state().jobs["a-1"].submission,
        json!({
            "entrypoint": "train", "submission_id": "a-1", "metadata": { "of": "me" },
            "runtime_env": { "pip": ["torch"], "env_vars": { "A": "1" } },
            "entrypoint_num_cpus": 2.0, "entrypoint_num_gpus": 0.5, "entrypoint_memory": 1 << 30, "entrypoint_resources": { "tpu": 1.0 },
        })
    );
    assert!(!format!("{spec:?}").contains("train"), "{spec:?}");
}

#[test]
fn a_folder_goes_along_once() {
    let (server, folder) = (Server::start(), Folder::new());
    std::fs::write(folder.path().join("train.py"), "print(1)").unwrap();
    let mut ray = engine(&server);
    let spec = RayJob::new("python train.py").working_dir(folder.path());
    ray.start(&JobId::new("a-1"), &spec).unwrap();
    ray.start(&JobId::new("a-2"), &spec).unwrap();
    let name = server.state().packages.keys().next().unwrap().clone();
    assert_eq!(server.asked("PUT"), 1);
    for job in ["a-1", "a-2"] {
        let state = server.state();
        let submission = &state.jobs[job].submission;
        assert_eq!(submission["runtime_env"]["working_dir"], format!("gcs://{name}"));
        assert_eq!(submission.get("working_dir"), None);
    }
    // What cannot be sent is not started.
    server.next("PUT", Fault::CutBefore);
    std::fs::write(folder.path().join("train.py"), "print(2)").unwrap();
    let error = ray.start(&JobId::new("a-3"), &spec).unwrap_err();
    assert_eq!(error, EngineError::not_now(error.message()), "{error}");
    assert_eq!(server.state().jobs.len(), 2);
    let small = RayEngine::new(&server.address)
        .unwrap()
        .max_package(10)
        .start(&JobId::new("a-4"), &spec)
        .unwrap_err();
    assert!(small.is_refusal() && small.message().contains("max_package"), "{small}");
}

// ---- What goes wrong with a start ----

#[test]
fn g19_a_start_that_is_cut_begins_once() {
    for fault in [
        Fault::CutBefore,
        Fault::CutAfter,
        Fault::Answer(503, "no"),
        Fault::Answer(500, "No available agent to submit job"),
        Fault::After(502, "Bad Gateway"),
        Fault::After(500, "Traceback: cut"),
    ] {
        let server = Server::start();
        let mut tests = open(&server);
        server.next("POST /api/jobs/", fault.clone());
        let id = add(&tests, "true");
        tests.poll_engines().unwrap();
        look(&mut tests);
        look(&mut tests);
        assert!(is_accepted(&get(&tests, id)), "{fault:?}");
        assert_started_once(&server);
        server.succeed(&server.the_job(), "1");
        look(&mut tests);
        let task = get(&tests, id);
        assert_eq!((task.state, task.attempt_number), (State::Succeeded, 1), "{fault:?}");
    }
}

#[test]
fn g19_a_second_submit_of_an_id_is_no_failure() {
    let server = Server::start();
    let mut ray = engine(&server);
    ray.start(&JobId::new("a-1"), &RayJob::new("true")).unwrap();
    ray.start(&JobId::new("a-1"), &RayJob::new("true")).unwrap();
    server.next("POST", Fault::Answer(400, "ValueError: Job with submission_id a-1 already exists."));
    ray.start(&JobId::new("a-1"), &RayJob::new("true")).unwrap();
    assert_started_once(&server);
}

#[test]
fn g19_a_head_that_was_started_since_may_have_forgotten_the_job() {
    // Cut after it was heard; then the head starts anew, empty, and later than the job was intended.
    for (up, starts) in [(0, 1), (3600, 2)] {
        let server = Server::start();
        let mut tests = open(&server);
        server.next("POST", Fault::CutAfter);
        let id = add(&tests, "true");
        tests.poll_engines().unwrap();
        {
            let mut state = server.state();
            state.jobs.clear();
            state.up = up;
        }
        look(&mut tests);
        let task = get(&tests, id);
        assert_eq!(server.state().starts.values().sum::<u32>(), starts);
        if up == 0 {
            let why = task.error_message.unwrap();
            assert!(task.state == State::Lost && why.contains("may have forgotten it"), "{why}");
            tests.advance(Duration::from_secs(86_400)).unwrap();
            tests.poll_engines().unwrap();
            assert_eq!(get(&tests, id).state, State::Lost, "nobody starts it again but a person");
        } else {
            // A head that has been up all the time, and does not know it, never had it. (This one lies.)
            assert!(is_accepted(&task));
        }
    }
}

#[test]
fn g19_a_head_that_forgets_an_accepted_job_has_lost_it() {
    let server = Server::start();
    let mut tests = open_with(engine(&server), |named| named.lost_retry(LostRetry::Immediate));
    let id = add(&tests, "true");
    tests.poll_engines().unwrap();
    let first = server.the_job();
    // What does not come from Ray says nothing: a proxy whose head is away.
    server.next("/api/jobs/", Fault::Answer(404, "<html>404 Not Found</html>"));
    look(&mut tests);
    assert_eq!(get(&tests, id).state, State::Running);
    server.state().jobs.clear();
    look(&mut tests);
    look(&mut tests);
    let task = get(&tests, id);
    assert_eq!((task.state, task.error_type.as_deref()), (State::Lost, Some("TaskLost")));
    tests.queue().retry(id).unwrap();
    tests.run_until_idle().unwrap();
    look(&mut tests);
    let second = server.the_job();
    assert_ne!(first, second);
    assert_started_once(&server);
}

#[test]
fn what_ray_refuses_fails_for_good_and_says_why() {
    let server = Server::start();
    let mut tests = open(&server);
    let id = add(&tests, "");
    tests.poll_engines().unwrap();
    let task = get(&tests, id);
    assert_eq!(
        (task.state, task.error_type.as_deref(), task.attempt_number),
        (State::Failed, Some("EngineRefused"), 1)
    );
    assert_eq!(
        task.error_message.as_deref(),
        Some("Ray refuses the job: TypeError: entrypoint must be a string")
    );
}

#[test]
fn a_job_that_stays_pending_is_lost_and_another_attempt_has_another_id() {
    let server = Server::start();
    let mut tests =
        open_with(engine(&server), |named| named.start_timeout(10 * SECOND).lost_retry(LostRetry::Immediate));
    let id = add(&tests, "true");
    tests.poll_engines().unwrap();
    let first = server.the_job();
    server.state().ignores_stop = true; // as Ray does while a job is pending
    for _ in 0..8 {
        look(&mut tests);
        tests.run_until_idle().unwrap();
    }
    assert_eq!(server.state().jobs.len(), 2);
    assert_eq!(get(&tests, id).attempt_number, 2);
    assert!(server.asked(&format!("{first}/stop")) > 0);
    assert_started_once(&server);
}

// ---- Ends ----

#[test]
fn g19_how_a_job_ends_is_how_its_task_ends() {
    for (details, state, error_type) in [
        (
            json!({ "status": "FAILED", "error_type": "JOB_ENTRYPOINT_COMMAND_ERROR", "driver_exit_code": 3, "message": "exit 3" }),
            State::Queued,
            "ExitCode.3",
        ),
        (json!({ "status": "FAILED", "error_type": "JOB_SUPERVISOR_ACTOR_DIED" }), State::Lost, "TaskLost"),
        (json!({ "status": "FAILED", "error_type": "RUNTIME_ENV_SETUP_FAILURE" }), State::Lost, "TaskLost"),
        (json!({ "status": "FAILED" }), State::Lost, "TaskLost"),
        (
            json!({ "status": "FAILED", "error_type": "JOB_ENTRYPOINT_COMMAND_START_ERROR", "driver_exit_code": null }),
            State::Lost,
            "TaskLost",
        ),
        (json!({ "status": "STOPPED" }), State::Cancelled, "Cancelled"),
    ] {
        let server = Server::start();
        let mut tests = open(&server);
        let id = add(&tests, "true");
        tests.poll_engines().unwrap();
        server.set(&server.the_job(), details.clone());
        look(&mut tests);
        let task = get(&tests, id);
        assert_eq!((task.state, task.error_type.as_deref()), (state, Some(error_type)), "{details}");
    }
}

#[test]
fn a_cancel_is_asked_again_until_an_end_is_seen() {
    let server = Server::start();
    let mut tests = open(&server);
    let id = add(&tests, "true");
    tests.poll_engines().unwrap();
    server.state().ignores_stop = true;
    tests.queue().cancel(id).unwrap();
    for _ in 0..8 {
        look(&mut tests);
    }
    assert_eq!((get(&tests, id).state, server.asked("/stop")), (State::Running, 2));
    server.state().ignores_stop = false;
    for _ in 0..8 {
        look(&mut tests);
    }
    assert_eq!(get(&tests, id).state, State::Cancelled);
}

#[test]
fn g19_a_log_that_cannot_be_had_whole_is_had_from_its_node_and_a_success_without_one_is_lost() {
    let server = Server::start();
    let mut tests = open(&server);
    let first = add(&tests, "true");
    tests.poll_engines().unwrap();
    // Ray answers so if a log has a byte that is no UTF-8.
    server.state().always.push(("/logs ", Fault::Answer(500, "Traceback: UnicodeDecodeError")));
    server.succeed(&server.the_job(), "\u{fffd}\n42\n");
    look(&mut tests);
    assert_eq!(get(&tests, first).state, State::Succeeded);
    assert_eq!(tests.queue().result::<Train>(first).unwrap(), Some(json!(42)));
    server.state().always.push(("/api/v0/logs/", Fault::Answer(500, "no such node")));
    let second = add(&tests, "true");
    look(&mut tests);
    let jobs: Vec<String> = server.state().jobs.keys().cloned().collect();
    jobs.iter().for_each(|job| server.succeed(job, "42"));
    for _ in 0..20 {
        look(&mut tests);
    }
    assert_eq!(get(&tests, second).state, State::Running, "it may be had yet");
    for _ in 0..40 {
        tests.advance(30 * SECOND).unwrap();
        tests.poll_engines().unwrap();
    }
    let task = get(&tests, second);
    let why = task.error_message.unwrap();
    assert!(task.state == State::Lost && why.contains("what it gave cannot be fetched"), "{why}");
}

#[test]
fn g19_what_is_not_answered_by_ray_is_no_accepted_job() {
    let server = Server::start();
    let mut tests = open(&server);
    let id = add(&tests, "true");
    server.next("POST /api/jobs/", Fault::Answer(200, "<html>log in</html>"));
    tests.poll_engines().unwrap();
    assert!(!is_accepted(&get(&tests, id)));
    tests.advance(MINUTE).unwrap();
    tests.poll_engines().unwrap();
    assert!(is_accepted(&get(&tests, id)));
    assert_started_once(&server);
}

#[test]
fn g19_a_head_in_trouble_that_cannot_say_since_when_it_is_up_is_asked_again() {
    let server = Server::start();
    let mut tests = open(&server);
    let id = add(&tests, "true");
    server.next("POST /api/jobs/", Fault::CutBefore);
    tests.poll_engines().unwrap();
    server.next("/api/v0/nodes", Fault::Answer(429, "too many"));
    tests.advance(MINUTE).unwrap();
    tests.poll_engines().unwrap();
    assert_eq!(get(&tests, id).state, State::Running, "not LOST for that");
    tests.advance(2 * MINUTE).unwrap();
    tests.poll_engines().unwrap();
    assert!(is_accepted(&get(&tests, id)));
    assert_started_once(&server);
}

#[test]
fn one_job_of_which_nothing_can_be_said_does_not_hide_the_others() {
    let server = Server::start();
    let mut ray = engine(&server);
    let jobs = [JobId::new("a-1"), JobId::new("a-2")];
    jobs.iter().for_each(|job| ray.start(job, &RayJob::new("true")).unwrap());
    server.next("GET /api/jobs/a-1", Fault::Answer(500, "Traceback"));
    assert_eq!(ray.poll(&jobs).unwrap(), [JobStatus::Unknown, JobStatus::Pending]);
}

#[test]
fn a_folder_that_cannot_be_sent_keeps_no_other_job_from_starting() {
    let server = Server::start();
    let mut tests = open(&server);
    let folder = Folder::new();
    std::fs::write(folder.path().join("train.py"), "print(1)").unwrap();
    server.state().always.push(("PUT /api/packages", Fault::CutBefore));
    let with_folder = tests.queue().enqueue(&Train(format!("in {}", folder.path().display()))).unwrap().id();
    let without = tests.queue().enqueue(&Train("true".to_owned())).unwrap().id();
    assert_eq!(tests.run_until_idle().unwrap().went_outside, 2);
    for _ in 0..10 {
        tests.advance(MINUTE).unwrap();
        tests.poll_engines().unwrap();
    }
    assert!(is_accepted(&get(&tests, without)) && !is_accepted(&get(&tests, with_folder)));
}

#[test]
fn g19_a_head_that_forgets_a_job_before_its_log_was_read_has_lost_it() {
    let server = Server::start();
    let mut tests = open(&server);
    let id = add(&tests, "true");
    tests.poll_engines().unwrap();
    server.succeed(&server.the_job(), "42");
    for _ in 0..8 {
        server.next("/logs", Fault::CutBefore); // it dies just then
    }
    for _ in 0..20 {
        look(&mut tests);
    }
    assert_eq!(get(&tests, id).state, State::Running, "it is not known yet what it gave");
    server.state().faults = vec![("/logs", Fault::Answer(404, "Job 1 does not exist"))];
    tests.advance(MINUTE).unwrap();
    tests.poll_engines().unwrap();
    assert_eq!(server.state().faults.len(), 0, "it is asked again");
    assert_eq!(get(&tests, id).state, State::Running);
    server.state().jobs.clear();
    for _ in 0..20 {
        look(&mut tests);
    }
    assert_eq!(get(&tests, id).state, State::Lost);
}

#[test]
fn what_ray_writes_into_the_log_is_not_the_result() {
    let server = Server::start();
    let mut tests = open(&server);
    let id = add(&tests, "echo 42");
    tests.poll_engines().unwrap();
    let job = server.the_job();
    server.succeed(&job, &format!("42\nRunning entrypoint for job {job}: echo 42\n"));
    look(&mut tests);
    assert_eq!(get(&tests, id).state, State::Succeeded);
}

#[test]
fn g19_what_a_list_leaves_out_is_asked_for() {
    let server = Server::start();
    let mut tests = open_with(engine(&server), |named| named.limit(10));
    for _ in 0..6 {
        add(&tests, "true");
    }
    tests.poll_engines().unwrap();
    server.next("GET /api/jobs/", Fault::Answer(200, "[]"));
    look(&mut tests);
    assert_eq!(tests.queue().counts().unwrap().total().running, 6);
    assert_started_once(&server);
}

#[test]
fn logs_that_are_cut_slow_or_endless_hold_nothing_up() {
    let server = Server::start();
    let mut ray = engine(&server).timeout(2 * SECOND);
    let job = JobId::new("a-1");
    ray.start(&job, &RayJob::new("true")).unwrap();
    let began = Instant::now();
    for fault in [Fault::CutBefore, Fault::Slow, Fault::Endless, Fault::Hang, Fault::Answer(200, "<html>")] {
        server.next("/logs", fault);
        let _ = ray.collect(&job);
    }
    assert!(began.elapsed() < MINUTE);
    server.succeed(&job.to_string(), "42");
    let collected = format!("{:?}", ray.collect(&job).unwrap());
    assert!(collected.contains("result_bytes: Some(2)"), "{collected}");
}

// ---- Who does not answer as Ray does ----

#[test]
fn what_is_no_answer_of_ray_says_nothing_of_a_job_and_why() {
    let server = Server::start();
    let mut ray = engine(&server).timeout(SECOND);
    let job = JobId::new("a-1");
    ray.start(&job, &RayJob::new("true")).unwrap();
    for (fault, why) in [
        (Fault::Answer(200, "<html>secret</html>"), "does not answer as Ray's Jobs API does"),
        (Fault::Answer(200, "{}"), "does not answer as Ray's Jobs API does"),
        (Fault::Answer(200, "{\"status\": 7}"), "does not answer as Ray's Jobs API does"),
        (Fault::Answer(200, ""), "does not answer as Ray's Jobs API does"),
        (Fault::Answer(404, "<html>404</html>"), "answers HTTP 404"),
        (Fault::Answer(500, "Traceback"), "answers HTTP 500"),
        (Fault::Answer(302, ""), "sends elsewhere (HTTP 302)"),
        (Fault::CutBefore, "Ray at http://127.0.0.1:"),
        (Fault::Hang, "no answer in time"),
        (Fault::Slow, "is cut"),
    ] {
        server.next("GET /api/jobs/a-1", fault.clone());
        let error = ray.poll(std::slice::from_ref(&job)).unwrap_err();
        assert!(error.message().contains(why), "{fault:?}: {error}");
        assert!(!error.message().contains("secret"), "{error}");
        assert_eq!(ray.poll(std::slice::from_ref(&job)).unwrap(), [JobStatus::Pending], "{fault:?}");
    }
    server.set("a-1", json!({ "status": "SOMETHING_NEW" }));
    assert_eq!(ray.poll(&[job]).unwrap(), [JobStatus::Unknown]);
}

#[test]
fn an_address_that_is_none_is_told_at_once_and_one_that_nobody_has_later() {
    for (address, why) in [
        ("127.0.0.1:8265", "does not begin with http"),
        ("ray://127.0.0.1:10001", "does not begin with http"),
        ("auto", "does not begin with http"),
        ("http://", "does not begin with http"),
        ("", "is none"),
        ("http://[", "is none"),
        ("http://me:secret@127.0.0.1:8265", "has a user name or a password"),
        ("http://127.0.0.1:8265/?token=secret", "has a `?`"),
    ] {
        let error = RayEngine::new(address).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig);
        assert!(error.to_string().contains(why), "{address}: {error}");
        assert!(
            error.to_string().contains("http://127.0.0.1:8265") && !error.to_string().contains("secret"),
            "{error}"
        );
    }
    for address in ["http://127.0.0.1:9", "http://no-such-host.invalid"] {
        let error =
            RayEngine::new(address).unwrap().start(&JobId::new("a-1"), &RayJob::new("true")).unwrap_err();
        assert_eq!(error, EngineError::not_now(error.message()), "{error}");
        assert!(error.message().contains(address), "{error}");
    }
}

#[test]
fn a_token_that_is_missing_or_wrong_closes_the_queue_and_is_never_shown() {
    let server = Server::start();
    server.state().token = Some("right".to_owned());
    let folder = Folder::new();
    let file = folder.path().join("token");
    let mut tests = open_with(RayEngine::new(&server.address).unwrap().token_from_file(&file), |named| named);
    let id = add(&tests, "true");
    tests.poll_engines().unwrap();
    let waiting = tests.queue().enqueue(&Train("true".to_owned())).unwrap().id();
    let why = |tests: &SteppedQueue| tests.queue().explain(waiting).unwrap().to_string();
    assert!(why(&tests).contains("the token cannot be read from"), "{}", why(&tests));
    std::fs::write(&file, "the-secret\n").unwrap();
    tests.advance(60 * SECOND).unwrap();
    tests.poll_engines().unwrap();
    let told = why(&tests);
    assert!(told.contains("does not take the token (HTTP 403)") && !told.contains("the-secret"), "{told}");
    std::fs::write(&file, "right\n").unwrap();
    tests.advance(60 * SECOND).unwrap();
    tests.poll_engines().unwrap();
    let task = get(&tests, id);
    assert!(is_accepted(&task) && task.attempt_number == 1);
    assert_eq!(tests.queue().counts().unwrap().queues["ray"].closed_until, None);
    let mut none = RayEngine::new(&server.address).unwrap().token_from_env("PERDURA_NO_SUCH_VARIABLE");
    let error = none.poll(&[JobId::new("a-1")]).unwrap_err();
    assert!(error.message().contains("PERDURA_NO_SUCH_VARIABLE has no token"), "{error}");
    let shown = format!("{:?}", engine(&server));
    assert!(!shown.contains("the-secret") && shown.contains("given"), "{shown}");
}

#[test]
fn a_head_that_is_starting_closes_the_queue_and_the_queue_says_why() {
    let server = Server::start();
    server.state().always.push(("/api/", Fault::Answer(503, "starting")));
    let mut tests = open(&server);
    let id = add(&tests, "true");
    tests.poll_engines().unwrap();
    let waiting = tests.queue().enqueue(&Train("true".to_owned())).unwrap().id();
    let why = tests.queue().explain(waiting).unwrap().to_string();
    assert!(
        why.contains("the engine \"ray\" cannot be reached") && why.contains("answers HTTP 503"),
        "{why}"
    );
    assert_eq!(get(&tests, id).state, State::Running);
}

// ---- Cost ----

#[test]
fn a_thousand_jobs_are_one_question_a_look() {
    let server = Server::start();
    let mut tests = open_with(engine(&server), |named| named.limit(1000).queues(["ray"]));
    let tasks: Vec<Train> = (0..1000).map(|_| Train("true".to_owned())).collect();
    tests.queue().enqueue_all(&tasks).unwrap();
    tests.run_until_idle().unwrap();
    while server.state().jobs.len() < 1000 {
        tests.poll_engines().unwrap();
    }
    let before = server.asked("");
    for _ in 0..10 {
        look(&mut tests);
    }
    assert_eq!(server.asked("") - before, 10);
    let all: Vec<String> = server.state().jobs.keys().cloned().collect();
    for job in &all[..900] {
        server.succeed(job, "1");
    }
    look(&mut tests);
    assert_eq!(tests.queue().counts().unwrap().total().succeeded, 900);
    assert_started_once(&server);
}
