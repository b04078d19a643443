//! The bare loop that perdura is measured against: its own statements, on a file that it made, with its pragmas, prepared once.
//!
//! The texts are not written here: they are taken from perdura's log of statements, and only bound and stepped. So neither side can be flattered.

use std::error::Error;
use std::path::Path;

use perdura::Durability;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, Statement, params};

use crate::work::{fill, producer, runner};
use crate::{trace, work};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// A connection like perdura's writer, and the texts of what it runs.
pub struct Raw {
    conn: Connection,
    texts: Vec<String>,
}

impl Raw {
    /// Opens a file that perdura has made.
    pub fn open(path: &Path, durability: Durability, texts: Vec<String>) -> Outcome<Raw> {
        let conn = Connection::open(path)?;
        conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        conn.execute_batch(&format!(
            "PRAGMA synchronous = {}; PRAGMA foreign_keys = 0; PRAGMA temp_store = MEMORY; PRAGMA mmap_size = 0;
             PRAGMA cell_size_check = 1; PRAGMA cache_size = -8192; PRAGMA wal_autocheckpoint = 1000",
            work::name_of(durability)
        ))?;
        let mode: String = conn.query_row("PRAGMA journal_mode", [], |row| row.get(0))?;
        assert_eq!(mode, "wal");
        Ok(Raw { conn, texts })
    }

    /// The logged statement that begins like this.
    fn statement(&self, beginning: &str) -> Outcome<Statement<'_>> {
        let text = self.texts.iter().find(|text| text.starts_with(beginning));
        let text = text.ok_or_else(|| format!("perdura's trace has no statement {beginning:?}"))?;
        Ok(self.conn.prepare(text)?)
    }

    /// Writes down the statements that this connection runs.
    pub fn listen(&self) {
        log::set_max_level(log::LevelFilter::Trace);
        let codes = rusqlite::trace::TraceEventCodes::SQLITE_TRACE_STMT;
        self.conn.trace_v2(
            codes,
            Some(|event| {
                if let rusqlite::trace::TraceEvent::Stmt(_, text) = event {
                    log::trace!(target: "perdura::sql", "{text}");
                }
            }),
        );
    }

    /// Prepares what an enqueue runs: of a task that is ready, or of one that starts at once.
    pub fn enqueuer(&self, starts: bool) -> Outcome<Enqueuer<'_>> {
        Ok(Enqueuer {
            raw: self,
            starts,
            begin: self.statement("BEGIN IMMEDIATE")?,
            task: self.statement("INSERT INTO perdura_tasks")?,
            args: self.statement("INSERT INTO perdura_args")?,
            count: self.statement("UPDATE perdura_counts")?,
            commit: self.statement("COMMIT")?,
        })
    }

    /// Claims and settles `tasks` ready tasks, `group` in a transaction: each settles what the one before has claimed.
    pub fn claim_and_settle(&self, tasks: usize, group: usize) -> Outcome<()> {
        let (mut begin, mut commit) = (self.statement("BEGIN IMMEDIATE")?, self.statement("COMMIT")?);
        let mut epoch = self.statement("SELECT owner_epoch")?;
        let mut settle = self.statement("UPDATE perdura_tasks SET state = 2")?;
        let mut result = self.statement("INSERT OR REPLACE INTO perdura_results")?;
        let mut queues = self.statement("WITH RECURSIVE ready (queue_id, lap)")?;
        let mut ready = self.statement("SELECT t.task_id, t.generation")?;
        let mut claim = self.statement("UPDATE perdura_tasks SET state = ?1, attempt_number")?;
        let mut count = self.statement("UPDATE perdura_counts")?;
        let mut claimed: Vec<(i64, i64, String)> = Vec::new();
        let (mut done, now) = (0, 1_700_000_000_000_i64);
        while done < tasks {
            begin.execute([])?;
            epoch.query_row([], |row| row.get::<_, i64>(0))?;
            for (id, generation, args) in &claimed {
                one(settle.execute((false, now, id, generation + 1)))?;
                one(result.execute((id, args)))?;
            }
            done += claimed.len();
            let with_ready = queues
                .query_map((0, now), |row| row.get::<_, Option<i64>>(0))?
                .filter(|queue| !matches!(queue, Ok(None))) // between the laps
                .count();
            let settled = claimed.len() as i64;
            claimed = ready
                .query_map((1, group as i64), |row| Ok((row.get(0)?, row.get(1)?, row.get(8)?)))?
                .collect::<Result<_, _>>()?;
            if (with_ready == 0 || claimed.is_empty()) && done < tasks {
                return Err(format!("the raw loop ran dry after {done} of {tasks} tasks").into());
            }
            for (id, generation, _) in &claimed {
                one(claim.execute((1, 1, now, id, generation)))?;
            }
            let n = claimed.len() as i64;
            for (state, by) in [(0, -n), (1, n - settled), (2, settled)] {
                if by != 0 {
                    one(count.execute((1, state, 0, by)))?;
                }
            }
            commit.execute([])?;
        }
        Ok(())
    }
}

