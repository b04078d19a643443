//! The statements that perdura runs, as its feature `sql-log` writes them to the program's log.

use std::collections::HashMap;
use std::error::Error;
use std::sync::Mutex;

static SEEN: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Listener;

impl log::Log for Listener {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.target() == "perdura::sql"
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            let words = record.args().to_string();
            let text = words.split_whitespace().collect::<Vec<_>>().join(" ");
            SEEN.lock().expect("no listener panics").push(text);
        }
    }

    fn flush(&self) {}
}

/// Becomes the program's log; it listens only within [`of`].
pub fn install() -> Result<(), Box<dyn Error>> {
    log::set_logger(&Listener).map_err(|e| e.to_string().into())
}

/// The statements of the queues that `work` opens, in their order.
pub fn of(work: impl FnOnce() -> Result<(), Box<dyn Error>>) -> Result<Vec<String>, Box<dyn Error>> {
    SEEN.lock().expect("no listener panics").clear();
    log::set_max_level(log::LevelFilter::Trace);
    let worked = work();
    log::set_max_level(log::LevelFilter::Off);
    worked?;
    Ok(std::mem::take(&mut *SEEN.lock().expect("no listener panics")))
}

/// How often each statement ran, in the order of first use.
pub fn tally(statements: &[String]) -> Vec<(usize, &str)> {
    let mut order: Vec<(usize, &str)> = Vec::new();
    let mut place = HashMap::new();
    for text in statements {
        let at = *place.entry(text.as_str()).or_insert_with(|| {
            order.push((0, text));
            order.len() - 1
        });
        order[at].0 += 1;
    }
    order
}

/// Prints both lists side by side.
pub fn print(what: &str, perdura: &[String], raw: &[String]) {
    println!("\nstatements of {what} (perdura's trace | the raw loop's trace)");
    let raw = tally(raw);
    let ours = tally(perdura);
    for (n, text) in &ours {
        let times = raw.iter().find(|(_, t)| t == text).map_or("-".to_owned(), |(n, _)| n.to_string());
        println!("  {n:>6} | {times:>6}  {}", shorten(text));
    }
    for (n, text) in raw.iter().filter(|(_, text)| ours.iter().all(|(_, t)| t != text)) {
        println!("       - | {n:>6}  {}", shorten(text));
    }
}

fn shorten(text: &str) -> String {
    if text.len() <= 150 {
        text.to_owned()
    } else {
        format!("{}…", text.chars().take(149).collect::<String>())
    }
}
