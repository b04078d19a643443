//! What bounds a queue: limits, rates, and handlers that close it for a while.

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use perdura::testing::{ManualClock, Ran, SteppedQueue, at_every_commit};
use perdura::{
    Builder, Clock, Config, Context, ErrorKind, Failure, Filter, Hold, Options, Queue, Rate, State, TaskId,
};

use crate::bulk::other;
use crate::support::*;

/// A queue whose handlers tell which task starts, and end when the test lets them.
fn staying(workers: usize) -> (Builder, Receiver<TaskId>, Sender<()>) {
    let (tell, started) = channel();
    let (go, may_go) = channel();
    let may_go = Mutex::new(may_go);
    let handler = move |_: Do, cx: &Context| -> Result<u64, Failure> {
        tell.send(cx.id()).expect("the test listens");
        may_go.lock().unwrap().recv().expect("the test says so");
        Ok(0)
    };
    (Queue::builder().workers(workers).handle(handler), started, go)
}

fn ocr() -> Options {
    Options::new().queue("ocr")
}

fn closed_until(queue: &Queue) -> Option<perdura::Timestamp> {
    queue.counts().unwrap().queue("default").closed_until
}

#[test]
fn g16_no_more_tasks_of_a_queue_run_than_its_limit_and_the_end_of_one_starts_the_next() {
    let (builder, started, go) = staying(4);
    let queue = builder.open_temporary().unwrap();
    queue.set_limit("ocr", Some(2)).unwrap();
    let ids: Vec<TaskId> = (0..5).map(|_| add(&queue, &Do::Ok(0), ocr())).collect();
    let other = queue.enqueue(&Do::Ok(1)).unwrap().id();
    let mut first: Vec<TaskId> = (0..3).map(|_| started.recv_timeout(PATIENCE).unwrap()).collect();
    first.sort_unstable();
    assert_eq!(first, [ids[0], ids[1], other], "two of the queue, and the other queue is not kept back");
    assert!(started.try_recv().is_err());
    let why = queue.explain(ids[2]).unwrap();
    assert_eq!(why.full, Some(2));
    assert!(
        why.to_string().contains("2 tasks are in flight, which is the limit of its queue \"ocr\""),
        "{why}"
    );
    go.send(()).unwrap();
    go.send(()).unwrap();
    let second = started.recv_timeout(PATIENCE).unwrap();
    assert!(ids[2..].contains(&second));
    assert!(queue.counts().unwrap().queue("ocr").running <= 2);
    assert_sound(&queue);
    (0..4).for_each(|_| go.send(()).unwrap());
    (0..2).for_each(|_| assert!(ids.contains(&started.recv_timeout(PATIENCE).unwrap())));
    queue.drain().unwrap();
    assert_eq!(queue.counts().unwrap().total().succeeded, 6);
    assert_sound(&queue);
}

#[test]
fn g16_a_limit_acts_at_once_from_another_queue_of_the_file_too() {
    let folder = Folder::in_memory();
    let (builder, started, go) = staying(4);
    let queue = builder.open(folder.file()).unwrap();
    queue.set_limit("ocr", Some(1)).unwrap();
    let ids: Vec<TaskId> = (0..3).map(|_| add(&queue, &Do::Ok(0), ocr())).collect();
    assert_eq!(started.recv_timeout(PATIENCE).unwrap(), ids[0]);
    assert!(started.try_recv().is_err());
    let looker = Queue::builder().open(folder.file()).unwrap();
    looker.set_limit("ocr", Some(2)).unwrap();
    assert_eq!(started.recv_timeout(PATIENCE).unwrap(), ids[1]);
    looker.set_limit("ocr", None).unwrap();
    assert_eq!(started.recv_timeout(PATIENCE).unwrap(), ids[2]);
    looker.set_limit("ocr", Some(1)).unwrap();
    let last = add(&queue, &Do::Ok(0), ocr());
    go.send(()).unwrap();
    go.send(()).unwrap();
    go.send(()).unwrap();
    assert_eq!(started.recv_timeout(PATIENCE).unwrap(), last, "when the others have ended");
    go.send(()).unwrap();
    queue.drain().unwrap();
    assert_sound(&queue);
}

