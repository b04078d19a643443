//! A program that offers perdura's admin for its own file: `mounted send NOTE`, `mounted run`, `mounted tasks list`, `mounted tasks retry 3` …
//!
//! `cargo run --features cli --example mounted -- tasks stats`

use std::process::ExitCode;

use clap::Parser;
use perdura::{Context, Failure, Queue, Task};
use serde::{Deserialize, Serialize};

/// Where this program keeps its tasks.
const FILE: &str = "notes.db";

#[derive(Parser)]
enum Notes {
    /// Send a note, now or when `run` is next called
    Send { note: String },
    /// Deliver what is to be sent
    Run,
    /// Look at the tasks, and mend them
    Tasks(perdura::cli::Command),
}

#[derive(Serialize, Deserialize)]
struct Note {
    text: String,
}

impl Task for Note {
    const NAME: &'static str = "note";
    type Output = usize;
}

fn deliver(note: Note, _: &Context) -> Result<usize, Failure> {
    if note.text.is_empty() {
        return Err(Failure::permanent("the note is empty"));
    }
    Ok(note.text.len())
}

fn main() -> ExitCode {
    let done = match Notes::parse() {
        Notes::Send { note } => send(note),
        Notes::Run => run(),
        Notes::Tasks(command) => return command.run_on(FILE),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("{e}");
            ExitCode::FAILURE
        }
    }
}

fn send(text: String) -> Result<(), perdura::Error> {
    let id = Queue::builder().open(FILE)?.enqueue(&Note { text })?.id();
    println!("note {id} will be sent");
    Ok(())
}

fn run() -> Result<(), perdura::Error> {
    let queue = Queue::builder().handle(deliver).open(FILE)?;
    queue.drain()
}
