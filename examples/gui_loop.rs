//! A window that never waits: enqueue and shutdown, which wait for the disk, are called on another thread. (The user is a thread, too.)
//!
//! `cargo run --example gui_loop`

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread::{sleep, spawn};
use std::time::Duration;

use perdura::{Context, Error, Queue, Task};

#[derive(serde::Serialize, serde::Deserialize)]
struct Photo(u32);

impl Task for Photo {
    const NAME: &'static str = "photo";
    type Output = ();
}

enum Event {
    AddPressed(u32),
    Progress(u32, u32),
    ClosePressed,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (to_window, events) = channel();
    let progress = to_window.clone();
    let import = move |Photo(photo): Photo, cx: &Context| {
        for percent in [50, 100] {
            cx.ensure_active()?; // cancelled, or shutting down?
            sleep(Duration::from_millis(40));
            let _ = progress.send(Event::Progress(photo, percent)); // at once; cx.progress takes a second
        }
        Ok(())
    };
    let queue = Queue::builder().workers(1).handle(import).open_temporary()?; // .open("tasks.db") keeps the file
    let (orders, photos) = channel();
    let keeper = spawn(move || -> Result<_, Error> {
        photos.iter().try_for_each(|photo| queue.enqueue(&Photo(photo)).map(drop))?;
        queue.shutdown(Duration::from_secs(5))?; // there are no more orders; what runs may end in this time
        Ok(queue.counts()?.total())
    });
    let clicks = [Event::AddPressed(1), Event::AddPressed(2), Event::AddPressed(3), Event::ClosePressed];
    spawn(move || clicks.map(|click| to_window.send(click).map(|()| sleep(Duration::from_millis(40)))));

    let (mut orders, mut frames) = (Some(orders), 0);
    loop {
        match events.recv_timeout(Duration::from_millis(16)) {
            Ok(Event::AddPressed(photo)) => drop(orders.as_ref().map(|orders| orders.send(photo))),
            Ok(Event::Progress(photo, percent)) => println!("photo {photo}: {percent} %"),
            Ok(Event::ClosePressed) => orders = None, // the queue shuts down; the window is drawn until then
            Err(RecvTimeoutError::Timeout) => frames += 1, // draw
            Err(RecvTimeoutError::Disconnected) => break, // the queue is gone, with its handlers
        }
    }
    let tasks = keeper.join().map_err(|_| "the thread of the queue has panicked")??;
    println!("{frames} frames; {} imported, {} wait for the next start", tasks.succeeded, tasks.queued());
    Ok(())
}
