//! An error of the disk at every single operation of everything that a queue does: what is answered is true, nothing accepted is
//! lost, and the queue goes on without a restart.
//!
//! The disk is `perdura_faultvfs`: below SQLite, in memory. A scenario runs again and again, each time with a fault one operation
//! later, until a run meets none; for each kind of fault, once and from then on. After each run four views of the file are held
//! against the states that it may have: the queue that lives on, the next process after this one's death, and two power cuts.

mod by_hand;
mod sweep;
mod world;

use std::path::Path;
use std::sync::atomic::Ordering;

use perdura::engine::{Engine, JobId};
use perdura::testing::{ManualClock, SteppedQueue};
use perdura::{Filter, Options, TaskId};
use perdura_faultvfs::{Faults, Plan, VFS};

use self::sweep::{Scenario, Stage};
use self::world::{DAY, Die, Far, Save, Talk, builder, copy_all};
use crate::child::Wide;
use crate::engine_jobs::is_accepted;
use crate::support::*;

// ---- What is there to begin with ----

/// A file with what `prepare` leaves in it, closed.
fn closed(folder: &Path, prepare: impl FnOnce(&mut SteppedQueue)) -> ManualClock {
    let clock = ManualClock::new();
    let builder = builder(&clock, &Talk::default(), None);
    let mut tests = SteppedQueue::open_file(builder, &clock, folder.join("tasks.db")).unwrap();
    prepare(&mut tests);
    clock
}

/// The files of a queue as a death of its process during `act` leaves them: `act`, or the handler of [`Die`], copies them to `folder`.
fn abandoned(folder: &Path, act: impl FnOnce(&SteppedQueue, &Faults)) -> ManualClock {
    let (clock, home) = (ManualClock::new(), Folder::in_memory());
    let faults = Faults::attach(home.file()).unwrap();
    let dies_into = Some((faults.clone(), folder.to_owned()));
    let builder = builder(&clock, &Talk::default(), dies_into).vfs(VFS);
    let tests = SteppedQueue::open_file(builder, &clock, home.file()).unwrap();
    act(&tests, &faults);
    clock
}

fn nothing(_: &Path) -> ManualClock {
    ManualClock::new()
}

/// One task that is ready.
fn ready(folder: &Path, task: &Do) -> ManualClock {
    closed(folder, |tests| {
        let _ = tests.queue().enqueue(task).unwrap();
    })
}

/// One task that has been tried once.
fn tried(folder: &Path, task: &Do) -> ManualClock {
    closed(folder, |tests| {
        let _ = tests.queue().enqueue(task).unwrap();
        tests.run_one().unwrap();
    })
}

/// A task in every state that lasts.
fn of_all_kinds(folder: &Path) -> ManualClock {
    closed(folder, |tests| {
        for task in [Do::Ok(1), Do::Permanent, fail(), Do::Cancel, Do::Ok(2)] {
            let _ = tests.queue().enqueue(&task).unwrap();
        }
        for _ in 0..4 {
            tests.run_one().unwrap();
        }
        let _ = tests.queue().enqueue_with(&Do::Ok(3), Options::new().delay(DAY)).unwrap();
    })
}

/// Its process died while the task ran, with its claim and a checkpoint of another one in the WAL.
fn dead_in_a_task(folder: &Path) -> ManualClock {
    abandoned(folder, |tests, _| {
        let _ = tests.queue().enqueue(&Save).unwrap();
        tests.run_one().unwrap();
        let _ = tests.queue().enqueue(&Do::Ok(1)).unwrap();
        let _ = tests.queue().enqueue_with(&Die, Options::new().priority(1)).unwrap();
        tests.run_one().unwrap();
    })
}

/// A WAL that is nearly long enough to be checkpointed.
fn long_wal(folder: &Path) -> ManualClock {
    abandoned(folder, |tests, faults| {
        let frames = || std::fs::metadata(faults.path().with_file_name("tasks.db-wal")).unwrap().len() / 4120;
        while frames() < 1010 {
            let _ = tests.queue().enqueue(&Do::Ok(1)).unwrap();
        }
        copy_all(faults, folder);
    })
}

// ---- What is done ----

fn first() -> TaskId {
    TaskId::from_i64(1)
}

/// Runs the scenario with every single fault; says what came out.
fn sweep(scenario: &Scenario) -> sweep::Figures {
    sweep_with(scenario, 50, 17)
}

/// The same; in CI it is dense at the beginning only.
fn sweep_with(scenario: &Scenario, dense: u64, stride: u64) -> sweep::Figures {
    let figures = Stage::new(scenario).sweep(if is_release() { u64::MAX } else { dense }, stride);
    report("io", format_args!("{}: {figures:?}", scenario.name));
    assert!(figures.hits > 0, "nothing was hit");
    figures
}

const OPEN_NEW: Scenario = Scenario {
    is_open: false,
    may_fail_late: true,
    ..Scenario::new("open a new file", nothing, |w| w.open())
};

