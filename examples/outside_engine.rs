//! A small engine: perdura keeps the tasks, and something else does their work, under ids. Here it is threads; it could be a cluster.
//!
//! `cargo run --example outside_engine`

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::thread::{sleep, spawn};
use std::time::Duration;

use perdura::engine::{Collected, Engine, EngineError, JobEnd, JobId, JobStatus, NamedEngine};
use perdura::{Queue, Task};

#[derive(serde::Serialize, serde::Deserialize)]
struct Film(u32);

impl Task for Film {
    const NAME: &'static str = "film";
    type Output = String;
}

struct Farm(BTreeMap<JobId, Arc<OnceLock<JobEnd>>>); // its jobs, and how they have ended

impl Engine for Farm {
    type Spec = u32; // what a job is: so many frames
    fn start(&mut self, id: &JobId, frames: &u32) -> Result<(), EngineError> {
        if !self.0.contains_key(id) {
            let (frames, end) = (*frames, self.0.entry(id.clone()).or_default().clone());
            spawn(move || {
                (0..frames).take_while(|_| end.get().is_none()).for_each(|_| sleep(Duration::from_millis(1)));
                end.get_or_init(|| JobEnd::Succeeded);
            });
        }
        Ok(())
    }
    fn poll(&mut self, ids: &[JobId]) -> Result<Vec<JobStatus>, EngineError> {
        let of_job = |end: &Arc<OnceLock<_>>| end.get().cloned().map_or(JobStatus::Running, JobStatus::Ended);
        Ok(ids.iter().map(|id| self.0.get(id).map_or(JobStatus::Absent, of_job)).collect())
    }
    fn cancel(&mut self, id: &JobId) -> Result<(), EngineError> {
        self.0.get(id).map(|end| end.get_or_init(|| JobEnd::Cancelled));
        Ok(())
    }
    fn collect(&mut self, id: &JobId) -> Result<Collected, EngineError> {
        Ok(Collected::new().result(format!("/films/{id}")))
    }
    fn remembers(&self) -> Duration {
        Duration::ZERO // the ids are gone when this process ends
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let farm = NamedEngine::new("farm", Farm(BTreeMap::new())).poll_interval(Duration::from_millis(100));
    let queue = Queue::builder().outside(&farm, |Film(n), _| Ok(n), |_, end| end.text()).open_temporary()?;
    let [short, long] = [queue.enqueue(&Film(24))?.id(), queue.enqueue(&Film(u32::MAX))?.id()];
    println!("{}", queue.wait_result::<Film>(short, Duration::from_secs(60))?);
    queue.cancel(long)?;
    println!("the other film is {}", queue.wait(long, Duration::from_secs(60))?.state);
    Ok(())
}
