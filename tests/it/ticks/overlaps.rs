//! What a tick does while the run before is under way.

use perdura::Hold;

use super::*;

fn with(schedule: Schedule) -> SteppedQueue {
    SteppedQueue::open(notes().schedule(schedule, &Note(1)), &ManualClock::new()).unwrap()
}

fn holds(tests: &SteppedQueue) -> Vec<(State, Option<Hold>)> {
    tasks(tests.queue()).iter().map(|task| (task.state, task.hold)).collect()
}

const READY: (State, Option<Hold>) = (State::Queued, Some(Hold::Ready));
const WAITS: (State, Option<Hold>) = (State::Queued, Some(Hold::Parents));

#[test]
fn g15_every_overlap_while_a_run_is_live() {
    let replaced = (State::Cancelled, None);
    for (overlap, expected, left_out, noted_then) in [
        (Overlap::Skip, vec![READY], 3, vec![1]),
        (Overlap::Queue, vec![READY, WAITS], 2, vec![1, 2]),
        (Overlap::Replace, vec![READY, replaced, replaced, WAITS], 0, vec![1, 4]),
        (Overlap::Allow, vec![READY; 4], 0, vec![1, 2, 3, 4]),
    ] {
        let mut tests = with(each_minute().overlap(overlap));
        for _ in 0..4 {
            tests.advance(MINUTE).unwrap();
        }
        assert_eq!(holds(&tests), expected, "{overlap:?}");
        assert_eq!(tests.queue().schedule("each minute").unwrap().left_out, left_out, "{overlap:?}");
        assert_sound(tests.queue());
        tests.run_until_idle().unwrap();
        assert_eq!(noted(tests.queue()), noted_then, "{overlap:?}");
        // Nothing is under way any more: the next tick makes a run that may start.
        pass(&mut tests, 1);
        assert_eq!(noted(tests.queue()).last(), Some(&5), "{overlap:?}");
        assert_sound(tests.queue());
    }
}

#[test]
fn g15_missed_ticks_run_one_after_another() {
    let mut tests = with(each_minute().overlap(Overlap::Queue).missed(Missed::All { cap: 4 }));
    tests.advance(MINUTE * 6).unwrap();
    assert_eq!(holds(&tests), [READY, WAITS, WAITS, WAITS]);
    for left in [2, 1, 0] {
        tests.run_one().unwrap();
        assert_eq!(holds(&tests).iter().filter(|hold| **hold == WAITS).count(), left);
        assert_eq!(holds(&tests).iter().filter(|hold| **hold == READY).count(), 1);
    }
    tests.run_until_idle().unwrap();
    assert_eq!(noted(tests.queue()), [3, 4, 5, 6]);
}

#[test]
fn g15_a_run_that_waits_says_for_which() {
    let mut tests = with(each_minute().overlap(Overlap::Queue));
    tests.advance(MINUTE).unwrap();
    tests.advance(MINUTE).unwrap();
    let waiting = tasks(tests.queue())[1].task_id;
    let why = tests.queue().explain(waiting).unwrap().to_string();
    assert_eq!(
        why,
        "task 2 is queued and waits until task 1, the run before it of the schedule \"each minute\", has ended; it is the run of 2026-01-01T00:02:00.000Z"
    );
    let refused = tests.queue().run_now(waiting).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::WrongState);
}

/// A run that waits may start in the commit in which the run before ends or goes, however it does so.
#[test]
fn g15_whatever_ends_a_run_lets_the_next_one_go_on() {
    type End = fn(&mut SteppedQueue);
    let ends: [(&str, End); 6] = [
        ("it succeeds", |tests| assert!(tests.run_one().unwrap().is_some())),
        ("it is cancelled", |tests| tests.queue().cancel(first(tests)).unwrap()),
        ("it is deleted", |tests| tests.queue().delete(first(tests)).unwrap()),
        ("it expires", |tests| tests.advance(MINUTE * 2).unwrap()),
        ("it is cancelled with others", |tests| {
            assert_eq!(tests.queue().cancel_all(Filter::new().id(first(tests))).unwrap().changed, 1);
        }),
        ("its row is damaged", |tests| {
            let file = rusqlite::Connection::open(tests.queue().path()).unwrap();
            file.execute("UPDATE perdura_tasks SET priority = 99999 WHERE task_id = 1", []).unwrap();
            file.execute("UPDATE perdura_args SET version = -7 WHERE task_id = 1", []).unwrap();
            tests.run_one().unwrap();
        }),
    ];
    for (what, end) in ends {
        let schedule = each_minute().overlap(Overlap::Queue).options(Options::new().expires(MINUTE * 3));
        let mut tests = with(schedule);
        tests.advance(MINUTE).unwrap();
        tests.advance(MINUTE).unwrap();
        assert_eq!(holds(&tests), [READY, WAITS]);
        let commits = tests.commits();
        end(&mut tests);
        let second = tests.queue().get(id(2)).unwrap();
        assert!(second.hold != Some(Hold::Parents), "{what}: {:?}", second.hold);
        assert!(tests.commits() > commits);
        tests.run_until_idle().unwrap();
        assert!(noted(tests.queue()).contains(&2), "{what}");
    }
}

