//! SIGKILL at random moments, also while a process opens the file and recovers it: nothing acknowledged is lost, nothing appears
//! that nobody asked for, nothing runs twice at once, no attempt goes uncounted.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::ops::Range;
use std::time::Duration;

use perdura::{Config, Filter, Queue, State, TaskId};

use crate::child::{Child, Noted, noted};
use crate::support::*;

const ROUNDS: u32 = 200;
const ROUNDS_A_FILE: u32 = 25;
const ROUNDS_WITH_WORK: u32 = 50;
const BATCH: usize = 5;

/// What the children of one file have said.
#[derive(Default)]
struct Told {
    acked: HashSet<TaskId>,
    /// Ids that were acknowledged together.
    batches: Vec<Vec<TaskId>>,
    /// (process, numbers) of every enqueue that was begun.
    tried: Vec<(u32, Range<u64>)>,
    /// Generations of each task that have started.
    started: BTreeMap<TaskId, Vec<u64>>,
}

impl Told {
    /// Takes in what one process has said, in order. Answers with how many attempts were running at its end.
    fn take(&mut self, said: &[String]) -> usize {
        let mut running: HashMap<TaskId, u64> = HashMap::new();
        for line in said {
            let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
            let numbers: Vec<u64> = rest.split(' ').filter_map(|n| n.parse().ok()).collect();
            let id = |n: u64| TaskId::from_i64(i64::try_from(n).unwrap());
            match (verb, numbers.as_slice()) {
                ("try", [process, first, size]) => {
                    self.tried.push((u32::try_from(*process).unwrap(), *first..first + size));
                }
                ("acked", ids) => {
                    let ids: Vec<TaskId> = ids.iter().map(|n| id(*n)).collect();
                    assert!(ids.windows(2).all(|w| w[0] < w[1]), "ids of a batch rise: {line}");
                    self.acked.extend(&ids);
                    self.batches.push(ids);
                }
                ("start", [task, generation, _]) => {
                    assert_eq!(
                        running.insert(id(*task), *generation),
                        None,
                        "task {task} runs twice at once"
                    );
                    self.started.entry(id(*task)).or_default().push(*generation);
                }
                ("end", [task, generation]) => {
                    assert_eq!(running.remove(&id(*task)), Some(*generation), "{line}")
                }
                _ => {}
            }
        }
        running.len()
    }

    /// Holds what was said against what the file has.
    fn check(&self, queue: &Queue) {
        let records = queue.tasks(Filter::new().limit(usize::MAX)).unwrap();
        let there: HashMap<TaskId, _> = records.iter().map(|r| (r.task_id, r)).collect();
        for id in &self.acked {
            assert!(there.contains_key(id), "task {id} was acknowledged and is lost");
        }
        let mut numbers = HashSet::new();
        for record in &records {
            let args: Noted = serde_json::from_str(&queue.args_json(record.task_id).unwrap()).unwrap();
            assert!(numbers.insert((args.process, args.n)), "task {} is there twice", record.task_id);
        }
        for (process, batch) in &self.tried {
            let there = batch.clone().filter(|n| numbers.remove(&(*process, *n))).count() as u64;
            assert!(
                there == 0 || there == batch.end - batch.start,
                "a batch is there in part: {process} {batch:?}"
            );
        }
        assert!(numbers.is_empty(), "ghosts that nobody enqueued: {numbers:?}");
        for (id, generations) in &self.started {
            let record = there[id];
            let distinct: HashSet<_> = generations.iter().collect();
            assert_eq!(
                distinct.len(),
                generations.len(),
                "an attempt of task {id} started twice: {generations:?}"
            );
            let newest = *generations.iter().max().unwrap();
            assert!(
                record.generation >= newest,
                "task {id} started generation {newest} before its claim was durable"
            );
            assert!(
                generations.len() as u32 <= record.max_attempts,
                "an attempt of task {id} was not counted"
            );
        }
        assert_sound(queue);
    }
}

#[test]
fn g01_g03_g06_g08_nothing_is_lost_or_doubled_by_kill_9() {
    let seed = RandomState::new().hash_one(0);
    let mut random = seed;
    let mut with_work = 0;
    for file in 0..ROUNDS / ROUNDS_A_FILE {
        let folder = Folder::new();
        let mut told = Told::default();
        for round in 0..ROUNDS_A_FILE {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let mut child = Child::start("work", &folder.file());
            let mut said = Vec::new();
            if round % 4 != 0 {
                said.extend(std::iter::from_fn(|| child.line()).take_while(|line| line != "open"));
            }
            std::thread::sleep(Duration::from_micros((random >> 33) % 30_000));
            said.extend(child.kill());
            let running = told.take(&said);
            with_work += u32::from(running > 0);
            let queue = Queue::builder().open(folder.file()).unwrap();
            told.check(&queue);
            assert!(
                told.batches.iter().all(|b| b.len() == 1 || b.len() == BATCH),
                "file {file}, seed {seed}"
            );
        }
        finish(&folder, &told);
    }
    assert!(with_work >= ROUNDS_WITH_WORK, "only {with_work} of {ROUNDS} rounds had work in flight");
}

/// After the last kill, a whole process brings every task to an end.
fn finish(folder: &Folder, told: &Told) {
    let config = Config { workers: 3, retention: None, ..Config::default() };
    let queue = Queue::builder().config(config).handle(noted).open(folder.file()).unwrap();
    assert!(queue.executes(), "the lock of a killed process is free");
    queue.drain().unwrap();
    queue.shutdown(Duration::from_secs(10)).unwrap();
    let total = queue.counts().unwrap().total();
    assert_eq!(total.succeeded + total.lost, total.all(), "{total:?}");
    for lost in queue.tasks(Filter::new().state(State::Lost).limit(usize::MAX)).unwrap() {
        // A kill may fall between an attempt's note and its first word, so fewer starts may be heard than are charged, never more.
        let attempts = queue.attempts(lost.task_id).unwrap();
        assert_eq!((lost.attempt_number, attempts.len()), (3, 3), "task {} is LOST too early", lost.task_id);
        assert!(attempts.iter().all(|a| a.error_type == "TaskLost"), "{attempts:?}");
    }
    told.check(&queue);
}
