//! Crash images: a queue works on a disk that records every write, and every disk that a power cut could have left is made of that
//! and opened.
//!
//! The disk is `perdura_faultvfs`, whose docs say what a power cut may leave: everything up to the last completed sync, and of the
//! rest any sectors. What is owed is known in two ways. *Facts* are noted in the recording when a call has returned. The *history*
//! is what the whole prefix of the writes holds after each commit, so that what a torn one holds must be a commit of it: no earlier
//! one than the newest that was acknowledged, and nothing in between.

use std::collections::{BTreeMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use perdura::testing::{ManualClock, SteppedQueue};
use perdura::{
    Builder, Clock, Config, Context, Durability, Failure, Filter, Options, Queue, State, Task, TaskId,
};
use perdura_faultvfs::{Faults, Recording, Tear, VFS};
use rusqlite::Connection;
use rusqlite::config::DbConfig;
use rusqlite::types::ValueRef;
use serde::{Deserialize, Serialize};

use crate::support::*;
use crate::told::Chance;

/// Images in each CI run, of each kind of workload, and how many are made of one recording.
const IMAGES: u64 = 2_000;
const IMAGES_A_RECORDING: usize = 500;
/// Calls in a recorded workload, beside those that are in each.
const CALLS: u64 = 24;
const DAY: std::time::Duration = std::time::Duration::from_secs(24 * 3600);

/// What an attempt does.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum Act {
    Succeed,
    Fail,
    FailOnce,
    GiveUp,
    Save,
    /// Does a step, and fails the first time.
    DoOnce,
    /// Makes a child and commits an effect with its end.
    Commit,
}

#[derive(Serialize, Deserialize)]
struct Step {
    act: Act,
    text: String,
}

impl Task for Step {
    const NAME: &'static str = "step";
    type Output = String;
}

/// What has happened by a moment of a recording.
enum Fact {
    /// An enqueue has returned.
    Enqueued(Vec<TaskId>),
    /// A handler has started.
    Started(TaskId, u64),
    /// A handler has saved a checkpoint.
    Saved(TaskId, u64),
    /// An attempt has ended, and the call that ran it has returned.
    Settled(TaskId, u64, State),
    /// A verb is about to change tasks that do not run: what was said of them before is no longer owed.
    Touching(Vec<TaskId>),
    /// Any other call has returned.
    Returned,
}

/// Notes what happens, if there is a recording.
#[derive(Clone, Default)]
struct Diary(Arc<Mutex<(Option<Recording>, Vec<Fact>)>>);

impl Diary {
    fn note(&self, fact: Fact) {
        let (recording, facts) = &mut *self.0.lock().unwrap();
        if let Some(recording) = recording {
            recording.mark(facts.len() as u64);
            facts.push(fact);
        }
    }
}

/// An effect in the program's own table, and a child, in one commit with the end of the attempt.
#[cfg(feature = "rusqlite")]
fn commit(step: Step, cx: &Context) -> Result<String, Failure> {
    cx.enqueue(&Step { act: Act::Succeed, text: "a child".into() })?;
    cx.commit(step.text, |tx| {
        tx.execute("INSERT INTO effects (task_id) VALUES (?1)", [cx.id().as_i64()])?;
        Ok(())
    })
}

#[cfg(not(feature = "rusqlite"))]
fn commit(step: Step, _: &Context) -> Result<String, Failure> {
    Ok(step.text)
}

fn builder(durability: Durability, diary: &Diary) -> Builder {
    let config = Config::default().durability(durability).dead_letter_after(Some(DAY)).workers(1);
    let diary = diary.clone();
    Queue::builder().share_as_found(true).config(config).handle(
        move |step: Step, cx: &Context| -> Result<String, Failure> {
            diary.note(Fact::Started(cx.id(), cx.generation()));
            match step.act {
                Act::Succeed => Ok(step.text),
                Act::Fail => Err(Failure::named("told", step.text)),
                Act::FailOnce if cx.attempt_number() > 1 => Ok(step.text),
                Act::FailOnce => Err(Failure::named("told", "once")),
                Act::GiveUp => Err(Failure::permanent("as told")),
                Act::Save => {
                    cx.save_checkpoint(&cx.generation())?;
                    diary.note(Fact::Saved(cx.id(), cx.generation()));
                    Err(Failure::permanent("saved"))
                }
                Act::DoOnce => {
                    let done_in = cx.step("once", || Ok(cx.generation()))?;
                    diary.note(Fact::Saved(cx.id(), done_in));
                    if cx.attempt_number() > 1 { Ok(step.text) } else { Err(Failure::named("told", "once")) }
                }
                Act::Commit => commit(step, cx),
            }
        },
    )
}