#[test]
fn g12_opening_a_new_file() {
    sweep(&OPEN_NEW);
}

/// The room for a full disk is made: the file grows, slice by slice.
const GROW: Scenario = Scenario {
    is_open: false,
    may_fail_late: true,
    ..Scenario::new("grow the file", of_all_kinds, |w| {
        w.reserve = 1;
        w.open()
    })
};

#[test]
fn g11_making_room_for_a_full_disk() {
    sweep_with(&GROW, 10, 197);
}

const OPEN_EXISTING: Scenario = Scenario {
    is_open: false,
    may_fail_late: true,
    ..Scenario::new("open a file", of_all_kinds, |w| w.open())
};

#[test]
fn g12_opening_a_file() {
    sweep(&OPEN_EXISTING);
}

const RECOVER: Scenario = Scenario {
    is_open: false,
    may_fail_late: true,
    ..Scenario::new("recover", dead_in_a_task, |w| w.open())
};

#[test]
fn g08_recovering_a_file() {
    sweep(&RECOVER);
}

const ENQUEUE: Scenario = Scenario {
    repeat: Some(|queue, options| queue.enqueue_with(&Do::Ok(7), options)),
    ..Scenario::new("enqueue", of_all_kinds, |w| w.queue().enqueue(&Do::Ok(7)).map(|_| ()))
};

#[test]
fn g01_g02_enqueueing() {
    let figures = sweep(&ENQUEUE);
    assert!(figures.ok > 0 && figures.not_done > 0 && figures.unknown > 0, "an answer was never given");
}

const ENQUEUE_ALL: Scenario = Scenario::new("enqueue a batch", of_all_kinds, |w| {
    w.queue().enqueue_all(&[1, 2, 3].map(Do::Ok)).map(drop)
});

#[test]
fn g03_enqueueing_a_batch() {
    let figures = sweep(&ENQUEUE_ALL);
    assert!(figures.ok > 0 && figures.not_done > 0 && figures.unknown > 0, "an answer was never given");
}

const RUN: Scenario = Scenario::new(
    "run",
    |folder| ready(folder, &Do::Ok(1)),
    |w| w.tests().run_one().map(|ran| assert!(ran.is_some(), "nothing was claimed, and no error told")),
);

#[test]
fn g04_g06_running_a_task() {
    sweep(&RUN);
}

const FAIL: Scenario =
    Scenario::new("fail", |folder| ready(folder, &fail()), |w| w.tests().run_one().map(drop));

#[test]
fn g04_failing_a_task() {
    sweep(&FAIL);
}

const PROMOTE: Scenario = Scenario::new(
    "promote",
    |folder| tried(folder, &fail()),
    |w| w.tests.as_mut().expect("the queue is open").advance(2 * MINUTE),
);

#[test]
fn g04_promoting_a_retry() {
    sweep(&PROMOTE);
}

const CANCEL: Scenario =
    Scenario::new("cancel", |folder| ready(folder, &Do::Ok(1)), |w| w.queue().cancel(first()));

#[test]
fn g02_cancelling() {
    sweep(&CANCEL);
}

const RETRY: Scenario =
    Scenario::new("retry", |folder| tried(folder, &Do::Permanent), |w| w.queue().retry(first()));

#[test]
fn g02_retrying_by_hand() {
    sweep(&RETRY);
}

const SAVE: Scenario = Scenario {
    ways: &[|w| {
        w.talk.saves_nothing.store(true, Ordering::SeqCst);
        w.tests().run_one().map(drop)
    }],
    verify: |w, _, content| {
        let is_there = content.contains("perdura_checkpoints\n  1,");
        assert!(is_there || !w.talk.saved.load(Ordering::SeqCst), "saved, and not there: {content}");
    },
    ..Scenario::new(
        "save a checkpoint",
        |folder| {
            closed(folder, |tests| {
                let _ = tests.queue().enqueue(&Save).unwrap();
            })
        },
        |w| w.tests().run_one().map(drop),
    )
};

#[test]
fn g04_saving_a_checkpoint() {
    sweep(&SAVE);
}

/// A task whose job is to be started.
fn intended(folder: &Path) -> ManualClock {
    closed(folder, |tests| {
        let _ = tests.queue().enqueue(&Far).unwrap();
        assert_eq!(tests.run_until_idle().unwrap().went_outside, 1);
    })
}

/// A task whose job an engine has.
fn accepted(folder: &Path) -> ManualClock {
    closed(folder, |tests| {
        let _ = tests.queue().enqueue(&Far).unwrap();
        assert_eq!(tests.run_until_idle().unwrap().went_outside, 1);
        tests.poll_engines().unwrap();
    })
}

const INTEND: Scenario = Scenario {
    reads: true,
    ways: &[|w| {
        w.talk.snoozes.store(true, Ordering::SeqCst);
        w.tests().run_one().map(drop)
    }],
    ..Scenario::new(
        "intend a job",
        |folder| {
            closed(folder, |tests| {
                let _ = tests.queue().enqueue(&Far).unwrap();
            })
        },
        |w| w.tests().run_one().map(drop),
    )
};

