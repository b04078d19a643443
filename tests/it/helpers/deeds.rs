//! Tasks of the load that act on tables of the program in the same file: they do a step, make a child, and commit their effect with their end; and
//! tasks that are made in one transaction with a row of the program. For the harness that kills processes.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};

use perdura::{Context, Enqueued, Failure, Queue, State, TaskId, TaskRecord};

use crate::bounded;
use crate::child::say;
use crate::told::RUN;
use crate::workload::{AS_TOLD, Load};

/// What is added to the number of a task for that of its child.
const CHILD: u64 = 1 << 40;

static ARE_ON: AtomicBool = AtomicBool::new(false);

/// Makes the tables of the program, and lets tasks use them from now on. False if the file cannot be written.
pub fn begin(queue: &Queue) -> bool {
    ARE_ON.store(true, Ordering::Relaxed);
    let tables = "CREATE TABLE IF NOT EXISTS effects (task_id INTEGER NOT NULL);
                  CREATE TABLE IF NOT EXISTS orders (run INTEGER NOT NULL, n INTEGER NOT NULL)";
    queue.transaction(|tx| tx.execute_batch(tables).map_err(Failure::from)).is_ok()
}

/// Whether a task of this number is to be one of those.
pub fn is_one(n: u64) -> bool {
    ARE_ON.load(Ordering::Relaxed) && is_parent(n)
}

fn is_parent(n: u64) -> bool {
    n < CHILD && n % 3 == 1
}

/// What such a task does; `fails` if it is to fail before its end.
pub fn run(run: u64, n: u64, fails: bool, cx: &Context) -> Result<u64, Failure> {
    let (id, generation) = (cx.id(), cx.generation());
    let step = || {
        say!("step {id}");
        Ok(n)
    };
    let first = cx.step("first", step).inspect_err(|failure| {
        // An attempt that is to stop begins no step, and does not count if that is because the queue shuts down.
        let word = if failure.error_type() == "Interrupted" { "back" } else { "end" };
        say!("{word} {id} {generation} 0");
    })?;
    if first != n {
        return Err(Failure::permanent("the step gives another value now"));
    }
    say!("stepped {id}");
    say!("end {id} {generation} {}", u8::from(!fails));
    if fails {
        return Err(Failure::named(AS_TOLD, "as told"));
    }
    cx.enqueue_with(&Load::new(run, n + CHILD), bounded::options(n + CHILD))?;
    cx.commit(n, |tx| {
        tx.execute("INSERT INTO effects (task_id) VALUES (?1)", [id.as_i64()])?;
        Ok(())
    })
}

/// Whether single tasks are ordered: made in one transaction with a row of the program.
pub fn are_on() -> bool {
    ARE_ON.load(Ordering::Relaxed)
}

/// Makes a task and a row of the program in one transaction.
pub fn order(queue: &Queue, task: &Load) -> Result<Enqueued, perdura::Error> {
    say!("order {} {}", task.run, task.n);
    queue.transaction(|tx| {
        let row = [task.run, task.n].map(u64::cast_signed);
        tx.execute("INSERT INTO orders (run, n) VALUES (?1, ?2)", row).expect("the table is there");
        tx.enqueue_with(task, bounded::options(task.n))
    })
}

/// What has been said of them.
#[derive(Default)]
pub struct Deeds {
    stepped: HashSet<TaskId>,
    orders: HashSet<(u64, u64)>,
}

impl Deeds {
    /// A step begins.
    pub fn begins(&self, id: TaskId) {
        assert!(!self.stepped.contains(&id), "the step of task {id} was kept, and is done again");
    }

    /// A step was kept.
    pub fn kept(&mut self, id: TaskId) {
        self.stepped.insert(id);
    }

    pub fn ordered(&mut self, run: u64, n: u64) {
        self.orders.insert((run, n));
    }

    /// Takes the children out of what is new: nobody but their parents asked for them.
    pub fn without_children(new: HashSet<(u64, u64)>) -> HashSet<(u64, u64)> {
        new.into_iter().filter(|(_, n)| *n < CHILD || !is_parent(*n - CHILD)).collect()
    }

    /// Holds the tables of the program against the tasks: by their names, those that are known and those that have started.
    pub fn check(
        &self,
        queue: &Queue,
        there: &HashMap<TaskId, &TaskRecord>,
        known: &HashMap<TaskId, (u64, u64)>,
        started: &HashMap<TaskId, (u64, u64)>,
        may_be_purged: impl Fn((u64, u64)) -> bool,
    ) {
        let conn = rusqlite::Connection::open(queue.path()).unwrap();
        let has_tables = conn.prepare("SELECT 1 FROM effects, orders").is_ok();
        let rows = |sql: &str| -> Vec<(i64, i64)> {
            let mut statement = conn.prepare(sql).unwrap();
            let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
            rows.map(Result::unwrap).collect()
        };
        if !has_tables {
            assert!(self.stepped.is_empty() && self.orders.is_empty(), "the tables of the program are lost");
            return;
        }
        let effects: HashMap<i64, i64> =
            rows("SELECT task_id, COUNT(*) FROM effects GROUP BY task_id").into_iter().collect();
        let names: HashSet<(u64, u64)> = known.values().copied().collect();
        for (id, n) in &effects {
            assert_eq!(*n, 1, "task {id} has committed its effect {n} times");
            let record = there.get(&TaskId::from_i64(*id));
            assert!(
                record.is_none_or(|r| r.state == State::Succeeded),
                "an effect of what has not succeeded: {record:?}"
            );
        }
        for (id, (run, n)) in known.iter().filter(|(_, (run, _))| *run != RUN) {
            let Some(record) = there.get(id) else { continue };
            if *n >= CHILD && is_parent(*n - CHILD) {
                let parent = (*run, *n - CHILD);
                // It may have come and gone between two looks.
                match known.iter().chain(started).find(|(_, name)| **name == parent) {
                    Some((parent, _)) => {
                        let has_effect = effects.contains_key(&parent.as_i64());
                        assert!(has_effect, "the child {id} is there before the effect of {parent}");
                    }
                    None => assert!(may_be_purged(parent), "the child {id} has no parent"),
                }
            }
            if is_parent(*n) && record.state == State::Succeeded {
                assert_eq!(effects.get(&id.as_i64()), Some(&1), "task {id} has succeeded without its effect");
                let child = (*run, *n + CHILD);
                assert!(names.contains(&child) || may_be_purged(child), "the child of task {id} is lost");
            }
        }
        let orders: HashSet<(u64, u64)> = rows("SELECT run, n FROM orders")
            .iter()
            .map(|(run, n)| (run.cast_unsigned(), n.cast_unsigned()))
            .collect();
        for name in &orders {
            assert!(names.contains(name) || may_be_purged(*name), "an order without its task: {name:?}");
        }
        for name in names.intersection(&self.orders) {
            assert!(orders.contains(name), "a task without its order: {name:?}");
        }
    }
}
