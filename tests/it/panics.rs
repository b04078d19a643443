//! Code of the program that panics on threads of ours: its logger, its clock.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use perdura::{Clock, Config, Context, Failure, Options, Queue, State, SystemClock, Timestamp};

use crate::child::{Child, say};
use crate::support::*;

#[test]
fn g13_a_logger_that_panics_takes_nothing_down() {
    let folder = Folder::new();
    let (said, status) = Child::start("panicking-logger", &folder.file()).finish_within(2 * MINUTE);
    assert_eq!(
        said,
        ["warned by the timer", "retried", "warned by the dispatcher", "settled", "executes true"]
    );
    assert!(status.is_some_and(|status| status.success()), "{status:?}");
}

/// A queue beside a logger that panics at each record.
pub fn role(file: &Path) {
    crate::logger::panic_always();
    let gate: Arc<AtomicBool> = Arc::default();
    let held = gate.clone();
    let handler = move |task: Do, cx: &Context| -> Result<u64, Failure> {
        match task {
            Do::Ok(0) => std::thread::sleep(Duration::from_millis(1500)), // past its deadline
            Do::Ok(1) => {
                while !held.load(Ordering::Acquire) {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
            task => return run(task, cx),
        }
        Ok(0)
    };
    let config = Config::default().workers(1).retry_backoff(Duration::from_millis(10));
    let queue = Queue::builder().config(config).handle(handler).open(file).unwrap();
    let late = add(&queue, &Do::Ok(0), Options::new().timeout(Duration::from_millis(10)));
    queue.wait(late, PATIENCE).unwrap();
    assert!(crate::logger::panicked() > 0);
    say!("warned by the timer");
    let id = queue.enqueue(&Do::FailUntil(2)).unwrap().id();
    assert_eq!(queue.wait(id, PATIENCE).unwrap().state, State::Succeeded);
    say!("retried");
    let id = queue.enqueue(&Do::Ok(1)).unwrap().id();
    while queue.get(id).unwrap().state != State::Running {
        std::thread::sleep(Duration::from_millis(1));
    }
    let aside = file.with_extension("aside");
    std::fs::rename(file, &aside).unwrap();
    let before = crate::logger::panicked();
    gate.store(true, Ordering::Release);
    while crate::logger::panicked() == before {
        std::thread::sleep(Duration::from_millis(1));
    }
    say!("warned by the dispatcher");
    std::fs::rename(&aside, file).unwrap();
    assert_eq!(queue.wait(id, PATIENCE).unwrap().state, State::Succeeded);
    say!("settled");
    say!("executes {}", queue.executes());
}

/// A clock that panics while it is told to.
struct Fragile {
    clock: SystemClock,
    panics: Arc<AtomicBool>,
}

impl Fragile {
    fn check(&self) {
        assert!(!self.panics.load(Ordering::Acquire), "the clock panics, as told");
    }
}

impl Clock for Fragile {
    fn now(&self) -> Timestamp {
        self.check();
        self.clock.now()
    }

    fn monotonic(&self) -> Duration {
        self.check();
        self.clock.monotonic()
    }
}

#[test]
fn g13_a_clock_that_panics_stands_still_and_nothing_ends() {
    let folder = Folder::new();
    let panics: Arc<AtomicBool> = Arc::default();
    let clock = Fragile { clock: SystemClock::new(), panics: panics.clone() };
    let config = Config::default().retry_backoff(Duration::from_millis(1)).workers(2);
    let queue = builder(config).clock(clock).open(folder.file()).unwrap();
    for round in 0..20 {
        panics.store(round % 2 == 0, Ordering::Release);
        let enqueue = || (0..5).map(|_| queue.enqueue(&Do::FailUntil(2)).unwrap().id()).collect::<Vec<_>>();
        let made = std::panic::catch_unwind(std::panic::AssertUnwindSafe(enqueue));
        panics.store(false, Ordering::Release);
        let ids = made.expect("no panic of the clock comes through");
        queue.notify().unwrap();
        for id in ids {
            assert_eq!(queue.wait(id, PATIENCE).unwrap().state, State::Succeeded);
        }
    }
    assert!(queue.executes());
    let newest = queue.tasks(perdura::Filter::new().newest_first().limit(1)).unwrap();
    assert!(newest[0].created_at <= Timestamp::from(SystemTime::now()));
    assert_sound(&queue);
}
