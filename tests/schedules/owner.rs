//! The owner protocol in every state that a few processes on one file can come to: the lock, the start notes, recovery, the epoch.
//!
//! Tasks change by the crate's own rules (`lifecycle::next`); what processes do beside them is written down here, step by step, as
//! `queue/runtime/ownership.rs`, `store/tasks/recover.rs` and `store/file/owner_lock.rs` do it. Any process may take its next step, crash, or be slow, in any state (a
//! process that is stopped is one that takes no step); the machine may reboot, and somebody may delete the sidecar. Epochs and
//! generations matter only as "the newest" and "older", so the states are finite, and all of them are looked at.
//!
//! A protocol with a flaw in it must be found out: each of [`Flaw`] breaks a property.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::{Duration, Instant};

use crate::config::LostRetry;
use crate::lifecycle::{AttemptEnd, Lost, Reasons, TaskEvent, TaskState, next};
use crate::support::report;
use crate::task::{Hold, State};

/// What is done otherwise than in the crate.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Flaw {
    /// A process recovers without asking for the lock.
    RecoversWithoutTheLock,
    /// The start is noted when the handler runs already.
    NotesAfterTheStart,
    /// The handler starts before its claim is durable.
    StartsBeforeTheClaim,
    /// Commits do not look at the epoch.
    ChecksNoEpoch,
    /// Notes count whatever boot they are from.
    TrustsNotesAfterAReboot,
    /// The new owner begins its notes before its recovery is durable.
    ForgetsTheNotesBeforeRecovery,
    /// A queue that is closed gives up the lock although a handler still runs.
    ReleasesWhileAHandlerRuns,
    /// Recovery leaves alone what was running.
    RecoversNothing,
    /// Recovery hands everything back.
    RefundsWhatHadStarted,
}

const MAX_ATTEMPTS: u32 = 2;

const TWO_AT_ONCE: &str = "two executions of one task at once";
const NOT_CHARGED: &str = "an attempt that had started is not charged";
const FENCED_WRITES: &str = "an owner that was fenced has written";

// ---- The state ----

/// Everything: the file, the sidecar, the processes' memory. The last two are ordered, so that states that differ only in names are one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct World<const P: usize, const T: usize> {
    tasks: [Task<P>; T],
    processes: [ForkGuard; P],
    /// The notes in the sidecar are of the newest epoch and of this boot.
    notes_count: bool,
}

