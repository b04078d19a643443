//! Tasks whose work an engine does outside: each job is started once, and what becomes of it is told.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use perdura::engine::{Collected, Engine, EngineError, JobEnd, JobFailure, JobId, JobStatus, NamedEngine};
use perdura::testing::{ManualClock, ScriptedEngine, StartFault, SteppedQueue, at_every_commit};
use perdura::{
    AttemptOutcome, Builder, Clock, Config, ErrorKind, Filter, Hold, LostRetry, Options, OutputStream, Queue,
    State, Task, TaskId, Timestamp,
};
use serde::{Deserialize, Serialize};

use crate::engine_jobs::{LOOK, get, is_accepted, look};
use crate::support::*;

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Train(u32);

impl Task for Train {
    const NAME: &'static str = "train";
    type Output = f64;
}

/// How this engine is used in these tests.
fn named(engine: &ScriptedEngine) -> NamedEngine<ScriptedEngine> {
    NamedEngine::new("cluster", engine.clone())
}

fn with(config: Config, engine: &NamedEngine<ScriptedEngine>) -> Builder {
    builder(config).outside(engine, |task: Train, _| Ok(task.0.into()), |_, ended| ended.json())
}

fn open(engine: &ScriptedEngine) -> SteppedQueue {
    open_with(Config::default(), &named(engine))
}

fn open_with(config: Config, engine: &NamedEngine<ScriptedEngine>) -> SteppedQueue {
    SteppedQueue::open(with(config, engine), &ManualClock::new()).unwrap()
}

fn add_one(tests: &SteppedQueue, options: Options) -> TaskId {
    let id = tests.queue().enqueue_with(&Train(7), options).unwrap().id();
    assert_eq!(tests.run_until_idle().unwrap().went_outside, 1);
    id
}

fn the_job(engine: &ScriptedEngine) -> JobId {
    let jobs = engine.jobs();
    assert_eq!(jobs.len(), 1, "{jobs:?}");
    jobs[0].clone()
}

/// No id has really begun twice.
fn assert_started_once(engine: &ScriptedEngine) {
    let starts = engine.starts();
    assert!(starts.values().all(|starts| *starts == 1), "{starts:?}");
}

#[test]
fn g19_a_job_is_intended_then_started_then_accepted_and_its_end_is_the_tasks() {
    let engine = ScriptedEngine::new();
    let mut tests = open(&engine);
    let id = add_one(&tests, Options::new());
    let task = get(&tests, id);
    assert_eq!((task.state, task.queue.as_str(), is_accepted(&task)), (State::Running, "cluster", false));
    assert!(engine.jobs().is_empty(), "the intent is durable before anything is asked of the engine");
    tests.poll_engines().unwrap();
    let job = the_job(&engine);
    assert_eq!(engine.spec(&job), 7);
    let task = get(&tests, id);
    let outside = task.outside.as_ref().unwrap();
    assert!(is_accepted(&task));
    assert_eq!((outside.engine.as_deref(), outside.job.as_deref()), (Some("cluster"), Some(job.as_str())));
    look(&mut tests);
    engine.set_status(&job, JobStatus::Running);
    look(&mut tests);
    assert_eq!(get(&tests, id).state, State::Running);
    engine.finish(&job, JobEnd::Succeeded, "0.25");
    look(&mut tests);
    assert_eq!((get(&tests, id).state, get(&tests, id).outside), (State::Succeeded, None));
    assert_eq!(tests.queue().result::<Train>(id).unwrap(), Some(0.25));
    let output = tests.queue().output(id, None).unwrap();
    assert_eq!(
        (output[0].stream, output[0].first.as_slice()),
        (OutputStream::Stdout, format!("log of {job}\n").as_bytes())
    );
    assert_started_once(&engine);
    assert_eq!(engine.calls().starts, 1);
}

#[test]
fn g19_a_start_without_an_answer_is_repeated_only_if_the_engine_does_not_know_the_job() {
    for fault in [StartFault::CutBefore, StartFault::CutAfter, StartFault::NotNow] {
        let engine = ScriptedEngine::new();
        let mut tests = open(&engine);
        engine.fail_next_start(fault.clone());
        let id = add_one(&tests, Options::new());
        tests.poll_engines().unwrap();
        assert!(!is_accepted(&get(&tests, id)), "{fault:?}");
        look(&mut tests);
        assert!(is_accepted(&get(&tests, id)), "{fault:?}");
        let starts = if fault == StartFault::CutAfter { 1 } else { 2 };
        assert_eq!(engine.calls().starts, starts, "{fault:?}");
        assert_started_once(&engine);
        engine.finish_all("1");
        look(&mut tests);
        assert_eq!(get(&tests, id).state, State::Succeeded, "{fault:?}");
        assert_eq!(get(&tests, id).attempt_number, 1, "{fault:?}");
    }
}

#[test]
fn g19_what_was_accepted_and_is_absent_is_lost_and_stays_so_until_somebody_retries_it() {
    let engine = ScriptedEngine::new();
    let eager = named(&engine).lost_retry(LostRetry::Immediate);
    let mut tests = open_with(Config::default().lost_retry(LostRetry::Immediate), &eager);
    let id = add_one(&tests, Options::new());
    tests.poll_engines().unwrap();
    let first = the_job(&engine);
    engine.forget_all();
    look(&mut tests);
    let task = get(&tests, id);
    assert_eq!((task.state, task.error_type.as_deref()), (State::Lost, Some("TaskLost")));
    assert!(task.error_message.unwrap().contains("does not know it any more"));
    assert_eq!(tests.queue().attempts(id).unwrap()[0].outcome, AttemptOutcome::Lost);
    for _ in 0..3 {
        tests.run_until_idle().unwrap();
        look(&mut tests);
    }
    assert_eq!((get(&tests, id).state, engine.calls().starts), (State::Lost, 1));
    tests.queue().retry(id).unwrap();
    tests.run_until_idle().unwrap();
    look(&mut tests);
    assert_ne!(the_job(&engine), first, "another attempt has another id");
    assert_started_once(&engine);
}

