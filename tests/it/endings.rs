//! A queue can always be ended, and its end says what became of what ran.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use perdura::{Config, Context, ErrorKind, Failure, Options, Queue, State, Task};
use serde::{Deserialize, Serialize};

use crate::support::*;

/// Runs until the gate opens, even if it is asked to stop.
#[derive(Serialize, Deserialize)]
struct Stay;

impl Task for Stay {
    const NAME: &'static str = "stay";
    type Output = ();
}

/// Where the handler is, and whether it may go.
#[derive(Default)]
struct Gate {
    is_reached: AtomicBool,
    is_open: AtomicBool,
}

impl Gate {
    /// Waits until the handler runs: a task that is `RUNNING` may not have started.
    fn await_handler(&self) {
        while !self.is_reached.load(Ordering::Acquire) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn open(&self) {
        self.is_open.store(true, Ordering::Release);
    }
}

/// A queue whose handler stays until the gate is opened.
fn open(folder: &Folder, workers: usize) -> (Queue, Arc<Gate>) {
    let gate: Arc<Gate> = Arc::default();
    let may_go = gate.clone();
    let stay = move |_: Stay, _: &Context| -> Result<(), Failure> {
        may_go.is_reached.store(true, Ordering::Release);
        while !may_go.is_open.load(Ordering::Acquire) {
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    };
    let config = Config::default().workers(workers).poll_interval(Duration::from_millis(50));
    (builder(config).handle(stay).open(folder.file()).unwrap(), gate)
}

#[test]
fn g08_a_queue_whose_file_stays_locked_ends_and_gives_up_what_it_cannot_write() {
    let folder = Folder::new();
    let (queue, gate) = open(&folder, 1);
    let id = queue.enqueue(&Stay).unwrap().id();
    gate.await_handler();
    let neighbour = rusqlite::Connection::open(folder.file()).unwrap();
    neighbour.execute_batch("BEGIN IMMEDIATE").unwrap();
    gate.open();
    let report = queue.shutdown(Duration::ZERO).unwrap();
    assert_eq!((report.not_recorded, report.still_running), (vec![id], vec![]));
    assert!(!queue.executes());
    let error = queue.wait(id, PATIENCE).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io, "{error}");
    neighbour.execute_batch("ROLLBACK").unwrap();
    let (next, gate) = open(&folder, 1); // while the first one still has a handle
    gate.open();
    let record = next.wait(id, PATIENCE).unwrap();
    assert_eq!((record.state, record.attempt_number), (State::Succeeded, 2));
    assert_eq!(queue.wait(id, PATIENCE).unwrap().state, State::Succeeded);
    assert_sound(&next);
}

#[test]
#[cfg(unix)]
fn g08_a_queue_whose_file_is_gone_ends_too() {
    let folder = Folder::new();
    let (queue, gate) = open(&folder, 1);
    let id = queue.enqueue(&Stay).unwrap().id();
    gate.await_handler();
    std::fs::rename(folder.file(), folder.path().join("aside.db")).unwrap();
    gate.open();
    let report = queue.shutdown(Duration::from_secs(1)).unwrap();
    assert_eq!((report.not_recorded, report.still_running), (vec![id], vec![]));
}

#[test]
fn an_owner_that_lost_the_file_hears_of_it_while_it_waits_for_its_end() {
    let folder = Folder::new();
    let (queue, gate) = open(&folder, 1);
    let _ = queue.enqueue(&Stay).unwrap();
    gate.await_handler();
    let other = rusqlite::Connection::open(folder.file()).unwrap();
    other.execute_batch("UPDATE perdura_meta SET owner_epoch = owner_epoch + 1").unwrap();
    let ending = std::thread::spawn({
        let queue = queue.clone();
        move || queue.shutdown(100 * MINUTE).unwrap() // would be waited for, if nobody told it
    });
    gate.open();
    let report = ending.join().unwrap();
    assert_eq!(report.still_running, []);
}

/// Threads that ignore their deadlines are replaced; never do more tasks run at once than workers and substitutes for those.
#[test]
fn a_worker_whose_handler_returns_as_it_is_replaced_is_not_one_too_many() {
    /// Ignores its deadline, by so much that its worker is replaced, or just not.
    #[derive(Serialize, Deserialize)]
    struct Ignore(u64);
    impl Task for Ignore {
        const NAME: &'static str = "ignore";
        type Output = ();
    }
    let folder = Folder::new();
    let ignore = |task: Ignore, _: &Context| -> Result<(), Failure> {
        std::thread::sleep(Duration::from_micros(task.0));
        Ok(())
    };
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (now, highest) = (running.clone(), most.clone());
    let plain = move |_: Stay, _: &Context| -> Result<(), Failure> {
        highest.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(3));
        now.fetch_sub(1, Ordering::SeqCst);
        Ok(())
    };
    let config = Config::default().workers(8);
    let queue = Queue::builder().config(config).handle(ignore).handle(plain).open(folder.file()).unwrap();
    for round in 0..3 {
        let tasks = (0..8).map(|n| Ignore(1_009_500 + 250 * n + 100 * round));
        for task in tasks {
            let _ = queue.enqueue_with(&task, Options::new().timeout(Duration::from_millis(10))).unwrap();
        }
        queue.drain().unwrap();
    }
    queue.enqueue_all(&(0..200).map(|_| Stay).collect::<Vec<_>>()).unwrap();
    queue.drain().unwrap();
    assert!(most.load(Ordering::SeqCst) <= 8, "{} at once", most.load(Ordering::SeqCst));
}
