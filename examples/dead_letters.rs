//! Tasks that a bug has failed for good are put aside, looked at, and replayed by the version of the program that has no such bug.
//!
//! `cargo run --example dead_letters`

use std::error::Error;
use std::time::Duration;

use perdura::{Context, Failure, Filter, Queue, State, Task};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Invoice {
    amount: String,
}

impl Task for Invoice {
    const NAME: &'static str = "invoice";
    type Output = u64;
}

fn invoice_with_bug(task: Invoice, _: &Context) -> Result<u64, Failure> {
    task.amount.parse().map_err(|e| Failure::permanent(format!("{:?}: {e}", task.amount)))
}

fn invoice(task: Invoice, _: &Context) -> Result<u64, Failure> {
    Ok(task.amount.replace('\'', "").parse()?)
}

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::temp_dir().join(format!("perdura-dead-letters-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let file = folder.join("tasks.db");

    let queue = Queue::builder().handle(invoice_with_bug).open(&file)?;
    let amounts = ["980", "1'250", "31'000"].map(|amount| Invoice { amount: amount.to_owned() });
    let _ = queue.enqueue_all(&amounts)?;
    queue.drain()?;
    let moved = queue.move_to_dead_letters(Filter::new().state(State::Failed))?;
    println!("{} dead letters", moved.changed); // no retention deletes them, and no retry_all starts them by mistake
    drop(queue); // the bug is mended, and the program is updated

    let queue = Queue::builder().handle(invoice).open(&file)?;
    let letters = queue.dead_letters();
    for letter in letters.list(Filter::new().task_name("invoice"))? {
        println!("task {}: {}", letter.task_id, letter.error_message.unwrap_or_default());
        let id = letters.replay(letter.task_id)?; // a new task with the same args and fresh attempts
        let sum = queue.wait_result::<Invoice>(id, Duration::from_secs(60))?;
        println!("  replayed as task {id}: {sum}");
    }
    let again = letters.list(Filter::new())?.first().map(|letter| letters.replay(letter.task_id));
    println!("once more: {}", again.and_then(Result::err).map_or("done".to_owned(), |e| e.to_string()));
    drop(queue);
    Ok(std::fs::remove_dir_all(folder)?)
}
