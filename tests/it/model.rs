//! The whole queue against a small reference: sequences of operations on a manual clock, compared after each one.
//!
//! The model is written from the rules alone (the table of states, the order of claims, what time does) and shares no code with
//! the library. The fuzz target `operations` includes this file too.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use perdura::testing::{ManualClock, SteppedQueue};
use perdura::{
    Clock, Config, Context, Enqueued, Error, Failure, Filter, Hold, Options, Queue, State, Task, TaskId,
};
use serde::{Deserialize, Serialize};

/// What a test does to a queue.
#[derive(Debug, Clone)]
pub enum Op {
    Enqueue {
        queue: u8,
        priority: i16,
        delay: u16,
        key: Option<u8>,
        max: u32,
        expires: u16,
        does: Does,
        known: bool,
    },
    EnqueueAll {
        queue: u8,
        n: u8,
    },
    RunOne,
    RunAll,
    Advance {
        seconds: u32,
    },
    Suspend {
        seconds: u32,
    },
    JumpBack {
        seconds: u32,
    },
    Retry(u8),
    Cancel(u8),
    Delete(u8),
    RunNow(u8),
    Pause(u8),
    Resume(u8),
    RetryAll,
    Bury,
    Replay(u8),
    Reopen {
        knows_other: bool,
    },
    Die {
        started: bool,
        knows_other: bool,
    },
}

/// What a task's handler does.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Does {
    Succeed,
    Fail,
    FailForGood,
    FailDenied,
    Snooze,
    Cancel,
    SucceedAtLast,
}

#[derive(Serialize, Deserialize)]
struct Known(Does);
impl Task for Known {
    const NAME: &'static str = "known";
}

/// Only some programs have a handler for it.
#[derive(Serialize, Deserialize)]
struct Other(Does);
impl Task for Other {
    const NAME: &'static str = "other";
}

const SNOOZE: u64 = 30_000;

fn perform(does: Does, cx: &Context) -> Result<u32, Failure> {
    match does {
        Does::Succeed => Ok(1),
        Does::Fail => Err(Failure::named("told.to", "fail")),
        Does::FailForGood => Err(Failure::permanent("for good")),
        Does::FailDenied => Err(Failure::named("denied.here", "denied")),
        Does::Snooze => Err(Failure::snooze(Duration::from_millis(SNOOZE))),
        Does::Cancel => Err(Failure::cancel("no")),
        Does::SucceedAtLast if cx.attempt_number() == cx.max_attempts() => Ok(2),
        Does::SucceedAtLast => Err(Failure::named("told.to", "fail")),
    }
}

/// Turns bytes into operations, four bytes each; every input is one.
pub fn decode(bytes: &[u8]) -> Vec<Op> {
    bytes.chunks_exact(4).map(|b| decode_one([b[0], b[1], b[2], b[3]])).collect()
}

fn decode_one([kind, a, b, c]: [u8; 4]) -> Op {
    const DOES: [Does; 7] = [
        Does::Succeed,
        Does::Fail,
        Does::FailForGood,
        Does::FailDenied,
        Does::Snooze,
        Does::Cancel,
        Does::SucceedAtLast,
    ];
    match kind % 32 {
        0..=8 => Op::Enqueue {
            queue: a % 3,
            priority: i16::from(a / 3 % 3) - 1,
            delay: if b % 4 == 0 { u16::from(b) } else { 0 },
            key: (c % 3 == 0).then_some(c / 3 % 4),
            max: u32::from(c % 4) + 1,
            expires: if b % 5 == 0 { u16::from(b) } else { 0 },
            does: DOES[usize::from(c / 4) % DOES.len()],
            known: a % 8 != 7,
        },
        9 => Op::EnqueueAll { queue: a % 3, n: b % 5 },
        10..=14 => Op::RunOne,
        15 => Op::RunAll,
        16 | 17 => Op::Advance { seconds: u32::from(a) * (1 + u32::from(b % 4) * 20) },
        18 => Op::Suspend { seconds: u32::from(a) * 10 },
        19 => Op::JumpBack { seconds: u32::from(a) * u32::from(b) * u32::from(c) },
        20 => Op::Retry(a),
        21 | 22 => Op::Cancel(a),
        23 => Op::Delete(a),
        24 => Op::RunNow(a),
        25 => Op::Pause(a % 3),
        26 => Op::Resume(a % 3),
        27 => Op::RetryAll,
        28 => Op::Bury,
        29 => Op::Replay(a),
        30 => Op::Reopen { knows_other: a % 2 == 0 },
        _ => Op::Die { started: a % 3 != 0, knows_other: b % 2 == 0 },
    }
}

