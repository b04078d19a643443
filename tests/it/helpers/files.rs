//! A file with tasks in every state, for tests that damage it; and every call that a program can make on the damaged file.
//!
//! The fuzz targets use it too, so it stands on its own.
#![allow(dead_code, reason = "each user needs a part of it")]

use std::cell::RefCell;
use std::path::Path;
use std::time::Duration;

use perdura::engine::NamedEngine;
use perdura::testing::{ManualClock, ScriptedEngine, SteppedQueue};
use perdura::{
    Builder, Config, Context, Error, ErrorKind, Failure, Filter, Options, Overlap, Queue, Schedule, State,
    Task, TaskId,
};
use serde::{Deserialize, Serialize};

/// What the tasks of the file do.
#[derive(Serialize, Deserialize)]
pub enum Step {
    Succeed(u64),
    Fail,
    Save,
    /// Does a step, and sleeps.
    Once(u64),
    /// Waits outside, for a person.
    Ask,
}

impl Task for Step {
    const NAME: &'static str = "step";
    type Output = u64;
}

/// A task that an engine does.
#[derive(Serialize, Deserialize)]
pub struct Far;

impl Task for Far {
    const NAME: &'static str = "far";
    type Output = u64;
}

/// A task that no handler knows.
#[derive(Serialize, Deserialize)]
pub struct Stranger;

impl Task for Stranger {
    const NAME: &'static str = "stranger";
    type Output = ();
}

fn run(step: Step, cx: &Context) -> Result<u64, Failure> {
    match step {
        Step::Succeed(n) => Ok(n),
        Step::Fail => Err(Failure::named("told", "as told")),
        Step::Save => {
            let done = cx.checkpoint::<u64>()?.unwrap_or_default();
            cx.save_checkpoint(&(done + 1))?;
            cx.progress(done, 9);
            Err(Failure::named("saved", "as told"))
        }
        Step::Once(n) => {
            let n = cx.step("once", || Ok(n))?;
            cx.sleep("rest", Duration::from_secs(3000)).map(|()| n)
        }
        Step::Ask => Err(Failure::outside("approval")),
    }
}

pub fn builder() -> Builder {
    let config = Config::default()
        .workers(1)
        .disk_reserve_bytes(0)
        .retention(Some(Duration::from_secs(86_400)))
        .dead_letter_after(Some(Duration::from_secs(86_400)))
        .dead_letter_retention(Some(Duration::from_secs(86_400)));
    // Each process has an engine that knows none of the jobs of its predecessors.
    let cluster = NamedEngine::new("cluster", ScriptedEngine::new()).queues(["far"]);
    Queue::builder().config(config).handle(run).outside(
        &cluster,
        |_: Far, _| Ok(7.into()),
        |_, ended| ended.json(),
    )
}

fn open(path: &Path, clock: &ManualClock) -> Result<SteppedQueue, Error> {
    SteppedQueue::open_file(builder().clock(clock.clone()), clock, path)
}

/// The ids of tasks that nobody damages: they must run whatever becomes of the others.
pub const INNOCENT: [i64; 2] = [1, 12];