#[test]
fn g16_a_new_task_of_a_full_queue_does_not_start_at_once() {
    let (builder, started, go) = staying(4);
    let queue = builder.open_temporary().unwrap();
    queue.set_limit("default", Some(1)).unwrap();
    let first = queue.enqueue(&Do::Ok(0)).unwrap().id();
    assert_eq!(started.recv_timeout(PATIENCE).unwrap(), first);
    let second = queue.enqueue(&Do::Ok(0)).unwrap().id();
    assert_eq!(queue.get(second).unwrap().state, State::Queued);
    go.send(()).unwrap();
    assert_eq!(started.recv_timeout(PATIENCE).unwrap(), second);
    go.send(()).unwrap();
    queue.drain().unwrap();
}

/// What is LOST or was retried by hand counts as long as its thread is at work, and its row cannot be deleted.
#[test]
fn g16_an_attempt_that_was_given_up_keeps_its_place_until_its_thread_returns() {
    let (tell, started) = channel();
    let (go, may_go) = channel::<()>();
    let may_go = Mutex::new(may_go);
    let handler = move |task: Do, cx: &Context| -> Result<u64, Failure> {
        if task == Do::Ok(0) && cx.generation() == 1 {
            cx.heartbeat()?;
            tell.send(cx.id()).unwrap();
            may_go.lock().unwrap().recv().unwrap();
        } else {
            tell.send(cx.id()).unwrap();
        }
        Ok(0)
    };
    let config = Config::default()
        .workers(3)
        .stuck_task_timeout(Duration::from_millis(100))
        .lost_retry(perdura::LostRetry::Manual);
    let queue = Queue::builder().config(config).handle(handler).open_temporary().unwrap();
    queue.set_limit("default", Some(1)).unwrap();
    let silent = queue.enqueue(&Do::Ok(0)).unwrap().id();
    assert_eq!(started.recv_timeout(PATIENCE).unwrap(), silent);
    assert_eq!(queue.wait(silent, PATIENCE).unwrap().state, State::Lost);
    let next = queue.enqueue(&Do::Ok(1)).unwrap().id();
    assert_eq!(queue.explain(next).unwrap().full, Some(1), "its thread is at work");
    let refused = queue.delete(silent).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::WrongState);
    assert!(refused.to_string().contains("still at work in its thread"), "{refused}");
    assert_eq!(queue.delete_all(Filter::new().id(silent)).unwrap().skipped, 1);
    go.send(()).unwrap();
    assert_eq!(started.recv_timeout(PATIENCE).unwrap(), next);
    queue.drain().unwrap();
    assert_sound(&queue);
}

fn ten_a_second() -> Rate {
    Rate::per(SECOND, 10).burst(3)
}

#[test]
fn g16_a_rate_lets_a_burst_start_and_then_one_at_each_interval() {
    let (mut tests, clock) = stepped();
    tests.queue().set_rate("default", Some(ten_a_second())).unwrap();
    let ids = tests.queue().enqueue_all(&vec![Do::Ok(0); 6]).unwrap();
    assert_eq!(tests.run_until_idle().unwrap().succeeded, 3, "the burst");
    let opens = clock.now().saturating_add(Duration::from_millis(100));
    let why = tests.queue().explain(ids[3].id()).unwrap();
    assert_eq!((why.rate_opens_at, tests.queue().next_start().unwrap()), (Some(opens), Some(opens)));
    assert!(why.to_string().contains(&format!("lets the next task start at {opens}")), "{why}");
    assert!(!tests.queue().is_drained().unwrap(), "whoever drains waits for it");
    tests.advance(Duration::from_millis(99)).unwrap();
    assert_eq!(tests.run_until_idle().unwrap().succeeded, 0);
    tests.advance(Duration::from_millis(1)).unwrap();
    assert_eq!(tests.run_until_idle().unwrap().succeeded, 1);
    tests.advance(SECOND).unwrap();
    assert_eq!(tests.run_until_idle().unwrap().succeeded, 2);
    assert_sound(tests.queue());
}

