//! A durable SHA-256 manifest of a directory tree: one task a file, large files in chunks with checkpoints.
//!
//! ```text
//! cargo run --release --example checksum -- DIR > manifest && sha256sum -c manifest
//! ```
//!
//! Kill it at any moment and start it again: it goes on where it was. The queue's file is all the memory it has, so every start
//! does the same four steps: walk the tree, enqueue what the file does not know yet, wait, write the manifest.
//!
//! `args` is the command line, `tree` the files, `job` the task and its handler, `meter` the progress bar; `run` below uses them.

#![forbid(unsafe_code)]

#[cfg(unix)]
mod args;
#[cfg(unix)]
mod job;
#[cfg(unix)]
mod manifest;
#[cfg(unix)]
mod meter;
#[cfg(unix)]
mod run;
#[cfg(unix)]
mod tree;

#[cfg(unix)]
fn main() -> std::process::ExitCode {
    run::main()
}

#[cfg(not(unix))]
fn main() {
    eprintln!("this example keeps file names as bytes and recognises files by their inode; it needs a Unix");
}
