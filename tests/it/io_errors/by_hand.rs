//! Single stories of a failing disk, told one by one.

use std::path::{Path, PathBuf};
use std::time::Duration;

use perdura::testing::{ManualClock, SteppedQueue};
use perdura::{Context, ErrorKind, Failure, Filter, Options, Outcome, Queue, State, Task};
use perdura_faultvfs::{Class, Faults, Kind, Plan, Recording, Tear, VFS};
use serde::{Deserialize, Serialize};

use crate::support::*;

const SEEDS: u64 = 32;

/// A queue without handlers on a disk that can fail, with one task in it; recorded from then on.
fn recorded(folder: &Folder) -> (Queue, Faults, Recording) {
    let faults = Faults::attach(folder.file()).unwrap();
    let queue = Queue::builder().vfs(VFS).open(folder.file()).unwrap();
    let _ = queue.enqueue(&Do::Ok(1)).unwrap();
    let recording = faults.record().unwrap();
    (queue, faults, recording)
}

/// What the power may leave at the end of the recording, each opened: how often the task with these args is in it.
fn in_images(recording: &Recording, args: &Do, mut see: impl FnMut(usize, &Path)) {
    let tears = [Tear::All, Tear::Nothing, Tear::ZeroTail].into_iter();
    let tears =
        tears.chain((0..SEEDS).flat_map(|n| [Tear::Sectors(n), Tear::LastWrite(n), Tear::StaleTail(n)]));
    for tear in tears {
        let folder = Folder::in_memory(); // of its own: a pool closes its connections when it pleases
        let file = recording.image(recording.len(), tear, folder.path()).unwrap();
        let queue = Queue::builder().open(&file).unwrap();
        assert_sound(&queue);
        let found = count(&queue, args);
        see(found, &file);
    }
}

fn count(queue: &Queue, args: &Do) -> usize {
    let args = serde_json::to_string(args).unwrap();
    let tasks = queue.tasks(Filter::new()).unwrap();
    tasks.iter().filter(|task| queue.args_json(task.task_id).unwrap() == args).count()
}

#[test]
fn g02_a_failed_sync_and_then_death_leaves_an_unknown_task_that_its_token_finds() {
    let folder = Folder::in_memory();
    let (queue, faults, recording) = recorded(&folder);
    faults.fail(Plan::at(1, Kind::FailedSync).from_then_on());
    let error = queue.enqueue(&Do::Ok(7)).unwrap_err();
    assert_eq!(error.outcome(), Outcome::Unknown, "{error}");
    let token = error.token().expect("an unknown enqueue has a token");
    assert_eq!(count(&queue, &Do::Ok(7)), 0, "for those who live on it is not there");
    let (mut there, mut absent) = (0, 0);
    in_images(&recording, &Do::Ok(7), |found, file| {
        *if found == 1 { &mut there } else { &mut absent } += 1;
        let queue = Queue::builder().open(file).unwrap();
        assert_eq!(queue.find_by_token(token).unwrap().is_some(), found == 1);
        let again = queue.enqueue_with(&Do::Ok(7), Options::new().token(token)).unwrap();
        assert_eq!(again.is_new(), found == 0);
        assert_eq!(count(&queue, &Do::Ok(7)), 1, "once, and not twice");
        assert_eq!(count(&queue, &Do::Ok(1)), 1, "what was accepted before is there");
    });
    assert!(absent > 0, "nothing was lost, so the sync had not failed");
    assert!(there + absent > SEEDS);
}

#[test]
fn g02_after_a_failed_sync_and_another_commit_the_failed_task_is_absent_for_good() {
    let folder = Folder::in_memory();
    let (queue, faults, recording) = recorded(&folder);
    // The commit fails, and what would settle it, too.
    faults.fail(Plan::at(1, Kind::FailedSync).from_then_on());
    let error = queue.enqueue(&Do::Ok(7)).unwrap_err();
    assert_eq!(error.outcome(), Outcome::Unknown);
    faults.clear();
    let _ = queue.enqueue(&Do::Ok(8)).unwrap();
    in_images(&recording, &Do::Ok(7), |found, _| assert_eq!(found, 0, "the failed task is back"));
    in_images(&recording, &Do::Ok(8), |found, _| assert_eq!(found, 1, "the later task is lost"));
}

#[test]
fn g02_a_single_failed_sync_is_settled_by_the_probe() {
    let folder = Folder::in_memory();
    let (queue, faults, recording) = recorded(&folder);
    faults.fail(Plan::at(1, Kind::FailedSync));
    let _ = queue.enqueue(&Do::Ok(7)).unwrap();
    assert_eq!(faults.hit_count(), 1);
    in_images(&recording, &Do::Ok(7), |found, _| assert_eq!(found, 1, "accepted, and lost"));
}

/// A past bug: the error of the commit that turns WAL on went unheard, SQLite said "wal" and wrote with a rollback journal, and a power
/// cut took back commits that were acknowledged.
#[test]
fn g01_a_failed_switch_to_wal_is_an_error() {
    for nth in 1.. {
        let folder = Folder::in_memory();
        let faults = Faults::attach(folder.file()).unwrap();
        faults.fail(Plan::at(nth, Kind::Io));
        let opened = Queue::builder().vfs(VFS).open(folder.file());
        if let Ok(queue) = opened {
            let _ = queue.enqueue(&Do::Ok(1)).unwrap();
            let wal = folder.file().with_file_name("tasks.db-wal");
            assert!(
                std::fs::metadata(wal).is_ok_and(|wal| wal.len() > 0),
                "no WAL after {:?}",
                faults.hits()
            );
        }
        if faults.hit_count() == 0 {
            break;
        }
    }
}