// ---- The recorded work ----

/// A queue whose calls are noted.
struct Work {
    tests: Option<SteppedQueue>,
    clock: ManualClock,
    file: PathBuf,
    durability: Durability,
    diary: Diary,
    chance: Chance,
    /// The file has a table of the program too, and tasks act on it.
    has_effects: bool,
}

impl Work {
    fn open(&mut self) {
        let builder = builder(self.durability, &self.diary).vfs(VFS);
        self.tests = Some(SteppedQueue::open_file(builder, &self.clock, &self.file).unwrap());
        self.diary.note(Fact::Returned);
        #[cfg(feature = "rusqlite")]
        if self.has_effects {
            let table = "CREATE TABLE IF NOT EXISTS effects (task_id INTEGER NOT NULL)";
            self.tests()
                .queue()
                .transaction(|tx| tx.execute_batch(table).map_err(Failure::from))
                .unwrap_or_else(|e| panic!("{e:?}"));
            self.diary.note(Fact::Returned);
        }
    }

    fn tests(&mut self) -> &mut SteppedQueue {
        self.tests.as_mut().expect("the queue is open")
    }

    fn enqueue(&mut self, size: usize, bytes: u64) {
        let acts = [
            Act::Succeed,
            Act::Succeed,
            Act::Fail,
            Act::FailOnce,
            Act::GiveUp,
            Act::Save,
            Act::DoOnce,
            Act::Commit,
        ];
        let kinds = if self.has_effects { 8 } else { 7 };
        let mut step = || Step {
            act: acts[self.chance.below(kinds) as usize],
            text: "x".repeat(self.chance.below(bytes) as usize),
        };
        let steps: Vec<_> = (0..size).map(|_| step()).collect();
        let limits: Vec<u64> = (0..size).map(|_| self.chance.below(4)).collect();
        let options = |limit: u64| match limit {
            0 => Options::new().serial("one after the other"),
            1 => Options::new().limit("two", 2),
            _ => Options::new(),
        };
        let queue = self.tests.as_ref().expect("the queue is open").queue();
        let all = steps.iter().zip(limits.iter().map(|limit| options(*limit)));
        let ids = match size {
            1 => vec![queue.enqueue_with(&steps[0], options(limits[0])).unwrap().id()],
            _ => queue.enqueue_all_with(all).unwrap().iter().map(|made| made.id()).collect(),
        };
        self.diary.note(Fact::Enqueued(ids));
    }

    fn run(&mut self) {
        let Some(ran) = self.tests().run_one().unwrap() else { return };
        let (perdura::testing::Ran::Succeeded(id) | perdura::testing::Ran::Failed(id)) = ran else {
            panic!("{ran:?}")
        };
        let record = self.tests().queue().get(id).unwrap();
        self.diary.note(Fact::Settled(id, record.generation, record.state));
    }

    /// A verb for a task that has ended, or waits.
    fn mend(&mut self, act: impl FnOnce(&Queue, TaskId), states: &[State]) {
        let tasks = self.tests().queue().tasks(Filter::new().limit(usize::MAX)).unwrap();
        let found: Vec<_> = tasks.iter().filter(|task| states.contains(&task.state)).collect();
        if found.is_empty() {
            return;
        }
        let id = found[self.chance.below(found.len() as u64) as usize].task_id;
        self.diary.note(Fact::Touching(vec![id]));
        act(self.tests().queue(), id);
        self.diary.note(Fact::Returned);
    }

    /// A call that may change all tasks that have ended.
    fn sweep(&mut self, act: impl FnOnce(&mut SteppedQueue)) {
        let tasks = self.tests().queue().tasks(Filter::new().limit(usize::MAX)).unwrap();
        let ended = tasks.iter().filter(|task| !matches!(task.state, State::Queued | State::Running));
        self.diary.note(Fact::Touching(ended.map(|task| task.task_id).collect()));
        act(self.tests());
        self.diary.note(Fact::Returned);
    }

