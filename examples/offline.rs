//! Work that waits for the network: no attempt is charged and nothing polls, and all of it runs when the program says that the network is there.
//!
//! `cargo run --example offline`

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use perdura::{Context, Error, Failure, Filter, Hold, Options, Queue, State, Task};
use serde::{Deserialize, Serialize};

/// The network, and how often a handler was called.
static NETWORK: AtomicBool = AtomicBool::new(false);
static CALLS: AtomicU32 = AtomicU32::new(0);

#[derive(Serialize, Deserialize)]
enum Mail {
    Send,
    Fetch,
}

impl Task for Mail {
    const NAME: &'static str = "mail";
    type Output = ();
    fn options(&self) -> Options {
        match self {
            Mail::Send => Options::new().needs("online"), // it is not started before
            Mail::Fetch => Options::new(),                // it finds out by itself
        }
    }
}

fn mail(_: Mail, _: &Context) -> Result<(), Failure> {
    CALLS.fetch_add(1, SeqCst);
    if NETWORK.load(SeqCst) { Ok(()) } else { Err(Failure::until("online")) }
}

fn main() -> Result<(), Error> {
    let queue = Queue::builder().handle(mail).open_temporary()?;
    queue.set_condition("online", false)?;
    let _ = queue.enqueue_all(&[Mail::Send, Mail::Send, Mail::Fetch])?;
    queue.drain()?; // until all that can run now has run
    std::thread::sleep(Duration::from_millis(200));
    for task in queue.tasks(Filter::new())? {
        println!("{}", queue.explain(task.task_id)?);
        assert_eq!((task.hold, task.attempt_number), (Some(Hold::Condition), 0));
    }
    assert_eq!(CALLS.load(SeqCst), 1, "one has found out by itself, and nobody tries again");

    NETWORK.store(true, SeqCst); // a real program hears of it from the system
    queue.set_condition("online", true)?;
    queue.drain()?;
    for task in queue.tasks(Filter::new())? {
        assert_eq!((task.state, task.attempt_number), (State::Succeeded, 1));
    }
    println!("online: 3 tasks have run; the handler was called {} times", CALLS.load(SeqCst));
    assert_eq!(CALLS.load(SeqCst), 4);
    Ok(())
}
