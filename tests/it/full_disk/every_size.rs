//! A full disk at every size: the files may not grow beyond a limit, for limits a few KiB apart, from a disk that has no room for an
//! empty queue to one that has room for its work. Tests on a real file system are in `real`.

use std::sync::{Arc, Mutex};

use perdura::testing::{ManualClock, SteppedQueue};
use perdura::{Builder, Context, Error, ErrorKind, Failure, Filter, Outcome, Queue, State, TaskId};
use perdura_faultvfs::{Faults, VFS};

use crate::child::Wide;
use crate::support::*;

/// Between two limits.
const STEP: u64 = 12 * 1024;
/// Args that fill a disk soon.
const BYTES: usize = 9_000;
/// More tasks than any of these disks has room for.
const ENOUGH: u64 = 2_000;

/// What the handler is to do to the disk while its task runs.
type Strike = Arc<Mutex<Option<Faults>>>;

fn builder(strike: &Strike) -> Builder {
    let strike = strike.clone();
    Queue::builder().handle(move |task: Wide, _: &Context| -> Result<String, Failure> {
        if let Some(faults) = &*strike.lock().unwrap() {
            faults.limit_space(0); // what is there may stay, and nothing grows
        }
        if task.n.is_multiple_of(3) { Err(Failure::named("told", "as told")) } else { Ok(task.n.to_string()) }
    })
}

fn wide(n: u64) -> Wide {
    Wide { n, text: "x".repeat(BYTES) }
}

#[track_caller]
fn assert_refused(e: &Error, limit: u64) {
    assert_eq!((e.kind(), e.outcome()), (ErrorKind::DiskFull, Outcome::NotDone), "limit {limit}: {e}");
}

/// The tasks that are there.
fn there(queue: &Queue) -> Vec<TaskId> {
    queue.tasks(Filter::new().limit(usize::MAX)).unwrap().iter().map(|record| record.task_id).collect()
}

fn open(faults: &Faults, clock: &ManualClock, strike: &Strike) -> Result<SteppedQueue, Error> {
    SteppedQueue::open_file(builder(strike).vfs(VFS), clock, faults.path())
}

/// Enqueues until that is refused, and then some. Answers with what was accepted.
fn fill(queue: &Queue, limit: u64) -> Vec<TaskId> {
    let (mut accepted, mut refused) = (there(queue), 0);
    for n in 1..ENOUGH {
        match queue.enqueue(&wide(n)) {
            Ok(made) => accepted.push(made.id()),
            Err(e) => {
                assert_refused(&e, limit);
                refused += 1;
            }
        }
        assert_eq!(
            there(queue).len(),
            accepted.len(),
            "limit {limit}: a refused task is there, or an accepted one is not"
        );
        if refused == 3 {
            assert_eq!(there(queue), accepted, "limit {limit}");
            return accepted;
        }
    }
    panic!("limit {limit}: the disk never gets full");
}

/// Brings everything to its end.
fn drain(tests: &mut SteppedQueue, tasks: usize, limit: u64) {
    for _ in 0..4 {
        tests.run_until_idle().unwrap_or_else(|e| panic!("limit {limit}: it does not go on: {e}"));
        tests.advance(10 * MINUTE).unwrap();
    }
    let total = tests.queue().counts().unwrap().total();
    assert_eq!(total.succeeded + total.failed, tasks as u64, "limit {limit}: {total:?}");
    assert_sound(tests.queue());
}

/// How the life of a queue under a limit went.
#[derive(Default, Debug)]
struct Figures {
    limits: u64,
    not_opened: u64,
    nothing_accepted: u64,
    accepted: usize,
    ran_on_the_full_disk: usize,
}

/// A queue is opened under the limit, filled, runs what it has on the full disk, and goes on when there is room.
fn live(faults: &Faults, limit: u64, figures: &mut Figures) {
    let (clock, strike) = (ManualClock::new(), Strike::default());
    figures.limits += 1;
    faults.limit_space(limit);
    let mut tests = match open(faults, &clock, &strike) {
        Ok(tests) => tests,
        Err(e) => {
            // SQLite tells it as an I/O error if it is the shared memory that has no room.
            assert!(matches!(e.kind(), ErrorKind::DiskFull | ErrorKind::Io), "limit {limit}: {e}");
            figures.not_opened += 1;
            faults.free_space();
            open(faults, &clock, &strike)
                .unwrap_or_else(|e| panic!("limit {limit}: it cannot be opened for good: {e}"))
        }
    };
    faults.limit_space(limit);
    let accepted = fill(tests.queue(), limit);
    figures.accepted += accepted.len();
    figures.nothing_accepted += u64::from(accepted.is_empty());
    // There is a little room: a few tasks are claimed, and the disk gets full while they run.
    for room in [STEP, 10 * STEP, 1 << 20, 4 << 20] {
        faults.limit_space(limit + room);
        *strike.lock().unwrap() = Some(faults.clone());
        match tests.run_one() {
            Ok(None) => {}
            Ok(Some(_)) => {
                figures.ran_on_the_full_disk += 1;
                let running = tests.queue().tasks(Filter::new().state(State::Running)).unwrap();
                assert_eq!(running, [], "limit {limit}: an outcome was not recorded");
            }
            Err(e) => {
                assert_refused(&e, limit);
                let running = tests.queue().tasks(Filter::new().state(State::Running)).unwrap();
                assert_eq!(
                    running,
                    [],
                    "limit {limit}: with {room} bytes of room an outcome was not recorded: {e}"
                );
            }
        }
        *strike.lock().unwrap() = None;
    }
    assert_eq!(there(tests.queue()), accepted, "limit {limit}: what was accepted is not what is there");
    faults.free_space();
    let more = tests.queue().enqueue(&wide(1));
    let _ = more.unwrap_or_else(|e| panic!("limit {limit}: there is room, and it is refused: {e}"));
    drain(&mut tests, accepted.len() + 1, limit);
    drop(tests);
    let mut again = open(faults, &clock, &strike).unwrap();
    drain(&mut again, accepted.len() + 1, limit);
}

fn at_every_limit(harness: &str, limits: impl Iterator<Item = u64>, prepare: impl Fn(&Faults)) -> Figures {
    let mut figures = Figures::default();
    for limit in limits {
        let home = Folder::in_memory();
        let faults = Faults::attach(home.file()).unwrap();
        prepare(&faults);
        let now: u64 = std::fs::metadata(home.file()).map_or(0, |found| found.len());
        live(&faults, now + limit, &mut figures);
    }
    report("space", format_args!("{harness}: {figures:?}"));
    figures
}

/// From no room at all to the reserve, the floor of the WAL and some growth.
#[test]
fn g11_a_new_file_at_every_limit_of_space() {
    let figures = at_every_limit("a new file", (0..4 << 20).step_by(6 * STEP as usize), |_| {});
    assert!(figures.not_opened > 0, "there was always room for an empty queue");
    assert!(figures.ran_on_the_full_disk > figures.limits as usize, "hardly anything ran");
}

/// A file that has its reserve, and grows until the limit strikes.
#[test]
fn g11_a_file_that_grows_at_every_limit_of_space() {
    let prepare = |faults: &Faults| {
        let tests = open(faults, &ManualClock::new(), &Strike::default()).unwrap();
        (0..20).for_each(|n| {
            let _ = tests.queue().enqueue(&wide(n)).unwrap();
        });
    };
    let figures = at_every_limit("a file that grows", (0..3 << 20).step_by(4 * STEP as usize), prepare);
    assert!(figures.ran_on_the_full_disk > figures.limits as usize, "hardly anything ran");
}
