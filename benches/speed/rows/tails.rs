//! The tails of every wait on an idle queue. (Those beside a full load are in `soak`.)

use std::error::Error;
use std::time::Duration;

use perdura::Durability::{Full, Relaxed};
use perdura::Queue;

use crate::Asked;
use crate::measure::Rounds;
use crate::probe::Probe;
use crate::report::{Report, Row, Target};
use crate::work::{Scratch, name_of};

pub fn tails(asked: &Asked, report: &mut Report) -> Result<(), Box<dyn Error>> {
    let lives = if asked.quick { 500 } else { 5000 };
    for durability in [Full, Relaxed] {
        let scratch = Scratch::new(&asked.dir);
        let builder = Queue::builder().durability(durability).workers(2);
        let probe = Probe::open(builder, |builder| builder.open(scratch.path()))?;
        let mut left = lives;
        let waits = probe.lives(Duration::from_millis(2), || {
            left -= 1;
            left > 0
        })?;
        for (name, figure) in waits.percentiles() {
            report.row(Row {
                name: format!("idle: {name}"),
                synchronous: name_of(durability),
                unit: "µs",
                raw: None,
                perdura: Rounds(vec![figure]),
                judged: Rounds(vec![figure]),
                target: Target::None,
            });
        }
    }
    Ok(())
}
