//! What large files cost: claims beside millions of finished and waiting tasks, opening, memory.

use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

use perdura::Durability::{Full, Relaxed};
use perdura::Queue;
use perdura::testing::{ManualClock, SteppedQueue};
use rusqlite::Connection;

use crate::Asked;
use crate::idle;
use crate::measure::Rounds;
use crate::report::{Curve, Report, Row, Target};
use crate::work::{Noop, Scratch, fill, noop, producer, runner};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Tasks that are claimed one by one in a round.
const ONE_BY_ONE: usize = 500;

/// What else is in the file.
#[derive(Clone, Copy, Default)]
pub struct Crowd {
    pub finished: u64,
    /// Of higher priority than what is claimed.
    pub waiting: u64,
    pub ready: u64,
    pub running: u64,
    /// Bytes of the args of each, at least.
    pub args: usize,
}

impl Crowd {
    /// Writes these tasks, as perdura would have left them, each with args and those that succeeded with a result.
    pub fn put(self, path: &Path) -> Outcome<()> {
        fill(&producer(path, Relaxed)?, 1)?; // the names of the queue and the task are in the file from now on
        let conn = Connection::open(path)?;
        conn.execute_batch(
            "PRAGMA synchronous = OFF; PRAGMA cache_size = -65536; PRAGMA journal_mode = WAL",
        )?;
        // state, hold, reasons, attempts, in flight, run_at, started, finished
        let kinds = [
            (self.finished, "2, 0, 0, 1, 0", "NULL, 1700000000000, 1700000000000", 0),
            (self.waiting, "0, 3, 4, 0, 0", "4000000000000, NULL, NULL", 9),
            (self.ready, "0, 0, 0, 0, 0", "NULL, NULL, NULL", 0),
            (self.running, "1, 0, 0, 1, 1", "NULL, 1700000000000, NULL", 0),
        ];
        let padding = "x".repeat(self.args);
        for (tasks, state, times, priority) in kinds {
            const CHUNK: u64 = 100_000;
            for first in (0..tasks).step_by(CHUNK as usize) {
                let n = CHUNK.min(tasks - first);
                conn.execute_batch(&format!(
                    "BEGIN IMMEDIATE;
                     WITH RECURSIVE each(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM each WHERE n < {n})
                     INSERT INTO perdura_tasks (queue_id, name_id, state, hold, reasons, attempt_number, in_flight, run_at_ms, started_at_ms,
                         finished_at_ms, priority, max_attempts, generation, cancel_requested, suspect, extras, late, snoozes,
                         created_at_ms)
                     SELECT 1, 1, {state}, {times}, {priority}, 3, 1, 0, 0, 0, 0, 0, 1700000000000 FROM each;
                     INSERT INTO perdura_args (task_id, args, version, token)
                     SELECT task_id, '{{\"n\":1,\"padding\":\"{padding}\"}}', 1, task_id FROM perdura_tasks ORDER BY task_id DESC LIMIT {n};
                     INSERT INTO perdura_results (task_id, result)
                     SELECT task_id, '1' FROM (SELECT task_id, state FROM perdura_tasks ORDER BY task_id DESC LIMIT {n}) WHERE state = 2;
                     INSERT INTO perdura_counts (queue_id, state, hold, n)
                     SELECT 1, state, hold, {n} FROM (SELECT state, hold FROM perdura_tasks ORDER BY task_id DESC LIMIT 1) WHERE true
                     ON CONFLICT (queue_id, state, hold) DO UPDATE SET n = n + excluded.n;
                     COMMIT;"
                ))?;
            }
        }
        drop(conn);
        Ok(std::fs::File::open(path)?.sync_all()?) // nothing that is measured waits for it
    }

