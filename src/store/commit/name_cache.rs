//! The cache of interned names: the numbers of queues and task names that the file has committed.

use std::collections::HashMap;
use std::sync::Arc;

use crate::sync::{Mutex, lock};

/// Names and their numbers, as far as this process has met them. A number never changes or
/// vanishes, so the cache is never stale.
#[derive(Default)]
pub(crate) struct NameCache(Mutex<Names>);

#[derive(Default)]
struct Names {
    queues: HashMap<Arc<str>, i64>,
    task_names: HashMap<Arc<str>, i64>,
    by_name_id: HashMap<i64, Arc<str>>,
}

/// Names that a transaction has met; they are remembered when it commits.
#[derive(Default)]
pub(crate) struct MetNames {
    queues: Vec<(Arc<str>, i64)>,
    task_names: Vec<(Arc<str>, i64)>,
}

impl MetNames {
    pub(crate) fn queue(&mut self, queue: Arc<str>, id: i64) {
        self.queues.push((queue, id));
    }

    pub(crate) fn task_name(&mut self, task_name: Arc<str>, id: i64) {
        self.task_names.push((task_name, id));
    }

    /// How many queues, and how many task names.
    pub(crate) fn len(&self) -> (usize, usize) {
        (self.queues.len(), self.task_names.len())
    }

    /// Keeps so many of each, and forgets the rest.
    pub(crate) fn truncate(&mut self, (queues, task_names): (usize, usize)) {
        self.queues.truncate(queues);
        self.task_names.truncate(task_names);
    }
}

impl NameCache {
    pub(crate) fn queue_id(&self, queue: &str) -> Option<i64> {
        lock(&self.0).queues.get(queue).copied()
    }

    pub(crate) fn name_id(&self, task_name: &str) -> Option<i64> {
        lock(&self.0).task_names.get(task_name).copied()
    }

    pub(crate) fn task_name(&self, name_id: i64) -> Option<Arc<str>> {
        lock(&self.0).by_name_id.get(&name_id).cloned()
    }

    /// Remembers what a committed transaction has met.
    pub(crate) fn remember(&self, met: MetNames) {
        if met.queues.is_empty() && met.task_names.is_empty() {
            return;
        }
        let mut known = lock(&self.0);
        known.queues.extend(met.queues);
        for (name, id) in met.task_names {
            known.by_name_id.insert(id, name.clone());
            known.task_names.insert(name, id);
        }
    }
}
