//! How many workers there are: as many as are wanted, and substitutes for those whose task ignores its deadline.

use std::sync::Weak;

use super::core::Core;
use crate::error::Error;
use crate::handler::{Control, Port};
use crate::logging::{DEADLINES, tell};
use crate::sync::atomic::Ordering;
use crate::sync::lock;

impl Core {
    /// Sets the number of workers. Attempts that run go on; those that were claimed ahead and have not started are given back if there are fewer
    /// workers than before.
    ///
    /// # Errors
    /// `Io` if a thread cannot be started; there are as many then as could be.
    pub(crate) fn set_workers(&self, wanted: usize) -> Result<(), Error> {
        let mut workers = lock(&self.workers);
        let Some(executor) = self.executor.get().and_then(Weak::upgrade) else {
            *workers = wanted;
            return Ok(()); // a queue without threads
        };
        while *workers < wanted {
            executor.add_worker()?;
            self.shared.running.add_workers(1);
            *workers += 1;
        }
        if *workers > wanted {
            let too_many = *workers - wanted;
            self.shared.running.remove_workers(too_many);
            *workers = wanted;
            self.store.await_commit(); // whoever was committing has handed its claims over after this
            while let Some(job) = self.shared.running.take_job() {
                self.finished(job.hand_back());
            }
            self.shared.running.dismiss_workers(too_many);
        }
        drop(workers);
        self.shared.dispatcher.ring();
        Ok(())
    }

    /// Starts another worker in the place of one whose task ignores its deadline: at most as many as there are workers. False if
    /// there is no place now.
    ///
    /// First the old worker loses its place: it ends when its handler returns. If the handler has returned before that, its worker keeps the place,
    /// so that there are never more workers than there should be.
    pub(super) fn replace_worker(&self, control: &Control) -> bool {
        if !control.reported.swap(true, Ordering::AcqRel) {
            tell!(
                target: DEADLINES,
                Warn,
                "task {} ignores its deadline; call cx.ensure_active() in its handler",
                control.task_id
            );
        }
        let Some(executor) = self.executor.get().and_then(Weak::upgrade) else { return true };
        if self.shared.running.workers() >= 2 * *lock(&self.workers) {
            return false;
        }
        if !control.phase.replace() {
            return true;
        }
        if executor.add_worker().is_err() {
            if !control.phase.take_back() {
                self.shared.running.miss_worker(); // the old one has gone meanwhile
            }
            return false;
        }
        self.shared.running.add_workers(1);
        self.shared.dispatcher.ring();
        true
    }

    /// Starts workers for those that have gone without a substitute. False if there are still some missing.
    pub(super) fn complete_workers(&self) -> bool {
        let Some(executor) = self.executor.get().and_then(Weak::upgrade) else { return true };
        while self.shared.running.take_missing_worker() {
            if executor.add_worker().is_err() {
                self.shared.running.miss_worker();
                return false;
            }
            self.shared.running.add_workers(1);
            self.shared.dispatcher.ring();
        }
        true
    }
}
