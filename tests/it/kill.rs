//! SIGKILL at random moments: while a process works, opens the file and recovers it, checkpoints the WAL, purges, closes. Nothing
//! acknowledged is lost, nothing appears that nobody asked for, nothing runs twice at once, no attempt goes uncounted; no more tasks of a
//! queue or key run at once than its limit, serial tasks and runs of schedules follow one another, no tick makes two tasks, and no permit is
//! left behind. What attempts commit with their end is there once, or not at all with their end; no step that was kept is done again.
//!
//! Between two kills the file is looked at only now and then: who looks recovers the WAL and empties it, and the next process would
//! never meet one that the dead have left.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use perdura::Queue;

use crate::child::Child;
use crate::support::*;
use crate::told::{Chance, End, Told};

const ROUNDS: u64 = 2000;
const LANES: u64 = 2;
const ROUNDS_A_FILE: u64 = 60;

/// What a process does until it is killed, and how long after it has opened that is at most.
#[derive(Clone, Copy)]
enum Until {
    /// Within so long after it began to open the file, and to recover.
    Opening(Duration),
    /// Within so long after its first enqueue.
    Working(Duration),
    /// The same, with WAL checkpoints and purges all the time.
    Chores(Duration),
    /// Within so long after it began to close the file.
    Closing(Duration),
}

const MS: Duration = Duration::from_millis(1);

fn plan(chance: &mut Chance) -> Until {
    match chance.below(8) {
        0 | 1 => Until::Opening(8 * MS),
        2..5 => Until::Working(25 * MS),
        5 | 6 => Until::Chores(25 * MS),
        _ => Until::Closing(4 * MS),
    }
}

/// Starts a process, kills it, and answers with what it has said.
fn one_kill(folder: &Folder, until: Until, deeds: bool, chance: &mut Chance) -> Vec<String> {
    let (role, word, limit) = match until {
        Until::Opening(limit) => ("work", "opening", limit),
        Until::Working(limit) => ("work", "acked", limit),
        Until::Chores(limit) => ("work chores", "acked", limit),
        Until::Closing(limit) => ("work chores closes", "closing", limit),
    };
    let role = if deeds { format!("{role} deeds") } else { role.to_owned() };
    let child = Child::start(&role, &folder.file()).listen();
    child.await_line(|line| line.starts_with(word));
    std::thread::sleep(chance.time(limit));
    child.kill()
}

/// How often a kill met what.
#[derive(Default, Debug)]
struct Met {
    kills: u64,
    acked: usize,
    with_work: u64,
    opening: u64,
    checkpointing: u64,
    purging: u64,
    closing: u64,
    ticks: usize,
    in_lines: u64,
}

impl Met {
    fn count(&mut self, end: &End) {
        self.kills += 1;
        self.with_work += u64::from(end.running > 0);
        self.opening += u64::from(end.opening);
        self.checkpointing += u64::from(end.checkpointing);
        self.purging += u64::from(end.purging);
        self.closing += u64::from(end.closing);
    }
}

/// One file after the other, each with its kills.
fn lane(seed: u64, met: &Mutex<Met>) {
    let mut chance = Chance(seed);
    let mut rounds = rounds(ROUNDS / LANES).peekable();
    while rounds.peek().is_some() {
        let folder = Folder::new();
        let mut told = Told::default();
        // In half of the files, tasks act on tables of the program too.
        let deeds = cfg!(feature = "rusqlite") && chance.below(2) == 0;
        let open = || Queue::builder().share_as_found(true).open(folder.file()).unwrap();
        // Some files are looked at all the time by another process, as a program with a window would.
        let looker = (chance.below(3) == 0).then(open);
        for _ in rounds.by_ref().take(usize::try_from(ROUNDS_A_FILE).unwrap()) {
            let until = plan(&mut chance);
            let end = told.take(&one_kill(&folder, until, deeds, &mut chance));
            met.lock().unwrap().count(&end);
            match &looker {
                Some(queue) if chance.below(4) == 0 => told.check(queue),
                None if chance.below(8) == 0 => told.check(&open()),
                _ => {}
            }
        }
        drop(looker);
        told.finish(&folder.file());
        let (ticks, in_lines) = told.bounded();
        let mut met = met.lock().unwrap();
        met.acked += told.acked();
        met.ticks += ticks;
        met.in_lines += in_lines;
    }
}

#[test]
fn g01_g03_g06_g08_g15_g16_g17_g18_nothing_is_lost_or_doubled_by_kill_9() {
    let (seed, met, began) = (seed(), Mutex::default(), Instant::now());
    eprintln!("seed of kill: {seed}");
    std::thread::scope(|scope| {
        for lane_number in 0..LANES {
            let met = &met;
            scope.spawn(move || lane(seed.wrapping_add(lane_number), met));
        }
    });
    let met = met.into_inner().unwrap();
    report("kill", format_args!("{met:?}"));
    // How many ticks come is a matter of time, and not of kills.
    let took = began.elapsed();
    assert!(2 * met.ticks as u64 >= took.as_secs().max(2), "too few ticks in {took:?}: {met:?}");
    assert!(met.with_work >= met.kills / 5, "too few kills met work in flight: {met:?}");
    for (what, often) in [
        ("opening", met.opening),
        ("a checkpoint", met.checkpointing),
        ("a purge", met.purging),
        ("closing", met.closing),
    ] {
        assert!(often >= met.kills / 200, "too few kills met {what}: {met:?}");
    }
}
