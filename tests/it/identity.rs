//! The file is removed, renamed, replaced or linked while a queue has it open: nothing is acknowledged that nobody would find again.

use std::fs;
use std::path::{Path, PathBuf};

use perdura::{Error, ErrorKind, Options, Outcome, Queue, State};

use crate::support::*;

fn companion(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

#[track_caller]
fn assert_replaced<T>(answer: Result<T, Error>) {
    let e = answer.err().expect("the file is not where it was");
    assert_eq!((e.kind(), e.outcome()), (ErrorKind::FileReplaced, Outcome::NotDone), "{e}");
    assert!(e.to_string().contains("put it back, or open the queue again"), "{e}");
}

/// A queue whose tasks wait until somebody lets them.
fn open(path: &Path) -> Queue {
    let queue = builder(perdura::Config::default()).open(path).unwrap();
    let id = queue.enqueue(&Do::Ok(1)).unwrap().id();
    queue.wait(id, PATIENCE).unwrap();
    queue
}

#[test]
fn g01_g12_a_renamed_file_takes_nothing_until_it_is_back() {
    let folder = Folder::new();
    let queue = open(&folder.file());
    let away = folder.path().join("away.db");
    fs::rename(folder.file(), &away).unwrap();
    assert_replaced(queue.enqueue(&Do::Ok(2)));
    assert_replaced(queue.enqueue_all(&[Do::Ok(3), Do::Ok(4)]));
    assert_replaced(queue.pause("default"));
    assert!(!folder.file().exists(), "nothing is made in its place");
    fs::rename(&away, folder.file()).unwrap();
    let id = queue.enqueue(&Do::Ok(5)).unwrap().id();
    assert_eq!(queue.wait(id, PATIENCE).unwrap().state, State::Succeeded);
    assert_eq!(queue.counts().unwrap().total().all(), 2);
    assert_sound(&queue);
}

#[test]
fn g01_g12_an_outcome_waits_until_the_file_is_back() {
    let folder = Folder::new();
    let (started, waits) = (crossbeam_channel::bounded(1), crossbeam_channel::bounded::<()>(0));
    let handler = move |_: Do, _: &perdura::Context| -> Result<u64, perdura::Failure> {
        started.0.send(()).unwrap();
        let _ = waits.1.recv();
        Ok(0)
    };
    let queue = Queue::builder().handle(handler).open(folder.file()).unwrap();
    let id = queue.enqueue_with(&Do::Ok(1), Options::new()).unwrap().id();
    started.1.recv().unwrap();
    let away = folder.path().join("away.db");
    fs::rename(folder.file(), &away).unwrap();
    drop(waits.0); // it ends now, and cannot be settled
    assert_replaced(queue.enqueue(&Do::Ok(2)));
    fs::rename(&away, folder.file()).unwrap();
    let record = queue.wait(id, PATIENCE).unwrap();
    assert_eq!((record.state, record.attempt_number), (State::Succeeded, 1));
}

#[test]
fn g01_g12_a_removed_file_takes_nothing_more() {
    for removed in ["", "-wal"] {
        let folder = Folder::new();
        let queue = open(&folder.file());
        fs::remove_file(companion(&folder.file(), removed)).unwrap();
        assert_replaced(queue.enqueue(&Do::Ok(2)));
    }
}

#[test]
fn g12_nothing_is_written_into_a_file_that_took_the_place() {
    let folder = Folder::new();
    let other = folder.path().join("other.db");
    let theirs = open(&other);
    drop(theirs);
    let queue = open(&folder.file());
    let looker = Queue::builder().open(folder.file()).unwrap();
    fs::rename(&other, folder.file()).unwrap();
    let before = fs::read(folder.file()).unwrap();
    assert_replaced(queue.enqueue(&Do::Ok(2)));
    assert_replaced(looker.counts()); // it has no connection yet, and makes none to another file
    assert_replaced(looker.check());
    drop((queue, looker));
    assert!(fs::read(folder.file()).unwrap() == before);
    let _ = fs::remove_file(companion(&folder.file(), "-wal")); // of the file that is gone
    let queue = Queue::builder().open(folder.file()).unwrap();
    assert_eq!(queue.counts().unwrap().total().succeeded, 1);
    assert_sound(&queue);
}

/// Where no commit is synced, a look at the names would cost too much for each of them.
#[test]
fn g12_a_relaxed_queue_notices_a_removed_file_soon() {
    let folder = Folder::new();
    let queue = Queue::builder().durability(perdura::Durability::Relaxed).open(folder.file()).unwrap();
    fs::remove_file(folder.file()).unwrap();
    let noticed = (0..8).map(|n| queue.enqueue(&Do::Ok(n))).find(Result::is_err);
    assert_replaced(noticed.expect("one of eight commits is looked at"));
}

/// SQLite keeps a WAL for each name: two programs that open one file by two names damage it. So neither name opens while there are two.
#[test]
fn g12_a_file_with_two_names_is_refused() {
    let folder = Folder::new();
    let queue = open(&folder.file());
    let link = folder.path().join("link.db");
    fs::hard_link(folder.file(), &link).unwrap();
    let _ = queue.enqueue(&Do::Ok(2)).unwrap(); // whoever has it open goes on: a backup may have made the link
    for name in [&link, &folder.file()] {
        let e = Queue::builder().open(name).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::InvalidInput, "{e}");
        assert!(e.to_string().contains("several names"), "{e}");
    }
    fs::remove_file(&link).unwrap();
    assert!(Queue::builder().open(folder.file()).is_ok());
}