/// What the model knows of a task.
#[derive(Debug, Clone, PartialEq)]
struct Row {
    queue: u8,
    priority: i16,
    state: State,
    hold: Hold,
    attempt: u32,
    max: u32,
    generation: u64,
    run_at: Option<i64>,
    anchor: Option<i64>,
    expires: Option<i64>,
    key: Option<u8>,
    does: Does,
    known: bool,
    suspect: bool,
}

impl Row {
    fn is_live(&self) -> bool {
        matches!(self.state, State::Queued | State::Running)
    }

    fn queue_again(&mut self, hold: Hold) {
        self.state = State::Queued;
        self.hold = hold;
    }

    fn wait(&mut self, now: i64, delay: i64) {
        self.queue_again(Hold::Time);
        self.run_at = Some(now + delay);
        self.anchor = Some(now);
    }

    fn end(&mut self, state: State) {
        self.state = state;
        self.hold = Hold::Ready;
        self.suspect = false;
    }

    /// Where it goes that waits for nothing else.
    fn unheld(&self) -> Hold {
        if self.suspect { Hold::Suspect } else { Hold::Ready }
    }
}

/// The reference.
#[derive(Default)]
struct Model {
    rows: BTreeMap<i64, Row>,
    letters: BTreeMap<i64, (Row, bool)>,
    last_id: i64,
    paused: BTreeSet<u8>,
    /// Queues in the order in which the file met them.
    met: Vec<u8>,
    /// The queue that was served last.
    cursor: Option<u8>,
    knows_other: bool,
}

impl Model {
    fn meet(&mut self, queue: u8) {
        if !self.met.contains(&queue) {
            self.met.push(queue);
        }
    }

    fn holder(&self, queue: u8, key: Option<u8>) -> Option<i64> {
        let key = key?;
        self.rows
            .iter()
            .find(|(_, r)| r.queue == queue && r.key == Some(key) && r.is_live())
            .map(|(id, _)| *id)
    }

    fn insert(&mut self, row: Row) -> i64 {
        self.last_id += 1;
        self.rows.insert(self.last_id, row);
        self.last_id
    }

    /// What the next claim takes: queues take turns, then priority, then id. Expired tasks that it meets are cancelled, tasks of
    /// unknown name are held.
    fn claim(&mut self, now: i64) -> Option<i64> {
        self.pass_turn();
        let mut queues: Vec<u8> = self
            .met
            .iter()
            .copied()
            .filter(|q| !self.paused.contains(q) && self.head(*q).is_some())
            .collect();
        if let Some(cursor) = self.cursor {
            let place = |q: &u8| self.met.iter().position(|m| m == q);
            let next = queues.iter().position(|q| place(q) > place(&cursor)).unwrap_or(0);
            queues.rotate_left(next);
        }
        while !queues.is_empty() {
            let mut kept = Vec::new();
            for queue in queues {
                self.cursor = Some(queue);
                let Some(id) = self.head(queue) else { continue };
                let knows = self.knows_other;
                let row = self.rows.get_mut(&id).unwrap();
                if row.expires.is_some_and(|at| at <= now) {
                    row.end(State::Cancelled);
                } else if row.known || knows {
                    row.state = State::Running;
                    row.attempt += 1;
                    row.generation += 1;
                    return Some(id);
                } else {
                    row.hold = Hold::UnknownName;
                }
                kept.push(queue);
            }
            queues = kept;
        }
        None
    }

    fn head(&self, queue: u8) -> Option<i64> {
        let ready = self
            .rows
            .iter()
            .filter(|(_, r)| r.queue == queue && r.state == State::Queued && r.hold == Hold::Ready);
        ready.max_by_key(|(id, r)| (r.priority, std::cmp::Reverse(**id))).map(|(id, _)| *id)
    }

