//! A client that keeps to the rules of a server: so many calls a second, two at once to a host, and a 429 stops all of them for as long as the server
//! asks.
//!
//! `cargo run --example polite_client`

use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::{Duration, Instant};

use perdura::{Context, Failure, Filter, Options, Queue, Rate, Task};

#[derive(serde::Serialize, serde::Deserialize)]
struct Fetch {
    host: String,
    page: u32,
}

impl Task for Fetch {
    const NAME: &'static str = "fetch";
    type Output = ();
    fn options(&self) -> Options {
        Options::new().queue("api").limit(&self.host, 2)
    }
}

/// The server: how many calls it has had, has now, and has had at once at most.
static CALLS: [AtomicU32; 3] = [const { AtomicU32::new(0) }; 3];

/// The answer, or how long to wait: its fourth answer is a 429, with Retry-After.
fn get() -> Result<u32, Duration> {
    let [all, now, most] = &CALLS;
    let call = all.fetch_add(1, SeqCst) + 1;
    most.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
    std::thread::sleep(Duration::from_millis(120));
    now.fetch_sub(1, SeqCst);
    if call == 4 { Err(Duration::from_millis(300)) } else { Ok(200) }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let begin = Instant::now();
    let fetch = move |task: Fetch, _: &Context| {
        let (started, answer) = (begin.elapsed().as_millis(), get());
        println!("page {} at {started:>4} ms: {}", task.page, answer.unwrap_or(429));
        answer.map(drop).map_err(Failure::throttle) // closes the queue; the attempt does not count
    };
    let queue = Queue::builder().workers(8).handle(fetch).open_temporary()?;
    queue.set_rate("api", Some(Rate::per(Duration::from_secs(1), 20).burst(2)))?; // two, then one each 50 ms
    let pages = [1, 2, 3, 4, 5, 6, 7, 8].map(|page| Fetch { host: "example.org".to_owned(), page });
    for made in queue.enqueue_all(&pages)? {
        queue.wait(made.id(), Duration::from_secs(60))?; // drain() does not wait for a closed queue
    }
    let attempts = queue.tasks(Filter::new())?.iter().map(|task| task.attempt_number).sum::<u32>();
    let [all, _, most] = &CALLS;
    println!("{all:?} calls, {most:?} at once at most, {attempts} attempts");
    Ok(())
}
