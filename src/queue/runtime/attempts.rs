//! How attempts end: their outcomes reach the file, or are given up; and how this process gives up what it was running.

use std::sync::Arc;

use super::core::{Core, RETRY_INTERVAL};
use crate::error::{Error, ErrorKind, Outcome};
use crate::handler::{Finished, Port, Start};
use crate::logging::{OUTCOMES, survive, tell};
use crate::store::{self, Rank};
use crate::sync::atomic::Ordering;
use crate::sync::{lock, thread};
use crate::task::{Settlement, State, TaskId, Verdict};

/// How often the outcome of an attempt that has outlived its queue is tried to be written.
const LATE_TRIES: u32 = 60;

/// Results (of JSON) and output of more bytes are not kept on a full disk: they would need pages of their own.
pub(crate) const LARGE_OUTCOME_BYTES: usize = 1024;

impl Core {
    /// Settles attempts in one commit. On an error they stay in the batch. On a full disk the outcome of a single attempt is recorded
    /// without its result and its output, if these are large.
    pub(crate) fn settle(&self, batch: &mut Vec<Finished>) -> Result<(), Error> {
        self.shared.running.renew_pending(batch.iter_mut().map(|finished| &mut finished.settlement));
        match self.try_to_settle(batch) {
            // With children, or a job to be started, it waits for room: they are part of the outcome.
            Err(e) if has_no_room(&e) && batch.len() == 1 && is_large(batch) && !needs_room(batch) => {}
            settled => return settled,
        }
        for Finished { settlement, .. } in batch.iter_mut() {
            tell!(Warn, "the disk is full: what task {} gave or wrote is not kept", settlement.task_id);
            if settlement.verdict.result_bytes() > LARGE_OUTCOME_BYTES {
                settlement.verdict.drop_result();
            }
            settlement.news.output.clear();
        }
        self.try_to_settle(batch)
    }

    fn try_to_settle(&self, batch: &mut Vec<Finished>) -> Result<(), Error> {
        let rank = if is_large(batch) || has_children(batch) { Rank::Add } else { Rank::Settle };
        let (rules, epoch, now) = (self.rules.clone(), self.shared.gate.epoch(), self.now());
        let shared = Arc::new(std::mem::take(batch));
        let settlements = shared.clone();
        let written = survive("a settle", || {
            self.commit(rank, move |tx| {
                store::check_epoch(tx, epoch)?;
                store::settle(tx, settlements.iter().map(|finished| &finished.settlement), &rules, now)
            })
        });
        match written.unwrap_or_else(|| Err(Error::internal("a settle panicked"))) {
            Ok(told) => {
                for id in &told.late {
                    tell!(Info, "the outcome of an attempt of task {id} came too late");
                }
                let mut settled = shared.iter().map(|finished| &finished.settlement);
                for (id, state) in &told.failed {
                    if let Some(settlement) = settled.find(|s| s.task_id == *id) {
                        tell_failure(settlement, *state); // both are in the order of the batch
                    }
                }
                Ok(())
            }
            Err(e) => {
                *batch =
                    Arc::into_inner(shared).expect("the write that shared it was dropped before its answer");
                Err(e)
            }
        }
    }

    /// Forgets an outcome that can never be written. Its task counts as lost at the next recovery.
    pub(crate) fn abandon(&self, finished: Finished, why: &Error) {
        let Finished { settlement: s, start, .. } = finished;
        if matches!(s.verdict, Verdict::Committed) {
            self.shared.running.forget(&[(s.task_id, s.generation)]);
            return self.shared.changes.tell_all();
        }
        tell!(Error, "the outcome of task {} cannot be written, so it will count as lost: {why}", s.task_id);
        if let Start::Noted(note) = start {
            note.keep();
        }
        self.leave_unrecorded(s.task_id, s.generation);
    }

    pub(crate) fn leave_unrecorded(&self, id: TaskId, generation: u64) {
        self.shared.running.leave_unrecorded(id);
        self.shared.running.forget(&[(id, generation)]);
        self.shared.changes.tell_all();
    }

    /// Gives up what this process was running: another process owns the file now.
    pub(crate) fn disown(&self, batch: &mut Vec<Finished>) {
        tell!(Error, "another process has taken over the execution of {}", self.store.path().display());
        self.shared.gate.set_claiming(false);
        let mut ended: Vec<_> =
            batch.drain(..).map(|f| (f.settlement.task_id, f.settlement.generation)).collect();
        ended.extend(
            std::iter::from_fn(|| self.shared.running.take_job())
                .map(|j| (j.claimed.task_id, j.claimed.generation)),
        );
        self.shared.running.forget(&ended);
        for control in self.shared.running.controls() {
            control.superseded.store(true, Ordering::Release);
        }
        self.shared.gate.set_epoch(None);
        lock(&self.ownership).take();
        self.shared.changes.tell_all();
    }

