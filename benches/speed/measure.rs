//! Rounds, medians, percentiles, and what the operating system counts.

use std::error::Error;
use std::time::{Duration, Instant};

/// The same figure from several rounds.
#[derive(Debug, Clone, Default)]
pub struct Rounds(pub Vec<f64>);

impl Rounds {
    fn sorted(&self) -> Vec<f64> {
        let mut values = self.0.clone();
        values.sort_by(f64::total_cmp);
        values
    }

    pub fn median(&self) -> f64 {
        percentile(&self.sorted(), 0.5)
    }

    pub fn min(&self) -> f64 {
        self.sorted().first().copied().unwrap_or(f64::NAN)
    }

    pub fn max(&self) -> f64 {
        self.sorted().last().copied().unwrap_or(f64::NAN)
    }

    /// Round by round: this over that.
    pub fn over(&self, other: &Rounds) -> Rounds {
        Rounds(self.0.iter().zip(&other.0).map(|(a, b)| a / b).collect())
    }
}

/// The value below which this share of the sorted values lies.
pub fn percentile(sorted: &[f64], share: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    sorted.get((last as f64 * share).round() as usize).copied().unwrap_or(f64::NAN)
}

/// Sorted microseconds.
pub fn micros(mut times: Vec<Duration>) -> Vec<f64> {
    times.sort();
    times.into_iter().map(|t| t.as_secs_f64() * 1e6).collect()
}

/// How many of `n` things a second.
pub fn rate(n: usize, act: impl FnOnce() -> Result<(), Box<dyn Error>>) -> Result<f64, Box<dyn Error>> {
    let began = Instant::now();
    act()?;
    Ok(n as f64 / began.elapsed().as_secs_f64())
}

/// Bytes that this process has written through system calls so far.
pub fn bytes_written() -> Result<u64, Box<dyn Error>> {
    let io = std::fs::read_to_string("/proc/self/io")?;
    let line = io.lines().find_map(|line| line.strip_prefix("wchar: ")).ok_or("no wchar in /proc/self/io")?;
    Ok(line.parse()?)
}
