//! What happens around a running handler: fences, cancel, deadlines, silence, shutdown, checkpoints, progress.

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use perdura::testing::ManualClock;
use perdura::{Config, Context, ErrorKind, Failure, Hold, Options, Progress, Queue, State, Task};
use perdura_faultvfs::{Faults, VFS};
use serde::{Deserialize, Serialize};

use crate::support::*;

/// A task whose handler goes on when the test says so.
#[derive(Serialize, Deserialize)]
struct Gate;
impl Task for Gate {
    const NAME: &'static str = "gate";
    type Output = u64;
}

/// The test's end of the handler: it hears of each start, and lets it go on.
struct Hands {
    started: Receiver<u64>,
    go: Sender<()>,
}

impl Hands {
    /// The generation of the next attempt that starts.
    fn start(&self) -> u64 {
        self.started.recv_timeout(PATIENCE).expect("an attempt starts within a minute")
    }
}

/// A queue whose handler tells its start, waits for a sign, and then does `then`.
fn gated(
    config: Config,
    then: impl Fn(&Context, &dyn Fn()) -> Result<u64, Failure> + Send + Sync + 'static,
) -> (Queue, Hands) {
    let (tell, started) = channel();
    let (go, may_go) = channel();
    let may_go = Mutex::new(may_go);
    let handler = move |_: Gate, cx: &Context| {
        let wait = || {
            tell.send(cx.generation()).unwrap();
            may_go.lock().unwrap().recv().unwrap();
        };
        then(cx, &wait)
    };
    (Queue::builder().config(config).handle(handler).open_temporary().unwrap(), Hands { started, go })
}

fn short() -> Config {
    Config::default().workers(2).stuck_task_timeout(Duration::from_millis(100))
}

#[test]
fn g07_a_late_result_is_superseded_and_never_two_at_once() {
    let late: std::sync::Arc<Mutex<Vec<_>>> = std::sync::Arc::default();
    let seen = late.clone();
    let (queue, hands) = gated(short(), move |cx, wait| {
        cx.heartbeat()?;
        wait();
        let refusals = [cx.save_checkpoint(&1).err(), cx.heartbeat().err()];
        seen.lock().unwrap().push(refusals.map(|e| e.map(|e| e.error_type().to_owned())));
        Ok(cx.generation())
    });
    let id = queue.enqueue(&Gate).unwrap().id();
    assert_eq!(hands.start(), 1);
    assert_eq!(queue.wait(id, PATIENCE).unwrap().state, State::Lost, "it fell silent");
    queue.retry(id).unwrap();
    let record = queue.get(id).unwrap();
    assert_eq!((record.state, record.hold), (State::Queued, Some(Hold::PreviousAttempt)));
    let why = queue.explain(id).unwrap().to_string();
    let began = record.started_at.unwrap();
    assert!(
        why.ends_with(&format!("its previous attempt, which began at {began}, has left its thread")),
        "{why}"
    );
    assert!(hands.started.try_recv().is_err(), "its older attempt still runs");
    hands.go.send(()).unwrap();
    assert_eq!(hands.start(), 2, "now it may run again");
    assert_eq!(queue.result::<Gate>(id).unwrap(), None, "the late result is not kept");
    hands.go.send(()).unwrap();
    assert_eq!(queue.wait(id, PATIENCE).unwrap().generation, 2);
    queue.drain().unwrap();
    assert_eq!(queue.result::<Gate>(id).unwrap(), Some(2));
    let superseded = Some("Superseded".to_owned());
    assert_eq!(*late.lock().unwrap(), [[superseded.clone(), superseded], [None, None]]);
    assert_sound(&queue);
}

#[test]
fn a_silent_handler_that_succeeds_after_all_has_succeeded() {
    let (queue, hands) = gated(short(), |cx, wait| {
        cx.heartbeat()?;
        wait();
        Ok(1)
    });
    let id = queue.enqueue(&Gate).unwrap().id();
    hands.start();
    let record = queue.wait(id, PATIENCE).unwrap();
    assert_eq!((record.state, record.error_type.as_deref()), (State::Lost, Some("TaskLost")));
    hands.go.send(()).unwrap();
    while queue.get(id).unwrap().state != State::Succeeded {
        std::thread::yield_now();
    }
    let record = queue.get(id).unwrap();
    assert_eq!((record.generation, record.error_type), (1, None));
    assert_sound(&queue);
}

