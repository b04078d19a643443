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
    let long = queue.enqueue(&Noted { process: 0, n: 1, micros: 60_000_000 }).unwrap().id();
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
fn g20_explain_does_not_say_that_a_task_runs_whose_process_has_died() {
    let folder = Folder::new();
    let mut owner = Child::start("hold", &folder.file());
    owner.await_line("executes true");
    let queue = looker(&folder);
    let long = queue.enqueue(&Noted { process: 0, n: 1, micros: 60_000_000 }).unwrap().id();
    let says = |wanted: &str| {
        assert_eq!(queue.explain(long).unwrap().to_string(), format!("task {long} {wanted}"));
    };
    owner.await_line(&format!("start {long} 1 1"));
    says("is running: attempt 1 of 3");
    queue.cancel(long).unwrap();
    says("is running, and was told to stop: attempt 1 of 3");
    owner.kill();
    says(
        "was running (attempt 1 of 3) when its process died; it was to be cancelled, which the next process that executes does",
    );
    assert!(queue.explain(long).unwrap().has_died);
}

#[test]
fn another_process_may_enqueue_look_cancel_and_retry_while_the_owner_works() {
    let folder = Folder::new();
    let mut owner = Child::start("hold", &folder.file());
    owner.await_line("executes true");
    let queue = Queue::builder().config(Config::default().retry_backoff(SECOND)).open(folder.file()).unwrap();
    assert!(!queue.executes());
    let id = queue.enqueue(&innocent(1)).unwrap().id();
    assert_eq!(queue.wait(id, PATIENCE).unwrap().state, State::Succeeded);
    assert_eq!(queue.result::<Noted>(id).unwrap(), Some(1));
    let delayed =
        queue.enqueue_with(&innocent(2), Options::new().delay(Duration::from_millis(30))).unwrap().id();
    assert_eq!(
        queue.wait(delayed, PATIENCE).unwrap().state,
        State::Succeeded,
        "the owner's timer hears of it"
    );
    let cancelled = queue.enqueue_with(&innocent(3), Options::new().delay(60 * MINUTE)).unwrap().id();
    queue.cancel(cancelled).unwrap();
    queue.retry(cancelled).unwrap();
    assert_eq!(queue.wait(cancelled, PATIENCE).unwrap().state, State::Succeeded);
    owner.kill();
    assert_sound(&queue);
}

#[test]
fn g06_a_poison_task_among_50_innocents_ends_lost_alone() {
    let folder = Folder::new();
    let queue = looker(&folder);
    let innocents: Vec<_> = (0..50).map(innocent).collect();
    let before = queue.enqueue_all(&innocents[..5]).unwrap();
    let poison = queue.enqueue(&Poison).unwrap().id();
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
    let id = first.enqueue(&Poison).unwrap().id();
    is_started.recv().unwrap();
    let report = first.shutdown(Duration::ZERO).unwrap();
    assert_eq!((report.interrupted, report.still_running), (1, vec![id]));
    drop(first);
    let config = Config::default().poll_interval(Duration::from_millis(10));
    let second = Queue::builder()
        .config(config)
        .handle(|_: Poison, _: &perdura::Context| Ok(6))
        .open(folder.file())
        .unwrap();
    assert!(!second.executes());
    assert_eq!(second.get(id).unwrap().state, State::Running);
    drop(release);
    assert_eq!(second.wait(id, PATIENCE).unwrap().state, State::Succeeded);
    assert_eq!(second.result::<Poison>(id).unwrap(), Some(5), "its outcome is recorded all the same");
    while !second.executes() {
        std::thread::yield_now();
    }
}

/// Sends a signal, by its name.
#[cfg(unix)]
fn signal(name: &str, process: u32) {
    let sent = std::process::Command::new("kill").args([&format!("-{name}"), &process.to_string()]).status();
    assert!(sent.unwrap().success());
}

/// Stops a process, and waits until it stands still.
#[cfg(target_os = "linux")]
fn stop(process: u32) {
    signal("STOP", process);
    let is_stopped = || {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
        stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
    };
    while !is_stopped() {
        std::thread::yield_now();
    }
}