    fn call(&mut self) {
        match self.chance.below(20) {
            0..4 => self.enqueue(1, 40),
            4 => self.enqueue(1, 20_000),
            5..7 => {
                let size = 2 + self.chance.below(4) as usize;
                self.enqueue(size, 3_000);
            }
            7..13 => self.run(),
            13 => {
                self.tests().advance(2 * MINUTE).unwrap();
                self.diary.note(Fact::Returned);
            }
            14 => self.mend(|queue, id| queue.cancel(id).unwrap(), &[State::Queued]),
            15 => self.mend(|queue, id| queue.retry(id).unwrap(), &[State::Failed]),
            16 => self.sweep(|tests| {
                assert_eq!(tests.queue().move_to_dead_letters(Filter::new()).unwrap().skipped, 0);
                for letter in tests.queue().dead_letters().list(Filter::new().limit(1)).unwrap() {
                    tests.queue().dead_letters().replay_again(letter.task_id).unwrap();
                }
            }),
            17 => self.sweep(|tests| {
                let now = tests.clock().clone();
                tests.queue().purge(std::time::SystemTime::UNIX_EPOCH + 100 * 365 * DAY).unwrap();
                now.advance(SECOND);
            }),
            18 if self.chance.below(3) == 0 => {
                drop(self.tests.take());
                self.diary.note(Fact::Returned);
                self.open();
            }
            19 if self.chance.below(3) == 0 => {
                self.tests.take().expect("the queue is open").crash().unwrap();
                self.open();
            }
            _ => self.run(),
        }
    }
}

/// A recording, and what is owed of it.
struct Past {
    recording: Recording,
    facts: Vec<Fact>,
    clock: ManualClock,
    /// What the file held from which entry on: one for each commit.
    history: Vec<(usize, String)>,
    /// How many entries come before each image, and how often there was one at that moment already. In this order, so that each image
    /// goes on from where the last one was.
    moments: Vec<(usize, usize)>,
    /// How many entries there are up to each mark, itself included.
    marks: Vec<usize>,
    durability: Durability,
}

/// Lets a queue work, on a file that is there or on a new one, and records it.
fn record(seed: u64, durability: Durability, is_new: bool) -> Past {
    let home = Folder::in_memory();
    let faults = Faults::attach(home.file()).unwrap();
    let mut work = Work {
        tests: None,
        clock: ManualClock::new(),
        file: home.file(),
        durability,
        diary: Diary::default(),
        chance: Chance(seed),
        has_effects: cfg!(feature = "rusqlite") && !is_new,
    };
    if !is_new {
        work.open();
        (0..CALLS / 2).for_each(|_| work.call());
        drop(work.tests.take());
    }
    let recording = faults.record().unwrap();
    work.diary.0.lock().unwrap().0 = Some(recording.clone());
    work.open();
    for call in 0..CALLS {
        work.call();
        // Somewhere in between more than the file has room for.
        if call == CALLS / 3 {
            work.enqueue(5, 400_000);
        }
    }
    drop(work.tests.take());
    work.diary.note(Fact::Returned);
    let facts = std::mem::take(&mut work.diary.0.lock().unwrap().1);
    let marks = marks(&recording);
    let history = history(&recording, &marks);
    let moments = moments(&recording, &mut work.chance);
    Past { recording, facts, clock: work.clock, history, moments, marks, durability }
}

/// What the file held, commit by commit. Where two moments hold the same, there was none between them: each one that matters raises a
/// number.
fn history(recording: &Recording, marks: &[usize]) -> Vec<(usize, String)> {
    fn between(
        found: &mut Vec<(usize, String)>,
        from: usize,
        to: usize,
        end: &str,
        at: &dyn Fn(usize) -> String,
    ) {
        if found.last().is_some_and(|(_, held)| held == end) {
            return;
        }
        if to - from == 1 {
            return found.push((to, end.to_owned()));
        }
        let middle = from + (to - from) / 2;
        between(found, from, middle, &at(middle), at);
        between(found, middle, to, end, at);
    }
    let folder = Folder::in_memory();
    let at = |n: usize| content(&recording.image(n, Tear::All, folder.path()).unwrap());
    let mut found = vec![(0, at(0))];
    let mut from = 0;
    for to in marks.iter().copied().chain([recording.len()]) {
        if to > from {
            between(&mut found, from, to, &at(to), &at);
            from = to;
        }
    }
    found
}

/// The entries of a recording, by their names.
fn entries(recording: &Recording) -> Vec<String> {
    let text = recording.to_string();
    text.lines().map(|line| line.split_once(' ').expect("a number and a name").1.to_owned()).collect()
}

/// How many entries there are up to each mark, itself included.
fn marks(recording: &Recording) -> Vec<usize> {
    let all = entries(recording).into_iter().zip(1..);
    all.filter(|(entry, _)| entry.starts_with("mark")).map(|(_, n)| n).collect()
}