/// Makes a file with tasks in every state and hold, with keys, tags, errors, results, checkpoints, steps, needs, dead letters, and one that was
/// running when its process died. It is closed, and has no WAL.
pub fn make(path: &Path) {
    let clock = ManualClock::new();
    let mut tests = open(path, &clock).unwrap();
    let queue = tests.queue().clone();
    let add = |step: &Step, options: Options| queue.enqueue_with(step, options).unwrap().id();
    let side = || Options::new().queue("side");
    let calm = || Options::new().priority(-1).delay(Duration::from_secs(600));
    add(&Step::Succeed(1), calm());
    add(&Step::Succeed(2), side());
    let fails = add(&Step::Fail, side().max_attempts(1));
    let buried = add(&Step::Fail, side().max_attempts(1).tag("buried"));
    add(&Step::Save, side().backoff(Duration::from_secs(3000)).tag("saved").serial("key"));
    tests.run_until_idle().unwrap();
    assert_eq!(queue.move_to_dead_letters(Filter::new().ids([buried])).unwrap().changed, 1);
    let cancelled = add(&Step::Succeed(6), side());
    queue.cancel(cancelled).unwrap();
    add(
        &Step::Succeed(7),
        Options::new().delay(Duration::from_secs(3000)).unique("key").expires(Duration::from_secs(9000)),
    );
    let _ = queue.enqueue(&Stranger).unwrap();
    tests.run_until_idle().unwrap();
    queue.pause("paused").unwrap();
    add(&Step::Succeed(9), Options::new().queue("paused"));
    add(&Step::Succeed(10), Options::new().priority(1)); // will be running
    add(&Step::Succeed(11), Options::new());
    add(&Step::Succeed(12), calm());
    tests.advance(Duration::from_secs(600)).unwrap();
    assert_eq!(queue.get(fails).unwrap().state, State::Failed);
    let schedule = Schedule::every("each hour", Duration::from_secs(3600)).overlap(Overlap::Queue);
    queue.set_schedule(schedule.options(Options::new().queue("paused")), &Step::Succeed(13)).unwrap();
    queue.run_schedule_now("each hour").unwrap(); // in a paused queue
    queue.run_schedule_now("each hour").unwrap(); // and one that waits for it
    add(&Step::Succeed(15), side().serial("key")); // waits for the one that is saved
    add(&Step::Succeed(16), Options::new().queue("paused").limit("key", 2));
    queue.set_schedule(Schedule::after_end("after", Duration::from_secs(3600)), &Step::Succeed(17)).unwrap();
    // Nothing else of what is ready runs meanwhile.
    queue.pause("default").unwrap();
    add(&Step::Once(17), side());
    add(&Step::Succeed(18), side().needs("online").needs_throughout("on_mains").needs_free_disk(1));
    add(&Step::Ask, side().timeout(Duration::from_secs(9000)));
    let _ = queue.enqueue(&Far).unwrap();
    tests.run_until_idle().unwrap();
    tests.poll_engines().unwrap();
    let _ = queue.enqueue(&Far).unwrap(); // is not accepted
    tests.run_until_idle().unwrap();
    queue.set_condition("on_mains", true).unwrap();
    queue.resume("default").unwrap();
    drop(queue);
    assert_eq!(tests.crash_in_attempt(true).unwrap().1, "10".parse().ok());
    // Its reading connections may close a little later than its writer, which leaves a WAL then.
    let conn = rusqlite::Connection::open(path).unwrap();
    conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
}

/// What became of the attempt to use a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Used {
    /// `open` refused it.
    Refused(ErrorKind),
    /// It was opened; whether `check` found nothing, after all that was done to it, and whether the innocent tasks have run.
    Opened { sound: bool, innocents_ran: bool },
}

