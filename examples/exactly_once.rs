//! A charge that is committed with its task happens exactly once, whatever commit the process dies at. (The example `payment` finds the double
//! charge of a handler that does not do this.)
//!
//! `cargo run --features rusqlite --example exactly_once`

use std::time::Duration;

use perdura::testing::{ManualClock, SteppedQueue, at_every_commit};
use perdura::{Builder, Context, Error, Failure, Queue, Task};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Charge {
    cents: i64,
}

impl Task for Charge {
    const NAME: &'static str = "charge";
    type Output = ();
}

/// The account is in the queue's file, so its row and the task's end are one commit.
fn charge(task: Charge, cx: &Context) -> Result<(), Failure> {
    cx.commit((), |tx| {
        tx.execute("UPDATE accounts SET cents = cents - ?1", [task.cents])?;
        Ok(())
    })
}

fn builder() -> Builder {
    Queue::builder().share(true).handle(charge)
}

fn cents(queue: &Queue) -> Result<i64, Error> {
    queue.transaction(|tx| Ok(tx.query_row("SELECT cents FROM accounts", [], |row| row.get(0)).unwrap()))
}

fn main() -> Result<(), Error> {
    let open = || {
        let bank = SteppedQueue::open(Queue::builder().handle(charge), &ManualClock::new())?;
        let sql = "CREATE TABLE accounts (cents INTEGER NOT NULL); INSERT INTO accounts VALUES (1000)";
        let _ = bank.queue().transaction(|tx| {
            tx.execute_batch(sql).unwrap();
            tx.enqueue(&Charge { cents: 250 })
        })?;
        Ok(bank)
    };
    let flow = |bank: &mut SteppedQueue| bank.run_until_idle().map(drop);
    let crashes = at_every_commit(open, flow, |crashed, point| {
        let mut bank = crashed.reopen(builder())?;
        bank.run_until_idle()?;
        bank.advance(Duration::from_secs(60))?; // if the crash has cost an attempt
        bank.run_until_idle()?;
        assert_eq!(cents(bank.queue())?, 750, "after a crash {point}");
        Ok(())
    })?;
    println!("{crashes} crashes, and always charged exactly once");
    Ok(())
}