#[test]
fn g19_a_start_that_the_engine_may_have_forgotten_is_lost() {
    let engine = ScriptedEngine::new();
    engine.set_remembers(Duration::from_secs(60));
    let mut tests = open(&engine);
    engine.fail_next_start(StartFault::CutAfter);
    let id = add_one(&tests, Options::new());
    tests.poll_engines().unwrap();
    // Out for longer than it remembers what has ended.
    engine.set_outage(Some(EngineError::unreachable("no route")));
    look(&mut tests);
    tests.advance(Duration::from_secs(120)).unwrap();
    engine.set_outage(None);
    engine.forget_all();
    look(&mut tests);
    let task = get(&tests, id);
    assert_eq!(task.state, State::Lost);
    assert!(task.error_message.unwrap().contains("may have been started"));
    assert_eq!(engine.calls().starts, 1);
}

#[test]
fn g19_a_new_owner_looks_before_it_starts_what_its_predecessor_may_have_started() {
    for knows in [true, false] {
        let engine = ScriptedEngine::new();
        let tests = open(&engine);
        let id = add_one(&tests, Options::new());
        let mut tests = match knows {
            // It has started the job, and dies before it has noted the answer.
            true => {
                let mut tests = tests;
                tests.crash_at(perdura::testing::CrashPoint::before(1));
                let _ = tests.poll_engines();
                assert!(tests.has_crashed());
                tests.crash().unwrap()
            }
            false => tests.crash().unwrap(),
        }
        .reopen(with(Config::default(), &named(&engine)))
        .unwrap();
        assert_eq!(get(&tests, id).state, State::Running, "recovery leaves it alone");
        let before = engine.calls();
        tests.poll_engines().unwrap();
        assert_eq!(engine.calls().polls, before.polls + 1, "it has looked first");
        assert_eq!(engine.calls().starts, 1);
        assert!(is_accepted(&get(&tests, id)));
        engine.finish_all("1");
        look(&mut tests);
        assert_eq!(get(&tests, id).state, State::Succeeded);
        assert_started_once(&engine);
    }
}

#[test]
fn g19_a_crash_at_each_commit_starts_no_job_twice_and_tells_of_each() {
    // The engine outlives each crash.
    let engines = std::cell::RefCell::new(ScriptedEngine::new());
    let crashes = at_every_commit(
        || {
            engines.replace(ScriptedEngine::new());
            Ok(open(&engines.borrow()))
        },
        |tests| {
            let engine = engines.borrow();
            for _ in 0..2 {
                let _ = tests.queue().enqueue(&Train(1))?;
            }
            tests.run_until_idle()?;
            tests.poll_engines()?;
            let jobs = engine.jobs();
            engine.finish(&jobs[0], JobEnd::Succeeded, "1");
            engine.finish(&jobs[1], JobEnd::Failed(JobFailure::new("ExitCode.1", "out of memory")), "");
            tests.advance(LOOK)?;
            tests.poll_engines()?;
            tests.advance(MINUTE)?;
            tests.run_until_idle()?;
            tests.poll_engines()?;
            engine.finish_all("2");
            tests.advance(LOOK)?;
            tests.poll_engines()
        },
        |crashed, point| {
            let engine = engines.borrow();
            let mut tests = crashed.reopen(with(Config::default(), &named(&engine)))?;
            assert_sound(tests.queue());
            for _ in 0..6 {
                tests.run_until_idle()?;
                tests.poll_engines()?;
                engine.finish_all("3");
                tests.advance(MINUTE)?;
            }
            for task in tests.queue().tasks(Filter::new())? {
                assert_eq!(task.state, State::Succeeded, "{point}: {task:?}");
            }
            assert_started_once(&engine);
            assert_sound(tests.queue());
            Ok(())
        },
    );
    assert!(crashes.unwrap() >= 20);
}

#[test]
fn g19_while_the_engine_cannot_be_reached_its_queues_are_closed_and_nothing_is_charged() {
    let engine = ScriptedEngine::new();
    let mut tests = open(&engine);
    engine.set_outage(Some(EngineError::not_now("connection refused\u{1b}[2J")));
    let id = add_one(&tests, Options::new());
    tests.poll_engines().unwrap();
    let waiting = tests.queue().enqueue(&Train(8)).unwrap().id();
    let other = add(tests.queue(), &Do::Ok(1), Options::new());
    for _ in 0..20 {
        tests.run_until_idle().unwrap();
        look(&mut tests);
    }
    assert_eq!(get(&tests, id).attempt_number, 1);
    assert_eq!((get(&tests, waiting).attempt_number, get(&tests, waiting).hold), (0, Some(Hold::Ready)));
    assert_eq!(get(&tests, other).state, State::Succeeded, "the queues of others are open");
    for id in [id, waiting] {
        let why = tests.queue().explain(id).unwrap().to_string();
        assert!(why.contains("the engine \"cluster\" cannot be reached: connection refused"), "{why}");
        assert!(!why.contains('\u{1b}'), "{why:?}");
    }
    let polls = engine.calls().starts;
    assert!(polls < 15, "it is asked less and less often: {polls}");
    engine.set_outage(None);
    tests.advance(MINUTE).unwrap();
    tests.poll_engines().unwrap();
    assert_eq!(tests.queue().counts().unwrap().queue("cluster").closed_until, None);
    tests.run_until_idle().unwrap();
    tests.poll_engines().unwrap();
    engine.finish_all("1");
    look(&mut tests);
    assert_eq!([id, waiting].map(|id| get(&tests, id).state), [State::Succeeded; 2]);
}

