//! The queue's threads: dispatcher, workers, timer and callers. Nothing polls, and no time passes unless a test lets it; so each task
//! starts because somebody was woken, or the schedule ends in a deadlock.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use shuttle::rand::Rng;

use crate::config::Config;
use crate::error::{Error, ErrorKind};
use crate::handler::{Context, Failure, Registry};
use crate::queue::runtime::core::{Core, RetentionRule};
use crate::queue::runtime::shared::Shared;
use crate::queue::runtime::threads::{Runtime, ShutdownReport};
use crate::store::{self, BACKOFF, Rank, SettleRules, Store, TASK_NAME};
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{self, thread};
use crate::task::{State, Task, TaskId};
use crate::{StandingClock, explore};

#[derive(Serialize, Deserialize)]
enum Do {
    Ok,
    /// Has one attempt.
    Last,
    FailOnce,
    /// The first time it wants to be called again after so many milliseconds.
    SnoozeOnce(u64),
    /// Lets so many milliseconds pass.
    Take(u64),
    /// Runs until the test opens the gate, or it is asked to stop.
    Stay,
}

impl Task for Do {
    const NAME: &'static str = TASK_NAME;
    type Output = ();
}

/// A queue, and what its handlers have run.
#[derive(Clone)]
struct Tested {
    runtime: Arc<Runtime>,
    /// (task, generation), as they start.
    ran: Arc<Mutex<Vec<(TaskId, u64)>>>,
    /// Whether those that stay may go.
    gate: Arc<AtomicBool>,
}

fn open(workers: usize) -> Tested {
    let config = Config { workers, poll_interval: Duration::ZERO, ..Config::default() };
    let ran: Arc<Mutex<Vec<_>>> = Arc::default();
    let gate: Arc<AtomicBool> = Arc::default();
    let (told, may_go) = (ran.clone(), gate.clone());
    let mut registry = Registry::default();
    registry.add(move |task: Do, cx: &Context| {
        told.lock().unwrap().push((cx.id(), cx.generation()));
        thread::yield_now();
        match task {
            Do::FailOnce if cx.attempt_number() == 1 => Err(Failure::named("not.yet", "as told")),
            Do::SnoozeOnce(ms) if cx.generation() == 1 => Err(Failure::snooze(Duration::from_millis(ms))),
            Do::Take(ms) => {
                sync::pass(Duration::from_millis(ms));
                Ok(())
            }
            Do::Stay => {
                while !may_go.load(Ordering::SeqCst) {
                    cx.ensure_active()?;
                    thread::yield_now();
                }
                Ok(())
            }
            _ => Ok(()),
        }
    });
    let known = registry.names().map(|(name, version)| (name.into(), version)).collect();
    let shared = Arc::new(Shared::new(Arc::new(StandingClock), Arc::new(known)));
    let core = Core::new(config, Store::new(), shared, SettleRules, None, Vec::new(), RetentionRule::Config);
    let runtime = Runtime::start(Arc::new(core), Arc::new(registry)).unwrap();
    Tested { runtime, ran, gate }
}

impl Tested {
    fn core(&self) -> &Arc<Core> {
        &self.runtime.core
    }

    fn enqueue(&self, task: &Do) -> Result<TaskId, Error> {
        let args = serde_json::to_string(task).unwrap();
        self.core().store.writer.write(Rank::Change, move |tx| store::enqueue(tx, &args))
    }

    fn state(&self, id: TaskId) -> State {
        let state = self.core().store.read(|table| Ok(table.borrow().rows[&id.as_i64()].task_state.state));
        state.unwrap()
    }

    /// Waits for the end of a task as a caller does, with no other help than the news of its change.
    fn wait(&self, id: TaskId) -> State {
        let look = || Ok::<_, Error>(Some(self.state(id)).filter(|state| state.is_finished()));
        let seen = self.core().shared.wait_until(Some(id), None, || Duration::MAX, look);
        seen.unwrap().expect("it waits for ever")
    }