/// Somebody tidies up, and the lock is gone with its file: the next one to open the file is its owner, and the other one is no more.
#[test]
fn g05_g07_an_owner_whose_lock_was_deleted_writes_nothing_more_as_such() {
    let folder = Folder::new();
    let (started, waits) = (crossbeam_channel::bounded(1), crossbeam_channel::bounded::<()>(0));
    let slow = move |_: Do, _: &perdura::Context| -> Result<u64, perdura::Failure> {
        started.0.send(()).unwrap();
        let _ = waits.1.recv();
        Ok(1)
    };
    let first = Queue::builder().workers(2).handle(slow).open(folder.file()).unwrap();
    let id = first.enqueue_with(&Do::Ok(0), Options::new()).unwrap().id();
    started.1.recv().unwrap();
    fs::remove_file(companion(&folder.file(), "-owner")).unwrap();
    let quick = |_: Do, _: &perdura::Context| -> Result<u64, perdura::Failure> { Ok(2) };
    let second = Queue::builder().poll_interval(SECOND / 50).handle(quick).open(folder.file()).unwrap();
    assert!(second.executes(), "the lock is free");
    assert_eq!(second.wait(id, PATIENCE).unwrap().attempt_number, 2, "the first attempt was lost");

    let next = first.enqueue(&Do::Ok(0)).unwrap().id(); // it has an idle worker, and may not claim for it
    drop(waits.0); // the first attempt ends only now
    for id in [id, next] {
        assert_eq!(second.wait(id, PATIENCE).unwrap().state, State::Succeeded);
        assert_eq!(second.result::<Do>(id).unwrap(), Some(2), "both are of the second owner");
    }
    assert_sound(&second);
}

#[test]
fn g12_whoever_waits_hears_that_the_file_is_gone() {
    let folder = Folder::new();
    let queue = Queue::builder().open(folder.file()).unwrap();
    let id = queue.enqueue_with(&Do::Ok(1), Options::new().delay(60 * MINUTE)).unwrap().id();
    assert_eq!(queue.wait(id, std::time::Duration::ZERO).unwrap_err().kind(), ErrorKind::TimedOut);
    assert!(queue.get(id).is_ok(), "a connection is open that goes on reading");
    std::fs::rename(folder.file(), folder.path().join("away.db")).unwrap();
    assert_eq!(queue.wait(id, MINUTE).unwrap_err().kind(), ErrorKind::FileReplaced);
}

#[test]
fn g12_a_process_whose_file_is_gone_says_so_and_goes_on_when_it_is_back() {
    let folder = Folder::new();
    let (started, waits) = (crossbeam_channel::bounded(2), crossbeam_channel::bounded::<()>(0));
    let slow = move |_: Do, _: &perdura::Context| -> Result<u64, perdura::Failure> {
        started.0.send(()).unwrap();
        let _ = waits.1.recv();
        Ok(2)
    };
    let queue = Queue::builder().workers(1).handle(slow).open(folder.file()).unwrap();
    let ids = [1, 2].map(|n| queue.enqueue(&Do::Ok(n)).unwrap().id());
    started.1.recv().unwrap();
    assert!(queue.obstacle().is_none());
    let away = folder.path().join("away.db");
    fs::rename(folder.file(), &away).unwrap();
    drop(waits.0); // the attempt ends, and that cannot be written
    await_obstacle(&queue, Some(ErrorKind::FileReplaced));
    assert_eq!(queue.drain().unwrap_err().kind(), ErrorKind::FileReplaced);
    fs::rename(away, folder.file()).unwrap();
    queue.drain().unwrap();
    assert!(ids.iter().all(|id| queue.get(*id).unwrap().state == State::Succeeded));
    await_obstacle(&queue, None);
}

#[track_caller]
fn await_obstacle(queue: &Queue, wanted: Option<ErrorKind>) {
    let began = std::time::Instant::now();
    while queue.obstacle().map(|why| why.kind()) != wanted {
        assert!(began.elapsed() < PATIENCE, "{:?}", queue.obstacle());
        std::thread::yield_now();
    }
}