#[test]
fn a_cancelled_task_ends_when_the_engine_says_that_its_job_has() {
    let engine = ScriptedEngine::new();
    let mut tests = open(&engine);
    let id = add_one(&tests, Options::new());
    tests.poll_engines().unwrap();
    let job = the_job(&engine);
    engine.set_status(&job, JobStatus::Running);
    look(&mut tests);
    engine.set_ignores_cancel(true);
    tests.queue().cancel(id).unwrap();
    tests.poll_engines().unwrap();
    assert!(engine.is_to_stop(&job));
    assert_eq!((get(&tests, id).state, get(&tests, id).cancel_requested), (State::Running, true));
    let why = tests.queue().explain(id).unwrap().to_string();
    assert!(why.contains("it is to stop"), "{why}");
    engine.set_ignores_cancel(false);
    for _ in 0..6 {
        look(&mut tests); // it is asked again after a while
    }
    assert_eq!(get(&tests, id).state, State::Cancelled);
    // The job succeeds before the cancel reaches it: so does its task.
    let id = add_one(&tests, Options::new());
    look(&mut tests);
    engine.finish_all("1");
    tests.queue().cancel(id).unwrap();
    look(&mut tests);
    assert_eq!(get(&tests, id).state, State::Succeeded);
    // A task that is cancelled before its job was started: the job is never started.
    let starts = engine.calls().starts;
    let id = add_one(&tests, Options::new());
    tests.queue().cancel(id).unwrap();
    look(&mut tests);
    assert_eq!((get(&tests, id).state, engine.calls().starts), (State::Cancelled, starts));
}

#[test]
fn an_attempt_that_takes_too_long_is_stopped_and_has_timed_out() {
    let engine = ScriptedEngine::new();
    let mut tests = open(&engine);
    let id = add_one(&tests, Options::new().timeout(10 * SECOND));
    tests.poll_engines().unwrap();
    engine.set_status(&the_job(&engine), JobStatus::Running);
    for _ in 0..4 {
        look(&mut tests);
    }
    assert!(!engine.is_to_stop(&the_job(&engine)));
    look(&mut tests);
    look(&mut tests);
    let task = get(&tests, id);
    assert_eq!((task.state, task.error_type.as_deref()), (State::Queued, Some("Timeout")));
    assert_eq!(tests.queue().attempts(id).unwrap()[0].outcome, AttemptOutcome::TimedOut);
    // A job that succeeds after its deadline: its task has succeeded, and is late.
    let id = add_one(&tests, Options::new().timeout(10 * SECOND));
    tests.poll_engines().unwrap();
    engine.finish_all("1");
    tests.clock().advance(MINUTE);
    look(&mut tests);
    assert_eq!((get(&tests, id).state, get(&tests, id).late), (State::Succeeded, true));
}

#[test]
fn g19_a_job_that_does_not_start_in_time_or_of_which_nothing_is_heard_is_lost() {
    let engine = ScriptedEngine::new();
    let patient = named(&engine).start_timeout(MINUTE).lost_retry(LostRetry::Immediate);
    let mut tests = open_with(Config::default().stuck_task_timeout(MINUTE), &patient);
    let id = add_one(&tests, Options::new());
    tests.poll_engines().unwrap();
    let pending = the_job(&engine);
    engine.set_ignores_cancel(true); // it says that all is well, and does nothing while a job is pending
    for _ in 0..32 {
        look(&mut tests);
    }
    assert!(engine.is_to_stop(&pending));
    let task = get(&tests, id);
    assert_eq!((task.state, task.hold), (State::Queued, Some(Hold::Ready)), "{task:?}");
    assert!(task.error_message.unwrap().contains("did not start within 1m"));
    tests.run_until_idle().unwrap();
    look(&mut tests);
    let second = engine.jobs().into_iter().find(|job| *job != pending).unwrap();
    engine.set_status(&second, JobStatus::Unknown);
    // Time in which the engine does not answer does not count.
    engine.set_outage(Some(EngineError::unreachable("no route")));
    for _ in 0..60 {
        look(&mut tests);
    }
    engine.set_outage(None);
    tests.advance(MINUTE).unwrap();
    tests.poll_engines().unwrap();
    assert_eq!(get(&tests, id).state, State::Running);
    for _ in 0..32 {
        look(&mut tests);
    }
    let task = get(&tests, id);
    assert_eq!(task.hold, Some(Hold::Ready));
    assert!(task.error_message.unwrap().contains("has said nothing of the job for 1m"));
    assert_started_once(&engine);
}

#[test]
fn g19_what_was_quiet_before_is_no_silence_of_a_new_job() {
    let engine = ScriptedEngine::new();
    let mut tests = open(&engine);
    let first = add_one(&tests, Options::new());
    tests.poll_engines().unwrap();
    engine.finish_all("1");
    look(&mut tests);
    assert_eq!(get(&tests, first).state, State::Succeeded);
    tests.advance(10 * MINUTE).unwrap();
    let id = add_one(&tests, Options::new());
    tests.poll_engines().unwrap();
    let job = engine.jobs().pop().unwrap();
    for job in engine.jobs() {
        engine.set_status(&job, JobStatus::Unknown);
    }
    // The machine sleeps between two looks.
    for _ in 0..2 {
        look(&mut tests);
        tests.clock().advance(20 * MINUTE);
    }
    look(&mut tests);
    assert_eq!(get(&tests, id).state, State::Running);
    assert!(!engine.is_to_stop(&job));
}

#[test]
fn g19_an_engine_that_lags_and_does_not_know_what_it_has_accepted_gets_no_second_start() {
    let engine = ScriptedEngine::new();
    let mut tests = open(&engine);
    let id = add_one(&tests, Options::new());
    tests.poll_engines().unwrap();
    engine.set_status(&the_job(&engine), JobStatus::Absent);
    for _ in 0..3 {
        tests.poll_engines().unwrap();
        look(&mut tests);
    }
    assert_eq!((get(&tests, id).state, engine.calls().starts), (State::Lost, 1));
}

