//! How running attempts reach the file: the port that `handler` declares.

use std::any::Any;
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::attempts::LARGE_OUTCOME_BYTES;
use super::core::Core;
use super::timer_duties::{DEADLINE_GRACE, SUSPECT_TURN};
use crate::error::{Error, ErrorKind};
use crate::handler::{Control, Finished, Note, Port};
use crate::store::{self, Rank, Sql, StartNote, Tx};
use crate::sync::atomic::Ordering;
use crate::sync::lock;
use crate::task::{Claimed, StepKey, TaskId, TaskRecord, Timestamp};
use crate::timer::NextTick;

impl Note for StartNote {
    fn keep(self: Box<Self>) {
        StartNote::keep(*self);
    }
}

impl Core {
    /// Writes a checkpoint or a step of a running attempt.
    fn save(
        &self,
        control: &Control,
        rank: Rank,
        write: impl Fn(&Tx<'_>, TaskId, u64) -> Sql<()> + Send + 'static,
    ) -> Result<(), Error> {
        let (id, generation, epoch) = (control.task_id, control.generation, self.shared.gate.epoch());
        let saved = self.commit(rank, move |tx| {
            store::check_epoch(tx, epoch)?;
            write(tx, id, generation)
        });
        if saved.as_ref().is_err_and(|e| e.kind() == ErrorKind::Superseded) {
            control.superseded.store(true, Ordering::Release);
        }
        saved
    }
}

impl Port for Core {
    fn starting(&self, claimed: &Claimed) -> Result<Box<dyn Note>, Error> {
        let notes = lock(&self.ownership).as_ref().map(|o| o.notes.clone());
        let notes = notes.ok_or_else(|| {
            Error::new(ErrorKind::OwnershipLost, "this process does not own the file any more")
        })?;
        Ok(Box::new(notes.write(claimed.task_id, claimed.generation)?))
    }

    fn checkpoint(&self, id: TaskId) -> Result<Option<String>, Error> {
        self.store.read(|conn| store::checkpoint(conn, id))
    }

    fn save_checkpoint(&self, control: &Control, json: String) -> Result<(), Error> {
        self.save(control, Rank::Add, move |tx, id, generation| {
            store::save_checkpoint(tx, id, generation, &json)
        })
    }

    fn step_keys(&self, id: TaskId, limit: usize) -> Result<Vec<StepKey>, Error> {
        self.store.read(|conn| store::step_keys(conn, id, limit))
    }

    fn step_result(&self, id: TaskId, step: &StepKey) -> Result<Option<Option<String>>, Error> {
        self.store.read(|conn| store::step_result(conn, id, step))
    }

    fn save_step(&self, control: &Control, step: StepKey, json: String) -> Result<(), Error> {
        let now = self.now();
        // A small result may use the reserve on a full disk, as outcomes may: else the step would be done again.
        let rank = if json.len() > LARGE_OUTCOME_BYTES { Rank::Add } else { Rank::Change };
        self.save(control, rank, move |tx, id, generation| {
            store::save_step(tx, id, generation, &step, &json, now)
        })
    }

    fn idempotency_key(&self, id: TaskId, name: &str) -> Result<String, Error> {
        self.store.read(|conn| store::idempotency_key(conn, self.store.file_id(), id, name))
    }

    fn has_pending(&self) {
        if self.shared.running.note_pending() {
            self.shared.dispatcher.ring();
        }
    }

    fn watch_deadline(&self, deadline: Duration) {
        self.shared.alarm.set(NextTick::monotonic(deadline + DEADLINE_GRACE));
    }

    fn watch_suspect(&self, control: &Control) {
        let until = self.shared.monotonic().saturating_add(SUSPECT_TURN);
        control.set_suspect_until(Some(until));
        self.shared.alarm.set(NextTick::monotonic(until));
    }

    fn watch_silence(&self) {
        let until = self.shared.monotonic() + self.config.stuck_task_timeout;
        self.shared.alarm.set(NextTick::monotonic(until));
    }

    fn finished(&self, finished: Finished) {
        let outcomes = lock(&self.outcomes).clone();
        let left = match outcomes {
            Some(outcomes) => outcomes.send(finished).err().map(|e| e.0),
            None => Some(finished),
        };
        if let Some(finished) = left {
            self.settle_late(finished);
        }
    }

    fn missed(&self, id: TaskId, generation: u64) {
        self.leave_unrecorded(id, generation);
    }

    fn tick(&self, id: TaskId) -> Result<Option<Timestamp>, Error> {
        self.store.read(|conn| store::tick(conn, id))
    }

    fn record(&self, id: TaskId) -> Result<TaskRecord, Error> {
        self.store.read(|conn| store::record(conn, id))
    }

    fn now(&self) -> Timestamp {
        Core::now(self)
    }

    fn monotonic(&self) -> Duration {
        self.shared.monotonic()
    }

    fn limits(&self) -> (usize, usize) {
        (self.config.max_result_bytes, self.config.max_checkpoint_bytes)
    }

    fn default_timeout(&self) -> Option<Duration> {
        self.config.task_timeout
    }

    fn home(&self) -> Weak<dyn Any + Send + Sync> {
        self.home.get().cloned().unwrap_or_else(|| Weak::<()>::new())
    }

    fn as_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}