    /// The same for something else in the file.
    fn await_row(&self, id: TaskId, wanted: impl Fn(&store::Row) -> bool) {
        let look = || {
            let seen = self.core().store.read(|table| Ok(wanted(&table.borrow().rows[&id.as_i64()])));
            seen.map(|seen| seen.then_some(()))
        };
        self.core().shared.wait_until(None, None, || Duration::MAX, look).unwrap();
    }

    fn rows(&self) -> Vec<store::Row> {
        self.core().store.read(|table| Ok(table.borrow().rows.values().cloned().collect())).unwrap()
    }

    fn shutdown(&self, grace: Duration) -> ShutdownReport {
        let report = self.runtime.shutdown(grace);
        self.core().store.set_commit_hook(None);
        assert!(self.core().shared.running.nothing_runs());
        report
    }

    fn starts(&self) -> Vec<(TaskId, u64)> {
        let mut starts = self.ran.lock().unwrap().clone();
        starts.sort();
        starts
    }
}

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn g04_what_is_enqueued_starts_once_and_its_callers_hear_of_the_end() {
    explore("threads, enqueue and wait", 3_000, || {
        let tested = open(2);
        let callers: Vec<_> = (0..3)
            .map(|_| {
                let tested = tested.clone();
                thread::spawn(move || {
                    let id = tested.enqueue(&Do::Ok).unwrap();
                    assert_eq!(tested.wait(id), State::Succeeded);
                    id
                })
            })
            .collect();
        let mut ids: Vec<_> = callers.into_iter().map(|caller| (caller.join().unwrap(), 1)).collect();
        ids.sort();
        assert_eq!(tested.starts(), ids);
        assert_eq!(tested.shutdown(Duration::ZERO), ShutdownReport::default());
    });
}

#[test]
fn g04_what_another_process_enqueued_starts_when_it_gives_notice() {
    explore("threads, notice of another process", 2_000, || {
        let tested = open(1);
        let here = tested.clone();
        let here = thread::spawn(move || here.wait(here.enqueue(&Do::Ok).unwrap()));
        let foreign = tested.core().store.read(|table| Ok(table.borrow_mut().insert("\"Ok\""))).unwrap();
        tested.core().notice().unwrap();
        assert_eq!(tested.wait(TaskId::from_i64(foreign)), State::Succeeded);
        assert_eq!(here.join().unwrap(), State::Succeeded);
        tested.shutdown(Duration::ZERO);
    });
}

/// A second queue of the process commits: whoever waits for that has no other way to hear of it.
#[test]
fn g04_what_a_sibling_enqueued_starts_at_its_commit() {
    explore("threads, siblings", 2_000, || {
        let tested = open(1);
        let sibling = Arc::new(Shared::new(Arc::new(StandingClock), Arc::default()));
        sibling.siblings.add(&(tested.core().shared.clone() as _));
        let here = tested.clone();
        let here = thread::spawn(move || here.wait(here.enqueue(&Do::Ok).unwrap()));
        let insert = |table: &RefCell<store::Table>| {
            table.borrow_mut().foreign += 1;
            Ok(table.borrow_mut().insert("\"Ok\""))
        };
        let foreign = tested.core().store.read(insert).unwrap();
        sibling.after_commit(store::Effects { ready: 1, ..Default::default() });
        assert_eq!(tested.wait(TaskId::from_i64(foreign)), State::Succeeded);
        assert_eq!(here.join().unwrap(), State::Succeeded);
        tested.shutdown(Duration::ZERO);
    });
}

#[test]
fn g04_g10_the_timer_wakes_for_what_is_due_sooner_than_what_it_sleeps_for() {
    explore("threads, waits", 2_000, || {
        let tested = open(2);
        let late = tested.enqueue(&Do::SnoozeOnce(2_000)).unwrap();
        let other = tested.clone();
        let other = thread::spawn(move || other.enqueue(&Do::FailOnce).unwrap());
        tested.await_row(late, |row| row.run_at.is_some());
        let soon = other.join().unwrap();
        tested.await_row(soon, |row| row.run_at.is_some());
        sync::await_stillness();
        sync::pass(BACKOFF);
        assert_eq!(tested.wait(soon), State::Succeeded);
        assert_eq!(tested.state(late), State::Queued, "its time has not come");
        sync::await_stillness();
        sync::pass(Duration::from_secs(2));
        assert_eq!(tested.wait(late), State::Succeeded);
        assert_eq!(tested.starts(), [(late, 1), (late, 2), (soon, 1), (soon, 2)]);
        tested.shutdown(Duration::ZERO);
    });
}