#[test]
fn g19_without_a_memory_of_the_engine_a_start_is_made_once_or_lost() {
    let engine = ScriptedEngine::new();
    engine.set_remembers(Duration::ZERO);
    let mut tests = open(&engine);
    let id = add_one(&tests, Options::new());
    look(&mut tests);
    assert!(is_accepted(&get(&tests, id)), "nobody had started it");
    engine.fail_next_start(StartFault::CutBefore);
    let cut = add_one(&tests, Options::new());
    for _ in 0..3 {
        look(&mut tests);
    }
    assert_eq!((get(&tests, cut).state, engine.calls().starts), (State::Lost, 2));
    // What an owner before has intended may have been started.
    let left = add_one(&tests, Options::new());
    let mut tests = tests.crash().unwrap().reopen(with(Config::default(), &named(&engine))).unwrap();
    look(&mut tests);
    assert_eq!((get(&tests, left).state, engine.calls().starts), (State::Lost, 2));
}

#[test]
fn an_engine_that_takes_no_more_is_followed_all_the_same() {
    let engine = ScriptedEngine::new();
    let mut tests = open(&engine);
    let id = add_one(&tests, Options::new());
    tests.poll_engines().unwrap();
    let waiting = add_one(&tests, Options::new());
    (0..50).for_each(|_| engine.fail_next_start(StartFault::NotNow));
    look(&mut tests);
    engine.finish_all("1");
    look(&mut tests);
    assert_eq!(get(&tests, id).state, State::Succeeded);
    assert_eq!(tests.queue().counts().unwrap().queue("cluster").closed_until, None, "it answers");
    for _ in 0..40 {
        tests.advance(30 * SECOND).unwrap();
        tests.poll_engines().unwrap();
        engine.finish_all("1");
    }
    tests.advance(MINUTE).unwrap();
    tests.poll_engines().unwrap();
    assert_eq!((get(&tests, waiting).state, get(&tests, waiting).attempt_number), (State::Running, 1));
}

#[test]
fn g19_the_time_of_an_attempt_begins_when_the_engine_has_its_job() {
    let engine = ScriptedEngine::new();
    let mut tests = open(&engine);
    engine.set_outage(Some(EngineError::not_now("connection refused")));
    let id = add_one(&tests, Options::new().timeout(10 * SECOND));
    for _ in 0..60 {
        look(&mut tests);
    }
    assert_eq!((get(&tests, id).state, get(&tests, id).attempt_number), (State::Running, 1));
    engine.set_outage(None);
    tests.advance(MINUTE).unwrap();
    tests.poll_engines().unwrap();
    engine.finish_all("1");
    look(&mut tests);
    assert_eq!((get(&tests, id).state, get(&tests, id).late), (State::Succeeded, false));
    // A failure for good stays one, also if it is seen after the deadline.
    let id = add_one(&tests, Options::new().timeout(10 * SECOND));
    tests.poll_engines().unwrap();
    let failure = JobFailure::new("NoSuchData", "it is not there").never_retry();
    engine.finish(&engine.jobs().pop().unwrap(), JobEnd::Failed(failure), "");
    tests.clock().advance(MINUTE);
    look(&mut tests);
    let task = get(&tests, id);
    assert_eq!((task.state, task.error_type.as_deref()), (State::Failed, Some("NoSuchData")));
}

/// A queue that a handler has closed for an hour, and an outage of its engine for less; and until when the handler has closed it.
fn closed_twice(engine: &ScriptedEngine) -> (SteppedQueue, Timestamp) {
    let builder = builder(Config::default()).outside(
        &named(engine),
        |task: Train, _| match task.0 {
            0 => Err(perdura::Failure::throttle(60 * MINUTE)),
            n => Ok(n.into()),
        },
        |_, ended| ended.json(),
    );
    let mut tests = SteppedQueue::open(builder, &ManualClock::new()).unwrap();
    let _ = tests.queue().enqueue(&Train(1)).unwrap();
    tests.run_until_idle().unwrap();
    tests.poll_engines().unwrap();
    let _ = tests.queue().enqueue(&Train(0)).unwrap();
    tests.run_until_idle().unwrap();
    let by_handler = closed(&tests).unwrap();
    engine.set_outage(Some(EngineError::unreachable("no route")));
    look(&mut tests);
    assert!(closed(&tests).unwrap() < by_handler);
    (tests, by_handler)
}

fn closed(tests: &SteppedQueue) -> Option<Timestamp> {
    tests.queue().counts().unwrap().queue("cluster").closed_until
}

#[test]
fn g16_the_end_of_an_outage_that_nobody_hears_of_does_not_open_what_a_handler_has_closed() {
    let (mut tests, by_handler) = closed_twice(&ScriptedEngine::new());
    let waiting = tests.queue().enqueue(&Train(2)).unwrap().id();
    while tests.clock().now() < by_handler.saturating_sub(MINUTE) {
        tests.advance(MINUTE).unwrap();
        assert_eq!(tests.run_one().unwrap(), None, "at {}", tests.clock().now());
    }
    assert_eq!((closed(&tests), get(&tests, waiting).attempt_number), (Some(by_handler), 0));
    tests.advance(2 * MINUTE).unwrap();
    assert!(tests.run_one().unwrap().is_some(), "it is open again");
}

#[test]
fn the_end_of_an_outage_does_not_open_what_a_handler_has_closed() {
    let engine = ScriptedEngine::new();
    let (mut tests, by_handler) = closed_twice(&engine);
    engine.set_outage(None);
    tests.advance(MINUTE).unwrap();
    tests.poll_engines().unwrap();
    assert_eq!(closed(&tests), Some(by_handler));
    assert_sound(tests.queue());
    tests.queue().resume("cluster").unwrap();
    assert_eq!(closed(&tests), None);
}

