//! Schedules whose ticks follow the ends of their runs.

use super::*;

fn scan(builder: Builder) -> SteppedQueue {
    SteppedQueue::open(
        builder.schedule(Schedule::after_end("scan", MINUTE * 10), &Note(1)),
        &ManualClock::new(),
    )
    .unwrap()
}

fn next(tests: &SteppedQueue) -> Option<i64> {
    tests.queue().schedule("scan").unwrap().next_tick.map(minute)
}

#[test]
fn g15_the_next_tick_follows_the_end_of_the_run() {
    let mut tests = scan(notes());
    assert_eq!(next(&tests), Some(10));
    tests.advance(MINUTE * 10).unwrap();
    assert_eq!((next(&tests), tasks(tests.queue()).len()), (None, 1));
    tests.advance(MINUTE * 60).unwrap();
    assert_eq!((next(&tests), tasks(tests.queue()).len()), (None, 1), "its run has not ended");
    tests.run_until_idle().unwrap();
    assert_eq!(next(&tests), Some(80));
    tests.advance(MINUTE * 10).unwrap();
    tests.run_until_idle().unwrap();
    assert_eq!(noted(tests.queue()), [10, 80]);
    assert_sound(tests.queue());
}

#[test]
fn g15_whatever_ends_or_removes_the_run_writes_the_next_tick_in_that_commit() {
    type End = fn(&mut SteppedQueue);
    let ends: [(&str, End); 5] = [
        ("it succeeds", |tests| assert!(tests.run_one().unwrap().is_some())),
        ("it is cancelled", |tests| tests.queue().cancel(id(1)).unwrap()),
        ("it is deleted", |tests| tests.queue().delete(id(1)).unwrap()),
        ("it is deleted with others", |tests| {
            assert_eq!(tests.queue().delete_all(Filter::new().state(State::Queued)).unwrap().changed, 1);
        }),
        ("its row is damaged", |tests| {
            let file = rusqlite::Connection::open(tests.queue().path()).unwrap();
            file.execute("UPDATE perdura_args SET version = -7 WHERE task_id = 1", []).unwrap();
            tests.run_one().unwrap();
        }),
    ];
    for (what, end) in ends {
        let mut tests = scan(notes());
        tests.advance(MINUTE * 10).unwrap();
        tests.clock().advance(MINUTE * 5);
        end(&mut tests);
        assert_eq!(next(&tests), Some(25), "{what}");
        tests.advance(MINUTE * 10).unwrap();
        tests.run_until_idle().unwrap();
        assert_eq!(noted(tests.queue()).last(), Some(&25), "{what}");
    }
}

#[test]
fn g15_a_run_that_fails_for_good_or_is_lost_has_ended_and_one_that_is_retried_has_not() {
    let fails = |_: Note, cx: &Context| -> Result<Option<i64>, Failure> {
        if cx.generation() < 3 {
            Err(Failure::named("not.yet", "as told"))
        } else {
            Err(Failure::permanent("as told"))
        }
    };
    let mut tests = scan(Queue::builder().handle(fails));
    tests.advance(MINUTE * 10).unwrap();
    for _ in 0..2 {
        tests.run_until_idle().unwrap();
        assert_eq!(next(&tests), None, "it waits for its retry");
        tests.advance(MINUTE * 2).unwrap();
    }
    tests.run_until_idle().unwrap();
    assert_eq!(next(&tests), Some(24));
    // Retried by hand, it is live again; the tick that comes meanwhile waits for its end.
    tests.queue().retry(id(1)).unwrap();
    tests.advance(MINUTE * 10).unwrap();
    assert_eq!(tasks(tests.queue()).len(), 1);
    tests.run_until_idle().unwrap();
    assert_eq!(next(&tests), Some(34));
    assert_sound(tests.queue());
}

#[test]
fn g15_a_run_by_hand_takes_the_place_of_the_next() {
    let mut tests = scan(notes());
    tests.clock().advance(MINUTE * 4);
    let _ = tests.queue().run_schedule_now("scan").unwrap();
    assert_eq!(next(&tests), None);
    tests.advance(MINUTE * 10).unwrap();
    tests.run_until_idle().unwrap();
    assert_eq!((noted(tests.queue()), next(&tests)), (vec![4], Some(24)));
}

#[test]
fn g15_after_a_time_without_an_owner_the_tick_that_is_due_fires() {
    let (folder, clock) = (Folder::in_memory(), ManualClock::new());
    let open = || {
        let builder = notes().schedule(Schedule::after_end("scan", MINUTE * 10), &Note(1));
        SteppedQueue::open_file(builder, &clock, folder.file()).unwrap()
    };
    drop(open());
    clock.advance(MINUTE * 60 * 24 * 30);
    let mut tests = open();
    tests.tick().unwrap();
    tests.run_until_idle().unwrap();
    assert_eq!(noted(tests.queue()), [10]);
}

#[test]
fn g15_a_pause_goes_over_the_end_of_a_run() {
    let mut tests = scan(notes());
    tests.advance(MINUTE * 10).unwrap();
    tests.queue().pause_schedule("scan").unwrap();
    tests.run_until_idle().unwrap();
    tests.advance(MINUTE * 60).unwrap();
    assert_eq!(tasks(tests.queue()).len(), 1);
    tests.queue().resume_schedule("scan").unwrap();
    tests.tick().unwrap();
    tests.run_until_idle().unwrap();
    assert_eq!(noted(tests.queue()), [10, 70]);
}
