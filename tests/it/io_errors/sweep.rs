//! One scenario, with a fault at every operation; and what must be true after each.

use std::path::Path;
use std::time::{Duration, Instant};

use perdura::testing::ManualClock;
use perdura::{Clock, EnqueueToken, Enqueued, Error, ErrorKind, Options, Outcome, Queue, Timestamp};
use perdura_faultvfs::{Class, Hit, Kind, Plan, Role, Tear};

use super::world::{World, content, copy_all, look, reopen_and_drain};
use crate::support::*;

/// What is done while the disk fails.
pub type Act = fn(&mut World) -> Result<(), Error>;

/// An enqueue once more, with its token in the options.
pub type Repeat = fn(&Queue, Options) -> Result<Enqueued, Error>;

pub struct Scenario {
    pub name: &'static str,
    /// Makes the files to begin with, in a folder.
    pub template: fn(&Path) -> ManualClock,
    /// Whether the queue is open before the disk fails, and whether it has a connection to read.
    pub is_open: bool,
    pub reads: bool,
    pub act: Act,
    /// Other ways for it to go on after an error, which lead to other states.
    pub ways: &'static [Act],
    /// An error may come when everything is done and durable: of a call that does more than one thing.
    pub may_fail_late: bool,
    /// The same enqueue again, with the token of the first one.
    pub repeat: Option<Repeat>,
    /// What is to be seen beside the content.
    pub verify: fn(&World, &Result<(), Error>, &str),
}

impl Scenario {
    pub const fn new(name: &'static str, template: fn(&Path) -> ManualClock, act: Act) -> Scenario {
        Scenario {
            name,
            template,
            is_open: true,
            reads: false,
            act,
            ways: &[],
            may_fail_late: false,
            repeat: None,
            verify: |_, _, _| {},
        }
    }
}

/// How operations fail here.
pub const KINDS: [Kind; 6] =
    [Kind::Io, Kind::Full, Kind::ShortWrite, Kind::TornWrite, Kind::FailedSync, Kind::Busy];

#[derive(Debug, Default)]
pub struct Figures {
    pub cases: u64,
    pub hits: u64,
    pub ok: u64,
    pub not_done: u64,
    pub unknown: u64,
    /// Writes of the database file itself that were hit, rather than of the WAL.
    pub on_database: u64,
    pub slowest: Duration,
}

/// A scenario whose files have been made, and whose states are known.
pub struct Stage<'s> {
    scenario: &'s Scenario,
    folder: Folder,
    now: Timestamp,
    /// The contents that the file has one after the other when nothing fails: the last is the aim.
    states: Vec<String>,
    /// More that it may have after an error.
    strays: Vec<String>,
}

