//! Whatever texts, waits and filters people hand in: they are refused with a typed error and nothing is stored, or kept as they are and
//! found again.

#![no_main]

use std::cell::RefCell;
use std::time::Duration;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use perdura::testing::{ManualClock, SteppedQueue};
use perdura::{Config, Context, ErrorKind, Failure, Filter, Options, Queue, State, Task};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Nothing;

impl Task for Nothing {
    const NAME: &'static str = "nothing";
    type Output = ();
}

#[derive(Debug, Arbitrary)]
struct Asked {
    queue: Option<String>,
    key: Option<String>,
    tag: Option<String>,
    priority: i16,
    attempts: Option<u32>,
    waits: [Option<(u64, u32)>; 4],
    filter: (Option<String>, Option<String>, Option<String>, Option<String>, u8, Option<u8>),
    denied: Vec<String>,
    error_type: String,
}

thread_local! {
    static STAGE: RefCell<SteppedQueue> = RefCell::new({
        let clock = ManualClock::new();
        let handler = |_: Nothing, _: &Context| Ok::<(), Failure>(());
        SteppedQueue::open(Queue::builder().clock(clock.clone()).handle(handler), &clock).expect("it opens")
    });
}

fuzz_target!(|asked: Asked| {
    STAGE.with_borrow_mut(|tests| {
        let queue = tests.queue().clone();
        let mut options = Options::new().priority(asked.priority);
        let waits = asked.waits.map(|wait| wait.map(|(s, n)| Duration::new(s, n % 1_000_000_000)));
        let setters: [fn(Options, Duration) -> Options; 4] =
            [Options::delay, Options::backoff, Options::timeout, Options::expires];
        for (set, wait) in setters.into_iter().zip(waits) {
            options = wait.into_iter().fold(options, set);
        }
        options = asked.queue.iter().fold(options, Options::queue);
        options = asked.key.iter().fold(options, Options::unique);
        options = asked.tag.iter().fold(options, Options::tag);
        options = asked.attempts.into_iter().fold(options, Options::max_attempts);
        match queue.enqueue_with(&Nothing, options) {
            Ok(made) => {
                let record = queue.get(made.id()).expect("it was made");
                assert_eq!(record.queue, asked.queue.as_deref().unwrap_or("default"));
                assert_eq!(record.tag, asked.tag);
                assert_eq!(record.priority, asked.priority);
                for filter in
                    [asked.queue.map(|q| Filter::new().queue(q)), asked.tag.map(|t| Filter::new().tag(t))]
                {
                    let found =
                        filter.map(|filter| queue.tasks(filter).expect("a name that was taken is found"));
                    assert!(found.is_none_or(|found| found.iter().any(|task| task.task_id == made.id())));
                }
            }
            Err(e) => {
                assert_eq!(e.kind(), ErrorKind::InvalidInput, "{e}");
                assert_eq!(queue.counts().expect("it is sound").total().all(), 0);
            }
        }
        let (queue_name, task_name, tag, error_type, state, limit) = asked.filter;
        let mut filter = Filter::new();
        filter = queue_name.into_iter().fold(filter, Filter::queue);
        filter = task_name.into_iter().fold(filter, Filter::task_name);
        filter = tag.into_iter().fold(filter, Filter::tag);
        filter = error_type.into_iter().fold(filter, Filter::error_type);
        let states =
            [State::Queued, State::Running, State::Succeeded, State::Failed, State::Cancelled, State::Lost];
        filter =
            states.get(usize::from(state)).into_iter().fold(filter, |filter, state| filter.state(*state));
        filter = limit.into_iter().fold(filter, |filter, limit| filter.limit(limit.into()));
        for answer in [queue.tasks(filter.clone()).map(drop), queue.dead_letters().list(filter).map(drop)] {
            assert!(answer.as_ref().err().is_none_or(|e| e.kind() == ErrorKind::InvalidInput), "{answer:?}");
        }
        let _ = queue.cancel_all(Filter::new()).expect("they can be cancelled");
        let _ = tests.run_until_idle().expect("nothing stops the queue");
        let _ = queue.delete_all(Filter::new()).expect("they can be deleted");
    });
    let failure = Failure::named(asked.error_type, "");
    assert!(failure.error_type().len() <= 400 && !failure.error_type().contains(char::is_control));
    let config = Config::default().retry_exception_denylist(asked.denied);
    let opened = Queue::builder().config(config).open_temporary();
    assert!(opened.as_ref().err().is_none_or(|e| e.kind() == ErrorKind::InvalidConfig), "{opened:?}");
});