/// As long as the others ask for the file of a stopped owner: about 75 times.
#[cfg(target_os = "linux")]
const STANDSTILL: Duration = Duration::from_millis(1500);

#[cfg(target_os = "linux")]
#[test]
fn g05_a_stopped_owner_keeps_the_file_and_goes_on_when_it_is_continued() {
    let folder = Folder::new();
    let mut owner = Child::start("hold", &folder.file());
    owner.await_line("executes true");
    let other = Child::start("hold", &folder.file()).listen();
    other.await_line(|line| line == "executes false");
    let queue = looker(&folder);
    let first = queue.enqueue(&Noted { process: 0, n: 0, micros: 300_000 }).unwrap().id();
    owner.await_line(&format!("start {first} 1 1"));
    stop(owner.process_id());
    other.take();
    let rest = queue.enqueue_all(&(1..20).map(innocent).collect::<Vec<_>>()).unwrap();
    queue.notify().unwrap();
    std::thread::sleep(STANDSTILL);
    assert_eq!(other.take(), Vec::<String>::new(), "the owner is stopped, not dead");
    assert_eq!(queue.get(first).unwrap().state, State::Running);
    assert_eq!(queue.counts().unwrap().total().ready, 19);
    signal("CONT", owner.process_id());
    for id in rest.iter().map(|made| made.id()).chain([first]) {
        assert_eq!(queue.wait(id, PATIENCE).unwrap().state, State::Succeeded);
        assert_eq!(queue.get(id).unwrap().generation, 1, "no attempt was taken for lost");
    }
    let said = owner.kill();
    let mut starts: Vec<_> = said.iter().filter(|line| line.starts_with("start")).collect();
    starts.sort();
    starts.dedup();
    assert_eq!(starts.len(), 19, "each started once, in the owner: {said:?}");
    assert!(other.kill().iter().all(|line| !line.starts_with("start")));
    assert_sound(&queue);
}

#[cfg(target_os = "linux")]
#[test]
fn g05_g08_a_stopped_owner_that_is_killed_is_succeeded() {
    let folder = Folder::new();
    let mut owner = Child::start("hold", &folder.file());
    owner.await_line("executes true");
    let mut other = Child::start("hold", &folder.file());
    other.await_line("executes false");
    let queue = looker(&folder);
    let long = queue.enqueue(&Noted { process: 0, n: 1, micros: 60_000_000 }).unwrap().id();
    owner.await_line(&format!("start {long} 1 1"));
    stop(owner.process_id());
    owner.kill();
    other.await_line(&format!("start {long} 2 2"));
    assert_eq!(queue.attempts(long).unwrap()[0].error_type, "TaskLost");
    other.kill();
}

/// Two processes with the same number, each in a namespace of its own: first at the same time, then one after the other.
#[cfg(target_os = "linux")]
#[test]
fn g05_g08_the_number_of_a_process_plays_no_role() {
    let namespace = || {
        let mut command = std::process::Command::new("unshare");
        command.args(["--pid", "--fork", "--kill-child", "--"]);
        command
    };
    let may_unshare = namespace().arg("true").status().is_ok_and(|status| status.success());
    if !has("right to unshare process namespaces", may_unshare) {
        return;
    }
    let start = |folder: &Folder| {
        let mut command = namespace();
        command.arg(std::env::current_exe().unwrap());
        let mut child = Child::start_through(command, "hold", &folder.file());
        child.await_line("open as process 1");
        child
    };
    let folder = Folder::new();
    let queue = looker(&folder);
    let mut owner = start(&folder);
    owner.await_line("executes true");
    let mut other = start(&folder);
    other.await_line("executes false");
    let long = queue.enqueue(&Noted { process: 0, n: 1, micros: 60_000_000 }).unwrap().id();
    owner.await_line(&format!("start {long} 1 1"));
    for attempt in 2..=3 {
        owner.kill();
        other.await_line(&format!("start {long} {attempt} {attempt}")); // before the next one comes and wins
        owner = std::mem::replace(&mut other, start(&folder));
    }
    owner.kill();
    let lost = queue.wait(long, PATIENCE).unwrap();
    assert_eq!((lost.state, lost.attempt_number), (State::Lost, 3));
    assert_sound(&queue);
}
