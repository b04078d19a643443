//! The state of the check: what is known of each task during the pass over a history.

use std::collections::{BTreeMap, HashMap};

use super::bounds::KnownBounds;
use super::event::{Asked, Event, History, HowEnded, Invariant, Seen, Violation};
use crate::task::{TaskId, Timestamp};

/// The state of the check.
pub(super) struct Checker<'h> {
    pub history: &'h History,
    /// The index of the current event.
    pub at: usize,
    pub tasks: BTreeMap<TaskId, KnownTask<'h>>,
    /// Enqueues without an answer or of unknown outcome, in order.
    pub open_calls: BTreeMap<(u64, u64), Call<'h>>,
    pub workers: HashMap<u64, usize>,
    /// For each lane, the newest task that has started, and the index of its start.
    pub lanes: HashMap<Lane<'h>, (TaskId, usize)>,
    pub bounds: KnownBounds<'h>,
    /// Schedules, with the tasks that they make.
    pub schedules: Vec<(&'h str, &'h Asked)>,
    /// The latest wall time of any start, and whether the clock went back.
    pub latest: Option<Timestamp>,
    pub clock_went_back: bool,
    pub purged: u64,
}

/// Queue, task name, priority, and the key with a limit.
pub(super) type Lane<'h> = (&'h str, &'h str, i16, Option<u64>);

/// An enqueue.
pub(super) struct Call<'h> {
    pub asked: &'h [Asked],
    pub begun: usize,
}

/// What is known of a task.
#[derive(Default)]
pub(super) struct KnownTask<'h> {
    /// The event at which it was acknowledged or replayed.
    pub made: Option<usize>,
    /// The event at which it was first seen, if it comes from an enqueue without an answer.
    pub found: Option<usize>,
    pub asked: Option<&'h Asked>,
    /// The event at which its enqueue began.
    pub asked_at: Option<usize>,
    /// What enqueues with its unique key replaced it by, or may have.
    pub replaced_by: Vec<&'h Asked>,
    /// It was replayed from a dead letter.
    pub is_replay: bool,
    /// The schedule whose run it is; its tick, and the event that had it; whether the run was made
    /// by hand.
    pub schedule: Option<&'h str>,
    pub tick: Option<(Timestamp, usize)>,
    pub by_hand: bool,
    pub deleted: Option<usize>,
    /// The events at which it committed its effect, and at which that was first seen.
    pub committed: Option<usize>,
    pub effect: Option<usize>,
    /// Generations that have started, with the index of the start.
    pub starts: BTreeMap<u64, usize>,
    pub running: Option<(u64, usize)>,
    pub last: Option<Last>,
    /// Since its last start somebody retried it, or made its wait shorter.
    pub retried: bool,
    pub hurried: bool,
    /// How it was seen last, and at which event.
    pub seen: Option<(&'h Seen, usize)>,
    /// A thread was running it when it was seen last.
    pub seen_running: bool,
    pub retried_since_seen: bool,
    pub hurried_since_seen: bool,
    /// Since then its count of attempts may have begun anew (it was replaced).
    pub anew_since_seen: bool,
}

/// The newest attempt.
#[derive(Clone, Copy)]
pub(super) struct Last {
    pub process: u64,
    pub generation: u64,
    pub attempt_number: u32,
    pub at: usize,
    /// It was claimed after this event.
    pub claimed_after: Option<usize>,
    /// How it ended, and at which event; none if it runs or its process died first.
    pub ended: Option<(HowEnded, usize)>,
    /// Its process died after the start.
    pub crashed: bool,
}

impl<'h> Checker<'h> {
    pub fn new(history: &'h History) -> Checker<'h> {
        Checker {
            history,
            at: 0,
            tasks: BTreeMap::new(),
            open_calls: BTreeMap::new(),
            workers: HashMap::new(),
            lanes: HashMap::new(),
            bounds: KnownBounds::default(),
            schedules: Vec::new(),
            latest: None,
            clock_went_back: false,
            purged: 0,
        }
    }

    pub fn broken(
        &self,
        invariant: Invariant,
        task: impl Into<Option<TaskId>>,
        events: &[usize],
        problem: impl Into<String>,
    ) -> Violation {
        let shown = events.iter().map(|at| match &self.history.events[*at] {
            Event::Observed(seen) => {
                format!("Observed({} tasks, {} letters)", seen.tasks.len(), seen.letters.len())
            }
            event => format!("{event:?}"),
        });
        Violation {
            invariant,
            task: task.into(),
            events: events.to_vec(),
            problem: problem.into(),
            shown: shown.collect(),
        }
    }

    pub fn known(&mut self, id: TaskId) -> &mut KnownTask<'h> {
        self.tasks.entry(id).or_default()
    }
}