    fn settle(&mut self, id: i64, now: i64) {
        let row = self.rows.get_mut(&id).unwrap();
        let backoff = (60_000_i64 << (row.attempt - 1)).min(24 * 3_600_000);
        let left = row.attempt < row.max;
        row.suspect = false;
        match row.does {
            Does::Succeed => row.end(State::Succeeded),
            Does::SucceedAtLast if !left => row.end(State::Succeeded),
            Does::Fail | Does::SucceedAtLast if left => row.wait(now, backoff),
            Does::Fail | Does::SucceedAtLast | Does::FailForGood | Does::FailDenied => row.end(State::Failed),
            Does::Snooze => {
                row.attempt -= 1;
                row.wait(now, i64::try_from(SNOOZE).unwrap());
            }
            Does::Cancel => row.end(State::Cancelled),
        }
    }

    /// What time does: jumps back are noticed first, then tasks expire, then waits end.
    fn tick(&mut self, now: i64) {
        for row in self.rows.values_mut().filter(|r| r.state == State::Queued) {
            if row.hold == Hold::Time
                && let (Some(run_at), Some(anchor)) = (row.run_at, row.anchor)
                && anchor > now
            {
                row.run_at = Some(now + run_at - anchor);
                row.anchor = Some(now);
            }
            if row.expires.is_some_and(|at| at <= now) {
                row.end(State::Cancelled);
            } else if row.hold == Hold::Time && row.run_at.is_some_and(|at| at <= now) {
                row.hold = row.unheld();
            }
        }
    }

    /// The oldest suspect gets the turn, unless one has it.
    fn pass_turn(&mut self) {
        let active = |r: &Row| r.suspect && r.state == State::Queued && r.hold == Hold::Ready;
        let on = |r: &Row| {
            (r.suspect && r.state == State::Running) || (active(r) && !self.paused.contains(&r.queue))
        };
        if self.rows.values().any(on) {
            return;
        }
        let paused = &self.paused;
        let next = self.rows.values_mut().find(|r| {
            r.suspect && r.state == State::Queued && r.hold == Hold::Suspect && !paused.contains(&r.queue)
        });
        if let Some(row) = next {
            row.hold = Hold::Ready;
        }
    }

    fn retry(&mut self, id: i64) -> bool {
        let Some(row) = self.rows.get(&id) else { return false };
        let may = matches!(row.state, State::Failed | State::Lost | State::Cancelled);
        if !may || self.holder(row.queue, row.key).is_some() {
            return false;
        }
        let row = self.rows.get_mut(&id).unwrap();
        row.queue_again(Hold::Ready);
        (row.attempt, row.expires, row.run_at, row.anchor) = (0, None, None, None);
        true
    }

    /// A process died in an attempt, and another takes over.
    fn recover(&mut self, claimed: Option<i64>, started: bool) {
        self.cursor = None;
        if let Some(row) = claimed.map(|id| self.rows.get_mut(&id).unwrap()) {
            if !started {
                row.attempt -= 1;
                row.queue_again(row.unheld());
            } else if row.attempt < row.max {
                row.suspect = true;
                row.queue_again(Hold::Suspect);
                (row.run_at, row.anchor) = (None, None);
            } else {
                row.end(State::Lost);
            }
        }
        self.pass_turn();
        if self.knows_other {
            for row in
                self.rows.values_mut().filter(|r| r.state == State::Queued && r.hold == Hold::UnknownName)
            {
                row.hold = row.unheld();
            }
        }
    }
}

/// The queue under test beside its model.
struct Pair {
    real: Option<SteppedQueue>,
    clock: ManualClock,
    model: Model,
    folder: PathBuf,
}