    /// A thread of ours cannot go on. Nothing more is claimed, and waiting callers get the error. Handlers that run settle their outcomes
    /// themselves, and the last of them gives up the ownership.
    pub(crate) fn break_down(&self, thread: &str) {
        let message = format!(
            "{thread} has panicked too often, so this queue runs nothing more; open it again, and report the panic"
        );
        tell!(Error, "{message}");
        self.shared.break_down(Error::internal(message));
        self.store.await_commit(); // whoever was committing has handed its claims over after this
        while let Some(job) = self.shared.running.take_job() {
            self.finished(job.hand_back()); // for the last turn of the dispatcher
        }
        self.shared.running.close_jobs();
        self.set_outcomes(None);
        self.release_if_idle();
    }

    /// Writes progress and output that are not in the file yet.
    pub(crate) fn flush_pending(&self) -> Result<(), Error> {
        let batch = Arc::new(self.shared.running.take_pending());
        if batch.is_empty() {
            return Ok(());
        }
        // Output can be large, so on a full disk it is not for the room that is kept for outcomes.
        let has_output = batch.iter().any(|(_, news)| !news.output.is_empty());
        let rank = if has_output { Rank::Add } else { Rank::Change };
        let (shared, epoch) = (batch.clone(), self.shared.gate.epoch());
        let written = self.commit(rank, move |tx| {
            store::check_epoch(tx, epoch)?;
            for (control, news) in shared.iter() {
                store::save_pending(tx, control.task_id, control.generation, news)?;
            }
            Ok(())
        });
        if written.is_err() {
            batch.iter().for_each(|(control, news)| control.keep_pending(news));
            self.shared.running.note_pending();
        }
        written
    }

    /// Settles an attempt that has outlived its queue, on its own thread.
    pub(crate) fn settle_late(&self, finished: Finished) {
        let mut batch = vec![finished];
        for _ in 0..LATE_TRIES {
            match self.settle(&mut batch) {
                Err(e) if is_passing(&e) => {
                    tell!(Warn, "an outcome cannot be written, trying again in {RETRY_INTERVAL:?}: {e}");
                    thread::sleep(RETRY_INTERVAL);
                }
                Err(e) => batch.drain(..).for_each(|finished| self.abandon(finished, &e)),
                Ok(()) => {}
            }
            if batch.is_empty() {
                break;
            }
        }
        for finished in batch {
            self.abandon(finished, &Error::new(ErrorKind::TimedOut, "it was tried for a minute"));
        }
        self.release_if_idle();
    }
}

/// Logs that an attempt has failed: the type of the error, and never its message, which may hold what is private.
fn tell_failure(settlement: &Settlement, state: State) {
    let (id, name) = (settlement.task_id, &settlement.task_name);
    let error = match &settlement.verdict {
        Verdict::Failed { error, .. } => &error.error_type,
        _ => "TaskLost",
    };
    if state == State::Queued {
        tell!(target: OUTCOMES, Info, "an attempt of task {id} ({name}) failed, and it is tried again: {error}");
    } else {
        tell!(target: OUTCOMES, Warn, "task {id} ({name}) is {state}: {error}");
    }
}

/// Whether an outcome was not recorded for want of room.
fn has_no_room(error: &Error) -> bool {
    error.kind() == ErrorKind::DiskFull && error.outcome() == Outcome::NotDone
}

/// Whether an outcome of these needs so much room that it must not come from the reserve for a full disk.
fn is_large(batch: &[Finished]) -> bool {
    batch.iter().any(|Finished { settlement, .. }| {
        settlement.verdict.result_bytes() + settlement.news.output_bytes() > LARGE_OUTCOME_BYTES
    })
}

/// Whether some outcome has what cannot be left out: children, or work that goes outside.
fn needs_room(batch: &[Finished]) -> bool {
    let goes_outside = |finished: &Finished| matches!(finished.settlement.verdict, Verdict::Outside(_));
    has_children(batch) || batch.iter().any(goes_outside)
}

/// Whether some of these make new tasks.
fn has_children(batch: &[Finished]) -> bool {
    batch.iter().any(|Finished { settlement, .. }| !settlement.children.is_empty())
}

/// Whether an error may go away by itself.
pub(crate) fn is_passing(e: &Error) -> bool {
    matches!(
        e.kind(),
        ErrorKind::Busy | ErrorKind::DiskFull | ErrorKind::Io | ErrorKind::ReadOnly | ErrorKind::FileReplaced
    )
}
