//! Which queues of this process have which file open.

use std::sync::{Arc, Weak};

use super::hub::Hub;
use crate::store::FileKey;
use crate::sync::{Mutex, lock};

static OPEN: Mutex<Vec<(FileKey, Weak<Hub>)>> = Mutex::new(Vec::new());

/// Another queue has opened this file: it and those that have it open already are siblings from now on.
pub(crate) fn join(file: FileKey, hub: &Arc<Hub>) {
    let mut open = lock(&OPEN);
    open.retain(|(_, hub)| hub.strong_count() > 0);
    let same = open.iter().filter(|(other, _)| *other == file);
    let siblings: Vec<Arc<Hub>> = same.filter_map(|(_, hub)| hub.upgrade()).collect();
    open.push((file, Arc::downgrade(hub)));
    for other in &siblings {
        other.siblings.add(hub);
        hub.siblings.add(other);
    }
    drop(open); // before the siblings, the last handle of which may go here
}
