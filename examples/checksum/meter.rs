//! Progress on the standard error: a bar on a terminal, else a line now and then.

use std::io::{IsTerminal, Write, stderr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Says something on the standard error, if anybody listens, in place of the bar.
pub fn say(line: std::fmt::Arguments<'_>) {
    let clear = if stderr().is_terminal() { "\r\x1b[K" } else { "" };
    let _ = writeln!(stderr(), "{clear}checksum: {line}");
}

/// How much has been read, as the workers count it.
#[derive(Clone, Default)]
pub struct Meter(Arc<AtomicU64>);

impl Meter {
    /// Counts bytes of a file that needs no reading.
    pub fn add(&self, bytes: u64) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }

    /// What one attempt reads.
    pub fn share(&self) -> Share<'_> {
        Share { meter: self, bytes: 0 }
    }
}

/// Counts at once, and takes it back unless it is kept.
pub struct Share<'m> {
    meter: &'m Meter,
    bytes: u64,
}

impl Share<'_> {
    pub fn add(&mut self, bytes: u64) {
        self.meter.add(bytes);
        self.bytes += bytes;
    }

    pub fn keep(mut self) {
        self.bytes = 0;
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        self.meter.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// How often a log, as opposed to a person, is told.
const LINE_EACH: Duration = Duration::from_secs(10);

const WIDTH: usize = 30;

/// Opening a file and settling its task takes about as long as reading so many bytes.
const FILE_COST: u64 = 80_000;

/// The bar. Dropping it clears its line.
pub struct Bar {
    meter: Meter,
    files: u64,
    bytes: u64,
    bytes_at_start: u64,
    started: Instant,
    next_line: Duration,
    is_terminal: bool,
}

impl Bar {
    /// A bar for so many files and bytes, those that `meter` has counted already included.
    pub fn new(meter: &Meter, files: u64, bytes: u64) -> Bar {
        Bar {
            meter: meter.clone(),
            files,
            bytes,
            bytes_at_start: meter.0.load(Ordering::Relaxed),
            started: Instant::now(),
            next_line: LINE_EACH,
            is_terminal: stderr().is_terminal(),
        }
    }

    /// Shows how far it is, if it is time to.
    pub fn show(&mut self, files_left: u64) {
        let elapsed = self.started.elapsed();
        if self.is_terminal {
            let _ = write!(stderr(), "\r{}\x1b[K", self.line(files_left, elapsed));
        } else if elapsed >= self.next_line {
            self.next_line = elapsed + LINE_EACH;
            say(format_args!("{}", self.line(files_left, elapsed)));
        }
    }

    fn line(&self, files_left: u64, elapsed: Duration) -> String {
        let read = self.meter.0.load(Ordering::Relaxed);
        let speed = read.saturating_sub(self.bytes_at_start) as f64 / elapsed.as_secs_f64().max(0.001);
        let files = self.files.saturating_sub(files_left);
        let part = fraction(read + files * FILE_COST, self.bytes + self.files * FILE_COST);
        let full = (part * WIDTH as f64) as usize;
        format!(
            "[{}{}] {:3.0} %  {files}/{} files  {}/{}  {}/s",
            "=".repeat(full),
            " ".repeat(WIDTH - full),
            (part * 100.0).floor(),
            self.files,
            size(read.min(self.bytes)),
            size(self.bytes),
            size(speed as u64),
        )
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if self.is_terminal {
            let _ = write!(stderr(), "\r\x1b[K");
        }
    }
}

fn fraction(done: u64, all: u64) -> f64 {
    if all == 0 { 1.0 } else { (done as f64 / all as f64).min(1.0) }
}

/// A number of bytes as people read it.
pub fn size(bytes: u64) -> String {
    let (mut size, mut unit, mut larger) = (bytes as f64, "B", ["kB", "MB", "GB", "TB", "PB"].iter());
    while size >= 999.5
        && let Some(next) = larger.next()
    {
        (size, unit) = (size / 1000.0, next);
    }
    let decimals = usize::from(unit != "B" && size < 9.95);
    format!("{size:.decimals$} {unit}")
}
