//! Schedules that were altered in the file.

use super::*;

/// What somebody may write into a schedule's row: an assignment, and what the schedule says of itself then.
const NONSENSE: &[(&str, &str)] = &[
    ("definition = '{}'", "definition"),
    ("definition = 'nonsense'", "definition"),
    ("definition = ''", "definition"),
    ("definition = json_set(definition, '$.rhythm', json('{\"every_ms\":0}'))", "period"),
    ("definition = json_set(definition, '$.rhythm', json('{\"every_ms\":-1}'))", "definition"),
    ("definition = json_set(definition, '$.rhythm', json('{\"cron\":{\"pattern\":\"x\"}}'))", "pattern"),
    ("definition = json_set(definition, '$.overlap', 'sometimes')", "definition"),
    ("definition = json_set(definition, '$.missed', json('{\"all\":{\"cap\":7}}'))", "missed"),
    ("definition = json_set(definition, '$.jitter_ms', 99999999999)", "jitter"),
    ("definition = json_set(definition, '$.task_name', '')", "task name"),
    ("definition = json_set(definition, '$.options.max_attempts', 0)", "max_attempts"),
    ("definition = json_set(definition, '$.options.unique', 'zz')", "definition"),
    ("definition = json_set(definition, '$.options.unique', json('{\"digest\":\"zz\"}'))", "unique"),
    (
        "definition = json_set(definition, '$.options.limit', json('{\"digest\":\"zz\",\"permits\":1}'))",
        "limit",
    ),
    (
        "definition = json_set(definition, '$.options.limit', json('{\"digest\":\"00112233445566778899aabbccddeeff\",\"permits\":0}'))",
        "limit \"0\"",
    ),
    (
        "definition = json_set(definition, '$.options.limit', json('{\"digest\":\"00112233445566778899aabbccddeeff\",\"permits\":2,\"serial\":true}'))",
        "serial \"2\"",
    ),
    ("next_tick_ms = -9223372036854775808", "next_tick_ms"),
    ("last_tick_ms = 9223372036854775807", "last_tick_ms"),
    ("highest_tick_ms = 9223372036854775807", "highest_tick_ms"),
    ("schedule_id = 77", "perdura writes"),
];

#[test]
fn g15_a_schedule_that_makes_no_sense_is_broken_and_stops_nobody() {
    for (assignment, says) in NONSENSE {
        let (folder, clock) = (Folder::in_memory(), ManualClock::new());
        let mut tests = SteppedQueue::open_file(notes(), &clock, folder.file()).unwrap();
        for name in ["altered", "sound"] {
            tests.queue().set_schedule(Schedule::every(name, MINUTE), &Note(1)).unwrap();
        }
        let file = rusqlite::Connection::open(folder.file()).unwrap();
        file.execute(
            &format!("UPDATE perdura_schedules SET due_ms = 5, {assignment} WHERE schedule = 'altered'"),
            [],
        )
        .unwrap();
        pass(&mut tests, 2);
        assert_eq!(tests.queue().schedule("sound").unwrap().fired, 2, "{assignment}");
        let altered = tests.queue().schedule("altered").unwrap();
        assert_eq!(altered.status, ScheduleStatus::Broken, "{assignment}: {altered:?}");
        assert!(altered.broken.as_deref().unwrap().contains(says), "{assignment}: {altered:?}");
        assert_eq!(
            tests.queue().run_schedule_now("altered").unwrap_err().kind(),
            if *says == "perdura writes" { ErrorKind::Corrupt } else { ErrorKind::WrongState }
        );
        assert_eq!(tests.queue().schedules().unwrap().len(), 2);
        // The next owner does not despair of it, and setting it anew mends it.
        drop(tests);
        let mut tests = SteppedQueue::open_file(notes(), &clock, folder.file()).unwrap();
        tests.queue().set_schedule(Schedule::every("altered", MINUTE * 2), &Note(1)).unwrap();
        let before = tests.queue().schedule("altered").unwrap();
        assert_eq!(before.status, ScheduleStatus::Active, "{assignment}: {before:?}");
        pass(&mut tests, 2);
        assert_eq!(tests.queue().schedule("altered").unwrap().fired, before.fired + 1, "{assignment}");
    }
}

#[test]
fn g15_a_declared_schedule_that_was_altered_is_as_declared_again() {
    for (assignment, _) in NONSENSE {
        let (folder, clock) = (Folder::in_memory(), ManualClock::new());
        let open = || {
            SteppedQueue::open_file(notes().schedule(each_minute(), &Note(1)), &clock, folder.file()).unwrap()
        };
        drop(open());
        let file = rusqlite::Connection::open(folder.file()).unwrap();
        file.execute(&format!("UPDATE perdura_schedules SET {assignment}"), []).unwrap();
        let mut tests = open();
        let schedule = tests.queue().schedule("each minute").unwrap();
        assert_eq!(schedule.status, ScheduleStatus::Active, "{assignment}: {schedule:?}");
        pass(&mut tests, 1);
        assert_eq!(noted(tests.queue()), [1], "{assignment}");
    }
}

#[test]
fn g15_a_schedule_that_stands_at_a_tick_that_has_fired_fires_it_no_more() {
    let (folder, clock) = (Folder::in_memory(), ManualClock::new());
    let mut tests = SteppedQueue::open_file(notes(), &clock, folder.file()).unwrap();
    tests.queue().set_schedule(each_minute(), &Note(1)).unwrap();
    pass(&mut tests, 2);
    let file = rusqlite::Connection::open(folder.file()).unwrap();
    let back = "UPDATE perdura_schedules SET next_tick_ms = next_tick_ms - 60000, due_ms = due_ms - 60000, last_tick_ms = last_tick_ms - 60000,
                highest_tick_ms = NULL";
    file.execute(back, []).unwrap();
    tests.tick().unwrap();
    tests.run_until_idle().unwrap();
    assert_eq!(noted(tests.queue()), [1, 2]);
    pass(&mut tests, 1);
    assert_eq!(noted(tests.queue()), [1, 2, 3]);
    assert_eq!(tests.queue().schedule("each minute").unwrap().status, ScheduleStatus::Active);
}
