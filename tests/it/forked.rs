//! A process that forks while a queue is open: the child can do nothing with it, and nothing to it.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use fork::Fork;
use perdura::{Config, Error, ErrorKind, Filter, Options, Queue, State};

use crate::child::{Child, Noted, noted, say};
use crate::support::*;

/// What the child says; it must not touch the standard output that it shares.
fn answers(file: &Path) -> PathBuf {
    file.with_extension("answers")
}

/// Opens, runs a long task, forks. The child tries everything; this process goes on.
pub fn role(file: &Path) {
    let config = Config::default().workers(2).poll_interval(Duration::from_millis(10));
    let queue = Queue::builder().config(config).handle(noted).open(file).unwrap();
    let looker = Queue::builder().open(file).unwrap();
    let long = queue.enqueue(&Noted { process: 0, n: 1, micros: 60_000_000 }).unwrap().id();
    while queue.get(long).unwrap().state != State::Running {
        std::thread::yield_now();
    }
    match fork::fork().unwrap() {
        Fork::Child => in_the_child(queue, looker, file),
        Fork::Parent(child) => {
            let mut patience = 1000;
            while fork::waitpid_nohang(child).unwrap().is_none() {
                patience -= 1;
                if patience == 0 {
                    say!("the child hangs");
                    std::process::Command::new("kill").args(["-9", &child.to_string()]).status().unwrap();
                }
                std::thread::sleep(Duration::from_millis(10));
            }
            say!("the child has ended, executes {}", queue.executes());
            loop {
                std::thread::park();
            }
        }
    }
}

fn in_the_child(queue: Queue, looker: Queue, file: &Path) {
    let mut text = format!("executes {}\n", queue.executes());
    let mut tell = |call: &str, answer: Result<(), Error>| {
        let answer = answer.map_or_else(|e| format!("{:?}", e.kind()), |()| "Ok".to_owned());
        text += &format!("{call} {answer}\n");
        std::fs::write(answers(file), &text).unwrap();
    };
    let id = perdura::TaskId::from_i64(1);
    for queue in [&queue, &looker] {
        let task = Noted { process: 0, n: 2, micros: 0 };
        tell("enqueue", queue.enqueue(&task).map(drop));
        tell("enqueue_with", queue.enqueue_with(&task, Options::new().unique("key")).map(drop));
        tell("enqueue_all", queue.enqueue_all([&task]).map(drop));
        tell("get", queue.get(id).map(drop));
        tell("tasks", queue.tasks(Filter::new()).map(drop));
        tell("counts", queue.counts().map(drop));
        tell("result", queue.result::<Noted>(id).map(drop));
        tell("explain", queue.explain(id).map(drop));
        tell("check", queue.check().map(drop));
        tell("wait", queue.wait(id, PATIENCE).map(drop));
        tell("retry", queue.retry(id));
        tell("cancel", queue.cancel(id));
        tell("cancel_all", queue.cancel_all(Filter::new()).map(drop));
        tell("delete", queue.delete(id));
        tell("purge", queue.purge(SystemTime::now()).map(drop));
        tell("pause", queue.pause("default"));
        tell("notify", queue.notify());
        tell("shutdown", queue.shutdown(Duration::ZERO).map(drop));
        tell("open the file", Queue::builder().open(file).map(drop));
        tell("open another file", Queue::builder().open(file.with_extension("other")).map(drop));
        tell("open in memory", Queue::builder().open_temporary().map(drop));
    }
    tell("drain", queue.drain());
    drop(queue.clone());
    drop((queue, looker));
    std::process::exit(0);
}

#[test]
fn g05_a_forked_process_is_told_so_and_its_parent_keeps_file_and_lock() {
    let folder = Folder::new();
    let mut parent = Child::start("fork", &folder.file());
    parent.await_line("start 1 1 1");
    parent.await_line("the child has ended, executes true"); // by itself or, if it hung, by force: then calls are missing below
    let answers = std::fs::read_to_string(answers(&folder.file())).unwrap_or_default();
    let mut answers = answers.lines();
    assert_eq!(answers.next(), Some("executes false"));
    let mut calls = 0;
    for answer in answers {
        assert!(answer.ends_with(&format!("{:?}", ErrorKind::ForkedProcess)), "{answer}");
        calls += 1;
    }
    assert_eq!(calls, 43);
    assert!(!folder.file().with_extension("other").exists());
    let mut other = Child::start("hold", &folder.file());
    other.await_line("executes false");
    let queue = Queue::builder().open(folder.file()).unwrap();
    let quick = queue.enqueue(&Noted { process: 0, n: 3, micros: 0 }).unwrap().id();
    parent.await_line(&format!("start {quick} 1 1"));
    assert_eq!(queue.wait(quick, PATIENCE).unwrap().state, State::Succeeded);
    assert_eq!(queue.counts().unwrap().total().all(), 2, "the child has enqueued nothing");
    assert_sound(&queue);
    parent.kill();
    other.await_line("executes true");
    other.kill();
}

/// A program that is started while a queue is open gets no handle on its files.
#[cfg(target_os = "linux")]
#[test]
fn what_a_handler_starts_inherits_no_handle_of_the_file() {
    let folder = Folder::new();
    let queue = builder(Config::default().workers(1)).open(folder.file()).unwrap();
    let _ = queue.enqueue(&Do::Ok(1)).unwrap();
    queue.drain().unwrap();
    let listing = std::process::Command::new("ls").args(["-l", "/proc/self/fd/"]).output().unwrap();
    let listing = String::from_utf8(listing.stdout).unwrap();
    assert!(listing.contains("/proc"), "{listing}");
    assert!(!listing.contains(folder.path().to_str().unwrap()), "{listing}");
}
