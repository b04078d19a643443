//! Queue and task names, interned: the cache of what the file has committed.

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension};

use crate::store::commit::tx::Tx;
use crate::store::error::Sql;
use crate::sync::{Mutex, MutexGuard, lock};

/// Names and their numbers, as far as this process has met them. Numbers never change or vanish, so the cache never lies.
#[derive(Default)]
pub(crate) struct Names(Mutex<Known>);

#[derive(Default)]
struct Known {
    queues: HashMap<Arc<str>, i64>,
    task_names: HashMap<Arc<str>, i64>,
    by_name_id: HashMap<i64, Arc<str>>,
}

/// Names that a transaction has met; they are remembered when it commits.
#[derive(Default)]
pub(crate) struct Met {
    queues: Vec<(Arc<str>, i64)>,
    task_names: Vec<(Arc<str>, i64)>,
}

impl Met {
    /// How many queues, and how many task names.
    pub(crate) fn len(&self) -> (usize, usize) {
        (self.queues.len(), self.task_names.len())
    }

    /// Forgets all but the first so many.
    pub(crate) fn truncate(&mut self, (queues, task_names): (usize, usize)) {
        self.queues.truncate(queues);
        self.task_names.truncate(task_names);
    }
}

impl Names {
    fn lock(&self) -> MutexGuard<'_, Known> {
        lock(&self.0)
    }

    /// Remembers what a committed transaction has met.
    pub(crate) fn remember(&self, met: Met) {
        if met.queues.is_empty() && met.task_names.is_empty() {
            return;
        }
        let mut known = self.lock();
        known.queues.extend(met.queues);
        for (name, id) in met.task_names {
            known.by_name_id.insert(id, name.clone());
            known.task_names.insert(name, id);
        }
    }
}

impl Tx<'_> {
    /// The number of a queue's name, drawn if the file has none.
    pub(crate) fn queue_id(&self, queue: &str) -> Sql<i64> {
        if let Some(id) = self.names.lock().queues.get(queue) {
            return Ok(*id);
        }
        self.run(
            "INSERT INTO perdura_queues (queue, paused) VALUES (?1, 0) ON CONFLICT (queue) DO NOTHING",
            [queue],
        )?;
        let id =
            self.one("SELECT queue_id FROM perdura_queues WHERE queue = ?1", [queue], |row| row.get(0))?;
        self.gathered(|all| all.met.queues.push((queue.into(), id)));
        Ok(id)
    }

    /// The text of a task name's number.
    pub(crate) fn task_name(&self, name_id: i64) -> Sql<Arc<str>> {
        if let Some(name) = self.names.lock().by_name_id.get(&name_id) {
            return Ok(name.clone());
        }
        let sql = "SELECT task_name FROM perdura_task_names WHERE name_id = ?1";
        let name: Arc<str> = self.one(sql, [name_id], |row| row.get::<_, String>(0))?.into();
        self.gathered(|all| all.met.task_names.push((name.clone(), name_id)));
        Ok(name)
    }

    /// The number of a task name, drawn if the file has none.
    pub(crate) fn name_id(&self, task_name: &str) -> Sql<i64> {
        if let Some(id) = self.names.lock().task_names.get(task_name) {
            return Ok(*id);
        }
        self.run(
            "INSERT INTO perdura_task_names (task_name) VALUES (?1) ON CONFLICT (task_name) DO NOTHING",
            [task_name],
        )?;
        let sql = "SELECT name_id FROM perdura_task_names WHERE task_name = ?1";
        let id = self.one(sql, [task_name], |row| row.get(0))?;
        self.gathered(|all| all.met.task_names.push((task_name.into(), id)));
        Ok(id)
    }
}

/// The number of a queue's name, if the file has it.
pub(crate) fn find_queue(conn: &Connection, queue: &str) -> Sql<Option<i64>> {
    let mut statement = conn.prepare_cached("SELECT queue_id FROM perdura_queues WHERE queue = ?1")?;
    Ok(statement.query_row([queue], |row| row.get(0)).optional()?)
}

/// The number of a task name, if the file has it.
pub(crate) fn find_task_name(conn: &Connection, task_name: &str) -> Sql<Option<i64>> {
    let mut statement = conn.prepare_cached("SELECT name_id FROM perdura_task_names WHERE task_name = ?1")?;
    Ok(statement.query_row([task_name], |row| row.get(0)).optional()?)
}

/// The name of a queue's number, if the file has it.
pub(crate) fn queue_name(conn: &Connection, queue_id: i64) -> Sql<Option<String>> {
    let mut statement = conn.prepare_cached("SELECT queue FROM perdura_queues WHERE queue_id = ?1")?;
    Ok(statement.query_row([queue_id], |row| row.get(0)).optional()?)
}
