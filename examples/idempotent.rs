//! Nothing is done twice: a unique key makes one task of three clicks, and an idempotency key makes one charge of two attempts.
//!
//! `cargo run --example idempotent`

use std::collections::BTreeMap;
use std::sync::{LazyLock, Mutex};
use std::time::Duration;

use perdura::{Context, Failure, Options, Queue, Task, Unique};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Charge {
    order: u32,
    cents: u64,
}

impl Task for Charge {
    const NAME: &'static str = "charge";
    type Output = String;
    fn options(&self) -> Options {
        // Taken as long as the task is live, and for at least a day: a click after its end makes no second task.
        let key = Unique::key(format!("order {}", self.order)).for_(Duration::from_secs(86_400));
        Options::new().unique(key).backoff(Duration::from_millis(20))
    }
}

/// A bank that remembers keys: a charge that comes twice with one key is made once.
#[derive(Default)]
struct Bank {
    calls: u32,
    charges: BTreeMap<String, u64>,
}

static BANK: LazyLock<Mutex<Bank>> = LazyLock::new(Mutex::default);

fn charge(task: Charge, cx: &Context) -> Result<String, Failure> {
    let key = cx.idempotency_key("charge")?; // the same in each attempt; goes into the header Idempotency-Key
    let mut bank = BANK.lock().unwrap();
    bank.calls += 1;
    bank.charges.insert(key, task.cents);
    match cx.attempt_number() {
        1 => Err(Failure::named("connection.reset", "the bank's answer is lost")),
        _ => Ok(format!("order {} is paid", task.order)),
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let queue = Queue::builder().handle(charge).open_temporary()?;
    let click = || queue.enqueue(&Charge { order: 7, cents: 500 });
    let (first, second) = (click()?, click()?);
    println!("{}", queue.wait_result::<Charge>(first.id(), Duration::from_secs(60))?);
    let third = click()?;
    println!("clicks that made a task: {:?}", [first, second, third].map(|made| made.is_new()));
    let bank = BANK.lock().unwrap();
    println!("the bank was called {} times, and charged {:?}", bank.calls, bank.charges.values());
    Ok(())
}