impl Drop for Pair {
    fn drop(&mut self) {
        self.real.take();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Runs the operations on a fresh queue and on the model. Panics on the first difference.
pub fn check(ops: &[Op]) {
    let mut pair = Pair::new();
    for (n, op) in ops.iter().enumerate() {
        pair.apply(op);
        pair.compare(&|| format!("after operation {n}, {op:?}, of {ops:#?}"));
    }
    let report = pair.queue().check().unwrap();
    assert!(report.is_ok(), "{report:#?} after {ops:#?}");
}

fn name(queue: u8) -> &'static str {
    ["a", "b", "c"][usize::from(queue)]
}

impl Pair {
    fn new() -> Pair {
        use std::hash::{BuildHasher, RandomState};
        let shm = Path::new("/dev/shm");
        let parent = if shm.is_dir() { shm.to_owned() } else { std::env::temp_dir() };
        let folder =
            parent.join(format!("perdura-model-{:016x}", RandomState::new().hash_one(std::process::id())));
        std::fs::create_dir(&folder).unwrap();
        let mut pair = Pair { real: None, clock: ManualClock::new(), model: Model::default(), folder };
        pair.open(false);
        pair
    }

    fn open(&mut self, knows_other: bool) {
        let config = Config {
            retry_exception_denylist: vec!["denied.here".to_owned()],
            retention: None,
            ..Config::default()
        };
        let mut builder = Queue::builder().config(config).clock(self.clock.clone());
        builder = builder.handle(|t: Known, cx: &Context| perform(t.0, cx));
        if knows_other {
            builder = builder.handle(|t: Other, cx: &Context| perform(t.0, cx));
        }
        let file = self.folder.join("tasks.db");
        self.real = Some(SteppedQueue::open_file(builder, &self.clock, file).unwrap());
        self.model.knows_other = knows_other;
    }

    fn stepped(&mut self) -> &mut SteppedQueue {
        self.real.as_mut().unwrap()
    }

    fn queue(&self) -> &Queue {
        self.real.as_ref().unwrap().queue()
    }

    fn now(&self) -> i64 {
        self.clock.now().as_millis()
    }

    /// One of the tasks that exist, or the id that none has yet.
    fn pick(&self, n: u8) -> i64 {
        let ids: Vec<i64> = self.model.rows.keys().copied().collect();
        ids.get(usize::from(n) % (ids.len() + 1)).copied().unwrap_or(self.model.last_id + 1)
    }

    fn apply(&mut self, op: &Op) {
        match op.clone() {
            Op::Enqueue { .. } | Op::EnqueueAll { .. } => self.enqueue(op),
            Op::RunOne => drop(self.run_one()),
            Op::RunAll => while self.run_one() {},
            Op::Advance { seconds } => self.pass(|clock| clock.advance(Duration::from_secs(seconds.into()))),
            Op::Suspend { seconds } => self.pass(|clock| clock.suspend(Duration::from_secs(seconds.into()))),
            Op::JumpBack { seconds } => {
                self.pass(|clock| clock.set_wall(clock.now().before(Duration::from_secs(seconds.into()))));
            }
            Op::Retry(n) => {
                let id = self.pick(n);
                let done = self.queue().retry(TaskId::from_i64(id)).is_ok();
                assert_eq!(done, self.model.retry(id), "retry of {id}");
            }
            Op::Cancel(n) => self.verb(n, Queue::cancel, |row| {
                let may = row.state == State::Queued;
                if may {
                    row.end(State::Cancelled);
                }
                may
            }),
            Op::RunNow(n) => self.verb(n, Queue::run_now, |row| {
                let waits = row.state == State::Queued && row.hold == Hold::Time;
                if waits {
                    row.hold = row.unheld();
                }
                waits || (row.state == State::Queued && row.hold == Hold::Ready)
            }),
            Op::Delete(n) => {
                let id = self.pick(n);
                let done = self.queue().delete(TaskId::from_i64(id)).is_ok();
                assert_eq!(done, self.model.rows.remove(&id).is_some(), "delete of {id}");
            }
            Op::Pause(queue) => {
                self.queue().pause(name(queue)).unwrap();
                self.model.meet(queue);
                self.model.paused.insert(queue);
                for row in self.model.rows.values_mut().filter(|r| r.queue == queue && r.suspect) {
                    if row.state == State::Queued && row.hold == Hold::Ready {
                        row.hold = Hold::Suspect;
                    }
                }
            }
            Op::Resume(queue) => {
                self.queue().resume(name(queue)).unwrap();
                self.model.meet(queue);
                self.model.paused.remove(&queue);
            }
            Op::RetryAll => {
                let bulk = self.queue().retry_all(Filter::new()).unwrap();
                let ended = |r: &Row| matches!(r.state, State::Failed | State::Lost);
                let ids: Vec<i64> =
                    self.model.rows.iter().filter(|(_, r)| ended(r)).map(|(id, _)| *id).collect();
                let retried = ids.iter().filter(|id| self.model.retry(**id)).count();
                assert_eq!((bulk.changed, bulk.skipped), (retried as u64, (ids.len() - retried) as u64));
            }
            Op::Bury => {
                let bulk = self.queue().move_to_dead_letters(Filter::new()).unwrap();
                let ended = |r: &Row| matches!(r.state, State::Failed | State::Lost);
                let ids: Vec<i64> =
                    self.model.rows.iter().filter(|(_, r)| ended(r)).map(|(id, _)| *id).collect();
                let buried: Vec<(i64, Row)> =
                    ids.into_iter().filter_map(|id| Some((id, self.model.rows.remove(&id)?))).collect();
                assert_eq!(bulk.changed, buried.len() as u64);
                self.model.letters.extend(buried.into_iter().map(|(id, row)| (id, (row, false))));
            }
            Op::Replay(n) => self.replay(n),
            Op::Reopen { knows_other } => {
                self.real.take();
                self.open(knows_other);
                self.model.recover(None, false);
            }
            Op::Die { started, knows_other } => {
                let now = self.now();
                let died = self.real.take().unwrap().crash_in_attempt(started).unwrap().1;
                let claimed = self.model.claim(now);
                self.model.pass_turn();
                assert_eq!(died.map(TaskId::as_i64), claimed, "the claim before the death");
                self.open(knows_other);
                self.model.recover(claimed, started);
            }
        }
        self.model.pass_turn();
    }