/// One task in the file, and whatever else there is about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Task<const P: usize> {
    row: Option<Row>,
    /// The sidecar has a note of its newest generation.
    noted: bool,
    /// What each process has in its memory.
    attempts: [Option<Attempt>; P],
    /// The handler was called for its newest generation. (Nobody knows but this test.)
    started: bool,
    /// Neither a reboot nor somebody who deletes the sidecar has destroyed what tells whether it has started.
    has_evidence: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Row {
    state: i64,
    reasons: i64,
    attempt_number: u32,
    in_flight: bool,
    suspect: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Attempt {
    phase: Phase,
    /// No other claim of this task came after it.
    newest: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Phase {
    /// Started, and its claim is not durable: only with a flaw.
    Ahead,
    Claimed,
    Noted,
    Running,
    Succeeded,
    Failed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct ForkGuard {
    stage: Stage,
    lock: Lock,
    /// Nobody has recovered after it.
    newest_epoch: bool,
    /// Its queue was closed: it starts nothing more.
    closing: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Stage {
    Down,
    Looker,
    /// It has the lock (or thinks so).
    Locked,
    /// Its recovery is durable.
    Recovered,
    /// It has begun its notes.
    Owner,
    /// Another has its place; its handlers run on.
    Fenced,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Lock {
    None,
    /// On the sidecar that is there.
    Real,
    /// On one that was deleted.
    Deleted,
}

const DOWN: ForkGuard =
    ForkGuard { stage: Stage::Down, lock: Lock::None, newest_epoch: false, closing: false };

impl Row {
    fn of(task_state: &TaskState) -> Row {
        Row {
            state: task_state.state.code(),
            reasons: task_state.reasons.code(),
            attempt_number: task_state.attempt_number,
            in_flight: task_state.in_flight,
            suspect: task_state.suspect,
        }
    }

    fn task_state(self) -> TaskState {
        TaskState {
            state: State::from_code(self.state).expect("a state's code"),
            reasons: Reasons::from_code(self.reasons).expect("bits of reasons"),
            attempt_number: self.attempt_number,
            max_attempts: MAX_ATTEMPTS,
            in_flight: self.in_flight,
            cancel_requested: false,
            suspect: self.suspect,
        }
    }

    fn apply(&mut self, event: TaskEvent) -> bool {
        match next(&self.task_state(), event) {
            Ok(next) => *self = Row::of(&next.task_state),
            Err(_) => return false,
        }
        true
    }

    fn is(&self, state: State, hold: Hold) -> bool {
        (self.state, self.task_state().hold()) == (state.code(), hold)
    }
}

const LOST: Lost = Lost { retry: LostRetry::Immediate, denied: false, delay: Duration::ZERO };

impl<const P: usize, const T: usize> World<P, T> {
    fn new() -> World<P, T> {
        let task = Task { row: None, noted: false, attempts: [None; P], started: false, has_evidence: false };
        World { tasks: [task; T], processes: [DOWN; P], notes_count: false }
    }

    fn ordered(mut self) -> World<P, T> {
        let mut best: Option<World<P, T>> = None;
        for by in 0..P {
            self.processes.rotate_left(by.min(1));
            self.tasks.iter_mut().for_each(|task| task.attempts.rotate_left(by.min(1)));
            let mut other = self;
            other.tasks.sort_unstable();
            best = Some(best.map_or(other, |best| best.min(other)));
        }
        best.unwrap_or(self)
    }

    fn is_over(&self) -> bool {
        self.tasks.iter().all(|task| task.row.is_some_and(|row| row.task_state().state.is_finished()))
    }

    fn has_attempts(&self, p: usize) -> bool {
        self.tasks.iter().any(|task| task.attempts[p].is_some())
    }
}

// ---- The steps ----

/// A step: what it is called, who takes it, and what comes of it, or which property it breaks.
type Step<const P: usize, const T: usize> = (&'static str, usize, Result<World<P, T>, &'static str>);

struct Steps<const P: usize, const T: usize> {
    from: World<P, T>,
    flaw: Option<Flaw>,
    /// Somebody may delete the sidecar.
    deletes: bool,
    found: Vec<Step<P, T>>,
}

impl<const P: usize, const T: usize> Steps<P, T> {
    fn has(&self, flaw: Flaw) -> bool {
        self.flaw == Some(flaw)
    }

    fn add(&mut self, name: &'static str, p: usize, to: World<P, T>) {
        let checked = self.check(&to).map(|()| to.ordered());
        self.found.push((name, p, checked));
    }

    fn bad(&mut self, name: &'static str, p: usize, broken: &'static str) {
        self.found.push((name, p, Err(broken)));
    }

    /// What must hold in every state.
    fn check(&self, world: &World<P, T>) -> Result<(), &'static str> {
        let mut suspects = 0;
        for task in &world.tasks {
            let runs = |p: &usize| {
                let counts = !self.deletes || world.processes[*p].newest_epoch;
                counts && task.attempts[*p].is_some_and(|a| matches!(a.phase, Phase::Ahead | Phase::Running))
            };
            if (0..P).filter(runs).count() > 1 {
                return Err(TWO_AT_ONCE);
            }
            let Some(row) = task.row else { continue };
            if row.attempt_number > MAX_ATTEMPTS {
                return Err("more attempts than allowed");
            }
            suspects += usize::from(row.suspect && row.state == State::Running.code());
        }
        if suspects > 1 { Err("two suspects at once") } else { Ok(()) }
    }

    /// A commit of an owner. Whether it may; `Fenced` comes of it if not.
    fn may_commit(&mut self, name: &'static str, p: usize) -> bool {
        if self.from.processes[p].newest_epoch {
            return true;
        }
        if self.has(Flaw::ChecksNoEpoch) {
            self.bad(name, p, FENCED_WRITES);
        } else {
            self.disown(p);
        }
        false
    }

    /// Another process has taken over: what was not started is forgotten, what runs runs on.
    fn disown(&mut self, p: usize) {
        let mut to = self.from;
        to.processes[p] = ForkGuard { stage: Stage::Fenced, lock: Lock::None, ..to.processes[p] };
        for task in &mut to.tasks {
            task.attempts[p] = task.attempts[p].filter(|a| a.phase == Phase::Running);
        }
        self.add("is fenced", p, to);
    }

    fn all(&mut self) {
        self.environment();
        for p in 0..P {
            self.ownership(p);
            for t in 0..T {
                self.attempt(p, t);
                self.ending(p, t);
            }
        }
    }

    /// What befalls a machine and its files.
    fn environment(&mut self) {
        let from = self.from;
        if let Some(t) = from.tasks.iter().position(|task| task.row.is_none()) {
            let mut to = from;
            let task_state = TaskState {
                state: State::Queued,
                reasons: Reasons::NONE,
                attempt_number: 0,
                max_attempts: MAX_ATTEMPTS,
                in_flight: false,
                cancel_requested: false,
                suspect: false,
            };
            to.tasks[t].row = Some(Row::of(&task_state));
            self.add("enqueue", 0, to);
        }
        for p in (0..P).filter(|p| from.processes[*p].stage != Stage::Down) {
            let mut to = from;
            to.processes[p] = DOWN;
            to.tasks.iter_mut().for_each(|task| task.attempts[p] = None);
            let is_ahead = |task: &Task<P>| task.attempts[p].is_some_and(|a| a.phase == Phase::Ahead);
            if from.tasks.iter().any(is_ahead) {
                self.bad("crash", p, NOT_CHARGED);
            }
            self.add("crash", p, to);
        }
        let mut to = from;
        to.processes = [DOWN; P];
        for task in &mut to.tasks {
            *task = Task { attempts: [None; P], noted: false, has_evidence: false, ..*task };
        }
        to.notes_count &= self.has(Flaw::TrustsNotesAfterAReboot);
        self.add("reboot", 0, to);
        let has_deleted = from.processes.iter().any(|process| process.lock == Lock::Deleted);
        if self.deletes && !has_deleted {
            let mut to = from;
            for process in &mut to.processes {
                if process.lock == Lock::Real {
                    process.lock = Lock::Deleted;
                }
            }
            to.tasks.iter_mut().for_each(|task| (task.noted, task.has_evidence) = (false, false));
            to.notes_count = false;
            self.add("the sidecar is deleted", 0, to);
        }
    }

    /// From a process that starts to an owner that ends.
    fn ownership(&mut self, p: usize) {
        let (from, process) = (self.from, self.from.processes[p]);
        let to_stage = |stage| {
            let mut to = from;
            to.processes[p].stage = stage;
            to
        };
        match process.stage {
            Stage::Down => self.add("open", p, to_stage(Stage::Looker)),
            Stage::Looker => {
                let is_free = from.processes.iter().all(|other| other.lock != Lock::Real);
                if is_free || self.has(Flaw::RecoversWithoutTheLock) {
                    let mut to = to_stage(Stage::Locked);
                    to.processes[p].lock = if is_free { Lock::Real } else { Lock::None };
                    if self.has(Flaw::ForgetsTheNotesBeforeRecovery) {
                        to.tasks.iter_mut().for_each(|task| task.noted = false);
                    }
                    self.add("take the lock, read the notes", p, to);
                }
            }
            Stage::Locked => self.recover(p),
            Stage::Recovered => {
                let mut to = to_stage(Stage::Owner);
                if process.lock == Lock::Real {
                    to.tasks.iter_mut().for_each(|task| task.noted = false);
                    to.notes_count = process.newest_epoch;
                }
                self.add("begin the notes", p, to);
            }
            Stage::Owner if !process.closing => {
                let mut to = from;
                to.processes[p].closing = true;
                self.add("close", p, to);
            }
            Stage::Owner if !from.has_attempts(p) || self.releases_too_early(p) => {
                let mut to = to_stage(Stage::Looker);
                to.processes[p] = ForkGuard { stage: Stage::Looker, ..DOWN };
                self.add("give up the lock", p, to);
            }
            Stage::Fenced if !from.has_attempts(p) => {
                let mut to = from;
                to.processes[p] = ForkGuard { stage: Stage::Looker, ..DOWN };
                self.add("ask again", p, to);
            }
            Stage::Owner | Stage::Fenced => {}
        }
    }

    fn releases_too_early(&self, p: usize) -> bool {
        let runs = |attempt: &Attempt| attempt.phase == Phase::Running;
        let all_run = self.from.tasks.iter().filter_map(|task| task.attempts[p].as_ref()).all(runs);
        self.has(Flaw::ReleasesWhileAHandlerRuns) && all_run
    }

    /// One transaction: settles what the owner before was running, raises the epoch, gives a suspect its turn.
    fn recover(&mut self, p: usize) {
        let mut to = self.from;
        // A lock on a deleted sidecar read its notes when they were there; what is deleted later proves nothing to anybody else.
        let notes_count = self.from.notes_count && self.from.processes[p].lock != Lock::Deleted;
        for task in &mut to.tasks {
            let Some(row) = task.row.as_mut().filter(|row| row.in_flight) else { continue };
            if self.has(Flaw::RecoversNothing) {
                continue;
            }
            let had_started = (!notes_count || task.noted) && !self.has(Flaw::RefundsWhatHadStarted);
            if !had_started && task.started {
                return self.bad("recover", p, NOT_CHARGED);
            }
            let has_evidence = task.has_evidence && self.from.processes[p].lock != Lock::Deleted;
            if had_started && !task.noted && has_evidence {
                return self.bad("recover", p, "an attempt that had not started is charged");
            }
            let event = if had_started {
                TaskEvent::ProcessDied(LOST)
            } else {
                TaskEvent::Ended(AttemptEnd::HandedBack, LOST)
            };
            row.apply(event);
        }
        pass_turn(&mut to);
        to.processes.iter_mut().for_each(|process| process.newest_epoch = false);
        to.processes[p] = ForkGuard { stage: Stage::Recovered, newest_epoch: true, ..to.processes[p] };
        to.notes_count = to.notes_count && self.has(Flaw::ForgetsTheNotesBeforeRecovery);
        self.add("recover", p, to);
    }

    /// From a task that is ready to the end of its handler.
    fn attempt(&mut self, p: usize, t: usize) {
        let (from, task, process) = (self.from, self.from.tasks[t], self.from.processes[p]);
        let Some(row) = task.row else { return };
        let with = |phase| {
            let mut to = from;
            let newest = task.attempts[p].is_none_or(|attempt| attempt.newest);
            to.tasks[t].attempts[p] = Some(Attempt { phase, newest });
            to
        };
        let works = process.stage == Stage::Owner && !process.closing;
        match task.attempts[p].map(|attempt| attempt.phase) {
            None if works && row.is(State::Queued, Hold::Time) && self.may_commit("promote", p) => {
                let mut to = from;
                to.tasks[t].row.as_mut().map(|row| row.apply(TaskEvent::Promote));
                pass_turn(&mut to);
                self.add("promote", p, to);
            }
            None if works && row.is(State::Queued, Hold::Ready) => {
                if self.has(Flaw::StartsBeforeTheClaim) {
                    self.add("start", p, with(Phase::Ahead));
                } else if self.may_commit("claim", p) {
                    self.claim(p, t, Phase::Claimed);
                }
            }
            Some(Phase::Ahead) if row.is(State::Queued, Hold::Ready) && self.may_commit("claim", p) => {
                self.claim(p, t, Phase::Running);
            }
            Some(Phase::Ahead) => self.add("give it up", p, {
                let mut to = from;
                to.tasks[t].attempts[p] = None;
                to
            }),
            Some(Phase::Claimed) if self.has(Flaw::NotesAfterTheStart) => {
                let mut to = with(Phase::Running);
                to.tasks[t].started = true;
                self.add("start", p, to);
            }
            Some(Phase::Claimed) => {
                let mut to = with(Phase::Noted);
                note(&mut to, p, t);
                self.add("note", p, to);
            }
            Some(Phase::Noted) => {
                let mut to = with(Phase::Running);
                to.tasks[t].started |= task.attempts[p].is_some_and(|attempt| attempt.newest);
                self.add("start", p, to);
            }
            Some(Phase::Running) => {
                if self.has(Flaw::NotesAfterTheStart) && !task.noted {
                    let mut to = from;
                    note(&mut to, p, t);
                    self.add("note", p, to);
                }
                self.add("succeed", p, with(Phase::Succeeded));
                self.add("fail", p, with(Phase::Failed));
            }
            _ => {}
        }
    }

    fn claim(&mut self, p: usize, t: usize, phase: Phase) {
        let mut to = self.from;
        let task = &mut to.tasks[t];
        let Some(row) = &mut task.row else { return };
        if !row.apply(TaskEvent::Claim) {
            return;
        }
        for other in task.attempts.iter_mut().flatten() {
            other.newest = false;
        }
        task.attempts[p] = Some(Attempt { phase, newest: true });
        (task.noted, task.has_evidence) = (false, self.from.processes[p].lock == Lock::Real);
        task.started = phase == Phase::Running;
        pass_turn(&mut to);
        self.add("claim", p, to);
    }

    /// The outcome goes into the file, or what has not started is handed back.
    fn ending(&mut self, p: usize, t: usize) {
        let Some(attempt) = self.from.tasks[t].attempts[p] else { return };
        let stage = self.from.processes[p].stage;
        let (name, event) = match attempt.phase {
            Phase::Succeeded => ("settle", TaskEvent::Succeeded),
            Phase::Failed => (
                "settle",
                TaskEvent::Ended(AttemptEnd::Failed { refused: false, delay: Duration::ZERO }, LOST),
            ),
            Phase::Claimed if stage == Stage::Owner => {
                ("hand back", TaskEvent::Ended(AttemptEnd::HandedBack, LOST))
            }
            _ => return,
        };
        let mut to = self.from;
        to.tasks[t].attempts[p] = None;
        if stage == Stage::Fenced {
            return self.add("forget", p, to);
        }
        if !self.may_commit(name, p) {
            return;
        }
        if let Some(row) = to.tasks[t].row.as_mut().filter(|_| attempt.newest) {
            row.apply(event);
        }
        pass_turn(&mut to);
        self.add(name, p, to);
    }
}

/// Writes a note of the newest generation, into the sidecar that this process has.
fn note<const P: usize, const T: usize>(to: &mut World<P, T>, p: usize, t: usize) {
    let is_newest = to.tasks[t].attempts[p].is_some_and(|attempt| attempt.newest);
    to.tasks[t].noted |= is_newest && to.processes[p].lock == Lock::Real;
}

/// As `store/tasks/suspects.rs`: one of the suspects that wait, unless one is on.
fn pass_turn<const P: usize, const T: usize>(to: &mut World<P, T>) {
    let is_on =
        |row: &Row| row.suspect && (row.state == State::Running.code() || row.is(State::Queued, Hold::Ready));
    if to.tasks.iter().filter_map(|task| task.row.as_ref()).any(is_on) {
        return;
    }
    let waits = |row: &&mut Row| row.suspect && row.is(State::Queued, Hold::Suspect);
    if let Some(row) = to.tasks.iter_mut().filter_map(|task| task.row.as_mut()).find(waits) {
        row.apply(TaskEvent::SuspectTurn);
    }
}

// ---- The search ----

struct Searched {
    states: usize,
    steps: usize,
    /// How the first broken property came about, and which it is.
    broken: Option<(Vec<String>, &'static str)>,
    /// States from which the tasks cannot end any more.
    stuck: usize,
}

/// Goes through all states, the nearest first.
fn search<const P: usize, const T: usize>(flaw: Option<Flaw>, deletes: bool) -> Searched {
    let mut numbers: HashMap<World<P, T>, u32> = HashMap::from([(World::new(), 0)]);
    let mut worlds = vec![World::<P, T>::new()];
    let mut came_by: Vec<(u32, &'static str, usize)> = vec![(0, "the beginning", 0)];
    let mut steps: Vec<(u32, u32)> = Vec::new();
    let mut at = 0;
    while at < worlds.len() {
        let mut from = Steps { from: worlds[at], flaw, deletes, found: Vec::new() };
        from.all();
        let here = u32::try_from(at).expect("fewer states than that");
        for (name, p, to) in from.found {
            let to = match to {
                Ok(to) => to,
                Err(property) => {
                    let mut trace = vec![format!("{name} ({p})")];
                    let mut back = here;
                    while back != 0 {
                        let (before, name, p) = came_by[back as usize];
                        trace.push(format!("{name} ({p})"));
                        back = before;
                    }
                    trace.reverse();
                    let broken = Some((trace, property));
                    return Searched { states: worlds.len(), steps: steps.len(), broken, stuck: 0 };
                }
            };
            let number = match numbers.entry(to) {
                Entry::Occupied(known) => *known.get(),
                Entry::Vacant(new) => {
                    let number = *new.insert(u32::try_from(worlds.len()).expect("fewer states than that"));
                    worlds.push(to);
                    came_by.push((here, name, p));
                    number
                }
            };
            steps.push((number, here));
        }
        at += 1;
    }
    let stuck = worlds.len() - can_end(&worlds, &mut steps);
    Searched { states: worlds.len(), steps: steps.len(), broken: None, stuck }
}

/// How many states have a way to an end of all tasks, backwards from those ends.
fn can_end<const P: usize, const T: usize>(worlds: &[World<P, T>], steps: &mut [(u32, u32)]) -> usize {
    steps.sort_unstable();
    let mut reached: Vec<bool> = worlds.iter().map(World::is_over).collect();
    let mut open: Vec<u32> = (0..).zip(&reached).filter(|(_, over)| **over).map(|(n, _)| n).collect();
    while let Some(to) = open.pop() {
        let first = steps.partition_point(|step| step.0 < to);
        for (_, from) in steps[first..].iter().take_while(|step| step.0 == to) {
            if !std::mem::replace(&mut reached[*from as usize], true) {
                open.push(*from);
            }
        }
    }
    reached.into_iter().filter(|reached| *reached).count()
}

fn assert_holds<const P: usize, const T: usize>(deletes: bool) {
    let began = Instant::now();
    let searched = search::<P, T>(None, deletes);
    let deletion = if deletes { ", the sidecar may be deleted" } else { "" };
    report(
        "owner",
        format_args!(
            "{P} processes, {T} tasks{deletion}: {} states, {} steps in {:?}",
            searched.states,
            searched.steps,
            began.elapsed()
        ),
    );
    if let Some((trace, property)) = searched.broken {
        panic!("{property}:\n{}", trace.join("\n"));
    }
    assert_eq!(searched.stuck, 0, "states from which the tasks never end");
}

#[test]
fn g04_g05_g06_g08_two_processes_and_three_tasks_in_every_state() {
    assert_holds::<2, 3>(false);
}

#[test]
fn g05_g06_g07_two_processes_and_two_tasks_whose_sidecar_may_be_deleted() {
    assert_holds::<2, 2>(true);
    if std::env::var_os("PERDURA_MINUTES").is_some() {
        assert_holds::<2, 3>(true); // eight million states
    }
}

#[test]
fn g04_g05_g06_g08_three_processes_and_two_tasks_in_every_state() {
    assert_holds::<3, 2>(false);
}

#[test]
fn each_flaw_of_the_protocol_is_found_out() {
    let found = [
        (Flaw::RecoversWithoutTheLock, false, TWO_AT_ONCE),
        (Flaw::NotesAfterTheStart, false, NOT_CHARGED),
        (Flaw::StartsBeforeTheClaim, false, NOT_CHARGED),
        (Flaw::ChecksNoEpoch, true, FENCED_WRITES),
        (Flaw::TrustsNotesAfterAReboot, false, NOT_CHARGED),
        (Flaw::ForgetsTheNotesBeforeRecovery, false, NOT_CHARGED),
        (Flaw::ReleasesWhileAHandlerRuns, false, TWO_AT_ONCE),
        (Flaw::RefundsWhatHadStarted, false, NOT_CHARGED),
    ];
    for (flaw, deletes, property) in found {
        let searched = search::<2, 2>(Some(flaw), deletes);
        let (trace, broken) = searched.broken.unwrap_or_else(|| panic!("{flaw:?} is not found out"));
        assert_eq!(broken, property, "{flaw:?}: {trace:?}");
    }
    let searched = search::<2, 2>(Some(Flaw::RecoversNothing), false);
    assert!(searched.broken.is_none() && searched.stuck > 0, "tasks of a dead owner never end");
}
