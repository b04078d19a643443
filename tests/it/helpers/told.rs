//! What the processes under load have said of one file, and what must therefore be in it: the oracle of the harnesses that kill
//! processes and cut the power.
//!
//! It is held against the file now and then; what has been found right is not read again before the end.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use perdura::{Filter, Overlap, Queue, State, Task, TaskId, TaskRecord};

use crate::bounded::{self, Line, PACED, RATE, Rhythm, Run};
#[cfg(feature = "rusqlite")]
use crate::deeds::Deeds;
use crate::support::*;
use crate::workload::{self, AS_TOLD, Load};

/// Which task of which process; or [`RUN`] and its id, of a task that a schedule has made.
type Name = (u64, u64);

/// What stands for the process in the name of a run.
pub const RUN: u64 = u64::MAX;

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
    /// The schedule of each run.
    runs: HashMap<TaskId, u64>,
    /// Which task was made by which tick of which schedule, in milliseconds.
    ticks: BTreeMap<(u64, u64), TaskId>,
    /// Who was the newest to start of each line in which one starts after the other, and whose first start was the newest.
    turns: HashMap<String, (TaskId, TaskId)>,
    /// Who has made way for the next of its line, and must therefore have ended.
    made_way: HashSet<TaskId>,
    /// Starts of tasks that stand in a line.
    in_lines: u64,
    #[cfg(feature = "rusqlite")]
    deeds: Deeds,
}