#[test]
fn g16_what_a_rate_has_spent_is_spent_for_the_next_process_too() {
    let (tests, clock) = stepped();
    tests.queue().set_rate("default", Some(ten_a_second())).unwrap();
    let _ = tests.queue().enqueue_all(&vec![Do::Ok(0); 6]).unwrap();
    tests.run_one().unwrap();
    tests.run_one().unwrap();
    let (crashed, claimed) = tests.crash_in_attempt(false).unwrap();
    assert!(claimed.is_some());
    let mut tests = crashed.reopen(builder(Config::default())).unwrap();
    tests.queue().set_rate("default", Some(ten_a_second())).unwrap();
    assert_eq!(
        tests.run_until_idle().unwrap().succeeded,
        0,
        "a claim of the dead process is spent, started or not"
    );
    tests.advance(Duration::from_millis(100)).unwrap();
    assert_eq!(tests.run_until_idle().unwrap().succeeded, 1);
    let _ = clock;
    assert_sound(tests.queue());
}

#[test]
fn g16_a_clock_that_jumps_back_shuts_no_queue_for_longer_than_one_start() {
    let (mut tests, clock) = stepped();
    tests.queue().set_rate("default", Some(Rate::per(MINUTE, 1))).unwrap();
    let _ = tests.queue().enqueue_all(&vec![Do::Ok(0); 3]).unwrap();
    assert_eq!(tests.run_until_idle().unwrap().succeeded, 1);
    clock.set_wall(perdura::Timestamp::from_millis(clock.now().as_millis() - 86_400_000));
    tests.tick().unwrap();
    assert_eq!(tests.run_until_idle().unwrap().succeeded, 0);
    tests.advance(MINUTE).unwrap();
    assert_eq!(tests.run_until_idle().unwrap().succeeded, 1);
}

#[test]
fn g16_each_attempt_spends_its_rate() {
    let (mut tests, _) = stepped();
    tests.queue().set_rate("default", Some(Rate::per(MINUTE * 60, 2).burst(2))).unwrap();
    let id = tests.queue().enqueue(&Do::FailUntil(2)).unwrap().id();
    tests.run_until_idle().unwrap();
    tests.advance(MINUTE).unwrap();
    assert_eq!(tests.run_one().unwrap(), Some(Ran::Succeeded(id)));
    let late = tests.queue().enqueue(&Do::Ok(0)).unwrap().id();
    assert_eq!(tests.run_one().unwrap(), None, "both starts are spent");
    assert!(tests.queue().explain(late).unwrap().rate_opens_at.is_some());
    tests.queue().set_rate("default", Some(Rate::per(SECOND, 1))).unwrap();
    tests.advance(SECOND).unwrap();
    assert_eq!(tests.run_one().unwrap(), Some(Ran::Succeeded(late)), "a changed rate acts at once");
    tests.queue().set_rate("default", None).unwrap();
    let _ = tests.queue().enqueue_all(&vec![Do::Ok(0); 10]).unwrap();
    assert_eq!(tests.run_until_idle().unwrap().succeeded, 10);
}

/// Whatever dies, and whenever: nothing is lost, and the rate holds over both processes.
#[test]
fn g16_a_crash_at_each_commit_of_a_queue_with_a_rate_and_a_limit() {
    let rate = Rate::per(SECOND, 1).burst(2);
    let crashes = at_every_commit(
        || Ok(stepped().0),
        |tests| {
            tests.queue().set_limit("default", Some(1))?;
            tests.queue().set_rate("default", Some(rate))?;
            let _ = tests.queue().enqueue_all(&vec![Do::Ok(0); 4])?;
            tests.run_until_idle()?;
            tests.advance(SECOND)?;
            tests.run_until_idle().map(drop)
        },
        |crashed, point| {
            let mut tests = crashed.reopen(builder(Config::default()))?;
            tests.queue().set_rate("default", Some(rate))?;
            tests.run_until_idle()?;
            let starts: u64 = tests.queue().tasks(Filter::new())?.iter().map(|task| task.generation).sum();
            assert!(starts <= 3, "{starts} starts within a second, after a crash {point}");
            assert_sound(tests.queue());
            for _ in 0..8 {
                tests.advance(SECOND)?;
                tests.run_until_idle()?;
            }
            assert_eq!(tests.queue().counts()?.total().queued(), 0, "after a crash {point}");
            assert_sound(tests.queue());
            Ok(())
        },
    );
    assert!(crashes.unwrap() > 10);
}