thread_local! {
    static ERRORS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// The errors that the newest [`use_everything`] of this thread was answered with.
pub fn errors() -> Vec<String> {
    ERRORS.with_borrow(Vec::clone)
}

/// What a call may answer where the file may hold anything: a value, or a typed error. An `Internal` one would say that it is our fault.
fn told<T>(what: &str, answer: Result<T, Error>) -> Option<T> {
    match answer {
        Ok(value) => Some(value),
        Err(e) => {
            assert!(e.kind() != ErrorKind::Internal, "{what}: {e}, from {:?}", std::error::Error::source(&e));
            ERRORS.with_borrow_mut(|errors| errors.push(format!("{what}: {e}")));
            None
        }
    }
}

/// Opens a file and does everything that a program may do with it. Panics where something is answered that may not be.
pub fn use_everything(path: &Path) -> Used {
    ERRORS.take();
    let clock = ManualClock::new();
    clock.advance(Duration::from_secs(700));
    if let Err(e) = Queue::builder().open(path) {
        let kind = e.kind();
        told::<()>("open", Err(e));
        return Used::Refused(kind);
    }
    // Who owns a file also recovers it, and that may meet damage that `open` does not look for.
    let Some(mut tests) = told("own", open(path, &clock)) else {
        let queue = Queue::builder().open(path).expect("it was opened a moment ago");
        look(&queue);
        return Used::Opened { sound: false, innocents_ran: false };
    };
    let queue = tests.queue().clone();
    look(&queue);
    for hours in 0..4 {
        told("run", tests.run_until_idle());
        told("follow", tests.poll_engines());
        told("tick", tests.advance(Duration::from_secs(3600 * hours)));
    }
    let has_run =
        |id: &i64| told("get", queue.get(id_of(*id))).is_some_and(|task| task.state == State::Succeeded);
    let innocents_ran = INNOCENT.iter().all(has_run);
    told("enqueue", queue.enqueue(&Step::Succeed(99)));
    told(
        "enqueue",
        queue.enqueue_with(&Step::Succeed(99), Options::new().queue("new").unique("key").tag("tag")),
    );
    told("run", tests.run_until_idle());
    mend(&queue);
    told("run", tests.run_until_idle());
    look(&queue);
    told("tick", tests.advance(Duration::from_secs(3 * 86_400)));
    told("age", tests.apply_retention());
    told("purge", queue.purge(std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 32)));
    let sound = told("check", queue.check()).is_some_and(|report| report.is_ok());
    Used::Opened { sound, innocents_ran }
}

fn id_of(n: i64) -> TaskId {
    n.to_string().parse().expect("a number is an id")
}

/// Calls that read the file.
fn look(queue: &Queue) {
    told("counts", queue.counts().map(|counts| (counts.total().all(), counts.total().queued())));
    told("tasks", queue.tasks(Filter::new()));
    told("tasks", queue.tasks(Filter::new().state(State::Failed).tag("saved").error_type("told")));
    told("notify", queue.notify());
    for id in (0..=18).map(id_of) {
        if let Some(record) = told("get", queue.get(id)) {
            let _ = (format!("{record:?}"), serde_json::to_string(&record).expect("a record has a text"));
        }
        told("attempts", queue.attempts(id));
        told("args", queue.args_json(id));
        told("result", queue.result_json(id));
        told("steps", queue.steps(id));
        told("explain", queue.explain(id).map(|explanation| explanation.to_string()));
        told("letter", queue.dead_letters().get(id));
    }
    told("letters", queue.dead_letters().list(Filter::new()));
    told("conditions", queue.conditions());
    told("schedules", queue.schedules());
    for name in ["each hour", "after"] {
        told("schedule", queue.schedule(name));
        told("preview", queue.preview(name, 3));
        told("schedule args", queue.schedule_args_json(name));
    }
    told("check", queue.check());
}

/// Verbs that change the file.
fn mend(queue: &Queue) {
    for name in ["each hour", "after"] {
        told("pause schedule", queue.pause_schedule(name));
        told("resume schedule", queue.resume_schedule(name));
        told("run schedule", queue.run_schedule_now(name));
    }
    told("set_condition", queue.set_condition("online", true));
    told("set_condition", queue.set_condition("new", false));
    for id in (1..=14).map(id_of) {
        match id.to_string().parse::<u8>().unwrap_or(0) % 5 {
            0 => drop(told("run_now", queue.run_now(id))),
            1 => drop(told("cancel", queue.cancel(id))),
            2 => drop(told("retry", queue.retry(id))),
            3 => drop(told("replay", queue.dead_letters().replay(id))),
            _ => drop(told("delete", queue.delete(id))),
        }
    }
    told("retry_all", queue.retry_all(Filter::new()));
    told("cancel_all", queue.cancel_all(Filter::new().queue("side")));
    told("pause", queue.pause("side"));
    told("resume", queue.resume("paused"));
    told("bury", queue.move_to_dead_letters(Filter::new()));
    told("delete_all", queue.delete_all(Filter::new().tag("saved")));
}