#[test]
fn g04_g11_after_commits_that_failed_everything_goes_on_by_itself() {
    explore("threads, failing commits", 3_000, || {
        let tested = open(2);
        let kind = if rand().r#gen() { ErrorKind::Busy } else { ErrorKind::DiskFull };
        let faults: VecDeque<_> = (0..8).map(|_| rand().gen_ratio(1, 3).then_some(kind)).collect();
        *tested.core().store.writer.faults.lock().unwrap() = faults;
        let callers: Vec<_> = (0..2)
            .map(|_| {
                let tested = tested.clone();
                thread::spawn(move || {
                    let id = std::iter::repeat_with(|| tested.enqueue(&Do::Ok)).find_map(Result::ok);
                    let id = id.expect("it tries for ever");
                    assert_eq!(tested.wait(id), State::Succeeded);
                    id
                })
            })
            .collect();
        for _ in 0..10 {
            sync::await_stillness();
            sync::pass(Duration::from_secs(1)); // after so long the dispatcher tries again
        }
        let ids: Vec<_> = callers.into_iter().map(|caller| caller.join().unwrap()).collect();
        assert_eq!(tested.rows().len(), ids.len(), "what failed is not there");
        assert!(tested.starts().iter().all(|(_, generation)| *generation == 1), "{:?}", tested.starts());
        tested.shutdown(Duration::ZERO);
    });
}

#[test]
fn g04_what_lies_behind_a_slow_task_is_given_back() {
    explore("threads, recall", 2_000, || {
        let tested = open(1);
        let short = tested.enqueue(&Do::Ok).unwrap();
        tested.wait(short); // now short tasks are claimed ahead
        let slow = tested.enqueue(&Do::Stay).unwrap();
        let behind = tested.enqueue(&Do::Ok).unwrap();
        let may_go = tested.clone();
        let watcher = thread::spawn(move || {
            // given back, or its worker was so late that the slow one was given back, and this one ran
            may_go.await_row(behind, |row| row.task_state.state != State::Running);
            may_go.gate.store(true, Ordering::SeqCst);
        });
        while !watcher.is_finished() {
            sync::pass(Duration::from_millis(25));
            thread::yield_now();
        }
        assert_eq!([tested.wait(slow), tested.wait(behind)], [State::Succeeded; 2]);
        tested.shutdown(Duration::ZERO);
    });
}

#[test]
fn g04_g06_last_attempts_are_claimed_for_idle_workers_alone_and_start() {
    explore("threads, last attempts", 3_000, || {
        let tested = open(2);
        let short = tested.enqueue(&Do::Ok).unwrap();
        tested.wait(short); // now short tasks are claimed ahead
        let looks_on = tested.clone();
        let watcher = thread::spawn(move || {
            for _ in 0..20 {
                let rows = looks_on.rows();
                let out =
                    rows.iter().filter(|row| row.args == store::LAST && row.task_state.in_flight).count();
                assert!(out <= 2, "{out} last attempts are claimed for 2 workers");
                thread::yield_now();
            }
        });
        let callers: Vec<_> = (0..2)
            .map(|_| {
                let tested = tested.clone();
                thread::spawn(move || {
                    [Do::Last, Do::Ok, Do::Last, Do::Last, Do::Ok].map(|task| tested.enqueue(&task).unwrap())
                })
            })
            .collect();
        let ids: Vec<_> = callers.into_iter().flat_map(|caller| caller.join().unwrap()).collect();
        for id in &ids {
            assert_eq!(tested.wait(*id), State::Succeeded);
        }
        watcher.join().unwrap();
        assert_eq!(tested.shutdown(Duration::ZERO), ShutdownReport::default());
    });
}

