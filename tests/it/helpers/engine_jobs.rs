//! What the tests of engines share: the next poll, and the checks after kills.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use perdura::testing::SteppedQueue;
use perdura::{Queue, TaskId, TaskRecord};

use crate::support::*;

/// The time between two polls, unless an engine is told otherwise.
pub const LOOK: Duration = Duration::from_secs(2);

/// Lets time pass until the next poll, and polls.
pub fn look(tests: &mut SteppedQueue) {
    tests.advance(LOOK).unwrap();
    tests.poll_engines().unwrap();
}

pub fn get(tests: &SteppedQueue, id: TaskId) -> TaskRecord {
    assert_sound(tests.queue());
    tests.queue().get(id).unwrap()
}

pub fn is_accepted(task: &TaskRecord) -> bool {
    task.outside.as_ref().is_some_and(|outside| outside.accepted_at.is_some())
}

/// Waits until nothing is queued and nothing runs.
pub fn await_ends(queue: &Queue) {
    let until = Instant::now() + 10 * MINUTE;
    loop {
        let counts = queue.counts().unwrap().total();
        if counts.running + counts.queued() == 0 {
            break;
        }
        assert!(Instant::now() < until, "{counts:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_sound(queue);
}

/// How many jobs have noted their ids in this file as they began; none did so twice.
pub fn began_once(starts: &Path) -> usize {
    let mut began = BTreeMap::new();
    for job in std::fs::read_to_string(starts).unwrap().lines() {
        *began.entry(job.to_owned()).or_insert(0) += 1;
    }
    let twice: Vec<_> = began.iter().filter(|(_, starts)| **starts > 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
    began.len()
}