/// What one process runs.
#[derive(Default)]
struct Running {
    /// The generation of each task that runs, and the lines in which it stands.
    attempts: HashMap<TaskId, (u64, Vec<Line>)>,
    /// How many tasks of each line run.
    at_once: HashMap<String, usize>,
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
        let mut running = Running::default();
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
                ("hand", [schedule, task]) => {
                    self.acked.insert(id(*task), (RUN, *task));
                    self.runs.insert(id(*task), *schedule);
                }
                ("start", [task, generation, _, run, n]) => {
                    let lines = bounded::line(*n).into_iter().collect();
                    self.starts(&mut running, id(*task), *generation, (*run, *n), lines);
                }
                ("run", [task, generation, _, schedule, tick]) => {
                    self.starts(
                        &mut running,
                        id(*task),
                        *generation,
                        (RUN, *task),
                        bounded::lines_of_run(*schedule),
                    );
                    self.runs.insert(id(*task), *schedule);
                    if !matches!(Rhythm::of(*schedule), Rhythm::ByHand) {
                        let before = self.ticks.insert((*schedule, *tick), id(*task));
                        assert!(
                            before.is_none_or(|other| other == id(*task)),
                            "a tick has made two tasks: {line}"
                        );
                    }
                }
                ("end", [task, generation, well]) => {
                    let ended = running.attempts.remove(&id(*task));
                    let (started, lines) = ended.unwrap_or_else(|| panic!("what ends does not run: {line}"));
                    assert_eq!(started, *generation, "{line}");
                    lines.iter().for_each(|line| *running.at_once.entry(line.name.clone()).or_default() -= 1);
                    if *well == 1 {
                        self.succeeded.insert(self.names[&id(*task)]);
                    }
                }
                ("back", [task, generation, _]) => {
                    let ended = running.attempts.remove(&id(*task));
                    let (_, lines) = ended.unwrap_or_else(|| panic!("what stops does not run: {line}"));
                    lines.iter().for_each(|line| *running.at_once.entry(line.name.clone()).or_default() -= 1);
                    self.started.entry(id(*task)).or_default().retain(|started| started != generation);
                }
                ("failed", [run, first]) => self.failed(*run, *first, line),
                #[cfg(feature = "rusqlite")]
                ("step", [task]) => self.deeds.begins(id(*task)),
                #[cfg(feature = "rusqlite")]
                ("stepped", [task]) => self.deeds.kept(id(*task)),
                #[cfg(feature = "rusqlite")]
                ("order", [run, n]) => self.deeds.ordered(*run, *n),
                _ => panic!("a process said {line:?}"),
            }
        }
        end.running = running.attempts.len();
        end
    }

    /// An attempt has started. No line may have more of them at once than it allows, and where that is one, its task is the next.
    fn starts(&mut self, running: &mut Running, id: TaskId, generation: u64, name: Name, lines: Vec<Line>) {
        for line in &lines {
            let at_once = running.at_once.entry(line.name.clone()).or_default();
            *at_once += 1;
            assert!(*at_once <= line.most, "{at_once} tasks of {:?} run at once, task {id} too", line.name);
            if line.most == 1 {
                self.has_turn(line, id);
            }
        }
        self.in_lines += u64::from(!lines.is_empty());
        let overlap = running.attempts.insert(id, (generation, lines));
        assert!(overlap.is_none(), "task {id} runs twice at once");
        self.started.entry(id).or_default().push(generation);
        let before = self.names.insert(id, name);
        assert!(before.is_none_or(|before| before == name), "task {id} has changed its args");
    }

    /// A task of a line starts in which one starts after the other.
    fn has_turn(&mut self, line: &Line, id: TaskId) {
        let (newest, first) = self.turns.get(&line.name).copied().unwrap_or((id, id));
        if newest != id {
            self.made_way.insert(newest);
        }
        assert!(
            !self.made_way.contains(&id),
            "task {id} of {:?} starts behind one that came after it",
            line.name
        );
        assert!(self.started.contains_key(&id) || id >= first, "task {id} of {:?} was overtaken", line.name);
        self.turns.insert(line.name.clone(), (id, id.max(first)));
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
                ("hand", [_, task]) => acked.push(id(*task)),
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

    /// How many ticks have started a task, and how many attempts of tasks with a limit, a serial key or a schedule have started.
    pub fn bounded(&self) -> (usize, u64) {
        (self.ticks.len(), self.in_lines)
    }

    /// Holds what was said against what the file has.
    #[track_caller]
    pub fn check(&mut self, queue: &Queue) {
        let records = queue.tasks(Filter::new().limit(usize::MAX)).unwrap();
        let there: HashMap<TaskId, &TaskRecord> = records.iter().map(|r| (r.task_id, r)).collect();
        let mut new = HashSet::new();
        for id in there.keys().filter(|id| !self.known.contains_key(id)).copied().collect::<Vec<_>>() {
            let name = self.name_of(queue, there[&id]);
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
        for id in self.made_way.drain() {
            let has_ended = there.get(&id).is_none_or(|record| record.state.is_finished());
            assert!(has_ended, "another one of its line started before task {id} had ended");
        }
        #[cfg(feature = "rusqlite")]
        self.deeds.check(queue, &there, &self.known, &self.names, |name| self.may_be_purged(name));
        self.check_fired(queue, &there);
        check_rate(queue, &records);
        assert_sound(queue);
    }

    /// Each tick that a schedule has fired has made a task.
    fn check_fired(&self, queue: &Queue, there: &HashMap<TaskId, &TaskRecord>) {
        for record in queue.schedules().unwrap() {
            let is_mine = |schedule: &u64| bounded::name(*schedule) == record.schedule;
            let schedule = bounded::schedules().find(is_mine).unwrap();
            if matches!(Rhythm::of(schedule), Rhythm::ByHand) {
                continue;
            }
            let made = there.keys().filter(|id| self.runs.get(id) == Some(&schedule)).count() as u64;
            let is_right = made == record.fired || (self.purges && made < record.fired);
            assert!(is_right, "{made} runs are there: {record:?}");
            let seen = self.ticks.range((schedule, 0)..(schedule + 1, 0)).count() as u64;
            assert!(seen <= record.fired, "{seen} ticks were seen: {record:?}");
        }
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
        new.retain(|(process, _)| *process != RUN);
        #[cfg(feature = "rusqlite")]
        let new = Deeds::without_children(new);
        assert!(new.is_empty(), "ghosts that nobody enqueued: {new:?}");
    }

    fn may_be_purged(&self, name: Name) -> bool {
        self.purges && (self.succeeded.contains(&name) || self.may_be_replaced(name))
    }

    /// Whether it is a run whose place a newer one may have taken: it is cancelled then.
    fn may_be_replaced(&self, (process, n): Name) -> bool {
        process == RUN
            && self.runs.get(&id(n)).is_some_and(|schedule| bounded::overlap(*schedule) == Overlap::Replace)
            && !self.started.contains_key(&id(n))
    }

    /// Which task this is, by its args.
    fn name_of(&mut self, queue: &Queue, record: &TaskRecord) -> Name {
        let (id, args) = (record.task_id, queue.args_json(record.task_id).unwrap());
        if record.task_name == Run::NAME {
            let run: Run = serde_json::from_str(&args).unwrap();
            let before = self.runs.insert(id, run.schedule);
            assert!(before.is_none_or(|schedule| schedule == run.schedule), "task {id} has changed its args");
            return (RUN, id.as_i64().cast_unsigned());
        }
        let args: Load = serde_json::from_str(&args).unwrap();
        assert!(args.is_whole(), "the args of task {id} are not what was enqueued");
        (args.run, args.n)
    }

    /// After the last fault, a whole process brings every task to an end.
    pub fn finish(&mut self, file: &std::path::Path) {
        let queue = workload::builder().share_as_found(true).open(file).unwrap();
        assert!(queue.executes(), "the lock of a killed process is free");
        for schedule in queue.schedules().unwrap() {
            queue.pause_schedule(&schedule.schedule).unwrap();
        }
        loop {
            queue.drain().unwrap();
            let counts = queue.counts().unwrap().total();
            if counts.queued() + counts.running == 0 {
                assert_eq!(counts.succeeded + counts.lost + counts.cancelled, counts.all(), "{counts:?}");
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
        for cancelled in queue.tasks(Filter::new().state(State::Cancelled).limit(usize::MAX)).unwrap() {
            let was_replaced = cancelled.error_type.as_deref() == Some("Replaced");
            assert!(was_replaced && cancelled.task_name == Run::NAME, "{cancelled:?}");
        }
        self.check(&queue);
        self.check_ticks();
        assert_eq!(places_taken(file), 0, "nothing is left to do, and somebody stands in a line");
    }

    /// What ticks each so often does so without drift; what follows an end comes so long after it.
    fn check_ticks(&self) {
        let ticks: Vec<(u64, u64)> = self.ticks.keys().copied().collect();
        for pair in ticks.windows(2).filter(|pair| pair[0].0 == pair[1].0) {
            let apart = Duration::from_millis(pair[1].1 - pair[0].1);
            let is_right = match Rhythm::of(pair[0].0) {
                Rhythm::Every(period) => apart.as_millis().is_multiple_of(period.as_millis()),
                Rhythm::AfterEnd(pause) => apart >= pause,
                Rhythm::ByHand => true,
            };
            assert!(is_right, "ticks of schedule {} are {apart:?} apart", pair[0].0);
        }
    }
}

/// How many tasks have a permit, or wait for one.
fn places_taken(file: &std::path::Path) -> i64 {
    let conn = rusqlite::Connection::open(file).unwrap();
    let sql = "SELECT COUNT(*) FROM perdura_limits WHERE standing <> 0";
    conn.query_row(sql, [], |row| row.get(0)).unwrap()
}

/// In no time more tasks of the queue with the rate were claimed than it allows. What was handed back does not count.
fn check_rate(queue: &Queue, records: &[TaskRecord]) {
    let mut claims = Vec::new();
    for record in records.iter().filter(|record| record.queue == PACED) {
        let mut of_task = BTreeMap::new();
        if record.generation > 1 {
            let ended = queue.attempts(record.task_id).unwrap();
            of_task.extend(ended.iter().map(|attempt| (attempt.generation, attempt.started_at)));
        }
        if record.state != State::Queued {
            of_task.extend(record.started_at.map(|started| (record.generation, started)));
        }
        claims.extend(of_task.into_values().map(|time| time.as_millis() * 1000));
    }
    claims.sort_unstable();
    let interval = i64::try_from(RATE.interval().as_micros()).unwrap();
    let mut next = i64::MIN; // what the claims before have spent lasts until then
    for claim in claims {
        let ahead = next.saturating_sub(claim);
        assert!(ahead <= i64::from(RATE.burst - 1) * interval, "{ahead} µs too early for {RATE}");
        next = next.max(claim) + interval;
    }
}

fn id(n: u64) -> TaskId {
    TaskId::from_i64(i64::try_from(n).unwrap())
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
