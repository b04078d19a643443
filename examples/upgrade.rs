//! A program update that still reads yesterday's tasks: a renamed task, and args that have changed twice.
//!
//! `cargo run --example upgrade`

use perdura::{Context, Failure, Options, Queue, Task};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// What the program of last year enqueued.
#[derive(Serialize, Deserialize)]
struct OldThumbnail {
    size: u32,
}

impl Task for OldThumbnail {
    const NAME: &'static str = "thumbnail";
    type Output = String;
}

/// What it is now: version 2 gave it a width and a height, version 3 a format, and it has a new name.
#[derive(Serialize, Deserialize)]
struct Resize {
    width: u32,
    height: u32,
    format: String,
}

impl Task for Resize {
    const NAME: &'static str = "resize";
    const ALIASES: &'static [&'static str] = &["thumbnail"];
    const VERSION: u32 = 3;
    type Output = String;
}

fn resize(task: Resize, cx: &Context) -> Result<String, Failure> {
    Ok(format!("{} × {} as {} (was version {})", task.width, task.height, task.format, cx.version()?))
}

fn main() -> Result<(), perdura::Error> {
    let folder = std::env::temp_dir().join(format!("perdura-upgrade-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("the folder for temporary files can be written");
    let file = folder.join("tasks.db");
    let old = Queue::builder().open(&file)?;
    let id = old.enqueue_with(&OldThumbnail { size: 64 }, Options::new())?.id();
    drop(old); // and the program is updated

    let queue = Queue::builder()
        .handle(resize)
        .upgrade::<Resize>(1, |args| Ok(json!({ "width": args["size"], "height": args["size"] })))
        .upgrade::<Resize>(2, |args| {
            Ok(json!({ "width": args["width"], "height": args["height"], "format": "png" }))
        })
        .open(&file)?;
    queue.drain()?;
    println!("{}", queue.result::<Resize>(id)?.unwrap_or_default());
    drop(queue);
    let _ = std::fs::remove_dir_all(folder);
    Ok(())
}
