//! Schedules: which ticks make tasks, and that each makes one.

mod clocks;
mod declared;
mod ends;
mod hostile;
mod overlaps;
mod picture;
mod seen;

use perdura::testing::{ManualClock, SteppedQueue, at_every_commit};
use perdura::{
    Builder, Clock, Context, ErrorKind, Failure, Filter, Missed, Options, Overlap, Queue, Schedule,
    ScheduleStatus, State, Task, TaskId, TaskRecord, Timestamp,
};
use serde::{Deserialize, Serialize};

use crate::support::*;

/// A task whose result is the minute of its tick, as the clock of the tests counts them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Note(pub u32);

impl Task for Note {
    const NAME: &'static str = "note";
    type Output = Option<i64>;
}

fn note(_: Note, cx: &Context) -> Result<Option<i64>, Failure> {
    Ok(cx.tick()?.map(minute))
}

/// Minutes since the clock of the tests began.
pub fn minute(time: Timestamp) -> i64 {
    let passed = time.as_millis() - ManualClock::new().now().as_millis();
    assert_eq!(passed % 60_000, 0, "no whole minute: {time}");
    passed / 60_000
}

pub fn notes() -> Builder {
    Queue::builder().handle(note)
}

/// Each minute.
pub fn each_minute() -> Schedule {
    Schedule::every("each minute", MINUTE)
}

/// The minutes of the ticks whose runs have succeeded, in the order of their ids.
pub fn noted(queue: &Queue) -> Vec<i64> {
    let done = queue.tasks(Filter::new().state(State::Succeeded).limit(10_000)).unwrap();
    done.iter().map(|task| queue.result::<Note>(task.task_id).unwrap().flatten().unwrap()).collect()
}

pub fn id(n: u64) -> TaskId {
    n.to_string().parse().unwrap()
}

pub fn tasks(queue: &Queue) -> Vec<TaskRecord> {
    queue.tasks(Filter::new().limit(10_000)).unwrap()
}

/// Lets minutes pass, one by one, and runs what falls due.
pub fn pass(tests: &mut SteppedQueue, minutes: u32) {
    for _ in 0..minutes {
        tests.advance(MINUTE).unwrap();
        tests.run_until_idle().unwrap();
    }
}

#[test]
fn g15_each_tick_makes_one_task_and_none_before_its_time() {
    let mut tests =
        SteppedQueue::open(notes().schedule(each_minute(), &Note(1)), &ManualClock::new()).unwrap();
    tests.advance(MINUTE - SECOND).unwrap();
    assert!(tasks(tests.queue()).is_empty(), "its time has not come");
    tests.advance(SECOND).unwrap();
    tests.tick().unwrap();
    tests.run_until_idle().unwrap();
    assert_eq!(noted(tests.queue()), [1]);
    pass(&mut tests, 4);
    assert_eq!(noted(tests.queue()), [1, 2, 3, 4, 5]);
    let schedule = tests.queue().schedule("each minute").unwrap();
    assert_eq!((schedule.fired, schedule.missed_ticks, schedule.left_out), (5, 0, 0));
    assert_eq!((schedule.next_tick.map(minute), minute(schedule.last_tick)), (Some(6), 5));
    assert_sound(tests.queue());
}

#[test]
fn g15_a_crash_at_any_commit_neither_loses_a_tick_nor_fires_it_twice() {
    for (overlap, missed) in [
        (Overlap::Allow, Missed::Latest),
        (Overlap::Queue, Missed::All { cap: 9 }),
        (Overlap::Skip, Missed::Skip),
    ] {
        let builder = || notes().schedule(each_minute().overlap(overlap).missed(missed), &Note(1));
        let crashes = at_every_commit(
            || SteppedQueue::open(builder(), &ManualClock::new()),
            |tests| {
                for _ in 0..3 {
                    tests.advance(MINUTE)?;
                    tests.run_until_idle()?;
                }
                Ok(())
            },
            |crashed, point| {
                let mut tests = crashed.reopen(builder())?;
                tests.tick()?;
                tests.run_until_idle()?;
                let reached = minute(tests.clock().now());
                assert_eq!(
                    noted(tests.queue()),
                    (1..=reached).collect::<Vec<_>>(),
                    "a crash {point}, {overlap:?}"
                );
                assert_sound(tests.queue());
                Ok(())
            },
        )
        .unwrap();
        assert!(crashes >= 9 * 2, "{crashes}");
    }
}

