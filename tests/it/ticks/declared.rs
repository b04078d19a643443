//! What an owner does that declares schedules.

use super::*;

fn open(folder: &Folder, clock: &ManualClock, schedules: &[Schedule]) -> SteppedQueue {
    let builder =
        schedules.iter().fold(notes(), |builder, schedule| builder.schedule(schedule.clone(), &Note(1)));
    SteppedQueue::open_file(builder, clock, folder.file()).unwrap()
}

#[test]
fn g15_a_declared_schedule_that_is_the_same_keeps_its_ticks() {
    let (folder, clock) = (Folder::in_memory(), ManualClock::new());
    drop(open(&folder, &clock, &[each_minute()]));
    clock.advance(SECOND * 59);
    let mut tests = open(&folder, &clock, &[each_minute()]);
    tests.advance(SECOND).unwrap();
    tests.run_until_idle().unwrap();
    assert_eq!(noted(tests.queue()), [1]);
}

#[test]
fn g15_a_changed_schedule_begins_now_and_a_paused_one_stays_so() {
    let (folder, clock) = (Folder::in_memory(), ManualClock::new());
    drop(open(&folder, &clock, &[each_minute()]));
    clock.advance(MINUTE * 5);
    let tests = open(&folder, &clock, &[Schedule::every("each minute", MINUTE * 2)]);
    let schedule = tests.queue().schedule("each minute").unwrap();
    assert_eq!((schedule.next_tick.map(minute), schedule.missed_ticks), (Some(7), 0));
    tests.queue().pause_schedule("each minute").unwrap();
    drop(tests);
    for period in [MINUTE * 2, MINUTE] {
        let tests = open(&folder, &clock, &[Schedule::every("each minute", period)]);
        let schedule = tests.queue().schedule("each minute").unwrap();
        assert_eq!((schedule.status, schedule.fires_at), (ScheduleStatus::Paused, None));
    }
}

#[test]
fn g15_a_schedule_that_the_program_no_longer_declares_is_disabled_until_it_does() {
    let (folder, clock) = (Folder::in_memory(), ManualClock::new());
    let other = Schedule::every("other", MINUTE);
    let tests = open(&folder, &clock, &[each_minute(), other.clone()]);
    tests.queue().set_schedule(Schedule::every("made at run time", MINUTE), &Note(1)).unwrap();
    drop(tests);
    let status = |tests: &SteppedQueue, name| tests.queue().schedule(name).unwrap().status;
    // Who declares none leaves all as they are.
    let tests = open(&folder, &clock, &[]);
    assert_eq!(status(&tests, "each minute"), ScheduleStatus::Active);
    drop(tests);
    let mut tests = open(&folder, &clock, std::slice::from_ref(&other));
    assert_eq!(status(&tests, "each minute"), ScheduleStatus::Disabled);
    assert_eq!(status(&tests, "other"), ScheduleStatus::Active);
    assert_eq!(status(&tests, "made at run time"), ScheduleStatus::Active);
    tests.advance(MINUTE * 3).unwrap();
    assert_eq!(tests.queue().schedule("each minute").unwrap().fired, 0);
    let _ = tests.queue().run_schedule_now("each minute").unwrap();
    drop(tests);
    // It comes back, and begins now: its ticks meanwhile were none.
    let tests = open(&folder, &clock, &[each_minute(), other]);
    let schedule = tests.queue().schedule("each minute").unwrap();
    assert_eq!(
        (schedule.status, schedule.next_tick.map(minute), schedule.missed_ticks),
        (ScheduleStatus::Active, Some(4), 0)
    );
}

#[test]
fn a_queue_that_does_not_execute_reconciles_nothing() {
    let (folder, clock) = (Folder::in_memory(), ManualClock::new());
    let owner = open(&folder, &clock, &[each_minute()]);
    let other = open(&folder, &clock, &[Schedule::every("other", MINUTE)]);
    let names: Vec<_> =
        other.queue().schedules().unwrap().into_iter().map(|s| (s.schedule, s.status)).collect();
    assert_eq!(names, [("each minute".to_owned(), ScheduleStatus::Active)]);
    drop((owner, other));
}
