//! A store in memory in the place of `src/store`: the writer's protocol and the rules of tasks are the real ones, the file is a table.
//!
//! It has what the queue's threads ask for, and of that only what the schedules need: one queue, no keys, no suspects, no checkpoints.

use std::cell::{Cell, Ref, RefCell};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::config::LostRetry;
use crate::error::{Error, ErrorKind};
use crate::lifecycle::{AttemptEnd, Lost, Reasons, TaskEvent, TaskState, Wait, next};
use crate::sync::{Mutex, lock};
use crate::task::{
    ClaimRoom, Claimed, Claims, Extras, HandledNames, Hold, PendingOutput, Settlement, State, TaskId,
    Timestamp, Verdict,
};

pub mod commit;
mod group_commit;

use commit::commit_queue;
pub(crate) use commit::commit_queue::Rank;
pub use error::Sql;
pub use tx::{Effects, Tx};

pub const CHECKPOINT_PAGES: u32 = 1024;

pub mod error {
    use crate::error::Error;

    /// A call that has failed. Here it is only the error that the caller gets.
    #[derive(Debug)]
    pub struct Fault(pub Error);
    pub type Sql<T> = Result<T, Fault>;

    impl From<Error> for Fault {
        fn from(e: Error) -> Fault {
            Fault(e)
        }
    }

    impl From<Fault> for Error {
        fn from(fault: Fault) -> Error {
            fault.0
        }
    }
}

// ---- The file ----

/// What is in the file.
#[derive(Default, Clone)]
pub struct Table {
    pub rows: BTreeMap<i64, Row>,
    pub epoch: i64,
    /// Commits of other processes.
    pub foreign: i64,
    /// Tasks in flight at once; none: as many as there are workers.
    pub limit: Option<usize>,
}

#[derive(Clone)]
pub struct Row {
    pub task_state: TaskState,
    pub generation: u64,
    pub run_at: Option<Timestamp>,
    pub args: String,
}

pub const TASK_NAME: &str = "do";
const MAX_ATTEMPTS: u32 = 3;
/// The args of tasks that have one attempt.
pub const LAST: &str = "\"Last\"";
/// The wait after a failure.
pub const BACKOFF: Duration = Duration::from_millis(10);

impl Table {
    fn is_ready(&self) -> bool {
        self.rows
            .values()
            .any(|row| (row.task_state.state, row.task_state.hold()) == (State::Queued, Hold::Ready))
    }

    fn claim(&mut self, id: i64) -> Claimed {
        let row = self.rows.get_mut(&id).expect("it was found before");
        row.task_state = next(&row.task_state, TaskEvent::Claim).expect("it is ready").task_state;
        row.generation += 1;
        Claimed {
            task_id: TaskId::from_i64(id),
            generation: row.generation,
            attempt_number: row.task_state.attempt_number,
            max_attempts: row.task_state.max_attempts,
            task_name: TASK_NAME.into(),
            queue_id: 1,
            args: row.args.clone(),
            version: 1,
            backoff: None,
            timeout: None,
            waited: None,
            extras: Extras::NONE,
            suspect: false,
            is_replay: false,
            needs_throughout: 0,
        }
    }

    /// A new task that is ready.
    pub fn insert(&mut self, args: &str) -> i64 {
        let id = self.rows.len() as i64 + 1;
        let task_state = TaskState {
            state: State::Queued,
            reasons: Reasons::NONE,
            attempt_number: 0,
            max_attempts: if args == LAST { 1 } else { MAX_ATTEMPTS },
            in_flight: false,
            cancel_requested: false,
            suspect: false,
        };
        self.rows.insert(id, Row { task_state, generation: 0, run_at: None, args: args.to_owned() });
        id
    }
}

pub mod tx {
    use super::*;

    /// A write transaction.
    pub struct Tx<'c> {
        pub table: &'c RefCell<Table>,
        pub effects: RefCell<Effects>,
        pub start_leave: Option<StartLeave>,
    }

    /// As in `src/store/commit/effects.rs`.
    #[derive(Default, Clone)]
    pub struct Effects {
        pub ready: u64,
        pub due: Option<Timestamp>,
        pub tick: Option<Timestamp>,
        pub changed: bool,
        pub cancelled: Vec<TaskId>,
        pub superseded: Vec<TaskId>,
        pub claims: Vec<Claimed>,
        pub more: bool,
        pub waits_for_end: bool,
        pub jobs_changed: bool,
        pub ended: Vec<TaskId>,
        pub settled: Vec<(TaskId, u64)>,
        pub wal_pages: u32,
    }

    impl Tx<'_> {
        pub fn effect(&self, change: impl FnOnce(&mut Effects)) {
            change(&mut self.effects.borrow_mut());
        }

        pub fn suspect_moved(&self) {}

        pub fn effects(&self) -> Ref<'_, Effects> {
            self.effects.borrow()
        }
    }
}

