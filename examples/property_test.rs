//! A property test of your own handlers: wherever the process dies, each order is charged once. One of two handlers has a bug; the test finds it, and
//! shrinks the run to the smallest one that shows it.
//!
//! `cargo run --example property_test`

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use perdura::testing::{CrashPoint, ManualClock, SteppedQueue};
use perdura::{Context, Error, Failure, Queue, Task};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

#[derive(serde::Serialize, serde::Deserialize)]
struct Charge(u32);

impl Task for Charge {
    const NAME: &'static str = "charge";
    type Output = ();
}

type Key = fn(&Context) -> Result<String, Failure>; // what the handler gives to the bank with a charge

/// One run: the process dies before these commits, counted anew each time. Answers with the orders that the bank has charged.
fn run(key: Key, crashes: &[u64], orders: u32) -> Result<Vec<u32>, Error> {
    let bank = Arc::new(Mutex::new(BTreeSet::new())); // its charges outlive the crashes
    let builder = || {
        let bank = bank.clone();
        Queue::builder().handle(move |Charge(order): Charge, cx: &Context| {
            bank.lock().unwrap().insert((order, key(cx)?)); // a key that it knows is charged once
            Ok(())
        })
    };
    let mut tests = SteppedQueue::open(builder(), &ManualClock::new())?;
    let _ = tests.queue().enqueue_all(&(0..orders).map(Charge).collect::<Vec<_>>())?;
    for commit in crashes {
        tests.crash_at(CrashPoint::before(*commit));
        let _ = tests.run_until_idle(); // an error, if that commit has come
        tests = tests.crash()?.reopen(builder())?;
    }
    tests.run_until_idle()?;
    Ok(bank.lock().unwrap().iter().map(|(order, _)| *order).collect())
}

fn test(key: Key) -> String {
    let config = ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() };
    let runs = (prop::collection::vec(1..6_u64, 0..3), 1..4_u32); // at most two crashes: a task has three attempts
    let tested = TestRunner::new(config).run(&runs, |(crashes, orders)| {
        let charged = run(key, &crashes, orders).map_err(|e| TestCaseError::fail(e.to_string()))?;
        prop_assert_eq!(charged, (0..orders).collect::<Vec<_>>());
        Ok(())
    });
    tested.map_or_else(|e| e.to_string(), |()| "holds".to_owned())
}

fn main() {
    println!("a key for each attempt: {}", test(|cx| Ok(format!("{}/{}", cx.id(), cx.attempt_number()))));
    println!("a key for each task: {}", test(|cx| cx.idempotency_key("charge")));
}
