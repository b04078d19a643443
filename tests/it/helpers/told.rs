//! What the processes under load have said of one file, and what must therefore be in it: the oracle of the harnesses that kill
//! processes and cut the power.
//!
//! It is held against the file now and then; what has been found right is not read again before the end.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use perdura::{Filter, Queue, State, TaskId, TaskRecord};

use crate::support::*;
use crate::workload::{self, AS_TOLD, Load, load};

/// Which task of which run.
type Name = (u64, u64);

/// What has been said of one file.
#[derive(Default)]
pub struct Told {
    acked: HashMap<TaskId, Name>,
    /// Enqueues that were begun: the name of the first task, and how many. Those that have been looked up are gone.
    tried: BTreeMap<Name, u64>,
    /// What the file was seen to have.
    known: HashMap<TaskId, Name>,
    known_names: HashSet<Name>,
    /// Generations of each task that have started.
    started: HashMap<TaskId, Vec<u64>>,
    names: HashMap<TaskId, Name>,
    /// Tasks that were said to have succeeded, and may therefore be purged if `purges`.
    succeeded: HashSet<Name>,
    purges: bool,
}

/// Where a process was when it ended.
#[derive(Default, Debug)]
pub struct End {
    pub running: usize,
    pub opening: bool,
    pub checkpointing: bool,
    pub purging: bool,
    pub closing: bool,
}

impl Told {
    /// Takes in what one process has said, in order. Answers with where it was at its end.
    pub fn take(&mut self, said: &[String]) -> End {
        let mut running: HashMap<TaskId, u64> = HashMap::new();
        let mut end = End { opening: true, ..End::default() };
        for line in said {
            let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
            let numbers: Vec<u64> = rest.split(' ').map_while(|n| n.parse().ok()).collect();
            match (verb, numbers.as_slice()) {
                ("opening", []) => {}
                ("open", []) => end.opening = false,
                ("checkpointing" | "checkpointed", []) => end.checkpointing = verb == "checkpointing",
                ("purging", []) => (self.purges, end.purging) = (true, true),
                ("purged", []) => end.purging = false,
                ("closing" | "closed", []) => end.closing = verb == "closing",
                ("try", [run, first, size]) => self.begun(*run, *first, *size),
                ("acked", [run, first, ids @ ..]) => {
                    assert!(ids.windows(2).all(|w| w[0] < w[1]), "ids of a batch rise: {line}");
                    self.acked.extend(ids.iter().zip(*first..).map(|(n, name)| (id(*n), (*run, name))));
                }
                ("start", [task, generation, _, run, n]) => {
                    let overlap = running.insert(id(*task), *generation);
                    assert_eq!(overlap, None, "task {task} runs twice at once");
                    self.started.entry(id(*task)).or_default().push(*generation);
                    let before = self.names.insert(id(*task), (*run, *n));
                    assert!(before.is_none_or(|name| name == (*run, *n)), "task {task} has changed its args");
                }
                ("end", [task, generation, well]) => {
                    assert_eq!(running.remove(&id(*task)), Some(*generation), "{line}");
                    if *well == 1 {
                        self.succeeded.insert(self.names[&id(*task)]);
                    }
                }
                ("failed", [run, first]) => self.failed(*run, *first, line),
                _ => panic!("a process said {line:?}"),
            }
        }
        end.running = running.len();
        end
    }

    /// An enqueue was begun; what becomes of it is not known.
    fn begun(&mut self, run: u64, first: u64, size: u64) {
        self.tried.insert((run, first), size);
    }

    /// An enqueue has failed. If it says that it was not done, its tasks would be ghosts.
    fn failed(&mut self, run: u64, first: u64, line: &str) {
        if line.contains(" NotDone ") {
            self.tried.remove(&(run, first));
        }
    }

    /// Takes in what was said too late to count: enqueues that may or may not have been done. Answers with those acknowledged.
    pub fn take_late(&mut self, said: &[String]) -> Vec<TaskId> {
        let mut acked = Vec::new();
        for line in said {
            let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
            let numbers: Vec<u64> = rest.split(' ').map_while(|n| n.parse().ok()).collect();
            match (verb, numbers.as_slice()) {
                ("try", [run, first, size]) => self.begun(*run, *first, *size),
                ("acked", [_, _, ids @ ..]) => acked.extend(ids.iter().map(|n| id(*n))),
                ("failed", [run, first]) => self.failed(*run, *first, line),
                _ => {}
            }
        }
        acked
    }

    /// How many tasks were acknowledged.
    pub fn acked(&self) -> usize {
        self.acked.len()
    }