    fn enqueue(&mut self, op: &Op) {
        let now = self.now();
        match *op {
            Op::Enqueue { queue, priority, delay, key, max, expires, does, known } => {
                let mut options = Options::new().queue(name(queue)).priority(priority).max_attempts(max);
                options = options.delay(Duration::from_secs(delay.into()));
                if let Some(key) = key {
                    options = options.unique(format!("key {key}"));
                }
                if expires > 0 {
                    options = options.expires(Duration::from_secs(expires.into()));
                }
                let made = match known {
                    true => self.queue().enqueue_with(&Known(does), options).unwrap(),
                    false => self.queue().enqueue_with(&Other(does), options).unwrap(),
                };
                self.model.meet(queue);
                let delay = i64::from(delay) * 1000;
                let wanted = match self.model.holder(queue, key) {
                    Some(id) => Enqueued::Existing(TaskId::from_i64(id)),
                    None => {
                        let mut row = new_row(queue, does, known);
                        (row.priority, row.max, row.key) = (priority, max, key);
                        row.expires = (expires > 0).then_some(now + i64::from(expires) * 1000);
                        if delay > 0 {
                            row.wait(now, delay);
                        }
                        Enqueued::Inserted(TaskId::from_i64(self.model.insert(row)))
                    }
                };
                assert_eq!(made, wanted);
            }
            Op::EnqueueAll { queue, n } => {
                let tasks: Vec<_> = (0..n).map(|_| Known(Does::Succeed)).collect();
                let each = tasks.iter().map(|t| (t, Options::new().queue(name(queue))));
                let made = self.queue().enqueue_all_with(each).unwrap();
                if n > 0 {
                    self.model.meet(queue);
                }
                for made in made {
                    let id = self.model.insert(Row { max: 3, ..new_row(queue, Does::Succeed, true) });
                    assert_eq!(made, Enqueued::Inserted(TaskId::from_i64(id)));
                }
            }
            _ => unreachable!("not an enqueue"),
        }
    }