/// No process dies here, so nobody is a suspect.
pub fn lift(_: &Tx<'_>) -> Sql<bool> {
    Ok(false)
}

// ---- The writer ----

/// As in `src/store/commit/writer.rs`.
pub trait CommitHook: Send {
    fn begins(&mut self) -> Timestamp;
    fn start_leave(&self) -> Option<StartLeave>;
    fn before_commit(&mut self, tx: &Tx<'_>) -> Sql<bool>;
    fn committed(&mut self, effects: Effects);
    fn rolled_back(&mut self, error: Option<&Error>);
    fn rest(&mut self) -> Option<Duration>;
}

pub struct StartLeave {
    epoch: i64,
    is_taken: Cell<bool>,
}

impl StartLeave {
    pub fn new(epoch: i64, _: Arc<HandledNames>, _: Timestamp) -> StartLeave {
        StartLeave { epoch, is_taken: Cell::new(false) }
    }
}

pub struct Writer {
    queue: commit_queue::CommitQueue,
    state: Mutex<WriterState>,
    /// What becomes of the next commits: an error, or nothing unusual. For tests.
    pub faults: std::sync::Mutex<VecDeque<Option<ErrorKind>>>,
}

struct WriterState {
    table: RefCell<Table>,
    hook: Option<Box<dyn CommitHook>>,
}

type Group = Vec<Box<dyn commit_queue::Member>>;

impl Writer {
    pub fn set_commit_hook(&self, hook: Option<Box<dyn CommitHook>>) {
        drop(std::mem::replace(&mut lock(&self.state).hook, hook));
    }

    pub fn write<R: Send + 'static>(
        &self,
        rank: Rank,
        write: impl FnMut(&Tx<'_>) -> Sql<R> + Send + 'static,
    ) -> Result<R, Error> {
        self.queue.commit(rank, write, |group| lock(&self.state).commit_group(group, &self.faults))
    }

    pub fn alone<R>(&self, act: impl FnOnce(&RefCell<Table>) -> Sql<R>) -> Result<R, Error> {
        Ok(act(&lock(&self.state).table)?)
    }
}

impl WriterState {
    /// As in `src/store/commit/writer.rs`, where no commit is uncertain.
    fn commit_group(&mut self, mut group: Group, faults: &std::sync::Mutex<VecDeque<Option<ErrorKind>>>) {
        let mut outcome = self.attempt(&mut group, true, faults);
        if matches!(outcome, Err((_, true))) {
            outcome = self.attempt(&mut group, false, faults);
        }
        let Err((error, _)) = outcome else {
            return group.into_iter().for_each(|member| member.settled());
        };
        if error.kind() == ErrorKind::Busy || group.len() == 1 {
            return group.into_iter().for_each(|member| member.failed(error.repeat()));
        }
        group.sort_by_key(|member| member.rank());
        for member in group {
            let mut alone = vec![member];
            let answer = self.attempt(&mut alone, false, faults);
            match (alone.pop(), answer) {
                (Some(member), Ok(())) => member.settled(),
                (Some(member), Err((error, _))) => member.failed(error),
                (None, _) => {}
            }
        }
    }