#[test]
fn a_running_task_that_is_cancelled_sees_it_and_stops() {
    let (queue, hands) = gated(Config::default(), |cx, wait| {
        cx.ensure_active()?;
        wait();
        cx.ensure_active()?;
        Ok(0)
    });
    let id = queue.enqueue(&Gate).unwrap().id();
    hands.start();
    queue.cancel(id).unwrap();
    let record = queue.get(id).unwrap();
    assert_eq!((record.state, record.cancel_requested), (State::Running, true));
    hands.go.send(()).unwrap();
    assert_eq!(queue.wait(id, PATIENCE).unwrap().state, State::Cancelled);
    let again = queue.cancel(id).unwrap_err();
    assert_eq!(again.kind(), ErrorKind::WrongState);
    assert!(again.to_string().contains("CANCELLED"), "{again}");
}

#[test]
fn ok_wins_over_a_cancel_and_over_the_deadline() {
    let (queue, hands) = gated(Config::default(), |cx, wait| {
        wait();
        while cx.time_left() != Some(Duration::ZERO) {
            std::thread::yield_now();
        }
        Ok(cx.generation())
    });
    let options = Options::new().timeout(Duration::from_millis(1));
    let id = queue.enqueue_with(&Gate, options).unwrap().id();
    hands.start();
    queue.cancel(id).unwrap();
    hands.go.send(()).unwrap();
    let record = queue.wait(id, PATIENCE).unwrap();
    assert_eq!((record.state, record.late), (State::Succeeded, true));
}

#[test]
fn a_deadline_ends_the_attempt_as_timeout() {
    let (queue, hands) = gated(Config::default().max_task_attempts(1), |cx, wait| {
        wait();
        loop {
            cx.ensure_active()?;
            std::thread::yield_now();
        }
        #[allow(unreachable_code)]
        Ok(0)
    });
    let id = queue.enqueue_with(&Gate, Options::new().timeout(Duration::from_millis(20))).unwrap().id();
    hands.start();
    hands.go.send(()).unwrap();
    let record = queue.wait(id, PATIENCE).unwrap();
    assert_eq!((record.state, record.error_type.as_deref()), (State::Failed, Some("Timeout")));
    assert_eq!(queue.attempts(id).unwrap()[0].outcome, perdura::AttemptOutcome::TimedOut);
}

#[test]
fn a_worker_whose_task_ignores_its_deadline_is_replaced() {
    let (queue, hands) = gated(Config::default().workers(1), |cx, wait| {
        wait();
        Ok(cx.generation())
    });
    let stuck = queue.enqueue_with(&Gate, Options::new().timeout(Duration::from_millis(1))).unwrap().id();
    hands.start();
    let next = queue.enqueue(&Gate).unwrap().id();
    hands.start();
    assert_eq!(queue.get(next).unwrap().state, State::Running, "on another worker");
    hands.go.send(()).unwrap();
    hands.go.send(()).unwrap();
    for id in [stuck, next] {
        assert_eq!(queue.wait(id, PATIENCE).unwrap().state, State::Succeeded);
    }
    let third = queue.enqueue(&Gate).unwrap().id();
    hands.start();
    hands.go.send(()).unwrap();
    assert_eq!(queue.wait(third, PATIENCE).unwrap().state, State::Succeeded);
}

#[test]
fn a_graceful_shutdown_interrupts_hands_back_and_charges_nothing() {
    let folder = Folder::new();
    let (tell, started) = channel();
    let patient = move |_: Gate, cx: &Context| -> Result<u64, Failure> {
        tell.send(()).unwrap();
        loop {
            cx.ensure_active()?;
            std::thread::yield_now();
        }
    };
    let queue = Queue::builder().workers(1).handle(patient).open(folder.file()).unwrap();
    let ids = queue.enqueue_all(&[Gate, Gate, Gate]).unwrap();
    started.recv().unwrap();
    let report = queue.shutdown(Duration::ZERO).unwrap();
    assert_eq!((report.interrupted, report.still_running.len()), (1, 0));
    for made in ids {
        let record = queue.get(made.id()).unwrap();
        assert_eq!((record.state, record.hold, record.attempt_number), (State::Queued, Some(Hold::Ready), 0));
    }
    assert!(!queue.executes());
    let later = queue.enqueue(&Gate).unwrap().id();
    assert_eq!(queue.get(later).unwrap().state, State::Queued, "a queue that was shut down still enqueues");
    assert_eq!(queue.shutdown(Duration::ZERO).unwrap(), perdura::ShutdownReport::default());
    assert_sound(&queue);
}

