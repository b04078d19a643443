//! What is claimed before a worker is free for it, and what is not. How far a queue claims ahead depends on how long its tasks take, so
//! a slow machine may claim less than these tests allow, and never more.

use std::collections::BTreeSet;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use perdura::{Config, Context, Failure, Options, Queue, Task, TaskId};
use serde::{Deserialize, Serialize};

use crate::support::*;

#[derive(Serialize, Deserialize)]
enum Step {
    /// Does nothing.
    Pass,
    /// Does nothing, and has large args.
    Carry(String),
    /// Tells the test that it has started, and what the counters say then; goes on when the test says so.
    Look,
}

impl Task for Step {
    const NAME: &'static str = "step";
    type Output = ();
}

/// The counters that a `Look` sees: (running, ready in the queue `many`).
type Seen = (u64, u64);

struct Tested {
    queue: Queue,
    seen: Receiver<Seen>,
    go: Sender<()>,
    /// The tasks, in the order of their starts.
    started: Arc<Mutex<Vec<TaskId>>>,
}

/// One worker, and tasks that were short so far.
fn open() -> Tested {
    let (tell, seen) = channel();
    let (go, may_go) = channel();
    let may_go = Mutex::new(may_go);
    let started: Arc<Mutex<Vec<TaskId>>> = Arc::default();
    let order = started.clone();
    let handler = move |step: Step, cx: &Context| -> Result<(), Failure> {
        order.lock().unwrap().push(cx.id());
        if matches!(step, Step::Look) {
            let counts = cx.queue().expect("it is open").counts()?;
            let many = counts.queues.get("many").map_or(0, |queue| queue.ready);
            tell.send((counts.total().running, many)).expect("the test listens");
            may_go.lock().unwrap().recv().expect("the test says so");
        }
        Ok(())
    };
    let config = Config::default().workers(1).max_args_bytes(2 << 20);
    let queue = Queue::builder().config(config).handle(handler).open_temporary().unwrap();
    queue.enqueue_all(&[const { Step::Pass }; 300]).unwrap();
    queue.drain().unwrap();
    started.lock().unwrap().clear();
    Tested { queue, seen, go, started }
}

impl Tested {
    /// Enqueues these in one commit; answers with what the first one sees, once all have run.
    fn run(&self, steps: &[(Step, Options)]) -> Seen {
        let made = self.queue.enqueue_all_with(steps.iter().map(|(step, options)| (step, options.clone())));
        let ids: Vec<TaskId> = made.unwrap().iter().map(|made| made.id()).collect();
        let seen = self.seen.recv_timeout(PATIENCE).unwrap();
        self.go.send(()).unwrap();
        self.queue.drain().unwrap();
        let started = self.started.lock().unwrap().clone();
        assert_eq!(started.iter().collect::<BTreeSet<_>>(), ids.iter().collect(), "each has run");
        assert_eq!(started.len(), ids.len(), "and once");
        assert_sound(&self.queue);
        seen
    }
}

#[test]
fn g06_g09_a_last_attempt_is_not_claimed_ahead_and_nothing_overtakes_it() {
    let tested = open();
    let last = || (Step::Pass, Options::new().max_attempts(1));
    let other = || (Step::Pass, Options::new());
    let look = (Step::Look, Options::new());
    let seen = tested.run(&[look, last(), other(), last(), last(), other(), other()]);
    assert_eq!(seen.0, 1, "nothing is claimed beside what the worker has");
    let started = tested.started.lock().unwrap();
    assert!(started.is_sorted(), "{started:?}");
}

#[test]
fn claims_ahead_stop_at_some_bytes_of_args() {
    let tested = open();
    let large = (0..20).map(|_| (Step::Carry("x".repeat(1 << 20)), Options::new()));
    let steps: Vec<_> = [(Step::Look, Options::new())].into_iter().chain(large).collect();
    let (running, _) = tested.run(&steps);
    assert!(running <= 1 + 8, "{running} are claimed, of 1 MiB each");
    assert!(tested.started.lock().unwrap().is_sorted());
}

#[test]
fn g09_a_last_attempt_in_one_queue_has_its_turn_beside_many_short_tasks_in_another() {
    let tested = open();
    let many = (0..3000).map(|_| (Step::Pass, Options::new().queue("many")));
    let last = (Step::Look, Options::new().queue("zero").max_attempts(1));
    let steps: Vec<_> = many.chain([last]).collect();
    let (_, left) = tested.run(&steps);
    assert!(left > 0, "all of the other queue went first");
}

#[test]
fn g16_what_spends_a_rate_is_not_claimed_ahead() {
    let tested = open();
    let slow = perdura::Rate::per(MINUTE, 1).burst(20);
    tested.queue.set_rate("rated", Some(slow)).unwrap();
    let rated = (0..19).map(|_| (Step::Pass, Options::new().queue("rated")));
    let steps: Vec<_> = [(Step::Look, Options::new().queue("rated"))].into_iter().chain(rated).collect();
    let (running, _) = tested.run(&steps);
    assert_eq!(running, 1, "the others start when a worker idles");
}
