//! The tasks that are measured, and queues to run them.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use perdura::{Context, Durability, Failure, Queue, Task};
use serde::{Deserialize, Serialize};

/// A task that does nothing and has a result.
#[derive(Serialize, Deserialize)]
pub struct Noop {
    pub n: u64,
}

impl Task for Noop {
    const NAME: &'static str = "noop";
    type Output = u64;
}

pub fn noop(task: Noop, _: &Context) -> Result<u64, Failure> {
    Ok(task.n)
}

/// A task whose args are large.
#[derive(Serialize, Deserialize)]
pub struct Bulky {
    pub text: String,
}

impl Task for Bulky {
    const NAME: &'static str = "bulky";
    type Output = ();
}

impl Bulky {
    pub fn of(bytes: usize) -> Bulky {
        Bulky { text: "x".repeat(bytes) }
    }
}

/// A file of its own for each measurement, removed with everything beside it.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new(dir: &Path) -> Scratch {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let name = format!("{}-{}.db", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        Scratch(dir.join(name))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn bytes_of(&self, suffix: &str) -> u64 {
        std::fs::metadata(self.beside(suffix)).map_or(0, |m| m.len())
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        let mut name = self.0.clone().into_os_string();
        name.push(suffix);
        name.into()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        for suffix in ["", "-wal", "-shm", "-owner"] {
            let _ = std::fs::remove_file(self.beside(suffix));
        }
    }
}

/// A queue that only enqueues and looks.
pub fn producer(path: &Path, durability: Durability) -> Result<Queue, Box<dyn Error>> {
    Ok(Queue::builder().durability(durability).open(path)?)
}

/// A queue that runs no-op tasks.
pub fn runner(path: &Path, durability: Durability, workers: usize) -> Result<Queue, Box<dyn Error>> {
    let builder = Queue::builder().durability(durability).workers(workers);
    Ok(builder.handle(noop).handle(|_: Bulky, _: &Context| Ok(())).open(path)?)
}

/// Enqueues so many no-op tasks, a thousand in a transaction.
pub fn fill(queue: &Queue, tasks: usize) -> Result<(), Box<dyn Error>> {
    for first in (0..tasks).step_by(1000) {
        let batch: Vec<Noop> = (first..tasks.min(first + 1000)).map(|n| Noop { n: n as u64 }).collect();
        queue.enqueue_all(&batch)?;
    }
    Ok(())
}

pub const fn name_of(durability: Durability) -> &'static str {
    match durability {
        Durability::Full => "FULL",
        _ => "NORMAL",
    }
}
