//! The threads that follow work outside: one for each engine. The caller gives each thread its loop (`life`); this file
//! rings them, and waits for their end.

use std::sync::Arc;
use std::time::Duration;

use super::signal::Doorbell;
use crate::error::{Error, ErrorKind};
use crate::logging::survive;
use crate::sync::thread::{self, JoinHandle};
use crate::sync::{Condvar, Mutex, Receiver, lock, wait_while_for};

/// The threads that follow work outside.
#[derive(Default)]
pub(crate) struct Followers {
    threads: Mutex<Vec<Follower>>,
    /// Those that have not ended.
    alive: Arc<(Mutex<usize>, Condvar)>,
}

struct Follower {
    bell: Doorbell,
    thread: JoinHandle<()>,
}

impl Followers {
    /// Starts a thread for an engine. Its life gets the bell that [`ring`](Followers::ring) rings.
    pub(crate) fn start(
        &self,
        engine: &str,
        life: impl FnOnce(&Receiver<()>) + Send + 'static,
    ) -> Result<(), Error> {
        let (bell, alive) = (Doorbell::new(), self.alive.clone());
        let heard = bell.bell.clone();
        *lock(&alive.0) += 1;
        let run = move || {
            survive("a thread of an engine", || life(&heard));
            *lock(&alive.0) -= 1;
            alive.1.notify_all();
        };
        let spawned = thread::Builder::new().name(format!("perdura-engine-{engine}")).spawn(run);
        let thread = spawned.map_err(|e| {
            *lock(&self.alive.0) -= 1;
            let message = "the thread of an engine cannot be started; is the limit of threads reached?";
            Error::new(ErrorKind::Io, message).with_source(e)
        })?;
        bell.ring(); // a ring before it was in the list has not reached it
        lock(&self.threads).push(Follower { bell, thread });
        Ok(())
    }

    /// Lets each look at once.
    pub(crate) fn ring(&self) {
        lock(&self.threads).iter().for_each(|follower| follower.bell.ring());
    }

    /// Waits until all have ended, which they do when they are rung in a queue that is shutting down; at most so long. One that hangs in a call of its
    /// engine is left alone: nothing that it does afterwards counts.
    pub(crate) fn end(&self, patience: Duration) {
        let threads = std::mem::take(&mut *lock(&self.threads));
        threads.iter().for_each(|follower| follower.bell.ring());
        let (alive, changed) = &*self.alive;
        let left = *wait_while_for(changed, lock(alive), patience, |alive| *alive > 0);
        for follower in threads.into_iter().filter(|follower| left == 0 || follower.thread.is_finished()) {
            let _ = follower.thread.join();
        }
    }
}
