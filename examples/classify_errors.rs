//! Five ways in which an attempt can fail, and what becomes of the task: one handler, five tasks.
//!
//! `cargo run --example classify_errors`

use std::num::ParseIntError;
use std::time::Duration;

use perdura::{Context, Failure, Options, Queue, Task};
use serde::{Deserialize, Serialize};

/// Reads a price from a page. The page answers as its name says.
#[derive(Serialize, Deserialize)]
struct Price {
    page: String,
}

impl Task for Price {
    const NAME: &'static str = "price";
    type Output = u32;
    fn options(&self) -> Options {
        Options::new().backoff(Duration::from_millis(10)) // the default is a minute
    }
}

fn price(task: Price, cx: &Context) -> Result<u32, Failure> {
    let is_first = cx.generation() == 1;
    let body = match task.page.as_str() {
        // No attempt can help: FAILED at once.
        "gone" => return Err(Failure::permanent("there is no such page")),
        // A name of your own, and the time that the server asks for. The attempt counts.
        "busy" if is_first => {
            let busy = Failure::named("http.503", "the server is busy");
            return Err(busy.retry_after(Duration::from_millis(30)));
        }
        // Not a failure: the handler is called again. The attempt does not count.
        "not yet" if is_first => return Err(Failure::snooze(Duration::from_millis(20))),
        // Any error: tried again with backoff, until no attempts are left.
        "unreadable" => std::fs::read_to_string("no/such/file")?,
        "in words" => "seven".to_owned(),
        _ => "7".to_owned(),
    };
    Ok(body.parse()?) // its error is on the denylist: FAILED at once
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let queue = Queue::builder().handle(price).deny::<ParseIntError>().open_temporary()?;
    for page in ["gone", "busy", "not yet", "in words", "unreadable"] {
        let id = queue.enqueue(&Price { page: page.to_owned() })?.id();
        let task = queue.wait(id, Duration::from_secs(60))?;
        let error = queue.attempts(id)?.pop().map_or("no error".to_owned(), |last| last.error_type);
        println!(
            "{page:<10}  {:<9}  attempts: {}, snoozes: {}, {error}",
            task.state, task.attempt_number, task.snoozes
        );
    }
    Ok(())
}
