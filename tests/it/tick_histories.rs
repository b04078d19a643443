//! Histories of schedules: whatever happens, each tick makes one task.

use perdura::testing::history::{Event, Invariant};
use perdura::testing::model::{Program, Script, Workload};
use perdura::testing::proptest::schedules;
use perdura::testing::{CrashPoint, HistoryRecorder, ManualClock, SteppedQueue, check_history};
use perdura::{Clock, Config, Error, Filter, Missed, Overlap, Queue, Schedule, Timestamp};
use proptest::prelude::*;

use crate::histories::{Noted, Recorded, worker};
use crate::support::*;

/// Missed ticks, a crash, runs by hand, a clock that is set back: each tick makes one task. A history in which one has made two is refused.
#[test]
fn g15_each_tick_of_a_schedule_is_in_its_history_once() {
    let clock = ManualClock::new();
    let recorder = HistoryRecorder::new(clock.clone());
    let all = Missed::All { cap: 10 };
    let schedule = Schedule::every("s", MINUTE).missed(all).overlap(Overlap::Queue);
    let run = Noted { n: 7, script: Script::Succeed };
    let open = || {
        recorder.opened(1);
        worker(&recorder, 1).schedule(schedule.clone(), &run)
    };
    recorder.scheduled(&schedule, &run);
    let mut tests = SteppedQueue::open(open(), &clock).unwrap();
    for step in 0..40_u32 {
        match step % 8 {
            3 => recorder.run_by_hand(tests.queue().run_schedule_now("s").unwrap()),
            5 => tests = tests.crash().unwrap().reopen(open()).unwrap(),
            6 => {
                recorder.clock_set_back();
                clock.set_wall(clock.now().saturating_sub(3 * MINUTE));
                tests.tick().unwrap();
            }
            n => tests.advance(MINUTE * n).unwrap(),
        }
        tests.run_until_idle().unwrap();
        recorder.observe(tests.queue()).unwrap();
    }
    let mut history = recorder.history();
    check_history(&history).unwrap_or_else(|violation| panic!("{violation}"));
    let ticks: Vec<Timestamp> = history
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Started { tick, .. } => *tick,
            _ => None,
        })
        .collect();
    assert!(ticks.len() > 40, "{} runs", ticks.len());
    let doubled = history.events.iter_mut().filter_map(|event| match event {
        Event::Started { tick, .. } => tick.as_mut(),
        _ => None,
    });
    doubled.take(2).for_each(|tick| *tick = ticks[0]);
    assert_eq!(check_history(&history).unwrap_err().invariant, Invariant::Ticks);
}

/// What happens to a queue with a schedule.
#[derive(Debug, Clone)]
enum Step {
    Run,
    RunAll,
    Advance(u64),
    Suspend(u64),
    JumpBack(u64),
    Pause,
    Resume,
    RunByHand,
    Retry(prop::sample::Index),
    Cancel(prop::sample::Index),
    Delete(prop::sample::Index),
    Crash,
    /// The process dies at a commit of this step.
    CrashDuring(Box<Step>, CrashPoint),
}

fn steps() -> impl Strategy<Value = Step> {
    let point = (1..6_u64, any::<bool>())
        .prop_map(|(n, before)| if before { CrashPoint::before(n) } else { CrashPoint::after(n) });
    let simple = prop_oneof![
        4 => Just(Step::Run),
        3 => Just(Step::RunAll),
        6 => (0..4000_u64).prop_map(Step::Advance),
        1 => (4000..400_000_u64).prop_map(Step::Suspend),
    ];
    prop_oneof![
        14 => simple.clone(),
        2 => (0..10_000_u64).prop_map(Step::JumpBack),
        1 => (1000..400_000_u64).prop_map(Step::JumpBack),
        1 => Just(Step::Pause),
        2 => Just(Step::Resume),
        1 => Just(Step::RunByHand),
        1 => any::<prop::sample::Index>().prop_map(Step::Retry),
        1 => any::<prop::sample::Index>().prop_map(Step::Cancel),
        2 => any::<prop::sample::Index>().prop_map(Step::Delete),
        1 => Just(Step::Crash),
        3 => (simple, point).prop_map(|(step, point)| Step::CrashDuring(Box::new(step), point)),
    ]
}

fn take(tests: &mut SteppedQueue, recorder: &HistoryRecorder, step: &Step) -> Result<(), Error> {
    let clock = tests.clock().clone();
    let queue = tests.queue().clone();
    let nth = |place: &prop::sample::Index| {
        let tasks = queue.tasks(Filter::new())?;
        Ok::<_, Error>((!tasks.is_empty()).then(|| tasks[place.index(tasks.len())].task_id))
    };
    let seconds = std::time::Duration::from_secs;
    match step {
        Step::Run => drop(tests.run_one()?),
        Step::RunAll => {
            for _ in 0..50 {
                tests.run_one()?;
            }
        }
        Step::Advance(by) => tests.advance(seconds(*by))?,
        Step::Suspend(by) => {
            clock.suspend(seconds(*by));
            tests.tick()?;
        }
        Step::JumpBack(by) => {
            recorder.clock_set_back();
            clock.set_wall(clock.now().saturating_sub(seconds(*by)));
            tests.tick()?;
        }
        Step::Pause => queue.pause_schedule("s")?,
        Step::Resume => queue.resume_schedule("s")?,
        // Refused while one waits.
        Step::RunByHand => queue.run_schedule_now("s").into_iter().for_each(|id| recorder.run_by_hand(id)),
        Step::Retry(place) => {
            if let Some(id) = nth(place)? {
                recorder.retried(id);
                let _ = queue.retry(id);
            }
        }
        Step::Cancel(place) => {
            if let Some(id) = nth(place)? {
                let _ = queue.cancel(id);
            }
        }
        Step::Delete(place) => {
            if let Some(id) = nth(place)?
                && queue.delete(id).is_ok()
            {
                recorder.deleted(id);
            }
        }
        Step::Crash | Step::CrashDuring(..) => {}
    }
    Ok(())
}

/// Takes these steps beside a schedule, and looks after each.
fn run_scheduled(schedule: &Schedule, task: &Noted, steps: &[Step]) -> HistoryRecorder {
    let world = Recorded::default();
    let (clock, recorder) = (world.clock.clone(), &world.recorder);
    let config = Config::default().retention(None).dead_letter_after(None).max_task_attempts(3);
    let builder = || Noted::handle(Queue::builder().config(config.clone()), &world, Program::Whole);
    let mut tests = SteppedQueue::open(builder(), &clock).unwrap();
    recorder.scheduled(schedule, task);
    tests.queue().set_schedule(schedule.clone(), task).unwrap();
    for step in steps {
        let (inner, point) = match step {
            Step::CrashDuring(inner, point) => (&**inner, Some(*point)),
            step => (step, None),
        };
        point.into_iter().for_each(|point| tests.crash_at(point));
        let taken = take(&mut tests, recorder, inner);
        assert!(taken.is_ok() || tests.has_crashed(), "{taken:?}");
        if point.is_some() || matches!(step, Step::Crash) {
            tests = tests.crash().unwrap().reopen(builder()).unwrap();
        }
        recorder.observe(tests.queue()).unwrap();
    }
    assert_sound(tests.queue());
    recorder.clone()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn g15_whatever_happens_each_tick_makes_one_task(
        schedule in schedules("s"),
        task in any::<Noted>(),
        steps in prop::collection::vec(steps(), 10..50),
    ) {
        let history = run_scheduled(&schedule, &task, &steps).history();
        check_history(&history).map_err(|violation| TestCaseError::fail(violation.to_string()))?;
    }
}
