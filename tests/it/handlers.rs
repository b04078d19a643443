//! Handlers that do what no handler should: panic at the worst place, overflow the stack, turn on their own queue, outlive it.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use perdura::{Config, Context, ErrorKind, Failure, Filter, Options, Queue, State, Task};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::child::{Child, noted};
use crate::support::*;

// ---- Panics ----

/// A value that panics when it is dropped.
#[derive(Serialize, Deserialize)]
struct Brittle;

impl Drop for Brittle {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("it broke as it was dropped");
        }
    }
}

/// A value that panics when it is serialized.
struct Unspeakable;

impl Serialize for Unspeakable {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        panic!("it cannot be said")
    }
}

/// Args that panic when they are deserialized.
#[derive(Serialize)]
struct Unreadable;

impl<'de> Deserialize<'de> for Unreadable {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Unreadable, D::Error> {
        panic!("it cannot be read")
    }
}

impl Task for Unreadable {
    const NAME: &'static str = "unreadable";
    type Output = ();
}

/// A task that is told where to panic.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
enum Where {
    Nowhere,
    InTheArgs,
    InTheResult,
    InAnError,
    InThePayload,
    UnderALock,
    AsItIsWritten,
}

impl Task for Where {
    const NAME: &'static str = "where";
    type Output = Outcome;
}

/// A result of any of these kinds.
#[derive(Serialize)]
#[serde(untagged)]
enum Outcome {
    Fine,
    Brittle { _value: Brittle },
    Unspeakable(Unspeakable),
}

impl<'de> Deserialize<'de> for Outcome {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Outcome, D::Error> {
        Err(serde::de::Error::custom("nobody reads it"))
    }
}

