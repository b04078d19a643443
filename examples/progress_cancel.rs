//! How far a task is, seen from another thread, and a cancel in the middle. Progress reaches the file about once a second, so the example runs for some
//! two seconds.
//!
//! `cargo run --example progress_cancel`

use std::time::Duration;

use perdura::{Context, Failure, Queue, Task};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Export {
    photos: u64,
}

impl Task for Export {
    const NAME: &'static str = "export";
    type Output = ();
}

fn export(task: Export, cx: &Context) -> Result<(), Failure> {
    for photo in 1..=task.photos {
        cx.ensure_active()?; // the attempt ends here once the task is cancelled
        std::thread::sleep(Duration::from_millis(5));
        cx.progress(photo, task.photos); // cheap: call it as often as you like
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let queue = Queue::builder().handle(export).open_temporary()?;
    let id = queue.enqueue(&Export { photos: 10_000 })?.id();

    // This thread only reads the file; another process could do the same.
    let mut seen = Vec::new();
    while seen.len() < 2 {
        std::thread::sleep(Duration::from_millis(50));
        let now = queue.get(id)?.progress.filter(|now| seen.last() != Some(now));
        seen.extend(now.inspect(|now| println!("{} of {}", now.done, now.total)));
    }

    queue.cancel(id)?; // a request: the handler ends at its next ensure_active
    let task = queue.wait(id, Duration::from_secs(60))?;
    println!("{}: {}", task.state, task.error_message.unwrap_or_default());
    let last = task.progress.map_or(0, |last| last.done);
    println!("{last} were done; the other {} were not begun", 10_000 - last);
    Ok(())
}
