//! Runs an engine that is a program through what perdura expects of it: for whoever writes a script for a cluster.
//!
//! ```sh
//! cargo run --features exec --example check_engine -- examples/engines/folder.py /tmp/jobs
//! ```
//!
//! It takes the program and its arguments, and starts four jobs whose spec is `{"argv": […]}`. (A cluster may take a while: `PATIENCE=120` are seconds.)

use std::process::ExitCode;
use std::time::Duration;

use perdura::exec::ExecEngine;
use perdura::testing::{EngineCases, check_engine};
use serde_json::json;

fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    let Some(program) = words.next() else {
        eprintln!("check_engine: name the program, and its arguments");
        return ExitCode::from(2);
    };
    let mut engine =
        words.fold(ExecEngine::new(program).remembers(Duration::from_secs(3600)), ExecEngine::arg);
    let patience = std::env::var("PATIENCE").ok().and_then(|text| text.parse().ok()).unwrap_or(30);
    let cases = EngineCases {
        succeeds: json!({ "argv": ["sh", "-c", "echo working; echo 42"] }),
        fails: json!({ "argv": ["sh", "-c", "exit 3"] }),
        runs: json!({ "argv": ["sleep", "1000"] }),
        refused: Some(json!({ "argv": "not a list" })),
        patience: Duration::from_secs(patience),
    };
    match check_engine(&mut engine, &cases) {
        Ok(()) => {
            println!("it does what perdura expects of an engine");
            ExitCode::SUCCESS
        }
        Err(wrong) => {
            eprintln!("check_engine: {wrong}");
            ExitCode::FAILURE
        }
    }
}
