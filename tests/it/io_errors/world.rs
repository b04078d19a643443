//! A queue on a disk that can be told to fail, and the views of its file.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use perdura::engine::NamedEngine;
use perdura::testing::{ManualClock, ScriptedEngine, SteppedQueue};
use perdura::{Config, Context, Error, Failure, Filter, Queue, State, Task, Timestamp};
use perdura_faultvfs::{Faults, VFS};
use rusqlite::Connection;
use serde::{Deserialize, Serialize};

use crate::child::Wide;
use crate::support::*;

/// A task that saves a checkpoint, tells the test whether that worked, and fails for good, so that the checkpoint stays.
#[derive(Debug, Serialize, Deserialize)]
pub struct Save;

impl Task for Save {
    const NAME: &'static str = "save";
    type Output = ();
}

/// A task that dies with its process: while it runs, the files are copied away.
#[derive(Debug, Serialize, Deserialize)]
pub struct Die;

impl Task for Die {
    const NAME: &'static str = "die";
    type Output = ();
}

/// What tests and handlers tell each other.
#[derive(Clone, Default)]
pub struct Talk {
    /// The handler of [`Save`] is not to save.
    pub saves_nothing: Arc<AtomicBool>,
    pub saved: Arc<AtomicBool>,
    pub engine: ScriptedEngine,
    /// What asks an engine is to snooze for a second instead, as it does if the task's queue cannot be read.
    pub snoozes: Arc<AtomicBool>,
}

/// A task that an engine does.
#[derive(Debug, Serialize, Deserialize)]
pub struct Far;

impl Task for Far {
    const NAME: &'static str = "far";
    type Output = u32;
}

/// A file under test, with its queue if that is open.
pub struct World {
    pub folder: PathBuf,
    pub faults: Faults,
    pub clock: ManualClock,
    pub talk: Talk,
    pub tests: Option<SteppedQueue>,
    /// Room that is kept for a full disk, in bytes.
    pub reserve: u64,
}

pub const DAY: Duration = Duration::from_secs(24 * 3600);

fn config() -> Config {
    Config::default().dead_letter_after(Some(30 * DAY)).workers(1).disk_reserve_bytes(0)
}

/// How a queue is set up here, whatever it stands on.
pub fn builder(clock: &ManualClock, talk: &Talk, dies_into: Option<(Faults, PathBuf)>) -> perdura::Builder {
    let (talk, cluster) = (talk.clone(), NamedEngine::new("cluster", talk.engine.clone()));
    let snoozes = talk.snoozes.clone();
    let save = move |_: Save, cx: &Context| -> Result<(), Failure> {
        if !talk.saves_nothing.load(Ordering::SeqCst) {
            talk.saved.store(cx.save_checkpoint(&7).is_ok(), Ordering::SeqCst);
        }
        Err(Failure::permanent("as told"))
    };
    let die = move |_: Die, _: &Context| -> Result<(), Failure> {
        if let Some((faults, into)) = &dies_into {
            copy_all(faults, into);
        }
        Ok(())
    };
    let wide = |task: Wide, _: &Context| -> Result<String, Failure> { Ok(task.n.to_string()) };
    let builder = Queue::builder().config(config()).clock(clock.clone());
    let builder = builder.handle(run).handle(save).handle(die).handle(wide);
    let far = move |_: Far, _: &Context| match snoozes.load(Ordering::SeqCst) {
        true => Err(Failure::snooze(Duration::from_secs(1))),
        false => Ok(7.into()),
    };
    builder.outside(&cluster, far, |_, ended| ended.json())
}