    /// An error comes with a flag: whether the transaction had claims, too.
    fn attempt(
        &mut self,
        group: &mut Group,
        company: bool,
        faults: &std::sync::Mutex<VecDeque<Option<ErrorKind>>>,
    ) -> Result<(), (Error, bool)> {
        let WriterState { table, hook } = self;
        let before = table.borrow().clone();
        let is_alone = company && group.len() == 1;
        let start_leave = hook.as_ref().filter(|_| is_alone).and_then(|hook| hook.start_leave());
        let tx = Tx { table, effects: RefCell::default(), start_leave };
        let mut any = false;
        for member in group.iter_mut() {
            let (rows, effects) = (table.borrow().clone(), tx.effects().clone());
            match member.run(&tx) {
                Ok(()) => any = true,
                Err(_) => {
                    *table.borrow_mut() = rows;
                    tx.effect(|to| *to = effects);
                }
            }
        }
        if !any {
            return Ok(());
        }
        let mut had_company = false;
        let mut written = Ok(());
        if let Some(hook) = hook.as_mut().filter(|_| company) {
            let joined = hook.before_commit(&tx).map_err(Error::from);
            had_company = *joined.as_ref().unwrap_or(&true);
            written = joined.map(drop);
        }
        had_company |= !tx.effects().claims.is_empty();
        let fault = faults.lock().expect("no test panics there").pop_front().flatten();
        written = written.and(fault.map_or(Ok(()), |kind| Err(Error::new(kind, "as the test wants"))));
        match written {
            Ok(()) => {
                if let Some(hook) = hook {
                    hook.committed(tx.effects.into_inner());
                }
                Ok(())
            }
            Err(error) => {
                *table.borrow_mut() = before;
                if let Some(hook) = hook {
                    hook.rolled_back(Some(&error));
                }
                Err((error, had_company))
            }
        }
    }
}

/// An open file.
pub struct Store {
    pub writer: Writer,
    pub process: ForkGuard,
}

/// Nobody forks here.
pub struct ForkGuard;

impl ForkGuard {
    pub fn is_this(&self) -> bool {
        true
    }

    pub fn check(&self) -> Result<(), Error> {
        Ok(())
    }
}

/// Nobody crashes here.
pub struct Location;

impl Store {
    pub fn file_id(&self) -> &[u8; 16] {
        &[0; 16]
    }

    pub fn new() -> Store {
        let state = WriterState { table: RefCell::default(), hook: None };
        Store {
            writer: Writer {
                queue: commit_queue::CommitQueue::default(),
                state: Mutex::new(state),
                faults: Default::default(),
            },
            process: ForkGuard,
        }
    }

    pub fn write<R: Send + 'static>(
        &self,
        rank: Rank,
        write: impl FnMut(&Tx<'_>) -> Sql<R> + Send + 'static,
    ) -> Result<R, Error> {
        self.writer.write(rank, write)
    }

    pub fn set_commit_hook(&self, hook: Option<Box<dyn CommitHook>>) {
        self.writer.set_commit_hook(hook);
    }

    pub fn alone<R>(&self, act: impl FnOnce(&RefCell<Table>) -> Sql<R>) -> Result<R, Error> {
        self.writer.alone(act)
    }

    pub fn await_commit(&self) {
        drop(lock(&self.writer.state));
    }

    pub fn set_patience(&self, _: Option<Duration>) {}

    pub fn provide_reserve(&self) -> Result<(), Error> {
        Ok(())
    }

    pub fn refill_reserve(&self) -> Result<(), Error> {
        Ok(())
    }

    pub fn crash(&self) -> Result<Location, Error> {
        Ok(Location)
    }

    pub fn read<R>(&self, look: impl FnOnce(&RefCell<Table>) -> Sql<R>) -> Result<R, Error> {
        self.writer.alone(look)
    }

    pub fn path(&self) -> &Path {
        Path::new("in memory")
    }

