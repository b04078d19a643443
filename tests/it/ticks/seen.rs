//! What people see of schedules: those that matter next, and their newest runs.

use super::*;

fn names(schedules: &[perdura::ScheduleRecord]) -> Vec<&str> {
    schedules.iter().map(|schedule| schedule.schedule.as_str()).collect()
}

/// A file with schedules that stand in every way, and one that is broken.
fn every_kind() -> (Folder, SteppedQueue) {
    let (folder, clock) = (Folder::in_memory(), ManualClock::new());
    let tests = SteppedQueue::open_file(notes(), &clock, folder.file()).unwrap();
    let queue = tests.queue();
    for (name, minutes) in
        [("c in 3", 3), ("a in 9", 9), ("b in 2", 2), ("z paused", 1), ("broken", 1), ("d over", 5)]
    {
        let schedule = Schedule::every(name, MINUTE * minutes);
        let until = clock.now().saturating_add(MINUTE * 6);
        let schedule = if name == "d over" { schedule.until(until) } else { schedule };
        queue.set_schedule(schedule, &Note(1)).unwrap();
    }
    queue.pause_schedule("z paused").unwrap();
    let file = rusqlite::Connection::open(folder.file()).unwrap();
    file.execute("UPDATE perdura_schedules SET definition = '' WHERE schedule = 'broken'", []).unwrap();
    (folder, tests)
}

#[test]
fn those_that_matter_next_come_first_and_no_more_than_are_asked_for() {
    let (_folder, mut tests) = every_kind();
    pass(&mut tests, 1);
    let next = |tests: &SteppedQueue, n| {
        let next = tests.queue().next_schedules(n).unwrap();
        names(&next).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(next(&tests, 100), ["broken", "b in 2", "c in 3", "d over", "a in 9", "z paused"]);
    assert_eq!(next(&tests, 3), ["broken", "b in 2", "c in 3"]);
    assert_eq!(next(&tests, 1), ["broken"]);
    assert_eq!(next(&tests, 0), [""; 0]);
    pass(&mut tests, 5);
    assert_eq!(next(&tests, 100), ["broken", "b in 2", "c in 3", "a in 9", "d over", "z paused"]);
    let queue = tests.queue();
    let status = |name| queue.schedule(name).unwrap().status;
    assert_eq!((status("d over"), status("broken")), (ScheduleStatus::Over, ScheduleStatus::Broken));
    assert_eq!(queue.next_schedules(usize::MAX).unwrap().len(), queue.schedules().unwrap().len());
}

#[test]
fn broken_ones_take_no_more_than_half_of_the_places() {
    let (folder, clock) = (Folder::in_memory(), ManualClock::new());
    let mut tests = SteppedQueue::open_file(notes(), &clock, folder.file()).unwrap();
    for n in 0..9 {
        let minutes = if n < 6 { 1 } else { 5 };
        tests.queue().set_schedule(Schedule::every(format!("s{n}"), MINUTE * minutes), &Note(1)).unwrap();
    }
    let file = rusqlite::Connection::open(folder.file()).unwrap();
    file.execute("UPDATE perdura_schedules SET definition = '' WHERE schedule < 's6'", []).unwrap();
    pass(&mut tests, 1);
    assert_eq!(names(&tests.queue().next_schedules(4).unwrap()), ["s0", "s1", "s6", "s7"]);
    let all = tests.queue().next_schedules(8).unwrap();
    assert_eq!(names(&all), ["s0", "s1", "s2", "s3", "s4", "s6", "s7", "s8"]);
}

#[test]
fn the_newest_run_of_a_schedule_is_known_while_it_is_kept() {
    let mut tests =
        SteppedQueue::open(notes().schedule(each_minute(), &Note(1)), &ManualClock::new()).unwrap();
    let last = |tests: &SteppedQueue| tests.queue().schedule("each minute").unwrap().last_run;
    assert_eq!(last(&tests), None);
    pass(&mut tests, 2);
    assert_eq!(last(&tests), Some(id(2)));
    assert_eq!(tests.queue().run_schedule_now("each minute").unwrap(), id(3));
    tests.run_until_idle().unwrap();
    assert_eq!(last(&tests), Some(id(2)), "a run by hand is none of its ticks");
    tests.queue().delete(id(2)).unwrap();
    assert_eq!(last(&tests), Some(id(1)));
    assert_eq!(tests.queue().next_schedules(1).unwrap()[0].last_run, Some(id(1)));
    tests.queue().delete(id(1)).unwrap();
    assert_eq!(last(&tests), None);
    pass(&mut tests, 1);
    assert_eq!(last(&tests), Some(id(4)));
}