#[test]
fn g19_intending_a_job() {
    sweep(&INTEND);
}

/// An engine is told of a job before the file says that it has it: so the file may lag, and never runs ahead.
const ACCEPT: Scenario = Scenario {
    verify: |w, _, content| {
        let is_accepted = is_accepted(&w.queue().get(first()).unwrap());
        assert!(!is_accepted || !w.talk.engine.jobs().is_empty(), "the engine does not have it: {content}");
        assert!(w.talk.engine.starts().values().all(|starts| *starts == 1), "{content}");
    },
    may_fail_late: true,
    ..Scenario::new("accept a job", intended, |w| w.tests.as_mut().expect("the queue is open").poll_engines())
};

#[test]
fn g19_accepting_a_job() {
    sweep(&ACCEPT);
}

/// The engine of this process knows the job, and that it has ended.
const END: Scenario = Scenario {
    reads: true,
    may_fail_late: true,
    ..Scenario::new("end a job", accepted, |w| {
        let job = w.queue().get(first())?.outside.and_then(|outside| outside.job).expect("its job");
        w.talk.engine.clone().start(&JobId::new(job), &7.into()).expect("it is there");
        w.talk.engine.finish_all("1");
        w.tests.as_mut().expect("the queue is open").poll_engines()
    })
};

#[test]
fn g04_g19_ending_a_job() {
    sweep(&END);
}

const MOVE: Scenario = Scenario::new(
    "move to the dead letters",
    |folder| tried(folder, &Do::Permanent),
    |w| w.queue().move_to_dead_letters(Filter::new()).map(|_| ()),
);

#[test]
fn g02_moving_to_the_dead_letters() {
    sweep(&MOVE);
}

const REPLAY: Scenario = Scenario::new(
    "replay",
    |folder| {
        closed(folder, |tests| {
            let _ = tests.queue().enqueue(&Do::Permanent).unwrap();
            tests.run_one().unwrap();
            assert_eq!(tests.queue().move_to_dead_letters(Filter::new()).unwrap().changed, 1);
        })
    },
    |w| w.queue().dead_letters().replay(first()).map(drop),
);

#[test]
fn g02_replaying() {
    sweep(&REPLAY);
}

const AGE: Scenario = Scenario::new("age", of_all_kinds, |w| {
    w.clock.advance(40 * DAY);
    w.tests.as_mut().expect("the queue is open").apply_retention().map(|ended| assert_eq!(ended, 3))
});

#[test]
fn g02_ageing() {
    sweep(&AGE);
}

const CHECKPOINT: Scenario = Scenario::new("checkpoint the WAL", long_wal, |w| {
    let tasks: Vec<_> = (0..8).map(|n| Wide { n, text: "x".repeat(3000) }).collect();
    w.queue().enqueue_all(&tasks).map(drop)
});

#[test]
fn g01_checkpointing_the_wal() {
    let figures = sweep_with(&CHECKPOINT, 2, 13);
    assert!(figures.on_database > 0, "there was no checkpoint");
}

const CLOSE: Scenario = Scenario::new("close", of_all_kinds, |w| {
    drop(w.tests.take());
    Ok(())
});

#[test]
fn g01_closing() {
    sweep(&CLOSE);
}

const CHECK: Scenario = Scenario {
    reads: true,
    ..Scenario::new("check", of_all_kinds, |w| {
        let report = w.queue().check()?;
        // A page that SQLite could not read is a problem in its own words; of ours there is none.
        assert!(report.problems.iter().all(|problem| problem.starts_with("SQLite: ")), "{report:?}");
        Ok(())
    })
};

#[test]
fn g12_checking() {
    sweep(&CHECK);
}

/// Two faults of any kinds, at any two operations: what a single one leads to fails, too.
#[test]
fn g01_g02_pairs_of_faults() {
    let seed = seed();
    let mut random = SplitMix(seed);
    let stages = [&OPEN_NEW, &RECOVER, &ENQUEUE, &RUN, &FAIL].map(Stage::new);
    let (mut figures, mut both) = (sweep::Figures::default(), 0);
    for round in rounds(200) {
        let stage = &stages[usize::try_from(round).unwrap() % stages.len()];
        let plan = |random: &mut SplitMix| {
            let kind = sweep::KINDS[random.below(sweep::KINDS.len())];
            let plan = Plan::at(1 + random.below(40) as u64, kind);
            if random.below(4) == 0 { plan.from_then_on() } else { plan }
        };
        let plans = vec![plan(&mut random), plan(&mut random)];
        both += u64::from(stage.case(plans, &mut figures).len() > 1);
    }
    report("io", format_args!("pairs: {figures:?}, two or more hits in {both}, PERDURA_SEED={seed}"));
    assert!(both > 20, "hardly ever were there two");
}

struct SplitMix(u64);

impl SplitMix {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % end as u64).unwrap()
    }
}
