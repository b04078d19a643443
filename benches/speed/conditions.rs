//! What the figures were measured on: without it they mean nothing.

use std::error::Error;
use std::fmt;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Instant;

use serde::Serialize;

use crate::measure::{micros, percentile};

/// The settings and the machine.
#[derive(Debug, Clone, Serialize)]
pub struct Conditions {
    pub sqlite: String,
    pub processor: String,
    pub processors: usize,
    pub file_system: String,
    /// One write of 4 KiB and its fdatasync, in microseconds: median, and 99 of 100.
    pub sync_us: f64,
    pub sync_p99_us: f64,
    /// Processes that wanted a processor when we began.
    pub load: String,
}

impl fmt::Display for Conditions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "SQLite {}, page size 4096, WAL, synchronous as each row says; {} × {}; {}; a 4 KiB write with fdatasync takes {:.0} µs \
             (p99 {:.0} µs); load {}",
            self.sqlite,
            self.processors,
            self.processor,
            self.file_system,
            self.sync_us,
            self.sync_p99_us,
            self.load
        )
    }
}

/// Looks at the machine, and at the disk under `dir`.
pub fn of(dir: &Path) -> Result<Conditions, Box<dyn Error>> {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let processor = info.lines().find(|line| line.starts_with("model name"));
    let processor = processor.and_then(|line| line.split(": ").nth(1)).unwrap_or("unknown processor");
    let (sync_us, sync_p99_us) = sync_cost(dir)?;
    Ok(Conditions {
        sqlite: rusqlite::version().to_owned(),
        processor: processor.to_owned(),
        processors: std::thread::available_parallelism()?.get(),
        file_system: file_system(&dir.canonicalize()?),
        sync_us,
        sync_p99_us,
        load: std::fs::read_to_string("/proc/loadavg")
            .unwrap_or_default()
            .split(' ')
            .take(2)
            .collect::<Vec<_>>()
            .join(" "),
    })
}

fn file_system(dir: &Path) -> String {
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
    let mounted = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let (point, kind) = (fields.next()?, fields.next()?);
        dir.starts_with(point).then_some((point.len(), kind.to_owned()))
    });
    mounted.max().map_or("unknown file system".to_owned(), |(_, kind)| kind)
}

/// Overwrites pages of a preallocated file, as a WAL that has started again does.
fn sync_cost(dir: &Path) -> Result<(f64, f64), Box<dyn Error>> {
    const PAGES: u64 = 200;
    let path = dir.join("sync-cost");
    let file = File::create(&path)?;
    let page = [7_u8; 4096];
    for at in 0..PAGES {
        file.write_all_at(&page, at * 4096)?;
    }
    file.sync_all()?;
    let mut times = Vec::new();
    for at in 0..PAGES {
        let began = Instant::now();
        file.write_all_at(&page, at * 4096)?;
        file.sync_data()?;
        times.push(began.elapsed());
    }
    std::fs::remove_file(&path)?;
    let times = micros(times);
    Ok((percentile(&times, 0.5), percentile(&times, 0.99)))
}
