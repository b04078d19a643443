//! The app's own row and the task that follows from it are one commit: no order without its mail, no mail without its order.
//!
//! `cargo run --features rusqlite --example outbox`

use std::error::Error;

use perdura::{Context, Failure, Queue, Task};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Confirm {
    order: i64,
}

impl Task for Confirm {
    const NAME: &'static str = "confirm";
    type Output = String;
}

fn confirm(task: Confirm, _: &Context) -> Result<String, Failure> {
    Ok(format!("mail for order {}", task.order))
}

/// Writes the order and its task, or neither.
fn place(queue: &Queue, item: &str) -> Result<perdura::TaskId, Box<dyn Error>> {
    queue.transaction(|tx| {
        tx.execute("INSERT INTO orders (item) VALUES (?1)", [item])?;
        let confirm = tx.enqueue(&Confirm { order: tx.last_insert_rowid() })?;
        if item.is_empty() {
            return Err("nothing is ordered".into()); // takes both back
        }
        Ok(confirm.id())
    })
}

fn main() -> Result<(), Box<dyn Error>> {
    let queue = Queue::builder().handle(confirm).open_temporary()?;
    queue.transaction(|tx| {
        tx.execute_batch("CREATE TABLE orders (id INTEGER PRIMARY KEY, item TEXT NOT NULL)")?;
        Ok::<_, Box<dyn Error>>(())
    })?;
    let id = place(&queue, "a book")?;
    println!("refused: {}", place(&queue, "").unwrap_err());
    queue.drain()?;
    println!(
        "{}; tasks: {}",
        queue.result::<Confirm>(id)?.unwrap_or_default(),
        queue.counts()?.total().all()
    );
    Ok(())
}