#[test]
fn a_second_shutdown_shortens_the_grace_of_the_first() {
    let folder = Folder::new();
    let (tell, started) = channel();
    let patient = move |_: Gate, cx: &Context| -> Result<u64, Failure> {
        tell.send(()).unwrap();
        loop {
            cx.ensure_active()?;
            std::thread::yield_now();
        }
    };
    let queue = Queue::builder().workers(1).handle(patient).open(folder.file()).unwrap();
    let id = queue.enqueue(&Gate).unwrap().id();
    started.recv().unwrap();
    let first = queue.clone();
    let first = std::thread::spawn(move || first.shutdown(MINUTE * 60).unwrap());
    assert_eq!(queue.drain().unwrap_err().kind(), ErrorKind::ShutDown); // so the first one waits by now
    assert_eq!(queue.get(id).unwrap().state, State::Running);
    assert_eq!(queue.shutdown(Duration::ZERO).unwrap(), perdura::ShutdownReport::default());
    assert_eq!(first.join().unwrap().interrupted, 1);
    assert_eq!((queue.get(id).unwrap().state, queue.get(id).unwrap().attempt_number), (State::Queued, 0));
}

#[test]
fn drain_wait_and_shutdown_inside_a_handler_are_refused() {
    let (queue, hands) = gated(Config::default(), |cx, wait| {
        wait();
        let queue = cx.queue().expect("the test holds a handle");
        let errors = [
            queue.drain().unwrap_err(),
            queue.wait(cx.id(), SECOND).unwrap_err(),
            queue.shutdown(SECOND).unwrap_err(),
        ];
        Ok(errors.iter().filter(|e| e.kind() == ErrorKind::InsideHandler).count() as u64)
    });
    let id = queue.enqueue(&Gate).unwrap().id();
    hands.start();
    hands.go.send(()).unwrap();
    queue.wait(id, PATIENCE).unwrap();
    assert_eq!(queue.result::<Gate>(id).unwrap(), Some(3));
}

#[test]
fn the_last_handle_may_be_dropped_inside_a_handler() {
    let folder = Folder::new();
    let slot: std::sync::Arc<Mutex<Option<Queue>>> = std::sync::Arc::default();
    let (tell, ended) = channel();
    let inside = slot.clone();
    let handler = move |_: Gate, _: &Context| {
        let queue = loop {
            if let Some(queue) = inside.lock().unwrap().take() {
                break queue;
            }
        };
        drop(queue);
        tell.send(()).unwrap();
        Ok(3)
    };
    let queue = Queue::builder().workers(1).handle(handler).open(folder.file()).unwrap();
    let id = queue.enqueue(&Gate).unwrap().id();
    *slot.lock().unwrap() = Some(queue);
    ended.recv().unwrap();
    let queue = Queue::builder().open(folder.file()).unwrap();
    assert_eq!(queue.wait(id, PATIENCE).unwrap().state, State::Succeeded);
}

#[test]
fn checkpoints_reach_the_next_attempt_and_the_next_process() {
    let folder = Folder::new();
    let clock = perdura::testing::ManualClock::new();
    let open = || {
        let handler = |_: Gate, cx: &Context| -> Result<u64, Failure> {
            let n = cx.checkpoint::<u64>()?.unwrap_or(0);
            cx.save_checkpoint(&(n + 1))?;
            assert_eq!(cx.checkpoint::<u64>()?, Some(n + 1));
            if n < 2 { Err(Failure::named("not.yet", "more to do")) } else { Ok(n) }
        };
        let builder = Queue::builder().clock(clock.clone()).handle(handler);
        perdura::testing::SteppedQueue::open_file(builder, &clock, folder.file()).unwrap()
    };
    let mut tests = open();
    let id = tests.queue().enqueue(&Gate).unwrap().id();
    for _ in 0..3 {
        tests.run_until_idle().unwrap();
        drop(tests);
        tests = open();
        tests.advance(2 * MINUTE).unwrap();
    }
    assert_eq!(tests.queue().result::<Gate>(id).unwrap(), Some(2));
    assert_sound(tests.queue());
}

#[test]
fn progress_is_written_with_the_end_of_an_attempt_and_not_each_time() {
    let (tests, clock) = stepped();
    drop(tests);
    let handler = |_: Gate, cx: &Context| {
        for n in 0..10_000 {
            cx.progress(n + 1, 10_000);
        }
        Ok(0)
    };
    let tests =
        perdura::testing::SteppedQueue::open(Queue::builder().clock(clock.clone()).handle(handler), &clock)
            .unwrap();
    let id = tests.queue().enqueue(&Gate).unwrap().id();
    tests.run_until_idle().unwrap();
    assert_eq!(tests.queue().get(id).unwrap().progress, Some(Progress::new(10_000, 10_000)));
}

#[test]
fn progress_of_a_running_task_can_be_seen() {
    let (queue, hands) = gated(Config::default(), |cx, wait| {
        cx.progress(3, 9);
        wait();
        Ok(0)
    });
    let id = queue.enqueue(&Gate).unwrap().id();
    hands.start();
    while queue.get(id).unwrap().progress != Some(Progress::new(3, 9)) {
        std::thread::yield_now();
    }
    hands.go.send(()).unwrap();
    queue.wait(id, PATIENCE).unwrap();
}