/// Moments for images, by chance: before every entry but those in the middle of many writes of whole pages, which are all alike: of
/// these each ninth. If there are too few, each comes again, with another tear.
fn moments(recording: &Recording, chance: &mut Chance) -> Vec<(usize, usize)> {
    let entries = entries(recording);
    let is_write = |n: usize| entries.get(n).is_some_and(|entry| entry.starts_with("write Wal"));
    let is_dull = |n: usize| n >= 6 && (n - 6..n + 6).all(is_write);
    let mut moments: Vec<usize> =
        (0..=entries.len()).filter(|n| !is_dull(*n) || n.is_multiple_of(9)).collect();
    for n in (1..moments.len()).rev() {
        moments.swap(n, chance.below(n as u64 + 1) as usize);
    }
    let images = 0..IMAGES_A_RECORDING;
    let mut chosen: Vec<_> = images.map(|n| (moments[n % moments.len()], n / moments.len())).collect();
    chosen.sort_unstable();
    chosen
}

/// Every row of every table but the padding, as text. Reads the WAL and leaves it as it is.
fn content(file: &Path) -> String {
    if std::fs::metadata(file).map_or(0, |found| found.len()) == 0 {
        return String::new();
    }
    let db = Connection::open(file).unwrap();
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).unwrap();
    let names = |sql: &str| -> Vec<String> {
        let mut statement = db.prepare(sql).unwrap();
        let names = statement.query_map([], |row| row.get(0)).unwrap();
        names.map(Result::unwrap).collect()
    };
    let mut all = String::new();
    for table in names("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name") {
        if table == "perdura_padding" {
            continue;
        }
        let mut statement = db.prepare(&format!("SELECT * FROM {table}")).unwrap();
        let columns = statement.column_count();
        let mut rows = statement.query([]).unwrap();
        all.push_str(&format!("{table}\n"));
        while let Some(row) = rows.next().unwrap() {
            for n in 0..columns {
                match row.get_ref(n).unwrap() {
                    // Large ones are told apart by their sums.
                    ValueRef::Text(large) | ValueRef::Blob(large) if large.len() > 100 => {
                        let mut sum = DefaultHasher::new();
                        large.hash(&mut sum);
                        all.push_str(&format!("{} bytes {:016x},", large.len(), sum.finish()));
                    }
                    small => all.push_str(&format!("{small:?},")),
                }
            }
            all.push('\n');
        }
    }
    all
}

// ---- What is held against it ----

/// What an image was found to hold.
#[derive(Clone, Copy, PartialEq)]
enum Held {
    /// All that was acknowledged.
    All,
    /// An earlier commit.
    Earlier,
}

/// A task as the file has it before anybody opens it as a queue.
struct Row {
    state: i64,
    generation: u64,
    attempt_number: u32,
}

fn rows(file: &Path) -> BTreeMap<TaskId, Row> {
    let db = Connection::open(file).unwrap();
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).unwrap();
    let sql = "SELECT t.task_id, t.state, t.generation, t.attempt_number FROM perdura_tasks t";
    let Ok(mut statement) = db.prepare(sql) else { return BTreeMap::new() };
    let rows = statement.query_map([], |row| {
        let id = TaskId::from_i64(row.get(0)?);
        let (state, generation, attempt_number) = (row.get(1)?, row.get::<_, i64>(2)?, row.get(3)?);
        Ok((id, Row { state, generation: generation.unsigned_abs(), attempt_number }))
    });
    rows.unwrap().map(Result::unwrap).collect()
}

impl Past {
    /// Makes one image and holds it against what is owed.
    fn examine(&self, at: usize, tear: Tear) -> Held {
        let case = format!("a cut after {at} entries, {tear:?}");
        let folder = Folder::in_memory(); // a new one each time: the connections of the last are closed when their threads get to it
        let file = self.recording.image(at, tear, folder.path()).unwrap();
        let found = content(&file);
        let held = self.place(at, &found, &case);
        let rows = if found.is_empty() { BTreeMap::new() } else { rows(&file) };
        if held == Held::All {
            self.facts_hold(at, &rows, &case);
        }
        self.goes_on(&file, &rows, &case);
        held
    }

