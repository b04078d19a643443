//! Interned names: rows hold the ids of queue and task names.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension};

use crate::store::commit::tx::Tx;
use crate::store::error::Sql;

impl Tx<'_> {
    /// The id of a queue; inserts the queue if the file does not know it.
    pub(crate) fn queue_id(&self, queue: &str) -> Sql<i64> {
        if let Some(id) = self.names.queue_id(queue) {
            return Ok(id);
        }
        self.run(
            "INSERT INTO perdura_queues (queue, paused) VALUES (?1, 0) ON CONFLICT (queue) DO NOTHING",
            [queue],
        )?;
        let id =
            self.one("SELECT queue_id FROM perdura_queues WHERE queue = ?1", [queue], |row| row.get(0))?;
        self.gathered(|all| all.met.queue(queue.into(), id));
        Ok(id)
    }

    /// The task name of an id.
    pub(crate) fn task_name(&self, name_id: i64) -> Sql<Arc<str>> {
        if let Some(name) = self.names.task_name(name_id) {
            return Ok(name);
        }
        let sql = "SELECT task_name FROM perdura_task_names WHERE name_id = ?1";
        let name: Arc<str> = self.one(sql, [name_id], |row| row.get::<_, String>(0))?.into();
        self.gathered(|all| all.met.task_name(name.clone(), name_id));
        Ok(name)
    }

    /// The id of a task name; inserts the name if the file does not know it.
    pub(crate) fn name_id(&self, task_name: &str) -> Sql<i64> {
        if let Some(id) = self.names.name_id(task_name) {
            return Ok(id);
        }
        self.run(
            "INSERT INTO perdura_task_names (task_name) VALUES (?1) ON CONFLICT (task_name) DO NOTHING",
            [task_name],
        )?;
        let sql = "SELECT name_id FROM perdura_task_names WHERE task_name = ?1";
        let id = self.one(sql, [task_name], |row| row.get(0))?;
        self.gathered(|all| all.met.task_name(task_name.into(), id));
        Ok(id)
    }
}

/// The id of a queue, if the file knows it.
pub(crate) fn find_queue(conn: &Connection, queue: &str) -> Sql<Option<i64>> {
    let mut statement = conn.prepare_cached("SELECT queue_id FROM perdura_queues WHERE queue = ?1")?;
    Ok(statement.query_row([queue], |row| row.get(0)).optional()?)
}

/// The id of a task name, if the file knows it.
pub(crate) fn find_task_name(conn: &Connection, task_name: &str) -> Sql<Option<i64>> {
    let mut statement = conn.prepare_cached("SELECT name_id FROM perdura_task_names WHERE task_name = ?1")?;
    Ok(statement.query_row([task_name], |row| row.get(0)).optional()?)
}

/// The name of a queue's id, if the file has it.
pub(crate) fn queue_name(conn: &Connection, queue_id: i64) -> Sql<Option<String>> {
    let mut statement = conn.prepare_cached("SELECT queue FROM perdura_queues WHERE queue_id = ?1")?;
    Ok(statement.query_row([queue_id], |row| row.get(0)).optional()?)
}