    pub fn try_own(&self) -> Result<Option<OwnerLock>, Error> {
        Ok(Some(OwnerLock))
    }
}

// ---- The writes ----

/// A new task, which is ready; it starts at once if it may.
pub fn enqueue(tx: &Tx<'_>, args: &str) -> Sql<TaskId> {
    let mut table = tx.table.borrow_mut();
    let start_leave = tx.start_leave.as_ref().filter(|leave| !leave.is_taken.get());
    let starts = start_leave
        .is_some_and(|leave| leave.epoch == table.epoch && !table.is_ready() && table.limit.is_none());
    let id = table.insert(args);
    if let Some(start_leave) = start_leave.filter(|_| starts) {
        start_leave.is_taken.set(true);
    }
    tx.effect(|effects| {
        effects.changed = true;
        effects.ready += u64::from(!starts);
        effects.claims.extend(starts.then(|| table.claim(id)));
    });
    Ok(TaskId::from_i64(id))
}

pub fn check_epoch(tx: &Tx<'_>, mine: impl Into<Option<i64>>) -> Sql<()> {
    match mine.into() == Some(tx.table.borrow().epoch) {
        true => Ok(()),
        false => Err(Error::new(ErrorKind::OwnershipLost, "another epoch").into()),
    }
}

/// As `src/store/tasks/claim.rs`: nothing is claimed past a last attempt for which no worker idles, and no more than the limit.
pub fn claim(
    tx: &Tx<'_>,
    room: ClaimRoom,
    _: &HandledNames,
    _: &dyn Fn() -> Option<u64>,
    _: &mut i64,
    _: Timestamp,
) -> Sql<Claims> {
    let mut table = tx.table.borrow_mut();
    let is_ready = |row: &Row| (row.task_state.state, row.task_state.hold()) == (State::Queued, Hold::Ready);
    let is_last = |row: &Row| row.task_state.attempt_number + 1 >= row.task_state.max_attempts;
    let in_flight = table.rows.values().filter(|row| row.task_state.in_flight).count();
    let places = table.limit.map_or(usize::MAX, |limit| limit.saturating_sub(in_flight));
    let is_full = table.rows.values().filter(|row| is_ready(row)).count() > places;
    let ready = table.rows.iter().filter(|(_, row)| is_ready(row)).take(room.total.min(places)).enumerate();
    let mut claimable = ready.map(|(n, (id, row))| (*id, n < room.idle || !is_last(row))).collect::<Vec<_>>();
    if is_full {
        tx.effect(|effects| effects.waits_for_end = true);
    }
    let end = claimable.iter().position(|(_, may)| !may);
    claimable.truncate(end.unwrap_or(claimable.len()));
    let claims = claimable.into_iter().map(|(id, _)| table.claim(id)).collect();
    Ok(Claims { claims, waits_for_worker: end.is_some() })
}

#[derive(Debug, Clone)]
pub struct SettleRules;

impl SettleRules {
    fn lost(&self) -> Lost {
        Lost { retry: LostRetry::Immediate, denied: false, delay: Duration::ZERO }
    }
}

/// What is reported of attempts that were settled; failures are not reported here.
#[derive(Default)]
pub struct SettleReport {
    pub late: Vec<TaskId>,
    pub failed: Vec<(TaskId, State)>,
}

pub fn settle<'s>(
    tx: &Tx<'_>,
    settlements: impl Iterator<Item = &'s Settlement>,
    rules: &SettleRules,
    now: Timestamp,
) -> Sql<SettleReport> {
    let mut told = SettleReport::default();
    for s in settlements {
        tx.effect(|effects| effects.settled.push((s.task_id, s.generation)));
        let event = match &s.verdict {
            Verdict::Succeeded { .. } => TaskEvent::Succeeded,
            Verdict::Failed { permanent, .. } => {
                TaskEvent::Ended(AttemptEnd::Failed { refused: *permanent, delay: BACKOFF }, rules.lost())
            }
            Verdict::Waits { .. } => TaskEvent::Ended(AttemptEnd::Waits, rules.lost()),
            Verdict::Snoozed { delay, .. } => TaskEvent::Ended(AttemptEnd::Snoozed(*delay), rules.lost()),
            Verdict::Cancelled(_) => TaskEvent::Ended(AttemptEnd::Cancelled, rules.lost()),
            Verdict::HandedBack | Verdict::Unstarted | Verdict::Throttled(_) => {
                TaskEvent::Ended(AttemptEnd::HandedBack, rules.lost())
            }
            Verdict::Declined => TaskEvent::Ended(AttemptEnd::Declined, rules.lost()),
            Verdict::Outside(_) => TaskEvent::Ended(AttemptEnd::WentOutside, rules.lost()),
            Verdict::Lost { .. } => TaskEvent::Ended(AttemptEnd::Lost, rules.lost()),
            Verdict::Committed => continue,
        };
        if !apply(tx, s.task_id, Some(s.generation), event, now) {
            told.late.push(s.task_id);
        }
    }
    Ok(told)
}