#[test]
fn no_connection_is_held_while_handlers_run() {
    let (queue, hands) = gated(Config::default().workers(8), |_, wait| {
        wait();
        Ok(0)
    });
    queue.enqueue_all(&[const { Gate }; 8]).unwrap();
    for _ in 0..8 {
        hands.start();
    }
    for n in 0..20 {
        queue.pause(&format!("q{n}")).unwrap();
        assert_eq!(queue.counts().unwrap().total().running, 8);
    }
    (0..8).for_each(|_| hands.go.send(()).unwrap());
    queue.drain().unwrap();
}

#[test]
fn what_was_claimed_ahead_is_given_back_when_tasks_turn_slow() {
    let (tell, started) = channel();
    let (go, may_go) = channel::<()>();
    let may_go = Mutex::new(may_go);
    let slow = move |_: Gate, _: &Context| {
        let _ = tell.send(());
        let _ = may_go.lock().unwrap().recv();
        Ok(0)
    };
    let config = Config::default().workers(1).poll_interval(Duration::ZERO);
    let queue = builder(config).handle(slow).open_temporary().unwrap();
    for n in 0..30 {
        queue.wait(queue.enqueue(&Do::Ok(n)).unwrap().id(), MINUTE).unwrap(); // such short tasks are claimed ahead
    }
    let _ = queue.enqueue(&Gate).unwrap();
    started.recv_timeout(PATIENCE).unwrap();
    let ahead = queue.enqueue(&Do::Ok(1)).unwrap().id();
    let began = std::time::Instant::now();
    while queue.get(ahead).unwrap().state != State::Queued {
        assert!(began.elapsed() < MINUTE / 2, "it lies behind the slow one, claimed");
        std::thread::yield_now();
    }
    queue.cancel(ahead).unwrap();
    assert_eq!(queue.get(ahead).unwrap().state, State::Cancelled, "at once, not when its turn comes");
    go.send(()).unwrap();
    queue.drain().unwrap();
    assert_sound(&queue);
}

#[test]
fn short_tasks_that_end_while_others_wait_share_their_commits() {
    const TASKS: usize = 300;
    let (folder, clock) = (Folder::in_memory(), ManualClock::new());
    let faults = Faults::attach(folder.file()).unwrap();
    let time = clock.clone();
    let handler = move |_: Gate, _: &Context| {
        time.advance(Duration::from_millis(1)); // what it takes, as the queue sees it
        std::thread::sleep(Duration::from_micros(300)); // longer than a commit, so that each could have its own
        Ok(0)
    };
    let queue = Queue::builder().workers(2).vfs(VFS).clock(clock).handle(handler);
    let queue = queue.open(folder.file()).unwrap();
    queue.enqueue_all(&[const { Gate }; 50]).unwrap();
    queue.drain().unwrap();
    let recording = faults.record().unwrap();
    queue.enqueue_all(&[const { Gate }; TASKS]).unwrap();
    queue.drain().unwrap();
    let syncs = recording.syncs();
    assert!(syncs < TASKS / 2, "{TASKS} tasks took {syncs} syncs");
}

/// A past bug: a drain that was asked for at once came before the look at what an earlier program had no handler for.
#[test]
fn a_drain_waits_for_the_look_at_what_is_known_now() {
    for _ in 0..20 {
        let folder = Folder::in_memory();
        let earlier = Queue::builder().handle(|_: Gate, _| Ok(0)).open(folder.file()).unwrap();
        let id = earlier.enqueue(&Do::Ok(1)).unwrap().id();
        earlier.drain().unwrap();
        assert_eq!(earlier.get(id).unwrap().hold, Some(Hold::UnknownName));
        drop(earlier);
        let queue = builder(Config::default()).open(folder.file()).unwrap();
        queue.drain().unwrap();
        assert_eq!(queue.get(id).unwrap().state, State::Succeeded);
    }
}

/// Also where it never looks by itself.
#[test]
fn g04_g08_a_queue_takes_over_at_once_from_another_of_its_process() {
    let folder = Folder::new();
    let open = || builder(Config::default().poll_interval(Duration::ZERO)).open(folder.file()).unwrap();
    let (first, second) = (open(), open());
    assert!(first.executes() && !second.executes());
    first.shutdown(PATIENCE).unwrap();
    let id = second.enqueue(&Do::Ok(3)).unwrap().id();
    assert_eq!(second.wait(id, PATIENCE).unwrap().state, State::Succeeded);
    assert!(second.executes());
    let third = open();
    drop(second);
    let id = third.enqueue(&Do::Ok(4)).unwrap().id();
    assert_eq!(third.wait(id, PATIENCE).unwrap().state, State::Succeeded);
}
