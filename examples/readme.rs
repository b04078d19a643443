use perdura::{Context, Failure, Queue, Task};
use serde::{Deserialize, Serialize};

/// What to do: plain data, kept as JSON under a name that never changes.
#[derive(Serialize, Deserialize)]
struct Checksum {
    paths: Vec<std::path::PathBuf>,
}

impl Task for Checksum {
    const NAME: &'static str = "checksum";
    type Output = u64;
}

/// How to do it: a function of the data and a context.
fn checksum(task: Checksum, cx: &Context) -> Result<u64, Failure> {
    let (mut next, mut sum) = cx.checkpoint::<(usize, u64)>()?.unwrap_or_default(); // where the last attempt got to
    while let Some(path) = task.paths.get(next) {
        cx.ensure_active()?; // cancelled, timed out or shutting down?
        let bytes = std::fs::read(path)?; // an error here is retried with backoff
        sum = bytes.iter().fold(sum, |s, b| s.rotate_left(5) ^ u64::from(*b));
        next += 1;
        cx.save_checkpoint(&(next, sum))?; // durable when this returns
        cx.progress(next as u64, task.paths.len() as u64);
    }
    Ok(sum)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let queue = Queue::builder().workers(4).handle(checksum).open("tasks.db")?;
    let id = queue.enqueue(&Checksum { paths: vec!["Cargo.toml".into()] })?.id();
    queue.drain()?; // until every task that can run now has run; a retry that waits does not count
    println!("{:?}", queue.result::<Checksum>(id)?);
    queue.shutdown(std::time::Duration::from_secs(10))?; // joins its threads, reports what still runs
    Ok(())
}
