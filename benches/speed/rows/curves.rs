//! Throughput by the number of callers and of workers.

use std::error::Error;
use std::time::Duration;

use perdura::Durability::{Full, Relaxed};

use super::{drain, enqueue};
use crate::Asked;
use crate::measure::Rounds;
use crate::report::{Curve, Report};
use crate::work::name_of;

pub fn callers(asked: &Asked, report: &mut Report) -> Result<(), Box<dyn Error>> {
    for durability in [Full, Relaxed] {
        let mut points = Vec::new();
        for callers in [1, 2, 4, 8, 16, 32, 64] {
            let mut rates = Rounds::default();
            for _ in 0..asked.rounds.min(3) {
                rates.0.push(enqueue::together(asked, durability, callers, Duration::from_millis(500))?.0);
            }
            points.push((callers as f64, rates.median()));
        }
        let name = name_of(durability).to_owned();
        report.curve(Curve {
            chart: "callers",
            name,
            x: "threads that enqueue one by one",
            y: "tasks/s",
            points,
        });
    }
    Ok(())
}

pub fn workers(asked: &Asked, report: &mut Report) -> Result<(), Box<dyn Error>> {
    for durability in [Full, Relaxed] {
        let mut points = Vec::new();
        for workers in 1..=8 {
            let mut rates = Rounds::default();
            for _ in 0..asked.rounds.min(3) {
                rates.0.push(drain::perdura(asked, durability, workers, 50_000)?);
            }
            points.push((workers as f64, rates.median()));
        }
        let name = name_of(durability).to_owned();
        report.curve(Curve { chart: "workers", name, x: "workers", y: "no-op tasks/s", points });
    }
    Ok(())
}
