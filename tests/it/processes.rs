//! Several processes on one file.

use std::time::Duration;

use perdura::{Config, Options, Queue, State};

use crate::child::{Child, Noted, Poison};
use crate::support::*;

fn looker(folder: &Folder) -> Queue {
    Queue::builder().open(folder.file()).unwrap()
}

fn innocent(n: u64) -> Noted {
    Noted { process: 0, n, micros: 200 }
}

#[test]
fn g05_of_two_that_start_at_once_on_a_fresh_file_both_open_and_one_executes() {
    for _ in 0..5 {
        let folder = Folder::new();
        let children = [(), ()].map(|()| Child::start("race", &folder.file()));
        let ended = children.map(Child::finish);
        let mut executing = 0;
        let mut starts = Vec::new();
        for (said, well) in &ended {
            assert!(*well && said.iter().any(|line| line == "saw all"), "{said:?}");
            let mine: Vec<_> = said.iter().filter(|line| line.starts_with("start")).collect();
            executing += usize::from(!mine.is_empty());
            starts.extend(mine);
        }
        assert_eq!(executing, 1, "exactly one executes");
        starts.sort();
        starts.dedup();
        assert_eq!(starts.len(), 40, "each task started once");
        assert_sound(&looker(&folder));
    }
}

#[test]
fn g05_g08_when_the_owner_is_killed_another_takes_over() {
    let folder = Folder::new();
    let mut owner = Child::start("hold", &folder.file());
    owner.await_line("executes true");
    let mut other = Child::start("hold", &folder.file());
    other.await_line("executes false");
    let queue = looker(&folder);
    let long = queue.enqueue(&Noted { process: 0, n: 1, micros: 60_000_000 }).unwrap();
    queue.notify().unwrap();
    owner.await_line(&format!("start {long} 1 1"));
    owner.kill();
    other.await_line(&format!("start {long} 2 2"));
    let record = queue.get(long).unwrap();
    assert_eq!((record.state, record.attempt_number), (State::Running, 2));
    assert_eq!(queue.attempts(long).unwrap()[0].error_type, "TaskLost");
    other.kill();
}

#[test]
fn another_process_may_enqueue_look_cancel_and_retry_while_the_owner_works() {
    let folder = Folder::new();
    let mut owner = Child::start("hold", &folder.file());
    owner.await_line("executes true");
    let queue = Queue::builder()
        .config(Config { retry_backoff: SECOND, ..Config::default() })
        .open(folder.file())
        .unwrap();
    assert!(!queue.executes());
    let id = queue.enqueue(&innocent(1)).unwrap();
    assert_eq!(queue.wait(id, MINUTE).unwrap().state, State::Succeeded);
    assert_eq!(queue.result::<u64>(id).unwrap(), Some(1));
    let delayed =
        queue.enqueue_with(&innocent(2), Options::new().delay(Duration::from_millis(30))).unwrap().id();
    assert_eq!(queue.wait(delayed, MINUTE).unwrap().state, State::Succeeded, "the owner's timer hears of it");
    let cancelled = queue.enqueue_with(&innocent(3), Options::new().delay(60 * MINUTE)).unwrap().id();
    queue.cancel(cancelled).unwrap();
    queue.retry(cancelled).unwrap();
    assert_eq!(queue.wait(cancelled, MINUTE).unwrap().state, State::Succeeded);
    owner.kill();
    assert_sound(&queue);
}

#[test]
fn g06_a_poison_task_among_50_innocents_ends_lost_alone() {
    let folder = Folder::new();
    let queue = looker(&folder);
    let innocents: Vec<_> = (0..50).map(innocent).collect();
    let before = queue.enqueue_all(&innocents[..5]).unwrap();
    let poison = queue.enqueue(&Poison).unwrap();
    let after = queue.enqueue_all(&innocents[5..]).unwrap();
    let mut crashes = 0;
    while !Child::start("poison", &folder.file()).finish().1 {
        crashes += 1;
        assert!(crashes <= 3, "it crash-loops");
    }
    assert_eq!(crashes, 3);
    let record = queue.get(poison).unwrap();
    assert_eq!((record.state, record.attempt_number), (State::Lost, 3));
    assert_eq!(queue.attempts(poison).unwrap().len(), 3);
    for made in before.iter().chain(&after) {
        assert_eq!(queue.get(made.id()).unwrap().state, State::Succeeded);
    }
    assert_sound(&queue);
}

#[test]
fn g05_a_handler_that_outlives_its_queue_keeps_the_file_owned() {
    let folder = Folder::new();
    let (started, is_started) = std::sync::mpsc::channel();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let released = std::sync::Mutex::new(released);
    let stubborn = move |_: Poison, _: &perdura::Context| {
        started.send(()).unwrap();
        released.lock().unwrap().recv().ok();
        Ok(5)
    };
    let first = Queue::builder().handle(stubborn).open(folder.file()).unwrap();
    let id = first.enqueue(&Poison).unwrap();
    is_started.recv().unwrap();
    let report = first.shutdown(Duration::ZERO).unwrap();
    assert_eq!((report.interrupted, report.still_running), (1, vec![id]));
    drop(first);
    let config = Config { poll_interval: Duration::from_millis(10), ..Config::default() };
    let second = Queue::builder()
        .config(config)
        .handle(|_: Poison, _: &perdura::Context| Ok(6))
        .open(folder.file())
        .unwrap();
    assert!(!second.executes());
    assert_eq!(second.get(id).unwrap().state, State::Running);
    drop(release);
    assert_eq!(second.wait(id, MINUTE).unwrap().state, State::Succeeded);
    assert_eq!(second.result::<u64>(id).unwrap(), Some(5), "its outcome is recorded all the same");
    while !second.executes() {
        std::thread::yield_now();
    }
}