    /// Moves ready tasks to places all over the old ones: the worst case for the cache.
    fn scatter(path: &Path, ready: usize) -> Outcome<()> {
        let conn = Connection::open(path)?;
        let step = conn
            .query_row("SELECT max(task_id) FROM perdura_tasks", [], |row| row.get::<_, i64>(0))?
            / ready as i64;
        let moved = conn.execute(
            "UPDATE perdura_tasks SET state = 0, finished_at_ms = NULL, started_at_ms = NULL, attempt_number = 0, generation = 0
             WHERE task_id IN (WITH RECURSIVE each(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM each WHERE n < ?1)
                               SELECT n * ?2 FROM each) AND state = 2",
            (ready as i64, step),
        )? as i64;
        conn.execute(
            "DELETE FROM perdura_results WHERE task_id IN (SELECT task_id FROM perdura_tasks WHERE state = 0 AND hold = 0)",
            [],
        )?;
        conn.execute("UPDATE perdura_counts SET n = n - ?1 WHERE state = 2", [moved])?;
        conn.execute(
            "INSERT INTO perdura_counts (queue_id, state, hold, n) VALUES (1, 0, 0, ?1)
             ON CONFLICT DO UPDATE SET n = n + ?1",
            [moved],
        )?;
        Ok(())
    }
}

/// Microseconds of one claim and settle: (one by one, in batches), of tasks that are ready already or, if `add`, are enqueued first.
fn claim_cost(path: &Path, add: bool, batch: usize) -> Outcome<(f64, f64)> {
    if add {
        fill(&producer(path, Relaxed)?, ONE_BY_ONE + batch)?;
    }
    let clock = ManualClock::new();
    let builder = Queue::builder().durability(Full).clock(clock.clone()).handle(noop);
    let stepped = SteppedQueue::open_file(builder, &clock, path)?;
    let began = Instant::now();
    for _ in 0..ONE_BY_ONE {
        stepped.run_one()?.ok_or("nothing is ready")?;
    }
    let one = began.elapsed().as_secs_f64() * 1e6 / ONE_BY_ONE as f64;
    drop(stepped);
    let queue = runner(path, Full, 2)?;
    let began = Instant::now();
    queue.drain()?;
    Ok((one, began.elapsed().as_secs_f64() * 1e6 / batch as f64))
}

/// Medians of a claim and settle, in microseconds.
#[derive(Clone, Copy)]
struct Cost {
    one_by_one: f64,
    in_batches: f64,
}

/// Claims alone and beside a crowd, in turn. Answers with both costs.
fn beside(
    asked: &Asked,
    report: &mut Report,
    name: &str,
    crowd: Crowd,
    scatter: bool,
) -> Outcome<(Cost, Cost)> {
    const BATCH: usize = 20_000;
    let crowded = Scratch::new(&asked.dir);
    crowd.put(crowded.path())?;
    runner(crowded.path(), Relaxed, 2)?.drain()?;
    let (mut alone, mut with) = ([(); 2].map(|()| Rounds::default()), [(); 2].map(|()| Rounds::default()));
    for _ in 0..asked.rounds.min(5) {
        let empty = Scratch::new(&asked.dir);
        let (one, batch) = claim_cost(empty.path(), true, BATCH)?;
        alone[0].0.push(one);
        alone[1].0.push(batch);
        if scatter {
            Crowd::scatter(crowded.path(), ONE_BY_ONE + BATCH)?;
        }
        let (one, batch) = claim_cost(crowded.path(), !scatter, BATCH)?;
        with[0].0.push(one);
        with[1].0.push(batch);
    }
    let cost = |of: &[Rounds; 2]| Cost { one_by_one: of[0].median(), in_batches: of[1].median() };
    let costs = (cost(&alone), cost(&with));
    for ((alone, with), (how, bound)) in
        alone.into_iter().zip(with).zip([("one by one", 1.2), ("in batches", 2.0)])
    {
        report.row(Row {
            name: format!("claim + settle {how} beside {name}; raw: alone"),
            synchronous: "FULL",
            unit: "µs",
            judged: with.over(&alone),
            raw: Some(alone),
            perdura: with,
            target: if scatter { Target::None } else { Target::AtMost(bound) },
        });
    }
    Ok(costs)
}