#[test]
fn g15_a_crash_at_any_commit_of_runs_that_follow_one_another_leaves_one_live() {
    let builder = || notes().schedule(Schedule::after_end("scan", MINUTE), &Note(1));
    at_every_commit(
        || SteppedQueue::open(builder(), &ManualClock::new()),
        |tests| {
            for _ in 0..3 {
                tests.advance(MINUTE)?;
                tests.run_until_idle()?;
            }
            Ok(())
        },
        |crashed, point| {
            let mut tests = crashed.reopen(builder())?;
            tests.tick()?;
            tests.run_until_idle()?;
            let before = noted(tests.queue()).len();
            for further in 1..=2 {
                tests.advance(MINUTE)?;
                tests.run_until_idle()?;
                assert_eq!(noted(tests.queue()).len(), before + further, "a crash {point} ends the schedule");
            }
            assert_sound(tests.queue());
            Ok(())
        },
    )
    .unwrap();
}

#[test]
fn g15_only_the_owner_fires() {
    let (folder, clock) = (Folder::in_memory(), ManualClock::new());
    let open =
        || SteppedQueue::open_file(notes().schedule(each_minute(), &Note(1)), &clock, folder.file()).unwrap();
    let (mut owner, mut other) = (open(), open());
    clock.advance(MINUTE);
    other.tick().unwrap();
    assert!(tasks(other.queue()).is_empty());
    owner.tick().unwrap();
    other.tick().unwrap();
    owner.run_until_idle().unwrap();
    assert_eq!(noted(other.queue()), [1]);
    drop(owner);
    // The next owner takes the schedule over as it is.
    let mut next = open();
    clock.advance(MINUTE);
    next.tick().unwrap();
    next.run_until_idle().unwrap();
    assert_eq!(noted(next.queue()), [1, 2]);
}

#[test]
fn g15_every_rule_for_missed_ticks() {
    let hour = MINUTE * 60;
    for (what, schedule, off, fired, missed) in [
        ("the newest", each_minute(), MINUTE * 10 + SECOND * 30, vec![10], 9),
        (
            "a tick that is a minute late was not missed",
            each_minute().missed(Missed::Skip),
            MINUTE + SECOND * 59,
            vec![1],
            0,
        ),
        ("the newest, if it is in time", each_minute().missed(Missed::Skip), MINUTE * 10, vec![10], 9),
        ("none", Schedule::every("each minute", hour).missed(Missed::Skip), hour * 3 + MINUTE * 2, vec![], 3),
        (
            "the newest of a period",
            Schedule::every("each minute", hour),
            hour * 3 + MINUTE * 59,
            vec![180],
            2,
        ),
        (
            "none beyond its grace",
            Schedule::every("each minute", hour).grace(MINUTE * 10),
            hour * 3 + MINUTE * 11,
            vec![],
            3,
        ),
        (
            "one within its grace",
            Schedule::every("each minute", hour).grace(MINUTE * 12),
            hour * 3 + MINUTE * 11,
            vec![180],
            2,
        ),
        (
            "a long period has a grace of a day",
            Schedule::every("each minute", hour * 48),
            hour * 48 + hour * 23,
            vec![48 * 60],
            0,
        ),
        ("and no more", Schedule::every("each minute", hour * 48), hour * 48 + hour * 25, vec![], 1),
        (
            "all",
            each_minute().missed(Missed::All { cap: 99 }).overlap(Overlap::Allow),
            MINUTE * 5,
            vec![1, 2, 3, 4, 5],
            0,
        ),
        (
            "the newest three",
            each_minute().missed(Missed::All { cap: 3 }).overlap(Overlap::Queue),
            MINUTE * 5,
            vec![3, 4, 5],
            2,
        ),
        (
            "all within a grace",
            each_minute().missed(Missed::All { cap: 9 }).overlap(Overlap::Queue).grace(MINUTE * 2),
            MINUTE * 5,
            vec![3, 4, 5],
            2,
        ),
    ] {
        let (folder, clock) = (Folder::in_memory(), ManualClock::new());
        let open = || {
            SteppedQueue::open_file(notes().schedule(schedule.clone(), &Note(1)), &clock, folder.file())
                .unwrap()
        };
        drop(open());
        clock.advance(off);
        let mut tests = open();
        tests.tick().unwrap();
        tests.run_until_idle().unwrap();
        assert_eq!(noted(tests.queue()), fired, "{what}");
        let schedule = tests.queue().schedule("each minute").unwrap();
        assert_eq!((schedule.fired, schedule.missed_ticks), (fired.len() as u64, missed), "{what}");
        assert!(schedule.next_tick.unwrap() > clock.now(), "{what}");
        assert_sound(tests.queue());
    }
}