    /// Holds what was said against what the file has.
    #[track_caller]
    pub fn check(&mut self, queue: &Queue) {
        let records = queue.tasks(Filter::new().limit(usize::MAX)).unwrap();
        let there: HashMap<TaskId, &TaskRecord> = records.iter().map(|r| (r.task_id, r)).collect();
        let mut new = HashSet::new();
        for id in there.keys().filter(|id| !self.known.contains_key(id)).copied().collect::<Vec<_>>() {
            let name = name_of(queue, id);
            assert!(self.known_names.insert(name), "task {id} is there twice");
            self.known.insert(id, name);
            new.insert(name);
        }
        self.check_enqueues(new);
        for (id, name) in self.acked.iter().chain(&self.known) {
            let is_kept = there.contains_key(id) || self.may_be_purged(*name);
            assert!(is_kept, "task {id} was acknowledged, or seen, and is lost");
            assert!(self.known.get(id).is_none_or(|known| known == name), "task {id} is another one now");
        }
        for (id, generations) in &self.started {
            match there.get(id) {
                Some(record) => check_starts(record, generations),
                None => assert!(self.may_be_purged(self.names[id]), "task {id} has started and is lost"),
            }
        }
        assert_sound(queue);
    }

    /// Every enqueue that was begun is there whole or not at all, and nothing else is new.
    fn check_enqueues(&mut self, mut new: HashSet<Name>) {
        for ((run, first), size) in std::mem::take(&mut self.tried) {
            let names = (first..first + size).map(|n| (run, n));
            let is_there = |name: &Name| self.known_names.contains(name) || self.may_be_purged(*name);
            let there = names.clone().filter(is_there).count() as u64;
            assert!(
                there == 0 || there == size,
                "{there} of a batch of {size} are there: {first} of run {run}"
            );
            names.for_each(|name| {
                new.remove(&name);
            });
        }
        assert!(new.is_empty(), "ghosts that nobody enqueued: {new:?}");
    }

    fn may_be_purged(&self, name: Name) -> bool {
        self.purges && self.succeeded.contains(&name)
    }

    /// After the last fault, a whole process brings every task to an end.
    pub fn finish(&mut self, file: &std::path::Path) {
        let queue = Queue::builder().config(workload::config()).handle(load).open(file).unwrap();
        assert!(queue.executes(), "the lock of a killed process is free");
        loop {
            queue.drain().unwrap();
            let counts = queue.counts().unwrap().total();
            if counts.queued() + counts.running == 0 {
                assert_eq!(counts.succeeded + counts.lost, counts.all(), "{counts:?}");
                break;
            }
            std::thread::sleep(Duration::from_millis(1)); // a retry waits for its time
        }
        queue.shutdown(Duration::from_secs(10)).unwrap();
        for lost in queue.tasks(Filter::new().state(State::Lost).limit(usize::MAX)).unwrap() {
            // A kill may fall between an attempt's note and its first word, so fewer starts may be heard than are charged, never more.
            let attempts = queue.attempts(lost.task_id).unwrap();
            assert_eq!(
                (lost.attempt_number, attempts.len()),
                (3, 3),
                "task {} is LOST too early",
                lost.task_id
            );
            let is_told = |a: &perdura::Attempt| {
                a.error_type == "TaskLost" || (a.attempt_number == 1 && a.error_type == AS_TOLD)
            };
            assert!(attempts.iter().all(is_told), "{attempts:?}");
        }
        self.check(&queue);
    }
}

fn id(n: u64) -> TaskId {
    TaskId::from_i64(i64::try_from(n).unwrap())
}

/// Which task this is, by its args.
fn name_of(queue: &Queue, id: TaskId) -> Name {
    let args: Load = serde_json::from_str(&queue.args_json(id).unwrap()).unwrap();
    assert!(args.is_whole(), "the args of task {id} are not what was enqueued");
    (args.run, args.n)
}

/// Each attempt started once, after its claim was durable, and was charged.
fn check_starts(record: &TaskRecord, generations: &[u64]) {
    let id = record.task_id;
    let distinct: HashSet<_> = generations.iter().collect();
    assert_eq!(distinct.len(), generations.len(), "an attempt of task {id} started twice: {generations:?}");
    let newest = generations.iter().max().copied().unwrap_or(0);
    assert!(
        record.generation >= newest,
        "task {id} started generation {newest} before its claim was durable"
    );
    let starts = u32::try_from(generations.len()).unwrap();
    assert!(starts <= record.attempt_number, "an attempt of task {id} was not counted");
}

/// Numbers by chance, the same for the same seed.
pub struct Chance(pub u64);

impl Chance {
    /// A number below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    /// A time below `limit`.
    pub fn time(&mut self, limit: Duration) -> Duration {
        Duration::from_micros(self.below(u64::try_from(limit.as_micros()).unwrap()))
    }
}