#[test]
fn what_the_program_makes_of_an_ended_job_cannot_go_outside_again_and_a_panic_is_a_failure() {
    for (asked, error_type) in [("outside", "InvalidInput"), ("panic", "Panic")] {
        let engine = ScriptedEngine::new();
        let finish = move |_: Train, _: &perdura::engine::Ended| match asked {
            "panic" => panic!("as told"),
            _ => Err(perdura::Failure::outside("review")),
        };
        let builder = Queue::builder().outside(&named(&engine), |_: Train, _| Ok(1.into()), finish);
        let mut tests = SteppedQueue::open(builder, &ManualClock::new()).unwrap();
        let id = add_one(&tests, Options::new());
        tests.poll_engines().unwrap();
        engine.finish_all("1");
        look(&mut tests);
        assert_eq!(get(&tests, id).error_type.as_deref(), Some(error_type));
    }
}

#[test]
fn an_owner_that_has_the_engine_and_not_the_task_leaves_its_job_alone() {
    let engine = ScriptedEngine::new();
    let mut tests = open(&engine);
    let id = add_one(&tests, Options::new());
    tests.poll_engines().unwrap();
    engine.finish_all("1");
    let other = Queue::builder().outside(&named(&engine), |_: Other, _| Ok(1.into()), |_, _| Ok(()));
    let mut tests = tests.crash().unwrap().reopen(other).unwrap();
    look(&mut tests);
    assert_eq!(get(&tests, id).state, State::Running);
    let mut tests = tests.crash().unwrap().reopen(with(Config::default(), &named(&engine))).unwrap();
    look(&mut tests);
    assert_eq!(get(&tests, id).state, State::Succeeded);
}

#[test]
fn the_tasks_of_a_schedule_stand_in_the_queue_of_their_engine() {
    let engine = ScriptedEngine::new();
    let nightly = perdura::Schedule::every("nightly", MINUTE);
    let program = || with(Config::default(), &named(&engine)).schedule(nightly.clone(), &Train(1));
    let mut tests = SteppedQueue::open(program(), &ManualClock::new()).unwrap();
    tests.advance(MINUTE).unwrap();
    assert_eq!(tests.run_until_idle().unwrap().went_outside, 1);
    let wrong = nightly.clone().options(Options::new().queue("default"));
    let error = tests.queue().set_schedule(wrong.clone(), &Train(1)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    let error =
        with(Config::default(), &named(&engine)).schedule(wrong, &Train(1)).open_temporary().unwrap_err();
    assert!(error.to_string().contains("schedule \"nightly\""), "{error}");
}

#[test]
fn how_a_job_ends_is_how_its_task_does() {
    let lost = || JobEnd::Lost("the node died".to_owned());
    let failed = |permanent| {
        let failure = JobFailure::new("ExitCode.1", "out of memory");
        JobEnd::Failed(if permanent { failure.never_retry() } else { failure })
    };
    let cases: [(JobEnd, &str, State, Option<&str>); 6] = [
        (failed(false), "", State::Queued, Some("ExitCode.1")),
        (failed(true), "", State::Failed, Some("ExitCode.1")),
        (JobEnd::Cancelled, "", State::Cancelled, Some("Cancelled")),
        (lost(), "", State::Lost, Some("TaskLost")),
        (JobEnd::Succeeded, "{\"secret\": 1}", State::Failed, Some("ResultUndecodable")),
        (JobEnd::Succeeded, "1", State::Succeeded, None),
    ];
    for (end, result, state, error_type) in cases {
        let engine = ScriptedEngine::new();
        let mut tests = open(&engine);
        let id = add_one(&tests, Options::new());
        tests.poll_engines().unwrap();
        engine.finish(&the_job(&engine), end.clone(), result);
        look(&mut tests);
        let task = get(&tests, id);
        assert_eq!((task.state, task.error_type.as_deref()), (state, error_type), "{end:?}");
        assert!(!task.error_message.unwrap_or_default().contains("secret"));
    }
}

#[test]
fn what_an_engine_refuses_has_failed_for_good_and_says_why() {
    let engine = ScriptedEngine::new();
    let mut tests = open(&engine);
    engine.fail_next_start(StartFault::Refused("no such image".to_owned()));
    let id = add_one(&tests, Options::new());
    tests.poll_engines().unwrap();
    let task = get(&tests, id);
    assert_eq!((task.state, task.error_type.as_deref()), (State::Failed, Some("EngineRefused")));
    assert_eq!(task.error_message.as_deref(), Some("no such image"));
    assert_eq!(tests.queue().counts().unwrap().queue("cluster").closed_until, None);
}

#[test]
fn an_engine_that_answers_nonsense_or_panics_has_not_answered() {
    let engine = ScriptedEngine::new();
    let mut tests = open(&engine);
    let id = add_one(&tests, Options::new());
    tests.poll_engines().unwrap();
    engine.set_answers_short(true);
    look(&mut tests);
    assert_eq!(get(&tests, id).state, State::Running);
    engine.set_answers_short(false);
    engine.set_panics(true);
    look(&mut tests);
    assert_eq!(get(&tests, id).state, State::Running);
    engine.set_panics(false);
    engine.finish_all("1");
    tests.advance(MINUTE).unwrap();
    tests.poll_engines().unwrap();
    assert_eq!(get(&tests, id).state, State::Succeeded);
}

#[test]
fn g19_what_a_job_gave_that_cannot_be_fetched_is_lost_and_not_a_success_without_it() {
    let engine = ScriptedEngine::new();
    let mut tests = open(&engine);
    let id = add_one(&tests, Options::new());
    tests.poll_engines().unwrap();
    engine.finish_all("1");
    engine.set_fails_to_collect(true);
    for _ in 0..9 {
        tests.advance(MINUTE).unwrap();
        tests.poll_engines().unwrap();
        assert_eq!(get(&tests, id).state, State::Running);
    }
    for _ in 0..2 {
        tests.advance(MINUTE).unwrap();
        tests.poll_engines().unwrap();
    }
    let task = get(&tests, id);
    assert_eq!(task.state, State::Lost);
    assert!(task.error_message.unwrap().contains("cannot be fetched"));
}

#[test]
fn tasks_of_an_engine_stand_in_its_queues_and_no_others_do() {
    let engine = ScriptedEngine::new();
    let tests = open_with(Config::default(), &named(&engine).queues(["gpu", "cpu"]).limit(3));
    let queue = tests.queue();
    assert_eq!(queue.get(queue.enqueue(&Train(1)).unwrap().id()).unwrap().queue, "gpu");
    assert!(queue.enqueue_with(&Train(1), Options::new().queue("cpu")).is_ok());
    for (refused, name) in [
        (queue.enqueue_with(&Train(1), Options::new().queue("default")), "train"),
        (queue.enqueue_with(&Do::Ok(1), Options::new().queue("gpu")), "do"),
    ] {
        let error = refused.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains(name) && error.to_string().contains("\"cluster\""), "{error}");
    }
    let counts = queue.counts().unwrap();
    assert_eq!([counts.queue("gpu").limit, counts.queue("cpu").limit], [Some(3); 2]);
    // A program that does not know the engine may put one where it should not be.
    let folder = Folder::new();
    let stranger = Queue::builder().open(folder.file()).unwrap();
    let id = stranger.enqueue(&Train(1)).unwrap().id();
    drop(stranger);
    let clock = ManualClock::new();
    let tests =
        SteppedQueue::open_file(with(Config::default(), &named(&engine)), &clock, folder.file()).unwrap();
    tests.run_until_idle().unwrap();
    let task = get(&tests, id);
    assert_eq!((task.state, task.error_type.as_deref()), (State::Failed, Some("WrongQueue")));
}

