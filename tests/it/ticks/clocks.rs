//! Clocks that jump.

use super::*;

const DAY: std::time::Duration = std::time::Duration::from_secs(86_400);

#[test]
fn g15_no_tick_fires_again_when_the_clock_is_set_back() {
    let mut tests =
        SteppedQueue::open(notes().schedule(each_minute(), &Note(1)), &ManualClock::new()).unwrap();
    pass(&mut tests, 3);
    let clock = tests.clock().clone();
    clock.set_wall(clock.now().saturating_sub(MINUTE * 60));
    pass(&mut tests, 60);
    assert_eq!(noted(tests.queue()), [1, 2, 3]);
    pass(&mut tests, 2);
    assert_eq!(noted(tests.queue()), [1, 2, 3, 4, 5]);
}

#[test]
fn g15_a_clock_that_was_days_ahead_leaves_no_schedule_standing_there() {
    let clock = ManualClock::new();
    let mut tests = SteppedQueue::open(notes().schedule(each_minute(), &Note(1)), &clock).unwrap();
    let began = clock.now();
    let ahead = 60 * 24 * 3;
    tests.advance(MINUTE * ahead).unwrap();
    tests.run_until_idle().unwrap();
    assert_eq!(noted(tests.queue()), [i64::from(ahead)], "the newest, once");
    clock.set_wall(began.saturating_add(MINUTE * 2));
    tests.tick().unwrap();
    pass(&mut tests, 3);
    assert_eq!(noted(tests.queue()), [i64::from(ahead), 3, 4, 5], "it has begun anew");
    // Near the highest tick that fired, none fires that may have fired.
    clock.set_wall(began.saturating_add(MINUTE * (ahead - 60)));
    tests.tick().unwrap();
    pass(&mut tests, 59);
    assert_eq!(noted(tests.queue()).len(), 4);
    pass(&mut tests, 3);
    assert_eq!(noted(tests.queue())[4..], [i64::from(ahead) + 1, i64::from(ahead) + 2]);
    assert_eq!(tests.queue().schedule("each minute").unwrap().status, ScheduleStatus::Active);
    assert_sound(tests.queue());
}

#[test]
fn g15_a_jump_forward_fires_the_newest_tick_once() {
    let mut tests =
        SteppedQueue::open(notes().schedule(each_minute(), &Note(1)), &ManualClock::new()).unwrap();
    pass(&mut tests, 1);
    tests.advance(DAY * 400).unwrap();
    tests.tick().unwrap();
    tests.run_until_idle().unwrap();
    assert_eq!(noted(tests.queue()), [1, 60 * 24 * 400 + 1]);
}

#[test]
fn g15_clocks_before_1970_and_far_ahead_do_no_harm() {
    let clock = ManualClock::new();
    let began = clock.now();
    let mut tests = SteppedQueue::open(notes().schedule(each_minute(), &Note(1)), &clock).unwrap();
    #[cfg(feature = "cron")]
    tests
        .queue()
        .set_schedule(Schedule::cron("nightly", "0 3 * * *").time_zone("Europe/Berlin"), &Note(2))
        .unwrap();
    for ms in [-1, i64::MIN, i64::MAX, 253_402_300_799_999, 0] {
        clock.set_wall(Timestamp::from_millis(ms));
        tests.tick().unwrap();
        tests.queue().pause_schedule("each minute").unwrap();
        tests.queue().resume_schedule("each minute").unwrap();
        let _ = tests.queue().preview("each minute", 3).unwrap();
    }
    clock.set_wall(began);
    tests.tick().unwrap();
    let _ = tests.queue().cancel_all(Filter::new()).unwrap();
    tests.advance(MINUTE * 60 * 30).unwrap();
    tests.run_until_idle().unwrap();
    for schedule in tests.queue().schedules().unwrap() {
        assert_eq!(schedule.status, ScheduleStatus::Active, "{schedule:?}");
        assert!(schedule.next_tick.unwrap().since(clock.now()) <= DAY * 2, "{schedule:?}");
    }
}

#[test]
fn g15_ends_of_runs_beside_a_clock_that_is_set_back_by_days() {
    let clock = ManualClock::new();
    let builder = notes().schedule(Schedule::after_end("scan", MINUTE * 10), &Note(1));
    let mut tests = SteppedQueue::open(builder, &clock).unwrap();
    tests.advance(DAY * 9).unwrap();
    tests.run_until_idle().unwrap();
    tests.advance(MINUTE * 10).unwrap();
    assert_eq!(tasks(tests.queue()).len(), 2);
    clock.set_wall(clock.now().saturating_sub(DAY * 9 + MINUTE * 10));
    tests.tick().unwrap();
    assert_eq!(tests.queue().schedule("scan").unwrap().next_tick, None, "its run is live");
    tests.run_until_idle().unwrap();
    assert_eq!(tests.queue().schedule("scan").unwrap().next_tick.map(minute), Some(10));
}
