//! Each part that wakes a thread, tested alone: a wake-up that comes just before its sleeper falls asleep is not lost.

use std::sync::Arc;
use std::time::Duration;

use crate::queue::runtime::signal::Doorbell;
use crate::queue::runtime::signal::Signal;
use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use crate::sync::{self, Heard, Receiver, Sender, next_of, thread, unbounded};
use crate::task::{TaskId, Timestamp};
use crate::timer::{self, Alarm, NextTick, Ticks};
use crate::{StandingClock, explore};

const FOR_EVER: Duration = Duration::MAX;

#[test]
fn g04_everybody_who_waits_for_a_change_hears_of_it() {
    explore("signal", 3_000, || {
        let (signal, done) = (Arc::new(Signal::default()), Arc::new(AtomicUsize::new(0)));
        let task = TaskId::from_i64(7);
        let waiters: Vec<_> = [(1, None), (2, Some(task)), (2, Some(task)), (2, None)]
            .into_iter()
            .map(|(wanted, task)| {
                let (signal, done) = (signal.clone(), done.clone());
                thread::spawn(move || {
                    let mut listener = signal.listen(task);
                    while done.load(Ordering::SeqCst) < wanted {
                        listener.wait(FOR_EVER);
                    }
                })
            })
            .collect();
        for _ in 0..2 {
            done.fetch_add(1, Ordering::SeqCst);
            signal.tell([TaskId::from_i64(6), task].into_iter());
        }
        waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
    });
}

#[test]
fn g04_a_bell_that_rings_while_its_hearer_falls_asleep_is_heard() {
    explore("doorbell", 3_000, || {
        let (bell, wanted) = (Arc::new(Doorbell::new()), Arc::new(AtomicUsize::new(0)));
        let (items, received) = unbounded::<usize>();
        let hearer = {
            let (bell, wanted) = (bell.clone(), wanted.clone());
            thread::spawn(move || {
                let mut got = 0;
                loop {
                    match next_of(&received, &bell.bell, FOR_EVER) {
                        Heard::Item(n) => got += n,
                        Heard::None => {}
                        Heard::End => return got,
                    }
                    if wanted.load(Ordering::SeqCst) == 2 && got == 3 {
                        return got;
                    }
                }
            })
        };
        let ringer = {
            let (bell, wanted) = (bell.clone(), wanted.clone());
            thread::spawn(move || {
                for _ in 0..2 {
                    wanted.fetch_add(1, Ordering::SeqCst);
                    bell.ring();
                }
            })
        };
        let _ = items.send(1);
        let _ = items.send(2);
        ringer.join().unwrap();
        assert_eq!(hearer.join().unwrap(), 3);
        drop(items);
    });
}

/// Tells when it is called, and wants to be called again at a fixed time.
struct Told {
    ticks: Sender<Duration>,
    next: Duration,
}

impl Ticks for Told {
    fn tick(&self) -> NextTick {
        let _ = self.ticks.send(sync::now());
        NextTick::monotonic(self.next)
    }
}

fn start(alarm: &Arc<Alarm>, next: Duration) -> (thread::JoinHandle<()>, Receiver<Duration>) {
    let (ticks, ticked) = unbounded();
    let timer = timer::start(alarm.clone(), Arc::new(StandingClock), Arc::new(Told { ticks, next }));
    (timer.unwrap(), ticked)
}

const MS: Duration = Duration::from_millis(1);

#[test]
fn g04_g10_the_timer_hears_of_something_sooner() {
    explore("alarm", 3_000, || {
        let alarm = Arc::new(Alarm::default());
        let (timer, ticked) = start(&alarm, 3_000 * MS);
        let callers: Vec<_> = [20, 10]
            .into_iter()
            .map(|ms| {
                let alarm = alarm.clone();
                thread::spawn(move || {
                    let now = Timestamp::from_millis(1_000_000);
                    alarm.set(NextTick::at(now.saturating_add(ms * MS)));
                })
            })
            .collect();
        ticked.recv().unwrap(); // the first is at once
        callers.into_iter().for_each(|caller| caller.join().unwrap());
        sync::await_stillness();
        sync::pass(10 * MS);
        assert_eq!(ticked.recv().unwrap(), 10 * MS);
        alarm.stop();
        timer.join().unwrap();
    });
}

#[test]
fn g04_the_timer_ends_when_told_whatever_else_it_is_told() {
    explore("alarm, stop and set", 3_000, || {
        let alarm = Arc::new(Alarm::default());
        let (timer, _ticked) = start(&alarm, 3_000 * MS);
        let other = alarm.clone();
        let other = thread::spawn(move || {
            for ms in [30, 20, 10] {
                other.set(NextTick::monotonic(ms * MS));
            }
        });
        alarm.stop();
        timer.join().unwrap();
        other.join().unwrap();
    });
}