/// With threads: the timer starts what the rate has kept back.
#[test]
fn g16_the_timer_claims_when_a_queue_opens() {
    let config = Config::default().workers(4).poll_interval(Duration::ZERO);
    let queue = builder(config).open_temporary().unwrap();
    queue.set_rate("default", Some(Rate::per(SECOND, 50))).unwrap();
    let began = std::time::Instant::now();
    let _ = queue.enqueue_all(&vec![Do::Ok(0); 8]).unwrap();
    queue.drain().unwrap();
    assert_eq!(queue.counts().unwrap().total().succeeded, 8);
    assert!(began.elapsed() >= Duration::from_millis(140), "seven intervals of 20 ms");
}

/// A handler that is told "not now" by a server, once for each task of an even number.
fn throttled() -> Builder {
    Queue::builder().handle(|task: Do, cx: &Context| match task {
        Do::Ok(ms) if ms > 0 && cx.generation() == 1 => Err(Failure::throttle(Duration::from_millis(ms))),
        task => run(task, cx),
    })
}

#[test]
fn g16_a_throttle_closes_the_whole_queue_and_costs_no_attempt() {
    let clock = ManualClock::new();
    let mut tests = SteppedQueue::open(throttled(), &clock).unwrap();
    let first = tests.queue().enqueue(&Do::Ok(30_000)).unwrap().id();
    let second = tests.queue().enqueue(&Do::Ok(0)).unwrap().id();
    let elsewhere = add(tests.queue(), &Do::Ok(0), ocr());
    assert_eq!(tests.run_one().unwrap(), Some(Ran::HandedBack(first)));
    assert_eq!(tests.run_one().unwrap(), Some(Ran::Succeeded(elsewhere)));
    assert_eq!(tests.run_one().unwrap(), None);
    let until = clock.now().saturating_add(Duration::from_secs(30));
    assert_eq!(closed_until(tests.queue()), Some(until));
    let task = tests.queue().get(first).unwrap();
    assert_eq!((task.state, task.hold, task.attempt_number), (State::Queued, Some(Hold::Ready), 0));
    let why = tests.queue().explain(second).unwrap();
    assert_eq!((why.closed_until, tests.queue().next_start().unwrap()), (Some(until), Some(until)));
    assert!(why.to_string().contains(&format!("closed its queue \"default\" until {until}")), "{why}");
    assert!(tests.queue().is_drained().unwrap(), "nobody waits for it");
    tests.advance(Duration::from_secs(30)).unwrap();
    assert!(!tests.queue().is_drained().unwrap());
    assert_eq!(tests.run_until_idle().unwrap().succeeded, 2);
    assert_eq!(closed_until(tests.queue()), None);
    assert_sound(tests.queue());
}

#[test]
fn a_throttled_queue_opens_when_it_is_resumed_and_after_a_clock_that_jumped_back() {
    let clock = ManualClock::new();
    let mut tests = SteppedQueue::open(throttled(), &clock).unwrap();
    let _ = tests.queue().enqueue(&Do::Ok(60_000)).unwrap();
    tests.run_until_idle().unwrap();
    tests.queue().resume("default").unwrap();
    assert_eq!(tests.run_until_idle().unwrap().succeeded, 1);
    let _ = tests.queue().enqueue(&Do::Ok(60_000)).unwrap();
    tests.run_until_idle().unwrap();
    clock.set_wall(perdura::Timestamp::from_millis(clock.now().as_millis() - 86_400_000));
    tests.tick().unwrap();
    tests.run_until_idle().unwrap();
    assert_eq!(closed_until(tests.queue()), Some(clock.now().saturating_add(MINUTE)));
    tests.advance(MINUTE).unwrap();
    assert_eq!(tests.run_until_idle().unwrap().succeeded, 1);
}