#[test]
fn g15_ticks_of_a_pause_are_none() {
    for missed in [Missed::Latest, Missed::All { cap: 9 }] {
        let schedule = each_minute().missed(missed).overlap(Overlap::Allow);
        let mut tests =
            SteppedQueue::open(notes().schedule(schedule, &Note(1)), &ManualClock::new()).unwrap();
        pass(&mut tests, 1);
        tests.queue().pause_schedule("each minute").unwrap();
        pass(&mut tests, 3);
        assert_eq!(
            tests.queue().preview("each minute", 2).unwrap().into_iter().map(minute).collect::<Vec<_>>(),
            [5, 6]
        );
        tests.queue().resume_schedule("each minute").unwrap();
        tests.tick().unwrap();
        pass(&mut tests, 2);
        assert_eq!(noted(tests.queue()), [1, 5, 6], "{missed:?}");
        assert_eq!(tests.queue().schedule("each minute").unwrap().missed_ticks, 0);
    }
}

#[test]
fn g15_no_tick_fires_after_the_end() {
    let clock = ManualClock::new();
    let end = clock.now().saturating_add(MINUTE * 3);
    let mut tests = SteppedQueue::open(notes().schedule(each_minute().until(end), &Note(1)), &clock).unwrap();
    assert_eq!(tests.queue().preview("each minute", 9).unwrap().len(), 3);
    pass(&mut tests, 6);
    assert_eq!(noted(tests.queue()), [1, 2, 3]);
    let schedule = tests.queue().schedule("each minute").unwrap();
    assert_eq!((schedule.status, schedule.next_tick), (ScheduleStatus::Over, None));
    // What was missed before the end is made good after it.
    let folder = Folder::in_memory();
    let clock = ManualClock::new();
    let open = || {
        SteppedQueue::open_file(
            notes().schedule(each_minute().until(end).grace(MINUTE * 9), &Note(1)),
            &clock,
            folder.file(),
        )
        .unwrap()
    };
    drop(open());
    clock.advance(MINUTE * 7);
    let mut tests = open();
    tests.tick().unwrap();
    tests.run_until_idle().unwrap();
    assert_eq!(noted(tests.queue()), [3]);
}

#[test]
fn g15_a_jitter_delays_the_run_and_never_the_tick() {
    let day = MINUTE * 60 * 24;
    let mut tests = SteppedQueue::open(Queue::builder(), &ManualClock::new()).unwrap();
    for n in 0..50 {
        let schedule = Schedule::every(format!("daily {n}"), day).jitter(MINUTE * 60);
        tests.queue().set_schedule(schedule, &Note(n)).unwrap();
    }
    let all = tests.queue().schedules().unwrap();
    let delays: Vec<_> = all.iter().map(|s| s.fires_at.unwrap().since(s.next_tick.unwrap())).collect();
    assert!(delays.iter().all(|delay| *delay < MINUTE * 60));
    let distinct = delays.iter().collect::<std::collections::HashSet<_>>().len();
    assert!(distinct > 45, "{delays:?}");
    tests.advance(day - SECOND).unwrap();
    for _ in 0..62 {
        let now = tests.clock().now();
        let due = all.iter().filter(|s| s.fires_at.unwrap() <= now).count();
        assert_eq!(tasks(tests.queue()).len(), due);
        tests.advance(MINUTE).unwrap();
    }
    let again = tests.queue().schedules().unwrap();
    assert!(
        again
            .iter()
            .zip(&all)
            .all(|(again, first)| again.next_tick.unwrap().since(first.next_tick.unwrap()) == day)
    );
}

#[test]
fn schedules_are_made_and_removed_while_another_process_executes() {
    let (folder, clock) = (Folder::in_memory(), ManualClock::new());
    let mut owner = SteppedQueue::open_file(notes(), &clock, folder.file()).unwrap();
    let other = Queue::builder().clock(clock.clone()).open(folder.file()).unwrap();
    other.set_schedule(each_minute(), &Note(1)).unwrap();
    pass(&mut owner, 2);
    assert_eq!(noted(&other), [1, 2]);
    // The same again changes nothing; another begins anew.
    owner.advance(SECOND * 30).unwrap();
    other.set_schedule(each_minute(), &Note(1)).unwrap();
    assert_eq!(other.schedule("each minute").unwrap().next_tick.map(minute), Some(3));
    other.set_schedule(Schedule::every("each minute", MINUTE * 2), &Note(1)).unwrap();
    let next = other.schedule("each minute").unwrap().next_tick.unwrap();
    assert_eq!(next, clock.now().saturating_add(MINUTE * 2));
    other.remove_schedule("each minute").unwrap();
    owner.advance(MINUTE * 9).unwrap();
    assert_eq!(tasks(&other).len(), 2);
    for gone in [
        other.remove_schedule("each minute"),
        other.pause_schedule("each minute"),
        other.schedule("each minute").map(drop),
    ] {
        assert_eq!(gone.unwrap_err().kind(), ErrorKind::NotFound);
    }
    assert_sound(&other);
}