    /// Where in the history this is.
    fn place(&self, at: usize, found: &str, case: &str) -> Held {
        let newest_mark = self.marks.iter().copied().take_while(|mark| *mark <= at).last().unwrap_or(0);
        let since = |entry: usize| self.history.partition_point(|(from, _)| *from <= entry) - 1;
        let (owed, last) = (since(newest_mark), since(at));
        let place = self.history[..=last].iter().rposition(|(_, held)| held == found);
        let Some(place) = place else {
            panic!("{case}: this was never committed, or not yet, and {} commits were:\n{found}", last + 1)
        };
        if place >= owed {
            return Held::All;
        }
        assert_eq!(
            self.durability,
            Durability::Relaxed,
            "{case}: commit {place} is left, {owed} was acknowledged"
        );
        Held::Earlier
    }

    /// What the calls that had returned have said.
    fn facts_hold(&self, at: usize, rows: &BTreeMap<TaskId, Row>, case: &str) {
        let noted: Vec<&Fact> =
            self.recording.marks_before(at).iter().map(|n| &self.facts[*n as usize]).collect();
        let mut touched: HashSet<TaskId> = HashSet::new();
        // The newest first: a touch takes back only what was said before it.
        for fact in noted.iter().rev() {
            match fact {
                Fact::Enqueued(ids) => {
                    let lost: Vec<_> =
                        ids.iter().filter(|id| !rows.contains_key(id) && !touched.contains(id)).collect();
                    assert!(lost.is_empty(), "{case}: {lost:?} were acknowledged and are lost");
                }
                Fact::Started(id, generation) | Fact::Saved(id, generation) => match rows.get(id) {
                    Some(row) => assert!(
                        row.generation >= *generation,
                        "{case}: {id} had started generation {generation}, and its claim is lost"
                    ),
                    None => assert!(touched.contains(id), "{case}: {id} had started and is lost"),
                },
                Fact::Settled(id, generation, state) if !touched.contains(id) => {
                    let row = rows.get(id).unwrap_or_else(|| panic!("{case}: {id} was settled and is lost"));
                    let is_there = row.generation > *generation || row.state == number(*state);
                    assert!(is_there, "{case}: {id} had become {state:?}, and is {} again", row.state);
                }
                Fact::Touching(ids) => touched.extend(ids),
                Fact::Settled(..) | Fact::Returned => {}
            }
        }
        for fact in &self.facts {
            let Fact::Enqueued(ids) = fact else { continue };
            let missing = ids.iter().filter(|id| !rows.contains_key(id)).collect::<Vec<_>>();
            let is_whole = missing.len() == ids.len() || missing.iter().all(|id| touched.contains(id));
            assert!(is_whole, "{case}: of the batch {ids:?} there are not {missing:?}");
        }
    }

    /// The next process opens it, loses nothing, counts what ran, and brings everything to its end.
    fn goes_on(&self, file: &Path, rows: &BTreeMap<TaskId, Row>, case: &str) {
        let opened =
            SteppedQueue::open_file(builder(self.durability, &Diary::default()), &self.clock_again(), file);
        let mut tests = opened.unwrap_or_else(|e| panic!("{case}: it cannot be opened: {e}"));
        assert!(tests.queue().executes(), "{case}: somebody owns it");
        let report = tests.queue().check().unwrap();
        assert!(report.is_ok(), "{case}: {report:#?}");
        let records = tests.queue().tasks(Filter::new().limit(usize::MAX)).unwrap();
        assert!(
            records.iter().map(|r| r.task_id).eq(rows.keys().copied()),
            "{case}: opening it changes which tasks there are"
        );
        for (record, row) in records.iter().zip(rows.values()) {
            let now = (record.generation, record.attempt_number);
            assert_eq!(
                now,
                (row.generation, row.attempt_number),
                "{case}: the attempts of {}",
                record.task_id
            );
            let is_kept = row.state == number(State::Running) || row.state == number(record.state);
            assert!(
                is_kept && record.state != State::Running,
                "{case}: {} was {}: {record:?}",
                record.task_id,
                row.state
            );
        }
        // Serial tasks wait for the retries of those before them.
        for _ in 0..200 {
            tests.run_until_idle().unwrap();
            tests.clock().advance(DAY);
            tests.tick().unwrap();
            if tests.queue().counts().unwrap().total().queued() == 0 {
                break;
            }
        }
        let total = tests.queue().counts().unwrap().total();
        assert_eq!(total.queued() + total.running, 0, "{case}: it cannot be drained: {total:?}");
        let children = self.effects_hold(tests.queue(), rows, case);
        let expected = rows.len() as u64 + children;
        assert_eq!(total.all(), expected, "{case}: draining it changes which tasks there are");
        let report = tests.queue().check().unwrap();
        assert!(report.is_ok(), "{case}: {report:#?}");
    }

