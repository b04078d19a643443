//! A process ends in the middle of a long task, and the next one goes on at the checkpoint. What was done after the checkpoint is done again.
//!
//! `cargo run --example checkpoint` starts itself twice, on one file.

use std::error::Error;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use perdura::{Context, Failure, Filter, Queue, Task};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Print {
    pages: u32,
}

impl Task for Print {
    const NAME: &'static str = "print";
    type Output = String;
}

fn print(task: Print, cx: &Context) -> Result<String, Failure> {
    let first = cx.checkpoint::<u32>()?.unwrap_or(1); // the next page, as the attempt before has saved it
    println!("attempt {} begins at page {first}", cx.attempt_number());
    for page in first..=task.pages {
        cx.ensure_active()?; // cancelled, or shutting down?
        println!("  page {page}");
        if page == 3 && cx.attempt_number() == 1 {
            std::process::exit(9); // as if it were killed
        }
        cx.save_checkpoint(&(page + 1))?; // durable when this returns
    }
    Ok(format!("{} pages are printed", task.pages))
}

fn work(file: PathBuf) -> Result<(), Box<dyn Error>> {
    let queue = Queue::builder().handle(print).open(file)?;
    let id = match queue.tasks(Filter::new())?.first() {
        Some(task) => task.task_id, // of the process before
        None => queue.enqueue(&Print { pages: 5 })?.id(),
    };
    println!("{}", queue.wait_result::<Print>(id, Duration::from_secs(60))?);
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    if let Some(file) = std::env::args_os().nth(1) {
        return work(file.into());
    }
    let folder = std::env::temp_dir().join(format!("perdura-checkpoint-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    for n in 1..=2 {
        let end = Command::new(std::env::current_exe()?).arg(folder.join("tasks.db")).status()?;
        println!("process {n} has ended: {end}");
    }
    Ok(std::fs::remove_dir_all(folder)?)
}