/// A write that must meet one row: a raw loop whose statements miss would be fast, and worth nothing.
fn one(changed: rusqlite::Result<usize>) -> Outcome<()> {
    match changed? {
        1 => Ok(()),
        n => Err(format!("a statement of the raw loop met {n} rows").into()),
    }
}

/// The statements of an enqueue, prepared.
pub struct Enqueuer<'c> {
    raw: &'c Raw,
    starts: bool,
    begin: Statement<'c>,
    task: Statement<'c>,
    args: Statement<'c>,
    count: Statement<'c>,
    commit: Statement<'c>,
}

impl Enqueuer<'_> {
    /// Enqueues `tasks` no-op tasks, `group` in a transaction.
    pub fn enqueue(&mut self, tasks: usize, group: usize) -> Outcome<()> {
        const ARGS: &str = r#"{"n":123456}"#;
        for first in (0..tasks).step_by(group) {
            self.begin.execute([])?;
            let n = group.min(tasks - first);
            for at in 0..n {
                let now = 1_700_000_000_000 + (first + at) as i64;
                let none = None::<i64>;
                let (running, started) = (i64::from(self.starts), self.starts.then_some(now));
                one(self.task.execute(params![
                    1, 1, running, 0, 0, running, 3, running, running, false, now, started, none, none, none,
                    0
                ]))?;
                let id = self.raw.conn.last_insert_rowid();
                let values =
                    params![id, ARGS, 1, now, none, none, None::<&[u8]>, None::<&str>, None::<bool>, none];
                one(self.args.execute(values))?;
            }
            one(self.count.execute((1, i64::from(self.starts), 0, n as i64)))?;
            self.commit.execute([])?;
        }
        Ok(())
    }
}

/// The statements of one enqueue after the other, and of a drain: the raw loops take their texts from here.
pub struct Texts {
    pub enqueue: Vec<String>,
    pub drain: Vec<String>,
}

impl Texts {
    /// Watches perdura at work on a few tasks.
    pub fn learn(dir: &Path) -> Outcome<Texts> {
        const TASKS: usize = 1000;
        let scratch = work::Scratch::new(dir);
        work::fill(&producer(scratch.path(), Durability::Relaxed)?, 1)?; // the names and counters of the queue are there from now on
        let enqueue = trace::of(|| {
            let queue = producer(scratch.path(), Durability::Relaxed)?;
            for n in 0..TASKS {
                let _ = queue.enqueue(&work::Noop { n: n as u64 })?;
            }
            Ok(())
        })?;
        let drain = trace::of(|| Ok(runner(scratch.path(), Durability::Relaxed, 2)?.drain()?))?;
        Ok(Texts { enqueue: without_opening(enqueue), drain: without_opening(drain) })
    }

    /// Prints them beside those of the raw loops.
    pub fn print(&self, dir: &Path) -> Outcome<()> {
        const TASKS: usize = 1000;
        let scratch = work::Scratch::new(dir);
        fill(&producer(scratch.path(), Durability::Relaxed)?, 1)?;
        let raw = Raw::open(scratch.path(), Durability::Relaxed, self.enqueue.clone())?;
        let enqueue = trace::of(|| {
            raw.listen();
            raw.enqueuer(false)?.enqueue(TASKS, 1)
        })?;
        drop(raw);
        trace::print("1,000 enqueues one by one", &self.enqueue, &enqueue);
        // What ran for each task, without what a connection does once; and without perdura's looks at the size of the file (it must not
        // grow in a commit), which the raw loop is spared.
        let steady = |statements| {
            let tally = trace::tally(statements).into_iter();
            tally.filter(|(times, text)| *times >= TASKS && !text.starts_with("PRAGMA")).collect::<Vec<_>>()
        };
        if steady(&self.enqueue) != steady(&enqueue) {
            return Err("the raw loop does not run what perdura runs for an enqueue".into());
        }
        runner(scratch.path(), Durability::Relaxed, 2)?.drain()?;
        fill(&producer(scratch.path(), Durability::Relaxed)?, TASKS)?;
        let raw = Raw::open(scratch.path(), Durability::Relaxed, self.drain.clone())?;
        let drain = trace::of(|| {
            raw.listen();
            raw.claim_and_settle(TASKS, 100)
        })?;
        trace::print("a drain of 1,000 tasks", &self.drain, &drain);
        Ok(())
    }
}

/// Leaves out what opening a file runs: everything up to its own COMMIT.
fn without_opening(statements: Vec<String>) -> Vec<String> {
    let opened = statements.iter().position(|text| text == "COMMIT").map_or(0, |at| at + 1);
    statements.into_iter().skip(opened).collect()
}