#[test]
fn what_an_engine_may_be_is_checked_at_open() {
    let engine = ScriptedEngine::new();
    let other = ScriptedEngine::new();
    let cases: [(Builder, &str); 6] = [
        (with(Config::default(), &NamedEngine::new("", engine.clone())), "engine"),
        (with(Config::default(), &named(&engine).queues(Vec::<String>::new())), "no queue"),
        (with(Config::default(), &named(&engine).limit(0)), "limit is 0"),
        (
            with(Config::default(), &named(&engine).poll_interval(Duration::from_millis(1))),
            "poll_interval is 1ms",
        ),
        (
            with(Config::default(), &named(&engine)).outside(
                &named(&other),
                |_: Other, _| Ok(1.into()),
                |_, _| Ok(()),
            ),
            "two engines have this name",
        ),
        (
            with(Config::default(), &named(&engine)).outside(
                &NamedEngine::new("second", other.clone()).queues(["cluster"]),
                |_: Other, _| Ok(1.into()),
                |_, _| Ok(()),
            ),
            "give it one of its own",
        ),
    ];
    for (builder, why) in cases {
        let error = builder.open_temporary().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error}");
        assert!(error.to_string().contains(why), "{why:?}: {error}");
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Other;

impl Task for Other {
    const NAME: &'static str = "other";
    type Output = ();
}

#[test]
fn g20_an_owner_without_the_engine_leaves_its_jobs_alone_and_explain_says_so() {
    let engine = ScriptedEngine::new();
    let mut tests = open(&engine);
    let id = add_one(&tests, Options::new());
    tests.poll_engines().unwrap();
    let why = tests.queue().explain(id).unwrap().to_string();
    assert!(
        why.contains("runs on the engine \"cluster\"") && why.contains(the_job(&engine).as_str()),
        "{why}"
    );
    let tests = tests.crash().unwrap().reopen(builder(Config::default())).unwrap();
    tests.run_until_idle().unwrap();
    assert_eq!(get(&tests, id).state, State::Running);
    let why = tests.queue().explain(id).unwrap().to_string();
    assert!(why.contains("has no engine \"cluster\""), "{why}");
    let mut tests = tests.crash().unwrap().reopen(with(Config::default(), &named(&engine))).unwrap();
    engine.finish_all("1");
    tests.poll_engines().unwrap();
    assert_eq!(get(&tests, id).state, State::Succeeded);
    assert_started_once(&engine);
}

#[test]
fn somebody_may_end_what_an_engine_does_and_the_job_is_stopped() {
    let engine = ScriptedEngine::new();
    let mut tests = open(&engine);
    let id = add_one(&tests, Options::new());
    tests.poll_engines().unwrap();
    let job = the_job(&engine);
    tests.queue().complete::<Train>(id, 1, &0.5).unwrap();
    look(&mut tests);
    assert!(engine.is_to_stop(&job));
    assert_eq!(tests.queue().result::<Train>(id).unwrap(), Some(0.5));
}

#[test]
fn many_ends_are_one_commit_and_jobs_are_forgotten_if_that_is_asked_for() {
    let engine = ScriptedEngine::new();
    let mut tests = open_with(Config::default(), &named(&engine).limit(1000).forget(true));
    let _ = tests.queue().enqueue_all(&vec![Train(1); 200]).unwrap();
    assert_eq!(tests.run_until_idle().unwrap().went_outside, 200);
    for _ in 0..4 {
        tests.poll_engines().unwrap();
    }
    assert_eq!((engine.jobs().len(), engine.calls().starts), (200, 200));
    engine.finish_all("1");
    let (commits, polls) = (tests.commits(), engine.calls().polls);
    look(&mut tests);
    assert!(tests.commits() - commits <= 2, "{} commits", tests.commits() - commits);
    assert_eq!(engine.calls().polls - polls, 1);
    assert_eq!(tests.queue().counts().unwrap().queue("cluster").succeeded, 200);
    for _ in 0..4 {
        look(&mut tests);
    }
    assert!(engine.jobs().is_empty() && engine.calls().forgets == 200, "each once");
    assert_sound(tests.queue());
}

#[test]
fn with_threads_jobs_run_to_their_end_without_workers_and_a_shutdown_leaves_them() {
    let engine = ScriptedEngine::new();
    let fast = named(&engine).poll_interval(Duration::from_millis(100)).limit(50);
    let folder = Folder::new();
    let queue = with(Config::default().workers(1), &fast).open(folder.file()).unwrap();
    let made = queue.enqueue_all(&vec![Train(1); 120]).unwrap();
    let local = queue.enqueue(&Do::Ok(1)).unwrap().id();
    assert_eq!(queue.wait(local, PATIENCE).unwrap().state, State::Succeeded);
    while engine.jobs().len() < 50 {
        std::thread::sleep(Duration::from_millis(5));
    }
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(engine.jobs().len(), 50, "the limit of its queue");
    let report = queue.shutdown(MINUTE).unwrap();
    assert!(report.still_running.is_empty() && report.interrupted == 0, "{report:?}");
    drop(queue);
    let queue = with(Config::default().workers(1), &fast).open(folder.file()).unwrap();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                engine.finish_all("1");
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        queue.drain().unwrap();
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    for id in made {
        assert_eq!(queue.get(id.id()).unwrap().state, State::Succeeded);
    }
    let starts: BTreeMap<JobId, u32> = engine.starts();
    assert_eq!(starts.len(), 120);
    assert_started_once(&engine);
    assert_sound(&queue);
}

/// An engine whose answer does not come while it is told to hang.
struct Hanging {
    inner: ScriptedEngine,
    hangs: Arc<AtomicBool>,
    is_in_call: Arc<AtomicBool>,
}

impl Engine for Hanging {
    type Spec = serde_json::Value;

    fn start(&mut self, job: &JobId, spec: &serde_json::Value) -> Result<(), EngineError> {
        self.inner.start(job, spec)
    }

    fn poll(&mut self, jobs: &[JobId]) -> Result<Vec<JobStatus>, EngineError> {
        while self.hangs.load(Ordering::SeqCst) {
            self.is_in_call.store(true, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(2));
        }
        self.inner.poll(jobs)
    }

    fn cancel(&mut self, job: &JobId) -> Result<(), EngineError> {
        self.inner.cancel(job)
    }

    fn collect(&mut self, job: &JobId) -> Result<Collected, EngineError> {
        self.inner.collect(job)
    }

    fn remembers(&self) -> Duration {
        self.inner.remembers()
    }
}

#[test]
fn g19_an_engine_that_hangs_holds_up_no_end_of_its_queue_and_what_it_says_later_does_not_count() {
    let (inner, hangs, is_in_call) =
        (ScriptedEngine::new(), Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
    let folder = Folder::new();
    let engine = Hanging { inner: inner.clone(), hangs: hangs.clone(), is_in_call: is_in_call.clone() };
    let fast = NamedEngine::new("cluster", engine).poll_interval(Duration::from_millis(100));
    let builder = builder(Config::default().workers(1));
    let builder = builder.outside(&fast, |task: Train, _| Ok(task.0.into()), |_, ended| ended.json());
    let queue = builder.open(folder.file()).unwrap();
    let id = queue.enqueue(&Train(1)).unwrap().id();
    let local = queue.enqueue(&Do::Ok(1)).unwrap().id();
    while inner.jobs().is_empty() {
        std::thread::sleep(Duration::from_millis(2));
    }
    hangs.store(true, Ordering::SeqCst);
    while !is_in_call.load(Ordering::SeqCst) {
        std::thread::sleep(Duration::from_millis(2));
    }
    assert_eq!(queue.wait(local, PATIENCE).unwrap().state, State::Succeeded, "others go on");
    inner.finish_all("1");
    let _ = queue.shutdown(Duration::from_millis(10)).unwrap();
    assert!(hangs.load(Ordering::SeqCst), "it hangs still, and the shutdown has come back");
    drop(queue);
    let looker = Queue::builder().open(folder.file()).unwrap();
    assert_eq!(looker.get(id).unwrap().state, State::Running);
    hangs.store(false, Ordering::SeqCst);
    let next = with(Config::default().workers(1), &named(&inner).poll_interval(Duration::from_millis(100)));
    let next = next.open(folder.file()).unwrap();
    assert_eq!(next.wait(id, PATIENCE).unwrap().state, State::Succeeded);
    assert_eq!(next.attempts(id).unwrap().len(), 0, "the first attempt has succeeded, and once");
    assert_started_once(&inner);
    assert_sound(&next);
}

#[test]
fn g09_g19_who_does_not_own_the_file_any_more_neither_starts_nor_ends_jobs() {
    let engine = ScriptedEngine::new();
    let folder = Folder::new();
    let mut tests =
        SteppedQueue::open_file(with(Config::default(), &named(&engine)), &ManualClock::new(), folder.file())
            .unwrap();
    let first = add_one(&tests, Options::new());
    tests.poll_engines().unwrap();
    let second = add_one(&tests, Options::new());
    let other = rusqlite::Connection::open(folder.file()).unwrap();
    other.execute_batch("UPDATE perdura_meta SET owner_epoch = owner_epoch + 1").unwrap();
    engine.finish_all("1");
    let starts = engine.calls().starts;
    for _ in 0..5 {
        tests.advance(LOOK).ok();
        let told = tests.poll_engines();
        assert!(told.as_ref().err().is_none_or(|e| e.kind() == ErrorKind::OwnershipLost), "{told:?}");
    }
    assert_eq!(engine.calls().starts, starts, "what it intended is the next owner's");
    let states = [first, second].map(|id| tests.queue().get(id).unwrap().state);
    assert_eq!(states, [State::Running, State::Running]);
}

#[test]
fn g19_a_machine_that_slept_has_lost_nothing_of_what_is_outside() {
    let engine = ScriptedEngine::new();
    let clock = ManualClock::new();
    let config = Config::default().stuck_task_timeout(MINUTE);
    let named = named(&engine).start_timeout(MINUTE);
    let mut tests = SteppedQueue::open(with(config, &named), &clock).unwrap();
    let id = add_one(&tests, Options::new());
    tests.poll_engines().unwrap();
    // The wall clock goes on while the machine sleeps; the monotonic one of Linux stands still.
    clock.suspend(60 * MINUTE);
    look(&mut tests);
    assert_eq!(get(&tests, id).state, State::Running, "the engine has not been silent: nobody has asked");
    engine.finish_all("1");
    look(&mut tests);
    assert_eq!(get(&tests, id).state, State::Succeeded);
    assert_started_once(&engine);
}

/// An engine that needs half a minute to say that it cannot give what some jobs have given.
struct WithDeadNodes {
    inner: ScriptedEngine,
    clock: ManualClock,
    dead: Arc<Mutex<Vec<JobId>>>,
    slow_calls: Arc<AtomicU32>,
}

impl Engine for WithDeadNodes {
    type Spec = serde_json::Value;

    fn start(&mut self, job: &JobId, spec: &serde_json::Value) -> Result<(), EngineError> {
        self.inner.start(job, spec)
    }

    fn poll(&mut self, jobs: &[JobId]) -> Result<Vec<JobStatus>, EngineError> {
        self.inner.poll(jobs)
    }

    fn cancel(&mut self, job: &JobId) -> Result<(), EngineError> {
        self.inner.cancel(job)
    }

    fn collect(&mut self, job: &JobId) -> Result<Collected, EngineError> {
        if self.dead.lock().unwrap().contains(job) {
            self.clock.advance(Duration::from_secs(30));
            self.slow_calls.fetch_add(1, Ordering::SeqCst);
            return Err(EngineError::unreachable("no answer in time"));
        }
        self.inner.collect(job)
    }

    fn remembers(&self) -> Duration {
        self.inner.remembers()
    }
}

#[test]
fn what_jobs_of_dead_nodes_gave_holds_up_one_round_each_and_no_other_job_for_long() {
    let (inner, clock) = (ScriptedEngine::new(), ManualClock::new());
    let (dead, slow_calls) = (Arc::<Mutex<Vec<JobId>>>::default(), Arc::<AtomicU32>::default());
    let engine = WithDeadNodes {
        inner: inner.clone(),
        clock: clock.clone(),
        dead: dead.clone(),
        slow_calls: slow_calls.clone(),
    };
    let named = NamedEngine::new("cluster", engine);
    let builder = builder(Config::default()).outside(
        &named,
        |task: Train, _| Ok(task.0.into()),
        |_, ended| ended.json(),
    );
    let mut tests = SteppedQueue::open(builder, &clock).unwrap();
    let ids: Vec<TaskId> = (0..6).map(|n| add_one(&tests, Options::new().tag(n.to_string()))).collect();
    tests.poll_engines().unwrap();
    let good = ids[5];
    let job_of = |id: TaskId| JobId::new(tests.queue().get(id).unwrap().outside.unwrap().job.unwrap());
    *dead.lock().unwrap() = ids[..5].iter().map(|id| job_of(*id)).collect();
    inner.finish_all("1");
    for round in 1..=6 {
        look(&mut tests);
        assert!(slow_calls.load(Ordering::SeqCst) <= round, "one slow call a round");
    }
    assert_eq!(get(&tests, good).state, State::Succeeded);
    dead.lock().unwrap().clear();
    for _ in 0..3 {
        tests.advance(MINUTE).unwrap();
        tests.poll_engines().unwrap();
    }
    assert!(ids.iter().all(|id| get(&tests, *id).state == State::Succeeded), "what can be fetched later is");
}

#[test]
fn g19_a_cancel_waits_for_what_a_late_start_may_bring() {
    let engine = ScriptedEngine::new();
    let mut tests = open(&engine);
    let id = add_one(&tests, Options::new());
    engine.fail_next_start(StartFault::CutBefore);
    tests.poll_engines().unwrap();
    tests.queue().cancel(id).unwrap();
    tests.advance(MINUTE).unwrap();
    tests.poll_engines().unwrap();
    assert_eq!(get(&tests, id).state, State::Running, "the start may be under way in the engine");
    // It comes: a gateway had kept it.
    let job = get(&tests, id).outside.unwrap().job.unwrap();
    engine.clone().start(&JobId::new(job.clone()), &7.into()).unwrap();
    for _ in 0..3 {
        look(&mut tests);
    }
    assert!(engine.is_to_stop(&JobId::new(job)));
    assert_eq!(get(&tests, id).state, State::Cancelled);
    let second = add_one(&tests, Options::new());
    engine.fail_next_start(StartFault::CutBefore);
    tests.poll_engines().unwrap();
    tests.queue().cancel(second).unwrap();
    for _ in 0..7 {
        tests.advance(MINUTE).unwrap();
        tests.poll_engines().unwrap();
    }
    assert_eq!(get(&tests, second).state, State::Cancelled, "what has not come by then does not come");
}

#[test]
fn an_export_keeps_what_the_owner_has_told_the_file() {
    let engine = ScriptedEngine::new();
    let tests = open_with(Config::default().retention(None), &named(&engine));
    let mut text = Vec::new();
    tests.queue().export(&mut text).unwrap();
    let folder = Folder::new();
    Queue::builder().import(folder.file(), text.as_slice()).unwrap();
    let told = |path: &std::path::Path| -> (Option<String>, Option<i64>) {
        let conn = rusqlite::Connection::open(path).unwrap();
        let sql = "SELECT engines, retention_ms FROM perdura_meta";
        conn.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap()
    };
    assert_eq!(told(&folder.file()), (Some(r#"["cluster"]"#.to_owned()), Some(-1)), "for good");
    let older = String::from_utf8(text)
        .unwrap()
        .replace(r#""engines":["cluster"],"#, "")
        .replace(r#""retention_ms":-1,"#, "");
    let other = Folder::new();
    Queue::builder().import(other.file(), older.as_bytes()).unwrap();
    let hostile = older.replace(r#""served":"#, r#""engines":"{","served":"#);
    let refused = Queue::builder().import(Folder::new().file(), hostile.as_bytes()).unwrap_err();
    assert!(refused.to_string().contains("engines or retention_ms is not"), "{refused}");
}