    fn run_one(&mut self) -> bool {
        let now = self.now();
        let ran = self.stepped().run_one().unwrap();
        let claimed = self.model.claim(now);
        let id = ran.map(|ran| {
            use perdura::testing::Ran::*;
            match ran {
                Succeeded(id) | Failed(id) | Snoozed(id) | Cancelled(id) | HandedBack(id) => id.as_i64(),
                _ => unreachable!("an ending that this model does not know"),
            }
        });
        assert_eq!(id, claimed, "which task runs");
        if let Some(id) = claimed {
            self.model.settle(id, now);
        }
        claimed.is_some()
    }

    fn pass(&mut self, change: impl FnOnce(&ManualClock)) {
        change(&self.clock);
        let now = self.now();
        self.stepped().tick().unwrap();
        self.model.tick(now);
    }

    fn verb(
        &mut self,
        n: u8,
        verb: fn(&Queue, TaskId) -> Result<(), Error>,
        rule: impl FnOnce(&mut Row) -> bool,
    ) {
        let id = self.pick(n);
        let done = verb(self.queue(), TaskId::from_i64(id)).is_ok();
        assert_eq!(done, self.model.rows.get_mut(&id).is_some_and(rule), "a verb on {id}");
    }

    fn replay(&mut self, n: u8) {
        let ids: Vec<i64> = self.model.letters.keys().copied().collect();
        let id = ids.get(usize::from(n) % (ids.len() + 1)).copied().unwrap_or(self.model.last_id + 1);
        let new = self.queue().dead_letters().replay(TaskId::from_i64(id)).ok().map(TaskId::as_i64);
        let letter = self.model.letters.get(&id).cloned().filter(|(_, replayed)| !replayed);
        let wanted =
            letter.filter(|(row, _)| self.model.holder(row.queue, row.key).is_none()).map(|(row, _)| {
                let fresh = new_row(row.queue, row.does, row.known);
                self.model.letters.get_mut(&id).unwrap().1 = true;
                self.model.insert(Row { priority: row.priority, max: row.max, key: row.key, ..fresh })
            });
        assert_eq!(new, wanted, "replay of {id}");
    }

    fn compare(&self, when: &dyn Fn() -> String) {
        let records = self.queue().tasks(Filter::new().limit(usize::MAX)).unwrap();
        let ids: Vec<i64> = records.iter().map(|r| r.task_id.as_i64()).collect();
        let wanted: Vec<i64> = self.model.rows.keys().copied().collect();
        assert_eq!(ids, wanted, "the tasks {}", when());
        for record in &records {
            let row = &self.model.rows[&record.task_id.as_i64()];
            let queued = row.state == State::Queued;
            let real =
                (record.state, record.hold, record.attempt_number, record.max_attempts, record.generation);
            let model = (row.state, queued.then_some(row.hold), row.attempt, row.max, row.generation);
            assert_eq!(real, model, "task {} {}", record.task_id, when());
            if row.state == State::Queued && row.hold == Hold::Time {
                assert_eq!(
                    record.run_at.map(|t| t.as_millis()),
                    row.run_at,
                    "task {} {}",
                    record.task_id,
                    when()
                );
            }
        }
        let letters = self.queue().dead_letters().list(Filter::new().limit(usize::MAX)).unwrap();
        let letters: Vec<_> = letters.iter().map(|l| (l.task_id.as_i64(), l.replayed_as.is_some())).collect();
        let wanted: Vec<_> = self.model.letters.iter().map(|(id, (_, replayed))| (*id, *replayed)).collect();
        assert_eq!(letters, wanted, "the dead letters {}", when());
        let total = self.queue().counts().unwrap().total();
        let count = |state| self.model.rows.values().filter(|r| r.state == state).count() as u64;
        let real = (total.queued(), total.succeeded, total.failed, total.cancelled, total.lost);
        let states = [State::Queued, State::Succeeded, State::Failed, State::Cancelled, State::Lost];
        assert_eq!(real, states.map(count).into(), "the counters {}", when());
    }
}

fn new_row(queue: u8, does: Does, known: bool) -> Row {
    Row {
        queue,
        priority: 0,
        state: State::Queued,
        hold: Hold::Ready,
        attempt: 0,
        max: 3,
        generation: 0,
        run_at: None,
        anchor: None,
        expires: None,
        key: None,
        does,
        known,
        suspect: false,
    }
}