fn first(tests: &SteppedQueue) -> perdura::TaskId {
    tasks(tests.queue())[0].task_id
}

#[test]
fn g15_a_run_that_waits_for_its_retry_is_live() {
    let fails = |_: Note, cx: &Context| -> Result<Option<i64>, Failure> {
        if cx.attempt_number() < 3 {
            Err(Failure::named("not.yet", "as told"))
        } else {
            Ok(cx.tick()?.map(minute))
        }
    };
    let builder = Queue::builder().handle(fails).schedule(each_minute().overlap(Overlap::Queue), &Note(1));
    let mut tests = SteppedQueue::open(builder, &ManualClock::new()).unwrap();
    pass(&mut tests, 3);
    assert_eq!(holds(&tests), [(State::Queued, Some(Hold::Time)), WAITS]);
    pass(&mut tests, 1);
    assert_eq!(noted(tests.queue()), [1]);
    assert_sound(tests.queue());
}

#[test]
fn a_run_keeps_its_tick_when_it_is_retried_and_replayed_by_hand() {
    let fails = |_: Note, cx: &Context| -> Result<Option<i64>, Failure> {
        if cx.generation() == 1 && cx.id().to_string() == "1" {
            Err(Failure::permanent("as told"))
        } else {
            Ok(cx.tick()?.map(minute))
        }
    };
    let builder = || Queue::builder().handle(fails).schedule(each_minute(), &Note(1));
    for replays in [false, true] {
        let mut tests = SteppedQueue::open(builder(), &ManualClock::new()).unwrap();
        tests.advance(MINUTE).unwrap();
        tests.run_until_idle().unwrap();
        let queue = tests.queue().clone();
        let id = first(&tests);
        if replays {
            let _ = queue.move_to_dead_letters(Filter::new().id(id)).unwrap();
            let _ = queue.dead_letters().replay(id).unwrap();
        } else {
            queue.retry(id).unwrap();
        }
        assert_sound(&queue);
        // It is live again.
        tests.advance(MINUTE).unwrap();
        assert_eq!(queue.schedule("each minute").unwrap().left_out, 1);
        tests.run_until_idle().unwrap();
        assert_eq!(noted(&queue), [1]);
        assert_sound(&queue);
    }
}

/// Else the one that waits would be let on by the end of the other, although it has ended, too.
#[test]
fn g15_a_run_and_the_one_that_waits_for_it_may_end_in_one_commit() {
    type End = fn(&mut SteppedQueue);
    let ends: [(&str, End); 3] = [
        ("both are cancelled", |tests| {
            assert_eq!(tests.queue().cancel_all(Filter::new()).unwrap().changed, 2);
        }),
        ("both expire", |tests| tests.advance(MINUTE * 30).unwrap()),
        ("both are deleted", |tests| {
            assert_eq!(tests.queue().delete_all(Filter::new().state(State::Queued)).unwrap().changed, 2);
        }),
    ];
    for (what, end) in ends {
        let expires = Options::new().expires(MINUTE * 20);
        let mut tests = with(each_minute().overlap(Overlap::Queue).options(expires));
        tests.advance(MINUTE).unwrap();
        tests.advance(MINUTE).unwrap();
        assert_eq!(holds(&tests), [READY, WAITS]);
        tests.queue().pause_schedule("each minute").unwrap();
        end(&mut tests);
        assert!(holds(&tests).iter().all(|end| *end == (State::Cancelled, None)), "{what}");
        assert_sound(tests.queue());
        tests.queue().resume_schedule("each minute").unwrap();
        pass(&mut tests, 1);
        assert_eq!(noted(tests.queue()).len(), 1, "{what}: the next tick makes a run that may start");
    }
}