#[test]
fn a_run_by_hand_is_beside_the_ticks() {
    let mut tests =
        SteppedQueue::open(notes().schedule(each_minute(), &Note(1)), &ManualClock::new()).unwrap();
    tests.queue().pause_schedule("each minute").unwrap();
    let id = tests.queue().run_schedule_now("each minute").unwrap();
    let refused = tests.queue().run_schedule_now("each minute").unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Conflict);
    assert!(refused.to_string().contains(&format!("task {id}")), "{refused}");
    tests.run_until_idle().unwrap();
    assert_eq!(noted(tests.queue()), [0]);
    tests.queue().resume_schedule("each minute").unwrap();
    pass(&mut tests, 1);
    assert_eq!(noted(tests.queue()), [0, 1]);
}

#[test]
fn the_options_of_its_tasks_are_those_of_schedule_type_and_configuration() {
    let schedule = each_minute()
        .options(Options::new().queue("night").priority(7).tag("nightly").unique("k").timeout(MINUTE));
    let mut tests =
        SteppedQueue::open(notes().schedule(schedule.overlap(Overlap::Allow), &Note(1)), &ManualClock::new())
            .unwrap();
    tests.advance(MINUTE).unwrap();
    tests.advance(MINUTE).unwrap();
    let [task] = &tasks(tests.queue())[..] else { panic!("the second has the same unique key") };
    assert_eq!((task.queue.as_str(), task.priority, task.tag.as_deref()), ("night", 7, Some("nightly")));
    assert_eq!((task.timeout, task.max_attempts), (Some(MINUTE), 3));
    assert_eq!(tests.queue().schedule("each minute").unwrap().left_out, 1);
    assert_sound(tests.queue());
}

#[test]
fn what_makes_no_sense_is_refused_with_its_field_and_a_way_out() {
    let queue = Queue::builder().open_temporary().unwrap();
    let year = MINUTE * 60 * 24 * 366;
    for (schedule, says) in [
        (Schedule::every("", MINUTE), "schedule \"\" is empty"),
        (Schedule::every("a\0b", MINUTE), "control character"),
        (Schedule::every("s", SECOND / 2), "period \"500ms\" is not in 1s to"),
        (Schedule::every("s", year * 11), "is not in 1s to"),
        (Schedule::after_end("s", std::time::Duration::ZERO), "period"),
        (Schedule::every("s", MINUTE).jitter(MINUTE * 2), "jitter \"2m\" is longer than 1m"),
        (Schedule::every("s", year).jitter(MINUTE * 60 * 25), "is longer than 1day"),
        (Schedule::every("s", MINUTE).grace(year * 11), "grace"),
        (
            Schedule::every("s", MINUTE).missed(Missed::All { cap: 0 }).overlap(Overlap::Allow),
            "cap \"0\" is not in 1 to 1000",
        ),
        (
            Schedule::every("s", MINUTE).missed(Missed::All { cap: 1001 }).overlap(Overlap::Queue),
            "cap \"1001\"",
        ),
        (
            Schedule::every("s", MINUTE).missed(Missed::All { cap: 5 }),
            "missed \"all\" needs the overlap queue or allow",
        ),
        (Schedule::after_end("s", MINUTE).overlap(Overlap::Queue), "overlap has no meaning with after_end"),
        (Schedule::after_end("s", MINUTE).missed(Missed::Skip), "missed has no meaning with after_end"),
        (
            Schedule::every("s", MINUTE).options(Options::new().delay(MINUTE)),
            "delay is not for the tasks of a schedule",
        ),
        (Schedule::every("s", MINUTE).options(Options::new().max_attempts(0)), "max_attempts \"0\""),
        (
            Schedule::every("s", MINUTE).options(Options::new().limit("k", 0)),
            "limit \"0\" is not in 1 to 256",
        ),
        (Schedule::every("s", MINUTE).options(Options::new().serial("")), "key of serial is empty"),
        (Schedule::every("s", MINUTE).options(Options::new().queue("")), "queue \"\" is empty"),
    ] {
        let e = queue.set_schedule(schedule.clone(), &Note(1)).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::InvalidInput, "{e}");
        assert!(e.to_string().contains(says), "{e}");
        let e = notes().schedule(schedule, &Note(1)).open_temporary().unwrap_err();
        assert!(e.to_string().contains(says), "{e}");
    }
    assert!(queue.schedules().unwrap().is_empty());
    let twice = notes()
        .schedule(each_minute(), &Note(1))
        .schedule(each_minute(), &Note(2))
        .open_temporary()
        .unwrap_err();
    assert_eq!(twice.kind(), ErrorKind::InvalidConfig);
    assert!(twice.to_string().contains("the schedule \"each minute\" is declared twice"), "{twice}");
    let nobody = Queue::builder().schedule(each_minute(), &Note(1)).open_temporary().unwrap_err();
    assert_eq!(nobody.kind(), ErrorKind::InvalidConfig);
}