/// A suspect of a queue that is shut does not keep the turn from one of another queue.
#[test]
fn g06_a_suspect_in_a_shut_queue_passes_its_turn_on() {
    let (folder, clock) = (Folder::in_memory(), ManualClock::new());
    let ids = suspects_of_two_queues(&folder, &clock);
    let mut tests = SteppedQueue::open_file(builder(Config::default()), &clock, folder.file()).unwrap();
    tests.queue().resume("b").unwrap();
    let hold = |tests: &SteppedQueue, n: usize| tests.queue().get(ids[n]).unwrap().hold;
    assert_eq!([hold(&tests, 0), hold(&tests, 1)], [Some(Hold::Suspect), Some(Hold::Ready)]);
    tests.queue().set_rate("a", Some(Rate::per(MINUTE, 1))).unwrap();
    let innocent = add(tests.queue(), &Do::Ok(0), Options::new().queue("a").priority(9));
    assert_eq!(tests.run_one().unwrap(), Some(Ran::Succeeded(innocent)), "the queue is out of rate now");
    assert_eq!(tests.run_one().unwrap(), Some(Ran::Succeeded(ids[0])), "the turn went to the other queue");
    assert_eq!(tests.run_one().unwrap(), None);
    assert_sound(tests.queue());
    tests.advance(MINUTE).unwrap();
    assert_eq!(tests.run_one().unwrap(), Some(Ran::Succeeded(ids[1])));
    assert_sound(tests.queue());
}

/// A file in which a task of `b` and then one of `a`, which goes before it, were running when their processes died.
fn suspects_of_two_queues(folder: &Folder, clock: &ManualClock) -> [TaskId; 2] {
    ["b", "a"].map(|queue| {
        let tests = SteppedQueue::open_file(builder(Config::default()), clock, folder.file()).unwrap();
        tests.queue().pause("b").unwrap(); // so that it is not claimed once more
        tests.queue().resume(queue).unwrap();
        let options = Options::new().queue(queue).priority((queue == "a").into()).max_attempts(9);
        let id = add(tests.queue(), &Do::Ok(0), options);
        assert_eq!(tests.crash_in_attempt(true).unwrap().1, Some(id));
        id
    })
}

#[test]
fn g06_g16_a_suspect_of_a_full_queue_has_its_turn_when_one_of_it_ends() {
    let (folder, clock) = (Folder::in_memory(), ManualClock::new());
    let [in_b, in_a] = suspects_of_two_queues(&folder, &clock);
    let tests = SteppedQueue::open_file(builder(Config::default()), &clock, folder.file()).unwrap();
    tests.queue().set_limit("b", Some(1)).unwrap();
    tests.queue().resume("b").unwrap();
    let innocent = add(tests.queue(), &Do::Ok(0), Options::new().queue("b").priority(9));
    drop(tests);
    let (tell, started) = channel();
    let may_end: std::sync::Arc<Mutex<Vec<TaskId>>> = std::sync::Arc::default();
    let may = may_end.clone();
    let handler = move |_: Do, cx: &Context| -> Result<u64, Failure> {
        tell.send(cx.id()).unwrap();
        while !may.lock().unwrap().contains(&cx.id()) {
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(0)
    };
    let queue = Queue::builder().workers(3).handle(handler).clock(clock.clone()).open(folder.file()).unwrap();
    let mut first = [started.recv_timeout(PATIENCE).unwrap(), started.recv_timeout(MINUTE).unwrap()];
    first.sort_unstable();
    assert_eq!(first, [in_a, innocent]);
    may_end.lock().unwrap().push(in_a);
    assert_eq!(queue.wait(in_a, PATIENCE).unwrap().state, State::Succeeded);
    assert!(started.try_recv().is_err(), "its queue is full");
    assert_sound(&queue);
    may_end.lock().unwrap().extend([innocent, in_b]);
    assert_eq!(queue.wait(in_b, PATIENCE).unwrap().state, State::Succeeded);
    assert_sound(&queue);
}

#[test]
fn what_cannot_be_a_bound_is_refused_by_name() {
    let queue = Queue::builder().open_temporary().unwrap();
    for (error, words) in [
        (queue.set_limit("ocr", Some(0)).unwrap_err(), "limit \"0\""),
        (queue.set_limit("", Some(1)).unwrap_err(), "queue"),
        (queue.set_rate("api", Some(Rate::per(SECOND, 0))).unwrap_err(), "no start at all"),
        (queue.set_rate("api", Some(Rate::per(SECOND, 1_000_001))).unwrap_err(), "1,000,000 starts a second"),
        (queue.set_rate("a\n", Some(Rate::per(SECOND, 1))).unwrap_err(), "queue"),
    ] {
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains(words), "{error}");
    }
    assert!(queue.counts().unwrap().queues.is_empty());
}

