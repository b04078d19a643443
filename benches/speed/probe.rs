//! A task that tells when it starts, and so the three waits in its life.

use std::error::Error;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, bounded};
use perdura::{Builder, Context, Options, Queue, Task};
use serde::{Deserialize, Serialize};

use crate::measure::{micros, percentile};

#[derive(Serialize, Deserialize)]
struct Told;

impl Task for Told {
    const NAME: &'static str = "told";
    type Output = ();
    /// Before everything else that is ready: beside a load it waits for the machine, not for its place in the queue.
    fn options(&self) -> Options {
        Options::new().priority(100)
    }
}

/// A queue that can be probed.
pub struct Probe {
    pub queue: Queue,
    starts: Receiver<Instant>,
}

/// Sorted microseconds of each wait.
pub struct Waits {
    /// Until the enqueue returns: the task is durable.
    pub enqueue: Vec<f64>,
    /// From the enqueue until the handler starts.
    pub start: Vec<f64>,
    /// From then, for a handler that does nothing, until a waiting thread knows its durable result.
    pub settle: Vec<f64>,
}

impl Probe {
    /// Opens a queue whose settings and other handlers are these.
    pub fn open(
        builder: Builder,
        open: impl FnOnce(Builder) -> Result<Queue, perdura::Error>,
    ) -> Result<Probe, perdura::Error> {
        let (started, starts) = bounded(1);
        let handler = move |_: Told, _: &Context| {
            let _ = started.send(Instant::now());
            Ok(())
        };
        Ok(Probe { queue: open(builder.handle(handler))?, starts })
    }

    /// Lets one task after the other live, `pause` apart, as long as `more` says so.
    pub fn lives(&self, pause: Duration, mut more: impl FnMut() -> bool) -> Result<Waits, Box<dyn Error>> {
        let (mut enqueue, mut start, mut settle) = (Vec::new(), Vec::new(), Vec::new());
        while more() {
            std::thread::sleep(pause);
            let began = Instant::now();
            let id = self.queue.enqueue(&Told)?.id();
            enqueue.push(began.elapsed());
            let started = self.starts.recv()?;
            start.push(started.duration_since(began));
            self.queue.wait(id, Duration::from_secs(60))?;
            settle.push(started.elapsed());
        }
        Ok(Waits { enqueue: micros(enqueue), start: micros(start), settle: micros(settle) })
    }
}

impl Waits {
    pub fn len(&self) -> usize {
        self.enqueue.len()
    }

    /// Each wait by name and percentile.
    pub fn percentiles(&self) -> impl Iterator<Item = (String, f64)> + '_ {
        let kinds = [
            ("enqueue returns", &self.enqueue),
            ("enqueue → handler starts", &self.start),
            ("handler ends → its waiter has the durable result", &self.settle),
        ];
        let shares = [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("most", 1.0)];
        kinds.into_iter().flat_map(move |(kind, times)| {
            shares.into_iter().map(move |(name, share)| (format!("{kind}, {name}"), percentile(times, share)))
        })
    }
}