#[cfg(feature = "cron")]
#[test]
fn g15_a_nightly_job_runs_once_each_night_over_the_change_of_the_clock() {
    // From the afternoon of a Friday: the night of the Sunday has 23 hours in March, and 25 in October.
    for (friday, nights) in [
        (1_774_638_000_000, ["28T01:30", "29T01:00", "30T00:30", "31T00:30"]),
        (1_792_778_400_000, ["24T00:30", "25T00:30", "26T01:30", "27T01:30"]),
    ] {
        let clock = ManualClock::at(Timestamp::from_millis(friday));
        let schedule = Schedule::cron("nightly", "30 2 * * *").time_zone("Europe/Berlin");
        let ticks = |_: Note, cx: &Context| Ok(cx.tick()?.map(Timestamp::as_millis));
        let builder = Queue::builder().handle(ticks).schedule(schedule, &Note(1));
        let mut tests = SteppedQueue::open(builder, &clock).unwrap();
        for _ in 0..24 * 8 - 12 {
            tests.advance(MINUTE * 30).unwrap();
            tests.run_until_idle().unwrap();
        }
        let noted = noted(tests.queue()).into_iter().map(|ms| Timestamp::from_millis(ms).to_string());
        assert_eq!(noted.map(|text| text[8..16].to_owned()).collect::<Vec<_>>(), nights);
        let schedule = tests.queue().schedule("nightly").unwrap();
        assert_eq!(
            (schedule.time_zone.as_deref(), schedule.words.as_deref()),
            (Some("Europe/Berlin"), Some("At 02:30."))
        );
    }
}

#[cfg(feature = "cron")]
#[test]
fn bad_patterns_and_zones_are_refused_at_once() {
    let queue = Queue::builder().open_temporary().unwrap();
    for (schedule, says) in [
        (Schedule::cron("s", "0 0 30 2 *"), "pattern \"0 0 30 2 *\" never comes; name a day that exists"),
        (Schedule::cron("s", "99 * * * *"), "pattern \"99 * * * *\" is no cron pattern"),
        (Schedule::cron("s", ""), "is no cron pattern"),
        (
            Schedule::cron("s", "@daily").time_zone("Mars/Olympus"),
            "time_zone \"Mars/Olympus\" is not in the time zone database",
        ),
    ] {
        let e = queue.set_schedule(schedule, &Note(1)).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::InvalidInput);
        assert!(e.to_string().contains(says), "{e}");
    }
}

#[test]
fn a_schedule_and_its_runs_survive_export_and_import() {
    let folder = Folder::in_memory();
    let clock = ManualClock::new();
    let mut tests =
        SteppedQueue::open(notes().schedule(each_minute().overlap(Overlap::Queue), &Note(1)), &clock)
            .unwrap();
    tests.advance(MINUTE).unwrap();
    tests.advance(MINUTE).unwrap();
    let mut text = Vec::new();
    tests.queue().export(&mut text).unwrap();
    drop(tests);
    let _ = Queue::builder().import(folder.file(), &text[..]).unwrap();
    let mut tests = SteppedQueue::open_file(
        notes().schedule(each_minute().overlap(Overlap::Queue), &Note(1)),
        &clock,
        folder.file(),
    )
    .unwrap();
    assert_sound(tests.queue());
    tests.run_until_idle().unwrap();
    pass(&mut tests, 1);
    assert_eq!(noted(tests.queue()), [1, 2, 3]);
}