/// Lets an event happen to a task; false if it may not.
fn apply(tx: &Tx<'_>, id: TaskId, generation: Option<u64>, event: TaskEvent, now: Timestamp) -> bool {
    let mut table = tx.table.borrow_mut();
    let row = table.rows.get_mut(&id.as_i64());
    let Some(row) = row.filter(|row| generation.is_none_or(|g| g == row.generation)) else { return false };
    let Ok(next) = next(&row.task_state, event) else { return false };
    let was_ready = (row.task_state.state, row.task_state.hold()) == (State::Queued, Hold::Ready);
    row.task_state = next.task_state;
    match next.wait {
        Wait::Keep => {}
        Wait::Clear => row.run_at = None,
        Wait::For(delay) => row.run_at = Some(now.saturating_add(delay)),
    }
    let is_ready = (row.task_state.state, row.task_state.hold()) == (State::Queued, Hold::Ready);
    let waits =
        row.run_at.filter(|_| (row.task_state.state, row.task_state.hold()) == (State::Queued, Hold::Time));
    tx.effect(|effects| {
        effects.changed = true;
        effects.ended.extend(next.task_state.state.is_finished().then_some(id));
        effects.ready += u64::from(is_ready && !was_ready);
        effects.due = effects.due.into_iter().chain(waits).min();
    });
    true
}

/// When the next task is due.
pub fn next_due(table: &RefCell<Table>) -> Sql<Option<Timestamp>> {
    let table = table.borrow();
    let waits = |row: &&Row| (row.task_state.state, row.task_state.hold()) == (State::Queued, Hold::Time);
    Ok(table.rows.values().filter(waits).filter_map(|row| row.run_at).min())
}

pub fn next_tick(_: &RefCell<Table>) -> Sql<Option<Timestamp>> {
    Ok(None)
}

pub fn promote(tx: &Tx<'_>, _: &SettleRules, now: Timestamp, limit: usize) -> Sql<usize> {
    let is_due = |row: &Row| {
        row.task_state.hold() == Hold::Time
            && row.task_state.state == State::Queued
            && row.run_at <= Some(now)
    };
    let due: Vec<i64> = {
        let table = tx.table.borrow();
        table.rows.iter().filter(|(_, row)| is_due(row)).map(|(id, _)| *id).take(limit).collect()
    };
    for id in &due {
        apply(tx, TaskId::from_i64(*id), None, TaskEvent::Promote, now);
    }
    Ok(due.len())
}

// ---- The owner ----

pub struct OwnerLock;
pub struct Started;
pub struct Notes;
pub struct StartNote;

impl OwnerLock {
    pub fn read_notes(&self, _: Option<Timestamp>) -> Started {
        Started
    }

    pub fn begin_notes(&self, _: i64, _: Option<Timestamp>) -> Result<Notes, Error> {
        Ok(Notes)
    }
}

impl Notes {
    pub fn write(self: &Arc<Notes>, _: TaskId, _: u64) -> Result<StartNote, Error> {
        Ok(StartNote)
    }
}

impl StartNote {
    pub fn keep(self) {}
}

#[derive(Default)]
pub struct Recovered {
    pub epoch: i64,
    pub lost: usize,
    pub handed_back: usize,
    pub lost_for_good: Vec<(TaskId, Arc<str>)>,
}

pub struct OwnerSettings {
    pub served: Option<Vec<String>>,
    pub engines: Vec<EngineLanes>,
    pub retention: Option<Option<Duration>>,
}

#[derive(Clone)]
pub struct EngineLanes {
    pub engine: String,
    pub queues: Vec<String>,
}

pub fn recover(tx: &Tx<'_>, _: &Started, _: &SettleRules, _: &OwnerSettings, _: Timestamp) -> Sql<Recovered> {
    let mut table = tx.table.borrow_mut();
    table.epoch += 1;
    Ok(Recovered { epoch: table.epoch, ..Recovered::default() })
}

#[derive(Clone, Copy)]
pub struct Lifting;

impl Lifting {
    pub const START: Lifting = Lifting;
}

pub fn lift_known(_: &Tx<'_>, _: &HandledNames, _: Lifting, _: usize, _: Timestamp) -> Sql<Option<Lifting>> {
    Ok(None)
}

// ---- What the schedules have no use for ----

#[derive(Clone, Copy)]
pub struct Flags {
    pub task_id: TaskId,
    pub generation: u64,
    pub cancel_requested: bool,
    pub counts: bool,
}

pub fn flags(_: &RefCell<Table>) -> Sql<Vec<Flags>> {
    Ok(Vec::new())
}

#[derive(Default)]
pub struct Openings {
    pub is_open: bool,
    pub next: Option<Timestamp>,
    pub has_jumped: bool,
}

/// The clock jumps nowhere here.
pub fn mend_jumps(_: &Tx<'_>, _: Timestamp) -> Sql<()> {
    Ok(())
}

