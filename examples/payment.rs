//! Finds a double charge without a lucky kill: the process dies at every commit of a small payment flow, in turn.
//!
//! `cargo run --example payment` shows the bug in `charge_carelessly` and that `charge_once` has none.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use perdura::testing::{CrashPoint, ManualClock, SteppedQueue, at_every_commit};
use perdura::{Builder, Context, Failure, Filter, Queue, State, Task};
use serde::{Deserialize, Serialize};

/// Take this much from a customer.
#[derive(Serialize, Deserialize)]
struct Charge {
    order: u32,
    cents: u64,
}

impl Task for Charge {
    const NAME: &'static str = "charge";
    type Output = ();
}

/// The payment provider: not in our file, so it remembers what our process has forgotten in a crash.
#[derive(Clone, Default)]
struct Provider(Arc<Mutex<Ledger>>);

#[derive(Default)]
struct Ledger {
    charges: HashMap<u32, Vec<u64>>,
    keys: HashMap<String, u64>,
}

impl Provider {
    fn charge(&self, order: u32, cents: u64) {
        self.0.lock().unwrap().charges.entry(order).or_default().push(cents);
    }

    /// Providers that mean it take an idempotency key: a charge that comes twice with one key is made once.
    fn charge_with_key(&self, order: u32, cents: u64, key: &str) {
        let mut ledger = self.0.lock().unwrap();
        if ledger.keys.insert(key.to_owned(), cents).is_none() {
            ledger.charges.entry(order).or_default().push(cents);
        }
    }

    fn charges(&self, order: u32) -> usize {
        self.0.lock().unwrap().charges.get(&order).map_or(0, Vec::len)
    }
}

/// Looks right: it only charges if no checkpoint says that it has. But the process may die between the charge and the checkpoint.
fn charge_carelessly(task: Charge, cx: &Context, provider: &Provider) -> Result<(), Failure> {
    if cx.checkpoint::<bool>()?.is_none() {
        provider.charge(task.order, task.cents);
        cx.save_checkpoint(&true)?;
    }
    Ok(())
}

/// The key is the same in every attempt, and no other task has it, in no other file and in no copy of this one.
fn charge_once(task: Charge, cx: &Context, provider: &Provider) -> Result<(), Failure> {
    let key = cx.idempotency_key("charge")?;
    provider.charge_with_key(task.order, task.cents, &key);
    Ok(())
}

type Handler = fn(Charge, &Context, &Provider) -> Result<(), Failure>;

fn builder(handler: Handler, provider: &Provider) -> Builder {
    let provider = provider.clone();
    Queue::builder().handle(move |task: Charge, cx: &Context| handler(task, cx, &provider))
}

/// The first crash that charges order 17 not exactly once, and how often it was charged; else how many crashes were tried.
fn search(handler: Handler) -> Result<Result<usize, (CrashPoint, usize)>, perdura::Error> {
    const ORDER: u32 = 17;
    let mut found = None;
    let provider = Arc::new(Mutex::new(Provider::default()));
    let tried = at_every_commit(
        || {
            *provider.lock().unwrap() = Provider::default(); // each run has a world of its own
            SteppedQueue::open(builder(handler, &provider.lock().unwrap()), &ManualClock::new())
        },
        |shop| {
            let _ = shop.queue().enqueue(&Charge { order: ORDER, cents: 4_200 })?;
            shop.run_until_idle()?;
            Ok(())
        },
        |crashed, point| {
            let provider = provider.lock().unwrap();
            let mut shop = crashed.reopen(builder(handler, &provider))?;
            shop.run_until_idle()?;
            shop.advance(Duration::from_secs(60))?; // if the crash has cost an attempt and something waits
            shop.run_until_idle()?;
            let accepted = shop.queue().tasks(Filter::new().state(State::Succeeded))?.len();
            let charged = provider.charges(ORDER);
            if charged != accepted {
                found.get_or_insert((point, charged));
            }
            Ok(())
        },
    )?;
    Ok(found.map_or(Ok(tried), Err))
}

fn main() -> Result<(), perdura::Error> {
    for (name, handler) in [("charge_carelessly", charge_carelessly as Handler), ("charge_once", charge_once)]
    {
        match search(handler)? {
            Ok(tried) => println!("{name}: {tried} crashes, and always charged exactly once"),
            Err((point, times)) => println!("{name}: charged {times} times if the process dies {point}"),
        }
    }
    Ok(())
}