#[test]
fn g13_a_panic_anywhere_around_a_handler_fails_its_attempt_alone() {
    let lock = Arc::new(Mutex::new(0));
    let theirs = lock.clone();
    let handler = move |place: Where, _: &Context| -> Result<Outcome, Failure> {
        match place {
            Where::Nowhere => Ok(Outcome::Fine),
            Where::InTheArgs => {
                let _dropped_at_the_end = Brittle;
                Ok(Outcome::Fine)
            }
            Where::InTheResult => Ok(Outcome::Brittle { _value: Brittle }),
            Where::InAnError => {
                struct Inner(#[allow(dead_code)] Brittle);
                let broken = Inner(Brittle);
                Err(Failure::named("no", "as told")).inspect_err(move |_: &Failure| drop(broken))
            }
            Where::InThePayload => std::panic::panic_any(Brittle),
            Where::UnderALock => {
                *theirs.lock().unwrap_or_else(|poison| poison.into_inner()) += 1;
                let _held = theirs.lock().unwrap_or_else(|poison| poison.into_inner());
                panic!("under a lock")
            }
            Where::AsItIsWritten => Ok(Outcome::Unspeakable(Unspeakable)),
        }
    };
    let config = Config::default().workers(1).max_task_attempts(1);
    let queue = Queue::builder()
        .config(config)
        .handle(handler)
        .handle(|_: Unreadable, _: &Context| Ok(()))
        .open_temporary()
        .unwrap();
    for place in [
        Where::InTheArgs,
        Where::InTheResult,
        Where::InAnError,
        Where::InThePayload,
        Where::UnderALock,
        Where::UnderALock,
        Where::AsItIsWritten,
    ] {
        let panics = queue.enqueue(&place).unwrap().id();
        let fine = queue.enqueue(&Where::Nowhere).unwrap().id();
        let record = queue.wait(panics, PATIENCE).unwrap();
        assert_eq!((record.state, record.error_type.as_deref()), (State::Failed, Some("Panic")), "{place:?}");
        assert_eq!(queue.wait(fine, PATIENCE).unwrap().state, State::Succeeded, "the only worker lives on");
    }
    assert_eq!(*lock.lock().unwrap_or_else(|poison| poison.into_inner()), 2, "their poison is their affair");
    let unreadable = queue.enqueue(&Unreadable).unwrap().id();
    let record = queue.wait(unreadable, PATIENCE).unwrap();
    assert_eq!((record.state, record.error_type.as_deref()), (State::Failed, Some("Panic")));
    assert_eq!(queue.shutdown(MINUTE).unwrap().still_running, []);
    assert_sound(&queue);
}

// ---- Ends of the whole process ----

/// A task that ends its process in one of three ways. (`panic = "abort"` makes an abort of a panic; so does a panic within a panic.)
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
enum Deadly {
    OverflowsTheStack,
    PanicsWithinAPanic,
    Exits,
}

impl Task for Deadly {
    const NAME: &'static str = "deadly";
    type Output = u64;
}

struct PanicsTwice;
impl Drop for PanicsTwice {
    fn drop(&mut self) {
        panic!("while it panics");
    }
}

fn deeper(depth: u64) -> u64 {
    let here = std::hint::black_box([depth; 64]);
    if here[1] == u64::MAX { 0 } else { deeper(depth + 1) + std::hint::black_box(here)[0] }
}

fn deadly(how: Deadly, _: &Context) -> Result<u64, Failure> {
    match how {
        Deadly::OverflowsTheStack => Ok(deeper(0)),
        Deadly::PanicsWithinAPanic => {
            let _twice = PanicsTwice;
            panic!("the first")
        }
        Deadly::Exits => std::process::exit(3),
    }
}

/// The role: runs everything that may start.
pub fn role(file: &Path) {
    let queue = Queue::builder().handle(noted).handle(deadly).open(file).unwrap();
    while !queue.executes() {
        std::thread::sleep(Duration::from_millis(5));
    }
    queue.drain().unwrap();
    queue.shutdown(Duration::from_secs(10)).unwrap();
}

#[test]
fn g06_a_handler_that_ends_its_process_is_charged_and_ends_lost() {
    for how in [Deadly::OverflowsTheStack, Deadly::PanicsWithinAPanic, Deadly::Exits] {
        let folder = Folder::new();
        let queue = Queue::builder().open(folder.file()).unwrap();
        let innocent = |n| crate::child::Noted { process: 0, n, micros: 100 };
        let innocents: Vec<_> = (0..10).map(innocent).collect();
        let before = queue.enqueue_all(&innocents[..5]).unwrap();
        let deadly = queue.enqueue(&how).unwrap().id();
        let after = queue.enqueue_all(&innocents[5..]).unwrap();
        let mut deaths = 0;
        while !Child::start("hostile", &folder.file()).finish().1 {
            deaths += 1;
            assert!(deaths <= 3, "{how:?}: it crash-loops");
        }
        let record = queue.get(deadly).unwrap();
        assert_eq!((deaths, record.state, record.attempt_number), (3, State::Lost, 3), "{how:?}");
        for made in before.iter().chain(&after) {
            assert_eq!(queue.get(made.id()).unwrap().state, State::Succeeded, "{how:?}");
        }
        assert_sound(&queue);
    }
}

// ---- On its own queue ----

/// A task without args.
#[derive(Serialize, Deserialize)]
struct Own;
impl Task for Own {
    const NAME: &'static str = "own";
    type Output = ();
}

/// A task whose handler uses every verb.
#[derive(Serialize, Deserialize)]
struct EveryVerb;
impl Task for EveryVerb {
    const NAME: &'static str = "every verb";
    type Output = (usize, bool, bool, bool);
}

#[test]
fn g04_a_handler_may_turn_every_verb_on_itself_with_one_worker() {
    let handler = |_: EveryVerb, cx: &Context| {
        let queue = cx.queue().ok_or_else(|| Failure::permanent("the test holds a handle"))?;
        let more: Vec<_> = (0..3).map(|n| queue.enqueue(&Do::Ok(n)).map(|made| made.id())).collect();
        let verbs = [queue.retry(cx.id()), queue.delete(cx.id()), queue.run_now(cx.id())];
        let refused = verbs.iter().all(|said| matches!(said, Err(e) if e.kind() == ErrorKind::WrongState));
        queue
            .pause("default")
            .and_then(|()| queue.resume("default"))
            .map_err(|e| Failure::permanent(e.to_string()))?;
        let kept = queue.delete_all(Filter::new()).and_then(|_| queue.get(cx.id()));
        queue.cancel(cx.id()).map_err(|e| Failure::permanent(e.to_string()))?;
        let sees = matches!(cx.ensure_active(), Err(e) if e.error_type() == "Cancelled");
        Ok((more.into_iter().filter(Result::is_ok).count(), refused, kept.is_ok(), sees))
    };
    let queue = builder(Config::default().workers(1)).handle(handler).open_temporary().unwrap();
    let id = queue.enqueue(&EveryVerb).unwrap().id();
    let record = queue.wait(id, PATIENCE).unwrap();
    assert_eq!(record.state, State::Succeeded, "Ok wins over its own cancel: {record:?}");
    assert_eq!(queue.result::<EveryVerb>(id).unwrap(), Some((3, true, true, true)));
    queue.drain().unwrap();
    assert_sound(&queue);
}

#[test]
fn g04_handlers_that_all_read_at_once_do_not_starve_each_other() {
    let (meet, all) = (Arc::new(std::sync::Barrier::new(12)), Arc::new(AtomicU32::new(0)));
    let read = all.clone();
    let handler = move |_: Own, cx: &Context| {
        meet.wait(); // three times as many as there are reading connections
        for _ in 0..50 {
            let queue = cx.queue().ok_or_else(|| Failure::permanent("the test holds a handle"))?;
            queue.get(cx.id()).map_err(|e| Failure::permanent(e.to_string()))?;
            queue.counts().map_err(|e| Failure::permanent(e.to_string()))?;
            read.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    };
    let config = Config::default().workers(12).max_task_attempts(1);
    let queue = Queue::builder().config(config).handle(handler).open_temporary().unwrap();
    queue.enqueue_all(&[const { Own }; 12]).unwrap();
    queue.drain().unwrap();
    assert_eq!((queue.counts().unwrap().total().succeeded, all.load(Ordering::Relaxed)), (12, 600));
}

#[test]
fn g05_a_handler_that_sleeps_past_its_deadline_is_not_started_again_beside_itself() {
    let (at_once, most) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let (running, seen) = (at_once.clone(), most.clone());
    let (go, may_go) = channel::<()>();
    let may_go = Mutex::new(may_go);
    let handler = move |_: Own, cx: &Context| {
        seen.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        let _ = may_go.lock().map(|go| go.recv());
        while cx.time_left() != Some(Duration::ZERO) {
            std::thread::yield_now();
        }
        running.fetch_sub(1, Ordering::SeqCst);
        cx.ensure_active()?;
        Ok(())
    };
    let config = Config::default().workers(1).max_task_attempts(2).retry_backoff(SECOND);
    let queue = builder(config).handle(handler).open_temporary().unwrap();
    let slow = queue.enqueue_with(&Own, Options::new().timeout(Duration::from_millis(1))).unwrap().id();
    let other = queue.enqueue(&Do::Ok(1)).unwrap().id();
    assert_eq!(queue.wait(other, PATIENCE).unwrap().state, State::Succeeded, "another worker has come");
    let record = queue.get(slow).unwrap();
    assert_eq!(
        (record.state, record.generation),
        (State::Running, 1),
        "past its deadline, and still at work"
    );
    let refused = queue.retry(slow).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::WrongState);
    go.send(()).unwrap();
    go.send(()).unwrap();
    let record = queue.wait(slow, PATIENCE).unwrap();
    assert_eq!((record.state, record.attempt_number), (State::Failed, 2));
    assert_eq!(most.load(Ordering::SeqCst), 1);
    assert_sound(&queue);
}

// ---- Beyond its end ----

#[test]
fn g04_threads_of_a_handler_may_use_the_queue_after_it_and_drop_it_last() {
    let folder = Folder::new();
    let (tell, told) = channel();
    let dropped = Arc::new(AtomicBool::new(false));
    let may_end = dropped.clone();
    let handler = move |_: Own, cx: &Context| {
        let (queue, id) = (cx.queue(), cx.id());
        let (tell, may_end) = (tell.clone(), may_end.clone());
        std::thread::spawn(move || {
            let queue = queue.expect("the test holds a handle");
            let first = queue.wait(id, PATIENCE).map(|record| record.state);
            while !may_end.load(Ordering::SeqCst) {
                std::thread::yield_now(); // the test's own handle is still there
            }
            let after = queue.enqueue(&Do::Ok(7)).unwrap().id();
            let second = queue.wait(after, PATIENCE).map(|record| record.state);
            drop(queue); // the last handle
            tell.send((first.ok(), second.ok())).unwrap();
        });
        Ok(())
    };
    let queue = builder(Config::default().workers(1)).handle(handler).open(folder.file()).unwrap();
    let _ = queue.enqueue(&Own).unwrap();
    queue.drain().unwrap();
    drop(queue);
    dropped.store(true, Ordering::SeqCst);
    let succeeded = Some(State::Succeeded);
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), (succeeded, succeeded));
    let next = builder(Config::default()).open(folder.file()).unwrap();
    assert!(next.executes(), "dropping the last handle has given the file up");
    assert_sound(&next);
}