#[test]
fn g04_g16_of_a_full_queue_the_end_of_one_starts_the_next() {
    explore("threads, a limit", 3_000, || {
        let tested = open(3);
        let set = |limit| {
            let write = move |tx: &store::Tx<'_>| {
                tx.table.borrow_mut().limit = limit;
                store::changed(tx);
                Ok(())
            };
            tested.core().commit(Rank::Change, write).unwrap();
        };
        set(Some(1));
        let looks_on = tested.clone();
        let watcher = thread::spawn(move || {
            for _ in 0..20 {
                let out = looks_on.rows().iter().filter(|row| row.task_state.in_flight).count();
                assert!(out <= 2, "{out} are in flight");
                thread::yield_now();
            }
        });
        let callers: Vec<_> = (0..2)
            .map(|_| {
                let tested = tested.clone();
                thread::spawn(move || {
                    [Do::Ok, Do::FailOnce, Do::Ok].map(|task| tested.enqueue(&task).unwrap())
                })
            })
            .collect();
        set(Some(2));
        let ids: Vec<_> = callers.into_iter().flat_map(|caller| caller.join().unwrap()).collect();
        sync::pass(BACKOFF);
        for id in &ids {
            while tested.rows()[usize::try_from(id.as_i64()).unwrap() - 1].task_state.state
                != State::Succeeded
            {
                sync::pass(BACKOFF);
                thread::yield_now();
            }
        }
        watcher.join().unwrap();
        tested.shutdown(Duration::ZERO);
    });
}

#[test]
fn g04_ends_that_are_gathered_reach_the_file() {
    explore("threads, gathering", 2_000, || {
        let tested = open(2);
        let first = tested.enqueue(&Do::Take(1)).unwrap();
        tested.wait(first); // now it is known how long they take
        let callers: Vec<_> = (0..2)
            .map(|_| {
                let tested = tested.clone();
                thread::spawn(move || [0; 4].map(|_| tested.enqueue(&Do::Take(1)).unwrap()))
            })
            .collect();
        let ids: Vec<_> = callers.into_iter().flat_map(|caller| caller.join().unwrap()).collect();
        for id in &ids {
            assert_eq!(tested.wait(*id), State::Succeeded);
        }
        assert!(tested.starts().iter().all(|(_, generation)| *generation == 1), "{:?}", tested.starts());
        assert_eq!(tested.shutdown(Duration::ZERO), ShutdownReport::default());
    });
}

#[test]
fn g04_g06_a_shutdown_leaves_nothing_behind_that_runs_or_is_charged() {
    explore("threads, shutdown", 3_000, || {
        let tested = open(2);
        let callers: Vec<_> = [Do::Stay, Do::Ok]
            .into_iter()
            .map(|task| {
                let tested = tested.clone();
                thread::spawn(move || tested.enqueue(&task).unwrap())
            })
            .collect();
        tested.enqueue(&Do::Ok).unwrap();
        let report = tested.shutdown(Duration::ZERO);
        assert_eq!(report.still_running, []);
        for caller in callers {
            caller.join().unwrap();
        }
        for row in tested.rows() {
            let task_state = row.task_state;
            let expected = match task_state.state {
                State::Succeeded => 1,
                State::Queued => 0,
                state => panic!("a task is left {state:?}"),
            };
            assert_eq!((task_state.attempt_number, task_state.in_flight), (expected, false));
        }
    });
}

#[test]
fn g04_a_patient_shutdown_hears_of_the_last_end() {
    explore("threads, patient shutdown", 2_000, || {
        let tested = open(2);
        tested.gate.store(true, Ordering::SeqCst);
        let ids = [Do::Stay, Do::Ok, Do::Ok].map(|task| tested.enqueue(&task).unwrap());
        let report = tested.shutdown(HOUR);
        assert_eq!((report.interrupted, report.still_running), (0, vec![]));
        let (ended, queued): (Vec<_>, Vec<_>) =
            ids.iter().map(|id| tested.state(*id)).partition(|state| *state == State::Succeeded);
        assert!(queued.iter().all(|state| *state == State::Queued), "{queued:?}");
        assert!(report.handed_back <= queued.len());
        assert_eq!(tested.starts().len(), ended.len());
    });
}

fn rand() -> impl Rng {
    shuttle::rand::thread_rng()
}