impl<'s> Stage<'s> {
    pub fn new(scenario: &'s Scenario) -> Stage<'s> {
        let folder = Folder::in_memory();
        std::fs::create_dir(folder.path().join("template")).unwrap();
        let now = (scenario.template)(&folder.path().join("template")).now();
        let mut stage = Stage { scenario, folder, now, states: Vec::new(), strays: Vec::new() };
        stage.states = stage.walk(scenario.act);
        stage.strays = scenario.ways.iter().flat_map(|way| stage.walk(*way)).collect();
        stage
    }

    fn world(&self) -> World {
        let case = self.folder.path().join("case");
        let _ = std::fs::remove_dir_all(&case);
        let mut world = World::start(&self.folder.path().join("template"), self.now, &case.join("live"));
        if self.scenario.is_open {
            world.open().unwrap();
        }
        if self.scenario.reads {
            world.queue().counts().unwrap(); // opens the connection
        }
        world
    }

    /// Every content that the file has on the way, without faults: as a power cut after each write would show it.
    fn walk(&self, act: Act) -> Vec<String> {
        let mut world = self.world();
        let recording = world.faults.record().unwrap();
        act(&mut world).unwrap_or_else(|e| panic!("{}: {e}", self.scenario.name));
        let into = self.folder.path().join("image");
        std::fs::create_dir_all(&into).unwrap();
        let mut states = Vec::new();
        for at in 0..=recording.len() {
            states.push(content(&recording.image(at, Tear::All, &into).unwrap()));
            states.dedup();
        }
        states
    }

    /// One run with these faults. Says what was hit.
    pub fn case(&self, plans: Vec<Plan>, figures: &mut Figures) -> Vec<Hit> {
        let mut named = Named(format!("{} with {plans:?}", self.scenario.name));
        let started = Instant::now();
        let mut world = self.world();
        let recording = world.faults.record().unwrap();
        world.faults.reset();
        plans.into_iter().for_each(|plan| world.faults.fail(plan));
        let answer = (self.scenario.act)(&mut world);
        let hits = world.faults.hits();
        let case = self.folder.path().join("case");
        let copy = copy_all(&world.faults, &case.join("copy"));
        world.faults.clear();
        named.0 = format!("{}: {answer:?} after {hits:?}", named.0);

        // The next one who opens it, the process having died; the same after a power cut; and the queue that lives on.
        let crashed = look(&copy, &copy_all(&world.faults, &case.join("before")));
        let cuts = [Tear::Nothing, Tear::Sectors(figures.cases)].map(|tear| {
            std::fs::create_dir_all(case.join("cut")).unwrap();
            content(&recording.image(recording.len(), tear, case.join("cut")).unwrap())
        });
        drop(recording);
        let live = content(&world.file());
        for (view, content) in [("crash", &crashed), ("cut", &cuts[0]), ("cut", &cuts[1]), ("live", &live)] {
            self.judge(view, content, &answer, &hits);
        }
        (self.scenario.verify)(&world, &answer, &live);
        if let Some(token) = answer.as_ref().err().and_then(Error::token) {
            self.repeat(&world, &copy, token);
        }
        reopen_and_drain(&copy, world.clock.now());

        if world.tests.is_none() {
            world.open().unwrap();
        }
        world.goes_on();
        let (file, now) = (world.file(), world.clock.now());
        drop(world);
        reopen_and_drain(&file, now);
        figures.take(&answer, &hits, started.elapsed());
        drop(named);
        hits
    }

    /// What a content may be after this answer.
    fn judge(&self, view: &str, content: &String, answer: &Result<(), Error>, hits: &[Hit]) {
        let (aim, before) = self.states.split_last().expect("there is a state to begin with");
        if let [Hit { kind: Kind::Busy, .. }] = hits {
            assert!(answer.is_ok(), "somebody else wrote for a moment, and nobody waited");
        }
        match answer {
            Ok(()) if self.strays.contains(content) => {} // `verify` says whether rightly
            Ok(()) => assert_eq!(content, aim, "{view}: Ok, and it is not there"),
            Err(e) if e.outcome() == Outcome::Unknown => {
                let is_of_device = matches!(e.kind(), ErrorKind::Io | ErrorKind::DiskFull); // full: the shared memory could not grow
                assert!(is_of_device, "only an error of the device leaves the outcome unknown: {e}");
                assert!(hits.len() > 1, "the commit and its probe, both must have failed");
                assert!(self.states.contains(content), "{view}: {content}");
            }
            Err(_) => {
                let is_early = before.contains(content) || self.strays.contains(content);
                let may_be = before.is_empty() || self.scenario.may_fail_late;
                assert!(
                    is_early || (may_be && content == aim),
                    "{view}: not done, and there it is\n{content}"
                );
            }
        }
    }

    /// An enqueue of unknown outcome, once more: in the queue that lives on, and by the next process. Then it is there once.
    fn repeat(&self, world: &World, copy: &Path, token: EnqueueToken) {
        let Some(repeat) = self.scenario.repeat else { return };
        let _ = repeat(world.queue(), Options::new().token(token)).unwrap();
        let _ = repeat(
            &Queue::builder().clock(world.clock.clone()).open(copy).unwrap(),
            Options::new().token(token),
        )
        .unwrap();
        for file in [&world.file(), copy] {
            assert_eq!(
                &content(file),
                self.states.last().expect("there is an aim"),
                "repeated with its token"
            );
        }
    }

    /// A fault at every operation, until a run meets none: of each kind, once and from then on. From operation `dense` on, only
    /// each `stride`th.
    pub fn sweep(&self, dense: u64, stride: u64) -> Figures {
        let mut figures = Figures::default();
        for kind in KINDS {
            for lasts in [false, true] {
                let mut nth = 1;
                loop {
                    let plan = Plan::at(nth, kind);
                    let plan = if lasts { plan.from_then_on() } else { plan };
                    if self.case(vec![plan], &mut figures).is_empty() {
                        break;
                    }
                    nth += if nth > dense { stride } else { 1 };
                }
            }
        }
        figures
    }
}

impl Figures {
    fn take(&mut self, answer: &Result<(), Error>, hits: &[Hit], time: Duration) {
        self.cases += 1;
        self.hits += hits.len() as u64;
        let on_database = |hit: &&Hit| hit.role == Role::Database && hit.class == Class::Write;
        self.on_database += hits.iter().filter(on_database).count() as u64;
        match answer {
            Ok(()) => self.ok += 1,
            Err(e) if e.outcome() == Outcome::Unknown => self.unknown += 1,
            Err(_) => self.not_done += 1,
        }
        self.slowest = self.slowest.max(time);
    }
}

/// Names the case if it fails.
struct Named(String);

impl Drop for Named {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the case: {}", self.0);
        }
    }
}