pub fn openings(_: &RefCell<Table>, _: Option<&str>, _: Timestamp) -> Sql<Openings> {
    Ok(Openings::default())
}

/// A bound was changed.
pub fn changed(tx: &Tx<'_>) {
    tx.effect(|effects| {
        effects.changed = true;
        effects.ready += 1;
    });
}

pub fn data_version(table: &RefCell<Table>) -> Sql<i64> {
    Ok(table.borrow().foreign)
}

pub fn clock_jumped(_: &RefCell<Table>, _: Timestamp) -> Sql<bool> {
    Ok(false)
}

/// Nobody declares a schedule here.
#[derive(Debug, Clone)]
pub struct Declared;

#[derive(Debug, Default)]
pub struct Fired {
    pub schedules: usize,
    pub anchored: Vec<String>,
    pub broken: Vec<(String, String)>,
}

pub fn reconcile(_: &Tx<'_>, _: &[Declared], _: Timestamp) -> Sql<()> {
    Ok(())
}

pub fn fire(_: &Tx<'_>, _: &crate::config::Config, _: Timestamp, _: usize) -> Sql<Fired> {
    Ok(Fired::default())
}

pub fn tick(_: &RefCell<Table>, _: TaskId) -> Sql<Option<Timestamp>> {
    Ok(None)
}

pub fn record(_: &RefCell<Table>, id: TaskId) -> Sql<crate::task::TaskRecord> {
    Err(Error::new(ErrorKind::NotFound, format!("no handler here looks at task {id}")).into())
}

pub fn checkpoint(_: &RefCell<Table>, _: TaskId) -> Sql<Option<String>> {
    Ok(None)
}

pub fn save_checkpoint(_: &Tx<'_>, _: TaskId, _: u64, _: &str) -> Sql<()> {
    Ok(())
}

/// Nobody needs free disk here.
pub struct FreeDisk;

impl FreeDisk {
    pub fn bytes(&self) -> Option<u64> {
        None
    }
}

pub const DISK_INTERVAL: Duration = Duration::from_secs(5);

pub type DiskPass = (i64, i64);

pub const DISK_PASS_START: DiskPass = (i64::MIN, i64::MIN);

pub type Said = std::collections::BTreeMap<String, (bool, Timestamp)>;

pub fn say_again(_: &Tx<'_>, _: &Said, _: i64, _: Timestamp) -> Sql<()> {
    Ok(())
}

/// Nobody needs a condition here.
pub struct ConditionDuty {
    pub lifts: bool,
    pub waits_for_disk: bool,
}

pub fn condition_duty(_: &RefCell<Table>) -> Sql<ConditionDuty> {
    Ok(ConditionDuty { lifts: false, waits_for_disk: false })
}

pub fn has_conditions(_: &RefCell<Table>) -> Sql<bool> {
    Ok(false)
}

pub fn met(_: &RefCell<Table>) -> Sql<i64> {
    Ok(0)
}

pub fn lift_met(_: &Tx<'_>, _: usize, _: Timestamp) -> Sql<usize> {
    Ok(0)
}

pub fn lift_by_disk(_: &Tx<'_>, _: u64, _: DiskPass, _: usize, _: Timestamp) -> Sql<Option<DiskPass>> {
    Ok(None)
}

pub fn step_keys(_: &RefCell<Table>, _: TaskId, _: usize) -> Sql<Vec<crate::task::StepKey>> {
    Ok(Vec::new())
}

pub fn step_result(_: &RefCell<Table>, _: TaskId, _: &crate::task::StepKey) -> Sql<Option<Option<String>>> {
    Ok(None)
}

pub fn save_step(_: &Tx<'_>, _: TaskId, _: u64, _: &crate::task::StepKey, _: &str, _: Timestamp) -> Sql<()> {
    Ok(())
}

pub fn idempotency_key(_: &RefCell<Table>, _: &[u8; 16], _: TaskId, name: &str) -> Sql<String> {
    Ok(name.to_owned())
}

pub fn save_pending(_: &Tx<'_>, _: TaskId, _: u64, _: &PendingOutput) -> Sql<()> {
    Ok(())
}

pub fn spare(_: &Tx<'_>, _: TaskId, _: u64, _: Timestamp) -> Sql<()> {
    Ok(())
}

pub fn fall_silent(_: &Tx<'_>, _: TaskId, _: u64, _: Duration, _: Timestamp) -> Sql<()> {
    Ok(())
}
