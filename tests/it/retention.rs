//! How long finished tasks are kept, and who says so.

use std::time::Duration;

use perdura::testing::{ManualClock, SteppedQueue};
use perdura::{Builder, Config, TaskId};

use crate::support::*;

const DAY: Duration = Duration::from_secs(86_400);

fn keeps(retention: Option<Duration>) -> Config {
    Config::default().retention(retention)
}

/// Opens as the owner, lets a task succeed, and ages the file after so many days.
fn run(folder: &Folder, config: Config, clock: &ManualClock, days: u32) -> (SteppedQueue, TaskId) {
    run_with(folder, builder(config), clock, days)
}

fn run_with(folder: &Folder, builder: Builder, clock: &ManualClock, days: u32) -> (SteppedQueue, TaskId) {
    let builder = builder.clock(clock.clone());
    let mut tests = SteppedQueue::open_file(builder, clock, folder.file()).unwrap();
    let id = tests.queue().enqueue(&Do::Ok(1)).unwrap().id();
    tests.run_until_idle().unwrap();
    tests.advance(days * DAY).unwrap();
    tests.apply_retention().unwrap(); // the clock has jumped, as far as it can see
    tests.advance(10 * MINUTE).unwrap();
    tests.apply_retention().unwrap();
    (tests, id)
}

fn is_kept(tests: &SteppedQueue, id: TaskId) -> bool {
    tests.queue().get(id).is_ok()
}

#[test]
fn what_a_program_says_of_retention_holds_whoever_executes_next() {
    let (folder, clock) = (Folder::new(), ManualClock::new());
    let (tests, first) = run(&folder, keeps(None), &clock, 30);
    assert!(is_kept(&tests, first), "it wants them for good");
    drop(tests);
    let (tests, second) = run(&folder, Config::default(), &clock, 30);
    assert!(is_kept(&tests, first) && is_kept(&tests, second), "the default says nothing");
    drop(tests);
    let (tests, third) = run(&folder, keeps(Some(DAY)), &clock, 2);
    assert!(
        ![first, second, third].iter().any(|id| is_kept(&tests, *id)),
        "the last owner that said so wins"
    );
    drop(tests);
    let (tests, fourth) = run(&folder, Config::default(), &clock, 2);
    assert!(!is_kept(&tests, fourth), "a day, as the one before said");
}

#[test]
fn where_nobody_says_anything_a_week_holds() {
    let (folder, clock) = (Folder::new(), ManualClock::new());
    let (tests, id) = run(&folder, Config::default(), &clock, 6);
    assert!(is_kept(&tests, id));
    drop(tests);
    let (tests, _) = run(&folder, Config::default(), &clock, 2);
    assert!(!is_kept(&tests, id));
}

/// A queue with threads that runs one task and ends: when the file is so old, by how much its newest task is older than that.
fn short_run(folder: &Folder, clock: &ManualClock) {
    let queue = builder(keeps(Some(DAY))).clock(clock.clone()).open(folder.file()).unwrap();
    let id = queue.enqueue(&Do::Ok(1)).unwrap().id();
    queue.wait(id, PATIENCE).unwrap();
    queue.shutdown(MINUTE).unwrap();
}

fn tasks(folder: &Folder) -> usize {
    let queue = perdura::Queue::builder().open(folder.file()).unwrap();
    queue.tasks(perdura::Filter::new()).unwrap().len()
}

#[test]
fn programs_that_run_for_a_moment_delete_what_is_old_at_their_end() {
    let (folder, clock) = (Folder::new(), ManualClock::new());
    for _ in 0..10 {
        short_run(&folder, &clock);
        clock.advance(6 * 60 * MINUTE); // four times a day
    }
    assert!((4..=6).contains(&tasks(&folder)), "{} tasks are kept of ten", tasks(&folder));
}

#[test]
fn g10_programs_that_run_for_a_moment_delete_nothing_while_the_clock_may_have_jumped() {
    let (folder, clock) = (Folder::new(), ManualClock::new());
    for _ in 0..3 {
        short_run(&folder, &clock);
    }
    clock.advance(1000 * DAY); // or somebody has set the clock
    short_run(&folder, &clock);
    assert_eq!(tasks(&folder), 4, "no task shows that the time has passed");
    clock.advance(MINUTE);
    short_run(&folder, &clock);
    assert_eq!(tasks(&folder), 5, "the clock has not been steady for five minutes");
    clock.advance(10 * MINUTE);
    short_run(&folder, &clock);
    assert_eq!(tasks(&folder), 3);
}

#[test]
fn who_executes_the_tasks_of_others_deletes_what_the_file_says_and_nothing_else() {
    let (folder, clock) = (Folder::new(), ManualClock::new());
    let kept = |clock: &ManualClock, rule: fn(Builder) -> Builder, days| {
        let (tests, id) = run_with(&folder, rule(builder(Config::default())), clock, days);
        let kept = is_kept(&tests, id);
        (kept, tests.queue().inspect().unwrap().retention)
    };
    assert_eq!(kept(&clock, Builder::retention_of_file, 400), (true, None), "nobody has said anything");
    assert_eq!(
        kept(&clock, |builder| builder.retention_here(Some(DAY)), 2),
        (false, None),
        "said, but not told to the file"
    );
    drop(run(&folder, keeps(Some(2 * DAY)), &clock, 1));
    let of_file = Some(Some(2 * DAY));
    assert_eq!(kept(&clock, Builder::retention_of_file, 1), (true, of_file));
    assert_eq!(kept(&clock, Builder::retention_of_file, 3), (false, of_file));
    assert_eq!(
        kept(&clock, |builder| builder.retention_here(None), 3),
        (true, of_file),
        "for good, as long as this one executes"
    );
    let configured_later = |builder: Builder| builder.retention_here(None).config(Config::default());
    assert_eq!(kept(&clock, configured_later, 400), (true, of_file), "in whatever order they are called");
}
