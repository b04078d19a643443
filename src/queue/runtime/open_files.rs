//! Which queues of this process have which file open.

use std::sync::{Arc, Weak};

use super::siblings::Sibling;
use crate::store::FileKey;
use crate::sync::{Mutex, lock};

static OPEN: Mutex<Vec<(FileKey, Weak<dyn Sibling>)>> = Mutex::new(Vec::new());

/// A queue has opened this file: it and those that have it open already are siblings from now on.
pub(crate) fn join(file: FileKey, queue: &Arc<dyn Sibling>) {
    let mut open = lock(&OPEN);
    open.retain(|(_, queue)| queue.strong_count() > 0);
    let same = open.iter().filter(|(other, _)| *other == file);
    let siblings: Vec<Arc<dyn Sibling>> = same.filter_map(|(_, queue)| queue.upgrade()).collect();
    open.push((file, Arc::downgrade(queue)));
    for other in &siblings {
        other.siblings().add(queue);
        queue.siblings().add(other);
    }
    drop(open); // before `siblings`: this may hold the last handle of one
}
