//! The queue in front of the writer, with a leader's work that the test knows.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard};

use shuttle::rand::Rng;

use super::commit_queue::{CommitQueue, Member, Rank};
use super::{Group, Table, Tx};
use crate::error::{Error, ErrorKind};
use crate::explore;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{self, thread};

/// A queue, and what becomes of the writes that come through it.
#[derive(Default)]
struct Tested {
    queue: CommitQueue,
    is_led: AtomicBool,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    /// Writes of the open transaction.
    open: Vec<u32>,
    /// Writes that are durable, in their order.
    durable: Vec<u32>,
    /// The sizes of the groups.
    groups: Vec<usize>,
}

impl Tested {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(|poison| poison.into_inner())
    }

    /// Brings a write that is known by its number. `lead` is what this thread does if it comes to lead.
    fn write(self: &Arc<Tested>, n: u32, lead: impl FnOnce(Group)) -> Result<u32, Error> {
        let tested = self.clone();
        let write = move |_: &Tx<'_>| {
            tested.seen().open.push(n);
            Ok(n)
        };
        self.queue.commit(Rank::Change, write, lead)
    }

    /// What a leader does: one transaction, and the answers when it is durable.
    fn commit(&self, mut group: Group, fails: bool) {
        assert!(!self.is_led.swap(true, Ordering::SeqCst), "two lead at once");
        let table = RefCell::new(Table::default());
        let tx = Tx { table: &table, effects: RefCell::default(), start_leave: None };
        for member in &mut group {
            let _ = member.run(&tx);
        }
        thread::yield_now();
        let mut seen = self.seen();
        let open = std::mem::take(&mut seen.open);
        if !fails {
            seen.durable.extend(open);
            seen.groups.push(group.len());
        }
        drop(seen);
        for member in group {
            if fails {
                member.failed(Error::new(ErrorKind::Busy, "as told"));
            } else {
                member.settled();
            }
        }
        self.is_led.store(false, Ordering::SeqCst);
    }
}

#[test]
fn g01_g04_each_write_is_answered_once_and_after_its_commit() {
    explore("group commit", 3_000, || {
        let tested = Arc::new(Tested::default());
        let callers: Vec<_> = (0..3)
            .map(|caller| {
                let tested = tested.clone();
                thread::spawn(move || {
                    for n in [caller * 2, caller * 2 + 1] {
                        let fails = shuttle::rand::thread_rng().gen_ratio(1, 4);
                        match tested.write(n, |group| tested.commit(group, fails)) {
                            Ok(answer) => assert!(answer == n && tested.seen().durable.contains(&n)),
                            Err(e) => {
                                assert!(e.kind() == ErrorKind::Busy && !tested.seen().durable.contains(&n))
                            }
                        }
                    }
                })
            })
            .collect();
        callers.into_iter().for_each(|caller| caller.join().unwrap());
        let mut durable = std::mem::take(&mut tested.seen().durable);
        let n = durable.len();
        durable.sort();
        durable.dedup();
        assert_eq!(durable.len(), n, "each is written once");
    });
}

#[test]
fn g04_g09_the_line_is_served_in_its_order_and_by_one_group() {
    explore("group commit, order", 3_000, || {
        let tested = Arc::new(Tested::default());
        let (holds, leads) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicBool::new(false)));
        let (first, held, tell) = (tested.clone(), holds.clone(), leads.clone());
        let leader = thread::spawn(move || {
            first.write(0, |group| {
                tell.store(true, Ordering::SeqCst);
                while held.load(Ordering::SeqCst) {
                    thread::yield_now();
                }
                first.commit(group, false);
            })
        });
        while !leads.load(Ordering::SeqCst) {
            thread::yield_now();
        }
        let mut others = Vec::new();
        for n in 1..=3 {
            let tested = tested.clone();
            others.push(thread::spawn(move || tested.write(n, |group| tested.commit(group, false))));
            sync::await_sleepers(others.len());
        }
        holds.store(false, Ordering::SeqCst);
        assert_eq!(leader.join().unwrap().unwrap(), 0);
        let answers: Vec<_> = others.into_iter().map(|other| other.join().unwrap().unwrap()).collect();
        assert_eq!(answers, [1, 2, 3]);
        let seen = tested.seen();
        assert_eq!(
            (seen.durable.as_slice(), seen.groups.as_slice()),
            ([0, 1, 2, 3].as_slice(), [1, 3].as_slice())
        );
    });
}

/// A transaction that runs once stands in the same line, and nobody leads beside it.
#[cfg(feature = "rusqlite")]
#[test]
fn g04_g17_who_needs_the_writer_alone_has_it_alone_and_in_its_turn() {
    explore("group commit, alone", 3_000, || {
        let tested = Arc::new(Tested::default());
        let callers: Vec<_> = (0..4)
            .map(|n| {
                let tested = tested.clone();
                thread::spawn(move || match n {
                    0 | 1 => {
                        let _ = catch_unwind(AssertUnwindSafe(|| {
                            tested.queue.alone(|| {
                                tested.commit(Vec::new(), false);
                                if n == 0 {
                                    std::panic::resume_unwind(Box::new("the closure panics"));
                                }
                            });
                        }));
                    }
                    n => assert_eq!(tested.write(n, |group| tested.commit(group, false)).unwrap(), n),
                })
            })
            .collect();
        callers.into_iter().for_each(|caller| caller.join().unwrap());
        let mut seen = tested.seen();
        seen.durable.sort();
        assert_eq!(seen.durable, [2, 3]);
        assert_eq!(seen.groups.iter().filter(|size| **size == 0).count(), 2, "each runs once");
    });
}

#[test]
fn g04_g13_nobody_sleeps_for_ever_when_a_write_or_its_leader_panics() {
    explore("group commit, panics", 3_000, || {
        let tested = Arc::new(Tested::default());
        let callers: Vec<_> = (0..4)
            .map(|n| {
                let tested = tested.clone();
                thread::spawn(move || {
                    let answer = catch_unwind(AssertUnwindSafe(|| match n {
                        0 => tested.write(n, |_| std::panic::resume_unwind(Box::new("the leader panics"))),
                        1 => tested.queue.commit(
                            Rank::Change,
                            |_| std::panic::resume_unwind(Box::new("the write panics")),
                            |group| tested.commit(group, false),
                        ),
                        n => tested.write(n, |group| tested.commit(group, false)),
                    }));
                    match answer {
                        Err(_) => assert_eq!(n, 0, "the leader's own panic goes on"),
                        Ok(Ok(answer)) => assert!(answer == n && tested.seen().durable.contains(&n)),
                        Ok(Err(e)) => {
                            assert!(e.kind() == ErrorKind::Internal && !tested.seen().durable.contains(&n))
                        }
                    }
                })
            })
            .collect();
        callers.into_iter().for_each(|caller| caller.join().unwrap());
        let after = tested.write(9, |group| tested.commit(group, false));
        assert_eq!(after.unwrap(), 9, "the queue is open afterwards");
    });
}