    /// Each task that has committed an effect has succeeded, and has it once. Answers with how many have done so since there were these rows: each
    /// has made a child.
    fn effects_hold(&self, queue: &Queue, rows: &BTreeMap<TaskId, Row>, case: &str) -> u64 {
        let db = Connection::open(queue.path()).unwrap();
        let Ok(mut statement) = db.prepare("SELECT task_id, COUNT(*) FROM effects GROUP BY task_id") else {
            return 0;
        };
        let found = statement.query_map([], |row| Ok((TaskId::from_i64(row.get(0)?), row.get(1)?))).unwrap();
        let effects: BTreeMap<TaskId, u64> = found.map(Result::unwrap).collect();
        assert!(effects.values().all(|n| *n == 1), "{case}: an effect was committed twice: {effects:?}");
        let mut new = 0;
        for record in queue.tasks(Filter::new().limit(usize::MAX)).unwrap() {
            let step: Step = serde_json::from_str(&queue.args_json(record.task_id).unwrap()).unwrap();
            let has_succeeded = record.state == State::Succeeded;
            let owed = has_succeeded && matches!(step.act, Act::Commit);
            assert_eq!(effects.contains_key(&record.task_id), owed, "{case}: the effect of {record:?}");
            let before = rows.get(&record.task_id).map(|row| row.state);
            new += u64::from(owed && before != Some(number(State::Succeeded)));
        }
        new
    }

    /// A clock that begins where the recorded one has ended.
    fn clock_again(&self) -> ManualClock {
        ManualClock::at(self.clock.now())
    }
}

/// How the file writes a state.
fn number(state: State) -> i64 {
    match state {
        State::Queued => 0,
        State::Running => 1,
        State::Succeeded => 2,
        State::Failed => 3,
        State::Cancelled => 4,
        State::Lost => 5,
    }
}

// ---- The harness ----

/// A tear of each kind, with chance of its own.
fn tear(kind: u64, chance: &mut Chance) -> Tear {
    let seed = chance.below(u64::from(u32::MAX));
    match kind % 8 {
        0 => Tear::All,
        1 => Tear::Nothing,
        2 => Tear::LastWrite(seed),
        3 => Tear::ZeroTail,
        4 => Tear::StaleTail(seed),
        _ => Tear::Sectors(seed),
    }
}

#[derive(Default, Debug)]
struct Figures {
    images: u64,
    recordings: u64,
    entries: usize,
    syncs: usize,
    commits: usize,
    earlier: u64,
}

/// Image after image, of recording after recording.
fn examine(harness: &str, durability: Durability, is_new: bool, in_ci: u64) -> Figures {
    let seed = seed();
    eprintln!("seed of images, {harness}: {seed}");
    let (mut chance, mut figures) = (Chance(seed), Figures::default());
    let mut past = None;
    for n in rounds(in_ci) {
        let n = usize::try_from(n).unwrap() % IMAGES_A_RECORDING;
        if n == 0 {
            let made = record(chance.below(u64::from(u32::MAX)), durability, is_new);
            figures.recordings += 1;
            figures.entries += made.recording.len();
            figures.syncs += made.recording.syncs();
            figures.commits += made.history.len();
            past = Some(made);
        }
        let past = past.as_ref().expect("the first one is made at once");
        let (at, again) = past.moments[n];
        let tear = tear((n + again) as u64, &mut chance);
        figures.images += 1;
        figures.earlier += u64::from(past.examine(at, tear) == Held::Earlier);
    }
    report("images", format_args!("{harness}: {figures:?}, PERDURA_SEED={seed}"));
    figures
}

#[test]
fn g01_g03_g06_g08_every_image_of_a_new_file_has_what_was_acknowledged() {
    examine("a new file", Durability::Full, true, IMAGES);
}

#[test]
fn g01_g03_g06_g08_every_image_of_a_file_has_what_was_acknowledged() {
    examine("a file", Durability::Full, false, IMAGES);
}

/// The control: what is not synced is lost, and the harness sees it. What is left is a prefix of the commits all the same.
#[test]
fn g01_images_of_relaxed_durability_lose_a_suffix_of_the_commits() {
    let figures = examine("relaxed", Durability::Relaxed, false, IMAGES / 2);
    assert!(figures.earlier > figures.images / 20, "relaxed durability lost hardly anything: {figures:?}");
}