/// The files as the death of the process would leave them now, with the notes of the owner.
pub fn copy_all(faults: &Faults, into: &Path) -> PathBuf {
    std::fs::create_dir_all(into).unwrap();
    let copy = faults.copy_to(into).unwrap();
    let owner = with_suffix(&faults.path(), "-owner");
    if owner.exists() {
        std::fs::copy(owner, with_suffix(&copy, "-owner")).unwrap();
    }
    copy
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

impl World {
    /// The files of a template, on a disk of their own.
    pub fn start(template: &Path, now: Timestamp, folder: &Path) -> World {
        std::fs::create_dir_all(folder).unwrap();
        for entry in std::fs::read_dir(template).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), folder.join(entry.file_name())).unwrap();
        }
        World {
            folder: folder.to_owned(),
            faults: Faults::attach(folder.join("tasks.db")).unwrap(),
            clock: ManualClock::at(now),
            talk: Talk::default(),
            tests: None,
            reserve: 0,
        }
    }

    pub fn file(&self) -> PathBuf {
        self.folder.join("tasks.db")
    }

    pub fn open(&mut self) -> Result<(), Error> {
        let config = config().disk_reserve_bytes(self.reserve);
        let builder = builder(&self.clock, &self.talk, None).config(config).vfs(VFS);
        self.tests = Some(SteppedQueue::open_file(builder, &self.clock, self.file())?);
        Ok(())
    }

    pub fn tests(&self) -> &SteppedQueue {
        self.tests.as_ref().expect("the queue is open")
    }

    pub fn queue(&self) -> &Queue {
        self.tests().queue()
    }

    /// Whether the queue works: it enqueues, runs, settles, and its file is sound.
    pub fn goes_on(&mut self) {
        let id = self.queue().enqueue(&Do::Ok(999)).unwrap().id();
        self.tests().run_until_idle().unwrap();
        assert_eq!(self.queue().get(id).unwrap().state, State::Succeeded);
        assert_sound(self.queue());
    }
}

/// Opens a file as the next process would, lets everything end, and checks it.
pub fn reopen_and_drain(file: &Path, now: Timestamp) {
    let (clock, talk) = (ManualClock::at(now), Talk::default());
    let mut tests = SteppedQueue::open_file(builder(&clock, &talk, None), &clock, file).unwrap();
    assert!(tests.queue().executes(), "the reopened file has an owner already");
    let left = |tests: &SteppedQueue| {
        let queues = tests.queue().counts().unwrap().queues;
        queues.values().map(|q| q.ready + q.held + q.limited + q.unmet + q.waiting + q.running).sum::<u64>()
    };
    for _ in 0..10 {
        tests.run_until_idle().unwrap();
        tests.poll_engines().unwrap();
        talk.engine.finish_all("1");
        if left(&tests) == 0 {
            break;
        }
        tests.advance(DAY).unwrap();
    }
    assert_eq!(left(&tests), 0, "{:#?}", tests.queue().tasks(Filter::new()));
    assert_sound(tests.queue());
}

/// Looks at a file as a process without handlers sees it, which changes nothing: its content. `before` has a copy of it, to see
/// whether there is anything yet: perdura would make it.
pub fn look(file: &Path, before: &Path) -> String {
    let found = content(before);
    if !found.contains("perdura_meta") {
        return found;
    }
    let queue = Queue::builder().open(file).unwrap();
    assert_sound(&queue);
    content(file)
}

fn is_there(file: &Path) -> bool {
    std::fs::metadata(file).is_ok_and(|found| found.len() > 0)
}

/// What differs from run to run, and is not content.
const CHANCE: &[&str] = &["file_id", "token", "probes"];

/// Every row of every table, as text. Empty for a file that has none, or is not there.
pub fn content(file: &Path) -> String {
    if !is_there(file) {
        return String::new();
    }
    let db = Connection::open(file).unwrap();
    db.busy_timeout(Duration::from_secs(1)).unwrap();
    let names = |sql: &str| -> Vec<String> {
        let mut statement = db.prepare(sql).unwrap();
        let names = statement.query_map([], |row| row.get(0)).unwrap();
        names.map(Result::unwrap).collect()
    };
    let mut all = String::new();
    for table in names(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name <> 'perdura_padding' ORDER BY name",
    ) {
        let columns = names(&format!("SELECT name FROM pragma_table_info('{table}')"));
        let columns: Vec<_> = columns.iter().filter(|name| !CHANCE.contains(&name.as_str())).collect();
        let list =
            columns.iter().map(|name| format!("quote({name})")).collect::<Vec<_>>().join(" || ',' || ");
        let mut rows = names(&format!("SELECT {list} FROM {table}"));
        rows.sort();
        all.push_str(&format!("{table}\n"));
        rows.iter().for_each(|row| all.push_str(&format!("  {row}\n")));
    }
    all
}