/// Breaks its own disk, and then ends.
#[derive(Serialize, Deserialize)]
struct Saw(PathBuf);

impl Task for Saw {
    const NAME: &'static str = "saw";
    type Output = u64;
}

#[test]
fn g04_an_outcome_waits_until_the_disk_works_again() {
    for (kind, classes) in [
        (Kind::FailedSync, &[Class::Sync][..]),
        (Kind::Io, &[Class::Write]),
        (Kind::Full, &[Class::Write]),
        (Kind::TornWrite, &[Class::Write]),
        (Kind::Busy, &[Class::WriteLock]),
    ] {
        let folder = Folder::in_memory();
        let faults = Faults::attach(folder.file()).unwrap();
        let for_handler = faults.clone();
        let handler = move |_: Saw, _: &Context| -> Result<u64, Failure> {
            for_handler.fail(Plan::at(1, kind).only(classes).from_then_on());
            Ok(7)
        };
        let builder = Queue::builder().vfs(VFS).workers(1).handle(handler).handle(run);
        let queue = builder.open(folder.file()).unwrap();
        queue.counts().unwrap();
        let id = queue.enqueue(&Saw(folder.file())).unwrap().id();
        while faults.hit_count() == 0 {
            std::thread::yield_now();
        }
        faults.clear();
        let record = queue.wait(id, Duration::from_secs(30)).unwrap();
        assert_eq!((record.state, record.attempt_number), (State::Succeeded, 1), "{kind:?}");
        let next = queue.enqueue(&Do::Ok(1)).unwrap().id();
        assert_eq!(queue.wait(next, Duration::from_secs(30)).unwrap().state, State::Succeeded);
        assert_sound(&queue);
    }
}

/// A past bug: SQLite tells an error of the device while reading as damage, and an outcome that met one was given up: its task stayed
/// RUNNING until a restart, and ran again.
#[test]
fn g04_an_outcome_survives_an_error_while_reading() {
    let folder = Folder::in_memory();
    drop(Queue::builder().open(folder.file()).unwrap()); // so that the settle finds its pages on the disk only
    let faults = Faults::attach(folder.file()).unwrap();
    let for_handler = faults.clone();
    let handler = move |_: Saw, _: &Context| -> Result<u64, Failure> {
        for_handler.fail(Plan::at(1, Kind::Io).only(&[Class::Read]).from_then_on());
        Ok(7)
    };
    let queue = Queue::builder().vfs(VFS).workers(1).handle(handler).open(folder.file()).unwrap();
    let id = queue.enqueue(&Saw(folder.file())).unwrap().id();
    while faults.hit_count() < 2 {
        std::thread::yield_now();
    }
    faults.clear();
    let record = queue.wait(id, Duration::from_secs(30)).unwrap();
    assert_eq!((record.state, record.attempt_number), (State::Succeeded, 1));
}

/// A past bug: a claim that had failed was told again by the next step, which had claimed a task and forgot it; and an outcome that
/// could not be written kept its place for ever.
#[test]
fn a_stepped_queue_goes_on_after_an_error() {
    let (folder, clock) = (Folder::in_memory(), ManualClock::new());
    let faults = Faults::attach(folder.file()).unwrap();
    let builder = builder(perdura::Config::default()).clock(clock.clone()).vfs(VFS);
    let tests = SteppedQueue::open_file(builder, &clock, folder.file()).unwrap();
    for sync in [1, 2] {
        // The first sync is of the claim, the second one of the outcome.
        let id = tests.queue().enqueue(&Do::Ok(sync)).unwrap().id();
        faults.fail(Plan::at(sync, Kind::FailedSync).from_then_on());
        assert!(tests.run_one().is_err());
        faults.clear();
        tests.run_until_idle().unwrap();
        let record = tests.queue().get(id).unwrap();
        assert_eq!((record.state, record.attempt_number), (State::Succeeded, 1));
    }
}

/// A past bug: the pool of reading connections tried again in silence, and after ten seconds said that none had become free.
#[test]
fn who_looks_at_a_dead_disk_is_told_of_the_disk() {
    let folder = Folder::in_memory();
    let faults = Faults::attach(folder.file()).unwrap();
    let queue = Queue::builder().vfs(VFS).open(folder.file()).unwrap();
    let _ = queue.enqueue(&Do::Ok(1)).unwrap();
    faults.fail(Plan::at(1, Kind::Io).only(&[Class::Read]).from_then_on());
    for _ in 0..10 {
        let error = queue.counts().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io, "{error}");
    }
    faults.clear();
    assert_eq!(queue.counts().unwrap().total().ready, 1, "the disk works again");
}

#[test]
fn g11_no_room_for_the_shared_memory_is_a_full_disk() {
    let folder = Folder::in_memory();
    drop(Queue::builder().open(folder.file()).unwrap());
    let faults = Faults::attach(folder.file()).unwrap();
    faults.fail(Plan::at(1, Kind::Full).only(&[Class::ShmMap]).from_then_on());
    let error = Queue::builder().vfs(VFS).open(folder.file()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DiskFull, "{error}");
    faults.clear();
    Queue::builder().vfs(VFS).open(folder.file()).unwrap();
}
