//! Work that goes on in chunks comes to its end, whatever its own commits bring about.

use std::time::Duration;

use perdura::testing::{ManualClock, SteppedQueue};
use perdura::{Config, Context, Hold, Options, Queue, State, Task, TaskId};
use serde::{Deserialize, Serialize};

use crate::support::*;

/// A task as the older program knows it, and as the newer one does.
#[derive(Serialize, Deserialize)]
struct Older;

impl Task for Older {
    const NAME: &'static str = "versioned";
    type Output = ();
}

#[derive(Serialize, Deserialize)]
struct Newer;

impl Task for Newer {
    const NAME: &'static str = "versioned";
    type Output = ();
    const VERSION: u32 = 2;
}

fn older() -> perdura::Builder {
    Queue::builder().workers(1).handle(|_: Older, _: &Context| Ok(()))
}

/// More than one transaction looks at.
const MANY: usize = 600;

fn newer_tasks(folder: &Folder) -> Vec<TaskId> {
    let queue = Queue::builder().open(folder.file()).unwrap();
    let tasks: Vec<_> = (0..MANY).map(|_| Newer).collect();
    queue.enqueue_all(&tasks).unwrap().into_iter().map(perdura::Enqueued::id).collect()
}

#[test]
fn g04_many_tasks_of_a_newer_version_do_not_stop_an_older_program() {
    let folder = Folder::new();
    let newer = newer_tasks(&folder);
    for _ in 0..2 {
        let queue = older().open(folder.file()).unwrap();
        let id = queue.enqueue(&Older).unwrap().id();
        assert_eq!(queue.wait(id, PATIENCE).unwrap().state, State::Succeeded);
        queue.drain().unwrap_or_else(|e| panic!("{e}"));
        queue.shutdown(MINUTE).unwrap();
    }
    let queue = Queue::builder().handle(|_: Newer, _: &Context| Ok(())).open(folder.file()).unwrap();
    for id in newer {
        assert_eq!(queue.wait(id, PATIENCE).unwrap().attempt_number, 1);
    }
    assert_sound(&queue);
}

#[test]
fn g04_an_older_program_lifts_no_hold_that_it_would_put_back() {
    let folder = Folder::new();
    let newer = newer_tasks(&folder).into_iter().take(400); // all that one transaction looks at, and fewer
    let clock = ManualClock::new();
    let tests = SteppedQueue::open_file(older().clock(clock.clone()), &clock, folder.file()).unwrap();
    while tests.run_one().unwrap().is_some() {}
    drop(tests);
    let tests = SteppedQueue::open_file(older().clock(clock.clone()), &clock, folder.file()).unwrap();
    for id in newer {
        assert_eq!(tests.queue().get(id).unwrap().hold, Some(Hold::UnknownName));
    }
}

#[test]
fn g04_a_claim_that_looked_at_as_many_as_it_may_in_vain_goes_on() {
    let folder = Folder::new();
    let queue = Queue::builder().open(folder.file()).unwrap();
    let options = (0..10 * MANY).map(|n| Options::new().queue(format!("{n:04}"))); // more than the first few claims look at
    queue.enqueue_all_with(options.map(|options| (&Newer, options))).unwrap();
    let id = queue.enqueue_with(&Older, Options::new().queue("9999")).unwrap().id();
    drop(queue);
    let queue = older().poll_interval(Duration::ZERO).open(folder.file()).unwrap();
    assert_eq!(queue.wait(id, Duration::from_secs(20)).unwrap().state, State::Succeeded);
}

/// A database of the program's own, with 20 MB of free pages, and the queue in it.
fn shared_file(folder: &Folder, auto_vacuum: &str) -> rusqlite::Connection {
    let conn = rusqlite::Connection::open(folder.file()).unwrap();
    conn.execute_batch(&format!(
        "PRAGMA auto_vacuum = {auto_vacuum}; PRAGMA journal_mode = WAL; CREATE TABLE mine (x);
         WITH n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
         INSERT INTO mine SELECT zeroblob(4000) FROM n;
         DELETE FROM mine;"
    ))
    .unwrap();
    conn
}

