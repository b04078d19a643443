//! Three calls of other services, each a step: what one attempt has done, the next does not do again. The bank takes the money in the first
//! attempt and its answer is lost, as if the process had died between the call and the commit. The idempotency key closes that gap.
//!
//! `cargo run --example steps`

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use perdura::{Context, Failure, Options, Queue, Task};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Order {
    cents: u64,
}

impl Task for Order {
    const NAME: &'static str = "order";
    type Output = String;
}

/// Each call of another service, and what the bank has taken, by keys.
static CALLS: Mutex<Vec<&str>> = Mutex::new(Vec::new());
static PAYMENTS: Mutex<BTreeMap<String, u64>> = Mutex::new(BTreeMap::new());

fn call(service: &'static str, cx: &Context) {
    println!("attempt {}: {service}", cx.attempt_number());
    CALLS.lock().unwrap().push(service);
}

fn order(task: Order, cx: &Context) -> Result<String, Failure> {
    let shelf = cx.step("reserve", || {
        call("reserve", cx);
        Ok(12)
    })?;
    let key = cx.idempotency_key("charge")?; // the same in each attempt
    cx.step("charge", || {
        call("charge", cx);
        PAYMENTS.lock().unwrap().entry(key).or_insert(task.cents); // a bank takes the money of one key once
        let lost = Failure::named("connection.reset", "the bank's answer is lost");
        if cx.attempt_number() == 1 { Err(lost) } else { Ok(()) }
    })?;
    cx.step("ship", || {
        call("ship", cx);
        Ok(format!("shipped from shelf {shelf}"))
    })
}

fn main() -> Result<(), perdura::Error> {
    let queue = Queue::builder().handle(order).open_temporary()?;
    let soon = Options::new().backoff(Duration::from_millis(20));
    let id = queue.enqueue_with(&Order { cents: 500 }, soon)?.id();
    println!("{}", queue.wait_result::<Order>(id, Duration::from_secs(60))?);
    assert_eq!(*CALLS.lock().unwrap(), ["reserve", "charge", "charge", "ship"]);
    assert_eq!(PAYMENTS.lock().unwrap().values().collect::<Vec<_>>(), [&500]);
    println!("reserved once; the bank was asked twice and has taken the money once");
    Ok(())
}