/// Numbers that perdura never writes count as the nearest that it does, and stop no queue.
#[test]
fn a_bound_that_was_edited_into_nonsense_stops_no_queue() {
    let (folder, clock) = (Folder::in_memory(), ManualClock::new());
    let open = || SteppedQueue::open_file(builder(Config::default()), &clock, folder.file()).unwrap();
    let tests = open();
    let id = tests.queue().enqueue(&Do::Ok(0)).unwrap().id();
    drop(tests);
    let conn = other(&folder.file());
    conn.execute_batch(
        "PRAGMA ignore_check_constraints = ON;
         UPDATE perdura_queues SET max_in_flight = 99999999999, rate_count = -5, rate_period_ms = 0, rate_burst = 1 << 40,
             opens_at_us = -1, closed_at_ms = 9223372036854775807, closed_until_ms = -1",
    )
    .unwrap();
    drop(conn);
    let tests = open();
    assert_eq!(tests.run_until_idle().unwrap().succeeded, 1);
    tests.queue().counts().unwrap();
    tests.queue().explain(id).unwrap();
}

#[test]
fn the_number_of_workers_can_be_changed_while_tasks_run() {
    let (builder, started, go) = staying(3);
    let queue = builder.open_temporary().unwrap();
    let start = || started.recv_timeout(PATIENCE).unwrap();
    let ids: Vec<TaskId> = (0..8).map(|_| queue.enqueue(&Do::Ok(0)).unwrap().id()).collect();
    let first = [start(), start(), start()];
    assert!(ids[..3].iter().all(|id| first.contains(id)));
    queue.set_workers(1).unwrap();
    (0..2).for_each(|_| go.send(()).unwrap());
    while queue.counts().unwrap().total().succeeded < 2 {
        std::thread::yield_now();
    }
    assert!(started.try_recv().is_err(), "one runs, as many as there are to be");
    go.send(()).unwrap();
    assert_eq!(start(), ids[3]);
    queue.set_workers(4).unwrap();
    let more = [start(), start(), start()];
    assert!(ids[4..7].iter().all(|id| more.contains(id)));
    (0..5).for_each(|_| go.send(()).unwrap());
    assert_eq!(start(), ids[7]);
    queue.drain().unwrap();
    assert_eq!(queue.counts().unwrap().total().succeeded, 8);
    for wrong in [0, 1025] {
        let error = queue.set_workers(wrong).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("it takes 1 to 1024"), "{error}");
    }
    queue.shutdown(SECOND).unwrap();
    assert_eq!(queue.set_workers(2).unwrap_err().kind(), ErrorKind::ShutDown);
    assert_eq!(
        Queue::builder().open_temporary().unwrap().set_workers(2).unwrap_err().kind(),
        ErrorKind::NoHandlers
    );
}