fn free_pages(conn: &rusqlite::Connection) -> i64 {
    conn.query_row("PRAGMA freelist_count", [], |row| row.get(0)).unwrap()
}

#[test]
fn free_pages_are_given_back_as_far_as_the_file_gives_them() {
    for (auto_vacuum, gives) in [("NONE", false), ("INCREMENTAL", true)] {
        let folder = Folder::in_memory();
        let conn = shared_file(&folder, auto_vacuum);
        let before = free_pages(&conn);
        assert!(before > 4000, "{before}");
        let clock = ManualClock::new();
        let builder = builder(Config::default()).share(true).clock(clock.clone());
        let mut tests = SteppedQueue::open_file(builder, &clock, folder.file()).unwrap();
        clock.advance(Duration::from_secs(400));
        tests.apply_retention().unwrap();
        assert_eq!(tests.queue().inspect().unwrap().gives_pages_back, gives);
        let after = free_pages(&conn);
        assert_eq!(after < 1500, gives, "{before} free pages before, {after} after ({auto_vacuum})");
    }
}

#[test]
fn g11_a_file_that_gave_its_free_pages_back_at_once_keeps_them_again() {
    let folder = Folder::in_memory();
    drop(builder(Config::default()).open(folder.file()).unwrap());
    let raw = || rusqlite::Connection::open(folder.file()).unwrap();
    let auto_vacuum = || -> i64 { raw().query_row("PRAGMA auto_vacuum", [], |row| row.get(0)).unwrap() };
    raw().execute_batch("PRAGMA auto_vacuum = FULL").unwrap();
    assert_eq!(auto_vacuum(), 1);
    let queue = builder(Config::default()).open(folder.file()).unwrap();
    for _ in 0..5 {
        let _ = queue.enqueue(&Do::Fail("x".repeat(900_000))).unwrap();
    }
    assert_eq!(auto_vacuum(), 2, "the file keeps its free pages");
}

/// Somebody who takes the first lines of an export, and does something before the rest of it is wanted.
struct SlowReader<F>(Option<F>);

impl<F: FnOnce()> std::io::Write for SlowReader<F> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if let Some(act) = self.0.take() {
            act();
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn let_the_wal_grow(queue: &Queue) {
    for _ in 0..15 {
        let _ = queue.enqueue(&Do::Fail("x".repeat(900_000))).unwrap();
    }
}

#[test]
fn an_export_copies_the_wal_that_could_not_start_again_meanwhile() {
    let folder = Folder::in_memory();
    let queue = builder(Config::default()).open(folder.file()).unwrap();
    queue.export(SlowReader(Some(|| let_the_wal_grow(&queue)))).unwrap();
    let wal = || queue.inspect().unwrap().wal;
    assert!(wal().bytes > 12 << 20, "{:?}", wal());
    let _ = queue.enqueue(&Do::Ok(1)).unwrap();
    assert!(wal().frames < 100, "it starts again: {:?}", wal());
}

#[test]
fn g12_whoever_copies_the_wal_touches_no_file_that_has_taken_the_place_of_its_own() {
    let (folder, other) = (Folder::in_memory(), Folder::in_memory());
    drop(builder(Config::default()).open(other.file()).unwrap());
    let queue = builder(Config::default()).open(folder.file()).unwrap();
    let before = std::fs::read(other.file()).unwrap();
    let replace = || {
        let_the_wal_grow(&queue);
        std::fs::copy(other.file(), folder.path().join("new")).unwrap();
        std::fs::rename(folder.path().join("new"), folder.file()).unwrap();
    };
    queue.export(SlowReader(Some(replace))).unwrap();
    assert!(std::fs::read(folder.file()).unwrap() == before, "pages of the old file are in the new one");
}