/// Claims beside ever more finished tasks, beside waiting ones, and scattered among old ones.
pub fn claims(asked: &Asked, report: &mut Report) -> Outcome<()> {
    let sizes: &[u64] = if asked.quick { &[100_000] } else { &[100_000, 1_000_000, 10_000_000] };
    let mut costs = Vec::new();
    for finished in sizes.iter().copied() {
        let most = finished == 10_000_000;
        let waiting = if most { 1_000_000 } else { 0 };
        let beside_waiting = if most { ", 10^6 waiting" } else { "" };
        let name = format!("10^{} finished{beside_waiting}", finished.ilog10());
        let crowd = Crowd { finished, waiting, ..Crowd::default() };
        costs.push((finished as f64, beside(asked, report, &name, crowd, false)?));
    }
    if !asked.quick {
        let crowd = Crowd { finished: 10_000_000, ..Crowd::default() };
        beside(asked, report, "10^7 finished, ready ones scattered", crowd, true)?;
    }
    type Pick = fn(&(Cost, Cost)) -> f64;
    let curves: [(&str, Pick); 4] = [
        ("one by one, two commits each", |(_, with)| with.one_by_one),
        ("in batches", |(_, with)| with.in_batches),
        ("one by one, alone in the file", |(alone, _)| alone.one_by_one),
        ("in batches, alone in the file", |(alone, _)| alone.in_batches),
    ];
    for (name, pick) in curves {
        let points = costs.iter().map(|(finished, both)| (*finished, pick(both))).collect();
        let (x, y) = ("finished tasks in the file", "µs per claim + settle");
        report.curve(Curve { chart: "claim", name: name.into(), x, y, points });
    }
    Ok(())
}

/// Opening a file with a million queued tasks, and what stays in memory.
pub fn open(asked: &Asked, report: &mut Report) -> Outcome<()> {
    let ready = if asked.quick { 200_000 } else { 1_000_000 };
    let queued = Scratch::new(&asked.dir);
    Crowd { ready, ..Crowd::default() }.put(queued.path())?;
    let (mut times, mut memory) = (Rounds::default(), Rounds::default());
    for _ in 0..asked.rounds {
        let (opened, resident) = idle::open_in_child(queued.path())?;
        times.0.push(opened.as_secs_f64() * 1e3);
        memory.0.push(resident as f64 / 1e6);
    }
    let row = |name: String, unit, ours: Rounds, target| Row {
        name,
        synchronous: "FULL",
        unit,
        raw: None,
        judged: ours.clone(),
        perdura: ours,
        target,
    };
    report.row(row(format!("open with {ready} queued tasks"), "ms", times, Target::AtMost(100.0)));
    report.row(row(
        format!("most resident memory while {ready} queued tasks run"),
        "MB",
        memory,
        Target::AtMost(25.0),
    ));
    let mut recovered = Rounds::default();
    for _ in 0..asked.rounds.min(3) {
        let running = Scratch::new(&asked.dir);
        Crowd { running: 10_000, ..Crowd::default() }.put(running.path())?;
        let began = Instant::now();
        let queue = runner(running.path(), Full, 2)?;
        recovered.0.push(began.elapsed().as_secs_f64() * 1e3);
        drop(queue);
    }
    report.row(row("open and recover 10,000 running tasks".into(), "ms", recovered, Target::AtMost(200.0)));
    Ok(())
}

/// Waits that end at the same instant.
pub fn promote(asked: &Asked, report: &mut Report) -> Outcome<()> {
    const TASKS: usize = 100_000;
    let mut took = Rounds::default();
    for _ in 0..asked.rounds.min(5) {
        let scratch = Scratch::new(&asked.dir);
        let queue = runner(scratch.path(), Full, 2)?;
        queue.pause("default")?; // promoted, not run: this row is about the timer
        let due = std::time::SystemTime::now() + Duration::from_secs(3);
        for first in (0..TASKS).step_by(1000) {
            let batch: Vec<Noop> = (0..1000).map(|n| Noop { n: (first + n) as u64 }).collect();
            queue.enqueue_all_with(batch.iter().map(|task| (task, perdura::Options::new().run_at(due))))?;
        }
        let waiting = |counts: perdura::Counts| counts.queues.values().map(|q| q.waiting).sum::<u64>();
        assert_eq!(waiting(queue.counts()?), TASKS as u64, "all wait when the time has come");
        while waiting(queue.counts()?) > 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        took.0.push(std::time::SystemTime::now().duration_since(due)?.as_secs_f64());
    }
    report.row(Row {
        name: "100,000 tasks due at the same instant are promoted".into(),
        synchronous: "FULL",
        unit: "s",
        raw: None,
        judged: took.clone(),
        perdura: took,
        target: Target::AtMost(1.0),
    });
    Ok(())
}
